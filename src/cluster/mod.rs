//! Several processes on one database.

pub(crate) mod bus;
