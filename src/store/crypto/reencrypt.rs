//! Re-encryption: replaces the encryption key while the server runs. With a new key configured before the old one, everything
//! that the old one sealed is sealed again, until the new one opens all. Nothing waits for it: a secret that is changed in
//! the meantime is skipped, because it was sealed with the new key.
//!
//! To add a column of sealed secrets: a line in [`COLUMNS`]. Secrets that live for minutes (the verifiers of authorizations)
//! are left to expire.

use cti_actors::{error::StoreError, id::AppId};
use uuid::Uuid;

use crate::store::{Reencryption, db::types::Id, idempotency, on_db};

/// How many rows are read, and changed in one transaction.
const PAGE: i64 = 200;

/// A column of secrets, one for each app, sealed for the place `TABLE.COLUMN:APP`.
struct Column {
    /// `TABLE.COLUMN`.
    name: &'static str,
    page: &'static str,
    /// Changes only what is still as it was read.
    swap: &'static str,
}

macro_rules! of_app {
    ($table:literal, $column:literal) => {
        Column {
            name: concat!($table, ".", $column),
            page: concat!(
                "SELECT app_id, ",
                $column,
                " FROM ",
                $table,
                " WHERE app_id > $1 AND ",
                $column,
                " IS NOT NULL ORDER BY app_id LIMIT $2"
            ),
            swap: concat!(
                "UPDATE ",
                $table,
                " SET ",
                $column,
                " = $3 WHERE app_id = $1 AND ",
                $column,
                " = $2"
            ),
        }
    };
}

const COLUMNS: [Column; 4] = [
    of_app!("dialpad_connections", "access_token"),
    of_app!("dialpad_connections", "refresh_token"),
    of_app!("dialpad_webhooks", "secret"),
    of_app!("dialpad_webhooks", "retired_secrets"),
];

const ANSWERS: &str = "SELECT scope, key, answer FROM idempotency_keys
    WHERE (scope, key) > ($1, $2) AND answer IS NOT NULL ORDER BY scope, key LIMIT $3";
const SWAP_ANSWER: &str =
    "UPDATE idempotency_keys SET answer = $4 WHERE scope = $1 AND key = $2 AND answer = $3";

/// The outcome of one pass over all secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reencrypted {
    /// Secrets that were sealed again.
    pub changed: u64,
    /// Secrets that no key opens.
    pub lost: u64,
}

impl Reencryption<'_> {
    /// Whether there are old keys.
    #[must_use]
    pub fn is_due(self) -> bool {
        self.store.shared.vault.has_old_keys()
    }

    /// Seals everything again that the first key does not open. When it fails, the next call continues.
    pub async fn run(self) -> Result<Reencrypted, StoreError> {
        let mut reencrypted = Reencrypted::default();
        for column in &COLUMNS {
            self.reencrypt_column(column, &mut reencrypted).await?;
        }
        self.reencrypt_answers(&mut reencrypted).await?;
        Ok(reencrypted)
    }

    async fn reencrypt_column(
        self,
        column: &Column,
        reencrypted: &mut Reencrypted,
    ) -> Result<(), StoreError> {
        let mut after = Id(Uuid::nil());
        loop {
            let page: Vec<(Id, Vec<u8>)> = on_db!(self.store, read db => {
                sqlx::query_as(column.page).bind(after).bind(PAGE).fetch_all(db).await
            })?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = *last;
            let changes: Vec<_> = page
                .iter()
                .filter_map(|(app, old)| {
                    let place = format!("{}:{}", column.name, AppId::from(*app));
                    Some((*app, old, self.reencrypt(old, &place, reencrypted)?))
                })
                .collect();
            if changes.is_empty() {
                continue;
            }
            reencrypted.changed += on_db!(self.store, write db => {
                let mut transaction = db.begin().await?;
                let mut changed = 0;
                for (app, old, new) in &changes {
                    let swapped = sqlx::query(column.swap).bind(app).bind(*old).bind(new)
                        .execute(&mut *transaction).await?;
                    changed += swapped.rows_affected();
                }
                transaction.commit().await?;
                Ok(changed)
            })?;
        }
    }

    async fn reencrypt_answers(self, reencrypted: &mut Reencrypted) -> Result<(), StoreError> {
        let mut after = (String::new(), String::new());
        loop {
            let page: Vec<(String, String, Vec<u8>)> = on_db!(self.store, read db => {
                sqlx::query_as(ANSWERS).bind(&after.0).bind(&after.1).bind(PAGE).fetch_all(db).await
            })?;
            let Some((scope, key, _)) = page.last() else { return Ok(()) };
            after = (scope.clone(), key.clone());
            let changes: Vec<_> = page
                .iter()
                .filter_map(|(scope, key, old)| {
                    let place = idempotency::place(scope, key);
                    Some((scope, key, old, self.reencrypt(old, &place, reencrypted)?))
                })
                .collect();
            if changes.is_empty() {
                continue;
            }
            reencrypted.changed += on_db!(self.store, write db => {
                let mut transaction = db.begin().await?;
                let mut changed = 0;
                for (scope, key, old, new) in &changes {
                    let swapped = sqlx::query(SWAP_ANSWER).bind(*scope).bind(*key).bind(*old).bind(new)
                        .execute(&mut *transaction).await?;
                    changed += swapped.rows_affected();
                }
                transaction.commit().await?;
                Ok(changed)
            })?;
        }
    }

    fn reencrypt(self, old: &[u8], place: &str, reencrypted: &mut Reencrypted) -> Option<Vec<u8>> {
        match self.store.shared.vault.reencrypt(old, place) {
            Ok(new) => new,
            Err(_) => {
                reencrypted.lost += 1;
                None
            }
        }
    }
}
