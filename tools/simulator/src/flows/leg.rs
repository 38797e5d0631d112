//! The state of a call leg: each step of the timeline changes it, and the payloads are views of it.

use chrono::{DateTime, Utc};

use super::timeline::Step;

/// One leg during playback.
#[derive(Default)]
pub(crate) struct Leg {
    /// The latest step that changed the leg's state; steps after the end do not.
    pub(crate) state_step: Option<Step>,
    /// When it entered Dialpad.
    pub(crate) started_at: Option<DateTime<Utc>>,
    /// When it rang a person.
    pub(crate) rang: Option<DateTime<Utc>>,
    pub(crate) queued: Option<DateTime<Utc>>,
    pub(crate) connected: Option<DateTime<Utc>>,
    /// Whether a person answered; a menu only connects.
    pub(crate) answered: bool,
    pub(crate) ended: Option<DateTime<Utc>>,
    /// Whether nobody answered in time.
    pub(crate) missed: bool,
    /// Whether the platform rejected the caller.
    pub(crate) blocked: bool,
    /// Whether it ended because the customer was transferred.
    pub(crate) transferred: bool,
    pub(crate) voicemail_started_at: Option<DateTime<Utc>>,
    pub(crate) voicemail_ready: bool,
    pub(crate) transcribed: bool,
    pub(crate) recording_ready: bool,
    /// The number of steps so far.
    steps: u32,
    held_since: Option<DateTime<Utc>>,
    held_ms: i64,
}

impl Leg {
    pub(crate) fn apply(&mut self, step: Step, at: DateTime<Utc>) {
        self.steps += 1;
        self.started_at.get_or_insert(at);
        if !step.is_after_end() {
            self.state_step = Some(step);
        }
        match step {
            Step::Ring => self.rang = Some(at),
            Step::PickUp => {}
            Step::Queue => self.queued = Some(at),
            Step::Menu => self.connected = Some(at),
            Step::Answer => {
                self.connected.get_or_insert(at);
                self.answered = true;
            }
            Step::Hold | Step::Park => self.held_since = Some(at),
            Step::Resume | Step::Merge => self.stop_holding(at),
            // The leg continues until it is hung up: the caller may still leave a voicemail.
            Step::Miss => self.missed = true,
            Step::Block => self.blocked = true,
            Step::LeaveVoicemail => self.voicemail_started_at = Some(at),
            Step::HangUp | Step::TransferAway => {
                self.stop_holding(at);
                self.ended = Some(at);
                self.transferred = step == Step::TransferAway;
            }
            Step::VoicemailReady => self.voicemail_ready = true,
            Step::Transcribed => self.transcribed = true,
            Step::RecordingReady => self.recording_ready = true,
        }
    }

    /// Returns whether the latest step is its first.
    pub(crate) fn is_new(&self) -> bool {
        self.steps == 1
    }

    /// Returns whether it has started and not ended.
    pub(crate) fn is_live(&self) -> bool {
        self.started_at.is_some() && self.ended.is_none()
    }

    /// Returns the milliseconds on hold, as of `now`.
    pub(crate) fn held_ms(&self, now: DateTime<Utc>) -> i64 {
        self.held_ms + self.held_since.map_or(0, |since| (now - since).num_milliseconds())
    }

    /// Returns the milliseconds from the connection to the end (or `now`), holds included.
    pub(crate) fn connected_ms(&self, now: DateTime<Utc>) -> i64 {
        self.connected.map_or(0, |connected| (self.ended.unwrap_or(now) - connected).num_milliseconds())
    }

    /// Returns the length of the voicemail in milliseconds; `None` before the caller hung up.
    pub(crate) fn voicemail_ms(&self) -> Option<i64> {
        Some((self.ended? - self.voicemail_started_at?).num_milliseconds())
    }

    fn stop_holding(&mut self, at: DateTime<Utc>) {
        self.held_ms = self.held_ms(at);
        self.held_since = None;
    }
}
