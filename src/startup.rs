//! The start, in numbered steps, and the running server. [`crate::shutdown`] is the reverse.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    App, HttpServer,
    dev::{Server, ServerHandle},
    middleware::from_fn,
    web::Data,
};
use cti_actors::{
    Engine, Ports, Tuning,
    clock::{Clock, SystemClock},
    error::StoreError,
    model::number,
};
use reqwest::Url;
use secrecy::ExposeSecret;
use thiserror::Error;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use tracing_actix_web::TracingLogger;
use uuid::Uuid;

use crate::{
    config::Config,
    console::{self, Console},
    database_url::DatabaseUrl,
    dialpad::{
        self,
        api::Dialpad,
        client::DialpadClient,
        oauth::{access::AccessBook, refresh::TokenRefresher},
        webhooks::WebhookReconciler,
    },
    encryption_keys::{EncryptionKeys, KeyError},
    enrichment::CallEnrichment,
    http::{self, AppState, RequestSpan},
    jobs::{self, Services, app_deletion::AppDeletion},
    net,
    recovery::{self, Recovery},
    store::{self, Store, crypto::vault::Vault, journal::pending::DurableWebhooks},
    tasks::Tasks,
    telemetry::{self, metrics::Metrics},
};

/// How long an idle HTTP connection is kept: longer than load balancers do, which must close it first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a stop waits for requests in progress. A client that reads nothing uses up all of it.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the server could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address can't be bound.
    #[error("can't listen on {address}: {error}")]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        error: io::Error,
    },
    /// `HOST` is no address of this machine.
    #[error("HOST: {host} can't be listened on: {error}")]
    Host {
        /// The setting.
        host: String,
        /// Why not.
        error: io::Error,
    },
    /// Migrations are pending, and `AUTO_MIGRATE` is off.
    #[error("the database lacks {}; run `cti-server migrate`, or set AUTO_MIGRATE=true", .0.join(", "))]
    NotMigrated(Vec<String>),
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no key to encrypt tokens with.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A library can't be set up.
    #[error("{0}")]
    Setup(String),
}

/// A running server.
pub struct Application {
    address: SocketAddr,
    pub(crate) server: ServerHandle,
    pub(crate) running: JoinHandle<io::Result<()>>,
    pub(crate) tasks: Tasks,
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Store,
    console: Data<Console>,
    clock: Arc<dyn Clock>,
}

impl Application {
    /// Starts a server. Must be called within an actix system, whose runtime will own the database's connections.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is running then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        // 1. What depends on nothing.
        let started = Instant::now();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tasks = Tasks::new();
        let metrics = Metrics::install(register_metrics).map_err(setup)?;
        let client = DialpadClient::new(config.dialpad.base_url.clone()).map_err(setup)?;

        // The first number that needs a plan would block the thread of its request. Without optimization it takes half
        // a second of the processor, in each of the many servers that the tests start.
        if cfg!(not(debug_assertions)) {
            drop(tokio::task::spawn_blocking(number::load_plans));
        }

        // 2. The address, before anything durable happens: a second server on the same port fails here.
        let listener = listen(&config)?;
        let address = listener.local_addr().map_err(|error| listen_error(&config, error))?;
        let public_url = public_url(&config, address);
        let redirect_uri = redirect_uri(&config, &public_url);

        // 3. The database and its schema.
        let (store, durable_webhooks) = open_store(&config, Arc::clone(&clock)).await?;
        migrate(&store, config.auto_migrate).await?;

        // 4. The engine. Its first sweep processes what an earlier run has left.
        let engine = start_engine(&config, &store, &client, &clock);
        tasks.spawn(push_webhooks(durable_webhooks, Arc::clone(&engine)));

        // 5. What talks to Dialpad for the apps.
        let api_key = config.dialpad.api_key.clone();
        let has_static_key = api_key.is_some();
        let access = AccessBook::new(store.clone(), Arc::clone(&engine), config.environment, api_key);
        let dialpad = Dialpad { client, access };
        let webhook_reconciler = WebhookReconciler::new(
            dialpad.clone(),
            store.clone(),
            Arc::clone(&clock),
            tasks.clone(),
            &public_url,
            config.auto_subscribe,
            config.subscription_check_interval,
        );
        let app_deletion = AppDeletion {
            store: store.clone(),
            engine: Arc::clone(&engine),
            dialpad: dialpad.clone(),
            webhook_reconciler: webhook_reconciler.clone(),
            tasks: tasks.clone(),
        };
        let recovery = Recovery {
            store: store.clone(),
            dialpad: dialpad.clone(),
            clock: Arc::clone(&clock),
            silence: Arc::default(),
            settings: config.recovery,
            has_static_key,
        };
        let services = Services {
            store: store.clone(),
            engine: Arc::clone(&engine),
            clock: Arc::clone(&clock),
            dialpad: dialpad.clone(),
            webhook_reconciler: webhook_reconciler.clone(),
            app_deletion: app_deletion.clone(),
            recovery: recovery.clone(),
        };

        // 6. The HTTP server. From now on webhooks are accepted.
        let state = Data::new(AppState {
            enrichment: CallEnrichment::new(
                store.clone(),
                dialpad.clone(),
                Arc::clone(&clock),
                tasks.clone(),
            ),
            rate_limiter: http::RateLimiter::new(&config.rate_limits),
            silence: recovery.silence,
            store: store.clone(),
            engine: Arc::clone(&engine),
            tasks: tasks.clone(),
            dialpad,
            app_deletion,
            webhook_reconciler,
            metrics,
            public_url,
            redirect_uri,
            clock,
            process_id: Uuid::now_v7(),
            started,
            config,
        });
        let console = Data::new(Console::default());
        let server = serve(&state, &console, listener).map_err(|error| listen_error(&state.config, error))?;
        let handle = server.handle();
        let running = tokio::spawn(server);

