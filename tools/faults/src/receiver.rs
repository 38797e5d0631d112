//! A CRM on one WebSocket. It keeps everything that it receives, and resumes behind it when the connection breaks.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use uuid::Uuid;

use crate::Failure;
use crate::call::{Call, Step};
use crate::oracle::Seen;
use crate::tally::Tally;

const RECONNECT_INTERVAL: Duration = Duration::from_millis(100);
/// The server pings at least every 20 s; a connection that is silent for longer is dead.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// A running receiver.
#[derive(Debug)]
pub(crate) struct Receiver {
    kept: Arc<Kept>,
    running: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Kept {
    /// With the stamp of the tally.
    seen: Mutex<Vec<(u64, Seen)>>,
    problems: Mutex<Vec<String>>,
    connections: AtomicU64,
}

impl Receiver {
    /// Follows an app from its first event on. After a break it connects to the next of these servers.
    pub(crate) fn start(servers: Vec<SocketAddr>, api_key: String, tally: Arc<Tally>) -> Self {
        let kept = Arc::<Kept>::default();
        let own = Arc::clone(&kept);
        let running = tokio::spawn(async move {
            let mut cursor = "0".to_owned();
            for server in servers.iter().cycle() {
                // Whatever ends it: the next one resumes.
                let _ = follow(*server, &api_key, &mut cursor, &own, &tally).await;
                sleep(RECONNECT_INTERVAL).await;
            }
        });
        Self { kept, running }
    }

    /// Returns the newest `seq`.
    pub(crate) fn last_seq(&self) -> u64 {
        lock(&self.kept.seen).last().map_or(0, |(_, seen)| seen.seq)
    }

    /// Returns how many connections were opened.
    pub(crate) fn connections(&self) -> u64 {
        self.kept.connections.load(Ordering::Acquire)
    }

    /// Returns what was received so far, each with the stamp of the tally.
    pub(crate) fn stamped(&self) -> Vec<(u64, Seen)> {
        lock(&self.kept.seen).clone()
    }

    /// Ends the connection, and returns what was received and what went wrong.
    pub(crate) fn finish(self) -> (Vec<Seen>, Vec<String>) {
        self.running.abort();
        let seen = std::mem::take(&mut *lock(&self.kept.seen));
        let seen = seen.into_iter().map(|(_, seen)| seen).collect();
        (seen, std::mem::take(&mut *lock(&self.kept.problems)))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Locks it, also after a panic of another holder.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow(
    server: SocketAddr,
    api_key: &str,
    cursor: &mut String,
    kept: &Kept,
    tally: &Tally,
) -> Result<(), Failure> {
    let mut request = format!("ws://{server}/ws?after={cursor}").into_client_request()?;
    request.headers_mut().insert("x-api-key", HeaderValue::from_str(api_key)?);
    let (mut socket, _) = timeout(SILENCE_TIMEOUT, connect_async(request)).await??;
    kept.connections.fetch_add(1, Ordering::AcqRel);
    let mut epoch = String::new();
    while let Ok(Some(message)) = timeout(SILENCE_TIMEOUT, socket.next()).await {
        let Message::Text(text) = message? else { continue };
        let message: Value = serde_json::from_str(&text)?;
        match message["type"].as_str().unwrap_or_default() {
            "connected" => message["epoch"].as_str().unwrap_or_default().clone_into(&mut epoch),
            "gap" => {
                lock(&kept.problems).push(format!("the WebSocket received a gap: {text}"));
                message["epoch"].as_str().unwrap_or_default().clone_into(&mut epoch);
            }
            "cursor" | "reconnect" => {}
            _ => match parse(&message) {
                Some(seen) => {
                    *cursor = format!("{epoch}:{}", seen.seq);
                    if let (Some(call), Some(step)) = (seen.call, seen.step) {
                        tally.received(call, step);
                    }
                    lock(&kept.seen).push((tally.stamp().unwrap_or_default(), seen));
                }
                None => lock(&kept.problems).push(format!("the WebSocket received {text}")),
            },
        }
    }
    Ok(())
}

/// Parses an event; `None` if it is none.
pub(crate) fn parse(event: &Value) -> Option<Seen> {
    let kind = event["type"].as_str()?;
    let call = event["call_id"].as_i64().and_then(Call::number_of);
    let is_of_call = kind.starts_with("call.");
    Some(Seen {
        seq: event["seq"].as_u64()?,
        event_id: event["event_id"].as_str()?.parse::<Uuid>().ok()?,
        call,
        step: Step::of_event(kind, event),
        status: event["status"].as_str().filter(|_| is_of_call).map(str::to_owned),
    })
}
