//! Named consumers: readers of an app's feed whose cursor the server stores.

use serde::Serialize;
use strum::{EnumString, IntoStaticStr, VariantNames};
use utoipa::ToSchema;

use crate::id::AppId;

/// How a consumer's events are distributed over its connections.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema, EnumString, IntoStaticStr, VariantNames,
)]
#[schema(as = ConsumerMode)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Mode {
    /// One connection at a time has all of them; the newest one takes over.
    #[default]
    Exclusive,
    /// The connections share the work.
    Share,
}

impl Mode {
    /// Returns the word in queries, in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A consumer as a connection asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// The name.
    pub name: String,
    /// The mode.
    pub mode: Mode,
}

/// A consumer by its app and its name.
pub type ConsumerKey = (AppId, String);
