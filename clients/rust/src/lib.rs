//! Follows the events of an app on a cti-server, through broken connections and restarts on either side. What was
//! dealt with does not come again, and nothing is missing.
//!
//! ```no_run
//! use cti_client::{FileCursor, Heard, Subscription};
//!
//! # async fn follow(api_key: String) -> Result<(), Box<dyn std::error::Error>> {
//! let mut feed = Subscription::new("https://cti.example.com", api_key)?
//!     .types(["call.*", "voicemail.received"])
//!     .keep_cursor_in(FileCursor::new("crm.cursor"))
//!     .with_snapshot()
//!     .open()?;
//! while let Some(heard) = feed.next().await {
//!     match heard? {
//!         Heard::Snapshot(snapshot) => {
//!             // What is going on, where there was no cursor yet; what becomes of it follows.
//!             println!("{} calls", snapshot.calls.len());
//!             feed.done(snapshot.seq).await?;
//!         }
//!         Heard::Event(event) => {
//!             // What the CRM does about it. After a crash it may come once more, under the same `event_id`.
//!             println!("{} {}", event.seq, event.kind);
//!             feed.done(event.seq).await?;
//!         }
//!         Heard::Gap(gap) => {
//!             // These are no longer kept: read `GET /api/calls?since=…`, then go on.
//!             feed.done(gap.go_on_from()).await?;
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! * [`Subscription`] says what to follow, [`Feed`] is the stream of it;
//! * [`Event`] is what happened, typed; what this version does not know is there as it came;
//! * [`Subscription::with_snapshot`] begins with the calls that are not over;
//! * [`CursorStore`] is where the place in the feed is kept: in memory, in a file, or in your database;
//! * [`Subscription::as_consumer`] lets the server keep that place, and several processes share the work;
//! * [`Stopped`] is why a feed ended: only for reasons that coming back would not change.
//!
//! Within one [`Feed`] each event comes once. Over a restart of your process it goes on behind the last event of which
//! you said that it is [done](Feed::done): say so after your own commit, and nothing is lost.

mod address;
mod backoff;
mod book;
mod cursor;
mod error;
mod event;
mod feed;
mod ledger;
mod message;
mod session;
mod share;
mod snapshot;
mod subscription;
mod tls;
mod word;
mod worker;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;

pub use self::{
    backoff::Pace,
    cursor::{CursorStore, FileCursor, MemoryCursor},
    error::{InvalidSubscription, InvalidUrl, Stopped},
    event::{
        Body, Call, CallEnded, CallHeld, CallRaw, CallResumed, CallRing, CallStarted, CallUpdated,
        Connection, DialpadId, Event, TextMessage, Voicemail,
    },
    feed::{Feed, Heard, Notice},
    message::Gap,
    snapshot::{ActiveCall, Snapshot},
    subscription::Subscription,
    word::{Direction, Leg, Outcome, Status},
};
