//! The calls that an app's supervisor begins with.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::AppId, ports::RecentCalls};

use super::CallRow;
use crate::store::{
    Store,
    db::{
        bulk::{Column, Rows},
        types::{Id, first_id_at},
    },
    lookups::Lookup,
    on_db,
};

/// The inbound calls that were first seen lately: ids begin with the time.
const FIRST_SEEN: &str = "SELECT calls.id, calls.dialpad_call_id,
    COALESCE(calls.interaction_id, calls.id) AS interaction_id, calls.voicemail_id, calls.version, calls.updated_at,
    CAST(calls.facts AS TEXT) AS facts
    FROM calls WHERE app_id = $1 AND id >= $2 AND direction = 'inbound' ORDER BY id DESC LIMIT $3";
/// The rows are apps, each with the instants from which on calls count. Finds the apps that have any.
const RECENT_HEAD: &str = "WITH named (app_id, first, since) AS (";
const RECENT_TAIL: &str = ") SELECT named.app_id FROM named WHERE EXISTS (SELECT 1 FROM calls
        WHERE calls.app_id = named.app_id AND calls.id >= named.first AND calls.direction = 'inbound')
    OR EXISTS (SELECT 1 FROM calls WHERE calls.app_id = named.app_id
        AND calls.link_target IS NOT NULL AND calls.link_at >= named.since)";
/// How many of them are read.
const MAX_FIRST_SEEN: i64 = 4096;
const WAITED_FOR: &str = "SELECT link_target, MAX(link_at) FROM calls
    WHERE app_id = $1 AND link_target IS NOT NULL AND link_at >= $2 GROUP BY link_target";

/// An app, and the instants from which on its calls count: those first seen, and those that wait for others.
pub(in crate::store) type RecentKey = (AppId, DateTime<Utc>, DateTime<Utc>);

static RECENT: Lookup<RecentKey, ()> = Lookup {
    lookups: |shared| &shared.apps_with_recent_calls,
    read: |store, keys| {
        Box::pin(async move {
            let rows = Rows::of(vec![
                Column::Id(keys.iter().map(|(app, ..)| Id::from(*app)).collect()),
                Column::Id(keys.iter().map(|(_, first, _)| first_id_at(*first)).collect()),
                Column::Time(keys.iter().map(|(.., since)| *since).collect()),
            ]);
            let found: Vec<(Id,)> = store.fetch_listed(RECENT_HEAD, RECENT_TAIL, rows).await?;
            let found: HashSet<AppId> = found.into_iter().map(|(app,)| app.into()).collect();
            Ok(keys.into_iter().filter(|(app, ..)| found.contains(app)).map(|key| (key, ())).collect())
        })
    },
};

impl Store {
    /// Reads the newest inbound calls, and for whose legs others wait.
    pub(super) async fn read_recent_calls(
        &self,
        app: AppId,
        first_seen_since: DateTime<Utc>,
        waiting_since: DateTime<Utc>,
    ) -> Result<RecentCalls, StoreError> {
        // Most apps have none. After a start, that is asked for many apps at once.
        let asked = (app, first_seen_since, waiting_since);
        if self.look_up(&RECENT, vec![asked]).await?.is_empty() {
            return Ok(RecentCalls::default());
        }
        let (app, first) = (Id::from(app), first_id_at(first_seen_since));
        let mut rows: Vec<CallRow> = on_db!(self, read db => {
            sqlx::query_as(FIRST_SEEN).bind(app).bind(first).bind(MAX_FIRST_SEEN).fetch_all(db).await
        })?;
        rows.reverse();
        let waited_for = on_db!(self, read db => {
            sqlx::query_as(WAITED_FOR).bind(app).bind(waiting_since).fetch_all(db).await
        })?;
        let first_seen = rows.into_iter().map(CallRow::into_call).collect::<Result<_, _>>()?;
        Ok(RecentCalls { first_seen, waited_for })
    }
}
