//! The journal as administrators see it: looked through, and another try for what went wrong.

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::support::{
    Ack, Answer, App, Ask, Call, Dialpad, Reply, ScriptedDialpad, Shows, TestServer, WEBHOOK_SECRET, With,
    World, eventually, hmac_hex, kinds, lengthened,
};

on_both_databases![
    the_journal_shows_what_came_and_what_became_of_it,
    the_journal_is_narrowed_and_paged,
    a_payload_is_shown_as_it_came,
    a_page_ends_before_it_gets_too_large,
    a_processed_webhook_is_not_processed_again,
    a_failed_webhook_is_processed_again,
    what_cannot_be_read_stays_failed,
    a_made_up_finding_is_not_taken_for_one,
    a_webhook_that_belongs_to_nobody_is_given_to_an_app,
    a_webhook_of_another_organization_needs_a_word,
    a_webhook_that_the_app_has_had_is_a_duplicate,
    what_waits_for_an_app_that_is_off_goes_on_waiting,
    an_app_that_is_off_gets_what_waited_for_its_organization_and_waits,
    what_nobody_claims_is_removed_in_the_end,
    only_administrators_see_the_journal,
];

async fn journal(server: &TestServer, query: &str) -> Vec<Value> {
    server.get(&format!("/internal/webhook-events{query}")).by_admin().answer().await.list()
}

async fn one(server: &TestServer, id: &str) -> Value {
    server.get(&format!("/internal/webhook-events/{id}")).by_admin().answer().await.ok()
}

async fn replay(server: &TestServer, id: &str) -> Answer {
    server.post(&format!("/internal/webhook-events/{id}/replay")).by_admin().answer().await
}

async fn replay_for(server: &TestServer, id: &str, app: &App) -> Answer {
    let request = server.post(&format!("/internal/webhook-events/{id}/replay")).by_admin();
    request.json(&json!({"app_id": app.id})).answer().await
}

async fn switch(server: &TestServer, app: &App, is_active: bool) {
    let request = server.request(Method::PATCH, &format!("/internal/apps/{}", app.id)).by_admin();
    request.json(&json!({"is_active": is_active})).answer().await.ok();
}

/// As if the engine had given a webhook up.
async fn give_up(world: &World, id: &str) {
    let url = world.setting("DATABASE_URL");
    let update = sqlx::AssertSqlSafe(format!(
        "UPDATE webhook_events SET status = 'failed', reason = 'poison', attempts = 3
        WHERE CAST(id AS TEXT) = '{id}'"
    ));
    if world.is_on_postgres() {
        let mut db = PgConnection::connect(url).await.expect("connected");
        sqlx::query(update).execute(&mut db).await.expect("updated");
    } else {
        let mut db = SqliteConnection::connect(url).await.expect("connected");
        sqlx::query(update).execute(&mut db).await.expect("updated");
    }
}

async fn is_processed(server: &TestServer, id: &str) -> Value {
    eventually("the webhook is processed", async || {
        let entry = one(server, id).await;
        (entry["status"] == "processed").then_some(entry)
    })
    .await
}

async fn the_journal_shows_what_came_and_what_became_of_it(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let ring = Call::new(1).ring(0);
    let taken = server.webhook(&app, &ring).await;
    let entry = is_processed(&server, &taken.event_id).await;
    entry.shows(json!({
        "id": taken.event_id, "app_id": app.id, "event_type": "call.ring", "status": "processed", "reason": null,
        "attempts": 0, "payload": ring, "payload_encoding": "json", "dialpad_org_id": null,
    }));
    for instant in ["received_at", "processed_at"] {
        assert!(entry[instant].is_string(), "{entry:#}");
    }
    let failed = server.webhook(&app, &json!({"event_type": "call.ring"})).await;
    let entry = one(&server, &failed.event_id).await;
    entry.shows(json!({"status": "failed", "app_id": app.id}));
    assert!(entry["reason"].is_string(), "{entry:#}");
    let waiting = server.webhook_for_all(&Call::new(2).of_organization(7).ring(0)).await;
    one(&server, &waiting.event_id).await.shows(json!({
        "status": "unrouted", "reason": "no_app_for_organization", "app_id": null, "dialpad_org_id": 7,
        "processed_at": null,
    }));
    let ids: Vec<_> = journal(&server, "").await.iter().map(|entry| entry["id"].clone()).collect();
    assert_eq!(ids, [waiting.event_id, failed.event_id, taken.event_id], "the newest comes first");
    journal(&server, "?ids=string&status=unrouted").await[0].shows(json!({"dialpad_org_id": "7"}));
}

