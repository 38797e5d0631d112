//! The erasure of a person: everything by which an app knows who had a number, and what they said.
//!
//! | step | what it does |
//! |---|---|
//! | [`find`] | the calls, messages and voicemails with the number; all legs of an interaction are one conversation |
//! | [`journal`] | deletes the payloads; the rows stay, so that a repeated webhook is still a duplicate |
//! | [`feed`] | masks the events, which keep their `seq` |
//! | [`answers`] | masks the answers that are stored under idempotency keys |
//! | [`calls`], [`messages`] | masks the rows, the last that still name the number: an erasure that was interrupted finds them again |
//!
//! Every step works in pages and can be repeated. [`crate::jobs::person_erasure`] runs them in their order.

mod answers;
mod calls;
mod feed;
mod find;
mod journal;
mod messages;

use std::collections::BTreeSet;

use cti_actors::{
    clock::new_uuid,
    error::StoreError,
    id::{AppId, DialpadCallId, InteractionId, MessageId, Seq, VoicemailId},
    model::number::NumberSearch,
    ports::Ledger,
};

pub(super) use self::calls::{shown_by_legs, voicemail_of};
use super::{
    People,
    db::{pool::Pools, types::Id},
    on_db,
};

const AUDIT: &str = "INSERT INTO api_key_audit_log (id, app_id, action, number_hash, created_at)
    VALUES ($1, $2, 'erased', $3, $4)";

/// How often a row is written again when webhooks are written in between.
const MAX_ATTEMPTS: usize = 20;

/// What an app has of a person.
#[derive(Clone, Debug)]
pub struct Person {
    app: AppId,
    search: NumberSearch,
    calls: BTreeSet<DialpadCallId>,
    interactions: BTreeSet<InteractionId>,
    voicemails: BTreeSet<VoicemailId>,
    messages: BTreeSet<(MessageId, String)>,
}

/// How many rows were masked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Calls, each one leg.
    pub calls: u64,
    /// Text messages.
    pub messages: u64,
    /// Voicemails.
    pub voicemails: u64,
    /// Events of the feed.
    pub events: u64,
    /// Webhooks of the journal.
    pub webhooks: u64,
}

impl Person {
    /// Returns the app.
    #[must_use]
    pub fn app(&self) -> AppId {
        self.app
    }
}

impl People<'_> {
    /// Finds what an app has of the person with a number in E.164 form.
    pub async fn find(self, app: AppId, number: &str) -> Result<Person, StoreError> {
        let region = self.store.apps().region(app).await?;
        find::find(self.store, app, NumberSearch::new(number, region)).await
    }

    /// Deletes the payloads of the person's webhooks. Returns how many.
    pub async fn erase_webhooks(self, person: &Person) -> Result<u64, StoreError> {
        journal::erase(self.store, person).await
    }

    /// Whether webhooks of an app are pending that came before this one.
    pub async fn has_pending(
        self,
        app: AppId,
        before: cti_actors::id::JournalId,
    ) -> Result<bool, StoreError> {
        journal::has_pending(self.store, app, before).await
    }

    /// Masks the person's events after a cursor. Returns how many, and the newest event that was looked at.
    pub async fn erase_events(self, person: &Person, after: Seq) -> Result<(u64, Seq), StoreError> {
        feed::erase(self.store, person, after).await
    }

    /// Masks the calls, voicemails and messages, and the answers of requests that show them. The events and webhooks must
    /// have been erased before.
    pub async fn erase_rows(self, person: &Person) -> Result<Erased, StoreError> {
        answers::erase(self.store, person).await?;
        let (calls, voicemails) = calls::erase(self.store, person).await?;
        let messages = messages::erase(self.store, person).await?;
        Ok(Erased { calls, messages, voicemails, ..Erased::default() })
    }

    /// Whether a person was erased from a call.
    pub async fn was_erased_from(self, app: AppId, call: DialpadCallId) -> Result<bool, StoreError> {
        let relatives = self.store.relatives(app, &[call]).await?;
        Ok(relatives.iter().any(|it| it.dialpad_call_id == call && it.facts.was_erased()))
    }

    /// Writes into the audit log that a number was erased, as a hash that only the server's key can make.
    pub async fn record(self, app: AppId, number: &str) -> Result<(), StoreError> {
        let hash = self.store.shared.vault.keyed_hash(number);
        let now = self.store.now();
        on_db!(self.store, write db => {
            let entry = sqlx::query(AUDIT).bind(Id(new_uuid())).bind(Id::from(app)).bind(&hash).bind(now);
            entry.execute(db).await.map(|_| ())
        })
    }

    /// Removes the pages from before the erasure that SQLite still has in its write-ahead log. Returns whether that
    /// worked: a reader may need them. PostgreSQL removes dead rows with `VACUUM`.
    pub async fn truncate_log(self) -> Result<bool, StoreError> {
        let database = &self.store.shared.database;
        let Pools::Sqlite(pools) = database.pools() else { return Ok(true) };
        let truncate = async {
            let mut connection = pools.read.acquire().await?;
            // While it waits for readers, nobody can write.
            sqlx::query("PRAGMA busy_timeout = 100").execute(&mut *connection).await?;
            let done = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *connection).await;
            // The pool's own setting; a connection that can't be set back is not used again.
            let reset = sqlx::query("PRAGMA busy_timeout = 5000").execute(&mut *connection).await;
            if reset.is_err() {
                connection.close_on_drop();
            }
            let (busy, ..): (i64, i64, i64) = done?;
            Ok(busy == 0)
        };
        database.in_time(Box::pin(truncate)).await
    }
}
