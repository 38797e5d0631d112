//! A server dies, freezes, loses the database or is replaced, while webhooks arrive and CRMs listen.

use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use super::{Cluster, LOCALHOST, Load};
use crate::{
    network::{self, Address},
    support::World,
};

const APPS: usize = 6;
const WEBHOOKS_PER_SECOND: u32 = 60;
/// When the fault begins.
const BEFORE: usize = 100;
/// What a server has spooled comes after what the others took meanwhile. Without a spool, a server that is cut off refuses
/// webhooks, Dialpad repeats them at another one, and the order is kept.
pub(super) const STRICT: [(&str, &str); 1] = [("SPOOL", "off")];
/// How long an app may stand still when its server has died or is cut off.
const MAX_STANDSTILL: Duration = Duration::from_secs(10);

/// Sends a load through a fault, and asserts that nothing was lost or repeated and that the order was kept. Returns the
/// longest time from a webhook to its event.
pub(super) async fn through(
    cluster: Cluster,
    webhooks: usize,
    fault: impl AsyncFnOnce(&mut Cluster),
) -> Duration {
    let sent = cluster
        .through(APPS, Load::new(WEBHOOKS_PER_SECOND, webhooks), async |cluster, load| {
            load.acknowledged(BEFORE).await;
            fault(cluster).await;
        })
        .await;
    sent.into_iter().map(|(_, latency)| latency).max().expect("some")
}

#[tokio::test]
async fn two_servers_share_the_work_and_one_is_killed() {
    let Some(cluster) = Cluster::start("one_is_killed", 2, &STRICT).await else { return };
    let longest = through(cluster, 560, async |cluster| cluster.members[0].kill()).await;
    assert!(longest < MAX_STANDSTILL, "{longest:?}");
}

#[tokio::test]
async fn two_of_three_are_killed_one_after_the_other() {
    let Some(cluster) = Cluster::start("two_of_three", 3, &STRICT).await else { return };
    through(cluster, 840, async |cluster| {
        cluster.members[1].kill();
        pause(Duration::from_secs(5)).await;
        cluster.members[0].kill();
    })
    .await;
}

#[tokio::test]
async fn a_server_that_freezes_and_wakes_repeats_nothing() {
    let Some(cluster) = Cluster::start("a_server_that_freezes", 2, &STRICT).await else { return };
    let longest = through(cluster, 980, async |cluster| {
        let frozen = &cluster.members[0];
        frozen.signal("STOP");
        pause(Duration::from_secs(10)).await;
        frozen.signal("CONT");
    })
    .await;
    assert!(longest < MAX_STANDSTILL, "{longest:?}");
}

#[tokio::test]
async fn a_server_without_its_database_leaves_the_work_to_the_others() {
    let Some(cluster) = Cluster::start("one_without_its_database", 2, &STRICT).await else { return };
    let longest = through(cluster, 630, async |cluster| {
        let database = cluster.members[1].database();
        database.cut();
        pause(Duration::from_secs(4)).await;
        database.mend();
    })
    .await;
    assert!(longest < MAX_STANDSTILL, "{longest:?}");
}

/// The network between it and PostgreSQL: packets disappear, and no connection is closed.
#[tokio::test]
async fn a_server_that_is_silently_cut_off_from_its_database_leaves_the_work_to_the_others() {
    const THIS: &str = "cluster::survives::a_server_that_is_silently_cut_off_from_its_database_leaves_the_work_to_the_others";
    const WAY: Address = Address("10.99.99.99");
    if !network::is_own(THIS, true) {
        return;
    }
    WAY.take();
    let Some(world) = World::on_postgres("silently_cut_off").await else { return };
    let ways = [Some(LOCALHOST), Some(WAY.0)];
    let Some(cluster) = Cluster::around(world.with("SPOOL", "off"), &ways, None).await else { return };
    let longest = through(cluster, 980, async |_| {
        WAY.lose();
        pause(Duration::from_secs(10)).await;
        WAY.find();
    })
    .await;
    assert!(longest < MAX_STANDSTILL, "{longest:?}");
}

#[tokio::test]
async fn servers_are_replaced_one_after_the_other_and_every_webhook_is_answered() {
    let Some(cluster) = Cluster::start("rolling_restart", 2, &STRICT).await else { return };
    let sent = cluster
        .through(APPS, Load::new(WEBHOOKS_PER_SECOND, 630), async |cluster, load| {
            for (number, acknowledged) in [(0, BEFORE), (1, 3 * BEFORE)] {
                load.acknowledged(acknowledged).await;
                cluster.members[number].restart().await;
            }
        })
        .await;
    // HAProxy gives a refused connection to another server.
    let failed: Vec<_> = sent.iter().filter(|(sent, _)| !sent.failures.is_empty()).collect();
    assert!(failed.is_empty(), "{} were repeated: {:?}", failed.len(), failed[0].0.failures);
}

/// The time that a fault lasts.
pub(super) async fn pause(time: Duration) {
    sleep_until((Instant::now() + time).into()).await;
}
