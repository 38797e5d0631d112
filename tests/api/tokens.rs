//! Staying connected: tokens are renewed in time, by one request, whatever Dialpad answers; and what becomes of a
//! connection is emitted.

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    Answer, App, Ask, Dialpad, Shows, TestServer, World, assert_contiguous, eventually, kinds,
};

on_both_databases![
    tokens_are_renewed_before_they_end,
    two_hundred_callers_with_an_ended_token_cause_one_request,
    a_token_that_dialpad_refuses_is_renewed_once_and_the_request_goes_through,
    a_bad_day_at_dialpad_loses_no_connection,
    what_dialpad_asks_for_is_waited,
    a_lifetime_that_makes_no_sense_loses_no_tokens,
    a_reply_without_a_refresh_token_leaves_the_old_one,
    a_wrong_client_secret_loses_no_connection,
    a_dead_refresh_token_is_emitted_once_and_a_person_can_help,
    a_static_token_is_used_until_dialpad_refuses_it,
    a_static_token_is_used_beyond_the_lifetime_that_was_given,
    without_a_lifetime_a_static_token_has_no_end,
    the_reply_says_which_scopes_were_granted,
    an_endpoint_that_refuses_a_static_token_does_not_end_the_connection,
    disconnecting_revokes_even_when_the_token_has_ended,
    connections_survive_a_restart_with_ended_tokens,
];

/// An app that is connected, and whose tokens nobody uses unasked.
struct Office {
    world: World,
    dialpad: Dialpad,
    server: TestServer,
    app: App,
}

impl Office {
    async fn open(world: World) -> Self {
        Self::open_with(world, &json!({})).await
    }

    /// Connected while Dialpad has these switches.
    async fn open_with(world: World, switches: &Value) -> Self {
        let dialpad = Dialpad::start().await;
        dialpad.switch(switches).await;
        let world = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false");
        let server = world.start().await;
        let app = server.create_app("CRM").await;
        server.connect(&app).await;
        Self { world, dialpad, server, app }
    }

    /// Something that needs Dialpad.
    async fn place_call(&self, user: i64) -> Answer {
        let order = json!({"dialpad_user_id": Dialpad::USER + user, "phone_number": "+14155551234"});
        self.server.post("/api/calls").by(&self.app).json(&order).answer().await
    }

    async fn status(&self) -> Value {
        self.server.get("/status").by(&self.app).answer().await.ok()
    }

    async fn status_becomes(&self, status: &str) -> Value {
        eventually(&format!("the app is {status}"), async || {
            Some(self.status().await).filter(|shown| shown["status"] == status)
        })
        .await
    }

    /// What Dialpad answered to those who asked for new tokens.
    async fn refreshes(&self) -> Vec<Value> {
        refreshes(&self.dialpad).await
    }

    async fn event_types(&self) -> Vec<String> {
        let feed = self.server.feed(&self.app).await;
        assert_contiguous(&feed, 0);
        let emitted: Vec<&str> =
            kinds(&feed).into_iter().filter(|kind| kind.starts_with("connection.")).collect();
        emitted.into_iter().map(str::to_owned).collect()
    }
}

async fn refreshes(dialpad: &Dialpad) -> Vec<Value> {
    let mut requests = dialpad.requests("/oauth2/token").await;
    requests.retain(|request| request["note"] == "refresh_token");
    requests.into_iter().map(|request| request["status"].clone()).collect()
}

async fn until_ended(status: &Value) {
    let ends_at = status["token_expires_at"].as_str().expect("the token ends");
    let ends_at: DateTime<Utc> = ends_at.parse().expect("a time");
    let now = || DateTime::<Utc>::from(std::time::SystemTime::now());
    eventually("the token has ended", async || (now() > ends_at).then_some(())).await;
}

async fn tokens_are_renewed_before_they_end(world: World) {
    let office = Office::open_with(world, &json!({"token_lifetime_seconds": 4})).await;
    eventually("tokens are renewed twice", async || (office.refreshes().await.len() >= 2).then_some(()))
        .await;
    let requests = office.dialpad.requests("/oauth2/token").await;
    let at = |index: usize| requests[index]["arrived_at"].as_f64().expect("microseconds") / 1e6;
    for index in 1..3 {
        let age = at(index) - at(index - 1);
        assert!((2.9..4.0).contains(&age), "renewed after {age} s of 4");
    }
    assert_eq!(office.place_call(0).await.status, 201);
    office.status().await.shows(json!({"connected": true, "status": "connected", "problem": null}));
    assert_eq!(office.event_types().await, ["connection.connected"], "what goes as it should is no news");
    let metrics = office.server.metrics().await;
    assert!(metrics.sum("cti_token_refreshes_total", &["outcome=\"renewed\""]) >= 2.0, "{}", metrics.text());
}

