//! A connection between a server and its database that can be cut, delayed or left without answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::Failure;

/// How many pieces may be on their way in one direction.
const MAX_PIECES: usize = 1_024;
const PIECE_BYTES: usize = 16 << 10;

/// Forwards every connection.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    switches: Arc<Switches>,
    listening: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Switches {
    is_cut: AtomicBool,
    cut: Notify,
    delay_ms: AtomicU64,
}

impl Proxy {
    /// Listens on a free port, and forwards to this one.
    pub(crate) async fn to(port: u16) -> Result<Self, Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let own_port = listener.local_addr()?.port();
        let switches = Arc::<Switches>::default();
        let seen = Arc::clone(&switches);
        let listening = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if !seen.is_cut.load(Ordering::Acquire) {
                    tokio::spawn(forward(near, port, Arc::clone(&seen)));
                }
            }
        });
        Ok(Self { port: own_port, switches, listening })
    }

    /// Ends all connections; new ones are closed at once.
    pub(crate) fn cut(&self) {
        self.switches.is_cut.store(true, Ordering::Release);
        self.switches.cut.notify_waiters();
    }

    /// Forwards new connections again.
    pub(crate) fn mend(&self) {
        self.switches.is_cut.store(false, Ordering::Release);
    }

    /// Delays everything that arrives from now on, in each direction.
    pub(crate) fn delay(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.switches.delay_ms.store(delay, Ordering::Release);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

async fn forward(near: TcpStream, port: u16, switches: Arc<Switches>) {
    let cut = switches.cut.notified();
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = pipe(near_read, far_write, &switches) => {}
        () = pipe(far_read, near_write, &switches) => {}
        () = cut => {}
    }
}

/// Forwards one direction. Each piece has its own delay, so that a delay is not a lower rate.
async fn pipe(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, switches: &Switches) {
    let (pieces, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(MAX_PIECES);
    let read = async move {
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let delay = Duration::from_millis(switches.delay_ms.load(Ordering::Acquire));
            if pieces.send((Instant::now() + delay, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, piece)) = due.recv().await {
            sleep_until(at).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn a_connection_is_forwarded_delayed_and_cut() {
        let proxy = Proxy::to(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        stream.write_all(b"abc").await.unwrap();
        let mut answer = [0; 3];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"abc");

        proxy.delay(Duration::from_millis(60));
        let began = Instant::now();
        stream.write_all(b"def").await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(120), "{:?}", began.elapsed());

        proxy.cut();
        assert_eq!(stream.read(&mut answer).await.unwrap_or(0), 0);
    }
}
