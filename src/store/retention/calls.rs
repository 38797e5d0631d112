//! Old calls: a human call is deleted as a whole, once it is over and none of its legs had news for long enough. So are
//! voicemails without a call, and messages.

use chrono::{DateTime, Utc};
use cti_actors::error::StoreError;
use tokio::time::Instant;

use super::{Pace, PrunedCalls, metrics::Kind};
use crate::store::{Store, db::types::Id, on_db};

const APPS: &str = "SELECT id FROM apps ORDER BY id";
/// The human calls that are over, also those that became part of another one. Its legs can have news that change nothing
/// of the whole.
const OLD_INTERACTIONS: &str = "SELECT id, updated_at FROM interactions
    WHERE app_id = $1 AND ended_updated_at < $2 AND settles_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM calls WHERE calls.app_id = $1 AND calls.updated_at >= $2
        AND calls.interaction_id IS NOT NULL AND calls.interaction_id = interactions.id)
    AND NOT EXISTS (SELECT 1 FROM calls WHERE calls.app_id = $1 AND calls.updated_at >= $2
        AND calls.interaction_id IS NULL AND calls.id = interactions.id)
    ORDER BY ended_updated_at, id LIMIT $3";
const DELETE_VOICEMAILS: &str = "DELETE FROM voicemails WHERE app_id = $1 AND id IN (
    SELECT voicemail_id FROM calls WHERE app_id = $1 AND interaction_id IS NOT NULL AND interaction_id = $2
    UNION ALL SELECT voicemail_id FROM calls WHERE app_id = $1 AND interaction_id IS NULL AND id = $2)";
const DELETE_FIRST_LEG: &str = "DELETE FROM calls
    WHERE app_id = $1 AND interaction_id IS NULL AND id = $2 AND updated_at < $3";
const DELETE_LEGS: &str = "DELETE FROM calls
    WHERE app_id = $1 AND interaction_id IS NOT NULL AND interaction_id = $2 AND updated_at < $3";
const DELETE_INTERACTION: &str = "DELETE FROM interactions
    WHERE app_id = $1 AND id = $2 AND updated_at < $3";
const HAS_LEGS: &str =
    "SELECT 1 FROM calls WHERE app_id = $1 AND interaction_id IS NOT NULL AND interaction_id = $2
    UNION ALL SELECT 1 FROM calls WHERE app_id = $1 AND interaction_id IS NULL AND id = $2 LIMIT 1";

/// Voicemails that were imported without a call, or whose call is gone.
const OLD_VOICEMAILS: &str = "SELECT id, updated_at FROM voicemails WHERE app_id = $1 AND updated_at < $2
    AND NOT EXISTS (SELECT 1 FROM calls WHERE calls.app_id = $1
        AND calls.dialpad_call_id = voicemails.dialpad_call_id)
    ORDER BY updated_at, id LIMIT $3";
const DELETE_VOICEMAIL: &str = "DELETE FROM voicemails WHERE app_id = $1 AND id = $2 AND updated_at < $3";
const OLD_MESSAGES: &str = "SELECT id, updated_at FROM messages WHERE app_id = $1 AND updated_at < $2
    ORDER BY updated_at, id LIMIT $3";
const DELETE_MESSAGE: &str = "DELETE FROM messages WHERE app_id = $1 AND id = $2 AND updated_at < $3";

/// A human call takes several statements.
const ROWS_OF_INTERACTION: i64 = 5;

pub(super) async fn prune(
    store: &Store,
    before: DateTime<Utc>,
    pace: &Pace,
) -> Result<PrunedCalls, StoreError> {
    let mut pruned = PrunedCalls::default();
    let apps: Vec<(Id,)> = on_db!(store, read db => sqlx::query_as(APPS).fetch_all(db).await)?;
    for (app,) in apps {
        prune_interactions(store, app, before, pace, &mut pruned).await?;
        let voicemails = [OLD_VOICEMAILS, DELETE_VOICEMAIL];
        pruned.voicemails += prune_rows(store, app, before, pace, Kind::Voicemails, voicemails).await?;
        let messages = [OLD_MESSAGES, DELETE_MESSAGE];
        pruned.messages += prune_rows(store, app, before, pace, Kind::Messages, messages).await?;
    }
    for kind in [Kind::Interactions, Kind::Voicemails, Kind::Messages] {
        kind.is_done();
    }
    Ok(pruned)
}

