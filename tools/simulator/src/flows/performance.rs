//! A flow while it is played: one moment after the other, and it can be cut short in the middle.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::cast::{Cast, Part};
use super::leg::Leg;
use super::plot::{self, Beat, Note};
use super::{Family, Flow, Setting, Step, dialpad, message, workflow};

/// One moment of a flow: the platform knows it first, and then perhaps tells it.
pub(crate) struct Moment {
    /// How long after the moment before it happens.
    pub(crate) after: Duration,
    /// The leg it happened on, as the REST API must show it from now on; none for texts.
    pub(crate) call: Option<Value>,
    /// The webhook, unless the family has no word for this moment.
    pub(crate) webhook: Option<Webhook>,
}

/// A body before it is signed, and the CRM event that it must cause.
pub(crate) struct Webhook {
    pub(crate) payload: Value,
    pub(crate) tells: Option<&'static str>,
}

/// All that a payload is made of.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) cast: &'a Cast,
    pub(crate) part: &'a Part,
    pub(crate) leg: &'a Leg,
    pub(crate) beat: Beat,
    pub(crate) at: DateTime<Utc>,
    pub(crate) setting: &'a Setting,
}

/// What is still to come of a flow.
pub(crate) struct Performance {
    family: Family,
    setting: Setting,
    cast: Cast,
    /// One for each part.
    legs: Vec<Leg>,
    /// The notes ahead.
    score: VecDeque<Note>,
    /// The texts ahead, in a flow of texts.
    texts: VecDeque<Step>,
    /// When the newest beat happened.
    at: DateTime<Utc>,
}

impl Performance {
    pub(crate) fn new(flow: Flow, family: Family, seed: u64, setting: Setting) -> Self {
        let cast = Cast::pick(flow, seed, &setting);
        let texts = match flow {
            Flow::Message => message::script(&cast, family, seed, &setting).into(),
            _ => VecDeque::new(),
        };
        let score = plot::score(flow, seed).into_iter();
        Self {
            family,
            legs: cast.parts.iter().map(|_| Leg::default()).collect(),
            score: score.map(|note| Note { after: scaled(note.after, setting.tempo), ..note }).collect(),
            texts,
            at: setting.start,
            cast,
            setting,
        }
    }

    /// The call that it is about: its first leg, or its first text.
    pub(crate) fn call_id(&self) -> i64 {
        self.cast.parts[0].call_id
    }

    /// How long after the last moment the next one happens; none when it is over.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let note = self.score.front().map(|note| note.after);
        note.or_else(|| self.texts.front().map(|text| text.after))
    }

    /// Somebody hangs up now: every leg that lives ends with the next moments, those that have not begun never will, and
    /// only what was left behind follows. Says whether there was anything to end.
    pub(crate) fn hang_up(&mut self, now: DateTime<Utc>) -> bool {
        let live: Vec<usize> = (0..self.legs.len()).filter(|leg| self.legs[*leg].is_live()).collect();
        let Some(next) = self.score.front().filter(|_| !live.is_empty()) else {
            return false;
        };
        // A flow that is hurried or slow has a time of its own, which must not jump.
        let mut waited = (now - self.at).to_std().unwrap_or_default().min(next.after);
        let legs = &self.legs;
        self.score.retain(|note| match note.beat {
            Beat::RecordingReady => legs[note.leg].answered,
            Beat::VoicemailReady | Beat::Transcribed => legs[note.leg].voicemail_began.is_some(),
            _ => false,
        });
        let ends =
            live.into_iter().map(|leg| Note { after: std::mem::take(&mut waited), leg, beat: Beat::HangUp });
        self.score = ends.chain(std::mem::take(&mut self.score)).collect();
        true
    }
}

impl Iterator for Performance {
    type Item = Moment;

    fn next(&mut self) -> Option<Moment> {
        let Some(Note { after, leg, beat }) = self.score.pop_front() else {
            return self.texts.pop_front().map(|Step { after, payload, tells }| Moment {
                after,
                call: None,
                webhook: Some(Webhook { payload, tells }),
            });
        };
        self.at += after;
        self.legs[leg].apply(beat, self.at);
        let scene = Scene {
            cast: &self.cast,
            part: &self.cast.parts[leg],
            leg: &self.legs[leg],
            beat,
            at: self.at,
            setting: &self.setting,
        };
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
