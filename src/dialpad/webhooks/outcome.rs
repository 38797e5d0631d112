//! The results of checks, as metrics.

use metrics::{counter, describe_counter};
use strum::{IntoStaticStr, VariantArray};

use super::apply::Report;
use crate::dialpad::client::DialpadError;

/// The result of a check; the `outcome` label.
#[derive(Clone, Copy, Debug, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Outcome {
    /// Everything was in order.
    Active,
    /// Something was missing or wrong, and was corrected.
    Repaired,
    /// Calls are not delivered.
    Degraded,
    /// The check could not be completed.
    Failed,
}

impl Outcome {
    pub(super) fn of(report: &Report, reconciled: &Result<(), DialpadError>) -> Self {
        match reconciled {
            Ok(()) if !report.calls_active => Self::Degraded,
            Ok(()) if report.repaired => Self::Repaired,
            Ok(()) => Self::Active,
            Err(_) => Self::Failed,
        }
    }

    pub(super) fn count(self) {
        self.checks().increment(1);
    }

    fn checks(self) -> metrics::Counter {
        let label: &'static str = self.into();
        counter!("cti_webhook_checks_total", "outcome" => label)
    }
}

/// Registers the metrics, every series with 0.
pub(crate) fn register_metrics() {
    describe_counter!("cti_webhook_checks_total", "Checks of an app's webhook at Dialpad");
    for outcome in Outcome::VARIANTS {
        outcome.checks().absolute(0);
    }
}
