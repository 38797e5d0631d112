//! A webhook of the journal that is to be processed once more, or at last: because an administrator says so.

use cti_actors::{
    error::StoreError,
    id::{AppId, JournalId},
};

use super::{
    append::waiting_for,
    unrouted::{Adopted, IdleWebhook},
};
use crate::store::{JournalStore, db::types::Id, on_db, tenants::routes::Route};

const FIND: &str =
    "SELECT id, app_id, status, attempts, organization_id, dedup_key, event_type, payload, received_at
    FROM webhook_events WHERE id = $1";
const STAY: &str = "UPDATE webhook_events SET status = $2, reason = $3, attempts = attempts + 1
    WHERE id = $1 AND status IN ('unrouted', 'failed')";

/// What became of the wish to process a webhook again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// It is going to be processed for these apps; those that are switched off have it waiting.
    Taken(Vec<AppId>),
    /// The app had the same one already; this one is gone.
    Duplicate,
    /// It stays where it was: what the journal says of it is true again.
    Stays,
    /// It was processed.
    AlreadyProcessed,
    /// It is another app's than the one that was named.
    AnotherApps,
    /// There is no such webhook.
    NotThere,
}

#[derive(sqlx::FromRow)]
struct JournalRow {
    app_id: Option<Id>,
    status: String,
    attempts: i32,
    #[sqlx(flatten)]
    webhook: IdleWebhook,
}

/// Where a webhook goes.
enum Way {
    To(Vec<Route>),
    Nowhere(&'static str),
}

impl JournalStore<'_> {
    /// Processes a webhook that failed, or routes one anew that waits. `owner` says whose it is, where it does not say
    /// so itself.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn replay(self, id: JournalId, owner: Option<AppId>) -> Result<Replay, StoreError> {
        let row: Option<JournalRow> =
            on_db!(self.store, read db => sqlx::query_as(FIND).bind(Id::from(id)).fetch_optional(db).await)?;
        let Some(row) = row else { return Ok(Replay::NotThere) };
        let app = row.app_id.map(AppId::from);
        if owner.is_some() && app.is_some() && owner != app {
            return Ok(Replay::AnotherApps);
        }
        match row.status.as_str() {
            "processed" => return Ok(Replay::AlreadyProcessed),
            "pending" => return Ok(Replay::Taken(app.into_iter().collect())),
            _ => {}
        }
        if let Err(reason) = row.webhook.read().content {
            return self.keep_unprocessed(&row.webhook, "failed", &reason).await;
        }
        match self.destination(&row, owner).await? {
            Way::Nowhere(reason) => self.keep_unprocessed(&row.webhook, "unrouted", reason).await,
            Way::To(routes) => Ok(match self.assign(&row.webhook, &routes).await? {
                Adopted::Taken => Replay::Taken(routes.iter().map(|route| route.app_id).collect()),
                Adopted::Duplicate => Replay::Duplicate,
            }),
        }
    }

    async fn destination(self, row: &JournalRow, owner: Option<AppId>) -> Result<Way, StoreError> {
        let organization = row.webhook.organization_id;
        let Some(app) = row.app_id.map(AppId::from).or(owner) else {
            let Some(organization) = organization else {
                return Ok(Way::Nowhere(waiting_for::AN_ORGANIZATION));
            };
            let routes = self.store.routes().of_organization(organization).await?;
            return Ok(if routes.is_empty() { Way::Nowhere(waiting_for::AN_APP) } else { Way::To(routes) });
        };
        let Some(route) = self.store.routes().of_app_now(app).await? else {
            return Ok(Way::Nowhere(waiting_for::AN_APP));
        };
        // Whoever names the app has looked into it; and what was processed in vain was the app's already.
        let is_settled = owner.is_some() || row.attempts > 0;
        if !is_settled && route.is_foreign(organization) {
            return Ok(Way::Nowhere(waiting_for::ANOTHER_ORGANIZATION));
        }
        Ok(Way::To(vec![Route { app_id: app, is_active: route.is_active }]))
    }

    async fn keep_unprocessed(
        self,
        webhook: &IdleWebhook,
        status: &str,
        reason: &str,
    ) -> Result<Replay, StoreError> {
        on_db!(self.store, write db => {
            sqlx::query(STAY).bind(webhook.id).bind(status).bind(reason).execute(db).await.map(|_| Replay::Stays)
        })
    }
}
