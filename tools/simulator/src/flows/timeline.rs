//! The timelines of the flows: which step happens when, and on which leg. The same seed gives the same timeline.
//!
//! A timeline is a list of roles, one per leg, and a list of timed steps.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::Flow;

/// Something that happens on a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It rings a person: the user, or on an outbound call the customer.
    Ring,
    /// A greeting picks up a group's line.
    PickUp,
    /// The caller hears a menu: connected, but not answered.
    Menu,
    /// The caller waits for an agent.
    Queue,
    /// The called side answers; on a group's leg, somebody answers for the group.
    Answer,
    /// The user puts the other side on hold.
    Hold,
    /// The user parks the customer, for any colleague to take.
    Park,
    /// The other side is taken off hold, or out of the park.
    Resume,
    /// The leg is merged into another call.
    Merge,
    /// Nobody answers in time.
    Miss,
    /// The platform rejects the caller.
    Block,
    /// The customer hears the greeting and leaves a message.
    LeaveVoicemail,
    /// The leg ends.
    HangUp,
    /// The leg ends because the customer is transferred.
    TransferAway,
    /// The audio of the voicemail is available.
    VoicemailReady,
    /// The transcript of the voicemail is available.
    Transcribed,
    /// The recording of the call is available.
    RecordingReady,
}

impl Step {
    /// Returns whether it comes after the end of the leg; such steps do not change its state.
    pub(crate) fn is_after_end(self) -> bool {
        matches!(self, Self::VoicemailReady | Self::Transcribed | Self::RecordingReady)
    }
}

/// The role of a leg: its owner and its purpose. Most flows have one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A customer who calls the lead.
    Called,
    /// The lead who calls a customer.
    Calling,
    /// A customer who calls the main line.
    MainLine,
    /// The call center to which the main line routes the customer.
    Centre,
    /// The colleague, rung for the call center, who does not answer.
    Agent,
    /// The lead, rung for the call center, who answers.
    Operator,
    /// The lead who consults the colleague before the transfer.
    Consultation,
    /// The colleague who gets the transferred customer.
    Successor,
    /// The lead who calls another customer, to merge both calls.
    Conference,
}

/// One step of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedStep {
    /// The delay after the previous step.
    pub(crate) after: Duration,
    /// The index of its leg in the list of roles.
    pub(crate) leg: usize,
    pub(crate) step: Step,
}

/// Returns the roles of a flow's legs; the first one is the main leg.
pub(crate) fn roles(flow: Flow) -> Vec<Role> {
    use Role::{Agent, Called, Calling, Centre, Conference, Consultation, MainLine, Operator, Successor};
    match flow {
        Flow::Answered
        | Flow::Missed
        | Flow::Voicemail
        | Flow::Hold
        | Flow::Park
        | Flow::Blocked
        | Flow::Message => vec![Called],
        Flow::Outbound | Flow::Unanswered => vec![Calling],
        Flow::Queue => vec![MainLine, Centre, Agent, Operator],
        Flow::Abandoned | Flow::QueueVoicemail => vec![MainLine, Centre, Agent],
        Flow::Transfer => vec![Called, Successor],
        Flow::WarmTransfer => vec![Called, Consultation, Successor],
        Flow::Merge => vec![Called, Conference],
    }
}

