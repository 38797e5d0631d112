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

/// One webhook as it arrived.
struct Arrival {
    content_type: String,
    signature: Option<String>,
    body: Vec<u8>,
}

impl Arrival {
    /// The payload, if it is a JWS of this secret.
    fn opened(&self, secret: &str) -> Value {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        let key = DecodingKey::from_secret(secret.as_bytes()).expect("a secret");
        jsonwebtoken::decode::<Value>(&self.body, &key, &validation).expect("a good signature").claims
    }
}

/// A server that takes webhooks: answers 200, or what it was told to answer first.
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

async fn deliveries(trial: &Trial, after: u64) -> Vec<Value> {
    let found = answered(trial.get("/simulator/deliveries").query(&[("after", after)])).await;
    found.as_array().expect("an array").clone()
}

async fn subscribe(trial: &Trial, hook: Value, kind: &str, mut subscription: Value) {
    subscription["endpoint_id"] = trial.create("/api/v2/webhooks", hook).await["id"].clone();
    trial.create(&format!("/api/v2/subscriptions/{kind}"), subscription).await;
}

async fn quick() -> Trial {
    let options = SimulatorOptions {
        api_key: Some("static-key".to_owned()),
        backoff: vec![Duration::ZERO; 3],
        ..SimulatorOptions::default()
    };
    Trial::with(options).await
}

#[actix_web::test]
async fn a_subscriber_hears_the_whole_call_in_order_as_jws() {
    let (trial, mut receiver) = (quick().await, Receiver::start(&[]));
    subscribe(&trial, json!({"hook_url": receiver.url, "secret": "s3cret"}), "call", json!({})).await;
    let progress = trial.play(json!({"flow": "hold", "seed": 7})).await;
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

    let book = deliveries(&trial, 0).await;
    let told: Vec<&Value> = book.iter().map(|delivery| &delivery["tells"]).collect();
    assert_eq!(
        json!(told),
        json!(["call.ring", "call.started", "call.held", "call.resumed", "call.ended", null])
    );
    assert!(book.iter().all(|delivery| delivery["acked_at"].as_i64() >= delivery["sent_at"].as_i64()));
    assert_eq!(book[0]["call_id"], call_ids[0]);
    assert_eq!(deliveries(&trial, 4).await.len(), 2);
    receiver.handle.stop(false).await;
    trial.simulator.stop().await;
}

#[actix_web::test]
async fn filters_of_subscriptions_hold_and_without_a_secret_the_body_is_plain() {
    let (trial, mut receiver) = (quick().await, Receiver::start(&[]));
    subscribe(&trial, json!({"hook_url": receiver.url}), "call", json!({"call_states": ["hangup"]})).await;
    subscribe(&trial, json!({"hook_url": receiver.url}), "sms", json!({"direction": "outbound"})).await;
    assert_eq!(trial.play(json!({"flow": "answered"})).await["sent"], 1);
    assert_eq!(trial.play(json!({"flow": "message"})).await["sent"], 1);
    let hangup = receiver.next().await;
    assert_eq!(hangup.content_type, "application/json");
    assert_eq!(serde_json::from_slice::<Value>(&hangup.body).expect("JSON")["state"], "hangup");
    let text: Value = serde_json::from_slice(&receiver.next().await.body).expect("JSON");
    assert_eq!(text["direction"], "outbound");
    receiver.handle.stop(false).await;
    trial.simulator.stop().await;
}

#[actix_web::test]
async fn server_errors_are_tried_again_with_the_same_bytes_and_refusals_are_not() {
    let (trial, mut receiver) = (quick().await, Receiver::start(&[503, 500, 200, 404, 500, 500, 500, 500]));
    subscribe(&trial, json!({"hook_url": receiver.url, "secret": "s3cret"}), "call", json!({})).await;
    let progress = trial.play(json!({"flow": "missed"})).await;
    assert_eq!((&progress["acknowledged"], &progress["failed"]), (&json!(1), &json!(2)));
    let (first, second) = (receiver.next().await, receiver.next().await);
    assert_eq!(first.body, second.body);
    let ended: Vec<(Value, Value)> = deliveries(&trial, 0)
        .await
        .iter()
        .map(|one| (one["attempts"].clone(), one["status"].clone()))
        .collect();
    assert_eq!(json!(ended), json!([[3, 200], [1, 404], [4, 500]]));
    receiver.handle.stop(false).await;
    trial.simulator.stop().await;
}

