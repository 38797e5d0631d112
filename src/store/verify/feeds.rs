//! The feed of an app: no `seq` is missing from its oldest event to its head, and each event has its cause.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use cti_actors::event::EventType;
use serde::Deserialize;
use uuid::Uuid;

use super::{AppRow, Findings, Kept, PAGE, Snapshot, causes, snapshot::Argument};
use crate::store::db::types::Id;

const FEED: &str = "SELECT oldest_seq, last_seq FROM event_feeds WHERE app_id = $1";
const EVENTS: &str = "SELECT seq, type, dialpad_call_id, published_at, body FROM events
    WHERE app_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";

#[derive(sqlx::FromRow)]
struct EventRow {
    seq: i64,
    r#type: String,
    dialpad_call_id: Option<i64>,
    published_at: DateTime<Utc>,
    body: String,
}

/// What an event says that it is about, beyond its call.
#[derive(Default, Deserialize)]
struct Subject {
    app_id: Option<Uuid>,
    interaction_id: Option<Uuid>,
    message_id: Option<Uuid>,
}

/// The row that an event must have.
enum Cause {
    Call(i64),
    Message(Uuid),
    Interaction(Uuid),
}

pub(super) async fn check<S: Snapshot>(
    snapshot: &mut S,
    app: &AppRow,
    kept: Kept,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    let Some((oldest, last)) = snapshot.rows::<(i64, i64)>(FEED, &[Argument::Id(app.id)]).await?.pop() else {
        return Ok(());
    };
    let mut next = oldest;
    let mut cursor = i64::MIN;
    loop {
        let page = [Argument::Id(app.id), Argument::Int(cursor), Argument::Int(PAGE)];
        let events: Vec<EventRow> = snapshot.rows(EVENTS, &page).await?;
        let Some(end) = events.last() else { break };
        cursor = end.seq;
        findings.verified.checked.events += events.len() as u64;
        for event in &events {
            check_place(app.id, event.seq, next, (oldest, last), findings);
            next = next.max(event.seq + 1);
        }
        check_causes(snapshot, app.id, &events, kept, findings).await?;
    }
    if next <= last {
        let Id(app) = app.id;
        findings
            .broken("events missing", format_args!("{next} to {last}, the head of the feed of app {app}"));
    }
    Ok(())
}

fn check_place(Id(app): Id, seq: i64, next: i64, (oldest, last): (i64, i64), findings: &mut Findings) {
    if seq < oldest {
        findings.broken("event before the feed", format_args!("{seq} of app {app}; it begins at {oldest}"));
    } else if seq > last {
        findings.broken("event beyond the head", format_args!("{seq} of app {app}; the head is {last}"));
    } else if seq > next {
        findings.broken("events missing", format_args!("{next} to {} of app {app}", seq - 1));
    }
}

async fn check_causes<S: Snapshot>(
    snapshot: &mut S,
    app: Id,
    events: &[EventRow],
    kept: Kept,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    let mut causes = Vec::new();
    for event in events {
        let subject = serde_json::from_str::<Subject>(&event.body).ok();
        let Some(subject) = subject.filter(|subject| subject.app_id == Some(app.0)) else {
            findings.broken(
                "event that can't be read",
                format_args!("{} ({}) of app {}", event.seq, event.r#type, app.0),
            );
            continue;
        };
        if let Some(cause) = cause_of(event, &subject).filter(|_| kept.includes(event.published_at)) {
            causes.push((event, cause));
        }
    }
    let ids = |of: fn(&Cause) -> Option<Uuid>| -> BTreeSet<Uuid> {
        causes.iter().filter_map(|(_, cause)| of(cause)).collect()
    };
    let messages = ids(|cause| if let Cause::Message(id) = cause { Some(*id) } else { None });
    let interactions = ids(|cause| if let Cause::Interaction(id) = cause { Some(*id) } else { None });
    let calls = causes.iter().filter_map(|(_, it)| if let Cause::Call(id) = it { Some(*id) } else { None });
    let calls = causes::calls(snapshot, app, calls.collect()).await?;
    let messages = causes::own_messages(snapshot, app, messages).await?;
    let interactions = causes::interactions(snapshot, app, interactions).await?;
    for (event, cause) in causes {
        let (exists, what) = match cause {
            Cause::Call(id) => (calls.contains(&id), format!("call {id}")),
            Cause::Message(id) => (messages.contains(&id), format!("message {id}")),
            Cause::Interaction(id) => (interactions.contains(&id), format!("interaction {id}")),
        };
        if !exists {
            let EventRow { seq, r#type, .. } = event;
            findings.broken(
                "event without its cause",
                format_args!("{seq} ({}) of app {}: there is no {what}", r#type, app.0),
            );
        }
    }
    Ok(())
}

/// Returns the row that an event must have. A state without an event type is passed on even if it makes no call.
fn cause_of(event: &EventRow, subject: &Subject) -> Option<Cause> {
    if event.r#type == EventType::CallRaw.as_str() {
        return None;
    }
    match (event.dialpad_call_id, subject) {
        (Some(call), _) => Some(Cause::Call(call)),
        (None, Subject { message_id: Some(message), .. }) => Some(Cause::Message(*message)),
        (None, Subject { interaction_id: Some(interaction), .. }) => Some(Cause::Interaction(*interaction)),
        (None, _) => None,
    }
}
