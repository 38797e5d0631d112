//! The text messages of a person.

use std::sync::Arc;

use cti_actors::{error::StoreError, ports::Ledger, unit::Unit};

use super::{MAX_ATTEMPTS, Person};
use crate::store::Store;

/// How many messages are written together.
const PAGE: usize = 50;

/// Masks the messages of a person. Returns how many had something to mask.
pub(super) async fn erase(store: &Store, person: &Person) -> Result<u64, StoreError> {
    let ids: Vec<String> = person.messages.iter().map(|(_, id)| id.clone()).collect();
    let mut erased = 0;
    for some in ids.chunks(PAGE) {
        erased += erase_some(store, person, some).await?;
    }
    Ok(erased)
}

async fn erase_some(store: &Store, person: &Person, ids: &[String]) -> Result<u64, StoreError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let now = store.now();
        let region = store.apps().region(person.app).await?;
        let mut unit = Unit { region, ..Unit::new(person.app, now) };
        for mut message in Ledger::messages(store, person.app, ids).await? {
            if message.facts.forget_person() {
                message.version += 1;
                message.updated_at = now;
                unit.messages.push(message);
            }
        }
        if unit.is_empty() {
            return Ok(0);
        }
        let erased = unit.messages.len() as u64;
        match store.commit(Arc::new(unit)).await {
            Err(StoreError::Conflict(_)) if attempt < MAX_ATTEMPTS => {}
            written => return written.map(|_| erased),
        }
    }
}
