//! The dedup keys of an app's newest webhooks, so that most duplicates cost no transaction that fails. Pure.

use std::collections::{HashMap, VecDeque};

use crate::{id::JournalId, unit::DedupKey};

/// How many keys are kept.
const MAX_KEYS: usize = 256;

/// The newest keys, each with the id of its webhook.
#[derive(Debug, Default)]
pub(super) struct RecentKeys {
    ids: HashMap<DedupKey, JournalId>,
    order: VecDeque<DedupKey>,
}

impl RecentKeys {
    pub(super) fn get(&self, key: &DedupKey) -> Option<JournalId> {
        self.ids.get(key).copied()
    }

    /// Adds the key of a webhook that is durable; the oldest key makes room.
    pub(super) fn insert(&mut self, key: DedupKey, id: JournalId) {
        if self.ids.insert(key, id).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > MAX_KEYS
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_keys_are_kept() {
        let mut keys = RecentKeys::default();
        let key = |n: usize| {
            let mut key = [0; 36];
            key[..8].copy_from_slice(&n.to_be_bytes());
            key
        };
        let ids: Vec<JournalId> = (0..=MAX_KEYS).map(|_| JournalId::generate()).collect();
        for (n, id) in ids.iter().enumerate() {
            keys.insert(key(n), *id);
        }
        assert_eq!(keys.get(&key(0)), None);
        assert_eq!(keys.get(&key(1)), Some(ids[1]));
        assert_eq!(keys.get(&key(MAX_KEYS)), Some(ids[MAX_KEYS]));
    }
}
