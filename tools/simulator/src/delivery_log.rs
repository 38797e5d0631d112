//! The book of deliveries: numbered in the order in which they ended, never changed afterwards.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// How many deliveries are remembered; a simulator that runs for weeks forgets the oldest.
const MAX_ENTRIES: usize = 500_000;

/// One webhook that was delivered to one receiver, or given up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Delivery {
    /// Its number: 1 for the first that ended.
    pub n: u64,
    /// The run whose flow caused it.
    pub run_id: String,
    /// The call it was about.
    pub call_id: Option<i64>,
    /// The text it was about.
    pub message_id: Option<i64>,
    /// Dialpad's `state`, the workflow family's `event_type`, or the `message_status` of a text.
    pub state_or_type: String,
    /// The CRM event about its call or text that must have been told by now; none when it only added knowledge.
    pub expected_event: Option<Cow<'static, str>>,
    /// Where it went.
    pub url: String,
    /// When the first attempt began, in microseconds since 1970.
    pub sent_at: i64,
    /// When the receiver's 2xx arrived, in microseconds since 1970.
    pub acked_at: Option<i64>,
    /// How often it was sent.
    pub attempts: u32,
    /// The HTTP status of the last attempt; none if nobody answered.
    pub status: Option<u16>,
    /// Why nobody answered the last attempt.
    pub error: Option<String>,
}

/// The latest deliveries, in the order of their numbers.
#[derive(Default)]
pub(crate) struct DeliveryLog {
    kept: VecDeque<Delivery>,
    last: u64,
}

impl DeliveryLog {
    /// Writes down a delivery that ended, under the next number.
    pub(crate) fn append(&mut self, mut delivery: Delivery) {
        self.last += 1;
        delivery.n = self.last;
        if self.kept.len() == MAX_ENTRIES {
            self.kept.pop_front();
        }
        self.kept.push_back(delivery);
    }

    /// The deliveries after number `n`, of one run or of all.
    pub(crate) fn after(&self, n: u64, run_id: Option<&str>) -> Vec<Delivery> {
        let begin = self.kept.partition_point(|delivery| delivery.n <= n);
        let wanted = |delivery: &&Delivery| run_id.is_none_or(|run_id| delivery.run_id == run_id);
        self.kept.range(begin..).filter(wanted).cloned().collect()
    }
}
