//! A CRM on the WebSocket.

use futures_util::{SinkExt, StreamExt};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderName},
};

use super::{
    WAIT_TIMEOUT,
    call::Call,
    documents,
    server::{App, TestServer},
};

/// An open session.
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// Something received from the server.
#[derive(Debug, PartialEq)]
pub(crate) enum Received {
    Message(Value),
    /// The close code; `None` if the connection ended without one.
    Closed(Option<u16>),
}

impl TestServer {
    /// Opens a WebSocket, without reading anything from it.
    pub(crate) async fn open_socket(&self, path: &str, headers: &[(&str, &str)]) -> Socket {
        let mut request = format!("ws://{}{path}", self.address()).into_client_request().expect("an address");
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a header's name");
            request.headers_mut().insert(name, value.parse().expect("a header's value"));
        }
        let opened = timeout(WAIT_TIMEOUT, connect_async(request))
            .await
            .expect("the server answers a handshake in time");
        let (stream, _) = opened.unwrap_or_else(|error| panic!("{path} is no WebSocket: {error}"));
        Socket { stream }
    }

    /// Opens a session with the app's key and a query, and reads `connected`.
    pub(crate) async fn subscribe(&self, app: &App, query: &str) -> Socket {
        let mut socket = self.open_socket(&format!("/ws{query}"), &[("x-api-key", &app.key)]).await;
        socket.expect("connected").await;
        socket
    }

    /// Opens a session for new events.
    pub(crate) async fn listen(&self, app: &App) -> Socket {
        self.subscribe(app, "").await
    }

    /// Builds a handshake as plain HTTP, for handshakes that are refused.
    pub(crate) fn handshake(&self, path: &str) -> RequestBuilder {
        self.get(path)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    }
}

impl Socket {
    /// Returns the next message, or the end.
    pub(crate) async fn receive(&mut self) -> Received {
        timeout(WAIT_TIMEOUT, self.more()).await.expect("the socket says something in time")
    }

    async fn more(&mut self) -> Received {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message = serde_json::from_str(&text).expect("messages are JSON");
                    documents::check_message(&message);
                    return Received::Message(message);
                }
                Some(Ok(Message::Close(frame))) => {
                    return Received::Closed(frame.map(|frame| frame.code.into()));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => panic!("unexpected: {other:?}"),
                Some(Err(_)) | None => return Received::Closed(None),
            }
        }
    }

    /// Returns the next message, which must not be the end. `cursor` messages are skipped, because they depend on the time.
    pub(crate) async fn next_event(&mut self) -> Value {
        loop {
            match self.receive().await {
                Received::Message(message) if message["type"] == "cursor" => {}
                Received::Message(message) => return message,
                Received::Closed(code) => panic!("the socket was closed with {code:?}"),
            }
        }
    }

    /// Waits for a `cursor` message with this `seq`, and receives nothing else meanwhile.
    pub(crate) async fn expect_cursor(&mut self, seq: i64) {
        loop {
            match self.receive().await {
                Received::Message(message) if message == json!({"type": "cursor", "seq": seq}) => return,
                Received::Message(message) if message["type"] == "cursor" => {}
                other => panic!("expected a cursor at {seq}, heard {other:?}"),
            }
        }
    }

    /// Returns the next message, which must be of this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let event = self.next_event().await;
        assert_eq!(event["type"], kind, "{event:#}");
        event
    }

    /// Returns this many messages.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(self.next_event().await);
        }
        events
    }

    /// Lets a marker call ring, and asserts that its event is the next one.
    pub(crate) async fn expect_nothing_more(&mut self, server: &TestServer, app: &App) {
        let marker = Call::new(7_777_777_777);
        server.webhook(app, &marker.ring(0)).await;
        let event = self.next_event().await;
        assert_eq!(event["dialpad_call_id"], marker.id, "one event too many: {event:#}");
    }

    /// Answers pings until a future completes, and receives nothing meanwhile.
    pub(crate) async fn stays_idle_until<T>(&mut self, something: impl Future<Output = T>) -> T {
        tokio::select! {
            happened = something => happened,
            next = self.more() => panic!("an idle socket heard {next:?}"),
        }
    }

    /// Returns the close code; `None` if a message comes first.
    pub(crate) async fn close_code_or_message(&mut self) -> Option<u16> {
        match self.receive().await {
            Received::Message(_) => None,
            Received::Closed(code) => code,
        }
    }

    /// Reads until the end and returns the close code.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        loop {
            if let Received::Closed(code) = self.receive().await {
                return code;
            }
        }
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.expect("the socket takes a message");
    }

    /// Sends a text of which the server may stop reading in the middle.
    pub(crate) async fn send_text_lossy(&mut self, text: &str) {
        let _ = self.stream.send(Message::text(text)).await;
    }

    /// Sends a ping and returns the payload of the pong.
    pub(crate) async fn ping(&mut self, payload: &'static [u8]) -> Vec<u8> {
        self.stream.send(Message::Ping(payload.into())).await.expect("the socket takes a ping");
        let next = timeout(WAIT_TIMEOUT, self.stream.next()).await.expect("a ping is answered in time");
        match next {
            Some(Ok(Message::Pong(payload))) => payload.to_vec(),
            other => panic!("a ping was answered with {other:?}"),
        }
    }

    /// Sends the first message of a client that sent no key in the handshake.
    pub(crate) async fn send_subscribe(&mut self, key: &str) {
        self.send_text(&json!({"type": "subscribe", "api_key": key}).to_string()).await;
    }
}
