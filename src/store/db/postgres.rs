//! Opening PostgreSQL, directly or through a pooler.
//!
//! A pooler may run each transaction of a client on another session (PgBouncer's `pool_mode = transaction`). What a
//! session keeps is lost or somebody else's there: named statements, settings, locks. So every statement is in a
//! transaction then, which first drops the statements that the session has and sets what it needs.

use std::{io, time::Duration};

use cti_actors::{background::resume, error::StoreError};
use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, PgPool, Postgres, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tracing::{info, warn};

use super::{
    connections::{Begin, Connections},
    errors::{limited, store_error},
    pool::{ACQUIRE_TIMEOUT, Pair},
    trust::Trust,
};
use crate::database_url::hosts::{self, PostgresHosts};

/// Two lanes of group commit, and some room for other writes.
const MAX_WRITING: u32 = 4;
const MAX_READING: u32 = 8;
/// How often the reason is looked for why there is no connection.
const STARVED_INTERVAL: Duration = Duration::from_secs(10);
/// How often the hosts are asked while none can be written.
const HOSTS_INTERVAL: Duration = Duration::from_millis(250);

const DIRECT: Begin = Begin {
    any: "BEGIN",
    snapshot: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    wraps_statements: false,
};
const POOLED: Begin = Begin {
    any: "BEGIN; SET LOCAL synchronous_commit TO on; SET LOCAL idle_in_transaction_session_timeout TO '10s'; DEALLOCATE ALL",
    snapshot: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; DEALLOCATE ALL",
    wraps_statements: true,
};
/// Whatever the server's or the user's default is, an acknowledgement promises a durable commit. Not among the parameters
/// of the connection: poolers refuse those, or leave them out. A process that is frozen in the middle of a transaction must not
/// keep rows locked for as long as it is.
const IN_SESSION: &str = "SET synchronous_commit TO on; SET idle_in_transaction_session_timeout TO '10s'";
/// A standby shows a past of its primary, and the feeds would seem to have gone back.
const IS_STANDBY: &str = "SELECT pg_is_in_recovery()";

pub(super) async fn open(hosts: &PostgresHosts, trust: &Trust) -> Result<Pair<Postgres>, StoreError> {
    // Poolers refuse a parameter that they don't know; no number here is a float.
    let options = hosts.writable().await.map_err(no_connection)?;
    let options = prepared(options, false);
    let mut first = limited(ACQUIRE_TIMEOUT, options.connect()).await.map_err(no_connection)?;
    let encoding = show(&mut first, "SHOW server_encoding").await.map_err(store_error)?;
    if encoding != "UTF8" {
        return Err(StoreError::Unusable(format!(
            "the database's encoding is {encoding}, and must be UTF8 (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0)"
        )));
    }
    refuse_standby(&mut first).await.map_err(store_error)?;
    let is_pooled = shares_sessions(&mut first, &options).await.map_err(store_error)?;
    let _ = first.close().await;

    let (begin, options) = if is_pooled {
        info!("a pooler runs each transaction on another session: every statement is put into a transaction");
        (POOLED, prepared(options, true))
    } else {
        (DIRECT, options)
    };
    let has_several_hosts = hosts.only().is_none();
    let opening = trust.clone();
    let pool = PgPoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT).after_connect(move |db, _| {
        let trust = opening.clone();
        Box::pin(async move {
            if !is_pooled {
                db.execute(IN_SESSION).await?;
            }
            let usable =
                if has_several_hosts { refuse_read_only(db).await } else { refuse_standby(db).await };
            usable.inspect_err(|_| trust.opened_in_vain())
        })
    });
    let pool = trust.guard(pool);
    let write = pool.clone().max_connections(MAX_WRITING).test_before_acquire(false);
    let write = write.connect_with(options.clone()).await.map_err(no_connection)?;
    let read =
        pool.max_connections(MAX_READING).connect_with(options.clone()).await.map_err(no_connection)?;
    if has_several_hosts {
        let pools = [read.clone(), write.clone()];
        let state = (hosts.clone(), options.clone(), pools, trust.clone());
        tokio::spawn(resume("follow the database", state, move |(hosts, used, pools, trust)| {
            Box::pin(follow_host(hosts, used, pools, is_pooled, trust))
        }));
    }
    tokio::spawn(resume("explain a lack of connections", (write.clone(), trust.clone()), |(pool, trust)| {
        Box::pin(explain_starvation(pool, trust))
    }));
    let connections = |pool| Connections { pool, begin, trust: trust.clone(), file: None };
    Ok(Pair { read: connections(read), write: connections(write) })
}