async fn prune_interactions(
    store: &Store,
    app: Id,
    before: DateTime<Utc>,
    pace: &Pace,
    pruned: &mut PrunedCalls,
) -> Result<(), StoreError> {
    loop {
        let limit = (pace.rows() / ROWS_OF_INTERACTION).max(1);
        let page = read_page(store, OLD_INTERACTIONS, app, before, limit).await?;
        let Some((_, oldest)) = page.first() else { return Ok(()) };
        Kind::Interactions.is_behind(before, *oldest);
        let (deleted, took) = on_db!(store, write db => {
            let mut transaction = db.begin().await?;
            let began_at = Instant::now();
            let mut deleted = PrunedCalls::default();
            let mut has_news = false;
            for (id, _) in &page {
                macro_rules! delete {
                    ($statement:expr) => {{
                        let delete = sqlx::query($statement).bind(app).bind(*id).bind(before);
                        delete.execute(&mut *transaction).await?.rows_affected()
                    }};
                }
                let voicemails = sqlx::query(DELETE_VOICEMAILS).bind(app).bind(*id);
                deleted.voicemails += voicemails.execute(&mut *transaction).await?.rows_affected();
                deleted.calls += delete!(DELETE_FIRST_LEG) + delete!(DELETE_LEGS);
                let interactions = delete!(DELETE_INTERACTION);
                deleted.interactions += interactions;
                // Webhooks may have come since the page was read.
                let left = sqlx::query(HAS_LEGS).bind(app).bind(*id).fetch_optional(&mut *transaction).await?;
                has_news = has_news || interactions == 0 || left.is_some();
            }
            if has_news {
                transaction.rollback().await?;
                deleted = PrunedCalls::default();
            } else {
                transaction.commit().await?;
            }
            Ok((deleted, began_at.elapsed()))
        })?;
        for (kind, rows) in [
            (Kind::Calls, deleted.calls),
            (Kind::Interactions, deleted.interactions),
            (Kind::Voicemails, deleted.voicemails),
        ] {
            kind.deleted(rows);
        }
        pruned.calls += deleted.calls;
        pruned.interactions += deleted.interactions;
        pruned.voicemails += deleted.voicemails;
        // A page with news is read again: what has news is not in it then.
        pace.rest(store, took).await;
    }
}

async fn prune_rows(
    store: &Store,
    app: Id,
    before: DateTime<Utc>,
    pace: &Pace,
    kind: Kind,
    [old, delete]: [&'static str; 2],
) -> Result<u64, StoreError> {
    let mut pruned = 0;
    loop {
        let page = read_page(store, old, app, before, pace.rows()).await?;
        let Some((_, oldest)) = page.first() else { return Ok(pruned) };
        kind.is_behind(before, *oldest);
        let (deleted, took) = on_db!(store, write db => {
            let mut transaction = db.begin().await?;
            let began_at = Instant::now();
            let mut deleted = 0;
            for (id, _) in &page {
                let row = sqlx::query(delete).bind(app).bind(*id).bind(before);
                deleted += row.execute(&mut *transaction).await?.rows_affected();
            }
            transaction.commit().await?;
            Ok((deleted, began_at.elapsed()))
        })?;
        kind.deleted(deleted);
        pruned += deleted;
        pace.rest(store, took).await;
    }
}

async fn read_page(
    store: &Store,
    old: &'static str,
    app: Id,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<(Id, DateTime<Utc>)>, StoreError> {
    on_db!(store, read db => {
        sqlx::query_as(old).bind(app).bind(before).bind(limit).fetch_all(db).await
    })
}
