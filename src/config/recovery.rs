//! When missed calls are recovered.

use std::time::Duration;

use super::settings::Settings;

/// When missed calls are recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryConfig {
    /// `REPAIR_AFTER`: how long Dialpad's own retries are given.
    pub after: Duration,
    /// `WEBHOOK_SILENCE`: how long an app may receive no webhooks.
    pub webhook_silence: Duration,
    /// `CALLS_RINGING_AT_MOST`: how long a ringing call may have no news.
    pub calls_ringing_at_most: Duration,
    /// `CALLS_LIVE_AT_MOST`: how long an answered call may have no news.
    pub calls_live_at_most: Duration,
}

impl RecoveryConfig {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let after = settings.duration("repair_after");
        let webhook_silence = settings.duration("webhook_silence");
        let calls_ringing_at_most = settings.duration("calls_ringing_at_most");
        let calls_live_at_most = settings.duration("calls_live_at_most");
        Some(Self {
            after: after?,
            webhook_silence: webhook_silence?,
            calls_ringing_at_most: calls_ringing_at_most?,
            calls_live_at_most: calls_live_at_most?,
        })
    }
}
