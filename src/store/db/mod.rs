//! The two databases: everything that knows which one is open.

pub(crate) mod bulk;
pub mod lock;
pub(crate) mod pool;
pub(crate) mod types;
