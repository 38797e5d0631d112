//! Measures the bare server of [`bare_server`](super::bare_server), beside the server under test, with the same load.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Failure;
use super::cpu::{CpuMeter, CpuPerWebhook};
use super::events::Phase;
use super::http::RequestDeck;
use super::load::closed_loop;
use super::scratch::{Database, Scratch, remove_sqlite};
use super::server::{WEBHOOK_SECRET, start_listener};
use super::stats::{per_second, ratio};

/// What is reachable.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Ceiling {
    /// Webhooks per second that the bare server acknowledged.
    pub per_s: f64,
    /// CPU time of the bare server and its database.
    pub cpu: Option<CpuPerWebhook>,
}

impl Ceiling {
    /// Posts webhooks to the bare server for `time`, on the server's disk or in its database.
    pub(crate) async fn measure(
        scratch: &Scratch,
        connections: u32,
        time: Duration,
    ) -> Result<Self, Failure> {
        let database_url = match &scratch.database {
            Database::Sqlite(path) => {
                let path = Database::ceiling_file(path);
                remove_sqlite(&path)?;
                format!("sqlite://{}", path.display())
            }
            Database::Postgres { own, .. } => own.to_string(),
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "--bare-server", WEBHOOK_SECRET]).env("DATABASE_URL", database_url);
        let (process, addr) = start_listener(command, &scratch.folder.path, "ceiling.log").await?;

        let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let calls = seconds.saturating_mul(super::SIGNED_PER_SECOND) / Phase::ALL.len() as u32;
        let deck = Arc::new(RequestDeck::sign(addr, "ceiling", WEBHOOK_SECRET, calls));
        let meter = CpuMeter::start(process.id(), &scratch.database).await?;
        let posted = closed_loop(deck, &Phase::ALL, connections, time).await?;
        let cpu = meter.stop(posted.count).await?;
        tokio::task::spawn_blocking(move || drop(process)).await?;
        if posted.refusals() > 0 {
            return Err(format!("the bare server refused webhooks: {:?}", posted.refused).into());
        }
        Ok(Self { per_s: per_second(posted.count, posted.last_answer - posted.first_send), cpu })
    }
}

/// A measure beside what is reachable.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct BesideCeiling {
    /// CPU time of the server and its database.
    pub cpu: Option<CpuPerWebhook>,
    /// The bare server with the same load. It delivers nothing.
    pub ceiling: Ceiling,
    /// The rate of the measure as a ratio to the ceiling's.
    pub ceiling_ratio: f64,
    /// `cpu` as a ratio to the ceiling's.
    pub cpu_ratio: Option<f64>,
}

impl BesideCeiling {
    pub(crate) fn of(per_s: f64, cpu: Option<CpuPerWebhook>, ceiling: Ceiling) -> Self {
        Self {
            cpu,
            ceiling,
            ceiling_ratio: ratio(per_s, ceiling.per_s),
            cpu_ratio: cpu.zip(ceiling.cpu).map(|(cpu, ceiling)| ratio(cpu.us, ceiling.us)),
        }
    }
}
