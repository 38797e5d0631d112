//! Where secrets must not be: a server lives a whole life with distinctive ones, and none of them is found afterwards in
//! its files, its database, its backup, its log, its metrics, its pages or its errors.

use std::{fs, path::Path};

use serde_json::json;
use sqlx::Connection;

use super::{console::Person, secrets::ask_dialpad_for_everything};
use crate::support::{
    ADMIN_SECRET, App, Ask, CLIENT_SECRET, Call, Dialpad, Outage, TestServer, WEBHOOK_SECRET, With, World,
    eventually, hmac_hex,
};

on_both_databases![no_secret_is_found_in_any_file_answer_or_page];

const METRICS_TOKEN: &str = "canary-metrics-token-93fe";
const WRONG_KEY: &str = "canary-mistyped-key-51ab";
const WRONG_BEARER: &str = "canary-mistyped-bearer-77c0";
/// A part of a recording's link: with it, anyone can listen. The app's own data, and no one else's.
const LINK_TOKEN: &str = "canary-link-token-20d4";

/// What is looked for, each with its name.
struct Canaries(Vec<(&'static str, String)>);

impl Canaries {
    /// Checks a text, or the bytes of a file.
    fn must_not_be_in(&self, place: &str, bytes: &[u8]) {
        for (what, secret) in &self.0 {
            assert!(secret.len() >= 10, "{what} is too short to be looked for");
            let is_in = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            // PostgreSQL shows bytes as hexadecimal digits.
            let is_found = is_in(secret.as_bytes()) || is_in(hex::encode(secret).as_bytes());
            assert!(!is_found, "{what} is in {place}");
        }
    }
}

async fn no_secret_is_found_in_any_file_answer_or_page(world: World) {
    let dialpad = Dialpad::start().await;
    let world = world.with_dialpad(&dialpad).with("RUST_LOG", "debug").with("METRICS_TOKEN", METRICS_TOKEN);
    let token_key = world.setting("TOKEN_ENCRYPTION_KEY").to_owned();
    let server = world.start().await;
    let app = server.create_app("CRM").await;

    // A life: connected, called, refused, disturbed, rotated.
    let sent = server.authorize(&app).await;
    let callback = server.approve(&sent).await;
    server.finish_authorization(&callback, sent.cookie()).await.ok();
    let order = json!({"flow": "answered", "pace": 0, "wait_for_subscriber": true});
    let delivered = dialpad.play(&order).await;
    let call = delivered[0]["call_id"].as_i64().expect("a call was emitted of");
    let hook_secrets = ask_dialpad_for_everything(&dialpad, &server, &app, call).await;
    let link = format!("https://dialpad.com/r/1?token={LINK_TOKEN}");
    // By the shared secret and the organization: at its own address, the app has a secret of its own by now.
    let of_company = |call: i64| Call::new(call).of_organization(Dialpad::COMPANY);
    let ended = of_company(1).ended(30).with("recording_url", link.as_str());
    for webhook in [of_company(1).ring(0), of_company(1).started(3), ended] {
        server.post_webhook("/webhooks", &webhook.to_string()).await.ok();
    }

    let body = Call::new(2).ring(0).to_string();
    let in_address = |name: &str| {
        let url = reqwest::Url::parse(&callback).expect("an address");
        url.query_pairs().find(|(key, _)| key == name).expect("it is there").1.into_owned()
    };
    let cookie = sent.cookie().split_once('=').expect("a cookie has a value").1.to_owned();
    let mut canaries = Canaries(vec![
        ("the admin secret", ADMIN_SECRET.to_owned()),
        ("the webhook secret", WEBHOOK_SECRET.to_owned()),
        ("the token key", token_key),
        ("the OAuth client's secret", CLIENT_SECRET.to_owned()),
        ("the metrics token", METRICS_TOKEN.to_owned()),
        ("a mistyped key", WRONG_KEY.to_owned()),
        ("a mistyped bearer", WRONG_BEARER.to_owned()),
        ("a signature", hmac_hex(WEBHOOK_SECRET, body.as_bytes())),
        ("an OAuth code", in_address("code")),
        ("an OAuth state", in_address("state")),
        ("the browser's cookie", cookie),
        ("an access token", "sim_access".to_owned()),
        ("a refresh token", "sim_refresh".to_owned()),
        ("an API key", app.key.clone()),
    ]);
    canaries.0.extend(hook_secrets.into_iter().map(|secret| ("the secret of a webhook at Dialpad", secret)));
    server.post_webhook("/webhooks", &body).await.ok();

    errors_echo_no_secret(&server, &app, &canaries).await;
    spooled_webhooks_have_no_secret(&world, &server, &canaries).await;
    answers_and_pages_have_no_secret(&server, &app, &canaries).await;

    let next = server.rotate_key(&app, None).await;
    canaries.0.push(("the next API key", next.key.clone()));
    let ended = world.run(&["backup", "cti.backup"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    canaries.must_not_be_in("the output of a backup", format!("{ended:?}").as_bytes());

    rows_have_no_secret(&world, &canaries).await;
    files_have_no_secret(world.folder(), &canaries);
    let log = server.process.log();
    assert!(log.contains("/callback"), "this log says nothing:\n{log}");
    canaries.0.push(("the token of a recording's link", LINK_TOKEN.to_owned()));
    canaries.must_not_be_in("the log", log.as_bytes());
}

async fn errors_echo_no_secret(server: &TestServer, app: &App, canaries: &Canaries) {
    let wrong = [
        server.get("/api/calls").header("x-api-key", WRONG_KEY),
        server.get(&format!("/api/events/stream?api_key={WRONG_KEY}")),
        server.handshake(&format!("/ws?api_key={WRONG_KEY}")),
        server.get("/internal/apps").bearer_auth(WRONG_BEARER),
        server.get("/metrics").bearer_auth(WRONG_BEARER),
        server.get(&format!("/api/events?after=x&api_key={}", app.key)).by(app),
        server.post("/webhooks").header("x-dialpad-signature", WRONG_KEY).body("{}"),
        server.get(&format!("/callback?code={WRONG_KEY}&state={WRONG_BEARER}")),
        server.post("/console/sign-in").form(&[("secret", WRONG_BEARER)]),
    ];
    for request in wrong {
        let answer = request.answer().await;
        assert!(answer.status >= 400, "{answer}");
        canaries.must_not_be_in("an error", format!("{:?} {}", answer.headers, answer.body).as_bytes());
    }
}

async fn spooled_webhooks_have_no_secret(world: &World, server: &TestServer, canaries: &Canaries) {
    let outage = Outage::begin(world).await;
    for call in [3, 4] {
        server.post_webhook("/webhooks", &Call::new(call).ring(0).to_string()).await.ok();
    }
    files_have_no_secret(&world.folder().join("spool"), canaries);
    outage.end().await;
    eventually("the spool is empty", async || {
        let engine = server.get("/internal/engine").by_admin().answer().await.ok();
        (engine["spool"]["state"] == "empty").then_some(())
    })
    .await;
}

async fn answers_and_pages_have_no_secret(server: &TestServer, app: &App, canaries: &Canaries) {
    let id = &app.id;
    let of_administrators = [
        "/internal/apps".to_owned(),
        format!("/internal/apps/{id}"),
        format!("/internal/apps/{id}/api-key/status"),
        format!("/internal/apps/{id}/api-key/audit"),
        format!("/internal/webhooks?app_id={id}"),
        "/internal/webhook-events?limit=500".to_owned(),
        "/internal/engine".to_owned(),
    ];
    for path in of_administrators {
        let answer = server.get(&path).by_admin().answer().await;
        assert_eq!(answer.status, 200, "{answer}");
        canaries.must_not_be_in(&path, answer.body.as_bytes());
    }
    for path in ["/status", "/api/calls", "/api/events", "/api/interactions", "/api/consumers"] {
        let answer = server.get(path).by(app).answer().await;
        assert_eq!(answer.status, 200, "{answer}");
        canaries.must_not_be_in(path, answer.body.as_bytes());
    }
    for path in ["/", "/health", "/health/ready", "/openapi.json", "/asyncapi.json", "/docs"] {
        let answer = server.get(path).answer().await;
        canaries.must_not_be_in(path, answer.body.as_bytes());
    }
    let metrics = server.get("/metrics").bearer_auth(METRICS_TOKEN).answer().await;
    assert!(metrics.body.contains("cti_webhooks_total"), "{metrics}");
    canaries.must_not_be_in("/metrics", metrics.body.as_bytes());
    assert!(!metrics.body.contains(LINK_TOKEN), "the token of a link is in the metrics");

    let person = Person::sign_in(server).await;
    let pages = ["", "/calls", "/live", "/system", "/journal", &format!("/apps/{id}")];
    for page in pages {
        let path = format!("/console{page}");
        canaries.must_not_be_in(&path, person.open(&path).await.as_bytes());
    }
}

/// Reads every row of every table, as text.
async fn rows_have_no_secret(world: &World, canaries: &Canaries) {
    if !world.is_on_postgres() {
        // The bytes of the file are read instead: they have what was deleted as well.
        return;
    }
    let url = world.setting("DATABASE_URL");
    let mut db = sqlx::PgConnection::connect(url).await.expect("the database can be reached");
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut db).await.expect("the tables");
    assert!(tables.len() > 10, "{tables:?}");
    for table in tables {
        let rows = sqlx::AssertSqlSafe(format!("SELECT t::text FROM \"{table}\" AS t"));
        let rows: Vec<String> = sqlx::query_scalar(rows).fetch_all(&mut db).await.expect("the rows");
        canaries.must_not_be_in(&table, rows.join("\n").as_bytes());
    }
}

/// Reads every file below a folder: the database and its log, the spool, the backup.
fn files_have_no_secret(folder: &Path, canaries: &Canaries) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_have_no_secret(&path, canaries);
        } else {
            let bytes = fs::read(&path).expect("a readable file");
            canaries.must_not_be_in(&path.display().to_string(), &bytes);
        }
    }
}
