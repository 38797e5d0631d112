//! Writes what differs: whole human calls, as units of work. No event is emitted, so clients have to read the calls
//! again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use cti_actors::{
    error::StoreError,
    id::{AppId, CallId, DialpadCallId, InteractionId},
    model::{
        call::{CallRecord, Status, StoredCall},
        interaction::{StoredInteraction, Summary},
    },
    ports::Ledger,
    unit::Unit,
};

use super::{Differing, compare, messages};
use crate::store::{Store, people::voicemail_of};

/// How many messages are written together.
const MESSAGES: usize = 50;

type Calls = HashMap<DialpadCallId, StoredCall>;

/// Writes the human calls that these legs belong to, here or in the scratch database. Returns how many legs were written.
pub(super) async fn calls(
    store: &Store,
    scratch: &Store,
    app: AppId,
    differing: &Differing,
    refused: &mut Vec<String>,
) -> Result<u64, StoreError> {
    let mut written = 0;
    let mut done: BTreeSet<DialpadCallId> = BTreeSet::new();
    for call in &differing.calls {
        if done.contains(call) {
            continue;
        }
        let (stored, made) = related(store, scratch, app, *call).await?;
        done.extend(stored.keys().chain(made.keys()));
        if let Some(kept) = stored.keys().find(|id| !made.contains_key(id)) {
            refused.push(format!(
                "call {call} of app {app} is left as it is: it belongs to call {kept}, which no webhook makes"
            ));
            continue;
        }
        written += made.len() as u64;
        store.commit(Arc::new(unit_of(store, app, &stored, made, differing).await?)).await?;
    }
    Ok(written)
}

/// Returns all calls that belong together with this one, here or in the scratch database.
async fn related(
    store: &Store,
    scratch: &Store,
    app: AppId,
    call: DialpadCallId,
) -> Result<(Calls, Calls), StoreError> {
    let mut known = BTreeSet::from([call]);
    loop {
        let ids: Vec<DialpadCallId> = known.iter().copied().collect();
        let stored = whole(store, app, &ids).await?;
        let made = whole(scratch, app, &ids).await?;
        let before = known.len();
        known.extend(stored.keys().chain(made.keys()));
        if known.len() == before {
            return Ok((stored, made));
        }
    }
}

/// Returns all legs of the interactions of these calls.
async fn whole(store: &Store, app: AppId, ids: &[DialpadCallId]) -> Result<Calls, StoreError> {
    let found = compare::made(store, app, ids).await?;
    let interactions: BTreeSet<InteractionId> = found.values().map(|leg| leg.interaction_id).collect();
    let legs = store.legs(app, &interactions.into_iter().collect::<Vec<_>>()).await?;
    Ok(legs.into_iter().map(|leg| (leg.dialpad_call_id, leg)).collect())
}

async fn unit_of(
    store: &Store,
    app: AppId,
    stored: &Calls,
    made: Calls,
    differing: &Differing,
) -> Result<Unit, StoreError> {
    let now = store.now();
    let region = store.apps().region(app).await?;
    let mut unit = Unit { region, ..Unit::new(app, now) };
    let mut by_interaction: BTreeMap<InteractionId, Vec<StoredCall>> = BTreeMap::new();
    for leg in made.into_values() {
        by_interaction.entry(leg.interaction_id).or_default().push(leg);
    }
    let mut kept = BTreeSet::new();
    for legs in by_interaction.into_values() {
        let mut legs: Vec<StoredCall> =
            legs.into_iter().map(|leg| replacing(leg, stored, differing, now)).collect();
        legs.sort_by_key(|leg| leg.id);
        let id = interaction_of(&legs, stored);
        for leg in &mut legs {
            leg.interaction_id = id;
            let snapshot = leg.facts.snapshot();
            unit.voicemails.extend(voicemail_of(leg, &snapshot, now));
            unit.calls.push(CallRecord { call: leg.clone(), snapshot });
        }
        let known = Ledger::interactions(store, app, &[id]).await?.pop();
        let Some(summary) = Summary::of_calls(&legs) else { continue };
        let has_settled = known.as_ref().is_some_and(|known| known.has_settled);
        let is_over = summary.status == Status::Ended;
        unit.interactions.push(StoredInteraction {
            id,
            version: known.map_or(0, |known| known.version) + 1,
            summary,
            merged_into: None,
            settles_at: (is_over && !has_settled).then_some(now),
            has_settled,
            updated_at: now,
        });
        kept.insert(id);
    }
    let left: BTreeSet<InteractionId> = stored.values().map(|leg| leg.interaction_id).collect();
    let left: Vec<InteractionId> = left.difference(&kept).copied().collect();
    for left in Ledger::interactions(store, app, &left).await? {
        let merged_into = kept.first().copied();
        unit.interactions.push(StoredInteraction {
            version: left.version + 1,
            settles_at: None,
            merged_into,
            ..left
        });
    }
    Ok(unit)
}

/// Returns a leg as the next version of the stored one.
fn replacing(
    made: StoredCall,
    stored: &Calls,
    differing: &Differing,
    now: chrono::DateTime<chrono::Utc>,
) -> StoredCall {
    let known = stored.get(&made.dialpad_call_id);
    let made = compare::as_stored(made, known);
    match known {
        None => {
            // An interaction has the id of its first leg.
            let id = differing.orphans.get(&made.dialpad_call_id).map_or(made.id, |id| CallId(id.0));
            StoredCall { id, version: 1, updated_at: now, ..made }
        }
        Some(known) => StoredCall {
            id: known.id,
            voicemail_id: known.voicemail_id.or(made.voicemail_id),
            version: known.version + 1,
            updated_at: now,
            ..made
        },
    }
}

/// Returns the interaction of these legs, the first one first: the stored one if it is theirs alone.
fn interaction_of(legs: &[StoredCall], stored: &Calls) -> InteractionId {
    let known: BTreeSet<InteractionId> = legs
        .iter()
        .filter_map(|leg| stored.get(&leg.dialpad_call_id))
        .map(|leg| leg.interaction_id)
        .collect();
    let mut of_others = stored.values().filter(|leg| legs.iter().all(|it| it.id != leg.id));
    match known.first() {
        Some(only) if known.len() == 1 && of_others.all(|leg| leg.interaction_id != *only) => *only,
        _ => legs[0].id.into(),
    }
}

/// Writes these messages as the journal makes them. Returns how many.
pub(super) async fn messages(
    store: &Store,
    scratch: &Store,
    app: AppId,
    differing: &BTreeSet<String>,
) -> Result<u64, StoreError> {
    let ids: Vec<String> = differing.iter().cloned().collect();
    let mut written = 0;
    for some in ids.chunks(MESSAGES) {
        let now = store.now();
        let region = store.apps().region(app).await?;
        let stored = messages::made(store, app, some).await?;
        let mut unit = Unit { region, ..Unit::new(app, now) };
        for mut message in messages::made(scratch, app, some).await?.into_values() {
            let known = stored.get(&message.dialpad_message_id);
            message.id = known.map_or(message.id, |known| known.id);
            message.version = known.map_or(0, |known| known.version) + 1;
            message.updated_at = now;
            unit.messages.push(message);
        }
        written += unit.messages.len() as u64;
        store.commit(Arc::new(unit)).await?;
    }
    Ok(written)
}
