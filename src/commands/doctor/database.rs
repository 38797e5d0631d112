//! Checks of the database, as it is found by a connection of its own.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::timeout;

use super::check::Check;
use crate::{
    config::{Config, Environment},
    store::inspection::{Inspection, PostgresSettings},
};

const TIMEOUT: Duration = Duration::from_secs(10);
/// The oldest release that the statements were written for.
const MIN_POSTGRES: u32 = 12;
/// How many connections a server opens at most.
const CONNECTIONS: i64 = 12;
/// Daily, and some hours for one that comes late.
const MAX_BACKUP_AGE: TimeDelta = TimeDelta::hours(36);
/// A webhook that waits for longer shows that the engine does not keep up.
const MAX_JOURNAL_LAG: TimeDelta = TimeDelta::minutes(1);

pub(super) async fn check(config: &Config) -> Vec<Check> {
    let url = &config.database_url;
    let found = match timeout(TIMEOUT, Inspection::take(url)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            let how = format!("a connection to {url:?} failed: {error}");
            let fix = "check DATABASE_URL, that the database runs, and its user's rights";
            return vec![Check::fail("database", how, fix)];
        }
        Err(_) => {
            let how = format!("{url:?} did not answer within {} s", TIMEOUT.as_secs());
            return vec![Check::fail("database", how, "check the database and the network between")];
        }
    };
    let mut checks = vec![Check::ok("database", format!("{url:?} answers as {}", found.version))];
    checks.push(Check::require(
        "migrations",
        found.missing_migrations.is_empty(),
        match found.missing_migrations.len() {
            0 => "all migrations are applied".to_owned(),
            _ => format!("not applied: {}", found.missing_migrations.join(", ")),
        },
        "run `cti-server migrate`",
    ));
    if found.missing_migrations.is_empty() {
        checks.push(Check::require(
            "indexes",
            found.missing_indexes.is_empty(),
            match found.missing_indexes.len() {
                0 => "all indexes exist".to_owned(),
                _ => format!("missing: {}", found.missing_indexes.join(", ")),
            },
            "create the index as its migration does, or restore a backup",
        ));
        checks.extend(journal(&found));
    }
    if let Some(settings) = &found.postgres {
        checks.extend(postgres(settings, config));
    }
    checks.push(backup(&found));
    checks
}

fn journal(found: &Inspection) -> Vec<Check> {
    let lag =
        found.oldest_pending.map_or(TimeDelta::zero(), |at| DateTime::<Utc>::from(SystemTime::now()) - at);
    vec![
        Check::require(
            "journal_lag",
            lag <= MAX_JOURNAL_LAG,
            format!("the oldest webhook that is not processed waits for {} s", lag.num_seconds().max(0)),
            "start the server; if it runs, look for errors of the database in its log",
        ),
        Check::advise(
            "failed_webhooks",
            found.failed_webhooks == 0,
            format!("{} webhooks have failed", found.failed_webhooks),
            "look at GET /internal/webhook-events?status=failed, and replay them",
        ),
        Check::advise(
            "unrouted_webhooks",
            found.unrouted_webhooks == 0,
            format!("{} webhooks belong to no connected app", found.unrouted_webhooks),
            "look at GET /internal/webhook-events?status=unrouted; connect or activate the app",
        ),
    ]
}

fn postgres(settings: &PostgresSettings, config: &Config) -> Vec<Check> {
    let is_production = config.environment == Environment::Production;
    let mut checks = vec![
        Check::require(
            "postgres_version",
            settings.major_version >= MIN_POSTGRES,
            format!("the database is PostgreSQL {}", settings.major_version),
            format!("upgrade to PostgreSQL {MIN_POSTGRES} or later"),
        ),
        Check::require(
            "encoding",
            settings.encoding == "UTF8",
            format!("the database's encoding is {}", settings.encoding),
            "create the database with ENCODING 'UTF8'",
        ),
        Check::require(
            "read_only",
            !settings.is_read_only,
            if settings.is_read_only { "the database is read-only" } else { "the database can be written" },
            "point DATABASE_URL to the primary; set default_transaction_read_only = off",
        ),
        Check::advise(
            "connections",
            settings.free_connections >= CONNECTIONS,
            format!("{} connections are free; a server opens up to {CONNECTIONS}", settings.free_connections),
            "raise max_connections, or close what is not used",
        ),
        Check::advise(
            "pooler",
            !settings.is_behind_another_port,
            if settings.is_behind_another_port {
                "the database listens on another port than DATABASE_URL has: a pooler or a forwarded port"
            } else {
                "no pooler is in between"
            },
            "with PgBouncer, let the server connect to PostgreSQL itself, or use session pooling",
        ),
    ];
    checks.push(durability(&settings.weak_durability, is_production));
    checks
}

/// The server sets `synchronous_commit` for its own commits; `fsync` and `full_page_writes` are not its to set.
fn durability(weak: &[String], is_production: bool) -> Check {
    let name = "durability";
    let fix = "set fsync, full_page_writes and synchronous_commit to on";
    if weak.is_empty() {
        return Check::ok(name, "fsync, full_page_writes and synchronous_commit are on");
    }
    if weak.iter().all(|setting| setting.starts_with("synchronous_commit")) {
        let how = format!(
            "{}: the server turns it on for its own commits, other programs may not",
            weak.join(", ")
        );
        return Check::warn(name, how, fix);
    }
    let how = format!("a crash can lose acknowledged webhooks: {}", weak.join(", "));
    if is_production { Check::fail(name, how, fix) } else { Check::warn(name, how, fix) }
}

fn backup(found: &Inspection) -> Check {
    let name = "backup";
    let fix = "run `cti-server backup FILE` daily, keep the encryption key apart, and try to restore";
    match found.backed_up.map(|at| DateTime::<Utc>::from(SystemTime::now()) - at) {
        Some(age) => Check::advise(
            name,
            age <= MAX_BACKUP_AGE,
            format!("`cti-server backup` made the last copy {} hours ago", age.num_hours().max(0)),
            fix,
        ),
        None => Check::warn(name, "`cti-server backup` has made no copy; others can't be seen here", fix),
    }
}
