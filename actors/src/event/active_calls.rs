//! The active calls of an app at one place of its feed: where a client can begin that knows nothing yet. Pure.

use bytestring::ByteString;
use serde_json::Value;

use super::{Filter, keys::EventKeys, write_ids_as_text};
use crate::id::{Epoch, Seq};

/// The calls of an app that were not over at `as_of`. The events after that say what happens to them.
#[derive(Debug, Default)]
pub struct ActiveCalls {
    /// The epoch of that event.
    pub epoch: Epoch,
    /// The newest event that they reflect.
    pub as_of: Seq,
    /// The calls, in the order in which they were first seen.
    pub calls: Vec<ActiveCall>,
}

/// One active call.
#[derive(Debug)]
pub struct ActiveCall {
    /// The whole call as JSON, as in the REST API.
    text: ByteString,
    /// The Dialpad user of the leg.
    pub(crate) dialpad_user_id: Option<i64>,
    pub(crate) keys: EventKeys,
}

impl ActiveCall {
    /// Returns a call with this JSON text.
    #[must_use]
    pub fn new(dialpad_user_id: Option<i64>, text: String) -> Self {
        Self { dialpad_user_id, keys: EventKeys::read(&text), text: text.into() }
    }

    /// Returns the call as JSON.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the call as JSON with Dialpad's ids as strings.
    #[must_use]
    pub fn text_with_text_ids(&self) -> String {
        let Ok(mut call) = serde_json::from_str::<Value>(&self.text) else { return self.text.to_string() };
        write_ids_as_text(&mut call);
        call.to_string()
    }
}

impl ActiveCalls {
    /// Returns the index of the first call from `index` on that matches the filter.
    #[must_use]
    pub fn next_match(&self, index: usize, filter: &Filter) -> Option<usize> {
        let mut rest = self.calls.iter().enumerate().skip(index);
        rest.find(|(_, call)| filter.admits_call(call)).map(|(index, _)| index)
    }
}
