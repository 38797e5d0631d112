//! The database itself: pools, dialects, bulk statements and column types.

pub(crate) mod bulk;
pub(crate) mod pool;
pub(crate) mod types;
