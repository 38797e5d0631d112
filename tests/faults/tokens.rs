//! Something breaks while tokens are renewed, at a Dialpad that revokes everything when a refresh token is used twice.
//! It ends in tokens that work, or in a connection that is told to have expired: never in one that is silently dead.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    database_away::behind_a_proxy,
    support::{Answer, App, Ask, Dialpad, TestServer, World, assert_contiguous, eventually, kinds, within},
};

on_both_databases![
    killed_before_dialpad_has_done_anything_it_is_tried_once_more,
    killed_before_the_answer_came_the_connection_is_told_to_have_expired,
    killed_before_the_answer_came_a_forgiving_dialpad_gives_new_tokens,
    killed_right_after_the_answer_the_connection_works_or_is_told_to_have_expired,
    a_planned_stop_waits_for_new_tokens,
    two_processes_cause_one_request_for_all_their_callers,
    two_processes_renew_in_turn_and_never_twice,
];

/// After a kill, whoever runs waits until the dead one's lease has ended.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(40);
const STOP_WITHIN: Duration = Duration::from_secs(25);

/// A strict Dialpad, and an app that is connected to it.
struct Office {
    world: World,
    dialpad: Dialpad,
    server: TestServer,
    app: App,
}

impl Office {
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

    /// Dialpad refuses the token; somebody needs one while the switches are like this. Returns when `stage` of the
    /// request for new tokens is reached.
    async fn renew_until(&self, switches: &Value, stage: &str) {
        self.dialpad.switch(switches).await;
        self.dialpad.revoke_tokens(Some("access")).await;
        let request = self.server.post("/api/calls").by(&self.app).json(&order(0));
        let asking = tokio::spawn(request.send());
        eventually(&format!("{stage} is known of the request"), async || {
            self.refreshes().await.last().is_some_and(|request| !request[stage].is_null()).then_some(())
        })
        .await;
        // It hangs up: the renewal goes on all the same.
        asking.abort();
    }

    /// The requests for new tokens.
    async fn refreshes(&self) -> Vec<Value> {
        let mut requests = self.dialpad.requests("/oauth2/token").await;
        // What did not take effect yet is not known to be one; the first request is the connection's.
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
        let told: Vec<&str> =
            kinds(&feed).into_iter().filter(|kind| kind.starts_with("connection.")).collect();
        told.into_iter().map(str::to_owned).collect()
    }

    /// Waits until a call can be placed, or can't be any more.
    async fn outcome(&self) -> u16 {
        within(TAKEN_OVER_WITHIN, "the connection works or has expired", async || {
            let answer = self.place_call(1).await;
            assert!([201, 401, 503].contains(&answer.status), "{answer}");
            (answer.status != 503).then_some(answer.status)
        })
        .await
    }
}

fn order(user: i64) -> Value {
    json!({"dialpad_user_id": Dialpad::USER + user, "phone_number": "+14155551234"})
}

async fn place_call(server: &TestServer, app: &App, user: i64) -> Answer {
    server.post("/api/calls").by(app).json(&order(user)).answer().await
}

async fn killed_before_dialpad_has_done_anything_it_is_tried_once_more(world: World) {
    let mut office = Office::open(world).await;
    office.renew_until(&json!({"token_delay_ms": 20_000}), "arrived_at").await;
    office.restart(&json!({"token_delay_ms": 0})).await;
    assert_eq!(office.outcome().await, 201);
    let handled = office.refreshes().await.iter().filter(|request| request["status"] == 200).count();
    assert_eq!(handled, 1);
    assert!(
        !office.event_types().await.contains(&"connection.expired".to_owned()),
        "{:?}",
        office.event_types().await
    );
}

async fn killed_before_the_answer_came_the_connection_is_told_to_have_expired(world: World) {
    let mut office = Office::open(world).await;
    office.renew_until(&json!({"token_answer_delay_ms": 20_000}), "handled_at").await;
    office.restart(&json!({"token_answer_delay_ms": 0})).await;
    assert_eq!(office.outcome().await, 401);
    assert_eq!(office.event_types().await, ["connection.connected", "connection.expired"]);
    assert_eq!(office.refreshes().await.len(), 2, "it was tried once more, and not again");
    office.server.connect(&office.app).await;
    assert_eq!(office.place_call(2).await.status, 201);
}

async fn killed_before_the_answer_came_a_forgiving_dialpad_gives_new_tokens(world: World) {
    let mut office = Office::open(world).await;
    office.dialpad.switch(&json!({"refresh_reuse_grace_seconds": 60})).await;
    office.renew_until(&json!({"token_answer_delay_ms": 20_000}), "handled_at").await;
    office.restart(&json!({"token_answer_delay_ms": 0})).await;
    assert_eq!(office.outcome().await, 201);
    assert_eq!(office.event_types().await, ["connection.connected"]);
}

