//! Two ways to post the events of a [`Deck`]: as fast as the answers come, or at a fixed pace whatever the
//! answers do. Either way all events of a call go through one connection, as one call's webhooks follow each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::sync::mpsc;

use super::Failure;
use super::events::{Event, Phase};
use super::http::{Client, Deck, Verdict};
use super::lane::lane;
use super::marks::Marks;

/// A connection in the closed loop keeps so many calls alive at a time: all ring, all are answered, all end.
const LIVE_CALLS: u32 = 8;

/// Events of one call.
const PHASES: u32 = Phase::ALL.len() as u32;

/// What came of posting.
#[derive(Debug)]
pub(crate) struct Posted {
    /// The events that the server promised to have stored.
    pub(crate) acknowledged: Marks,
    /// How many those are.
    pub(crate) count: u64,
    /// Every other answer, counted by what it was.
    pub(crate) refused: BTreeMap<String, u64>,
    /// When the first request was written.
    pub(crate) first_send: Instant,
    /// When the last answer had been read.
    pub(crate) last_answer: Instant,
}

/// What one connection did.
#[derive(Debug, Default)]
struct Shift {
    acknowledged: Vec<Event>,
    refused: BTreeMap<Verdict, u64>,
}

impl Shift {
    fn note(&mut self, event: Event, verdict: Verdict) {
        match verdict {
            Verdict::Acknowledged => self.acknowledged.push(event),
            other => *self.refused.entry(other).or_default() += 1,
        }
    }
}

impl Posted {
    fn sum(shifts: Vec<Shift>, first_send: Instant, last_answer: Instant) -> Self {
        let count = shifts.iter().map(|shift| shift.acknowledged.len() as u64).sum();
        let mut refused = BTreeMap::new();
        for (verdict, times) in shifts.iter().flat_map(|shift| &shift.refused) {
            *refused.entry(verdict.to_string()).or_default() += times;
        }
        let acknowledged = shifts.into_iter().flat_map(|shift| shift.acknowledged).collect();
        Self { acknowledged, count, refused, first_send, last_answer }
    }

    /// The number of answers that were not the promised one.
    pub(crate) fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// Posts on `connections` connections, each waiting for its answer before it goes on, until `time` is over or
/// the deck is used up, whichever comes first.
pub(crate) async fn closed_loop(
    deck: Arc<Deck>,
    phases: &'static [Phase],
    connections: u32,
    time: Duration,
) -> Result<Posted, Failure> {
    let posting = lane("sender", move || async move {
        let clients = try_join_all((0..connections).map(|_| Client::connect(deck.addr))).await?;
        let first_send = Instant::now();
        let until = first_send + time;
        let shifts = clients.into_iter().zip(0..).map(|(client, number)| {
            let events = turns(number, connections, deck.calls(), phases);
            tokio::task::spawn_local(work_off(client, Arc::clone(&deck), events, until))
        });
        let shifts = try_join_all(shifts).await?.into_iter().collect::<Result<_, _>>()?;
        Ok(Posted::sum(shifts, first_send, Instant::now()))
    })?;
    posting.await
}

async fn work_off(
    mut client: Client,
    deck: Arc<Deck>,
    events: impl Iterator<Item = Event>,
    until: Instant,
) -> Result<Shift, Failure> {
    let mut shift = Shift::default();
    for event in events {
        if Instant::now() >= until {
            break;
        }
        let verdict = client.post(&deck, event).await?;
        shift.note(event, verdict);
    }
    Ok(shift)
}

/// The events of connection `number` out of `connections`: its share of the calls, a few alive at a time.
fn turns(number: u32, connections: u32, calls: u32, phases: &'static [Phase]) -> impl Iterator<Item = Event> {
    let share = calls.saturating_sub(number).div_ceil(connections);
    (0..share).step_by(LIVE_CALLS as usize).flat_map(move |first| {
        let live = first..share.min(first + LIVE_CALLS);
        phases.iter().flat_map(move |phase| {
            live.clone().map(move |own| Event { call: own * connections + number, phase: *phase })
        })
    })
}

/// A fixed pace: when each event is due, fixed before the first is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    start: Instant,
    interval: Duration,
    connections: u32,
}

