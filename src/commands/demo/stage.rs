//! Sets the stage: a simulated Dialpad, a server, and an app that is connected through the OAuth path of a browser.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Response, Url, redirect};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::folder::Folder;
use super::server::{Server, Wishes};
use cti_simulator::{Simulator, SimulatorOptions};

/// The file in the demo's folder.
const DATABASE: &str = "cti.db";

/// Everything that takes part in a demo, running.
pub(super) struct Stage {
    pub(super) simulator: Simulator,
    server: Server,
    base_url: String,
    pub(super) app: App,
    /// What all chance comes from.
    pub(super) seed: u64,
    /// Last, so that it is dropped when the database in it is closed.
    pub(super) folder: Folder,
}

/// The app that the events are for.
#[derive(Deserialize)]
pub(super) struct App {
    pub(super) app_id: String,
    pub(super) api_key: String,
}

/// Why the stage could not be set.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// There is no place for the database.
    #[error("cannot use the folder {path}: {source}")]
    Folder {
        /// Which one.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The simulated Dialpad did not start.
    #[error("cannot start the Dialpad simulator: {0}")]
    Simulator(std::io::Error),
    /// The server did not start.
    #[error("cannot start the server: {0}")]
    Server(Box<dyn Error + Send + Sync>),
    /// The server, or the simulator, could not be asked.
    #[error("cannot {step}: {source}")]
    Unreachable {
        /// What was tried.
        step: &'static str,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// No webhook could come.
    #[error("the server did not subscribe to the events of its app within {} s", SUBSCRIBE_LIMIT.as_secs())]
    NotSubscribed,
    /// It answered otherwise than a first user would hope.
    #[error("cannot {step}: {status} {body}")]
    Refused {
        /// What was tried.
        step: &'static str,
        /// The HTTP status.
        status: u16,
        /// What it said.
        body: String,
    },
}

/// From the connection of the app until its first webhook can come.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(15);

impl Stage {
    /// Starts simulator and server, creates an app, connects it and waits until its events can come.
    pub(super) async fn set(given: Option<PathBuf>, port: u16, seed: u64) -> Result<Self, StageError> {
        let wanted = given.clone().unwrap_or_else(std::env::temp_dir);
        let folder = Folder::open(given)
            .map_err(|source| StageError::Folder { path: wanted.display().to_string(), source })?;
        let options = SimulatorOptions {
            client_secret: random_secret(),
            api_key: Some(random_secret()),
            seed,
            ..SimulatorOptions::default()
        };
        let simulator = Simulator::start(options.clone()).await.map_err(StageError::Simulator)?;
        let internal_secret = random_secret();
        let server = Server::start(Wishes {
            database: &folder.path().join(DATABASE),
            port,
            internal_secret: &internal_secret,
            dialpad_url: simulator.base_url(),
            client_id: &options.client_id,
            client_secret: &options.client_secret,
        })
        .await?;
        let base_url = server.base_url();
        let admitted = async {
            let client = browser();
            let app = admit(&client, &base_url, &internal_secret).await?;
            let dialpad_key = options.api_key.as_deref().unwrap_or_default();
            let subscribed = subscriptions_stand(&client, simulator.base_url(), dialpad_key);
            timeout(SUBSCRIBE_LIMIT, subscribed).await.map_err(|_| StageError::NotSubscribed)??;
            Ok(app)
        };
        match admitted.await {
            Ok(app) => Ok(Self { simulator, server, base_url, app, seed, folder }),
            Err(error) => {
                simulator.stop().await;
                server.stop().await;
                Err(error)
            }
        }
    }

    /// Where the server listens, as `http://host:port`.
    pub(super) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The database file.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.path().join(DATABASE)
    }

    /// Stops everything; a temporary folder is gone afterwards.
    pub(super) async fn clear(self) {
        // The simulator first: a server that is gone would only be retried.
        self.simulator.stop().await;
        self.server.stop().await;
    }
}

/// Redirects are followed by hand, step by step: the cookie belongs to the server and not to Dialpad, and a reader sees
/// the three requests of a connection. A proxy has no place between us and this machine.
fn browser() -> Client {
    Client::builder()
        .redirect(redirect::Policy::none())
        .timeout(Duration::from_secs(10))
        .no_proxy()
        .build()
        .expect("the TLS backend is compiled in")
}

/// Creates an app and connects it to Dialpad as its administrator would, in a browser.
async fn admit(client: &Client, base_url: &str, internal_secret: &str) -> Result<App, StageError> {
    let step = "create an app";
    let request = client
        .post(format!("{base_url}/internal/apps"))
        .bearer_auth(internal_secret)
        .json(&json!({"name": "cti-server demo"}));
    let created = checked(step, request.send().await).await?;
    let app: App = created.json().await.map_err(|source| StageError::Unreachable { step, source })?;

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

/// Returns when both kinds of events have been subscribed to: a flow that began earlier would miss its first webhook.
async fn subscriptions_stand(client: &Client, simulator_url: &str, api_key: &str) -> Result<(), StageError> {
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
                listed.json().await.map_err(|source| StageError::Unreachable { step, source })?;
            if !page.items.is_empty() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}

/// An answer that is neither an error of ours nor of theirs.
async fn checked(step: &'static str, answer: reqwest::Result<Response>) -> Result<Response, StageError> {
    let answer = answer.map_err(|source| StageError::Unreachable { step, source })?;
    let status = answer.status();
    if status.is_client_error() || status.is_server_error() {
        return Err(refusal(step, answer).await);
    }
    Ok(answer)
}

/// Where an answer sends the browser.
async fn location(step: &'static str, answer: Response) -> Result<Url, StageError> {
    let target = answer.headers().get(LOCATION).and_then(|target| target.to_str().ok());
    match target.and_then(|target| answer.url().join(target).ok()) {
        Some(url) if answer.status().is_redirection() => Ok(url),
        Some(_) | None => Err(refusal(step, answer).await),
    }
}

async fn refusal(step: &'static str, answer: Response) -> StageError {
    let status = answer.status().as_u16();
    let body = answer.text().await.unwrap_or_else(|error| error.to_string());
    StageError::Refused { step, status, body }
}

/// What a browser would send back: each cookie without its attributes.
fn cookies(answer: &Response) -> String {
    let set = answer.headers().get_all(SET_COOKIE).iter();
    let pairs = set.filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
    pairs.collect::<Vec<_>>().join("; ")
}

fn random_secret() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}
