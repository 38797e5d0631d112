//! Text messages: their columns are what follows from their facts.

use super::{AppRow, Findings, PAGE, Snapshot, columns::MessageColumns, snapshot::Pages};
use crate::store::ledger::MessageRow;

/// With `created_at`, which follows from nothing.
pub(in crate::store) const MESSAGES: &str =
    "SELECT id, dialpad_message_id, version, updated_at, CAST(facts AS TEXT) AS facts, direction,
    from_number, to_number, from_e164, to_e164, text, mms_url, CAST(media_urls AS TEXT) AS media_urls,
    message_delivery_result, message_status, dialpad_user_id, sent_at, created_at
    FROM messages WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3";

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    message: MessageRow,
    #[sqlx(flatten)]
    columns: MessageColumns,
}

pub(super) async fn check<S: Snapshot>(
    snapshot: &mut S,
    app: &AppRow,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    let mut pages = Pages::of(app.id, MESSAGES, PAGE);
    loop {
        let rows = pages.next(snapshot, |row: &Row| row.message.id()).await?;
        if rows.is_empty() {
            return Ok(());
        }
        findings.verified.checked.messages += rows.len() as u64;
        for Row { message, columns } in rows {
            let id = message.dialpad_message_id().to_owned();
            let Ok(message) = message.into_message() else {
                findings
                    .broken("message that can't be read", format_args!("message {id} of app {}", app.id.0));
                continue;
            };
            let (mut stored, mut expected) =
                (columns.in_one_form(), MessageColumns::of(&message, app.region()));
            if !app.has_current_numbers() {
                (stored, expected) = (stored.without_e164(), expected.without_e164());
            }
            let differing = stored.differences(&expected);
            if !differing.is_empty() {
                findings.broken(
                    "message that differs from its facts",
                    format_args!("message {id} of app {}: {}", app.id.0, differing.join(", ")),
                );
            }
        }
    }
}
