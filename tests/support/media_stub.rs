//! A Dialpad stub that serves media: bytes, redirects and pages that are not audio. It records its requests. It has no
//! OAuth; apps use it through `DIALPAD_API_KEY`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::world::World;

/// A running stub. Dropping it closes its listener.
pub(crate) struct MediaStub {
    pub(crate) base_url: String,
    requests: Arc<Mutex<Vec<MediaRequest>>>,
    disconnects: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

/// A recorded request.
#[derive(Clone, Debug)]
pub(crate) struct MediaRequest {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
}

impl MediaRequest {
    /// Returns the URL of the stub that was requested.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.headers["host"])
    }
}

/// An answer of the stub.
#[derive(Clone, Debug)]
pub(crate) struct MediaResponse {
    status: u16,
    headers: String,
    bytes: Vec<u8>,
    is_endless: bool,
    /// The `content-length`, if it differs from the bytes.
    length: Option<usize>,
}

impl MediaResponse {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: String::new(), bytes: Vec::new(), is_endless: false, length: None }
    }

    /// Answers with these bytes as this media type.
    pub(crate) fn audio(media_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(200).header("content-type", media_type).bytes(bytes)
    }

    /// Redirects to this location.
    pub(crate) fn redirect(location: &str) -> Self {
        Self::new(302).header("location", location)
    }

    pub(crate) fn json(body: &Value) -> Self {
        Self::audio("application/json", body.to_string())
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub(crate) fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.bytes = bytes.into();
        self
    }

    /// Breaks off after the bytes, although this length was announced.
    pub(crate) fn truncated_from(mut self, length: usize) -> Self {
        self.length = Some(length);
        self
    }

    /// Repeats the bytes without end.
    pub(crate) fn endless(mut self) -> Self {
        self.is_endless = true;
        self
    }
}

type Handler = Arc<Mutex<dyn FnMut(&MediaRequest) -> MediaResponse + Send>>;

impl MediaStub {
    /// Starts a stub. It answers `users/me` itself; the handler answers everything else.
    pub(crate) async fn start(handler: impl FnMut(&MediaRequest) -> MediaResponse + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let base_url = format!("http://{}", listener.local_addr().expect("it listens"));
        let (requests, disconnects) =
            (Arc::<Mutex<Vec<MediaRequest>>>::default(), Arc::<AtomicUsize>::default());
        let handler: Handler = Arc::new(Mutex::new(handler));
        let (noted, leaving) = (Arc::clone(&requests), Arc::clone(&disconnects));
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&noted), Arc::clone(&leaving), Arc::clone(&handler)));
            }
        });
        Self { base_url, requests, disconnects, server }
    }

    /// Starts a stub that gives every request the same answer.
    pub(crate) async fn always(response: MediaResponse) -> Self {
        Self::start(move |_| response.clone()).await
    }

    /// Returns all requests except `users/me`.
    pub(crate) fn requests(&self) -> Vec<MediaRequest> {
        let requests = self.requests.lock().expect("no handler panics");
        requests.iter().filter(|request| request.target != "/api/v2/users/me").cloned().collect()
    }

    /// Returns how often a call was read.
    pub(crate) fn call_lookups(&self, call: i64) -> usize {
        let target = format!("/api/v2/call/{call}");
        self.requests().iter().filter(|requests| requests.target == target).count()
    }

    /// Returns how many clients of an endless answer have disconnected.
    pub(crate) fn disconnects(&self) -> usize {
        self.disconnects.load(Ordering::SeqCst)
    }
}

impl Drop for MediaStub {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl World {
    /// Uses this stub for apps without a connection.
    pub(crate) fn with_media_stub(self, media_stub: &MediaStub) -> Self {
        self.with("DIALPAD_SANDBOX_BASE_URL", &media_stub.base_url)
            .with("DIALPAD_API_KEY", "a-static-key-of-the-tests")
    }
}

async fn serve(
    mut stream: TcpStream,
    requests: Arc<Mutex<Vec<MediaRequest>>>,
    disconnects: Arc<AtomicUsize>,
    handler: Handler,
) {
    while let Some(request) = read(&mut stream).await {
        requests.lock().expect("no handler panics").push(request.clone());
        let response = if request.target == "/api/v2/users/me" {
            MediaResponse::json(&json!({"id": "1", "company_id": "12345678"}))
        } else {
            (handler.lock().expect("no handler panics"))(&request)
        };
        let length = response.length.unwrap_or(response.bytes.len());
        let length =
            if response.is_endless { String::new() } else { format!("content-length: {length}\r\n") };
        let head = format!("HTTP/1.1 {} Playing\r\n{length}{}\r\n", response.status, response.headers);
        if stream.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        loop {
            if stream.write_all(&response.bytes).await.is_err() {
                disconnects.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if response.length.is_some() {
                return;
            }
            if !response.is_endless {
                break;
            }
        }
    }
}

/// Reads the next request of a connection; none has a body.
async fn read(stream: &mut TcpStream) -> Option<MediaRequest> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if bytes.windows(4).any(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes).into_owned();
            let mut lines = head.lines();
            let mut words = lines.next()?.split_whitespace();
            let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
            let headers = lines.filter_map(|line| line.split_once(':'));
            let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
            return Some(MediaRequest { method, target, headers: headers.collect() });
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}
