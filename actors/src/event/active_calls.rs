//! The calls that are not over, as they were when the feed had come to one place: where a reader can begin that knows
//! nothing yet. Pure.

use bytestring::ByteString;
use serde_json::Value;

use super::{Filter, keys::EventKeys, write_ids_as_text};
use crate::id::Seq;

/// The calls of an app that were not over when its feed had come to `as_of`. What lies behind that place is told of
/// them by the feed.
#[derive(Debug, Default)]
pub struct ActiveCalls {
    /// The newest event that is contained in them.
    pub as_of: Seq,
    /// In the order in which they were first seen.
    pub calls: Vec<ActiveCall>,
}

/// One of them.
#[derive(Debug)]
pub struct ActiveCall {
    /// The whole call as JSON, as it is shown wherever a call is asked for.
    text: ByteString,
    /// The Dialpad user whose leg it is.
    pub(crate) dialpad_user_id: Option<i64>,
    pub(crate) keys: EventKeys,
}

impl ActiveCall {
    /// A call that is shown so.
    #[must_use]
    pub fn new(dialpad_user_id: Option<i64>, text: String) -> Self {
        Self { dialpad_user_id, keys: EventKeys::read(&text), text: text.into() }
    }

    /// The call as JSON.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same with Dialpad's ids as strings.
    #[must_use]
    pub fn text_with_text_ids(&self) -> String {
        let Ok(mut call) = serde_json::from_str::<Value>(&self.text) else { return self.text.to_string() };
        write_ids_as_text(&mut call);
        call.to_string()
    }
}

impl ActiveCalls {
    /// The place of the first call from `place` on that the filter admits.
    #[must_use]
    pub fn next_wanted(&self, place: usize, filter: &Filter) -> Option<usize> {
        let rest = self.calls.iter().enumerate().skip(place);
        rest.into_iter().find(|(_, call)| filter.admits_call(call)).map(|(place, _)| place)
    }
}
