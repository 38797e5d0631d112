//! Two processes on one database: each app has one owner, and another one when that is killed, paused or stopped.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{App, Ask, Call, TestServer, World, assert_contiguous, eventually, kinds, seqs, within};

on_postgres![
    a_webhook_at_a_process_that_does_not_own_its_app_is_processed_by_the_owner,
    a_killed_owner_is_replaced_within_five_seconds,
    a_stopped_owner_hands_its_apps_over_at_once,
    a_paused_owner_is_replaced_and_writes_nothing_when_it_wakes,
    a_second_process_with_the_same_name_is_refused,
    periodic_work_is_done_by_one_process,
];

/// How long the apps of a process that was killed or paused may be without an owner.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the apps of a process that stops may be.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(1);
/// What a busy machine may add to either.
const SLOWNESS: Duration = Duration::from_secs(5);

async fn cluster(server: &TestServer) -> Value {
    server.get("/internal/cluster").by_admin().answer().await.ok()
}

async fn process_id(server: &TestServer) -> String {
    let engine = server.get("/internal/engine").by_admin().answer().await.ok();
    engine["process_id"].as_str().expect("a name").to_owned()
}

/// Returns the owner of an app and its fence, as this server sees them.
async fn owner(server: &TestServer, app: &App) -> (Option<String>, i64) {
    let cluster = cluster(server).await;
    let leases = cluster["leases"].as_array().expect("a list of leases").clone();
    let lease = leases.iter().find(|lease| lease["app_id"] == app.id).expect("the app has a lease");
    (lease["owner"].as_str().map(str::to_owned), lease["fence"].as_i64().expect("a number"))
}

/// Waits until the process of this name owns the app, as this server sees it. Returns how long that took.
async fn owned_by(server: &TestServer, app: &App, process: &str) -> Duration {
    let began = Instant::now();
    within(TAKEOVER_TIMEOUT + SLOWNESS, &format!("{process} owns the app"), async || {
        (owner(server, app).await.0.as_deref() == Some(process)).then_some(())
    })
    .await;
    began.elapsed()
}

/// Two servers, and an app that the first one owns.
struct Pair {
    first: TestServer,
    second: TestServer,
    app: App,
}

impl Pair {
    async fn start(world: &World) -> Self {
        let first = world.clone().with("PROCESS_ID", "first").start().await;
        let second = world.clone().with("PROCESS_ID", "second").start().await;
        let app = first.create_app("CRM").await;
        assert_eq!(owner(&second, &app).await, (Some("first".into()), 1), "its creator owns it");
        Self { first, second, app }
    }
}

async fn a_webhook_at_a_process_that_does_not_own_its_app_is_processed_by_the_owner(world: World) {
    let Pair { first, second, app } = Pair::start(&world).await;
    assert_eq!((process_id(&first).await.as_str(), process_id(&second).await.as_str()), ("first", "second"));
    let processes = cluster(&first).await["processes"].clone();
    let names: Vec<_> =
        processes.as_array().expect("a list").iter().map(|it| it["process_id"].clone()).collect();
    assert_eq!(names, ["first", "second"]);

    let call = Call::new(1);
    second.webhook(&app, &call.ring(0)).await;
    first.webhook(&app, &call.started(3)).await;
    second.webhook(&app, &call.ended(9)).await;
    let feed = second.wait_for_events(&app, 3).await;
    assert_eq!(kinds(&feed), ["call.ring", "call.started", "call.ended"]);
    let again = second.webhook(&app, &call.ring(0)).await;
    assert!(again.duplicate, "whichever process gets it");
}

async fn a_killed_owner_is_replaced_within_five_seconds(world: World) {
    let Pair { mut first, second, app } = Pair::start(&world).await;
    first.webhook(&app, &Call::new(1).ring(0)).await;
    first.process.kill();
    let time = owned_by(&second, &app, "second").await;
    eprintln!("a killed process was replaced after {time:?}");
    assert!(time < TAKEOVER_TIMEOUT, "{time:?}");
    second.webhook(&app, &Call::new(1).ended(5)).await;
    let feed = second.wait_for_events(&app, 2).await;
    assert_eq!(kinds(&feed), ["call.ring", "call.ended"]);
    eventually("the dead process is not listed", async || {
        let processes = cluster(&second).await["processes"].clone();
        (processes.as_array().map(Vec::len) == Some(1)).then_some(())
    })
    .await;
    let takeovers = second.metrics().await.sum("cti_lease_takeovers_total", &["reason=\"expired\""]);
    assert!(takeovers >= 1.0, "{takeovers}");
}

