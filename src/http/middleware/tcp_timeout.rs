//! TCP timeouts of a connection. The kernel detects what the server can't: that a peer reads nothing, or is gone. It
//! has one timeout for both (`TCP_USER_TIMEOUT`, RFC 5482), and they need different ones: a client that has stopped
//! reading may continue, a client that is gone takes up a session.
//!
//! A WebSocket answers pings, so its connection only waits for clients that have stopped reading. An event stream
//! answers nothing. So its connection waits long only while more data is in flight than a client receives without
//! reading it; on a quiet stream, nothing but its absence can keep a client from acknowledging.

use std::{
    cell::RefCell,
    future::pending,
    io::ErrorKind,
    net::Shutdown,
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use actix_web::{HttpRequest, rt::net::TcpStream};
use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::io::Interest;

/// How much longer than the stuck-session timeout the kernel waits: within this time a client that reads again receives
/// the reason why its session ended.
const CLOSE_GRACE: Duration = Duration::from_secs(15);
/// How long a client of a quiet stream may acknowledge nothing. Together with the longest time between two heartbeats
/// before it, that is less than 25 s.
const DEAD_PEER_TIMEOUT: Duration = Duration::from_secs(13);
/// How many bytes the buffers of a client take in without the client reading them.
const UNREAD_BYTES: usize = 32 << 10;
/// How long it takes until a stream that sent much is quiet. Shorter than the time until its next heartbeat.
const QUIET_AFTER: Duration = Duration::from_secs(7);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(20);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// How many WebSockets keep the second handle on their connection. There can be many WebSockets, and each handle is a
/// file descriptor.
const MAX_WEBSOCKET_HANDLES: usize = 1000;

static WEBSOCKET_HANDLES: AtomicUsize = AtomicUsize::new(0);

/// The timeouts of an accepted connection. Held by the connection; a stream that is written to it holds a clone.
#[derive(Clone)]
pub(crate) struct ConnectionTimeouts {
    /// How long the kernel waits for a client that has stopped reading.
    stalled: Duration,
    /// A second handle on the socket. None where the platform has no such timeout, while a stream has it, or after
    /// [`WebSocketConnection::of`].
    socket: Rc<RefCell<Option<Socket>>>,
}

impl ConnectionTimeouts {
    /// Sets the timeouts of a connection that was just accepted. A connection where the kernel refuses them still
    /// works; its death is detected later.
    #[must_use]
    pub(crate) fn accept(stream: &TcpStream, stuck_session_timeout: Duration) -> Self {
        let socket = SockRef::from(stream);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
        let _ = socket.set_tcp_keepalive(&keepalive);
        let _ = socket.set_tcp_nodelay(true);
        let second = if cfg!(target_os = "linux") { socket.try_clone().ok() } else { None };
        let timeouts = Self {
            stalled: stuck_session_timeout.saturating_add(CLOSE_GRACE),
            socket: Rc::new(RefCell::new(second)),
        };
        timeouts.set(timeouts.stalled);
        timeouts
    }

    fn set(&self, timeout: Duration) {
        if let Some(socket) = &*self.socket.borrow() {
            set_timeout(socket, timeout);
        }
    }
}

fn set_timeout(socket: &Socket, timeout: Duration) {
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(timeout));
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, timeout);
}

/// The connection of a WebSocket, which keeps one timeout.
///
/// When a WebSocket has ended, the HTTP library waits up to a second for the client to close the connection, as it does
/// after a request whose body it has not read. But the client waits for the server to close it (RFC 6455, section 7.1.1).
pub(crate) struct WebSocketConnection(Socket);

impl WebSocketConnection {
    /// Takes the second handle on the connection of a request; `None` if there is none, or if too many WebSockets have
    /// theirs. Those are closed a little later.
    pub(crate) fn of(request: &HttpRequest) -> Option<Self> {
        let socket = request.conn_data::<ConnectionTimeouts>()?.socket.borrow_mut().take()?;
        let taken = Self(socket);
        // Dropped if it is one too many.
        (WEBSOCKET_HANDLES.fetch_add(1, Ordering::Relaxed) < MAX_WEBSOCKET_HANDLES).then_some(taken)
    }

    /// Ends what can be read of the client. What was written to it is still sent; then the connection is closed.
    pub(crate) fn end_reading(&self) {
        let _ = self.0.shutdown(Shutdown::Read);
    }
}

