//! Several processes on one database.

pub mod ownership;

pub use self::ownership::{Cluster, JoinError};
pub(crate) use self::ownership::{ClusterState, Membership, ProcessView, join, owned_apps};
