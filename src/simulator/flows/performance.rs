//! A flow while it is played: one moment after the other, and it can be cut short in the middle.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::cast::Cast;
use super::leg::Leg;
use super::plot::{self, Beat};
use super::{Family, Flow, Setting, Step, dialpad, message, workflow};

/// One moment of a flow: the platform knows it first, and then perhaps tells it.
pub(in crate::simulator) struct Moment {
    /// How long after the moment before it happens.
    pub(in crate::simulator) after: Duration,
    /// The leg it happened on, as the REST API must show it from now on; none for texts.
    pub(in crate::simulator) call: Option<Value>,
    /// The webhook, unless the family has no word for this moment.
    pub(in crate::simulator) webhook: Option<Webhook>,
}

/// A body before it is signed, and the CRM event that it must cause.
pub(in crate::simulator) struct Webhook {
    pub(in crate::simulator) payload: Value,
    pub(in crate::simulator) tells: Option<&'static str>,
}

/// All that a payload is made of.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) cast: &'a Cast,
    pub(super) leg: &'a Leg,
    pub(super) beat: Beat,
    pub(super) at: DateTime<Utc>,
    pub(super) setting: &'a Setting,
}

/// What is still to come of a flow.
pub(in crate::simulator) struct Performance {
    family: Family,
    setting: Setting,
    cast: Cast,
    leg: Leg,
    /// The beats ahead, each with its distance from the one before.
    score: VecDeque<(Duration, Beat)>,
    /// The texts ahead, in a flow of texts.
    texts: VecDeque<Step>,
    /// When the newest beat happened.
    at: DateTime<Utc>,
}

impl Performance {
    pub(in crate::simulator) fn new(flow: Flow, family: Family, seed: u64, setting: Setting) -> Self {
        let cast = Cast::pick(flow, seed, &setting);
        let texts = match flow {
            Flow::Message => message::script(&cast, family, seed, &setting).into(),
            _ => VecDeque::new(),
        };
        let score = plot::beats(flow, seed).into_iter();
        Self {
            family,
            leg: Leg::new(setting.start),
            score: score.map(|(after, beat)| (scaled(after, setting.tempo), beat)).collect(),
            texts,
            at: setting.start,
            cast,
            setting,
        }
    }

    /// The call that it is about (in a flow of texts: the first one).
    pub(in crate::simulator) fn call_id(&self) -> i64 {
        self.cast.call_id
    }

    /// How long after the last moment the next one happens; none when it is over.
    pub(in crate::simulator) fn wait(&self) -> Option<Duration> {
        let beat = self.score.front().map(|(after, _)| *after);
        beat.or_else(|| self.texts.front().map(|text| text.after))
    }

    /// Somebody hangs up now: the leg ends with the next moment, and only what it has left behind follows. Says whether
    /// there was anything to end.
    pub(in crate::simulator) fn hang_up(&mut self, now: DateTime<Utc>) -> bool {
        if self.leg.ended.is_some() || self.score.is_empty() {
            return false;
        }
        // A flow that is hurried or slow has a time of its own, which must not jump.
        let latest = self.score.front().map_or(Duration::ZERO, |(after, _)| *after);
        let waited = (now - self.at).to_std().unwrap_or_default().min(latest);
        let leg = &self.leg;
        self.score.retain(|(_, beat)| match beat {
            Beat::RecordingReady => leg.connected.is_some(),
            Beat::VoicemailReady | Beat::Transcribed => leg.voicemail_began.is_some(),
            _ => false,
        });
        self.score.push_front((waited, Beat::HangUp));
        true
    }
}

impl Iterator for Performance {
    type Item = Moment;

    fn next(&mut self) -> Option<Moment> {
        let Some((after, beat)) = self.score.pop_front() else {
            return self.texts.pop_front().map(|Step { after, payload, tells }| Moment {
                after,
                call: None,
                webhook: Some(Webhook { payload, tells }),
            });
        };
        self.at += after;
        self.leg.apply(beat, self.at);
        let scene = Scene { cast: &self.cast, leg: &self.leg, beat, at: self.at, setting: &self.setting };
        let told = match self.family {
            Family::Dialpad => Some(dialpad::tell(&scene)),
            Family::Workflow => workflow::tell(&scene),
        };
        Some(Moment {
            after,
            call: Some(dialpad::record(&scene)),
            webhook: told.map(|(payload, tells)| Webhook { payload, tells }),
        })
    }
}

/// Beats of a faster life still come one after the other: their order is told by milliseconds.
fn scaled(after: Duration, tempo: f64) -> Duration {
    if after.is_zero() { after } else { after.mul_f64(tempo).max(Duration::from_millis(1)) }
}
