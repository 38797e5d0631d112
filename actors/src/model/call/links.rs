//! Links between legs that no webhook names: they follow from what both legs say.

use serde::{Deserialize, Serialize};

use crate::id::DialpadCallId;

/// The legs that a leg was found to belong to, although no webhook names them.
#[serde_with::skip_serializing_none]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Links {
    /// The leg that was sent on to this one.
    pub sent_on_from: Option<DialpadCallId>,
    /// The leg that this one was merged with.
    pub merged_with: Option<DialpadCallId>,
    /// The leg that rang another person for the same caller at the same time.
    pub rang_with: Option<DialpadCallId>,
}

impl Links {
    /// Returns the legs.
    pub(crate) fn iter(self) -> impl Iterator<Item = DialpadCallId> {
        [self.sent_on_from, self.merged_with, self.rang_with].into_iter().flatten()
    }
}
