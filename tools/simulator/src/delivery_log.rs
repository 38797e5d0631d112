//! The delivery log: deliveries numbered in the order in which they ended, never changed afterwards.

use std::collections::VecDeque;

use serde::Serialize;

use super::flows::EventType;

/// The length of the log; the oldest deliveries are dropped.
const MAX_ENTRIES: usize = 500_000;

/// One webhook that was delivered to one receiver, or given up.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    /// Its number; the first delivery that ended is 1.
    pub n: u64,
    /// The run that sent it.
    pub run_id: String,
    /// The call that it was about.
    pub call_id: Option<i64>,
    /// The text message that it was about.
    pub message_id: Option<i64>,
    /// Dialpad's `state`, the workflow family's `event_type`, or the `message_status` of a text message.
    pub state_or_type: String,
    /// The CRM event that the server must have emitted by then; `None` if the webhook only adds facts.
    pub expected_event: Option<EventType>,
    /// The receiver's URL.
    pub url: String,
    /// When the first attempt started, in microseconds since 1970.
    pub sent_at: i64,
    /// When the receiver's 2xx arrived, in microseconds since 1970.
    pub acked_at: Option<i64>,
    /// How many attempts were made.
    pub attempts: u32,
    /// The HTTP status of the last attempt; `None` without an answer.
    pub status: Option<u16>,
    /// Why the last attempt had no answer.
    pub error: Option<String>,
}

/// The latest deliveries, ordered by number.
#[derive(Default)]
pub(crate) struct DeliveryLog {
    entries: VecDeque<Delivery>,
    last: u64,
}

impl DeliveryLog {
    /// Appends a delivery that ended, under the next number.
    pub(crate) fn append(&mut self, mut delivery: Delivery) {
        self.last += 1;
        delivery.n = self.last;
        if self.entries.len() == MAX_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(delivery);
    }

    /// Returns the deliveries after number `n`, of one run or of all.
    pub(crate) fn after(&self, n: u64, run_id: Option<&str>) -> Vec<Delivery> {
        let start = self.entries.partition_point(|delivery| delivery.n <= n);
        let wanted = |delivery: &&Delivery| run_id.is_none_or(|run_id| delivery.run_id == run_id);
        self.entries.range(start..).filter(wanted).cloned().collect()
    }
}
