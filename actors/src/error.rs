//! What can go wrong at a port.

use thiserror::Error;

/// Why the store could not do what was asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// The database can't be reached, or took too long. Heals by itself; nothing was decided.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Somebody else wrote first: read again and decide anew.
    #[error("another writer was first: {0}")]
    Conflict(String),
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

/// Why a key opens nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AuthError {
    /// No app has this key.
    #[error("Invalid API key")]
    UnknownKey,
    /// The app is switched off.
    #[error("App is not active")]
    AppInactive,
    /// Nobody can tell right now.
    #[error(transparent)]
    Store(#[from] StoreError),
}
