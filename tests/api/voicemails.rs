//! `/api/voicemails`, and what administrators may do about them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{App, Ask, Call, NOON, Shows, TestServer, With, World, kinds, object_keys};

on_both_databases![
    a_voicemail_is_found_by_either_of_its_ids,
    voicemails_are_filtered_like_calls,
    changes_of_voicemails_come_oldest_first,
    a_voicemail_learns_what_its_call_learns,
    administrators_see_the_voicemails_of_every_app,
    a_deleted_voicemail_is_gone_for_good,
    what_a_list_of_voicemails_does_not_know_is_refused,
    another_apps_voicemail_is_not_there,
];

async fn voicemails(server: &TestServer, app: &App, query: &[(&str, &str)]) -> Vec<Value> {
    server.get("/api/voicemails").query(query).by(app).answer().await.list()
}

async fn found(server: &TestServer, app: &App, query: &[(&str, &str)]) -> Vec<i64> {
    let list = voicemails(server, app, query).await;
    list.iter().map(|voicemail| voicemail["dialpad_call_id"].as_i64().expect("a call")).collect()
}

/// Three voicemails on three calls.
async fn full_box(server: &TestServer) -> App {
    let app = server.create_app("CRM").await;
    let calls = [
        Call::new(1).between("+14155550001", "+14155559000"),
        Call::new(2).between("+14155550002", "+14155559000").of_user(777),
        Call::new(3).between("+14155550002", "+14155559001"),
    ];
    for (count, call) in (1..).zip(&calls) {
        let voicemail = call.voicemail(60).with("voicemail_id", format!("vm_{}", call.id));
        server.webhook(&app, &voicemail).await;
        server.wait_for_events(&app, 2 * count).await;
    }
    app
}

async fn a_voicemail_is_found_by_either_of_its_ids(world: World) {
    let server = world.start().await;
    let app = full_box(&server).await;
    let by_theirs = server.get("/api/voicemails/vm_2").by(&app).answer().await.ok();
    by_theirs.shows(json!({
        "app_id": app.id, "call_id": 2, "dialpad_call_id": 2, "dialpad_voicemail_id": "vm_2", "direction": "inbound",
        "from_number": "+14155550002", "to_number": "+14155559000", "dialpad_user_id": 777, "crm_user_id": null,
        "recording_url": "https://dialpad.com/api/v2/recordings/call123/download",
        "transcript": "Hi, please call me back", "duration_seconds": 28, "received_at": "2024-01-01T12:01:00Z",
    }));
    assert_eq!(object_keys(&by_theirs).len(), 19, "{by_theirs:#}");
    let ours = by_theirs["id"].as_str().expect("our id");
    assert_eq!(by_theirs["voicemail_id"], ours);
    assert_eq!(server.get(&format!("/api/voicemails/{ours}")).by(&app).answer().await.ok(), by_theirs);
    assert_eq!(server.call(&app, 2).await["voicemail"]["id"], ours);
    assert_eq!(voicemails(&server, &app, &[("from", "+14155550002"), ("limit", "2")]).await[1], by_theirs);
    let as_text = server.get(&format!("/api/voicemails/{ours}?ids=string")).by(&app).answer().await.ok();
    as_text.shows(json!({"call_id": "2", "dialpad_call_id": "2", "dialpad_user_id": "777"}));
    for id in ["vm_9", "2", "%00", "018cc4e5-2270-7f07-a3c9-d2e5b6f7a8c9"] {
        let answer = server.get(&format!("/api/voicemails/{id}")).by(&app).answer().await;
        answer.refuses(404, "VOICEMAIL_NOT_FOUND");
    }
}

