//! Renewals of token pairs: which process renews one, what is stored and which events are emitted. On both databases,
//! by a clock that the test sets.

use std::sync::Arc;

use chrono::TimeDelta;
use cti_actors::{
    clock::Clock,
    event::Frame,
    id::{AppId, Seq},
    model::token::TokenPair,
    ports::EventLog,
    testing::ManualClock,
};
use cti_server::{
    encryption_keys::EncryptionKeys,
    store::{
        Store,
        crypto::vault::Vault,
        dialpad::{
            connections::Tokens,
            renewals::{Begun, Finished, Intent, LEASE},
        },
        tenants::api_keys::NewKey,
    },
};
use secrecy::ExposeSecret;

use crate::support::World;

on_both_databases![
    a_pair_is_renewed_by_one_at_a_time,
    an_intent_is_taken_over_when_its_lease_has_ended,
    a_late_pair_is_kept_even_when_its_intent_was_taken_over,
    a_pair_that_was_replaced_changes_nothing,
    an_app_that_was_reconnected_in_the_meantime_keeps_its_new_tokens,
    an_app_that_was_disconnected_in_the_meantime_stays_disconnected,
    a_degraded_connection_is_reported_once_and_so_is_its_recovery,
    an_expired_pair_is_reported_once,
    a_reply_without_a_refresh_token_leaves_the_old_one,
    an_interrupted_renewal_is_due_first,
    a_static_token_is_never_due,
    what_was_stored_while_the_clock_was_ahead_is_due,
    connections_of_the_other_environment_are_left_alone,
    the_feed_of_a_connection_has_no_hole,
];

/// A process: its store and its clock.
struct Process {
    store: Store,
    clock: Arc<ManualClock>,
}

const ENVIRONMENT: &str = "sandbox";

impl Process {
    async fn open(world: &World) -> Self {
        let clock = Arc::new(ManualClock::default());
        let url = world.setting("DATABASE_URL").parse().expect("a database URL");
        let keys = EncryptionKeys::parse(&world.setting("TOKEN_ENCRYPTION_KEY").into()).expect("a key");
        let (store, _) =
            Store::open(&url, Vault::new(&keys), clock.clone()).await.expect("the database opens");
        store.migrate().await.expect("the migrations apply");
        Self { store, clock }
    }

    /// Tokens that live for an hour from now on.
    fn tokens(&self, name: &str) -> Tokens {
        let now = self.clock.now();
        let (access, refresh) = (format!("access {name}"), format!("refresh {name}"));
        let expires_at = Some(now + TimeDelta::hours(1));
        Tokens { access: access.into(), refresh: Some(refresh.into()), issued_at: now, expires_at }
    }

    async fn app(&self) -> AppId {
        self.store.apps().create("an app", &NewKey::generate()).await.expect("an app").id
    }

    async fn connect(&self, app: AppId, tokens: &Tokens) -> TokenPair {
        self.store.connections().connect(app, ENVIRONMENT, Some(7), tokens, "").await.expect("connected");
        self.pair(app).await
    }

    /// A connected app whose tokens are a minute old.
    async fn connected_app(&self) -> (AppId, TokenPair) {
        let app = self.app().await;
        let pair = self.connect(app, &self.tokens("1")).await;
        self.after(60);
        (app, pair)
    }

    fn after(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    async fn pair(&self, app: AppId) -> TokenPair {
        self.store.connections().find(app).await.expect("read").expect("connected").pair
    }

    async fn access_token(&self, app: AppId) -> String {
        let connection = self.store.connections().find(app).await.expect("read").expect("connected");
        connection.access_token.expose_secret().to_owned()
    }

    async fn begin(&self, pair: TokenPair) -> Begun {
        self.store.renewals().begin(pair, ENVIRONMENT).await.expect("the database answers")
    }

    async fn intent(&self, pair: TokenPair) -> Intent {
        match self.begin(pair).await {
            Begun::Intent(intent) => intent,
            other => panic!("expected an intent, got {}", word(&other)),
        }
    }

    async fn finish(&self, pair: TokenPair, name: &str) -> Finished {
        self.store.renewals().finish(pair, &self.tokens(name)).await.expect("the database answers")
    }

    async fn fail(&self, intent: &Intent, seconds: i64) -> Vec<Frame> {
        let again_at = self.clock.now() + TimeDelta::seconds(seconds);
        self.store.renewals().fail(intent, "unreachable", again_at).await.expect("the database answers")
    }

    async fn due(&self) -> Vec<TokenPair> {
        let due = self.store.renewals().due(ENVIRONMENT, self.clock.now(), 100).await;
        due.expect("the database answers").into_iter().map(|due| due.pair).collect()
    }

    async fn events(&self, app: AppId) -> Vec<String> {
        let page = self.store.page(app, Seq::START, 100).await.expect("read");
        page.iter().map(|frame| frame.event_type.to_string()).collect()
    }
}

fn word(begun: &Begun) -> &'static str {
    match begun {
        Begun::Intent(_) => "intent",
        Begun::Static(_) => "static",
        Begun::UnderWay => "under way",
        Begun::TooSoon { .. } => "too soon",
        Begun::Superseded => "superseded",
        Begun::Expired => "expired",
    }
}

