//! The proxy configurations in deploy/, each run with the real proxy.
//!
//! `CTI_TEST_REQUIRE_PROXIES=1` turns the skipped tests of a machine without the proxies into failures.

use std::{fs, net::IpAddr, process::Command};

use crate::support::{App, Ask, Call, Process, TestServer, World, eventually, free_port, installed};

const REQUIRED: &str = "CTI_TEST_REQUIRE_PROXIES";
const NGINX: &str = include_str!("../../deploy/nginx/cti-server.conf");
const HAPROXY: &str = include_str!("../../deploy/haproxy/haproxy.cfg");
const CADDY: &str = include_str!("../../deploy/caddy/Caddyfile");

#[tokio::test]
async fn all_transports_work_through_nginx() {
    let Some(program) = installed("nginx", REQUIRED) else { return };
    through(Command::new(program).args(["-p", ".", "-c", "proxy.conf"]), NGINX, |shipped, port| {
        let kept = |line: &&str| !line.trim_start().starts_with("ssl_certificate");
        let shipped = shipped.lines().filter(kept).collect::<Vec<_>>().join("\n");
        let shipped = replaced(&shipped, "listen 443 ssl;", &format!("listen 127.0.0.1:{port};"));
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let folders: String = kinds.map(|kind| format!("{kind}_temp_path {kind};\n")).concat();
        let own = "daemon off;\nerror_log stderr;\npid nginx.pid;\nevents {}\n";
        format!("{own}http {{\naccess_log off;\n{folders}{shipped}\n}}\n")
    })
    .await;
}

#[tokio::test]
async fn all_transports_work_through_haproxy() {
    let Some(program) = installed("haproxy", REQUIRED) else { return };
    through(Command::new(program).args(["-db", "-f", "proxy.conf"]), HAPROXY, |shipped, port| {
        let bind = "bind :443 ssl crt /etc/haproxy/cti.example.com.pem";
        replaced(shipped, bind, &format!("bind 127.0.0.1:{port}")) + "\n"
    })
    .await;
}

#[tokio::test]
async fn all_transports_work_through_caddy() {
    let Some(program) = installed("caddy", REQUIRED) else { return };
    let arguments = ["run", "--adapter", "caddyfile", "--config", "proxy.conf"];
    through(Command::new(program).args(arguments), CADDY, |shipped, port| {
        let site = replaced(shipped, "cti.example.com {", &format!("http://127.0.0.1:{port} {{"));
        format!("{{\nadmin off\n}}\n{site}\n")
    })
    .await;
}

/// Runs a proxy in a folder of its own, with the shipped file as this test needs it, and a CRM behind it.
async fn through(proxy: &mut Command, shipped: &str, configuration: impl Fn(&str, &str) -> String) {
    let world = World::on_sqlite();
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let (folder, port) = (tempfile::tempdir().expect("a temporary folder can be made"), free_port());
    let shipped = replaced(shipped, "127.0.0.1:4000", server.address());
    fs::write(folder.path().join("proxy.conf"), configuration(&shipped, &port))
        .expect("the folder takes a file");
    proxy.current_dir(folder.path()).env("HOME", folder.path());
    let mut proxy = Process::spawn("the proxy", proxy);

    let direct = std::mem::replace(&mut server.base_url, format!("http://127.0.0.1:{port}"));
    eventually("the proxy forwards", async || {
        assert!(proxy.ended().is_none(), "the proxy ended:\n{}", proxy.log());
        let health = server.browser().get(format!("{}/health/ready", server.base_url)).send().await.ok()?;
        (health.status() == 200).then_some(())
    })
    .await;
    follow_a_call(&server, &app).await;
    only_insiders_administer(&server).await;
    server.base_url = direct;
    drop((proxy, server));
    world.finish().await;
}

/// Asks from an address that the shipped file does not name, and from one that it names.
async fn only_insiders_administer(server: &TestServer) {
    let outside = reqwest::Client::builder().no_proxy().local_address(IpAddr::from([127, 0, 0, 2]));
    let outside = outside.build().expect("a client can be made");
    let asked = async |path: &str| {
        let url = format!("{}{path}", server.base_url);
        outside.get(url).by_admin().send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(asked("/health/ready").await, 200);
    for path in ["/internal/apps", "//internal/apps", "/%69nternal/apps", "/console", "/console/", "/metrics"]
    {
        assert_eq!(asked(path).await, 403, "{path}");
    }
    for path in ["/internal/apps", "/metrics"] {
        assert_eq!(server.get(path).by_admin().answer().await.status, 200, "{path}");
    }
}

/// Follows a call over every transport.
async fn follow_a_call(server: &TestServer, app: &App) {
    let mut socket = server.listen(app).await;
    let mut stream = server.stream(app, "").await;
    let poll = server.get("/api/events?after=0&wait=30").by(app).answer();
    let ring = async {
        server.webhook(app, &Call::new(1).ring(0)).await;
    };
    let (polled, ()) = tokio::join!(poll, ring);
    assert_eq!(polled.list()[0]["type"], "call.ring");
    socket.expect("call.ring").await;
    stream.expect("call.ring").await;
    server.call(app, 1).await;
}

#[track_caller]
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from:?} in:\n{text}");
    text.replace(from, to)
}