async fn two_hundred_callers_with_an_ended_token_cause_one_request(world: World) {
    let mut office = Office::open_with(world, &json!({"token_lifetime_seconds": 2})).await;
    office.server.process.kill();
    let before = office.refreshes().await.len();
    eventually("the last token has ended", async || {
        let last = office.dialpad.requests("/oauth2/token").await.pop().expect("one was got");
        let ended = last["arrived_at"].as_i64().expect("microseconds") + 2_500_000;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        (now.as_micros() > ended.unsigned_abs().into()).then_some(())
    })
    .await;
    // The one request takes so long that all of them come while it is under way.
    office.dialpad.switch(&json!({"token_lifetime_seconds": 3600, "token_delay_ms": 1500})).await;
    office.server = office.world.start().await;
    let answers = join_all((0..200).map(|caller| office.place_call(caller % 6))).await;
    let mut created = 0;
    for answer in &answers {
        // Dialpad lets each user place 5 calls a minute.
        assert!([201, 429].contains(&answer.status), "{answer}");
        created += usize::from(answer.status == 201);
    }
    assert!(created > 0, "nobody got through: {}", answers[0]);
    assert_eq!(office.refreshes().await.len(), before + 1);
}

async fn a_token_that_dialpad_refuses_is_renewed_once_and_the_request_goes_through(world: World) {
    let office = Office::open(world).await;
    office.dialpad.revoke_tokens(Some("access")).await;
    assert_eq!(office.place_call(0).await.status, 201);
    assert_eq!(office.refreshes().await, [200]);
    let asked = office.dialpad.requests("/api/v2/call").await;
    let statuses: Vec<_> = asked.iter().map(|request| request["status"].clone()).collect();
    assert_eq!(statuses, [401, 200]);
    assert_eq!(office.place_call(1).await.status, 201);
    assert_eq!(office.refreshes().await.len(), 1, "the new token is used");
    assert_eq!(office.event_types().await, ["connection.connected"]);
}

async fn a_bad_day_at_dialpad_loses_no_connection(world: World) {
    let office = Office::open(world).await;
    let bad = ["server_error", "unavailable", "too_many_requests", "html", "empty", "reset"];
    for (user, answer) in (0..).zip(bad) {
        office.dialpad.revoke_tokens(Some("access")).await;
        office.dialpad.switch(&json!({"next_answers": [{"to": "token", "answer": answer}]})).await;
        let refused = office.place_call(user).await;
        refused.refuses(503, "DIALPAD_UNAVAILABLE");
        assert!(refused.header("retry-after").is_some(), "{refused}");
        office.status_becomes("connected").await.shows(json!({"connected": true, "problem": null}));
        assert_eq!(office.place_call(user).await.status, 201, "after {answer}");
    }
    let emitted = office.event_types().await;
    assert_eq!(emitted[0], "connection.connected");
    assert_eq!(emitted[1..].len(), 2 * bad.len(), "{emitted:?}");
    for pair in emitted[1..].chunks(2) {
        assert_eq!(pair, ["connection.degraded", "connection.recovered"]);
    }
    let metrics = office.server.metrics().await;
    assert_eq!(metrics.sum("cti_token_refreshes_total", &["outcome=\"failed\""]), bad.len() as f64);
}

async fn what_dialpad_asks_for_is_waited(world: World) {
    let office = Office::open(world).await;
    office.dialpad.revoke_tokens(Some("access")).await;
    let wait = json!({"to": "token", "answer": "too_many_requests", "retry_after": "3"});
    office.dialpad.switch(&json!({"next_answers": [wait]})).await;
    office.place_call(0).await.refuses(503, "DIALPAD_UNAVAILABLE");
    let feed = office.server.feed(&office.app).await;
    let degraded =
        feed.iter().find(|event| event["type"] == "connection.degraded").expect("at the first failure");
    degraded.shows(json!({"code": "TOKEN_REFRESH_FAILED", "reason": "Dialpad answered 429"}));
    let shown = office.status_becomes("degraded").await;
    shown.shows(json!({"connected": true, "problem": "Dialpad answered 429"}));
    assert!(shown["degraded_since"].is_string(), "{shown:#}");
    // Who asks meanwhile is not passed on.
    office.place_call(0).await.refuses(503, "DIALPAD_UNAVAILABLE");
    office.status_becomes("connected").await;
    let mut requests = office.dialpad.requests("/oauth2/token").await;
    let at = |request: Value| request["arrived_at"].as_f64().expect("microseconds") / 1e6;
    let (second, first) = (at(requests.pop().expect("two")), at(requests.pop().expect("two")));
    assert!(second - first >= 3.0, "asked again after {} s", second - first);
}