fn prepared(options: PgConnectOptions, is_pooled: bool) -> PgConnectOptions {
    let options = options.application_name("cti-server").extra_float_digits(None);
    if is_pooled { options.statement_cache_capacity(0) } else { options }
}

/// Asks by the simple protocol, which needs no prepared statement.
async fn show(db: &mut PgConnection, question: &'static str) -> Result<String, sqlx::Error> {
    limited(ACQUIRE_TIMEOUT, sqlx::raw_sql(question).fetch_one(db)).await?.try_get(0)
}

/// Whether two clients run on one session of the server, or one client on two: then a pooler is between.
async fn shares_sessions(first: &mut PgConnection, options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    const SESSION: &str = "SELECT CAST(pg_backend_pid() AS TEXT)";
    let before = show(first, SESSION).await?;
    if show(first, SESSION).await? != before {
        return Ok(true);
    }
    // A pooler with one session for each client, and no second session, lets the second client wait.
    let Ok(mut second) = limited(ACQUIRE_TIMEOUT, options.connect()).await else { return Ok(false) };
    let Ok(other) = show(&mut second, SESSION).await else { return Ok(false) };
    let shares = other == before || show(&mut second, SESSION).await? != other;
    let _ = second.close().await;
    Ok(shares)
}

async fn refuse_standby(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    refuse_if(db, IS_STANDBY, "the server is a standby").await
}

/// Refuses a server that another one may have replaced.
async fn refuse_read_only(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    const IS_READ_ONLY: &str = "SELECT current_setting('transaction_read_only')::boolean";
    // Also true of a standby.
    refuse_if(db, IS_READ_ONLY, "the server is read-only").await
}

async fn refuse_if(
    db: &mut PgConnection,
    question: &'static str,
    reason: &'static str,
) -> Result<(), sqlx::Error> {
    let answer: bool = limited(ACQUIRE_TIMEOUT, sqlx::raw_sql(question).fetch_one(db)).await?.try_get(0)?;
    if answer { Err(io::Error::new(io::ErrorKind::NotConnected, reason).into()) } else { Ok(()) }
}

/// Lets the pools connect to the host that can be written, whenever that may have become another one. A host is kept as
/// long as it can be written.
async fn follow_host(
    hosts: &PostgresHosts,
    used: &mut PgConnectOptions,
    pools: &[PgPool; 2],
    is_pooled: bool,
    trust: &Trust,
) {
    loop {
        tokio::select! {
            () = trust.ended() => {}
            () = pools[0].close_event() => return,
        }
        while !hosts::is_writable(used).await {
            if pools[0].is_closed() {
                return;
            }
            match hosts.writable().await {
                Ok(host) if !hosts::is_same(&host, used) => {
                    warn!(from = hosts::address(used), to = hosts::address(&host), "the database has moved");
                    *used = prepared(host, is_pooled);
                    pools.iter().for_each(|pool| pool.set_connect_options(used.clone()));
                    trust.end_all();
                }
                Ok(_) => {}
                Err(_) => tokio::time::sleep(HOSTS_INTERVAL).await,
            }
        }
    }
}

/// Says why no connection could be opened: there are too few, or the user or the database is a wrong one.
fn no_connection(error: sqlx::Error) -> StoreError {
    let state = error.as_database_error().and_then(|failure| failure.code()).unwrap_or_default();
    match &*state {
        "53300" => StoreError::Unavailable(format!("{error}; {}", wanted())),
        state if state.starts_with("28") || state.starts_with("3D") => {
            StoreError::Unusable(format!("the database can't be opened: {error}"))
        }
        _ => store_error(error),
    }
}

fn wanted() -> String {
    format!("the server needs {} connections", MAX_WRITING + MAX_READING)
}

/// Logs why there was no connection in time: the pool itself only says that it waited.
async fn explain_starvation(pool: &PgPool, trust: &Trust) {
    loop {
        tokio::select! {
            () = trust.starved() => {}
            () = pool.close_event() => return,
        }
        match limited(ACQUIRE_TIMEOUT, pool.connect_options().connect()).await {
            Ok(db) => {
                let _ = db.close().await;
                warn!("all connections to the database are in use; {}", wanted());
            }
            Err(error) => warn!(%error, "no connection to the database; {}", wanted()),
        }
        tokio::select! {
            () = tokio::time::sleep(STARVED_INTERVAL) => {}
            () = pool.close_event() => return,
        }
    }
}
