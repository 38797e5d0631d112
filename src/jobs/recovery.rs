//! When each part of the recovery runs.

use super::periodic::{every, every_after, periodic, periodic_once};
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
    let store = || recovery.store.clone();
    let heartbeat = Heartbeat::new(recovery.clone());
    let ticks = every(heartbeat::INTERVAL);
    tasks.spawn(periodic("heartbeat", ticks, heartbeat, |heartbeat| Box::pin(heartbeat.beat())));

    let ticks = every_after(silence::interval(recovery.settings.webhook_silence));
    let find_silent =
        periodic("find silent apps", ticks, recovery.clone(), |recovery| Box::pin(silence::check(recovery)));
    tasks.spawn(find_silent);

    let recover =
        periodic_once(store(), "recover gaps", every(runner::INTERVAL), recovery.clone(), |recovery| {
            Box::pin(runner::recover_gaps(recovery))
        });
    tasks.spawn(recover);

    let drop_old =
        periodic_once(store(), "drop old gaps", every(runner::DROP_INTERVAL), recovery.clone(), |recovery| {
            Box::pin(runner::drop_old_gaps(recovery))
        });
    tasks.spawn(drop_old);

    // Not at once: the end of a call may be among the webhooks that the engine has yet to process.
    let ticks = every_after(overdue::interval(&recovery.settings));
    let calls = OverdueCalls::new(recovery.clone());
    tasks.spawn(periodic_once(store(), "find overdue calls", ticks, calls, |calls| Box::pin(calls.check())));
}