async fn voicemails_are_filtered_like_calls(world: World) {
    let server = world.start().await;
    let app = full_box(&server).await;
    let cases: [(&str, &str, &[i64]); 9] = [
        ("direction", "inbound", &[3, 2, 1]),
        ("direction", "outbound", &[]),
        ("from", "+14155550002", &[3, 2]),
        ("to", "+14155559000", &[2, 1]),
        ("dialpad_user_id", "777", &[2]),
        ("limit", "1", &[3]),
        ("until", "946684800", &[]),
        ("until", "4102444800", &[3, 2, 1]),
        ("since", "4102444800", &[]),
    ];
    for (name, value, expected) in cases {
        assert_eq!(found(&server, &app, &[(name, value)]).await, expected, "{name}={value}");
    }
    let (mut seen, mut path) = (Vec::new(), Some("/api/voicemails?limit=2".to_owned()));
    while let Some(next) = path {
        let answer = server.get(&next).by(&app).answer().await;
        seen.extend(answer.list().iter().filter_map(|voicemail| voicemail["call_id"].as_i64()));
        path = answer.next_page();
    }
    assert_eq!(seen, [3, 2, 1]);
}

async fn changes_of_voicemails_come_oldest_first(world: World) {
    let server = world.start().await;
    let app = full_box(&server).await;
    assert_eq!(found(&server, &app, &[("since", "0")]).await, [1, 2, 3]);
    let more = Call::new(1).voicemail(90).with("transcript", "Hi, it is urgent");
    server.webhook(&app, &more).await;
    server.feed_until(&app, "voicemail.updated").await;
    assert_eq!(found(&server, &app, &[("since", "0")]).await, [2, 3, 1]);
    assert_eq!(found(&server, &app, &[]).await, [3, 2, 1], "a change moves nothing in the order of arrival");
}

/// The voicemail's webhook knew no numbers; a later one of the same call does.
async fn a_voicemail_learns_what_its_call_learns(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let bare =
        json!({"event_type": "voicemail.received", "call_id": 1, "transcript": "Hi", "timestamp": NOON + 60});
    server.webhook(&app, &bare).await;
    server.wait_for_events(&app, 2).await;
    voicemails(&server, &app, &[]).await[0].shows(json!({"from_number": null, "direction": "inbound"}));
    server.webhook(&app, &Call::new(1).ended(61)).await;
    server.wait_for_events(&app, 3).await;
    voicemails(&server, &app, &[]).await[0].shows(json!({
        "from_number": "+14155551234", "to_number": "+14155555678", "direction": "inbound", "dialpad_user_id": 555,
        "transcript": "Hi",
    }));
}

async fn administrators_see_the_voicemails_of_every_app(world: World) {
    let server = world.start().await;
    let app = full_box(&server).await;
    let path = format!("/internal/apps/{}/voicemails", app.id);
    let listed = server.get(&path).query(&[("from", "+14155550001")]).by_admin().answer().await.list();
    assert_eq!(listed, voicemails(&server, &app, &[("from", "+14155550001")]).await);
    let id = listed[0]["id"].as_str().expect("an id");
    assert_eq!(server.get(&format!("{path}/{id}")).by_admin().answer().await.ok(), listed[0]);
    let first = server.get(&path).query(&[("limit", "1")]).by_admin().answer().await;
    let next = first.next_page().expect("there are three");
    assert!(next.starts_with(&path), "{next}");
    assert_eq!(server.get(&next).by_admin().answer().await.list()[0]["call_id"], 2);

    let nobody = "/internal/apps/018cc4e5-2270-7f07-a3c9-d2e5b6f7a8c9/voicemails";
    server.get(nobody).by_admin().answer().await.refuses(404, "APP_NOT_FOUND");
    server.get(&format!("{path}/vm_9")).by_admin().answer().await.refuses(404, "VOICEMAIL_NOT_FOUND");
    server.get(&path).by(&app).answer().await.refuses(401, "MISSING_BEARER");
    server.request(Method::DELETE, &format!("{path}/{id}")).answer().await.refuses(401, "MISSING_BEARER");
}

