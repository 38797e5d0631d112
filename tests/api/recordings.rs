//! Recordings of calls and voicemails, streamed from the simulated Dialpad with its redirects.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{App, Ask, Call, Dialpad, Shows, TestServer, With, World, kinds, of_call};

on_both_databases![
    a_recording_is_heard_as_it_is_at_dialpad,
    a_part_of_a_recording_is_that_part,
    a_recording_can_be_looked_at_without_being_fetched,
    a_voicemail_is_heard_by_either_of_its_ids,
    a_link_that_has_expired_is_looked_up_once,
    a_token_that_dialpad_takes_no_more_is_renewed,
    who_may_not_speak_to_dialpad_hears_why,
    what_belongs_to_another_app_is_not_there,
];

struct Office {
    dialpad: Dialpad,
    server: TestServer,
    app: App,
}

impl Office {
    async fn open(world: World) -> Self {
        let dialpad = Dialpad::start().await;
        let server = world.with_dialpad(&dialpad).start().await;
        let app = server.create_app("CRM").await;
        server.connect(&app).await;
        Self { dialpad, server, app }
    }

    /// A call at Dialpad, from its ring to its recording or voicemail. Gives it as the CRM sees it.
    async fn call(&self, flow: &str) -> Value {
        let order = json!({"flow": flow, "calls": 1, "pace": 0, "wait_for_subscriber": true});
        let deliveries = self.dialpad.play(&order).await;
        let id = deliveries[0]["call_id"].as_i64().expect("a call has an id");
        let feed = self
            .server
            .feed_when(&self.app, "the audio is known", |feed| {
                let emitted = of_call(feed, id);
                emitted.iter().any(|event| event["recording_url"].is_string())
                    && emitted.iter().any(|event| event["type"] == "call.ended")
            })
            .await;
        assert!(!feed.is_empty());
        self.server.call(&self.app, id).await
    }

    async fn recording(&self, call: &Value, headers: &[(&str, &str)]) -> Response {
        let path = format!("/api/calls/{}/recording", call["id"].as_str().expect("an id"));
        let request = headers
            .iter()
            .fold(self.server.get(&path).by(&self.app), |it, (name, value)| it.header(*name, *value));
        request.send().await.expect("an answer")
    }
}

fn text<'r>(response: &'r Response, name: &str) -> &'r str {
    response.headers().get(name).map(|value| value.to_str().expect("a text")).unwrap_or_default()
}

