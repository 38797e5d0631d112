//! Compares text messages.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::AppId, model::message::StoredMessage, ports::Ledger};
use sqlx::FromRow;
use uuid::Uuid;

use super::{Complete, PAGE, Rebuilt};
use crate::store::{
    Store,
    db::{pool::store_error, types::Id},
    ledger::MessageRow,
    on_db,
    verify::{
        AppRow, causes,
        columns::MessageColumns,
        messages::MESSAGES,
        snapshot::{Pages, Snapshot},
    },
};

const MADE: &str = "SELECT id, dialpad_message_id FROM messages
    WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3";

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    message: MessageRow,
    #[sqlx(flatten)]
    columns: MessageColumns,
    created_at: DateTime<Utc>,
}

pub(super) async fn compare<S: Snapshot>(
    snapshot: &mut S,
    scratch: &Store,
    app: &AppRow,
    complete: Complete,
    rebuilt: &mut Rebuilt,
) -> Result<(), StoreError> {
    let app_id = AppId::from(app.id);
    let mut pages = Pages::of(app.id, MESSAGES, PAGE);
    loop {
        let rows = pages.next(snapshot, |row: &Row| row.message.id()).await.map_err(store_error)?;
        if rows.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = rows.iter().map(|row| row.message.dialpad_message_id().to_owned()).collect();
        let made = made(scratch, app_id, &ids).await?;
        for Row { message, columns, created_at } in rows {
            let id = message.dialpad_message_id().to_owned();
            let stored = message.into_message();
            let was_erased = stored.as_ref().is_ok_and(|it| it.facts.was_erased());
            if was_erased || !complete.includes_created(created_at) {
                rebuilt.left_out.messages += 1;
                continue;
            }
            rebuilt.compared.messages += 1;
            let Some(made) = made.get(&id) else {
                rebuilt.unwritable += 1;
                rebuilt.differences.push(format!("message {id} of app {app_id}: no webhook makes it"));
                continue;
            };
            let expected = MessageColumns::of(made, app.region()).without_e164();
            let mut differing = columns.in_one_form().without_e164().differences(&expected);
            if stored.is_err() {
                differing.push("facts");
            }
            if !differing.is_empty() {
                let differing = differing.join(", ");
                rebuilt.differences.push(format!("message {id} of app {app_id}: {differing}"));
                rebuilt.differing.entry(app_id).or_default().messages.insert(id);
            }
        }
    }
}

/// Finds the messages that the journal makes and that are not stored.
pub(super) async fn missing<S: Snapshot>(
    snapshot: &mut S,
    scratch: &Store,
    app: &AppRow,
    rebuilt: &mut Rebuilt,
) -> Result<(), StoreError> {
    let app_id = AppId::from(app.id);
    let mut last = Id(Uuid::nil());
    loop {
        let made: Vec<(Id, String)> = on_db!(scratch, read db => {
            sqlx::query_as(MADE).bind(app.id).bind(last).bind(PAGE).fetch_all(db).await
        })?;
        let Some((end, _)) = made.last() else { return Ok(()) };
        last = *end;
        let ids: BTreeSet<String> = made.into_iter().map(|(_, id)| id).collect();
        let stored = causes::messages(snapshot, app.id, ids.clone()).await.map_err(store_error)?;
        for id in ids.into_iter().filter(|id| !stored.contains(id)) {
            rebuilt.compared.messages += 1;
            rebuilt.differences.push(format!("message {id} of app {app_id}: it is missing"));
            rebuilt.differing.entry(app_id).or_default().messages.insert(id);
        }
    }
}

/// Returns those of these messages that the journal has made, by Dialpad's ids.
pub(super) async fn made(
    scratch: &Store,
    app: AppId,
    ids: &[String],
) -> Result<HashMap<String, StoredMessage>, StoreError> {
    let made = Ledger::messages(scratch, app, ids).await?.into_iter();
    Ok(made.map(|message| (message.dialpad_message_id.clone(), message)).collect())
}
