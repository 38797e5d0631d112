//! The ports, each call of which goes through [`FaultyStore`].

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use cti_actors::{
    consumer::ConsumerKey,
    error::{AuthError, StoreError},
    event::{ActiveCalls, Frame},
    id::{AppId, DialpadCallId, Epoch, InteractionId, KeyId, Seq},
    model::{
        call::StoredCall,
        interaction::StoredInteraction,
        message::StoredMessage,
        number::Region,
        token::{DuePair, Outcome, TokenPair},
    },
    ports::{
        Acquire, Acquired, AuthenticatedKey, Authenticator, Bounds, Connections, Cursors, EventLog, GapTimes,
        Journal, Ledger, PendingEvent, Ports, RecentCalls, Renewal, SharingSave, StoredConsumer,
        StoredCursor, StoredSharing, Window,
    },
    testing::RowStatus,
    unit::{Receipt, Unit},
};

use crate::faults::{FaultyStore, Plant};

/// Returns the ports of one life of the process.
pub(crate) fn ports(store: &Arc<FaultyStore>) -> Ports {
    Ports {
        journal: store.clone(),
        ledger: store.clone(),
        log: store.clone(),
        gate: store.clone(),
        connections: Arc::new(NoConnections),
        clock: store.clock.clone(),
    }
}

struct NoConnections;

#[async_trait]
impl Connections for NoConnections {
    async fn due(&self, _: DateTime<Utc>, _: usize) -> Result<Vec<DuePair>, StoreError> {
        Ok(Vec::new())
    }

    async fn renew(&self, _: TokenPair) -> Result<Renewal, StoreError> {
        Ok(Outcome::Superseded.into())
    }
}

#[async_trait]
impl Journal for FaultyStore {
    async fn pending(&self, app: AppId, limit: usize) -> Result<Vec<PendingEvent>, StoreError> {
        self.read("pending").await?;
        let mut pending = self.inner.pending(app, limit).await?;
        match self.plant {
            Plant::DroppedWebhook if self.happens(200) => {
                if let Some(dropped) = pending.pop() {
                    self.inner.set_status(dropped.id, RowStatus::Processed);
                }
            }
            Plant::RepeatedWebhook if self.happens(500) => {
                let processed = self.inner.journal(app).into_iter().rev();
                let again = processed.filter(|row| row.status == RowStatus::Processed).take(5);
                pending.extend(again.map(|row| PendingEvent {
                    id: row.id,
                    attempts: 0,
                    content: row.content,
                    incoming: None,
                }));
            }
            _ => {}
        }
        Ok(pending)
    }

    async fn backlog(&self, since: DateTime<Utc>) -> Result<Vec<AppId>, StoreError> {
        self.read("backlog").await?;
        self.inner.backlog(since).await
    }
}

#[async_trait]
impl Ledger for FaultyStore {
    async fn relatives(&self, app: AppId, legs: &[DialpadCallId]) -> Result<Vec<StoredCall>, StoreError> {
        self.read("relatives").await?;
        self.inner.relatives(app, legs).await
    }

    async fn legs(&self, app: AppId, interactions: &[InteractionId]) -> Result<Vec<StoredCall>, StoreError> {
        self.read("legs").await?;
        self.inner.legs(app, interactions).await
    }

    async fn calls_in(&self, app: AppId, windows: &[Window]) -> Result<Vec<StoredCall>, StoreError> {
        self.read("calls_in").await?;
        self.inner.calls_in(app, windows).await
    }

    async fn waiting_in(&self, app: AppId, windows: &[Window]) -> Result<Vec<StoredCall>, StoreError> {
        self.read("waiting_in").await?;
        self.inner.waiting_in(app, windows).await
    }

    async fn recent_calls(
        &self,
        app: AppId,
        first_seen_since: DateTime<Utc>,
        waiting_since: DateTime<Utc>,
    ) -> Result<RecentCalls, StoreError> {
        self.read("recent_calls").await?;
        self.inner.recent_calls(app, first_seen_since, waiting_since).await
    }

    async fn interactions(
        &self,
        app: AppId,
        ids: &[InteractionId],
    ) -> Result<Vec<StoredInteraction>, StoreError> {
        self.read("interactions").await?;
        Ledger::interactions(&*self.inner, app, ids).await
    }

