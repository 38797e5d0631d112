//! A stream that is read slowly.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Interval, interval};

/// Between two reads.
const READ_INTERVAL: Duration = Duration::from_millis(100);

/// Passes everything on, and reads at most so many bytes per second.
#[derive(Debug)]
pub(crate) struct SlowStream<S> {
    inner: S,
    limit: Option<Limit>,
}

#[derive(Debug)]
struct Limit {
    bytes_per_read: usize,
    ticks: Interval,
}

impl<S> SlowStream<S> {
    pub(crate) fn new(inner: S, bytes_per_second: Option<usize>) -> Self {
        let limit = bytes_per_second
            .map(|bytes| Limit { bytes_per_read: (bytes / 10).max(1), ticks: interval(READ_INTERVAL) });
        Self { inner, limit }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SlowStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(limit) = &mut this.limit else {
            return Pin::new(&mut this.inner).poll_read(context, buffer);
        };
        ready!(limit.ticks.poll_tick(context));
        let mut part = buffer.take(limit.bytes_per_read);
        let read = Pin::new(&mut this.inner).poll_read(context, &mut part);
        let length = part.filled().len();
        if length > 0 {
            let bytes = part.filled().to_vec();
            // Into the caller's buffer: a part has its own idea of what is filled.
            buffer.put_slice(&bytes);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SlowStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn it_reads_no_faster_than_its_limit() {
        let (mut near, far) = duplex(4_096);
        near.write_all(&[7; 500]).await.unwrap();
        let mut slow = SlowStream::new(far, Some(1_000));
        let mut read = [0; 500];
        let began = Instant::now();
        slow.read_exact(&mut read).await.unwrap();
        assert_eq!(read, [7; 500]);
        assert!(began.elapsed() >= READ_INTERVAL * 4, "{:?}", began.elapsed());
    }
}
