//! What was sent, what was acknowledged and what arrived, as senders and the receiver report it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::call::Step;
use crate::oracle::{Outcome, Sent};

/// The answer to a webhook that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// When the request was sent.
    pub(crate) at: Instant,
    pub(crate) took: Duration,
}

/// Shared by the senders, the receiver and the case.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    sent: Sent,
    answers: Vec<Answer>,
    spooled: u64,
    refused: u64,
    /// Acknowledged, with the time, and not received yet.
    awaited: HashMap<(u32, Step), Instant>,
    received: HashSet<(u32, Step)>,
    /// From the acknowledgement of a webhook to the arrival of its event.
    deliveries: Vec<Duration>,
    /// Whether only webhooks are awaited that have an event in any order.
    is_unordered: bool,
    /// Answers that a server must not give to an authentic webhook.
    unexpected: Vec<String>,
    /// A file that grows, and how long it was when each webhook was acknowledged.
    growing: Option<PathBuf>,
    stamps: HashMap<(u32, Step), u64>,
}

impl Tally {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a webhook is sent for the first time. Until it is acknowledged, its outcome is unknown.
    pub(crate) fn sending(&self, call: u32, step: Step) {
        self.state().sent.entry(call).or_default().push((step, Outcome::Unknown));
    }

    /// Records that a webhook was acknowledged.
    pub(crate) fn acknowledged(&self, call: u32, step: Step, answer: Answer, is_spooled: bool) {
        let stamp = self.stamp();
        let mut state = self.state();
        if let Some(stamp) = stamp {
            state.stamps.insert((call, step), stamp);
        }
        state.answers.push(answer);
        state.spooled += u64::from(is_spooled);
        if let Some((_, outcome)) =
            state.sent.get_mut(&call).and_then(|steps| steps.iter_mut().find(|(other, _)| *other == step))
        {
            *outcome = Outcome::Acknowledged;
        }
        if !state.received.contains(&(call, step)) && (!state.is_unordered || step.is_always_emitted()) {
            state.awaited.entry((call, step)).or_insert_with(Instant::now);
        }
    }

    /// Records a 503, which asks the sender to repeat.
    pub(crate) fn refused(&self) {
        self.state().refused += 1;
    }

    /// Records an answer that must not be given.
    pub(crate) fn unexpected(&self, answer: String) {
        self.state().unexpected.push(answer);
    }

    /// Records that the receiver has an event.
    pub(crate) fn received(&self, call: u32, step: Step) {
        let mut state = self.state();
        state.received.insert((call, step));
        let waited = state.awaited.remove(&(call, step)).map_or(Duration::ZERO, |at| at.elapsed());
        state.deliveries.push(waited);
        if step == Step::Ended {
            // Nothing comes of it any more: a resumption of a hold that was given up is silent.
            state.awaited.remove(&(call, Step::Resumed));
        }
    }

    /// Returns how many webhooks that were acknowledged by then have not been received.
    pub(crate) fn awaited(&self, by: Instant) -> usize {
        self.state().awaited.values().filter(|at| **at <= by).count()
    }

    /// Whether a request was acknowledged that was sent after this.
    pub(crate) fn has_answer_since(&self, since: Instant) -> bool {
        self.state().answers.iter().rev().any(|answer| answer.at >= since)
    }

    /// Records with each acknowledgement how long this file is.
    pub(crate) fn stamp_with(&self, growing: PathBuf) {
        self.state().growing = Some(growing);
    }

    /// Returns how long the file is now.
    pub(crate) fn stamp(&self) -> Option<u64> {
        let growing = self.state().growing.clone()?;
        std::fs::metadata(growing).ok().map(|file| file.len())
    }

    /// Returns how long the file was when each webhook was acknowledged.
    pub(crate) fn stamps(&self) -> HashMap<(u32, Step), u64> {
        self.state().stamps.clone()
    }

    /// Returns how many answers said that the webhook is in the spool.
    pub(crate) fn spooled(&self) -> u64 {
        self.state().spooled
    }

    /// Returns how many webhooks were answered 503.
    pub(crate) fn refusals(&self) -> u64 {
        self.state().refused
    }

    /// Returns the times of the answers to requests that were sent since then.
    pub(crate) fn times_since(&self, since: Option<Instant>) -> Vec<Duration> {
        let state = self.state();
        let answers = state.answers.iter().filter(|answer| since.is_none_or(|since| answer.at >= since));
        answers.map(|answer| answer.took).collect()
    }

    /// Returns the times from an acknowledgement to the arrival of the event.
    pub(crate) fn deliveries(&self) -> Vec<Duration> {
        self.state().deliveries.clone()
    }

    /// States that the webhooks of a call are not sent in their order: those that have an event only in it are not awaited.
    pub(crate) fn without_order(&self) {
        self.state().is_unordered = true;
    }

    /// Whether the webhooks of a call are sent in their order.
    pub(crate) fn in_order(&self) -> bool {
        !self.state().is_unordered
    }

    /// Returns what was sent.
    pub(crate) fn sent(&self) -> Sent {
        self.state().sent.clone()
    }

    /// Returns the answers that must not be given.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.state().unexpected.clone()
    }
}

/// Returns a quantile of some times.
pub(crate) fn quantile(times: &mut [Duration], share: f64) -> Option<Duration> {
    times.sort_unstable();
    let last = times.len().checked_sub(1)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let index = (last as f64 * share).round() as usize;
    times.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_is_awaited_until_it_is_received() {
        let tally = Tally::default();
        let answer = Answer { at: Instant::now(), took: Duration::from_millis(3) };
        for step in [Step::Ring, Step::FirstNote, Step::Started] {
            tally.sending(1, step);
        }
        tally.acknowledged(1, Step::Ring, answer, false);
        tally.received(1, Step::FirstNote);
        tally.acknowledged(1, Step::FirstNote, answer, true);
        assert_eq!(tally.awaited(Instant::now()), 1, "the note was received before its answer");
        tally.received(1, Step::Ring);
        assert_eq!(tally.awaited(Instant::now()), 0);
        assert_eq!((tally.spooled(), tally.times_since(None).len()), (1, 2));
        let outcomes: Vec<Outcome> = tally.sent()[&1].iter().map(|(_, outcome)| *outcome).collect();
        assert_eq!(outcomes, [Outcome::Acknowledged, Outcome::Acknowledged, Outcome::Unknown]);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let mut times: Vec<Duration> = (1..=101).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile(&mut times, 0.5), Some(Duration::from_millis(51)));
        assert_eq!(quantile(&mut times, 0.99), Some(Duration::from_millis(100)));
        assert_eq!(quantile(&mut [], 0.5), None);
    }
}
