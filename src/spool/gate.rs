//! Where webhooks go: to the database, or to the spool.
//!
//! ```text
//!  Direct ──(a webhook failed)──► Away ──(the database writes)──► Draining ──(little is left)──► Closing ──► Direct
//!                                  ▲                                  │                             │
//!                                  └──────────(a write failed)────────┴─────────────────────────────┘
//! ```
//!
//! In `Draining`, new webhooks go to the spool too, behind the older ones. With a steady stream of them it would never
//! be empty. So in `Closing` they wait until the short rest is stored.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use strum::IntoStaticStr;
use tokio::{sync::watch, time::timeout};
use tracing::{info, warn};

/// Where webhooks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
pub(crate) enum Mode {
    /// To the database. The spool is empty.
    Direct,
    /// To the spool: the database can't take them.
    Away,
    /// To the spool, which is being written to the database.
    Draining,
    /// They wait for the end of that.
    Closing,
}

/// The mode that all requests share.
pub(super) struct Gate {
    /// A copy for requests, which must not wait for a lock.
    is_direct: AtomicU8,
    state: watch::Sender<State>,
}

#[derive(Clone, Debug)]
struct State {
    mode: Mode,
    /// Why the database can't take webhooks; of `Draining` and `Closing`, why it could not.
    reason: String,
}

impl Gate {
    pub(super) fn new(mode: Mode) -> Self {
        let state = State { mode, reason: "webhooks of an earlier run are in the spool".to_owned() };
        Self { is_direct: AtomicU8::new((mode == Mode::Direct).into()), state: watch::Sender::new(state) }
    }

    /// Whether webhooks go to the database. One atomic load.
    pub(super) fn is_direct(&self) -> bool {
        self.is_direct.load(Ordering::Acquire) == 1
    }

    pub(super) fn mode(&self) -> Mode {
        self.state.borrow().mode
    }

    pub(super) fn reason(&self) -> String {
        self.state.borrow().reason.clone()
    }

    /// Records that the database could not take a webhook. While the spool is drained, the drain itself decides.
    pub(super) fn failed(&self, reason: &str) {
        self.change(&[Mode::Direct, Mode::Closing], Mode::Away, Some(reason));
    }

    /// Records that the database is away, whatever was known before.
    pub(super) fn away(&self, reason: &str) {
        self.change(&[Mode::Direct, Mode::Draining, Mode::Closing, Mode::Away], Mode::Away, Some(reason));
    }

    /// Records that the database writes again.
    pub(super) fn drain(&self) {
        self.change(&[Mode::Away], Mode::Draining, None);
    }

    /// Records that a webhook is in the spool: no other may overtake it.
    pub(super) fn spooled(&self) {
        self.change(&[Mode::Direct], Mode::Draining, None);
    }

    /// Records that little is left in the spool.
    pub(super) fn close(&self) {
        self.change(&[Mode::Draining], Mode::Closing, None);
    }

    /// Records that the spool is empty.
    pub(super) fn emptied(&self) {
        self.change(&[Mode::Draining, Mode::Closing], Mode::Direct, None);
    }

    fn change(&self, from: &[Mode], to: Mode, reason: Option<&str>) {
        let mut before = to;
        self.state.send_if_modified(|state| {
            if !from.contains(&state.mode) {
                return false;
            }
            before = state.mode;
            state.mode = to;
            if let Some(reason) = reason {
                reason.clone_into(&mut state.reason);
            }
            self.is_direct.store((to == Mode::Direct).into(), Ordering::Release);
            before != to
        });
        match (before, to) {
            (Mode::Away, Mode::Away) => {}
            (Mode::Direct | Mode::Closing | Mode::Draining, Mode::Away) => {
                warn!(reason = reason.unwrap_or_default(), "the database can't take webhooks");
            }
            (Mode::Away, Mode::Draining) => info!("the database can be written again"),
            (Mode::Closing, Mode::Direct) => info!("webhooks go to the database again"),
            _ => {}
        }
    }

    /// Waits until webhooks do not go to the database.
    pub(super) async fn left_direct(&self) {
        let mut states = self.state.subscribe();
        // The sender is part of this gate.
        let _ = states.wait_for(|state| state.mode != Mode::Direct).await;
    }

    /// Waits while the mode is `Closing`. Returns whether webhooks go to the database then.
    pub(super) async fn wait_while_closing(&self, limit: Duration) -> bool {
        let mut states = self.state.subscribe();
        let changed = timeout(limit, states.wait_for(|state| state.mode != Mode::Closing)).await;
        matches!(changed, Ok(Ok(state)) if state.mode == Mode::Direct)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhooks_go_to_the_database_again_only_after_the_spool_is_empty() {
        let gate = Gate::new(Mode::Direct);
        gate.failed("connection refused");
        assert_eq!((gate.mode(), gate.is_direct()), (Mode::Away, false));
        assert_eq!(gate.reason(), "connection refused");
        gate.emptied();
        assert_eq!(gate.mode(), Mode::Away, "an empty spool does not bring the database back");
        gate.drain();
        gate.failed("an old request");
        assert_eq!(gate.mode(), Mode::Draining, "a request that began before says nothing new");
        gate.close();
        gate.emptied();
        assert_eq!((gate.mode(), gate.is_direct()), (Mode::Direct, true));
        gate.spooled();
        assert_eq!(gate.mode(), Mode::Draining, "a webhook that came late to the spool is not overtaken");
    }

    #[tokio::test(start_paused = true)]
    async fn a_webhook_waits_for_the_end_of_the_drain_and_not_for_longer_than_it_may() {
        let gate = Gate::new(Mode::Draining);
        gate.close();
        let limit = Duration::from_millis(200);
        assert!(!gate.wait_while_closing(limit).await);
        let (waited, ()) = tokio::join!(gate.wait_while_closing(limit), async { gate.emptied() });
        assert!(waited);
        gate.failed("away");
        assert!(!gate.wait_while_closing(limit).await);
    }
}
