//! The clients of a simulation: they lose their connection at any moment, resume, and compare what they get with what
//! they have.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::Arc,
};

use cti_actors::{
    Engine,
    consumer::{Acked, Consumer, Mode},
    event::Filter,
    id::Seq,
    session::{ControlType, Listener, MessageKind, OutboundMessage, Subscription, Transport},
};
use futures_util::FutureExt;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::{
    random::Random,
    world::{Processes, World},
};

const CONSUMER: &str = "crm";

/// How a client reads the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All events, with a cursor of its own.
    All,
    /// Only events of calls.
    Calls,
    /// All events after a snapshot of the active calls.
    Snapshot,
    /// As a named consumer, whose cursor the server stores.
    Consumer,
}

/// What a client has, over all its connections.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) kind: Kind,
    random: Random,
    /// Where it resumes; `None` before it has begun.
    pub(crate) cursor: Option<Seq>,
    /// Where it began.
    pub(crate) start: Seq,
    pub(crate) received: Vec<(Seq, String)>,
    /// Of a snapshot: the status of each call that was active.
    pub(crate) snapshot: BTreeMap<i64, String>,
    /// Of a consumer: everything up to here was acknowledged, and the server has said that it counts.
    durable: Seq,
    /// Everything up to here was acknowledged at least once.
    claimed: Seq,
    /// Of a consumer: what it has processed.
    pub(crate) processed: BTreeSet<Seq>,
}

impl Client {
    pub(crate) fn new(kind: Kind, random: Random) -> Self {
        Self {
            kind,
            random,
            cursor: None,
            start: Seq::START,
            received: Vec::new(),
            snapshot: BTreeMap::new(),
            durable: Seq::START,
            claimed: Seq::START,
            processed: BTreeSet::new(),
        }
    }

    fn subscription(&self) -> Subscription {
        let types = BTreeSet::from(["call.*".to_owned()]);
        let consumer = Consumer { name: CONSUMER.to_owned(), mode: Mode::Exclusive };
        match self.kind {
            Kind::Consumer => Subscription {
                after: Some(Seq::START.into()),
                consumer: Some(consumer),
                ..Subscription::default()
            },
            Kind::Snapshot if self.cursor.is_none() => {
                Subscription { snapshot: true, ..Subscription::default() }
            }
            Kind::Calls => Subscription {
                after: self.cursor.map(Into::into),
                filter: Filter { types, ..Filter::default() },
                ..Subscription::default()
            },
            Kind::All | Kind::Snapshot => {
                Subscription { after: self.cursor.map(Into::into), ..Subscription::default() }
            }
        }
    }

    /// Takes one message.
    fn take(&mut self, message: &OutboundMessage) -> Result<(), String> {
        match &message.kind {
            MessageKind::Event(_) => {
                let seq = message.cursor.ok_or("an event has no seq")?;
                if self.kind == Kind::Consumer {
                    self.take_as_consumer(seq)?;
                } else if self.cursor.is_none_or(|cursor| seq <= cursor) {
                    return Err(format!("{:?} got {seq} after {:?}", self.kind, self.cursor));
                } else {
                    self.received.push((seq, message.text.to_string()));
                }
                self.cursor = Some(seq);
            }
            MessageKind::Control(ControlType::Connected) => self.connect(message.cursor)?,
            MessageKind::Control(ControlType::Snapshot) => {
                self.take_snapshot(&message.text);
                if let Some(as_of) = message.cursor {
                    (self.start, self.cursor) = (as_of, Some(as_of));
                }
            }
            MessageKind::Control(ControlType::Gap) => {
                return Err(format!("{:?} at {:?}: {}", self.kind, self.cursor, message.text));
            }
            MessageKind::Control(_) => {
                if let Some(cursor) = message.cursor {
                    if self.cursor.is_some_and(|known| cursor < known) {
                        return Err(format!("a cursor went back from {:?} to {cursor}", self.cursor));
                    }
                    self.cursor = Some(cursor);
                }
            }
        }
        Ok(())
    }

