//! Replays: one webhook, or all that match a filter.

use std::collections::BTreeSet;

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use cti_actors::id::AppId;
use tracing::info;

use super::{
    access::{Failure, Submitted},
    journal::{FIELDS, WebhookPath, entry_address, is_replayable, read_filter},
    named_app,
    page::see_other,
    parts::address,
};
use crate::{
    http::{AppState, admin::journal::replay_webhook, error::ApiError},
    store::journal::replay::Replay,
};

/// How many webhooks one request replays. More are replayed by repeating it.
const MAX_REPLAYED: usize = 500;

/// Replays one webhook, and shows it with the result.
pub(super) async fn one(
    submitted: Submitted,
    state: Data<AppState>,
    path: Path<WebhookPath>,
) -> Result<HttpResponse, Failure> {
    let owner = named_app(&state, &submitted.fields).await?;
    let entry = replay_webhook(&state, path.id()?, owner).await?;
    // A duplicate of what the app has already is deleted: there is nothing to show.
    let is_deleted = entry.status == "duplicate";
    Ok(see_other(&if is_deleted {
        "/console/journal?replayed=1".to_owned()
    } else {
        address(&entry_address(entry.id), &[("replayed", Some("true"))])
    }))
}

/// Replays the webhooks that match a filter, the oldest first.
pub(super) async fn all(submitted: Submitted, state: Data<AppState>) -> Result<HttpResponse, Failure> {
    let fields = submitted.fields;
    let filter = read_filter(&state, &fields).await?;
    if !is_replayable(filter.status.as_deref()) {
        return Err(ApiError::invalid("status: must be failed or unrouted").into());
    }
    let page = state.store.journal().list(&filter, None, MAX_REPLAYED).await?;
    let (mut replayed, mut kept) = (0_u32, 0_u32);
    let mut apps: BTreeSet<AppId> = BTreeSet::new();
    for entry in page.items.iter().rev() {
        match state.store.journal().replay(entry.id, None).await? {
            Replay::Taken(of) => {
                apps.extend(of);
                replayed += 1;
            }
            Replay::Duplicate => replayed += 1,
            Replay::Kept => kept += 1,
            // Another administrator was faster.
            Replay::AlreadyProcessed | Replay::BelongsToAnotherApp | Replay::NotFound => {}
        }
    }
    info!(webhooks = replayed, "webhooks are replayed");
    apps.into_iter().for_each(|app| state.engine.notify(app));
    let (replayed, kept) = (replayed.to_string(), kept.to_string());
    let mut query: Vec<_> = FIELDS.iter().map(|name| (*name, fields.get(name))).collect();
    query.extend([("replayed", Some(replayed.as_str())), ("kept", Some(kept.as_str()))]);
    query.extend(page.next.map(|_| ("more", Some("true"))));
    Ok(see_other(&address("/console/journal", &query)))
}
