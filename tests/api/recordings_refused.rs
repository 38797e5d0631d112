//! What is not fetched, not passed on, or not for long: a webhook may name any address, and an address may hold anything.

use futures_util::future::join_all;
use reqwest::Response;
use serde_json::json;

use crate::support::{
    Answer, App, Ask, Call, MediaRequest, MediaResponse, MediaStub, Shows, TestServer, With, World,
    eventually,
};

on_both_databases![
    what_lies_elsewhere_is_not_fetched,
    what_leads_elsewhere_is_not_followed,
    three_redirects_are_followed_and_a_fourth_is_not,
    what_is_no_audio_is_not_passed_on,
    what_calls_itself_bytes_is_called_what_it_is,
    what_is_gone_is_not_found,
    a_refusal_that_stays_after_a_look_names_the_scope,
    a_refusal_without_a_fresh_link_names_the_scope,
    a_page_of_recordings_comes_as_a_whole,
    a_fresh_link_is_tried,
    a_dialpad_in_trouble_is_said_to_be,
    only_the_named_headers_go_either_way,
    a_call_without_a_recording_has_none,
    a_recording_flows_while_dialpad_sends_it,
    a_recording_that_breaks_off_does_not_look_whole,
    what_is_larger_than_any_recording_is_not_begun,
    an_app_has_so_many_recordings_under_way_at_once,
];

/// The beginning of a sound.
const WAV: &[u8] = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0";
const CALL: i64 = 7;
/// Nothing that the server says may contain it.
const KEY: &str = "a-static-key-of-the-tests";

/// A server whose Dialpad is this media_stub, and an app with one call.
async fn office(world: World, media_stub: &MediaStub) -> (TestServer, App) {
    let server = world.with_media_stub(media_stub).start().await;
    let app = server.create_app("CRM").await;
    (server, app)
}

/// A call whose recording is said to be there.
async fn recorded(server: &TestServer, app: &App, call: i64, url: &str) {
    let call = Call::new(call);
    let ended = call.ended(60).with("recording_url", url).with("started_at", "2024-01-01T12:00:03Z");
    server.webhook(app, &ended).await;
    let id = call.id;
    let what = format!("call {id} is emitted");
    server.feed_when(app, &what, |feed| feed.iter().any(|event| event["dialpad_call_id"] == id)).await;
}

async fn listen(server: &TestServer, app: &App, call: i64) -> Response {
    let request = server.get(&format!("/api/calls/{call}/recording")).by(app);
    request.send().await.expect("an answer")
}

async fn refused(server: &TestServer, app: &App, call: i64, status: u16, code: &str) -> Answer {
    let answer = server.get(&format!("/api/calls/{call}/recording")).by(app).answer().await;
    answer.refuses(status, code);
    assert!(!answer.to_string().contains(KEY), "{answer}");
    answer
}

fn is_look(heard: &MediaRequest) -> bool {
    heard.target.starts_with("/api/v2/")
}

fn no_such_call() -> MediaResponse {
    MediaResponse::new(404)
}

