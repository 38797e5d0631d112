//! Failures during a token refresh, with a Dialpad that revokes all tokens when a refresh token is used twice. The
//! outcome is tokens that work or a connection marked expired, never a connection that fails silently.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    database_away::behind_a_proxy,
    support::{
        Answer, App, Ask, Dialpad, STOP_TIMEOUT, TestServer, World, assert_contiguous, eventually, kinds,
        within,
    },
};

on_both_databases![
    killed_before_dialpad_handled_the_request_it_is_retried_once,
    killed_before_the_answer_arrived_the_connection_expires,
    killed_before_the_answer_arrived_new_tokens_come_within_the_grace_period,
    killed_right_after_the_answer_the_connection_works_or_expires,
    a_planned_stop_waits_for_new_tokens,
];

// A second server on a SQLite file is refused.
on_postgres![
    two_processes_cause_one_request_for_all_their_callers,
    two_processes_renew_in_turn_and_never_twice,
];

/// After a kill, the next process waits until the lease of the killed one has ended.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(40);

/// An app connected to a Dialpad that revokes on reuse.
struct Fixture {
    world: World,
    dialpad: Dialpad,
    server: TestServer,
    app: App,
}

impl Fixture {
    async fn open(world: World) -> Self {
        let dialpad = Dialpad::start().await;
        dialpad.switch(&json!({"refresh_reuse_revokes": true})).await;
        let world = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false");
        let server = world.start().await;
        let app = server.create_app("CRM").await;
        server.connect(&app).await;
        Self { world, dialpad, server, app }
    }

    async fn place_call(&self, user: i64) -> Answer {
        place_call(&self.server, &self.app, user).await
    }

    /// Sets the switches, revokes the access token, and sends a request that needs one. Returns when the token request
    /// has reached `stage`.
    async fn renew_until(&self, switches: &Value, stage: &str) {
        self.dialpad.switch(switches).await;
        self.dialpad.revoke_tokens(Some("access")).await;
        let request = self.server.post("/api/calls").by(&self.app).json(&call_request(0));
        let request = tokio::spawn(request.send());
        eventually(&format!("the token request has {stage}"), async || {
            self.refreshes().await.last().is_some_and(|request| !request[stage].is_null()).then_some(())
        })
        .await;
        // The client disconnects; the refresh continues.
        request.abort();
    }

    /// Returns the token requests after the one that connected the app.
    async fn refreshes(&self) -> Vec<Value> {
        let mut requests = self.dialpad.requests("/oauth2/token").await;
        // The grant type is only known once a request is handled, so the first one is dropped by its position.
        requests.remove(0);
        requests
    }

    async fn restart(&mut self, switches: &Value) {
        self.server.process.kill();
        self.dialpad.switch(switches).await;
        self.server = self.world.start().await;
    }

    async fn event_types(&self) -> Vec<String> {
        let feed = self.server.feed(&self.app).await;
        assert_contiguous(&feed, 0);
        let types: Vec<&str> =
            kinds(&feed).into_iter().filter(|kind| kind.starts_with("connection.")).collect();
        types.into_iter().map(str::to_owned).collect()
    }

    /// Waits until placing a call succeeds or fails permanently, and returns the status.
    async fn outcome(&self) -> u16 {
        within(TAKEOVER_TIMEOUT, "the connection works or has expired", async || {
            let answer = self.place_call(1).await;
            assert!([201, 401, 503].contains(&answer.status), "{answer}");
            (answer.status != 503).then_some(answer.status)
        })
        .await
    }
}

fn call_request(user: i64) -> Value {
    json!({"dialpad_user_id": Dialpad::USER + user, "phone_number": "+14155551234"})
}

async fn place_call(server: &TestServer, app: &App, user: i64) -> Answer {
    server.post("/api/calls").by(app).json(&call_request(user)).answer().await
}

async fn killed_before_dialpad_handled_the_request_it_is_retried_once(world: World) {
    let mut fixture = Fixture::open(world).await;
    fixture.renew_until(&json!({"token_delay_ms": 20_000}), "arrived_at").await;
    fixture.restart(&json!({"token_delay_ms": 0})).await;
    assert_eq!(fixture.outcome().await, 201);
    let handled = fixture.refreshes().await.iter().filter(|request| request["status"] == 200).count();
    assert_eq!(handled, 1);
    assert!(
        !fixture.event_types().await.contains(&"connection.expired".to_owned()),
        "{:?}",
        fixture.event_types().await
    );
}

async fn killed_before_the_answer_arrived_the_connection_expires(world: World) {
    let mut fixture = Fixture::open(world).await;
    fixture.renew_until(&json!({"token_answer_delay_ms": 20_000}), "handled_at").await;
    fixture.restart(&json!({"token_answer_delay_ms": 0})).await;
    assert_eq!(fixture.outcome().await, 401);
    assert_eq!(fixture.event_types().await, ["connection.connected", "connection.expired"]);
    assert_eq!(fixture.refreshes().await.len(), 2, "exactly one retry");
    fixture.server.connect(&fixture.app).await;
    assert_eq!(fixture.place_call(2).await.status, 201);
}

