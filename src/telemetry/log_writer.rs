//! The thread that writes the log. What reads stderr may be slow, or may have stopped: lines that find no room are
//! dropped and counted, and nothing else waits for them.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
    time::Duration,
};

use metrics::counter;

/// How many lines wait to be written.
const MAX_LINES: usize = 4096;
/// How long an exit waits until the last lines are written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

enum Order {
    Line(Vec<u8>),
    /// Reports that everything before was written.
    Flush(SyncSender<()>),
}

/// Hands lines to the thread that writes them.
#[derive(Clone)]
pub(super) struct LogWriter {
    orders: SyncSender<Order>,
}

impl LogWriter {
    /// Starts the thread, which writes to stderr.
    ///
    /// # Errors
    /// There is no thread or no open file left.
    pub(super) fn start() -> io::Result<Self> {
        // A handle of its own: a write that blocks must not hold the lock of the standard library's stderr.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Self::start_on(stderr)
    }

    fn start_on(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (orders, received) = sync_channel(MAX_LINES);
        thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&received, out))?;
        Ok(Self { orders })
    }

    /// Waits until the lines so far are written, but no longer than a second.
    pub(super) fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        let orders = self.orders.clone();
        // The queue may be full, and the thread blocked.
        let asked = thread::Builder::new().spawn(move || orders.send(Order::Flush(done)));
        if asked.is_ok() {
            let _ = is_done.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// Takes one line in each write, as the log's formatter writes.
impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.orders.try_send(Order::Line(line.to_vec())) {
            counter!("cti_log_lines_dropped_total").increment(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_lines(orders: &Receiver<Order>, mut out: impl Write) {
    for order in orders {
        match order {
            // There is no other place to report to.
            Order::Line(line) => drop(out.write_all(&line)),
            Order::Flush(done) => drop(done.try_send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{Sender, channel},
        time::Instant,
    };

    use super::*;

    /// An output that passes on each write, once it is allowed to.
    struct Gated {
        gate: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Gated {
        fn write(&mut self, part: &[u8]) -> io::Result<usize> {
            // A gate that was dropped is open.
            let _ = self.gate.recv();
            self.written.send(part.to_vec()).map_err(io::Error::other)?;
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_output_that_takes_nothing_blocks_nobody_and_gets_what_found_room() {
        let (open, gate) = channel();
        let (written, lines) = channel();
        let mut log = LogWriter::start_on(Gated { gate, written }).expect("a thread");
        let began = Instant::now();
        for number in 0..MAX_LINES + 100 {
            log.write_all(format!("{number}\n").as_bytes()).expect("it takes everything");
        }
        LogWriter::flush(&log);
        let took = began.elapsed();
        assert!(took >= FLUSH_TIMEOUT && took < FLUSH_TIMEOUT * 10, "{took:?}");
        drop(open);
        let first = lines.recv().expect("a line");
        assert_eq!(first, b"0\n");
        drop(log);
        let count = 1 + lines.iter().count();
        assert!((MAX_LINES..=MAX_LINES + 1).contains(&count), "{count}");
    }

    #[test]
    fn a_flush_waits_for_the_lines_before_it() {
        let (open, gate) = channel();
        drop(open);
        let (written, lines) = channel();
        let mut log = LogWriter::start_on(Gated { gate, written }).expect("a thread");
        for _ in 0..100 {
            log.write_all(b"a line\n").expect("it takes everything");
        }
        LogWriter::flush(&log);
        assert_eq!(lines.try_iter().count(), 100);
    }
}
