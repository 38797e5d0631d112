//! Measures how fast one event reaches very many sockets of one app, alone and in a burst.

use std::time::Instant;

use futures_util::future::try_join_all;
use serde::Serialize;
use tokio::time::sleep;

use super::crowd::Crowd;
use super::events::{Event, Phase};
use super::http::{Client, Deck, Verdict};
use super::server::{Bed, WEBHOOK_SECRET};
use super::stats::{Spread, median, millis, per_second};
use super::{Failure, GRACE, Plan};

/// Events that are sent alone.
const SINGLES: u32 = 100;

/// Events of one burst.
const BURST: u32 = 100;

/// Bursts.
const BURSTS: u32 = 5;

/// Deliveries to many sockets.
#[derive(Debug, Serialize)]
pub struct Fanout {
    /// How many sockets were open.
    pub sockets: u32,
    /// One event at a time, each sent after all sockets got the one before; medians over all, but for the spread.
    pub single: Single,
    /// Many events posted at once; medians over all bursts.
    pub burst: Burst,
    /// Deliveries that did not come.
    pub lost: u64,
    /// Deliveries too many.
    pub duplicated: u64,
    /// Sockets that the server closed.
    pub closed: u32,
    /// Webhooks that were not acknowledged.
    pub refused: u64,
}

/// One event alone.
#[derive(Debug, Serialize)]
pub struct Single {
    /// How many were sent.
    pub events: u32,
    /// Sockets / (webhook sent → last arrival).
    pub deliveries_per_s: f64,
    /// Webhook sent → last arrival.
    pub last_ms: f64,
    /// First arrival → last arrival; `None` if nothing arrived.
    pub spread: Option<Spread>,
}

/// Many events at once.
#[derive(Debug, Serialize)]
pub struct Burst {
    /// How many bursts there were.
    pub bursts: u32,
    /// How many events each had.
    pub events: u32,
    /// Sockets × events / (first acknowledgement → last arrival).
    pub deliveries_per_s: f64,
    /// Sockets × events / (first webhook sent → last arrival): the storing is on this clock too.
    pub deliveries_per_s_from_send: f64,
    /// First arrival → last arrival.
    pub spread_ms: f64,
}

/// Runs it.
pub(crate) async fn measure(plan: &Plan, bed: &Bed) -> Result<Fanout, Failure> {
    let app = bed.app("bench fan-out").await?;
    let deck = Deck::sign(bed.addr, &app.app_id, WEBHOOK_SECRET, SINGLES + BURSTS * BURST);
    let crowd = Crowd::open(bed.addr, &app.api_key, plan.sockets).await?;
    let mut sender = Sender { deck, next: 0, told: 0, refused: 0 };

    let mut client = Client::connect(bed.addr).await?;
    let mut last = Vec::new();
    let mut spreads = Vec::new();
    for _ in 0..SINGLES {
        crowd.restart();
        let sent = Instant::now();
        sender.send(std::slice::from_mut(&mut client)).await?;
        crowd.received(u64::from(plan.sockets) * u64::from(sender.told)).await;
        let (first_arrival, last_arrival) = crowd.arrivals();
        last.push(millis(last_arrival.saturating_duration_since(sent)));
        spreads.push(last_arrival.saturating_duration_since(first_arrival));
    }
    let last_ms = median(last);
    let single = Single {
        events: SINGLES,
        deliveries_per_s: if last_ms > 0.0 { f64::from(plan.sockets) * 1_000.0 / last_ms } else { 0.0 },
        last_ms,
        spread: Spread::of(spreads),
    };

    let burst = bursts(plan, bed, &crowd, &mut sender).await?;
    sleep(GRACE).await;
    let (lost, duplicated) = crowd.lost_and_duplicated(sender.told);
    Ok(Fanout {
        sockets: plan.sockets,
        single,
        burst,
        lost,
        duplicated,
        closed: crowd.closed(),
        refused: sender.refused,
    })
}

async fn bursts(plan: &Plan, bed: &Bed, crowd: &Crowd, sender: &mut Sender) -> Result<Burst, Failure> {
    let mut clients = try_join_all((0..BURST).map(|_| Client::connect(bed.addr))).await?;
    let mut rates = Vec::new();
    let mut rates_from_send = Vec::new();
    let mut spreads = Vec::new();
    for _ in 0..BURSTS {
        crowd.restart();
        let told_before = sender.told;
        let sent = Instant::now();
        let first_answer = sender.send(&mut clients).await?;
        let sockets = u64::from(plan.sockets);
        crowd.received(sockets * u64::from(sender.told)).await;
        let (first_arrival, last_arrival) = crowd.arrivals();
        let deliveries = sockets * u64::from(sender.told - told_before);
        rates.push(per_second(deliveries, last_arrival.saturating_duration_since(first_answer)));
        rates_from_send.push(per_second(deliveries, last_arrival.saturating_duration_since(sent)));
        spreads.push(millis(last_arrival.saturating_duration_since(first_arrival)));
    }
    Ok(Burst {
        bursts: BURSTS,
        events: BURST,
        deliveries_per_s: median(rates),
        deliveries_per_s_from_send: median(rates_from_send),
        spread_ms: median(spreads),
    })
}

/// Rings calls, one after the other.
struct Sender {
    deck: Deck,
    /// The next call to ring.
    next: u32,
    /// Acknowledged events: what every socket has to get.
    told: u32,
    refused: u64,
}

impl Sender {
    /// Posts one ring on every client, all at the same time; returns when the first answer had been read.
    async fn send(&mut self, clients: &mut [Client]) -> Result<Instant, Failure> {
        let deck = &self.deck;
        let posts = clients.iter_mut().zip(self.next..).map(|(client, call)| async move {
            let verdict = client.post(deck, Event { call, phase: Phase::Ring }).await?;
            Ok::<_, Failure>((Instant::now(), verdict))
        });
        let answers = try_join_all(posts).await?;
        for (_, verdict) in &answers {
            self.next += 1;
            match verdict {
                Verdict::Acknowledged => self.told += 1,
                Verdict::Duplicate | Verdict::NotStored | Verdict::Refused(_) => self.refused += 1,
            }
        }
        Ok(answers.iter().map(|(answered, _)| *answered).min().unwrap_or_else(Instant::now))
    }
}
