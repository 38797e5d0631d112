//! Apps as administrators see them: listed, shown, changed, switched off and on, removed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use cti_actors::{clock::SystemClock, id::AppId};
use cti_server::{
    encryption_keys::EncryptionKeys,
    store::{
        Store,
        crypto::vault::Vault,
        idempotency::{Claim, KeyedRequest},
        tenants::api_keys::NewKey,
    },
};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{
    App, Ask, Call, Dialpad, Shows, TestServer, World, assert_contiguous, eventually, kinds, of_call, within,
};

on_both_databases![
    apps_are_listed_page_by_page_the_newest_first,
    an_app_is_shown_with_what_it_has,
    a_connection_is_shown_with_its_app,
    an_app_gets_another_name,
    a_change_that_is_not_understood_changes_nothing,
    an_app_that_is_switched_off_opens_nothing,
    what_came_while_an_app_was_off_is_emitted_in_its_order,
    a_removed_app_is_gone_for_everybody,
    a_removed_app_is_gone_at_dialpad_too,
    only_administrators_see_apps,
    an_app_is_made_once_per_idempotency_key,
    an_app_that_was_made_and_never_shown_is_found_again,
];

fn path(app: &App) -> String {
    format!("/internal/apps/{}", app.id)
}

async fn change(server: &TestServer, app: &App, body: Value) -> crate::support::Answer {
    server.request(Method::PATCH, &path(app)).by_admin().json(&body).answer().await
}

async fn apps_are_listed_page_by_page_the_newest_first(world: World) {
    let server = world.start().await;
    assert!(server.get("/internal/apps").by_admin().answer().await.list().is_empty());
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(server.create_app(&format!("CRM {number}")).await.id);
    }
    made.reverse();
    let (mut seen, mut next) = (Vec::new(), Some("/internal/apps?limit=2".to_owned()));
    while let Some(page) = next {
        let answer = server.get(&page).by_admin().answer().await;
        for app in answer.list() {
            assert_eq!(app["is_active"], true);
            seen.push(app["app_id"].as_str().expect("an id").to_owned());
        }
        next = answer.next_page();
    }
    assert_eq!(seen, made);
    for (query, named) in
        [("limit=0", "limit"), ("limit=501", "limit"), ("cursor=x", "cursor"), ("page=2", "page")]
    {
        server.get(&format!("/internal/apps?{query}")).by_admin().answer().await.refuses_naming(named);
    }
}

async fn an_app_is_shown_with_what_it_has(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let shown = server.get(&path(&app)).by_admin().answer().await.ok();
    shown.shows(json!({"app_id": app.id, "name": "CRM", "is_active": true, "connection": null}));
    shown["counts"].shows(json!({"calls": 0, "active_calls": 0, "events": 0, "api_keys": 1, "sessions": 0}));

    server.webhooks(&app, &Call::new(1).life()).await;
    server.webhook(&app, &Call::new(2).ring(0)).await;
    server.webhook(&app, &Call::new(3).voicemail(0)).await;
    server.wait_for_events(&app, 8).await;
    let _open = server.listen(&app).await;
    let shown = server.get(&path(&app)).by_admin().answer().await.ok();
    shown["counts"].shows(json!({
        "calls": 3, "active_calls": 1, "voicemails": 1, "messages": 0, "events": 8, "pending_webhooks": 0,
        "unrouted_webhooks": 0, "user_mappings": 0, "api_keys": 1, "sessions": 1,
    }));
    for unknown in ["01890000-0000-7000-8000-000000000000", "nonsense"] {
        let answer = server.get(&format!("/internal/apps/{unknown}")).by_admin().answer().await;
        answer.refuses(404, "APP_NOT_FOUND");
    }
}

async fn a_connection_is_shown_with_its_app(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false").start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let shown = server.get(&path(&app)).by_admin().answer().await.ok();
    shown["connection"]
        .shows(json!({"status": "connected", "environment": "sandbox", "dialpad_org_id": Dialpad::COMPANY}));
    let shown = server.get(&format!("{}?ids=string", path(&app))).by_admin().answer().await.ok();
    shown["connection"].shows(json!({"dialpad_org_id": Dialpad::COMPANY.to_string()}));
}

async fn an_app_gets_another_name(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    change(&server, &app, json!({"name": "  Another CRM "})).await.ok().shows(json!({"name": "Another CRM"}));
    server.get(&path(&app)).by_admin().answer().await.ok().shows(json!({"name": "Another CRM"}));
    server.get("/api/calls").by(&app).answer().await.ok();
    change(&server, &app, json!({})).await.ok().shows(json!({"name": "Another CRM", "is_active": true}));
}

