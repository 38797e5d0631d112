//! Replay: an administrator has a webhook of the journal processed again, or at last.

use cti_actors::{
    error::StoreError,
    id::{AppId, JournalId},
};

use super::unrouted::{Assigned, UnroutedWebhook};
use crate::{
    store::{JournalStore, db::types::Id, on_db},
    webhook::{
        payload::Reading,
        routing::{self, Addressee, Disposition, Route},
    },
};

const FIND: &str =
    "SELECT id, app_id, status, attempts, organization_id, dedup_key, event_type, payload, received_at
    FROM webhook_events WHERE id = $1";
const KEEP: &str = "UPDATE webhook_events SET status = $2, reason = $3, attempts = attempts + 1
    WHERE id = $1 AND status IN ('unrouted', 'failed')";

/// The outcome of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// It will be processed for these apps; for an inactive one, when it is activated.
    Taken(Vec<AppId>),
    /// The app had the same one already; this one was deleted.
    Duplicate,
    /// It could not be processed again, and stays in the journal with the reason.
    Kept,
    /// It was processed before.
    AlreadyProcessed,
    /// It belongs to another app than the one that was named.
    BelongsToAnotherApp,
    /// There is no such webhook.
    NotFound,
}

#[derive(sqlx::FromRow)]
struct ReplayRow {
    app_id: Option<Id>,
    status: String,
    attempts: i32,
    #[sqlx(flatten)]
    webhook: UnroutedWebhook,
}

impl JournalStore<'_> {
    /// Processes a failed webhook again, or routes an unrouted one again. `owner` names the app of a webhook that names
    /// none itself.
    pub async fn replay(self, id: JournalId, owner: Option<AppId>) -> Result<Replay, StoreError> {
        let row: Option<ReplayRow> =
            on_db!(self.store, read db => sqlx::query_as(FIND).bind(Id::from(id)).fetch_optional(db).await)?;
        let Some(row) = row else { return Ok(Replay::NotFound) };
        let app = row.app_id.map(AppId::from);
        if owner.is_some() && app.is_some() && owner != app {
            return Ok(Replay::BelongsToAnotherApp);
        }
        match row.status.as_str() {
            "processed" => return Ok(Replay::AlreadyProcessed),
            "pending" => return Ok(Replay::Taken(app.into_iter().collect())),
            _ => {}
        }
        let reading = row.webhook.read();
        let addressee = self.addressee(&reading, &row, owner).await?;
        let destinations = routing::route(&reading, &addressee);
        if let Some(refused) = destinations.iter().find(|it| !it.disposition.is_accepted()) {
            return self.keep(&row.webhook, &refused.disposition).await;
        }
        let apps = destinations.iter().filter_map(|destination| destination.app_id).collect();
        Ok(match self.assign(&row.webhook, &reading, destinations).await? {
            Assigned::Taken => Replay::Taken(apps),
            Assigned::Duplicate => Replay::Duplicate,
        })
    }

    async fn addressee(
        self,
        reading: &Reading,
        row: &ReplayRow,
        owner: Option<AppId>,
    ) -> Result<Addressee, StoreError> {
        let routes = self.store.routes();
        if let Some(app_id) = row.app_id.map(AppId::from).or(owner) {
            // An app that was deleted in the meantime takes nothing.
            let Some(own) = routes.of_app_now(app_id).await? else {
                return Ok(Addressee::Organization(Vec::new()));
            };
            // An administrator who names the app has decided; and a webhook that was tried before was the app's.
            let is_settled = owner.is_some() || row.attempts > 0;
            let organization = own.dialpad_org_id.filter(|_| !is_settled);
            return Ok(Addressee::App { route: Route { app_id, is_active: own.is_active }, organization });
        }
        let routes = match reading.organization_id {
            Some(organization) => routes.of_organization(organization).await?,
            None => Vec::new(),
        };
        Ok(Addressee::Organization(routes))
    }

    async fn keep(self, webhook: &UnroutedWebhook, disposition: &Disposition) -> Result<Replay, StoreError> {
        on_db!(self.store, write db => {
            sqlx::query(KEEP).bind(webhook.id).bind(disposition.status()).bind(disposition.reason())
                .execute(db).await.map(|_| Replay::Kept)
        })
    }
}
