//! Many CRM sockets on one thread: raw TCP, one task per socket, one shared buffer, and nothing but counting. On shared
//! cores a receiver that parses would be measured instead of the server.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::frames::{FrameCounter, Seen, pong};
use super::worker_thread::spawn;
use super::{Failure, SILENCE_TIMEOUT};

/// Concurrent handshakes of [`SocketPool::open`]: few enough for any listen queue.
const MAX_CONCURRENT_HANDSHAKES: usize = 32;

/// The read buffer; it holds a burst of events.
const BUFFER_BYTES: usize = 64 * 1_024;

/// What the sockets of a pool received. Written by the receiving thread.
#[derive(Debug)]
struct Counts {
    epoch: Instant,
    each: Vec<AtomicU32>,
    total: AtomicU64,
    closed: AtomicU32,
    /// Nanoseconds after `epoch` of the first arrival since [`SocketPool::restart`]; 0 before it.
    first: AtomicU64,
    /// Nanoseconds after `epoch` of the last arrival.
    last: AtomicU64,
}

impl Counts {
    fn note(&self, socket: usize, messages: u32) {
        let now = u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if self.first.load(Ordering::Relaxed) == 0 {
            self.first.store(now, Ordering::Relaxed);
        }
        self.last.store(now, Ordering::Relaxed);
        self.each[socket].fetch_add(messages, Ordering::Relaxed);
        // Stored last: a reader that sees the total also sees its times.
        self.total.fetch_add(u64::from(messages), Ordering::Release);
    }
}

/// The open sockets of one app.
pub(crate) struct SocketPool {
    counts: Arc<Counts>,
    /// Dropping it closes all sockets.
    _open: oneshot::Sender<()>,
}

/// How a pool connects.
#[derive(Debug, Clone)]
pub(crate) struct ConnectOptions {
    /// The number of sockets.
    pub(crate) size: u32,
    /// The number of concurrent handshakes.
    pub(crate) at_once: usize,
    /// The query of the WebSocket URL.
    pub(crate) query: String,
}

impl SocketPool {
    /// Opens `size` sockets; returns when each has received `connected`.
    pub(crate) async fn open(addr: SocketAddr, api_key: &str, size: u32) -> Result<Self, Failure> {
        Self::connect(
            addr,
            api_key,
            &ConnectOptions { size, at_once: MAX_CONCURRENT_HANDSHAKES, query: String::new() },
        )
        .await
    }

    /// Opens sockets with these options; returns when each has received `connected`.
    pub(crate) async fn connect(
        addr: SocketAddr,
        api_key: &str,
        options: &ConnectOptions,
    ) -> Result<Self, Failure> {
        let ConnectOptions { size, at_once, query } = options.clone();
        let counts = Arc::new(Counts {
            epoch: Instant::now(),
            each: (0..size).map(|_| AtomicU32::new(0)).collect(),
            total: AtomicU64::new(0),
            closed: AtomicU32::new(0),
            first: AtomicU64::new(0),
            last: AtomicU64::new(0),
        });
        let (shared, key) = (Arc::clone(&counts), api_key.to_owned());
        let (ready, all_ready) = oneshot::channel();
        let (open, closed) = oneshot::channel::<()>();
        let receiving = spawn("receiver", move || async move {
            let buffer: Buffer = Rc::new(RefCell::new(vec![0; BUFFER_BYTES].into_boxed_slice()));
            stream::iter(0..size as usize)
                .map(|socket| shake_hands(addr, &key, &query, socket))
                .buffer_unordered(at_once)
                .try_for_each(|(socket, messages)| {
                    if messages > 0 {
                        shared.note(socket.number, messages);
                    }
                    tokio::task::spawn_local(socket.listen(Rc::clone(&buffer), Arc::clone(&shared)));
                    std::future::ready(Ok(()))
                })
                .await?;
            let _ = ready.send(());
            let _ = closed.await;
            Ok(())
        })?;
        match all_ready.await {
            Ok(()) => Ok(Self { counts, _open: open }),
            Err(_) => Err(receiving.await.err().unwrap_or_else(|| "the receiver ended early".into())),
        }
    }

