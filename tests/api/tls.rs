//! TLS that the server itself speaks: certificates of a real socket, and their replacement.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use reqwest::{Certificate, Client, redirect::Policy};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, pem::PemObject},
    },
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::client::IntoClientRequest};

use crate::support::{
    ADMIN_SECRET, Ask, Call, Process, WEBHOOK_SECRET, World, eventually, hmac_hex, listening_at,
};

const STOP_WITHIN: Duration = Duration::from_secs(12);

on_sqlite![
    the_server_speaks_https_and_wss,
    a_replaced_certificate_is_presented_without_a_restart,
    files_that_can_not_be_used_stop_the_start,
    a_socket_of_the_service_manager_speaks_tls,
    the_doctor_sees_when_the_certificate_expires,
];

on_postgres![the_server_speaks_tls_before_its_database_is_there];

/// The files of a certificate.
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn in_folder(folder: &Path) -> Self {
        Self { cert: folder.join("tls.crt"), key: folder.join("tls.key") }
    }

    /// Writes a new certificate for this machine, valid until a year.
    fn renew(&self, last_year: i32) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        params.not_after = date_time_ymd(last_year, 1, 1);
        let cert = params.self_signed(&key).expect("a certificate");
        fs::write(&self.cert, cert.pem()).expect("written");
        fs::write(&self.key, key.serialize_pem()).expect("written");
    }

    /// Returns a client that trusts the present certificate, with connections of its own.
    fn client(&self) -> Client {
        let pem = fs::read(&self.cert).expect("a certificate");
        let trusted = Certificate::from_pem(&pem).expect("a certificate");
        Client::builder()
            .add_root_certificate(trusted)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .expect("a client")
    }

    /// Opens a WebSocket.
    async fn websocket(
        &self,
        address: &str,
        key: &str,
    ) -> WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>> {
        let pem = fs::read(&self.cert).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("it can be trusted");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpStream::connect(address).await.expect("the server listens");
        let name = "127.0.0.1".try_into().expect("an address");
        let tls =
            TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("a trusted certificate");
        let mut request = format!("wss://{address}/ws").into_client_request().expect("an address");
        request.headers_mut().insert("x-api-key", key.parse().expect("a key"));
        client_async(request, tls).await.expect("a WebSocket").0
    }
}

fn with_tls(world: &World, files: &Files) -> World {
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    world.clone().with("TLS_CERT_FILE", &text(&files.cert)).with("TLS_KEY_FILE", &text(&files.key))
}

async fn start(world: &World) -> (Process, String) {
    let mut process = Process::spawn("cti-server serve", &mut world.command(&["serve"]));
    let base_url = process.wait_for_line("where it is listening", listening_at).await;
    assert!(base_url.starts_with("https://"), "{base_url}");
    (process, base_url)
}

async fn stop(mut process: Process) {
    process.stop(STOP_WITHIN).await;
}

async fn create_app(http: &Client, base_url: &str) -> (String, String) {
    let create = http.post(format!("{base_url}/internal/apps")).bearer_auth(ADMIN_SECRET);
    let app = create.json(&json!({"name": "CRM"})).answer().await.ok();
    let text = |name: &str| app[name].as_str().expect("an app").to_owned();
    (text("app_id"), text("api_key"))
}

async fn send(http: &Client, base_url: &str, app: &str, payload: &Value) {
    let body = payload.to_string();
    let signature = hmac_hex(WEBHOOK_SECRET, body.as_bytes());
    let webhook = http.post(format!("{base_url}/webhooks/{app}")).header("x-dialpad-signature", signature);
    webhook.body(body).answer().await.ok();
}

/// Returns the next message of a WebSocket.
async fn next(socket: &mut WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>) -> Value {
    let message = tokio::time::timeout(STOP_WITHIN, socket.next()).await.expect("a message comes");
    let message = message.expect("the session goes on").expect("a message");
    serde_json::from_str(message.to_text().expect("text")).expect("JSON")
}

async fn the_server_speaks_https_and_wss(world: World) {
    let files = Files::in_folder(world.folder());
    files.renew(2090);
    let (process, base_url) = start(&with_tls(&world, &files)).await;
    let http = files.client();
    let address = base_url.strip_prefix("https://").expect("https").to_owned();
    let (app, key) = create_app(&http, &base_url).await;
    let mut socket = files.websocket(&address, &key).await;
    assert_eq!(next(&mut socket).await["type"], "connected");
    send(&http, &base_url, &app, &Call::new(1).ring(0)).await;
    assert_eq!(next(&mut socket).await["type"], "call.ring");

    let sign_in = http.post(format!("{base_url}/console/sign-in")).form(&[("secret", ADMIN_SECRET)]);
    let signed_in = sign_in.answer().await;
    let cookie = signed_in.header("set-cookie").unwrap_or_default();
    assert!(cookie.starts_with("__Host-cti_console=") && cookie.contains("Secure"), "{signed_in}");
    #[cfg(target_os = "linux")]
    // While data waits to be acknowledged, another timer is shown.
    eventually("the options of the socket are set under TLS", async || has_keepalive(&address).then_some(()))
        .await;
    let plain =
        Client::builder().no_proxy().build().expect("a client").get(format!("http://{address}/health"));
    assert!(plain.send().await.is_err(), "plain HTTP is not spoken");
    stop(process).await;
}

