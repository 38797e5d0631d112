//! The server under test: the same binary as the bench, as a child process with its own database and a fixed
//! configuration. It ends with the bench.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::time::sleep;

use super::Failure;
use super::scratch::{DatabaseChoice, Scratch};

/// How long the server may take to listen, including the migrations of an empty database.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// From SIGTERM to SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The key that signs the webhooks of a bench.
pub(crate) const WEBHOOK_SECRET: &str = "bench-webhook-secret";

/// A running server with its database.
#[derive(Debug)]
pub(crate) struct ServerUnderTest {
    /// The address that it listens on.
    pub(crate) addr: SocketAddr,
    secrets: Secrets,
    /// Dropped before `scratch`: the process must have ended when its database is removed.
    process: Process,
    /// Its database and its log.
    pub(crate) scratch: Scratch,
}

/// An app of the server.
#[derive(Debug, Deserialize)]
pub(crate) struct App {
    /// Its id, part of its webhook URL.
    pub(crate) app_id: String,
    /// The key of its CRM sockets.
    pub(crate) api_key: String,
}

impl ServerUnderTest {
    /// Creates a database, starts a server on it and waits until it listens.
    pub(crate) async fn start(choice: &DatabaseChoice) -> Result<Self, Failure> {
        let scratch = Scratch::create(choice).await?;
        let secrets = Secrets::random();
        let (process, addr) = spawn(&scratch, &secrets, 0).await?;
        Ok(Self { addr, secrets, process, scratch })
    }

    /// Kills the server and restarts it on the same port; returns when it listens.
    pub(crate) async fn kill_and_restart(&mut self) -> Result<(), Failure> {
        self.process.0.kill()?;
        self.process.0.wait()?;
        (self.process, self.addr) = spawn(&self.scratch, &self.secrets, self.addr.port()).await?;
        Ok(())
    }

    /// Creates an app.
    pub(crate) async fn app(&self, name: &str) -> Result<App, Failure> {
        let request = reqwest::Client::new()
            .post(format!("http://{}/internal/apps", self.addr))
            .bearer_auth(&self.secrets.bearer)
            .json(&serde_json::json!({ "name": name }));
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// Returns the server's process id.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the resident memory of the server, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64, Failure> {
        self.memory("VmRSS:")
    }

    /// Returns the peak resident memory of the server, in bytes.
    pub(crate) fn peak_bytes(&self) -> Result<u64, Failure> {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> Result<u64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        memory(&status, name).ok_or_else(|| "the kernel does not report the server's resident memory".into())
    }

    /// Returns the last lines of the server's log, for an error message.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read(self.scratch.folder.path.join("server.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Stops the server and removes its database and folder.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        tokio::task::spawn_blocking(move || drop(self)).await?;
        Ok(())
    }
}

/// The server's secrets, kept across restarts.
#[derive(Debug)]
struct Secrets {
    bearer: String,
    encryption_key: String,
}

impl Secrets {
    fn random() -> Self {
        let encryption_key = STANDARD.encode(rand::random::<[u8; 32]>());
        Self { bearer: hex::encode(rand::random::<[u8; 16]>()), encryption_key }
    }
}

/// Starts the server on this port (0: any) and waits until it listens.
async fn spawn(scratch: &Scratch, secrets: &Secrets, port: u16) -> Result<(Process, SocketAddr), Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("serve")
        .env("HOST", "127.0.0.1")
        .env("PORT", port.to_string())
        .env("DATABASE_URL", scratch.database.url())
        .env("INTERNAL_API_SECRET", &secrets.bearer)
        .env("DIALPAD_WEBHOOK_SECRET", WEBHOOK_SECRET)
        .env("TOKEN_ENCRYPTION_KEY", &secrets.encryption_key)
        .env("AUTO_SUBSCRIBE", "false")
        // The measures count the events of calls.
        .env("INTERACTION_SETTLE", "1h")
        .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned()));
    start_listener(command, &scratch.folder.path, "server.log").await
}

/// Starts a process in this folder, with its output in this file there and no other environment than the command's, and
/// waits until it says where it listens.
pub(crate) async fn start_listener(
    mut command: Command,
    folder: &Path,
    log: &str,
) -> Result<(Process, SocketAddr), Failure> {
    let log = folder.join(log);
    // Directly into a file: a pipe would cost the bench a read per line.
    let output = File::create(&log)?;
    let own: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    let child = command
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "RUST_BACKTRACE"))
        .envs(own)
        .env("NO_COLOR", "1")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()?;
    let mut process = Process(child);
    let started = Instant::now();
    loop {
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        if let Some(addr) = listening(&text) {
            return Ok((process, addr));
        }
        if let Some(status) = process.0.try_wait()? {
            return Err(format!("the server ended with {status}\n{text}").into());
        }
        if started.elapsed() > START_TIMEOUT {
            return Err(format!("the server did not listen within {START_TIMEOUT:?}\n{text}").into());
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Finds `listening on http://127.0.0.1:PORT` in a log, once the line is complete.
fn listening(log: &str) -> Option<SocketAddr> {
    const ORIGIN: &str = "http://127.0.0.1:";
    let whole_lines = &log[..log.rfind('\n')?];
    let line = whole_lines.lines().find(|line| line.contains("listening") && line.contains(ORIGIN))?;
    let (_, port) = line.split_once(ORIGIN)?;
    let port = port.split(|letter: char| !letter.is_ascii_digit()).next()?;
    Some(([127, 0, 0, 1], port.parse().ok()?).into())
}

fn memory(status: &str, name: &str) -> Option<u64> {
    let kibibytes = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(kibibytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}

/// A child process that ends with this value: when the bench ends, fails, panics or is interrupted.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    fn exited_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let asked = Instant::now();
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if asked.elapsed() < limit => thread::park_timeout(Duration::from_millis(10)),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exited_within(Duration::ZERO).is_some() {
            return;
        }
        let asked = Command::new("kill").arg("-TERM").arg(self.0.id().to_string()).status();
        if asked.is_ok_and(|status| status.success()) && self.exited_within(STOP_TIMEOUT).is_some() {
            return;
        }
        tracing::warn!(pid = self.0.id(), "the server did not stop after SIGTERM and is killed");
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_a_complete_line_only() {
        let addr = |log| listening(log).map(|addr| addr.to_string());
        assert_eq!(addr("x INFO listening on http://127.0.0.1:4317\n").as_deref(), Some("127.0.0.1:4317"));
        assert_eq!(addr("a\nlistening on http://127.0.0.1:80 url=1\nb").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(addr("listening on http://127.0.0.1:43"), None);
        assert_eq!(addr("public url http://127.0.0.1:4000\n"), None);
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t 4096 kB\nVmRSS:\t    2048 kB\nVmData: 1 kB\n";
        assert_eq!((memory(status, "VmRSS:"), memory(status, "VmHWM:")), (Some(2_097_152), Some(4_194_304)));
        assert_eq!(memory("Name:\tx\n", "VmRSS:"), None);
    }

    #[test]
    fn a_process_ends_with_its_guard() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = format!("/proc/{}/status", child.id());
        drop(Process(child));
        assert!(!std::path::Path::new(&process).exists());
    }
}
