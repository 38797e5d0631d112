use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use reqwest::header::LOCATION;
use sha2::{Digest, Sha256};

use super::*;

const VERIFIER: &str = "a-verifier-that-is-long-enough-to-be-one-0123456789";

fn query<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut query = vec![
        ("client_id", "demo-client"),
        ("redirect_uri", "http://crm.example/callback?keep=1"),
        ("response_type", "code"),
        ("scope", "calls:list offline_access"),
        ("state", "st&te"),
    ];
    query.extend(more);
    query
}

/// Returns the query to which a request redirects the browser.
async fn sent_back(request: RequestBuilder) -> Vec<(String, String)> {
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 302);
    let location = response.headers()[LOCATION].to_str().expect("ASCII");
    assert!(location.starts_with("http://crm.example/callback?keep=1&"), "{location}");
    let url = Url::parse(location).expect("a URL");
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

fn value(pairs: &[(String, String)], name: &str) -> String {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default()
}

async fn code(fixture: &Fixture) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let pkce = [("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")];
    let pairs = sent_back(fixture.get("/oauth2/authorize").query(&query(&pkce))).await;
    assert_eq!(value(&pairs, "state"), "st&te");
    value(&pairs, "code")
}

fn exchange(code: &str, verifier: &str) -> Value {
    json!({"grant_type": "authorization_code", "code": code, "code_verifier": verifier,
        "client_id": "demo-client", "client_secret": "demo-secret"})
}

#[tokio::test]
async fn a_code_with_its_verifier_yields_tokens_that_work_until_they_are_revoked() {
    let fixture = Fixture::start().await;
    let body = exchange(&code(&fixture).await, VERIFIER);
    let first = success_json(fixture.post("/oauth2/token").json(&body)).await;
    assert_eq!((&first["token_type"], &first["expires_in"]), (&json!("bearer"), &json!(3600)));

    // The second pair, with a form body and HTTP Basic.
    let refresh =
        [("grant_type", "refresh_token"), ("refresh_token", first["refresh_token"].as_str().expect("one"))];
    let request =
        || fixture.post("/oauth2/token").basic_auth("demo-client", Some("demo-secret")).form(&refresh);
    let second = success_json(request()).await;
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    let (status, error) = status_and_json(request()).await;
    assert_eq!((status, &error["error"]), (400, &json!("invalid_grant")), "a refresh token works once");

    let token = second["access_token"].as_str().expect("a token");
    let me = success_json(fixture.get("/api/v2/users/me").bearer_auth(token)).await;
    assert_eq!(me["company_id"], "12345678");
    let revoked = fixture.post("/oauth2/deauthorize").bearer_auth(token).send().await.expect("an answer");
    assert_eq!(revoked.status(), 204);
    assert_eq!(status_and_json(fixture.get("/api/v2/users/me").bearer_auth(token)).await.0, 401);
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn a_wrong_verifier_uses_up_the_code() {
    let fixture = Fixture::start().await;
    let code = code(&fixture).await;
    for verifier in ["another", VERIFIER] {
        let (status, error) =
            status_and_json(fixture.post("/oauth2/token").json(&exchange(&code, verifier))).await;
        assert_eq!((status, &error["error"]), (400, &json!("invalid_grant")));
    }
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn bad_token_requests_get_the_errors_of_oauth() {
    let fixture = Fixture::start().await;
    let mut foreign = exchange("any", "any");
    foreign["client_secret"] = "wrong".into();
    let mut untyped = exchange("any", "any");
    untyped["grant_type"] = Value::Null;
    let mut odd = exchange("any", "any");
    odd["grant_type"] = "password".into();
    let cases = [
        (foreign, 401, "invalid_client"),
        (untyped, 400, "invalid_request"),
        (odd, 400, "unsupported_grant_type"),
        (json!([]), 400, "invalid_request"),
    ];
    for (body, status, error) in cases {
        let reply = status_and_json(fixture.post("/oauth2/token").json(&body)).await;
        assert_eq!((reply.0, &reply.1["error"]), (status, &json!(error)));
    }
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn an_unknown_client_is_never_redirected() {
    let fixture = Fixture::start().await;
    let unknown_client =
        [("client_id", "other"), ("redirect_uri", "http://x.example"), ("response_type", "code")];
    assert_eq!(status_and_json(fixture.get("/oauth2/authorize").query(&unknown_client)).await.0, 400);
    let bad_redirect =
        [("client_id", "demo-client"), ("redirect_uri", "javascript:1"), ("response_type", "code")];
    assert_eq!(status_and_json(fixture.get("/oauth2/authorize").query(&bad_redirect)).await.0, 400);
    let pairs = sent_back(
        fixture
            .get("/oauth2/authorize")
            .query(&query(&[("code_challenge", "x"), ("code_challenge_method", "S512")])),
    )
    .await;
    assert_eq!(value(&pairs, "error"), "invalid_request");
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn the_consent_page_accepts_both_decisions() {
    let options = SimulatorOptions { approval: Approval::Page, ..SimulatorOptions::default() };
    let fixture = Fixture::with(options).await;
    let asked = fixture.get("/oauth2/authorize").query(&query(&[])).send().await.expect("an answer");
    let page = asked.text().await.expect("a page");
    assert!(
        page.contains("See the company&#39;s calls") && page.contains(r#"name="state" value="st&amp;te""#)
    );

    let decide = |decision| fixture.post("/oauth2/authorize").form(&query(&[("decision", decision)]));
    assert_eq!(value(&sent_back(decide("deny")).await, "error"), "access_denied");
    assert!(!value(&sent_back(decide("approve")).await, "code").is_empty());
    fixture.simulator.stop().await;
}