async fn killed_right_after_the_answer_the_connection_works_or_is_told_to_have_expired(world: World) {
    let mut office = Office::open(world).await;
    office.renew_until(&json!({}), "answered_at").await;
    office.restart(&json!({})).await;
    let outcome = office.outcome().await;
    let told = office.event_types().await;
    match outcome {
        201 => assert_eq!(told, ["connection.connected"]),
        _ => assert_eq!(told, ["connection.connected", "connection.expired"]),
    }
}

async fn a_planned_stop_waits_for_new_tokens(world: World) {
    let mut office = Office::open(world).await;
    office.dialpad.switch(&json!({"token_lifetime_seconds": 3})).await;
    office.server.connect(&office.app).await;
    // Nobody asks for them: it is time.
    office.dialpad.switch(&json!({"token_lifetime_seconds": 3600, "token_answer_delay_ms": 2_000})).await;
    eventually("new tokens are on their way", async || {
        office
            .refreshes()
            .await
            .last()
            .is_some_and(|request| request["note"] == "refresh_token")
            .then_some(())
    })
    .await;
    office.server.process.terminate();
    let ended = office.server.process.exit(STOP_WITHIN).await;
    assert_eq!(ended.code(), Some(0), "{}", office.server.process.log());
    office.restart(&json!({"token_answer_delay_ms": 0})).await;
    assert_eq!(office.place_call(1).await.status, 201, "at once, without any wait for a lease");
    assert_eq!(office.refreshes().await.len(), 2, "one of them was the new connection's");
    assert_eq!(office.event_types().await, ["connection.connected", "connection.connected"]);
}

async fn two_processes_cause_one_request_for_all_their_callers(world: World) {
    let office = Office::open(world).await;
    let other = office.world.start().await;
    office.dialpad.switch(&json!({"token_delay_ms": 1000})).await;
    office.dialpad.revoke_tokens(Some("access")).await;
    let here = join_all((0..10).map(|caller| office.place_call(caller % 3)));
    let there = join_all((0..10).map(|caller| place_call(&other, &office.app, 3 + caller % 3)));
    let (here, there) = tokio::join!(here, there);
    for answer in here.iter().chain(&there) {
        assert!([201, 429].contains(&answer.status), "{answer}");
    }
    for side in [&here, &there] {
        assert!(side.iter().any(|answer| answer.status == 201), "nobody got through: {}", side[0]);
    }
    assert_eq!(office.refreshes().await.len(), 1);
    assert_eq!(office.event_types().await, ["connection.connected"]);
}

async fn two_processes_renew_in_turn_and_never_twice(world: World) {
    let office = Office::open(world).await;
    let other = office.world.start().await;
    // Both look every second, and the answers take longer.
    office.dialpad.switch(&json!({"token_lifetime_seconds": 5, "token_answer_delay_ms": 1_300})).await;
    office.server.connect(&office.app).await;
    let until = now() + Duration::from_secs(13);
    eventually("some time has passed", async || (now() > until).then_some(())).await;
    let mut refreshes = office.refreshes().await;
    refreshes.retain(|request| request["note"] == "refresh_token");
    assert!((2..=4).contains(&refreshes.len()), "{refreshes:#?}");
    for request in &refreshes {
        assert!(request["status"] == 200 || request["status"].is_null(), "{refreshes:#?}");
    }
    let status = other.get("/status").by(&office.app).answer().await.ok();
    assert_eq!(status["status"], "connected", "{status:#}");
    assert_eq!(office.event_types().await, ["connection.connected", "connection.connected"]);
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970")
}

/// The new pair is nowhere but in the server's memory: it must not be given up.
#[tokio::test]
async fn new_tokens_are_kept_while_the_database_is_away() {
    let Some((world, proxy)) = behind_a_proxy("new_tokens_are_kept").await else { return };
    let office = Office::open(world).await;
    office.renew_until(&json!({"token_answer_delay_ms": 1_500}), "handled_at").await;
    proxy.cut();
    eventually("the answer is there", async || {
        office.refreshes().await.last().is_some_and(|request| !request["answered_at"].is_null()).then_some(())
    })
    .await;
    eventually("the server can't store it", async || {
        office.server.process.log().contains("new tokens could not be stored").then_some(())
    })
    .await;
    proxy.mend();
    office.dialpad.switch(&json!({"token_answer_delay_ms": 0})).await;
    let placed = within(TAKEN_OVER_WITHIN, "a call can be placed", async || {
        let answer = office.place_call(1).await;
        (answer.status != 503).then_some(answer)
    })
    .await;
    assert_eq!(placed.status, 201, "{placed}");
    assert_eq!(office.refreshes().await.len(), 1);
    assert_eq!(office.event_types().await, ["connection.connected"]);
}
