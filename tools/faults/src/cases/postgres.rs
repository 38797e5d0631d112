//! PostgreSQL goes away, and comes back.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::postgres::Cluster;
use crate::process::Signal;
use crate::proxy::Proxy;
use crate::report::Row;
use crate::site::{Kind, Site};
use crate::trial::Trial;
use crate::{Case, Failure, Plan};

pub(super) const RECOVERY_TIMEOUT: Duration = Duration::from_secs(90);
/// How long the load runs before and after a fault.
pub(super) const CALM: (u64, u64) = (3, 700);
const ROUNDS: (u32, u32) = (5, 2);

/// Lets the load run undisturbed for a while.
pub(super) async fn calm(trial: &Trial) {
    sleep(trial.plan.time(CALM.0, CALM.1)).await;
}

pub(super) async fn stopped(trial: &mut Trial) -> Result<(), Failure> {
    trial.begin_load();
    calm(trial).await;
    trial.fault_begins();
    let began = Instant::now();
    trial.site.postgres()?.stop(Signal::INT).await?;
    sleep(trial.plan.time(60, 3_000)).await;
    trial.site.postgres()?.start().await?;
    trial.fault_ends();
    let away = began.elapsed();
    trial.recovers(RECOVERY_TIMEOUT).await?;
    trial.note(format!("away for {:.0} s", away.as_secs_f64()));
    let refusals = trial.tally().refusals();
    trial.expect(refusals == 0, &format!("{refusals} webhooks were answered 503 in spite of the spool"));
    calm(trial).await;
    Ok(())
}

pub(super) async fn restarted(trial: &mut Trial) -> Result<(), Failure> {
    stop_and_start(trial, &[Signal::INT]).await
}

pub(super) async fn killed(trial: &mut Trial) -> Result<(), Failure> {
    stop_and_start(trial, &[Signal::QUIT, Signal::KILL]).await
}

async fn stop_and_start(trial: &mut Trial, signals: &[Signal]) -> Result<(), Failure> {
    trial.begin_load();
    for round in 0..trial.plan.count(ROUNDS.0, ROUNDS.1) {
        calm(trial).await;
        trial.fault_begins();
        trial.site.postgres()?.stop(signals[round as usize % signals.len()]).await?;
        trial.site.postgres()?.start().await?;
        trial.fault_ends();
        trial.recovers(RECOVERY_TIMEOUT).await?;
    }
    Ok(())
}

pub(super) async fn frozen(trial: &mut Trial) -> Result<(), Failure> {
    trial.begin_load();
    for _ in 0..trial.plan.count(3, 1) {
        calm(trial).await;
        trial.fault_begins();
        trial.site.postgres()?.signal_all(Signal::STOP)?;
        sleep(trial.plan.time(10, 2_000)).await;
        trial.site.postgres()?.signal_all(Signal::CONT)?;
        trial.fault_ends();
        trial.recovers(RECOVERY_TIMEOUT).await?;
    }
    Ok(())
}

/// Runs a case in which the server reaches PostgreSQL through a proxy.
pub(super) async fn behind_a_proxy(case: Case, plan: &Plan, mut site: Site) -> Result<Row, Failure> {
    let proxy = Proxy::to(site.postgres()?.port).await?;
    site.set("DATABASE_URL", Cluster::url(proxy.port));
    let mut trial = Trial::start(plan, Kind::Postgres, site).await?;
    trial.begin_load();
    if case == Case::ConnectionsCut {
        cut(&mut trial, &proxy).await?
    } else {
        delayed(&mut trial, &proxy).await?
    }
    trial.finish(case.name()).await
}

async fn cut(trial: &mut Trial, proxy: &Proxy) -> Result<(), Failure> {
    for round in 0..trial.plan.count(40, 6) {
        let pause = trial.moment(Duration::from_millis(20), Duration::from_millis(700));
        sleep(pause).await;
        trial.fault_begins();
        if round % 2 == 0 {
            proxy.cut();
            proxy.mend();
        } else {
            trial.site.postgres()?.end_connections().await?;
        }
        trial.fault_ends();
    }
    trial.recovers(RECOVERY_TIMEOUT).await
}

async fn delayed(trial: &mut Trial, proxy: &Proxy) -> Result<(), Failure> {
    calm(trial).await;
    trial.fault_begins();
    proxy.delay(Duration::from_secs(5));
    sleep(trial.plan.time(30, 3_000)).await;
    proxy.delay(Duration::ZERO);
    trial.fault_ends();
    trial.recovers(RECOVERY_TIMEOUT).await
}
