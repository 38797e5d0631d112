//! Dialpad's ids are numbers; a client whose language can't hold them asks for strings.

use serde_json::{Value, json};

use crate::support::{Ask, Call, Shows, World};

on_both_databases![ids_are_strings_where_a_client_asks_for_that, a_call_has_its_own_timeline];

const CALL: i64 = 9_007_199_254_740_993;

fn shows_texts(object: &Value) {
    object.shows(
        json!({"call_id": CALL.to_string(), "dialpad_call_id": CALL.to_string(), "dialpad_user_id": "555"}),
    );
}

async fn ids_are_strings_where_a_client_asks_for_that(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.subscribe(&app, "?ids=string").await;
    server.webhook(&app, &Call::new(CALL).ring(0)).await;
    let emitted = socket.expect("call.ring").await;
    shows_texts(&emitted);
    assert_eq!((&emitted["seq"], emitted["timestamp"].is_i64()), (&json!(1), true), "{emitted:#}");
    for path in ["/api/calls?ids=string", "/api/calls/active?ids=string", "/api/events?ids=string"] {
        shows_texts(&server.get(path).by(&app).answer().await.list()[0]);
    }
    shows_texts(&server.call(&app, format!("{CALL}?ids=string")).await);
    for path in ["/api/calls", "/api/events", &format!("/api/calls/{CALL}")] {
        server.get(&format!("{path}?ids=roman")).by(&app).answer().await.refuses_naming("ids");
    }
    server.handshake("/ws?ids=roman").by(&app).answer().await.refuses_naming("ids");
}

async fn a_call_has_its_own_timeline(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for step in 0..5 {
        server.webhook(&app, &Call::new(1).life()[step]).await;
        server.webhook(&app, &Call::new(2).life()[step]).await;
    }
    let feed = server.wait_for_events(&app, 10).await;
    let timeline = server.get("/api/calls/2/events").by(&app).answer().await.list();
    assert_eq!(timeline, crate::support::of_call(&feed, 2));
    let other = server.create_app("other").await;
    server.get("/api/calls/2/events").by(&other).answer().await.fails_with(404);
}