    fn connect(&mut self, start: Option<Seq>) -> Result<(), String> {
        let Some(start) = start else {
            // A snapshot follows, which replaces what an earlier connection did not get to its end.
            self.snapshot.clear();
            return Ok(());
        };
        match (self.kind, self.cursor) {
            (Kind::Consumer, _) if start < self.durable || start > self.claimed => {
                return Err(format!(
                    "a consumer that had acknowledged {} (at most {}) goes on after {start}",
                    self.durable, self.claimed
                ));
            }
            (Kind::Consumer, _) => {}
            (_, Some(cursor)) if cursor != start => {
                return Err(format!(
                    "{:?} asked for what follows {cursor} and began after {start}",
                    self.kind
                ));
            }
            (_, Some(_)) => {}
            (_, None) => self.start = start,
        }
        self.cursor = Some(start);
        Ok(())
    }

    fn take_as_consumer(&mut self, seq: Seq) -> Result<(), String> {
        if self.cursor.map(Seq::next) != Some(seq) {
            return Err(format!("a consumer got {seq} after {:?}", self.cursor));
        }
        self.processed.insert(seq);
        Ok(())
    }

    fn take_snapshot(&mut self, text: &str) {
        let part: Value = serde_json::from_str(text).unwrap_or_default();
        for call in part["calls"].as_array().into_iter().flatten() {
            let status = call["status"].as_str().unwrap_or_default().to_owned();
            self.snapshot.insert(call["call_id"].as_i64().unwrap_or_default(), status);
        }
    }
}

/// Follows the feed for as long as the processes live.
pub(crate) async fn follow(world: Rc<World>, processes: Rc<Processes>, who: usize) {
    let begins_at = world.with_client(who, |client| client.random.millis(0, 8000));
    sleep(begins_at).await;
    loop {
        let engine = world.with_client(who, |client| processes.any(&mut client.random).clone());
        // A panic ends the connection, as it ends that of a request.
        match AssertUnwindSafe(connection(&world, &engine, who)).catch_unwind().await {
            Ok(Err(problem)) => {
                world.fail(problem);
                return;
            }
            Ok(Ok(())) => {}
            Err(_) => world.step(format_args!("client {who}: its connection panicked")),
        }
        let pause = world.with_client(who, |client| client.random.millis(1, 1500));
        sleep(pause).await;
    }
}

async fn connection(world: &Rc<World>, engine: &Arc<Engine>, who: usize) -> Result<(), String> {
    let tenant = engine.tenant(world.app);
    let (subscription, turns) =
        world.with_client(who, |client| (client.subscription(), client.random.below(60)));
    let Ok(mut listener) = Listener::open(&tenant, world.key, subscription, Transport::WebSocket).await
    else {
        world.step(format_args!("client {who}: refused"));
        return Ok(());
    };
    for _ in 0..turns {
        let patience = world.with_client(who, |client| client.random.millis(1, 3000));
        match timeout(patience, listener.next()).await {
            // The future is dropped while it waits: that loses nothing.
            Err(_) => {}
            Ok(None) => return Ok(()),
            Ok(Some(batch)) => {
                let count = batch.messages.len();
                for message in &batch.messages {
                    world.with_client(who, |client| client.take(message))?;
                }
                let cursor = world.with_client(who, |client| client.cursor);
                world.step(format_args!("client {who}: {count} messages, cursor {cursor:?}"));
                acknowledge(world, &tenant, &listener, who).await;
                if batch.end.is_some() {
                    return Ok(());
                }
            }
        }
        let rests = world.with_client(who, |client| {
            let rests = client.random.chance(20);
            rests.then(|| client.random.millis(500, 6000))
        });
        if let Some(rest) = rests {
            sleep(rest).await;
        }
    }
    Ok(())
}

/// Acknowledges some of what a consumer has processed.
async fn acknowledge(
    world: &Rc<World>,
    tenant: &cti_actors::session::TenantHandle,
    listener: &Listener,
    who: usize,
) {
    let seq = world.with_client(who, |client| {
        let acks = client.kind == Kind::Consumer && client.random.chance(500);
        let seq = client.cursor.filter(|_| acks);
        client.claimed = client.claimed.max(seq.unwrap_or(client.claimed));
        seq
    });
    let Some(seq) = seq else { return };
    let counted = tenant.consumers().ack(CONSUMER, Some(listener.id()), seq).await;
    world.step(format_args!("client {who}: ack {seq}: {}", counted.is_ok()));
    if counted == Ok(Acked::Counted) {
        world.with_client(who, |client| client.durable = client.durable.max(seq));
    }
}