async fn the_journal_is_narrowed_and_paged(world: World) {
    let server = world.start().await;
    let (app, other) = (server.create_app("CRM").await, server.create_app("another").await);
    for call in 1..=3 {
        server.webhook(&app, &Call::new(call).ring(0)).await;
    }
    server.webhook(&app, &Call::new(1).started(3)).await;
    server.webhook(&other, &Call::new(1).ring(0)).await;
    let waiting = server.webhook_for_all(&Call::new(9).ring(0)).await;
    let broken = server.webhook(&app, &json!({"event_type": "call.ended"})).await;
    server.wait_for_events(&app, 4).await;
    server.wait_for_events(&other, 1).await;

    let count = async |query: &str| journal(&server, query).await.len();
    assert_eq!(count("").await, 7);
    assert_eq!(count("?status=processed").await, 5);
    assert_eq!(count("?status=pending").await, 0);
    assert_eq!(count(&format!("?app_id={}", app.id)).await, 5);
    assert_eq!(count(&format!("?app_id={}&event_type=call.ring&status=processed", app.id)).await, 3);
    let failed = journal(&server, "?status=failed").await;
    assert_eq!(failed[0]["id"], broken.event_id);
    let unrouted = journal(&server, "?status=unrouted").await;
    assert_eq!((unrouted.len(), &unrouted[0]["id"]), (1, &json!(waiting.event_id)));
    let at = unrouted[0]["received_at"].as_str().expect("an instant").replace('+', "%2B");
    assert_eq!(count(&format!("?since={at}")).await, 2);
    assert_eq!(count(&format!("?until={at}")).await, 5);
    assert_eq!(count(&format!("?since={at}&until={at}")).await, 0);

    let (mut seen, mut next) =
        (Vec::new(), Some("/internal/webhook-events?limit=3&event_type=call.ring".to_owned()));
    while let Some(page) = next {
        let answer = server.get(&page).by_admin().answer().await;
        seen.extend(answer.list().iter().map(|entry| entry["id"].clone()));
        next = answer.next_page();
    }
    let all: Vec<_> =
        journal(&server, "?event_type=call.ring").await.iter().map(|it| it["id"].clone()).collect();
    assert_eq!((seen.len(), &seen), (5, &all));

    for (query, named) in [
        ("status=lost", "status"),
        ("app_id=7", "app_id"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("since=soon", "since"),
        ("until=", "until"),
        ("cursor=x", "cursor"),
        ("page=1", "page"),
        ("ids=roman", "ids"),
    ] {
        let answer = server.get(&format!("/internal/webhook-events?{query}")).by_admin().answer().await;
        answer.refuses_naming(named);
    }
    let nobody = "/internal/webhook-events?app_id=01890000-0000-7000-8000-000000000000";
    server.get(nobody).by_admin().answer().await.refuses(404, "APP_NOT_FOUND");
}

async fn a_payload_is_shown_as_it_came(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let path = format!("/webhooks/{}", app.id);
    let odd = b"\xff\xfe this is no JSON \x00".to_vec();
    let signature = hmac_hex(WEBHOOK_SECRET, &odd);
    let request = server.post(&path).header("x-dialpad-signature", signature).body(odd.clone());
    let kept = Ack::of(&request.answer().await);
    let entry = one(&server, &kept.event_id).await;
    entry.shows(json!({"status": "failed", "payload_encoding": "base64"}));
    let bytes = BASE64_STANDARD.decode(entry["payload"].as_str().expect("a text")).expect("Base64");
    assert_eq!(bytes, odd);

    let exact = "{ \"event_type\":\"call.ring\", \"call_id\":1, \"big\": 123456789012345678901234567890 }";
    let kept = Ack::of(&server.post_webhook(&path, exact).await);
    let shown = server.get(&format!("/internal/webhook-events/{}", kept.event_id)).by_admin().answer().await;
    assert!(shown.body.contains(exact), "{shown}");
    let claims = Ack::of(&server.post_jws(&path, &Call::new(2).ring(0)).await);
    one(&server, &claims.event_id).await["payload"].shows(json!({"event_type": "call.ring", "call_id": 2}));
}

async fn a_page_ends_before_it_gets_too_large(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let path = format!("/webhooks/{}", app.id);
    for call in 1..=24 {
        let large = lengthened(Call::new(call).ring(0), 250 << 10);
        Ack::of(&server.post_webhook(&path, &large).await);
    }
    let first = server.get("/internal/webhook-events?limit=500").by_admin().answer().await;
    assert!(first.body.len() < 5 << 20, "a page has {} bytes", first.body.len());
    let next = server.get(&first.next_page().expect("there is more")).by_admin().answer().await;
    assert_eq!(first.list().len() + next.list().len(), 24);
    assert_eq!(next.next_page(), None);
}

async fn a_processed_webhook_is_not_processed_again(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let ack = server.webhook(&app, &Call::new(1).ring(0)).await;
    is_processed(&server, &ack.event_id).await;
    replay(&server, &ack.event_id).await.refuses(409, "ALREADY_PROCESSED");
    for unknown in ["01890000-0000-7000-8000-000000000000", "nonsense"] {
        replay(&server, unknown).await.refuses(404, "WEBHOOK_EVENT_NOT_FOUND");
        let shown = server.get(&format!("/internal/webhook-events/{unknown}")).by_admin().answer().await;
        shown.refuses(404, "WEBHOOK_EVENT_NOT_FOUND");
    }
    let body = server.post(&format!("/internal/webhook-events/{}/replay", ack.event_id)).by_admin();
    body.json(&json!({"force": true})).answer().await.refuses_naming("force");
    server.wait_for_events(&app, 1).await;
}

async fn a_failed_webhook_is_processed_again(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    switch(&server, &app, false).await;
    let ack = server.webhook(&app, &Call::new(1).ring(0)).await;
    give_up(&world, &ack.event_id).await;
    switch(&server, &app, true).await;
    one(&server, &ack.event_id).await.shows(json!({"status": "failed", "attempts": 3}));
    assert!(server.feed(&app).await.is_empty());
    let replayed = replay(&server, &ack.event_id).await.ok();
    replayed.shows(json!({"id": ack.event_id, "status": "processed", "reason": null, "attempts": 0}));
    assert_eq!(kinds(&server.wait_for_events(&app, 1).await), ["call.ring"]);
    replay(&server, &ack.event_id).await.refuses(409, "ALREADY_PROCESSED");
}

async fn what_cannot_be_read_stays_failed(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let ack = server.webhook(&app, &json!({"event_type": "call.ring"})).await;
    let before = one(&server, &ack.event_id).await;
    let replayed = replay(&server, &ack.event_id).await.ok();
    replayed.shows(json!({"status": "failed", "reason": before["reason"], "attempts": 1}));
    server.webhook(&app, &Call::new(1).ring(0)).await;
    server.wait_for_events(&app, 1).await;
}

async fn a_made_up_finding_is_not_taken_for_one(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    let made_up = json!({"finding": "presumed_over", "call_id": 1, "at": "2024-01-01T12:00:00Z"});
    let ack = server.webhook(&app, &made_up).await;
    assert_eq!(ack.status.as_deref(), Some("failed"));
    replay(&server, &ack.event_id).await.ok().shows(json!({"status": "failed"}));
    replay_for(&server, &ack.event_id, &app).await.ok().shows(json!({"status": "failed"}));
    assert_eq!(kinds(&server.wait_for_events(&app, 1).await), ["call.ring"]);
}

async fn a_webhook_that_belongs_to_nobody_is_given_to_an_app(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let nameless = server.webhook_for_all(&Call::new(1).ring(0)).await;
    let stranded = server.webhook_for_all(&Call::new(2).of_organization(7).ring(0)).await;
    for (ack, reason) in [(&nameless, "organization_missing"), (&stranded, "no_app_for_organization")] {
        let waits = replay(&server, &ack.event_id).await.ok();
        waits.shows(json!({"status": "unrouted", "reason": reason, "app_id": null}));
        let given = replay_for(&server, &ack.event_id, &app).await.ok();
        given.shows(json!({"status": "processed", "reason": null, "app_id": app.id}));
    }
    assert_eq!(kinds(&server.wait_for_events(&app, 2).await), ["call.ring", "call.ring"]);
    let other = server.create_app("another").await;
    replay_for(&server, &nameless.event_id, &other).await.refuses_naming("app_id");
    let nobody = App { id: "01890000-0000-7000-8000-000000000000".to_owned(), key: String::new() };
    replay_for(&server, &nameless.event_id, &nobody).await.refuses(404, "APP_NOT_FOUND");
    let request = server.post(&format!("/internal/webhook-events/{}/replay", nameless.event_id)).by_admin();
    request.json(&json!({"app_id": 7})).answer().await.refuses_naming("app_id");
}

async fn a_webhook_of_another_organization_needs_a_word(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false").start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let ack = server.webhook(&app, &Call::new(1).of_organization(7).ring(0)).await;
    let waits = replay(&server, &ack.event_id).await.ok();
    waits.shows(json!({"status": "unrouted", "reason": "organization_mismatch", "app_id": app.id}));
    replay_for(&server, &ack.event_id, &app).await.ok().shows(json!({"status": "processed"}));
    server.feed_until(&app, "call.ring").await;
}

async fn a_webhook_that_the_app_has_had_is_a_duplicate(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let ring = Call::new(1).ring(0);
    let waiting = server.webhook_for_all(&ring).await;
    server.webhook(&app, &ring).await;
    server.wait_for_events(&app, 1).await;
    let replayed = replay_for(&server, &waiting.event_id, &app).await.ok();
    replayed.shows(json!({"id": waiting.event_id, "status": "duplicate"}));
    replay(&server, &waiting.event_id).await.refuses(404, "WEBHOOK_EVENT_NOT_FOUND");
    server.wait_for_events(&app, 1).await;
    assert_eq!(journal(&server, "").await.len(), 1);
}

async fn what_waits_for_an_app_that_is_off_goes_on_waiting(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    switch(&server, &app, false).await;
    let ack = server.webhook(&app, &Call::new(1).ring(0)).await;
    let waits = replay(&server, &ack.event_id).await.ok();
    waits.shows(json!({"status": "unrouted", "reason": "app_inactive", "app_id": app.id}));
    switch(&server, &app, true).await;
    server.wait_for_events(&app, 1).await;
}

async fn an_app_that_is_off_gets_what_waited_for_its_organization_and_waits(world: World) {
    let dialpad = ScriptedDialpad::start(|_| Reply::json(200, json!({}))).await;
    let mut server = world.start().await;
    let (on, off) = (server.create_app("on").await, server.create_app("off").await);
    switch(&server, &off, false).await;
    server.webhook_for_all(&Call::new(1).of_organization(Dialpad::COMPANY).ring(0)).await;
    assert_eq!(journal(&server, "?status=unrouted").await.len(), 1);
    server.process.kill();
    // From now on both belong to the organization.
    let world = world.with_scripted(&dialpad);
    let server = world.start().await;
    server.wait_for_events(&on, 1).await;
    let waits = eventually("the other one waits", async || {
        let waiting = journal(&server, &format!("?app_id={}", off.id)).await;
        waiting.first().cloned()
    })
    .await;
    waits.shows(json!({"status": "unrouted", "reason": "app_inactive"}));
    switch(&server, &off, true).await;
    server.wait_for_events(&off, 1).await;
}

async fn what_nobody_claims_is_removed_in_the_end(world: World) {
    let world = world.with("RETENTION_UNROUTED", "1s").with("RETENTION_INTERVAL", "1s");
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook_for_all(&Call::new(1).ring(0)).await;
    let kept = server.webhook(&app, &Call::new(2).ring(0).with("note", "kept")).await;
    eventually("it is removed", async || journal(&server, "?status=unrouted").await.is_empty().then_some(()))
        .await;
    is_processed(&server, &kept.event_id).await;
}

async fn only_administrators_see_the_journal(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let ack = server.webhook(&app, &Call::new(1).ring(0)).await;
    let one = format!("/internal/webhook-events/{}", ack.event_id);
    for request in
        [server.get("/internal/webhook-events"), server.get(&one), server.post(&format!("{one}/replay"))]
    {
        request.try_clone().expect("no stream").by(&app).answer().await.refuses(401, "MISSING_BEARER");
        request.bearer_auth(&app.key).answer().await.refuses(403, "FORBIDDEN");
    }
}
