//! What a run did, step by step: how two runs of one seed are compared, and what is printed of a run that fails.

use std::{collections::VecDeque, fmt::Display};

use parking_lot::Mutex;

use crate::clock::VirtualClock;

/// How many steps are printed of a run that fails.
const MAX_SHOWN: usize = 60;

/// The steps of one run.
#[derive(Debug, Default)]
pub(crate) struct Trace(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    steps: u64,
    digest: u64,
    last: VecDeque<String>,
    keeps_all: bool,
}

impl Trace {
    pub(crate) fn new(keeps_all: bool) -> Self {
        Self(Mutex::new(State { keeps_all, ..State::default() }))
    }

    /// Records one step: an answer of the store, a request of the sender, a batch that a client took, a fault.
    pub(crate) fn step(&self, clock: &VirtualClock, what: impl Display) {
        let line = format!("{:>9} ms {what}", clock.millis());
        let mut state = self.0.lock();
        state.steps += 1;
        for byte in line.bytes() {
            state.digest = (state.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if !state.keeps_all && state.last.len() >= MAX_SHOWN {
            state.last.pop_front();
        }
        state.last.push_back(line);
    }

    pub(crate) fn steps(&self) -> u64 {
        self.0.lock().steps
    }

    /// Returns a number that differs between runs that differ in any step.
    pub(crate) fn digest(&self) -> u64 {
        self.0.lock().digest
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().last.iter().cloned().collect()
    }
}
