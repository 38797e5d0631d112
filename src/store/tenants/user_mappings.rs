//! User mappings: what the CRM calls the users of Dialpad.
//!
//! Every event names its user, so the engine asks with every batch ([`cti_actors::ports::Ledger::crm_users`]); a cache
//! spares the database. A change empties it in the same breath, and another process's change is seen within a second.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{error::StoreError, event::schema::DialpadId, id::AppId};
use dashmap::DashMap;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::store::{
    UserMappings,
    db::{
        bulk::{Column, Rows},
        pool::Pools,
        types::Id,
    },
    ledger::LIST_TAIL,
    on_db,
    views::listing::{Cursor, Page},
};

const MAP_HEAD: &str = "INSERT INTO dialpad_user_mappings
    (id, app_id, dialpad_user_id, crm_user_id, created_at, updated_at)";
/// Said again, it is no change.
const MAP_TAIL: &str = "ON CONFLICT (app_id, dialpad_user_id) DO UPDATE SET
    updated_at = CASE WHEN dialpad_user_mappings.crm_user_id = EXCLUDED.crm_user_id
        THEN dialpad_user_mappings.updated_at ELSE EXCLUDED.updated_at END,
    crm_user_id = EXCLUDED.crm_user_id
    RETURNING id, dialpad_user_id, crm_user_id, created_at, updated_at";
/// `$2`: the mapping that the page before ended with, or the largest id.
const LIST: &str =
    "SELECT id, dialpad_user_id, crm_user_id, created_at, updated_at FROM dialpad_user_mappings
    WHERE app_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
const LIST_OF_CRM_USER: &str = "SELECT id, dialpad_user_id, crm_user_id, created_at, updated_at
    FROM dialpad_user_mappings WHERE app_id = $1 AND id < $2 AND crm_user_id = $4 ORDER BY id DESC LIMIT $3";
const BY_DIALPAD_USER: &str = "SELECT id, dialpad_user_id, crm_user_id, created_at, updated_at
    FROM dialpad_user_mappings WHERE app_id = $1 AND dialpad_user_id = $2";
/// A person of the CRM may be several users of Dialpad: the one who was mapped last.
const BY_CRM_USER: &str = "SELECT id, dialpad_user_id, crm_user_id, created_at, updated_at
    FROM dialpad_user_mappings WHERE app_id = $1 AND crm_user_id = $2 ORDER BY updated_at DESC, id DESC LIMIT 1";
const DELETE: &str = "DELETE FROM dialpad_user_mappings WHERE app_id = $1 AND id = $2";
const DELETE_OF_DIALPAD_USER: &str =
    "DELETE FROM dialpad_user_mappings WHERE app_id = $1 AND dialpad_user_id = $2";
const NAMES: &str = "SELECT dialpad_user_id, crm_user_id FROM dialpad_user_mappings
    WHERE app_id = $1 AND dialpad_user_id IN (";

/// How long a name is known without asking: how long another process's change may go unnoticed.
const CACHE_FOR: TimeDelta = TimeDelta::seconds(1);
/// When the cache is emptied; a matter of memory alone.
const CACHE_SIZE: usize = 50_000;

/// A user of Dialpad and the same person in the CRM.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct UserMapping {
    #[sqlx(rename = "id")]
    #[serde(rename = "id")]
    #[schema(value_type = Uuid)]
    mapping_id: Id,
    /// The user of Dialpad.
    #[schema(value_type = DialpadId)]
    pub dialpad_user_id: i64,
    /// What the CRM calls them.
    pub crm_user_id: String,
    /// When it was first said.
    pub created_at: DateTime<Utc>,
    /// When it last became another.
    pub updated_at: DateTime<Utc>,
}

impl UserMapping {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.mapping_id.0
    }
}

/// By what a mapping is found.
#[derive(Clone, Copy, Debug)]
pub enum MappingName {
    /// Our id of it.
    Ours(Uuid),
    /// The user of Dialpad.
    DialpadUser(i64),
}

/// Names that were looked up a moment ago, and users who had none.
#[derive(Default)]
pub(crate) struct NameCache {
    known: DashMap<(AppId, i64), Known>,
    /// Grows with every change to any mapping: what was read before a change is not cached after it.
    changes: AtomicU64,
}

#[derive(Clone)]
struct Known {
    name: Option<Arc<str>>,
    until: DateTime<Utc>,
}

impl NameCache {
    fn forget_all(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.known.clear();
    }
}

