//! Where a session begins in the feed, and why it may not begin.

use super::{
    protocol::{BadCursor, ControlMessage, gap, start_position},
    registry::Transport,
    subscription::Subscription,
    tenant::TenantHandle,
};
use crate::{
    consumer::JoinError,
    error::StoreError,
    feed::Position,
    id::Seq,
    ports::{Bounds, GapTimes},
};

/// Why a session is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The app has too many sessions.
    TooMany,
    /// The cursor can't be served.
    Cursor(BadCursor, Bounds, GapTimes),
    /// The session can't join its consumer.
    Consumer(JoinError),
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(failure: StoreError) -> Self {
        Self::Store(failure)
    }
}

impl From<JoinError> for Refusal {
    fn from(reason: JoinError) -> Self {
        match reason {
            JoinError::Store(failure) => Self::Store(failure),
            JoinError::TooMany => Self::Consumer(reason),
        }
    }
}

/// Returns after which event a session begins, and the gap to announce if that is not where it asked to begin. A consumer
/// whose cursor is of another epoch goes on after its cursor, which came back together with the feed: what it has not
/// acknowledged there is not lost.
pub(super) async fn find_start(
    tenant: &TenantHandle,
    subscription: &Subscription,
    transport: Transport,
    bounds: Bounds,
) -> Result<(Seq, Option<ControlMessage>), Refusal> {
    let stored = match &subscription.consumer {
        Some(consumer) => tenant.consumers.cursor(&consumer.name).await?,
        None => None,
    };
    let Bounds { epoch, oldest, head } = bounds;
    if let Some(stored) = stored.filter(|stored| stored.is_outdated(epoch, head)) {
        let start = stored.acked.min(head).max(Seq(oldest.0 - 1));
        let gap = gap(stored.acked, start, BadCursor::OtherEpoch, bounds, GapTimes::default());
        return Ok((start, Some(gap)));
    }
    let after = stored.map(|stored| stored.acked.into()).or(subscription.after);
    let (start, problem) = start_position(after, bounds);
    let (Some(Position { seq: after, .. }), Some(problem)) = (after, problem) else {
        return Ok((start, None));
    };
    let announces_gaps = match transport {
        Transport::WebSocket => true,
        // Errors in the request are statuses. That the epoch has changed is none.
        Transport::Stream => stored.is_some() || problem == BadCursor::OtherEpoch,
        Transport::Poll => stored.is_some(),
    };
    // Where a gap can't be announced, 0 means the oldest event that is kept.
    if !announces_gaps && after == Seq::START && problem == BadCursor::Expired {
        return Ok((start, None));
    }
    let times = match problem {
        BadCursor::Ahead | BadCursor::OtherEpoch => GapTimes::default(),
        BadCursor::Expired => tenant.log.gap_times(tenant.app_id, after.next()).await?,
    };
    if announces_gaps {
        return Ok((start, Some(gap(after, start, problem, bounds, times))));
    }
    Err(Refusal::Cursor(problem, bounds, times))
}
