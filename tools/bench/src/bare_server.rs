//! A bare server: what is reachable with everything done that a webhook needs, and nothing else. It takes a webhook over
//! HTTP, verifies its HMAC, and answers after one group commit that has written a journal row, the call, an event with its
//! contiguous `seq`, and the head of the feed. It has no actors, parses nothing, delivers nothing and recovers from
//! nothing: a ceiling to hold the server against, not a product.

use std::io::Write;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use hmac::{Hmac, KeyInit, Mac};
use rusqlite::params;
use sha2::Sha256;
use sqlx::{Connection, PgConnection, raw_sql};
use tokio::sync::{mpsc, oneshot};

use super::Failure;

/// How many webhooks share a commit.
const MAX_BATCH: usize = 512;

const CREATE_SQLITE: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA cache_size = -32768;
    CREATE TABLE journal (
        id INTEGER PRIMARY KEY, dedup_key BLOB NOT NULL UNIQUE, status TEXT NOT NULL, received_at INTEGER NOT NULL,
        payload BLOB NOT NULL
    );
    CREATE TABLE calls (
        call_id INTEGER PRIMARY KEY, facts BLOB NOT NULL, version INTEGER NOT NULL, updated_at INTEGER NOT NULL
    );
    CREATE INDEX calls_updated ON calls (updated_at, call_id);
    CREATE TABLE events (seq INTEGER PRIMARY KEY, call_id INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE TABLE feed (last_seq INTEGER NOT NULL);
    INSERT INTO feed VALUES (0);";

const CREATE_POSTGRES: &str = "
    DROP SCHEMA IF EXISTS bench_ceiling CASCADE;
    CREATE SCHEMA bench_ceiling;
    SET search_path = bench_ceiling;
    CREATE TABLE journal (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, dedup_key BYTEA NOT NULL UNIQUE, status TEXT NOT NULL,
        received_at TIMESTAMPTZ NOT NULL, payload BYTEA NOT NULL
    );
    CREATE TABLE calls (
        call_id BIGINT PRIMARY KEY, facts BYTEA NOT NULL, version BIGINT NOT NULL, updated_at TIMESTAMPTZ NOT NULL
    );
    CREATE INDEX calls_updated ON calls (updated_at, call_id);
    CREATE TABLE events (seq BIGINT PRIMARY KEY, call_id BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL, body BYTEA NOT NULL);
    CREATE TABLE feed (last_seq BIGINT NOT NULL);
    INSERT INTO feed VALUES (0);";

/// A call that is twice in a batch is written once: PostgreSQL refuses to update a row twice in one statement.
const WRITE_POSTGRES: &str = "
    WITH webhook AS (
        SELECT * FROM UNNEST($1::bytea[], $2::bigint[], $3::bytea[], $4::bigint[]) AS webhook (key, call_id, body, place)
    ),
    head AS (UPDATE feed SET last_seq = last_seq + $5 RETURNING last_seq - $5 AS last_seq_before),
    written_journal AS (
        INSERT INTO journal (dedup_key, status, received_at, payload)
        SELECT key, 'processed', now(), body FROM webhook
    ),
    written_calls AS (
        INSERT INTO calls
        SELECT DISTINCT ON (call_id) call_id, body, 1, now() FROM webhook ORDER BY call_id, place DESC
        ON CONFLICT (call_id) DO UPDATE
        SET facts = EXCLUDED.facts, version = calls.version + 1, updated_at = EXCLUDED.updated_at
    )
    INSERT INTO events
    SELECT head.last_seq_before + webhook.place, webhook.call_id, now(), webhook.body FROM webhook CROSS JOIN head";

struct Webhook {
    key: Vec<u8>,
    call: i64,
    body: Vec<u8>,
    done: oneshot::Sender<bool>,
}

struct Shared {
    mac: Hmac<Sha256>,
    lane: mpsc::UnboundedSender<Webhook>,
}

/// Serves until it is stopped, on any port, which it prints.
///
/// # Errors
///
/// Fails if the database can't be used or no port is free.
pub async fn serve(database_url: &str, secret: &str) -> Result<(), Failure> {
    let (lane, webhooks) = mpsc::unbounded_channel();
    if let Some(file) = database_url.strip_prefix("sqlite://") {
        let database = rusqlite::Connection::open(file)?;
        database.execute_batch(CREATE_SQLITE)?;
        thread::Builder::new().name("lane".to_owned()).spawn(move || write_to_sqlite(database, webhooks))?;
    } else {
        let mut connection = PgConnection::connect(database_url).await?;
        raw_sql(CREATE_POSTGRES).execute(&mut connection).await?;
        tokio::spawn(write_to_postgres(connection, webhooks));
    }
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    let shared = web::Data::new(Shared { mac, lane });
    let server = HttpServer::new(move || {
        App::new().app_data(shared.clone()).route("/webhooks/{app}", web::post().to(receive))
    });
    let server = server.bind(("127.0.0.1", 0))?;
    for addr in server.addrs() {
        writeln!(std::io::stdout(), "listening on http://{addr}")?;
    }
    Ok(server.run().await?)
}

async fn receive(request: HttpRequest, body: web::Bytes, shared: web::Data<Shared>) -> HttpResponse {
    let signature = request.headers().get("x-dialpad-signature").and_then(|text| hex::decode(text).ok());
    let mac = shared.mac.clone().chain_update(&body);
    let Some(key) = signature.filter(|signature| mac.verify_slice(signature).is_ok()) else {
        return HttpResponse::Unauthorized().finish();
    };
    let Some(call) = call_id(&body) else { return HttpResponse::BadRequest().finish() };
    let (done, written) = oneshot::channel();
    let sent = shared.lane.send(Webhook { key, call, body: body.into(), done });
    if sent.is_ok() && written.await == Ok(true) {
        HttpResponse::Ok().content_type("application/json").body(r#"{"success":true,"duplicate":false}"#)
    } else {
        HttpResponse::InternalServerError().finish()
    }
}

/// Returns the digits behind the key.
fn call_id(body: &[u8]) -> Option<i64> {
    let (_, rest) = std::str::from_utf8(body).ok()?.split_once(r#""call_id":"#)?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

fn write_to_sqlite(mut database: rusqlite::Connection, mut webhooks: mpsc::UnboundedReceiver<Webhook>) {
    let mut batch = Vec::new();
    while webhooks.blocking_recv_many(&mut batch, MAX_BATCH) > 0 {
        let written = write_batch_to_sqlite(&mut database, &batch);
        report(&mut batch, written.map_err(Into::into));
    }
}

fn write_batch_to_sqlite(database: &mut rusqlite::Connection, batch: &[Webhook]) -> rusqlite::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let count = i64::try_from(batch.len()).unwrap_or(i64::MAX);
    let transaction = database.transaction()?;
    {
        let mut take =
            transaction.prepare_cached("UPDATE feed SET last_seq = last_seq + ?1 RETURNING last_seq - ?1")?;
        let last: i64 = take.query_row([count], |row| row.get(0))?;
        let mut journal = transaction.prepare_cached(
            "INSERT INTO journal (dedup_key, status, received_at, payload) VALUES (?1, 'processed', ?2, ?3)",
        )?;
        let mut calls = transaction.prepare_cached(
            "INSERT INTO calls VALUES (?1, ?2, 1, ?3) ON CONFLICT (call_id) DO UPDATE
             SET facts = excluded.facts, version = version + 1, updated_at = excluded.updated_at",
        )?;
        let mut events = transaction.prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4)")?;
        for (seq, webhook) in (last + 1..).zip(batch) {
            journal.execute(params![webhook.key, now, webhook.body])?;
            calls.execute(params![webhook.call, webhook.body, now])?;
            events.execute(params![seq, webhook.call, now, webhook.body])?;
        }
    }
    transaction.commit()
}

async fn write_to_postgres(mut database: PgConnection, mut webhooks: mpsc::UnboundedReceiver<Webhook>) {
    let mut batch = Vec::new();
    while webhooks.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let keys: Vec<&[u8]> = batch.iter().map(|webhook| &webhook.key[..]).collect();
        let calls: Vec<i64> = batch.iter().map(|webhook| webhook.call).collect();
        let bodies: Vec<&[u8]> = batch.iter().map(|webhook| &webhook.body[..]).collect();
        let count = i64::try_from(batch.len()).unwrap_or(i64::MAX);
        let places: Vec<i64> = (1..=count).collect();
        let query = sqlx::query(WRITE_POSTGRES).bind(keys).bind(calls).bind(bodies).bind(places).bind(count);
        let written = query.execute(&mut database).await;
        report(&mut batch, written.map(|_| ()).map_err(Into::into));
    }
}

fn report(batch: &mut Vec<Webhook>, written: Result<(), Failure>) {
    if let Err(error) = &written {
        tracing::error!(%error, "a batch could not be written");
    }
    for webhook in batch.drain(..) {
        // A client that has gone away does not wait for its answer.
        let _ = webhook.done.send(written.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_found_in_a_body() {
        assert_eq!(call_id(br#"{"event_type":"call.ring","call_id":5000000007,"x":1}"#), Some(5_000_000_007));
        assert_eq!(call_id(br#"{"call":7}"#), None);
    }

    #[test]
    fn a_batch_is_one_commit_of_journal_calls_events_and_head() {
        let mut database = rusqlite::Connection::open_in_memory().unwrap();
        database.execute_batch(CREATE_SQLITE).unwrap();
        let webhook = |key, call| {
            let (done, _) = oneshot::channel();
            Webhook { key: vec![key], call, body: b"{}".to_vec(), done }
        };
        write_batch_to_sqlite(&mut database, &[webhook(1, 7), webhook(2, 7)]).unwrap();
        assert!(write_batch_to_sqlite(&mut database, &[webhook(3, 8), webhook(1, 9)]).is_err());
        write_batch_to_sqlite(&mut database, &[webhook(3, 8)]).unwrap();
        let counts = "SELECT (SELECT COUNT(*) FROM journal), (SELECT COUNT(*) FROM calls), (SELECT MAX(seq) FROM events),
                (SELECT last_seq FROM feed)";
        let counts = database
            .query_row(counts, [], |row| Ok([row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get(3)?]));
        assert_eq!(counts.unwrap(), [3, 2, 3, 3]);
    }
}