        // 7. The background jobs, which look for what was missed until now.
        jobs::start(&tasks, &state.config, services);
        info!(public_url = %state.public_url, "listening on http://{address}");
        let clock = Arc::clone(&state.clock);
        Ok(Self { address, server: handle, running, tasks, engine, store, console, clock })
    }

    /// Returns the URL that the server listens on.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates an address of the console with which one person can sign in once.
    #[must_use]
    pub fn create_sign_in_address(&self) -> String {
        let token = self.console.create_sign_in_token(self.clock.now());
        format!("{}/console/sign-in?token={}", self.base_url(), token.expose_secret())
    }
}

fn register_metrics() {
    telemetry::metrics::register_metrics();
    store::gauges::register_metrics();
    dialpad::register_metrics();
    recovery::metrics::register_metrics();
    http::metrics::register_metrics();
}

fn setup(error: impl std::fmt::Display) -> StartError {
    StartError::Setup(error.to_string())
}

fn listen(config: &Config) -> Result<TcpListener, StartError> {
    net::listen(&config.host, config.port).map_err(|error| match error.kind() {
        io::ErrorKind::AddrNotAvailable => StartError::Host { host: config.host.clone(), error },
        _ => listen_error(config, error),
    })
}

fn listen_error(config: &Config, error: io::Error) -> StartError {
    StartError::Listen { address: format!("{}:{}", config.host, config.port), error }
}

fn public_url(config: &Config, address: SocketAddr) -> Url {
    config.public_url.clone().unwrap_or_else(|| {
        Url::parse(&format!("http://{address}")).expect("a socket address makes a valid URL")
    })
}

fn redirect_uri(config: &Config, public_url: &Url) -> Url {
    config.dialpad.redirect_uri.clone().unwrap_or_else(|| {
        let mut uri = public_url.clone();
        uri.set_path(&format!("{}/callback", public_url.path().trim_end_matches('/')));
        uri
    })
}

/// Opens the database with the keys that its secrets are encrypted with.
///
/// # Errors
/// The database can't be opened, or the key file can be neither read nor created.
pub async fn open_store(
    config: &Config,
    clock: Arc<dyn Clock>,
) -> Result<(Store, DurableWebhooks), StartError> {
    let keys = match &config.token_encryption_keys {
        Some(keys) => keys.clone(),
        None => {
            let path = key_file(&config.database_url);
            warn!(file = %path.display(), "TOKEN_ENCRYPTION_KEY is not set; stored tokens are encrypted with a key file");
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

async fn migrate(store: &Store, auto_migrate: bool) -> Result<(), StartError> {
    if auto_migrate {
        for migration in store.migrate().await? {
            info!(migration, "a migration was applied");
        }
        return Ok(());
    }
    let pending = store.pending_migrations().await?;
    if pending.is_empty() { Ok(()) } else { Err(StartError::NotMigrated(pending)) }
}

fn start_engine(
    config: &Config,
    store: &Store,
    client: &DialpadClient,
    clock: &Arc<dyn Clock>,
) -> Arc<Engine> {
    let ports = Ports {
        journal: Arc::new(store.clone()),
        ledger: Arc::new(store.clone()),
        log: Arc::new(store.clone()),
        gate: Arc::new(store.clone()),
        connections: Arc::new(TokenRefresher {
            store: store.clone(),
            client: client.clone(),
            oauth: config.dialpad.client.clone(),
            environment: config.environment,
            clock: Arc::clone(clock),
        }),
        clock: Arc::clone(clock),
    };
    let tuning = Tuning {
        interaction_settle: config.interaction_settle,
        max_sessions_per_app: config.max_sessions_per_app,
        stuck_session_timeout: config.stuck_session_timeout,
        ..Tuning::default()
    };
    Engine::start(ports, tuning)
}

/// Gives the engine the webhooks that have become durable.
async fn push_webhooks(mut durable: DurableWebhooks, engine: Arc<Engine>) {
    while let Some(batch) = durable.recv().await {
        engine.push(batch.app, batch.events);
    }
}

fn serve(state: &Data<AppState>, console: &Data<Console>, listener: TcpListener) -> io::Result<Server> {
    let workers = state.config.http_workers;
    let stuck_session_timeout = state.config.stuck_session_timeout;
    let (state, console) = (state.clone(), console.clone());
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .app_data(console.clone())
            .configure(console::routes)
            .configure(http::routes)
            .wrap(from_fn(http::answer_preflight))
            .wrap(from_fn(http::catch_panics))
            .wrap(from_fn(http::require_https))
            .wrap(from_fn(http::observe))
            .wrap(from_fn(http::share_with_origins))
            .wrap(from_fn(http::ignore_extra_slashes))
            .wrap(TracingLogger::<RequestSpan>::new())
    })
    .on_connect(move |connection, data| {
        if let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() {
            data.insert(http::ConnectionTimeouts::accept(stream, stuck_session_timeout));
        }
    })
    // A client that closes its side is gone: an endless stream would otherwise continue without a reader.
    .h1_allow_half_closed(false)
    .keep_alive(KEEP_ALIVE)
    .disable_signals()
    .shutdown_timeout(SHUTDOWN_TIMEOUT.as_secs());
    if workers > 0 {
        server = server.workers(workers);
    }
    Ok(server.listen(listener)?.run())
}
