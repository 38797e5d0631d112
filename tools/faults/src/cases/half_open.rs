//! Clients whose machine vanishes: no word reaches the server any more. The case runs in a network of its own, in which an
//! address can be removed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

use crate::process::{TICK, run as run_command};
use crate::report::{Report, Row};
use crate::site::{Kind, Site};
use crate::trial::Trial;
use crate::{Case, Failure, Plan};

/// Set in the process that runs in the network of its own.
const INSIDE: &str = "CTI_FAULTS_NETWORK";
/// The address of the clients that vanish.
const LOST_ADDRESS: &str = "10.99.99.99";
/// A pair of interfaces into which packets disappear.
const PREPARE: &str = "ip link set lo up && ip link add v0 type veth peer name v1 && ip link set v0 arp off up \
     && ip link set v1 up && echo 1 > /proc/sys/net/ipv4/conf/v0/route_localnet && ip address add 10.99.99.99/32 dev lo";
const VANISH: &str = "ip address del 10.99.99.99/32 dev lo && ip route add 10.99.99.99/32 dev v0";
/// A silent WebSocket is given up after 25 s. A stream that is owed much counts as one that does not read: a minute, and the
/// time that the kernel takes.
const DETECTION_TIMEOUT: Duration = Duration::from_secs(100);
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub(super) async fn run(plan: &Plan, kind: Kind) -> Result<Row, Failure> {
    if std::env::var_os(INSIDE).is_some() {
        run_command("sh", &["-c", PREPARE])?;
        return inside(plan, kind).await;
    }
    let program = std::env::current_exe()?;
    if program.file_name() != Some("cti-faults".as_ref()) {
        let reason = "it starts the program `cti-faults` again, and this is another one".to_owned();
        return Ok(Row::skipped(Case::HalfOpen.name(), &kind.to_string(), reason));
    }
    let output = again(&program, plan, kind).kill_on_drop(true).output().await?;
    let report = serde_json::from_slice::<Report>(&output.stdout);
    let rows = report.map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?.rows;
    rows.into_iter().next().ok_or_else(|| "the case made no report".into())
}

/// Returns the command that runs this case in a network of its own.
fn again(program: &Path, plan: &Plan, kind: Kind) -> tokio::process::Command {
    let mut command = Command::new("unshare");
    command.arg("--net").arg(program).env(INSIDE, "1").stdin(Stdio::null());
    command.args(["--case", Case::HalfOpen.name(), "--json", "--database", &kind.to_string()]);
    command.args(["--seed", &plan.seed.to_string(), "--rate", &plan.rate.to_string()]);
    command.arg("--server").arg(&plan.server).arg("--folder").arg(&plan.folder);
    if plan.is_short {
        command.arg("--short");
    }
    command.into()
}

async fn inside(plan: &Plan, kind: Kind) -> Result<Row, Failure> {
    let site = Site::create(plan, kind).await?;
    let mut trial = Trial::start(plan, kind, site).await?;
    trial.begin_load();
    let mut lost = Vec::new();
    for number in 0..plan.count(100, 10) {
        let (path, headers) = if number % 2 == 0 { ("/ws", UPGRADE) } else { ("/api/events/stream", "") };
        lost.push(connect(&trial, path, headers).await?);
    }
    trial.calm().await;
    trial.fault_begins();
    run_command("sh", &["-c", VANISH])?;
    let vanished = Instant::now();
    // The client that is still there is the only one left.
    while trial.api.metric("cti_feed_listeners").await? > 1.0 {
        if vanished.elapsed() > DETECTION_TIMEOUT {
            let left = trial.api.metric("cti_feed_listeners").await?;
            trial.problem(format!("after {DETECTION_TIMEOUT:?} the server still has {left} listeners"));
            break;
        }
        sleep(TICK * 20).await;
    }
    trial.note(format!("{} vanished clients were noticed in {:.0?}", lost.len(), vanished.elapsed()));
    trial.fault_ends();
    trial.recovers().await?;
    trial.finish(Case::HalfOpen.name()).await
}

/// Connects from the address that vanishes, and reads the head of the answer.
async fn connect(trial: &Trial, path: &str, headers: &str) -> Result<TcpStream, Failure> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(format!("{LOST_ADDRESS}:0").parse()?)?;
    let mut stream = socket.connect(trial.site.addr).await?;
    let (server, key) = (trial.site.addr, &trial.app.api_key);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n{headers}x-api-key: {key}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    let is_open = [&b"HTTP/1.1 101 "[..], b"HTTP/1.1 200 "].iter().any(|status| answer.starts_with(status));
    if is_open { Ok(stream) } else { Err(String::from_utf8_lossy(&answer).into_owned().into()) }
}
