//! The start, in numbered steps, and the running server. [`crate::shutdown`] is the reverse.

mod address;
mod database;
mod early;
mod error;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    dev::ServerHandle,
    web::{Data, ServiceConfig},
};
use cti_actors::{
    Engine, Owned, Ports, Tuning,
    clock::{Clock, SystemClock},
    model::number,
};
use secrecy::SecretString;
use tokio::{runtime::Handle, task::JoinHandle};
use tracing::{info, warn};

use self::address::{listen, listen_error, public_url, redirect_uri};
pub(crate) use self::database::key_file;
pub use self::{database::open_store, error::StartError};
use crate::{
    cluster::{self, Cluster},
    config::Config,
    console::{self, Console},
    dialpad::{
        self,
        api::Dialpad,
        client::DialpadClient,
        oauth::{access::AccessBook, refresh::TokenRefresher},
        webhooks::WebhookReconciler,
    },
    enrichment::CallEnrichment,
    http::{self, AppState, EarlyState},
    jobs::{self, Services, app_deletion::AppDeletion},
    recovery::{self, Recovery},
    shutdown::StopSignals,
    spool::{
        self, Spool,
        drain::{self, Drain},
    },
    store::{self, Store, journal::pending::DurableWebhooks},
    tasks::Tasks,
    telemetry::{self, RuntimeKind, metrics::Metrics, traces},
    threads,
    tls::{self, Tls},
};

/// How often the journal is swept where other processes write into it.
const SHARED_SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A running server.
pub struct Application {
    address: SocketAddr,
    pub(crate) server: ServerHandle,
    pub(crate) running: JoinHandle<io::Result<()>>,
    pub(crate) tasks: Tasks,
    pub(crate) engine: Arc<Engine>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) store: Store,
    pub(crate) recovery: Recovery,
    pub(crate) traces: Option<traces::Export>,
    scheme: &'static str,
    /// A secret of the administrators.
    secret: SecretString,
    clock: Arc<dyn Clock>,
    pub(crate) stop_signals: StopSignals,
}

impl Application {
    /// Starts a server. Must be called within an actix system, whose runtime will own the database's connections.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is running then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        // 1. What depends on nothing.
        let started = Instant::now();
        threads::check(config.http_workers)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tasks = Tasks::new();
        let mut stop_signals = StopSignals::new().map_err(setup)?;
        let metrics = Metrics::install(register_metrics).map_err(setup)?;
        metrics.watch_runtime(RuntimeKind::Main, &Handle::current());
        tasks.keep("report repeated lines", (), |()| Box::pin(telemetry::report_repeats()));
        let traces = config.otlp.as_ref().map(traces::start).transpose().map_err(setup)?;
        let client = DialpadClient::new(config.dialpad.base_url.clone()).map_err(setup)?;
        let tls = config.tls.as_ref().map(Tls::load).transpose()?;

        // The first number that needs a plan would block the thread of its request. Without optimization it takes half
        // a second of the processor, in each of the many servers that the tests start.
        if cfg!(not(debug_assertions)) {
            drop(tokio::task::spawn_blocking(number::load_plans));
        }

        // 2. The address, before anything durable happens: a second server on the same port fails here.
        let listener = listen(&config)?;
        let address = listener.local_addr().map_err(|error| listen_error(&config, error))?;
        let public_url = public_url(&config, tls.as_ref(), address);
        let redirect_uri = redirect_uri(&config, &public_url);

        if let Some(tls) = &tls {
            tasks.keep("reload the certificate", tls.clone(), |tls| Box::pin(tls.reload()));
        }

        // 3. The spool, and the database with its schema. Until that is there, webhooks go to the spool.
        let spool = Spool::open(config.spool.as_ref())?;
        tasks.keep("check the disk", Arc::clone(&spool), |spool| Box::pin(drain::check_disk(spool)));
        let early = EarlyState {
            config: config.clone(),
            spool: Arc::clone(&spool),
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            public_url: public_url.clone(),
            started,
        };
        let opened = early::open(early, &listener, tls.as_ref(), &mut stop_signals).await?;
        let early::Opened { store, durable_webhooks, membership, early_server } = opened;
        if let Err(error) = store.routes().learn_all().await {
            warn!(%error, "the addresses of the apps could not be read yet");
        }

