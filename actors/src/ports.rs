//! Everything that the engine needs from outside, as traits.
//!
//! The server implements them over SQL; `testing` implements them in memory. Each may be called from any thread.

mod cursors;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub use self::cursors::{
    Acked, Acquire, Acquired, Cursors, SharingSave, StoredConsumer, StoredCursor, StoredSharing,
};
pub use crate::{
    clock::Clock,
    error::{AuthError, StoreError},
    model::interaction::Window,
};
use crate::{
    event::{ActiveCalls, Frame},
    id::{AppId, DialpadCallId, Epoch, InteractionId, JournalId, KeyId, Seq},
    model::{
        call::{CallEvent, StoredCall},
        interaction::StoredInteraction,
        message::{MessageEvent, StoredMessage},
        number::Region,
        token::{DuePair, Outcome, TokenPair},
    },
    unit::{IncomingWebhook, Receipt, Unit},
};

/// All ports.
#[derive(Clone)]
pub struct Ports {
    /// The durable queue of webhooks.
    pub journal: Arc<dyn Journal>,
    /// Calls, messages and the unit of work.
    pub ledger: Arc<dyn Ledger>,
    /// The stored events.
    pub log: Arc<dyn EventLog>,
    /// The API keys.
    pub gate: Arc<dyn Authenticator>,
    /// The apps' connections to Dialpad.
    pub connections: Arc<dyn Connections>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The durable queue of webhooks: written before they are acknowledged, read here until they are processed.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Returns the oldest pending webhooks of an app, in the order of the journal, at most `limit`.
    async fn pending(&self, app: AppId, limit: usize) -> Result<Vec<PendingEvent>, StoreError>;

    /// Returns the apps with a webhook that has been pending since before `since`.
    async fn backlog(&self, since: DateTime<Utc>) -> Result<Vec<AppId>, StoreError>;
}

/// One pending webhook, already read.
#[derive(Clone, Debug)]
pub struct PendingEvent {
    /// The id in the journal.
    pub id: JournalId,
    /// How many attempts have failed.
    pub attempts: u16,
    /// The content, or why it can't be read.
    pub content: Result<Inbound, String>,
    /// The webhook itself, if it is not in the journal yet.
    pub incoming: Option<Arc<IncomingWebhook>>,
}

/// The content of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "nearly all webhooks are about calls")]
pub enum Inbound {
    /// About a call leg, its voicemail and recordings included.
    Call(CallEvent),
    /// About a text message.
    Message(MessageEvent),
}

/// Calls, messages, and the unit of work that changes them.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Returns the calls that are, or that name, any of these legs.
    async fn relatives(&self, app: AppId, legs: &[DialpadCallId]) -> Result<Vec<StoredCall>, StoreError>;

    /// Returns all legs of these interactions.
    async fn legs(&self, app: AppId, interactions: &[InteractionId]) -> Result<Vec<StoredCall>, StoreError>;

    /// Returns the calls of these users and groups that are not over, or that ended within the window.
    async fn calls_in(&self, app: AppId, windows: &[Window]) -> Result<Vec<StoredCall>, StoreError>;

    /// Returns the calls that wait for a leg of these users and groups within the window: see
    /// [`waits_for`](crate::model::interaction::waits_for).
    async fn waiting_in(&self, app: AppId, windows: &[Window]) -> Result<Vec<StoredCall>, StoreError>;

    /// Returns what a supervisor must know of an app's newest calls: those first seen since one instant, and for whose
    /// legs calls wait since another.
    async fn recent_calls(
        &self,
        app: AppId,
        first_seen_since: DateTime<Utc>,
        waiting_since: DateTime<Utc>,
    ) -> Result<RecentCalls, StoreError>;

    /// Returns these interactions, those that became part of another one included.
    async fn interactions(
        &self,
        app: AppId,
        ids: &[InteractionId],
    ) -> Result<Vec<StoredInteraction>, StoreError>;

    /// Returns the interactions of all apps whose end is to be emitted by then, the most urgent first, at most `limit`.
    async fn unsettled(
        &self,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(AppId, InteractionId)>, StoreError>;

    /// Returns the CRM's ids of these Dialpad users, as far as they are mapped. It is called for every batch, and should
    /// take no time as long as no new user is named.
    async fn crm_users(&self, app: AppId, users: &[i64]) -> Result<BTreeMap<i64, String>, StoreError>;

    /// Returns the messages with these ids of Dialpad's that exist.
    async fn messages(&self, app: AppId, ids: &[String]) -> Result<Vec<StoredMessage>, StoreError>;

    /// Writes all of a unit of work or nothing. When this returns, it is durable.
    async fn commit(&self, unit: Arc<Unit>) -> Result<Receipt, StoreError>;
}

