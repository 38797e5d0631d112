//! How an event looks to a person: one line in columns, the type in a colour of its own.

use std::io::IsTerminal;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, Local};
use cti_actors::{event::EventType, model::call::Outcome};

use super::event::Event;

/// For whom to print.
#[derive(Clone, Copy)]
pub(super) enum Look {
    /// For programs.
    Json,
    /// For people.
    Text(Paint),
}

/// Whether there are colours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Coloured,
    Plain,
}

impl Look {
    /// Colours are for terminals, and for those who did not say that they want none.
    pub(super) fn choose(json: bool, no_color: bool) -> Self {
        if json {
            return Self::Json;
        }
        Self::Text(Paint::on(&std::io::stdout(), no_color))
    }
}

impl Paint {
    /// What suits this output.
    pub(super) fn on(output: &impl IsTerminal, no_color: bool) -> Self {
        let refused = no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if output.is_terminal() && !refused { Self::Coloured } else { Self::Plain }
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.apply(Style::new().dimmed(), text)
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.apply(Style::new().bold(), text)
    }

    pub(super) fn apply(self, style: Style, text: &str) -> String {
        match self {
            Self::Coloured => format!("{style}{text}{style:#}"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// The names of the columns; the last one is the caller's.
pub(super) fn heading(paint: Paint, last: &str) -> String {
    let columns = ["time", "event", "from → to", "status", "outcome, duration", last];
    paint.dim(&row(Paint::Plain, Style::new(), columns))
}

/// One event, at an instant in microseconds since 1970, with what the caller has to say in the last column.
pub(super) fn line(paint: Paint, at: i64, event: &Event, last: &str) -> String {
    let time = local(at).format("%H:%M:%S%.3f").to_string();
    let number = |number: &Option<String>| number.clone().unwrap_or_else(|| "unknown".to_owned());
    let parties = match event.subject() {
        Some(_) => format!("{:<12} → {}", number(&event.from_number), number(&event.to_number)),
        None => String::new(),
    };
    let status = event.status.as_deref().or(event.message_status.as_deref()).unwrap_or_default();
    row(paint, style(event), [&time, &event.kind, &parties, status, &detail(event), last])
}

fn row(paint: Paint, style: Style, columns: [&str; 6]) -> String {
    let [time, kind, parties, status, detail, last] = columns.map(harmless);
    let kind = paint.apply(style, &format!("{kind:<18}"));
    let row = format!("{time:<12}  {kind}  {parties:<27}  {status:<9}  {detail:<22}  {last:>9}");
    row.trim_end().to_owned()
}

/// What other people wrote must not move the cursor.
pub(super) fn harmless(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// What is worth knowing beyond the status.
fn detail(event: &Event) -> String {
    let duration = event.duration_seconds.map(|seconds| {
        let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
        text.replace("days", "d").replace("day", "d")
    });
    let text = match event.kind.parse() {
        Ok(EventType::CallRing) => event.direction.clone().unwrap_or_default(),
        Ok(EventType::CallEnded) => {
            let parts = [event.outcome.clone(), duration];
            parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
        Ok(EventType::CallUpdated) => event.changed.join(", "),
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
        Ok(EventType::CallStarted | EventType::CallHeld | EventType::CallResumed | EventType::CallRaw)
        | Err(_) => String::new(),
    };
    shortened(&text)
}

fn quoted(text: &str) -> String {
    format!("“{text}”")
}

/// As much as the column holds.
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
        Ok(EventType::CallEnded) if is_answered => AnsiColor::Blue,
        Ok(EventType::CallEnded) => AnsiColor::Red,
        Ok(EventType::CallUpdated) => return Style::new().dimmed(),
        Ok(
            EventType::VoicemailReceived
            | EventType::VoicemailUpdated
            | EventType::MessageReceived
            | EventType::MessageSent
            | EventType::MessageUpdated,
        ) => AnsiColor::Cyan,
        Ok(
            EventType::CallRaw
            | EventType::ConnectionConnected
            | EventType::ConnectionDegraded
            | EventType::ConnectionRecovered
            | EventType::ConnectionExpired
            | EventType::ConnectionDisconnected,
        )
        | Err(_) => return Style::new(),
    };
    colour.on_default().bold()
}

fn local(micros: i64) -> DateTime<Local> {
    DateTime::from_timestamp_micros(micros)
        .expect("a reading of the clock is an instant")
        .with_timezone(&Local)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str, last: &str) -> String {
        let event = serde_json::from_str(json).expect("an event");
        // The time is that of whoever runs the test.
        line(Paint::Plain, 1_704_110_403_512_000, &event, last).split_off("00:00:00.000  ".len())
    }

    #[test]
    fn a_call_is_readable_at_a_glance() {
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
    fn what_people_say_is_shortened_and_cannot_play_tricks() {
        let text = r#"{"type":"message.received","seq":3,"dialpad_message_id":8,"from_number":"+1","to_number":"+2",
            "message_status":"pending","text":"Hello,\u001b[2Jis my order on its way?"}"#;
        assert!(shown(text, "").ends_with("pending    “Hello, [2Jis my orde…"));
    }

    #[test]
    fn colours_are_only_for_those_who_want_them() {
        assert_eq!(Paint::Plain.bold("x"), "x");
        assert!(Paint::Coloured.bold("x").starts_with('\u{1b}'));
    }
}
