//! The journal: each processed webhook has its call or message.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use cti_actors::{model::call::Signal, ports::Inbound};
use uuid::Uuid;

use super::{Findings, Kept, Snapshot, causes, snapshot::Argument};
use crate::{store::db::types::Id, webhook::payload};

const PROCESSED: &str = "SELECT id, app_id, payload, received_at FROM webhook_events
    WHERE status = 'processed' AND app_id IS NOT NULL AND app_id IN (SELECT id FROM apps) AND id > $1
    ORDER BY id LIMIT $2";

/// A payload has up to 256 KiB.
const PAGE: i64 = 100;

type WebhookRow = (Id, Id, Vec<u8>, DateTime<Utc>);

/// What the processed webhooks of an app are about.
#[derive(Default)]
struct Named {
    calls: BTreeMap<i64, Uuid>,
    messages: BTreeMap<String, Uuid>,
}

pub(super) async fn check<S: Snapshot>(
    snapshot: &mut S,
    kept: Kept,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    let mut last = Id(Uuid::nil());
    loop {
        let page = [Argument::Id(last), Argument::Int(PAGE)];
        let rows: Vec<WebhookRow> = snapshot.rows(PROCESSED, &page).await?;
        let Some((end, ..)) = rows.last() else { return Ok(()) };
        last = *end;
        findings.verified.checked.webhooks += rows.len() as u64;
        let mut apps: BTreeMap<Uuid, Named> = BTreeMap::new();
        for (id, app, payload, at) in &rows {
            if kept.includes(*at) {
                apps.entry(app.0).or_default().add(id.0, payload, *at);
            }
        }
        for (app, named) in apps {
            named.check(snapshot, Id(app), findings).await?;
        }
    }
}

impl Named {
    fn add(&mut self, webhook: Uuid, payload: &[u8], received_at: DateTime<Utc>) {
        // A payload that was erased says nothing any more. One that this version reads in another way than the one that
        // processed it is no damage.
        match payload::read(payload, received_at).content {
            Ok(Inbound::Call(event)) if !matches!(event.signal, Signal::Raw { .. }) => {
                self.calls.insert(event.dialpad_call_id.0, webhook);
            }
            Ok(Inbound::Message(event)) => {
                self.messages.insert(event.dialpad_message_id, webhook);
            }
            Ok(Inbound::Call(_)) | Err(_) => {}
        }
    }

    async fn check<S: Snapshot>(
        self,
        snapshot: &mut S,
        app: Id,
        findings: &mut Findings,
    ) -> Result<(), sqlx::Error> {
        let calls = causes::calls(snapshot, app, self.calls.keys().copied().collect()).await?;
        let messages: BTreeSet<String> = self.messages.keys().cloned().collect();
        let messages = causes::messages(snapshot, app, messages).await?;
        let kind = "webhook without its effect";
        for (call, webhook) in self.calls.iter().filter(|(call, _)| !calls.contains(call)) {
            findings.broken(kind, format_args!("{webhook} of app {}: there is no call {call}", app.0));
        }
        for (message, webhook) in self.messages.iter().filter(|(message, _)| !messages.contains(*message)) {
            findings.broken(kind, format_args!("{webhook} of app {}: there is no message {message}", app.0));
        }
        Ok(())
    }
}
