//! Compares calls and their voicemails.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    id::{AppId, DialpadCallId},
    model::call::StoredCall,
    ports::Ledger,
};
use sqlx::FromRow;
use uuid::Uuid;

use super::{Complete, PAGE, Rebuilt};
use crate::store::{
    Store,
    db::{
        bulk::{Column, FirstParam, Rows},
        pool::store_error,
        types::Id,
    },
    ledger::CallRow,
    on_db,
    verify::{
        AppRow, calls, causes,
        columns::{CallColumns, VoicemailColumns},
        snapshot::{Pages, Snapshot},
    },
};

const VOICEMAILS_HEAD: &str = "WITH app (id) AS (SELECT $1), named (call) AS (";
const VOICEMAILS_TAIL: &str =
    ") SELECT voicemails.dialpad_call_id, dialpad_voicemail_id, dialpad_user_id, direction, from_number,
    to_number, recording_url, transcript, duration_seconds, received_at
    FROM app CROSS JOIN named CROSS JOIN voicemails
    WHERE voicemails.app_id = app.id AND voicemails.dialpad_call_id = named.call AND deleted_at IS NULL";
const MADE: &str = "SELECT id, dialpad_call_id FROM calls WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3";

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    call: CallRow,
    #[sqlx(flatten)]
    columns: CallColumns,
    created_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct VoicemailRow {
    dialpad_call_id: i64,
    #[sqlx(flatten)]
    columns: VoicemailColumns,
}

/// Returns those of these calls that the journal has made, by Dialpad's ids.
pub(super) async fn made(
    scratch: &Store,
    app: AppId,
    ids: &[DialpadCallId],
) -> Result<HashMap<DialpadCallId, StoredCall>, StoreError> {
    let relatives = scratch.relatives(app, ids).await?.into_iter();
    Ok(relatives.filter(|it| ids.contains(&it.dialpad_call_id)).map(|it| (it.dialpad_call_id, it)).collect())
}

/// Returns a call as the journal makes it, without the voicemail if that was deleted here.
pub(super) fn as_stored(mut made: StoredCall, stored: Option<&StoredCall>) -> StoredCall {
    if stored.is_some_and(|stored| stored.facts.has_deleted_voicemail()) {
        made.facts.forget_voicemail();
    }
    made
}

pub(super) async fn calls<S: Snapshot>(
    snapshot: &mut S,
    scratch: &Store,
    app: &AppRow,
    complete: Complete,
    rebuilt: &mut Rebuilt,
) -> Result<(), StoreError> {
    let app_id = AppId::from(app.id);
    let mut pages = Pages::of(app.id, calls::CALLS, PAGE);
    loop {
        let rows = pages.next(snapshot, |row: &Row| row.call.id()).await.map_err(store_error)?;
        if rows.is_empty() {
            return Ok(());
        }
        let ids: Vec<DialpadCallId> =
            rows.iter().map(|row| DialpadCallId(row.call.dialpad_call_id())).collect();
        let mut made = made(scratch, app_id, &ids).await?;
        let interactions: BTreeSet<Uuid> = rows.iter().map(|row| row.call.interaction_id().0).collect();
        let interactions = causes::interactions(snapshot, app.id, interactions).await.map_err(store_error)?;
        let mut voicemails = voicemails_of(snapshot, app.id, &ids).await.map_err(store_error)?;
        for Row { call, columns, created_at } in rows {
            let id = DialpadCallId(call.dialpad_call_id());
            let has_interaction = interactions.contains(&call.interaction_id().0);
            let stored = call.into_call();
            let was_erased = stored.as_ref().is_ok_and(|it| it.facts.was_erased());
            if was_erased || !complete.includes_created(created_at) {
                rebuilt.left_out.calls += 1;
                continue;
            }
            rebuilt.compared.calls += 1;
            let Some(made) = made.remove(&id) else {
                rebuilt.unwritable += 1;
                rebuilt.differences.push(format!("call {id} of app {app_id}: no webhook makes it"));
                continue;
            };
            let made = as_stored(made, stored.as_ref().ok());
            let expected = CallColumns::of(&made, app.region());
            let mut differing = columns.in_one_form().without_e164().differences(&expected.without_e164());
            if stored.is_err() {
                differing.push("facts");
            }
            differing.extend(match (voicemails.remove(&id), VoicemailColumns::of(&made)) {
                (Some(stored), Some(made)) => stored.differences(&made),
                (None, None) => Vec::new(),
                (Some(_), None) | (None, Some(_)) => vec!["voicemail"],
            });
            if !has_interaction {
                differing.push("interaction");
            }
            if !differing.is_empty() {
                let differing = differing.join(", ");
                rebuilt.differences.push(format!("call {id} of app {app_id}: {differing}"));
                rebuilt.differing.entry(app_id).or_default().calls.insert(id);
            }
        }
    }
}

/// Finds the calls that the journal makes and that are not stored.
pub(super) async fn missing_calls<S: Snapshot>(
    snapshot: &mut S,
    scratch: &Store,
    app: &AppRow,
    rebuilt: &mut Rebuilt,
) -> Result<(), StoreError> {
    let app_id = AppId::from(app.id);
    let mut last = Id(Uuid::nil());
    loop {
        let made: Vec<(Id, i64)> = on_db!(scratch, read db => {
            sqlx::query_as(MADE).bind(app.id).bind(last).bind(PAGE).fetch_all(db).await
        })?;
        let Some((end, _)) = made.last() else { return Ok(()) };
        last = *end;
        let ids: BTreeSet<i64> = made.iter().map(|(_, id)| *id).collect();
        let stored = causes::calls(snapshot, app.id, ids.clone()).await.map_err(store_error)?;
        for id in ids.into_iter().filter(|id| !stored.contains(id)) {
            rebuilt.compared.calls += 1;
            rebuilt.differences.push(format!("call {id} of app {app_id}: it is missing"));
            rebuilt.differing.entry(app_id).or_default().calls.insert(DialpadCallId(id));
        }
    }
}

async fn voicemails_of<S: Snapshot>(
    snapshot: &mut S,
    app: Id,
    calls: &[DialpadCallId],
) -> Result<HashMap<DialpadCallId, VoicemailColumns>, sqlx::Error> {
    let calls = Column::Int(calls.iter().map(|id| id.0).collect());
    let named = Rows::of(vec![calls]).after(FirstParam::Id(app));
    let rows: Vec<VoicemailRow> = snapshot.listed(VOICEMAILS_HEAD, VOICEMAILS_TAIL, named).await?;
    Ok(rows.into_iter().map(|row| (DialpadCallId(row.dialpad_call_id), row.columns.in_one_form())).collect())
}
