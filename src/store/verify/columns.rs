//! The columns that are derived from facts, for a comparison with the facts. Columns that have another source are left
//! out: ids, versions, and when the server first and last wrote a row.

use chrono::{DateTime, Utc};
use cti_actors::{
    event::recording_bodies,
    model::{
        call::{Status, StoredCall},
        interaction::{StoredInteraction, waits_for},
        message::StoredMessage,
        number::{Region, e164, e164_list},
    },
};
use serde_json::Value;

macro_rules! columns {
    ($(#[doc = $doc:literal])* $name:ident { $($field:ident: $kind:ty),+ $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
        pub(in crate::store) struct $name { $(pub(in crate::store) $field: $kind),+ }

        impl $name {
            /// Returns the names of the columns that differ.
            pub(in crate::store) fn differences(&self, other: &Self) -> Vec<&'static str> {
                let differs = [$((stringify!($field), self.$field != other.$field)),+];
                differs.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
            }
        }
    };
}

columns! {
    /// The columns of a call.
    CallColumns {
        direction: Option<String>,
        from_number: Option<String>,
        to_number: Option<String>,
        from_e164: Option<String>,
        to_e164: Option<String>,
        contact_name: Option<String>,
        target_name: Option<String>,
        is_internal: Option<bool>,
        callback_requested: Option<bool>,
        custom_data: Option<String>,
        recordings: Option<String>,
        status: String,
        is_over: bool,
        dialpad_state: Option<String>,
        outcome: Option<String>,
        dialpad_user_id: Option<i64>,
        ringing_at: Option<DateTime<Utc>>,
        answered_at: Option<DateTime<Utc>>,
        ended_at: Option<DateTime<Utc>>,
        duration_seconds: Option<i64>,
        talk_seconds: Option<i64>,
        hold_seconds: Option<i64>,
        recording_url: Option<String>,
        is_voicemail: bool,
        leg: Option<String>,
        master_call_id: Option<i64>,
        entry_point_call_id: Option<i64>,
        operator_call_id: Option<i64>,
        target_id: Option<i64>,
        link_target: Option<i64>,
        link_at: Option<DateTime<Utc>>,
        answered_elsewhere: bool,
    }
}

columns! {
    /// The columns of a text message.
    MessageColumns {
        direction: Option<String>,
        from_number: Option<String>,
        to_number: Option<String>,
        from_e164: Option<String>,
        to_e164: Option<String>,
        text: Option<String>,
        mms_url: Option<String>,
        media_urls: Option<String>,
        message_delivery_result: Option<String>,
        message_status: Option<String>,
        dialpad_user_id: Option<i64>,
        sent_at: DateTime<Utc>,
    }
}

columns! {
    /// The columns of an interaction.
    InteractionColumns {
        status: String,
        is_over: bool,
        outcome: Option<String>,
        direction: Option<String>,
        external_number: Option<String>,
        external_e164: Option<String>,
    }
}

columns! {
    /// The columns of a voicemail.
    VoicemailColumns {
        dialpad_voicemail_id: Option<String>,
        dialpad_user_id: Option<i64>,
        direction: Option<String>,
        from_number: Option<String>,
        to_number: Option<String>,
        recording_url: Option<String>,
        transcript: Option<String>,
        duration_seconds: Option<i64>,
        received_at: DateTime<Utc>,
    }
}

impl VoicemailColumns {
    /// Returns the columns that follow from the facts of a voicemail's call; `None` where that has none.
    pub(in crate::store) fn of(call: &StoredCall) -> Option<Self> {
        let shown = call.facts.snapshot();
        let voicemail = shown.voicemail?;
        let columns = Self {
            dialpad_voicemail_id: voicemail.dialpad_voicemail_id,
            dialpad_user_id: shown.dialpad_user_id,
            direction: shown.direction.map(|it| it.as_str().to_owned()),
            from_number: shown.from_number,
            to_number: shown.to_number,
            recording_url: voicemail.recording_url,
            transcript: voicemail.transcript,
            duration_seconds: voicemail.duration_seconds,
            received_at: voicemail.received_at,
        };
        Some(columns.in_one_form())
    }

    /// Returns the columns as both databases would return them.
    pub(in crate::store) fn in_one_form(self) -> Self {
        Self { received_at: in_microseconds(self.received_at), ..self }
    }
}

impl InteractionColumns {
    /// Returns the columns that follow from what is stored of an interaction.
    pub(in crate::store) fn of(interaction: &StoredInteraction, region: Region) -> Self {
        let shown = &interaction.summary;
        Self {
            status: shown.status.as_str().to_owned(),
            is_over: shown.status == Status::Ended || interaction.merged_into.is_some(),
            outcome: shown.outcome.map(|it| it.as_str().to_owned()),
            direction: shown.direction.map(|it| it.as_str().to_owned()),
            external_number: shown.external_number.clone(),
            external_e164: shown.external_number.as_deref().and_then(|number| e164(number, region)),
        }
    }

