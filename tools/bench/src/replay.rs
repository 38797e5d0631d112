//! Reads a feed from its beginning over each transport, with as little work as possible: on shared cores a client that
//! parses would be measured instead of the server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::Response;
use serde::Deserialize;
use tokio::time::timeout;

use super::audit::SeqCheck;
use super::socket_pool::{ConnectOptions, SocketPool};
use super::stats::per_second;
use super::{Failure, SILENCE_TIMEOUT};

/// The result of reading a feed.
pub(crate) struct Replay {
    /// Events / (request → last event).
    pub(crate) per_s: f64,
    /// Events that are missing, duplicated or out of order.
    pub(crate) faults: u64,
}

impl Replay {
    fn of(read: u64, expected: u64, took: Duration, faults: u64) -> Self {
        Self { per_s: per_second(read, took), faults: faults + expected.abs_diff(read) }
    }
}

/// Reads over WebSockets with `clients` clients, whose events are added up. Messages are counted, not parsed.
pub(crate) async fn by_sockets(
    addr: SocketAddr,
    api_key: &str,
    events: u64,
    clients: u32,
) -> Result<Replay, Failure> {
    let all = events * u64::from(clients);
    let started = Instant::now();
    let options = ConnectOptions { size: clients, at_once: clients as usize, query: "?after=0".into() };
    let pool = SocketPool::connect(addr, api_key, &options).await?;
    pool.received(all).await;
    let (_, last) = pool.arrivals();
    let (lost, duplicated) = pool.lost_and_duplicated(u32::try_from(events)?);
    let read = all + duplicated - lost;
    Ok(Replay::of(read, all, last.saturating_duration_since(started), u64::from(pool.closed())))
}

/// Reads server-sent events.
pub(crate) async fn by_stream(addr: SocketAddr, api_key: &str, events: u64) -> Result<Replay, Failure> {
    let started = Instant::now();
    let mut stream = get(addr, api_key, "/api/events/stream?after=0").await?;
    let mut counter = SseCounter::default();
    let mut last = started;
    while counter.events < events {
        match timeout(SILENCE_TIMEOUT, stream.chunk()).await {
            Ok(Ok(Some(bytes))) => counter.feed(&bytes),
            Ok(Ok(None)) | Err(_) => break,
            Ok(Err(error)) => return Err(error.into()),
        }
        last = Instant::now();
    }
    let faults = counter.seq.holes + counter.seq.repeats;
    Ok(Replay::of(counter.events, events, last.saturating_duration_since(started), faults))
}

/// Reads pages over REST.
pub(crate) async fn by_pages(addr: SocketAddr, api_key: &str, events: u64) -> Result<Replay, Failure> {
    #[derive(Deserialize)]
    struct FeedMessage {
        seq: u64,
    }
    let started = Instant::now();
    let mut seq = SeqCheck::default();
    let mut read = 0;
    while read < events {
        let path = format!("/api/events?limit=1000&after={}", seq.last);
        let page = get(addr, api_key, &path).await?.bytes().await?;
        let page: Vec<FeedMessage> = serde_json::from_slice(&page)?;
        if page.is_empty() {
            break;
        }
        read += page.len() as u64;
        page.iter().for_each(|event| seq.next(event.seq));
    }
    Ok(Replay::of(read, events, started.elapsed(), seq.holes + seq.repeats))
}

async fn get(addr: SocketAddr, api_key: &str, path: &str) -> Result<Response, reqwest::Error> {
    // Shared by all measures: each measure has a server on a port of its own.
    static CLIENT: std::sync::LazyLock<reqwest::Client> = std::sync::LazyLock::new(reqwest::Client::new);
    let request = CLIENT.get(format!("http://{addr}{path}")).header("x-api-key", api_key);
    request.send().await?.error_for_status()
}

/// Counts the events of an event stream in chunks of any size.
#[derive(Debug, Default)]
struct SseCounter {
    /// The start of an incomplete line.
    partial: Vec<u8>,
    id: u64,
    seq: SeqCheck,
    events: u64,
}

impl SseCounter {
    fn feed(&mut self, bytes: &[u8]) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ends = line.last() == Some(&b'\n');
            if ends && self.partial.is_empty() {
                self.line(line);
                continue;
            }
            self.partial.extend_from_slice(line);
            if ends {
                let whole = std::mem::take(&mut self.partial);
                self.line(&whole);
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        if let Some(id) = line.strip_prefix(b"id: ") {
            self.id = std::str::from_utf8(id).ok().and_then(|id| id.trim_end().parse().ok()).unwrap_or(0);
        } else if line.starts_with(b"event: call.") {
            self.seq.next(self.id);
            self.events += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_a_stream_are_counted_in_chunks_of_any_size() {
        let connected = "retry: 1500\n\nid: 0\nevent: connected\ndata: {\"seq\":2}\n\n";
        let event = |id| format!("id: {id}\nevent: call.ring\ndata: {{\"text\":\"event: call.ring\"}}\n\n");
        let text = [connected, ":\n\n", &event(1), "id: 1\n\n", &event(2), &event(4), &event(4)].concat();
        for piece in [1, 2, 7, 50, text.len()] {
            let mut counter = SseCounter::default();
            text.as_bytes().chunks(piece).for_each(|part| counter.feed(part));
            assert_eq!(
                (counter.events, counter.seq.holes, counter.seq.repeats),
                (4, 1, 1),
                "in pieces of {piece}"
            );
        }
    }
}
