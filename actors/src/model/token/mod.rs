//! Tokens: pairs are replaced before they expire, one renewal at a time per connection.
//!
//! [`schedule`] says when, and what a reply of Dialpad's means. The engine's `TokenRefresher` renews the tokens of all
//! connections through the port `Connections`.

pub mod schedule;

use chrono::{DateTime, Utc};
use strum::{IntoStaticStr, VariantNames};

use crate::id::AppId;

/// One pair of tokens of one connection. Each new pair has a higher generation, and no generation ever comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenPair {
    /// The app.
    pub app_id: AppId,
    /// The generation.
    pub generation: i64,
}

/// A pair that is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuePair {
    /// The pair.
    pub pair: TokenPair,
    /// When it is due; in the past for a renewal that was begun and never ended.
    pub at: DateTime<Utc>,
}

/// The outcome of an attempt to replace a pair of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a new pair.
    Renewed,
    /// The tokens are no longer valid; an administrator has to authorize the app again.
    Expired,
    /// The attempt failed, for this short reason without secrets. The old pair is kept.
    Failed(String),
    /// Nothing was attempted: it is too soon after the last attempt.
    TooSoon {
        /// When the next attempt may begin.
        until: DateTime<Utc>,
        /// Why the last attempt failed; empty if it did not.
        reason: String,
    },
    /// Another process is renewing the pair.
    UnderWay,
    /// The pair is not the current one.
    Superseded,
    /// The token can't be replaced, and Dialpad still accepts it.
    StillGood,
}

impl Outcome {
    /// Returns the result to count, where Dialpad was asked for a new pair.
    #[must_use]
    pub fn result(&self) -> Option<RefreshResult> {
        match self {
            Self::Renewed => Some(RefreshResult::Renewed),
            Self::Expired => Some(RefreshResult::Expired),
            Self::Failed(_) => Some(RefreshResult::Failed),
            Self::TooSoon { .. } | Self::UnderWay | Self::Superseded | Self::StillGood => None,
        }
    }
}

/// The result of a token refresh: the label `outcome` of `cti_token_refreshes_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum RefreshResult {
    /// There is a new pair.
    Renewed,
    /// The refresh failed, and the old pair is kept.
    Failed,
    /// Dialpad has ended the refresh token.
    Expired,
}

impl RefreshResult {
    /// Returns the label in the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
