//! User mappings: the CRM's ids of Dialpad users.
//!
//! Every event names its user, so the engine asks with every batch ([`cti_actors::ports::Ledger::crm_users`]); a cache
//! saves the query. A change empties the cache in the same call, and a change by another process is seen within a
//! second.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use cti_actors::{clock::new_uuid, error::StoreError, event::schema::DialpadId, id::AppId};
use moka::sync::Cache;
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
    lookups::{Lookup, Lookups},
    on_db,
    views::listing::{Cursor, Page},
};

const MAP_HEAD: &str = "INSERT INTO dialpad_user_mappings
    (id, app_id, dialpad_user_id, crm_user_id, created_at, updated_at)";
/// The same mapping again is no change.
const MAP_TAIL: &str = "ON CONFLICT (app_id, dialpad_user_id) DO UPDATE SET
    updated_at = CASE WHEN dialpad_user_mappings.crm_user_id = EXCLUDED.crm_user_id
        THEN dialpad_user_mappings.updated_at ELSE EXCLUDED.updated_at END,
    crm_user_id = EXCLUDED.crm_user_id
    RETURNING id, dialpad_user_id, crm_user_id, created_at, updated_at";
/// `$2`: the last mapping of the page before, or the largest id.
const LIST: &str =
    "SELECT id, dialpad_user_id, crm_user_id, created_at, updated_at FROM dialpad_user_mappings
    WHERE app_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
const LIST_OF_CRM_USER: &str = "SELECT id, dialpad_user_id, crm_user_id, created_at, updated_at
    FROM dialpad_user_mappings WHERE app_id = $1 AND id < $2 AND crm_user_id = $4 ORDER BY id DESC LIMIT $3";
const BY_DIALPAD_USER: &str = "SELECT id, dialpad_user_id, crm_user_id, created_at, updated_at
    FROM dialpad_user_mappings WHERE app_id = $1 AND dialpad_user_id = $2";
/// A CRM user may be mapped to several Dialpad users: the one that was mapped last.
const BY_CRM_USER: &str = "SELECT id, dialpad_user_id, crm_user_id, created_at, updated_at
    FROM dialpad_user_mappings WHERE app_id = $1 AND crm_user_id = $2 ORDER BY updated_at DESC, id DESC LIMIT 1";
const DELETE: &str = "DELETE FROM dialpad_user_mappings WHERE app_id = $1 AND id = $2";
const DELETE_OF_DIALPAD_USER: &str =
    "DELETE FROM dialpad_user_mappings WHERE app_id = $1 AND dialpad_user_id = $2";
/// The rows are apps and users.
const CRM_USERS_HEAD: &str = "WITH named (app_id, dialpad_user_id) AS (";
const CRM_USERS_TAIL: &str = ") SELECT m.app_id, m.dialpad_user_id, m.crm_user_id
    FROM named CROSS JOIN dialpad_user_mappings m
    WHERE m.app_id = named.app_id AND m.dialpad_user_id = named.dialpad_user_id";

/// How long a mapping is cached: how long a change by another process may go unnoticed.
const CACHE_TTL: Duration = Duration::from_secs(1);
/// How many mappings are cached.
const MAX_CACHED: u64 = 50_000;

/// A Dialpad user and the same person in the CRM.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct UserMapping {
    /// The server's id.
    #[sqlx(try_from = "Id")]
    pub id: Uuid,
    /// The Dialpad user.
    #[schema(value_type = DialpadId)]
    pub dialpad_user_id: i64,
    /// The CRM's id of that user.
    pub crm_user_id: String,
    /// When the user was first mapped.
    pub created_at: DateTime<Utc>,
    /// When the mapping last changed.
    pub updated_at: DateTime<Utc>,
}

/// What a URL calls a mapping.
#[derive(Clone, Copy, Debug)]
pub enum MappingRef {
    /// The server's id.
    Ours(Uuid),
    /// The Dialpad user.
    DialpadUser(i64),
}

/// Mappings that were looked up a moment ago; `None` for users who have none.
pub(crate) struct MappingCache {
    crm_users: Cache<(AppId, i64), Option<Arc<str>>>,
    lookups: Lookups<(AppId, i64), String>,
    /// Grows with every change to any mapping: what was read before a change is not cached after it.
    changes: AtomicU64,
}

impl Default for MappingCache {
    fn default() -> Self {
        Self {
            crm_users: Cache::builder().max_capacity(MAX_CACHED).time_to_live(CACHE_TTL).build(),
            lookups: Lookups::default(),
            changes: AtomicU64::default(),
        }
    }
}

static LOOKUP: Lookup<(AppId, i64), String> = Lookup {
    lookups: |shared| &shared.mappings.lookups,
    read: |store, named| {
        Box::pin(async move {
            let apps = Column::Id(named.iter().map(|(app, _)| Id::from(*app)).collect());
            let users = Column::Int(named.iter().map(|(_, user)| *user).collect());
            let named = Rows::of(vec![apps, users]);
            let rows: Vec<(Id, i64, String)> =
                store.fetch_listed(CRM_USERS_HEAD, CRM_USERS_TAIL, named).await?;
            Ok(rows.into_iter().map(|(app, user, crm_user)| ((app.into(), user), crm_user)).collect())
        })
    },
};