impl UserMappings<'_> {
    /// Says what the CRM calls these users of Dialpad, all of them or none. Gives the mappings in the order of the
    /// users, each of whom must be named once.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn map(self, app: AppId, users: &[(i64, String)]) -> Result<Vec<UserMapping>, StoreError> {
        let now = self.store.now();
        let rows = Rows::of(vec![
            Column::Id(users.iter().map(|_| Id(Uuid::now_v7())).collect()),
            Column::Id(users.iter().map(|_| Id::from(app)).collect()),
            Column::Int(users.iter().map(|(user, _)| *user).collect()),
            Column::Text(users.iter().map(|(_, name)| name.clone()).collect()),
            Column::Time(users.iter().map(|_| now).collect()),
            Column::Time(users.iter().map(|_| now).collect()),
        ]);
        let database = &self.store.shared.database;
        let work = async {
            match database.pools() {
                Pools::Postgres(pools) => {
                    rows.fetch_postgres::<UserMapping>(&mut *pools.write.acquire().await?, MAP_HEAD, MAP_TAIL)
                        .await
                }
                Pools::Sqlite(pools) => {
                    let mut transaction = pools.write.begin_with("BEGIN IMMEDIATE").await?;
                    let mapped =
                        rows.fetch_sqlite::<UserMapping>(&mut transaction, MAP_HEAD, MAP_TAIL).await?;
                    transaction.commit().await?;
                    Ok(mapped)
                }
            }
        };
        let mapped = database.in_time(Box::pin(work)).await;
        self.store.shared.names.forget_all();
        let mut by_user: HashMap<i64, UserMapping> =
            mapped?.into_iter().map(|mapping| (mapping.dialpad_user_id, mapping)).collect();
        Ok(users.iter().filter_map(|(user, _)| by_user.remove(user)).collect())
    }

    /// A page of an app's mappings, the newest first; of one person in the CRM, where one is named.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn list(
        self,
        app: AppId,
        crm_user_id: Option<&str>,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<UserMapping>, StoreError> {
        let (app, before) = (Id::from(app), Id(cursor.map_or(Uuid::max(), |cursor| cursor.id)));
        let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let found: Vec<UserMapping> = on_db!(self.store, read db => {
            match crm_user_id {
                Some(name) => {
                    sqlx::query_as(LIST_OF_CRM_USER).bind(app).bind(before).bind(one_more).bind(name).fetch_all(db).await
                }
                None => sqlx::query_as(LIST).bind(app).bind(before).bind(one_more).fetch_all(db).await,
            }
        })?;
        Ok(Page::of(found, limit, |mapping| Cursor { at: mapping.created_at, id: mapping.mapping_id.0 }))
    }

    /// The mapping of a user of Dialpad.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn of_dialpad_user(self, app: AppId, user: i64) -> Result<Option<UserMapping>, StoreError> {
        on_db!(self.store, read db => {
            sqlx::query_as(BY_DIALPAD_USER).bind(Id::from(app)).bind(user).fetch_optional(db).await
        })
    }

    /// The mapping of a person in the CRM: the one that was changed last, should there be several.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn of_crm_user(self, app: AppId, name: &str) -> Result<Option<UserMapping>, StoreError> {
        on_db!(self.store, read db => {
            sqlx::query_as(BY_CRM_USER).bind(Id::from(app)).bind(name).fetch_optional(db).await
        })
    }

    /// Deletes a mapping. Says whether there was one.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn delete(self, app: AppId, mapping: MappingName) -> Result<bool, StoreError> {
        let app = Id::from(app);
        let deleted = on_db!(self.store, write db => {
            let deleted = match mapping {
                MappingName::Ours(id) => sqlx::query(DELETE).bind(app).bind(Id(id)).execute(db).await,
                MappingName::DialpadUser(user) => {
                    sqlx::query(DELETE_OF_DIALPAD_USER).bind(app).bind(user).execute(db).await
                }
            };
            deleted.map(|done| done.rows_affected() > 0)
        });
        self.store.shared.names.forget_all();
        deleted
    }

    /// What the CRM calls these users of Dialpad, those of whom that is known.
    pub(crate) async fn crm_users(
        self,
        app: AppId,
        users: &[i64],
    ) -> Result<BTreeMap<i64, String>, StoreError> {
        let (now, cache) = (self.store.now(), &self.store.shared.names);
        let (mut names, mut unknown) = (BTreeMap::new(), Vec::new());
        for user in users {
            match cache.known.get(&(app, *user)).filter(|known| known.until > now) {
                Some(known) => names.extend(known.name.as_ref().map(|name| (*user, name.to_string()))),
                None => unknown.push(*user),
            }
        }
        if unknown.is_empty() {
            return Ok(names);
        }
        let changes = cache.changes.load(Ordering::SeqCst);
        let found: Vec<(i64, String)> =
            self.store.fetch_named(NAMES, LIST_TAIL, app, Column::Int(unknown.clone())).await?;
        let found: HashMap<i64, String> = found.into_iter().collect();
        if cache.known.len() >= CACHE_SIZE {
            cache.known.clear();
        }
        for user in &unknown {
            let name = found.get(user).map(|name| Arc::from(name.as_str()));
            cache.known.insert((app, *user), Known { name, until: now + CACHE_FOR });
        }
        if cache.changes.load(Ordering::SeqCst) != changes {
            // Something was changed between the look-up and the insert; it may have been one of these.
            for user in &unknown {
                cache.known.remove(&(app, *user));
            }
        }
        names.extend(found);
        Ok(names)
    }
}