async fn a_pair_is_renewed_by_one_at_a_time(world: World) {
    let (ours, theirs) = (Process::open(&world).await, Process::open(&world).await);
    let (app, pair) = ours.connected_app().await;
    theirs.after(60);
    let intent = ours.intent(pair).await;
    assert_eq!(intent.refresh_token.expect("it opens").expose_secret(), "refresh 1");
    assert_eq!(word(&ours.begin(pair).await), "under way");
    assert_eq!(word(&theirs.begin(pair).await), "under way");
    assert!(matches!(ours.finish(pair, "2").await, Finished::Stored(frames) if frames.is_empty()));
    assert_eq!(word(&theirs.begin(pair).await), "superseded");
    assert_eq!(theirs.access_token(app).await, "access 2");
    let next = theirs.pair(app).await;
    assert!(next.generation > pair.generation);
    assert_eq!(word(&theirs.begin(next).await), "too soon", "within a second of the last one");
    theirs.after(1);
    assert_eq!(theirs.intent(next).await.refresh_token.expect("it opens").expose_secret(), "refresh 2");
}

async fn an_intent_is_taken_over_when_its_lease_has_ended(world: World) {
    let process = Process::open(&world).await;
    let (_, pair) = process.connected_app().await;
    process.intent(pair).await;
    process.clock.advance(LEASE - TimeDelta::milliseconds(1));
    assert_eq!(word(&process.begin(pair).await), "under way");
    process.clock.advance(TimeDelta::milliseconds(1));
    process.intent(pair).await;
    assert_eq!(word(&process.begin(pair).await), "under way");
}

async fn a_late_pair_is_kept_even_when_its_intent_was_taken_over(world: World) {
    let process = Process::open(&world).await;
    let (app, pair) = process.connected_app().await;
    process.intent(pair).await;
    process.clock.advance(LEASE);
    process.intent(pair).await;
    assert!(
        process.store.renewals().expire(pair, "refused").await.expect("written").is_some(),
        "the token was spent"
    );
    assert!(matches!(process.finish(pair, "late").await, Finished::Stored(frames) if frames.len() == 1));
    assert_eq!(process.access_token(app).await, "access late");
    let events = process.events(app).await;
    assert_eq!(events, ["connection.connected", "connection.expired", "connection.recovered"]);
}

async fn a_pair_that_was_replaced_changes_nothing(world: World) {
    let process = Process::open(&world).await;
    let (app, pair) = process.connected_app().await;
    let intent = process.intent(pair).await;
    process.finish(pair, "2").await;
    assert!(matches!(process.finish(pair, "3").await, Finished::Superseded));
    assert!(process.fail(&intent, 5).await.is_empty());
    assert!(process.store.renewals().expire(pair, "refused").await.expect("written").is_none());
    assert_eq!(process.access_token(app).await, "access 2");
    assert_eq!(process.events(app).await, ["connection.connected"]);
}

async fn an_app_that_was_reconnected_in_the_meantime_keeps_its_new_tokens(world: World) {
    let process = Process::open(&world).await;
    let (app, pair) = process.connected_app().await;
    let intent = process.intent(pair).await;
    process.store.connections().disconnect(app).await.expect("disconnected");
    let next = process.connect(app, &process.tokens("new")).await;
    assert!(next.generation > pair.generation, "no generation ever comes back");
    assert!(matches!(process.finish(pair, "late").await, Finished::Superseded));
    assert!(process.fail(&intent, 5).await.is_empty());
    assert!(process.store.renewals().expire(pair, "refused").await.expect("written").is_none());
    assert_eq!(process.access_token(app).await, "access new");
}

async fn an_app_that_was_disconnected_in_the_meantime_stays_disconnected(world: World) {
    let process = Process::open(&world).await;
    let (app, pair) = process.connected_app().await;
    process.intent(pair).await;
    assert!(process.store.connections().disconnect(app).await.expect("disconnected").is_some());
    assert!(matches!(process.finish(pair, "late").await, Finished::Unwanted));
    assert_eq!(word(&process.begin(pair).await), "superseded");
    assert!(process.store.connections().find(app).await.expect("read").is_none());
    assert!(process.store.connections().disconnect(app).await.expect("asked").is_none());
    assert_eq!(process.events(app).await, ["connection.connected", "connection.disconnected"]);
}

