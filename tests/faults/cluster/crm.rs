//! CRMs behind the balancer, which resume where they stopped.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use cti_client::Item;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{
    Cluster,
    load::{Load, Sent},
};
use crate::{
    burst::CALL_EVENTS,
    rust_client::subscribe,
    support::{App, assert_contiguous, kinds, of_call, within},
};

/// How long the last event may take.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// A CRM of each app, which follows its feed from the start.
pub(crate) struct Crms {
    apps: Vec<App>,
    followers: Vec<Follower>,
}

struct Follower {
    /// Each event with the time of its arrival.
    received: Arc<Mutex<Vec<(Instant, Value)>>>,
    task: JoinHandle<()>,
}

impl Follower {
    fn start(url: &str, app: &App) -> Self {
        let mut feed = subscribe(url, app).after(0).open().expect("valid options");
        let received = Arc::<Mutex<Vec<_>>>::default();
        let into = Arc::clone(&received);
        let task = tokio::spawn(async move {
            loop {
                match feed.next().await {
                    Some(Ok(Item::Event(event))) => {
                        let json = serde_json::from_str(&event.json).expect("an event is JSON");
                        into.lock().expect("no holder panics").push((Instant::now(), json));
                    }
                    other => panic!("a CRM that resumes got {other:?}"),
                }
            }
        });
        Self { received, task }
    }

    fn count(&self) -> usize {
        assert!(!self.task.is_finished(), "a CRM was given up");
        self.received.lock().expect("no holder panics").len()
    }
}

impl Crms {
    pub(crate) fn of(cluster: &Cluster, apps: &[App]) -> Self {
        let followers = apps.iter().map(|app| Follower::start(&cluster.balancer.url, app)).collect();
        Self { apps: apps.to_vec(), followers }
    }

    /// Asserts that every webhook of the load is in its feed once, those of each call in their order, that each CRM
    /// received its feed as it is, and that every server shows the same feed. Returns how long each webhook took from
    /// the first time it was sent to the arrival of its event.
    pub(crate) async fn finish(self, cluster: &Cluster, load: &Load, sent: &[Sent]) -> Vec<Duration> {
        let mut arrivals = BTreeMap::new();
        for (number, (app, follower)) in self.apps.iter().zip(self.followers).enumerate() {
            let calls: Vec<i64> = load.calls_of(number, self.apps.len()).collect();
            let wanted = calls.len() * CALL_EVENTS.len();
            within(DELIVERY_TIMEOUT, &format!("{} receives {wanted} events", app.id), async || {
                (follower.count() >= wanted).then_some(())
            })
            .await;
            follower.task.abort();
            let received = std::mem::take(&mut *follower.received.lock().expect("no holder panics"));
            let (times, received): (Vec<Instant>, Vec<Value>) = received.into_iter().unzip();
            assert_contiguous(&received, 0);
            for call in calls {
                assert_eq!(kinds(&of_call(&received, call)), CALL_EVENTS, "call {call}");
            }
            assert_eq!(received.len(), wanted, "events that no webhook caused");
            for member in cluster.members.iter().filter_map(|member| member.server.as_ref()) {
                assert_eq!(member.feed(app).await, received, "another feed at {}", member.base_url);
            }
            let mut counts = BTreeMap::new();
            for (event, at) in received.iter().zip(times) {
                let call = event["dialpad_call_id"].as_i64().expect("an event of a call");
                let number: &mut usize = counts.entry(call).or_default();
                arrivals.insert((call, *number), at);
                *number += 1;
            }
        }
        let latency = |sent: &Sent| arrivals[&(sent.call, sent.number)].saturating_duration_since(sent.at);
        let not_processed = "SELECT COUNT(*) FROM webhook_events WHERE status <> 'processed'";
        assert_eq!(cluster.world.count(not_processed).await, 0);
        let broken = cluster.world.run(&["verify"]).await;
        assert_eq!(broken.code, Some(0), "{broken:?}");
        sent.iter().map(latency).collect()
    }
}
