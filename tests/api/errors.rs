//! Errors: one shape on every way to one, one table of codes, and a document that has all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use cti_server::http::{self, error::ErrorCode};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection, PgConnection, SqliteConnection};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{Answer, Ask, Call, Dialpad, TestServer, WAIT_TIMEOUT, World, eventually, kinds};

on_both_databases![
    whatever_is_refused_is_refused_in_one_shape,
    an_address_says_which_methods_it_takes,
    head_is_answered_as_get_is_without_the_body,
    what_is_no_text_is_refused_and_named,
    what_is_no_http_is_refused_without_a_body,
    what_breaks_on_our_side_says_nothing_but_how_to_ask_for_it,
];

const DOCUMENT: &str = include_str!("../../docs/api.md");

/// What the document says of a code.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) status: u16,
    pub(crate) has_retry_after: bool,
    pub(crate) has_details: bool,
}

/// The codes in the table of the document.
pub(crate) fn documented() -> BTreeMap<&'static str, Row> {
    let mut codes = BTreeMap::new();
    let table = DOCUMENT.lines().skip_while(|line| !line.starts_with("| status | code |")).skip(2);
    for line in table.take_while(|line| line.starts_with('|')) {
        let mut cells = line.trim_matches('|').split(" | ");
        let status = cells.next().and_then(|it| it.trim().parse().ok()).expect("a status");
        let names =
            cells.next().expect("codes").split('`').filter(|it| it.bytes().any(|b| b.is_ascii_uppercase()));
        let when = cells.next().expect("a sentence");
        let (has_retry_after, has_details) = (when.contains("has `Retry-After"), when.contains("`details`"));
        codes.extend(names.map(|code| (code, Row { status, has_retry_after, has_details })));
    }
    codes
}

#[test]
fn every_code_is_in_the_document_with_its_status() {
    let ours: BTreeMap<&str, u16> =
        ErrorCode::ALL.iter().map(|code| (code.as_str(), code.status().as_u16())).collect();
    let theirs = documented().into_iter().map(|(code, row)| (code, row.status)).collect();
    assert_eq!(ours, theirs);
}