    /// Returns the columns without the number that depends on the region.
    pub(in crate::store) fn without_e164(self) -> Self {
        Self { external_e164: None, ..self }
    }
}

impl CallColumns {
    /// Returns the columns that follow from a call's facts.
    pub(in crate::store) fn of(call: &StoredCall, region: Region) -> Self {
        let shown = call.facts.snapshot();
        let [master_call_id, entry_point_call_id, operator_call_id] = call.facts.leg_ids();
        let waits_for = waits_for(&call.facts);
        let recordings = recording_bodies(&shown.recordings);
        Self {
            direction: shown.direction.map(|it| it.as_str().to_owned()),
            from_e164: shown.from_number.as_deref().and_then(|number| e164(number, region)),
            to_e164: shown.to_number.as_deref().and_then(|number| e164(number, region)),
            from_number: shown.from_number,
            to_number: shown.to_number,
            contact_name: shown.contact_name,
            target_name: shown.target_name,
            is_internal: shown.is_internal,
            callback_requested: shown.callback_requested,
            custom_data: shown.custom_data,
            recordings: (!recordings.is_empty())
                .then(|| serde_json::to_string(&recordings).unwrap_or_default()),
            status: shown.status.as_str().to_owned(),
            is_over: shown.status == Status::Ended,
            dialpad_state: shown.dialpad_state.map(|it| it.as_str().to_owned()),
            outcome: shown.outcome.map(|it| it.as_str().to_owned()),
            dialpad_user_id: shown.dialpad_user_id,
            ringing_at: shown.ringing_at,
            answered_at: shown.answered_at,
            ended_at: shown.ended_at,
            duration_seconds: shown.duration_seconds,
            talk_seconds: shown.talk_seconds,
            hold_seconds: shown.hold_seconds,
            recording_url: shown.recording_url,
            is_voicemail: shown.is_voicemail,
            leg: call.facts.leg().map(|it| it.as_str().to_owned()),
            master_call_id,
            entry_point_call_id,
            operator_call_id,
            target_id: call.facts.target_id(),
            link_target: waits_for.map(|(target, _)| target),
            link_at: waits_for.map(|(_, at)| at),
            answered_elsewhere: shown.answered_elsewhere,
        }
        .in_one_form()
    }

    /// Returns the columns as both databases would return them: PostgreSQL keeps microseconds, and JSON with other white
    /// space.
    pub(in crate::store) fn in_one_form(self) -> Self {
        Self {
            ringing_at: self.ringing_at.map(in_microseconds),
            answered_at: self.answered_at.map(in_microseconds),
            ended_at: self.ended_at.map(in_microseconds),
            link_at: self.link_at.map(in_microseconds),
            custom_data: self.custom_data.as_deref().map(canonical),
            recordings: self.recordings.as_deref().map(canonical),
            ..self
        }
    }

    /// Returns the columns without the numbers that depend on the region.
    pub(in crate::store) fn without_e164(self) -> Self {
        Self { from_e164: None, to_e164: None, ..self }
    }
}

impl MessageColumns {
    /// Returns the columns that follow from a message's facts.
    pub(in crate::store) fn of(message: &StoredMessage, region: Region) -> Self {
        let shown = message.facts.snapshot();
        let media_urls = serde_json::to_string(&shown.media_urls).ok();
        Self {
            direction: shown.direction.map(|it| it.as_str().to_owned()),
            from_e164: shown.from_number.as_deref().and_then(|number| e164(number, region)),
            to_e164: shown.to_number.as_deref().and_then(|numbers| e164_list(numbers, region)),
            from_number: shown.from_number,
            to_number: shown.to_number,
            text: shown.text,
            mms_url: shown.mms_url,
            media_urls: media_urls.filter(|_| !shown.media_urls.is_empty()),
            message_delivery_result: shown.delivery_result,
            message_status: shown.status,
            dialpad_user_id: shown.dialpad_user_id,
            sent_at: shown.sent_at,
        }
        .in_one_form()
    }

    /// Returns the columns as both databases would return them.
    pub(in crate::store) fn in_one_form(self) -> Self {
        Self {
            sent_at: in_microseconds(self.sent_at),
            media_urls: self.media_urls.as_deref().map(canonical),
            ..self
        }
    }

    /// Returns the columns without the numbers that depend on the region.
    pub(in crate::store) fn without_e164(self) -> Self {
        Self { from_e164: None, to_e164: None, ..self }
    }
}

pub(in crate::store) fn in_microseconds(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}

fn canonical(json: &str) -> String {
    serde_json::from_str::<Value>(json).map_or_else(|_| json.to_owned(), |value| value.to_string())
}
