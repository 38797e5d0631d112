//! The actor that keeps every connection's tokens fresh. It holds nothing that would be missed: which tokens are due is
//! asked anew each time, so that what another process did, or this one before it was killed, needs no telling.

use std::{collections::HashMap, sync::Weak, time::Duration};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, ResponseFuture,
    WrapFuture,
};
use chrono::{DateTime, Utc};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, join_all},
};
use metrics::counter;
use tracing::{info, warn};

use crate::model::token::{DuePair, Outcome, Renewal, TokenPair, schedule::APART};
use crate::{Engine, error::StoreError, ports::Ports};

/// How many renewals that nobody waits for may be under way: after a long stop, all of them are due.
const MOST_AT_ONCE: usize = 16;
/// How often the outcome of a renewal by another process is looked for.
const POLL: Duration = Duration::from_millis(200);

/// A renewal under way; all who want it wait for the same one.
type Flight = Shared<BoxFuture<'static, Result<Renewal, StoreError>>>;

/// Keeps the tokens of all connections fresh.
pub(crate) struct TokenRefresher {
    ports: Ports,
    /// Shows what was told. Weak, because the engine holds this actor.
    engine: Weak<Engine>,
    token_check_interval: Duration,
    flights: HashMap<TokenPair, Flight>,
    /// Whether the regular look is under way.
    looking: bool,
    /// Whether the last look failed: an outage is one line in the log.
    blind: bool,
    settling: bool,
}

/// Replaces a pair now, and answers when that is done.
#[derive(Message)]
#[rtype(result = "Result<Outcome, StoreError>")]
pub(crate) struct Renew(pub(crate) TokenPair);

/// Looks after what is due now, and answers when all of it is done.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Tend;

/// Begin nothing more. Answers when what is under way is done.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Settle;

impl TokenRefresher {
    pub(crate) fn new(ports: Ports, engine: Weak<Engine>, token_check_interval: Duration) -> Self {
        let flights = HashMap::new();
        Self { ports, engine, token_check_interval, flights, looking: false, blind: false, settling: false }
    }

    /// Begins what is due now and gives the flights. What becomes due within `ahead` begins in its time.
    fn look(&mut self, ahead: Duration) -> ResponseActFuture<Self, Vec<Flight>> {
        self.forget_landed();
        let room = MOST_AT_ONCE.saturating_sub(self.flights.len());
        if self.settling || room == 0 {
            return Box::pin(actix::fut::ready(Vec::new()));
        }
        let (connections, now) = (self.ports.connections.clone(), self.ports.clock.now());
        let due = async move { connections.due(now + ahead, MOST_AT_ONCE).await };
        Box::pin(due.into_actor(self).map(move |due, refresher, ctx| {
            let mut due = refresher.seen(due);
            due.retain(|due| !refresher.flights.contains_key(&due.pair));
            let (now_due, later): (Vec<_>, Vec<_>) =
                due.into_iter().take(room).partition(|due| due.at <= now);
            for due in later {
                ctx.run_later(time_until(due.at, now), move |refresher, ctx| refresher.begin(due.pair, ctx));
            }
            now_due.into_iter().map(|due| refresher.flight(due.pair, ctx)).collect()
        }))
    }

    fn begin(&mut self, pair: TokenPair, ctx: &mut Context<Self>) {
        if !self.settling {
            // It flies by itself; nobody waits here.
            drop(self.flight(pair, ctx));
        }
    }

    fn seen(&mut self, due: Result<Vec<DuePair>, StoreError>) -> Vec<DuePair> {
        match due {
            Ok(due) => {
                self.blind = false;
                due
            }
            Err(failure) => {
                if !std::mem::replace(&mut self.blind, true) {
                    warn!(error = %failure, "which tokens are due can't be looked up");
                }
                Vec::new()
            }
        }
    }

    /// The renewal of a pair: the one that is under way, or a new one. It goes on when all who wait have gone.
    fn flight(&mut self, pair: TokenPair, ctx: &mut Context<Self>) -> Flight {
        self.forget_landed();
        if let Some(flight) = self.flights.get(&pair) {
            return flight.clone();
        }
        let flight = renew(self.ports.clone(), pair).boxed().shared();
        self.flights.insert(pair, flight.clone());
        ctx.spawn(flight.clone().into_actor(self).map(move |renewal, refresher, _| {
            refresher.forget_landed();
            refresher.landed(pair, renewal);
        }));
        flight
    }

