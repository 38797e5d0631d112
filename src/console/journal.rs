//! Received webhooks: the list with its filters, and one webhook with its payload.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use cti_actors::id::JournalId;
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    access::{Failure, Visitor},
    apps::AppNames,
    fields::Fields,
    named_app,
    page::{Section, hidden},
    parts::{Tone, address, badge, cursor, facts, next_page, notice, or_dash, table, time, time_or_dash},
};
use crate::{
    http::{AppState, admin::journal::not_found, extract::values::Timestamp},
    store::journal::views::{JournalEntry, JournalFilter},
};

const PAGE: usize = 50;
/// How far back payloads are searched, unless the filter says so: each payload of the time is read.
const SEARCHED: TimeDelta = TimeDelta::hours(24);
const STATUSES: [&str; 4] = ["failed", "unrouted", "pending", "processed"];
/// The fields of the filter, which links and forms keep.
pub(super) const FIELDS: [&str; 6] = ["status", "app", "type", "digits", "since", "until"];

/// A webhook in the path.
#[derive(Deserialize)]
pub(super) struct WebhookPath {
    id: String,
}

impl WebhookPath {
    /// Returns the id.
    ///
    /// # Errors
    /// The text is no id, so there is no such webhook.
    pub(super) fn id(&self) -> Result<JournalId, Failure> {
        Ok(self.id.parse().map_err(|_| not_found())?)
    }
}

/// Reads the filter of a list or of a replay.
///
/// # Errors
/// A field is not valid, or there is no such app.
pub(super) async fn read_filter(state: &AppState, fields: &Fields) -> Result<JournalFilter, Failure> {
    let status = |text: &str| STATUSES.contains(&text).then(|| text.to_owned());
    let digits = fields.parsed("digits", digits)?;
    let given = fields.parsed("since", instant)?;
    let searched = digits.is_some().then(|| state.clock.now() - SEARCHED);
    Ok(JournalFilter {
        status: fields.parsed("status", status)?,
        app: named_app(state, fields).await?,
        event_type: fields.get("type").map(str::to_owned),
        since: given.or(searched),
        until: fields.parsed("until", instant)?,
        digits: digits.into_iter().collect(),
    })
}

/// Reads a call's id or a part of a number in any spelling.
fn digits(text: &str) -> Option<String> {
    let is_spelling = |character: char| character.is_ascii_digit() || "+-(). ".contains(character);
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    (text.chars().all(is_spelling) && !digits.is_empty()).then_some(digits)
}

/// Reads a time as browsers send it, or as links have it. One without a zone is UTC.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let local = |format| NaiveDateTime::parse_from_str(text, format).ok().map(|time| time.and_utc());
    let local = local("%Y-%m-%dT%H:%M").or_else(|| local("%Y-%m-%dT%H:%M:%S"));
    local.or_else(|| text.parse::<Timestamp>().ok().map(|time| time.0))
}

