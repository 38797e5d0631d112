//! What happens on a call, and how long each thing takes: the same seed gives the same plot.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::Flow;

/// One thing that happens on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Somebody's telephone rings: the user's, or the customer's on an outbound call.
    Ring,
    /// The called side answers.
    Answer,
    /// The user puts the customer on hold.
    Hold,
    /// The user takes the customer off hold.
    Resume,
    /// Nobody answered in time.
    Miss,
    /// The customer hears the greeting and speaks.
    LeaveVoicemail,
    /// The leg is over.
    HangUp,
    /// The voicemail can be listened to.
    VoicemailReady,
    /// The voicemail can be read.
    Transcribed,
    /// The recording of the call can be listened to.
    RecordingReady,
}

impl Beat {
    /// Whether it is about what a leg left behind: such beats come when the leg is over and change nothing of its state.
    pub(super) fn is_afterwards(self) -> bool {
        matches!(self, Self::VoicemailReady | Self::Transcribed | Self::RecordingReady)
    }
}

/// The beats of a call flow, each with its distance from the one before. Message flows have none.
///
/// Beats that change the state of a call are at least a second apart where people act, because one payload family
/// counts in whole seconds.
pub(super) fn beats(flow: Flow, seed: u64) -> Vec<(Duration, Beat)> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ PLOT);
    let mut after =
        |low: u64, high: u64, beat: Beat| (Duration::from_millis(rng.random_range(low..=high)), beat);
    let ring = (Duration::ZERO, Beat::Ring);
    match flow {
        Flow::Answered => vec![
            ring,
            after(2_000, 9_000, Beat::Answer),
            after(25_000, 240_000, Beat::HangUp),
            after(4_000, 20_000, Beat::RecordingReady),
        ],
        Flow::Missed => vec![ring, after(18_000, 30_000, Beat::Miss), after(100, 500, Beat::HangUp)],
        Flow::Voicemail => vec![
            ring,
            after(15_000, 25_000, Beat::Miss),
            after(200, 800, Beat::LeaveVoicemail),
            after(8_000, 45_000, Beat::HangUp),
            after(2_000, 6_000, Beat::VoicemailReady),
            after(4_000, 15_000, Beat::Transcribed),
        ],
        Flow::Hold => vec![
            ring,
            after(2_000, 9_000, Beat::Answer),
            after(10_000, 60_000, Beat::Hold),
            after(5_000, 40_000, Beat::Resume),
            after(10_000, 90_000, Beat::HangUp),
            after(4_000, 20_000, Beat::RecordingReady),
        ],
        Flow::Outbound => {
            vec![ring, after(4_000, 15_000, Beat::Answer), after(20_000, 200_000, Beat::HangUp)]
        }
        Flow::Message => Vec::new(),
    }
}

/// Keeps the plot's chance apart from the cast's, so that neither moves when the other draws once more.
const PLOT: u64 = 0x706c_6f74;
