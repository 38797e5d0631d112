//! When the server looks for what did not come by itself.

use std::time::Duration;

use super::settings::Settings;

/// When the server looks for what did not come by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryConfig {
    /// How long Dialpad's own retries are given.
    pub after: Duration,
    /// For how long no webhook of a busy app may come.
    pub webhook_silence: Duration,
    /// For how long nothing may be heard of a call that rings.
    pub calls_ringing_at_most: Duration,
    /// For how long nothing may be heard of a call that was answered.
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
