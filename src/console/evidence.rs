//! Which webhook caused an event. The events of each webhook are computed anew; where that is not possible any more,
//! because webhooks of the call are no longer kept, the times decide.

use cti_actors::{
    event::EventType,
    model::{call::CallChange, interaction::HistoryStep},
};
use serde_json::Value;

use super::causes::Emitted;

/// When something happened, by the payload, and when it was written down, by its id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) second: Option<i64>,
    pub(super) millis: Option<i64>,
}

/// An event that a webhook must have caused.
struct Expected<'s> {
    row: usize,
    call: i64,
    second: i64,
    change: &'s CallChange,
    is_found: bool,
}

impl Expected<'_> {
    fn is(&self, event: &Emitted) -> bool {
        let changed = event.fields.get("changed").and_then(Value::as_array);
        let is_same_change = match self.change {
            CallChange::Updated(names) => changed.is_some_and(|changed| {
                changed.iter().map(Value::as_str).eq(names.iter().map(|name| Some(*name)))
            }),
            _ => true,
        };
        event.call() == Some(self.call)
            && event.event_type == EventType::from(self.change).as_str()
            && event.moment().second == Some(self.second)
            && is_same_change
    }
}

/// Returns for each event, in the order of the feed, the row of its webhook. A row has what its webhook did and when that
/// happened, and its leg with the times of its webhook.
pub(super) fn assign(
    events: &[Emitted],
    steps: &[Option<(&HistoryStep, i64)>],
    moments: &[Option<(i64, Moment)>],
) -> Vec<Option<usize>> {
    let mut expected: Vec<Expected<'_>> = Vec::new();
    for (row, step) in steps.iter().enumerate() {
        let Some((step, second)) = step else { continue };
        expected.extend(step.changes.iter().map(|(call, change)| Expected {
            row,
            call: call.0,
            second: *second,
            change,
            is_found: false,
        }));
    }
    let by_time = |event: &Emitted| {
        let of_leg = moments.iter().enumerate().filter_map(|(row, moment)| Some((row, (*moment)?)));
        let of_leg = of_leg.filter(|(_, (leg, _))| event.call() == Some(*leg));
        nearest(event.moment(), of_leg.map(|(row, (_, moment))| (row, moment)))
    };
    events
        .iter()
        .map(|event| match expected.iter_mut().find(|it| !it.is_found && it.is(event)) {
            Some(found) => {
                found.is_found = true;
                Some(found.row)
            }
            None => by_time(event),
        })
        .collect()
}

/// Returns the webhook of the same second of the payloads, and of several the one that was written nearest to the event.
fn nearest(event: Moment, webhooks: impl Iterator<Item = (usize, Moment)>) -> Option<usize> {
    event.second?;
    let distance = |webhook: &Moment| match (webhook.millis, event.millis) {
        (Some(webhook), Some(event)) => webhook.abs_diff(event),
        _ => u64::MAX,
    };
    let same_second = webhooks.filter(|(_, webhook)| webhook.second == event.second);
    same_second.min_by_key(|(_, webhook)| distance(webhook)).map(|(row, _)| row)
}

#[cfg(test)]
mod tests {
    use cti_actors::id::{DialpadCallId, Seq};
    use serde_json::json;

    use super::*;

    fn moment(second: i64, millis: i64) -> Moment {
        Moment { second: Some(second), millis: Some(millis) }
    }

    #[test]
    fn an_event_belongs_to_the_webhook_of_its_time() {
        let webhooks = [moment(10, 1_000), moment(10, 5_000), moment(20, 5_001)];
        let nearest = |event| nearest(event, webhooks.into_iter().enumerate());
        assert_eq!(nearest(moment(10, 1_002)), Some(0));
        assert_eq!(nearest(moment(10, 4_999)), Some(1));
        assert_eq!(nearest(moment(20, 1_000)), Some(2), "it was processed late");
        assert_eq!(nearest(moment(30, 5_000)), None, "decided by the server");
        assert_eq!(nearest(Moment { second: None, millis: Some(1) }), None);
    }

    #[test]
    fn an_event_belongs_to_the_webhook_that_must_have_caused_it_whatever_the_times_say() {
        let step = |changes: Vec<(i64, CallChange)>| HistoryStep {
            before: None,
            after: None,
            is_news: true,
            changes: changes.into_iter().map(|(call, change)| (DialpadCallId(call), change)).collect(),
        };
        let steps = [
            step(vec![(1, CallChange::Updated(vec!["contact_name"]))]),
            step(vec![(1, CallChange::Updated(vec!["to_number"])), (2, CallChange::Started)]),
        ];
        let steps: Vec<_> = steps.iter().map(|step| Some((step, 10))).collect();
        let emitted = |event_type: &str, call: i64, changed: &str| Emitted {
            seq: Seq(1),
            event_type: event_type.to_owned(),
            fields: json!({"call_id": call, "timestamp": 10, "changed": [changed]}),
        };
        let events = [
            emitted("call.updated", 1, "to_number"),
            emitted("call.started", 2, ""),
            emitted("call.updated", 1, "contact_name"),
            emitted("call.updated", 1, "interaction_id"),
        ];
        let moments = [Some((1, moment(10, 0))), Some((1, moment(10, 9)))];
        assert_eq!(assign(&events, &steps, &moments), [Some(1), Some(1), Some(0), Some(0)]);
    }
}
