//! The start, in numbered steps, and the running server. [`crate::shutdown`] is the way back.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{App, HttpServer, dev::ServerHandle, middleware::from_fn, web::Data};
use cti_actors::{
    Engine, Ports, Tuning,
    clock::{Clock, SystemClock},
    error::StoreError,
};
use reqwest::Url;
use thiserror::Error;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use tracing_actix_web::TracingLogger;

use crate::{
    config::Config,
    database_url::DatabaseUrl,
    dialpad::{
        api::Dialpad,
        client::DialpadClient,
        oauth::{access::AccessBook, refresh::Renewals},
        webhooks::WebhookReconciler,
    },
    encryption_keys::{EncryptionKeys, KeyError},
    enrichment::CallEnrichment,
    http::{self, AppState, RequestSpan},
    jobs::{app_deletion::AppDeletion, unrouted, upkeep},
    recovery::{Repairs, missing_legs},
    store::{Store, crypto::vault::Vault, journal::pending::DurableWebhooks},
    telemetry::metrics::Metrics,
};

/// How long an idle HTTP connection is kept: longer than the load balancers in front, which must close first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How many seconds a stop waits for requests under way. A client that reads nothing uses up all of them.
const SHUTDOWN_TIMEOUT: u64 = 5;
/// How many connections may wait to be accepted: every client of a restarted server comes back at once.
const BACKLOG: u32 = 8192;

/// Why the server could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address can't be listened on.
    #[error("can't listen on {address}: {error}")]
    Listen {
        /// The address.
        address: String,
        /// What went wrong.
        error: io::Error,
    },
    /// The setting says where to listen, and there is no such place here.
    #[error("HOST: {host} can't be listened on: {error}")]
    Host {
        /// The setting.
        host: String,
        /// What is wrong with it.
        error: io::Error,
    },
    /// The database has not the tables that this version works with.
    #[error("the database lacks {}; run `cti-server migrate`, or set AUTO_MIGRATE=true", .0.join(", "))]
    NotMigrated(Vec<String>),
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no key for stored tokens.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A library can't be set up.
    #[error("{0}")]
    Setup(String),
}

/// The running server.
pub struct Application {
    address: SocketAddr,
    pub(crate) server: ServerHandle,
    pub(crate) running: JoinHandle<io::Result<()>>,
    pub(crate) upkeep: Vec<JoinHandle<()>>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Store,
}

impl Application {
    /// Starts a server. Must be called within an actix system, whose runtime will own the database's connections.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        // 1. What needs nothing: the clock, the metrics, the way to Dialpad.
        let started = Instant::now();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let setup = |error: &dyn std::fmt::Display| StartError::Setup(error.to_string());
        let metrics = Metrics::install().map_err(|error| setup(&error))?;
        let client = DialpadClient::new(config.dialpad.base_url.clone()).map_err(|error| setup(&error))?;

        // 2. The address, before anything durable happens: a second server on the same port fails here.
        let listener = listen(&config.host, config.port)?;
        let address = listener.local_addr().map_err(|error| listen_error(&config, error))?;
        let public_url = public_url(&config, address);
        let redirect_uri = config.dialpad.redirect_uri.clone().unwrap_or_else(|| {
            let mut uri = public_url.clone();
            uri.set_path(&format!("{}/callback", public_url.path().trim_end_matches('/')));
            uri
        });

        // 3. The database and its schema.
        let (store, durable) = open_store(&config, Arc::clone(&clock)).await?;
        if config.auto_migrate {
            for migration in store.migrate().await? {
                info!(migration, "a migration was applied");
            }
        } else {
            let pending = store.pending_migrations().await?;
            if !pending.is_empty() {
                return Err(StartError::NotMigrated(pending));
            }
        }

        // 4. The engine. Its first sweep takes up what an earlier run left.
        let ports = Ports {
            journal: Arc::new(store.clone()),
            ledger: Arc::new(store.clone()),
            log: Arc::new(store.clone()),
            gate: Arc::new(store.clone()),
            connections: Arc::new(Renewals {
                store: store.clone(),
                client: client.clone(),
                oauth: config.dialpad.client.clone(),
                environment: config.environment,
                clock: Arc::clone(&clock),
            }),
            clock: Arc::clone(&clock),
        };
        let tuning = Tuning {
            max_sessions_per_app: config.max_sessions_per_app,
            stuck_session_timeout: config.stuck_session_timeout,
            ..Tuning::default()
        };
        let engine = Engine::start(ports, tuning);

        // 5. The way to Dialpad for apps, and those who look after what is there.
        let api_key = config.dialpad.api_key.clone();
        let access = AccessBook::new(store.clone(), Arc::clone(&engine), config.environment, api_key.clone());
        let dialpad = Dialpad { client: client.clone(), access };
        let webhook_reconciler = WebhookReconciler::new(
            dialpad.clone(),
            store.clone(),
            Arc::clone(&clock),
            &public_url,
            config.auto_subscribe,
            config.subscription_check_interval,
        );
        let app_deletion = AppDeletion {
            store: store.clone(),
            engine: Arc::clone(&engine),
            dialpad: dialpad.clone(),
            webhook_reconciler: webhook_reconciler.clone(),
        };
        let repairs = Repairs {
            store: store.clone(),
            dialpad: dialpad.clone(),
            clock: Arc::clone(&clock),
            silence: Arc::default(),
            settings: config.repair,
            by_static_key: api_key.is_some(),
        };

