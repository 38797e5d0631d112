//! The errors of the ports.

use thiserror::Error;

use crate::id::JournalId;

/// A webhook that the journal has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The webhook that came again.
    pub webhook: JournalId,
    /// The one that the journal has.
    pub first: JournalId,
}

/// Why the store failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// The database can't be reached, or took too long. Trying again later helps; nothing was decided.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The database can't be used as it is set up. Trying again helps only after its operator has changed something.
    #[error("{0}")]
    Unusable(String),
    /// Another process wrote first: read again and decide anew.
    #[error("another writer was first: {0}")]
    Conflict(String),
    /// Another process owns the app by now: nothing was written, and what is in memory of it is out of date.
    #[error("another process owns the app")]
    Fenced,
    /// The journal has these webhooks already: write the rest without them.
    #[error("the journal has {} of the webhooks already", .0.len())]
    Duplicates(Vec<Duplicate>),
    /// The database refused the content. Trying the same again will not help.
    #[error("the database refused the data: {0}")]
    Rejected(String),
    /// A stored row can't be understood.
    #[error("{table}.{column} of {id} can't be read")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row.
        id: String,
    },
}

/// Why a key is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AuthError {
    /// No app has this key.
    #[error("Invalid API key")]
    UnknownKey,
    /// The app is deactivated.
    #[error("App is not active")]
    AppInactive,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
