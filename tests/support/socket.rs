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

/// What comes from the server.
#[derive(Debug, PartialEq)]
pub(crate) enum Received {
    Message(Value),
    /// The close code; none where the connection just ended.
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

    /// A session with the app's key and a query; the first message is read.
    pub(crate) async fn subscribe(&self, app: &App, query: &str) -> Socket {
        let mut socket = self.open_socket(&format!("/ws{query}"), &[("x-api-key", &app.key)]).await;
        socket.expect("connected").await;
        socket
    }

    /// A session that hears what is told from now on.
    pub(crate) async fn listen(&self, app: &App) -> Socket {
        self.subscribe(app, "").await
    }

    /// A handshake as plain HTTP, for those that are refused.
    pub(crate) fn handshake(&self, path: &str) -> RequestBuilder {
        self.get(path)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    }
}

impl Socket {
    /// The next message, or the end.
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

    /// The next message, which must not be the end. What only says where the session stands is passed over: when it is
    /// said depends on the time.
    pub(crate) async fn next_event(&mut self) -> Value {
        loop {
            match self.receive().await {
                Received::Message(message) if message["type"] == "cursor" => {}
                Received::Message(message) => return message,
                Received::Closed(code) => panic!("the socket was closed with {code:?}"),
            }
        }
    }

    /// Waits until it says that everything up to here is dealt with, and hears nothing else meanwhile.
    pub(crate) async fn expect_cursor(&mut self, seq: i64) {
        loop {
            match self.receive().await {
                Received::Message(message) if message == json!({"type": "cursor", "seq": seq}) => return,
                Received::Message(message) if message["type"] == "cursor" => {}
                other => panic!("expected a cursor at {seq}, heard {other:?}"),
            }
        }
    }

    /// The next message, which must be of this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let event = self.next_event().await;
        assert_eq!(event["type"], kind, "{event:#}");
        event
    }

    /// So many messages.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(self.next_event().await);
        }
        events
    }

    /// Lets another call ring, and hears nothing before that.
    pub(crate) async fn expect_nothing_more(&mut self, server: &TestServer, app: &App) {
        let marker = Call::new(7_777_777_777);
        server.webhook(app, &marker.ring(0)).await;
        let event = self.next_event().await;
        assert_eq!(event["dialpad_call_id"], marker.id, "one event too many: {event:#}");
    }

    /// Stays alive, answering pings, until something else has happened; hears nothing meanwhile.
    pub(crate) async fn stays_idle_until<T>(&mut self, something: impl Future<Output = T>) -> T {
        tokio::select! {
            happened = something => happened,
            next = self.more() => panic!("an idle socket heard {next:?}"),
        }
    }

    /// The close code, unless something else is said first.
    pub(crate) async fn close_code_or_message(&mut self) -> Option<u16> {
        match self.receive().await {
            Received::Message(_) => None,
            Received::Closed(code) => code,
        }
    }

    /// Reads to the end and gives the close code, if there is one.
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

    /// Says something that the server may stop listening to in the middle.
    pub(crate) async fn send_text_lossy(&mut self, text: &str) {
        let _ = self.stream.send(Message::text(text)).await;
    }

    /// Sends a ping and gives what comes back.
    pub(crate) async fn ping(&mut self, payload: &'static [u8]) -> Vec<u8> {
        self.stream.send(Message::Ping(payload.into())).await.expect("the socket takes a ping");
        let next = timeout(WAIT_TIMEOUT, self.stream.next()).await.expect("a ping is answered in time");
        match next {
            Some(Ok(Message::Pong(payload))) => payload.to_vec(),
            other => panic!("a ping was answered with {other:?}"),
        }
    }

    /// The first message of a client that brought no key.
    pub(crate) async fn send_subscribe(&mut self, key: &str) {
        self.send_text(&json!({"type": "subscribe", "api_key": key}).to_string()).await;
    }
}
