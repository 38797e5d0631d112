//! Announcements as the payloads of notifications. Pure.
//!
//! A payload is JSON. A field that is not known is ignored, so that a later version may add some; a payload that can't be read
//! counts as "look for yourself".

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use cti_actors::{
    feed::Due,
    id::{AppId, Seq},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// PostgreSQL refuses payloads of 8000 bytes and more.
const MAX_PAYLOAD_BYTES: usize = 7900;
/// The bytes of a message besides its list.
const MAX_FRAME_BYTES: usize = 160;
/// How many bytes an entry has at most: an app, and the newest event of its feed.
const MAX_ENTRY_BYTES: usize = 64;
/// How many entries fit into one payload.
const MAX_ENTRIES: usize = (MAX_PAYLOAD_BYTES - MAX_FRAME_BYTES) / MAX_ENTRY_BYTES;
/// How many payloads are sent at a time. Of more, one remains that says "look for yourself".
const MAX_PAYLOADS: usize = 8;

/// One announcement.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Message {
    /// The process that sends it.
    pub(super) from: Uuid,
    /// When the first change in it happened, by the clock of the sender.
    pub(super) at: DateTime<Utc>,
    /// The newest events of feeds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) heads: BTreeMap<AppId, Seq>,
    /// The apps whose journal is to be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) pending: Vec<AppId>,
    /// The apps of which a key has ended, or that were switched off or deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) access: Vec<AppId>,
    /// The apps of which stored events were changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) rewritten: Vec<AppId>,
    /// The apps with a named consumer whose connections have something to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) consumers: Vec<AppId>,
    /// There is too much to name: look for yourself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) poll: bool,
}

impl Message {
    fn begin(from: Uuid, at: DateTime<Utc>) -> Self {
        Self { from, at, ..Self::default() }
    }

    fn len(&self) -> usize {
        let lists = [&self.pending, &self.access, &self.rewritten, &self.consumers];
        self.heads.len() + lists.iter().map(|list| list.len()).sum::<usize>()
    }

    /// Reads a payload. One that can't be read says "look for yourself".
    pub(super) fn parse(payload: &str) -> Self {
        // By way of an object, because an array of nothing would be read too.
        let message =
            serde_json::from_str(payload).and_then(|fields| serde_json::from_value(Value::Object(fields)));
        message.unwrap_or_else(|_| Self { poll: true, ..Self::default() })
    }
}

/// Returns the messages about these changes, as the payloads of notifications.
pub(super) fn payloads(due: Due, from: Uuid, at: DateTime<Utc>) -> Vec<String> {
    let mut messages = vec![Message::begin(from, at)];
    let mut add = |entry: Entry| {
        if messages.last().is_none_or(|last| last.len() >= MAX_ENTRIES) {
            messages.push(Message::begin(from, at));
        }
        let Some(last) = messages.last_mut() else { return };
        match entry {
            Entry::Head(app, seq) => _ = last.heads.insert(app, seq),
            Entry::Pending(app) => last.pending.push(app),
            Entry::Access(app) => last.access.push(app),
            Entry::Rewritten(app) => last.rewritten.push(app),
            Entry::Consumers(app) => last.consumers.push(app),
        }
    };
    // What is urgent for somebody's rights first.
    due.access.into_iter().for_each(|app| add(Entry::Access(app)));
    due.rewritten.into_iter().for_each(|app| add(Entry::Rewritten(app)));
    due.pending.into_iter().for_each(|app| add(Entry::Pending(app)));
    due.consumers.into_iter().for_each(|app| add(Entry::Consumers(app)));
    due.heads.into_iter().for_each(|(app, seq)| add(Entry::Head(app, seq)));
    messages.retain(|message| message.len() > 0);
    if messages.len() > MAX_PAYLOADS {
        messages = vec![Message { poll: true, ..Message::begin(from, at) }];
    }
    messages.iter().filter_map(|message| serde_json::to_string(message).ok()).collect()
}

/// One thing that is announced.
enum Entry {
    Head(AppId, Seq),
    Pending(AppId),
    Access(AppId),
    Rewritten(AppId),
    Consumers(AppId),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(count: usize) -> Due {
        Due { heads: (0..count).map(|_| (AppId::generate(), Seq(i64::MAX))).collect(), ..Due::default() }
    }

    fn at() -> DateTime<Utc> {
        DateTime::from_timestamp(4_102_444_800, 123_456_789).expect("a valid instant")
    }

    #[test]
    fn everything_that_is_announced_is_read_back() {
        let app = AppId::generate();
        let only = || [app].into();
        let due = Due { pending: only(), access: only(), rewritten: only(), consumers: only(), ..heads(1) };
        let payloads = payloads(due.clone(), Uuid::max(), at());
        let message = Message::parse(&payloads[0]);
        assert_eq!((payloads.len(), message.at, message.from), (1, at(), Uuid::max()));
        assert_eq!((message.heads, message.poll), (due.heads, false));
        for apps in [message.pending, message.access, message.rewritten, message.consumers] {
            assert_eq!(apps, [app]);
        }
    }

    #[test]
    fn no_payload_is_larger_than_postgresql_takes_and_nothing_is_left_out() {
        for count in [1, MAX_ENTRIES, MAX_ENTRIES + 1, MAX_ENTRIES * MAX_PAYLOADS] {
            let due = heads(count);
            let payloads = payloads(due.clone(), Uuid::max(), at());
            assert!(payloads.iter().all(|payload| payload.len() <= MAX_PAYLOAD_BYTES));
            let announced = payloads.iter().flat_map(|payload| Message::parse(payload).heads);
            assert_eq!(announced.collect::<BTreeMap<_, _>>(), due.heads);
        }
    }

    #[test]
    fn what_is_too_much_and_what_can_not_be_read_says_look_for_yourself() {
        let payloads = payloads(heads(MAX_ENTRIES * MAX_PAYLOADS + 1), Uuid::max(), at());
        assert_eq!(payloads.len(), 1);
        for payload in [payloads[0].as_str(), "", "{", "[]", "{\"heads\":3}"] {
            assert!(Message::parse(payload).poll, "{payload}");
        }
        assert_eq!(Message::parse("{\"later\":1}"), Message::default(), "a later version may say more");
    }

    #[test]
    fn nothing_is_sent_about_nothing() {
        assert!(payloads(Due::default(), Uuid::max(), at()).is_empty());
    }
}