async fn a_stopped_owner_hands_its_apps_over_at_once(world: World) {
    let Pair { mut first, second, app } = Pair::start(&world).await;
    first.webhook(&app, &Call::new(1).ring(0)).await;
    first.process.terminate();
    let time = owned_by(&second, &app, "second").await;
    eprintln!("a stopped process was replaced after {time:?}");
    assert!(time < HANDOVER_TIMEOUT + SLOWNESS, "{time:?}");
    assert!(first.process.exit(Duration::from_secs(20)).await.success());
    second.webhook(&app, &Call::new(1).ended(5)).await;
    let feed = second.wait_for_events(&app, 2).await;
    assert_eq!(kinds(&feed), ["call.ring", "call.ended"]);
    let takeovers = second.metrics().await.sum("cti_lease_takeovers_total", &["reason=\"released\""]);
    assert!(takeovers >= 1.0, "{takeovers}");
}

async fn a_paused_owner_is_replaced_and_writes_nothing_when_it_wakes(world: World) {
    const WEBHOOKS: i64 = 20;
    let Pair { first, second, app } = Pair::start(&world).await;
    first.webhook(&app, &Call::new(1).ring(0)).await;
    first.process.signal("STOP");
    // They wait in the sockets of the paused process.
    let late = (100..100 + WEBHOOKS).map(Call::new).map(|call| call.ring(1)).collect::<Vec<_>>();
    let waiting = join_all(late.iter().map(|webhook| first.webhook(&app, webhook)));
    let meanwhile = async {
        let time = owned_by(&second, &app, "second").await;
        eprintln!("a paused process was replaced after {time:?}");
        assert!(time < TAKEOVER_TIMEOUT, "{time:?}");
        second.webhook(&app, &Call::new(1).ended(5)).await;
        second.wait_for_events(&app, 2).await;
        first.process.signal("CONT");
    };
    let (acknowledged, ()) = tokio::join!(waiting, meanwhile);
    assert!(acknowledged.iter().all(|ack| !ack.duplicate && ack.status.is_none()));

    let events = 2 + usize::try_from(WEBHOOKS).expect("a small number");
    let feed = second.wait_for_events(&app, events).await;
    assert_contiguous(&feed, 0);
    assert_eq!(seqs(&feed).len(), events, "each is there once");
    let engine = |state: Value| {
        state["apps"].as_array().expect("a list").iter().find(|it| it["app_id"] == app.id).cloned()
    };
    let state = engine(first.get("/internal/engine").by_admin().answer().await.ok()).expect("it had work");
    assert_eq!((&state["owned"], &state["live_calls"]), (&json!(false), &json!(0)), "{state}");
    let refused = first.metrics().await.sum("cti_fence_refusals_total", &[]);
    eprintln!("the database refused {refused} units of the process that woke up");
    // Everything was written by the new owner: of one fence, there is one.
    assert_eq!(owner(&first, &app).await, (Some("second".into()), 2));
}

async fn a_second_process_with_the_same_name_is_refused(world: World) {
    let world = world.with("PROCESS_ID", "cti-1");
    let mut first = world.start().await;
    let second =
        world.clone().with("SPOOL_DIR", &world.free_spool().display().to_string()).run(&["serve"]).await;
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("PROCESS_ID: another process is called cti-1 and runs"), "{second:?}");
    first.process.kill();
    // The name is free at once: on the same machine, it is known that the process is gone.
    let next = world.start().await;
    assert_eq!(process_id(&next).await, "cti-1");
    let bad = world.clone().with("PROCESS_ID", "a b").run(&["serve"]).await;
    assert_eq!(bad.code, Some(2), "{bad:?}");
    assert!(bad.stderr.contains("PROCESS_ID: must be"), "{bad:?}");
}

async fn periodic_work_is_done_by_one_process(world: World) {
    let world = world.with("RETENTION_INTERVAL", "1s");
    let Pair { mut first, second, .. } = Pair::start(&world).await;
    let jobs = "SELECT COUNT(*) FROM job_leases";
    eventually("the jobs are claimed", async || (world.count(jobs).await >= 8).then_some(())).await;
    let by_second = "SELECT COUNT(*) FROM job_leases WHERE owner = 'second'";
    assert_eq!(world.count(by_second).await, 0, "the first process had them all");
    first.process.kill();
    eventually("the other one does them", async || {
        let prune = "SELECT COUNT(*) FROM job_leases WHERE owner = 'second' AND name = 'prune'";
        (world.count(prune).await == 1).then_some(())
    })
    .await;
    drop(second);
}
