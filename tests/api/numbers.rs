//! Phone numbers: every spelling of a number finds it, as the app's region reads it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, Ask, Call, Shows, TestServer, World, eventually, seqs};

on_both_databases![
    numbers_are_shown_in_e164_form_beside_what_came,
    lists_are_filtered_by_a_number_in_any_spelling,
    events_are_filtered_by_a_number_in_any_spelling,
    a_new_region_reads_what_is_stored_again,
    a_region_is_an_upper_case_code,
];

const LONDON: &str = "+442079460018";

async fn set_region(server: &TestServer, app: &App, region: Value) -> Answer {
    let request = server.request(Method::PATCH, &format!("/internal/apps/{}", app.id)).by_admin();
    request.json(&json!({"region": region})).answer().await
}

/// London calls a number in the American spelling; a short code and a hidden caller call too; a message has two recipients.
async fn some_traffic(server: &TestServer, app: &App) {
    let london = Call::new(1).between("+44 (0)20 7946 0018", "(415) 555-0129");
    let short = Call::new(2).between("22395", "+14155550129");
    let hidden = Call::new(3).between("anonymous", "020 7946 0018");
    server.webhooks(app, [&london.ring(0), &short.ring(1), &hidden.ring(2), &london.voicemail(30)]).await;
    server.webhook(app, &json!({"event_type": "message.sent", "message_id": "m-1", "direction": "outbound",
        "from_number": "+14155550129", "to_number": [LONDON, "22395"], "text": "Hi", "timestamp": 1_704_110_440})).await;
    eventually("everything is there", async || {
        let message = server.get("/api/messages/m-1").by(app).answer().await;
        (message.status == 200).then_some(())
    })
    .await;
}

async fn calls(server: &TestServer, app: &App, query: &str) -> Vec<i64> {
    let list = server.get(&format!("/api/calls?{query}")).by(app).answer().await.list();
    let mut found: Vec<i64> = list.iter().map(|call| call["call_id"].as_i64().expect("an id")).collect();
    found.sort_unstable();
    found
}

async fn numbers_are_shown_in_e164_form_beside_what_came(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    some_traffic(&server, &app).await;
    let numbers = json!({"from_number": "+44 (0)20 7946 0018", "to_number": "(415) 555-0129", "from_e164": LONDON,
        "to_e164": "+14155550129"});
    server.call(&app, 1).await.shows(numbers.clone());
    server
        .call(&app, 2)
        .await
        .shows(json!({"from_number": "22395", "from_e164": null, "to_e164": "+14155550129"}));
    server
        .call(&app, 3)
        .await
        .shows(json!({"from_e164": null, "to_number": "020 7946 0018", "to_e164": null}));
    server.get("/api/voicemails").by(&app).answer().await.list()[0].shows(numbers.clone());
    let message = server.get("/api/messages/m-1").by(&app).answer().await.ok();
    message
        .shows(json!({"from_e164": "+14155550129", "to_e164": LONDON, "to_number": "+442079460018,22395"}));
    server.wait_for_events(&app, 6).await[0].shows(numbers);
}

async fn lists_are_filtered_by_a_number_in_any_spelling(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    some_traffic(&server, &app).await;
    for (query, expected) in [
        ("from=%2B442079460018", &[1][..]),
        ("from=+442079460018", &[1]),
        ("from=+44+20+7946+0018", &[1]),
        ("from=%2B44%20(0)20%207946%200018", &[1]),
        ("to=4155550129", &[1, 2]),
        ("to=1-415-555-0129&status=ringing", &[2]),
        ("number=%2B14155550129", &[1, 2]),
        ("number=%2B442079460018", &[1]),
        ("number=22395", &[2]),
        ("from=22395", &[2]),
        ("from=anonymous", &[3]),
        ("to=020%207946%200018", &[3]),
        ("from=%2B14155550199", &[]),
        ("number=nobody", &[]),
        ("number=%2B14155550129&outcome=voicemail", &[1]),
        ("outcome=missed", &[]),
    ] {
        assert_eq!(calls(&server, &app, query).await, expected, "{query}");
    }
    for (path, query, expected) in [
        ("voicemails", "number=(415)%20555-0129", 1),
        ("voicemails", "to=22395", 0),
        ("messages", "to=+44+20+7946+0018", 1),
        ("messages", "to=22395", 1),
        ("messages", "number=415.555.0129", 1),
        ("messages", "number=223", 0),
        ("messages", "from=22395", 0),
    ] {
        let list = server.get(&format!("/api/{path}?{query}")).by(&app).answer().await.list();
        assert_eq!(list.len(), expected, "{path} {query}");
    }
    server.get("/api/calls?outcome=gone").by(&app).answer().await.refuses_naming("outcome");
}

async fn events_are_filtered_by_a_number_in_any_spelling(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    some_traffic(&server, &app).await;
    let all = server.get("/api/events").by(&app).answer().await.list();
    let of = |call: i64| seqs(&all.iter().filter(|it| it["call_id"] == call).cloned().collect::<Vec<_>>());
    let of_message = all.last().expect("an event")["seq"].as_i64().expect("a number");
    for (query, expected) in [
        ("from=+44+20+7946+0018", of(1)),
        ("from=22395", of(2)),
        ("number=020%207946%200018", of(3)),
        ("to=%2B44%20(0)20%207946%200018", vec![of_message]),
    ] {
        let listed = server.get(&format!("/api/events?{query}")).by(&app).answer().await.list();
        assert_eq!(seqs(&listed), expected, "{query}");
        let mut socket = server.subscribe(&app, &format!("?after=0&{query}")).await;
        assert_eq!(seqs(&socket.events(expected.len()).await), expected, "{query}");
    }
    set_region(&server, &app, json!("GB")).await.ok();
    let listed = server.get("/api/events?number=%2B442079460018").by(&app).answer().await.list();
    let mut expected = [of(1), of(3), vec![of_message]].concat();
    expected.sort_unstable();
    assert_eq!(seqs(&listed), expected, "stored events are read by the region of now");
}

async fn a_new_region_reads_what_is_stored_again(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    some_traffic(&server, &app).await;
    set_region(&server, &app, json!("GB")).await.ok().shows(json!({"region": "GB"}));
    eventually("stored numbers are read again", async || {
        let call = server.call(&app, 3).await;
        (call["to_e164"] == LONDON).then_some(())
    })
    .await;
    server.call(&app, 1).await.shows(json!({"from_e164": LONDON, "to_e164": null}));
    assert_eq!(calls(&server, &app, "number=020%207946%200018").await, [1, 3]);
    assert_eq!(calls(&server, &app, "to=4155550129").await, Vec::<i64>::new());
    server.webhook(&app, &Call::new(9).between("07911 123456", "020 7946 0018").ring(50)).await;
    let call = eventually("the call is there", async || {
        let call = server.get("/api/calls/9").by(&app).answer().await;
        (call.status == 200).then(|| call.ok())
    })
    .await;
    call.shows(json!({"from_e164": "+447911123456", "to_e164": LONDON}));
}

async fn a_region_is_an_upper_case_code(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let path = format!("/internal/apps/{}", app.id);
    server.get(&path).by_admin().answer().await.ok().shows(json!({"region": "US"}));
    for bad in [json!("us"), json!("USA"), json!("ZZ"), json!(""), json!(null), json!(44)] {
        set_region(&server, &app, bad).await.refuses_naming("region");
    }
    set_region(&server, &app, json!("DE")).await.ok().shows(json!({"region": "DE", "name": "CRM"}));
    server.get("/internal/apps").by_admin().answer().await.list()[0].shows(json!({"region": "DE"}));
}
