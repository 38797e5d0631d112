//! The actor that keeps every connection's tokens fresh. It holds nothing that must survive it: which tokens are due is
//! asked of the store each time, so that what another process did, or this one before it was killed, is seen.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture,
    ResponseFuture, WrapFuture,
};
use futures_util::future::join_all;
use metrics::counter;
use parking_lot::Mutex;
use tracing::{info, warn};

use super::{
    periodic::Outage,
    renewal::{self, Flight, delay_until},
};
use crate::{
    error::StoreError,
    event::Frame,
    id::AppId,
    model::token::{DuePair, Outcome, TokenPair},
    ports::{Bounds, Ports, Renewal},
    state::{LastError, LiveCount},
};

/// How many renewals may be under way before a check begins no more: after a long stop, all of them are due.
const MAX_RENEWALS: usize = 16;
/// What a renewal changes in the feed of its app.
pub(super) enum FeedUpdate {
    /// These events are durable.
    Events(Vec<Frame>),
    /// Another process may have published: this is what the store has.
    Bounds(Bounds),
}

/// The counters of the refresher, beside it: they outlive it.
#[derive(Default)]
pub(super) struct RefresherStats {
    pub(super) renewals: LiveCount,
    pub(super) last_error: Mutex<Option<LastError>>,
}

/// Passes updates on to the feeds.
pub(super) type UpdateFeed = Arc<dyn Fn(AppId, FeedUpdate) + Send + Sync>;

/// Keeps the tokens of all connections fresh.
pub(super) struct TokenRefresher {
    ports: Ports,
    update_feed: UpdateFeed,
    check_interval: Duration,
    flights: HashMap<TokenPair, Flight>,
    /// Whether the periodic check is under way.
    checking: bool,
    outage: Outage,
    draining: bool,
    stats: Arc<RefresherStats>,
}

/// Renews a pair now, and answers when that is done.
#[derive(Message)]
#[rtype(result = "Result<Outcome, StoreError>")]
pub(super) struct Renew(pub(super) TokenPair);

/// Renews everything that is due now, and answers when that is done.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct RenewDue;

/// Ends the refresher: begins no other renewal, and answers when those under way are finished.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Drain;

/// Begins what is due now.
#[derive(Message)]
#[rtype(result = "()")]
struct Check;

impl TokenRefresher {
    pub(super) fn new(
        ports: Ports,
        update_feed: UpdateFeed,
        check_interval: Duration,
        stats: Arc<RefresherStats>,
    ) -> Self {
        Self {
            ports,
            update_feed,
            check_interval,
            flights: HashMap::new(),
            checking: false,
            outage: Outage::new("check of due tokens"),
            draining: false,
            stats,
        }
    }

    /// Begins the renewals that are due now and returns them. Those that become due within `ahead` begin when they are.
    fn begin_due(&mut self, ahead: Duration) -> ResponseActFuture<Self, Vec<Flight>> {
        self.remove_finished();
        let room = MAX_RENEWALS.saturating_sub(self.flights.len());
        if self.draining || room == 0 {
            return Box::pin(actix::fut::ready(Vec::new()));
        }
        let connections = Arc::clone(&self.ports.connections);
        let now = self.ports.clock.now();
        let due = async move { connections.due(now + ahead, MAX_RENEWALS).await };
        Box::pin(due.into_actor(self).map(move |due, refresher, ctx| {
            refresher.outage.observe(&due);
            refresher.record_failure(&due);
            let mut due = due.unwrap_or_default();
            due.retain(|due| !refresher.flights.contains_key(&due.pair));
            let (due_now, later): (Vec<DuePair>, Vec<DuePair>) =
                due.into_iter().take(room).partition(|due| due.at <= now);
            for due in later {
                ctx.run_later(delay_until(due.at, now), move |refresher, ctx| refresher.begin(due.pair, ctx));
            }
            due_now.into_iter().map(|due| refresher.flight(due.pair, ctx)).collect()
        }))
    }

    fn begin(&mut self, pair: TokenPair, ctx: &mut Context<Self>) {
        if !self.draining {
            // The actor itself drives it to its end.
            drop(self.flight(pair, ctx));
        }
    }

