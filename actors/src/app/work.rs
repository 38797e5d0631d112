//! The webhooks that a supervisor has taken for a batch, and their requests.

use std::collections::HashSet;

use super::{
    inbox::SharedInbox,
    incoming::{Incoming, Request, Stored},
    recent_keys::RecentKeys,
};
use crate::{error::Duplicate, ports::PendingEvent};

/// Webhooks for a batch. Either all of them are in the journal, or none is.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) webhooks: Vec<PendingEvent>,
    /// Their requests, by position; none where they are in the journal.
    requests: Vec<Request>,
}

impl Work {
    /// Returns webhooks that are in the journal.
    pub(super) fn pending(webhooks: Vec<PendingEvent>) -> Self {
        Self { webhooks, requests: Vec::new() }
    }

    /// Returns webhooks that are not in the journal. Those that are known already are answered. Of two that are the
    /// same, the second one is put back: it is known once the first one is durable, which may be one of `written`.
    pub(super) fn incoming(
        taken: Vec<Incoming>,
        written: Option<&Self>,
        known: &RecentKeys,
        inbox: &SharedInbox,
    ) -> Self {
        let mut work = Self::default();
        let mut later = Vec::new();
        let mut keys: HashSet<[u8; 36]> = written.into_iter().flat_map(Self::keys).collect();
        for webhook in taken {
            let key = webhook.event.incoming.as_ref().map(|row| row.dedup_key);
            if let Some(first) = key.and_then(|key| known.get(&key)) {
                webhook.request.stored(Stored::Duplicate(first));
            } else if key.is_some_and(|key| !keys.insert(key)) {
                later.push(webhook);
            } else {
                work.webhooks.push(webhook.event);
                work.requests.push(webhook.request);
            }
        }
        if !later.is_empty() {
            inbox.lock().put_back(later);
        }
        work
    }

    fn keys(&self) -> impl Iterator<Item = [u8; 36]> {
        self.webhooks.iter().filter_map(|webhook| Some(webhook.incoming.as_ref()?.dedup_key))
    }

    /// Answers the requests of the webhooks that have a status in the journal now. The others come again.
    pub(super) fn committed(self, decided: &[bool], known: &mut RecentKeys, inbox: &SharedInbox) {
        let mut rest = Vec::new();
        for ((event, request), decided) in self.webhooks.into_iter().zip(self.requests).zip(decided) {
            if !decided {
                rest.push(Incoming { event, request });
                continue;
            }
            if let Some(row) = &event.incoming {
                known.insert(row.dedup_key, event.id);
            }
            request.stored(Stored::New(event.id));
        }
        inbox.lock().put_back(rest);
    }

    /// Answers the requests of webhooks that the journal had already. The others come again.
    pub(super) fn without(self, duplicates: &[Duplicate], known: &mut RecentKeys, inbox: &SharedInbox) {
        let mut rest = Vec::new();
        for (event, request) in self.webhooks.into_iter().zip(self.requests) {
            let Some(duplicate) = duplicates.iter().find(|duplicate| duplicate.webhook == event.id) else {
                rest.push(Incoming { event, request });
                continue;
            };
            if let Some(row) = &event.incoming {
                known.insert(row.dedup_key, duplicate.first);
            }
            request.stored(Stored::Duplicate(duplicate.first));
        }
        inbox.lock().put_back(rest);
    }

    /// Leaves everything as it was: to the journal, or to the inbox.
    pub(super) fn put_back(self, inbox: &SharedInbox) {
        let mut inbox = inbox.lock();
        if self.requests.is_empty() {
            inbox.invalidate();
        }
        let taken = self.webhooks.into_iter().zip(self.requests);
        inbox.put_back(taken.map(|(event, request)| Incoming { event, request }).collect());
    }

    /// Leaves everything to the journal: the requests of what is not in it yet append it.
    pub(super) fn leave(self, inbox: &SharedInbox) {
        inbox.lock().invalidate();
        self.requests.into_iter().for_each(Request::not_taken);
    }
}
