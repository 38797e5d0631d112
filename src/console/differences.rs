//! What a webhook added to a call and changed about it, for people.

use chrono::{DateTime, Utc};
use cti_actors::model::call::Snapshot;

use super::parts::duration;

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) name: &'static str,
    /// `None`: it was not known, so it was added.
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

/// Returns what differs between a call before and after a webhook, in the order in which people read it.
pub(super) fn differences(before: Option<&Snapshot>, after: Option<&Snapshot>) -> Vec<Difference> {
    let Some(after) = after else { return Vec::new() };
    let known = before.map(fields);
    let added = fields(after).into_iter().enumerate().map(|(index, (name, after))| {
        let before = known.as_ref().and_then(|known| known[index].1.clone());
        Difference { name, before, after }
    });
    added.filter(|difference| difference.before != difference.after).collect()
}

/// Returns the fields of a call in a fixed order; those that are not known, or not the case, without a value.
fn fields(call: &Snapshot) -> Vec<(&'static str, Option<String>)> {
    let moment = |at: Option<DateTime<Utc>>| at.map(|at| at.format("%Y-%m-%d %H:%M:%S").to_string());
    let yes = |holds: bool| holds.then(|| "yes".to_owned());
    let number = |number: Option<i64>| number.map(|number| number.to_string());
    let part_count = (!call.recordings.is_empty()).then(|| call.recordings.len().to_string());
    let voicemail = call.voicemail.as_ref();
    vec![
        ("status", Some(call.status.as_str().to_owned())),
        ("outcome", call.outcome.map(|outcome| outcome.as_str().to_owned())),
        ("direction", call.direction.map(|direction| direction.as_str().to_owned())),
        ("from", call.from_number.clone()),
        ("to", call.to_number.clone()),
        ("user", number(call.dialpad_user_id)),
        ("kind", call.leg.map(|leg| leg.as_str().to_owned())),
        ("group or user", call.target_name.clone().or(number(call.target_id))),
        ("contact", call.contact_name.clone()),
        ("rang", moment(call.ringing_at)),
        ("answered", moment(call.answered_at)),
        ("ended", moment(call.ended_at)),
        ("answered elsewhere", yes(call.answered_elsewhere)),
        ("length", call.duration_seconds.map(duration)),
        ("talk", call.talk_seconds.map(duration)),
        ("hold", call.hold_seconds.map(duration)),
        ("recording", yes(call.recording_url.is_some())),
        ("parts of the recording", part_count),
        ("sent to voicemail", yes(call.is_voicemail)),
        ("voicemail", voicemail.map(|voicemail| moment(Some(voicemail.received_at)).unwrap_or_default())),
        ("transcript", yes(voicemail.is_some_and(|voicemail| voicemail.transcript.is_some()))),
        ("internal", call.is_internal.map(|is_internal| if is_internal { "yes" } else { "no" }.to_owned())),
        ("callback asked for", call.callback_requested.and_then(yes)),
        ("data of the CRM", call.custom_data.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use cti_actors::model::call::{CallFacts, Status};

    use super::*;

    #[test]
    fn what_was_unknown_is_added_and_what_was_known_is_changed() {
        let before = Snapshot { status: Status::Ringing, ..CallFacts::default().snapshot() };
        let answered = Snapshot {
            status: Status::Active,
            answered_at: DateTime::from_timestamp(9, 0),
            ..before.clone()
        };
        let found = differences(Some(&before), Some(&answered));
        let texts: Vec<_> =
            found.iter().map(|it| (it.name, it.before.as_deref(), it.after.as_deref())).collect();
        assert_eq!(
            texts,
            [("status", Some("ringing"), Some("active")), ("answered", None, Some("1970-01-01 00:00:09"))]
        );
        assert_eq!(differences(None, Some(&before))[0].before, None, "all of a new call is added");
        assert!(differences(Some(&before), Some(&before)).is_empty());
    }
}