impl MappingCache {
    fn clear(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.crm_users.invalidate_all();
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Caches the users that were looked up when there had been so many changes.
    fn insert(&self, app: AppId, users: &[i64], found: &HashMap<i64, String>, changes: u64) {
        for user in users {
            let crm_user = found.get(user).map(|crm_user| Arc::from(crm_user.as_str()));
            self.crm_users.insert((app, *user), crm_user);
        }
        if self.changes() != changes {
            // A mapping was changed between the look-up and the insert; it may have been one of these.
            for user in users {
                self.crm_users.invalidate(&(app, *user));
            }
        }
    }
}

impl UserMappings<'_> {
    /// Maps these Dialpad users, all of them or none. Each must be named once. Returns the mappings in the same order.
    pub async fn map(self, app: AppId, users: &[(i64, String)]) -> Result<Vec<UserMapping>, StoreError> {
        let now = self.store.now();
        let rows = Rows::of(vec![
            Column::Id(users.iter().map(|_| Id(new_uuid())).collect()),
            Column::Id(users.iter().map(|_| Id::from(app)).collect()),
            Column::Int(users.iter().map(|(user, _)| *user).collect()),
            Column::Text(users.iter().map(|(_, crm_user)| crm_user.clone()).collect()),
            Column::Time(users.iter().map(|_| now).collect()),
            Column::Time(users.iter().map(|_| now).collect()),
        ]);
        let database = &self.store.shared.database;
        let work = async {
            match database.pools() {
                Pools::Postgres(pools) => {
                    let mut db = pools.write.acquire().await?;
                    let mapped = rows.fetch_postgres::<UserMapping>(&mut db, MAP_HEAD, MAP_TAIL).await?;
                    db.done().await?;
                    Ok(mapped)
                }
                Pools::Sqlite(pools) => {
                    let mut transaction = pools.write.begin().await?;
                    let mapped =
                        rows.fetch_sqlite::<UserMapping>(&mut transaction, MAP_HEAD, MAP_TAIL).await?;
                    transaction.commit().await?;
                    Ok(mapped)
                }
            }
        };
        let mapped = database.in_time(Box::pin(work)).await;
        self.store.shared.mappings.clear();
        let mut by_user: HashMap<i64, UserMapping> =
            mapped?.into_iter().map(|mapping| (mapping.dialpad_user_id, mapping)).collect();
        Ok(users.iter().filter_map(|(user, _)| by_user.remove(user)).collect())
    }

    /// Returns a page of an app's mappings, newest first; only those of one CRM user, where one is named.
    pub async fn list(
        self,
        app: AppId,
        crm_user_id: Option<&str>,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<UserMapping>, StoreError> {
        let app = Id::from(app);
        let before = Id(cursor.map_or(Uuid::max(), |cursor| cursor.id));
        let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let mappings: Vec<UserMapping> = on_db!(self.store, read db => {
            match crm_user_id {
                Some(user) => {
                    sqlx::query_as(LIST_OF_CRM_USER).bind(app).bind(before).bind(one_more).bind(user).fetch_all(db).await
                }
                None => sqlx::query_as(LIST).bind(app).bind(before).bind(one_more).fetch_all(db).await,
            }
        })?;
        Ok(Page::of(mappings, limit, |mapping| Cursor { at: mapping.created_at, id: mapping.id }))
    }

    /// Returns the mapping of a Dialpad user.
    pub async fn of_dialpad_user(self, app: AppId, user: i64) -> Result<Option<UserMapping>, StoreError> {
        on_db!(self.store, read db => {
            sqlx::query_as(BY_DIALPAD_USER).bind(Id::from(app)).bind(user).fetch_optional(db).await
        })
    }

    /// Returns the mapping of a CRM user; the one that changed last, if there are several.
    pub async fn of_crm_user(self, app: AppId, crm_user: &str) -> Result<Option<UserMapping>, StoreError> {
        on_db!(self.store, read db => {
            sqlx::query_as(BY_CRM_USER).bind(Id::from(app)).bind(crm_user).fetch_optional(db).await
        })
    }

    /// Deletes a mapping. Returns whether there was one.
    pub async fn delete(self, app: AppId, mapping: MappingRef) -> Result<bool, StoreError> {
        let app = Id::from(app);
        let deleted = on_db!(self.store, write db => {
            let deleted = match mapping {
                MappingRef::Ours(id) => sqlx::query(DELETE).bind(app).bind(Id(id)).execute(db).await,
                MappingRef::DialpadUser(user) => {
                    sqlx::query(DELETE_OF_DIALPAD_USER).bind(app).bind(user).execute(db).await
                }
            };
            deleted.map(|done| done.rows_affected() > 0)
        });
        self.store.shared.mappings.clear();
        deleted
    }

    /// Returns the CRM's ids of these Dialpad users. Users without a mapping are left out.
    pub(crate) async fn crm_users(
        self,
        app: AppId,
        users: &[i64],
    ) -> Result<BTreeMap<i64, String>, StoreError> {
        let cache = &self.store.shared.mappings;
        let mut crm_users = BTreeMap::new();
        let mut unknown = Vec::new();
        for user in users {
            match cache.crm_users.get(&(app, *user)) {
                Some(cached) => crm_users.extend(cached.map(|crm_user| (*user, crm_user.to_string()))),
                None => unknown.push(*user),
            }
        }
        if unknown.is_empty() {
            return Ok(crm_users);
        }
        let changes = cache.changes();
        let named = unknown.iter().map(|user| (app, *user)).collect();
        let found = self.store.look_up(&LOOKUP, named).await?;
        let found: HashMap<i64, String> =
            found.into_iter().map(|((_, user), crm_user)| (user, crm_user)).collect();
        cache.insert(app, &unknown, &found, changes);
        crm_users.extend(found);
        Ok(crm_users)
    }
}