async fn a_deleted_voicemail_is_gone_for_good(world: World) {
    let server = world.start().await;
    let app = full_box(&server).await;
    let call = Call::new(1);
    let path = format!("/internal/apps/{}/voicemails/vm_1", app.id);
    let before = server.call(&app, 1).await;
    let deleted = server.request(Method::DELETE, &path).by_admin().answer().await;
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""), "{deleted}");

    let gone = async || {
        assert_eq!(found(&server, &app, &[]).await, [3, 2]);
        assert_eq!(found(&server, &app, &[("since", "0")]).await.iter().filter(|id| **id == 1).count(), 0);
        server.get("/api/voicemails/vm_1").by(&app).answer().await.refuses(404, "VOICEMAIL_NOT_FOUND");
        let shown = server.call(&app, 1).await;
        shown.shows(
            json!({"voicemail": null, "is_voicemail": true, "outcome": "voicemail", "status": "ended"}),
        );
        shown
    };
    let after = gone().await;
    assert!(after["updated_at"].as_str() > before["updated_at"].as_str(), "who asks for changes hears of it");
    server.request(Method::DELETE, &path).by_admin().answer().await.refuses(404, "VOICEMAIL_NOT_FOUND");

    // Whatever still comes: nothing of it is kept or emitted, but the call goes on.
    let late = call.voicemail(99).with("transcript", "Hi again").with("voicemail_id", "vm_1");
    server
        .webhooks(&app, [&late, &call.state("transcription", 120).with("transcription_text", "Hi once more")])
        .await;
    server.webhook(&app, &call.ended(70).with("duration_seconds", 70)).await;
    let emitted = server.feed_once_processed(&app, 9).await;
    assert_eq!(kinds(&emitted[..6]), ["call.ended", "voicemail.received"].repeat(3));
    assert!(kinds(&emitted[6..]).iter().all(|kind| *kind == "call.updated"), "{:?}", kinds(&emitted));
    assert!(!json!(emitted[6..]).to_string().contains("Hi"), "{emitted:#?}");
    gone().await.shows(json!({"duration_seconds": 70}));
    // Nor after a restart.
    drop(server);
    let server = world.start().await;
    server.webhook(&app, &late.with("timestamp", NOON + 200)).await;
    server.feed_once_processed(&app, 10).await;
    assert_eq!(found(&server, &app, &[]).await, [3, 2]);
}

async fn what_a_list_of_voicemails_does_not_know_is_refused(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (name, value) in [
        ("status", "new"),
        ("direction", "up"),
        ("until", "soon"),
        ("limit", "0"),
        ("dialpad_user_id", "Ada"),
    ] {
        server.get("/api/voicemails").query(&[(name, value)]).by(&app).answer().await.refuses_naming(name);
    }
    server.get("/api/voicemails/1?limit=1").by(&app).answer().await.refuses_naming("limit");
    server.get("/api/voicemails").answer().await.refuses(401, "MISSING_API_KEY");
    server
        .request(Method::DELETE, "/api/voicemails/1")
        .by(&app)
        .answer()
        .await
        .refuses(405, "METHOD_NOT_ALLOWED");
}

async fn another_apps_voicemail_is_not_there(world: World) {
    let server = world.start().await;
    let (ours, theirs) = (full_box(&server).await, server.create_app("theirs").await);
    let id = voicemails(&server, &ours, &[]).await[0]["id"].as_str().expect("an id").to_owned();
    for name in [id.as_str(), "vm_3"] {
        let answer = server.get(&format!("/api/voicemails/{name}")).by(&theirs).answer().await;
        answer.refuses(404, "VOICEMAIL_NOT_FOUND");
        let path = format!("/internal/apps/{}/voicemails/{name}", theirs.id);
        server.request(Method::DELETE, &path).by_admin().answer().await.refuses(404, "VOICEMAIL_NOT_FOUND");
    }
    assert!(found(&server, &theirs, &[]).await.is_empty());
    assert_eq!(found(&server, &ours, &[]).await, [3, 2, 1]);
}
