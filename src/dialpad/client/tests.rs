//! The client against a server with scripted answers, over real sockets.

use parking_lot::Mutex;
use reqwest::{
    Method,
    header::{DATE, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

fn pause_of(pairs: &[(HeaderName, &'static str)]) -> u64 {
    let pairs = pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
    retry_after(&pairs.collect()).as_secs()
}

#[test]
fn retry_after_is_seconds_or_a_date_between_a_second_and_an_hour() {
    let date = (DATE, "Wed, 21 Oct 2015 07:28:00 GMT");
    assert_eq!(pause_of(&[(RETRY_AFTER, "17")]), 17);
    assert_eq!(pause_of(&[(RETRY_AFTER, "Wed, 21 Oct 2015 07:28:30 GMT"), date.clone()]), 30);
    assert_eq!(pause_of(&[(RETRY_AFTER, "Wed, 21 Oct 2015 07:27:00 GMT"), date]), 1);
    assert_eq!(pause_of(&[(RETRY_AFTER, "Wed, 21 Oct 2015 07:28:30 GMT")]), 1);
    assert_eq!(pause_of(&[(RETRY_AFTER, "999999999")]), 3600);
    assert_eq!(pause_of(&[(RETRY_AFTER, "soon")]), 1);
    assert_eq!(pause_of(&[]), 1);
}

#[test]
fn ids_are_read_as_numbers_or_as_text() {
    assert_eq!([id(&42.into()), id(&"42".into()), id(&"x".into())], [Some(42), Some(42), None]);
    assert_eq!([id_text(&42.into()), id_text(&"42".into())].map(|text| text.expect("text")), ["42", "42"]);
}

/// Gives these answers, one per request, and then the last one again and again. Keeps the requests.
struct Stub {
    client: DialpadClient,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    async fn answering(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/below", listener.local_addr().expect("an address"));
        let client = DialpadClient::new(url.parse().expect("a URL")).expect("a client");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        tokio::spawn(async move {
            let mut answers = answers.into_iter();
            let mut answer = answers.next().expect("an answer");
            loop {
                let (mut socket, _) = listener.accept().await.expect("a connection");
                let mut request = vec![0; 16 << 10];
                let length = socket.read(&mut request).await.expect("a request");
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                kept.lock().push(request);
                // The client may have closed the connection.
                let _ = socket.write_all(answer.as_bytes()).await;
                answer = answers.next().unwrap_or(answer);
            }
        });
        Self { client, requests }
    }

    async fn send(&self, request: &ApiRequest) -> Result<Value, DialpadError> {
        let access = Access { organization: Some(7), token: "the-token".into(), generation: 0 };
        self.client.send(&access, request).await
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().clone()
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

fn fine() -> String {
    answer("200 OK", "", r#"{"id":"1"}"#)
}

fn failing() -> String {
    answer("503 Service Unavailable", "", "")
}

fn get() -> ApiRequest {
    ApiRequest::get(Endpoint::Calls, "call").with("cursor", "a b")
}

fn post(endpoint: Endpoint) -> ApiRequest {
    ApiRequest::new(endpoint, Method::POST, "x").with_body(json!({"user_id": 1}))
}

#[tokio::test]
async fn a_request_has_its_token_and_is_below_the_base_path() {
    let stub = Stub::answering(&[&fine()]).await;
    assert_eq!(stub.send(&get()).await.expect("an answer"), json!({"id": "1"}));
    let request = &stub.requests()[0];
    assert!(request.starts_with("GET /below/api/v2/call?cursor=a+b HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: Bearer the-token\r\n"), "{request}");
}

#[tokio::test]
async fn a_failed_request_is_retried_where_that_is_safe() {
    let stub = Stub::answering(&[&failing(), &failing(), &fine()]).await;
    stub.send(&get()).await.expect("an answer");
    assert_eq!(stub.requests().len(), 3);

    for endpoint in [Endpoint::Webhooks, Endpoint::PlaceCall] {
        let stub = Stub::answering(&[&failing(), &fine()]).await;
        let refused = stub.send(&post(endpoint)).await;
        assert!(matches!(refused, Err(DialpadError::Refused(_))), "{refused:?}");
        assert_eq!(stub.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_no_answer() {
    let stub = Stub::answering(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", &fine()]).await;
    stub.send(&get()).await.expect("the second answer");
    let stub = Stub::answering(&["", &fine()]).await;
    let lost = stub.send(&post(Endpoint::Webhooks)).await;
    assert!(matches!(lost, Err(DialpadError::Unreachable(_))), "{lost:?}");
    assert_eq!(stub.requests().len(), 1, "it may have been received");
}

#[tokio::test]
async fn an_answer_that_is_no_json_or_too_large_is_invalid() {
    let large = "x".repeat(MAX_RESPONSE_SIZE + 1);
    for body in ["<html>Log in</html>", &large] {
        let stub = Stub::answering(&[&answer("200 OK", "", body)]).await;
        let invalid = stub.send(&get()).await;
        assert!(matches!(invalid, Err(DialpadError::InvalidResponse)), "{invalid:?}");
        assert_eq!(stub.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let stub = Stub::answering(&[&answer("302 Found", "location: /elsewhere\r\n", "")]).await;
    let refused = stub.send(&get()).await;
    assert!(matches!(refused, Err(DialpadError::Refused(StatusCode::FOUND))), "{refused:?}");
    assert_eq!(stub.requests().len(), 1);
}

#[tokio::test]
async fn a_short_retry_after_is_waited_for() {
    let stub = Stub::answering(&[&answer("429 Too Many Requests", "retry-after: 1\r\n", ""), &fine()]).await;
    let started_at = Instant::now();
    stub.send(&get()).await.expect("an answer");
    assert!(started_at.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_long_retry_after_is_returned_at_once_and_nothing_is_sent_before_its_end() {
    let stub = Stub::answering(&[&answer("429 Too Many Requests", "retry-after: 30\r\n", ""), &fine()]).await;
    for _ in 0..2 {
        match stub.send(&get()).await {
            Err(DialpadError::RateLimited { retry_after }) => {
                assert!((28..=30).contains(&retry_after.as_secs()), "{retry_after:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stub.requests().len(), 1);
}

#[tokio::test]
async fn after_five_failures_nothing_is_sent() {
    let stub = Stub::answering(&[&failing()]).await;
    for _ in 0..5 {
        let failed = stub.send(&post(Endpoint::Webhooks)).await;
        assert!(matches!(failed, Err(DialpadError::Refused(_))), "{failed:?}");
    }
    let rejected = stub.send(&post(Endpoint::Webhooks)).await;
    assert!(matches!(rejected, Err(DialpadError::CircuitOpen { .. })), "{rejected:?}");
    assert_eq!(stub.requests().len(), 5);
}

#[tokio::test]
async fn a_refusal_is_no_failure() {
    let stub = Stub::answering(&[&answer("404 Not Found", "", "{}")]).await;
    for _ in 0..8 {
        let refused = stub.send(&get()).await;
        assert!(matches!(refused, Err(DialpadError::Refused(StatusCode::NOT_FOUND))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_fetched_answer_is_returned_as_it_is() {
    let stub =
        Stub::answering(&[&answer("206 Partial Content", "content-type: audio/wav\r\n", "RIFF")]).await;
    let access = Access { organization: None, token: "the-token".into(), generation: 0 };
    let request = stub.client.http.get(stub.client.url("r/1"));
    let answer = stub.client.fetch(&access, Endpoint::Recording, request).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(answer.text().await.expect("a body"), "RIFF");
}