async fn a_change_that_is_not_understood_changes_nothing(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (body, named) in [
        (json!({"name": ""}), "name"),
        (json!({"name": 7}), "name"),
        (json!({"name": "New", "is_active": "no"}), "is_active"),
        (json!({"name": "New", "is_active": null}), "is_active"),
        (json!({"name": "New", "colour": "red"}), "colour"),
        (json!(["name"]), "body"),
    ] {
        change(&server, &app, body).await.refuses_naming(named);
    }
    server.get(&path(&app)).by_admin().answer().await.ok().shows(json!({"name": "CRM", "is_active": true}));
    let nobody = App { id: "01890000-0000-7000-8000-000000000000".to_owned(), key: String::new() };
    change(&server, &nobody, json!({"name": "New"})).await.refuses(404, "APP_NOT_FOUND");
}

async fn an_app_that_is_switched_off_opens_nothing(world: World) {
    let server = world.start().await;
    let (app, other) = (server.create_app("CRM").await, server.create_app("another").await);
    let (mut open, mut others) = (server.listen(&app).await, server.listen(&other).await);
    change(&server, &app, json!({"is_active": false})).await.ok().shows(json!({"is_active": false}));
    let closed = tokio::time::timeout(Duration::from_secs(2), open.close_code()).await;
    assert_eq!(closed.expect("within two seconds"), Some(4403));
    let refused = server.get("/api/calls").by(&app).answer().await.refuses(403, "APP_INACTIVE");
    refused.shows(json!({"error": "App is not active"}));
    server.handshake("/ws").by(&app).answer().await.refuses(403, "APP_INACTIVE");
    let begun = server.get(&format!("/authorize?app_id={}", app.id)).answer().await;
    begun.refuses(403, "APP_INACTIVE");
    others.expect_nothing_more(&server, &other).await;

    change(&server, &app, json!({"is_active": true})).await.ok().shows(json!({"is_active": true}));
    server.get("/api/calls").by(&app).answer().await.ok();
    server.listen(&app).await;
}

async fn what_came_while_an_app_was_off_is_emitted_in_its_order(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()[..2]).await;
    server.wait_for_events(&app, 2).await;
    change(&server, &app, json!({"is_active": false})).await.ok();
    server.webhooks(&app, &Call::new(1).life()[2..]).await;
    let calls = 2..=140;
    for id in calls.clone() {
        for step in &Call::new(id).life() {
            let ack = server.webhook(&app, step).await;
            assert_eq!(ack.status.as_deref(), Some("unrouted"));
        }
    }
    let shown = server.get(&path(&app)).by_admin().answer().await.ok();
    shown["counts"].shows(json!({"events": 2, "unrouted_webhooks": 3 + 139 * 5}));

    // While the app is switched on, Dialpad goes on.
    let live = 1_000..1_040;
    let goes_on = async {
        for id in live.clone() {
            server.webhook(&app, &Call::new(id).ring(0)).await;
        }
    };
    let (switched, ()) = tokio::join!(change(&server, &app, json!({"is_active": true})), goes_on);
    switched.ok();
    let feed = server.wait_for_events(&app, 140 * 5 + 40).await;
    assert_contiguous(&feed, 0);
    let order: Vec<_> = feed.iter().map(|event| event["dialpad_call_id"].as_i64().expect("an id")).collect();
    assert!(order[..140 * 5].is_sorted(), "a newer webhook came first: {order:?}");
    for id in calls {
        assert_eq!(
            kinds(&of_call(&feed, id)),
            ["call.ring", "call.started", "call.held", "call.resumed", "call.ended"]
        );
    }
}

async fn a_removed_app_is_gone_for_everybody(world: World) {
    let server = world.start().await;
    let (app, other) = (server.create_app("CRM").await, server.create_app("another").await);
    for app in [&app, &other] {
        server.webhooks(app, &Call::new(1).life()).await;
        server.wait_for_events(app, 5).await;
    }
    let mut open = server.listen(&app).await;
    let removed = server.request(Method::DELETE, &path(&app)).by_admin().answer().await;
    assert_eq!((removed.status, removed.body.as_str()), (204, ""), "{removed}");
    let closed = tokio::time::timeout(Duration::from_secs(2), open.close_code()).await;
    assert_eq!(closed.expect("within two seconds"), Some(4403));

    server.get("/api/calls").by(&app).answer().await.refuses(401, "INVALID_API_KEY");
    server.handshake("/ws").by(&app).answer().await.refuses(401, "INVALID_API_KEY");
    server.get(&path(&app)).by_admin().answer().await.refuses(404, "APP_NOT_FOUND");
    let webhook =
        server.post_webhook(&format!("/webhooks/{}", app.id), &Call::new(2).ring(0).to_string()).await;
    webhook.refuses(401, "INVALID_SIGNATURE");
    server.get(&format!("/authorize?app_id={}", app.id)).answer().await.refuses(404, "APP_NOT_FOUND");
    change(&server, &app, json!({"is_active": true})).await.refuses(404, "APP_NOT_FOUND");
    let listed = server.get("/internal/apps").by_admin().answer().await.list();
    assert_eq!(listed.len(), 1, "{listed:#?}");

    let again = server.request(Method::DELETE, &path(&app)).by_admin().answer().await;
    assert_eq!(again.status, 204, "{again}");
    let nobody = server.request(Method::DELETE, "/internal/apps/01890000-0000-7000-8000-000000000000");
    nobody.by_admin().answer().await.refuses(404, "APP_NOT_FOUND");
    assert_eq!(server.feed(&other).await.len(), 5);
    server.webhook(&other, &Call::new(2).ring(0)).await;
    server.wait_for_events(&other, 6).await;
}