async fn a_degraded_connection_is_reported_once_and_so_is_its_recovery(world: World) {
    let process = Process::open(&world).await;
    let (app, pair) = process.connected_app().await;
    for failures in 0..3 {
        let intent = process.intent(pair).await;
        assert_eq!(intent.failures, failures);
        process.fail(&intent, 5).await;
        let Begun::TooSoon { until, reason } = process.begin(pair).await else { panic!("it is paused") };
        assert_eq!((until, &*reason), (process.clock.now() + TimeDelta::seconds(5), "unreachable"));
        assert!(process.due().await.is_empty());
        process.after(5);
        assert_eq!(process.due().await, [pair]);
    }
    let state = process.store.connections().state(app).await.expect("read").expect("connected");
    assert_eq!((&*state.status, state.refresh_problem.as_deref()), ("connected", Some("unreachable")));
    assert!(state.degraded_since.is_some());
    process.intent(pair).await;
    process.finish(pair, "2").await;
    let state = process.store.connections().state(app).await.expect("read").expect("connected");
    assert_eq!((state.degraded_since, state.refresh_problem), (None, None));
    let events = process.events(app).await;
    assert_eq!(events, ["connection.connected", "connection.degraded", "connection.recovered"]);
}

async fn an_expired_pair_is_reported_once(world: World) {
    let process = Process::open(&world).await;
    let (app, pair) = process.connected_app().await;
    process.intent(pair).await;
    let frame =
        process.store.renewals().expire(pair, "refused").await.expect("written").expect("it was not known");
    for part in ["\"code\":\"TOKENS_EXPIRED\"", "\"environment\":\"sandbox\"", "\"dialpad_org_id\":7"] {
        assert!(frame.text.contains(part), "{part} in {}", frame.text);
    }
    assert!(process.store.renewals().expire(pair, "refused").await.expect("asked").is_none());
    assert_eq!(word(&process.begin(pair).await), "expired");
    process.after(86_400);
    assert!(process.due().await.is_empty());
    assert_eq!(process.events(app).await, ["connection.connected", "connection.expired"]);
    process.connect(app, &process.tokens("new")).await;
    assert!(!process.store.connections().find(app).await.expect("read").expect("connected").is_expired);
}

async fn a_reply_without_a_refresh_token_leaves_the_old_one(world: World) {
    let process = Process::open(&world).await;
    let (app, pair) = process.connected_app().await;
    process.intent(pair).await;
    let tokens = Tokens { refresh: None, ..process.tokens("2") };
    process.store.renewals().finish(pair, &tokens).await.expect("written");
    process.after(60);
    let next = process.pair(app).await;
    assert_eq!(process.intent(next).await.refresh_token.expect("it opens").expose_secret(), "refresh 1");
}

async fn an_interrupted_renewal_is_due_first(world: World) {
    let process = Process::open(&world).await;
    let mut pairs = Vec::new();
    for _ in 0..3 {
        pairs.push(process.connected_app().await.1);
    }
    assert!(process.due().await.is_empty());
    process.intent(pairs[2]).await;
    assert!(process.due().await.is_empty(), "it is being renewed");
    process.clock.advance(LEASE);
    assert_eq!(process.due().await, [pairs[2]]);
    process.after(3600);
    let due = process.due().await;
    assert_eq!((due.len(), due[0]), (3, pairs[2]));
}

async fn what_was_stored_while_the_clock_was_ahead_is_due(world: World) {
    let process = Process::open(&world).await;
    let begun = process.connected_app().await.1;
    let ahead = TimeDelta::days(31);
    process.clock.advance(ahead);
    let (_, pair) = process.connected_app().await;
    process.intent(begun).await;
    process.clock.advance(-ahead);
    let mut due = process.due().await;
    due.sort_by_key(|due| due.app_id);
    let mut expected = [begun, pair];
    expected.sort_by_key(|due| due.app_id);
    assert_eq!(due, expected);
    process.intent(pair).await;
    process.intent(begun).await;
}

async fn a_static_token_is_never_due(world: World) {
    let process = Process::open(&world).await;
    let app = process.app().await;
    let tokens = Tokens { refresh: None, expires_at: None, ..process.tokens("static") };
    let pair = process.connect(app, &tokens).await;
    process.after(86_400 * 365);
    assert!(process.due().await.is_empty());
    assert!(
        matches!(process.begin(pair).await, Begun::Static(token) if token.expose_secret() == "access static")
    );
}

async fn connections_of_the_other_environment_are_left_alone(world: World) {
    let process = Process::open(&world).await;
    let (app, _) = process.connected_app().await;
    process
        .store
        .connections()
        .connect(app, "production", Some(7), &process.tokens("2"), "")
        .await
        .expect("connected");
    let pair = process.pair(app).await;
    process.after(3600);
    assert!(process.due().await.is_empty());
    assert_eq!(word(&process.begin(pair).await), "superseded");
}

async fn the_feed_of_a_connection_has_no_hole(world: World) {
    let process = Process::open(&world).await;
    let app = process.app().await;
    let connecting = (0..8).map(|_| async { process.connect(app, &process.tokens("n")).await });
    futures_util::future::join_all(connecting).await;
    let page = process.store.page(app, Seq::START, 100).await.expect("read");
    let seqs: Vec<i64> = page.iter().map(|frame| frame.seq.0).collect();
    assert_eq!(seqs, (1..=8).collect::<Vec<_>>());
}
