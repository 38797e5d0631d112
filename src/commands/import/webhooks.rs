//! Webhooks that the predecessor has not processed: they go into the journal as if they came now, and are processed when
//! the server starts.

use std::sync::Arc;

use cti_actors::id::AppId;
use serde_json::{Value, json};

use super::{Import, ImportError, report::Outcome, row::Row};
use crate::{
    store::journal::append::Appended,
    webhook::{
        new_webhook::NewWebhook,
        payload,
        routing::{self, Addressee, Route},
    },
};

/// A row, and the webhooks that it is for each app.
struct Pending {
    row: Row,
    webhooks: Vec<NewWebhook>,
}

impl Import {
    pub(super) async fn webhooks(&mut self) -> Result<(), ImportError> {
        let table = "webhook_events";
        if !self.recognized.contains(table) {
            return Ok(());
        }
        let processed = self.condition_of_processed();
        let count = self.source.count(table, processed).await?;
        let reason = "processed by the predecessor: what they say is in the calls";
        self.report.table(table).leave_out(u64::try_from(count).unwrap_or_default(), reason);
        let unprocessed = format!("({processed}) IS NOT TRUE");
        self.begin(table, &unprocessed, &["received_at", "created_at", "id"]).await?;
        loop {
            let page = self.page().await?;
            if page.is_empty() {
                return Ok(());
            }
            let mut pending = Vec::with_capacity(page.len());
            for row in page {
                match self.read_webhook(&row).await? {
                    Ok(webhooks) => pending.push(Pending { row, webhooks }),
                    Err(reason) => self.finish(table, &row, Outcome::LeftOut(reason)),
                }
            }
            self.append(pending).await?;
        }
    }

    /// Returns what is true of webhooks that were processed.
    fn condition_of_processed(&self) -> &'static str {
        let has = |column| self.source.has_column("webhook_events", column);
        match () {
            () if has("status") => "t.status::text IN ('processed', 'completed', 'done')",
            () if has("processed") => "t.processed::text IN ('true', 't', '1')",
            () if has("processed_at") => "t.processed_at IS NOT NULL",
            () => "FALSE",
        }
    }

    /// Reads a webhook and decides where it goes, or why it can't.
    async fn read_webhook(&mut self, row: &Row) -> Result<Result<Vec<NewWebhook>, String>, ImportError> {
        let Some(bytes) = payload_of(row) else { return Ok(Err("it has no payload".to_owned())) };
        let received_at =
            row.instant("received_at").or_else(|| row.instant("created_at")).unwrap_or(self.now);
        let reading = payload::read_webhook(&bytes, received_at);
        let addressee = if row.value("app_id").is_some() {
            match self.app_of(row).await? {
                Ok(app) => Addressee::App { route: self.route(app), organization: None },
                Err(reason) => return Ok(Err(reason)),
            }
        } else {
            Addressee::Organization(self.routes_of(reading.organization_id).await?)
        };
        let destinations = routing::route(&reading, &addressee);
        let payload: Arc<[u8]> = bytes.into();
        let webhook = |to| NewWebhook::new(&reading, to, Arc::clone(&payload), received_at);
        Ok(Ok(destinations.into_iter().map(webhook).collect()))
    }

    fn route(&self, app_id: AppId) -> Route {
        Route { app_id, is_active: self.apps.get(&app_id).is_some_and(|app| app.is_active) }
    }

    async fn routes_of(&self, organization: Option<i64>) -> Result<Vec<Route>, ImportError> {
        let Some(organization) = organization else { return Ok(Vec::new()) };
        if let Some((store, true)) = self.target.store() {
            return Ok(store.routes().of_organization(organization).await?);
        }
        let apps = self.organizations.get(&organization).map(Vec::as_slice).unwrap_or_default();
        Ok(apps.iter().map(|app| self.route(*app)).collect())
    }

    /// Appends the webhooks of a page, in their order.
    async fn append(&mut self, pending: Vec<Pending>) -> Result<(), ImportError> {
        let all: Vec<NewWebhook> = pending.iter().flat_map(|it| it.webhooks.iter().cloned()).collect();
        let mut appended = match self.target.store() {
            Some((store, true)) if !all.is_empty() => store.journal().append(all).await?.into_iter(),
            _ => Vec::new().into_iter(),
        };
        for Pending { row, webhooks } in pending {
            let mut outcome = Outcome::AlreadyThere;
            for webhook in &webhooks {
                let is_new = match appended.next() {
                    Some(appended) => appended != Appended::Duplicate,
                    None => self.would_be_new(webhook).await?,
                };
                if is_new {
                    self.report.table("webhook_events").count(webhook.disposition.status());
                    outcome = Outcome::Taken;
                }
            }
            self.finish("webhook_events", &row, outcome);
        }
        Ok(())
    }

    /// Whether the journal does not have a webhook yet.
    async fn would_be_new(&self, webhook: &NewWebhook) -> Result<bool, ImportError> {
        let Some((store, _)) = self.target.store() else { return Ok(true) };
        Ok(store.journal().find_duplicate(webhook.app_id, webhook.dedup_key).await?.is_none())
    }
}

/// Returns the payload. The event type, which some senders put into a header, is added where the payload has none.
fn payload_of(row: &Row) -> Option<Vec<u8>> {
    let mut payload = match row.value("payload")? {
        Value::String(text) => return Some(text.clone().into_bytes()),
        value => value.clone(),
    };
    if let (Some(object), Some(event_type)) = (payload.as_object_mut(), row.text("event_type"))
        && !object.contains_key("event_type")
        && !object.contains_key("state")
        && is_named_event(&event_type)
    {
        object.insert("event_type".to_owned(), json!(event_type));
    }
    Some(payload.to_string().into_bytes())
}

fn is_named_event(event_type: &str) -> bool {
    ["call.", "voicemail.", "message.", "sms."].iter().any(|family| event_type.starts_with(family))
}
