//! PostgreSQL answers, but not as it should.

use std::time::Duration;

use sqlx::Connection;
use tokio::time::sleep;

use crate::Failure;
use crate::postgres::ROLE;
use crate::trial::Trial;

pub(super) async fn one_connection(trial: &mut Trial) -> Result<(), Failure> {
    trial.begin_load();
    trial
        .rounds(1, async |trial, _| {
            trial.site.postgres()?.set_default("CONNECTION LIMIT 1").await?;
            sleep(trial.plan.time(20, 2_000)).await;
            trial.site.postgres()?.admin(&format!("ALTER ROLE {ROLE} CONNECTION LIMIT -1")).await
        })
        .await
}

pub(super) async fn read_only(trial: &mut Trial) -> Result<(), Failure> {
    trial.begin_load();
    trial
        .rounds(1, async |trial, _| {
            trial.site.postgres()?.set_default("SET default_transaction_read_only = on").await?;
            sleep(trial.plan.time(20, 2_000)).await;
            // Also those who were connected before may go on.
            let reset = format!("ALTER ROLE {ROLE} RESET default_transaction_read_only");
            trial.site.postgres()?.admin(&reset).await
        })
        .await
}

pub(super) async fn statement_timeout(trial: &mut Trial) -> Result<(), Failure> {
    trial.site.postgres()?.set_default("SET statement_timeout = '200ms'").await?;
    trial.begin_load();
    let rounds = trial.plan.count(6, 2);
    trial
        .rounds(rounds, async |trial, round| {
            let table = ["calls", "webhook_events", "events"][round as usize % 3];
            let mut session = trial.site.postgres()?.session().await?;
            let mut lock = session.begin().await?;
            let statement = format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *lock).await?;
            sleep(trial.plan.time(4, 1_000)).await;
            Ok(lock.rollback().await?)
        })
        .await
}

/// Rows of the feed, of calls and of the journal are locked by another session, and every transaction of the server must
/// be serializable: the ones that wait for such a lock fail with 40001.
pub(super) async fn serialization(trial: &mut Trial) -> Result<(), Failure> {
    trial.site.postgres()?.set_default("SET default_transaction_isolation = 'serializable'").await?;
    trial.begin_load();
    for round in 0..trial.plan.count(20, 4) {
        let pause = trial.moment(Duration::from_millis(50), Duration::from_millis(800));
        sleep(pause).await;
        trial.fault_begins();
        let mut session = trial.site.postgres()?.session().await?;
        let mut lock = session.begin().await?;
        let statement = if round % 2 == 0 {
            // A change that is committed: what waited for it can't be serialized.
            "UPDATE event_feeds SET app_id = app_id"
        } else {
            "SELECT 1 FROM calls ORDER BY updated_at DESC LIMIT 50 FOR UPDATE"
        };
        sqlx::raw_sql(statement).execute(&mut *lock).await?;
        let held = trial.moment(Duration::from_millis(50), Duration::from_millis(1_500));
        sleep(held).await;
        lock.commit().await?;
        trial.fault_ends();
    }
    trial.recovers().await
}
