//! The erasure of a person: nothing that the server shows or stores has the number afterwards.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, Ask, Call, Shows, TestServer, With, World, eventually, kinds, seqs};

on_both_databases![
    nothing_shows_or_stores_the_number_of_an_erased_person,
    a_call_that_goes_on_forgets_the_person,
    other_people_keep_everything,
    an_erasure_is_repeated_without_effect_and_recorded_without_the_number,
    a_number_is_required_and_the_app_must_exist,
    a_repeated_webhook_is_still_a_duplicate,
    a_legs_recording_without_a_number_goes_with_its_human_call,
];

on_sqlite![no_byte_of_the_number_is_left_in_the_database_files,];

const GRACE: &str = "+14155551234";
const ADA: &str = "+14155550199";

async fn erase(server: &TestServer, app: &App, number: &str) -> Answer {
    let number: String = number.replace('+', "%2B").replace(' ', "%20");
    let path = format!("/internal/apps/{}/people?number={number}", app.id);
    server.request(Method::DELETE, &path).by_admin().answer().await
}

/// Calls of Grace in both payload families, a voicemail, a state without a name, and messages.
async fn traffic_of(server: &TestServer, app: &App, number: &str, first: i64) {
    let call = |id: i64| Call::new(id).between(number, "+14155555678");
    let recorded = call(first)
        .ended(180)
        .with("recording_url", "https://dialpad.com/r/secret-of-grace")
        .with("custom_data", json!({"phone": number}));
    server.webhooks(app, &call(first).life()[..4]).await;
    server.webhook(app, &recorded).await;
    server.webhooks(app, [&call(first + 1).ring(0), &call(first + 1).voicemail(30)]).await;
    let native = call(first + 2);
    server.webhooks(app, [&native.state("ringing", 0), &native.state("hologram", 1)]).await;
    server.webhook(app, &native.state("hangup", 9).with("date_ended", 1_704_110_409_000_i64)).await;
    server.webhook(app, &message(&format!("m-{first}"), number)).await;
    // It can't be read, and is kept with its payload.
    server.webhook(app, &json!({"event_type": "call.ring", "from_number": number})).await;
}

fn message(id: &str, from: &str) -> Value {
    json!({"event_type": "message.received", "message_id": id, "direction": "inbound", "from_number": from,
        "to_number": ["+14155555678"], "text": "secret-of-grace", "timestamp": 1_704_110_440})
}

/// Everything that the endpoints show of an app.
async fn shown(server: &TestServer, app: &App) -> String {
    let mut shown = String::new();
    for path in
        ["calls?limit=500", "calls/active", "voicemails", "messages", "interactions", "events?limit=1000"]
    {
        shown += &server.get(&format!("/api/{path}")).by(app).answer().await.body;
    }
    for call in server.get("/api/calls?limit=500").by(app).answer().await.list() {
        for rest in ["", "/events"] {
            let path = format!("/api/calls/{}{rest}", call["call_id"]);
            shown += &server.get(&path).by(app).answer().await.body;
        }
    }
    for path in
        [format!("webhook-events?limit=500&app_id={}", app.id), format!("apps/{}/api-key/audit", app.id)]
    {
        shown += &server.get(&format!("/internal/{path}")).by_admin().answer().await.body;
    }
    let count = server.get("/api/events?limit=1000").by(app).answer().await.list().len();
    let mut socket = server.subscribe(app, "?after=0").await;
    shown += &format!("{:?}", socket.events(count).await);
    shown
}

async fn count_of_person(world: &World) -> i64 {
    let mut count = 0;
    for statement in [
        "SELECT COUNT(*) FROM calls WHERE CAST(facts AS TEXT) LIKE '%5551234%' OR from_number LIKE '%5551234%'",
        "SELECT COUNT(*) FROM messages WHERE CAST(facts AS TEXT) LIKE '%5551234%' OR text LIKE '%secret%'",
        "SELECT COUNT(*) FROM interactions WHERE CAST(summary AS TEXT) LIKE '%5551234%' OR external_e164 LIKE '%1234'",
        "SELECT COUNT(*) FROM events WHERE body LIKE '%5551234%' OR body LIKE '%secret-of%'",
        "SELECT COUNT(*) FROM voicemails WHERE from_number LIKE '%5551234%' OR transcript IS NOT NULL",
    ] {
        count += world.count(statement).await;
    }
    count
}