    /// Returns the renewal of a pair: the one under way, or a new one. It continues when nobody waits for it any more.
    fn flight(&mut self, pair: TokenPair, ctx: &mut Context<Self>) -> Flight {
        self.remove_finished();
        if let Some(flight) = self.flights.get(&pair) {
            return flight.clone();
        }
        let flight = renewal::start(self.ports.clone(), pair, self.stats.renewals.guard());
        self.flights.insert(pair, flight.clone());
        ctx.spawn(flight.clone().into_actor(self).map(move |renewal, refresher, ctx| {
            refresher.remove_finished();
            refresher.on_renewed(pair, renewal, ctx);
        }));
        flight
    }

    /// Removes finished renewals: those who wait for one see its end a moment before this actor does.
    fn remove_finished(&mut self) {
        self.flights.retain(|_, flight| flight.peek().is_none());
    }

    fn on_renewed(&mut self, pair: TokenPair, renewal: Result<Renewal, StoreError>, ctx: &mut Context<Self>) {
        self.record_failure(&renewal);
        let TokenPair { app_id, generation } = pair;
        let renewal = match renewal {
            Ok(renewal) => renewal,
            Err(failure) => {
                warn!(app.id = %app_id, generation, error = %failure, "the database was in the way of new tokens");
                return;
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
                warn!(app.id = %app_id, generation, %reason, "tokens could not be renewed; the old ones stay in use");
            }
            Outcome::TooSoon { .. } | Outcome::UnderWay | Outcome::Superseded | Outcome::StillGood => {}
        }
        if renewal.outcome == Outcome::Superseded {
            self.catch_up(app_id, ctx);
        } else {
            (self.update_feed)(app_id, FeedUpdate::Events(renewal.events));
        }
    }

    fn record_failure<T>(&self, result: &Result<T, StoreError>) {
        if let Err(failure) = result {
            let at = self.ports.clock.now();
            *self.stats.last_error.lock() = Some(LastError { message: failure.to_string(), at });
        }
    }

    /// Asks the store how far the feed of an app reaches. Another process may have published, or this one has and did
    /// not learn that it was durable.
    fn catch_up(&self, app: AppId, ctx: &mut Context<Self>) {
        let log = Arc::clone(&self.ports.log);
        let bounds = async move { log.bounds(app).await };
        ctx.spawn(bounds.into_actor(self).map(move |bounds, refresher, _| {
            // An error costs nothing but time: the session watch asks the same.
            if let Ok(bounds) = bounds {
                (refresher.update_feed)(app, FeedUpdate::Bounds(bounds));
            }
        }));
    }
}

impl Actor for TokenRefresher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Soon, not after the first interval: what a killed process had begun comes first.
        ctx.notify(Check);
        ctx.run_interval(self.check_interval, |_, ctx| ctx.notify(Check));
    }
}

impl Handler<Check> for TokenRefresher {
    type Result = ();

    fn handle(&mut self, _: Check, ctx: &mut Self::Context) {
        // One at a time, however long the store takes.
        if std::mem::replace(&mut self.checking, true) {
            return;
        }
        let check = self.begin_due(self.check_interval);
        ctx.spawn(check.map(|_, refresher, _| refresher.checking = false));
    }
}

impl Handler<RenewDue> for TokenRefresher {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: RenewDue, _: &mut Self::Context) -> Self::Result {
        let begun = self.begin_due(Duration::ZERO);
        Box::pin(
            begun.then(|flights, refresher, _| join_all(flights).into_actor(refresher)).map(|_, _, _| ()),
        )
    }
}

impl Handler<Renew> for TokenRefresher {
    type Result = ResponseFuture<Result<Outcome, StoreError>>;

    fn handle(&mut self, Renew(pair): Renew, ctx: &mut Self::Context) -> Self::Result {
        if self.draining && !self.flights.contains_key(&pair) {
            let stopping = StoreError::Unavailable("the server is stopping".into());
            return Box::pin(async { Err(stopping) });
        }
        let flight = self.flight(pair, ctx);
        Box::pin(async { flight.await.map(|renewal| renewal.outcome) })
    }
}

impl Handler<Drain> for TokenRefresher {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        self.draining = true;
        let flights: Vec<Flight> = self.flights.values().cloned().collect();
        Box::pin(join_all(flights).into_actor(self).map(|_, _, ctx| ctx.stop()))
    }
}
