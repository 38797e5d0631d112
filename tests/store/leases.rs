//! Leases of apps and jobs, held by several processes: each a store on the same database.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use cti_actors::{
    error::StoreError,
    id::{AppId, Fence},
    model::lease::TakeoverReason,
    ports::{EventLog, Ledger},
    unit::Unit,
};
use cti_server::store::{
    Store,
    cluster::{NewProcess, Registered},
};
use sqlx::Connection;
use uuid::Uuid;

use crate::{
    contract::{Subject, event, now},
    open,
    support::World,
};

on_postgres![
    a_free_lease_goes_to_one_of_those_that_take_it,
    what_is_decided_under_an_earlier_fence_is_refused_as_a_whole,
    a_feed_that_is_locked_delays_no_other,
    a_process_that_does_not_renew_loses_its_apps_and_jobs,
    the_creator_of_an_app_owns_it,
    a_name_is_free_once_its_process_is_dead,
    what_a_removed_process_held_is_free,
    a_process_knows_whether_another_one_was_there,
];

on_both_databases![a_deleted_app_has_no_lease];

const LEASE: Duration = Duration::from_secs(60);

struct Process {
    store: Store,
    id: Uuid,
}

impl Process {
    async fn start(world: &World, name: &str) -> Self {
        let process = Self { store: open(world).await, id: Uuid::now_v7() };
        assert_eq!(process.register(name).await, Registered::Done);
        process
    }

    async fn register(&self, name: &str) -> Registered {
        let process = NewProcess {
            process_id: name.into(),
            incarnation: self.id,
            host: "host".into(),
            machine: "machine".into(),
            pid: 1,
        };
        self.store.processes().register(&process, LEASE).await.expect("the database answers")
    }

    /// Takes everything that is free.
    async fn take(&self) -> Vec<(AppId, Fence)> {
        let free = self.store.leases().free().await.expect("read");
        self.store.leases().take(self.id, &free).await.expect("taken")
    }

    async fn expire(&self) {
        self.store.processes().expire(self.id).await.expect("expired");
    }

    async fn held(&self) -> Vec<(AppId, Fence)> {
        self.store.leases().held(self.id).await.expect("read")
    }

    async fn claim(&self, job: &str) -> bool {
        self.store.job_leases().claim(job).await.expect("the database answers")
    }

    async fn commit(&self, app: AppId, fence: Fence) -> Result<(), StoreError> {
        let unit = Unit { events: vec![event(app, 1)], fence, ..Unit::new(app, now()) };
        self.store.commit(Arc::new(unit)).await.map(|_| ())
    }
}

/// Returns two processes, and an app that neither has.
async fn two_processes(world: &World) -> (Process, Process, AppId) {
    let creator = open(world).await;
    let app = creator.new_app().await;
    (Process::start(world, "one").await, Process::start(world, "two").await, app)
}

async fn a_free_lease_goes_to_one_of_those_that_take_it(world: World) {
    let (one, two, app) = two_processes(&world).await;
    let free = one.store.leases().free().await.expect("read");
    assert_eq!(
        free.iter().map(|lease| (lease.app, lease.reason)).collect::<Vec<_>>(),
        [(app, TakeoverReason::Released)]
    );
    let (first, second) =
        tokio::join!(one.store.leases().take(one.id, &free), two.store.leases().take(two.id, &free));
    let (first, second) = (first.expect("taken"), second.expect("taken"));
    assert_eq!(first.len() + second.len(), 1, "{first:?} {second:?}");
    let owner = if first.is_empty() { &two } else { &one };
    assert_eq!(owner.held().await, [(app, Fence(2))]);
    assert!(one.take().await.is_empty() && two.take().await.is_empty());

    owner.store.leases().release(owner.id, &[app]).await.expect("released");
    assert_eq!(two.take().await, [(app, Fence(3))]);
    one.store.leases().release(one.id, &[app]).await.expect("nothing to release");
    assert_eq!(two.held().await, [(app, Fence(3))], "only the owner releases");
}

async fn what_is_decided_under_an_earlier_fence_is_refused_as_a_whole(world: World) {
    let (one, two, app) = two_processes(&world).await;
    let [(_, earlier)] = one.take().await[..] else { panic!("one lease is free") };
    one.commit(app, earlier).await.expect("it owns the app");
    one.expire().await;
    let [(_, later)] = two.take().await[..] else { panic!("the lease has ended") };
    assert!(later > earlier);

    assert_eq!(one.commit(app, earlier).await, Err(StoreError::Fenced));
    // Without an event, too; and beside units of another app, which are written.
    let other = two.store.new_app().await;
    let pending = two.store.receive(app, 5, now()).await;
    let silent = Unit { processed: vec![pending], fence: earlier, ..Unit::new(app, now()) };
    let beside = Unit { events: vec![event(other, 1)], fence: Fence(1), ..Unit::new(other, now()) };
    let (silent, beside) =
        tokio::join!(one.store.commit(Arc::new(silent)), one.store.commit(Arc::new(beside)));
    assert_eq!(silent.map(|_| ()), Err(StoreError::Fenced));
    beside.expect("the other app is not concerned");
    assert_eq!(two.store.bounds(app).await.expect("read").head.0, 1, "nothing was written");
    assert_eq!(two.store.journal().pending_count().await.expect("read"), 1);

    two.commit(app, later).await.expect("it owns the app");
    two.commit(app, Fence::UNCHECKED).await.expect("nothing is checked");
}

