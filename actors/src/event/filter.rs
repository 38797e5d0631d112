//! Which events a client wants. Pure.

use std::collections::BTreeSet;

use super::{ActiveCall, Frame, keys::EventKeys};
use crate::model::{
    call::Direction,
    message::to_numbers,
    number::{self, Region},
};

/// Which events a client wants: those that match every field. The default matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these types; `call.*` matches every type that begins with `call.`. Empty: all.
    pub types: BTreeSet<String>,
    /// Only events of this Dialpad user.
    pub dialpad_user_id: Option<i64>,
    /// Only events of this user of the CRM.
    pub crm_user_id: Option<String>,
    /// Only calls and messages in this direction.
    pub direction: Option<Direction>,
    /// Only calls and messages with this number on either side.
    pub number: Option<NumberFilter>,
    /// Only calls and messages from this number.
    pub from: Option<NumberFilter>,
    /// Only calls and messages to this number.
    pub to: Option<NumberFilter>,
    /// How numbers are read that have no country code.
    pub region: Region,
}

/// A number that is looked for: in any spelling, or literally if it is no phone number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberFilter {
    literal: String,
    e164: Option<String>,
}

impl NumberFilter {
    /// Looks for a number as it is written in a query, where a leading space is an unescaped plus sign.
    #[must_use]
    pub fn new(text: &str, region: Region) -> Self {
        let literal = number::from_query(text);
        Self { e164: number::e164(&literal, region), literal }
    }

    /// Returns the number in E.164 form, if it is a phone number.
    #[must_use]
    pub fn e164(&self) -> Option<&str> {
        self.e164.as_deref()
    }

    /// Returns what is looked for as it was written.
    #[must_use]
    pub fn literal(&self) -> &str {
        &self.literal
    }

    fn is(&self, number: &str, region: Region) -> bool {
        number == self.literal || self.e164.is_some() && number::e164(number, region) == self.e164
    }
}

impl Filter {
    /// Whether it looks for a number, so that it depends on the app's region.
    #[must_use]
    pub fn has_numbers(&self) -> bool {
        self.number.is_some() || self.from.is_some() || self.to.is_some()
    }

    /// Returns the filter with its numbers read as those of a region.
    #[must_use]
    pub fn in_region(self, region: Region) -> Self {
        let read =
            |wanted: Option<NumberFilter>| wanted.map(|wanted| NumberFilter::new(&wanted.literal, region));
        let (number, from, to) = (read(self.number), read(self.from), read(self.to));
        Self { number, from, to, region, ..self }
    }

    /// Whether an event matches. Its keys are looked at last, and only if they matter: they may have to be read from its
    /// text.
    #[must_use]
    pub fn admits(&self, frame: &Frame) -> bool {
        let event_type = frame.event_type.as_str();
        (self.types.is_empty() || self.types.iter().any(|pattern| matches_type(pattern, event_type)))
            && self.matches_keys(frame.dialpad_user_id, || frame.keys())
    }

    /// Whether an active call matches: the events of calls match the types, and the call matches the other fields.
    #[must_use]
    pub fn admits_call(&self, call: &ActiveCall) -> bool {
        (self.types.is_empty() || self.types.iter().any(|pattern| matches_calls(pattern)))
            && self.matches_keys(call.dialpad_user_id, || &call.keys)
    }

    fn matches_keys<'a>(&self, user: Option<i64>, keys: impl FnOnce() -> &'a EventKeys) -> bool {
        let Self { types: _, dialpad_user_id, crm_user_id, direction, number, from, to, region } = self;
        if dialpad_user_id.is_some_and(|wanted| user != Some(wanted)) {
            return false;
        }
        if crm_user_id.is_none() && direction.is_none() && number.is_none() && from.is_none() && to.is_none()
        {
            return true;
        }
        let keys = keys();
        let is_from = |wanted: &NumberFilter| {
            keys.from_number.as_deref().is_some_and(|number| wanted.is(number, *region))
        };
        let is_to = |wanted: &NumberFilter| {
            to_numbers(keys.to_number.as_deref()).into_iter().any(|number| wanted.is(number, *region))
        };
        crm_user_id.as_deref().is_none_or(|wanted| keys.crm_user_id.as_deref() == Some(wanted))
            && direction.is_none_or(|wanted| keys.direction == Some(wanted))
            && number.as_ref().is_none_or(|wanted| is_from(wanted) || is_to(wanted))
            && from.as_ref().is_none_or(is_from)
            && to.as_ref().is_none_or(is_to)
    }
}

fn matches_type(pattern: &str, event_type: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == event_type, |prefix| event_type.starts_with(prefix))
}

