//! A simulated Dialpad: OAuth, REST and signed webhooks over real HTTP, for development without a Dialpad account.
//!
//! It shares no code with the server. Calls happen on request (`POST /simulator/flows`) and are the same for the same
//! seed. The delivery log lists each webhook with the CRM event that it must cause.
//!
//! | path | purpose |
//! |---|---|
//! | `GET /oauth2/authorize`, `POST /oauth2/token`, `POST /oauth2/deauthorize` | OAuth 2 with PKCE and rotating refresh tokens |
//! | `GET /api/v2/users`, `/offices`, `/callcenters`, `/departments`, `/numbers`, `/userdevices`, `/company`, `/app/settings` | the company of the token and its directory |
//! | `/api/v2/contacts`, `/websockets`, `/blockednumbers` | stored as they come |
//! | `/api/v2/webhooks`, `/api/v2/subscriptions/call`, `/api/v2/subscriptions/sms` | webhooks and subscriptions |
//! | `GET /api/v2/call`, `GET /api/v2/call/{id}`, `GET /api/v2/transcripts/{call_id}` | every call that was played |
//! | `POST /api/v2/call`, `POST /api/v2/users/{id}/initiate_call`, `PUT /api/v2/call/{id}/actions/hangup` | places and ends calls |
//! | `/api/v2/call/{id}/transfer`, `…/participants/add`, `…/unpark`, `…/labels`, `…/ai_recap`, `PATCH /api/v2/users/{id}/activecall` | changes a running call |
//! | `/api/v2/users/{id}/screenpop`, `…/togglednd`, `…/status`, `…/caller_id`, `POST /api/v2/sms` | what is done to a user, and texts |
//! | `/api/v2/recordingsharelink`, `/api/v2/callreviewsharelink`, `/shared/…` | links for people |
//! | `GET /r/{id}` | recordings and voicemails |
//! | `POST /simulator/calls` | records a call that happened elsewhere |
//! | `POST /simulator/flows`, `GET /simulator/flows/{run_id}`, `GET /simulator/deliveries` | flows on demand, and the delivery log |
//! | `GET`, `PUT`, `PATCH /simulator/switches` | switches that change the simulator's behavior |
//! | `GET /simulator/requests`, `POST /simulator/tokens/revoke`, `/simulator/api/v2/…` | the request log, and controls for tests |
//!
//! # Lifecycle
//!
//! 1. [`Simulator::start`] binds the address, so that a wrong address fails at once.
//! 2. The HTTP server, the flows and the deliveries run on a thread with a runtime of its own: the caller may use any
//!    runtime.
//! 3. [`Simulator::stop`] closes connections, ends running flows and joins the thread. Dropping the simulator does the
//!    same without waiting.

pub(crate) mod authorize;
pub(crate) mod call_log;
pub mod clock;
pub(crate) mod consent;
pub(crate) mod control;
pub(crate) mod delivery_log;
pub(crate) mod dispatch;
pub(crate) mod faults;
pub(crate) mod flow_request;
pub mod flows;
pub(crate) mod grants;
pub(crate) mod middleware;
pub(crate) mod rate_limiter;
pub(crate) mod registry;
pub(crate) mod request_log;
pub(crate) mod rest;
pub(crate) mod runs;
pub(crate) mod sender;
pub mod signed_webhook;
pub(crate) mod state;
pub(crate) mod switches;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod token;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub use delivery_log::Delivery;
pub use faults::{EndpointGroup, FaultAnswer, NextAnswer};
pub use flow_request::{FlowChoice, FlowRequest, InvalidFlowRequest, Target, UnknownFlowChoice};
pub use runs::Progress;
use state::{State, lock};
pub use switches::{InvalidSwitch, SwitchSetting, Switches, WebhookOrder};

/// The default company of simulator, demo and `trigger`.
pub const DEMO_COMPANY_ID: i64 = 12_345_678;

