//! Whether what is committed survives a crash, and whether this server is the only one that writes.

use cti_actors::error::StoreError;
use sqlx::Row;

use super::{
    errors::store_error,
    pool::{Database, Pools},
};
use crate::store::Store;

/// Settings of PostgreSQL without which a commit can be lost or a page torn, and the value that they need.
pub(in crate::store) const NEEDED: [(&str, &str, &str); 3] = [
    ("fsync", "SHOW fsync", "on"),
    ("full_page_writes", "SHOW full_page_writes", "on"),
    ("synchronous_commit", "SHOW synchronous_commit", "on"),
];

impl Store {
    /// Makes this store the only one of a server on its file of SQLite, until it is dropped. Several servers may share a
    /// PostgreSQL database.
    ///
    /// # Errors
    /// `Unusable`: another server has the file.
    pub fn claim(&self) -> Result<(), StoreError> {
        self.shared.database.claim()
    }

    /// Names the settings of the database that put acknowledged webhooks at risk when it crashes, each with the change to
    /// make.
    pub async fn durability_problems(&self) -> Result<Vec<String>, StoreError> {
        self.shared.database.durability_problems().await
    }
}

impl Database {
    fn claim(&self) -> Result<(), StoreError> {
        if let Some(file) = self.file() {
            let _ = self.lock.set(file.claim()?);
        }
        Ok(())
    }

    async fn durability_problems(&self) -> Result<Vec<String>, StoreError> {
        let Pools::Postgres(pools) = self.pools() else { return Ok(Vec::new()) };
        let mut problems = Vec::new();
        // As a unit of work does, which sets the last one for itself.
        let mut transaction = pools.write.begin().await.map_err(store_error)?;
        for (name, question, needed) in NEEDED {
            let answer = sqlx::raw_sql(question).fetch_one(&mut *transaction).await;
            let found: String = answer.and_then(|row| row.try_get(0)).map_err(store_error)?;
            if found != needed {
                problems.push(format!(
                    "PostgreSQL's {name} is {found}; set {name} = {needed} in postgresql.conf"
                ));
            }
        }
        transaction.rollback().await.map_err(store_error)?;
        Ok(problems)
    }
}