/// Whether a pattern matches any event of calls.
fn matches_calls(pattern: &str) -> bool {
    const OF_CALLS: &str = "call.";
    pattern.starts_with(OF_CALLS)
        || pattern.strip_suffix('*').is_some_and(|prefix| OF_CALLS.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Seq;

    fn wanted(number: &str) -> Option<NumberFilter> {
        Some(NumberFilter::new(number, Region::US))
    }

    fn frame(event_type: &str, body: &str) -> Frame {
        Frame::stored(Seq(1), event_type, Some(555), body).expect("an object")
    }

    #[test]
    fn an_event_must_match_every_field() {
        let ring = frame(
            "call.ring",
            r#"{"direction":"inbound","from_number":"+1","to_number":"+2","crm_user_id":"u-7","timestamp":1}"#,
        );
        let all = Filter {
            types: BTreeSet::from(["call.*".to_owned()]),
            dialpad_user_id: Some(555),
            crm_user_id: Some("u-7".into()),
            direction: Some(Direction::Inbound),
            number: wanted("+2"),
            from: wanted("+1"),
            to: wanted("+2"),
            ..Filter::default()
        };
        assert!(Filter::default().admits(&ring) && all.admits(&ring));
        for other in [
            Filter { types: BTreeSet::from(["message.*".to_owned()]), ..all.clone() },
            Filter { dialpad_user_id: Some(1), ..all.clone() },
            Filter { crm_user_id: Some("u-8".into()), ..all.clone() },
            Filter { direction: Some(Direction::Outbound), ..all.clone() },
            Filter { number: wanted("+3"), ..all.clone() },
            Filter { from: wanted("+2"), ..all.clone() },
            Filter { to: wanted("+1"), ..all.clone() },
        ] {
            assert!(!other.admits(&ring), "{other:?}");
        }
    }

    #[test]
    fn a_call_matches_like_its_events() {
        let call = ActiveCall::new(
            Some(555),
            r#"{"direction":"inbound","from_number":"+1","to_number":"+2","crm_user_id":"u-7"}"#.to_owned(),
        );
        let of = |types: &[&str]| Filter {
            types: types.iter().map(|&event_type| event_type.to_owned()).collect(),
            ..Filter::default()
        };
        for matching in [
            &[][..],
            &["*"],
            &["c*"],
            &["call.*"],
            &["call.st*"],
            &["call.ended"],
            &["message.*", "call.ring"],
        ] {
            assert!(of(matching).admits_call(&call), "{matching:?}");
        }
        for other in [&["message.*"][..], &["connection.*", "voicemail.received"]] {
            assert!(!of(other).admits_call(&call), "{other:?}");
        }
        assert!(
            Filter { crm_user_id: Some("u-7".into()), to: wanted("+2"), ..Filter::default() }
                .admits_call(&call)
        );
        assert!(!Filter { dialpad_user_id: Some(1), ..Filter::default() }.admits_call(&call));
        assert!(!Filter { from: wanted("+2"), ..Filter::default() }.admits_call(&call));
    }

    #[test]
    fn a_message_to_several_is_to_each_of_them() {
        let sent =
            frame("message.sent", r#"{"direction":"outbound","from_number":"+1","to_number":"+2,+3"}"#);
        let to = |number: &str| Filter { to: wanted(number), ..Filter::default() };
        assert!(to("+2").admits(&sent) && to("+3").admits(&sent) && !to("+2,+3").admits(&sent));
    }

    #[test]
    fn an_event_without_a_field_does_not_match_a_filter_on_it() {
        let expired = frame("connection.expired", r#"{"environment":"sandbox"}"#);
        assert!(Filter { dialpad_user_id: None, ..Filter::default() }.admits(&expired));
        assert!(!Filter { number: wanted("+1"), ..Filter::default() }.admits(&expired));
        let unreadable = frame("call.ring", r#"{"from_number":["+1"]}"#);
        assert!(!Filter { number: wanted("+1"), ..Filter::default() }.admits(&unreadable));
    }

    #[test]
    fn a_number_matches_in_every_spelling_and_what_is_none_literally() {
        let ring = frame("call.ring", r#"{"from_number":"(415) 555-0129","to_number":"+442079460018"}"#);
        let text =
            frame("message.sent", r#"{"from_number":"22395","to_number":"+14155550129,415-555-0130"}"#);
        let of = |number: &str, region: &str| {
            let region = region.parse().expect("a region");
            Filter { number: wanted(number), ..Filter::default() }.in_region(region)
        };
        for (number, region) in [("+14155550129", "US"), (" 1 415 555 0129", "US"), ("020 7946 0018", "GB")] {
            assert!(of(number, region).admits(&ring), "{number}");
        }
        for (number, region) in [("020 7946 0018", "US"), ("+14155550129", "GB"), ("+14155550128", "US")] {
            assert!(!of(number, region).admits(&ring), "{number} in {region}");
        }
        for number in ["22395", "+14155550129", "+1 (415) 555-0130"] {
            assert!(of(number, "US").admits(&text), "{number}");
        }
        assert!(!of("22396", "US").admits(&text));
    }
}