async fn a_lifetime_that_makes_no_sense_loses_no_tokens(world: World) {
    let office = Office::open(world).await;
    let odd = [json!("absent"), json!("soon"), json!("1800"), json!(0), json!(-1), json!(1e30), json!([5])];
    for (user, expires_in) in (0..).zip(&odd) {
        office.dialpad.switch(&json!({"expires_in": expires_in})).await;
        office.dialpad.revoke_tokens(Some("access")).await;
        assert_eq!(office.place_call(user % 6).await.status, 201, "{expires_in}");
    }
    assert_eq!(office.refreshes().await.len(), odd.len());
    assert_eq!(office.event_types().await, ["connection.connected"]);
    office.status().await.shows(json!({"status": "connected"}));
    office.server.connect(&office.app).await;
    assert_eq!(office.place_call(5).await.status, 201, "a code is traded as leniently");
}

async fn a_reply_without_a_refresh_token_leaves_the_old_one(world: World) {
    let office = Office::open(world).await;
    office.dialpad.switch(&json!({"keep_refresh_tokens": true})).await;
    for user in 0..3 {
        office.dialpad.revoke_tokens(Some("access")).await;
        assert_eq!(office.place_call(user).await.status, 201);
    }
    assert_eq!(office.refreshes().await, [200, 200, 200]);
}

async fn a_wrong_client_secret_loses_no_connection(world: World) {
    let mut office = Office::open(world).await;
    office.server.process.kill();
    let secret = office.world.setting("DIALPAD_SANDBOX_CLIENT_SECRET").to_owned();
    office.world = office.world.with("DIALPAD_SANDBOX_CLIENT_SECRET", "mistyped");
    office.server = office.world.start().await;
    office.dialpad.revoke_tokens(Some("access")).await;
    office.place_call(0).await.refuses(503, "DIALPAD_UNAVAILABLE");
    office.status_becomes("degraded").await.shows(json!({"problem": "Dialpad answered 401 invalid_client"}));
    office.server.process.kill();
    office.world = office.world.with("DIALPAD_SANDBOX_CLIENT_SECRET", &secret);
    office.server = office.world.start().await;
    office.status_becomes("connected").await;
    assert_eq!(office.place_call(0).await.status, 201);
    assert_eq!(
        office.event_types().await,
        ["connection.connected", "connection.degraded", "connection.recovered"]
    );
}

async fn a_dead_refresh_token_is_emitted_once_and_a_person_can_help(world: World) {
    let office = Office::open(world).await;
    let mut socket = office.server.listen(&office.app).await;
    office.dialpad.revoke_tokens(None).await;
    for _ in 0..3 {
        let answers = join_all((0..3).map(|user| office.place_call(user))).await;
        for answer in answers {
            let error = answer.refuses(401, "TOKENS_EXPIRED");
            error.shows(json!({"error": "OAuth tokens expired and refresh failed"}));
        }
    }
    let emitted = socket.expect("connection.expired").await;
    emitted.shows(
        json!({"code": "TOKENS_EXPIRED", "environment": "sandbox", "dialpad_org_id": Dialpad::COMPANY}),
    );
    office.status().await.shows(json!({
        "connected": false, "status": "expired", "code": "TOKENS_EXPIRED", "dialpad_org_id": Dialpad::COMPANY,
    }));
    assert_eq!(office.refreshes().await, [400]);
    assert_eq!(office.event_types().await, ["connection.connected", "connection.expired"]);
    office.server.connect(&office.app).await;
    socket.expect("connection.connected").await;
    assert_eq!(office.place_call(3).await.status, 201);
    office.status().await.shows(json!({"connected": true, "status": "connected", "degraded_since": null}));
    let metrics = office.server.metrics().await;
    assert_eq!(metrics.sum("cti_token_refreshes_total", &["outcome=\"expired\""]), 1.0);
}

