//! A presumed end: nothing was heard of a call for too long. It counts as long as no newer live news is known, whichever
//! of them arrives first.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{event::EndKind, facts::CallFacts};

/// That a call was presumed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Presumption {
    /// The newest live news that was known then, by the payloads' own times: the server's clock says nothing about
    /// payloads that are replayed.
    pub(crate) last_news: DateTime<Utc>,
    /// When the call is presumed to have ended.
    pub(crate) at: DateTime<Utc>,
}

impl CallFacts {
    /// Merges in a presumption. The one that knew the newest news counts; of those that knew the same, the earliest.
    pub(super) fn presume(&mut self, presumption: Presumption) {
        let is_better =
            |known: Presumption| (presumption.last_news, known.at) > (known.last_news, presumption.at);
        if self.presumption.is_none_or(is_better) {
            self.presumption = Some(presumption);
        }
    }

    /// Returns when the call is presumed to have ended, unless it ended for sure, or goes on. A presumption alone is no
    /// ground for a call: nothing could withdraw it.
    pub(super) fn presumed_end(&self) -> Option<DateTime<Utc>> {
        if self.has_ended() || !self.was_live() {
            return None;
        }
        let stored_before =
            self.ends.get(&EndKind::Presumed).map(|at| Presumption { last_news: *at, at: *at });
        let presumption = self.presumption.or(stored_before)?;
        self.live_at.is_none_or(|live| live <= presumption.last_news).then_some(presumption.at)
    }

    /// Whether the call ended for sure.
    pub(super) fn has_ended(&self) -> bool {
        self.ends.keys().any(|kind| *kind != EndKind::Presumed)
    }

    /// Returns the newest live news, by the payloads' own times. An earlier version stored only what changed the status.
    #[must_use]
    pub fn last_news(&self) -> Option<DateTime<Utc>> {
        let signs = [&self.connects, &self.holds, &self.resumes, &self.talks];
        let newest = signs.into_iter().filter_map(|signs| signs.last()).max().copied();
        self.live_at.max(newest).or(self.rang_at).or(self.first_seen)
    }

    /// Returns the facts without the presumption.
    pub(super) fn without_presumption(&self) -> Self {
        let mut facts = self.clone();
        facts.presumption = None;
        facts.ends.remove(&EndKind::Presumed);
        facts
    }
}
