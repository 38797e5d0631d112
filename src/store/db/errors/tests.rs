use std::{borrow::Cow, error::Error, fmt};

use sqlx::error::ErrorKind;

use super::*;

/// An error of a database with this code.
#[derive(Debug)]
struct Failure(&'static str);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Failure {}

impl DatabaseError for Failure {
    fn message(&self) -> &str {
        self.0
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.0.into())
    }

    fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        if matches!(self.0, "23505" | "2067" | "1555") {
            ErrorKind::UniqueViolation
        } else {
            ErrorKind::Other
        }
    }
}

fn failure(code: &'static str) -> sqlx::Error {
    sqlx::Error::Database(Box::new(Failure(code)))
}

fn kind(code: &'static str) -> &'static str {
    match store_error(failure(code)) {
        StoreError::Unavailable(_) => "outage",
        StoreError::Conflict(_) => "race",
        StoreError::Rejected(_) => "data",
        other => panic!("{code} is {other}"),
    }
}

#[test]
fn only_what_the_data_causes_is_refused_data() {
    // PostgreSQL: a null character, a number out of range, a check, a value too large for an index. SQLite: too big, a
    // check, a mismatch, out of range.
    for code in ["22021", "22003", "23514", "54000", "18", "275", "20", "25"] {
        assert_eq!(kind(code), "data", "{code}");
    }
}

#[test]
fn everything_else_is_an_outage_that_passes() {
    // PostgreSQL: cancelled, lock not available, read-only, cached plan, statement gone, no right, no table, disk full,
    // out of memory, internal, I/O, a trigger's. SQLite: error, no rights, locked, out of memory, read-only, interrupted,
    // I/O error, corrupt, full, can't open, protocol, schema, not a database.
    for code in [
        "57014", "55P03", "25006", "25P02", "0A000", "26000", "42501", "42P01", "53100", "53200", "XX000",
        "58030", "P0001", "57P01", "08006", "1", "3", "5", "6", "7", "8", "9", "266", "11", "13", "14", "15",
        "17", "26", "1032",
    ] {
        assert_eq!(kind(code), "outage", "{code}");
    }
}

#[test]
fn a_lost_race_is_decided_anew() {
    for code in ["23505", "23502", "40001", "40P01", "2067", "1299"] {
        assert_eq!(kind(code), "race", "{code}");
    }
}

#[test]
fn a_connection_is_kept_only_after_errors_that_leave_it_as_it_was() {
    for code in
        ["22021", "23505", "40001", "42P01", "53100", "54000", "55P03", "57014", "5", "6", "19", "2067"]
    {
        assert!(!ends_connection(&failure(code)), "{code}");
    }
    for code in [
        "25006", "25P02", "0A000", "26000", "42P05", "57P01", "57P05", "08006", "58030", "XX000", "1", "7",
        "8", "9", "266", "11", "13", "14", "26",
    ] {
        assert!(ends_connection(&failure(code)), "{code}");
    }
    assert!(ends_connection(&sqlx::Error::Io(io::Error::other("reset"))));
    assert!(ends_connection(&sqlx::Error::InvalidSavePointStatement));
    assert!(!ends_connection(&sqlx::Error::PoolTimedOut));
    assert!(!ends_connection(&sqlx::Error::RowNotFound));
}
