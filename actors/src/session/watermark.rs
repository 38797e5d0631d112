//! Watermarks: messages that tell a client that silence is health. One says that everything up to `seq` was sent to the
//! client, and that the database had no further event at `at`. None comes while the database can't be asked, or while the
//! client has not taken everything.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use tokio::time::Instant;

use super::protocol::ControlMessage;
use crate::{feed::Checked, id::Seq};

/// How often a session gets one.
const WATERMARK_INTERVAL: Duration = Duration::from_secs(5);
/// How soon it is tried again where there is none.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// A comparison with the database that is older says nothing about now.
const MAX_AGE: Duration = Duration::from_secs(4);

/// When a session gets its next watermark.
#[derive(Debug)]
pub(super) struct Watermarks {
    due: Instant,
    /// What the last one said.
    last: Option<DateTime<Utc>>,
}

impl Watermarks {
    /// Returns the watermarks of a session that begins now.
    pub(super) fn begin(now: Instant) -> Self {
        Self { due: now, last: None }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Returns the watermark of a session that has this cursor, if there is one; and when the next one is due.
    pub(super) fn next(
        &mut self,
        now: Instant,
        cursor: Seq,
        checked: Option<Checked>,
    ) -> Option<ControlMessage> {
        let current = checked.filter(|checked| {
            let is_fresh = now.saturating_duration_since(checked.checked_at) <= MAX_AGE;
            is_fresh && cursor >= checked.head && self.last.is_none_or(|last| last < checked.at)
        });
        self.due = now + if current.is_some() { WATERMARK_INTERVAL } else { RETRY_INTERVAL };
        let at = current?.at;
        self.last = Some(at);
        Some(ControlMessage::Watermark { seq: cursor, at: at.trunc_subsecs(3) })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn checked(now: Instant, second: i64, head: i64) -> Option<Checked> {
        let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
        Some(Checked { at, head: Seq(head), checked_at: now })
    }

    #[tokio::test(start_paused = true)]
    async fn a_watermark_comes_every_five_seconds_and_only_with_news_of_the_database() {
        let began = Instant::now();
        let mut watermarks = Watermarks::begin(began);
        assert!(watermarks.next(began, Seq(7), None).is_none(), "the database was not asked yet");
        assert_eq!(watermarks.due(), began + RETRY_INTERVAL);
        assert!(watermarks.next(began, Seq(7), checked(began, 1, 7)).is_some());
        assert_eq!(watermarks.due(), began + WATERMARK_INTERVAL);
        assert!(watermarks.next(began, Seq(7), checked(began, 1, 7)).is_none(), "that was said");
        let later = began + WATERMARK_INTERVAL;
        assert!(watermarks.next(later, Seq(7), checked(began, 2, 7)).is_none(), "that is too old");
        assert!(watermarks.next(later, Seq(7), checked(later, 2, 8)).is_none(), "the client lacks an event");
        let said = watermarks.next(later, Seq(8), checked(later, 2, 8)).expect("a watermark");
        assert!(matches!(said, ControlMessage::Watermark { seq: Seq(8), .. }), "{said:?}");
    }
}
