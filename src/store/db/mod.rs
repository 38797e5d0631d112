//! The two databases: everything that knows which one is open.

pub(crate) mod bulk;
pub(crate) mod connections;
pub(in crate::store) mod durability;
pub(crate) mod errors;
pub(in crate::store) mod migrations;
pub(crate) mod pool;
mod postgres;
mod sqlite;
pub(in crate::store) mod sqlite_file;
pub(crate) mod sqlite_writer;
pub(crate) mod statistics;
mod trust;
pub(crate) mod types;
pub(crate) mod writable;
