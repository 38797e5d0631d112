//! Two ways to post the events of a [`RequestDeck`]: as fast as the answers arrive, or on a fixed schedule. Either way all
//! events of a call go through one connection, because the webhooks of a call follow each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::sync::mpsc;

use super::Failure;
use super::audit::EventSet;
use super::events::{Event, Phase};
use super::http::{Answer, Client, RequestDeck};
use super::worker_thread::spawn;

/// Live calls per connection in the closed loop: all ring, then all are answered, then all end.
const LIVE_CALLS: u32 = 8;

/// Events of one call.
const PHASES: u32 = Phase::ALL.len() as u32;

/// The result of posting.
#[derive(Debug)]
pub(crate) struct Posted {
    /// The acknowledged events.
    pub(crate) acknowledged: EventSet,
    /// The number of acknowledged events.
    pub(crate) count: u64,
    /// Every other answer, counted.
    pub(crate) refused: BTreeMap<String, u64>,
    /// When the first request was written.
    pub(crate) first_send: Instant,
    /// When the last answer was read.
    pub(crate) last_answer: Instant,
}

/// The answers on one connection.
#[derive(Debug, Default)]
struct ConnectionLog {
    acknowledged: Vec<Event>,
    refused: BTreeMap<Answer, u64>,
}

impl ConnectionLog {
    fn note(&mut self, event: Event, answer: Answer) {
        match answer {
            Answer::Acknowledged => self.acknowledged.push(event),
            other => *self.refused.entry(other).or_default() += 1,
        }
    }
}

impl Posted {
    fn sum(logs: Vec<ConnectionLog>, first_send: Instant, last_answer: Instant) -> Self {
        let count = logs.iter().map(|log| log.acknowledged.len() as u64).sum();
        let mut refused = BTreeMap::new();
        for (answer, times) in logs.iter().flat_map(|log| &log.refused) {
            *refused.entry(answer.to_string()).or_default() += times;
        }
        let acknowledged = logs.into_iter().flat_map(|log| log.acknowledged).collect();
        Self { acknowledged, count, refused, first_send, last_answer }
    }

    /// Returns the number of answers other than an acknowledgement.
    pub(crate) fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// Posts on `connections` connections, each waiting for its answer before its next request, until `time` has passed or the
/// deck is used up.
pub(crate) async fn closed_loop(
    deck: Arc<RequestDeck>,
    phases: &'static [Phase],
    connections: u32,
    time: Duration,
) -> Result<Posted, Failure> {
    let posting = spawn("sender", move || async move {
        let clients = try_join_all((0..connections).map(|_| Client::connect(deck.addr))).await?;
        let first_send = Instant::now();
        let until = first_send + time;
        let logs = clients.into_iter().zip(0..).map(|(client, number)| {
            let events = event_order(number, connections, deck.calls(), phases);
            tokio::task::spawn_local(post_until(client, Arc::clone(&deck), events, until))
        });
        let logs = try_join_all(logs).await?.into_iter().collect::<Result<_, _>>()?;
        Ok(Posted::sum(logs, first_send, Instant::now()))
    })?;
    posting.await
}

async fn post_until(
    mut client: Client,
    deck: Arc<RequestDeck>,
    events: impl Iterator<Item = Event>,
    until: Instant,
) -> Result<ConnectionLog, Failure> {
    let mut log = ConnectionLog::default();
    for event in events {
        if Instant::now() >= until {
            break;
        }
        let answer = client.post(&deck, event).await?;
        log.note(event, answer);
    }
    Ok(log)
}

/// Returns the events of connection `number` out of `connections`: its part of the calls, a few live at a time.
fn event_order(
    number: u32,
    connections: u32,
    calls: u32,
    phases: &'static [Phase],
) -> impl Iterator<Item = Event> {
    let count = calls.saturating_sub(number).div_ceil(connections);
    (0..count).step_by(LIVE_CALLS as usize).flat_map(move |first| {
        let live = first..count.min(first + LIVE_CALLS);
        phases.iter().flat_map(move |phase| {
            live.clone().map(move |own| Event { call: own * connections + number, phase: *phase })
        })
    })
}

/// A fixed schedule: the due time of each event is known before the first is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    start: Instant,
    interval: Duration,
    connections: u32,
}

