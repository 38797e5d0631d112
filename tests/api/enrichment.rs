//! What was missing of a call is fetched when somebody reads it, and nobody waits long for it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Answer, App, Ask, Call, NOON, Reply, ReplyGate, ScriptedDialpad, ScriptedRequest, Shows, TestServer,
    With, World, eventually, kinds, of_call,
};

on_both_databases![
    a_missing_recording_is_there_when_somebody_reads_the_call,
    many_readers_ask_once_and_not_again_for_a_while,
    nobody_waits_for_a_slow_dialpad,
    a_few_wait_and_the_others_do_not,
    a_voicemail_of_which_nobody_spoke_is_found,
    words_that_the_call_lacks_are_those_of_its_transcript,
    what_can_not_be_asked_is_answered_as_it_is_known,
    a_call_that_lacks_nothing_is_not_asked_for,
    a_deleted_voicemail_is_not_fetched_again,
];

const CALL: i64 = 7;
const LINK: &str = "https://dialpad.com/r/1";

/// The call as Dialpad's REST API shows it.
fn shown(call: i64) -> Value {
    json!({
        "call_id": call.to_string(), "state": "hangup", "direction": "inbound", "external_number": "+14155551234",
        "internal_number": "+14155555678", "target": {"id": "555", "type": "user"},
        "date_started": ms(0), "date_connected": ms(3), "date_ended": ms(60),
    })
}

fn ms(second: i64) -> String {
    ((NOON + second) * 1000).to_string()
}

fn with_recording(call: i64) -> Value {
    let details = json!([{"id": "1", "recording_type": "callrecording", "url": LINK, "duration": 57000.5}]);
    shown(call).with("recording_details", details)
}

