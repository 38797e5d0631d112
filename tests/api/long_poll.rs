//! `GET /api/events?wait=…`: an answer that would be empty waits for the first event.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Ask, Call, Shows, World, assert_contiguous, eventually, kinds};

on_both_databases![
    a_poll_is_answered_at_the_first_event,
    what_is_there_already_is_answered_at_once,
    a_poll_without_events_ends_empty_when_its_time_is_over,
    a_poll_waits_for_what_is_wanted_and_says_how_far_it_looked,
    a_planned_stop_answers_early,
    a_poll_ends_with_its_key,
    a_wait_that_is_too_long_is_refused,
    changing_the_way_in_midstream_leaves_no_hole,
];

async fn a_poll_is_answered_at_the_first_event(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let began = Instant::now();
    let polling = server.get("/api/events?after=0&wait=15").by(&app).answer();
    let telling = async {
        // The poll waits by now, as far as anybody can tell from outside.
        poll_is_waiting(&server).await;
        server.webhook(&app, &Call::new(1).ring(0)).await;
    };
    let (answer, ()) = tokio::join!(polling, telling);
    assert_eq!(kinds(&answer.list()), ["call.ring"]);
    assert_eq!(answer.header("x-cursor"), Some("1"));
    assert!(began.elapsed() < Duration::from_secs(10), "it waited on");
}

async fn what_is_there_already_is_answered_at_once(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    server.wait_for_events(&app, 5).await;
    let began = Instant::now();
    let answer = server.get("/api/events?after=2&limit=2&wait=15").by(&app).answer().await;
    assert_eq!(kinds(&answer.list()), ["call.held", "call.resumed"]);
    assert_eq!((answer.header("x-cursor"), answer.next_page().is_some()), (Some("4"), true));
    assert!(began.elapsed() < Duration::from_secs(10), "it waited");
}

async fn a_poll_without_events_ends_empty_when_its_time_is_over(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let began = Instant::now();
    let answer = server.get("/api/events?wait=1").by(&app).answer().await;
    assert!(answer.list().is_empty(), "{answer}");
    assert_eq!(answer.header("x-cursor"), Some("0"));
    assert!(began.elapsed() >= Duration::from_secs(1), "it did not wait");
}

async fn a_poll_waits_for_what_is_wanted_and_says_how_far_it_looked(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    server.wait_for_events(&app, 5).await;
    let polling = server.get("/api/events?after=0&wait=15&types=voicemail.*").by(&app).answer();
    let telling = async {
        poll_is_waiting(&server).await;
        server.webhook(&app, &Call::new(2).ring(0)).await;
        server.webhook(&app, &Call::new(3).voicemail(60)).await;
    };
    let (answer, ()) = tokio::join!(polling, telling);
    assert_eq!(kinds(&answer.list()), ["voicemail.received"]);
    assert_eq!(answer.header("x-cursor"), Some("8"));

    let nothing = server.get("/api/events?after=0&wait=1&types=message.*").by(&app).answer().await;
    assert!(nothing.list().is_empty(), "{nothing}");
    assert_eq!(nothing.header("x-cursor"), Some("8"));
}

async fn a_planned_stop_answers_early(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let polling = server.get("/api/events?wait=15").by(&app).answer();
    let stopping = async {
        poll_is_waiting(&server).await;
        server.process.terminate();
    };
    let (answer, ()) = tokio::join!(polling, stopping);
    assert!(answer.list().is_empty(), "{answer}");
    assert_eq!(
        server.process.exit(Duration::from_secs(12)).await.code(),
        Some(0),
        "{}",
        server.process.log()
    );
}

async fn a_poll_ends_with_its_key(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let polling = server.get("/api/events?wait=15").by(&app).answer();
    let rotating = async {
        poll_is_waiting(&server).await;
        server.rotate_key(&app, None).await;
    };
    let (answer, ()) = tokio::join!(polling, rotating);
    answer.refuses(401, "INVALID_API_KEY");
}

async fn a_wait_that_is_too_long_is_refused(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for wait in ["61", "-1", "soon"] {
        server.get(&format!("/api/events?wait={wait}")).by(&app).answer().await.refuses_naming("wait");
    }
}

async fn changing_the_way_in_midstream_leaves_no_hole(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let calls = 60;
    let lives: Vec<_> = (1..=calls).map(|id| Call::new(id).life()).collect();
    let telling = futures_util::future::join_all(lives.iter().map(|life| server.webhooks(&app, life)));
    let listening = async {
        let mut heard: Vec<serde_json::Value> = Vec::new();
        let all = 5 * calls as usize;
        while heard.len() < all {
            let (after, turn) = (heard.len(), heard.len() % 4);
            let some = (all - after).min(7 + turn);
            heard.extend(match turn {
                0 => server.subscribe(&app, &format!("?after={after}")).await.events(some).await,
                1 => server.stream(&app, &format!("?after={after}")).await.events(some).await,
                _ => {
                    let path = format!("/api/events?after={after}&limit={some}&wait={}", turn - 2);
                    server.get(&path).by(&app).answer().await.list()
                }
            });
        }
        heard
    };
    let (_, heard) = tokio::join!(telling, listening);
    assert_contiguous(&heard, 0);
    assert_eq!(heard, server.feed(&app).await);
    heard[0].shows(json!({"type": "call.ring"}));
}

/// Waits until a poll is among the sessions.
async fn poll_is_waiting(server: &crate::support::TestServer) {
    eventually("a poll waits", async || {
        let waiting = server.metrics().await.sum("cti_feed_listeners", &["transport=\"poll\""]);
        (waiting == 1.0).then_some(())
    })
    .await;
}
