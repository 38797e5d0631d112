//! The ports in memory, for tests that take milliseconds, and an engine over them. The contract test of the SQL store
//! holds the store in memory to the same rules.

mod clock;
mod connections;
mod cursors;
mod engine;
mod event_log;
mod inspection;
mod ledger;
mod store;

pub use self::{
    clock::ManualClock,
    connections::{Answer, MemoryConnections},
    engine::{TestEngine, eventually},
    inspection::JournalRow,
    store::{MemoryStore, RowStatus},
};
pub use crate::clock::numbered::NumberedIds;
