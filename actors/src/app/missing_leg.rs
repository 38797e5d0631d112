//! Legs that other legs name and that no webhook was ever about. Dialpad does not always send the leg of the operator
//! who took a call, and only that leg says who answered: the server asks Dialpad for it.

use tokio::sync::mpsc;

use crate::id::{AppId, DialpadCallId};

/// How many missing legs wait to be asked for.
const MAX_MISSING_LEGS: usize = 1024;

/// An operator's leg that a group's leg names and that was never received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MissingLeg {
    /// The app whose call it is.
    pub app_id: AppId,
    /// The operator's leg.
    pub call: DialpadCallId,
}

/// Reports missing legs to whoever holds the receiver.
#[derive(Clone)]
pub(crate) struct MissingLegReporter(mpsc::Sender<MissingLeg>);

impl MissingLegReporter {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<MissingLeg>) {
        let (sender, receiver) = mpsc::channel(MAX_MISSING_LEGS);
        (Self(sender), receiver)
    }

    /// Reports a leg. A report that nobody takes is dropped: the next webhook of the interaction repeats it.
    pub(crate) fn report(&self, leg: MissingLeg) {
        let _ = self.0.try_send(leg);
    }
}
