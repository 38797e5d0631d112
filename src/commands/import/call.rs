//! A call of the source as the facts that its webhooks would have made. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    id::{AppId, CallId, DialpadCallId, VoicemailId},
    model::{
        call::{
            CallEvent, CallFacts, CallRecord, EndKind, Knowledge, Origin, Signal, Status, StoredCall,
            VoicemailRecord,
        },
        interaction::{LegShown, StoredInteraction, Summary},
        number::Region,
    },
    unit::Unit,
};

use super::row::Row;
use crate::store::import::stable_id;

/// A call without an end and without news for so long has ended: no call is longer.
const MAX_CALL: TimeDelta = TimeDelta::hours(24);

/// A call with everything that is stored of it.
#[derive(Debug)]
pub(super) struct ReadCall {
    pub(super) facts: CallFacts,
    /// When it was first heard of.
    created_at: DateTime<Utc>,
    /// When it last changed.
    updated_at: DateTime<Utc>,
    /// What identifies its voicemail.
    voicemail_key: String,
}

/// Reads a row of `calls` with its voicemail.
///
/// # Errors
/// Says why it is no call.
pub(super) fn read_call(
    id: i64,
    row: &Row,
    voicemail: Option<&Row>,
    now: DateTime<Utc>,
) -> Result<ReadCall, String> {
    let [created, started, ended, updated] =
        ["created_at", "started_at", "ended_at", "updated_at"].map(|column| row.instant(column));
    let times = || [created, started, ended].into_iter().flatten();
    let first = times().min().ok_or("it has no time that can be read")?;
    let status = row.text("status").unwrap_or_default().trim().to_ascii_lowercase();
    let knowledge = Knowledge { recording_url: row.text("recording_url"), ..parties(row) };
    let mut facts = CallFacts::default();
    let mut absorb = |at, signal, knowledge| facts.absorb(&event(id, at, signal, knowledge));

    let rang = created.filter(|at| [started, ended].into_iter().flatten().all(|later| *at < later));
    if let Some(at) = rang {
        absorb(at, Signal::Ringing, knowledge.clone());
    }
    // The source has `started_at` only of calls that a person answered.
    if started.is_some() || matches!(&*status, "active" | "held" | "answered" | "connected") {
        let connected = Knowledge { connected_at: started, ..knowledge.clone() };
        absorb(started.unwrap_or(first), Signal::Connected, connected);
    }
    if matches!(&*status, "held" | "hold") {
        absorb(times().chain(updated).max().unwrap_or(first), Signal::Held, knowledge.clone());
    }
    let end = match &*status {
        "missed" | "no_answer" | "no-answer" => Some(EndKind::Missed),
        "rejected" | "declined" | "blocked" => Some(EndKind::Rejected),
        "ended" | "completed" | "hangup" | "failed" | "canceled" | "cancelled" | "abandoned"
        | "voicemail" => Some(EndKind::Hangup),
        "ringing" | "active" | "held" | "hold" | "answered" | "connected" | "" => {
            ended.map(|_| EndKind::Hangup)
        }
        unknown => {
            row.remember(format!("status is unknown: {unknown}"));
            ended.map(|_| EndKind::Hangup)
        }
    };
    let duration = row.seconds("duration_seconds");
    if let Some(kind) = end {
        let measured = duration.map(|length| started.unwrap_or(first) + TimeDelta::from(length));
        let at = ended.or(measured).unwrap_or(first);
        let knowledge = Knowledge { ended_at: ended, duration_ms: duration, ..knowledge.clone() };
        absorb(at, Signal::Ended(kind), knowledge);
    }

    let own = [row.text("voicemail_audio_url"), row.text("voicemail_transcript")];
    if own.iter().any(Option::is_some) {
        let [voicemail_url, voicemail_transcript] = own;
        let left = Knowledge { voicemail_url, voicemail_transcript, ..knowledge };
        absorb(ended.unwrap_or(first), Signal::VoicemailLeft, left);
    } else if row.boolean("is_voicemail") == Some(true) {
        absorb(ended.unwrap_or(first), Signal::VoicemailStarted, knowledge);
    }
    let mut last = times().chain(updated).max().unwrap_or(first);
    if let Some(voicemail) = voicemail {
        let left_at = voicemail.instant("created_at").or(ended).unwrap_or(first);
        absorb(left_at, Signal::VoicemailLeft, left_on(voicemail));
        last = last.max(left_at).max(voicemail.instant("updated_at").unwrap_or(left_at));
    }
    if facts.snapshot().status != Status::Ended && now - last > MAX_CALL {
        row.remember("it has no end: it is taken as ended when it last changed".to_owned());
        let presumed = CallEvent {
            origin: Origin::Presumption,
            ..event(id, last, Signal::Ended(EndKind::Presumed), Knowledge::default())
        };
        facts.absorb(&presumed);
    }
    let voicemail_key = voicemail.map_or_else(|| row.key(), Row::key);
    Ok(ReadCall { facts, created_at: first, updated_at: last, voicemail_key })
}

