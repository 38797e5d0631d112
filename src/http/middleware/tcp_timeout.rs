//! A connection as the kernel keeps it. It finds out what nobody here can: that a peer takes nothing, or is no longer
//! there. How long it waits for that is one time for both (`TCP_USER_TIMEOUT`), and they deserve different ones: who
//! has stopped reading may go on, who is gone is in the way.
//!
//! A WebSocket answers pings, so its connection waits for those who have stopped reading. An event stream answers
//! nothing. So its connection waits long only while more is on its way than a client takes in without reading it; a
//! client of a quiet stream has nothing that could stop it from acknowledging, unless it is gone.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_web::{HttpRequest, rt::net::TcpStream};
use socket2::{SockRef, Socket, TcpKeepalive};

/// How much longer than a session may be stuck its kernel waits: for so long a client that reads again is told why the
/// session has ended.
const LAST_WORDS: Duration = Duration::from_secs(15);
/// How long a client of a quiet stream may acknowledge nothing. With the longest time between two heartbeats before it,
/// that is less than 25 s.
const GONE_AFTER: Duration = Duration::from_secs(13);
/// So many bytes a client takes in without reading them.
const LITTLE: usize = 32 << 10;
/// How long it takes until a stream that had much to say is quiet: not as long as until its next heartbeat.
const QUIET_AFTER: Duration = Duration::from_secs(7);

/// An accepted connection.
#[derive(Clone)]
pub struct Line {
    /// How long its kernel waits for a client that may go on.
    patience: Duration,
    /// A second handle on it. None, where there is no other one to be had or no use for it.
    socket: Rc<RefCell<Option<Socket>>>,
}

impl Line {
    /// Lets the kernel watch over a connection that was just accepted.
    #[must_use]
    pub fn accept(stream: &TcpStream, stuck_session_timeout: Duration) -> Self {
        let socket = SockRef::from(stream);
        let probes =
            TcpKeepalive::new().with_time(Duration::from_secs(20)).with_interval(Duration::from_secs(5));
        // A connection without these still works; it is only found dead later.
        let _ = socket.set_tcp_keepalive(&probes);
        let _ = socket.set_tcp_nodelay(true);
        let second = if cfg!(target_os = "linux") { socket.try_clone().ok() } else { None };
        let line = Self {
            patience: stuck_session_timeout.saturating_add(LAST_WORDS),
            socket: Rc::new(RefCell::new(second)),
        };
        line.wait_for(line.patience);
        line
    }

    /// Nothing but a WebSocket will go over the line of this request: these are many, and do without.
    pub(crate) fn let_go(request: &HttpRequest) {
        if let Some(line) = request.conn_data::<Self>() {
            drop(line.socket.borrow_mut().take());
        }
    }

    fn wait_for(&self, time: Duration) {
        #[cfg(target_os = "linux")]
        if let Some(socket) = &*self.socket.borrow() {
            let _ = socket.set_tcp_user_timeout(Some(time));
        }
        #[cfg(not(target_os = "linux"))]
        let _ = time;
    }
}

/// The line of an event stream, for as long as that is told.
pub(crate) struct StreamLine {
    line: Option<Line>,
    flow: Flow,
}

impl StreamLine {
    /// That of a request.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let line = request.conn_data::<Line>().cloned();
        if let Some(line) = &line {
            line.wait_for(GONE_AFTER);
        }
        Self { line, flow: Flow::begin(Instant::now()) }
    }

    /// So many bytes are about to be written.
    pub(crate) fn carry(&mut self, bytes: usize) {
        let was_quiet = self.flow.is_quiet();
        self.flow.add(bytes, Instant::now());
        if let (Some(line), true) = (&self.line, was_quiet != self.flow.is_quiet()) {
            line.wait_for(if was_quiet { line.patience } else { GONE_AFTER });
        }
    }
}

impl Drop for StreamLine {
    fn drop(&mut self) {
        // Another request may follow on it.
        if let Some(line) = &self.line {
            line.wait_for(line.patience);
        }
    }
}

/// How much was written lately. Pure.
#[derive(Debug)]
struct Flow {
    bytes: usize,
    at: Instant,
}

impl Flow {
    fn begin(now: Instant) -> Self {
        Self { bytes: 0, at: now }
    }

    /// Bytes count for less as time goes by, and never for more than what `QUIET_AFTER` makes quiet.
    fn add(&mut self, bytes: usize, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64() / QUIET_AFTER.as_secs_f64();
        let forgotten = (passed * LITTLE as f64) as usize;
        self.bytes = self.bytes.saturating_sub(forgotten).saturating_add(bytes).min(2 * LITTLE);
        self.at = now;
    }

    fn is_quiet(&self) -> bool {
        self.bytes <= LITTLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a stream is quiet after each of these: so many seconds after the one before, so many bytes.
    fn quiet_after(writes: &[(u64, usize)]) -> Vec<bool> {
        let mut now = Instant::now();
        let mut flow = Flow::begin(now);
        let after_each = writes.iter().map(|(seconds, bytes)| {
            now += Duration::from_secs(*seconds);
            flow.add(*bytes, now);
            flow.is_quiet()
        });
        after_each.collect()
    }

    #[test]
    fn a_few_events_a_second_leave_a_stream_quiet() {
        assert!(quiet_after(&[(1, 3_000); 100]).into_iter().all(|quiet| quiet));
    }

    #[test]
    fn whoever_is_told_much_is_given_time() {
        assert_eq!(quiet_after(&[(0, 30_000), (0, 30_000), (1, 500)]), [true, false, false]);
        assert!(!quiet_after(&[(1, 10_000); 100])[99]);
    }

    #[test]
    fn after_much_a_stream_is_quiet_with_its_next_heartbeat() {
        assert_eq!(quiet_after(&[(0, 50 << 20), (8, 3)]), [false, true]);
    }
}
