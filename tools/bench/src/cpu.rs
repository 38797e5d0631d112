//! CPU time that a server and its database take, from `/proc`. Linux only.

use std::collections::HashMap;
use std::fs;

use serde::Serialize;
use sqlx::{Connection, PgConnection};

use super::Failure;
use super::scratch::Database;
use super::stats::ratio;

/// CPU time per webhook, in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CpuPerWebhook {
    /// Of the server and its database together.
    pub us: f64,
    /// Of the database alone, where it is processes of this machine.
    pub database_us: Option<f64>,
}

/// Measures what a server and its database take.
pub(crate) struct CpuMeter<'d> {
    server: u32,
    database: &'d Database,
    /// `None` where the system does not report it.
    began: Option<CpuReading>,
}

impl<'d> CpuMeter<'d> {
    pub(crate) async fn start(server: u32, database: &'d Database) -> Result<Self, Failure> {
        Ok(Self { server, database, began: CpuReading::take(server, database).await? })
    }

    /// Returns what was taken since the start for so many webhooks; `None` where the system does not report it.
    pub(crate) async fn stop(self, webhooks: u64) -> Result<Option<CpuPerWebhook>, Failure> {
        let ended = CpuReading::take(self.server, self.database).await?;
        Ok(self.began.zip(ended).map(|(began, ended)| ended.since(&began, webhooks)))
    }
}

/// The CPU time that processes had taken at some instant.
struct CpuReading {
    server: u64,
    /// By process, where the database has processes of its own.
    database: HashMap<u32, u64>,
}

impl CpuReading {
    /// Reads the times of a server and of its database; `None` if the system does not report them.
    async fn take(server: u32, database: &Database) -> Result<Option<Self>, Failure> {
        let Some(server) = ticks(server) else { return Ok(None) };
        let processes = match database {
            Database::Sqlite(_) => Vec::new(),
            Database::Postgres { own, .. } => {
                let mut connection = PgConnection::connect(own.as_str()).await?;
                let of_cluster = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
                let processes: Vec<i32> = sqlx::query_scalar(of_cluster).fetch_all(&mut connection).await?;
                connection.close().await?;
                processes
            }
        };
        let ours = processes.into_iter().filter_map(|process| u32::try_from(process).ok());
        let database = ours.filter(|process| is_postgres(*process));
        Ok(Some(Self { server, database: database.filter_map(|it| Some((it, ticks(it)?))).collect() }))
    }

    /// Returns what was taken since an earlier reading. Processes of the database that ended meanwhile are not counted.
    fn since(&self, earlier: &Self, webhooks: u64) -> CpuPerWebhook {
        let per_webhook = |ticks: u64| {
            let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
            ratio(seconds * 1e6, webhooks as f64)
        };
        let taken = |(process, ticks): (&u32, &u64)| {
            ticks.saturating_sub(earlier.database.get(process).copied().unwrap_or(0))
        };
        let database = self.database.iter().map(taken).sum();
        CpuPerWebhook {
            us: per_webhook(self.server.saturating_sub(earlier.server) + database),
            database_us: (!self.database.is_empty()).then(|| per_webhook(database)),
        }
    }
}

/// A process of PostgreSQL on this machine, and not one of this number here while the database is elsewhere.
fn is_postgres(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.starts_with("postgres"))
}

/// Returns the time of all threads of a process, in clock ticks.
fn ticks(process: u32) -> Option<u64> {
    ticks_in(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// Adds `utime` and `stime`, fields 14 and 15 of `/proc/PID/stat` (proc(5)). The name, field 2, is in parentheses and may
/// hold spaces.
fn ticks_in(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_process_is_its_user_and_its_system_time() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 900 0 0 0 17 5 0 0 20 0 9 0 100 1000 10";
        assert_eq!(ticks_in(stat), Some(22));
        assert_eq!(ticks_in("42 (a) S 1"), None);
    }

    #[test]
    fn time_is_counted_per_webhook_and_since_an_earlier_reading() {
        let hz = rustix::param::clock_ticks_per_second();
        let earlier = CpuReading { server: 3 * hz, database: HashMap::from([(7, hz)]) };
        let later = CpuReading { server: 4 * hz, database: HashMap::from([(7, 2 * hz), (8, hz)]) };
        let cpu = later.since(&earlier, 1_000_000);
        assert!((cpu.us - 3.0).abs() < 1e-9);
        assert!((cpu.database_us.unwrap() - 2.0).abs() < 1e-9);
    }
}
