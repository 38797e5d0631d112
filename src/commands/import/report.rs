//! What an import has done, table by table.

use std::{collections::BTreeMap, fmt};

/// How many rows of a table are named.
const MAX_NAMED: usize = 20;

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is here now; of a dry run, it would be.
    Taken,
    /// It was here before.
    AlreadyThere,
    /// It is not here, for this reason.
    LeftOut(String),
}

/// What became of the rows of one table.
#[derive(Debug, Default)]
pub(super) struct TableReport {
    read: u64,
    taken: u64,
    already_there: u64,
    left_out: u64,
    /// The rows that are left out, each with the reason.
    named: Vec<String>,
    /// What was left out of rows that were taken.
    notes: Vec<String>,
    noted: u64,
    /// How many of the taken rows are of a kind.
    kinds: BTreeMap<&'static str, u64>,
}

impl TableReport {
    /// Counts a row.
    pub(super) fn add(&mut self, name: &str, outcome: Outcome) {
        self.read += 1;
        match outcome {
            Outcome::Taken => self.taken += 1,
            Outcome::AlreadyThere => self.already_there += 1,
            Outcome::LeftOut(reason) => {
                self.left_out += 1;
                if self.named.len() < MAX_NAMED {
                    self.named.push(format!("{name}: {reason}"));
                }
            }
        }
    }

    /// Counts rows that are left out for the same reason, without naming them.
    pub(super) fn leave_out(&mut self, rows: u64, reason: &str) {
        if rows > 0 {
            self.read += rows;
            self.left_out += rows;
            self.named.push(format!("{rows} rows: {reason}"));
        }
    }

    /// Names what was left out of a row that was taken.
    pub(super) fn note(&mut self, name: &str, problem: &str) {
        self.noted += 1;
        if self.notes.len() < MAX_NAMED {
            self.notes.push(format!("{name}: {problem}"));
        }
    }

    /// Counts a taken row by its kind.
    pub(super) fn count(&mut self, kind: &'static str) {
        *self.kinds.entry(kind).or_default() += 1;
    }
}

/// What an import has done.
#[derive(Debug, Default)]
pub(super) struct Report {
    tables: BTreeMap<&'static str, TableReport>,
    /// The tables in the order in which they were read.
    order: Vec<&'static str>,
    /// Tables and columns that are not there, and tables that are not read.
    pub(super) differences: Vec<String>,
    /// What a person has to do.
    pub(super) to_do: Vec<String>,
    is_dry_run: bool,
}

impl Report {
    pub(super) fn new(is_dry_run: bool) -> Self {
        Self { is_dry_run, ..Self::default() }
    }

    /// Returns the part about a table.
    pub(super) fn table(&mut self, table: &'static str) -> &mut TableReport {
        if !self.order.contains(&table) {
            self.order.push(table);
        }
        self.tables.entry(table).or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24}{:>10}{:>10}{:>15}{:>10}", "table", "read", "taken", "already there", "left out")?;
        for name in &self.order {
            let TableReport { read, taken, already_there, left_out, .. } = &self.tables[name];
            writeln!(f, "{name:<24}{read:>10}{taken:>10}{already_there:>15}{left_out:>10}")?;
        }
        for name in &self.order {
            let TableReport { named, notes, kinds, left_out, noted, .. } = &self.tables[name];
            if !kinds.is_empty() {
                let kinds: Vec<String> =
                    kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
                writeln!(f, "\n{name}, taken: {}", kinds.join(", "))?;
            }
            list(f, &format!("{name}, left out"), named, *left_out)?;
            list(f, &format!("{name}, taken without"), notes, *noted)?;
        }
        list(f, "differences of the source", &self.differences, self.differences.len() as u64)?;
        list(f, "to do", &self.to_do, self.to_do.len() as u64)?;
        if self.is_dry_run {
            writeln!(f, "\nThis was a dry run: nothing was written.")?;
        }
        Ok(())
    }
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String], count: u64) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}:")?;
    for line in lines {
        writeln!(f, "  {}", line.replace(char::is_control, " "))?;
    }
    if lines.len() == MAX_NAMED && count > MAX_NAMED as u64 {
        writeln!(f, "  … {count} in all")?;
    }
    Ok(())
}
