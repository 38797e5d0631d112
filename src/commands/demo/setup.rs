//! Starts a simulated Dialpad and a server, and connects an app through OAuth as a browser would.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Response, Url, redirect};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::cluster::{Cluster, DatabaseError};
use super::folder::Folder;
use super::server::{Server, ServerSettings};
use cti_simulator::{Simulator, SimulatorOptions};

/// The database file in the demo's folder.
const DATABASE: &str = "cti.db";

/// A running demo.
pub(super) struct Setup {
    pub(super) simulator: Simulator,
    servers: Servers,
    base_url: String,
    pub(super) app: App,
    /// The seed of all random choices.
    pub(super) seed: u64,
    /// The last field, so that it is dropped after the database is closed.
    pub(super) folder: Folder,
}

/// One server in this process, or several processes.
enum Servers {
    One(Box<Server>),
    Several(Cluster),
}

impl Servers {
    fn base_url(&self) -> String {
        match self {
            Self::One(server) => server.base_url(),
            Self::Several(cluster) => cluster.base_url(),
        }
    }

    async fn stop(self) {
        match self {
            Self::One(server) => server.stop().await,
            Self::Several(cluster) => cluster.stop().await,
        }
    }
}

/// The app of the CRM.
#[derive(Deserialize)]
pub(super) struct App {
    pub(super) app_id: String,
    pub(super) api_key: String,
}

/// Why the demo could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The folder can't be used.
    #[error("cannot use the folder {path}: {source}")]
    Folder {
        /// The folder.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The simulated Dialpad did not start.
    #[error("cannot start the Dialpad simulator: {0}")]
    Simulator(std::io::Error),
    /// The server did not start.
    #[error("cannot start the server: {0}")]
    Server(Box<dyn Error + Send + Sync>),
    /// Several servers have no database.
    #[error(transparent)]
    Database(DatabaseError),
    /// The server or the simulator could not be reached.
    #[error("cannot {step}: {source}")]
    Unreachable {
        /// The step that failed.
        step: &'static str,
        /// The error.
        source: reqwest::Error,
    },
    /// The server did not subscribe in time.
    #[error("the server did not subscribe to the events of its app within {} s", SUBSCRIBE_TIMEOUT.as_secs())]
    NotSubscribed,
    /// A request was answered with an error.
    #[error("cannot {step}: {status} {body}")]
    Refused {
        /// The step that failed.
        step: &'static str,
        /// The HTTP status.
        status: u16,
        /// The body of the answer.
        body: String,
    },
}

/// How long the server may take to subscribe after the app was connected.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(15);

impl Setup {
    /// Starts simulator and server, creates and connects an app, and waits for its subscriptions.
    pub(super) async fn start(
        given: Option<PathBuf>,
        port: u16,
        seed: u64,
        processes: usize,
    ) -> Result<Self, SetupError> {
        let wanted = given.clone().unwrap_or_else(std::env::temp_dir);
        let folder = Folder::open(given)
            .map_err(|source| SetupError::Folder { path: wanted.display().to_string(), source })?;
        let options = SimulatorOptions {
            client_secret: random_secret(),
            api_key: Some(random_secret()),
            seed,
            ..SimulatorOptions::default()
        };
        let simulator = Simulator::start(options.clone()).await.map_err(SetupError::Simulator)?;
        let internal_secret = random_secret();
        let settings = ServerSettings {
            folder: folder.path(),
            database: &folder.path().join(DATABASE),
            port,
            internal_secret: &internal_secret,
            webhook_secret: &random_secret(),
            encryption_key: &STANDARD.encode(rand::random::<[u8; 32]>()),
            dialpad_url: simulator.base_url(),
            client_id: &options.client_id,
            client_secret: &options.client_secret,
        };
        let servers = match processes {
            1 => Servers::One(Box::new(Server::start(&settings).await?)),
            _ => Servers::Several(Cluster::start(processes, settings).await?),
        };
        let base_url = servers.base_url();
        let connecting = async {
            let client = browser();
            let app = create_connected_app(&client, &base_url, &internal_secret).await?;
            let dialpad_key = options.api_key.as_deref().unwrap_or_default();
            let subscribed = wait_for_subscriptions(&client, simulator.base_url(), dialpad_key);
            timeout(SUBSCRIBE_TIMEOUT, subscribed).await.map_err(|_| SetupError::NotSubscribed)??;
            Ok(app)
        };
        match connecting.await {
            Ok(app) => Ok(Self { simulator, servers, base_url, app, seed, folder }),
            Err(error) => {
                simulator.stop().await;
                servers.stop().await;
                Err(error)
            }
        }
    }

    /// Returns the server's address, as `http://host:port`.
    pub(super) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Creates an address of the console with which one person can sign in once.
    pub(super) fn create_sign_in_address(&self) -> String {
        match &self.servers {
            Servers::One(server) => server.create_sign_in_address(),
            Servers::Several(cluster) => cluster.create_sign_in_address(),
        }
    }

