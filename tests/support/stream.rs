//! A CRM on server-sent events.

use std::{collections::VecDeque, time::Duration};

use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::time::timeout;

use super::{
    WAIT_TIMEOUT, documents,
    server::{App, Ask, TestServer},
};

/// An open event stream.
pub(crate) struct EventStream {
    response: reqwest::Response,
    /// The start of an incomplete part.
    rest: String,
    parts: VecDeque<StreamPart>,
    /// The `last-event-id` that a browser would send when it reconnects.
    pub(crate) last_id: Option<i64>,
    /// The epoch that the last id names.
    pub(crate) last_epoch: Option<String>,
    /// The header `x-epoch`.
    pub(crate) epoch: String,
}

/// One part of an event stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StreamPart {
    pub(crate) id: Option<i64>,
    /// The epoch that the id names.
    pub(crate) epoch: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) data: Option<Value>,
    pub(crate) retry: Option<u64>,
}

impl TestServer {
    /// Opens a stream with the app's key, without reading anything from it.
    pub(crate) async fn open_stream(&self, app: &App, query: &str) -> EventStream {
        EventStream::open(self.get(&format!("/api/events/stream{query}")).by(app)).await
    }

    /// Opens a stream with the app's key and a query, and reads `connected`.
    pub(crate) async fn stream(&self, app: &App, query: &str) -> EventStream {
        let mut stream = self.open_stream(app, query).await;
        stream.expect("connected").await;
        stream
    }
}

impl EventStream {
    pub(crate) async fn open(request: RequestBuilder) -> Self {
        let response = request.timeout(Duration::from_secs(120)).send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{:?}", response.text().await);
        let media_type = response.headers()["content-type"].to_str().expect("text");
        assert!(media_type.starts_with("text/event-stream"), "{media_type}");
        let epoch = response.headers()["x-epoch"].to_str().expect("text").to_owned();
        let (rest, parts) = (String::new(), VecDeque::new());
        Self { response, rest, parts, last_id: None, last_epoch: None, epoch }
    }

    /// Returns the next part; `None` at the end.
    pub(crate) async fn part(&mut self) -> Option<StreamPart> {
        timeout(WAIT_TIMEOUT, self.more()).await.expect("the stream says something in time")
    }

    async fn more(&mut self) -> Option<StreamPart> {
        loop {
            if let Some(part) = self.parts.pop_front() {
                if part.id.is_some() {
                    (self.last_id, self.last_epoch) = (part.id, part.epoch.clone());
                }
                return Some(part);
            }
            let chunk = self.response.chunk().await.ok()??;
            self.rest.push_str(std::str::from_utf8(&chunk).expect("pieces end between characters"));
            while let Some((part, rest)) = self.rest.split_once("\n\n") {
                let part = StreamPart::read(part);
                self.rest = rest.to_owned();
                // Skips comments and reconnection times.
                if part != StreamPart::default() {
                    self.parts.push_back(part);
                }
            }
        }
    }

    /// Returns the next event. Parts without data only move the cursor.
    pub(crate) async fn next_event(&mut self) -> Value {
        loop {
            let part = self.part().await.expect("the stream goes on");
            if let Some(data) = part.data {
                assert_eq!(part.kind.as_deref(), data["type"].as_str(), "{data:#}");
                return data;
            }
        }
    }

    /// Returns the next event, which must be of this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let event = self.next_event().await;
        assert_eq!(event["type"], kind, "{event:#}");
        event
    }

    /// Returns this many events.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            let event = self.next_event().await;
            assert_eq!(self.last_id, event["seq"].as_i64(), "{event:#}");
            events.push(event);
        }
        events
    }

    /// Reads until the end and returns all messages.
    pub(crate) async fn remaining_messages(&mut self) -> Vec<Value> {
        let mut words = Vec::new();
        while let Some(part) = self.part().await {
            words.extend(part.data);
        }
        words
    }
}

impl StreamPart {
    fn read(part: &str) -> Self {
        let mut sent = Self::default();
        for line in part.lines() {
            match line.split_once(": ").unwrap_or((line, "")) {
                ("id", id) => {
                    let (epoch, seq) =
                        id.split_once(':').map_or((None, id), |(epoch, seq)| (Some(epoch), seq));
                    sent.id = Some(seq.parse().expect("an id ends with a seq"));
                    sent.epoch = epoch.map(str::to_owned);
                }
                ("event", kind) => sent.kind = Some(kind.to_owned()),
                ("data", data) => {
                    let message = serde_json::from_str(data).expect("data is JSON");
                    documents::check_message(&message);
                    sent.data = Some(message);
                }
                ("retry", after) => sent.retry = Some(after.parse().expect("a number of milliseconds")),
                (comment, _) => assert!(comment.starts_with(':'), "{part}"),
            }
        }
        sent
    }
}
