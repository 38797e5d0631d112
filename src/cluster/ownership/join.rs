//! How a process becomes one of those that run.

use std::time::Duration;

use cti_actors::error::StoreError;
use thiserror::Error;
use tokio::time::sleep;
use tracing::info;

use super::{LEASE, identity};
use crate::store::{
    Store,
    cluster::{NewProcess, Registered},
};

/// How often it is tried while an earlier process with the same name may be alive.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// A process that is one of those that run.
pub(crate) struct Membership {
    pub(super) process: NewProcess,
}

/// Why a process can't be one of those that run.
#[derive(Debug, Error)]
pub enum JoinError {
    /// Another one has its name.
    #[error("PROCESS_ID: another process is called {0} and runs; give each process a name of its own")]
    NameTaken(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Registers this process. A process with its name that was killed is waited for until its lease ends; one that still
/// renews its lease refuses the name.
///
/// # Errors
/// See [`JoinError`].
pub(crate) async fn join(store: &Store, name: Option<&str>) -> Result<Membership, JoinError> {
    let process = identity::this_process(name);
    let mut seen = None;
    loop {
        let (incarnation, machine, pid, seen_at) = match store.processes().register(&process, LEASE).await? {
            Registered::Done => break,
            Registered::NameTaken { incarnation, machine, pid, seen_at } => {
                (incarnation, machine, pid, seen_at)
            }
        };
        if identity::is_gone(&process, &machine, pid) {
            store.processes().expire(incarnation).await?;
            continue;
        }
        match seen.replace((incarnation, seen_at)) {
            None => info!(
                process = process.process_id,
                "waiting for the lease of an earlier process with this name"
            ),
            Some(before) if before == (incarnation, seen_at) => {}
            Some(_) => return Err(JoinError::NameTaken(process.process_id)),
        }
        sleep(RETRY_INTERVAL).await;
    }
    if !store.processes().are_shared() {
        store.leases().add_missing().await?;
        store.leases().take_all().await?;
    }
    info!(process = process.process_id, host = process.host, "this process is one of those on the database");
    Ok(Membership { process })
}
