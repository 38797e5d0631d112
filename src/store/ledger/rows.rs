//! Units of work as rows, column by column, in the order of the statements that write them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use cti_actors::{
    event::{OutEvent, recording_bodies},
    id::JournalId,
    model::{
        call::{CallRecord, Direction, Recording, Status, VoicemailRecord},
        interaction::{StoredInteraction, waits_for},
        message::{Message, StoredMessage},
        number::{Region, e164, e164_list},
    },
    unit::{IncomingStatus, IncomingWebhook, Receipt, Unit},
};

use crate::store::db::{
    bulk::{Column, FirstParam, Rows},
    types::Id,
};

/// Everything that a transaction of units writes.
pub(super) struct UnitRows {
    pub(super) incoming: Rows,
    pub(super) unseen: Rows,
    pub(super) calls: Rows,
    pub(super) interactions: Rows,
    pub(super) voicemails: Rows,
    pub(super) messages: Rows,
    pub(super) events: Rows,
    pub(super) processed: Rows,
    pub(super) retried: Rows,
    pub(super) failed: Vec<(Id, String, DateTime<Utc>)>,
}

impl UnitRows {
    pub(super) fn of(units: &[Arc<Unit>], receipts: &[Receipt]) -> Self {
        let ids = |part: fn(&Unit) -> &Vec<JournalId>| {
            Rows::of(vec![Column::Id(each(units, part).map(|(_, id)| Id::from(*id)).collect())])
        };
        let failed = each(units, |unit| &unit.failed);
        let decided_at = units.first().map(|unit| unit.decided_at).unwrap_or_default();
        Self {
            incoming: incoming_rows(units),
            unseen: unseen_rows(units),
            calls: call_rows(&each(units, |unit| &unit.calls).collect::<Vec<_>>()),
            interactions: interaction_rows(&each(units, |unit| &unit.interactions).collect::<Vec<_>>()),
            voicemails: voicemail_rows(&each(units, |unit| &unit.voicemails).collect::<Vec<_>>()),
            messages: message_rows(&each(units, |unit| &unit.messages).collect::<Vec<_>>()),
            events: event_rows(units, receipts),
            processed: ids(|unit| &unit.processed).after(FirstParam::Time(decided_at)),
            retried: ids(|unit| &unit.retried),
            failed: failed
                .map(|(unit, (id, reason))| (Id::from(*id), reason.clone(), unit.decided_at))
                .collect(),
        }
    }
}

fn each<'u, T: 'u>(
    units: &'u [Arc<Unit>],
    part: fn(&Unit) -> &Vec<T>,
) -> impl Iterator<Item = (&'u Unit, &'u T)> {
    units.iter().flat_map(move |unit| part(unit).iter().map(move |item| (&**unit, item)))
}

fn unseen_rows(units: &[Arc<Unit>]) -> Rows {
    let legs: Vec<_> = each(units, |unit| &unit.unseen).collect();
    Rows::of(vec![
        Column::Id(legs.iter().map(|(unit, _)| unit.app_id.into()).collect()),
        Column::Int(legs.iter().map(|(_, leg)| leg.0).collect()),
    ])
}

fn incoming_rows(units: &[Arc<Unit>]) -> Rows {
    let rows: Vec<_> = each(units, |unit| &unit.incoming).collect();
    let status = |status: &IncomingStatus| match status {
        IncomingStatus::Processed => "processed",
        IncomingStatus::Retried => "pending",
        IncomingStatus::Failed(_) => "failed",
    };
    let reason = |row: &IncomingWebhook, status: &IncomingStatus| match status {
        IncomingStatus::Failed(reason) => Some(reason.clone()),
        IncomingStatus::Processed | IncomingStatus::Retried => row.remark.clone(),
    };
    Rows::of(vec![
        Column::Id(rows.iter().map(|(_, (row, _))| row.id.into()).collect()),
        Column::Id(rows.iter().map(|(unit, _)| unit.app_id.into()).collect()),
        Column::OptInt(rows.iter().map(|(_, (row, _))| row.organization_id).collect()),
        Column::Bytes(rows.iter().map(|(_, (row, _))| row.dedup_key.to_vec()).collect()),
        Column::Text(rows.iter().map(|(_, (row, _))| row.event_type.clone()).collect()),
        Column::Bytes(rows.iter().map(|(_, (row, _))| row.payload.to_vec()).collect()),
        Column::Text(rows.iter().map(|(_, (_, it))| status(it).to_owned()).collect()),
        Column::Int(rows.iter().map(|(_, (_, it))| i64::from(*it != IncomingStatus::Processed)).collect()),
        Column::OptText(rows.iter().map(|(_, (row, it))| reason(row, it)).collect()),
        Column::Time(rows.iter().map(|(_, (row, _))| row.received_at).collect()),
        Column::OptTime(
            rows.iter()
                .map(|(unit, (_, it))| (*it != IncomingStatus::Retried).then_some(unit.decided_at))
                .collect(),
        ),
    ])
}

