//! Webhooks that name an organisation reach every app that is connected to it, and no other.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Ack, Ask, Call, Dialpad, World, assert_contiguous, eventually, kinds, of_call};

on_both_databases![
    an_organisation_is_emitted_to_all_its_apps,
    the_organisation_is_found_under_all_its_names,
    what_came_before_the_connection_is_emitted_when_it_stands,
    a_new_app_belongs_to_the_organisation_of_the_static_key_at_once,
    another_organisation_than_the_apps_is_kept_unrouted,
    calls_at_dialpad_arrive_by_themselves,
];

async fn an_organisation_is_emitted_to_all_its_apps(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false").start().await;
    let apps = [server.create_app("sales").await, server.create_app("support").await];
    let stranger = server.create_app("stranger").await;
    let mut befores = Vec::new();
    for app in &apps {
        server.connect(app).await;
        befores.push(server.feed(app).await.len());
    }
    let mut silent = server.listen(&stranger).await;
    let life = Call::new(1).of_organization(Dialpad::COMPANY).life();
    for step in &life {
        let ack = server.webhook_for_all(step).await;
        assert!(!ack.duplicate && ack.status.is_none(), "{ack:?}");
    }
    let again = server.webhook_for_all(&life[0]).await;
    assert!(again.duplicate, "{again:?}");
    for app in &apps {
        let feed = server.feed_once_processed(app, 2).await;
        let emitted = of_call(&feed, 1);
        assert_eq!(kinds(&emitted), ["call.ring", "call.started", "call.held", "call.resumed", "call.ended"]);
        assert!(emitted.iter().all(|event| event["app_id"] == app.id.as_str()), "{emitted:#?}");
    }
    silent.expect_nothing_more(&server, &stranger).await;
}

async fn a_new_app_belongs_to_the_organisation_of_the_static_key_at_once(world: World) {
    let dialpad = Dialpad::start().await;
    let key = dialpad.some_token().await;
    let server = world.with_dialpad(&dialpad).with("DIALPAD_API_KEY", &key).start().await;
    let first = server.create_app("a CRM").await;
    eventually("the organisation of the key is known", async || {
        let status = server.get("/status").by(&first).answer().await.ok();
        (status["connected"] == true).then_some(())
    })
    .await;
    for id in 1..=3 {
        server.webhook_for_all(&Call::new(id).of_organization(Dialpad::COMPANY).ring(0)).await;
        let app = server.create_app("one more").await;
        let ack = server.webhook_for_all(&Call::new(10 + id).of_organization(Dialpad::COMPANY).ring(0)).await;
        assert_eq!(ack.status, None, "{ack:?}");
        assert_eq!(kinds(&server.wait_for_events(&app, 1).await), ["call.ring"]);
    }
}

async fn the_organisation_is_found_under_all_its_names(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false").start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let company = Dialpad::COMPANY;
    let names = [
        json!({"organization_id": company}),
        json!({"organization_id": company.to_string()}),
        json!({"org_id": company}),
        json!({"company_id": company}),
        json!({"company": {"id": company, "name": "Acme"}}),
    ];
    for (id, named) in (1..).zip(&names) {
        let mut ring = Call::new(id).ring(0);
        ring.as_object_mut().expect("a payload").extend(named.as_object().expect("an object").clone());
        let ack = server.webhook_for_all(&ring).await;
        assert_eq!(ack.status, None, "{named}");
    }
    let feed = server.feed_once_processed(&app, 100).await;
    assert_eq!(kinds(&feed).iter().filter(|kind| **kind == "call.ring").count(), names.len());
}

async fn what_came_before_the_connection_is_emitted_when_it_stands(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false").start().await;
    let app = server.create_app("CRM").await;
    let calls: Vec<Call> = (1..=20).map(|id| Call::new(id).of_organization(Dialpad::COMPANY)).collect();
    for step in 0..5 {
        for call in &calls {
            let ack = server.webhook_for_all(&call.life()[step]).await;
            assert_eq!(ack.status.as_deref(), Some("unrouted"));
        }
    }
    server.connect(&app).await;
    let ends = |feed: &[Value]| kinds(feed).iter().filter(|kind| **kind == "call.ended").count();
    let feed =
        server.feed_when(&app, "all calls are emitted to their end", |feed| ends(feed) == calls.len()).await;
    for call in &calls {
        let emitted = of_call(&feed, call.id);
        assert_eq!(kinds(&emitted), ["call.ring", "call.started", "call.held", "call.resumed", "call.ended"]);
    }
    let again = server.webhook_for_all(&Call::new(1).of_organization(Dialpad::COMPANY).ring(0)).await;
    assert!(again.duplicate, "{again:?}");
}

async fn another_organisation_than_the_apps_is_kept_unrouted(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false").start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let foreign = Call::new(1).of_organization(99).ring(0);
    let ack = server.webhook(&app, &foreign).await;
    assert_eq!(ack.status.as_deref(), Some("unrouted"), "{ack:?}");
    let own = server.webhook(&app, &Call::new(2).of_organization(Dialpad::COMPANY).ring(0)).await;
    assert_eq!(own.status, None, "{own:?}");
    let feed = server.feed_once_processed(&app, 3).await;
    assert!(of_call(&feed, 1).is_empty(), "{feed:#?}");
    assert_eq!(kinds(&of_call(&feed, 2)), ["call.ring"]);
    let elsewhere = Ack::of(&server.post_webhook("/webhooks", &foreign.to_string()).await);
    assert_eq!(elsewhere.status.as_deref(), Some("unrouted"), "{elsewhere:?}");
}

/// The simulator says of each webhook which event it must cause.
async fn calls_at_dialpad_arrive_by_themselves(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    // Each with the number of its legs.
    let flows = [
        ("answered", 1),
        ("hold", 1),
        ("missed", 1),
        ("voicemail", 1),
        ("outbound", 1),
        ("queue", 4),
        ("abandoned", 3),
        ("queue-voicemail", 3),
        ("blocked", 1),
        ("unanswered", 1),
        ("transfer", 2),
        ("warm-transfer", 3),
        ("park", 1),
        ("merge", 2),
    ];
    for ((flow, legs), family) in flows.iter().flat_map(|flow| [(flow, "dialpad"), (flow, "workflow")]) {
        let order = json!({"flow": flow, "family": family, "calls": 3, "rate": 50, "pace": 0,
            "wait_for_subscriber": true});
        let deliveries = dialpad.play(&order).await;
        assert!(
            deliveries.iter().all(|it| it["status"] == 200 && it["attempts"] == 1),
            "{family} {flow}: {deliveries:#?}"
        );
        let mut expected: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for delivery in &deliveries {
            let call = delivery["call_id"].as_i64().expect("a call has an id");
            expected.entry(call).or_default().extend(delivery["expected_event"].as_str().map(str::to_owned));
        }
        assert_eq!(expected.len(), 3 * legs, "{deliveries:#?}");
        let as_expected = |feed: &[Value]| {
            expected.iter().all(|(call, tells)| {
                let mut emitted = of_call(feed, *call);
                emitted.retain(|event| event["type"] != "call.updated");
                kinds(&emitted) == *tells
            })
        };
        let feed =
            server.feed_when(&app, &format!("{family} {flow} is emitted as {expected:?}"), as_expected).await;
        assert_contiguous(&feed, 0);
    }
}
