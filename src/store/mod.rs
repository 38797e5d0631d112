//! Everything durable, on PostgreSQL or SQLite; which one is decided by a URL at start-up and is nobody else's
//! business.
//!
//! [`journal`] takes webhooks in, [`ledger`] writes the engine's units of work, [`events`] is the feed; both kinds
//! of busy writes go through [`group_commit`]. The other files hold one table or two each: their SQL first, then
//! the rows, then the questions. To add one: write the SQL once for both databases, run it through `on_db!`, and
//! add a sentence to the contract test in `tests/store`.

pub mod crypto;
pub mod db;
pub mod dialpad;
pub mod feed;
pub mod idempotency;
pub mod journal;
pub(crate) mod ledger;
pub mod retention;
mod server_state;
pub mod tenants;
pub mod views;

use std::sync::Arc;

use cti_actors::{clock::Clock, error::StoreError};

use self::{
    crypto::vault::Vault,
    db::{
        bulk::Rows,
        pool::{Database, Pools},
    },
    journal::{
        group_commit::Lanes,
        pending::{DurableSender, DurableWebhooks},
    },
    tenants::{api_keys::KeyCache, routes::RouteCache, user_mappings::NameCache},
};
use crate::database_url::DatabaseUrl;

/// The open database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    database: Database,
    lanes: Lanes,
    keys: KeyCache,
    routes: RouteCache,
    names: NameCache,
    vault: Vault,
    clock: Arc<dyn Clock>,
}

/// Runs one body against whichever database is open; the compiler checks it once per database.
/// `read` takes a pool for questions, `write` one for changes. A body `in steps` limits the time of each by itself.
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
        // Boxed: what sqlx keeps of a query is large, and callers' futures are moved about.
        database.$limited(Box::pin(work)).await
    }};
}
pub(crate) use on_db;

/// Declares the repositories: one small handle each, so that a question is asked where its tables are.
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
    /// Every accepted webhook.
    journal => JournalStore;
    /// Stored events.
    feed => FeedStore;
    /// Named consumers and their cursors.
    consumers => ConsumerStore;
    /// Calls as clients read them.
    calls => Calls;
    /// Interactions: the legs of one human call.
    interactions => Interactions;
    /// Voicemails.
    voicemails => Voicemails;
    /// Text messages.
    messages => Messages;
    /// Apps: created, renamed, activated, deleted.
    apps => Apps;
    /// API keys of apps and their audit log.
    api_keys => ApiKeys;
    /// Dialpad users and what the CRM calls them.
    user_mappings => UserMappings;
    /// Which apps a webhook goes to.
    routes => Routes;
    /// Apps' connections to Dialpad and their tokens.
    connections => ConnectionStore;
    /// Token pairs that are being replaced.
    renewals => Renewals;
    /// The webhooks that this server registers at Dialpad, and their secrets.
    webhooks => Webhooks;
    /// OAuth attempts under way.
    oauth_sessions => OauthSessions;
    /// Times for which webhooks may be missing.
    gaps => Gaps;
    /// Answers stored under an `Idempotency-Key`.
    idempotency => Idempotency;
    /// Deletion of what is older than it is kept.
    retention => Retention;
    /// Replacing the encryption key.
    reencryption => Reencryption;
    /// What the server remembers of itself.
    server_state => ServerState;
}

impl Store {
    /// Opens the database. Returns the store and the webhooks that become durable from now on, for an engine. The runtime
    /// that this is called on owns the connections and must outlive them.
    ///
    /// # Errors
    /// The database can't be reached or created.
    pub async fn open(
        url: &DatabaseUrl,
        vault: Vault,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, DurableWebhooks), StoreError> {
        let database = Database::open(url).await.map_err(db::pool::store_error)?;
        let (sender, durable) = DurableSender::channel();
        let shared = Shared {
            lanes: Lanes::start(&database, sender),
            database,
            keys: KeyCache::default(),
            routes: RouteCache::default(),
            names: NameCache::default(),
            vault,
            clock,
        };
        Ok((Self { shared: Arc::new(shared) }, durable))
    }

    /// What a statement finds for these values: an array on PostgreSQL, a list on SQLite.
    async fn fetch_listed<T>(
        &self,
        head: &'static str,
        tail: &'static str,
        listed: Rows,
    ) -> Result<Vec<T>, StoreError>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>
            + for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>
            + Send
            + Unpin,
    {
        let database = &self.shared.database;
        let work = async {
            match database.pools() {
                Pools::Postgres(pools) => {
                    listed.fetch_postgres(&mut *pools.read.acquire().await?, head, tail).await
                }
                Pools::Sqlite(pools) => {
                    listed.fetch_sqlite(&mut *pools.read.acquire().await?, head, tail).await
                }
            }
        };
        database.in_time(Box::pin(work)).await
    }

    /// Applies the pending migrations and names them, oldest first.
    ///
    /// # Errors
    /// One failed, or the database holds migrations that this program doesn't know.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        self.shared.database.migrate().await
    }

    /// Names the migrations that [`Self::migrate`] would apply, and applies none.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        self.shared.database.pending_migrations().await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        on_db!(self, read db => sqlx::query("SELECT 1").execute(db).await.map(|_| ()))
    }

    /// Open connections: idle ones and ones at work.
    #[must_use]
    pub fn pool_connections(&self) -> (usize, usize) {
        self.shared.database.connections()
    }

    /// Closes all connections, once their work is done.
    pub async fn close(&self) {
        self.shared.database.close().await;
    }

    pub(crate) fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.shared.clock.now()
    }
}
