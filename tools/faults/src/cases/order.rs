//! Webhooks that come many times, in any order, or late.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use futures_util::stream;

use crate::Failure;
use crate::call::{Call, Step, unix_now};
use crate::trial::Trial;

const COPIES: usize = 100;
/// The webhooks whose order is permuted: those of a call with one hold.
const PERMUTED: [Step; 5] = [Step::Ring, Step::Started, Step::Held, Step::Resumed, Step::Ended];
/// How many calls are sent at a time.
const CALLS_AT_ONCE: usize = 16;
const LATE: i64 = 4 * 60 * 60;
/// What is the same of each call at its end, whatever the order.
const FIELDS: [&str; 6] =
    ["status", "outcome", "direction", "duration_seconds", "talk_seconds", "hold_seconds"];
const COMPLETE: &str = r#"["ended","answered","inbound",180,172,5]"#;

pub(super) async fn copies(trial: &mut Trial) -> Result<(), Failure> {
    trial.fault_begins();
    let calls = trial.plan.count(100, 3);
    for number in trial.reserve_calls(calls) {
        let call = Call::recent(number);
        for step in Step::ALL {
            let (acknowledged, new) = trial.sender.send_copies(call, step, COPIES).await;
            trial.expect(
                acknowledged == COPIES,
                &format!("{acknowledged} of {COPIES} copies were acknowledged"),
            );
            trial.expect(new == 1, &format!("{new} of {COPIES} copies were taken for the first one"));
        }
    }
    trial.note(format!("{} requests", calls as usize * Step::ALL.len() * COPIES));
    Ok(())
}

pub(super) async fn permutations(trial: &mut Trial) -> Result<(), Failure> {
    trial.tally().without_order();
    trial.fault_begins();
    let all = permutations_of(&PERMUTED);
    for _ in 0..trial.plan.count(10, 1) {
        let numbers = trial.reserve_calls(u32::try_from(all.len())?);
        let calls =
            numbers.zip(&all).map(|(number, steps)| trial.sender.send_call(Call::recent(number), steps));
        stream::iter(calls).buffer_unordered(CALLS_AT_ONCE).collect::<Vec<()>>().await;
    }
    trial.note("a webhook that comes late adds to its call and has no event of its own".to_owned());
    all_complete(trial).await
}

pub(super) async fn four_hours_late(trial: &mut Trial) -> Result<(), Failure> {
    trial.fault_begins();
    let numbers = trial.reserve_calls(trial.plan.count(200, 40));
    let calls = numbers.map(|number| {
        // Half of them, beside calls of now.
        let age = if number % 2 == 0 { LATE } else { 0 };
        trial.sender.send_call(Call { number, rings_at: unix_now() - 300 - age }, &Step::ALL)
    });
    stream::iter(calls.collect::<Vec<_>>()).buffer_unordered(CALLS_AT_ONCE).collect::<Vec<()>>().await;
    all_complete(trial).await
}

/// Checks that each call has come to the same end.
async fn all_complete(trial: &mut Trial) -> Result<(), Failure> {
    let mut ends = BTreeSet::new();
    let calls = trial.api.pages(&trial.app, "/api/calls?limit=500".to_owned(), |call| {
        let fields: Vec<_> = FIELDS.iter().map(|field| call[*field].clone()).collect();
        ends.insert(serde_json::Value::from(fields).to_string());
    });
    calls.await?;
    let is_one = ends.len() == 1 && ends.contains(COMPLETE);
    trial.expect(is_one, &format!("the calls have ended in {} ways: {ends:?}", ends.len()));
    Ok(())
}

/// Returns all orders of these steps.
fn permutations_of(steps: &[Step]) -> Vec<Vec<Step>> {
    if steps.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, first) in steps.iter().enumerate() {
        let rest = [&steps[..index], &steps[index + 1..]].concat();
        for mut order in permutations_of(&rest) {
            order.insert(0, *first);
            all.push(order);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_there_once() {
        let all = permutations_of(&PERMUTED);
        assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (120, 120));
    }
}
