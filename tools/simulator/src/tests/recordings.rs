use reqwest::Response;

use super::*;

/// Plays a call and returns the link to its recording, and the call.
async fn recorded(fixture: &Fixture, seed: u64) -> (String, Value) {
    fixture.play(json!({"flow": "answered", "seed": seed})).await;
    let call = fixture.read("/api/v2/call").await["items"][0].clone();
    let url = call["recording_details"][0]["url"].as_str().expect("a link").to_owned();
    (url.strip_prefix(fixture.simulator.base_url()).expect("a link to here").to_owned(), call)
}

async fn asked(fixture: &Fixture, path: &str, token: Option<&str>) -> Response {
    let request = fixture.get(path);
    let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
    request.send().await.expect("an answer")
}

fn target(response: &Response) -> String {
    assert_eq!(response.status(), 302, "{}", response.url());
    response.headers()["location"].to_str().expect("ASCII").to_owned()
}

#[tokio::test]
async fn a_recording_is_two_redirects_away_and_as_long_as_its_call() {
    let fixture = Fixture::start().await;
    let (link, call) = recorded(&fixture, 3).await;
    let secure = target(&asked(&fixture, &link, Some("static-key")).await);
    assert!(secure.starts_with("/secureblob/callrecording/"), "{secure}");
    let signed = target(&asked(&fixture, &secure, Some("static-key")).await);
    assert!(signed.starts_with("/blob-server/") && signed.contains("?signature="), "{signed}");
    let sound = asked(&fixture, &signed, None).await;
    assert_eq!(sound.headers()["content-type"], "audio/wav");
    let sound = sound.bytes().await.expect("a body");
    let millis: usize =
        call["recording_details"][0]["duration"].as_str().expect("int64").parse().expect("ms");
    assert!(sound.starts_with(b"RIFF") && millis > 1_000 && sound.len() == 44 + 8 * millis);

    let unsigned = signed.split('?').next().expect("a path");
    assert_eq!(asked(&fixture, unsigned, Some("static-key")).await.status(), 403);
    assert_eq!(asked(&fixture, "/r/5", Some("static-key")).await.status(), 404);
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn a_range_of_a_recording_has_the_right_bytes() {
    let fixture = Fixture::start().await;
    let (link, _) = recorded(&fixture, 3).await;
    let secure = target(&asked(&fixture, &link, Some("static-key")).await);
    let signed = target(&asked(&fixture, &secure, Some("static-key")).await);
    let whole = asked(&fixture, &signed, None).await.bytes().await.expect("a body");
    let part = |range: &'static str| fixture.get(&signed).header("range", range).send();
    let middle = part("bytes=1000-1999").await.expect("an answer");
    assert_eq!(middle.status(), 206);
    assert_eq!(middle.headers()["content-range"], format!("bytes 1000-1999/{}", whole.len()).as_str());
    assert_eq!(middle.headers()["content-length"], "1000");
    assert_eq!(middle.bytes().await.expect("a body"), whole[1_000..2_000]);
    let beyond = part("bytes=99999999-").await.expect("an answer");
    assert_eq!(beyond.status(), 416);
    assert_eq!(beyond.headers()["content-range"], format!("bytes */{}", whole.len()).as_str());
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn requests_without_a_token_see_a_login_page_and_a_missing_scope_is_rejected() {
    let fixture = Fixture::start().await;
    let (link, _) = recorded(&fixture, 3).await;
    for token in [None, Some("wrong")] {
        let login = target(&asked(&fixture, &link, token).await);
        let page = asked(&fixture, &login, None).await;
        assert_eq!(page.status(), 200);
        assert!(page.headers()["content-type"].to_str().expect("ASCII").starts_with("text/html"));
    }
    fixture.switch(json!({"enforce_scopes": true})).await;
    let (without_scope, with_scope) =
        (fixture.token("calls:list").await, fixture.token("recordings_export").await);
    assert_eq!(asked(&fixture, &link, Some(&without_scope)).await.status(), 403);
    assert_eq!(asked(&fixture, &link, Some(&with_scope)).await.status(), 302);
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn the_call_has_a_valid_link_after_one_expired_and_recordings_may_be_elsewhere() {
    let fixture = Fixture::start().await;
    let (link, call) = recorded(&fixture, 3).await;
    fixture
        .switch(json!({"expired_recording_links": true, "recordings_elsewhere": "http://127.0.0.1:9"}))
        .await;
    assert_eq!(asked(&fixture, &link, Some("static-key")).await.status(), 403);
    let id = call["call_id"].as_str().expect("a string");
    let call = fixture.read(&format!("/api/v2/call/{id}")).await;
    let fresh = call["call_recording_share_links"][0].as_str().expect("a link");
    let fresh = fresh.strip_prefix(fixture.simulator.base_url()).expect("a link to here");
    let secure = target(&asked(&fixture, fresh, Some("static-key")).await);
    let elsewhere = target(&asked(&fixture, &secure, Some("static-key")).await);
    assert!(elsewhere.starts_with("http://127.0.0.1:9/blob-server/"), "{elsewhere}");
    fixture.simulator.stop().await;
}
