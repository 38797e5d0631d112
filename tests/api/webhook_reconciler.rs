//! The webhook reconciler: what Dialpad should send arrives, whatever is changed there.

use serde_json::{Value, json};

use crate::support::{App, Ask, Dialpad, Shows, TestServer, World, eventually, jws};

on_both_databases![
    an_app_that_was_connected_gets_its_webhook_and_subscriptions,
    what_was_taken_away_comes_back,
    what_drifted_is_set_right,
    duplicates_go_and_what_belongs_to_others_stays,
    a_gap_is_emitted_once_it_is_closed,
    a_company_without_room_is_a_problem_that_passes,
    a_failing_dialpad_is_asked_again,
    missing_scopes_are_named_and_cost_only_what_they_cover,
    messages_are_subscribed_to_anew_when_their_texts_may_be_read,
    without_auto_subscribe_nothing_is_registered,
    a_disconnected_app_has_nothing_left_at_dialpad,
    a_removed_app_has_nothing_left_at_dialpad,
    another_public_url_is_emitted_to_dialpad,
    an_app_that_moves_to_another_company_leaves_nothing_behind,
    a_company_that_was_left_can_tell_nothing_more,
];

// Servers that share a database: on SQLite a second one is refused.
on_postgres![two_servers_leave_one_webhook];

/// A server that looks every second.
async fn watchful(world: World, dialpad: &Dialpad) -> TestServer {
    world.with_dialpad(dialpad).with("SUBSCRIPTION_CHECK_INTERVAL", "1s").start().await
}

async fn connected(server: &TestServer, dialpad: &Dialpad) -> App {
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    dialpad.wait_for_registration(&app).await;
    server.webhook_when(&app, "active").await;
    app
}

async fn an_app_that_was_connected_gets_its_webhook_and_subscriptions(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    let before = server.get("/status").by(&app).answer().await.ok();
    before["webhook"].shows(json!({"state": "none", "webhook_id": null}));

    server.connect(&app).await;
    let standing = dialpad.wait_for_registration(&app).await;
    let address = format!("{}/webhooks/{}", server.base_url, app.id);
    standing.webhook.shows(json!({"hook_url": address}));
    assert!(standing.secret().len() >= 64, "a secret that can be guessed");

    let webhook = server.webhook_when(&app, "active").await;
    let status = server.get("/status").by(&app).answer().await.ok();
    status["webhook"].shows(json!({"state": "active", "webhook_id": webhook["webhook_id"]}));
    let deliveries = dialpad.play(&json!({"flow": "answered", "pace": 0})).await;
    assert!(deliveries.iter().all(|it| it["status"] == 200), "{deliveries:#?}");
}

async fn what_was_taken_away_comes_back(world: World) {
    let dialpad = Dialpad::start().await;
    let server = watchful(world, &dialpad).await;
    let app = connected(&server, &dialpad).await;
    for path in ["/webhooks", "/subscriptions/call", "/subscriptions/sms"] {
        for item in dialpad.registry(path).await {
            dialpad.remove(path, &item).await;
        }
        assert!(dialpad.registration(&app).await.is_none());
        dialpad.wait_for_registration(&app).await;
    }
}

async fn what_drifted_is_set_right(world: World) {
    let dialpad = Dialpad::start().await;
    let server = watchful(world, &dialpad).await;
    let app = connected(&server, &dialpad).await;
    let drifts = [
        ("/webhooks", json!({"hook_url": "http://127.0.0.1:9/elsewhere"})),
        ("/webhooks", json!({"secret": "somebody else's"})),
        ("/webhooks", json!({"secret": ""})),
        ("/subscriptions/call", json!({"enabled": false})),
        ("/subscriptions/call", json!({"call_states": ["ringing", "hangup"]})),
        ("/subscriptions/call", json!({"group_calls_only": true})),
        ("/subscriptions/call", json!({"target_type": "user", "target_id": Dialpad::USER})),
        ("/subscriptions/sms", json!({"enabled": false})),
        ("/subscriptions/sms", json!({"direction": "inbound"})),
        ("/subscriptions/sms", json!({"status": false})),
    ];
    for (path, drift) in drifts {
        let before = dialpad.wait_for_registration(&app).await;
        let [item] = &dialpad.registry(path).await[..] else { panic!("more than one in {path}") };
        dialpad.change(path, item, drift.clone()).await;
        eventually(&format!("{drift} is set right"), async || {
            let after = dialpad.registration(&app).await?;
            (after.is_complete() && after.secret() == before.secret()).then_some(())
        })
        .await;
    }
}