fn call_rows(records: &[(&Unit, &CallRecord)]) -> Rows {
    macro_rules! column {
        ($kind:ident, |$unit:ident, $call:ident, $snapshot:ident| $value:expr) => {
            Column::$kind(
                records
                    .iter()
                    .map(|($unit, CallRecord { call: $call, snapshot: $snapshot })| $value)
                    .collect(),
            )
        };
    }
    Rows::of(vec![
        column!(Id, |_u, call, _s| call.id.into()),
        column!(Id, |unit, _c, _s| unit.app_id.into()),
        column!(Int, |_u, call, _s| call.dialpad_call_id.0),
        column!(OptText, |_u, _c, snapshot| snapshot.direction.map(|it| it.as_str().to_owned())),
        column!(OptText, |_u, _c, snapshot| snapshot.from_number.clone()),
        column!(OptText, |_u, _c, snapshot| snapshot.to_number.clone()),
        column!(OptText, |unit, _c, snapshot| in_e164(snapshot.from_number.as_deref(), unit.region)),
        column!(OptText, |unit, _c, snapshot| in_e164(snapshot.to_number.as_deref(), unit.region)),
        column!(OptText, |_u, _c, snapshot| snapshot.contact_name.clone()),
        column!(OptText, |_u, _c, snapshot| snapshot.target_name.clone()),
        column!(OptBool, |_u, _c, snapshot| snapshot.is_internal),
        column!(OptBool, |_u, _c, snapshot| snapshot.callback_requested),
        column!(OptJson, |_u, _c, snapshot| snapshot.custom_data.clone()),
        column!(OptJson, |_u, _c, snapshot| recordings_json(&snapshot.recordings)),
        column!(Text, |_u, _c, snapshot| snapshot.status.as_str().to_owned()),
        column!(OptText, |_u, _c, snapshot| snapshot.dialpad_state.map(|it| it.as_str().to_owned())),
        column!(OptText, |_u, _c, snapshot| snapshot.outcome.map(|it| it.as_str().to_owned())),
        column!(OptInt, |_u, _c, snapshot| snapshot.dialpad_user_id),
        column!(OptTime, |_u, _c, snapshot| snapshot.ringing_at),
        column!(OptTime, |_u, _c, snapshot| snapshot.answered_at),
        column!(OptTime, |_u, _c, snapshot| snapshot.ended_at),
        column!(OptInt, |_u, _c, snapshot| snapshot.duration_seconds),
        column!(OptInt, |_u, _c, snapshot| snapshot.talk_seconds),
        column!(OptInt, |_u, _c, snapshot| snapshot.hold_seconds),
        column!(OptText, |_u, _c, snapshot| snapshot.recording_url.clone()),
        column!(Bool, |_u, _c, snapshot| snapshot.is_voicemail),
        // What was taken for the transcript of a voicemail can turn out to be that of a conversation.
        column!(OptId, |_u, call, snapshot| call
            .voicemail_id
            .filter(|_| snapshot.is_voicemail)
            .map(Id::from)),
        column!(OptText, |_u, call, _s| call.facts.leg().map(|leg| leg.as_str().to_owned())),
        column!(OptInt, |_u, call, _s| call.facts.leg_ids()[0]),
        column!(OptInt, |_u, call, _s| call.facts.leg_ids()[1]),
        column!(OptInt, |_u, call, _s| call.facts.leg_ids()[2]),
        column!(OptInt, |_u, call, _s| call.facts.target_id()),
        column!(OptInt, |_u, call, _s| waits_for(&call.facts).map(|(target, _)| target)),
        column!(OptTime, |_u, call, _s| waits_for(&call.facts).map(|(_, at)| at)),
        // A single leg is its own interaction: null, and in no index.
        column!(OptId, |_u, call, _s| Some(call.interaction_id)
            .filter(|it| *it != call.id.into())
            .map(Id::from)),
        column!(Bool, |_u, _c, snapshot| snapshot.answered_elsewhere),
        column!(Json, |_u, call, _s| json(&call.facts)),
        column!(Int, |_u, call, _s| call.version),
        column!(Time, |unit, _c, _s| unit.decided_at),
        column!(Time, |_u, call, _s| call.updated_at),
    ])
}