    /// Returns the database file, or the database of several servers.
    pub(super) fn database(&self) -> String {
        match &self.servers {
            Servers::One(_) => self.folder.path().join(DATABASE).display().to_string(),
            Servers::Several(cluster) => cluster.database().to_owned(),
        }
    }

    /// Returns several servers; `None` if there is one.
    pub(super) fn cluster(&self) -> Option<&Cluster> {
        match &self.servers {
            Servers::One(_) => None,
            Servers::Several(cluster) => Some(cluster),
        }
    }

    /// Kills the server that runs the app. Returns its name; `None` if there are no others.
    pub(super) async fn kill_owner(&mut self) -> Option<String> {
        match &mut self.servers {
            Servers::One(_) => None,
            Servers::Several(cluster) => cluster.kill_owner(&self.app.app_id).await,
        }
    }

    /// Stops everything and removes a temporary folder.
    pub(super) async fn stop(self) {
        // The simulator first: it would retry webhooks to a stopped server.
        self.simulator.stop().await;
        self.servers.stop().await;
    }
}

/// Returns a client that does not follow redirects: the cookie belongs to the server and not to Dialpad, and the code shows
/// the three requests of a connection. A proxy must not come between this process and this machine.
fn browser() -> Client {
    Client::builder()
        .redirect(redirect::Policy::none())
        .timeout(Duration::from_secs(10))
        .no_proxy()
        .build()
        .expect("the TLS backend is compiled in")
}

/// Creates an app and connects it to Dialpad, as its administrator would in a browser.
async fn create_connected_app(
    client: &Client,
    base_url: &str,
    internal_secret: &str,
) -> Result<App, SetupError> {
    let step = "create an app";
    let request = client
        .post(format!("{base_url}/internal/apps"))
        .bearer_auth(internal_secret)
        .json(&json!({"name": "cti-server demo"}));
    let created = checked(step, request.send().await).await?;
    let app: App = created.json().await.map_err(|source| SetupError::Unreachable { step, source })?;

    let step = "begin the connection of the app (/authorize)";
    let request = client.get(format!("{base_url}/authorize")).query(&[("app_id", &app.app_id)]);
    let asked = checked(step, request.send().await).await?;
    let cookies = cookies(&asked);
    let consent = location(step, asked).await?;

    let step = "get Dialpad's consent (/oauth2/authorize)";
    let approved = checked(step, client.get(consent).send().await).await?;
    let callback = location(step, approved).await?;

    let step = "finish the connection of the app (/callback)";
    checked(step, client.get(callback).header(COOKIE, cookies).send().await).await?;
    Ok(app)
}

/// Waits until both kinds of events are subscribed: a flow that starts earlier would lose its first webhook.
async fn wait_for_subscriptions(
    client: &Client,
    simulator_url: &str,
    api_key: &str,
) -> Result<(), SetupError> {
    #[derive(Deserialize)]
    struct Page {
        #[serde(default)]
        items: Vec<IgnoredAny>,
    }
    let step = "ask Dialpad for its subscriptions";
    for kind in ["call", "sms"] {
        loop {
            let request =
                client.get(format!("{simulator_url}/api/v2/subscriptions/{kind}")).bearer_auth(api_key);
            let listed = checked(step, request.send().await).await?;
            let page: Page =
                listed.json().await.map_err(|source| SetupError::Unreachable { step, source })?;
            if !page.items.is_empty() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}

/// Returns an answer that is not an error.
async fn checked(step: &'static str, answer: reqwest::Result<Response>) -> Result<Response, SetupError> {
    let answer = answer.map_err(|source| SetupError::Unreachable { step, source })?;
    let status = answer.status();
    if status.is_client_error() || status.is_server_error() {
        return Err(refusal(step, answer).await);
    }
    Ok(answer)
}

/// Returns the target of a redirect.
async fn location(step: &'static str, answer: Response) -> Result<Url, SetupError> {
    let target = answer.headers().get(LOCATION).and_then(|target| target.to_str().ok());
    match target.and_then(|target| answer.url().join(target).ok()) {
        Some(url) if answer.status().is_redirection() => Ok(url),
        Some(_) | None => Err(refusal(step, answer).await),
    }
}

async fn refusal(step: &'static str, answer: Response) -> SetupError {
    let status = answer.status().as_u16();
    let body = answer.text().await.unwrap_or_else(|error| error.to_string());
    SetupError::Refused { step, status, body }
}

/// Returns the cookies of an answer without their attributes, as a browser sends them.
fn cookies(answer: &Response) -> String {
    let set = answer.headers().get_all(SET_COOKIE).iter();
    let pairs = set.filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
    pairs.collect::<Vec<_>>().join("; ")
}

fn random_secret() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}
