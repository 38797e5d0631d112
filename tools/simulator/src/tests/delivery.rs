use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use sha2::Sha256;
use tokio::sync::mpsc;

use super::*;

/// One received webhook.
struct Arrival {
    content_type: String,
    signature: Option<String>,
    body: Vec<u8>,
}

impl Arrival {
    /// Verifies a JWS with this secret and returns its payload.
    fn opened(&self, secret: &str) -> Value {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        let key = DecodingKey::from_secret(secret.as_bytes()).expect("a secret");
        jsonwebtoken::decode::<Value>(&self.body, &key, &validation).expect("a good signature").claims
    }
}

/// A server that receives webhooks: it answers with the given statuses, then with 200.
struct Receiver {
    url: String,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    handle: ServerHandle,
}

impl Receiver {
    fn start(answers: &[u16]) -> Self {
        let (sender, arrivals) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(VecDeque::from(answers.to_vec())));
        let take = move |http: HttpRequest, body: web::Bytes| {
            let header = |name| Some(http.headers().get(name)?.to_str().expect("ASCII").to_owned());
            let content_type = header("content-type").unwrap_or_default();
            let arrival =
                Arrival { content_type, signature: header("x-dialpad-signature"), body: body.to_vec() };
            sender.send(arrival).expect("the test is listening");
            let answer = answers.lock().expect("no panic").pop_front().unwrap_or(200);
            async move { HttpResponse::build(StatusCode::from_u16(answer).expect("a status")).finish() }
        };
        let server = HttpServer::new(move || App::new().default_service(web::to(take.clone())))
            .workers(1)
            .disable_signals()
            .bind(("127.0.0.1", 0))
            .expect("a free port");
        let url = format!("http://{}/webhooks", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self { url, arrivals, handle }
    }

    async fn next(&mut self) -> Arrival {
        let arrival = tokio::time::timeout(Duration::from_secs(10), self.arrivals.recv()).await;
        arrival.expect("a webhook in time").expect("the receiver runs")
    }
}

async fn deliveries(fixture: &Fixture, after: u64) -> Vec<Value> {
    let found = success_json(fixture.get("/simulator/deliveries").query(&[("after", after)])).await;
    found.as_array().expect("an array").clone()
}

async fn subscribe(fixture: &Fixture, hook: Value, kind: &str, mut subscription: Value) {
    subscription["endpoint_id"] = fixture.create("/api/v2/webhooks", hook).await["id"].clone();
    fixture.create(&format!("/api/v2/subscriptions/{kind}"), subscription).await;
}

async fn quick() -> Fixture {
    let options = SimulatorOptions {
        api_key: Some("static-key".to_owned()),
        backoff: vec![Duration::ZERO; 3],
        ..SimulatorOptions::default()
    };
    Fixture::with(options).await
}

#[actix_web::test]
async fn a_subscriber_receives_the_whole_call_in_order_as_jws() {
    let (fixture, mut receiver) = (quick().await, Receiver::start(&[]));
    subscribe(&fixture, json!({"hook_url": receiver.url, "secret": "s3cret"}), "call", json!({})).await;
    let progress = fixture.play(json!({"flow": "hold", "seed": 7})).await;
    assert_eq!(
        progress,
        json!({"calls_started": 1, "calls_finished": 1, "sent": 6, "acknowledged": 6, "failed": 0, "done": true})
    );
    let mut call_ids = Vec::new();
    for state in ["ringing", "connected", "hold", "connected", "hangup", "recording"] {
        let arrival = receiver.next().await;
        assert_eq!(arrival.content_type, "application/jwt");
        let payload = arrival.opened("s3cret");
        assert_eq!(payload["state"], state);
        call_ids.push(payload["call_id"].clone());
    }
    call_ids.dedup();
    assert_eq!(call_ids.len(), 1);

    let log = deliveries(&fixture, 0).await;
    let expected: Vec<&Value> = log.iter().map(|delivery| &delivery["expected_event"]).collect();
    assert_eq!(
        json!(expected),
        json!(["call.ring", "call.started", "call.held", "call.resumed", "call.ended", null])
    );
    assert!(log.iter().all(|delivery| delivery["acked_at"].as_i64() >= delivery["sent_at"].as_i64()));
    assert_eq!(log[0]["call_id"], call_ids[0]);
    assert_eq!(deliveries(&fixture, 4).await.len(), 2);
    receiver.handle.stop(false).await;
    fixture.simulator.stop().await;
}

