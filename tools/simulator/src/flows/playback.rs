//! A flow while it is played: one played after the other, and it can be cut short in the middle.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::leg::Leg;
use super::participants::{LegSpec, Participants};
use super::timeline::{self, Step, TimedStep};
use super::{Family, Flow, FlowOptions, ScheduledWebhook, dialpad, message, workflow};

/// One played of a flow: the platform knows it first, and then perhaps expected_event it.
pub(crate) struct PlayedStep {
    /// How long after the played before it happens.
    pub(crate) after: Duration,
    /// The leg it happened on, as the REST API must show it from now on; none for texts.
    pub(crate) call: Option<Value>,
    /// The webhook, unless the family has no word for this played.
    pub(crate) webhook: Option<Webhook>,
}

/// A body before it is signed, and the CRM event that it must cause.
pub(crate) struct Webhook {
    pub(crate) payload: Value,
    pub(crate) expected_event: Option<&'static str>,
}

/// All that a payload is made of.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) participants: &'a Participants,
    pub(crate) spec: &'a LegSpec,
    pub(crate) leg: &'a Leg,
    pub(crate) step: Step,
    pub(crate) at: DateTime<Utc>,
    pub(crate) options: &'a FlowOptions,
}

/// What is still to come of a flow.
pub(crate) struct Playback {
    family: Family,
    options: FlowOptions,
    participants: Participants,
    /// One for each spec.
    legs: Vec<Leg>,
    /// The notes ahead.
    score: VecDeque<TimedStep>,
    /// The texts ahead, in a flow of texts.
    texts: VecDeque<ScheduledWebhook>,
    /// When the newest step happened.
    at: DateTime<Utc>,
}

impl Playback {
    pub(crate) fn new(flow: Flow, family: Family, seed: u64, options: FlowOptions) -> Self {
        let participants = Participants::pick(flow, seed, &options);
        let texts = match flow {
            Flow::Message => message::webhooks(&participants, family, seed, &options).into(),
            _ => VecDeque::new(),
        };
        let score = timeline::steps(flow, seed).into_iter();
        Self {
            family,
            legs: participants.legs.iter().map(|_| Leg::default()).collect(),
            score: score
                .map(|timed| TimedStep { after: scaled(timed.after, options.time_scale), ..timed })
                .collect(),
            texts,
            at: options.start,
            participants,
            options,
        }
    }

    /// The call that it is about: its first leg, or its first text.
    pub(crate) fn call_id(&self) -> i64 {
        self.participants.legs[0].call_id
    }

    /// How long after the last played the next one happens; none when it is over.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let timed = self.score.front().map(|timed| timed.after);
        timed.or_else(|| self.texts.front().map(|text| text.after))
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
        self.score.retain(|timed| match timed.step {
            Step::RecordingReady => legs[timed.leg].answered,
            Step::VoicemailReady | Step::Transcribed => legs[timed.leg].voicemail_began.is_some(),
            _ => false,
        });
        let ends = live.into_iter().map(|leg| TimedStep {
            after: std::mem::take(&mut waited),
            leg,
            step: Step::HangUp,
        });
        self.score = ends.chain(std::mem::take(&mut self.score)).collect();
        true
    }
}

impl Iterator for Playback {
    type Item = PlayedStep;

    fn next(&mut self) -> Option<PlayedStep> {
        let Some(TimedStep { after, leg, step }) = self.score.pop_front() else {
            return self.texts.pop_front().map(|ScheduledWebhook { after, payload, expected_event }| {
                PlayedStep { after, call: None, webhook: Some(Webhook { payload, expected_event }) }
            });
        };
        self.at += after;
        self.legs[leg].apply(step, self.at);
        let frame = Frame {
            participants: &self.participants,
            spec: &self.participants.legs[leg],
            leg: &self.legs[leg],
            step,
            at: self.at,
            options: &self.options,
        };
        let told = match self.family {
            Family::Dialpad => Some(dialpad::webhook(&frame)),
            Family::Workflow => workflow::webhook(&frame),
        };
        Some(PlayedStep {
            after,
            call: Some(dialpad::rest_snapshot(&frame)),
            webhook: told.map(|(payload, expected_event)| Webhook { payload, expected_event }),
        })
    }
}

/// Beats of a faster life still come one after the other: their order is told by milliseconds.
fn scaled(after: Duration, time_scale: f64) -> Duration {
    if after.is_zero() { after } else { after.mul_f64(time_scale).max(Duration::from_millis(1)) }
}
