//! HAProxy before the servers, with the shipped configuration for several of them.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

use crate::support::{Process, eventually, free_port};

const SHIPPED: &str = include_str!("../../../deploy/haproxy/cluster.cfg");
/// The addresses that stand in the shipped file.
const SHIPPED_SERVERS: [&str; 2] = ["10.0.0.1:4000", "10.0.0.2:4000"];

pub(crate) struct Balancer {
    /// `http://host:port`.
    pub(crate) url: String,
    _process: Process,
    _folder: TempDir,
}

impl Balancer {
    /// Starts one before these ports, and waits until it forwards.
    pub(crate) async fn start(haproxy: &Path, ports: &[String]) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a temporary folder can be made"), free_port());
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, configuration(&port, ports)).expect("the folder takes a file");
        let mut process = Process::spawn("haproxy", Command::new(haproxy).args(["-db", "-f"]).arg(&file));
        let url = format!("http://127.0.0.1:{port}");
        let client = reqwest::Client::builder().no_proxy().build().expect("a client can be made");
        eventually("HAProxy forwards", async || {
            assert!(process.ended().is_none(), "HAProxy ended:\n{}", process.log());
            let ready = client.get(format!("{url}/health/ready")).send().await.ok()?;
            (ready.status() == 200).then_some(())
        })
        .await;
        Self { url, _process: process, _folder: folder }
    }
}

/// Returns the shipped file with these servers, without TLS.
fn configuration(port: &str, servers: &[String]) -> String {
    let bind = "bind :443 ssl crt /etc/haproxy/cti.example.com.pem";
    assert!(SHIPPED.contains(bind), "no {bind:?} in:\n{SHIPPED}");
    let mut lines = Vec::new();
    for line in SHIPPED.replace(bind, &format!("bind 127.0.0.1:{port}")).lines() {
        if line.contains(SHIPPED_SERVERS[0]) {
            // The line of the first server is that of each other one.
            lines.extend(servers.iter().enumerate().map(|(number, port)| {
                let own = line.replace(SHIPPED_SERVERS[0], &format!("127.0.0.1:{port}"));
                own.replace("cti1", &format!("cti{}", number + 1))
            }));
        } else if !line.contains(SHIPPED_SERVERS[1]) {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n") + "\n"
}
