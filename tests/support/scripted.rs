//! A Dialpad that answers what the test says: for replies that a healthy one never gives, and for moments between a
//! question and its reply. It has no OAuth; an app belongs to it by `DIALPAD_API_KEY`.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use super::{eventually, world::World};

/// The organisation that the key belongs to.
const COMPANY: i64 = 12_345_678;

/// A running one. Dropping it closes its server.
pub(crate) struct ScriptedDialpad {
    base_url: String,
    requests: Arc<Mutex<Vec<ScriptedRequest>>>,
    server: JoinHandle<()>,
}

/// What it was requests.
#[derive(Clone, Debug)]
pub(crate) struct ScriptedRequest {
    /// Method and path below `/api/v2/`: `POST call`.
    pub(crate) what: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

/// What it replies.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: String,
    body: Option<String>,
    gate: Option<ReplyGate>,
}

/// Holds replies back until the test opens it, for good.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplyGate(watch::Sender<bool>);

impl ReplyGate {
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    async fn is_open(&self) {
        // It is held by whoever waits, so it can't be gone.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

impl Reply {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self { status, headers: String::new(), body: Some(body.to_string()), gate: None }
    }

    /// The connection ends without a reply.
    pub(crate) fn none() -> Self {
        Self { status: 0, headers: String::new(), body: None, gate: None }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Not before the gate is open.
    pub(crate) fn held_by(mut self, gate: &ReplyGate) -> Self {
        self.gate = Some(gate.clone());
        self
    }
}

type Script = Arc<Mutex<dyn FnMut(&ScriptedRequest) -> Reply + Send>>;

impl ScriptedDialpad {
    /// Who asks for a user's own data is told; everything else is the script's.
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

    /// Where it is.
    pub(crate) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Everything that it was requests under this name, in order.
    pub(crate) fn requests(&self, what: &str) -> Vec<ScriptedRequest> {
        let requests = self.requests.lock().expect("no script panics");
        requests.iter().filter(|it| it.what == what).cloned().collect()
    }

    /// Waits until it was requests so often.
    pub(crate) async fn wait_for_requests(&self, what: &str, times: usize) -> Vec<ScriptedRequest> {
        eventually(&format!("{what} is requests {times} times"), async || {
            Some(self.requests(what)).filter(|requests| requests.len() >= times)
        })
        .await
    }

    /// Nobody can reach it any more.
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
    /// Apps without a connection belong to this Dialpad.
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

/// The next request on a connection.
async fn read(stream: &mut TcpStream) -> Option<ScriptedRequest> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
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
