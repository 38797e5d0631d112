//! What several pages show: times, states, tables of facts, links to the next page.

use chrono::{DateTime, SecondsFormat, Utc};
use cti_actors::id::AppId;
use maud::{Markup, Render, html};
use serde_json::Value;

use super::{access::Visitor, fields::Fields};
use crate::store::views::listing::Cursor;

/// How a state is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Neutral,
    Warning,
    Bad,
}

impl Tone {
    /// Returns the tone of a state's word, as `/internal` and `/api` use it.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "connected" | "active" | "answered" | "processed" | "healthy" | "ok" => Self::Good,
            "degraded" | "pending" | "unrouted" | "held" | "ringing" | "missed" | "abandoned" | "late"
            | "unusual" => Self::Warning,
            "expired" | "failed" | "unhealthy" | "inactive" => Self::Bad,
            _ => Self::Neutral,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Good => "badge good",
            Self::Neutral => "badge",
            Self::Warning => "badge warning",
            Self::Bad => "badge bad",
        }
    }
}

/// Shows a state as a word with a color.
pub(super) fn badge(word: &str) -> Markup {
    html! { span class=(Tone::of(word).class()) { (word) } }
}

/// Shows a time.
pub(super) fn time(at: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(at.to_rfc3339_opts(SecondsFormat::Millis, true)) { (at.format("%Y-%m-%d %H:%M:%S")) }
    }
}

/// Shows a time that may be unknown.
pub(super) fn time_or_dash(at: Option<DateTime<Utc>>) -> Markup {
    or_dash(at.map(time))
}

/// Shows a value, or a dash where there is none.
pub(super) fn or_dash<T: Render>(value: Option<T>) -> Markup {
    match value {
        Some(value) => html! { (value) },
        None => html! { span.none { "–" } },
    }
}

/// Shows names and their values.
pub(super) fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in facts {
                div { dt { (name) } dd { (value) } }
            }
        }
    }
}

/// Shows a sentence that needs attention.
pub(super) fn notice(tone: Tone, text: impl Render) -> Markup {
    let class = match tone {
        Tone::Good => "notice good",
        Tone::Neutral => "notice",
        Tone::Warning => "notice warning",
        Tone::Bad => "notice bad",
    };
    html! { p class=(class) role="status" { (text) } }
}

/// Shows a button that first shows what will happen, and the form that does it.
pub(super) fn confirmed(text: &str, consequence: impl Render, form: Markup) -> Markup {
    html! {
        details.confirm {
            summary { (text) "…" }
            div { p { (consequence) } (form) }
        }
    }
}

/// Shows a form with one button.
pub(super) fn button_form(visitor: &Visitor, action: &str, class: &str, text: &str) -> Markup {
    html! {
        form.line method="post" action=(action) {
            (visitor.csrf_field())
            button class=(class) { (text) }
        }
    }
}

/// Shows a table that a narrow screen can scroll.
pub(super) fn table(caption: &str, columns: &[&str], rows: &[Markup]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead {
                    tr {
                        @for column in columns {
                            // A column of buttons has no name.
                            @if column.is_empty() { td {} } @else { th scope="col" { (column) } }
                        }
                    }
                }
                tbody {
                    @for row in rows { tr { (row) } }
                    @if rows.is_empty() { tr { td.none colspan=(columns.len()) { "None" } } }
                }
            }
        }
    }
}

/// Returns the address of a page with a query.
pub(super) fn address(path: &str, query: &[(&str, Option<&str>)]) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (name, value) in query {
        if let Some(value) = value {
            text.append_pair(name, value);
        }
    }
    let text = text.finish();
    if text.is_empty() { path.to_owned() } else { format!("{path}?{text}") }
}

/// Shows the link to the next page of a list, which keeps the fields of the filter.
pub(super) fn next_page(path: &str, filter: &Fields, names: &[&str], next: Option<Cursor>) -> Markup {
    let Some(next) = next.map(|next| next.encode()) else { return html! {} };
    let mut query: Vec<_> = names.iter().map(|name| (*name, filter.get(name))).collect();
    query.push(("cursor", Some(&next)));
    html! { p { a rel="next" href=(address(path, &query)) { "Older" } } }
}

/// Returns the cursor of a list.
///
/// # Errors
/// It is not one of ours.
pub(super) fn cursor(query: &Fields) -> Result<Option<Cursor>, super::access::Failure> {
    query.parsed("cursor", Cursor::decode)
}

/// Returns the address of an app's page.
pub(super) fn app_address(app: AppId) -> String {
    format!("/console/apps/{app}")
}

/// Returns a field of an event as text.
pub(super) fn text_of(fields: &Value, name: &str) -> Option<String> {
    match fields.get(name)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Formats seconds as people say them.
pub(super) fn duration(seconds: i64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_what_is_given() {
        let query = [("status", Some("failed")), ("app", None), ("call", Some("1&2"))];
        assert_eq!(address("/console/journal", &query), "/console/journal?status=failed&call=1%262");
        assert_eq!(address("/console", &[("app", None)]), "/console");
    }

    #[test]
    fn a_duration_is_shown_in_minutes_and_seconds() {
        assert_eq!([duration(0), duration(65), duration(3725)], ["0:00", "1:05", "1:02:05"]);
    }
}