#[actix_web::test]
async fn subscriptions_filter_and_without_a_secret_the_body_is_plain() {
    let (fixture, mut receiver) = (quick().await, Receiver::start(&[]));
    subscribe(&fixture, json!({"hook_url": receiver.url}), "call", json!({"call_states": ["hangup"]})).await;
    subscribe(&fixture, json!({"hook_url": receiver.url}), "sms", json!({"direction": "outbound"})).await;
    assert_eq!(fixture.play(json!({"flow": "answered"})).await["sent"], 1);
    assert_eq!(fixture.play(json!({"flow": "message"})).await["sent"], 1);
    let hangup = receiver.next().await;
    assert_eq!(hangup.content_type, "application/json");
    assert_eq!(serde_json::from_slice::<Value>(&hangup.body).expect("JSON")["state"], "hangup");
    let text: Value = serde_json::from_slice(&receiver.next().await.body).expect("JSON");
    assert_eq!(text["direction"], "outbound");
    receiver.handle.stop(false).await;
    fixture.simulator.stop().await;
}

#[actix_web::test]
async fn server_errors_are_retried_with_the_same_bytes_and_refusals_are_not() {
    let (fixture, mut receiver) = (quick().await, Receiver::start(&[503, 500, 200, 404, 500, 500, 500, 500]));
    subscribe(&fixture, json!({"hook_url": receiver.url, "secret": "s3cret"}), "call", json!({})).await;
    let progress = fixture.play(json!({"flow": "missed"})).await;
    assert_eq!((&progress["acknowledged"], &progress["failed"]), (&json!(1), &json!(2)));
    let (first, second) = (receiver.next().await, receiver.next().await);
    assert_eq!(first.body, second.body);
    let ended: Vec<(Value, Value)> = deliveries(&fixture, 0)
        .await
        .iter()
        .map(|delivery| (delivery["attempts"].clone(), delivery["status"].clone()))
        .collect();
    assert_eq!(json!(ended), json!([[3, 200], [1, 404], [4, 500]]));
    receiver.handle.stop(false).await;
    fixture.simulator.stop().await;
}

#[actix_web::test]
async fn a_delivery_without_an_answer_is_retried_twice() {
    let fixture = quick().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let closed_port = format!("http://{}", taken.local_addr().expect("an address"));
    drop(taken);
    subscribe(&fixture, json!({"hook_url": closed_port}), "call", json!({"call_states": ["ringing"]})).await;
    assert_eq!(fixture.play(json!({"flow": "missed"})).await["failed"], 1);
    let log = deliveries(&fixture, 0).await;
    assert_eq!(
        (&log[0]["attempts"], &log[0]["status"], &log[0]["acked_at"]),
        (&json!(3), &json!(null), &json!(null))
    );
    assert!(log[0]["error"].is_string());
    fixture.simulator.stop().await;
}

#[actix_web::test]
async fn a_target_gets_the_workflow_family_with_an_hmac() {
    let (fixture, mut receiver) = (quick().await, Receiver::start(&[]));
    let target = json!({"url": receiver.url, "secret": "hush", "organization_id": 99});
    let request = json!({"flow": "missed", "family": "workflow", "target": target, "calls": 2, "rate": 1000});
    assert_eq!(fixture.play(request).await["acknowledged"], 4);
    let arrival = receiver.next().await;
    let mut mac = Hmac::<Sha256>::new_from_slice(b"hush").expect("any length");
    mac.update(&arrival.body);
    let expected = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    assert_eq!(arrival.signature, Some(expected));
    let payload: Value = serde_json::from_slice(&arrival.body).expect("JSON");
    assert_eq!((&payload["event_type"], &payload["organization_id"]), (&json!("call.ring"), &json!(99)));
    receiver.handle.stop(false).await;
    fixture.simulator.stop().await;
}

