//! `GET /api/calls/active`: what a CRM polls that does not listen.

use serde_json::Value;

use crate::support::{Ask, Call, Shows, World};

on_both_databases![calls_that_are_not_over_are_active, unknown_parameters_are_refused];

async fn calls_that_are_not_over_are_active(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let active = async || -> Vec<(i64, String)> {
        let calls = server.get("/api/calls/active").by(&app).answer().await.list();
        let mut calls: Vec<(i64, String)> = calls
            .iter()
            .map(|call: &Value| {
                (
                    call["call_id"].as_i64().expect("an id"),
                    call["status"].as_str().expect("a status").to_owned(),
                )
            })
            .collect();
        calls.sort();
        calls
    };
    assert!(active().await.is_empty());

    let (first, second, third) = (Call::new(1), Call::new(2), Call::new(3));
    server.webhooks(&app, [&first.ring(0), &second.started(0), &third.started(0), &third.held(5)]).await;
    server.wait_for_events(&app, 4).await;
    let expected = [(1, "ringing".to_owned()), (2, "active".to_owned()), (3, "held".to_owned())];
    assert_eq!(active().await, expected);

    server.webhooks(&app, [&first.ended(30), &second.ended(30), &third.resumed(30)]).await;
    server.wait_for_events(&app, 7).await;
    assert_eq!(active().await, [(3, "active".to_owned())]);
    let listed = server.get("/api/calls/active").by(&app).answer().await.list();
    listed[0].shows(server.call(&app, 3).await);
}

async fn unknown_parameters_are_refused(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.get("/api/calls/active?colour=red").by(&app).answer().await.refuses_naming("colour");
}
