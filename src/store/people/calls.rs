//! The calls of a person, one human call at a time: its legs, its voicemails and what is shown of it as a whole are
//! written together. The version guard refuses what a call's actor decided on the facts from before.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    id::{AppId, InteractionId, VoicemailId},
    model::{
        call::{CallRecord, Snapshot, StoredCall, VoicemailRecord},
        interaction::StoredInteraction,
    },
    ports::Ledger,
    unit::Unit,
};

use super::{MAX_ATTEMPTS, Person};
use crate::store::{Store, db::types::Id, on_db};

const ERASE_VOICEMAIL: &str = "UPDATE voicemails SET from_number = NULL, to_number = NULL, from_e164 = NULL,
    to_e164 = NULL, recording_url = NULL, transcript = NULL, updated_at = $3 WHERE app_id = $1 AND id = $2
    AND COALESCE(from_number, to_number, from_e164, to_e164, recording_url, transcript) IS NOT NULL";

/// Masks the calls and voicemails of a person. Returns how many of each.
pub(super) async fn erase(store: &Store, person: &Person) -> Result<(u64, u64), StoreError> {
    // The voicemails first: their calls lead to them as long as those have the number.
    let mut voicemails = erase_voicemails(store, person).await?;
    let mut calls = 0;
    for interaction in &person.interactions {
        calls += erase_interaction(store, person.app, *interaction).await?;
    }
    // A batch that was under way may have written one again.
    voicemails += erase_voicemails(store, person).await?;
    Ok((calls, voicemails.min(person.voicemails.len() as u64)))
}

async fn erase_voicemails(store: &Store, person: &Person) -> Result<u64, StoreError> {
    let (app, now) = (Id::from(person.app), store.now());
    let mut erased = 0;
    for voicemail in &person.voicemails {
        erased += on_db!(store, write db => {
            let erase = sqlx::query(ERASE_VOICEMAIL).bind(app).bind(Id::from(*voicemail)).bind(now);
            erase.execute(db).await.map(|done| done.rows_affected())
        })?;
    }
    Ok(erased)
}

/// Masks all legs of a human call. Returns how many had something to mask.
async fn erase_interaction(store: &Store, app: AppId, interaction: InteractionId) -> Result<u64, StoreError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let now = store.now();
        let region = store.apps().region(app).await?;
        let mut legs = store.legs(app, &[interaction]).await?;
        let mut unit = Unit { region, ..Unit::new(app, now) };
        for leg in &mut legs {
            if !leg.facts.forget_person() {
                continue;
            }
            leg.version += 1;
            leg.updated_at = now;
            let snapshot = leg.facts.snapshot();
            unit.voicemails.extend(voicemail_of(leg, &snapshot, now));
            unit.calls.push(CallRecord { call: leg.clone(), snapshot });
        }
        unit.interactions.extend(shown_by_legs(store, app, interaction, &legs, now).await?);
        if unit.is_empty() {
            return Ok(0);
        }
        let erased = unit.calls.len() as u64;
        match store.commit(Arc::new(unit)).await {
            Err(StoreError::Conflict(_)) if attempt < MAX_ATTEMPTS => {}
            written => return written.map(|_| erased),
        }
    }
}

/// Returns an interaction as its legs show it; `None` where the store has it like this, or not at all.
pub(in crate::store) async fn shown_by_legs(
    store: &Store,
    app: AppId,
    interaction: InteractionId,
    legs: &[StoredCall],
    now: DateTime<Utc>,
) -> Result<Option<StoredInteraction>, StoreError> {
    let stored = Ledger::interactions(store, app, &[interaction]).await?;
    Ok(stored.first().and_then(|stored| stored.shown_by(legs, now)))
}

/// Returns what is stored of the voicemail of a call; `None` where it has none.
pub(in crate::store) fn voicemail_of(
    call: &StoredCall,
    snapshot: &Snapshot,
    now: DateTime<Utc>,
) -> Option<VoicemailRecord> {
    let (id, voicemail): (VoicemailId, _) = call.voicemail_id.zip(snapshot.voicemail.clone())?;
    Some(VoicemailRecord {
        id,
        dialpad_call_id: call.dialpad_call_id,
        voicemail,
        direction: snapshot.direction,
        from_number: snapshot.from_number.clone(),
        to_number: snapshot.to_number.clone(),
        dialpad_user_id: snapshot.dialpad_user_id,
        updated_at: now,
    })
}