impl Schedule {
    /// Returns event number `index`: one ring for every connection, then the answers of these calls, then their ends.
    fn event(&self, index: u32) -> Event {
        let step = index / self.connections;
        let phase = Phase::ALL[(step % PHASES) as usize];
        Event { call: step / PHASES * self.connections + index % self.connections, phase }
    }

    /// Returns when an event is due; its latency counts from there.
    pub(crate) fn due(&self, event: Event) -> Instant {
        let step = event.call / self.connections * PHASES + event.phase as u32;
        self.start + self.interval * (step * self.connections + event.call % self.connections)
    }
}

/// Posts all events of the deck at `rate` per second over at most `connections` connections. A late answer delays the next
/// request of its connection but no due time, so that the delay is measured.
pub(crate) async fn open_loop(
    deck: Arc<RequestDeck>,
    connections: u32,
    rate: u32,
) -> Result<(Posted, Schedule), Failure> {
    // Each connection gets at least one event per second, so that the server does not close it as idle.
    let connections = connections.min(rate);
    let posting = spawn("sender", move || async move {
        let clients = try_join_all((0..connections).map(|_| Client::connect(deck.addr))).await?;
        let interval = Duration::from_secs(1) / rate;
        let schedule = Schedule { start: Instant::now() + Duration::from_millis(20), interval, connections };
        let (queues, logs): (Vec<_>, Vec<_>) = clients
            .into_iter()
            .map(|client| {
                let (queue, due) = mpsc::unbounded_channel();
                (queue, tokio::task::spawn_local(post_when_due(client, Arc::clone(&deck), due)))
            })
            .unzip();
        // A whole number of rounds, so that every call ends.
        let count = deck.calls() / connections * connections * PHASES;
        thread::Builder::new()
            .name("pacer".to_owned())
            .spawn(move || run_schedule(schedule, count, &queues))?;
        let logs = try_join_all(logs).await?.into_iter().collect::<Result<_, _>>()?;
        Ok((Posted::sum(logs, schedule.start, Instant::now()), schedule))
    })?;
    posting.await
}

async fn post_when_due(
    mut client: Client,
    deck: Arc<RequestDeck>,
    mut due: mpsc::UnboundedReceiver<Event>,
) -> Result<ConnectionLog, Failure> {
    let mut log = ConnectionLog::default();
    while let Some(event) = due.recv().await {
        let answer = client.post(&deck, event).await?;
        log.note(event, answer);
    }
    Ok(log)
}

/// Queues each event when it is due. It runs on a thread because the runtime's timers have a resolution of a millisecond,
/// as much as the whole latency of an event.
fn run_schedule(schedule: Schedule, count: u32, queues: &[mpsc::UnboundedSender<Event>]) {
    for index in 0..count {
        let due = schedule.start + schedule.interval * index;
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
        }
        let queue = &queues[(index % schedule.connections) as usize];
        if queue.send(schedule.event(index)).is_err() {
            return; // The connection failed, and its error ends the measure.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connections_share_all_events_and_keep_each_call_in_order() {
        let mut seen = EventSet::default();
        let mut count = 0;
        for number in 0..4 {
            let mut phases = [0; 50];
            for event in event_order(number, 4, 50, &Phase::ALL) {
                assert_eq!(event.call % 4, number);
                assert_eq!(phases[event.call as usize], event.phase as usize);
                phases[event.call as usize] += 1;
                assert!(seen.add(event));
                count += 1;
            }
        }
        assert_eq!(count, 150);
    }

    #[test]
    fn a_schedule_knows_when_each_event_was_due() {
        let schedule =
            Schedule { start: Instant::now(), interval: Duration::from_millis(2), connections: 64 };
        for index in 0..1_000 {
            let event = schedule.event(index);
            assert_eq!(schedule.due(event), schedule.start + schedule.interval * index);
            assert_eq!(event.call % 64, index % 64);
        }
    }
}