    async fn unsettled(
        &self,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(AppId, InteractionId)>, StoreError> {
        self.read("unsettled").await?;
        self.inner.unsettled(until, limit).await
    }

    async fn crm_users(&self, app: AppId, users: &[i64]) -> Result<BTreeMap<i64, String>, StoreError> {
        self.read("crm_users").await?;
        self.inner.crm_users(app, users).await
    }

    async fn messages(&self, app: AppId, ids: &[String]) -> Result<Vec<StoredMessage>, StoreError> {
        self.read("messages").await?;
        Ledger::messages(&*self.inner, app, ids).await
    }

    async fn commit(&self, unit: Arc<Unit>) -> Result<Receipt, StoreError> {
        self.commit_unit(unit).await
    }
}

#[async_trait]
impl EventLog for FaultyStore {
    async fn region(&self, app: AppId) -> Result<Region, StoreError> {
        self.read("region").await?;
        self.inner.region(app).await
    }

    async fn bounds(&self, app: AppId) -> Result<Bounds, StoreError> {
        self.read("bounds").await?;
        self.inner.bounds(app).await
    }

    async fn gap_times(&self, app: AppId, first: Seq) -> Result<GapTimes, StoreError> {
        self.read("gap_times").await?;
        self.inner.gap_times(app, first).await
    }

    async fn heads(&self, apps: &[AppId]) -> Result<Vec<(AppId, Epoch, Seq)>, StoreError> {
        self.read("heads").await?;
        self.inner.heads(apps).await
    }

    async fn renew_epoch(&self, known: Epoch) -> Result<Epoch, StoreError> {
        self.read("renew_epoch").await?;
        self.inner.renew_epoch(known).await
    }

    async fn active_calls(&self, app: AppId) -> Result<ActiveCalls, StoreError> {
        self.read("active_calls").await?;
        self.inner.active_calls(app).await
    }

    async fn page_within(
        &self,
        app: AppId,
        after: Seq,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Frame>, StoreError> {
        self.read("page").await?;
        let mut page = self.inner.page_within(app, after, limit, max_bytes).await?;
        if self.plant == Plant::HoleInAPage && page.len() > 2 {
            page.remove(1);
        }
        Ok(page)
    }

    async fn tail(
        &self,
        app: AppId,
        after: Seq,
        limit: usize,
        max_bytes: usize,
    ) -> Result<(Epoch, Vec<Frame>), StoreError> {
        self.read("tail").await?;
        self.inner.tail(app, after, limit, max_bytes).await
    }
}

#[async_trait]
impl Cursors for FaultyStore {
    async fn consumer(&self, app: AppId, name: &str) -> Result<Option<StoredCursor>, StoreError> {
        self.read("consumer").await?;
        self.inner.consumer(app, name).await
    }

    async fn acquire(&self, request: Acquire<'_>) -> Result<Acquired, StoreError> {
        self.read("acquire").await?;
        self.inner.acquire(request).await
    }

    async fn save_cursors(
        &self,
        holder: i64,
        cursors: &[StoredConsumer],
    ) -> Result<Vec<ConsumerKey>, StoreError> {
        self.read("save_cursors").await?;
        self.inner.save_cursors(holder, cursors).await
    }

    async fn held_by(&self, holder: i64) -> Result<Vec<ConsumerKey>, StoreError> {
        self.read("held_by").await?;
        self.inner.held_by(holder).await
    }

    async fn advance_consumer(&self, app: AppId, name: &str, acked: Seq) -> Result<bool, StoreError> {
        self.read("advance_consumer").await?;
        self.inner.advance_consumer(app, name, acked).await
    }

    async fn open_shared(
        &self,
        app: AppId,
        name: &str,
        start: Seq,
        epoch: Epoch,
    ) -> Result<Option<StoredSharing>, StoreError> {
        self.read("open_shared").await?;
        self.inner.open_shared(app, name, start, epoch).await
    }

    async fn sharing(&self, app: AppId, name: &str) -> Result<Option<StoredSharing>, StoreError> {
        self.read("sharing").await?;
        self.inner.sharing(app, name).await
    }

    async fn save_sharings(&self, saves: &[SharingSave]) -> Result<Vec<ConsumerKey>, StoreError> {
        self.read("save_sharings").await?;
        self.inner.save_sharings(saves).await
    }

    async fn remove_consumer(&self, app: AppId, name: &str) -> Result<bool, StoreError> {
        self.read("remove_consumer").await?;
        self.inner.remove_consumer(app, name).await
    }
}

#[async_trait]
impl Authenticator for FaultyStore {
    async fn authenticate(&self, api_key: &str) -> Result<AuthenticatedKey, AuthError> {
        self.inner.authenticate(api_key).await
    }

    async fn still_valid(&self, keys: &[KeyId]) -> Result<Vec<KeyId>, StoreError> {
        self.read("still_valid").await?;
        self.inner.still_valid(keys).await
    }
}
