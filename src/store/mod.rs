//! The store: everything durable, on PostgreSQL or SQLite. A URL decides at start-up which one; nothing outside this
//! room knows it.
//!
//! | room | what it stores |
//! |---|---|
//! | [`journal`] | every accepted webhook, written through the group commit |
//! | [`ledger`] | calls, voicemails and messages as the engine keeps them; its units of work |
//! | [`feed`] | the events of each app, and the cursors of its named consumers |
//! | [`views`] | calls, interactions, voicemails and messages as clients read them |
//! | [`tenants`] | apps, API keys, user mappings, routes; the deletion of an app |
//! | [`dialpad`] | connections and tokens, the server's own webhooks, OAuth sessions, gaps |
//! | [`people`] | the erasure of a person |
//! | [`verify`] | the invariants of the database, checked |
//! | [`rebuild`] | calls and messages, made anew from the journal |
//! | [`crypto`] | encryption at rest |
//! | [`inspection`] | a database from outside, for `doctor` |
//! | [`cluster`] | the processes on one database, and which of them works on what |
//! | [`backup`] | copies of the database, and what follows a restore |
//! | [`import`] | the database of another server, and what is taken from it |
//! | [`canary`] | what the server's own webhooks leave for a moment |
//! | [`notifications`] | what processes announce to each other through PostgreSQL |
//! | [`console_endings`], [`idempotency`], [`retention`], [`server_state`] | one table or task each |
//! | [`db`] | the two databases: pools, bulk statements, types |
//!
//! [`Store`] gives access by repositories: `store.apps().create(…)`. A file has its SQL first, then the rows, then the
//! methods. To add one: write the SQL once for both databases, run it through `on_db!`, and test it in `tests/store`.

pub mod backup;
pub(crate) mod canary;
pub mod cluster;
mod console_endings;
pub mod crypto;
pub mod db;
pub mod dialpad;
pub mod feed;
pub(crate) mod gauges;
pub mod idempotency;
pub mod import;
pub(crate) mod inspection;
pub mod journal;
pub(crate) mod ledger;
mod lookups;
pub(crate) mod notifications;
pub mod people;
pub mod rebuild;
pub mod retention;
mod server_state;
pub mod tenants;
pub mod verify;
pub mod views;

use std::sync::{Arc, OnceLock};

use cti_actors::{clock::Clock, error::StoreError, id::AppId};
use uuid::Uuid;

use self::{
    crypto::vault::Vault,
    db::{
        bulk::Rows,
        pool::{Database, Pools},
        types::{AnyRow, Id},
    },
    journal::{
        group_commit::Lanes,
        pending::{DurableSender, DurableWebhooks},
    },
    lookups::Lookups,
    tenants::{api_keys::KeyCache, numbers::RegionCache, routes::RouteCache, user_mappings::MappingCache},
};
use crate::database_url::DatabaseUrl;

/// The open database. Cheap to clone; all clones share the pools, the caches and the group commit.
///
/// # Errors
/// Every method of the store and of its repositories fails with [`StoreError`] when the database can't be reached in
/// time or can't be read: `Unavailable` may succeed later, `Unusable` after a change by the operator, `Conflict` is a
/// lost race, `Corrupt` a value that can't be read or decrypted, `Rejected` data that can't be stored. After a timeout, a change may have been made. A method documents only
/// what it does beyond that.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    database: Database,
    lanes: Lanes,
    keys: KeyCache,
    routes: RouteCache,
    regions: RegionCache,
    mappings: MappingCache,
    apps_with_pending: Lookups<AppId, ()>,
    apps_with_recent_calls: Lookups<ledger::RecentKey, ()>,
    vault: Vault,
    clock: Arc<dyn Clock>,
    /// The process that this is, once it is registered as one of those that run.
    incarnation: OnceLock<Uuid>,
}

/// Runs one body on whichever database is open; it is compiled once for each. `read` takes the pool for reading,
/// `write` the one for writing. A body `in steps` limits the time of each step by itself.
macro_rules! on_db {
    ($store:expr, $pool:ident $db:ident => $body:expr) => {
        $crate::store::on_db!(@ in_time, $store, $pool $db => $body)
    };
    ($store:expr, $pool:ident $db:ident in steps => $body:expr) => {
        $crate::store::on_db!(@ in_steps, $store, $pool $db => $body)
    };
    (@ $limited:ident, $store:expr, $pool:ident $db:ident => $body:expr) => {{
        let database = &$store.shared.database;
        let work = async {
            match database.pools() {
                $crate::store::db::pool::Pools::Postgres(pools) => {
                    let $db = &pools.$pool;
                    $body
                }
                $crate::store::db::pool::Pools::Sqlite(pools) => {
                    let $db = &pools.$pool;
                    $body
                }
            }
        };
        // Boxed: the future of a query is large, and callers move theirs several times.
        database.$limited(Box::pin(work)).await
    }};
}
pub(crate) use on_db;

/// Declares the repositories: one small handle each, whose methods are where its tables are.
macro_rules! repositories {
    ($($(#[doc = $doc:literal])+ $accessor:ident => $Repository:ident;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy)]
            pub struct $Repository<'s> {
                store: &'s Store,
            }
        )+

        impl Store {
            $(
                $(#[doc = $doc])+
                #[must_use]
                pub fn $accessor(&self) -> $Repository<'_> {
                    $Repository { store: self }
                }
            )+
        }
    };
}

