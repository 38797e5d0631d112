//! Webhooks as they may arrive.

use std::fmt::Debug;

use proptest::prelude::*;

/// Up to 8 webhooks, and the same ones shuffled with some of them repeated.
pub(crate) fn arrivals<E: Clone + Debug>(
    events: impl Strategy<Value = E>,
) -> impl Strategy<Value = (Vec<E>, Vec<E>)> {
    prop::collection::vec(events, 1..=8).prop_flat_map(|original| {
        let repeats = prop::collection::vec(0..original.len(), 0..=8);
        (Just(original), repeats).prop_flat_map(|(original, repeats)| {
            let mut all = original.clone();
            all.extend(repeats.into_iter().map(|index| original[index].clone()));
            (Just(original), Just(all).prop_shuffle())
        })
    })
}
