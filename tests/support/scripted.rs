//! A scripted Dialpad stub: for replies that Dialpad does not give by itself, and for moments between a request and its
//! reply. It has no OAuth; apps use it through `DIALPAD_API_KEY`.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use super::{eventually, world::World};

/// The organization of the key.
const COMPANY: i64 = 12_345_678;

/// A running stub. Dropping it closes its listener.
pub(crate) struct ScriptedDialpad {
    base_url: String,
    requests: Arc<Mutex<Vec<ScriptedRequest>>>,
    server: JoinHandle<()>,
}

/// A recorded request.
#[derive(Clone, Debug)]
pub(crate) struct ScriptedRequest {
    /// Method and path below `/api/v2/`: `POST call`.
    pub(crate) what: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

/// A reply of the stub.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: String,
    body: Option<String>,
    gate: Option<ReplyGate>,
}

/// Delays replies until the test opens it, once and for all.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplyGate(watch::Sender<bool>);

impl ReplyGate {
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    async fn is_open(&self) {
        // The sender is held by the waiting reply, so it is not dropped.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

impl Reply {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self { status, headers: String::new(), body: Some(body.to_string()), gate: None }
    }

    /// Closes the connection without a reply.
    pub(crate) fn none() -> Self {
        Self { status: 0, headers: String::new(), body: None, gate: None }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Delays the reply until the gate is open.
    pub(crate) fn held_by(mut self, gate: &ReplyGate) -> Self {
        self.gate = Some(gate.clone());
        self
    }
}

type Script = Arc<Mutex<dyn FnMut(&ScriptedRequest) -> Reply + Send>>;

impl ScriptedDialpad {
    /// Starts a stub. It answers `users/me` itself; the script answers everything else.
    pub(crate) async fn start(script: impl FnMut(&ScriptedRequest) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let base_url = format!("http://{}", listener.local_addr().expect("it listens"));
        let (requests, script): (Arc<Mutex<Vec<ScriptedRequest>>>, Script) =
            (Arc::default(), Arc::new(Mutex::new(script)));
        let noted = Arc::clone(&requests);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&noted), Arc::clone(&script)));
            }
        });
        Self { base_url, requests, server }
    }

    /// Returns its URL.
    pub(crate) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Returns the requests of this name, in order.
    pub(crate) fn requests(&self, what: &str) -> Vec<ScriptedRequest> {
        let requests = self.requests.lock().expect("no script panics");
        requests.iter().filter(|request| request.what == what).cloned().collect()
    }

    /// Waits for this many requests of this name.
    pub(crate) async fn wait_for_requests(&self, what: &str, times: usize) -> Vec<ScriptedRequest> {
        eventually(&format!("{times} requests of {what}"), async || {
            Some(self.requests(what)).filter(|requests| requests.len() >= times)
        })
        .await
    }

    /// Closes the listener.
    pub(crate) fn close(&self) {
        self.server.abort();
    }
}

impl Drop for ScriptedDialpad {
    fn drop(&mut self) {
        self.close();
    }
}

impl World {
    /// Uses this stub for apps without a connection.
    pub(crate) fn with_scripted(self, dialpad: &ScriptedDialpad) -> Self {
        self.with("DIALPAD_SANDBOX_BASE_URL", &dialpad.base_url)
            .with("DIALPAD_API_KEY", "a-static-key-of-the-tests")
    }
}

async fn serve(mut stream: TcpStream, requests: Arc<Mutex<Vec<ScriptedRequest>>>, script: Script) {
    while let Some(question) = read(&mut stream).await {
        requests.lock().expect("no script panics").push(question.clone());
        let reply = if question.what == "GET users/me" {
            Reply::json(200, json!({"id": "1", "company_id": COMPANY.to_string()}))
        } else {
            (script.lock().expect("no script panics"))(&question)
        };
        if let Some(gate) = &reply.gate {
            gate.is_open().await;
        }
        let Some(body) = reply.body else { return };
        let head = format!(
            "HTTP/1.1 {} Scripted\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{}\r\n",
            reply.status,
            body.len(),
            reply.headers
        );
        if stream.write_all((head + &body).as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads the next request of a connection.
async fn read(stream: &mut TcpStream) -> Option<ScriptedRequest> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let (from, to) = (end + 4, end + 4 + length.unwrap_or(0));
            if bytes.len() >= to {
                let mut words = head.split_whitespace();
                let (method, target) = (words.next()?, words.next()?);
                let (path, query) = target.split_once('?').unwrap_or((target, ""));
                let what = format!("{method} {}", path.trim_start_matches("/api/v2/"));
                let body = serde_json::from_slice(&bytes[from..to]).unwrap_or_default();
                return Some(ScriptedRequest { what, query: query.to_owned(), body });
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}
