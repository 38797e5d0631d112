//! Finds the rows of a person, page by page.

use std::collections::BTreeSet;

use cti_actors::{
    error::StoreError,
    id::{AppId, DialpadCallId, InteractionId},
    model::number::NumberSearch,
    ports::Ledger,
};
use sqlx::FromRow;
use uuid::Uuid;

use super::Person;
use crate::store::{
    Store,
    db::types::{AnyRow, Id},
    on_db,
};

/// Their numbers can be stored in another form than the region of now gives, or not yet in any: so every row is looked at.
const CALLS: &str =
    "SELECT id, dialpad_call_id, COALESCE(interaction_id, id) AS interaction_id, from_number, to_number,
    from_e164, to_e164, contact_name, CAST(custom_data AS TEXT) AS custom_data
    FROM calls WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3";
const INTERACTIONS: &str = "SELECT id, external_number, external_e164 FROM interactions
    WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3";
const VOICEMAILS: &str =
    "SELECT id, dialpad_call_id, from_number, to_number, from_e164, to_e164 FROM voicemails
    WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3";
const MESSAGES: &str =
    "SELECT id, dialpad_message_id, from_number, to_number, from_e164, to_e164 FROM messages
    WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3";

const PAGE: i64 = 1000;
/// Of how many interactions the legs are read at a time.
const LEGS_PAGE: usize = 64;

trait PersonRow: AnyRow {
    fn id(&self) -> Id;
    /// Returns what can name a person.
    fn names(&self) -> Vec<Option<&str>>;

    fn is_of(&self, search: &NumberSearch) -> bool {
        self.names().into_iter().flatten().any(|name| name == search.number() || search.is_in(name))
    }
}

macro_rules! person_rows {
    ($($name:ident { $($field:ident: $kind:ty),* } names $($text:ident),+;)+) => {$(
        #[derive(FromRow)]
        struct $name {
            id: Id,
            $($field: $kind,)*
            $($text: Option<String>,)+
        }

        impl PersonRow for $name {
            fn id(&self) -> Id {
                self.id
            }

            fn names(&self) -> Vec<Option<&str>> {
                vec![$(self.$text.as_deref()),+]
            }
        }
    )+};
}

person_rows! {
    CallRow { dialpad_call_id: i64, interaction_id: Id }
        names from_number, to_number, from_e164, to_e164, contact_name, custom_data;
    InteractionRow {} names external_number, external_e164;
    VoicemailRow { dialpad_call_id: Option<i64> } names from_number, to_number, from_e164, to_e164;
    MessageRow { dialpad_message_id: String } names from_number, to_number, from_e164, to_e164;
}

/// Finds everything that an app has of the person with a number.
pub(super) async fn find(store: &Store, app: AppId, search: NumberSearch) -> Result<Person, StoreError> {
    let mut calls = BTreeSet::new();
    let mut interactions = BTreeSet::new();
    let is_of_person = |row: &CallRow| row.is_of(&search);
    for row in scan(store, app, CALLS, is_of_person).await? {
        calls.insert(DialpadCallId(row.dialpad_call_id));
        interactions.insert(row.interaction_id.into());
    }
    let is_of_person = |row: &InteractionRow| row.is_of(&search);
    interactions.extend(
        scan(store, app, INTERACTIONS, is_of_person)
            .await?
            .into_iter()
            .map(|row| InteractionId::from(row.id)),
    );

    // The other legs have no number, and still the voice of the person.
    let all: Vec<_> = interactions.iter().copied().collect();
    for some in all.chunks(LEGS_PAGE) {
        calls.extend(store.legs(app, some).await?.into_iter().map(|leg| leg.dialpad_call_id));
    }
    let is_of_call =
        |row: &VoicemailRow| row.dialpad_call_id.is_some_and(|id| calls.contains(&DialpadCallId(id)));
    let is_of_person = |row: &VoicemailRow| is_of_call(row) || row.is_of(&search);
    let voicemails = scan(store, app, VOICEMAILS, is_of_person).await?;
    let voicemails = voicemails.into_iter().map(|row| row.id.into()).collect();
    let is_of_person = |row: &MessageRow| row.is_of(&search);
    let messages = scan(store, app, MESSAGES, is_of_person).await?;
    let messages = messages.into_iter().map(|row| (row.id.into(), row.dialpad_message_id)).collect();
    Ok(Person { app, search, calls, interactions, voicemails, messages })
}

/// Reads all rows of an app and returns those that are of the person.
async fn scan<R: PersonRow>(
    store: &Store,
    app: AppId,
    page: &'static str,
    is_of_person: impl Fn(&R) -> bool,
) -> Result<Vec<R>, StoreError> {
    let mut found = Vec::new();
    let mut last = Id(Uuid::nil());
    loop {
        let rows: Vec<R> = on_db!(store, read db => {
            sqlx::query_as(page).bind(Id::from(app)).bind(last).bind(PAGE).fetch_all(db).await
        })?;
        let Some(end) = rows.last() else { return Ok(found) };
        last = end.id();
        found.extend(rows.into_iter().filter(|row| is_of_person(row)));
        // Comparing numbers takes time of the processor, which others need as well.
        tokio::task::yield_now().await;
    }
}
