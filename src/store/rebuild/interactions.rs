//! Compares interactions: the legs that belong together, and what is shown of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    id::{AppId, DialpadCallId, InteractionId},
    model::{
        call::StoredCall,
        interaction::{StoredInteraction, Summary, VoicemailShown},
    },
    ports::Ledger,
};
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Complete, PAGE, Rebuilt,
    compare::{as_stored, made},
};
use crate::store::{
    Store,
    db::{pool::store_error, types::Id},
    ledger::InteractionRow,
    verify::{
        AppRow,
        interactions::legs_of,
        snapshot::{Pages, Snapshot},
    },
};

const INTERACTIONS: &str =
    "SELECT id, version, CAST(summary AS TEXT) AS summary, merged_into, settles_at, has_settled,
    updated_at, created_at FROM interactions
    WHERE app_id = $1 AND id > $2 AND merged_into IS NULL ORDER BY id LIMIT $3";

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    interaction: InteractionRow,
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
    let mut pages = Pages::of(app.id, INTERACTIONS, PAGE);
    loop {
        let rows = pages.next(snapshot, |row: &Row| row.interaction.id()).await.map_err(store_error)?;
        if rows.is_empty() {
            return Ok(());
        }
        let ids = rows.iter().map(|row| row.interaction.id()).collect();
        let mut legs = legs_of(snapshot, app.id, ids).await.map_err(store_error)?;
        let of_page: Vec<DialpadCallId> = legs.values().flatten().map(|leg| leg.dialpad_call_id).collect();
        let made = made(scratch, app_id, &of_page).await?;
        let made_ids: BTreeSet<InteractionId> = made.values().map(|leg| leg.interaction_id).collect();
        let mut made_legs: BTreeMap<InteractionId, Vec<StoredCall>> = BTreeMap::new();
        for leg in scratch.legs(app_id, &made_ids.into_iter().collect::<Vec<_>>()).await? {
            made_legs.entry(leg.interaction_id).or_default().push(leg);
        }
        for Row { interaction, created_at } in rows {
            let id = InteractionId::from(interaction.id());
            let legs = legs.remove(&id).unwrap_or_default();
            let was_erased = legs.iter().any(|leg| leg.facts.was_erased());
            if was_erased || !complete.includes_created(created_at) {
                rebuilt.left_out.interactions += 1;
                continue;
            }
            rebuilt.compared.interactions += 1;
            let stored = interaction.into_interaction().ok();
            if legs.is_empty() {
                orphaned(scratch, app_id, id, stored.as_ref(), rebuilt).await?;
                continue;
            }
            let made_legs =
                made.get(&legs[0].dialpad_call_id).and_then(|leg| made_legs.get(&leg.interaction_id));
            let differing = differences(stored.as_ref(), &legs, made_legs.map_or(&[], Vec::as_slice));
            if !differing.is_empty() {
                let differing = differing.join(", ");
                rebuilt.differences.push(format!("interaction {id} of app {app_id}: {differing}"));
                let calls = legs.iter().map(|leg| leg.dialpad_call_id);
                rebuilt.differing.entry(app_id).or_default().calls.extend(calls);
            }
        }
    }
}

/// Names an interaction without legs, and remembers it for the call that was its first leg.
async fn orphaned(
    scratch: &Store,
    app: AppId,
    id: InteractionId,
    stored: Option<&StoredInteraction>,
    rebuilt: &mut Rebuilt,
) -> Result<(), StoreError> {
    rebuilt.differences.push(format!("interaction {id} of app {app}: calls"));
    if let Some(first) = stored.and_then(|stored| stored.summary.calls.first())
        && made(scratch, app, &[*first]).await?.contains_key(first)
    {
        let differing = rebuilt.differing.entry(app).or_default();
        differing.calls.insert(*first);
        differing.orphans.insert(*first, id);
    } else {
        rebuilt.unwritable += 1;
    }
    Ok(())
}

/// Returns what differs of an interaction.
fn differences(
    stored: Option<&StoredInteraction>,
    legs: &[StoredCall],
    made: &[StoredCall],
) -> Vec<&'static str> {
    let ids = |legs: &[StoredCall]| -> BTreeSet<DialpadCallId> {
        legs.iter().map(|leg| leg.dialpad_call_id).collect()
    };
    if ids(legs) != ids(made) {
        return vec!["calls"];
    }
    // With the ids and in the order of the stored legs.
    let made: Vec<StoredCall> = made
        .iter()
        .map(|made| {
            let stored = legs.iter().find(|leg| leg.dialpad_call_id == made.dialpad_call_id);
            let id = stored.map_or(made.id, |stored| stored.id);
            StoredCall { id, ..as_stored(made.clone(), stored) }
        })
        .collect();
    let (Some(stored), Some(made)) = (stored, Summary::of_calls(&made)) else { return vec!["summary"] };
    in_one_form(&made).changed_since(&in_one_form(&stored.summary))
}

/// Returns what is shown, without the server's id of the voicemail.
fn in_one_form(shown: &Summary) -> Summary {
    let voicemail = shown.voicemail.clone();
    let voicemail =
        voicemail.map(|voicemail| VoicemailShown { voicemail_id: Id(Uuid::nil()).into(), ..voicemail });
    Summary { voicemail, ..shown.clone() }
}
