//! Events that the engine does not emit: an event is written in the transaction of the change that it reports.
//!
//! ```text
//! let mut transaction = db.begin().await?;
//! …the change…
//! let frame = transaction.append_event(app, &event, now).await?;
//! transaction.commit().await?;
//! ```
//!
//! The caller then publishes the frame to the live sessions with `Engine::publish`. The change comes before the event:
//! everyone who writes events locks the feed's row last, so that two transactions never wait for each other.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use cti_actors::{
    event::{Frame, OutEvent},
    id::{AppId, Seq},
};
use sqlx::{PgConnection, SqliteConnection};

use crate::store::db::types::Id;

/// Locks the feed until the transaction ends, so that the order of commits is the order of `seq`.
const TAKE_SEQ: &str = "UPDATE event_feeds SET last_seq = last_seq + 1 WHERE app_id = $1 RETURNING last_seq";
const INSERT: &str = "INSERT INTO events
    (app_id, seq, id, type, dialpad_call_id, dialpad_user_id, occurred_at, published_at, body)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// A connection with an open transaction.
#[async_trait]
pub(crate) trait AppendEvent {
    /// Writes an event at the end of an app's feed.
    async fn append_event(
        &mut self,
        app: AppId,
        event: &OutEvent,
        now: DateTime<Utc>,
    ) -> Result<Frame, sqlx::Error>;
}

macro_rules! append_event_on {
    ($($connection:ty),*) => {$(
        #[async_trait]
        impl AppendEvent for $connection {
            async fn append_event(
                &mut self,
                app: AppId,
                event: &OutEvent,
                now: DateTime<Utc>,
            ) -> Result<Frame, sqlx::Error> {
                let app = Id::from(app);
                let (seq,): (i64,) = sqlx::query_as(TAKE_SEQ).bind(app).fetch_one(&mut *self).await?;
                sqlx::query(INSERT).bind(app).bind(seq).bind(Id::from(event.id)).bind(event.event_type.as_str())
                    .bind(event.dialpad_call_id().map(|id| id.0)).bind(event.dialpad_user_id()).bind(event.occurred_at)
                    .bind(now).bind(event.stored_body()).execute(&mut *self).await?;
                Ok(Frame::new(Seq(seq), event))
            }
        }
    )*};
}

append_event_on!(PgConnection, SqliteConnection);