async fn duplicates_go_and_what_belongs_to_others_stays(world: World) {
    let dialpad = Dialpad::start().await;
    let server = watchful(world, &dialpad).await;
    let foreign = dialpad.register_foreign().await;
    let app = connected(&server, &dialpad).await;
    let ours = dialpad.wait_for_registration(&app).await;

    let twin = json!({"hook_url": ours.webhook["hook_url"], "secret": "a twin's"});
    let twin = dialpad.register("/webhooks", twin).await;
    for endpoint in [&twin["id"], &ours.webhook["id"]] {
        dialpad.register("/subscriptions/call", json!({"endpoint_id": endpoint})).await;
        let messages = json!({"endpoint_id": endpoint, "direction": "all", "status": true});
        dialpad.register("/subscriptions/sms", messages).await;
    }
    assert!(dialpad.registration(&app).await.is_none());
    let after = dialpad.wait_for_registration(&app).await;
    assert_eq!(after.webhook["id"], ours.webhook["id"], "the one that was there before stays");
    for path in ["/webhooks", "/subscriptions/call", "/subscriptions/sms"] {
        assert_eq!(dialpad.registry(path).await.len(), 2, "one of ours and one of theirs in {path}");
    }
    let webhooks = dialpad.registry("/webhooks").await;
    assert!(webhooks.contains(&foreign), "{webhooks:#?}");
}

async fn a_gap_is_emitted_once_it_is_closed(world: World) {
    let dialpad = Dialpad::start().await;
    let mut server = watchful(world, &dialpad).await;
    let app = connected(&server, &dialpad).await;
    let emitted = |line: &str| {
        line.contains("calls may have been missed and will be recovered").then(|| line.to_owned())
    };
    let standing = dialpad.wait_for_registration(&app).await;
    dialpad.change("/subscriptions/sms", &standing.messages, json!({"enabled": false})).await;
    dialpad.wait_for_registration(&app).await;
    assert!(server.process.log().lines().find_map(emitted).is_none(), "calls came all the time");

    dialpad.change("/subscriptions/call", &standing.calls, json!({"enabled": false})).await;
    dialpad.wait_for_registration(&app).await;
    let line = server.process.wait_for_line("that calls may be missing", emitted).await;
    assert!(line.contains("the subscription was disabled"), "{line}");
}

async fn a_company_without_room_is_a_problem_that_passes(world: World) {
    let dialpad = Dialpad::start().await;
    let foreign = dialpad.register_foreign().await;
    for _ in 0..9 {
        dialpad.register("/subscriptions/call", json!({"endpoint_id": foreign["id"]})).await;
    }
    let server = watchful(world, &dialpad).await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let webhook = server.webhook_when(&app, "degraded").await;
    let problems = webhook["problems"].to_string();
    assert!(problems.contains("10 of 10"), "{webhook:#}");
    assert_eq!(dialpad.registry("/subscriptions/call").await.len(), 10, "none was made");
    assert_eq!(dialpad.registry("/subscriptions/sms").await.len(), 2, "messages come all the same");

    let theirs = dialpad.registry("/subscriptions/call").await;
    dialpad.remove("/subscriptions/call", &theirs[0]).await;
    dialpad.wait_for_registration(&app).await;
    server.webhook_when(&app, "active").await;
}

