//! A receiver of traces: OTLP over HTTP, in protobuf.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value},
    trace::v1::status::StatusCode,
};
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::eventually;

/// How a collector answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answering {
    /// It takes the spans.
    Yes,
    /// With this status.
    With(u16),
    /// Not at all.
    Never,
}

/// A received span.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedSpan {
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    /// Those of its own, by name.
    pub(crate) attributes: BTreeMap<String, String>,
    /// Those of the program that sent it.
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) has_failed: bool,
    pub(crate) began: u64,
    pub(crate) ended: u64,
}

#[derive(Debug)]
struct State {
    spans: Mutex<Vec<ReceivedSpan>>,
    answering: Mutex<Answering>,
    requests: AtomicUsize,
    /// The bytes of all bodies.
    bytes: Mutex<Vec<u8>>,
}

/// A running receiver. Dropping it closes its listener.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Collector {
    pub(crate) async fn start(answering: Answering) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let endpoint = format!("http://{}", listener.local_addr().expect("it listens"));
        let state = Arc::new(State {
            spans: Mutex::default(),
            answering: Mutex::new(answering),
            requests: AtomicUsize::new(0),
            bytes: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { endpoint, state, task }
    }

    pub(crate) fn answer(&self, answering: Answering) {
        *self.state.answering.lock().expect("nobody panics") = answering;
    }

    /// Returns how many requests have come.
    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn spans(&self) -> Vec<ReceivedSpan> {
        self.state.spans.lock().expect("nobody panics").clone()
    }

    /// Returns everything that was received, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.state.bytes.lock().expect("nobody panics")).into_owned()
    }

    /// Waits for a span.
    pub(crate) async fn span(&self, what: &str, is_it: impl Fn(&ReceivedSpan) -> bool) -> ReceivedSpan {
        eventually(what, async || self.spans().into_iter().find(|span| is_it(span))).await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    while let Some((head, body)) = read(&mut stream).await {
        state.requests.fetch_add(1, Ordering::SeqCst);
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
        let answering = *state.answering.lock().expect("nobody panics");
        let status = match answering {
            Answering::Yes => 200,
            Answering::With(status) => status,
            Answering::Never => return std::future::pending().await,
        };
        if status == 200 {
            state.bytes.lock().expect("nobody panics").extend_from_slice(&body);
            let request = ExportTraceServiceRequest::decode(&*body).expect("OTLP in protobuf");
            state.spans.lock().expect("nobody panics").extend(spans_of(request));
        }
        let body = ExportTraceServiceResponse::default().encode_to_vec();
        let head = format!(
            "HTTP/1.1 {status} Answer\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(&[head.as_bytes(), &body].concat()).await.is_err() {
            return;
        }
    }
}

/// Reads the next request of a connection.
async fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|length| length.parse().ok()).expect("a length");
            if bytes.len() - end - 4 >= length {
                return Some((head, bytes[end + 4..end + 4 + length].to_vec()));
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

fn spans_of(request: ExportTraceServiceRequest) -> Vec<ReceivedSpan> {
    let mut spans = Vec::new();
    for of_resource in request.resource_spans {
        let resource = attributes(of_resource.resource.unwrap_or_default().attributes);
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(ReceivedSpan {
                name: span.name,
                trace: hex::encode(span.trace_id),
                id: hex::encode(span.span_id),
                parent: hex::encode(span.parent_span_id),
                attributes: attributes(span.attributes),
                resource: resource.clone(),
                has_failed: span.status.is_some_and(|status| status.code() == StatusCode::Error),
                began: span.start_time_unix_nano,
                ended: span.end_time_unix_nano,
            });
        }
    }
    spans
}

fn attributes(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value| match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes
        .into_iter()
        .filter_map(|attribute| Some((attribute.key, text(attribute.value?.value?))))
        .collect()
}