async fn office(
    world: World,
    script: impl FnMut(&ScriptedRequest) -> Reply + Send + 'static,
) -> (ScriptedDialpad, TestServer, App) {
    let dialpad = ScriptedDialpad::start(script).await;
    let server = world.with_scripted(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    (dialpad, server, app)
}

/// A call that a person answered, without a recording.
async fn answered(server: &TestServer, app: &App, call: i64) {
    let call = Call::new(call);
    server.webhooks(app, [&call.ring(0), &call.started(3), &call.ended(60)]).await;
    let id = call.id;
    server.feed_when(app, "the call is over", |feed| kinds(&of_call(feed, id)).contains(&"call.ended")).await;
}

/// A call that went to voicemail, of which no message has come.
async fn unheard_voicemail(server: &TestServer, app: &App) {
    let call = Call::new(CALL);
    server
        .webhooks(app, [&call.state("ringing", 0), &call.state("voicemail", 20), &call.state("hangup", 60)])
        .await;
    server.feed_until(app, "call.ended").await;
}

async fn read(server: &TestServer, app: &App, call: i64) -> Answer {
    server.get(&format!("/api/calls/{call}")).by(app).answer().await
}

async fn a_missing_recording_is_there_when_somebody_reads_the_call(world: World) {
    let (dialpad, server, app) = office(world, |_| Reply::json(200, with_recording(CALL))).await;
    answered(&server, &app, CALL).await;
    server
        .call(&app, CALL)
        .await
        .shows(json!({"recording_url": LINK, "status": "ended", "duration_seconds": 60}));
    let emitted = server.feed_until(&app, "call.updated").await;
    let update = emitted.last().expect("found");
    assert!(
        update["changed"].as_array().is_some_and(|changed| changed.contains(&json!("recording_url"))),
        "{update:#}"
    );
    server.call(&app, CALL).await;
    assert_eq!(dialpad.requests("GET call/7").len(), 1);
}

async fn many_readers_ask_once_and_not_again_for_a_while(world: World) {
    let (dialpad, server, app) = office(world, |_| Reply::json(200, shown(CALL))).await;
    answered(&server, &app, CALL).await;
    let readers = (0..20).map(|_| read(&server, &app, CALL));
    for answer in futures_util::future::join_all(readers).await {
        answer.ok().shows(json!({"recording_url": null}));
    }
    read(&server, &app, CALL).await.ok();
    assert_eq!(dialpad.requests("GET call/7").len(), 1);
    assert_eq!(kinds(&server.feed(&app).await), ["call.ring", "call.started", "call.ended"]);
}

async fn nobody_waits_for_a_slow_dialpad(world: World) {
    let gate = ReplyGate::default();
    let held = gate.clone();
    let (dialpad, server, app) =
        office(world, move |_| Reply::json(200, with_recording(CALL)).held_by(&held)).await;
    answered(&server, &app, CALL).await;
    let began = Instant::now();
    read(&server, &app, CALL).await.ok().shows(json!({"recording_url": null}));
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
    assert_eq!(dialpad.requests("GET call/7").len(), 1);
    // It was not given up: what comes late is emitted.
    gate.open();
    let emitted = server.feed_until(&app, "call.updated").await;
    emitted.last().expect("found").shows(json!({"recording_url": LINK}));
}

/// Dialpad answers nothing, and many calls are read.
async fn a_few_wait_and_the_others_do_not(world: World) {
    let gate = ReplyGate::default();
    let held = gate.clone();
    let (dialpad, server, app) = office(world, move |_| Reply::json(200, shown(CALL)).held_by(&held)).await;
    for call in 1..=40 {
        server.webhooks(&app, [&Call::new(call).started(3), &Call::new(call).ended(60)]).await;
    }
    server.wait_for_events(&app, 80).await;
    let asked = || (1..=40).filter(|call| !dialpad.requests(&format!("GET call/{call}")).is_empty()).count();
    let first = (1..=5).map(|call| read(&server, &app, call));
    futures_util::future::join_all(first).await;
    let began = Instant::now();
    for call in 6..=40 {
        read(&server, &app, call).await.ok().shows(json!({"recording_url": null}));
    }
    assert!(began.elapsed() < Duration::from_secs(10), "35 calls took {:?}", began.elapsed());
    assert!(asked() <= 5, "{} calls were asked for", asked());
}

async fn a_voicemail_of_which_nobody_spoke_is_found(world: World) {
    let found = shown(CALL)
        .without("date_connected")
        .with("voicemail_share_link", "https://dialpad.com/shared/voicemail/1")
        .with("transcription_text", "Hi, please call me back");
    let (dialpad, server, app) = office(world, move |_| Reply::json(200, found.clone())).await;
    unheard_voicemail(&server, &app).await;
    let call = server.call(&app, CALL).await;
    call["voicemail"].shows(json!({
        "recording_url": "https://dialpad.com/shared/voicemail/1", "transcript": "Hi, please call me back",
        "received_at": "2024-01-01T12:01:00Z",
    }));
    let emitted = server.feed_until(&app, "voicemail.received").await;
    emitted.last().expect("found").shows(json!({"transcript": "Hi, please call me back"}));
    // The webhook that was late brings the audio itself.
    let late = Call::new(CALL).state("voicemail_uploaded", 70).with("voicemail_link", LINK);
    server.webhook(&app, &late).await;
    server.feed_until(&app, "voicemail.updated").await;
    server.call(&app, CALL).await["voicemail"].shows(json!({"recording_url": LINK}));
    assert_eq!(dialpad.requests("GET call/7").len(), 1);
    assert!(dialpad.requests("GET transcripts/7").is_empty());
}

async fn words_that_the_call_lacks_are_those_of_its_transcript(world: World) {
    let (_dialpad, server, app) = office(world, |asked| match asked.what.as_str() {
        "GET call/7" => {
            Reply::json(200, shown(CALL).without("date_connected").with("voicemail_share_link", LINK))
        }
        _ => Reply::json(
            200,
            json!({"call_id": "7", "lines": [
                {"type": "moment", "content": "callback", "time": "2024-01-01T12:00:30"},
                {"type": "transcript", "content": "Hi, this is John.", "time": "2024-01-01T12:00:31"},
            ]}),
        ),
    })
    .await;
    unheard_voicemail(&server, &app).await;
    let call = server.call(&app, CALL).await;
    call["voicemail"].shows(json!({"transcript": "Hi, this is John.", "recording_url": LINK}));
}

async fn what_can_not_be_asked_is_answered_as_it_is_known(world: World) {
    let (dialpad, server, app) = office(world, |asked| match asked.what.as_str() {
        "GET call/1" => Reply::json(403, json!({})),
        "GET call/2" => Reply::json(404, json!({})),
        "GET call/3" => Reply::none(),
        "GET call/4" => Reply::json(429, json!({})).header("retry-after", "60"),
        "GET call/5" => Reply::json(200, json!("nonsense")),
        _ => Reply::json(500, json!({})),
    })
    .await;
    for call in [1, 2, 3, 5, 6, 4] {
        answered(&server, &app, call).await;
        read(&server, &app, call).await.ok().shows(json!({"status": "ended", "recording_url": null}));
    }
    dialpad.close();
    answered(&server, &app, 8).await;
    read(&server, &app, 8).await.ok().shows(json!({"status": "ended"}));
}

async fn a_call_that_lacks_nothing_is_not_asked_for(world: World) {
    let (dialpad, server, app) = office(world, |_| Reply::json(200, with_recording(CALL))).await;
    let (ringing, missed, recorded, heard) = (Call::new(1), Call::new(2), Call::new(3), Call::new(4));
    server.webhooks(&app, [&ringing.ring(0), &missed.ring(0), &missed.ended(20)]).await;
    let over = recorded.ended(60).with("recording_url", LINK);
    server.webhooks(&app, [&recorded.started(3), &over, &heard.voicemail(60)]).await;
    server.feed_until(&app, "voicemail.received").await;
    for call in 1..=4 {
        read(&server, &app, call).await.ok();
        assert!(dialpad.requests(&format!("GET call/{call}")).is_empty(), "call {call}");
    }
}

async fn a_deleted_voicemail_is_not_fetched_again(world: World) {
    let (dialpad, server, app) = office(world, |_| {
        Reply::json(200, shown(CALL).with("voicemail_share_link", LINK).with("transcription_text", "Hi"))
    })
    .await;
    server.webhook(&app, &Call::new(CALL).voicemail(60)).await;
    server.wait_for_events(&app, 2).await;
    let path = format!("/internal/apps/{}/voicemails/vm_123456", app.id);
    let deleted = server.request(reqwest::Method::DELETE, &path).by_admin().answer().await;
    assert_eq!(deleted.status, 204, "{deleted}");
    eventually("it is gone", async || server.call(&app, CALL).await["voicemail"].is_null().then_some(()))
        .await;
    assert!(dialpad.requests("GET call/7").is_empty());
}
