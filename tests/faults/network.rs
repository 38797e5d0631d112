//! A network in which packets disappear without a word, as between machines.
//!
//! A process that dies on this machine, and a proxy that ends, still close their connections. So these tests run again in a
//! network namespace, in which an address can be lost and found.

use std::{
    env,
    io::Write,
    process::{Command, Stdio},
};

use rustix::process::geteuid;

const INSIDE: &str = "CTI_TEST_NETWORK_NAMESPACE";
/// The loopback interface, and a pair of interfaces into which packets disappear.
const PREPARE: &str = "ip link set lo up && ip link add v0 type veth peer name v1 && ip link set v0 arp off up \
     && ip link set v1 up && echo 1 > /proc/sys/net/ipv4/conf/v0/route_localnet";

/// An address of this machine that can be lost.
#[derive(Clone, Copy)]
pub(crate) struct Address(pub(crate) &'static str);

impl Address {
    /// Takes it. It answers from now on.
    pub(crate) fn take(self) {
        self.change("ip address add ADDRESS/32 dev lo");
    }

    /// Loses it: what is sent to it disappears, and no connection is closed.
    pub(crate) fn lose(self) {
        self.change("ip address del ADDRESS/32 dev lo && ip route add ADDRESS/32 dev v0");
    }

    /// Finds it again.
    pub(crate) fn find(self) {
        self.change("ip route del ADDRESS/32 dev v0 && ip address add ADDRESS/32 dev lo");
    }

    fn change(self, command: &str) {
        assert!(shell(&command.replace("ADDRESS", self.0)), "{command}: {}", self.0);
    }
}

/// Whether this process is in a namespace of its own. If not, runs the test of this name again in one, where that can be had;
/// a test that starts PostgreSQL needs root for it.
pub(crate) fn is_own(test: &str, needs_root: bool) -> bool {
    if env::var_os(INSIDE).is_some() {
        assert!(shell(PREPARE), "the network can't be laid out");
        return true;
    }
    let is_root = geteuid().is_root();
    let unshare: &[&str] = if is_root { &["--net"] } else { &["--user", "--map-root-user", "--net"] };
    if (needs_root && !is_root) || !shell(&format!("unshare {} sh -c '{PREPARE}'", unshare.join(" "))) {
        // Not eprintln: the test harness would capture it.
        let _ =
            writeln!(std::io::stderr(), "SKIPPED: a network namespace needs unshare, ip and root: {test}");
        return false;
    }
    let inside = Command::new("unshare")
        .args(unshare)
        .arg(env::current_exe().expect("this binary has a path"))
        .args(["--exact", test, "--include-ignored", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare can be started");
    let output =
        [&inside.stdout, &inside.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    assert!(inside.status.success() && output.contains("1 passed"), "{output}");
    // What a measurement prints.
    let _ = std::io::stderr().write_all(&inside.stderr);
    false
}

fn shell(command: &str) -> bool {
    Command::new("sh").args(["-c", command]).stderr(Stdio::null()).status().is_ok_and(|exit| exit.success())
}
