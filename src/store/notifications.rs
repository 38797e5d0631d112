//! What processes announce to each other through PostgreSQL: `NOTIFY` by any connection, `LISTEN` by one that no pooler shares.
//! SQLite has neither, and needs none: one process has the file.

use std::time::Duration;

use cti_actors::error::StoreError;
use sqlx::{
    PgPool, Postgres,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::time::timeout;

use super::{
    Notifications,
    db::{
        errors::limited,
        pool::{Pools, store_error},
    },
};
use crate::database_url::DatabaseUrl;

/// The channel. It is one per database.
const CHANNEL: &str = "cti_server";
/// Begins the name by which PostgreSQL shows the connection of a listener.
const LISTENER_NAME: &str = "cti-server listener ";
const NOTIFY: &str = "SELECT pg_notify($1, payload) FROM UNNEST($2::text[]) AS payload";
/// Asks on a listening connection, which also shows whether that is still alive.
const OTHER_LISTENERS: &str =
    "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database()
    AND starts_with(application_name, $1) AND application_name <> $2)";
/// How long the connection of a listener may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

impl Notifications<'_> {
    /// Whether the connections to the database are shared by a pooler, so that none of them can listen.
    #[must_use]
    pub fn are_pooled(self) -> bool {
        matches!(self.store.shared.database.pools(), Pools::Postgres(pools) if pools.read.wraps_statements())
    }

    /// Sends these payloads to all listeners, those of this process included. Each has fewer than 8000 bytes.
    ///
    /// # Errors
    /// The store failed. A listener may have got them all the same.
    pub async fn send(self, payloads: &[String]) -> Result<(), StoreError> {
        let database = &self.store.shared.database;
        let Pools::Postgres(pools) = database.pools() else { return Ok(()) };
        let sending = async {
            sqlx::query(NOTIFY).bind(CHANNEL).bind(payloads).execute(&pools.write).await?;
            Ok(())
        };
        database.in_time(Box::pin(sending)).await
    }

    /// Whether any process listens, as far as the database says.
    ///
    /// # Errors
    /// The store failed.
    pub async fn has_listeners(self) -> Result<bool, StoreError> {
        let database = &self.store.shared.database;
        let Pools::Postgres(pools) = database.pools() else { return Ok(false) };
        let asking = async {
            sqlx::query_scalar(OTHER_LISTENERS).bind(LISTENER_NAME).bind("").fetch_one(&pools.read).await
        };
        database.in_time(Box::pin(asking)).await
    }
}

/// A connection that listens.
pub(crate) struct Listener {
    listener: PgListener,
    name: String,
}

/// What a listener has heard.
#[derive(Debug)]
pub(crate) enum Heard {
    /// What a process has sent.
    Payload(String),
    /// Nothing for a while.
    Nothing,
    /// The connection was lost. What was sent meanwhile is lost as well.
    Lost,
}

impl Listener {
    /// Listens on a connection of its own. `process` is a text that no other process has.
    ///
    /// # Errors
    /// The database can't be reached, or it is a replica, where nothing can be heard.
    pub(crate) async fn open(url: &DatabaseUrl, process: &str) -> Result<Self, StoreError> {
        let DatabaseUrl::Postgres(hosts) = url else {
            return Err(StoreError::Unusable("only PostgreSQL has notifications".into()));
        };
        let name = format!("{LISTENER_NAME}{process}");
        let options = hosts.writable().await.map_err(store_error)?;
        let options = options.application_name(&name).extra_float_digits(None);
        let pool: PgPool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ANSWER_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options);
        let opening = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            // The one who listens knows better when to try again, and must know that it missed something.
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok(listener)
        };
        let listener = limited(ANSWER_TIMEOUT, opening).await.map_err(store_error)?;
        Ok(Self { listener, name })
    }

    /// Waits for the next payload, at most for this time.
    pub(crate) async fn next(&mut self, wait: Duration) -> Heard {
        // Dropping the future loses nothing: a message that was read in part stays in the buffer.
        match timeout(wait, self.listener.try_recv()).await {
            Ok(Ok(Some(notification))) => Heard::Payload(notification.payload().to_owned()),
            Ok(Ok(None) | Err(_)) => Heard::Lost,
            Err(_) => Heard::Nothing,
        }
    }

    /// Whether another process listens as well.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(crate) async fn has_others(&mut self) -> Result<bool, StoreError> {
        let question =
            sqlx::query_scalar::<Postgres, bool>(OTHER_LISTENERS).bind(LISTENER_NAME).bind(&self.name);
        limited(ANSWER_TIMEOUT, question.fetch_one(&mut self.listener)).await.map_err(store_error)
    }
}
