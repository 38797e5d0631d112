//! Prints each event in the order of arrival, once its latency is known, and the summary at the end.

use std::collections::VecDeque;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;

use super::reconcile::{Match, Reconciliation, Summary};
use super::setup::Setup;
use super::{DemoArgs, banner, summary};
use crate::commands::event::Arrival;
use crate::commands::output::{self, Format};
use cti_simulator::{Progress, Simulator, clock};

/// How long a line waits for its latency, in microseconds. The delivery log has it a moment after the event, or never.
const LATENCY_TIMEOUT_MICROS: i64 = 500_000;

/// The output of the demo.
pub(super) struct Printer {
    format: Format,
    reconciliation: Reconciliation,
    /// Events that arrived and are not printed yet.
    queue: VecDeque<Line>,
    /// The number of the last delivery that was read from the simulator's log.
    last_delivery: u64,
}

struct Line {
    arrival: Arrival,
    latency: Latency,
}

/// The latency of an event from webhook to socket.
#[derive(Clone, Copy)]
enum Latency {
    /// In microseconds.
    Known(i64),
    /// Its webhook is not in the delivery log yet.
    Pending,
    /// No webhook had to cause it.
    Unmeasured,
}

/// The summary as JSON.
#[derive(Serialize)]
struct SummaryLine<'a> {
    /// The number of complete calls.
    calls: u64,
    #[serde(flatten)]
    summary: &'a Summary,
}

impl Printer {
    /// Creates a printer of the events after `head`.
    pub(super) fn new(format: Format, head: i64) -> Self {
        Self { format, reconciliation: Reconciliation::after(head), queue: VecDeque::new(), last_delivery: 0 }
    }

    /// Prints the banner.
    pub(super) fn print_banner(&self, setup: &Setup, args: &DemoArgs) -> io::Result<()> {
        match self.format {
            Format::Json => print(&json!({"demo": banner::json(setup)}).to_string()),
            Format::Text(color) => {
                print(&banner::text(color, setup, args))?;
                print(&output::heading(color, "latency"))
            }
        }
    }

    /// Queues an event; [`Printer::update`] prints it.
    pub(super) fn arrived(&mut self, arrival: Arrival) {
        let latency = match self.reconciliation.arrived(&arrival.event, arrival.at) {
            Match::Matched(latency) => Latency::Known(latency),
            Match::Early => Latency::Pending,
            Match::Unsolicited | Match::Repeated => Latency::Unmeasured,
        };
        self.queue.push_back(Line { arrival, latency });
    }

    /// Reads the new deliveries of the simulator, and prints the events whose latency is known.
    pub(super) fn update(&mut self, simulator: &Simulator) -> io::Result<()> {
        for delivery in simulator.deliveries(self.last_delivery) {
            self.last_delivery = delivery.n;
            if let Some(matched) = self.reconciliation.sent(&delivery) {
                let early = self.queue.iter_mut().find(|line| line.arrival.event.seq == matched.seq);
                if let Some(line) = early {
                    line.latency = Latency::Known(matched.latency);
                }
            }
        }
        let timeout_start = clock::now().timestamp_micros() - LATENCY_TIMEOUT_MICROS;
        while let Some(Line { arrival, latency }) = self.queue.front() {
            if matches!(latency, Latency::Pending) && arrival.at > timeout_start {
                break;
            }
            self.print(arrival, *latency)?;
            self.queue.pop_front();
        }
        Ok(())
    }

    /// Prints that the connection broke and is being reopened.
    pub(super) fn disconnected(&self, reason: &str) -> io::Result<()> {
        match self.format {
            Format::Json => print(&json!({"interrupted": reason}).to_string()),
            Format::Text(color) => print(&summary::disconnected(color, reason)),
        }
    }

    /// Prints that a server was killed.
    pub(super) fn killed(&self, server: &str, progress: &Progress) -> io::Result<()> {
        let (webhooks, calls) = (progress.acknowledged, progress.calls_started - progress.calls_finished);
        match self.format {
            Format::Json => {
                print(&json!({"killed": server, "webhooks": webhooks, "calls": calls}).to_string())
            }
            Format::Text(color) => print(&summary::killed(color, server, webhooks, calls)),
        }
    }

    /// Returns whether all webhooks and events up to this time are matched.
    pub(super) fn is_settled(&self, until: i64) -> bool {
        self.reconciliation.is_settled(until)
    }

    /// Prints the queued events and the summary as of this time.
    pub(super) fn print_summary(&mut self, until: i64, progress: &Progress) -> io::Result<Summary> {
        while let Some(Line { arrival, latency }) = self.queue.pop_front() {
            self.print(&arrival, latency)?;
        }
        let summary = self.reconciliation.summary(until);
        match self.format {
            Format::Json => {
                let line = SummaryLine { calls: progress.calls_finished, summary: &summary };
                print(&json!({"summary": line}).to_string())?;
            }
            Format::Text(color) => print(&summary::text(color, &summary, progress))?,
        }
        Ok(summary)
    }

    fn print(&self, arrival: &Arrival, latency: Latency) -> io::Result<()> {
        let latency = match latency {
            Latency::Known(micros) => Some(micros),
            Latency::Pending | Latency::Unmeasured => None,
        };
        print(&match self.format {
            Format::Json => summary::json(arrival, latency),
            Format::Text(color) => {
                let latency = latency.map(summary::milliseconds).unwrap_or_default();
                output::line(color, arrival.at, &arrival.event, &latency)
            }
        })
    }
}

/// Writes a whole line at once, so that a reader never sees half of one.
fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    out.flush()
}