async fn a_recording_is_heard_as_it_is_at_dialpad(world: World) {
    let office = Office::open(world).await;
    let call = office.call("answered").await;
    let heard = office.recording(&call, &[]).await;
    assert_eq!(heard.status(), 200);
    let id = call["dialpad_call_id"].as_i64().expect("an id");
    for (name, value) in [
        ("content-type", "audio/wav".to_owned()),
        ("content-disposition", format!("inline; filename=\"call-{id}.wav\"")),
        ("cache-control", "private, no-store".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("accept-ranges", "bytes".to_owned()),
    ] {
        assert_eq!(text(&heard, name), value, "{name}");
    }
    let length: usize = text(&heard, "content-length").parse().expect("a length");
    let bytes = heard.bytes().await.expect("the recording");
    assert_eq!(bytes.len(), length);
    assert_eq!(&bytes[..4], b"RIFF");
    let by_theirs = office.server.get(&format!("/api/calls/{id}/recording")).by(&office.app);
    assert_eq!(by_theirs.send().await.expect("an answer").bytes().await.expect("the recording"), bytes);
}

async fn a_part_of_a_recording_is_that_part(world: World) {
    let office = Office::open(world).await;
    let call = office.call("answered").await;
    let whole = office.recording(&call, &[]).await.bytes().await.expect("the recording");
    let length = whole.len();
    for (range, first, last) in [
        ("bytes=0-99", 0, 99),
        ("bytes=100-1000", 100, 1000),
        ("bytes=500-", 500, length - 1),
        ("bytes=-44", length - 44, length - 1),
        ("bytes=0-0", 0, 0),
    ] {
        let part = office.recording(&call, &[("range", range)]).await;
        assert_eq!(part.status(), 206, "{range}");
        assert_eq!(text(&part, "content-range"), format!("bytes {first}-{last}/{length}"));
        assert_eq!(text(&part, "content-type"), "audio/wav");
        assert_eq!(part.bytes().await.expect("the part"), whole.slice(first..=last), "{range}");
    }
    for whatever in ["bytes=0-1,5-6", "lines=1-2", "nonsense"] {
        let all = office.recording(&call, &[("range", whatever)]).await;
        assert_eq!(all.status(), 200, "{whatever}");
        assert_eq!(all.bytes().await.expect("the recording").len(), length);
    }
    let beyond = format!("bytes={length}-");
    let path = format!("/api/calls/{}/recording", call["dialpad_call_id"]);
    let refused = office.server.get(&path).by(&office.app).header("range", beyond).answer().await;
    refused.refuses(416, "RANGE_NOT_SATISFIABLE");
    assert_eq!(refused.header("content-range"), Some(format!("bytes */{length}").as_str()));
}

async fn a_recording_can_be_looked_at_without_being_fetched(world: World) {
    let office = Office::open(world).await;
    let call = office.call("answered").await;
    let whole = office.recording(&call, &[]).await;
    let path = format!("/api/calls/{}/recording", call["dialpad_call_id"]);
    let head = office.server.request(Method::HEAD, &path).by(&office.app).send().await.expect("an answer");
    assert_eq!(head.status(), 200);
    for name in ["content-length", "content-type", "content-disposition", "accept-ranges"] {
        assert_eq!(text(&head, name), text(&whole, name), "{name}");
    }
    assert!(head.bytes().await.expect("nothing").is_empty());
}

async fn a_voicemail_is_heard_by_either_of_its_ids(world: World) {
    let office = Office::open(world).await;
    let call = office.call("voicemail").await;
    let voicemail = &call["voicemail"];
    let theirs = voicemail["dialpad_voicemail_id"].to_string();
    let mut heard = Vec::new();
    for id in [voicemail["id"].as_str().expect("our id"), theirs.trim_matches('"')] {
        let path = format!("/api/voicemails/{id}/recording");
        let answer = office.server.get(&path).by(&office.app).send().await.expect("an answer");
        assert_eq!((answer.status().as_u16(), text(&answer, "content-type")), (200, "audio/wav"));
        let name = format!("inline; filename=\"voicemail-{}.wav\"", call["dialpad_call_id"]);
        assert_eq!(text(&answer, "content-disposition"), name);
        heard.push(answer.bytes().await.expect("the voicemail"));
    }
    assert_eq!(heard[0], heard[1]);
    // Nobody talked on that call: it has no recording of its own.
    let path = format!("/api/calls/{}/recording", call["dialpad_call_id"]);
    office.server.get(&path).by(&office.app).answer().await.refuses(404, "RECORDING_NOT_FOUND");
}

async fn a_link_that_has_expired_is_looked_up_once(world: World) {
    let office = Office::open(world).await;
    let call = office.call("answered").await;
    office.dialpad.switch(&json!({"expired_recording_links": true})).await;
    let (first, second) = tokio::join!(office.recording(&call, &[]), office.recording(&call, &[]));
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    let id = call["dialpad_call_id"].as_i64().expect("an id");
    let feed = office
        .server
        .feed_when(&office.app, "the new link is emitted", |feed| {
            let last = of_call(feed, id).pop();
            last.is_some_and(|event| event["changed"] == json!(["recording_url"]))
        })
        .await;
    let renewed = office.server.call(&office.app, id).await;
    assert_ne!(renewed["recording_url"], call["recording_url"], "{:?}", kinds(&feed));
    assert_eq!(office.recording(&renewed, &[]).await.status(), 200);
    assert_eq!(office.dialpad.requests("/api/v2/call/{id}").await.len(), 1);
}

async fn a_token_that_dialpad_takes_no_more_is_renewed(world: World) {
    let office = Office::open(world).await;
    let call = office.call("answered").await;
    // Dialpad shows a login page to those whom it does not know. The second time, the call was looked up a moment ago.
    for _ in 0..2 {
        office.dialpad.revoke_tokens(Some("access")).await;
        assert_eq!(office.recording(&call, &[]).await.status(), 200);
    }
    assert_eq!(office.recording(&call, &[("range", "bytes=0-9")]).await.status(), 206);
}

async fn who_may_not_speak_to_dialpad_hears_why(world: World) {
    let office = Office::open(world).await;
    let call = office.call("answered").await;
    let path = format!("/api/calls/{}/recording", call["dialpad_call_id"]);
    let unconnected = office.server.create_app("another CRM").await;
    let recorded = Call::new(7).ended(60).with("recording_url", call["recording_url"].clone());
    office.server.webhook(&unconnected, &recorded).await;
    office.server.wait_for_events(&unconnected, 1).await;
    let answer = office.server.get("/api/calls/7/recording").by(&unconnected).answer().await;
    answer.refuses(409, "NOT_CONNECTED");

    office.dialpad.revoke_tokens(None).await;
    office.server.get(&path).by(&office.app).answer().await.refuses(401, "TOKENS_EXPIRED");
    office.server.get(&path).answer().await.refuses(401, "MISSING_API_KEY");
    office
        .server
        .get(&format!("{path}?quality=best"))
        .by(&office.app)
        .answer()
        .await
        .refuses_naming("quality");
}

async fn what_belongs_to_another_app_is_not_there(world: World) {
    let office = Office::open(world).await;
    let call = office.call("voicemail").await;
    let other = office.server.create_app("another CRM").await;
    let voicemail = call["voicemail"]["id"].as_str().expect("an id");
    for (path, code) in [
        (format!("/api/calls/{}/recording", call["dialpad_call_id"]), "CALL_NOT_FOUND"),
        (format!("/api/voicemails/{voicemail}/recording"), "VOICEMAIL_NOT_FOUND"),
    ] {
        office.server.get(&path).by(&other).answer().await.refuses(404, code);
    }
    call.shows(json!({"recording_url": null}));
}
