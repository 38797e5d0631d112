//! Staying connected: tokens are replaced before they end, by one at a time, and what becomes of a connection is told.
//!
//! [`schedule`] says when, and what an answer means; the [`TokenRefresher`] sees to all connections of the server; the
//! port [`Connections`](crate::ports::Connections) does what it decides. Whoever needs a new token sooner asks through
//! [`Engine::renew`](crate::Engine::renew) and shares the renewal that is under way.

pub mod schedule;

use chrono::{DateTime, Utc};
use strum::{IntoStaticStr, VariantNames};

use crate::{event::Frame, id::AppId};

/// One pair of tokens of one connection. Each new pair has a higher generation, and no generation ever comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenPair {
    /// Whose.
    pub app_id: AppId,
    /// Which.
    pub generation: i64,
}

/// A pair that is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuePair {
    /// Which one.
    pub pair: TokenPair,
    /// When; the past for what was begun and never ended.
    pub at: DateTime<Utc>,
}

/// What came of the wish to replace a pair, and what was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// What came of it.
    pub outcome: Outcome,
    /// What has just been told to the app: durable, and not shown to its sessions yet.
    pub told: Vec<Frame>,
}

impl From<Outcome> for Renewal {
    /// Nothing was told.
    fn from(outcome: Outcome) -> Self {
        Self { outcome, told: Vec::new() }
    }
}

/// What came of the wish to replace a pair of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a new pair.
    Renewed,
    /// The tokens are dead, and only a person can help.
    Expired,
    /// It was tried and failed, for a short reason without a secret. The old pair stands.
    Failed(String),
    /// It was not tried: it is too soon after the last try.
    TooSoon {
        /// When it may be tried.
        until: DateTime<Utc>,
        /// What the last try failed with; empty where it did not.
        reason: String,
    },
    /// Another process is at it.
    UnderWay,
    /// The pair is not the present one: look again.
    Superseded,
    /// There is nothing to replace the token with, and Dialpad takes it still.
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
