//! What must be true at the end of a simulation, whatever went wrong on the way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use actix::System;
use cti_actors::{
    Engine,
    event::Frame,
    id::{AppId, DialpadCallId, InteractionId, Seq, VoicemailId},
    model::{
        call::{Snapshot, Status},
        interaction::Summary,
        message::MessageFacts,
    },
    ports::Inbound,
    testing::{JournalRow, MemoryStore, RowStatus},
};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::{
    clients::{Client, Kind},
    clock::VirtualClock,
    faults::{FaultyStore, Intensity, Plant},
    ports::ports,
    random::Random,
    stories::POISON,
    trace::Trace,
    world::{World, runtime, tuning},
};

/// The events that tell the life of a call.
const LIFE: [&str; 5] = ["call.ring", "call.started", "call.held", "call.resumed", "call.ended"];

/// Checks everything.
///
/// # Errors
/// Says what is wrong.
pub(crate) fn check(world: &World) -> Result<(), String> {
    let journal = world.store.journal(world.app);
    let events = world.store.events(world.app);
    let bodies: Vec<Value> =
        events.iter().map(|frame| serde_json::from_str(&frame.text).unwrap_or_default()).collect();
    nothing_acknowledged_is_lost(world, &journal)?;
    feed_has_no_hole_and_no_repeat(&events, &bodies)?;
    every_webhook_counts_once(world, &journal, &bodies)?;
    calls_follow_their_events(world, &bodies)?;
    orders_are_kept(world, &journal, &bodies)?;
    ends_are_emitted_once(world, &bodies)?;
    for client in &*world.clients.borrow() {
        client_has_everything(world, client, &events, &bodies)?;
    }
    state_is_that_of_a_run_without_faults(world, &journal)
}

fn key_of(row: &JournalRow) -> Option<u16> {
    row.dedup_key.map(|key| u16::from_be_bytes([key[0], key[1]]))
}

fn nothing_acknowledged_is_lost(world: &World, journal: &[JournalRow]) -> Result<(), String> {
    let known: BTreeMap<u16, &JournalRow> =
        journal.iter().filter_map(|row| Some((key_of(row)?, row))).collect();
    if known.len() != journal.len() {
        return Err("a webhook is in the journal twice".into());
    }
    for key in &*world.acknowledged.borrow() {
        let Some(row) = known.get(key) else { return Err(format!("acknowledged webhook {key} is lost")) };
        let is_poisoned = world.script.poisoned.contains(key);
        match &row.status {
            RowStatus::Processed if !is_poisoned => {}
            RowStatus::Failed(reason) if is_poisoned && reason.contains(POISON) => {}
            status => return Err(format!("acknowledged webhook {key} is {status:?}")),
        }
    }
    Ok(())
}

fn feed_has_no_hole_and_no_repeat(events: &[Frame], bodies: &[Value]) -> Result<(), String> {
    if !events.iter().map(|frame| frame.seq.0).eq(1..=events.len() as i64) {
        return Err("the feed has a hole".into());
    }
    let ids: BTreeSet<&str> = bodies.iter().filter_map(|body| body["event_id"].as_str()).collect();
    if ids.len() != events.len() {
        return Err("an event is in the feed twice".into());
    }
    Ok(())
}

/// A webhook with a state that is only passed on shows how often it was processed.
fn every_webhook_counts_once(world: &World, journal: &[JournalRow], bodies: &[Value]) -> Result<(), String> {
    let durable: BTreeSet<u16> = journal.iter().filter_map(key_of).collect();
    for (key, text) in &world.script.probes {
        let count = bodies.iter().filter(|body| body.to_string().contains(text.as_str())).count();
        let expected = usize::from(durable.contains(key));
        if count != expected {
            return Err(format!("webhook {key} has {count} events and should have {expected}"));
        }
    }
    Ok(())
}

fn of_call(body: &Value) -> Option<DialpadCallId> {
    body["call_id"].as_i64().map(DialpadCallId)
}

