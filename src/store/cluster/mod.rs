//! The processes on one database, and which of them works on what. SQLite has one process, which owns everything: there,
//! nothing is renewed.

mod jobs;
pub(super) mod leases;
mod processes;

pub(crate) use self::leases::FIRST_FENCE;
pub use self::{
    leases::LeaseRow,
    processes::{NewProcess, ProcessRow, Registered, Renewed},
};