impl Drop for WebSocketConnection {
    fn drop(&mut self) {
        WEBSOCKET_HANDLES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The timeout of the connection of an event stream, as long as the stream lasts. Dropping it restores the connection's
/// timeout: another request may follow on the same connection.
pub(crate) struct StreamTimeout {
    connection: Option<ConnectionTimeouts>,
    /// The second handle, as long as the stream lasts.
    watched: Option<TcpStream>,
    in_flight: InFlight,
}

impl StreamTimeout {
    /// Sets the timeout of a quiet stream on the connection of a request.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let connection = request.conn_data::<ConnectionTimeouts>().cloned();
        if let Some(connection) = &connection {
            connection.set(DEAD_PEER_TIMEOUT);
        }
        let socket = connection.as_ref().and_then(|connection| connection.socket.borrow_mut().take());
        let watched = socket.and_then(|socket| TcpStream::from_std(socket.into()).ok());
        Self { connection, watched, in_flight: InFlight::new(Instant::now()) }
    }

    /// Waits until the client has closed its side: then it is gone. The HTTP library goes on for a client that only sends
    /// nothing more, and a stream has no end.
    pub(crate) async fn client_closed(&self) {
        let Some(watched) = &self.watched else { return pending().await };
        while let Ok(ready) = watched.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                return;
            }
            // It has sent another request, which waits: not ready until it sends more.
            let _ = watched.try_io(Interest::READABLE, || Err::<(), _>(ErrorKind::WouldBlock.into()));
        }
        pending().await
    }

    /// Adapts the timeout before so many bytes are written.
    pub(crate) fn on_write(&mut self, bytes: usize) {
        let was_quiet = self.in_flight.is_quiet();
        self.in_flight.add(bytes, Instant::now());
        if was_quiet != self.in_flight.is_quiet()
            && let (Some(connection), Some(watched)) = (&self.connection, &self.watched)
        {
            set_timeout(
                &SockRef::from(watched),
                if was_quiet { connection.stalled } else { DEAD_PEER_TIMEOUT },
            );
        }
    }
}

impl Drop for StreamTimeout {
    fn drop(&mut self) {
        if let (Some(connection), Some(watched)) = (&self.connection, self.watched.take()) {
            *connection.socket.borrow_mut() = watched.into_std().ok().map(Socket::from);
            connection.set(connection.stalled);
        }
    }
}

/// An estimate of how many bytes are in flight. Pure.
#[derive(Debug)]
struct InFlight {
    bytes: usize,
    updated_at: Instant,
}

impl InFlight {
    fn new(now: Instant) -> Self {
        Self { bytes: 0, updated_at: now }
    }

    /// Adds bytes. Earlier ones decay by `UNREAD_BYTES` in `QUIET_AFTER`, and the sum is capped at what decays in that
    /// time to a quiet stream.
    fn add(&mut self, bytes: usize, now: Instant) {
        let elapsed =
            now.saturating_duration_since(self.updated_at).as_secs_f64() / QUIET_AFTER.as_secs_f64();
        let decayed = (elapsed * UNREAD_BYTES as f64) as usize;
        self.bytes = self.bytes.saturating_sub(decayed).saturating_add(bytes).min(2 * UNREAD_BYTES);
        self.updated_at = now;
    }

    fn is_quiet(&self) -> bool {
        self.bytes <= UNREAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a stream is quiet after each write: so many seconds after the previous one, so many bytes.
    fn quiet_after(writes: &[(u64, usize)]) -> Vec<bool> {
        let mut now = Instant::now();
        let mut in_flight = InFlight::new(now);
        let after_each = writes.iter().map(|(seconds, bytes)| {
            now += Duration::from_secs(*seconds);
            in_flight.add(*bytes, now);
            in_flight.is_quiet()
        });
        after_each.collect()
    }

    #[test]
    fn a_few_events_a_second_leave_a_stream_quiet() {
        assert!(quiet_after(&[(1, 3_000); 100]).into_iter().all(|quiet| quiet));
    }

    #[test]
    fn a_stream_that_sends_much_is_not_quiet() {
        assert_eq!(quiet_after(&[(0, 30_000), (0, 30_000), (1, 500)]), [true, false, false]);
        assert!(!quiet_after(&[(1, 10_000); 100])[99]);
    }

    #[test]
    fn a_stream_is_quiet_again_at_its_next_heartbeat() {
        assert_eq!(quiet_after(&[(0, 50 << 20), (8, 3)]), [false, true]);
    }
}