/// Configures a simulator.
#[derive(Clone)]
pub struct SimulatorOptions {
    /// The address to listen on; port 0 is any free port.
    pub listen: SocketAddr,
    /// The only OAuth client that the simulator accepts.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: String,
    /// A static API key that is accepted like an access token; `None` accepts access tokens only.
    pub api_key: Option<String>,
    /// The company that tokens belong to; the switch `company_id` overrides it.
    pub company_id: i64,
    /// Who approves connections.
    pub approval: Approval,
    /// The seed of all runs that have no seed of their own.
    pub seed: u64,
    /// The wait before each retry of a webhook that was answered with 5xx.
    pub backoff: Vec<Duration>,
    /// The switches at the start.
    pub switches: Switches,
}

/// Who approves a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approval {
    /// Approves every request at once.
    #[default]
    Automatic,
    /// Asks a person on a page with two buttons.
    Page,
}

impl Default for SimulatorOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            client_id: "demo-client".to_owned(),
            client_secret: "demo-secret".to_owned(),
            api_key: None,
            company_id: DEMO_COMPANY_ID,
            approval: Approval::Automatic,
            seed: 1,
            backoff: [2, 4, 8].map(Duration::from_secs).to_vec(),
            switches: Switches::default(),
        }
    }
}

/// A running simulator.
pub struct Simulator {
    state: web::Data<State>,
    /// Dropping it stops the simulator.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Simulator {
    /// Starts a simulator. When this returns, it answers requests.
    ///
    /// # Errors
    ///
    /// Fails if the address cannot be bound or no thread can be started.
    pub async fn start(options: SimulatorOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen)?;
        let base_url = format!("http://{}", reachable(listener.local_addr()?));
        let (stop, stopped) = oneshot::channel();
        let (started, running) = oneshot::channel();
        let thread = thread::Builder::new().name("dialpad-simulator".to_owned()).spawn(move || {
            actix_web::rt::System::new().block_on(serve(listener, options, base_url, started, stopped));
        })?;
        let state =
            running.await.map_err(|_| io::Error::other("the simulator's thread died while starting"))??;
        Ok(Self { state, stop, thread })
    }

    /// Returns the address that it listens on, as `http://host:port`.
    pub fn base_url(&self) -> &str {
        &self.state.base_url
    }

    /// Starts a run of flows and returns the id of the run: `POST /simulator/flows` without HTTP.
    ///
    /// # Errors
    ///
    /// Fails if the request cannot be played.
    pub fn play(&self, request: FlowRequest) -> Result<String, InvalidFlowRequest> {
        State::play(&self.state, request)
    }

    /// Returns the progress of a run; `None` if there is no such run.
    pub fn progress(&self, run_id: &str) -> Option<Progress> {
        self.state.progress(run_id)
    }

    /// Returns the deliveries after number `after`, of all runs.
    pub fn deliveries(&self, after: u64) -> Vec<Delivery> {
        lock(&self.state.sender.deliveries).after(after, None)
    }

    /// Stops the simulator: closes open connections and ends running calls in the middle.
    pub async fn stop(self) {
        drop(self.stop);
        let thread = self.thread;
        // A panic of that thread was already printed; the simulator is gone in either case.
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}

async fn serve(
    listener: TcpListener,
    options: SimulatorOptions,
    base_url: String,
    started: oneshot::Sender<io::Result<web::Data<State>>>,
    stopped: oneshot::Receiver<()>,
) {
    let state = web::Data::new(State::new(options, base_url, Handle::current()));
    let served = state.clone();
    let server = HttpServer::new(move || {
        App::new().app_data(served.clone()).configure(routes).wrap(from_fn(middleware::intercept))
    })
    .on_connect(middleware::store_socket)
    .workers(1)
    .disable_signals()
    .listen(listener);
    let server = match server {
        Ok(server) => server.run(),
        Err(error) => {
            // The caller may have been cancelled.
            let _ = started.send(Err(error));
            return;
        }
    };
    let handle = server.handle();
    let running = actix_web::rt::spawn(server);
    let _ = started.send(Ok(state));
    // Nothing is ever sent: `stop` or the drop of the simulator drops the sender.
    let _ = stopped.await;
    handle.stop(false).await;
    let _ = running.await;
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/oauth2/authorize").get(authorize::get).post(authorize::post))
        .route("/oauth2/token", web::post().to(token::token))
        .route("/oauth2/deauthorize", web::post().to(token::deauthorize))
        .configure(rest::routes)
        .configure(control::routes);
}

/// Replaces an unspecified address such as `0.0.0.0`, to which no client can connect, by the loopback address.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