        // 4. The engine, and the apps that this process works on. What an earlier run has left is processed.
        let engine = start_engine(&config, &store, &client, &clock);
        let pushing = (durable_webhooks, Arc::clone(&engine));
        tasks.keep("push webhooks", pushing, |(durable, engine)| Box::pin(push_webhooks(durable, engine)));
        cluster::bus::start(&tasks, &config, &store, &engine, &clock);
        let cluster = Cluster::start(store.clone(), Arc::clone(&engine), membership, &tasks).await;

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
            canary: http::CanaryVerdict::default(),
            rate_limiter: http::RateLimiter::new(&config.rate_limits),
            silence: Arc::clone(&recovery.silence),
            store: store.clone(),
            spool: Arc::clone(&spool),
            engine: Arc::clone(&engine),
            tasks: tasks.clone(),
            dialpad,
            app_deletion,
            webhook_reconciler,
            metrics,
            public_url,
            redirect_uri,
            clock,
            cluster: Arc::clone(&cluster),
            started,
            config,
        });
        for runtime in engine.runtimes() {
            state.metrics.watch_runtime(RuntimeKind::Engine, &runtime);
        }
        let console = Data::new(Console::default());
        let of_console = {
            let console = console.clone();
            move |app: &mut ServiceConfig| {
                app.app_data(console.clone());
                console::routes(app);
            }
        };
        let server = http::serve(&state, listener, tls.as_ref(), of_console);
        let server = server.map_err(|error| listen_error(&state.config, error))?;
        let handle = server.handle();
        let running = tokio::spawn(server);
        Drain {
            spool,
            store: store.clone(),
            engine: Arc::clone(&engine),
            silence: Arc::clone(&state.silence),
        }
        .start(&tasks);
        if let Some(early_server) = early_server {
            tasks.spawn(early::end(early_server));
        }

        let plotted = (console, state.metrics.clone());
        tasks.keep("collect samples", plotted, |(console, metrics)| Box::pin(console.collect(metrics)));

        // 7. The background jobs, which look for what was missed until now.
        jobs::start(&tasks, &state.config, services);
        if let Some(interval) = state.config.canary_interval {
            tasks.spawn(http::run_canary(state.clone(), interval));
        }
        let scheme = tls::scheme(tls.as_ref());
        info!(public_url = %state.public_url, "listening on {scheme}://{address}");
        let (clock, secret) =
            (Arc::clone(&state.clock), state.config.internal_secrets.first().cloned().unwrap_or_default());
        Ok(Self {
            address,
            server: handle,
            running,
            tasks,
            engine,
            cluster,
            store,
            recovery,
            traces,
            scheme,
            secret,
            clock,
            stop_signals,
        })
    }

    /// Returns the URL that the server listens on.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Creates an address of the console with which one person can sign in once. Without a secret of administrators,
    /// nobody can sign in.
    #[must_use]
    pub fn create_sign_in_address(&self) -> String {
        console::create_sign_in_address(&self.base_url(), &self.secret, self.clock.now())
    }
}

fn register_metrics() {
    telemetry::metrics::register_metrics();
    store::gauges::register_metrics();
    cluster::bus::metrics::register_metrics();
    cluster::ownership::metrics::register_metrics();
    dialpad::register_metrics();
    recovery::metrics::register_metrics();
    spool::metrics::register_metrics();
    http::metrics::register_metrics();
    tls::register_metrics();
}

fn setup(error: impl std::fmt::Display) -> StartError {
    StartError::Setup(error.to_string())
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
    let owned = cluster::owned_apps(store);
    let tuning = Tuning {
        owned,
        // Another process may have written what this one is to process.
        sweep_interval: match owned {
            Owned::AllApps => Tuning::default().sweep_interval,
            Owned::LeasedApps => SHARED_SWEEP_INTERVAL,
        },
        interaction_settle: config.interaction_settle,
        max_sessions_per_app: config.max_sessions_per_app,
        stuck_session_timeout: config.stuck_session_timeout,
        ..Tuning::default()
    };
    Engine::start(ports, tuning)
}

/// Gives the engine the webhooks that have become durable.
async fn push_webhooks(durable: &mut DurableWebhooks, engine: &Engine) {
    while let Some(batch) = durable.recv().await {
        engine.push(batch.app, batch.events);
    }
}