#[actix_web::test]
async fn calls_can_wait_for_the_first_subscription() {
    let (fixture, receiver) = (quick().await, Receiver::start(&[]));
    let request = json!({"flow": "missed", "wait_for_subscriber": true, "pace": 0});
    let started = success_json(fixture.post("/simulator/flows").json(&request)).await;
    subscribe(&fixture, json!({"hook_url": receiver.url}), "call", json!({})).await;
    let run_id = started["run_id"].as_str().expect("an id");
    let finished = async {
        while !fixture.simulator.progress(run_id).expect("the run is known").done {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), finished).await.expect("the run ended");
    assert_eq!(fixture.simulator.progress(run_id).expect("known").acknowledged, 3);
    receiver.handle.stop(false).await;
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn an_error_in_a_request_for_flows_names_the_field() {
    let fixture = quick().await;
    let (status, body) =
        status_and_json(fixture.post("/simulator/flows").json(&json!({"flow": "anwsered"}))).await;
    assert!(status == 400 && body["error"].as_str().is_some_and(|error| error.contains("mixed")), "{body}");
    assert_eq!(
        status_and_json(fixture.post("/simulator/flows").json(&json!({"flow": "missed", "rate": 0}))).await.0,
        400
    );
    assert_eq!(status_and_json(fixture.get("/simulator/flows/run-9")).await.0, 404);
    fixture.simulator.stop().await;
}

#[actix_web::test]
async fn the_first_webhook_of_a_placed_call_can_arrive_before_the_reply() {
    let (fixture, mut receiver) = (quick().await, Receiver::start(&[]));
    subscribe(&fixture, json!({"hook_url": receiver.url, "secret": "s3cret"}), "call", json!({})).await;
    fixture.switch(json!({"webhook_before_reply": true, "placed_call_pace": 0})).await;
    let order =
        json!({"user_id": "5100000000000001", "phone_number": "+14155551234", "custom_data": "{\"a\":1}"});
    let placed = fixture.create("/api/v2/call", order).await;
    assert_eq!(deliveries(&fixture, 0).await[0]["state_or_type"], "calling");
    for state in ["calling", "connected", "hangup"] {
        let payload = receiver.next().await.opened("s3cret");
        assert_eq!((&payload["state"], &payload["custom_data"]), (&json!(state), &json!("{\"a\":1}")));
        assert_eq!(payload["call_id"].to_string(), placed["call_id"].as_str().expect("a string"));
    }
    receiver.handle.stop(false).await;
    fixture.simulator.stop().await;
}

#[actix_web::test]
async fn webhooks_can_be_duplicated_reversed_or_dropped() {
    let (fixture, mut receiver) = (quick().await, Receiver::start(&[]));
    subscribe(&fixture, json!({"hook_url": receiver.url, "secret": "s3cret"}), "call", json!({})).await;
    let received_states = async |receiver: &mut Receiver, count: usize| {
        let mut states = Vec::new();
        for _ in 0..count {
            states.push(receiver.next().await.opened("s3cret")["state"].clone());
        }
        json!(states)
    };
    fixture.switch(json!({"webhook_copies": 2, "dropped_webhooks": ["missed"]})).await;
    assert_eq!(fixture.play(json!({"flow": "missed"})).await["acknowledged"], 4);
    assert_eq!(received_states(&mut receiver, 4).await, json!(["ringing", "ringing", "hangup", "hangup"]));
    let log = deliveries(&fixture, 0).await;
    let expected: Vec<&Value> = log.iter().map(|delivery| &delivery["expected_event"]).collect();
    assert_eq!(json!(expected), json!(["call.ring", null, null, null]));

    fixture.switch(json!({"webhook_copies": 1, "dropped_webhooks": [], "webhook_order": "reversed"})).await;
    fixture.play(json!({"flow": "missed"})).await;
    assert_eq!(received_states(&mut receiver, 3).await, json!(["hangup", "missed", "ringing"]));

    fixture.switch(json!({"webhook_loss": 1})).await;
    assert_eq!(fixture.play(json!({"flow": "missed"})).await["sent"], 0);
    let history = fixture.read("/api/v2/call").await;
    assert_eq!(history["items"].as_array().map(Vec::len), Some(3), "the REST API shows it nevertheless");
    receiver.handle.stop(false).await;
    fixture.simulator.stop().await;
}

#[actix_web::test]
async fn a_company_receives_webhooks_of_its_own_calls_only() {
    let (fixture, receiver) = (quick().await, Receiver::start(&[]));
    subscribe(&fixture, json!({"hook_url": receiver.url}), "call", json!({})).await;
    assert_eq!(fixture.play(json!({"flow": "missed", "company_id": 99})).await["sent"], 0);
    assert_eq!(fixture.play(json!({"flow": "missed"})).await["sent"], 3);
    receiver.handle.stop(false).await;
    fixture.simulator.stop().await;
}

#[actix_web::test]
async fn targets_and_groups_filter_the_legs_of_a_queue() {
    let (fixture, receiver) = (quick().await, Receiver::start(&[]));
    let group = json!({"target_type": "callcenter", "target_id": "5300000000000000"});
    subscribe(&fixture, json!({"hook_url": receiver.url}), "call", group).await;
    assert_eq!(fixture.play(json!({"flow": "queue"})).await["sent"], 4, "the call center's own leg");
    let grouped = json!({"group_calls_only": true});
    subscribe(&fixture, json!({"hook_url": receiver.url}), "call", grouped).await;
    assert_eq!(fixture.play(json!({"flow": "queue"})).await["sent"], 4 + 15, "every leg of the queue");
    assert_eq!(fixture.play(json!({"flow": "missed"})).await["sent"], 0, "a direct call");
    receiver.handle.stop(false).await;
    fixture.simulator.stop().await;
}
