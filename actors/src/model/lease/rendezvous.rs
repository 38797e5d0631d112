//! Rendezvous hashing: of all processes, each app prefers the one with the highest score for it. When a process comes or
//! goes, only its own apps move.

use super::ProcessId;
use crate::{id::AppId, model::mix::mix};

/// FNV-1a. Not the hash of the standard library: processes of different versions must agree.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A process with the hash of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) process: ProcessId,
    hash: u64,
}

impl Candidate {
    pub(super) fn new(process: ProcessId) -> Self {
        let hash = mix(hash(process.as_str().as_bytes()));
        Self { process, hash }
    }

    fn score(&self, app: u64) -> u64 {
        mix(self.hash ^ app)
    }
}

/// Returns how many candidates an app prefers to this process; `None` if it is none of them.
pub(super) fn rank(candidates: &[Candidate], process: &ProcessId, app: AppId) -> Option<usize> {
    let app = mix(hash(app.0.as_bytes()));
    let own = candidates.iter().find(|candidate| candidate.process == *process)?;
    let own_score = (own.score(app), &own.process);
    Some(candidates.iter().filter(|other| (other.score(app), &other.process) > own_score).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(count: usize) -> Vec<Candidate> {
        (0..count).map(|n| Candidate::new(format!("process-{n}").into())).collect()
    }

    /// Returns which candidate each of many apps prefers.
    fn preferred(candidates: &[Candidate]) -> Vec<usize> {
        let preferred = (0..10_000u128).map(|n| {
            let app = AppId(uuid::Uuid::from_u128(n << 64 | 7 << 76));
            let first = |it: &Candidate| rank(candidates, &it.process, app) == Some(0);
            candidates.iter().position(first).expect("one is preferred")
        });
        preferred.collect()
    }

    #[test]
    fn apps_are_spread_evenly_and_few_move_when_a_process_joins() {
        let (before, after) = (preferred(&candidates(10)), preferred(&candidates(11)));
        for process in 0..10 {
            let share = before.iter().filter(|it| **it == process).count();
            assert!((850..1150).contains(&share), "{process} has {share}");
        }
        let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
        assert!((750..1080).contains(&moved.len()), "{} moved", moved.len());
        assert!(moved.iter().all(|(_, after)| **after == 10), "apps move only to the one that joined");
    }

    #[test]
    fn the_order_is_the_same_for_all_versions() {
        let preferred = preferred(&candidates(5));
        assert_eq!(
            preferred[..12],
            [4, 1, 4, 4, 2, 2, 4, 0, 0, 0, 4, 3],
            "change this only with a plan for rolling upgrades"
        );
    }
}