    /// Resets the time of the first arrival.
    pub(crate) fn restart(&self) {
        self.counts.first.store(0, Ordering::Relaxed);
    }

    /// Waits until the sockets have received `messages` in total, or none for a while.
    pub(crate) async fn received(&self, messages: u64) {
        let mut seen = 0;
        let mut since = Instant::now();
        while seen < messages && since.elapsed() < SILENCE_TIMEOUT {
            sleep(Duration::from_millis(1)).await;
            let now = self.counts.total.load(Ordering::Acquire);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
    }

    /// Returns the times of the first arrival since the restart and of the last one.
    pub(crate) fn arrivals(&self) -> (Instant, Instant) {
        let at = |nanos: &AtomicU64| self.counts.epoch + Duration::from_nanos(nanos.load(Ordering::Relaxed));
        (at(&self.counts.first), at(&self.counts.last))
    }

    /// Returns how many messages were lost and duplicated, when each socket should have received `expected`.
    pub(crate) fn lost_and_duplicated(&self, expected: u32) -> (u64, u64) {
        let each = self.counts.each.iter().map(|count| count.load(Ordering::Relaxed));
        each.fold((0, 0), |(lost, duplicated), count| {
            (
                lost + u64::from(expected.saturating_sub(count)),
                duplicated + u64::from(count.saturating_sub(expected)),
            )
        })
    }

    /// Returns how many sockets the server closed.
    pub(crate) fn closed(&self) -> u32 {
        self.counts.closed.load(Ordering::Relaxed)
    }
}

/// Shared by all sockets of a thread: borrowed only while bytes are read and counted, never across an await.
type Buffer = Rc<RefCell<Box<[u8]>>>;

struct PoolSocket {
    number: usize,
    stream: TcpStream,
    frames: FrameCounter,
}

/// Opens a socket and reads until `connected`. Returns how many messages followed it.
async fn shake_hands(
    addr: SocketAddr,
    api_key: &str,
    query: &str,
    number: usize,
) -> io::Result<(PoolSocket, u32)> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    // Any 16 bytes are a valid key; the bench does not verify the server's answer to it.
    let request = format!(
        "GET /ws{query} HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: Y3RpLXNlcnZlciBiZW5jaA==\r\nx-api-key: {api_key}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(1_024);
    let end = loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    if !answer.starts_with(b"HTTP/1.1 101") {
        let head = String::from_utf8_lossy(&answer).into_owned();
        return Err(io::Error::other(format!("the server refused socket {number}: {head}")));
    }
    let mut frames = FrameCounter::default();
    let mut messages = frames.feed(&answer[end..])?.messages;
    while messages == 0 {
        answer.clear();
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        messages = frames.feed(&answer)?.messages;
    }
    Ok((PoolSocket { number, stream, frames }, messages - 1))
}

impl PoolSocket {
    async fn listen(mut self, buffer: Buffer, counts: Arc<Counts>) {
        loop {
            let seen = match poll_fn(|task| self.poll_frames(task, &buffer)).await {
                Ok(seen) if seen.closed.is_none() => seen,
                Ok(_) | Err(_) => break,
            };
            if seen.messages > 0 {
                counts.note(self.number, seen.messages);
            }
            for ping in seen.pings {
                if self.stream.write_all(&pong(&ping)).await.is_err() {
                    break;
                }
            }
        }
        counts.closed.fetch_add(1, Ordering::Relaxed);
    }

    fn poll_frames(&mut self, task: &mut Context<'_>, buffer: &Buffer) -> Poll<io::Result<Seen>> {
        let mut buffer = buffer.borrow_mut();
        let mut bytes = ReadBuf::new(&mut buffer);
        ready!(Pin::new(&mut self.stream).poll_read(task, &mut bytes))?;
        Poll::Ready(match bytes.filled() {
            [] => Err(ErrorKind::UnexpectedEof.into()),
            filled => self.frames.feed(filled),
        })
    }
}
