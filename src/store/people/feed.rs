//! The events of a person: they keep their place in the feed, and lose who it was and what was said.

use cti_actors::{
    error::StoreError,
    event::without_person,
    id::{DialpadCallId, InteractionId, MessageId, Seq},
};
use serde::Deserialize;

use super::Person;
use crate::store::{Store, db::types::Id, on_db};

const PAGE_AFTER: &str = "SELECT seq, dialpad_call_id, body FROM events
    WHERE app_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
const ERASE: &str = "UPDATE events SET body = $3 WHERE app_id = $1 AND seq = $2";

const PAGE: i64 = 256;

type EventRow = (i64, Option<i64>, String);

/// Masks the person's events after a cursor. Returns how many, and the newest event that was looked at.
pub(super) async fn erase(store: &Store, person: &Person, after: Seq) -> Result<(u64, Seq), StoreError> {
    let app = Id::from(person.app);
    let mut erased = 0;
    let mut last = after;
    loop {
        let rows: Vec<EventRow> = on_db!(store, read db => {
            sqlx::query_as(PAGE_AFTER).bind(app).bind(last.0).bind(PAGE).fetch_all(db).await
        })?;
        let Some((end, ..)) = rows.last() else { return Ok((erased, last)) };
        last = Seq(*end);
        let masked: Vec<(i64, String)> = rows
            .iter()
            .filter_map(|(seq, call, body)| {
                let is_of_person = person.is_in_event(*call, body);
                Some((*seq, without_person(body, is_of_person, &person.search)?))
            })
            .collect();
        if !masked.is_empty() {
            erased += masked.len() as u64;
            on_db!(store, write db => {
                let mut transaction = db.begin().await?;
                for (seq, body) in &masked {
                    sqlx::query(ERASE).bind(app).bind(seq).bind(body).execute(&mut *transaction).await?;
                }
                transaction.commit().await
            })?;
        }
        tokio::task::yield_now().await;
    }
}

/// The ids of an event that is not of a call.
#[derive(Deserialize)]
struct Subject {
    interaction_id: Option<InteractionId>,
    message_id: Option<MessageId>,
}

impl Person {
    /// Whether an event is of a call, a human call or a message with the person.
    fn is_in_event(&self, call: Option<i64>, body: &str) -> bool {
        if let Some(call) = call {
            return self.calls.contains(&DialpadCallId(call));
        }
        let Ok(subject) = serde_json::from_str::<Subject>(body) else { return false };
        let of_messages = |id: &MessageId| self.messages.iter().any(|(ours, _)| ours == id);
        subject.interaction_id.is_some_and(|id| self.interactions.contains(&id))
            || subject.message_id.as_ref().is_some_and(of_messages)
    }
}