async fn nothing_shows_or_stores_the_number_of_an_erased_person(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    // The first number without a country code loads the number plans: not while a webhook waits.
    server.get("/api/calls?number=4155551234").by(&app).answer().await.ok();
    traffic_of(&server, &app, "(415) 555-1234", 1).await;
    let before = eventually("all events are there", async || {
        let events = server.get("/api/events?limit=1000").by(&app).answer().await.list();
        (events.iter().filter(|event| event["type"] == "call.ended").count() == 3
            && kinds(&events).contains(&"message.received"))
        .then_some(events)
    })
    .await;
    assert!(shown(&server, &app).await.contains("555-1234") && count_of_person(&world).await > 0);

    let erased = erase(&server, &app, GRACE).await.ok();
    erased.shows(json!({"calls": 3, "messages": 1, "voicemails": 1, "events": before.len(), "webhooks": 12}));

    let after = server.get("/api/events?limit=1000").by(&app).answer().await.list();
    assert_eq!((seqs(&after), kinds(&after)), (seqs(&before), kinds(&before)));
    let shown = shown(&server, &app).await;
    for trace in
        ["555-1234", "5551234", "secret-of-grace", "please call me back", "recordings/call123", "Grace"]
    {
        assert!(!shown.contains(trace), "{trace} in {shown}");
    }
    assert_eq!(count_of_person(&world).await, 0);
    server.call(&app, 1).await.shows(json!({"status": "ended", "from_number": null, "recording_url": null}));
    assert!(server.get("/api/calls?number=4155551234").by(&app).answer().await.list().is_empty());
}

async fn no_byte_of_the_number_is_left_in_the_database_files(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    traffic_of(&server, &app, GRACE, 1).await;
    let files = || {
        let names = ["cti.db", "cti.db-wal"];
        names
            .iter()
            .filter_map(|name| std::fs::read(world.folder().join(name)).ok())
            .flatten()
            .collect::<Vec<u8>>()
    };
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(has(&files(), "4155551234"));
    erase(&server, &app, GRACE).await.ok();
    let bytes = files();
    for trace in ["4155551234", "secret-of-grace", "please call me back"] {
        assert!(!has(&bytes, trace), "{trace} is in a file of the database");
    }
}

async fn a_call_that_goes_on_forgets_the_person(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let call = Call::new(1).between(GRACE, "+14155555678");
    server.webhooks(&app, [&call.ring(0), &call.started(3)]).await;
    socket.events(2).await;
    erase(&server, &app, GRACE).await.ok().shows(json!({"calls": 1, "events": 2, "webhooks": 2}));

    // Nothing that its webhooks say has the number from now on.
    let unsaid = |webhook: Value| webhook.without("from_number").without("to_number");
    server.webhook(&app, &unsaid(call.held(10))).await;
    server.webhook(&app, &unsaid(call.event("call.hologram", 11))).await;
    server.webhook(&app, &unsaid(call.ended(20))).await;
    let events = socket.events(3).await;
    assert_eq!(kinds(&events), ["call.held", "call.raw", "call.ended"]);
    for event in &events {
        event.shows(json!({"from_number": null, "from_e164": null, "to_number": null}));
    }
    server.call(&app, 1).await.shows(json!({"status": "ended", "from_number": null, "duration_seconds": 20}));

    // What is said again is new.
    let next = Call::new(2).between(GRACE, "+14155555678");
    server.webhook(&app, &next.ring(30)).await;
    socket.expect("call.ring").await.shows(json!({"from_number": GRACE}));
}

async fn other_people_keep_everything(world: World) {
    let server = world.start().await;
    let (app, other) = (server.create_app("CRM").await, server.create_app("another CRM").await);
    traffic_of(&server, &app, ADA, 10).await;
    traffic_of(&server, &other, GRACE, 10).await;
    let mention = message("m-99", ADA).with("text", format!("ask {GRACE}"));
    server.webhook(&app, &mention).await;
    eventually("the message is there", async || {
        (server.get("/api/messages/m-99").by(&app).answer().await.status == 200).then_some(())
    })
    .await;
    let before = (shown(&server, &app).await, shown(&server, &other).await);
    traffic_of(&server, &app, GRACE, 20).await;
    erase(&server, &app, GRACE).await.ok().shows(json!({"calls": 3}));
    for call in 10..13 {
        server.call(&app, call).await.shows(json!({"from_e164": ADA}));
        server.call(&other, call).await.shows(json!({"from_e164": GRACE}));
    }
    let message = server.get("/api/messages/m-99").by(&app).answer().await.ok();
    message.shows(json!({"from_number": ADA, "text": format!("ask {GRACE}")}));
    assert_eq!(shown(&server, &other).await, before.1);
}

