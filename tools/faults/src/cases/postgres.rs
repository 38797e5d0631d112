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

const ROUNDS: (u32, u32) = (5, 2);

pub(super) async fn stopped(trial: &mut Trial) -> Result<(), Failure> {
    trial.begin_load();
    trial
        .rounds(1, async |trial, _| {
            let began = Instant::now();
            trial.site.postgres()?.stop(Signal::INT).await?;
            sleep(trial.plan.time(60, 3_000)).await;
            trial.site.postgres()?.start().await?;
            trial.note(format!("away for {:.0} s", began.elapsed().as_secs_f64()));
            Ok(())
        })
        .await?;
    let refusals = trial.tally().refusals();
    trial.expect(refusals == 0, &format!("{refusals} webhooks were answered 503 in spite of the spool"));
    trial.calm().await;
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
    let rounds = trial.plan.count(ROUNDS.0, ROUNDS.1);
    trial
        .rounds(rounds, async |trial, round| {
            trial.site.postgres()?.stop(signals[round as usize % signals.len()]).await?;
            trial.site.postgres()?.start().await
        })
        .await
}

pub(super) async fn frozen(trial: &mut Trial) -> Result<(), Failure> {
    trial.begin_load();
    let rounds = trial.plan.count(3, 1);
    trial
        .rounds(rounds, async |trial, _| {
            trial.site.postgres()?.signal_all(Signal::STOP)?;
            sleep(trial.plan.time(10, 2_000)).await;
            trial.site.postgres()?.signal_all(Signal::CONT)
        })
        .await
}

/// Runs a case in which the server reaches PostgreSQL through a proxy.
pub(super) async fn behind_a_proxy(
    case: Case,
    plan: &Plan,
    fault: impl AsyncFnOnce(&mut Trial, &Proxy) -> Result<(), Failure>,
) -> Result<Row, Failure> {
    let mut site = Site::create(plan, Kind::Postgres).await?;
    let proxy = Proxy::to(site.postgres()?.port).await?;
    site.set("DATABASE_URL", Cluster::url(proxy.port));
    let mut trial = Trial::start(plan, Kind::Postgres, site).await?;
    trial.begin_load();
    fault(&mut trial, &proxy).await?;
    trial.finish(case.name()).await
}

pub(super) async fn cut(trial: &mut Trial, proxy: &Proxy) -> Result<(), Failure> {
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
    trial.recovers().await
}

pub(super) async fn delayed(trial: &mut Trial, proxy: &Proxy) -> Result<(), Failure> {
    trial
        .rounds(1, async |trial, _| {
            proxy.delay(Duration::from_secs(5));
            sleep(trial.plan.time(30, 3_000)).await;
            proxy.delay(Duration::ZERO);
            Ok(())
        })
        .await
}
