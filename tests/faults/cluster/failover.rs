//! The primary of a replicated PostgreSQL dies under two servers that know both of its hosts.

use serde_json::json;

use super::{Cluster, survives::through};
use crate::support::{App, Ask, Call, Replicated, Shows, World, eventually, kinds};

/// Starts two servers that look for the host that can be written by themselves.
async fn two_servers(database: &Replicated) -> Option<Cluster> {
    let (first, second) = (database.first.address(), database.second.address());
    let world = World::on(&database.first.url().replace(&first, &format!("{first},{second}")));
    Cluster::around(world.with("SPOOL", "off"), &[None, None], None).await
}

/// Lets the checks at the end look at what is the primary now.
fn look_at_the_second(cluster: &mut Cluster, database: &Replicated) {
    cluster.world = cluster.world.clone().with("DATABASE_URL", &database.second.url());
}

#[tokio::test]
async fn the_primary_is_killed_and_with_a_synchronous_replica_nothing_is_lost() {
    let Some(mut database) = Replicated::start("killed_under_two_servers").await else { return };
    database.synchronous().await;
    let Some(cluster) = two_servers(&database).await else { return };
    through(cluster, 630, async |cluster| {
        database.first.kill().await;
        database.second.promote().await;
        look_at_the_second(cluster, &database);
    })
    .await;
}

#[tokio::test]
async fn what_an_asynchronous_replica_never_got_is_announced_by_both_servers() {
    let Some(mut database) = Replicated::start("lost_under_two_servers").await else { return };
    let Some(mut cluster) = two_servers(&database).await else { return };
    let app: App = cluster.create_apps(1).await.remove(0);
    let path = format!("/webhooks/{}", app.id);
    let servers = || cluster.members.iter().map(super::Member::server);
    let mut sockets = Vec::new();
    cluster.any().webhook(&app, &Call::new(1).ring(0)).await;
    for server in servers() {
        sockets.push(server.subscribe(&app, "?after=0").await);
    }
    for socket in &mut sockets {
        socket.expect("call.ring").await;
    }
    database.caught_up().await;
    database.second.stop().await;
    cluster.any().webhook(&app, &Call::new(1).started(3)).await;
    for socket in &mut sockets {
        socket.expect("call.started").await;
    }

    database.first.kill().await;
    database.second.start().await;
    database.second.promote().await;
    for socket in &mut sockets {
        socket.next_event().await.shows(json!({"type": "gap", "reason": "epoch_changed"}));
    }
    // Dialpad goes on, at any of them, and each CRM hears of it once.
    for (server, at) in servers().zip([6, 7]) {
        let note = Call::new(1).event("call.noted", at).to_string();
        eventually("webhooks are taken", async || {
            (server.post_webhook(&path, &note).await.status == 200).then_some(())
        })
        .await;
        for socket in &mut sockets {
            socket.expect("call.raw").await;
        }
    }
    let mut epochs = Vec::new();
    for server in servers() {
        assert_eq!(kinds(&server.feed(&app).await), ["call.ring", "call.raw", "call.raw"]);
        let list = server.get("/api/events?after=0").by(&app).answer().await;
        epochs.push(list.header("x-epoch").expect("a list has one").to_owned());
    }
    assert_eq!(epochs[0], epochs[1], "both servers are in the same epoch");
    drop(sockets);
    look_at_the_second(&mut cluster, &database);
    cluster.finish().await;
}
