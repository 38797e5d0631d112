//! The output of events for people: one line in columns, with a color per event type.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, Local};
use cti_actors::{event::EventType, model::call::Outcome};

use super::event::Event;

/// Writes a line to standard output. A closed output is ignored: what the line reports has happened.
pub(super) fn print_line(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// The output format.
#[derive(Clone, Copy)]
pub(super) enum Format {
    /// JSON lines.
    Json,
    /// Text for people.
    Text(ColorChoice),
}

/// Whether text has colors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ColorChoice {
    Colored,
    Plain,
}

impl Format {
    /// Chooses the format; text on a terminal has colors, unless they are turned off.
    pub(super) fn choose(json: bool, no_color: bool) -> Self {
        if json {
            return Self::Json;
        }
        Self::Text(ColorChoice::for_output(&std::io::stdout(), no_color))
    }
}

impl ColorChoice {
    /// Chooses colors for an output.
    pub(super) fn for_output(output: &impl IsTerminal, no_color: bool) -> Self {
        let is_off = no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if output.is_terminal() && !is_off { Self::Colored } else { Self::Plain }
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.apply(Style::new().dimmed(), text)
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.apply(Style::new().bold(), text)
    }

    pub(super) fn apply(self, style: Style, text: &str) -> String {
        match self {
            Self::Colored => format!("{style}{text}{style:#}"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// Formats the names of the columns; the last one is the caller's.
pub(super) fn heading(color: ColorChoice, last: &str) -> String {
    let columns = ["time", "event", "from → to", "status", "outcome, duration", last];
    color.dim(&row(ColorChoice::Plain, Style::new(), columns))
}

/// Formats one event at a time in microseconds since 1970, with the caller's text in the last column.
pub(super) fn line(color: ColorChoice, at: i64, event: &Event, last: &str) -> String {
    let time = local(at).format("%H:%M:%S%.3f").to_string();
    let number = |number: &Option<String>| number.clone().unwrap_or_else(|| "unknown".to_owned());
    let parties = match event.subject() {
        Some(_) => format!("{:<12} → {}", number(&event.from_number), number(&event.to_number)),
        None => String::new(),
    };
    let status = event.status.as_deref().or(event.message_status.as_deref()).unwrap_or_default();
    row(color, style(event), [&time, &event.kind, &parties, status, &detail(event), last])
}

fn row(color: ColorChoice, style: Style, columns: [&str; 6]) -> String {
    let [time, kind, parties, status, detail, last] = columns.map(without_control_chars);
    let kind = color.apply(style, &format!("{kind:<18}"));
    let row = format!("{time:<12}  {kind}  {parties:<27}  {status:<9}  {detail:<22}  {last:>9}");
    row.trim_end().to_owned()
}

/// Replaces control characters: text of other people must not control the terminal.
pub(super) fn without_control_chars(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Returns the most important fact beyond the status.
fn detail(event: &Event) -> String {
    let duration = event.duration_seconds.map(|seconds| {
        let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
        text.replace("days", "d").replace("day", "d")
    });
    let text = match event.kind.parse() {
        Ok(EventType::CallRing) => event.direction.clone().unwrap_or_default(),
        Ok(EventType::CallEnded | EventType::InteractionEnded) => {
            let parts = [event.outcome.clone(), duration];
            parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
        Ok(EventType::CallUpdated | EventType::InteractionUpdated) => event.changed.join(", "),
        Ok(EventType::VoicemailReceived) => duration.unwrap_or_default(),
        Ok(EventType::VoicemailUpdated) => event.transcript.as_deref().map(quoted).unwrap_or_default(),
        Ok(EventType::MessageReceived | EventType::MessageSent | EventType::MessageUpdated) => {
            event.text.as_deref().map(quoted).unwrap_or_default()
        }
        Ok(
            EventType::ConnectionConnected
            | EventType::ConnectionDegraded
            | EventType::ConnectionRecovered
            | EventType::ConnectionExpired
            | EventType::ConnectionDisconnected,
        ) => event.environment.clone().unwrap_or_default(),
        _ => String::new(),
    };
    shortened(&text)
}

fn quoted(text: &str) -> String {
    format!("“{text}”")
}

/// Cuts a text to the width of the column.
fn shortened(text: &str) -> String {
    const WIDTH: usize = 22;
    match text.char_indices().nth(WIDTH) {
        Some(_) => text.chars().take(WIDTH - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

fn style(event: &Event) -> Style {
    let is_answered = event.outcome.as_deref() == Some(Outcome::Answered.as_str());
    let colour = match event.kind.parse() {
        Ok(EventType::CallRing) => AnsiColor::Yellow,
        Ok(EventType::CallStarted | EventType::CallResumed) => AnsiColor::Green,
        Ok(EventType::CallHeld) => AnsiColor::Magenta,
        Ok(EventType::CallEnded | EventType::InteractionEnded) if is_answered => AnsiColor::Blue,
        Ok(EventType::CallEnded | EventType::InteractionEnded) => AnsiColor::Red,
        Ok(EventType::CallUpdated | EventType::InteractionUpdated) => return Style::new().dimmed(),
        Ok(
            EventType::VoicemailReceived
            | EventType::VoicemailUpdated
            | EventType::MessageReceived
            | EventType::MessageSent
            | EventType::MessageUpdated,
        ) => AnsiColor::Cyan,
        _ => return Style::new(),
    };
    colour.on_default().bold()
}

fn local(micros: i64) -> DateTime<Local> {
    DateTime::from_timestamp_micros(micros).expect("a clock reading is a valid time").with_timezone(&Local)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str, last: &str) -> String {
        let event = serde_json::from_str(json).expect("an event");
        // The time is in the time zone of the test.
        line(ColorChoice::Plain, 1_704_110_403_512_000, &event, last).split_off("00:00:00.000  ".len())
    }

    #[test]
    fn a_call_is_one_readable_line() {
        let ring = r#"{"type":"call.ring","seq":1,"dialpad_call_id":7,"direction":"inbound",
            "from_number":"+14155550123","to_number":"+14155550177","status":"ringing"}"#;
        let ended = r#"{"type":"call.ended","seq":2,"dialpad_call_id":7,"from_number":"+14155550123",
            "to_number":null,"status":"ended","outcome":"answered","duration_seconds":151}"#;
        assert_eq!(
            shown(ring, "1.8 ms"),
            "call.ring           +14155550123 → +14155550177  ringing    inbound                    1.8 ms"
        );
        assert_eq!(
            shown(ended, "12.0 ms"),
            "call.ended          +14155550123 → unknown       ended      answered, 2m 31s          12.0 ms"
        );
    }

    #[test]
    fn texts_are_shortened_and_have_no_control_characters() {
        let text = r#"{"type":"message.received","seq":3,"dialpad_message_id":8,"from_number":"+1","to_number":"+2",
            "message_status":"pending","text":"Hello,\u001b[2Jis my order on its way?"}"#;
        assert!(shown(text, "").ends_with("pending    “Hello, [2Jis my orde…"));
    }

    #[test]
    fn colors_are_optional() {
        assert_eq!(ColorChoice::Plain.bold("x"), "x");
        assert!(ColorChoice::Colored.bold("x").starts_with('\u{1b}'));
    }
}
