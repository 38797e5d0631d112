//! The event log in memory, and the calls that are not over.

use async_trait::async_trait;

use super::{MemoryStore, store::State};
use crate::{
    error::StoreError,
    event::{ActiveCall, ActiveCalls, Frame},
    id::{AppId, Epoch, Seq},
    model::{
        call::{CallRecord, Direction, Status},
        number::Region,
    },
    ports::{Bounds, EventLog, GapTimes},
};

#[async_trait]
impl EventLog for MemoryStore {
    async fn region(&self, _: AppId) -> Result<Region, StoreError> {
        Ok(Region::default())
    }

    async fn bounds(&self, app: AppId) -> Result<Bounds, StoreError> {
        let state = self.state();
        let head = state.head(app);
        let first = state.events.range((app, Seq(i64::MIN))..=(app, Seq(i64::MAX))).next();
        let oldest = first.map_or(head.next(), |((_, seq), _)| *seq);
        Ok(Bounds { epoch: state.epoch, oldest, head })
    }

    async fn gap_times(&self, _app: AppId, _first: Seq) -> Result<GapTimes, StoreError> {
        Ok(GapTimes::default())
    }

    async fn heads(&self, apps: &[AppId]) -> Result<Vec<(AppId, Epoch, Seq)>, StoreError> {
        let state = self.state();
        Ok(apps.iter().map(|app| (*app, state.epoch, state.head(*app))).collect())
    }

    async fn renew_epoch(&self, known: Epoch) -> Result<Epoch, StoreError> {
        let mut state = self.state();
        if state.epoch == known {
            state.epoch = Epoch::generate();
        }
        Ok(state.epoch)
    }

    async fn active_calls(&self, app: AppId) -> Result<ActiveCalls, StoreError> {
        let state = self.state();
        let of_app = state.calls.iter().filter(|((owner, _), _)| *owner == app).map(|(_, record)| record);
        let mut active: Vec<&CallRecord> =
            of_app.filter(|record| record.snapshot.status != Status::Ended).collect();
        active.sort_by_key(|record| record.call.id);
        let calls = active.into_iter().map(|record| state.shown(app, record)).collect();
        Ok(ActiveCalls { epoch: state.epoch, as_of: state.head(app), calls })
    }

    async fn page_within(
        &self,
        app: AppId,
        after: Seq,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Frame>, StoreError> {
        let state = self.state();
        let mut bytes = 0;
        let behind = state.events.range((app, after.next())..=(app, Seq(i64::MAX)));
        let page = behind.take(limit).map(|(_, frame)| frame.clone()).take_while(|frame| {
            let fits = bytes < max_bytes;
            bytes += frame.text.len();
            fits
        });
        Ok(page.collect())
    }

    async fn tail(
        &self,
        app: AppId,
        after: Seq,
        limit: usize,
        max_bytes: usize,
    ) -> Result<(Epoch, Vec<Frame>), StoreError> {
        let page = self.page_within(app, after, limit, max_bytes).await?;
        Ok((self.state().epoch, page))
    }
}

impl State {
    pub(super) fn head(&self, app: AppId) -> Seq {
        let last = self.events.range((app, Seq(i64::MIN))..=(app, Seq(i64::MAX))).next_back();
        last.map_or(Seq::START, |((_, seq), _)| *seq)
    }

    /// Returns a call as readers of the active calls see it, as far as tests look.
    fn shown(&self, app: AppId, record: &CallRecord) -> ActiveCall {
        let (id, seen) = (record.call.dialpad_call_id.0, &record.snapshot);
        let user = seen.dialpad_user_id;
        let crm_user = user.and_then(|user| self.crm_users.get(&(app, user)));
        let text = serde_json::json!({
            "call_id": id, "dialpad_call_id": id, "status": seen.status.as_str(),
            "direction": seen.direction.map(Direction::as_str), "from_number": seen.from_number,
            "to_number": seen.to_number, "dialpad_user_id": user, "crm_user_id": crm_user,
        });
        ActiveCall::new(user, text.to_string())
    }
}