/// A client that replays the events of a call has what REST shows of it.
fn calls_follow_their_events(world: &World, bodies: &[Value]) -> Result<(), String> {
    let mut replayed: BTreeMap<DialpadCallId, &Value> = BTreeMap::new();
    for body in bodies {
        if let Some(call) = of_call(body).filter(|_| body["status"].is_string()) {
            replayed.insert(call, body);
        }
    }
    for record in world.store.calls(world.app) {
        let call = record.call.dialpad_call_id;
        let shown = (record.snapshot.status.as_str(), record.call.interaction_id.to_string());
        let last = replayed.get(&call).ok_or_else(|| format!("call {call} has no event"))?;
        let emitted = (
            last["status"].as_str().unwrap_or_default(),
            last["interaction_id"].as_str().unwrap_or_default().to_owned(),
        );
        if emitted != shown {
            return Err(format!("call {call} is {shown:?}, and its last event says {emitted:?}"));
        }
        let types = |wanted: &str| {
            bodies.iter().filter(|body| of_call(body) == Some(call) && body["type"] == wanted).count()
        };
        let ends = usize::from(record.snapshot.status == Status::Ended);
        if types("call.ended") != ends || types("call.ring") > 1 || types("call.started") > 1 {
            return Err(format!("call {call} begins or ends more than once, or not at all"));
        }
    }
    Ok(())
}

/// A call whose webhooks came in order has its events in order.
fn orders_are_kept(world: &World, journal: &[JournalRow], bodies: &[Value]) -> Result<(), String> {
    let disturbed = world.disturbed.borrow();
    for (call, expected) in world.script.in_order.iter().filter(|(call, _)| !disturbed.contains(call)) {
        let is_of_call = |row: &&JournalRow| matches!(&row.content, Ok(Inbound::Call(event)) if event.dialpad_call_id == *call);
        if journal.iter().filter(is_of_call).any(|row| row.status != RowStatus::Processed) {
            return Err(format!("a webhook of call {call} was not processed"));
        }
        let types: Vec<&str> = bodies
            .iter()
            .filter(|body| of_call(body) == Some(*call))
            .filter_map(|body| body["type"].as_str())
            .filter(|event_type| LIFE.contains(event_type))
            .collect();
        if types != *expected {
            return Err(format!("the events of call {call} are {types:?} and should be {expected:?}"));
        }
    }
    Ok(())
}

/// The end of a human call is emitted once.
fn ends_are_emitted_once(world: &World, bodies: &[Value]) -> Result<(), String> {
    for interaction in world.store.interactions(world.app) {
        let id = interaction.id.to_string();
        let is_end =
            |body: &&Value| body["type"] == "interaction.ended" && body["interaction_id"] == id.as_str();
        let count = bodies.iter().filter(is_end).count();
        let is_over = interaction.summary.status == Status::Ended && interaction.merged_into.is_none();
        if count > 1 || (is_over && count == 0) {
            return Err(format!("the end of interaction {id} was emitted {count} times"));
        }
    }
    Ok(())
}

fn client_has_everything(
    world: &World,
    client: &Client,
    events: &[Frame],
    bodies: &[Value],
) -> Result<(), String> {
    let kind = client.kind;
    if kind == Kind::Consumer {
        if !client.processed.iter().map(|seq| seq.0).eq(1..=events.len() as i64) {
            return Err("a consumer has not processed every event".into());
        }
        return Ok(());
    }
    let is_wanted = |frame: &&Frame| {
        frame.seq > client.start && (kind != Kind::Calls || frame.event_type.as_str().starts_with("call."))
    };
    let wanted: Vec<(Seq, &str)> =
        events.iter().filter(is_wanted).map(|frame| (frame.seq, &*frame.text)).collect();
    let received: Vec<(Seq, &str)> = client.received.iter().map(|(seq, text)| (*seq, &**text)).collect();
    if wanted != received {
        let seqs = |events: &[(Seq, &str)]| events.iter().map(|(seq, _)| seq.0).collect::<Vec<_>>();
        let (wanted, received) = (seqs(&wanted), seqs(&received));
        return Err(format!("{kind:?} got {received:?} and should have {wanted:?}, or other texts"));
    }
    if kind == Kind::Snapshot {
        snapshot_leads_to_the_present(world, client, bodies)?;
    }
    Ok(())
}

