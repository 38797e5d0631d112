//! The server is killed or stopped, at random moments.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use tokio::time::sleep;

use crate::Failure;
use crate::trial::Trial;

/// How long a server runs at least and at most before the next kill.
const RUNS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(1_800));
/// How many of the starts are killed before the server listens.
const KILLED_STARTS: f64 = 0.2;
const MAX_START: Duration = Duration::from_millis(400);
/// After so many rounds the recovery is measured. In the others, the server is killed while it recovers.
const MEASURED_ROUND: u32 = 10;

pub(super) async fn kill(trial: &mut Trial) -> Result<(), Failure> {
    trial.begin_load();
    for round in 1..=trial.plan.kills {
        let moment = trial.moment(RUNS.0, RUNS.1);
        sleep(moment).await;
        trial.fault_begins();
        trial.kill_server()?;
        if trial.random.random_bool(KILLED_STARTS) {
            let mut starting = trial.site.spawn(&BTreeMap::new())?;
            let moment = trial.moment(Duration::ZERO, MAX_START);
            sleep(moment).await;
            starting.kill()?;
        }
        trial.start_server().await?;
        trial.fault_ends();
        if round % MEASURED_ROUND == 0 || round == trial.plan.kills {
            trial.recovers().await?;
        }
    }
    Ok(())
}

pub(super) async fn terminate(trial: &mut Trial) -> Result<(), Failure> {
    trial.begin_load();
    for round in 1..=trial.plan.kills {
        let moment = trial.moment(RUNS.0, RUNS.1);
        sleep(moment).await;
        trial.fault_begins();
        trial.stop_server().await?;
        trial.start_server().await?;
        trial.fault_ends();
        if round % MEASURED_ROUND == 0 || round == trial.plan.kills {
            trial.recovers().await?;
        }
    }
    Ok(())
}