/// The newest calls of an app.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecentCalls {
    /// The inbound calls that were first seen lately, the oldest first. Of very many, only the newest.
    pub first_seen: Vec<StoredCall>,
    /// The users and groups for whose legs calls wait (see [`waits_for`](crate::model::interaction::waits_for)), each with
    /// the newest of their instants.
    pub waited_for: Vec<(i64, DateTime<Utc>)>,
}

/// The feed of an app as it is stored: its events in order, and the cursors of its named consumers.
#[async_trait]
pub trait EventLog: Cursors + Send + Sync + 'static {
    /// Returns the region of an app, by which its numbers are read that have no country code. It is called for every
    /// batch and session, and should take no time.
    async fn region(&self, app: AppId) -> Result<Region, StoreError>;

    /// Returns the ends of an app's feed.
    async fn bounds(&self, app: AppId) -> Result<Bounds, StoreError>;

    /// Returns when the events from `first` to the newest one that is no longer kept were emitted.
    async fn gap_times(&self, app: AppId, first: Seq) -> Result<GapTimes, StoreError>;

    /// Returns the newest event of each of these apps, and the epoch, as of one moment.
    async fn heads(&self, apps: &[AppId]) -> Result<Vec<(AppId, Epoch, Seq)>, StoreError>;

    /// Begins another epoch, unless that has happened since `known`. Returns the epoch that counts from now on.
    async fn renew_epoch(&self, known: Epoch) -> Result<Epoch, StoreError>;

    /// Returns the events after a cursor, in order: at most `limit`, and none after those that have `max_bytes` together.
    async fn page_within(
        &self,
        app: AppId,
        after: Seq,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Frame>, StoreError>;

    /// Returns the epoch, and what [`page_within`](Self::page_within) returns, both as of one moment.
    async fn tail(
        &self,
        app: AppId,
        after: Seq,
        limit: usize,
        max_bytes: usize,
    ) -> Result<(Epoch, Vec<Frame>), StoreError>;

    /// Returns the calls of an app that are not over, and the newest event, both as of one moment.
    async fn active_calls(&self, app: AppId) -> Result<ActiveCalls, StoreError>;

    /// Returns the events after a cursor, in order, at most `limit`.
    async fn page(&self, app: AppId, after: Seq, limit: usize) -> Result<Vec<Frame>, StoreError> {
        self.page_within(app, after, limit, usize::MAX).await
    }
}

/// When events that are no longer kept were emitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GapTimes {
    /// The first of them was emitted at this time or later. `None`: not known.
    pub from_at: Option<DateTime<Utc>>,
    /// The last of them was emitted at this time. `None`: not known.
    pub until_at: Option<DateTime<Utc>>,
}

/// The ends of a feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The epoch that both belong to.
    pub epoch: Epoch,
    /// The oldest event that is kept, or the place of the next one if none is.
    pub oldest: Seq,
    /// The newest event.
    pub head: Seq,
}

impl Bounds {
    /// Whether everything after this cursor is kept.
    #[must_use]
    pub fn reach_back_to(&self, after: Seq) -> bool {
        after.next() >= self.oldest
    }
}

/// The API keys.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Returns what an API key opens.
    async fn authenticate(&self, api_key: &str) -> Result<AuthenticatedKey, AuthError>;

    /// Returns those of these keys that are still valid, whichever process may have ended the others.
    async fn still_valid(&self, keys: &[KeyId]) -> Result<Vec<KeyId>, StoreError>;
}

/// What a valid key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthenticatedKey {
    /// The app.
    pub app_id: AppId,
    /// The key, so that its revocation finds the sessions that it opened.
    pub key_id: KeyId,
    /// When the key ends, if that is known already.
    pub expires_at: Option<DateTime<Utc>>,
}

/// The apps' connections to Dialpad, and the way to new tokens for them.
#[async_trait]
pub trait Connections: Send + Sync + 'static {
    /// Returns the pairs that are to be replaced until then, at most `limit`, the most urgent first: those whose
    /// replacement a process has begun that must have died. Pairs that a process is replacing now are left out.
    async fn due(&self, until: DateTime<Utc>, limit: usize) -> Result<Vec<DuePair>, StoreError>;

    /// Tries once to replace a pair, unless another process does, and returns the result. A pair that can't be replaced is
    /// checked instead: does Dialpad still accept it? When this returns, the outcome is durable.
    async fn renew(&self, pair: TokenPair) -> Result<Renewal, StoreError>;
}

/// The result of an attempt to replace a pair of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The outcome.
    pub outcome: Outcome,
    /// The events that it caused: durable, and not published to the app's sessions yet.
    pub events: Vec<Frame>,
}

impl From<Outcome> for Renewal {
    /// Returns a renewal without events.
    fn from(outcome: Outcome) -> Self {
        Self { outcome, events: Vec::new() }
    }
}