async fn whatever_is_refused_is_refused_in_one_shape(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let large = || "x".repeat((256 << 10) + 1);
    let odd = |method: &str, path: &str| {
        server.request(Method::from_bytes(method.as_bytes()).expect("a method"), path)
    };
    for (request, status, code) in [
        (server.get("/nowhere"), 404, "NOT_FOUND"),
        (server.get("/internal"), 404, "NOT_FOUND"),
        (server.get("/internal/apps/").by_admin(), 404, "NOT_FOUND"),
        (server.get(&format!("/{}", "a".repeat(8_000))), 404, "NOT_FOUND"),
        (odd("OPTIONS", "/nowhere"), 404, "NOT_FOUND"),
        (odd("BREW", "/"), 405, "METHOD_NOT_ALLOWED"),
        (odd("OPTIONS", "/api/calls"), 405, "METHOD_NOT_ALLOWED"),
        (odd("TRACE", "/webhooks"), 405, "METHOD_NOT_ALLOWED"),
        (server.get("/api/calls/%ff%fe").by(&app), 404, "CALL_NOT_FOUND"),
        (server.get("/internal/apps/%ff").by_admin(), 404, "APP_NOT_FOUND"),
        (server.get("/internal/apps/..%2f..%2fetc").by_admin(), 404, "APP_NOT_FOUND"),
        (server.post("/internal/apps").by_admin().body(large()), 413, "PAYLOAD_TOO_LARGE"),
        (server.post("/api/calls").by(&app).body(large()), 413, "PAYLOAD_TOO_LARGE"),
        (server.post("/webhooks").body(large()), 413, "PAYLOAD_TOO_LARGE"),
        (
            server.post("/webhooks").header("content-encoding", "gzip").body("x"),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (server.post("/internal/apps").by_admin().body(&b"\xff\xfe"[..]), 400, "INVALID_REQUEST"),
        (server.post("/internal/apps").by_admin().body("["), 400, "INVALID_REQUEST"),
        (server.get("/ws").by(&app), 400, "INVALID_REQUEST"),
        (server.get("/api/calls").header("x-api-key", &b"\xff"[..]), 401, "MISSING_API_KEY"),
        (server.get("/internal/apps").header("authorization", "Basic eA=="), 401, "MISSING_BEARER"),
    ] {
        request.answer().await.refuses(status, code);
    }
    let silent = server.request(Method::HEAD, "/api/events/stream").by(&app).answer().await;
    assert_eq!((silent.status, silent.body.as_str()), (405, ""), "{silent}");
    server.get("/").answer().await.ok();
}

async fn an_address_says_which_methods_it_takes(world: World) {
    let server = world.start().await;
    for (method, path, expected) in [
        (Method::PUT, "/api/calls", &["GET", "HEAD", "POST"][..]),
        (Method::GET, "/webhooks", &["POST"]),
        (Method::POST, "/health", &["GET", "HEAD"]),
        (Method::PUT, "/internal/apps/x", &["DELETE", "GET", "HEAD", "PATCH"]),
    ] {
        let answer = server.request(method, path).answer().await;
        answer.refuses(405, "METHOD_NOT_ALLOWED");
        let allowed = answer.header("allow").unwrap_or_else(|| panic!("no Allow: {answer}"));
        let allowed: BTreeSet<&str> = allowed.split(',').map(str::trim).collect();
        assert_eq!(allowed, expected.iter().copied().collect(), "{path}");
    }
}

async fn head_is_answered_as_get_is_without_the_body(world: World) {
    let dialpad = Dialpad::start().await;
    let server: TestServer = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false").start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    server.webhooks(&app, &Call::new(1).life()).await;
    server.feed_when(&app, "the call is over", |feed| kinds(feed).contains(&"call.ended")).await;
    let mut tried = 0;
    for (route, methods) in http::route_table().filter(|(_, methods)| methods.contains(&"get")) {
        let id = if route.starts_with("/api/calls/{id}") { "1" } else { "x" };
        let path = route.replace("{app_id}", &app.id).replace("{id}", id).replace(['{', '}'], "");
        let asked = |method: Method| {
            let request = server.request(method, &path);
            if path.starts_with("/internal") { request.by_admin() } else { request.by(&app) }
        };
        let head = asked(Method::HEAD).answer().await;
        assert_eq!(head.body, "", "{head}");
        if ["/ws", "/api/events/stream"].contains(&route) {
            assert_eq!(head.status, 405, "{head}");
            continue;
        }
        let get = asked(Method::GET).answer().await;
        assert_eq!(head.status, get.status, "{get} {head}");
        let names = |answer: &Answer| -> BTreeSet<String> {
            answer.headers.keys().map(|name| name.as_str().to_owned()).collect()
        };
        assert_eq!(names(&head), names(&get), "{route}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{route}");
        tried += 1;
        assert!(!methods.contains(&"head"), "{route} has a HEAD of its own");
    }
    assert!(tried > 30, "only {tried} addresses");
    let begun_at = Instant::now();
    let events = server.request(Method::HEAD, "/api/events?after=5&wait=60").by(&app).answer().await;
    assert_eq!((events.status, events.body.as_str()), (200, ""), "{events}");
    assert!(begun_at.elapsed() < WAIT_TIMEOUT, "it waited");
    assert!(events.header("x-cursor").is_some(), "{events}");
}

async fn what_is_no_text_is_refused_and_named(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for path in ["/api/calls?from=%ff", "/api/messages?to=%c3%28", "/api/voicemails?from=%ed%a0%80"] {
        let name = path.split(['?', '=']).nth(1).expect("a parameter");
        server.get(path).by(&app).answer().await.refuses_naming(name);
    }
    server.get("/api/calls?from=%00").by(&app).answer().await.refuses_naming("from");
    assert!(server.get("/api/calls?from=%ef%bf%bd").by(&app).answer().await.list().is_empty());
}

/// Makes what the server keeps sealed unreadable.
async fn break_the_seals(world: &World) {
    let url = world.setting("DATABASE_URL");
    if world.is_on_postgres() {
        let mut db = PgConnection::connect(url).await.expect("connected");
        let update = "UPDATE dialpad_connections SET access_token = '\\x00'";
        sqlx::query(update).execute(&mut db).await.expect("updated");
    } else {
        let mut db = SqliteConnection::connect(url).await.expect("connected");
        sqlx::query("UPDATE dialpad_connections SET access_token = x'00'")
            .execute(&mut db)
            .await
            .expect("updated");
    }
}

async fn what_breaks_on_our_side_says_nothing_but_how_to_ask_for_it(world: World) {
    let dialpad = Dialpad::start().await;
    let world = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false");
    let server: TestServer = world.start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    break_the_seals(&world).await;
    let order = json!({"dialpad_user_id": Dialpad::USER, "phone_number": "+14155551234"});
    let answer = server.post("/api/calls").by(&app).json(&order).answer().await;
    let error = answer.refuses(500, "INTERNAL_ERROR");
    assert_eq!(error["error"], "Something went wrong on our side");
    assert_eq!(error.as_object().expect("an object").len(), 3, "{error:#}");
    let id = error["request_id"].as_str().expect("checked above");
    eventually("the log knows the request", async || server.process.log().contains(id).then_some(())).await;
    server.get("/api/calls").by(&app).answer().await.ok();
}

/// Sends bytes, and gives all that comes back until the server hangs up.
async fn exchange(server: &TestServer, bytes: &str) -> String {
    let mut wire = TcpStream::connect(server.address()).await.expect("the server takes a connection");
    // It may hang up before it has read everything.
    let _ = wire.write_all(bytes.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(WAIT_TIMEOUT, wire.read_to_end(&mut answer)).await.expect("the server hangs up");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn what_is_no_http_is_refused_without_a_body(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let many_headers: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    for (bytes, status) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: soon\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\n{many_headers}\r\n"), 431),
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(200 << 10)), 431),
    ] {
        let answer = exchange(&server, &bytes).await;
        let shown: String = bytes.chars().take(60).collect();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{shown}: {answer}");
    }
    // A body that breaks off its rules is one of a request, which has an answer.
    let broken = format!(
        "POST /api/calls HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
        app.key
    );
    let answer = exchange(&server, &broken).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("INVALID_REQUEST"), "{answer}");
    server.get("/health").answer().await.ok();
}
