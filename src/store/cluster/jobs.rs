//! Which process does the periodic work that is done once for all.

use cti_actors::error::StoreError;

use crate::store::{JobLeases, on_db};

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
        let owner: Option<String> = on_db!(self.store, write db => {
            sqlx::query_scalar(CLAIM).bind(job).bind(process).fetch_optional(db).await
        })?;
        Ok(owner.is_some())
    }
}
