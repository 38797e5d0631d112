//! The report: one line per case and database.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::oracle::Verdict;

/// How many sentences about faults of one kind are shown.
const MAX_SHOWN: usize = 5;

/// The result of one case on one database.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    pub(crate) case: String,
    pub(crate) database: String,
    /// How often the fault was injected.
    pub(crate) tried: u32,
    /// `None` if the case was skipped or could not be carried out.
    pub(crate) verdict: Option<Counts>,
    pub(crate) p50: Option<Duration>,
    pub(crate) p99: Option<Duration>,
    pub(crate) recovery: Option<Duration>,
    /// What is wrong beside losses, repetitions and disorder.
    pub(crate) problems: Vec<String>,
    pub(crate) notes: Vec<String>,
    /// Why the case was not carried out here.
    pub(crate) skipped: Option<String>,
}

/// A verdict in numbers, with the first sentences about each kind of fault.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) sent: usize,
    pub(crate) acknowledged: usize,
    pub(crate) delivered: usize,
    pub(crate) lost: usize,
    pub(crate) duplicated: usize,
    pub(crate) out_of_order: usize,
    pub(crate) stale: usize,
    pub(crate) faults: Vec<String>,
}

impl From<Verdict> for Counts {
    fn from(verdict: Verdict) -> Self {
        let faults = verdict.faults().iter().flat_map(|kind| kind.iter().take(MAX_SHOWN).cloned()).collect();
        Self {
            sent: verdict.sent,
            acknowledged: verdict.acknowledged,
            delivered: verdict.delivered,
            lost: verdict.lost.len(),
            duplicated: verdict.duplicated.len(),
            out_of_order: verdict.out_of_order.len(),
            stale: verdict.stale.len(),
            faults,
        }
    }
}

impl Counts {
    fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.out_of_order + self.stale == 0
    }
}

impl Row {
    /// Returns the row of a case that is not carried out.
    pub(crate) fn skipped(case: &str, database: &str, reason: String) -> Self {
        Self {
            case: case.to_owned(),
            database: database.to_owned(),
            skipped: Some(reason),
            ..Self::default()
        }
    }

    /// Returns the row of a case that could not be carried out to its end.
    pub(crate) fn failed(case: &str, database: &str, reason: String) -> Self {
        Self {
            case: case.to_owned(),
            database: database.to_owned(),
            problems: vec![reason],
            ..Self::default()
        }
    }

    /// Whether nothing was found, or nothing was done.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.verdict.as_ref().is_none_or(Counts::is_clean)
    }

    /// Whether the case was skipped.
    #[must_use]
    pub fn is_skipped(&self) -> bool {
        self.skipped.is_some()
    }

    /// Returns how many webhooks were sent.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.verdict.as_ref().map_or(0, |verdict| verdict.sent)
    }
}

/// Formats the row as a line of the report, and what is to be said about it.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<22} {:<8} ", self.case, self.database)?;
        match (&self.skipped, &self.verdict) {
            (Some(reason), _) => writeln!(f, "skipped: {reason}")?,
            (None, None) => writeln!(f, "NOT CARRIED OUT")?,
            (None, Some(counts)) => writeln!(
                f,
                "{:>5} {:>8} {:>8} {:>9} {:>4} {:>5} {:>8} {:>8} {:>8} {:>9}",
                self.tried,
                counts.sent,
                counts.acknowledged,
                counts.delivered,
                counts.lost,
                counts.duplicated,
                counts.out_of_order + counts.stale,
                shown(self.p50),
                shown(self.p99),
                shown(self.recovery),
            )?,
        }
        if !self.notes.is_empty() {
            writeln!(f, "    {}", self.notes.join("; "))?;
        }
        let faults = self.verdict.iter().flat_map(|counts| &counts.faults);
        for fault in faults.chain(self.problems.iter().take(MAX_SHOWN)) {
            writeln!(f, "    WRONG: {fault}")?;
        }
        if let Some(more @ 1..) = self.problems.len().checked_sub(MAX_SHOWN) {
            writeln!(f, "    WRONG: and {more} more")?;
        }
        Ok(())
    }
}

/// All rows of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// With which the same moments are chosen again.
    pub seed: u64,
    /// In the order in which they were made.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether no case found anything.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.rows.iter().all(Row::is_clean)
    }
}

/// Formats the report as a page of text.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<22} {:<8} {:>5} {:>8} {:>8} {:>9} {:>4} {:>5} {:>8} {:>8} {:>8} {:>9}",
            "fault",
            "database",
            "tried",
            "sent",
            "acked",
            "delivered",
            "lost",
            "twice",
            "disorder",
            "p50",
            "p99",
            "recovery"
        )?;
        for row in &self.rows {
            write!(f, "{row}")?;
        }
        let found = self.rows.iter().filter(|row| !row.is_clean()).count();
        let skipped = self.rows.iter().filter(|row| row.is_skipped()).count();
        let sent: usize = self.rows.iter().map(Row::sent).sum();
        let verdict = if found == 0 {
            "nothing acknowledged was lost, repeated or reordered".to_owned()
        } else {
            format!("{found} of {} rows are WRONG", self.rows.len())
        };
        writeln!(f, "seed {}; {sent} webhooks; {skipped} skipped; {verdict}", self.seed)
    }
}

fn shown(time: Option<Duration>) -> String {
    match time {
        None => "-".to_owned(),
        Some(time) if time < Duration::from_secs(1) => format!("{:.1}ms", time.as_secs_f64() * 1e3),
        Some(time) => format!("{:.1}s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_or_a_problem_makes_a_report_wrong_and_a_skipped_case_does_not() {
        let sound = Row { verdict: Some(Counts { sent: 7, ..Counts::default() }), ..Row::default() };
        let skipped = Row::skipped("clock", "sqlite", "faketime is not installed".to_owned());
        let mut report = Report { seed: 1, rows: vec![sound, skipped] };
        assert!(report.is_clean());
        assert!(report.to_string().contains("seed 1; 7 webhooks; 1 skipped; nothing acknowledged"));
        report.rows.push(Row::failed("kill", "sqlite", "it did not start".to_owned()));
        assert!(!report.is_clean() && report.to_string().contains("WRONG: it did not start"));
        let lost = Counts { lost: 1, faults: vec!["one is gone".to_owned()], ..Counts::default() };
        let lossy = Report { seed: 1, rows: vec![Row { verdict: Some(lost), ..Row::default() }] };
        assert!(!lossy.is_clean() && lossy.to_string().contains("WRONG: one is gone"));
    }
}