impl Pace {
    /// The number `turn` of all: one ring for every connection, then the answers of these calls, then their ends.
    fn event(&self, turn: u32) -> Event {
        let step = turn / self.connections;
        let phase = Phase::ALL[(step % PHASES) as usize];
        Event { call: step / PHASES * self.connections + turn % self.connections, phase }
    }

    /// When an event is meant to be sent, which is also when its latency begins to count.
    pub(crate) fn due(&self, event: Event) -> Instant {
        let step = event.call / self.connections * PHASES + event.phase as u32;
        self.start + self.interval * (step * self.connections + event.call % self.connections)
    }
}

/// Posts all events of the deck at `rate` a second over at most `connections` connections. A late answer delays
/// the next request of its connection but no due time, so that waiting is measured and not hidden.
pub(crate) async fn open_loop(
    deck: Arc<Deck>,
    connections: u32,
    rate: u32,
) -> Result<(Posted, Pace), Failure> {
    // Each connection gets at least one event a second, so that no server finds it idle.
    let connections = connections.min(rate);
    let posting = lane("sender", move || async move {
        let clients = try_join_all((0..connections).map(|_| Client::connect(deck.addr))).await?;
        let interval = Duration::from_secs(1) / rate;
        let pace = Pace { start: Instant::now() + Duration::from_millis(20), interval, connections };
        let (queues, shifts): (Vec<_>, Vec<_>) = clients
            .into_iter()
            .map(|client| {
                let (queue, due) = mpsc::unbounded_channel();
                (queue, tokio::task::spawn_local(work_as_due(client, Arc::clone(&deck), due)))
            })
            .unzip();
        // A whole number of rounds, so that every call ends.
        let turns = deck.calls() / connections * connections * PHASES;
        thread::Builder::new().name("pacer".to_owned()).spawn(move || keep_pace(pace, turns, &queues))?;
        let shifts = try_join_all(shifts).await?.into_iter().collect::<Result<_, _>>()?;
        Ok((Posted::sum(shifts, pace.start, Instant::now()), pace))
    })?;
    posting.await
}

async fn work_as_due(
    mut client: Client,
    deck: Arc<Deck>,
    mut due: mpsc::UnboundedReceiver<Event>,
) -> Result<Shift, Failure> {
    let mut shift = Shift::default();
    while let Some(event) = due.recv().await {
        let verdict = client.post(&deck, event).await?;
        shift.note(event, verdict);
    }
    Ok(shift)
}

/// The pacer is a thread because the runtime's timers are a millisecond coarse, which is as much as the whole
/// way of an event may take.
fn keep_pace(pace: Pace, turns: u32, queues: &[mpsc::UnboundedSender<Event>]) {
    for turn in 0..turns {
        let due = pace.start + pace.interval * turn;
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
        }
        let queue = &queues[(turn % pace.connections) as usize];
        if queue.send(pace.event(turn)).is_err() {
            return; // That connection failed, and its error ends the measure.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connections_share_all_events_and_keep_each_call_in_order() {
        let mut seen = Marks::default();
        let mut count = 0;
        for number in 0..4 {
            let mut stage = [0; 50];
            for event in turns(number, 4, 50, &Phase::ALL) {
                assert_eq!(event.call % 4, number);
                assert_eq!(stage[event.call as usize], event.phase as usize);
                stage[event.call as usize] += 1;
                assert!(seen.add(event));
                count += 1;
            }
        }
        assert_eq!(count, 150);
    }

    #[test]
    fn a_pace_knows_when_each_event_was_due() {
        let pace = Pace { start: Instant::now(), interval: Duration::from_millis(2), connections: 64 };
        for turn in 0..1_000 {
            let event = pace.event(turn);
            assert_eq!(pace.due(event), pace.start + pace.interval * turn);
            assert_eq!(event.call % 64, turn % 64);
        }
    }
}