/// Returns the steps of a flow; a flow of text messages has none.
///
/// Steps of people that change the state of a leg are at least a second apart, because the workflow family counts in
/// whole seconds.
pub(crate) fn steps(flow: Flow, seed: u64) -> Vec<TimedStep> {
    use Step::{
        Answer, Block, HangUp, Hold, LeaveVoicemail, Menu, Merge, Miss, Park, PickUp, Queue, RecordingReady,
        Resume, Ring, Transcribed, TransferAway, VoicemailReady,
    };
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ TIMELINE_SALT);
    // Minimum and maximum delay in milliseconds, leg, step.
    let steps: &[(u64, u64, usize, Step)] = match flow {
        Flow::Answered => &[
            (0, 0, 0, Ring),
            (2_000, 9_000, 0, Answer),
            (25_000, 240_000, 0, HangUp),
            (4_000, 20_000, 0, RecordingReady),
        ],
        Flow::Missed => &[(0, 0, 0, Ring), (18_000, 30_000, 0, Miss), (100, 500, 0, HangUp)],
        Flow::Voicemail => &[
            (0, 0, 0, Ring),
            (15_000, 25_000, 0, Miss),
            (200, 800, 0, LeaveVoicemail),
            (8_000, 45_000, 0, HangUp),
            (2_000, 6_000, 0, VoicemailReady),
            (4_000, 15_000, 0, Transcribed),
        ],
        Flow::Hold => &[
            (0, 0, 0, Ring),
            (2_000, 9_000, 0, Answer),
            (10_000, 60_000, 0, Hold),
            (5_000, 40_000, 0, Resume),
            (10_000, 90_000, 0, HangUp),
            (4_000, 20_000, 0, RecordingReady),
        ],
        Flow::Park => &[
            (0, 0, 0, Ring),
            (2_000, 9_000, 0, Answer),
            (10_000, 40_000, 0, Park),
            (8_000, 60_000, 0, Resume),
            (10_000, 90_000, 0, HangUp),
        ],
        Flow::Outbound => &[(0, 0, 0, Ring), (4_000, 15_000, 0, Answer), (20_000, 200_000, 0, HangUp)],
        Flow::Queue => &[
            (0, 0, 0, PickUp),
            (1_000, 3_000, 0, Menu),
            (3_000, 12_000, 1, PickUp),
            (1_000, 4_000, 1, Queue),
            (2_000, 20_000, 2, Ring),
            (10, 80, 3, Ring),
            (3_000, 12_000, 3, Answer),
            (20, 80, 1, Answer),
            (5, 20, 0, Answer),
            (100, 400, 2, Miss),
            (20, 90, 2, HangUp),
            (30_000, 200_000, 3, HangUp),
            (50, 300, 1, HangUp),
            (5, 60, 0, TransferAway),
            (4_000, 20_000, 3, RecordingReady),
        ],
        Flow::Abandoned => &[
            (0, 0, 0, PickUp),
            (1_000, 3_000, 0, Menu),
            (3_000, 12_000, 1, PickUp),
            (1_000, 4_000, 1, Queue),
            (2_000, 20_000, 2, Ring),
            // The caller gives up while the agent's phone rings.
            (5_000, 25_000, 1, HangUp),
            (20, 90, 2, Miss),
            (20, 90, 2, HangUp),
            (5, 60, 0, TransferAway),
        ],
        Flow::QueueVoicemail => &[
            (0, 0, 0, PickUp),
            (1_000, 3_000, 0, Menu),
            (3_000, 12_000, 1, PickUp),
            (1_000, 4_000, 1, Queue),
            (2_000, 20_000, 2, Ring),
            (15_000, 25_000, 2, Miss),
            (20, 90, 2, HangUp),
            (200, 800, 1, LeaveVoicemail),
            (8_000, 45_000, 1, HangUp),
            (5, 60, 0, TransferAway),
            (2_000, 6_000, 1, VoicemailReady),
            (4_000, 15_000, 1, Transcribed),
        ],
        Flow::Blocked => &[(0, 0, 0, Block), (100, 500, 0, HangUp)],
        Flow::Unanswered => &[(0, 0, 0, Ring), (15_000, 40_000, 0, HangUp)],
        Flow::Transfer => &[
            (0, 0, 0, Ring),
            (2_000, 9_000, 0, Answer),
            (15_000, 90_000, 0, TransferAway),
            (100, 600, 1, Ring),
            (2_000, 9_000, 1, Answer),
            (20_000, 150_000, 1, HangUp),
            (4_000, 20_000, 1, RecordingReady),
        ],
        Flow::WarmTransfer => &[
            (0, 0, 0, Ring),
            (2_000, 9_000, 0, Answer),
            (10_000, 40_000, 0, Hold),
            (1_000, 4_000, 1, Ring),
            (2_000, 8_000, 1, Answer),
            (5_000, 30_000, 1, HangUp),
            // The colleague is already on the line: nothing rings.
            (50, 200, 2, Answer),
            (20, 100, 0, TransferAway),
            (20_000, 150_000, 2, HangUp),
        ],
        Flow::Merge => &[
            (0, 0, 0, Ring),
            (2_000, 9_000, 0, Answer),
            (10_000, 40_000, 0, Hold),
            (1_000, 4_000, 1, Ring),
            (3_000, 12_000, 1, Answer),
            (3_000, 15_000, 1, Merge),
            (20, 100, 0, Resume),
            (20_000, 120_000, 1, HangUp),
            (1_000, 5_000, 0, HangUp),
        ],
        Flow::Message => &[],
    };
    let timed_step = |&(low, high, leg, step): &(u64, u64, usize, Step)| {
        // The first step has no delay and takes no random number from the others.
        let after = if high == 0 { 0 } else { rng.random_range(low..=high) };
        TimedStep { after: Duration::from_millis(after), leg, step }
    };
    steps.iter().map(timed_step).collect()
}

/// Separates the random numbers of the timeline from those of the participants, so that one more draw in one does not
/// change the other.
const TIMELINE_SALT: u64 = 0x706c_6f74;
