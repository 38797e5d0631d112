//! What happens in a flow, and how long each thing takes: the same seed gives the same plot.
//!
//! A plot is a list of roles, one for each leg, and a score: which step happens when on which leg.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::Flow;

/// One thing that happens on a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Somebody's telephone rings: the user's, or the customer's on an outbound call.
    Ring,
    /// A group's line is picked up by a greeting.
    PickUp,
    /// The caller hears a menu: connected, and nobody has answered.
    Menu,
    /// The caller waits for an agent.
    Queue,
    /// The called side answers; on a group's leg: somebody answered for the group.
    Answer,
    /// The user puts the other side on hold.
    Hold,
    /// The user parks the customer, for any colleague to take.
    Park,
    /// The other side is taken off hold, or out of the park.
    Resume,
    /// The leg becomes spec of another call.
    Merge,
    /// Nobody answered in time.
    Miss,
    /// The customer hears the greeting and speaks.
    LeaveVoicemail,
    /// The leg is over.
    HangUp,
    /// The leg is over, and the customer was sent on to another one.
    TransferAway,
    /// The voicemail can be listened to.
    VoicemailReady,
    /// The voicemail can be read.
    Transcribed,
    /// The recording of the call can be listened to.
    RecordingReady,
}

impl Step {
    /// Whether it is about what a leg left behind: such steps come when the leg is over and change nothing of its state.
    pub(crate) fn is_after_end(self) -> bool {
        matches!(self, Self::VoicemailReady | Self::Transcribed | Self::RecordingReady)
    }
}

/// Whose leg it is, and what for. In most flows there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A customer who calls the lead.
    Called,
    /// The lead who calls a customer.
    Calling,
    /// A customer who calls the main line.
    MainLine,
    /// The call centre that the main line sends the customer to.
    Centre,
    /// The colleague, rung for the call centre in vain.
    Agent,
    /// The lead, rung for the call centre, who takes the call.
    Operator,
    /// The lead who asks the colleague first, before sending a customer there.
    Consultation,
    /// The colleague, to whom the lead sent the customer.
    Successor,
    /// The lead who calls another customer, to bring both together.
    Conference,
}

/// One step of the score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedStep {
    /// How long after the timed before.
    pub(crate) after: Duration,
    /// On which leg, counted as in the list of roles.
    pub(crate) leg: usize,
    pub(crate) step: Step,
}

/// The legs of a flow, by whose they are. The first one is what the flow is about.
pub(crate) fn roles(flow: Flow) -> Vec<Role> {
    use Role::{Agent, Called, Calling, Centre, Conference, Consultation, MainLine, Operator, Successor};
    match flow {
        Flow::Answered | Flow::Missed | Flow::Voicemail | Flow::Hold | Flow::Park | Flow::Message => {
            vec![Called]
        }
        Flow::Outbound => vec![Calling],
        Flow::Queue => vec![MainLine, Centre, Agent, Operator],
        Flow::Transfer => vec![Called, Successor],
        Flow::WarmTransfer => vec![Called, Consultation, Successor],
        Flow::Merge => vec![Called, Conference],
    }
}

/// The score of a flow of calls. Flows of texts have none.
///
/// Beats that change the state of a leg are at least a second apart where people act, because one payload family
/// counts in whole seconds.
pub(crate) fn steps(flow: Flow, seed: u64) -> Vec<TimedStep> {
    use Step::{
        Answer, HangUp, Hold, LeaveVoicemail, Menu, Merge, Miss, Park, PickUp, Queue, RecordingReady, Resume,
        Ring, Transcribed, TransferAway, VoicemailReady,
    };
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ TIMELINE_SALT);
    // Milliseconds from and to, the leg, the step.
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
            // The colleague is on the telephone already: nothing rings any more.
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
    let timed = |&(low, high, leg, step): &(u64, u64, usize, Step)| {
        // The first step is no matter of chance, and takes none away from the others.
        let after = if high == 0 { 0 } else { rng.random_range(low..=high) };
        TimedStep { after: Duration::from_millis(after), leg, step }
    };
    steps.iter().map(timed).collect()
}

/// Keeps the plot's chance apart from the participants's, so that neither moves when the other draws once more.
const TIMELINE_SALT: u64 = 0x706c_6f74;
