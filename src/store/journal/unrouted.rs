//! Webhooks that belonged to nobody, given to the apps that turned up: of a whole organisation when an app is connected
//! to it, or a single one when an administrator asks for it ([`super::replay`]).

use chrono::{DateTime, Utc};
use cti_actors::{Engine, error::StoreError, id::AppId};
use tracing::info;

use super::append::{Disposition, NewWebhook, waiting_for};
use crate::store::{Store, db::types::Id, on_db, tenants::routes::Route};
use crate::webhook::payload::{self, Reading};

const OF_ORGANIZATION: &str = "SELECT id, organization_id, dedup_key, event_type, payload, received_at
    FROM webhook_events
    WHERE status = 'unrouted' AND app_id IS NULL AND organization_id = $1 ORDER BY id LIMIT $2";
const ADOPT: &str = "UPDATE webhook_events
    SET app_id = $2, status = $3, reason = $4, attempts = 0, processed_at = NULL
    WHERE id = $1 AND status IN ('unrouted', 'failed')";
const DROP: &str = "DELETE FROM webhook_events WHERE id = $1 AND status IN ('unrouted', 'failed')";
const FORGOTTEN: &str = "SELECT DISTINCT organization_id FROM webhook_events
    WHERE status = 'unrouted' AND app_id IS NULL AND organization_id IS NOT NULL
    AND (organization_id = $1 OR organization_id IN (SELECT dialpad_org_id FROM dialpad_connections))";

/// How many webhooks are looked at in one go.
const PAGE: i64 = 256;

/// A webhook in the journal that nobody is at work on.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct IdleWebhook {
    pub(crate) id: Id,
    pub(crate) organization_id: Option<i64>,
    pub(crate) dedup_key: Vec<u8>,
    pub(crate) event_type: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) received_at: DateTime<Utc>,
}

/// What became of a webhook that was given to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adopted {
    /// It is the app's.
    Taken,
    /// The app had the same one already, at its own address; this one is gone.
    Duplicate,
}

impl IdleWebhook {
    /// What it says. What the door did not take for a finding of the server's own is none.
    pub(crate) fn read(&self) -> Reading {
        let as_kept = payload::read(&self.payload, self.received_at);
        if as_kept.event_type == self.event_type {
            return as_kept;
        }
        payload::read_webhook(&self.payload, self.received_at)
    }
}

impl Store {
    /// Processes the webhooks that came before anybody was connected to their organisation.
    ///
    /// # Errors
    /// The database could not be asked; nothing is lost, calling again goes on.
    pub async fn take_up_what_waited(&self, organization_id: i64, engine: &Engine) -> Result<(), StoreError> {
        let routes = self.routes_of(organization_id).await?;
        let adopted = self.adopt_of(organization_id, &routes).await?;
        if adopted > 0 {
            info!(
                organization_id,
                webhooks = adopted,
                "webhooks that had waited for their organization are processed"
            );
            routes.iter().for_each(|route| engine.notify(route.app_id));
        }
        Ok(())
    }

    /// The organisations whose webhooks wait although somebody is connected to them: whoever had looked just before may
    /// have left one so.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn organizations_with_forgotten_webhooks(&self) -> Result<Vec<i64>, StoreError> {
        let by_static_key = self.static_organization();
        let rows: Vec<(i64,)> =
            on_db!(self, read db => sqlx::query_as(FORGOTTEN).bind(by_static_key).fetch_all(db).await)?;
        Ok(rows.into_iter().map(|(organization,)| organization).collect())
    }

    /// Gives an organisation's webhooks to its apps, in the order in which they came. Says how many there were.
    async fn adopt_of(&self, organization_id: i64, routes: &[Route]) -> Result<usize, StoreError> {
        let mut adopted = 0;
        if routes.is_empty() {
            return Ok(adopted);
        }
        loop {
            let waiting: Vec<IdleWebhook> = on_db!(self, read db => {
                sqlx::query_as(OF_ORGANIZATION).bind(organization_id).bind(PAGE).fetch_all(db).await
            })?;
            for webhook in &waiting {
                self.give(webhook, routes).await?;
            }
            adopted += waiting.len();
            if waiting.is_empty() {
                return Ok(adopted);
            }
        }
    }

    /// Gives a webhook to these apps: itself to the first, copies to the others. Says what became of it.
    pub(crate) async fn give(&self, webhook: &IdleWebhook, routes: &[Route]) -> Result<Adopted, StoreError> {
        let Some((first, others)) = routes.split_first() else { return Ok(Adopted::Taken) };
        let reading = webhook.read();
        self.copy_to(others, webhook, &reading).await?;
        let disposition = disposition(&reading, first.is_active);
        let (status, reason) = (disposition.status(), disposition.reason());
        let adopted = on_db!(self, write db => {
            sqlx::query(ADOPT).bind(webhook.id).bind(Id::from(first.app_id)).bind(status).bind(&reason)
                .execute(db).await.map(|_| Adopted::Taken)
        });
        match adopted {
            Err(StoreError::Conflict(_)) => {
                on_db!(self, write db => sqlx::query(DROP).bind(webhook.id).execute(db).await.map(|_| ()))?;
                Ok(Adopted::Duplicate)
            }
            adopted => adopted,
        }
    }

    async fn copy_to(
        &self,
        routes: &[Route],
        webhook: &IdleWebhook,
        reading: &Reading,
    ) -> Result<(), StoreError> {
        let Ok(dedup_key) = webhook.dedup_key.as_slice().try_into() else { return Ok(()) };
        let copy = |app: AppId, is_active: bool| {
            NewWebhook::new(
                Some(app),
                webhook.organization_id,
                dedup_key,
                webhook.event_type.clone(),
                webhook.payload.as_slice().into(),
                disposition(reading, is_active),
                webhook.received_at,
            )
        };
        let copies: Vec<NewWebhook> =
            routes.iter().map(|route| copy(route.app_id, route.is_active)).collect();
        if copies.is_empty() {
            return Ok(());
        }
        self.append(copies).await.map(|_| ())
    }
}

/// What is to become of a webhook that an app gets.
fn disposition(reading: &Reading, is_active: bool) -> Disposition {
    match &reading.content {
        Err(reason) => Disposition::Failed(reason.clone()),
        Ok(_) if !is_active => Disposition::Unrouted(waiting_for::ACTIVATION),
        Ok(inbound) => Disposition::Pending(Box::new(inbound.clone())),
    }
}