async fn a_static_token_is_used_until_dialpad_refuses_it(world: World) {
    let static_token = json!({"withheld_scopes": ["offline_access"], "token_lifetime_seconds": 100_000_000});
    let office = Office::open_with(world, &static_token).await;
    let status = office.status().await;
    status.shows(
        json!({"connected": true, "missing_scopes": ["message_content_export:all", "offline_access"]}),
    );
    let instant = |name: &str| -> DateTime<Utc> {
        status[name].as_str().and_then(|text| text.parse().ok()).expect("a time")
    };
    // The longest lifetime that is believed.
    assert_eq!((instant("token_expires_at") - instant("connected_at")).num_days(), 365);
    assert_eq!(office.place_call(0).await.status, 201);
    office.dialpad.revoke_tokens(Some("access")).await;
    office.place_call(0).await.refuses(401, "TOKENS_EXPIRED");
    office.place_call(1).await.refuses(401, "TOKENS_EXPIRED");
    assert!(office.refreshes().await.is_empty());
    assert_eq!(office.event_types().await, ["connection.connected", "connection.expired"]);
    // Once to find out whose token it is, once to make sure that it is dead.
    assert_eq!(office.dialpad.requests("/api/v2/users/{id}").await.len(), 2);
}

async fn a_static_token_is_used_beyond_the_lifetime_that_was_given(world: World) {
    let office =
        Office::open_with(world, &json!({"withheld_scopes": ["offline_access"], "expires_in": 1})).await;
    let status = office.status().await;
    until_ended(&status).await;
    assert_eq!(office.place_call(0).await.status, 201, "Dialpad still accepts it");
    office.dialpad.revoke_tokens(Some("access")).await;
    office.place_call(0).await.refuses(401, "TOKENS_EXPIRED");
    assert_eq!(office.event_types().await, ["connection.connected", "connection.expired"]);
}

async fn without_a_lifetime_a_static_token_has_no_end(world: World) {
    let switches = json!({"withheld_scopes": ["offline_access"], "expires_in": "absent"});
    let office = Office::open_with(world, &switches).await;
    office.status().await.shows(json!({"connected": true, "token_expires_at": null}));
}

async fn the_reply_says_which_scopes_were_granted(world: World) {
    let office = Office::open_with(world, &json!({"withheld_scopes": ["calls:list"]})).await;
    office
        .status()
        .await
        .shows(json!({"connected": true, "missing_scopes": ["calls:list", "message_content_export:all"]}));
}

async fn an_endpoint_that_refuses_a_static_token_does_not_end_the_connection(world: World) {
    let office = Office::open_with(world, &json!({"withheld_scopes": ["offline_access"]})).await;
    let refusal = json!({"to": "api", "only": "POST /api/v2/call", "answer": "unauthorized", "times": 2});
    office.dialpad.switch(&json!({"next_answers": [refusal]})).await;
    office.place_call(0).await.refuses(502, "DIALPAD_REFUSED");
    office.status().await.shows(json!({"connected": true, "status": "connected"}));
    assert_eq!(office.place_call(0).await.status, 201);
    assert_eq!(office.event_types().await, ["connection.connected"]);
}

async fn disconnecting_revokes_even_when_the_token_has_ended(world: World) {
    let mut office = Office::open_with(world, &json!({"token_lifetime_seconds": 2})).await;
    let status = office.status().await;
    office.server.process.kill();
    until_ended(&status).await;
    office.dialpad.switch(&json!({"token_lifetime_seconds": 3600})).await;
    office.server = office.world.start().await;
    let path = format!("/auth/dialpad/disconnect/{}", office.app.id);
    office.server.post(&path).by_admin().answer().await.ok();
    let asked = office.dialpad.requests("/oauth2/deauthorize").await;
    let statuses: Vec<_> = asked.iter().map(|request| request["status"].clone()).collect();
    assert_eq!(statuses, [204]);
    office.place_call(0).await.refuses(409, "NOT_CONNECTED");
}

async fn connections_survive_a_restart_with_ended_tokens(world: World) {
    let mut office = Office::open_with(world, &json!({"token_lifetime_seconds": 2})).await;
    let status = office.status().await;
    office.server.process.kill();
    until_ended(&status).await;
    office.server = office.world.start().await;
    office.dialpad.switch(&json!({"token_lifetime_seconds": 3600})).await;
    eventually("a call can be placed", async || (office.place_call(0).await.status == 201).then_some(()))
        .await;
    assert_eq!(office.event_types().await, ["connection.connected"]);
}
