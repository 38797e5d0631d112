//! When each part of the recovery runs.

use super::periodic::{every, every_after, periodic};
use crate::{
    recovery::{
        Recovery,
        heartbeat::{self, Heartbeat},
        overdue::{self, OverdueCalls},
        runner, silence,
    },
    tasks::Tasks,
};

/// Starts the recovery. The server must be listening by now: the time until now is what it missed.
pub(super) fn start(tasks: &Tasks, recovery: &Recovery) {
    tasks.spawn(run_heartbeat(recovery.clone()));
    tasks.spawn(run_silence(recovery.clone()));
    tasks.spawn(run_gaps(recovery.clone()));
    tasks.spawn(run_drop_old_gaps(recovery.clone()));
    tasks.spawn(run_overdue(recovery.clone()));
}

async fn run_heartbeat(recovery: Recovery) {
    let mut heartbeat = Heartbeat::new(recovery);
    periodic("heartbeat", every(heartbeat::INTERVAL), async || heartbeat.beat().await).await;
}

async fn run_silence(recovery: Recovery) {
    let interval = silence::interval(recovery.settings.webhook_silence);
    periodic("find silent apps", every_after(interval), async || silence::check(&recovery).await).await;
}

async fn run_gaps(recovery: Recovery) {
    periodic("recover gaps", every(runner::INTERVAL), async || runner::recover_gaps(&recovery).await).await;
}

async fn run_drop_old_gaps(recovery: Recovery) {
    let drop_old = async || runner::drop_old_gaps(&recovery).await;
    periodic("drop old gaps", every(runner::DROP_INTERVAL), drop_old).await;
}

async fn run_overdue(recovery: Recovery) {
    // Not at once: the end of a call may be among the webhooks that the engine has yet to process.
    let ticks = every_after(overdue::interval(&recovery.settings));
    let mut calls = OverdueCalls::new(recovery);
    periodic("find overdue calls", ticks, async || calls.check().await).await;
}