        // 6. What runs beside, until it is aborted.
        let every = config.retention.interval;
        let mut upkeep = vec![
            tokio::spawn(hand_over(durable, Arc::clone(&engine))),
            tokio::spawn(upkeep::remove_old(store.clone(), Arc::clone(&clock), config.retention)),
            tokio::spawn(upkeep::reseal(store.clone(), every)),
            tokio::spawn(upkeep::find_static_organization(
                store.clone(),
                Arc::clone(&engine),
                client,
                api_key,
            )),
            tokio::spawn(upkeep::find_organizations(
                store.clone(),
                Arc::clone(&engine),
                dialpad.clone(),
                config.environment,
                every,
            )),
            tokio::spawn(unrouted::run(store.clone(), Arc::clone(&engine), every)),
            tokio::spawn(webhook_reconciler.clone().run()),
            tokio::spawn(app_deletion.clone().run()),
        ];
        if let Some(missing_legs) = engine.missing_legs() {
            upkeep.push(tokio::spawn(missing_legs::ask_for_unheard(
                dialpad.clone(),
                store.clone(),
                missing_legs,
            )));
        }

        // 7. The doors.
        let shared = Data::new(AppState {
            store: store.clone(),
            engine: Arc::clone(&engine),
            enrichment: CallEnrichment::new(store.clone(), dialpad.clone(), Arc::clone(&clock)),
            dialpad,
            silence: Arc::clone(&repairs.silence),
            app_deletion,
            webhook_reconciler,
            rate_limiter: http::RateLimiter::new(&config.rate_limits),
            metrics,
            public_url,
            redirect_uri,
            clock,
            started,
            config,
        });
        let server = serve(&shared, listener).map_err(|error| listen_error(&shared.config, error))?;
        let handle = server.handle();
        let running = tokio::spawn(server);

        // 8. From now on webhooks are taken; what was missed until now is looked for.
        upkeep.extend(repairs.start());
        info!(public_url = %shared.public_url, "listening on http://{address}");
        Ok(Self { address, server: handle, running, upkeep, engine, store })
    }

    /// Where it listens.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn serve(shared: &Data<AppState>, listener: TcpListener) -> io::Result<actix_web::dev::Server> {
    let (workers, stuck_session_timeout) = (shared.config.http_workers, shared.config.stuck_session_timeout);
    let shared = shared.clone();
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            .configure(http::routes)
            .wrap(from_fn(http::catch_panics))
            .wrap(from_fn(http::require_https))
            .wrap(from_fn(http::observe))
            .wrap(TracingLogger::<RequestSpan>::new())
    })
    .on_connect(move |connection, data| {
        if let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() {
            data.insert(http::ConnectionTimeouts::accept(stream, stuck_session_timeout));
        }
    })
    // Who hangs up is gone: a stream without an end would otherwise go on for nobody.
    .h1_allow_half_closed(false)
    .keep_alive(KEEP_ALIVE)
    .disable_signals()
    .shutdown_timeout(SHUTDOWN_TIMEOUT);
    if workers > 0 {
        server = server.workers(workers);
    }
    Ok(server.listen(listener)?.run())
}

fn listen(host: &str, port: u16) -> Result<TcpListener, StartError> {
    let named = format!("{host}:{port}");
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrNotAvailable => StartError::Host { host: host.to_owned(), error },
        _ => StartError::Listen { address: named.clone(), error },
    };
    let addresses = std::net::ToSocketAddrs::to_socket_addrs(&(host, port))
        .map_err(|error| StartError::Host { host: host.to_owned(), error })?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn listen_error(config: &Config, error: io::Error) -> StartError {
    StartError::Listen { address: format!("{}:{}", config.host, config.port), error }
}

fn public_url(config: &Config, address: SocketAddr) -> Url {
    config.public_url.clone().unwrap_or_else(|| {
        Url::parse(&format!("http://{address}")).expect("a socket address makes a valid URL")
    })
}

/// Hands the engine the webhooks that have become durable.
async fn hand_over(mut durable: DurableWebhooks, engine: Arc<Engine>) {
    while let Some(batch) = durable.recv().await {
        engine.push(batch.app, batch.events);
    }
}

/// Opens the database with the vault that its secrets are sealed in.
///
/// # Errors
/// Either can't be had.
pub async fn open_store(
    config: &Config,
    clock: Arc<dyn Clock>,
) -> Result<(Store, DurableWebhooks), StartError> {
    let keys = match &config.token_encryption_keys {
        Some(keys) => keys.clone(),
        None => {
            let path = key_file(&config.database_url);
            warn!(file = %path.display(), "TOKEN_ENCRYPTION_KEY is not set; stored tokens are sealed with a key file");
            EncryptionKeys::from_file(&path)?
        }
    };
    Ok(Store::open(&config.database_url, Vault::new(&keys), clock).await?)
}

fn key_file(database: &DatabaseUrl) -> PathBuf {
    match database {
        DatabaseUrl::Sqlite(path) => path.with_extension("key"),
        DatabaseUrl::Postgres(_) => Path::new("data").join("token_encryption.key"),
    }
}