/// Whether an idle connection of the server has the timer of keep-alive (`tr` 2 in /proc/net/tcp).
#[cfg(target_os = "linux")]
fn has_keepalive(address: &str) -> bool {
    let port: u16 = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let local = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.len() > 5 && fields[1].ends_with(&local) && fields[3] == "01" && fields[5].starts_with("02:")
    })
}

async fn a_replaced_certificate_is_presented_without_a_restart(world: World) {
    let files = Files::in_folder(world.folder());
    files.renew(2090);
    let (process, base_url) = start(&with_tls(&world, &files)).await;
    let address = base_url.strip_prefix("https://").expect("https").to_owned();
    let old = files.client();
    let (app, key) = create_app(&old, &base_url).await;
    let mut socket = files.websocket(&address, &key).await;
    next(&mut socket).await;

    let cert = fs::read(&files.cert).expect("a certificate");
    fs::write(&files.cert, "half a file").expect("written");
    eventually("files that can't be used are reported", async || {
        process.log().contains("the new TLS certificate can't be used").then_some(())
    })
    .await;
    old.get(format!("{base_url}/health")).answer().await.ok();
    fs::write(&files.cert, cert).expect("written");

    files.renew(2091);
    let new = files.client();
    eventually("the new certificate is presented", async || {
        new.get(format!("{base_url}/health")).send().await.is_ok().then_some(())
    })
    .await;
    send(&new, &base_url, &app, &Call::new(1).ring(0)).await;
    assert_eq!(next(&mut socket).await["type"], "call.ring", "sessions go on");
    let metrics = new.get(format!("{base_url}/metrics")).send().await.expect("an answer").text().await;
    let metrics = metrics.expect("text");
    for line in [
        "cti_tls_reloads_total{outcome=\"ok\"} 1",
        "cti_tls_reloads_total{outcome=\"failed\"} 1",
        &format!(
            "cti_tls_certificate_expiry_timestamp_seconds {}",
            date_time_ymd(2091, 1, 1).unix_timestamp()
        ),
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
    stop(process).await;
}

async fn files_that_can_not_be_used_stop_the_start(world: World) {
    let files = Files::in_folder(world.folder());
    let refused = async |world: World, text: &str| {
        let ended = world.run(&["serve"]).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(text), "{text} is missing in {ended:?}");
    };
    refused(with_tls(&world, &files), "TLS_CERT_FILE: ").await;
    files.renew(2090);
    refused(with_tls(&world, &files).without("TLS_KEY_FILE"), "TLS_KEY_FILE: is required").await;
    refused(with_tls(&world, &files).without("TLS_CERT_FILE"), "TLS_CERT_FILE: is required").await;
    let other = Files { cert: world.folder().join("other.crt"), key: files.key.clone() };
    other.renew(2090);
    refused(with_tls(&world, &files), "it is not the key of").await;
}

async fn a_socket_of_the_service_manager_speaks_tls(world: World) {
    let files = Files::in_folder(world.folder());
    files.renew(2090);
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let mut process = with_tls(&world, &files).spawn_on(socket.try_clone().expect("shared").into());
    let base_url = process.wait_for_line("where it is listening", listening_at).await;
    assert_eq!(base_url, format!("https://{}", socket.local_addr().expect("it is bound")));
    files.client().get(format!("{base_url}/health")).answer().await.ok();
    stop(process).await;
}

async fn the_doctor_sees_when_the_certificate_expires(world: World) {
    let files = Files::in_folder(world.folder());
    for (year, status) in [(2090, "ok"), (2021, "fail")] {
        files.renew(year);
        let ended =
            with_tls(&world, &files).run(&["doctor", "--json", "--server", "http://127.0.0.1:9"]).await;
        let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        let checks = report["checks"].as_array().expect("checks").iter();
        let check = checks.clone().find(|check| check["name"] == "tls_certificate").expect("it is checked");
        assert_eq!(check["status"], status, "{check}");
        assert!(checks.clone().any(|check| check["name"] == "tls_key_file"));
    }
}

async fn the_server_speaks_tls_before_its_database_is_there(world: World) {
    let files = Files::in_folder(world.folder());
    files.renew(2090);
    let (world, proxy) = world.behind_a_proxy().await;
    proxy.cut();
    let (process, base_url) = start(&with_tls(&world, &files)).await;
    let http = files.client();
    let health = http.get(format!("{base_url}/health")).send().await.expect("an answer");
    assert_eq!(health.status(), 503);
    proxy.mend();
    eventually("the complete server answers", async || {
        let health = http.get(format!("{base_url}/health")).send().await;
        health.is_ok_and(|health| health.status() == 200).then_some(())
    })
    .await;
    stop(process).await;
}
