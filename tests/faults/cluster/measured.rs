//! The long form: how long apps stand still, at 500 webhooks a second, and how much two servers take.
//!
//! `cargo test --release --test faults -- --ignored cluster::measured --nocapture`; `CTI_MEASURED_SERVER=path` measures
//! another binary.

use std::{
    env,
    io::{self, Write},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::time::sleep_until;

use super::{Cluster, LOCALHOST, Load};
use crate::network::{self, Address};
use crate::support::{App, Call, TestServer, World};

const APPS: usize = 40;
const WEBHOOKS_PER_SECOND: u32 = 500;
const SECONDS: usize = 25;
const ROUNDS: usize = 3;
/// The upper bounds of the histogram, in milliseconds.
const BOUNDS: [u128; 9] = [50, 100, 250, 500, 1000, 2000, 3000, 5000, 10_000];

/// What happens to the first server of a cluster.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Freeze,
    Cut,
    Stop,
}

/// The way of the first server to the database, where it can be lost.
const WAY: Address = Address("10.99.99.99");

impl Fault {
    async fn befall(self, cluster: &mut Cluster) {
        let member = &mut cluster.members[0];
        let end = Instant::now() + Duration::from_secs(10);
        match self {
            Self::Kill => member.kill(),
            Self::Freeze => {
                member.signal("STOP");
                sleep_until(end.into()).await;
                member.signal("CONT");
            }
            Self::Cut => {
                WAY.lose();
                sleep_until(end.into()).await;
                WAY.find();
            }
            Self::Stop => member.restart().await,
        }
    }
}

/// Each is measured for three minutes.
macro_rules! measured {
    ($($test:ident => $fault:ident),+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "measures for three minutes"]
        async fn $test() {
            how_long_apps_stand_still(Fault::$fault).await;
        }
    )+};
}

measured![
    how_long_apps_stand_still_after_a_kill => Kill,
    how_long_apps_stand_still_while_a_server_is_frozen => Freeze,
    how_long_apps_stand_still_at_a_planned_stop => Stop
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for three minutes"]
async fn how_long_apps_stand_still_while_the_network_loses_packets() {
    let this = "cluster::measured::how_long_apps_stand_still_while_the_network_loses_packets";
    if network::is_own(this, true) {
        WAY.take();
        how_long_apps_stand_still(Fault::Cut).await;
    }
}

async fn how_long_apps_stand_still(fault: Fault) {
    for size in [2, 3] {
        let mut longest = Vec::new();
        for round in 0..ROUNDS {
            let mut ways = vec![LOCALHOST; size];
            if matches!(fault, Fault::Cut) {
                ways[0] = WAY.0;
            }
            let Some(cluster) = start(&format!("{fault:?}_{size}_{round}"), &ways).await else { return };
            let load = Load::new(WEBHOOKS_PER_SECOND, SECONDS * WEBHOOKS_PER_SECOND as usize);
            let sent = cluster
                .through(APPS, load, async |cluster, load| {
                    load.acknowledged(5 * WEBHOOKS_PER_SECOND as usize).await;
                    fault.befall(cluster).await;
                })
                .await;
            for app in 0..APPS {
                let of_app = sent.iter().filter(|(sent, _)| sent.app == app);
                longest.extend(of_app.map(|(_, latency)| *latency).max());
            }
        }
        report(&format!("{fault:?}, {size} servers"), &mut longest);
    }
}

async fn start(name: &str, ways: &[&str]) -> Option<Cluster> {
    let mut world = World::on_postgres(name).await?.with("SPOOL", "off");
    if let Some(program) = env::var_os("CTI_MEASURED_SERVER") {
        // Also after a restart.
        world = world.with_program(program.into());
    }
    let ways: Vec<Option<&str>> = ways.iter().copied().map(Some).collect();
    Cluster::around(world, &ways, None).await
}

/// How many webhooks are sent at the same time, and for how long.
const SENDERS: usize = 64;
const INGEST: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for two minutes"]
async fn two_servers_take_as_many_webhooks_as_one() {
    let (mut ones, mut twos) = (Vec::new(), Vec::new());
    for round in 0..3 {
        for (size, rates) in [(1, &mut ones), (2, &mut twos)] {
            let Some(cluster) = start(&format!("ingest_{size}_{round}"), &vec![LOCALHOST; size]).await else {
                return;
            };
            let apps = cluster.create_apps(APPS).await;
            // Until the servers share the apps.
            sleep_until((Instant::now() + Duration::from_secs(10)).into()).await;
            rates.push(ingest(&cluster, &apps).await);
            cluster.finish().await;
        }
    }
    let median = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let (one, two) = (median(&mut ones), median(&mut twos));
    let line = format!(
        "one server takes {one:.0} webhooks/s ({ones:.0?}), two take {two:.0} ({twos:.0?}): {:.2} times as many\n",
        two / one
    );
    // Not println: the test harness captures it.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Sends rings of new calls to all servers alike. Returns how many were taken in a second.
async fn ingest(cluster: &Cluster, apps: &[App]) -> f64 {
    let (next, taken) = (AtomicUsize::new(1), AtomicUsize::new(0));
    let began = Instant::now();
    let senders = (0..SENDERS).map(async |sender| {
        let server: &TestServer = cluster.members[sender % cluster.members.len()].server();
        while began.elapsed() < INGEST {
            let number = next.fetch_add(1, Relaxed);
            let app = &apps[number % apps.len()];
            let ring = Call::new(number as i64).ring(0).to_string();
            server.post_webhook(&format!("/webhooks/{}", app.id), &ring).await.ok();
            taken.fetch_add(1, Relaxed);
        }
    });
    join_all(senders).await;
    taken.load(Relaxed) as f64 / began.elapsed().as_secs_f64()
}

/// Prints how long the apps stood still: for each, the longest time from a webhook to its event.
fn report(what: &str, longest: &mut [Duration]) {
    longest.sort_unstable();
    let mut lines = format!("{what}: {} apps, 0 lost, 0 twice\n", longest.len());
    let mut below = 0;
    for bound in BOUNDS {
        let count = longest.iter().filter(|time| time.as_millis() < bound).count();
        lines += &format!("  < {bound:>6} ms {:>4} {}\n", count - below, "#".repeat((count - below) / 2));
        below = count;
    }
    lines += &format!(
        "  median {:?}, p90 {:?}, max {:?}\n",
        longest[longest.len() / 2],
        longest[longest.len() * 9 / 10],
        longest[longest.len() - 1]
    );
    // Not println: the test harness captures it.
    let _ = io::stderr().write_all(lines.as_bytes());
}
