//! A planned stop in bad moments: in the middle of a burst, and with a client that never reads.

use std::time::Duration;

use crate::{
    burst::{Burst, LIFE},
    frozen_client::never_reading,
    support::{Call, With, World, assert_contiguous, eventually},
};

on_both_databases![
    a_stop_in_the_middle_of_a_burst_loses_nothing_and_doubles_nothing,
    a_client_that_never_reads_does_not_hold_up_the_stop,
];

/// A service manager waits 30 seconds before it kills.
const STOP_WITHIN: Duration = Duration::from_secs(25);

async fn a_stop_in_the_middle_of_a_burst_loses_nothing_and_doubles_nothing(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let burst = Burst::from_call(1);
    let pid = server.process.id();
    let stopping = async {
        burst.until_acknowledged(200).await;
        let sent =
            tokio::process::Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status().await;
        assert!(sent.is_ok_and(|status| status.success()), "the server was gone before it was stopped");
    };
    tokio::join!(burst.send_all(&server, &app, 24), stopping);
    assert_eq!(server.process.exit(STOP_WITHIN).await.code(), Some(0), "{}", server.process.log());

    let server = world.start().await;
    eventually("everything acknowledged is told", async || {
        let feed = server.feed(&app).await;
        burst.journeys.borrow().iter().all(|journey| journey.is_told(&feed)).then_some(())
    })
    .await;
    burst.finish(&server, &app).await;
    let total = burst.journeys.borrow().len() * LIFE.len();
    let feed = server.wait_for_events(&app, total).await;
    assert_contiguous(&feed, 0);
    burst.journeys.borrow().iter().for_each(|journey| journey.assert_told(&feed));
}

async fn a_client_that_never_reads_does_not_hold_up_the_stop(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let _frozen = never_reading(&server, &app).await;
    let mut healthy = server.listen(&app).await;
    let note = "x".repeat(100_000);
    let events = 120;
    for id in 1..=events {
        server.webhook(&app, &Call::new(id).event("call.noted", 0).with("note", note.as_str())).await;
    }
    healthy.events(events as usize).await;
    server.process.terminate();
    healthy.expect("reconnect").await;
    assert_eq!(healthy.close_code().await, Some(1001));
    assert_eq!(server.process.exit(STOP_WITHIN).await.code(), Some(0), "{}", server.process.log());
}
