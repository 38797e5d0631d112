//! Interactions: what is stored of each is what its legs show.

use std::collections::BTreeMap;

use cti_actors::{
    id::InteractionId,
    model::{
        call::StoredCall,
        interaction::{StoredInteraction, Summary},
    },
};

use super::{AppRow, Findings, Snapshot, columns::InteractionColumns, snapshot::Pages};
use crate::store::{
    db::{
        bulk::{Column, FirstParam, Rows},
        types::Id,
    },
    ledger::{CallRow, InteractionRow, LEGS_HEAD, LEGS_TAIL},
};

const INTERACTIONS: &str =
    "SELECT id, version, CAST(summary AS TEXT) AS summary, merged_into, settles_at, has_settled,
    updated_at, status, outcome, direction, external_number, external_e164,
    (ended_updated_at IS NOT NULL AND ended_updated_at = updated_at) AS is_over FROM interactions WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3";

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    interaction: InteractionRow,
    #[sqlx(flatten)]
    columns: InteractionColumns,
}

/// All legs of so many interactions are read at a time.
const PAGE: i64 = 200;

pub(super) async fn check<S: Snapshot>(
    snapshot: &mut S,
    app: &AppRow,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    let mut pages = Pages::of(app.id, INTERACTIONS, PAGE);
    loop {
        let rows = pages.next(snapshot, |row: &Row| row.interaction.id()).await?;
        if rows.is_empty() {
            return Ok(());
        }
        findings.verified.checked.interactions += rows.len() as u64;
        let ids = rows.iter().map(|row| row.interaction.id()).collect();
        let mut legs = legs_of(snapshot, app.id, ids).await?;
        for Row { interaction, columns } in rows {
            let Id(id) = interaction.id();
            let Ok(interaction) = interaction.into_interaction() else {
                findings.broken("interaction that can't be read", format_args!("{id} of app {}", app.id.0));
                continue;
            };
            let legs = legs.remove(&interaction.id).unwrap_or_default();
            let expected = InteractionColumns::of(&interaction, app.region());
            let differing = if app.has_current_numbers() {
                columns.differences(&expected)
            } else {
                columns.without_e164().differences(&expected.without_e164())
            };
            let differing = (!differing.is_empty()).then(|| differing.join(", "));
            if let Some(problem) = problem_of(&interaction, &legs).or(differing) {
                findings.broken(
                    "interaction that differs from its legs",
                    format_args!("{id} of app {}: {problem}", app.id.0),
                );
            }
        }
    }
}

/// Returns what is wrong with an interaction.
fn problem_of(interaction: &StoredInteraction, legs: &[StoredCall]) -> Option<String> {
    let shown = Summary::of_calls(legs);
    match (interaction.merged_into, shown) {
        (Some(other), Some(_)) => Some(format!("it is merged into {other}, and has legs")),
        (Some(_), None) => None,
        (None, None) => Some("it has no legs".to_owned()),
        (None, Some(shown)) => {
            let stored = &interaction.summary;
            let mut differing = shown.changed_since(stored);
            if stored.users != shown.users {
                differing.push("users");
            }
            // What an early version had not yet stored is written with the next news.
            let is_early = interaction.version == 1 && stored.users.is_empty() && interaction.has_settled;
            (!differing.is_empty() && !is_early).then(|| differing.join(", "))
        }
    }
}

/// Returns the legs of these interactions. One that can't be read is named with the calls.
pub(in crate::store) async fn legs_of<S: Snapshot>(
    snapshot: &mut S,
    app: Id,
    interactions: Vec<Id>,
) -> Result<BTreeMap<InteractionId, Vec<StoredCall>>, sqlx::Error> {
    let named = Rows::of(vec![Column::Id(interactions)]).after(FirstParam::Id(app));
    let mut legs: BTreeMap<InteractionId, Vec<StoredCall>> = BTreeMap::new();
    for row in snapshot.listed::<CallRow>(LEGS_HEAD, LEGS_TAIL, named).await? {
        if let Ok(leg) = row.into_call() {
            legs.entry(leg.interaction_id).or_default().push(leg);
        }
    }
    Ok(legs)
}