fn interaction_rows(records: &[(&Unit, &StoredInteraction)]) -> Rows {
    let shown = || records.iter().map(|(_, it)| &it.summary);
    Rows::of(vec![
        Column::Id(records.iter().map(|(unit, _)| unit.app_id.into()).collect()),
        Column::Id(records.iter().map(|(_, it)| it.id.into()).collect()),
        Column::Text(shown().map(|it| it.status.as_str().to_owned()).collect()),
        Column::OptText(shown().map(|it| it.outcome.map(|it| it.as_str().to_owned())).collect()),
        Column::OptText(shown().map(|it| it.direction.map(direction_text)).collect()),
        Column::OptText(shown().map(|it| it.external_number.clone()).collect()),
        Column::OptText(
            records
                .iter()
                .map(|(unit, it)| in_e164(it.summary.external_number.as_deref(), unit.region))
                .collect(),
        ),
        Column::Json(shown().map(json).collect()),
        Column::OptId(records.iter().map(|(_, it)| it.merged_into.map(Id::from)).collect()),
        Column::OptTime(records.iter().map(|(_, it)| it.settles_at).collect()),
        Column::Bool(records.iter().map(|(_, it)| it.has_settled).collect()),
        Column::Int(records.iter().map(|(_, it)| it.version).collect()),
        Column::Time(records.iter().map(|(unit, _)| unit.decided_at).collect()),
        Column::Time(records.iter().map(|(_, it)| it.updated_at).collect()),
    ])
}

/// Returns since when calls have been as they are, if they are over: PostgreSQL computes that column.
pub(super) fn calls_over(units: &[Arc<Unit>]) -> Column {
    let records = each(units, |unit| &unit.calls).map(|(_, record)| record);
    Column::OptTime(
        records.map(|it| (it.snapshot.status == Status::Ended).then_some(it.call.updated_at)).collect(),
    )
}

/// The same of interactions. One that became a part of another is over as well.
pub(super) fn interactions_over(units: &[Arc<Unit>]) -> Column {
    let records = each(units, |unit| &unit.interactions).map(|(_, record)| record);
    let is_over = |it: &StoredInteraction| it.summary.status == Status::Ended || it.merged_into.is_some();
    Column::OptTime(records.map(|it| is_over(it).then_some(it.updated_at)).collect())
}

fn voicemail_rows(records: &[(&Unit, &VoicemailRecord)]) -> Rows {
    Rows::of(vec![
        Column::Id(records.iter().map(|(_, it)| it.id.into()).collect()),
        Column::Id(records.iter().map(|(unit, _)| unit.app_id.into()).collect()),
        Column::Int(records.iter().map(|(_, it)| it.dialpad_call_id.0).collect()),
        Column::OptText(records.iter().map(|(_, it)| it.voicemail.dialpad_voicemail_id.clone()).collect()),
        Column::OptInt(records.iter().map(|(_, it)| it.dialpad_user_id).collect()),
        Column::OptText(records.iter().map(|(_, it)| it.direction.map(direction_text)).collect()),
        Column::OptText(records.iter().map(|(_, it)| it.from_number.clone()).collect()),
        Column::OptText(records.iter().map(|(_, it)| it.to_number.clone()).collect()),
        Column::OptText(
            records.iter().map(|(unit, it)| in_e164(it.from_number.as_deref(), unit.region)).collect(),
        ),
        Column::OptText(
            records.iter().map(|(unit, it)| in_e164(it.to_number.as_deref(), unit.region)).collect(),
        ),
        Column::OptText(records.iter().map(|(_, it)| it.voicemail.recording_url.clone()).collect()),
        Column::OptText(records.iter().map(|(_, it)| it.voicemail.transcript.clone()).collect()),
        Column::OptInt(records.iter().map(|(_, it)| it.voicemail.duration_seconds).collect()),
        Column::Time(records.iter().map(|(_, it)| it.voicemail.received_at).collect()),
        Column::Time(records.iter().map(|(unit, _)| unit.decided_at).collect()),
        Column::Time(records.iter().map(|(_, it)| it.updated_at).collect()),
    ])
}

