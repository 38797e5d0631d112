//! The file of SQLite is used twice, moved away, replaced.

use std::fs;

use crate::support::{Ask, Call, World, eventually, kinds};

on_sqlite![
    a_second_server_on_the_same_file_is_refused,
    no_webhook_is_acknowledged_while_the_file_is_not_in_its_place,
];

async fn a_second_server_on_the_same_file_is_refused(world: World) {
    let server = world.start().await;
    // The spool has a lock of its own.
    let second = world.clone().with("SPOOL", "off").run(&["serve"]).await;
    assert_eq!(second.code, Some(1), "{second:?}");
    let file = world.folder().join("cti.db");
    let complaint = second.stderr.lines().find(|line| line.contains("another server"));
    assert!(complaint.is_some_and(|line| line.contains(&*file.to_string_lossy())), "{second:?}");
    assert_eq!(server.get("/health").answer().await.status, 200);
    drop(server);
    // The next one may: starting it stops the first.
    drop(world.start().await);
}

async fn no_webhook_is_acknowledged_while_the_file_is_not_in_its_place(world: World) {
    let world = world.with("SPOOL", "off");
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let [ring, started, held, ..] = Call::new(1).life();
    server.webhook(&app, &ring).await;
    let (file, aside) = (world.folder().join("cti.db"), world.folder().join("aside.db"));
    let path = format!("/webhooks/{}", app.id);

    fs::rename(&file, &aside).expect("the file can be moved");
    server.post_webhook(&path, &started.to_string()).await.fails_with(503);
    fs::copy(&aside, &file).expect("a copy can be made");
    server.post_webhook(&path, &held.to_string()).await.fails_with(503);
    eventually("the health says why", async || {
        let health = server.get("/health").answer().await;
        (health.status == 503 && health.body.contains("cti.db was replaced")).then_some(())
    })
    .await;
    server.get("/health/ready").answer().await.refuses(503, "DATABASE_UNAVAILABLE");

    fs::rename(&aside, &file).expect("the file can be moved back");
    for step in [started, held] {
        eventually("webhooks are accepted again", async || {
            (server.post_webhook(&path, &step.to_string()).await.status == 200).then_some(())
        })
        .await;
    }
    let feed = server.wait_for_events(&app, 3).await;
    assert_eq!(kinds(&feed), ["call.ring", "call.started", "call.held"]);
}