/// Shows the list.
pub(super) async fn list(
    visitor: Visitor,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, Failure> {
    let query = Fields::of_query(&request);
    let filter = read_filter(&state, &query).await?;
    let page = state.store.journal().list(&filter, cursor(&query)?, PAGE).await?;
    let names = AppNames::read(&state, page.items.iter().map(|entry| entry.app).chain([filter.app])).await?;
    let rows: Vec<Markup> = page.items.iter().map(|entry| row(&visitor, entry, &names)).collect();
    let columns = ["Received", "Status", "Type", "Reason", "App", "Attempts", ""];
    let content = html! {
        h1 { "Journal" }
        @if let Some(sentence) = outcome(&query) { (notice(Tone::Good, sentence)) }
        (filter_form(&query, &filter, &names))
        @if !rows.is_empty() && is_replayable(filter.status.as_deref()) {
            form.line method="post" action="/console/journal/replay" {
                (visitor.csrf_field())
                @for name in FIELDS { @if let Some(value) = query.get(name) { (hidden(name, value)) } }
                button { "Replay all that match" }
            }
        }
        (table("Webhooks, the newest first", &columns, &rows))
        (next_page("/console/journal", &query, &FIELDS, page.next))
    };
    Ok(visitor.page(Section::Journal, "Journal", &content))
}

/// Returns what the replay has done from which the browser came.
fn outcome(query: &Fields) -> Option<String> {
    let count = |name: &str| query.get(name).and_then(|count| count.parse::<u32>().ok());
    let (replayed, kept) = (count("replayed")?, count("kept").unwrap_or_default());
    let kept = if kept > 0 {
        format!(", {kept} could not be and are listed with the reason")
    } else {
        String::new()
    };
    let more = if query.get("more").is_some() { ". More match: replay again" } else { "" };
    Some(format!("{replayed} webhooks are processed again{kept}{more}."))
}

/// Returns whether webhooks with a status can be processed again.
pub(super) fn is_replayable(status: Option<&str>) -> bool {
    matches!(status, Some("failed" | "unrouted"))
}

fn filter_form(query: &Fields, filter: &JournalFilter, names: &AppNames) -> Markup {
    let of_status = |status: Option<&str>| {
        let others = FIELDS.iter().filter(|name| **name != "status").map(|name| (*name, query.get(name)));
        address("/console/journal", &others.chain([("status", status)]).collect::<Vec<_>>())
    };
    let current = query.get("status");
    let time_field = |name: &str, label: &str, value: Option<DateTime<Utc>>| {
        let value = value.map(|time| time.format("%Y-%m-%dT%H:%M").to_string());
        html! {
            label for=(name) { (label) }
            input id=(name) name=(name) type="datetime-local" value=[value];
        }
    };
    html! {
        nav.tabs aria-label="Status" {
            a href=(of_status(None)) aria-current=[current.is_none().then_some("page")] { "all" }
            @for status in STATUSES {
                a href=(of_status(Some(status))) aria-current=[(current == Some(status)).then_some("page")] {
                    (status)
                }
            }
        }
        form.line method="get" action="/console/journal" {
            @if let Some(status) = current { (hidden("status", status)) }
            @if let Some(app) = filter.app {
                (hidden("app", &app.to_string()))
                span { "Only of " (names.link(Some(app))) }
            }
            label for="digits" { "Call id or number" }
            input #digits name="digits" inputmode="numeric" value=[query.get("digits")];
            label for="type" { "Type" }
            input #type name="type" value=[query.get("type")];
            (time_field("since", "From (UTC)", filter.since))
            (time_field("until", "Until (UTC)", filter.until))
            button { "Filter" }
            a href="/console/journal" { "Clear" }
        }
    }
}

fn row(visitor: &Visitor, entry: &JournalEntry, names: &AppNames) -> Markup {
    html! {
        td { a href=(entry_address(entry.id)) { (time(entry.received_at)) } }
        td { (badge(&entry.status)) }
        td { (entry.event_type) }
        td { (or_dash(entry.reason.as_deref())) }
        td { (names.link(entry.app)) }
        td.number { (entry.attempts) }
        td {
            @if is_replayable(Some(&entry.status)) {
                form method="post" action=(format!("{}/replay", entry_address(entry.id))) {
                    (visitor.csrf_field())
                    button.quiet aria-label=(format!("Replay the webhook {}", entry.id)) { "Replay" }
                }
            }
        }
    }
}

/// Returns the address of a webhook's page.
pub(super) fn entry_address(id: JournalId) -> String {
    format!("/console/journal/{id}")
}

/// Shows one webhook.
pub(super) async fn one(
    visitor: Visitor,
    request: HttpRequest,
    state: Data<AppState>,
    path: Path<WebhookPath>,
) -> Result<HttpResponse, Failure> {
    let was_replayed = Fields::of_query(&request).get("replayed").is_some();
    let entry = state.store.journal().entry(path.id()?).await?.ok_or_else(not_found)?;
    let names = AppNames::read(&state, [entry.app]).await?;
    let content = html! {
        h1 { "Webhook" }
        p { code { (entry.id) } }
        @if was_replayed { (replayed(&entry)) }
        (facts(&[
            ("Status", badge(&entry.status)),
            ("Reason", or_dash(entry.reason.as_deref())),
            ("App", names.link(entry.app)),
            ("Organization", or_dash(entry.organization_id)),
            ("Type", html! { (entry.event_type) }),
            ("Received", time(entry.received_at)),
            ("Processed", time_or_dash(entry.processed_at)),
            ("Failed attempts", html! { (entry.attempts) }),
        ]))
        @if is_replayable(Some(&entry.status)) { (replay_form(&visitor, &state, &entry).await?) }
        (payload(&entry.payload))
    };
    Ok(visitor.page(Section::Journal, "Webhook", &content))
}

/// Says what became of a webhook that was replayed.
fn replayed(entry: &JournalEntry) -> Markup {
    match entry.status.as_str() {
        "failed" => notice(Tone::Bad, "The webhook was processed again, and failed again."),
        "unrouted" => notice(Tone::Warning, "The webhook was processed again, and still has no app."),
        "pending" => {
            notice(Tone::Neutral, "The webhook is being processed again. Reload the page to see the result.")
        }
        _ => notice(Tone::Good, "The webhook was processed again."),
    }
}

async fn replay_form(visitor: &Visitor, state: &AppState, entry: &JournalEntry) -> Result<Markup, Failure> {
    let apps =
        if entry.app.is_none() { state.store.apps().list(None, PAGE).await?.items } else { Vec::new() };
    Ok(html! {
        form.line method="post" action=(format!("{}/replay", entry_address(entry.id))) {
            (visitor.csrf_field())
            @if !apps.is_empty() {
                label for="app" { "For the app" }
                select #app name="app" {
                    option value="" { "that the webhook names" }
                    @for app in &apps { option value=(app.id) { (app.name) } }
                }
            }
            button { "Replay" }
        }
    })
}

fn payload(bytes: &[u8]) -> Markup {
    let json = serde_json::from_slice::<serde_json::Value>(bytes).ok();
    let formatted = json.and_then(|json| serde_json::to_string_pretty(&json).ok());
    html! {
        section {
            h2 { "Payload, as received" }
            pre tabindex="0" {
                @match std::str::from_utf8(bytes) {
                    Ok(text) => (text),
                    Err(_) => (bytes.escape_ascii()),
                }
            }
            @if let Some(formatted) = formatted {
                details { summary { "Formatted" } pre tabindex="0" { (formatted) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_a_form_is_utc() {
        let noon = DateTime::from_timestamp(1_704_110_400, 0);
        for text in ["2024-01-01T12:00", "2024-01-01T12:00:00", "2024-01-01T12:00:00Z", "1704110400"] {
            assert_eq!(instant(text), noon, "{text}");
        }
        assert_eq!(instant("noon"), None);
    }

    #[test]
    fn a_number_is_searched_in_any_spelling() {
        assert_eq!(digits("+1 (555) 010-2030").as_deref(), Some("15550102030"));
        assert_eq!((digits("12%"), digits("call"), digits("+")), (None, None, None));
    }
}