    /// A flight has landed for those who wait for it a moment before this actor hears of that.
    fn forget_landed(&mut self) {
        self.flights.retain(|_, flight| flight.peek().is_none());
    }

    fn landed(&self, pair: TokenPair, renewal: Result<Renewal, StoreError>) {
        let TokenPair { app_id, generation } = pair;
        let renewal = match renewal {
            Ok(renewal) => renewal,
            Err(failure) => {
                return warn!(app.id = %app_id, generation, error = %failure, "the database was in the way of new tokens");
            }
        };
        if let Some(result) = renewal.outcome.result() {
            counter!("cti_token_refreshes_total", "outcome" => result.as_str()).increment(1);
        }
        match &renewal.outcome {
            Outcome::Renewed => {
                info!(app.id = %app_id, generation, "tokens were renewed");
            }
            Outcome::Expired => {
                warn!(app.id = %app_id, generation, "tokens have expired; the app must be connected anew");
            }
            Outcome::Failed(reason) => {
                warn!(app.id = %app_id, generation, %reason, "tokens could not be renewed; the old ones stand");
            }
            Outcome::TooSoon { .. } | Outcome::UnderWay | Outcome::Superseded | Outcome::StillGood => {}
        }
        let Some(engine) = self.engine.upgrade() else { return };
        if renewal.outcome == Outcome::Superseded {
            // Somebody else may have told something, or we have and did not hear that it was durable.
            actix_rt::spawn(async move { drop(engine.feed(app_id).await) });
        } else {
            engine.show(app_id, renewal.told);
        }
    }
}

/// Replaces a pair, or waits until whoever is at it has done so.
async fn renew(ports: Ports, pair: TokenPair) -> Result<Renewal, StoreError> {
    loop {
        let renewal = ports.connections.renew(pair).await?;
        match renewal.outcome {
            // Its lease ends, and then it is taken over: this does not go on for ever.
            Outcome::UnderWay => tokio::time::sleep(POLL).await,
            Outcome::TooSoon { until, .. } if until - ports.clock.now() <= APART => {
                tokio::time::sleep(time_until(until, ports.clock.now())).await;
            }
            _ => return Ok(renewal),
        }
    }
}

fn time_until(until: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (until - now).to_std().unwrap_or_default().max(Duration::from_millis(10))
}

impl Actor for TokenRefresher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Soon, not at the first interval: what a killed process had begun comes first.
        ctx.notify(Look);
        ctx.run_interval(self.token_check_interval, |_, ctx| ctx.notify(Look));
    }
}

/// Looks after what is due now.
#[derive(Message)]
#[rtype(result = "()")]
struct Look;

impl Handler<Look> for TokenRefresher {
    type Result = ();

    fn handle(&mut self, _: Look, ctx: &mut Self::Context) {
        // One after the other, however long the store takes.
        if std::mem::replace(&mut self.looking, true) {
            return;
        }
        // As far as the next look does not reach.
        let look = self.look(self.token_check_interval);
        ctx.spawn(look.map(|_, refresher, _| refresher.looking = false));
    }
}

impl Handler<Tend> for TokenRefresher {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Tend, _: &mut Self::Context) -> Self::Result {
        let look = self.look(Duration::ZERO);
        Box::pin(look.then(|flights, refresher, _| join_all(flights).into_actor(refresher)).map(|_, _, _| ()))
    }
}

impl Handler<Renew> for TokenRefresher {
    type Result = ResponseFuture<Result<Outcome, StoreError>>;

    fn handle(&mut self, Renew(pair): Renew, ctx: &mut Self::Context) -> Self::Result {
        if self.settling && !self.flights.contains_key(&pair) {
            let stopping = StoreError::Unavailable("the server is stopping".into());
            return Box::pin(async { Err(stopping) });
        }
        let flight = self.flight(pair, ctx);
        Box::pin(async { flight.await.map(|renewal| renewal.outcome) })
    }
}

impl Handler<Settle> for TokenRefresher {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Settle, _: &mut Self::Context) -> Self::Result {
        self.settling = true;
        let flights: Vec<Flight> = self.flights.values().cloned().collect();
        Box::pin(async { drop(join_all(flights).await) })
    }
}