fn message_rows(records: &[(&Unit, &StoredMessage)]) -> Rows {
    let shown: Vec<Message> = records.iter().map(|(_, it)| it.facts.snapshot()).collect();
    let regions = || records.iter().map(|(unit, _)| unit.region);
    Rows::of(vec![
        Column::Id(records.iter().map(|(_, it)| it.id.into()).collect()),
        Column::Id(records.iter().map(|(unit, _)| unit.app_id.into()).collect()),
        Column::Text(records.iter().map(|(_, it)| it.dialpad_message_id.clone()).collect()),
        Column::OptInt(shown.iter().map(|it| it.dialpad_user_id).collect()),
        Column::OptText(shown.iter().map(|it| it.direction.map(direction_text)).collect()),
        Column::OptText(shown.iter().map(|it| it.from_number.clone()).collect()),
        Column::OptText(shown.iter().map(|it| it.to_number.clone()).collect()),
        Column::OptText(
            shown
                .iter()
                .zip(regions())
                .map(|(it, region)| in_e164(it.from_number.as_deref(), region))
                .collect(),
        ),
        Column::OptText(
            shown
                .iter()
                .zip(regions())
                .map(|(it, region)| e164_list(it.to_number.as_deref()?, region))
                .collect(),
        ),
        Column::OptText(shown.iter().map(|it| it.text.clone()).collect()),
        Column::OptText(shown.iter().map(|it| it.mms_url.clone()).collect()),
        Column::OptJson(
            shown.iter().map(|it| Some(json(&it.media_urls)).filter(|_| !it.media_urls.is_empty())).collect(),
        ),
        Column::OptText(shown.iter().map(|it| it.delivery_result.clone()).collect()),
        Column::OptText(shown.iter().map(|it| it.status.clone()).collect()),
        Column::Time(shown.iter().map(|it| it.sent_at).collect()),
        Column::Json(records.iter().map(|(_, it)| json(&it.facts)).collect()),
        Column::Int(records.iter().map(|(_, it)| it.version).collect()),
        Column::Time(records.iter().map(|(unit, _)| unit.decided_at).collect()),
        Column::Time(records.iter().map(|(_, it)| it.updated_at).collect()),
    ])
}

fn event_rows(units: &[Arc<Unit>], receipts: &[Receipt]) -> Rows {
    let seqs = seqs(units, receipts);
    let events: Vec<_> = each(units, |unit| &unit.events).collect();
    let places = vec![
        Column::Id(events.iter().map(|(unit, _)| unit.app_id.into()).collect()),
        Column::Int(seqs.collect()),
    ];
    Rows::of(places.into_iter().chain(event_columns(&events)).collect())
}

fn seqs<'u>(units: &'u [Arc<Unit>], receipts: &'u [Receipt]) -> impl Iterator<Item = i64> {
    units.iter().zip(receipts).flat_map(|(unit, receipt)| {
        (1..).zip(&unit.events).map(|(place, _): (i64, _)| receipt.last_seq_before.0 + place)
    })
}

fn event_columns(events: &[(&Unit, &OutEvent)]) -> [Column; 7] {
    [
        Column::Id(events.iter().map(|(_, it)| it.id.into()).collect()),
        Column::Text(events.iter().map(|(_, it)| it.event_type.to_string()).collect()),
        Column::OptInt(events.iter().map(|(_, it)| it.dialpad_call_id().map(|id| id.0)).collect()),
        Column::OptInt(events.iter().map(|(_, it)| it.dialpad_user_id()).collect()),
        Column::Time(events.iter().map(|(_, it)| it.occurred_at).collect()),
        Column::Time(events.iter().map(|(unit, _)| unit.decided_at).collect()),
        Column::Text(events.iter().map(|(_, it)| it.stored_body()).collect()),
    ]
}

fn in_e164(number: Option<&str>, region: Region) -> Option<String> {
    e164(number?, region)
}

/// Returns the parts as they are delivered; `None` for a call without any.
fn recordings_json(recordings: &[Recording]) -> Option<String> {
    (!recordings.is_empty()).then(|| json(&recording_bodies(recordings)))
}

fn direction_text(direction: Direction) -> String {
    direction.as_str().to_owned()
}

fn json<T: serde::Serialize>(facts: &T) -> String {
    serde_json::to_string(facts).expect("facts have only string keys")
}