repositories! {
    /// The journal of accepted webhooks.
    journal => JournalStore;
    /// The events of an app.
    feed => FeedStore;
    /// Named consumers and their cursors.
    consumers => ConsumerStore;
    /// Calls.
    calls => Calls;
    /// Interactions: the legs of one human call.
    interactions => Interactions;
    /// Voicemails.
    voicemails => Voicemails;
    /// Text messages.
    messages => Messages;
    /// Apps: created, renamed, activated, deleted.
    apps => Apps;
    /// People: their erasure.
    people => People;
    /// API keys of apps and their audit log.
    api_keys => ApiKeys;
    /// The CRM's ids of Dialpad users.
    user_mappings => UserMappings;
    /// Which apps a webhook goes to.
    routes => Routes;
    /// Apps' connections to Dialpad, and their tokens.
    connections => ConnectionStore;
    /// Renewals of token pairs.
    renewals => Renewals;
    /// The webhooks that the server registers at Dialpad, and their secrets.
    webhooks => Webhooks;
    /// How many webhooks each app received in each hour.
    webhook_hours => WebhookHours;
    /// Authorizations in progress.
    oauth_sessions => OauthSessions;
    /// Periods for which webhooks may be missing.
    gaps => Gaps;
    /// What the console has signed and what ended before its time.
    console_endings => ConsoleEndings;
    /// Answers stored under an idempotency key.
    idempotency => Idempotency;
    /// Deletion of old rows.
    retention => Retention;
    /// The invariants of the database.
    verification => Verification;
    /// Calls and messages, made anew from the journal.
    rebuilding => Rebuilding;
    /// Encryption with a new key.
    reencryption => Reencryption;
    /// What is taken from another server's database.
    imports => Imports;
    /// The hidden app of the canary.
    canary => Canary;
    /// What processes announce to each other.
    notifications => Notifications;
    /// The processes that run.
    processes => Processes;
    /// Which process works on which app.
    leases => Leases;
    /// Which process does the periodic work that is done once for all.
    job_leases => JobLeases;
    /// What the server remembers about itself.
    server_state => ServerState;
}

impl Store {
    /// Opens the database. Returns the store and the webhooks that become durable from now on, for an engine. The
    /// runtime that this is called on owns the connections and must outlive them.
    ///
    /// # Errors
    /// The database can't be reached or created.
    pub async fn open(
        url: &DatabaseUrl,
        vault: Vault,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, DurableWebhooks), StoreError> {
        let database = Database::open(url).await?;
        let (sender, durable) = DurableSender::channel();
        let shared = Shared {
            lanes: Lanes::start(&database, sender)?,
            database,
            keys: KeyCache::default(),
            routes: RouteCache::default(),
            regions: RegionCache::default(),
            mappings: MappingCache::default(),
            apps_with_pending: Lookups::default(),
            apps_with_recent_calls: Lookups::default(),
            vault,
            clock,
            incarnation: OnceLock::new(),
        };
        Ok((Self { shared: Arc::new(shared) }, durable))
    }

    /// Runs a query for a list of values: an array on PostgreSQL, a list on SQLite.
    async fn fetch_listed<T: AnyRow>(
        &self,
        head: &'static str,
        tail: &'static str,
        listed: Rows,
    ) -> Result<Vec<T>, StoreError> {
        self.run_listed(false, head, tail, listed).await
    }

    /// Does the same on the connections that write.
    async fn write_listed<T: AnyRow>(
        &self,
        head: &'static str,
        tail: &'static str,
        listed: Rows,
    ) -> Result<Vec<T>, StoreError> {
        self.run_listed(true, head, tail, listed).await
    }

    async fn run_listed<T: AnyRow>(
        &self,
        writes: bool,
        head: &'static str,
        tail: &'static str,
        listed: Rows,
    ) -> Result<Vec<T>, StoreError> {
        let database = &self.shared.database;
        let work = async {
            match database.pools() {
                Pools::Postgres(pools) => {
                    let pool = if writes { &pools.write } else { &pools.read };
                    let mut db = pool.acquire().await?;
                    let rows = listed.fetch_postgres(&mut db, head, tail).await?;
                    db.done().await?;
                    Ok(rows)
                }
                Pools::Sqlite(pools) => {
                    let pool = if writes { &pools.write } else { &pools.read };
                    listed.fetch_sqlite(&mut *pool.acquire().await?, head, tail).await
                }
            }
        };
        database.in_time(Box::pin(work)).await
    }

    /// Applies the pending migrations. Returns their names, oldest first.
    ///
    /// # Errors
    /// A migration failed, or the database has migrations that this version doesn't know.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        self.shared.database.migrate().await
    }

    /// Returns the names of the migrations that [`Self::migrate`] would apply.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        self.shared.database.pending_migrations().await
    }

    /// Succeeds if the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        on_db!(self, read db => sqlx::query("SELECT 1").execute(db).await.map(|_| ()))
    }

    /// Counts the open connections: idle ones, and those in use.
    #[must_use]
    pub fn pool_connections(&self) -> (usize, usize) {
        self.shared.database.connections()
    }

    /// Closes all connections, after their work is done.
    pub async fn close(&self) {
        self.shared.lanes.close().await;
        self.shared.database.close().await;
    }

    /// Forgets which keys are valid and where webhooks go, because that has changed.
    pub(crate) fn forget_access(&self) {
        self.shared.keys.clear();
        self.shared.routes.clear();
    }

    /// Returns this process, once it is registered as one of those that run.
    fn incarnation(&self) -> Option<Id> {
        self.shared.incarnation.get().copied().map(Id)
    }

    pub(crate) fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.shared.clock.now()
    }

    /// Returns before which instant what has this lifetime has expired. While the clock may be wrong, nothing has.
    pub(crate) fn expired_before(&self, lifetime: chrono::TimeDelta) -> chrono::DateTime<chrono::Utc> {
        if self.shared.clock.is_steady() { self.now() - lifetime } else { chrono::DateTime::UNIX_EPOCH }
    }
}
