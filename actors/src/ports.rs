//! Everything that the engine needs from outside, as traits: six of them, and six is the ceiling.
//!
//! The server implements them over SQL; [`crate::testing`] implements them in memory. Each may be called from
//! any thread.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub use crate::{
    clock::Clock,
    consumer::cursors::{Acquire, Acquired, Cursors, StoredConsumer},
    error::{AuthError, StoreError},
};
use crate::{
    event::{ActiveCalls, Frame},
    id::{AppId, DialpadCallId, InteractionId, JournalId, KeyId, Seq},
    model::{
        call::{CallEvent, StoredCall},
        message::{MessageEvent, StoredMessage},
        token::{DuePair, Renewal, TokenPair},
    },
    unit::{Receipt, Unit},
};

/// All of them.
#[derive(Clone)]
pub struct Ports {
    /// The durable queue of webhooks.
    pub journal: Arc<dyn Journal>,
    /// Calls, messages and the unit of work.
    pub ledger: Arc<dyn Ledger>,
    /// What was told.
    pub log: Arc<dyn EventLog>,
    /// Who may listen.
    pub gate: Arc<dyn Authenticator>,
    /// The apps' connections to Dialpad.
    pub connections: Arc<dyn Connections>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The durable queue of webhooks: written before they are acknowledged, read here until they are processed.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// The oldest pending webhooks of an app, in journal order, at most `limit`.
    async fn pending(&self, app: AppId, limit: usize) -> Result<Vec<PendingEvent>, StoreError>;

    /// The apps that have a webhook which has been pending since before `since`.
    async fn backlog(&self, since: DateTime<Utc>) -> Result<Vec<AppId>, StoreError>;
}

/// One pending webhook, already read.
#[derive(Clone, Debug)]
pub struct PendingEvent {
    /// Its place in the journal.
    pub id: JournalId,
    /// How often it has been tried in vain.
    pub attempts: u16,
    /// What it says, or why that can't be told.
    pub content: Result<Inbound, String>,
}

/// What a webhook is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "nearly all webhooks are about calls")]
pub enum Inbound {
    /// A call leg, its voicemail and recordings included.
    Call(CallEvent),
    /// A text message.
    Message(MessageEvent),
}

/// The engine's own books: calls, messages, and the unit of work that changes them.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// The calls that are, or that name, any of these legs.
    async fn relatives(&self, app: AppId, legs: &[DialpadCallId]) -> Result<Vec<StoredCall>, StoreError>;

    /// All legs of these interactions.
    async fn legs(&self, app: AppId, interactions: &[InteractionId]) -> Result<Vec<StoredCall>, StoreError>;

    /// The calls of these users and groups that changed since then.
    async fn recent_calls_of(
        &self,
        app: AppId,
        targets: &[i64],
        since: DateTime<Utc>,
    ) -> Result<Vec<StoredCall>, StoreError>;

    /// What the CRM calls these Dialpad users, those of whom that is known. Asked for every batch: it is expected to
    /// take no time as long as nobody new is named.
    async fn crm_users(&self, app: AppId, users: &[i64]) -> Result<BTreeMap<i64, String>, StoreError>;

    /// The named messages (by Dialpad's ids), those that exist.
    async fn messages(&self, app: AppId, ids: &[String]) -> Result<Vec<StoredMessage>, StoreError>;

    /// Writes all of a unit of work or nothing. When this returns, it is durable.
    async fn commit(&self, unit: Arc<Unit>) -> Result<Receipt, StoreError>;
}

/// The feed of an app as it is stored: what was told, in order, and how far its named consumers have come.
#[async_trait]
pub trait EventLog: Cursors + Send + Sync + 'static {
    /// What is kept.
    async fn bounds(&self, app: AppId) -> Result<Bounds, StoreError>;

    /// How far these apps' feeds reach.
    async fn heads(&self, apps: &[AppId]) -> Result<Vec<(AppId, Seq)>, StoreError>;

    /// The events behind a cursor, in order: at most `limit`, and none after those that have `max_bytes` together.
    async fn page_within(
        &self,
        app: AppId,
        after: Seq,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Frame>, StoreError>;

    /// The calls of an app that are not over, and how far its feed reaches: both as they are at one moment.
    async fn active_calls(&self, app: AppId) -> Result<ActiveCalls, StoreError>;

    /// The events behind a cursor, in order, at most `limit`.
    async fn page(&self, app: AppId, after: Seq, limit: usize) -> Result<Vec<Frame>, StoreError> {
        self.page_within(app, after, limit, usize::MAX).await
    }
}

/// The ends of a feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest event that is still kept, or the place of the next one where nothing is.
    pub oldest: Seq,
    /// The newest event.
    pub head: Seq,
}

impl Bounds {
    /// Whether everything behind this cursor is still kept.
    #[must_use]
    pub fn reach_back_to(&self, after: Seq) -> bool {
        after.next() >= self.oldest
    }
}

/// Who may listen.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// The app to which an API key belongs.
    async fn authenticate(&self, api_key: &str) -> Result<AuthenticatedKey, AuthError>;

    /// Those of these keys that still open something, whoever may have ended the others.
    async fn still_valid(&self, keys: &[KeyId]) -> Result<Vec<KeyId>, StoreError>;
}

/// What a valid key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthenticatedKey {
    /// The app.
    pub app_id: AppId,
    /// The key, so that its revocation finds the sessions that it opened.
    pub key_id: KeyId,
    /// When the key ends, where that is known already.
    pub expires_at: Option<DateTime<Utc>>,
}

/// The apps' connections to Dialpad, and the way to new tokens for them.
#[async_trait]
pub trait Connections: Send + Sync + 'static {
    /// The pairs that are to be replaced until then, at most `limit`, the most pressing first: those whose replacement
    /// was begun by somebody who has not ended it and must be dead. Those that somebody is at are not among them.
    async fn due(&self, until: DateTime<Utc>, limit: usize) -> Result<Vec<DuePair>, StoreError>;

    /// Tries once to replace a pair, unless another process is at it, and tells what came of it. Where there is
    /// nothing to replace it with, makes sure whether Dialpad still takes it. When this returns, the outcome is
    /// durable.
    async fn renew(&self, pair: TokenPair) -> Result<Renewal, StoreError>;
}
