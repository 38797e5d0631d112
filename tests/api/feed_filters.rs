//! What a reader does not want is not emitted to it, over all ways alike, and its cursor moves on all the same.

use serde_json::{Value, json};

use crate::support::{App, Ask, Call, Shows, TestServer, World, seqs};

on_both_databases![
    every_way_filters_alike,
    a_message_is_found_by_each_of_its_numbers,
    what_is_skipped_is_announced_on_a_socket,
    a_cursor_that_was_announced_resumes_without_a_hole,
    a_filter_that_is_not_understood_is_refused_everywhere,
];

const ANNA: &str = "+14155550001";
const BERT: &str = "+14155550002";
const OFFICE: &str = "+14155550100";

/// Anna calls the office (1, 2), the office calls Bert (3, 4), Bert writes to the office (5).
async fn some_traffic(server: &TestServer, app: &App) {
    let inbound = Call::new(1).between(ANNA, OFFICE).of_user(777);
    let outbound = Call::new(2).between(OFFICE, BERT).outbound().of_user(888);
    server.webhooks(app, [&inbound.ring(0), &inbound.ended(5)]).await;
    server.webhooks(app, [&outbound.ring(10), &outbound.ended(15)]).await;
    server.webhook(app, &message("m-1", "inbound", BERT, OFFICE)).await;
    server.wait_for_events(app, 5).await;
}

fn message(id: &str, direction: &str, from: &str, to: &str) -> Value {
    json!({"event_type": "message.received", "message_id": id, "direction": direction, "from_number": from,
        "to_number": to, "text": "Hi", "timestamp": 1_704_110_400})
}

async fn every_way_filters_alike(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    some_traffic(&server, &app).await;
    let plus = |number: &str| number.replace('+', "%2B");
    for (wanted, expected) in [
        ("direction=inbound".to_owned(), &[1, 2, 5][..]),
        ("direction=outbound".to_owned(), &[3, 4]),
        (format!("number={}", plus(ANNA)), &[1, 2]),
        (format!("number={}", plus(BERT)), &[3, 4, 5]),
        // A plus sign that nobody escaped.
        (format!("number={BERT}"), &[3, 4, 5]),
        (format!("from={}", plus(OFFICE)), &[3, 4]),
        (format!("to={}", plus(OFFICE)), &[1, 2, 5]),
        (format!("to={}&types=message.*", plus(OFFICE)), &[5]),
        ("dialpad_user_id=777&types=call.ended".to_owned(), &[2]),
        ("dialpad_user_id=777&direction=outbound".to_owned(), &[]),
        ("crm_user_id=nobody".to_owned(), &[]),
    ] {
        let list = server.get(&format!("/api/events?{wanted}")).by(&app).answer().await;
        assert_eq!(seqs(&list.list()), expected, "{wanted}");
        assert_eq!(list.header("x-cursor"), Some("5"), "{wanted}");
        let polled = server.get(&format!("/api/events?{wanted}&wait=1")).by(&app).answer().await;
        assert_eq!(seqs(&polled.list()), expected, "{wanted}");
        let query = format!("?after=0&{wanted}");
        let mut socket = server.subscribe(&app, &query).await;
        assert_eq!(seqs(&socket.events(expected.len()).await), expected, "{wanted}");
        let mut stream = server.stream(&app, &query).await;
        assert_eq!(seqs(&stream.events(expected.len()).await), expected, "{wanted}");
    }
    let mut said = server.open_socket("/ws", &[]).await;
    let subscribe = json!({"type": "subscribe", "api_key": app.key, "after": 0, "from": OFFICE});
    said.send_text(&subscribe.to_string()).await;
    said.expect("connected").await;
    assert_eq!(seqs(&said.events(2).await), [3, 4]);
}

async fn a_message_is_found_by_each_of_its_numbers(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let both = format!("{ANNA},{BERT}");
    server.webhook(&app, &message("m-1", "outbound", OFFICE, &both)).await;
    server.wait_for_events(&app, 1).await;
    for number in [ANNA, BERT] {
        let list = server.get(&format!("/api/events?to={number}")).by(&app).answer().await.list();
        assert_eq!(seqs(&list), [1], "{number}");
    }
}

async fn what_is_skipped_is_announced_on_a_socket(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.subscribe(&app, "?direction=outbound").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    socket.expect_cursor(5).await;
    // What is emitted afterwards stands for itself.
    server.webhook(&app, &Call::new(2).outbound().ring(0)).await;
    socket.expect("call.ring").await.shows(json!({"seq": 6}));
}

async fn a_cursor_that_was_announced_resumes_without_a_hole(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let wanted = "types=call.ended";
    let mut socket = server.subscribe(&app, &format!("?{wanted}")).await;
    let [ring, started, held, resumed, ended] = Call::new(1).life();
    server.webhooks(&app, [&ring, &started, &held]).await;
    socket.expect_cursor(3).await;
    drop(socket);
    server.webhooks(&app, [&resumed, &ended]).await;
    let mut socket = server.subscribe(&app, &format!("?after=3&{wanted}")).await;
    socket.expect("call.ended").await.shows(json!({"seq": 5}));
}

async fn a_filter_that_is_not_understood_is_refused_everywhere(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (name, value) in
        [("direction", "both"), ("number", ""), ("from", ""), ("to", ""), ("crm_user_id", "")]
    {
        for path in ["/api/events", "/api/events/stream", "/ws"] {
            let refused = server.handshake(&format!("{path}?{name}={value}")).by(&app).answer().await;
            refused.refuses_naming(name);
        }
    }
}