async fn a_failing_dialpad_is_asked_again(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    let only = "POST /api/v2/webhooks";
    let failing = json!([{"to": "api", "only": only, "answer": "server_error", "times": 2}]);
    dialpad.switch(&json!({"next_answers": failing})).await;
    server.connect(&app).await;
    dialpad.wait_for_registration(&app).await;
    server.webhook_when(&app, "active").await;
}

async fn missing_scopes_are_named_and_cost_only_what_they_cover(world: World) {
    let dialpad = Dialpad::start().await;
    dialpad.switch(&json!({"enforce_scopes": true})).await;
    let server =
        world.with("DIALPAD_SCOPES", "calls:list offline_access").with_dialpad(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let webhook = server.webhook_when(&app, "active").await;
    assert!(webhook["problems"].to_string().contains("message_content_export:all"), "{webhook:#}");
    assert_eq!(webhook["subscriptions"].as_array().map(Vec::len), Some(1), "{webhook:#}");
    let status = server.get("/status").by(&app).answer().await.ok();
    status.shows(json!({"missing_scopes": ["recordings_export", "message_content_export:all"]}));

    drop(server);
    let scopes = "calls:list recordings_export message_content_export:all offline_access";
    let fresh = World::on_sqlite().with_dialpad(&dialpad).with("DIALPAD_SCOPES", scopes);
    let server = fresh.start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let webhook = server.webhook_when(&app, "active").await;
    webhook.shows(json!({"problems": []}));
    server.get("/status").by(&app).answer().await.ok().shows(json!({"missing_scopes": []}));
    drop(server);
    fresh.finish().await;
}

async fn messages_are_subscribed_to_anew_when_their_texts_may_be_read(world: World) {
    let dialpad = Dialpad::start().await;
    let world = world.with_dialpad(&dialpad).with("PUBLIC_URL", "http://127.0.0.1:9");
    let scopes = "calls:list recordings_export message_content_export:all offline_access";
    let connect = async |server: &TestServer, app: &App| {
        let sent = server.authorize(app).await;
        let callback = server.approve(&sent).await.replace("http://127.0.0.1:9", &server.base_url);
        server.finish_authorization(&callback, sent.cookie()).await.ok();
    };
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    connect(&server, &app).await;
    let before = dialpad.wait_for_registration(&app).await;
    server.webhook_when(&app, "active").await;
    drop(server);

    let server = world.with("DIALPAD_SCOPES", scopes).start().await;
    connect(&server, &app).await;
    let after = eventually("the subscription is another one", async || {
        dialpad.registration(&app).await.filter(|after| after.messages["id"] != before.messages["id"])
    })
    .await;
    assert_eq!(after.calls["id"], before.calls["id"], "the calls' is not");
}

async fn without_auto_subscribe_nothing_is_registered(world: World) {
    let dialpad = Dialpad::start().await;
    let server = watchful(world.with("AUTO_SUBSCRIBE", "false"), &dialpad).await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let path = format!("/internal/webhooks/create?app_id={}", app.id);
    assert_eq!(dialpad.requests("/api/v2/webhooks").await, Vec::<Value>::new());
    assert_eq!(server.post(&path).by_admin().answer().await.status, 201, "but it can be asked for");
    dialpad.wait_for_registration(&app).await;
}

async fn a_disconnected_app_has_nothing_left_at_dialpad(world: World) {
    let dialpad = Dialpad::start().await;
    let server = watchful(world, &dialpad).await;
    let foreign = dialpad.register_foreign().await;
    let app = connected(&server, &dialpad).await;
    let before = dialpad.wait_for_registration(&app).await;
    server.post(&format!("/auth/dialpad/disconnect/{}", app.id)).by_admin().answer().await.ok();
    assert_eq!(dialpad.registry("/webhooks").await, [foreign]);
    assert_eq!(dialpad.registry("/subscriptions/call").await.len(), 1);
    let status = server.get("/status").by(&app).answer().await.ok();
    status["webhook"].shows(json!({"state": "none"}));

    let straggler = jws(before.secret(), &json!({"state": "ringing", "call_id": 1, "event_timestamp": 1}));
    let path = format!("/webhooks/{}", app.id);
    server.post(&path).body(straggler).answer().await.ok();

    server.connect(&app).await;
    let after = dialpad.wait_for_registration(&app).await;
    assert_ne!(after.secret(), before.secret());
}

async fn a_removed_app_has_nothing_left_at_dialpad(world: World) {
    let dialpad = Dialpad::start().await;
    let server = watchful(world, &dialpad).await;
    let app = connected(&server, &dialpad).await;
    let path = format!("/internal/apps/{}", app.id);
    let removed = server.request(reqwest::Method::DELETE, &path).by_admin().answer().await;
    assert_eq!(removed.status, 204, "{removed}");
    eventually("nothing is left", async || dialpad.registry("/webhooks").await.is_empty().then_some(()))
        .await;
    assert_eq!(dialpad.registry("/subscriptions/call").await, Vec::<Value>::new());
}

async fn another_public_url_is_emitted_to_dialpad(world: World) {
    let dialpad = Dialpad::start().await;
    let world = world.with_dialpad(&dialpad);
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let before = dialpad.wait_for_registration(&app).await;
    server.webhook_when(&app, "active").await;
    drop(server);

    let _server = world.start().await;
    let after = eventually("Dialpad knows the new address", async || {
        let standing = dialpad.registration(&app).await?;
        (standing.webhook["hook_url"] != before.webhook["hook_url"]).then_some(standing)
    })
    .await;
    assert_eq!(after.webhook["id"], before.webhook["id"]);
    assert_eq!(after.secret(), before.secret());
}

async fn two_servers_leave_one_webhook(world: World) {
    let dialpad = Dialpad::start().await;
    let world = world.with_dialpad(&dialpad).with("SUBSCRIPTION_CHECK_INTERVAL", "1s");
    let world = world.with("PUBLIC_URL", "http://127.0.0.1:9");
    let (one, other) = (world.start().await, world.start().await);
    let apps = [one.create_app("sales").await, one.create_app("support").await];
    for app in &apps {
        let sent = one.authorize(app).await;
        let callback = one.approve(&sent).await.replace("http://127.0.0.1:9", &one.base_url);
        one.finish_authorization(&callback, sent.cookie()).await.ok();
    }
    for app in &apps {
        dialpad.wait_for_registration(app).await;
    }
    // One of them looks for both.
    eventually("one has looked", async || {
        let looks = [one.webhook_checks().await, other.webhook_checks().await];
        (looks.iter().sum::<f64>() > 1.0).then_some(())
    })
    .await;
    for app in &apps {
        dialpad.wait_for_registration(app).await;
    }
    assert_eq!(dialpad.registry("/webhooks").await.len(), 2);
}

async fn an_app_that_moves_to_another_company_leaves_nothing_behind(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).start().await;
    let app = connected(&server, &dialpad).await;
    let before = dialpad.wait_for_registration(&app).await;
    dialpad.switch(&json!({"company_id": 77})).await;
    server.connect(&app).await;
    let after = dialpad.wait_for_registration(&app).await;
    assert_ne!(after.webhook["id"], before.webhook["id"]);
    assert_ne!(after.secret(), before.secret());
    assert_eq!(dialpad.registry("/webhooks").await.len(), 1);
}

async fn a_company_that_was_left_can_tell_nothing_more(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).start().await;
    let app = connected(&server, &dialpad).await;
    let before = dialpad.wait_for_registration(&app).await;
    // Nobody can remove the webhook there any more.
    dialpad.revoke_tokens(None).await;
    dialpad.switch(&json!({"company_id": 77})).await;
    server.connect(&app).await;
    eventually("the new company's webhook stands", async || {
        (dialpad.registry("/webhooks").await.len() == 2).then_some(())
    })
    .await;
    let late = jws(before.secret(), &json!({"state": "ringing", "call_id": 1, "event_timestamp": 1}));
    let answer = server.post(&format!("/webhooks/{}", app.id)).body(late).answer().await;
    answer.refuses(401, "INVALID_SIGNATURE");
}
