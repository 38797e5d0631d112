//! The ledger as it is once a commit is done.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::commit::Commit;
use crate::{
    error::StoreError,
    id::{AppId, DialpadCallId, InteractionId},
    model::{call::StoredCall, interaction::StoredInteraction, message::StoredMessage},
    ports::{Ledger, RecentCalls, Window},
    unit::{Receipt, Unit},
};

/// A ledger whose reads wait for a commit that is under way, and fail if it does.
pub(super) struct LedgerAfter {
    ledger: Arc<dyn Ledger>,
    commit: Commit,
}

impl LedgerAfter {
    pub(super) fn new(ledger: Arc<dyn Ledger>, commit: Commit) -> Self {
        Self { ledger, commit }
    }

    async fn ledger(&self) -> Result<&dyn Ledger, StoreError> {
        self.commit.clone().await.map(|_| &*self.ledger)
    }
}

#[async_trait]
impl Ledger for LedgerAfter {
    async fn relatives(&self, app: AppId, legs: &[DialpadCallId]) -> Result<Vec<StoredCall>, StoreError> {
        self.ledger().await?.relatives(app, legs).await
    }

    async fn legs(&self, app: AppId, interactions: &[InteractionId]) -> Result<Vec<StoredCall>, StoreError> {
        self.ledger().await?.legs(app, interactions).await
    }

    async fn calls_in(&self, app: AppId, windows: &[Window]) -> Result<Vec<StoredCall>, StoreError> {
        self.ledger().await?.calls_in(app, windows).await
    }

    async fn waiting_in(&self, app: AppId, windows: &[Window]) -> Result<Vec<StoredCall>, StoreError> {
        self.ledger().await?.waiting_in(app, windows).await
    }

    async fn recent_calls(
        &self,
        app: AppId,
        first_seen_since: DateTime<Utc>,
        waiting_since: DateTime<Utc>,
    ) -> Result<RecentCalls, StoreError> {
        self.ledger().await?.recent_calls(app, first_seen_since, waiting_since).await
    }

    async fn interactions(
        &self,
        app: AppId,
        ids: &[InteractionId],
    ) -> Result<Vec<StoredInteraction>, StoreError> {
        self.ledger().await?.interactions(app, ids).await
    }

    async fn unsettled(
        &self,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(AppId, InteractionId)>, StoreError> {
        self.ledger().await?.unsettled(until, limit).await
    }

    async fn crm_users(&self, app: AppId, users: &[i64]) -> Result<BTreeMap<i64, String>, StoreError> {
        self.ledger().await?.crm_users(app, users).await
    }

    async fn messages(&self, app: AppId, ids: &[String]) -> Result<Vec<StoredMessage>, StoreError> {
        self.ledger().await?.messages(app, ids).await
    }

    async fn commit(&self, unit: Arc<Unit>) -> Result<Receipt, StoreError> {
        self.ledger().await?.commit(unit).await
    }
}
