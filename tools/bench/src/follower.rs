//! A CRM on one WebSocket that records every event with its arrival time and resumes from its cursor when the connection
//! breaks.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::audit::{Audit, EventSet, SeqCheck};
use super::events::Event;
use super::worker_thread::spawn;
use super::{DUPLICATE_WAIT, Failure, SILENCE_TIMEOUT};

/// More broken connections than this fail the measure.
const MAX_RECONNECTS: u32 = 20;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// An event that arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// The event.
    pub(crate) event: Event,
    /// When it was read.
    pub(crate) at: Instant,
}

/// Everything that a follower received.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The events of the bench, in the order of arrival.
    pub(crate) arrivals: Vec<Arrival>,
    /// How often the connection was reopened.
    pub(crate) reconnects: u32,
    others: u64,
    seq: SeqCheck,
}

impl Record {
    /// Compares the arrivals with the acknowledged events.
    pub(crate) fn audit(&self, acknowledged: &EventSet) -> Audit {
        let audit = Audit::of(acknowledged, self.arrivals.iter().map(|arrival| arrival.event));
        Audit {
            unexpected: audit.unexpected + self.others,
            seq_holes: self.seq.holes,
            seq_repeats: self.seq.repeats,
            ..audit
        }
    }

    fn record_message(&mut self, text: &str, arrived: &AtomicU64) -> Result<(), serde_json::Error> {
        let message: FeedMessage<'_> = serde_json::from_str(text)?;
        let Some(seq) = message.seq.filter(|_| message.kind != "connected") else {
            return Ok(()); // Control messages carry no event.
        };
        self.seq.next(seq);
        match message.call_id.and_then(|call_id| Event::parse(&message.kind, call_id)) {
            Some(event) => {
                self.arrivals.push(Arrival { event, at: Instant::now() });
                arrived.fetch_add(1, Ordering::Relaxed);
            }
            None => self.others += 1,
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct FeedMessage<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    seq: Option<u64>,
    call_id: Option<i64>,
}

/// A running follower.
pub(crate) struct Follower {
    /// The number of arrived events, counted by the follower's thread.
    arrived: Arc<AtomicU64>,
    /// Dropping it, or sending on it, stops the follower's thread.
    stop: oneshot::Sender<()>,
    record: Pin<Box<dyn Future<Output = Result<Record, Failure>> + Send>>,
}

impl Follower {
    /// Connects; returns once the server has sent `connected`: every later event is delivered to it.
    pub(crate) async fn open(addr: SocketAddr, api_key: &str) -> Result<Self, Failure> {
        let (stop, stopped) = oneshot::channel();
        let (opened, open) = oneshot::channel();
        let arrived = Arc::new(AtomicU64::new(0));
        let (counter, key) = (Arc::clone(&arrived), api_key.to_owned());
        let following = spawn("follower", move || async move {
            let (socket, head) = connect(addr, &key, None).await?;
            let _ = opened.send(());
            let mut record = Record { seq: SeqCheck::after(head), ..Record::default() };
            tokio::select! {
                followed = follow(addr, &key, socket, &mut record, &counter) => followed?,
                _ = stopped => {}
            }
            Ok(record)
        })?;
        let record = Box::pin(following);
        match open.await {
            Ok(()) => Ok(Self { arrived, stop, record }),
            Err(_) => Err(record.await.err().unwrap_or_else(|| "the follower ended early".into())),
        }
    }

    /// Waits until `expected` events have arrived, or none has for a while, and returns the record.
    pub(crate) async fn finish(self, expected: u64) -> Result<Record, Failure> {
        let mut seen = 0;
        let mut since = Instant::now();
        while seen < expected && since.elapsed() < SILENCE_TIMEOUT {
            sleep(Duration::from_millis(20)).await;
            let now = self.arrived.load(Ordering::Relaxed);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        sleep(DUPLICATE_WAIT).await;
        // A follower that failed has ended; its error comes from the record.
        let _ = self.stop.send(());
        self.record.await
    }
}

async fn connect(addr: SocketAddr, key: &str, after: Option<u64>) -> Result<(Socket, u64), Failure> {
    let cursor = after.map(|seq| format!("?after={seq}")).unwrap_or_default();
    let mut request = format!("ws://{addr}/ws{cursor}").into_client_request()?;
    request.headers_mut().insert("x-api-key", key.parse()?);
    let (mut socket, _) = connect_async_with_config(request, None, true).await?;
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message? {
            let greeting: FeedMessage<'_> = serde_json::from_str(&text)?;
            return match (&*greeting.kind, greeting.seq) {
                ("connected", Some(head)) => Ok((socket, head)),
                _ => Err(format!("the first message on the socket is not `connected`: {text}").into()),
            };
        }
    }
    Err("the socket closed before it sent `connected`".into())
}

async fn follow(
    addr: SocketAddr,
    key: &str,
    mut socket: Socket,
    record: &mut Record,
    arrived: &AtomicU64,
) -> Result<(), Failure> {
    loop {
        let ended = read_all(&mut socket, record, arrived).await?;
        record.reconnects += 1;
        if record.reconnects > MAX_RECONNECTS {
            return Err(format!("the socket closed {MAX_RECONNECTS} times, last with {ended}").into());
        }
        (socket, _) = connect(addr, key, Some(record.seq.last)).await?;
    }
}

/// Reads until the connection ends and returns why it did.
async fn read_all(socket: &mut Socket, record: &mut Record, arrived: &AtomicU64) -> Result<String, Failure> {
    while let Some(message) = socket.next().await {
        match message {
            Ok(Message::Text(text)) => record.record_message(&text, arrived)?,
            Ok(Message::Close(frame)) => return Ok(frame.map_or("no code".into(), |frame| frame.to_string())),
            Ok(_) => {}
            Err(error @ (tungstenite::Error::Io(_) | tungstenite::Error::Protocol(_))) => {
                return Ok(error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok("no close frame".to_owned())
}
