//! What is known of a call leg at one moment: each beat of the plot adds to it, and the payloads are views of it.

use chrono::{DateTime, Utc};

use super::plot::Beat;

/// A leg between one user and one outside party.
pub(super) struct Leg {
    /// The newest beat that is a state of the leg itself, and not of something that it left behind.
    pub(super) standing: Beat,
    pub(super) rang: DateTime<Utc>,
    pub(super) connected: Option<DateTime<Utc>>,
    pub(super) ended: Option<DateTime<Utc>>,
    /// Whether nobody answered in time.
    pub(super) missed: bool,
    pub(super) voicemail_began: Option<DateTime<Utc>>,
    pub(super) voicemail_ready: bool,
    pub(super) transcribed: bool,
    pub(super) recording_ready: bool,
    held_since: Option<DateTime<Utc>>,
    held_ms: i64,
}

impl Leg {
    pub(super) fn new(start: DateTime<Utc>) -> Self {
        Self {
            standing: Beat::Ring,
            rang: start,
            connected: None,
            ended: None,
            missed: false,
            voicemail_began: None,
            voicemail_ready: false,
            transcribed: false,
            recording_ready: false,
            held_since: None,
            held_ms: 0,
        }
    }

    pub(super) fn apply(&mut self, beat: Beat, at: DateTime<Utc>) {
        if !beat.is_afterwards() {
            self.standing = beat;
        }
        match beat {
            Beat::Ring => self.rang = at,
            Beat::Answer => self.connected = Some(at),
            Beat::Hold => self.held_since = Some(at),
            Beat::Resume => self.stop_holding(at),
            // The leg lives on until it is hung up: the caller may still be talking to the voicemail.
            Beat::Miss => self.missed = true,
            Beat::LeaveVoicemail => self.voicemail_began = Some(at),
            Beat::HangUp => {
                self.stop_holding(at);
                self.ended = Some(at);
            }
            Beat::VoicemailReady => self.voicemail_ready = true,
            Beat::Transcribed => self.transcribed = true,
            Beat::RecordingReady => self.recording_ready = true,
        }
    }

    /// Milliseconds on hold, as of `now`.
    pub(super) fn held_ms(&self, now: DateTime<Utc>) -> i64 {
        self.held_ms + self.held_since.map_or(0, |since| (now - since).num_milliseconds())
    }

    /// Milliseconds from the answer to the end (or `now`), holds included.
    pub(super) fn answered_ms(&self, now: DateTime<Utc>) -> i64 {
        self.connected.map_or(0, |connected| (self.ended.unwrap_or(now) - connected).num_milliseconds())
    }

    /// How long the voicemail is, in milliseconds; none before the caller hung up.
    pub(super) fn voicemail_ms(&self) -> Option<i64> {
        Some((self.ended? - self.voicemail_began?).num_milliseconds())
    }

    fn stop_holding(&mut self, at: DateTime<Utc>) {
        self.held_ms = self.held_ms(at);
        self.held_since = None;
    }
}
