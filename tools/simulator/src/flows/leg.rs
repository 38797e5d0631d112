//! What is known of a call leg at one moment: each beat of the score adds to it, and the payloads are views of it.

use chrono::{DateTime, Utc};

use super::plot::Beat;

/// One leg while it is played.
#[derive(Default)]
pub(crate) struct Leg {
    /// The newest beat that is a state of the leg itself, and not of something that it left behind.
    pub(crate) standing: Option<Beat>,
    /// When it entered Dialpad.
    pub(crate) began: Option<DateTime<Utc>>,
    /// When it rang a person.
    pub(crate) rang: Option<DateTime<Utc>>,
    pub(crate) queued: Option<DateTime<Utc>>,
    pub(crate) connected: Option<DateTime<Utc>>,
    /// Whether a person answered; a menu is connected, too.
    pub(crate) answered: bool,
    pub(crate) ended: Option<DateTime<Utc>>,
    /// Whether nobody answered in time.
    pub(crate) missed: bool,
    /// Whether it ended because the customer was sent on to somebody else.
    pub(crate) sent_on: bool,
    pub(crate) voicemail_began: Option<DateTime<Utc>>,
    pub(crate) voicemail_ready: bool,
    pub(crate) transcribed: bool,
    pub(crate) recording_ready: bool,
    /// How many beats it has had.
    beats: u32,
    held_since: Option<DateTime<Utc>>,
    held_ms: i64,
}

impl Leg {
    pub(crate) fn apply(&mut self, beat: Beat, at: DateTime<Utc>) {
        self.beats += 1;
        self.began.get_or_insert(at);
        if !beat.is_afterwards() {
            self.standing = Some(beat);
        }
        match beat {
            Beat::Ring => self.rang = Some(at),
            Beat::PickUp => {}
            Beat::Queue => self.queued = Some(at),
            Beat::Menu => self.connected = Some(at),
            Beat::Answer => {
                self.connected.get_or_insert(at);
                self.answered = true;
            }
            Beat::Hold | Beat::Park => self.held_since = Some(at),
            Beat::Resume | Beat::Merge => self.stop_holding(at),
            // The leg lives on until it is hung up: the caller may still be talking to the voicemail.
            Beat::Miss => self.missed = true,
            Beat::LeaveVoicemail => self.voicemail_began = Some(at),
            Beat::HangUp | Beat::HandOver => {
                self.stop_holding(at);
                self.ended = Some(at);
                self.sent_on = beat == Beat::HandOver;
            }
            Beat::VoicemailReady => self.voicemail_ready = true,
            Beat::Transcribed => self.transcribed = true,
            Beat::RecordingReady => self.recording_ready = true,
        }
    }

    /// Whether the newest beat is its first.
    pub(crate) fn is_new(&self) -> bool {
        self.beats == 1
    }

    /// Whether it has begun and is not over.
    pub(crate) fn is_live(&self) -> bool {
        self.began.is_some() && self.ended.is_none()
    }

    /// Milliseconds on hold, as of `now`.
    pub(crate) fn held_ms(&self, now: DateTime<Utc>) -> i64 {
        self.held_ms + self.held_since.map_or(0, |since| (now - since).num_milliseconds())
    }

    /// Milliseconds from when it was connected to the end (or `now`), holds included.
    pub(crate) fn connected_ms(&self, now: DateTime<Utc>) -> i64 {
        self.connected.map_or(0, |connected| (self.ended.unwrap_or(now) - connected).num_milliseconds())
    }

    /// How long the voicemail is, in milliseconds; none before the caller hung up.
    pub(crate) fn voicemail_ms(&self) -> Option<i64> {
        Some((self.ended? - self.voicemail_began?).num_milliseconds())
    }

    fn stop_holding(&mut self, at: DateTime<Utc>) {
        self.held_ms = self.held_ms(at);
        self.held_since = None;
    }
}
