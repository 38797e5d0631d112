//! Which process does the periodic work that is done once for all.

use cti_actors::error::StoreError;

use crate::store::{JobLeases, on_db};

/// Whether this process has the job. No row: nobody has it, or a process that is dead or stops.
const IS_OWN: &str =
    "SELECT COALESCE(incarnation = $2, FALSE) FROM job_leases JOIN processes ON process_id = owner
    WHERE name = $1 AND NOT is_stopping AND expires_at > clock_timestamp()";
/// Takes a job that nobody has, or whose owner is dead.
const CLAIM: &str = "INSERT INTO job_leases (name, owner)
    SELECT $1, process_id FROM processes WHERE incarnation = $2 AND NOT is_stopping
    ON CONFLICT (name) DO UPDATE SET owner = EXCLUDED.owner
    WHERE job_leases.owner = EXCLUDED.owner
    OR job_leases.owner IN (SELECT process_id FROM processes WHERE expires_at <= clock_timestamp() OR is_stopping)
    RETURNING owner";

impl JobLeases<'_> {
    /// Whether this process is the one that does a job. It keeps the job for as long as it runs.
    pub async fn claim(self, job: &str) -> Result<bool, StoreError> {
        if !self.store.processes().are_shared() {
            return Ok(true);
        }
        let process = self.store.incarnation();
        // Asked at every tick: only a job that is free is worth a write.
        let is_own: Option<bool> = on_db!(self.store, read db => {
            sqlx::query_scalar(IS_OWN).bind(job).bind(process).fetch_optional(db).await
        })?;
        if let Some(is_own) = is_own {
            return Ok(is_own);
        }
        let owner: Option<String> = on_db!(self.store, write db => {
            sqlx::query_scalar(CLAIM).bind(job).bind(process).fetch_optional(db).await
        })?;
        Ok(owner.is_some())
    }
}
