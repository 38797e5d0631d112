//! Reads the past of a feed from its beginning, over each of the ways to it, and does as little as can be beside: on
//! shared cores a reader that parses would be measured instead of the server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::Response;
use serde::Deserialize;
use tokio::time::timeout;

use super::crowd::{Come, Crowd};
use super::marks::SeqWatch;
use super::stats::per_second;
use super::{Failure, PATIENCE};

/// What came of reading.
pub(crate) struct Reading {
    /// Events / (request → last event).
    pub(crate) per_s: f64,
    /// Events that are missing, came twice or out of their order.
    pub(crate) faults: u64,
}

impl Reading {
    fn of(read: u64, expected: u64, took: Duration, faults: u64) -> Self {
        Self { per_s: per_second(read, took), faults: faults + expected.abs_diff(read) }
    }
}

/// Over WebSockets: so many clients at once, whose events are added up. Messages are counted, not read.
pub(crate) async fn by_sockets(
    addr: SocketAddr,
    api_key: &str,
    events: u64,
    clients: u32,
) -> Result<Reading, Failure> {
    let all = events * u64::from(clients);
    let began = Instant::now();
    let come = Come { size: clients, at_once: clients as usize, query: "?after=0".into() };
    let crowd = Crowd::come(addr, api_key, &come).await?;
    crowd.received(all).await;
    let (_, last) = crowd.arrivals();
    let (lost, duplicated) = crowd.lost_and_duplicated(u32::try_from(events)?);
    let read = all + duplicated - lost;
    Ok(Reading::of(read, all, last.saturating_duration_since(began), u64::from(crowd.closed())))
}

/// As server-sent events.
pub(crate) async fn by_stream(addr: SocketAddr, api_key: &str, events: u64) -> Result<Reading, Failure> {
    let began = Instant::now();
    let mut stream = get(addr, api_key, "/api/events/stream?after=0").await?;
    let mut lines = Lines::default();
    let mut last = began;
    while lines.events < events {
        match timeout(PATIENCE, stream.chunk()).await {
            Ok(Ok(Some(bytes))) => lines.feed(&bytes),
            Ok(Ok(None)) | Err(_) => break,
            Ok(Err(error)) => return Err(error.into()),
        }
        last = Instant::now();
    }
    let faults = lines.seq.holes + lines.seq.repeats;
    Ok(Reading::of(lines.events, events, last.saturating_duration_since(began), faults))
}

/// Page by page over REST.
pub(crate) async fn by_pages(addr: SocketAddr, api_key: &str, events: u64) -> Result<Reading, Failure> {
    #[derive(Deserialize)]
    struct Told {
        seq: u64,
    }
    let began = Instant::now();
    let mut seq = SeqWatch::default();
    let mut read = 0;
    while read < events {
        let path = format!("/api/events?limit=1000&after={}", seq.last);
        let page = get(addr, api_key, &path).await?.bytes().await?;
        let page: Vec<Told> = serde_json::from_slice(&page)?;
        if page.is_empty() {
            break;
        }
        read += page.len() as u64;
        page.iter().for_each(|event| seq.see(event.seq));
    }
    Ok(Reading::of(read, events, began.elapsed(), seq.holes + seq.repeats))
}

async fn get(addr: SocketAddr, api_key: &str, path: &str) -> Result<Response, reqwest::Error> {
    // One client for all would keep connections of a server that is gone.
    static CLIENT: std::sync::LazyLock<reqwest::Client> = std::sync::LazyLock::new(reqwest::Client::new);
    let request = CLIENT.get(format!("http://{addr}{path}")).header("x-api-key", api_key);
    request.send().await?.error_for_status()
}

/// Counts the events of an event stream, however it is cut.
#[derive(Debug, Default)]
struct Lines {
    /// The beginning of a line whose end is not here yet.
    begun: Vec<u8>,
    id: u64,
    seq: SeqWatch,
    events: u64,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8]) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ends = line.last() == Some(&b'\n');
            if ends && self.begun.is_empty() {
                self.line(line);
                continue;
            }
            self.begun.extend_from_slice(line);
            if ends {
                let whole = std::mem::take(&mut self.begun);
                self.line(&whole);
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        if let Some(id) = line.strip_prefix(b"id: ") {
            self.id = std::str::from_utf8(id).ok().and_then(|id| id.trim_end().parse().ok()).unwrap_or(0);
        } else if line.starts_with(b"event: call.") {
            self.seq.see(self.id);
            self.events += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_a_stream_are_counted_however_it_is_cut() {
        let connected = "retry: 1500\n\nid: 0\nevent: connected\ndata: {\"seq\":2}\n\n";
        let event = |id| format!("id: {id}\nevent: call.ring\ndata: {{\"text\":\"event: call.ring\"}}\n\n");
        let text = [connected, ":\n\n", &event(1), "id: 1\n\n", &event(2), &event(4), &event(4)].concat();
        for piece in [1, 2, 7, 50, text.len()] {
            let mut lines = Lines::default();
            text.as_bytes().chunks(piece).for_each(|part| lines.feed(part));
            assert_eq!((lines.events, lines.seq.holes, lines.seq.repeats), (4, 1, 1), "in pieces of {piece}");
        }
    }
}
