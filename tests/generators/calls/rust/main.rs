//! Five calls with the client of openapi-generator for Rust.

use std::env;

use openapi::apis::configuration::{ApiKey, Configuration};
use openapi::apis::{Error, calls_api, event_feed_api};
use openapi::models::{CallOrder, DialpadId, Event, Outcome, PositiveId, Status};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let setting = |name: &str| env::var(name).expect(name);
    let wanted: i64 = setting("CTI_CALL").parse().expect("an id");
    let user: i64 = setting("CTI_USER").parse().expect("an id");
    let configuration = Configuration {
        base_path: setting("CTI_URL"),
        api_key: Some(ApiKey { prefix: None, key: setting("CTI_API_KEY") }),
        client: reqwest::Client::builder().no_proxy().build().expect("a client"),
        ..Configuration::default()
    };

    let calls = calls_api::list_calls(&configuration, None, None, None, None, None, None, None, None, Some(500), None, None);
    let calls = calls.await.expect("the list");
    assert!(calls.iter().any(|call| *call.call_id == DialpadId::Integer(wanted)));
    let call = calls_api::get_call(&configuration, &wanted.to_string(), None).await.expect("the call");
    assert_eq!((*call.call_id, call.outcome), (DialpadId::Integer(wanted), Some(Outcome::Answered)));
    let events = event_feed_api::list_events(
        &configuration, Some(0), None, None, None, None, None, None, None, None, None, None, Some(1000), None,
    );
    let events = events.await.expect("the events");
    assert!(events.iter().any(|event| {
        matches!(event, Event::CallRingEvent(ring) if *ring.call_id == DialpadId::Integer(wanted))
    }));
    let order = CallOrder::new(PositiveId::Integer(user), "+14155551234".to_owned());
    let placed = calls_api::place_call(&configuration, order, None, None).await.expect("placed");
    assert_eq!(placed.status, Status::Ringing);
    match calls_api::get_call(&configuration, "12", None).await {
        Err(Error::ResponseError(answer)) => {
            assert!(answer.status == 404 && answer.content.contains("CALL_NOT_FOUND"));
        }
        other => panic!("{other:?}"),
    }
}
