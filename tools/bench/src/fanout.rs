//! Measures how fast one event reaches many sockets of one app, alone and in a burst.

use std::time::Instant;

use futures_util::future::try_join_all;
use serde::Serialize;
use tokio::time::sleep;

use super::events::{Event, Phase};
use super::http::{Answer, Client, RequestDeck};
use super::server::{ServerUnderTest, WEBHOOK_SECRET};
use super::socket_pool::SocketPool;
use super::stats::{Spread, median, millis, per_second};
use super::{DUPLICATE_WAIT, Failure, Plan};

/// Events that are sent one at a time.
const SINGLES: u32 = 100;

/// Events per burst.
const BURST: u32 = 100;

/// Number of bursts.
const BURSTS: u32 = 5;

/// Deliveries to many sockets.
#[derive(Debug, Serialize)]
pub struct Fanout {
    /// The number of open sockets.
    pub sockets: u32,
    /// One event at a time, each sent after all sockets received the previous one; medians, except the spread.
    pub single: Single,
    /// Many events posted at once; medians of all bursts.
    pub burst: Burst,
    /// Deliveries that did not arrive.
    pub lost: u64,
    /// Duplicate deliveries.
    pub duplicated: u64,
    /// Sockets that the server closed.
    pub closed: u32,
    /// Webhooks that were not acknowledged.
    pub refused: u64,
}

/// One event at a time.
#[derive(Debug, Serialize)]
pub struct Single {
    /// The number of events.
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
    /// The number of bursts.
    pub bursts: u32,
    /// Events per burst.
    pub events: u32,
    /// Sockets × events / (first acknowledgement → last arrival).
    pub deliveries_per_s: f64,
    /// Sockets × events / (first webhook sent → last arrival): includes storing the webhooks.
    pub deliveries_per_s_from_send: f64,
    /// First arrival → last arrival.
    pub spread_ms: f64,
}

/// Runs the measure.
pub(crate) async fn measure(plan: &Plan, server: &ServerUnderTest) -> Result<Fanout, Failure> {
    let app = server.app("bench fan-out").await?;
    let deck = RequestDeck::sign(server.addr, &app.app_id, WEBHOOK_SECRET, SINGLES + BURSTS * BURST);
    let pool = SocketPool::open(server.addr, &app.api_key, plan.sockets).await?;
    let mut sender = Sender { deck, next: 0, delivered: 0, refused: 0 };

    let mut client = Client::connect(server.addr).await?;
    let mut last = Vec::new();
    let mut spreads = Vec::new();
    for _ in 0..SINGLES {
        pool.restart();
        let sent = Instant::now();
        sender.send(std::slice::from_mut(&mut client)).await?;
        pool.received(u64::from(plan.sockets) * u64::from(sender.delivered)).await;
        let (first_arrival, last_arrival) = pool.arrivals();
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

    let burst = bursts(plan, server, &pool, &mut sender).await?;
    sleep(DUPLICATE_WAIT).await;
    let (lost, duplicated) = pool.lost_and_duplicated(sender.delivered);
    Ok(Fanout {
        sockets: plan.sockets,
        single,
        burst,
        lost,
        duplicated,
        closed: pool.closed(),
        refused: sender.refused,
    })
}

async fn bursts(
    plan: &Plan,
    server: &ServerUnderTest,
    pool: &SocketPool,
    sender: &mut Sender,
) -> Result<Burst, Failure> {
    let mut clients = try_join_all((0..BURST).map(|_| Client::connect(server.addr))).await?;
    let mut rates = Vec::new();
    let mut rates_from_send = Vec::new();
    let mut spreads = Vec::new();
    for _ in 0..BURSTS {
        pool.restart();
        let delivered_before = sender.delivered;
        let sent = Instant::now();
        let first_answer = sender.send(&mut clients).await?;
        let sockets = u64::from(plan.sockets);
        pool.received(sockets * u64::from(sender.delivered)).await;
        let (first_arrival, last_arrival) = pool.arrivals();
        let deliveries = sockets * u64::from(sender.delivered - delivered_before);
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

/// Posts one ring per call.
struct Sender {
    deck: RequestDeck,
    /// The next call.
    next: u32,
    /// Acknowledged events: what every socket must receive.
    delivered: u32,
    refused: u64,
}

impl Sender {
    /// Posts one ring on every client at the same time; returns when the first answer was read.
    async fn send(&mut self, clients: &mut [Client]) -> Result<Instant, Failure> {
        let deck = &self.deck;
        let posts = clients.iter_mut().zip(self.next..).map(|(client, call)| async move {
            let answer = client.post(deck, Event { call, phase: Phase::Ring }).await?;
            Ok::<_, Failure>((Instant::now(), answer))
        });
        let answers = try_join_all(posts).await?;
        for (_, answer) in &answers {
            self.next += 1;
            match answer {
                Answer::Acknowledged => self.delivered += 1,
                Answer::Duplicate | Answer::NotStored | Answer::Refused(_) => self.refused += 1,
            }
        }
        Ok(answers.iter().map(|(answered, _)| *answered).min().unwrap_or_else(Instant::now))
    }
}