async fn an_erasure_is_repeated_without_effect_and_recorded_without_the_number(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    traffic_of(&server, &app, GRACE, 1).await;
    let nothing = json!({"calls": 0, "messages": 0, "voicemails": 0, "events": 0, "webhooks": 0});
    assert_eq!(erase(&server, &app, "+442079460018").await.ok(), nothing);
    erase(&server, &app, "(415) 555-1234").await.ok();
    assert_eq!(erase(&server, &app, GRACE).await.ok(), nothing);

    let audit = format!("/internal/apps/{}/api-key/audit", app.id);
    let entries = server.get(&audit).by_admin().answer().await.list();
    let erased: Vec<&Value> = entries.iter().filter(|entry| entry["action"] == "erased").collect();
    let hashes: Vec<&str> = erased.iter().filter_map(|entry| entry["number_hash"].as_str()).collect();
    let [again, first, other] = hashes[..] else { panic!("three erasures: {entries:#?}") };
    assert!(first == again && first != other && first.len() == 64, "{hashes:?}");
    assert!(!server.process.log().contains("5551234"));
}

async fn a_number_is_required_and_the_app_must_exist(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for number in ["", "Grace", "22395", "anonymous"] {
        erase(&server, &app, number).await.refuses_naming("number");
    }
    let people = format!("/internal/apps/{}/people", app.id);
    server.request(Method::DELETE, &people).by_admin().answer().await.refuses_naming("number");
    let path = format!("{people}?number=%2B14155551234");
    server.request(Method::DELETE, &path).answer().await.refuses(401, "MISSING_BEARER");
    server.request(Method::DELETE, &path).by(&app).answer().await.fails_with(401);
    let nobody = App { id: uuid::Uuid::now_v7().to_string(), key: String::new() };
    erase(&server, &nobody, GRACE).await.refuses(404, "APP_NOT_FOUND");
}

async fn a_repeated_webhook_is_still_a_duplicate(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let call = Call::new(1).between(GRACE, "+14155555678");
    let first = server.webhook(&app, &call.ring(0)).await;
    erase(&server, &app, GRACE).await.ok();
    let again = server.webhook(&app, &call.ring(0)).await;
    assert!(again.duplicate && again.event_id == first.event_id, "{again:?}");
    server.call(&app, 1).await.shows(json!({"status": "ringing", "from_number": null}));
    let path = format!("/internal/webhook-events/{}", first.event_id);
    let entry = server.get(&path).by_admin().answer().await.ok();
    entry.shows(json!({"status": "processed", "reason": "the payload was erased", "payload": ""}));
}

async fn a_legs_recording_without_a_number_goes_with_its_human_call(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let queue = Call::new(1).between(GRACE, "+14155555678");
    server.webhook(&app, &queue.state("ringing", 0)).await;
    let agent = Call::new(2).between("", "");
    let leg = agent
        .answered_state("hangup", 30)
        .with("entry_point_call_id", 1)
        .with("date_ended", 1_704_110_430_000_i64);
    let leg = leg.with(
        "recording_details",
        json!([{"id": "7", "url": "https://dialpad.com/r/7", "recording_type": "callrecording"}]),
    );
    server.webhook(&app, &leg).await;
    server.call(&app, 2).await.shows(json!({"interaction_id": server.call(&app, 1).await["interaction_id"]}));
    erase(&server, &app, GRACE).await.ok().shows(json!({"calls": 2, "webhooks": 2}));
    server.call(&app, 2).await.shows(json!({"recording_url": null, "recordings": []}));
    assert_eq!(world.count("SELECT COUNT(*) FROM events WHERE body LIKE '%dialpad.com/r/7%'").await, 0);
}