/// A snapshot and the events after it give the calls as they are.
fn snapshot_leads_to_the_present(world: &World, client: &Client, bodies: &[Value]) -> Result<(), String> {
    let mut seen = client.snapshot.clone();
    for body in bodies.iter().filter(|body| body["seq"].as_i64() > Some(client.start.0)) {
        if let (Some(call), Some(status)) = (body["call_id"].as_i64(), body["status"].as_str()) {
            seen.insert(call, status.to_owned());
        }
    }
    for record in world.store.calls(world.app) {
        let (call, status) = (record.call.dialpad_call_id.0, record.snapshot.status);
        let is_known = seen.get(&call).map(String::as_str);
        if is_known != Some(status.as_str()) && (is_known.is_some() || status != Status::Ended) {
            return Err(format!("after a snapshot, call {call} is {is_known:?} instead of {status:?}"));
        }
    }
    Ok(())
}

/// Everything that REST shows.
#[derive(Debug, PartialEq)]
struct Shown {
    calls: BTreeMap<DialpadCallId, Snapshot>,
    interactions: BTreeMap<BTreeSet<i64>, Summary>,
    messages: BTreeMap<String, MessageFacts>,
}

impl Shown {
    fn of(store: &MemoryStore, app: AppId) -> Self {
        let mut legs: BTreeMap<InteractionId, BTreeSet<i64>> = BTreeMap::new();
        let calls = store.calls(app);
        for record in &calls {
            legs.entry(record.call.interaction_id).or_default().insert(record.call.dialpad_call_id.0);
        }
        let whole = |(id, legs): (InteractionId, BTreeSet<i64>)| {
            let mut summary = store.interaction(app, id)?.summary;
            // Which leg was seen first, and our own ids, depend on the order of arrival.
            summary.calls.sort_unstable();
            summary.users.sort_unstable();
            summary.recordings.sort_by_key(|part| part.call_id);
            if let Some(voicemail) = &mut summary.voicemail {
                voicemail.voicemail_id = VoicemailId(Uuid::nil());
            }
            Some((legs, summary))
        };
        let messages = store.messages(app).into_iter();
        Self {
            interactions: legs.into_iter().filter_map(whole).collect(),
            calls: calls.into_iter().map(|record| (record.call.dialpad_call_id, record.snapshot)).collect(),
            messages: messages.map(|message| (message.dialpad_message_id, message.facts)).collect(),
        }
    }
}

fn state_is_that_of_a_run_without_faults(world: &World, journal: &[JournalRow]) -> Result<(), String> {
    let expected = run_without_faults(world, journal)?;
    let shown = Shown::of(&world.store, world.app);
    let differing = |call: &&DialpadCallId| shown.calls.get(call) != expected.calls.get(call);
    if let Some(call) = expected.calls.keys().chain(shown.calls.keys()).find(differing) {
        let (is, should) = (shown.calls.get(call), expected.calls.get(call));
        return Err(format!("call {call} is\n{is:?}\nand without faults\n{should:?}"));
    }
    if shown.interactions != expected.interactions {
        let (is, should) = (shown.interactions, expected.interactions);
        return Err(format!("the human calls are\n{is:#?}\nand without faults\n{should:#?}"));
    }
    if shown.messages != expected.messages {
        return Err("messages differ from those of a run without faults".into());
    }
    Ok(())
}

/// Runs an engine over the webhooks of a journal, in its order and one after the other.
fn run_without_faults(world: &World, journal: &[JournalRow]) -> Result<Shown, String> {
    let store = Arc::new(MemoryStore::default());
    store.refuse(POISON);
    let app = AppId::generate();
    let system = System::with_tokio_rt(runtime);
    let is_done = system.block_on(async {
        let clock = Arc::new(VirtualClock::begin(world.now()));
        let (random, calm) = (Random::of(0, 0), Intensity::default());
        let trace = Arc::new(Trace::default());
        let faulty = FaultyStore::new(store.clone(), clock.clone(), trace, Plant::Nothing, random, calm);
        let engine = Engine::start(ports(&faulty), tuning(1));
        for row in journal {
            let event = store.append(app, world.now(), row.content.clone());
            engine.push(app, vec![event]);
            sleep(Duration::from_millis(1)).await;
        }
        let done = async {
            while store.pending_count() > 0 || !engine.state().is_idle() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_secs(600), done).await.is_ok()
    });
    drop(system);
    if is_done { Ok(Shown::of(&store, app)) } else { Err("a run without faults does not end".into()) }
}