/// Reads a voicemail whose call the source does not have: it is all that is known of the call.
///
/// # Errors
/// Says why it is none.
pub(super) fn read_call_of_voicemail(id: i64, voicemail: &Row) -> Result<ReadCall, String> {
    let left_at = voicemail.instant("created_at").ok_or("it has no time that can be read")?;
    let mut facts = CallFacts::default();
    facts.absorb(&event(id, left_at, Signal::VoicemailLeft, left_on(voicemail)));
    let updated_at = voicemail.instant("updated_at").unwrap_or(left_at).max(left_at);
    Ok(ReadCall { facts, created_at: left_at, updated_at, voicemail_key: voicemail.key() })
}

/// Returns what a row says of the two sides.
fn parties(row: &Row) -> Knowledge {
    Knowledge {
        direction: row.direction(),
        from_number: row.text("from_number"),
        to_number: row.text("to_number"),
        dialpad_user_id: row.integer("dialpad_user_id"),
        ..Knowledge::default()
    }
}

fn left_on(voicemail: &Row) -> Knowledge {
    Knowledge {
        voicemail_id: voicemail.text("dialpad_voicemail_id"),
        voicemail_url: voicemail.text("recording_url"),
        voicemail_transcript: voicemail.text("transcript"),
        voicemail_duration_ms: voicemail.seconds("duration_seconds"),
        ..parties(voicemail)
    }
}

fn event(id: i64, at: DateTime<Utc>, signal: Signal, knowledge: Knowledge) -> CallEvent {
    CallEvent { dialpad_call_id: DialpadCallId(id), at, signal, knowledge, origin: Origin::Webhook }
}

impl ReadCall {
    /// Returns the unit of work that stores it, without events: an interaction of its own, as that of a call over
    /// webhooks. What is over counts as emitted.
    pub(super) fn into_unit(self, app: AppId, id: i64, region: Region) -> Unit {
        let Self { facts, created_at, updated_at, voicemail_key } = self;
        let call_id = CallId(stable_id("call", app, &id.to_string(), created_at));
        let snapshot = facts.snapshot();
        let voicemail_id = snapshot
            .voicemail
            .as_ref()
            .map(|it| VoicemailId(stable_id("voicemail", app, &voicemail_key, it.received_at)));
        let call = StoredCall {
            id: call_id,
            dialpad_call_id: DialpadCallId(id),
            interaction_id: call_id.into(),
            voicemail_id,
            version: 1,
            updated_at,
            facts,
        };
        let voicemail = voicemail_id.zip(snapshot.voicemail.clone()).map(|(id, voicemail)| VoicemailRecord {
            id,
            dialpad_call_id: call.dialpad_call_id,
            voicemail,
            direction: snapshot.direction,
            from_number: snapshot.from_number.clone(),
            to_number: snapshot.to_number.clone(),
            dialpad_user_id: snapshot.dialpad_user_id,
            updated_at,
        });
        let summary = Summary::of(&[LegShown::of(&call, &snapshot)]);
        let interaction = summary.map(|summary| StoredInteraction {
            id: call_id.into(),
            version: 1,
            has_settled: summary.status == Status::Ended,
            summary,
            merged_into: None,
            settles_at: None,
            updated_at,
        });
        Unit {
            region,
            calls: vec![CallRecord { call, snapshot }],
            interactions: interaction.into_iter().collect(),
            voicemails: voicemail.into_iter().collect(),
            ..Unit::new(app, created_at)
        }
    }
}
