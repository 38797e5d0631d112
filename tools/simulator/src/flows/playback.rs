//! The playback of a flow: step by step, and it can be hung up in the middle.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::leg::Leg;
use super::participants::{LegSpec, Participants};
use super::timeline::{self, Step, TimedStep};
use super::{EventType, Family, Flow, FlowOptions, ScheduledWebhook, dialpad, message, workflow};

/// One step that was played: the REST API shows it first, then its webhook is sent.
pub(crate) struct PlayedStep {
    /// The delay after the previous step.
    pub(crate) after: Duration,
    /// The leg after the step, as the REST API must show it; `None` for text messages.
    pub(crate) call: Option<Value>,
    /// The webhook; `None` if the family has none for this step.
    pub(crate) webhook: Option<Webhook>,
}

/// A webhook body before it is signed, and the CRM event that it must cause.
pub(crate) struct Webhook {
    pub(crate) payload: Value,
    pub(crate) expected_event: Option<EventType>,
}

/// All that a payload is built from.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) participants: &'a Participants,
    pub(crate) spec: &'a LegSpec,
    pub(crate) leg: &'a Leg,
    pub(crate) step: Step,
    pub(crate) at: DateTime<Utc>,
    pub(crate) options: &'a FlowOptions,
}

/// The remaining steps of a flow.
pub(crate) struct Playback {
    family: Family,
    pub(super) options: FlowOptions,
    pub(super) participants: Participants,
    /// One per leg of the participants.
    pub(super) legs: Vec<Leg>,
    /// The remaining steps of the call.
    pub(super) upcoming: VecDeque<TimedStep>,
    /// The remaining text messages of a flow of texts.
    texts: VecDeque<ScheduledWebhook>,
    /// When the latest step happened.
    pub(super) at: DateTime<Utc>,
}

impl Playback {
    pub(crate) fn new(flow: Flow, family: Family, seed: u64, options: FlowOptions) -> Self {
        let participants = Participants::pick(flow, seed, &options);
        let texts = match flow {
            Flow::Message => message::webhooks(&participants, family, seed, &options).into(),
            _ => VecDeque::new(),
        };
        let steps = timeline::steps(flow, seed).into_iter();
        Self {
            family,
            legs: participants.legs.iter().map(|_| Leg::default()).collect(),
            upcoming: steps
                .map(|step| TimedStep { after: scaled(step.after, options.time_scale), ..step })
                .collect(),
            texts,
            at: options.start,
            participants,
            options,
        }
    }

    /// Returns the playback of text messages without a flow.
    pub(crate) fn of_texts(texts: VecDeque<ScheduledWebhook>, options: FlowOptions) -> Self {
        Self {
            family: Family::Dialpad,
            participants: Participants { legs: Vec::new(), transcript: String::new() },
            legs: Vec::new(),
            upcoming: VecDeque::new(),
            texts,
            at: options.start,
            options,
        }
    }

    /// Returns the id of the first leg or text.
    pub(crate) fn call_id(&self) -> i64 {
        self.participants.legs[0].call_id
    }

    /// Returns the delay before the next step; `None` at the end.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let step = self.upcoming.front().map(|step| step.after);
        step.or_else(|| self.texts.front().map(|text| text.after))
    }
}

impl Iterator for Playback {
    type Item = PlayedStep;

    fn next(&mut self) -> Option<PlayedStep> {
        let Some(TimedStep { after, leg, step }) = self.upcoming.pop_front() else {
            return self.texts.pop_front().map(
                |ScheduledWebhook { after, payload, expected_event, .. }| PlayedStep {
                    after,
                    call: None,
                    webhook: Some(Webhook { payload, expected_event }),
                },
            );
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
        let webhook = match self.family {
            Family::Dialpad => Some(dialpad::webhook(&frame)),
            Family::Workflow => workflow::webhook(&frame),
        };
        Some(PlayedStep {
            after,
            call: Some(dialpad::rest_snapshot(&frame)),
            webhook: webhook.map(|(payload, expected_event)| Webhook { payload, expected_event }),
        })
    }
}

/// Scales a delay. Steps stay at least a millisecond apart, because their order is read from millisecond timestamps.
pub(super) fn scaled(after: Duration, time_scale: f64) -> Duration {
    if after.is_zero() { after } else { after.mul_f64(time_scale).max(Duration::from_millis(1)) }
}