#[actix_web::test]
async fn silence_is_tried_twice_more() {
    let trial = quick().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let nobody = format!("http://{}", taken.local_addr().expect("an address"));
    drop(taken);
    subscribe(&trial, json!({"hook_url": nobody}), "call", json!({"call_states": ["ringing"]})).await;
    assert_eq!(trial.play(json!({"flow": "missed"})).await["failed"], 1);
    let book = deliveries(&trial, 0).await;
    assert_eq!(
        (&book[0]["attempts"], &book[0]["status"], &book[0]["acked_at"]),
        (&json!(3), &json!(null), &json!(null))
    );
    assert!(book[0]["error"].is_string());
    trial.simulator.stop().await;
}

#[actix_web::test]
async fn a_target_gets_the_workflow_family_with_an_hmac() {
    let (trial, mut receiver) = (quick().await, Receiver::start(&[]));
    let target = json!({"url": receiver.url, "secret": "hush", "organization_id": 99});
    let request = json!({"flow": "missed", "family": "workflow", "target": target, "calls": 2, "rate": 1000});
    assert_eq!(trial.play(request).await["acknowledged"], 4);
    let arrival = receiver.next().await;
    let mut mac = Hmac::<Sha256>::new_from_slice(b"hush").expect("any length");
    mac.update(&arrival.body);
    let expected = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    assert_eq!(arrival.signature, Some(expected));
    let payload: Value = serde_json::from_slice(&arrival.body).expect("JSON");
    assert_eq!((&payload["event_type"], &payload["organization_id"]), (&json!("call.ring"), &json!(99)));
    receiver.handle.stop(false).await;
    trial.simulator.stop().await;
}

#[actix_web::test]
async fn calls_can_wait_for_the_first_subscription() {
    let (trial, receiver) = (quick().await, Receiver::start(&[]));
    let request = json!({"flow": "missed", "wait_for_subscriber": true, "pace": 0});
    let started = answered(trial.post("/simulator/flows").json(&request)).await;
    subscribe(&trial, json!({"hook_url": receiver.url}), "call", json!({})).await;
    let run_id = started["run_id"].as_str().expect("an id");
    let finished = async {
        while !trial.simulator.progress(run_id).expect("the run is known").done {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), finished).await.expect("it began");
    assert_eq!(trial.simulator.progress(run_id).expect("known").acknowledged, 3);
    receiver.handle.stop(false).await;
    trial.simulator.stop().await;
}

#[tokio::test]
async fn slips_in_a_request_for_flows_are_named() {
    let trial = quick().await;
    let (status, body) = replied(trial.post("/simulator/flows").json(&json!({"flow": "anwsered"}))).await;
    assert!(status == 400 && body["error"].as_str().is_some_and(|error| error.contains("mixed")), "{body}");
    assert_eq!(
        replied(trial.post("/simulator/flows").json(&json!({"flow": "missed", "rate": 0}))).await.0,
        400
    );
    assert_eq!(replied(trial.get("/simulator/flows/run-9")).await.0, 404);
    trial.simulator.stop().await;
}

