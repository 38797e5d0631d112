//! The erasure of a person from an app, step by step. Every step can be repeated: an erasure that was interrupted is
//! finished by the next one.

use std::{sync::Arc, time::Duration};

use cti_actors::{
    Engine,
    error::StoreError,
    id::{AppId, JournalId, Seq},
};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::store::{Store, people::Erased};

/// How long webhooks that came before the erasure are given to be processed. What is still pending then is erased
/// unprocessed.
const PENDING_TIMEOUT: Duration = Duration::from_secs(5);
const PENDING_INTERVAL: Duration = Duration::from_millis(20);
/// How often the write-ahead log is truncated, until no reader needs it.
const MAX_TRUNCATIONS: usize = 20;

/// Erases the person with a number in E.164 form from an app. Returns how many rows lost something.
///
/// # Errors
/// The database can't be reached; what was erased until then stays erased.
pub async fn erase(
    store: Store,
    engine: Arc<Engine>,
    app: AppId,
    number: String,
) -> Result<Erased, StoreError> {
    let people = store.people();
    // What came before is processed first: in it the person could come back.
    process_pending(&store, &engine, app).await?;
    let person = people.find(app, &number).await?;

    // The rows of calls and messages last: by them, a repeated erasure finds the rest.
    let webhooks = people.erase_webhooks(&person).await?;
    let (events, newest) = people.erase_events(&person, Seq::START).await?;
    let rows = people.erase_rows(&person).await?;
    // A batch that is under way still has the facts from before.
    engine.forget_calls(app).await;
    let again = people.erase_rows(&person).await?;
    let (late_events, _) = people.erase_events(&person, newest).await?;
    engine.forget_feed(app);

    people.record(app, &number).await?;
    truncate_log(&store).await?;
    let erased = Erased {
        calls: rows.calls + again.calls,
        messages: rows.messages + again.messages,
        voicemails: rows.voicemails + again.voicemails,
        events: events + late_events,
        webhooks,
    };
    let Erased { calls, messages, voicemails, events, webhooks } = erased;
    info!(app.id = %app, calls, messages, voicemails, events, webhooks, "a person was erased");
    Ok(erased)
}

/// Waits until the webhooks are processed that came before now.
async fn process_pending(store: &Store, engine: &Engine, app: AppId) -> Result<(), StoreError> {
    let newest = JournalId::generate();
    let until = Instant::now() + PENDING_TIMEOUT;
    while store.people().has_pending(app, newest).await? {
        if Instant::now() >= until {
            warn!(app.id = %app, "webhooks that are still pending are erased unprocessed if they name the person");
            break;
        }
        engine.notify(app);
        sleep(PENDING_INTERVAL).await;
    }
    Ok(())
}

async fn truncate_log(store: &Store) -> Result<(), StoreError> {
    for _ in 0..MAX_TRUNCATIONS {
        if store.people().truncate_log().await? {
            return Ok(());
        }
        sleep(PENDING_TIMEOUT / 50).await;
    }
    warn!("readers keep old pages in the write-ahead log of the database; a later checkpoint removes them");
    Ok(())
}
