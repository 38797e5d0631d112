//! The stored answers of requests that placed a call to the person: they stay answers, so that no request is repeated.

use cti_actors::{error::StoreError, event::without_person, id::DialpadCallId};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::Person;
use crate::store::{Store, idempotency::place, on_db};

const ANSWERS: &str =
    "SELECT key, answer FROM idempotency_keys WHERE scope = $1 AND answer IS NOT NULL AND key > $2
    ORDER BY key LIMIT $3";
const REPLACE: &str = "UPDATE idempotency_keys SET answer = $3 WHERE scope = $1 AND key = $2";

const PAGE: i64 = 256;

/// Masks the answers that show a call with the person.
pub(super) async fn erase(store: &Store, person: &Person) -> Result<(), StoreError> {
    let scope = person.app.to_string();
    let mut last = String::new();
    loop {
        let rows: Vec<(String, Vec<u8>)> = on_db!(store, read db => {
            sqlx::query_as(ANSWERS).bind(&scope).bind(&last).bind(PAGE).fetch_all(db).await
        })?;
        let Some((end, _)) = rows.last() else { return Ok(()) };
        last.clone_from(end);
        for (key, sealed) in &rows {
            let place = place(&scope, key);
            // An answer that no key opens can't be shown to anybody either.
            let Ok(answer) = store.shared.vault.open(sealed, &place) else { continue };
            let answer = answer.expose_secret();
            let is_of_person = call_of(answer).is_some_and(|call| person.calls.contains(&call));
            let Some(masked) = without_person(answer, is_of_person, &person.search) else { continue };
            let sealed = store.shared.vault.seal(&masked.into(), &place);
            on_db!(store, write db => {
                sqlx::query(REPLACE).bind(&scope).bind(key).bind(&sealed).execute(db).await.map(|_| ())
            })?;
        }
    }
}

/// Returns the call that an answer shows; its id may be a text.
fn call_of(answer: &str) -> Option<DialpadCallId> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    let id = answer.get("dialpad_call_id")?;
    id.as_i64().or_else(|| id.as_str()?.parse().ok()).map(DialpadCallId)
}
