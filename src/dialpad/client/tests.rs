//! The client against a server that says what it is told to, over real sockets.

use std::sync::{Mutex, PoisonError};

use reqwest::{
    Method,
    header::{HeaderName, HeaderValue},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

fn rest(pairs: &[(HeaderName, &'static str)]) -> u64 {
    let pairs = pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
    retry_after(&pairs.collect()).as_secs()
}

#[test]
fn retry_after_is_seconds_or_a_date_and_never_unreasonable() {
    let date = (DATE, "Wed, 21 Oct 2015 07:28:00 GMT");
    assert_eq!(rest(&[(RETRY_AFTER, "17")]), 17);
    assert_eq!(rest(&[(RETRY_AFTER, "Wed, 21 Oct 2015 07:28:30 GMT"), date.clone()]), 30);
    assert_eq!(rest(&[(RETRY_AFTER, "Wed, 21 Oct 2015 07:27:00 GMT"), date]), 1);
    assert_eq!(rest(&[(RETRY_AFTER, "Wed, 21 Oct 2015 07:28:30 GMT")]), 1);
    assert_eq!(rest(&[(RETRY_AFTER, "999999999")]), 3600);
    assert_eq!(rest(&[(RETRY_AFTER, "soon")]), 1);
    assert_eq!(rest(&[]), 1);
}

#[test]
fn ids_are_read_as_numbers_or_as_text() {
    assert_eq!([id(&42.into()), id(&"42".into()), id(&"x".into())], [Some(42), Some(42), None]);
    assert_eq!([id_text(&42.into()), id_text(&"42".into())].map(|it| it.expect("text")), ["42", "42"]);
}

/// Gives these answers, one per request, and the last one for ever; keeps what it was asked.
struct Stub {
    client: DialpadClient,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    async fn saying(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/below", listener.local_addr().expect("an address"));
        let client = DialpadClient::new(url.parse().expect("a URL")).expect("a client");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answers, kept): (Vec<_>, _) =
            (answers.iter().map(|it| (*it).to_owned()).collect(), Arc::clone(&asked));
        tokio::spawn(async move {
            let mut answers = answers.into_iter();
            let mut answer = answers.next().expect("an answer");
            loop {
                let (mut socket, _) = listener.accept().await.expect("a connection");
                let mut request = vec![0; 16 << 10];
                let length = socket.read(&mut request).await.expect("a request");
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                // A client that has heard enough may hang up.
                let _ = socket.write_all(answer.as_bytes()).await;
                answer = answers.next().unwrap_or(answer);
            }
        });
        Self { client, asked }
    }

    async fn ask(&self, question: &ApiRequest) -> Result<Value, DialpadError> {
        let access = Access { organization: Some(7), token: "the-token".into(), generation: 0 };
        self.client.ask(&access, question).await
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
    ApiRequest::new(endpoint, Method::POST, "x").saying(json!({"user_id": 1}))
}

#[tokio::test]
async fn a_question_is_asked_with_its_token_below_the_base_path() {
    let stub = Stub::saying(&[&fine()]).await;
    assert_eq!(stub.ask(&get()).await.expect("an answer"), json!({"id": "1"}));
    let asked = &stub.asked()[0];
    assert!(asked.starts_with("GET /below/api/v2/call?cursor=a+b HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("authorization: Bearer the-token\r\n"), "{asked}");
}

#[tokio::test]
async fn a_failure_is_followed_by_another_try_where_that_is_safe() {
    let stub = Stub::saying(&[&failing(), &failing(), &fine()]).await;
    stub.ask(&get()).await.expect("an answer");
    assert_eq!(stub.asked().len(), 3);

    for endpoint in [Endpoint::Webhooks, Endpoint::PlaceCall] {
        let stub = Stub::saying(&[&failing(), &fine()]).await;
        let refused = stub.ask(&post(endpoint)).await;
        assert!(matches!(refused, Err(DialpadError::Refused(_))), "{refused:?}");
        assert_eq!(stub.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_no_answer() {
    let stub = Stub::saying(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", &fine()]).await;
    stub.ask(&get()).await.expect("the second answer");
    let stub = Stub::saying(&["", &fine()]).await;
    let lost = stub.ask(&post(Endpoint::Webhooks)).await;
    assert!(matches!(lost, Err(DialpadError::Unreachable(_))), "{lost:?}");
    assert_eq!(stub.asked().len(), 1, "it may have been heard");
}

#[tokio::test]
async fn what_is_no_json_or_too_large_is_nonsense() {
    let large = "x".repeat(LARGEST_ANSWER + 1);
    for body in ["<html>Log in</html>", &large] {
        let stub = Stub::saying(&[&answer("200 OK", "", body)]).await;
        let nonsense = stub.ask(&get()).await;
        assert!(matches!(nonsense, Err(DialpadError::InvalidResponse)), "{nonsense:?}");
        assert_eq!(stub.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let stub = Stub::saying(&[&answer("302 Found", "location: /elsewhere\r\n", "")]).await;
    let refused = stub.ask(&get()).await;
    assert!(matches!(refused, Err(DialpadError::Refused(StatusCode::FOUND))), "{refused:?}");
    assert_eq!(stub.asked().len(), 1);
}

#[tokio::test]
async fn a_short_rest_is_waited_for() {
    let stub = Stub::saying(&[&answer("429 Too Many Requests", "retry-after: 1\r\n", ""), &fine()]).await;
    let began = Instant::now();
    stub.ask(&get()).await.expect("an answer");
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_long_rest_is_said_at_once_and_nothing_is_sent_before_its_end() {
    let stub = Stub::saying(&[&answer("429 Too Many Requests", "retry-after: 30\r\n", ""), &fine()]).await;
    for _ in 0..2 {
        match stub.ask(&get()).await {
            Err(DialpadError::RateLimited { retry_after }) => {
                assert!((28..=30).contains(&retry_after.as_secs()), "{retry_after:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stub.asked().len(), 1);
}

#[tokio::test]
async fn who_keeps_failing_is_left_alone() {
    let stub = Stub::saying(&[&failing()]).await;
    for _ in 0..5 {
        let failed = stub.ask(&post(Endpoint::Webhooks)).await;
        assert!(matches!(failed, Err(DialpadError::Refused(_))), "{failed:?}");
    }
    let left_alone = stub.ask(&post(Endpoint::Webhooks)).await;
    assert!(matches!(left_alone, Err(DialpadError::CircuitOpen { .. })), "{left_alone:?}");
    assert_eq!(stub.asked().len(), 5);
}

#[tokio::test]
async fn a_refusal_is_no_failure() {
    let stub = Stub::saying(&[&answer("404 Not Found", "", "{}")]).await;
    for _ in 0..8 {
        let refused = stub.ask(&get()).await;
        assert!(matches!(refused, Err(DialpadError::Refused(StatusCode::NOT_FOUND))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_fetched_answer_comes_as_it_is() {
    let stub = Stub::saying(&[&answer("206 Partial Content", "content-type: audio/wav\r\n", "RIFF")]).await;
    let access = Access { organization: None, token: "the-token".into(), generation: 0 };
    let request = stub.client.http.get(stub.client.url("r/1"));
    let answer = stub.client.fetch(&access, Endpoint::Recording, request).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(answer.text().await.expect("a body"), "RIFF");
}
