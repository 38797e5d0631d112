//! Why a start fails.

use std::io;

use cti_actors::error::StoreError;
use thiserror::Error;

use crate::{
    cluster::JoinError, encryption_keys::KeyError, spool::SpoolError, threads::TooFewThreads, tls::TlsError,
};

/// Why the server could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address can't be bound.
    #[error("can't listen on {address}: {error}")]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        error: io::Error,
    },
    /// `HOST` is no address of this machine.
    #[error("HOST: {host} can't be listened on: {error}")]
    Host {
        /// The setting.
        host: String,
        /// Why not.
        error: io::Error,
    },
    /// The socket that the service manager passed can't be used.
    #[error("LISTEN_FDS: {0}")]
    Inherited(io::Error),
    /// Migrations are pending, and `AUTO_MIGRATE` is off.
    #[error("the database lacks {}; run `cti-server migrate`, or set AUTO_MIGRATE=true", .0.join(", "))]
    NotMigrated(Vec<String>),
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database may lose what it has committed.
    #[error("{}; ALLOW_UNSAFE_DATABASE=true starts the server all the same", .0.join("; "))]
    UnsafeDatabase(Vec<String>),
    /// A running process has its name.
    #[error("{0}")]
    NameTaken(String),
    /// The spool can't be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// There is no key to encrypt tokens with.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The certificate of the server can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There are not enough threads.
    #[error(transparent)]
    Threads(#[from] TooFewThreads),
    /// A signal stopped the start while it waited for the database.
    #[error("stopped while it waited for the database")]
    Stopped,
    /// A library can't be set up.
    #[error("{0}")]
    Setup(String),
}

impl From<JoinError> for StartError {
    fn from(failure: JoinError) -> Self {
        match failure {
            JoinError::Store(failure) => Self::Store(failure),
            taken @ JoinError::NameTaken(_) => Self::NameTaken(taken.to_string()),
        }
    }
}