async fn a_removed_app_is_gone_at_dialpad_too(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false").start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let removed = server.request(Method::DELETE, &path(&app)).by_admin().answer().await;
    assert_eq!(removed.status, 204, "{removed}");
    within(Duration::from_secs(10), "its tokens are revoked", async || {
        let asked = dialpad.requests("/oauth2/deauthorize").await;
        (asked.len() == 1).then_some(())
    })
    .await;
    let ring = Call::new(1).of_organization(Dialpad::COMPANY).ring(0);
    let ack = eventually("nobody is connected to the organization", async || {
        let ack = server.webhook_for_all(&ring).await;
        ack.status.is_some().then_some(ack)
    })
    .await;
    assert_eq!(ack.status.as_deref(), Some("unrouted"));
}

async fn only_administrators_see_apps(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let (list, one) = ("/internal/apps".to_owned(), path(&app));
    for (method, path) in
        [(Method::GET, &list), (Method::GET, &one), (Method::PATCH, &one), (Method::DELETE, &one)]
    {
        let request = || server.request(method.clone(), path);
        request().answer().await.refuses(401, "MISSING_BEARER");
        request().bearer_auth(&app.key).answer().await.refuses(403, "FORBIDDEN");
        request().by(&app).answer().await.refuses(401, "MISSING_BEARER");
    }
    server.get("/api/calls").by(&app).answer().await.ok();
}

async fn an_app_is_made_once_per_idempotency_key(world: World) {
    let server = world.start().await;
    let create = async |key: &str, name: &str| {
        let request = server.post("/internal/apps").by_admin().header("idempotency-key", key);
        request.json(&json!({"name": name})).answer().await
    };
    let first = create("click", "CRM").await;
    let again = create("click", "CRM").await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(first.ok(), again.ok());
    create("click", "Another").await.refuses(422, "IDEMPOTENCY_KEY_REUSED");
    create("another", "CRM").await.ok();
    let listed = server.get("/internal/apps").by_admin().answer().await.list();
    let ids: BTreeSet<_> = listed.iter().map(|app| app["app_id"].to_string()).collect();
    assert_eq!(ids.len(), 2, "{listed:#?}");
    let key = first.ok()["api_key"].as_str().expect("a key").to_owned();
    server.get("/api/calls").header("x-api-key", key).answer().await.ok();
}

/// What the server remembers of a request that creates this app.
fn fingerprint(name: &str) -> Vec<u8> {
    let asked = json!([name]).to_string();
    let mut digest = Sha256::new();
    for part in ["POST", "/internal/apps", &asked] {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    digest.finalize().to_vec()
}

async fn an_app_that_was_made_and_never_shown_is_found_again(world: World) {
    let server = world.start().await;
    let url = world.setting("DATABASE_URL").parse().expect("a database URL");
    let keys = EncryptionKeys::parse(&world.setting("TOKEN_ENCRYPTION_KEY").into()).expect("a key");
    let (store, _) =
        Store::open(&url, Vault::new(&keys), Arc::new(SystemClock)).await.expect("the database opens");
    // A server that died between making the app and answering.
    let request = KeyedRequest { scope: "internal", key: "click", hash: &fingerprint("CRM") };
    let Claim::New(held) = store.idempotency().claim(request).await.expect("taken") else {
        panic!("it is not fresh")
    };
    let (id, lost) = (AppId(held.correlation), NewKey::generate());
    store.apps().create_with_id(id, "CRM", &lost).await.expect("made");
    store.idempotency().leave_unknown(&held).await.expect("left");
    store.close().await;

    let request = server.post("/internal/apps").by_admin().header("idempotency-key", "click");
    let answer = request.json(&json!({"name": "CRM"})).answer().await.ok();
    answer.shows(json!({"app_id": id.to_string(), "name": "CRM"}));
    let key = answer["api_key"].as_str().expect("a key").to_owned();
    server.get("/api/calls").header("x-api-key", key).answer().await.ok();
    assert_eq!(server.get("/internal/apps").by_admin().answer().await.list().len(), 1);
}
