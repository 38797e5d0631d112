//! Apps: the tenants.

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::AppId};
use uuid::Uuid;

use super::{
    Store,
    keys::{self, NewKey},
    on_db,
    types::Id,
};

const INSERT: &str =
    "INSERT INTO apps (id, name, is_active, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)";
const INSERT_FEED: &str = "INSERT INTO event_feeds (app_id) VALUES ($1)";
const GET: &str = "SELECT id, name, is_active, created_at, updated_at FROM apps WHERE id = $1";

/// A tenant.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct App {
    #[sqlx(rename = "id")]
    app_id: Id,
    /// Its name, for people.
    pub name: String,
    /// Whether it may use the server.
    pub is_active: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl App {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> AppId {
        self.app_id.into()
    }
}

impl Store {
    /// Makes an app with its first key.
    ///
    /// # Errors
    /// The database could not be asked; there is no app then.
    pub async fn create_app(&self, name: &str, key: &NewKey) -> Result<App, StoreError> {
        let now = self.now();
        let id = Id::from(AppId::generate());
        let (key_id, audit_id) = (Id::from(key.id), Id(Uuid::now_v7()));
        on_db!(self, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
                sqlx::query(INSERT).bind(id).bind(name).bind(true).bind(now).execute(&mut *db).await?;
                sqlx::query(INSERT_FEED).bind(id).execute(&mut *db).await?;
                sqlx::query(keys::INSERT).bind(key_id).bind(id).bind(key.hash()).bind(key.hint()).bind(now)
                    .execute(&mut *db).await?;
                sqlx::query(keys::AUDIT).bind(audit_id).bind(id).bind("created").bind(None::<String>).bind(key.hint()).bind(now).execute(&mut *db).await?;
            transaction.commit().await
        })?;
        Ok(App { app_id: id, name: name.to_owned(), is_active: true, created_at: now, updated_at: now })
    }

    /// An app.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn app(&self, id: AppId) -> Result<Option<App>, StoreError> {
        on_db!(self, read db => sqlx::query_as(GET).bind(Id::from(id)).fetch_optional(db).await)
    }
}