#[actix_web::test]
async fn the_first_webhook_of_a_placed_call_can_beat_the_reply() {
    let (trial, mut receiver) = (quick().await, Receiver::start(&[]));
    subscribe(&trial, json!({"hook_url": receiver.url, "secret": "s3cret"}), "call", json!({})).await;
    trial.switch(json!({"webhook_before_reply": true, "placed_call_pace": 0})).await;
    let order =
        json!({"user_id": "5100000000000001", "phone_number": "+14155551234", "custom_data": "{\"a\":1}"});
    let placed = trial.create("/api/v2/call", order).await;
    assert_eq!(deliveries(&trial, 0).await[0]["state_or_type"], "calling");
    for state in ["calling", "connected", "hangup"] {
        let payload = receiver.next().await.opened("s3cret");
        assert_eq!((&payload["state"], &payload["custom_data"]), (&json!(state), &json!("{\"a\":1}")));
        assert_eq!(payload["call_id"].to_string(), placed["call_id"].as_str().expect("a string"));
    }
    receiver.handle.stop(false).await;
    trial.simulator.stop().await;
}

#[actix_web::test]
async fn webhooks_can_come_twice_backwards_or_not_at_all() {
    let (trial, mut receiver) = (quick().await, Receiver::start(&[]));
    subscribe(&trial, json!({"hook_url": receiver.url, "secret": "s3cret"}), "call", json!({})).await;
    let heard = async |receiver: &mut Receiver, count: usize| {
        let mut states = Vec::new();
        for _ in 0..count {
            states.push(receiver.next().await.opened("s3cret")["state"].clone());
        }
        json!(states)
    };
    trial.switch(json!({"webhook_copies": 2, "dropped_webhooks": ["missed"]})).await;
    assert_eq!(trial.play(json!({"flow": "missed"})).await["acknowledged"], 4);
    assert_eq!(heard(&mut receiver, 4).await, json!(["ringing", "ringing", "hangup", "hangup"]));
    let book = deliveries(&trial, 0).await;
    let told: Vec<&Value> = book.iter().map(|delivery| &delivery["tells"]).collect();
    assert_eq!(json!(told), json!(["call.ring", null, null, null]));

    trial.switch(json!({"webhook_copies": 1, "dropped_webhooks": [], "webhook_order": "reversed"})).await;
    trial.play(json!({"flow": "missed"})).await;
    assert_eq!(heard(&mut receiver, 3).await, json!(["hangup", "missed", "ringing"]));

    trial.switch(json!({"webhook_loss": 1})).await;
    assert_eq!(trial.play(json!({"flow": "missed"})).await["sent"], 0);
    let history = trial.read("/api/v2/call").await;
    assert_eq!(history["items"].as_array().map(Vec::len), Some(3), "the platform knows it all the same");
    receiver.handle.stop(false).await;
    trial.simulator.stop().await;
}

#[actix_web::test]
async fn a_company_hears_of_its_own_calls_only() {
    let (trial, receiver) = (quick().await, Receiver::start(&[]));
    subscribe(&trial, json!({"hook_url": receiver.url}), "call", json!({})).await;
    assert_eq!(trial.play(json!({"flow": "missed", "company_id": 99})).await["sent"], 0);
    assert_eq!(trial.play(json!({"flow": "missed"})).await["sent"], 3);
    receiver.handle.stop(false).await;
    trial.simulator.stop().await;
}

#[actix_web::test]
async fn targets_and_groups_filter_the_legs_of_a_queue() {
    let (trial, receiver) = (quick().await, Receiver::start(&[]));
    let group = json!({"target_type": "callcenter", "target_id": "5300000000000000"});
    subscribe(&trial, json!({"hook_url": receiver.url}), "call", group).await;
    assert_eq!(trial.play(json!({"flow": "queue"})).await["sent"], 4, "the call centre's own leg");
    let grouped = json!({"group_calls_only": true});
    subscribe(&trial, json!({"hook_url": receiver.url}), "call", grouped).await;
    assert_eq!(trial.play(json!({"flow": "queue"})).await["sent"], 4 + 15, "every leg of the queue");
    assert_eq!(trial.play(json!({"flow": "missed"})).await["sent"], 0, "a direct call");
    receiver.handle.stop(false).await;
    trial.simulator.stop().await;
}
