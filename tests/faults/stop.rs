//! A planned stop at a bad moment: in the middle of a burst, and with a client that never reads.

use crate::{
    burst::{Burst, CALL_EVENTS},
    frozen_client::never_reading,
    support::{Call, STOP_TIMEOUT, With, World, assert_contiguous, eventually},
};

on_both_databases![
    a_stop_in_the_middle_of_a_burst_neither_loses_nor_duplicates,
    a_client_that_never_reads_does_not_delay_the_stop,
];

async fn a_stop_in_the_middle_of_a_burst_neither_loses_nor_duplicates(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let burst = Burst::from_call(1);
    let pid = server.process.id();
    let stopping = async {
        burst.wait_for_acknowledged(200).await;
        let sent =
            tokio::process::Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status().await;
        assert!(sent.is_ok_and(|status| status.success()), "the server was gone before it was stopped");
    };
    tokio::join!(burst.send_all(&server, &app, 24), stopping);
    server.process.exit_cleanly(STOP_TIMEOUT).await;

    let server = world.start().await;
    eventually("everything acknowledged is in the feed", async || {
        let feed = server.feed(&app).await;
        burst.calls.borrow().iter().all(|progress| progress.is_delivered(&feed)).then_some(())
    })
    .await;
    burst.finish(&server, &app).await;
    let total = burst.calls.borrow().len() * CALL_EVENTS.len();
    let feed = server.wait_for_events(&app, total).await;
    assert_contiguous(&feed, 0);
    burst.calls.borrow().iter().for_each(|progress| progress.assert_delivered(&feed));
}

async fn a_client_that_never_reads_does_not_delay_the_stop(world: World) {
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
    server.process.exit_cleanly(STOP_TIMEOUT).await;
}
