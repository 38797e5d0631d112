//! Consumers whose connections share the work at several processes: one record each, which only a process replaces that has read
//! it last.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use cti_actors::{
    consumer::ConsumerKey,
    error::StoreError,
    id::{AppId, Epoch, Seq},
    model::sharing::Sharing,
    ports::{SharingSave, StoredSharing},
};

use crate::store::{
    ConsumerStore,
    db::{
        bulk::{Column, Rows},
        types::Id,
    },
    on_db,
};

const READ: &str = "SELECT mode, holder, acked_seq, consumers.epoch, present.epoch,
    CASE WHEN sharing_version = holder THEN sharing END, connections, held_until
    FROM consumers CROSS JOIN feed_epoch AS present WHERE app_id = $1 AND name = $2";
const SAVE_HEAD: &str =
    "WITH saved (of_app, of_name, known, version, record, of_epoch, is_current, acked, open_now,
    leased_until, saved_at) AS (";
/// Only what was read before is replaced. What was not acknowledged in the present epoch leaves the cursor as it is: until
/// something is, each connection gets a gap.
const SAVE_TAIL: &str = ") UPDATE consumers SET
        mode = 'share', previous_holder = holder, holder = version, sharing_version = version, sharing = record,
        connections = open_now, held_until = leased_until,
        updated_at = CASE WHEN is_current AND (acked <> acked_seq OR consumers.epoch <> present.epoch)
            THEN saved_at ELSE updated_at END,
        acked_seq = CASE WHEN is_current THEN acked ELSE acked_seq END,
        epoch = CASE WHEN is_current THEN present.epoch ELSE consumers.epoch END
    FROM saved, feed_epoch AS present
    WHERE app_id = of_app AND name = of_name AND holder = known AND present.epoch = of_epoch
    RETURNING consumers.app_id, consumers.name";

/// A row of [`READ`].
type Row = (String, i64, i64, Option<Id>, Id, Option<String>, i64, DateTime<Utc>);

impl ConsumerStore<'_> {
    /// Returns what processes share of a consumer, which is created if it is new; `None`: the app has too many.
    pub(super) async fn open_shared(
        self,
        app: AppId,
        name: &str,
        start: Seq,
        epoch: Epoch,
    ) -> Result<Option<StoredSharing>, StoreError> {
        if let Some(known) = self.sharing(app, name).await? {
            return Ok(Some(known));
        }
        self.find_or_create(app, name, start, epoch).await?;
        self.sharing(app, name).await
    }

    /// Returns what processes share of a consumer; `None`: there is no consumer of this name.
    pub(super) async fn sharing(self, app: AppId, name: &str) -> Result<Option<StoredSharing>, StoreError> {
        let row: Option<Row> = on_db!(self.store, read db => {
            sqlx::query_as(READ).bind(Id::from(app)).bind(name).fetch_optional(db).await
        })?;
        let Some((mode, version, acked, epoch, present, sharing, connections, held_until)) = row else {
            return Ok(None);
        };
        let is_exclusive = mode != "share";
        // One that can't be read is replaced: everybody begins at the cursor.
        let sharing =
            sharing.filter(|_| !is_exclusive).and_then(|text| serde_json::from_str::<Sharing>(&text).ok());
        Ok(Some(StoredSharing {
            version,
            acked: Seq(acked),
            is_current: epoch.is_none_or(|epoch| epoch == present),
            epoch: present.into(),
            is_exclusive,
            is_live: connections > 0 && held_until > self.store.now(),
            sharing,
        }))
    }

    /// Replaces what processes share. Returns the consumers for which nobody was faster.
    pub(super) async fn save_sharings(self, saves: &[SharingSave]) -> Result<Vec<ConsumerKey>, StoreError> {
        let now = self.store.now();
        // In the same order in all processes, so that two of them never wait for each other.
        let sorted: BTreeMap<_, _> = saves.iter().map(|it| ((it.app_id, &it.name), it)).collect();
        let each = || sorted.values();
        let mut records = Vec::with_capacity(saves.len());
        for save in each() {
            let record = serde_json::to_string(&save.sharing);
            records.push(record.map_err(|error| StoreError::Rejected(error.to_string()))?);
        }
        let rows = Rows::of(vec![
            Column::Id(each().map(|it| it.app_id.into()).collect()),
            Column::Text(each().map(|it| it.name.clone()).collect()),
            Column::Int(each().map(|it| it.known).collect()),
            Column::Int(each().map(|it| it.version).collect()),
            Column::Text(records),
            Column::Id(each().map(|it| it.sharing.epoch.into()).collect()),
            Column::Bool(each().map(|it| it.sharing.is_current).collect()),
            Column::Int(each().map(|it| it.sharing.low_water().0).collect()),
            Column::Int(
                each().map(|it| i64::try_from(it.sharing.connections()).unwrap_or(i64::MAX)).collect(),
            ),
            Column::Time(each().map(|it| it.held_until).collect()),
            Column::Time(each().map(|_| now).collect()),
        ]);
        let saved: Vec<(Id, String)> = self.store.write_listed(SAVE_HEAD, SAVE_TAIL, rows).await?;
        Ok(saved.into_iter().map(|(app, name)| (app.into(), name)).collect())
    }
}
