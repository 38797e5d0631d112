//! Follows the events of an app on a cti-server, across broken connections and restarts of both sides. No event is
//! missed, and no processed event is delivered again.
//!
//! ```no_run
//! use cti_client::{FileCursor, Item, Subscription};
//!
//! # async fn follow(api_key: String) -> Result<(), Box<dyn std::error::Error>> {
//! let mut feed = Subscription::new("https://cti.example.com", api_key)?
//!     .types(["call.*", "voicemail.item"])
//!     .cursor_store(FileCursor::new("crm.cursor"))
//!     .with_snapshot()
//!     .open()?;
//! while let Some(item) = feed.next().await {
//!     match item? {
//!         Item::Snapshot(snapshot) => {
//!             // The active calls, if there was no cursor yet. Their events follow.
//!             println!("{} calls", snapshot.calls.len());
//!             feed.ack(snapshot.seq).await?;
//!         }
//!         Item::Event(event) => {
//!             // Process the event. After a crash it may be delivered again, with the same `event_id`.
//!             println!("{} {}", event.seq, event.kind);
//!             feed.ack(event.seq).await?;
//!         }
//!         Item::Gap(gap) => {
//!             // These events are no longer stored: read `GET /api/calls?since=…`, then continue.
//!             feed.ack(gap.resume_after()).await?;
//!         }
//!         Item::EpochChanged(gap) => {
//!             // The server's database was restored: read everything again, then continue.
//!             feed.ack(gap.resume_after()).await?;
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! * [`Subscription`]: what to follow. [`Feed`]: the stream of items.
//! * [`Event`]: a typed event. Unknown types are available as item.
//! * [`Subscription::with_snapshot`]: starts with the active calls.
//! * [`CursorStore`]: where the cursor is stored: in memory, in a file, or in your database.
//! * [`Subscription::consumer`]: the server stores the cursor, and several processes can share the work.
//! * [`FeedError`]: why a feed ended: only for reasons that a retry would not change.
//!
//! Within one [`Feed`] each event is delivered once. A new process resumes after the last event that was
//! [acknowledged](Feed::ack): acknowledge after your own commit, and nothing is lost.

mod address;
mod backoff;
mod call;
mod cursor;
mod enums;
mod error;
mod event;
mod feed;
mod interaction;
mod ledger;
mod message;
mod session;
mod shared_ledger;
mod snapshot;
mod subscription;
mod tls;
mod tracker;
mod worker;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;

pub use self::{
    backoff::Backoff,
    call::{
        Call, CallEnded, CallHeld, CallRaw, CallResumed, CallRing, CallStarted, CallUpdated, Recording,
        Voicemail,
    },
    cursor::{Cursor, CursorStore, FileCursor, InvalidCursor, MemoryCursor},
    enums::{Direction, Leg, Outcome, Status},
    error::{FeedError, InvalidSubscription, InvalidUrl},
    event::{Body, Connection, DialpadId, Event, TextMessage},
    feed::{Feed, Item, Notice},
    interaction::{Interaction, InteractionRecording, InteractionVoicemail},
    message::Gap,
    snapshot::{ActiveCall, Snapshot},
    subscription::Subscription,
};
