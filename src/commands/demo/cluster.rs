//! `demo --processes N`: several servers on one PostgreSQL. One is killed while calls are under way.

mod balancer;
mod database;

use std::{
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::Duration,
};

use cti_actors::clock::{Clock, SystemClock};
use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

pub(super) use self::database::DatabaseError;
use self::{balancer::Balancer, database::Database};
use super::{server::ServerSettings, setup::SetupError};
use crate::console;

/// How long the servers may take to start, the first of them with all migrations.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const START_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The servers, the balancer before them and their database.
pub(super) struct Cluster {
    servers: Vec<Server>,
    balancer: Balancer,
    database: Database,
    internal_secret: SecretString,
    client: Client,
}

struct Server {
    /// Its `PROCESS_ID`.
    name: String,
    base_url: String,
    /// `None` once it was killed.
    child: Option<Child>,
}

/// What `/internal/cluster` says, as far as it counts here.
#[derive(Deserialize)]
struct Leases {
    leases: Vec<Lease>,
}

#[derive(Deserialize)]
struct Lease {
    app_id: String,
    owner: Option<String>,
}

impl Cluster {
    /// Starts the servers one after the other: the first one makes the tables.
    pub(super) async fn start(size: usize, settings: ServerSettings<'_>) -> Result<Self, SetupError> {
        let balancer = Balancer::start(settings.port).await.map_err(failed)?;
        let database = Database::create(settings.folder).await.map_err(SetupError::Database)?;
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().map_err(failed)?;
        let internal_secret = SecretString::from(settings.internal_secret);
        let mut cluster = Self { servers: Vec::new(), balancer, database, internal_secret, client };
        for number in 1..=size {
            if let Err(error) = cluster.add(number, &settings).await {
                cluster.stop().await;
                return Err(error);
            }
        }
        Ok(cluster)
    }

    async fn add(&mut self, number: usize, settings: &ServerSettings<'_>) -> Result<(), SetupError> {
        let port = balancer::free_port().map_err(failed)?;
        let name = format!("demo-{number}");
        let variables = settings.variables([
            ("PORT", port.to_string()),
            ("DATABASE_URL", self.database.url().to_owned()),
            ("PUBLIC_URL", self.base_url()),
            ("PROCESS_ID", name.clone()),
            ("SPOOL_DIR", settings.folder.join(format!("spool-{number}")).display().to_string()),
            ("TOKEN_ENCRYPTION_KEY", settings.encryption_key.to_owned()),
            // The private PostgreSQL does not sync to the disk.
            ("ALLOW_UNSAFE_DATABASE", "true".to_owned()),
        ]);
        let log = std::env::var("RUST_LOG").unwrap_or_else(|_| "error".to_owned());
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg("serve").current_dir(settings.folder).env_clear().envs(variables).env("RUST_LOG", log);
        // Ctrl-C at the terminal is for the demo, which then stops the servers.
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0).spawn();
        let child = child.map_err(failed)?;
        let base_url = format!("http://127.0.0.1:{port}");
        self.servers.push(Server { name, base_url: base_url.clone(), child: Some(child) });
        let began = Instant::now();
        loop {
            let asked = self.client.get(format!("{base_url}/health/ready")).send().await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                self.balancer.add(port);
                return Ok(());
            }
            let ended = self.servers.last_mut().and_then(|server| server.child.as_mut()?.try_wait().ok()?);
            if let Some(status) = ended {
                return Err(SetupError::Server(format!("server {number} ended: {status}").into()));
            }
            if began.elapsed() > START_TIMEOUT {
                return Err(SetupError::Server(format!("server {number} is not ready in time").into()));
            }
            sleep(START_CHECK_INTERVAL).await;
        }
    }

    /// Returns the address of the balancer.
    pub(super) fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.balancer.port())
    }

    /// Creates an address of the console with which one person can sign in once, at whichever server the balancer picks.
    pub(super) fn create_sign_in_address(&self) -> String {
        console::create_sign_in_address(&self.base_url(), &self.internal_secret, SystemClock.now())
    }

    /// Returns the addresses of the servers that run.
    pub(super) fn servers(&self) -> impl Iterator<Item = (&str, &str)> {
        let running = self.servers.iter().filter(|server| server.child.is_some());
        running.map(|server| (server.name.as_str(), server.base_url.as_str()))
    }

    /// Describes the database.
    pub(super) fn database(&self) -> &str {
        self.database.described()
    }

    /// Kills the server that runs the app, without any warning. Returns its name; `None` if only one is left.
    pub(super) async fn kill_owner(&mut self, app_id: &str) -> Option<String> {
        if self.servers().count() < 2 {
            return None;
        }
        let owner = self.owner(app_id).await;
        let is_owner = |server: &&mut Server| owner.as_ref().is_none_or(|owner| server.name == *owner);
        let server = self.servers.iter_mut().filter(|server| server.child.is_some()).find(is_owner)?;
        let mut child = server.child.take()?;
        // It fails only if the server has ended by itself.
        let _ = child.kill();
        let _ = child.wait();
        Some(server.name.clone())
    }

    /// Returns the server that runs the app now; `None` if nobody says.
    pub(super) async fn owner(&self, app_id: &str) -> Option<String> {
        let (_, base_url) = self.servers().next()?;
        let asked = self
            .client
            .get(format!("{base_url}/internal/cluster"))
            .bearer_auth(self.internal_secret.expose_secret());
        let Leases { leases } = asked.send().await.ok()?.json().await.ok()?;
        leases.into_iter().find(|lease| lease.app_id == app_id)?.owner
    }

    /// Stops the servers as planned, and removes the database.
    pub(super) async fn stop(self) {
        let mut children: Vec<Child> = self.servers.into_iter().filter_map(|server| server.child).collect();
        for child in &children {
            // It fails only if the server has ended.
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
        }
        for child in &mut children {
            let began = Instant::now();
            while matches!(child.try_wait(), Ok(None)) && began.elapsed() < START_TIMEOUT {
                sleep(START_CHECK_INTERVAL).await;
            }
            // It fails only if the server has ended.
            let _ = child.kill();
        }
        self.database.remove().await;
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> SetupError {
    SetupError::Server(Box::new(error))
}
