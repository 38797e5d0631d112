//! Calls: their columns are what follows from their facts, and each belongs to an interaction.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{AppRow, Findings, PAGE, Snapshot, causes, columns::CallColumns, snapshot::Pages};
use crate::store::ledger::CallRow;

/// With `created_at`, which follows from nothing.
pub(in crate::store) const CALLS: &str = "SELECT id, dialpad_call_id, COALESCE(interaction_id, id) AS interaction_id, voicemail_id, version,
    updated_at, CAST(facts AS TEXT) AS facts, direction, from_number, to_number, from_e164, to_e164, contact_name,
    target_name, is_internal, callback_requested, CAST(custom_data AS TEXT) AS custom_data,
    CAST(recordings AS TEXT) AS recordings, status, dialpad_state, outcome, dialpad_user_id, ringing_at, answered_at,
    ended_at, duration_seconds, talk_seconds, hold_seconds, recording_url, is_voicemail, leg, master_call_id,
    entry_point_call_id, operator_call_id, target_id, link_target, link_at, answered_elsewhere, created_at,
    (ended_updated_at IS NOT NULL AND ended_updated_at = updated_at) AS is_over
    FROM calls WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3";

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    call: CallRow,
    #[sqlx(flatten)]
    columns: CallColumns,
}

pub(super) async fn check<S: Snapshot>(
    snapshot: &mut S,
    app: &AppRow,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    let mut pages = Pages::of(app.id, CALLS, PAGE);
    loop {
        let rows = pages.next(snapshot, |row: &Row| row.call.id()).await?;
        if rows.is_empty() {
            return Ok(());
        }
        findings.verified.checked.calls += rows.len() as u64;
        let mut named: BTreeSet<(Uuid, i64)> = BTreeSet::new();
        for Row { call, columns } in rows {
            let id = call.dialpad_call_id();
            match call.into_call() {
                Ok(call) => {
                    named.insert((call.interaction_id.0, id));
                    let expected = CallColumns::of(&call, app.region());
                    check_columns(app, id, columns.in_one_form(), expected, findings);
                }
                Err(_) => {
                    findings.broken("call that can't be read", format_args!("call {id} of app {}", app.id.0))
                }
            }
        }
        let interactions = named.iter().map(|(interaction, _)| *interaction).collect();
        let known = causes::interactions(snapshot, app.id, interactions).await?;
        for (interaction, call) in named.iter().filter(|(interaction, _)| !known.contains(interaction)) {
            findings.broken(
                "call without its interaction",
                format_args!("call {call} of app {}: there is no interaction {interaction}", app.id.0),
            );
        }
    }
}

fn check_columns(app: &AppRow, id: i64, stored: CallColumns, expected: CallColumns, findings: &mut Findings) {
    let (stored, expected) = if app.has_current_numbers() {
        (stored, expected)
    } else {
        (stored.without_e164(), expected.without_e164())
    };
    let differing = stored.differences(&expected);
    if !differing.is_empty() {
        findings.broken(
            "call that differs from its facts",
            format_args!("call {id} of app {}: {}", app.id.0, differing.join(", ")),
        );
    }
}
