//! The processes and their leases, for administrators.

use chrono::{DateTime, Utc};
use cti_actors::error::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Cluster, LEASE};
use crate::store::cluster::{LeaseRow, ProcessRow};

/// The processes on the database, and which app each of them works on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClusterState {
    /// The processes that are alive, by name.
    pub(crate) processes: Vec<ProcessView>,
    /// The leases of all apps.
    pub(crate) leases: Vec<LeaseRow>,
}

/// A process that is alive.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProcessView {
    /// Its name: `PROCESS_ID`, or a random one for each start.
    pub(crate) process_id: String,
    /// The name of the host that it runs on.
    pub(crate) host: String,
    /// The version of the server.
    pub(crate) version: String,
    /// When it started.
    pub(crate) started_at: DateTime<Utc>,
    /// When it last renewed its leases.
    pub(crate) seen_at: DateTime<Utc>,
    /// How many apps it works on.
    pub(crate) apps: usize,
}

impl ProcessView {
    fn new(row: ProcessRow, leases: &[LeaseRow]) -> Self {
        let ProcessRow { process_id, host, version, started_at, seen_at, .. } = row;
        let apps = leases.iter().filter(|lease| lease.owner.as_ref() == Some(&process_id)).count();
        Self { process_id, host, version, started_at, seen_at, apps }
    }
}

impl Cluster {
    /// Returns the processes and the leases.
    pub(crate) async fn state(&self) -> Result<ClusterState, StoreError> {
        let mut processes = self.store.processes().alive().await?;
        let mut leases = self.store.leases().all().await?;
        if !self.is_shared() {
            // Nothing is renewed there, because nobody else could take anything.
            let now = self.store.now();
            processes.iter_mut().for_each(|process| process.seen_at = now);
            leases.iter_mut().for_each(|lease| lease.expires_at = lease.expires_at.map(|_| now + LEASE));
        }
        let processes = processes.into_iter().map(|row| ProcessView::new(row, &leases)).collect();
        Ok(ClusterState { processes, leases })
    }
}
