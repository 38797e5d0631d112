//! The server's answer to a webhook, and its output.

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::Client;
use serde_json::{Value, json};

use crate::commands::error_chain;
use crate::commands::output::{ColorChoice, Format, without_control_chars};
use cti_simulator::clock;
use cti_simulator::flows::{EventType, ScheduledWebhook};
use cti_simulator::signed_webhook::SignedWebhook;

/// The answer to one webhook.
pub(super) struct Answer {
    at: DateTime<Utc>,
    /// The `event_type` or `state` of the webhook.
    event: String,
    /// The id of the call or message.
    id: i64,
    /// The HTTP status; `None` without an answer.
    status: Option<u16>,
    /// The body, or the error.
    text: String,
}

impl Answer {
    /// Posts the webhook and receives the answer.
    pub(super) async fn receive(client: &Client, signed: &SignedWebhook, webhook: &ScheduledWebhook) -> Self {
        let payload = &webhook.payload;
        let event = payload["event_type"]
            .as_str()
            .or(payload["state"].as_str())
            .or(webhook.expected_event.map(EventType::name));
        let id = ["call_id", "message_id", "id"].iter().find_map(|key| payload[key].as_i64());
        let (status, text) = match signed.post(client).await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let text = answer.text().await.unwrap_or_else(|error| format!("unreadable answer: {error}"));
                (Some(status), text)
            }
            Err(error) => (None, error_chain(&error)),
        };
        let event = event.unwrap_or_default().to_owned();
        Self { at: clock::now(), event, id: id.unwrap_or_default(), status, text }
    }

    /// Returns whether the webhook was acknowledged.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// Formats the answer as a line.
    pub(super) fn render(&self, format: Format) -> String {
        match format {
            Format::Json => self.json().to_string(),
            Format::Text(color) => self.line(color),
        }
    }

    fn json(&self) -> Value {
        let answer = serde_json::from_str(&self.text).unwrap_or_else(|_| Value::from(self.text.as_str()));
        json!({
            "at": self.time(), "event": self.event, "id": self.id, "status": self.status,
            "acknowledged": self.is_acknowledged(), "answer": answer,
        })
    }

    fn line(&self, color: ColorChoice) -> String {
        let status = self.status.map_or_else(|| "---".to_owned(), |status| status.to_string());
        let colour = if self.is_acknowledged() { AnsiColor::Green } else { AnsiColor::Red };
        let status = color.apply(colour.on_default(), &status);
        let event = color.apply(Style::new().bold(), &format!("{:<24}", self.event));
        let text = without_control_chars(&self.text.split_whitespace().collect::<Vec<_>>().join(" "));
        format!("{}  {event}  {}  {status}  {}", color.dim(&self.time()), self.id, color.dim(&text))
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
    fn text_is_one_readable_line() {
        let line = answer(Some(200), "{\"success\":true,\n \"duplicate\":false}").line(ColorChoice::Plain);
        assert_eq!(
            line,
            "2024-01-01T12:00:00.250Z  call.ring                 7  200  {\"success\":true, \"duplicate\":false}"
        );
    }

    #[test]
    fn json_keeps_the_answer_as_received() {
        let taken = answer(Some(200), r#"{"success":true}"#).json();
        assert_eq!((&taken["acknowledged"], &taken["answer"]["success"]), (&json!(true), &json!(true)));
        let silent = answer(None, "connection refused").json();
        assert_eq!((&silent["status"], &silent["answer"]), (&Value::Null, &json!("connection refused")));
        assert_eq!(silent["acknowledged"], false);
    }
}