async fn what_lies_elsewhere_is_not_fetched(world: World) {
    let elsewhere = MediaStub::always(MediaResponse::audio("audio/wav", WAV)).await;
    let media_stub = MediaStub::always(MediaResponse::audio("audio/wav", WAV)).await;
    let (server, app) = office(world, &media_stub).await;
    let port = media_stub.base_url.rsplit(':').next().expect("a port");
    let deceiving = media_stub.base_url.replace("http://", "http://dialpad.com@");
    let urls = [
        format!("{}/r/1", elsewhere.base_url),
        format!("http://localhost:{port}/r/1"),
        format!("https://127.0.0.1:{port}/r/1"),
        format!("{deceiving}/r/1"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/passwd".to_owned(),
        "/r/1".to_owned(),
        "not a url".to_owned(),
    ];
    for (call, url) in (1..).zip(&urls) {
        recorded(&server, &app, call, url).await;
        refused(&server, &app, call, 502, "RECORDING_UNAVAILABLE").await;
    }
    assert!(elsewhere.requests().is_empty() && media_stub.requests().is_empty());
}

async fn what_leads_elsewhere_is_not_followed(world: World) {
    let elsewhere = MediaStub::always(MediaResponse::audio("audio/wav", WAV)).await;
    let target = format!("{}/stolen.wav", elsewhere.base_url);
    let media_stub = MediaStub::start(move |heard| match heard.target.as_str() {
        "/r/1" => MediaResponse::redirect("/secureblob/1"),
        "/secureblob/1" => MediaResponse::redirect(&target),
        _ => no_such_call(),
    })
    .await;
    let (server, app) = office(world, &media_stub).await;
    recorded(&server, &app, CALL, &format!("{}/r/1", media_stub.base_url)).await;
    refused(&server, &app, CALL, 502, "RECORDING_UNAVAILABLE").await;
    assert!(elsewhere.requests().is_empty(), "{:?}", elsewhere.requests());
    let heard = media_stub.requests();
    assert!(heard.iter().all(|it| it.headers["authorization"] == format!("Bearer {KEY}")), "{heard:?}");
}

async fn three_redirects_are_followed_and_a_fourth_is_not(world: World) {
    let media_stub = MediaStub::start(|heard| match heard.target.as_str() {
        "/0" => MediaResponse::audio("audio/wav", WAV),
        "/loop" => MediaResponse::redirect("/loop"),
        "/nowhere" => MediaResponse::new(302),
        target => match target.trim_start_matches('/').parse::<u8>() {
            Ok(hops) => MediaResponse::redirect(&format!("/{}", hops - 1)),
            Err(_) => no_such_call(),
        },
    })
    .await;
    let (server, app) = office(world, &media_stub).await;
    recorded(&server, &app, 3, &format!("{}/3", media_stub.base_url)).await;
    assert_eq!(listen(&server, &app, 3).await.status(), 200);
    for (call, path) in [(4, "4"), (5, "loop"), (6, "nowhere")] {
        recorded(&server, &app, call, &format!("{}/{path}", media_stub.base_url)).await;
        refused(&server, &app, call, 502, "RECORDING_UNAVAILABLE").await;
    }
}

async fn what_is_no_audio_is_not_passed_on(world: World) {
    let page = "<!doctype html><title>Log in</title><script>steal()</script>";
    let tracks = [
        MediaResponse::audio("text/html", page),
        MediaResponse::audio("audio/mpeg", page),
        MediaResponse::audio("text/html", WAV),
        MediaResponse::audio("application/json", "{\"error\":\"no\"}"),
        MediaResponse::audio("audio/wav", "{\"error\":\"no\"}"),
        MediaResponse::audio("audio/wav", ""),
        MediaResponse::new(200).bytes(WAV),
        MediaResponse::redirect("/login?next=%2Fr%2F1"),
        MediaResponse::new(206)
            .header("content-type", "text/html")
            .header("content-range", "bytes 9-20/99")
            .bytes(page),
    ];
    let count = i64::try_from(tracks.len()).expect("a few");
    let media_stub = MediaStub::start(move |heard| {
        let number = heard.target.trim_start_matches("/r/").parse::<usize>();
        number.ok().and_then(|number| tracks.get(number - 1)).cloned().unwrap_or_else(no_such_call)
    })
    .await;
    let (server, app) = office(world, &media_stub).await;
    for call in 1..=count {
        recorded(&server, &app, call, &format!("{}/r/{call}", media_stub.base_url)).await;
        let answer = refused(&server, &app, call, 502, "RECORDING_UNAVAILABLE").await;
        assert!(!answer.body.contains("steal"), "{answer}");
    }
}

async fn what_calls_itself_bytes_is_called_what_it_is(world: World) {
    let media_stub =
        MediaStub::always(MediaResponse::audio("binary/octet-stream", &b"ID3\x04\0\0\0\0\0\0\0\0\0"[..]))
            .await;
    let (server, app) = office(world, &media_stub).await;
    recorded(&server, &app, CALL, &format!("{}/r/1", media_stub.base_url)).await;
    let heard = listen(&server, &app, CALL).await;
    assert_eq!(heard.headers()["content-type"], "audio/mpeg");
    assert_eq!(heard.headers()["content-disposition"], "inline; filename=\"call-7.mp3\"");
}

async fn what_is_gone_is_not_found(world: World) {
    let media_stub =
        MediaStub::start(|heard| MediaResponse::new(if heard.target == "/r/404" { 404 } else { 410 })).await;
    let (server, app) = office(world, &media_stub).await;
    for call in [404, 410] {
        recorded(&server, &app, call, &format!("{}/r/{call}", media_stub.base_url)).await;
        refused(&server, &app, call, 404, "RECORDING_NOT_FOUND").await;
        assert_eq!(media_stub.call_lookups(call), 0, "there is nothing to be looked up");
    }
}

/// Dialpad's answer to a look at the call, with this link.
fn call_with_link(heard: &MediaRequest, link: &str) -> MediaResponse {
    let base_url = heard.base_url();
    MediaResponse::json(&json!({
        "call_id": CALL.to_string(), "state": "hangup", "direction": "inbound", "date_ended": "1704110460000",
        "recording_details": [{"id": "1", "recording_type": "callrecording", "url": format!("{base_url}{link}")}],
    }))
}

async fn a_refusal_that_stays_after_a_look_names_the_scope(world: World) {
    let media_stub = MediaStub::start(|heard| {
        if is_look(heard) { call_with_link(heard, "/r/2") } else { MediaResponse::new(403) }
    })
    .await;
    let (server, app) = office(world, &media_stub).await;
    recorded(&server, &app, CALL, &format!("{}/r/1", media_stub.base_url)).await;
    for _ in 0..3 {
        let answer = refused(&server, &app, CALL, 502, "RECORDING_UNAVAILABLE").await;
        answer.json()["details"].shows(json!({"scope": "recordings_export", "dialpad_status": 403}));
    }
    assert_eq!(media_stub.call_lookups(CALL), 1, "however often somebody asks");
}

async fn a_refusal_without_a_fresh_link_names_the_scope(world: World) {
    let media_stub = MediaStub::start(|heard| match heard.target.as_str() {
        // Without the scope the call has no recordings.
        "/api/v2/call/7" => MediaResponse::json(&json!({"call_id": "7", "state": "hangup"})),
        "/api/v2/call/8" => MediaResponse::new(403),
        "/r/1" => MediaResponse::new(403),
        _ => no_such_call(),
    })
    .await;
    let (server, app) = office(world, &media_stub).await;
    for call in [7, 8] {
        recorded(&server, &app, call, &format!("{}/r/1", media_stub.base_url)).await;
        let answer = refused(&server, &app, call, 502, "RECORDING_UNAVAILABLE").await;
        assert_eq!(answer.json()["details"]["scope"], "recordings_export", "{answer}");
    }
    recorded(&server, &app, 9, &format!("{}/r/1", media_stub.base_url)).await;
    refused(&server, &app, 9, 404, "RECORDING_NOT_FOUND").await;
}

async fn a_page_of_recordings_comes_as_a_whole(world: World) {
    let media_stub = MediaStub::start(|heard| match heard.target.as_str() {
        "/r/1" => MediaResponse::redirect("/secureblob/1"),
        "/secureblob/1" => MediaResponse::redirect("/blob-server/1"),
        "/blob-server/1" => MediaResponse::audio("audio/wav", WAV),
        _ => no_such_call(),
    })
    .await;
    let (server, app) = office(world, &media_stub).await;
    recorded(&server, &app, CALL, &format!("{}/r/1", media_stub.base_url)).await;
    let statuses =
        join_all((0..25).map(|_| async { listen(&server, &app, CALL).await.status().as_u16() })).await;
    assert_eq!(statuses, [200; 25]);
}

async fn a_fresh_link_is_tried(world: World) {
    let media_stub = MediaStub::start(|heard| match heard.target.as_str() {
        "/r/1" => MediaResponse::audio("text/html", "<html>Log in</html>"),
        "/r/2" => MediaResponse::audio("audio/wav", WAV),
        _ => call_with_link(heard, "/r/2"),
    })
    .await;
    let (server, app) = office(world, &media_stub).await;
    recorded(&server, &app, CALL, &format!("{}/r/1", media_stub.base_url)).await;
    let heard = listen(&server, &app, CALL).await;
    assert_eq!(heard.status(), 200);
    assert_eq!(heard.bytes().await.expect("the recording"), WAV);
    eventually("the call has the fresh link", async || {
        let url = server.call(&app, CALL).await["recording_url"].clone();
        url.as_str().is_some_and(|url| url.ends_with("/r/2")).then_some(())
    })
    .await;
}

async fn a_dialpad_in_trouble_is_said_to_be(world: World) {
    let media_stub = MediaStub::start(|heard| match heard.target.as_str() {
        "/r/1" => MediaResponse::new(500),
        "/r/2" => MediaResponse::new(429).header("retry-after", "7"),
        "/r/3" => MediaResponse::new(401),
        "/r/4" => MediaResponse::new(418),
        _ => no_such_call(),
    })
    .await;
    let (server, app) = office(world, &media_stub).await;
    let cases = [
        (1, 503, "DIALPAD_UNAVAILABLE"),
        (3, 502, "RECORDING_UNAVAILABLE"),
        (4, 502, "RECORDING_UNAVAILABLE"),
        (2, 429, "DIALPAD_RATE_LIMITED"),
    ];
    for (call, status, code) in cases {
        recorded(&server, &app, call, &format!("{}/r/{call}", media_stub.base_url)).await;
        let answer = refused(&server, &app, call, status, code).await;
        if call == 2 {
            assert_eq!(answer.header("retry-after"), Some("7"));
        }
    }
}

async fn only_the_named_headers_go_either_way(world: World) {
    let media_stub = MediaStub::always(
        MediaResponse::audio("audio/wav; charset=binary", WAV)
            .header("set-cookie", "session=of-dialpad")
            .header("x-dialpad-secret", "s3cret")
            .header("access-control-allow-origin", "*")
            .header("content-disposition", "attachment; filename=evil.exe")
            .header("cache-control", "public, max-age=31536000")
            .header("etag", "\"v1\"")
            .header("last-modified", "Mon, 01 Jan 2024 12:00:00 GMT"),
    )
    .await;
    let (server, app) = office(world, &media_stub).await;
    recorded(&server, &app, CALL, &format!("{}/r/1", media_stub.base_url)).await;
    let request = server.get("/api/calls/7/recording").by(&app);
    let request =
        request.header("range", "bytes=0-").header("if-range", "\"v1\"").header("cookie", "session=of-crm");
    let heard = request.header("x-forwarded-for", "10.0.0.1").send().await.expect("an answer");
    let headers = heard.headers();
    for foreign in ["set-cookie", "x-dialpad-secret", "access-control-allow-origin"] {
        assert!(!headers.contains_key(foreign), "{headers:?}");
    }
    for (name, value) in [
        ("content-type", "audio/wav"),
        ("content-disposition", "inline; filename=\"call-7.wav\""),
        ("cache-control", "private, no-store"),
        ("etag", "\"v1\""),
        ("last-modified", "Mon, 01 Jan 2024 12:00:00 GMT"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    let asked = &media_stub.requests()[0].headers;
    assert_eq!(asked["authorization"], format!("Bearer {KEY}"));
    assert_eq!((asked["range"].as_str(), asked["if-range"].as_str()), ("bytes=0-", "\"v1\""));
    for own in ["cookie", "x-api-key", "x-forwarded-for"] {
        assert!(!asked.contains_key(own), "{asked:?}");
    }
}

async fn a_call_without_a_recording_has_none(world: World) {
    let media_stub = MediaStub::always(no_such_call()).await;
    let (server, app) = office(world, &media_stub).await;
    let (ringing, answered) = (Call::new(1), Call::new(2));
    server.webhooks(&app, [&ringing.ring(0), &answered.started(3), &answered.ended(60)]).await;
    server.wait_for_events(&app, 3).await;
    refused(&server, &app, 1, 404, "RECORDING_NOT_FOUND").await;
    assert_eq!(media_stub.call_lookups(1), 0);
    for _ in 0..2 {
        refused(&server, &app, 2, 404, "RECORDING_NOT_FOUND").await;
    }
    assert_eq!(media_stub.call_lookups(2), 1);
    server.get("/api/calls/3/recording").by(&app).answer().await.refuses(404, "CALL_NOT_FOUND");
}

/// Sixty-four kilobytes of sound that come again and again.
fn endless() -> MediaResponse {
    let mut bytes = WAV.to_vec();
    bytes.resize(64 << 10, 128);
    MediaResponse::audio("audio/wav", bytes).endless()
}

async fn a_recording_flows_while_dialpad_sends_it(world: World) {
    let media_stub = MediaStub::always(endless()).await;
    let (server, app) = office(world, &media_stub).await;
    recorded(&server, &app, CALL, &format!("{}/r/1", media_stub.base_url)).await;
    let mut heard = listen(&server, &app, CALL).await;
    let mut flown = 0;
    while flown < 8 << 20 {
        flown += heard.chunk().await.expect("it flows").expect("it does not end").len();
    }
    assert_eq!(media_stub.disconnects(), 0);
    drop(heard);
    eventually("Dialpad is not kept sending", async || (media_stub.disconnects() == 1).then_some(())).await;
}

async fn a_recording_that_breaks_off_does_not_look_whole(world: World) {
    let mut half = WAV.to_vec();
    half.resize(4 << 20, 128);
    let media_stub = MediaStub::always(MediaResponse::audio("audio/wav", half).truncated_from(8 << 20)).await;
    let (server, app) = office(world, &media_stub).await;
    recorded(&server, &app, CALL, &format!("{}/r/1", media_stub.base_url)).await;
    let heard = listen(&server, &app, CALL).await;
    assert_eq!(heard.headers()["content-length"], (8 << 20).to_string());
    assert!(heard.bytes().await.is_err(), "the client must learn that there was more");
}

async fn what_is_larger_than_any_recording_is_not_begun(world: World) {
    let media_stub =
        MediaStub::always(MediaResponse::audio("audio/wav", WAV).truncated_from((1 << 30) + 1)).await;
    let (server, app) = office(world, &media_stub).await;
    recorded(&server, &app, CALL, &format!("{}/r/1", media_stub.base_url)).await;
    refused(&server, &app, CALL, 502, "RECORDING_UNAVAILABLE").await;
}

async fn an_app_has_so_many_recordings_under_way_at_once(world: World) {
    let media_stub = MediaStub::always(endless()).await;
    let (server, app) = office(world, &media_stub).await;
    let other = server.create_app("another CRM").await;
    let url = format!("{}/r/1", media_stub.base_url);
    recorded(&server, &app, CALL, &url).await;
    recorded(&server, &other, CALL, &url).await;
    let mut under_way = Vec::new();
    for _ in 0..16 {
        let heard = listen(&server, &app, CALL).await;
        assert_eq!(heard.status(), 200);
        under_way.push(heard);
    }
    let answer = refused(&server, &app, CALL, 429, "DIALPAD_RATE_LIMITED").await;
    assert!(answer.header("retry-after").is_some(), "{answer}");
    assert_eq!(listen(&server, &other, CALL).await.status(), 200, "each app has places of its own");
    under_way.pop();
    eventually("the place of one who left is free", async || {
        let heard = listen(&server, &app, CALL).await;
        (heard.status() == 200).then_some(())
    })
    .await;
}
