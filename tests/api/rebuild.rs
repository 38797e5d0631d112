//! `cti-server rebuild`: what the journal makes is what is stored; what differs is named, and written on request.

use crate::{
    support::{World, eventually},
    verify::traffic,
};

on_both_databases![
    what_is_stored_is_what_the_journal_makes,
    what_differs_is_named_and_written_back,
    calls_whose_webhooks_were_removed_are_left_out,
];

#[track_caller]
fn has_line(printed: &str, line: &str) {
    assert!(printed.lines().any(|it| it.contains(line)), "{line} is not in {printed}");
}

async fn what_is_stored_is_what_the_journal_makes(world: World) {
    let server = world.start().await;
    traffic(&server).await;
    let same = world.run(&["rebuild"]).await;
    assert_eq!(same.code, Some(0), "{same:?}");
    has_line(&same.stdout, "compared: 4 calls, 3 interactions, 1 messages");
    assert_eq!(same.stdout.lines().count(), 2, "{same:?}");
}

async fn what_differs_is_named_and_written_back(world: World) {
    let server = world.start().await;
    let app = traffic(&server).await;
    for damage in [
        "UPDATE calls SET duration_seconds = 7, contact_name = 'Eve' WHERE dialpad_call_id = 1",
        "DELETE FROM voicemails",
        "UPDATE calls SET interaction_id = NULL WHERE dialpad_call_id = 4",
        "UPDATE messages SET text = 'hullo'",
    ] {
        world.execute(damage).await;
    }
    let named = [
        "call 1 of app APP: contact_name, duration_seconds",
        "call 2 of app APP: voicemail",
        "message m-1 of app APP: text",
    ]
    .map(|line| line.replace("APP", &app));
    let differs = world.run(&["rebuild"]).await;
    assert_eq!(differs.code, Some(1), "{differs:?}");
    for line in &named {
        has_line(&differs.stdout, line);
    }
    assert!(differs.stdout.contains("interaction ") && differs.stdout.contains(": calls"), "{differs:?}");
    let refused = world.run(&["rebuild", "--apply"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("server"), "{refused:?}");
    assert_eq!(world.run(&["rebuild"]).await.stdout, differs.stdout, "nothing was written");

    drop(server);
    world.finish().await;
    // On PostgreSQL, a server that was stopped is known by its last heartbeat for half a minute.
    world.execute("DELETE FROM server_state WHERE name = 'alive'").await;
    world.execute("DELETE FROM calls WHERE dialpad_call_id = 1").await;
    let applied = world.run(&["rebuild", "--apply"]).await;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    has_line(&applied.stdout, &format!("call 1 of app {app}: it is missing"));
    has_line(&applied.stdout, "written: 5 calls and messages");
    for command in ["verify", "rebuild"] {
        let sound = world.run(&[command]).await;
        assert_eq!(sound.code, Some(0), "{command}: {sound:?}");
    }
}

async fn calls_whose_webhooks_were_removed_are_left_out(world: World) {
    let world = world.with("RETENTION_JOURNAL", "1s").with("RETENTION_INTERVAL", "1s");
    let server = world.start().await;
    traffic(&server).await;
    eventually("the webhooks are removed", async || {
        let left = world.count("SELECT COUNT(*) FROM webhook_events WHERE status = 'processed'").await;
        (left == 0).then_some(())
    })
    .await;
    world.execute("UPDATE calls SET duration_seconds = 7 WHERE dialpad_call_id = 1").await;
    let same = world.run(&["rebuild"]).await;
    assert_eq!(same.code, Some(0), "{same:?}");
    has_line(&same.stdout, "removed: 4 calls, 3 interactions, 1 messages");
}
