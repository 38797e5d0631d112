//! A Dialpad of one's own: OAuth, REST and signed webhooks over real HTTP, for whoever has no account at hand.
//!
//! It shares nothing with the server that talks to it. Calls happen on request (`POST /simulator/flows`), are the same
//! for the same seed, and each webhook is written down together with the CRM event that it must cause.
//!
//! | path | what |
//! |---|---|
//! | `GET /oauth2/authorize`, `POST /oauth2/token`, `POST /oauth2/deauthorize` | OAuth 2 with PKCE and rotating refresh tokens |
//! | `GET /api/v2/users/me`, `GET /api/v2/company` | who the token belongs to |
//! | `/api/v2/webhooks`, `/api/v2/subscriptions/call`, `/api/v2/subscriptions/sms` | where events go |
//! | `GET /api/v2/call`, `GET /api/v2/call/{id}`, `GET /api/v2/transcripts/{call_id}` | every call that was played |
//! | `POST /api/v2/call`, `POST /api/v2/users/{id}/initiate_call`, `PUT /api/v2/call/{id}/actions/hangup` | calls that an app begins or ends |
//! | `GET /r/{id}` | recordings and voicemails |
//! | `POST /simulator/flows`, `GET /simulator/flows/{run_id}`, `GET /simulator/deliveries` | flows on demand, and what was delivered |
//! | `GET`, `PUT`, `PATCH /simulator/switches` | what goes otherwise than usual |
//! | `GET /simulator/requests`, `POST /simulator/tokens/revoke`, `/simulator/api/v2/…` | what was asked, and how to break things from outside |
//!
//! # Life
//!
//! 1. [`Simulator::start`] binds the address, so that a wrong one fails at once.
//! 2. A thread of its own runs the HTTP server, the flows and the deliveries: the caller's runtime may be of any kind.
//! 3. [`Simulator::stop`] cuts connections, drops what is playing and joins the thread; dropping it does the same
//!    without waiting.

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

/// The company that simulator, demo and `trigger` share unless told otherwise.
pub const DEMO_COMPANY_ID: i64 = 12_345_678;

/// How the simulator behaves.
#[derive(Clone)]
pub struct SimulatorOptions {
    /// Where to listen; port 0 is any free one.
    pub listen: SocketAddr,
    /// The only OAuth client there is.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: String,
    /// A static API key that is as good as a token; `None` admits tokens only.
    pub api_key: Option<String>,
    /// The company that tokens belong to, unless a switch names another one.
    pub company_id: i64,
    /// Who approves connections.
    pub approval: Approval,
    /// What the chance of runs without a seed of their own comes from.
    pub seed: u64,
    /// The waits before each new try of a webhook that was answered with 5xx.
    pub backoff: Vec<Duration>,
    /// What goes otherwise than usual, from the start.
    pub switches: Switches,
}

/// Who approves a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approval {
    /// Nobody: every request is approved at once.
    #[default]
    Automatic,
    /// A person, on a page with two buttons.
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
    /// Dropping it is the signal to stop.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Simulator {
    /// Starts a simulator; when this returns, it answers.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on, or the system has no threads left.
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

    /// Where it listens, as `http://host:port`.
    pub fn base_url(&self) -> &str {
        &self.state.base_url
    }

    /// Begins to play flows and returns the id of the run: `POST /simulator/flows` without HTTP.
    ///
    /// # Errors
    ///
    /// The request asks for something that cannot be played.
    pub fn play(&self, request: FlowRequest) -> Result<String, InvalidFlowRequest> {
        State::play(&self.state, request)
    }

    /// How far a run has come; none if there is no such run.
    pub fn progress(&self, run_id: &str) -> Option<Progress> {
        self.state.progress(run_id)
    }

    /// The deliveries after number `after`, of all runs.
    pub fn deliveries(&self, after: u64) -> Vec<Delivery> {
        lock(&self.state.sender.deliveries).after(after, None)
    }

    /// Stops it: open connections are cut, calls that are playing end in the middle.
    pub async fn stop(self) {
        drop(self.stop);
        let thread = self.thread;
        // A panic of that thread was printed where it happened; whoever stops the simulator wants it gone either way.
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
            // A caller that has gone away needs no answer.
            let _ = started.send(Err(error));
            return;
        }
    };
    let handle = server.handle();
    let running = actix_web::rt::spawn(server);
    let _ = started.send(Ok(state));
    // Nothing is ever sent: the other end is dropped, by `stop` or together with the simulator.
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

/// An address that listens everywhere is no address to connect to.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