async fn a_feed_that_is_locked_delays_no_other(world: World) {
    let (one, two, stuck) = two_processes(&world).await;
    let others = [one.store.new_app().await, one.store.new_app().await];
    one.take().await;
    one.expire().await;
    // As by a process that was stopped in the middle of a transaction.
    let mut db =
        sqlx::PgConnection::connect(world.setting("DATABASE_URL")).await.expect("the database answers");
    let mut transaction = db.begin().await.expect("begun");
    sqlx::query("UPDATE event_feeds SET last_seq = last_seq WHERE app_id = $1")
        .bind(stuck.0)
        .execute(&mut *transaction)
        .await
        .expect("locked");
    let mut taken: Vec<AppId> = two.take().await.into_iter().map(|(app, _)| app).collect();
    taken.sort_unstable();
    assert_eq!(taken, others);
    transaction.rollback().await.expect("rolled back");
    assert_eq!(two.take().await.len(), 1);
}

async fn a_process_that_does_not_renew_loses_its_apps_and_jobs(world: World) {
    let (one, two, app) = two_processes(&world).await;
    one.take().await;
    assert!(one.claim("prune").await);
    assert!(!two.claim("prune").await, "one process has the job");
    assert!(one.claim("prune").await, "and keeps it");
    assert!(two.claim("numbers").await, "another job is another one's");
    assert!(two.take().await.is_empty());
    one.expire().await;
    let free = two.store.leases().free().await.expect("read");
    assert_eq!(free.iter().map(|it| it.reason).collect::<Vec<_>>(), [TakeoverReason::Expired]);
    assert!(two.claim("prune").await);
    assert_eq!(two.take().await.len(), 1);
    assert_eq!(two.store.processes().alive().await.expect("read").len(), 1);

    // It comes back, and sees that it has lost them.
    let renewed =
        one.store.processes().renew(one.id, false, LEASE).await.expect("renewed").expect("it is known");
    assert_eq!(renewed.apps, 0);
    assert!(!one.claim("prune").await);
    assert_eq!(two.held().await.len(), 1, "{app} stays");
}

async fn the_creator_of_an_app_owns_it(world: World) {
    let one = Process::start(&world, "one").await;
    let app = one.store.new_app().await;
    assert_eq!(one.held().await, [(app, Fence(1))]);
    one.commit(app, Fence(1)).await.expect("it owns the app");
    // One that stops takes no more.
    one.store.processes().renew(one.id, true, LEASE).await.expect("renewed");
    let late = one.store.new_app().await;
    assert_eq!(one.held().await, [(app, Fence(1))], "not {late}");
}

async fn a_name_is_free_once_its_process_is_dead(world: World) {
    let one = Process::start(&world, "cti").await;
    let app = one.store.new_app().await;
    let other = Process { store: open(&world).await, id: Uuid::now_v7() };
    let Registered::NameTaken { incarnation, .. } = other.register("cti").await else { panic!("it runs") };
    assert_eq!(incarnation, one.id);
    one.expire().await;
    assert_eq!(other.register("cti").await, Registered::Done);
    assert_eq!(one.store.processes().renew(one.id, false, LEASE).await.expect("answered").map(|_| ()), None);
    assert!(other.held().await.is_empty(), "what the earlier one held is taken like anything else");
    assert_eq!(other.take().await, [(app, Fence(2))]);
}

async fn what_a_removed_process_held_is_free(world: World) {
    let (one, two, _) = two_processes(&world).await;
    one.take().await;
    one.claim("prune").await;
    one.store.processes().remove(one.id).await.expect("removed");
    assert_eq!(two.take().await.len(), 1);
    assert!(two.claim("prune").await);
}

async fn a_process_knows_whether_another_one_was_there(world: World) {
    let one = Process::start(&world, "one").await;
    let before = one.store.processes().alive().await.expect("read")[0].started_at;
    let others_since =
        async |process: &Process, at| process.store.processes().others_since(at).await.expect("read");
    assert!(!others_since(&one, before + TimeDelta::hours(1)).await, "it is alone");
    let two = Process::start(&world, "two").await;
    assert!(others_since(&two, before + TimeDelta::milliseconds(1)).await, "the first one was there before");
    assert!(!others_since(&two, before).await, "it was not there yet");
    one.expire().await;
    assert!(!others_since(&two, before + TimeDelta::hours(1)).await, "it is dead");
}

async fn a_deleted_app_has_no_lease(world: World) {
    let one = Process::start(&world, "one").await;
    let app = one.store.new_app().await;
    one.store.leases().add_missing().await.expect("nothing is missing");
    assert_eq!(one.store.leases().count().await.expect("counted"), 1);
    one.store.apps().begin_deletion(app).await.expect("begun");
    assert!(one.store.leases().all().await.expect("read").is_empty());
    one.store.apps().delete_rows(app).await.expect("deleted");
    assert_eq!(one.store.leases().count().await.expect("counted"), 0);
}