async fn killed_before_the_answer_arrived_new_tokens_come_within_the_grace_period(world: World) {
    let mut fixture = Fixture::open(world).await;
    fixture.dialpad.switch(&json!({"refresh_reuse_grace_seconds": 60})).await;
    fixture.renew_until(&json!({"token_answer_delay_ms": 20_000}), "handled_at").await;
    fixture.restart(&json!({"token_answer_delay_ms": 0})).await;
    assert_eq!(fixture.outcome().await, 201);
    assert_eq!(fixture.event_types().await, ["connection.connected"]);
}

async fn killed_right_after_the_answer_the_connection_works_or_expires(world: World) {
    let mut fixture = Fixture::open(world).await;
    fixture.renew_until(&json!({}), "answered_at").await;
    fixture.restart(&json!({})).await;
    let outcome = fixture.outcome().await;
    let types = fixture.event_types().await;
    match outcome {
        201 => assert_eq!(types, ["connection.connected"]),
        _ => assert_eq!(types, ["connection.connected", "connection.expired"]),
    }
}

async fn a_planned_stop_waits_for_new_tokens(world: World) {
    let mut fixture = Fixture::open(world).await;
    fixture.dialpad.switch(&json!({"token_lifetime_seconds": 3})).await;
    fixture.server.connect(&fixture.app).await;
    // No request needs them: the scheduler renews them before they expire.
    fixture.dialpad.switch(&json!({"token_lifetime_seconds": 3600, "token_answer_delay_ms": 2_000})).await;
    eventually("a refresh is in progress", async || {
        fixture
            .refreshes()
            .await
            .last()
            .is_some_and(|request| request["note"] == "refresh_token")
            .then_some(())
    })
    .await;
    fixture.server.process.stop(STOP_TIMEOUT).await;
    fixture.restart(&json!({"token_answer_delay_ms": 0})).await;
    assert_eq!(fixture.place_call(1).await.status, 201, "immediately, without waiting for a lease");
    assert_eq!(fixture.refreshes().await.len(), 2, "one of them is the second connection's");
    assert_eq!(fixture.event_types().await, ["connection.connected", "connection.connected"]);
}

async fn two_processes_cause_one_request_for_all_their_callers(world: World) {
    let fixture = Fixture::open(world).await;
    let other = fixture.world.start().await;
    fixture.dialpad.switch(&json!({"token_delay_ms": 1000})).await;
    fixture.dialpad.revoke_tokens(Some("access")).await;
    let here = join_all((0..10).map(|caller| fixture.place_call(caller % 3)));
    let there = join_all((0..10).map(|caller| place_call(&other, &fixture.app, 3 + caller % 3)));
    let (here, there) = tokio::join!(here, there);
    for answer in here.iter().chain(&there) {
        assert!([201, 429].contains(&answer.status), "{answer}");
    }
    for side in [&here, &there] {
        assert!(side.iter().any(|answer| answer.status == 201), "no call was placed: {}", side[0]);
    }
    assert_eq!(fixture.refreshes().await.len(), 1);
    assert_eq!(fixture.event_types().await, ["connection.connected"]);
}

async fn two_processes_renew_in_turn_and_never_twice(world: World) {
    let fixture = Fixture::open(world).await;
    let other = fixture.world.start().await;
    // Both check every second, and an answer takes longer.
    fixture.dialpad.switch(&json!({"token_lifetime_seconds": 5, "token_answer_delay_ms": 1_300})).await;
    fixture.server.connect(&fixture.app).await;
    let until = now() + Duration::from_secs(13);
    eventually("some time has passed", async || (now() > until).then_some(())).await;
    let mut refreshes = fixture.refreshes().await;
    refreshes.retain(|request| request["note"] == "refresh_token");
    assert!((2..=4).contains(&refreshes.len()), "{refreshes:#?}");
    for request in &refreshes {
        assert!(request["status"] == 200 || request["status"].is_null(), "{refreshes:#?}");
    }
    let status = other.get("/status").by(&fixture.app).answer().await.ok();
    assert_eq!(status["status"], "connected", "{status:#}");
    assert_eq!(fixture.event_types().await, ["connection.connected", "connection.connected"]);
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970")
}

/// The new pair exists only in the server's memory: the server must keep trying to store it.
#[tokio::test]
async fn new_tokens_are_kept_while_the_database_is_unreachable() {
    let Some((world, proxy)) = behind_a_proxy("new_tokens_are_kept").await else { return };
    let fixture = Fixture::open(world).await;
    fixture.renew_until(&json!({"token_answer_delay_ms": 1_500}), "handled_at").await;
    proxy.cut();
    eventually("the answer has arrived", async || {
        fixture
            .refreshes()
            .await
            .last()
            .is_some_and(|request| !request["answered_at"].is_null())
            .then_some(())
    })
    .await;
    eventually("the server can't store it", async || {
        fixture.server.process.log().contains("new tokens could not be stored").then_some(())
    })
    .await;
    proxy.mend();
    fixture.dialpad.switch(&json!({"token_answer_delay_ms": 0})).await;
    let placed = within(TAKEOVER_TIMEOUT, "a call can be placed", async || {
        let answer = fixture.place_call(1).await;
        (answer.status != 503).then_some(answer)
    })
    .await;
    assert_eq!(placed.status, 201, "{placed}");
    assert_eq!(fixture.refreshes().await.len(), 1);
    assert_eq!(fixture.event_types().await, ["connection.connected"]);
    // The server needs its database to stop, so it stops before the proxy does.
    let world = fixture.world.clone();
    drop(fixture);
    world.finish().await;
}
