//! Coming back with a cursor: nothing is missed, nothing is heard twice.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Call, Shows, World, assert_contiguous, kinds};

on_both_databases![
    after_a_break_nothing_is_missed_and_nothing_repeated,
    after_0_tells_everything_that_is_kept,
    a_cursor_at_the_head_hears_only_what_is_new,
    a_cursor_ahead_is_emitted_of_the_gap_and_goes_on_live,
    resuming_while_events_pour_in_leaves_no_hole,
    coming_while_events_pour_in_leaves_no_hole,
    a_cursor_outlives_the_server,
];

async fn after_a_break_nothing_is_missed_and_nothing_repeated(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let [ring, started, held, resumed, ended] = Call::new(1).life();
    let mut before = server.listen(&app).await;
    server.webhooks(&app, [&ring, &started]).await;
    let mut heard = before.events(2).await;
    drop(before);

    server.webhooks(&app, [&held, &resumed]).await;
    let mut after = server.subscribe(&app, "?after=2").await;
    server.webhook(&app, &ended).await;
    heard.extend(after.events(3).await);
    assert_contiguous(&heard, 0);
    assert_eq!(heard, server.feed(&app).await);
    after.expect_nothing_more(&server, &app).await;
}

async fn after_0_tells_everything_that_is_kept(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for id in 1..=100 {
        server.webhooks(&app, [&Call::new(id).ring(0), &Call::new(id).ended(30)]).await;
    }
    let whole = server.wait_for_events(&app, 200).await;
    let mut socket = server.subscribe(&app, "?after=0").await;
    let heard = socket.events(200).await;
    assert_contiguous(&heard, 0);
    assert_eq!(heard, whole);
    socket.expect_nothing_more(&server, &app).await;
}

async fn a_cursor_at_the_head_hears_only_what_is_new(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    server.wait_for_events(&app, 5).await;
    let mut socket = server.subscribe(&app, "?after=5").await;
    server.webhook(&app, &Call::new(2).ring(0)).await;
    socket.expect("call.ring").await.shows(json!({"seq": 6, "dialpad_call_id": 2}));
}

async fn a_cursor_ahead_is_emitted_of_the_gap_and_goes_on_live(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    server.wait_for_events(&app, 1).await;
    let mut socket = server.subscribe(&app, "?after=1000").await;
    socket.expect("gap").await.shows(json!({"reason": "cursor_ahead"}));
    server.webhook(&app, &Call::new(1).started(3)).await;
    socket.expect("call.started").await.shows(json!({"seq": 2}));
}

async fn resuming_while_events_pour_in_leaves_no_hole(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let calls = 60;
    let lives: Vec<_> = (1..=calls).map(|id| Call::new(id).life()).collect();
    let telling = join_all(lives.iter().map(|life| server.webhooks(&app, life)));
    let listening = async {
        let mut heard: Vec<Value> = Vec::new();
        // Every session hears a few events and goes away, in the middle of it all.
        while heard.len() < 5 * calls as usize {
            let mut socket = server.subscribe(&app, &format!("?after={}", heard.len())).await;
            let some = (5 * calls as usize - heard.len()).min(37);
            heard.extend(socket.events(some).await);
        }
        heard
    };
    let (_, heard) = tokio::join!(telling, listening);
    assert_contiguous(&heard, 0);
    assert_eq!(kinds(&heard).iter().filter(|kind| **kind == "call.ended").count(), calls as usize);
    assert_eq!(heard, server.feed(&app).await);
}

async fn coming_while_events_pour_in_leaves_no_hole(world: World) {
    const CALLS: usize = 60;
    const LAST: i64 = 5 * CALLS as i64;
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let lives: Vec<_> = (1..=CALLS).map(|id| Call::new(id as i64).life()).collect();
    let telling = join_all(lives.iter().map(|life| server.webhooks(&app, life)));
    // One after the other, while it pours: some hear all that comes from then on, some only how calls begin and end.
    let listening = async {
        let mut sockets = Vec::new();
        for number in 0..40 {
            let wanted = if number % 2 == 0 { "" } else { "?types=call.ring,call.ended" };
            let mut socket = server.open_socket(&format!("/ws{wanted}"), &[("x-api-key", &app.key)]).await;
            let begins = socket.expect("connected").await["seq"].as_i64().expect("a place in the feed");
            sockets.push((socket, begins, number % 2 == 0));
        }
        sockets
    };
    let (_, sockets) = tokio::join!(telling, listening);
    let whole = server.wait_for_events(&app, LAST as usize).await;
    let begun: BTreeSet<i64> = sockets.iter().map(|(_, begins, _)| *begins).collect();
    assert!(
        begun.len() > 2 && begun.iter().any(|begins| *begins < LAST),
        "all came at the same time: {begun:?}"
    );
    for (mut socket, begins, all) in sockets {
        let is_wanted = |kind: &Value| all || kind == "call.ring" || kind == "call.ended";
        let wanted = whole.iter().skip(begins as usize).filter(|event| is_wanted(&event["type"]));
        let expected: Vec<Value> = wanted.cloned().collect();
        assert_eq!(socket.events(expected.len()).await, expected, "behind {begins}");
    }
}

async fn a_cursor_outlives_the_server(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let [ring, started, held, resumed, ended] = Call::new(1).life();
    server.webhooks(&app, [&ring, &started, &held]).await;
    server.wait_for_events(&app, 3).await;
    server.process.kill();

    let server = world.start().await;
    let mut socket = server.open_socket("/ws?after=1", &[("x-api-key", &app.key)]).await;
    socket.expect("connected").await.shows(json!({"seq": 3, "oldest_seq": 1}));
    server.webhooks(&app, [&resumed, &ended]).await;
    let heard = socket.events(4).await;
    assert_contiguous(&heard, 1);
    assert_eq!(kinds(&heard), ["call.started", "call.held", "call.resumed", "call.ended"]);
}
