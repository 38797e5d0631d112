//! Webhooks that came before their app: given to the apps that turned up, all those of an organization when an app is
//! connected to it, or a single one by a replay ([`super::replay`]).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::AppId};
use tracing::info;

use crate::{
    store::{JournalStore, db::types::Id, on_db},
    webhook::{
        dedup_key::DedupKey,
        new_webhook::NewWebhook,
        payload::{self, Reading},
        routing::{self, Addressee, Destination, Route},
    },
};

const OF_ORGANIZATION: &str = "SELECT id, organization_id, dedup_key, event_type, payload, received_at
    FROM webhook_events
    WHERE status = 'unrouted' AND app_id IS NULL AND organization_id = $1 ORDER BY id LIMIT $2";
const ASSIGN: &str = "UPDATE webhook_events
    SET app_id = $2, status = $3, reason = $4, attempts = 0, processed_at = NULL
    WHERE id = $1 AND status IN ('unrouted', 'failed')";
const DELETE: &str = "DELETE FROM webhook_events WHERE id = $1 AND status IN ('unrouted', 'failed')";
const ORGANIZATIONS_WITH_UNROUTED: &str = "SELECT DISTINCT organization_id FROM webhook_events
    WHERE status = 'unrouted' AND app_id IS NULL AND organization_id IS NOT NULL
    AND (organization_id = $1 OR organization_id IN (SELECT dialpad_org_id FROM dialpad_connections))";

/// How many webhooks are read at a time.
const PAGE: i64 = 256;

/// A webhook in the journal that is unrouted or failed: the engine does not work on it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct UnroutedWebhook {
    pub(crate) id: Id,
    organization_id: Option<i64>,
    dedup_key: Vec<u8>,
    event_type: String,
    payload: Vec<u8>,
    received_at: DateTime<Utc>,
}

/// The outcome of giving a webhook to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assigned {
    /// It is the app's now.
    Taken,
    /// The app had the same one already, at its own address; this one was deleted.
    Duplicate,
}

impl UnroutedWebhook {
    /// Reads it again, as what it was when it came: a webhook that looks like a finding is still none.
    pub(crate) fn read(&self) -> Reading {
        let mut reading = payload::read(&self.payload, self.received_at);
        if reading.event_type != self.event_type {
            reading = payload::read_webhook(&self.payload, self.received_at);
        }
        // What is stored decides: its copies for other apps must be known by the same key.
        reading.organization_id = self.organization_id;
        reading.dedup_key = DedupKey::from_slice(&self.dedup_key).unwrap_or(reading.dedup_key);
        reading
    }
}

impl JournalStore<'_> {
    /// Routes the webhooks that came before an app was connected to their organization. Returns the apps whose engine
    /// must be notified. When it fails, nothing is lost; calling it again continues.
    pub async fn route_unrouted(self, organization_id: i64) -> Result<Vec<AppId>, StoreError> {
        let routes = self.store.routes().of_organization(organization_id).await?;
        let webhooks = self.assign_all_of(organization_id, &routes).await?;
        if webhooks == 0 {
            return Ok(Vec::new());
        }
        info!(organization_id, webhooks, "routed the webhooks that had waited for their organization");
        Ok(routes.iter().map(|route| route.app_id).collect())
    }

    /// Finds the organizations that have unrouted webhooks although an app is connected to them: a request that looked
    /// up the routes just before the app was connected may leave one.
    pub async fn organizations_with_unrouted(self) -> Result<Vec<i64>, StoreError> {
        let by_static_key = self.store.routes().static_organization();
        on_db!(self.store, read db => {
            sqlx::query_scalar(ORGANIZATIONS_WITH_UNROUTED).bind(by_static_key).fetch_all(db).await
        })
    }

    /// Gives an organization's webhooks to its apps, in the order in which they came. Returns how many there were.
    async fn assign_all_of(self, organization_id: i64, routes: &[Route]) -> Result<usize, StoreError> {
        if routes.is_empty() {
            return Ok(0);
        }
        let addressee = Addressee::Organization(routes.to_vec());
        let mut assigned = 0;
        loop {
            let page: Vec<UnroutedWebhook> = on_db!(self.store, read db => {
                sqlx::query_as(OF_ORGANIZATION).bind(organization_id).bind(PAGE).fetch_all(db).await
            })?;
            if page.is_empty() {
                return Ok(assigned);
            }
            for webhook in &page {
                let reading = webhook.read();
                let destinations = routing::route(&reading, &addressee);
                self.assign(webhook, &reading, destinations).await?;
            }
            assigned += page.len();
        }
    }

    /// Gives a webhook to these destinations: its own row to the first, copies to the others.
    pub(crate) async fn assign(
        self,
        webhook: &UnroutedWebhook,
        reading: &Reading,
        destinations: Vec<Destination>,
    ) -> Result<Assigned, StoreError> {
        let mut destinations = destinations.into_iter();
        let Some(first) = destinations.next() else { return Ok(Assigned::Taken) };
        let payload: Arc<[u8]> = webhook.payload.as_slice().into();
        let copies: Vec<NewWebhook> = destinations
            .map(|other| NewWebhook::new(reading, other, Arc::clone(&payload), webhook.received_at))
            .collect();
        if !copies.is_empty() {
            self.append(copies).await?;
        }
        let app = first.app_id.map(Id::from);
        let status = first.disposition.status();
        let reason = first.disposition.reason_or(reading.unreadable.as_deref());
        let assigned = on_db!(self.store, write db => {
            sqlx::query(ASSIGN).bind(webhook.id).bind(app).bind(status).bind(reason).execute(db).await.map(|_| ())
        });
        match assigned {
            Ok(()) => Ok(Assigned::Taken),
            Err(StoreError::Conflict(_)) => {
                on_db!(self.store, write db => sqlx::query(DELETE).bind(webhook.id).execute(db).await.map(|_| ()))?;
                Ok(Assigned::Duplicate)
            }
            Err(failure) => Err(failure),
        }
    }
}
