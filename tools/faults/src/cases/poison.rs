//! Webhooks that the database refuses because of their data, and bodies that no sender should send.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tokio::time::sleep;

use crate::Failure;
use crate::call::{Call, Step};
use crate::process::TICK;
use crate::site::Kind;
use crate::trial::Trial;

/// The webhooks of a call that the database refuses: those that change the row of their call.
const REFUSED: [Step; 5] = [Step::Ring, Step::Started, Step::Held, Step::Resumed, Step::Ended];
/// How long the server may take to give a refused webhook up, and to process it again.
const TIMEOUT: Duration = Duration::from_secs(60);
/// All in one page of the journal.
const FAILED: &str = "/internal/webhook-events?status=failed&limit=500";

pub(super) async fn poison(trial: &mut Trial) -> Result<(), Failure> {
    let poisoned = trial.reserve_calls(trial.plan.count(5, 1));
    execute(trial, &refuse(trial.kind, &poisoned)).await?;
    trial.begin_load();
    trial.calm().await;
    trial.fault_begins();
    for number in poisoned.clone() {
        trial.sender.send_call(Call::recent(number), &REFUSED).await;
    }
    for body in hostile_bodies() {
        let status = trial.sender.post_body(body.clone()).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let is_fine = status.is_some_and(|status| status < 500);
        trial.expect(is_fine, &format!("a hostile body was answered {status:?}: {shown}"));
    }
    // Given up one after the other, while the rest of the app goes on.
    let wanted = poisoned.len() * REFUSED.len();
    let failed = until(trial, "all refused webhooks are given up", |failed| failed.len() >= wanted).await?;
    execute(trial, allow(trial.kind)).await?;
    trial.fault_ends();
    // The list begins with the newest.
    for id in failed.iter().rev() {
        trial.api.admin(Method::POST, &format!("/internal/webhook-events/{id}/replay")).await?;
    }
    until(trial, "all refused webhooks are processed", Vec::is_empty).await?;
    trial.recovers().await?;
    trial.note(format!("{wanted} webhooks were given up, and processed when they were replayed"));
    Ok(())
}

/// Waits until the refused webhooks in the journal are as they should be, and returns their ids.
async fn until(
    trial: &mut Trial,
    what: &str,
    is_so: impl Fn(&Vec<String>) -> bool,
) -> Result<Vec<String>, Failure> {
    let began = Instant::now();
    loop {
        let listed = trial.api.admin(Method::GET, FAILED).await?;
        let listed = listed.as_array().ok_or("the journal is no list")?;
        let refused = listed.iter().filter(|webhook| webhook["attempts"].as_u64() > Some(0));
        let ids = refused.filter_map(|webhook: &Value| webhook["id"].as_str().map(str::to_owned)).collect();
        if is_so(&ids) {
            return Ok(ids);
        }
        if began.elapsed() > TIMEOUT {
            return Err(format!("not within {TIMEOUT:?}: {what}; {} are failed", ids.len()).into());
        }
        sleep(TICK * 10).await;
    }
}

/// Returns the statements that let the database refuse these calls, as it does with data that breaks a rule.
fn refuse(kind: Kind, calls: &std::ops::Range<u32>) -> String {
    let id = |number: u32| Call::recent(number).id();
    let condition = format!("NEW.dialpad_call_id BETWEEN {} AND {}", id(calls.start), id(calls.end) - 1);
    match kind {
        Kind::Sqlite => format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON calls WHEN {condition} BEGIN SELECT RAISE(ABORT, 'refused'); END"
        ),
        Kind::Postgres => format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             RAISE EXCEPTION 'refused' USING ERRCODE = '22023'; END $$; \
             CREATE TRIGGER refuse BEFORE INSERT ON calls FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse()"
        ),
    }
}

fn allow(kind: Kind) -> &'static str {
    match kind {
        Kind::Sqlite => "DROP TRIGGER refuse",
        Kind::Postgres => "DROP TRIGGER refuse ON calls",
    }
}

async fn execute(trial: &mut Trial, statements: &str) -> Result<(), Failure> {
    if trial.kind == Kind::Postgres {
        return trial.site.postgres()?.admin(statements).await;
    }
    let mut database = SqliteConnection::connect(trial.site.setting("DATABASE_URL")).await?;
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut database).await?;
    Ok(database.close().await?)
}

/// Returns bodies that are authentic and wrong in many ways.
fn hostile_bodies() -> Vec<Vec<u8>> {
    let event = |rest: &str| format!(r#"{{"event_type":"call.ring","call_id":77,{rest}}}"#).into_bytes();
    vec![
        Vec::new(),
        b"{".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\xff\xfe\x00{}".to_vec(),
        event(r#""from_number":"\u0000""#),
        event(r#""from_number":"\ud83d""#),
        event(r#""timestamp":1e308"#),
        event(r#""timestamp":-1"#),
        event(r#""timestamp":"99999999999999999999""#),
        event(r#""direction":"sideways""#),
        event(r#""dialpad_user_id":18446744073709551616"#),
        event(&format!(r#""note":"{}""#, "x".repeat(200 << 10))),
        event(&format!(r#""note":{}{}"#, "[".repeat(5_000), "]".repeat(5_000))),
        event(&format!(r#""contact_name":"{}""#, "\u{202e}a".repeat(2_000))),
        br#"{"event_type":"call.ring","call_id":"9223372036854775808"}"#.to_vec(),
        br#"{"event_type":"call.ring","call_id":[77]}"#.to_vec(),
    ]
}
