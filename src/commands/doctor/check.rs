//! The result of a check, and the report of all of them.

use std::fmt;

use serde::Serialize;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// It works, but should be changed, or could not be checked.
    Warn,
    /// Webhooks, events or secrets are at risk.
    Fail,
}

/// One point of the checklist.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    /// Stable, for scripts.
    pub(super) name: &'static str,
    pub(super) status: Status,
    /// How it was checked, and what was found.
    pub(super) how: String,
    /// What to change, in one line; empty if nothing.
    pub(super) fix: String,
}

impl Check {
    pub(super) fn ok(name: &'static str, how: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, how: how.into(), fix: String::new() }
    }

    pub(super) fn warn(name: &'static str, how: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, status: Status::Warn, how: how.into(), fix: fix.into() }
    }

    pub(super) fn fail(name: &'static str, how: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, status: Status::Fail, how: how.into(), fix: fix.into() }
    }

    /// Ok if the condition holds, otherwise a failure.
    pub(super) fn require(
        name: &'static str,
        holds: bool,
        how: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        if holds { Self::ok(name, how) } else { Self::fail(name, how, fix) }
    }

    /// Returns the worse of two results; the first one if they are alike.
    pub(super) fn worse(self, other: Self) -> Self {
        if other.status > self.status { other } else { self }
    }

    /// Ok if the condition holds, otherwise a warning.
    pub(super) fn advise(
        name: &'static str,
        holds: bool,
        how: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        if holds { Self::ok(name, how) } else { Self::warn(name, how, fix) }
    }
}

/// All checks.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether none failed.
    ok: bool,
    checks: Vec<Check>,
}

impl Report {
    pub(super) fn of(checks: Vec<Check>) -> Self {
        Self { ok: checks.iter().all(|check| check.status != Status::Fail), checks }
    }

    pub(super) fn count(&self, status: Status) -> usize {
        self.checks.iter().filter(|check| check.status == status).count()
    }
}

/// Formats one line per check, and one more for what to change.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let status = match check.status {
                Status::Ok => "ok  ",
                Status::Warn => "WARN",
                Status::Fail => "FAIL",
            };
            writeln!(f, "{status}  {:<22} {}", check.name, check.how)?;
            if !check.fix.is_empty() {
                writeln!(f, "      {:<22} → {}", "", check.fix)?;
            }
        }
        let (ok, warned, failed) =
            (self.count(Status::Ok), self.count(Status::Warn), self.count(Status::Fail));
        writeln!(f, "\n{ok} ok, {warned} warnings, {failed} failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_ok_unless_a_check_failed() {
        let warned = Report::of(vec![Check::ok("a", "seen"), Check::warn("b", "seen", "change it")]);
        assert!(warned.ok);
        assert!(warned.to_string().contains("→ change it"));
        assert!(!Report::of(vec![Check::fail("c", "seen", "change it")]).ok);
        let json = serde_json::to_value(&warned).expect("JSON");
        assert_eq!(
            json["checks"][1],
            serde_json::json!({"name":"b","status":"warn","how":"seen","fix":"change it"})
        );
    }
}
