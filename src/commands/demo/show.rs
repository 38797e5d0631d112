//! Prints each event once its latency is known, in the order of arrival, and the account at the end.

use std::collections::VecDeque;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;

use super::stage::Stage;
use super::tally::{Standing, Summary, Tally};
use super::{DemoArgs, closing, opening};
use crate::commands::event::Arrival;
use crate::commands::picture::{self, Look};
use cti_simulator::{Progress, Simulator, clock};

/// How long a line waits for its latency, in microseconds. The book has it a moment after the event, or never.
const PATIENCE: i64 = 500_000;

/// What the spectators see.
pub(super) struct Show {
    look: Look,
    tally: Tally,
    /// Arrived, and not printed yet.
    queue: VecDeque<Line>,
    /// The number of the last delivery that was read from the simulator's book.
    read: u64,
}

struct Line {
    arrival: Arrival,
    latency: Latency,
}

/// What is known of an event's way from webhook to socket.
#[derive(Clone, Copy)]
enum Latency {
    /// It took so many microseconds.
    Known(i64),
    /// Its webhook is not in the book yet.
    Awaited,
    /// No webhook had to cause it.
    Unmeasured,
}

/// The summary for programs.
#[derive(Serialize)]
struct Account<'a> {
    /// Complete ones.
    calls: u64,
    #[serde(flatten)]
    summary: &'a Summary,
}

impl Show {
    /// A show of the events behind this place in the feed.
    pub(super) fn new(look: Look, head: i64) -> Self {
        Self { look, tally: Tally::behind(head), queue: VecDeque::new(), read: 0 }
    }

    /// Tells what runs where.
    pub(super) fn open(&self, stage: &Stage, args: &DemoArgs) -> io::Result<()> {
        match self.look {
            Look::Json => print(&json!({"demo": opening::facts(stage)}).to_string()),
            Look::Text(paint) => {
                print(&opening::text(paint, stage, args))?;
                print(&picture::heading(paint, "latency"))
            }
        }
    }

    /// Takes an event in; it is printed by [`Show::update`].
    pub(super) fn arrived(&mut self, arrival: Arrival) {
        let latency = match self.tally.arrived(&arrival.event, arrival.at) {
            Standing::Answer(latency) => Latency::Known(latency),
            Standing::Early => Latency::Awaited,
            Standing::Aside | Standing::Repeated => Latency::Unmeasured,
        };
        self.queue.push_back(Line { arrival, latency });
    }

    /// Reads on in the simulator's book, and prints what can be printed.
    pub(super) fn update(&mut self, simulator: &Simulator) -> io::Result<()> {
        for delivery in simulator.deliveries(self.read) {
            self.read = delivery.n;
            if let Some(answered) = self.tally.sent(&delivery) {
                let early = self.queue.iter_mut().find(|line| line.arrival.event.seq == answered.seq);
                if let Some(line) = early {
                    line.latency = Latency::Known(answered.latency);
                }
            }
        }
        let patience_began = clock::now().timestamp_micros() - PATIENCE;
        while let Some(Line { arrival, latency }) = self.queue.front() {
            if matches!(latency, Latency::Awaited) && arrival.at > patience_began {
                break;
            }
            self.print(arrival, *latency)?;
            self.queue.pop_front();
        }
        Ok(())
    }

    /// Tells that the connection broke and is being opened again.
    pub(super) fn interrupted(&self, reason: &str) -> io::Result<()> {
        match self.look {
            Look::Json => print(&json!({"interrupted": reason}).to_string()),
            Look::Text(paint) => print(&closing::interruption(paint, reason)),
        }
    }

    /// Whether everything that was sent or had arrived until then has found its counterpart.
    pub(super) fn is_settled(&self, until: i64) -> bool {
        self.tally.is_settled(until)
    }

    /// Prints what is left, and the account as of then.
    pub(super) fn close(&mut self, until: i64, progress: &Progress) -> io::Result<Summary> {
        while let Some(Line { arrival, latency }) = self.queue.pop_front() {
            self.print(&arrival, latency)?;
        }
        let summary = self.tally.summary(until);
        match self.look {
            Look::Json => {
                let account = Account { calls: progress.calls_finished, summary: &summary };
                print(&json!({"summary": account}).to_string())?;
            }
            Look::Text(paint) => print(&closing::account(paint, &summary, progress))?,
        }
        Ok(summary)
    }

    fn print(&self, arrival: &Arrival, latency: Latency) -> io::Result<()> {
        let latency = match latency {
            Latency::Known(micros) => Some(micros),
            Latency::Awaited | Latency::Unmeasured => None,
        };
        print(&match self.look {
            Look::Json => closing::json(arrival, latency),
            Look::Text(paint) => {
                let latency = latency.map(closing::milliseconds).unwrap_or_default();
                picture::line(paint, arrival.at, &arrival.event, &latency)
            }
        })
    }
}

/// One write for a whole line: a spectator never sees half of one.
fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    out.flush()
}
