//! The clients of an app: its named consumers and how far behind they are, and the open sessions.

use std::collections::HashMap;

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use cti_actors::{
    id::{AppId, KeyId, SessionId},
    ports::EventLog,
    session::{CloseCode, OpenSession},
};
use maud::{Markup, html};
use serde::Deserialize;
use tracing::info;
use uuid::Uuid;

use super::{
    access::{Failure, Submitted, Visitor},
    app::{Done, done},
    parts::{app_address, button_form, confirmed, duration, or_dash, table, time, time_or_dash},
};
use crate::http::{AppState, extract::app::existing};

/// How many consumers and sessions are shown.
const MAX_SHOWN: usize = 100;

/// A session in the path.
#[derive(Deserialize)]
pub(super) struct SessionPath {
    app_id: String,
    session_id: Uuid,
}

/// Shows the named consumers.
pub(super) async fn consumers(state: &AppState, app: AppId) -> Result<Markup, Failure> {
    let head = state.store.bounds(app).await?.head;
    let consumers = state.store.consumers().list(app, "", MAX_SHOWN, head).await?;
    let rows: Vec<Markup> = consumers
        .iter()
        .map(|consumer| {
            html! {
                th scope="row" { (consumer.name) }
                td { (consumer.mode) }
                td.number { (consumer.acked_seq) }
                td.number { (consumer.behind) }
                td.number { (consumer.connections) }
                td { (time(consumer.updated_at)) }
            }
        })
        .collect();
    let columns = ["Consumer", "Mode", "Acknowledged", "Events behind", "Connections", "Last moved"];
    Ok(html! {
        section {
            h2 { "Consumers" }
            p { "The newest event of the app is " (head) "." }
            (table("Named consumers", &columns, &rows))
        }
    })
}

/// Shows the sessions at this process.
pub(super) async fn sessions(visitor: &Visitor, state: &AppState, app: AppId) -> Result<Markup, Failure> {
    let count = state.engine.session_count_of(app);
    let open = if count > 0 { state.engine.tenant(app).sessions().oldest(MAX_SHOWN) } else { Vec::new() };
    let keys = state.store.api_keys().valid(app).await?;
    let hints: HashMap<KeyId, String> = keys.into_iter().map(|key| (key.id, key.hint)).collect();
    let rows: Vec<Markup> = open.iter().map(|session| row(visitor, app, session, &hints)).collect();
    let columns = ["Session", "Opened", "Kind", "Key", "Waits for its client", ""];
    Ok(html! {
        section {
            h2 { "Sessions" }
            p { (count) " open at this process." }
            (table("The sessions that have been open longest", &columns, &rows))
            @if count > MAX_SHOWN { p { "Only " (MAX_SHOWN) " are shown." } }
        }
    })
}

fn row(visitor: &Visitor, app: AppId, session: &OpenSession, hints: &HashMap<KeyId, String>) -> Markup {
    let stalled = i64::try_from(session.stalled_for.as_secs()).unwrap_or(i64::MAX);
    let close = format!("{}/sessions/{}/close", app_address(app), session.id);
    let consequence = "It is closed, and its client usually connects again at once, where it stopped.";
    html! {
        th scope="row" { code { (session.id) } }
        td { (time_or_dash(session.id.generated_at())) }
        td { (session.transport.as_str()) }
        td { (or_dash(hints.get(&session.key_id).map(|hint| html! { code { (hint) } }))) }
        td { @if stalled > 0 { (duration(stalled)) } @else { "no" } }
        td { (confirmed("Close", consequence, button_form(visitor, &close, "danger", "Close the session"))) }
    }
}

/// Closes a session. One that has ended by itself is closed.
pub(super) async fn close(
    _: Submitted,
    state: Data<AppState>,
    path: Path<SessionPath>,
) -> Result<HttpResponse, Failure> {
    let app = existing(&state, &path.app_id).await?;
    let session = SessionId(path.session_id);
    if state.engine.session_count_of(app) > 0 {
        let tenant = state.engine.tenant(app);
        if tenant.sessions().close_one(session, CloseCode::GoingAway, "closed by an administrator") {
            info!(app.id = %app, session.id = %session, "an administrator closed a session");
        }
    }
    Ok(done(app, Done::SessionClosed))
}
