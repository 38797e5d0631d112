//! What a server answered to a webhook, and how that looks.

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::Client;
use serde_json::{Value, json};

use crate::commands::causes;
use crate::commands::picture::{Look, Paint, harmless};
use cti_simulator::clock;
use cti_simulator::flows::{EventType, ScheduledWebhook};
use cti_simulator::signed_webhook::SignedWebhook;

/// The answer to one webhook.
pub(super) struct Answer {
    at: DateTime<Utc>,
    /// What was sent: its `event_type` or `state`.
    event: String,
    /// The call or the message that it is about.
    id: i64,
    /// The HTTP status; none without an answer.
    status: Option<u16>,
    /// What it said, or why there is none.
    text: String,
}

impl Answer {
    /// Posts the webhook.
    pub(super) async fn to(client: &Client, webhook: &SignedWebhook, step: &ScheduledWebhook) -> Self {
        let payload = &step.payload;
        let event = payload["event_type"]
            .as_str()
            .or(payload["state"].as_str())
            .or(step.expected_event.map(EventType::name));
        let id = ["call_id", "message_id", "id"].iter().find_map(|key| payload[key].as_i64());
        let (status, text) = match webhook.post(client).await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let text = answer.text().await.unwrap_or_else(|error| format!("unreadable answer: {error}"));
                (Some(status), text)
            }
            Err(error) => (None, causes(&error)),
        };
        let event = event.unwrap_or_default().to_owned();
        Self { at: clock::now(), event, id: id.unwrap_or_default(), status, text }
    }

    /// Whether it was acknowledged.
    pub(super) fn is_taken(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// As a line.
    pub(super) fn shown(&self, look: Look) -> String {
        match look {
            Look::Json => self.json().to_string(),
            Look::Text(paint) => self.line(paint),
        }
    }

    fn json(&self) -> Value {
        let answer = serde_json::from_str(&self.text).unwrap_or_else(|_| Value::from(self.text.as_str()));
        json!({
            "at": self.time(), "event": self.event, "id": self.id, "status": self.status,
            "acknowledged": self.is_taken(), "answer": answer,
        })
    }

    fn line(&self, paint: Paint) -> String {
        let status = self.status.map_or_else(|| "---".to_owned(), |status| status.to_string());
        let colour = if self.is_taken() { AnsiColor::Green } else { AnsiColor::Red };
        let status = paint.apply(colour.on_default(), &status);
        let event = paint.apply(Style::new().bold(), &format!("{:<24}", self.event));
        let text = harmless(&self.text.split_whitespace().collect::<Vec<_>>().join(" "));
        format!("{}  {event}  {}  {status}  {}", paint.dim(&self.time()), self.id, paint.dim(&text))
    }

    fn time(&self) -> String {
        self.at.to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: Option<u16>, text: &str) -> Answer {
        let at = "2024-01-01T12:00:00.250Z".parse().expect("a time");
        Answer { at, event: "call.ring".to_owned(), id: 7, status, text: text.to_owned() }
    }

    #[test]
    fn a_line_is_readable_at_a_glance() {
        let line = answer(Some(200), "{\"success\":true,\n \"duplicate\":false}").line(Paint::Plain);
        assert_eq!(
            line,
            "2024-01-01T12:00:00.250Z  call.ring                 7  200  {\"success\":true, \"duplicate\":false}"
        );
    }

    #[test]
    fn for_programs_the_answer_is_as_it_came() {
        let taken = answer(Some(200), r#"{"success":true}"#).json();
        assert_eq!((&taken["acknowledged"], &taken["answer"]["success"]), (&json!(true), &json!(true)));
        let silent = answer(None, "connection refused").json();
        assert_eq!((&silent["status"], &silent["answer"]), (&Value::Null, &json!("connection refused")));
        assert_eq!(silent["acknowledged"], false);
    }
}
