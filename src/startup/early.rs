//! The start while the database is away, or takes long to be migrated: a small server on the same socket keeps webhooks
//! in the spool, and everything else is refused. It ends when the server is complete.

use std::{net::TcpListener, pin::pin, sync::Arc, time::Duration};

use actix_web::{dev::ServerHandle, web::Data};
use cti_actors::{clock::SystemClock, error::StoreError};
use tokio::{sync::Notify, time::sleep};
use tracing::{info, warn};

use super::{
    StartError,
    address::listen_error,
    database::{check_database, migrate, open_store},
};
use crate::{
    cluster::{self, Membership},
    http::{self, EarlyState},
    shutdown::StopSignals,
    store::{Store, journal::pending::DurableWebhooks},
    tls::{self, Tls},
};

/// How long the migrations may take before the small server starts. It starts at once when the database is away.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the database is tried.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// How long requests that were accepted last have until the small server ends.
const LAST_REQUESTS_TIMEOUT: Duration = Duration::from_millis(500);

/// The database, and the server that ran before it was open.
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) durable_webhooks: DurableWebhooks,
    pub(super) membership: Membership,
    pub(super) early_server: Option<ServerHandle>,
}

/// Opens and migrates the database, however long that takes.
///
/// # Errors
/// It can't be used, and waiting would not help; or a signal came.
pub(super) async fn open(
    early: EarlyState,
    listener: &TcpListener,
    tls: Option<&Tls>,
    stop_signals: &mut StopSignals,
) -> Result<Opened, StartError> {
    let state = Data::new(early);
    let failed = Notify::new();
    let mut opening = pin!(open_when_available(&state, &failed));
    tokio::select! {
        opened = &mut opening => {
            let (store, durable_webhooks, membership) = opened?;
            return Ok(Opened { store, durable_webhooks, membership, early_server: None });
        }
        () = failed.notified() => {}
        () = sleep(OPEN_TIMEOUT) => {
            state.spool.database_away(&StoreError::Unavailable("it is not open yet".into()));
        }
        signal = stop_signals.recv() => return Err(stopped(signal)),
    }
    let early_server = listener.try_clone().and_then(|listener| http::serve_early(&state, listener, tls));
    let early_server = early_server.map_err(|error| listen_error(&state.config, error))?;
    let handle = early_server.handle();
    tokio::spawn(early_server);
    if let Ok(address) = listener.local_addr() {
        info!(
            public_url = %state.public_url,
            "listening on {}://{address}; webhooks are kept in the spool until the database is open",
            tls::scheme(tls)
        );
    }
    let opened = tokio::select! {
        opened = opening => opened,
        signal = stop_signals.recv() => Err(stopped(signal)),
    };
    match opened {
        Ok((store, durable_webhooks, membership)) => {
            info!("the database is open");
            Ok(Opened { store, durable_webhooks, membership, early_server: Some(handle) })
        }
        Err(failure) => {
            // Requests in progress are answered.
            handle.stop(true).await;
            Err(failure)
        }
    }
}

fn stopped(signal: &str) -> StartError {
    info!(signal, "stopped while waiting for the database");
    StartError::Stopped
}

/// Tries until the database can be used. `failed` is notified when it can't.
async fn open_when_available(
    state: &EarlyState,
    failed: &Notify,
) -> Result<(Store, DurableWebhooks, Membership), StartError> {
    let mut is_reported = false;
    loop {
        let failure = match try_open(state).await {
            Ok(opened) => return Ok(opened),
            Err(StartError::Store(failure @ StoreError::Unavailable(_))) => failure,
            Err(failure) => return Err(failure),
        };
        if !is_reported {
            warn!(error = %failure, "the database is away; it is tried until it is there");
            is_reported = true;
        }
        state.spool.database_away(&failure);
        failed.notify_one();
        sleep(RETRY_INTERVAL).await;
    }
}

async fn try_open(state: &EarlyState) -> Result<(Store, DurableWebhooks, Membership), StartError> {
    let (store, durable_webhooks) = open_store(&state.config, Arc::clone(&state.clock)).await?;
    let checked = async {
        check_database(&state.config, &store).await?;
        migrate(&store, state.config.auto_migrate).await?;
        // Before anything is stored: no time must be earlier than what is there.
        SystemClock.start_after(&store.server_state().newest_instants().await?);
        Ok::<_, StartError>(cluster::join(&store, state.config.process_id.as_deref()).await?)
    };
    match checked.await {
        Ok(membership) => Ok((store, durable_webhooks, membership)),
        Err(failure) => {
            store.close().await;
            Err(failure)
        }
    }
}

/// Ends the small server, once the complete one accepts connections from the same socket.
pub(super) async fn end(early_server: ServerHandle) {
    // Stopped at once, it would reset connections that it has accepted and not begun with.
    early_server.pause().await;
    sleep(LAST_REQUESTS_TIMEOUT).await;
    early_server.stop(true).await;
}
