//! A scripted WebSocket server, and helpers that read a feed from it.

use std::time::Duration;

use cti_client::{Backoff, Event, Feed, FeedError, Item, Subscription};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

const TIMEOUT: Duration = Duration::from_secs(15);

/// What happens on one connection before it is cut.
pub(crate) enum Connection {
    /// Sends these messages.
    Send(Vec<String>),
    /// Sends these messages, then closes with this code.
    SendThenClose(Vec<String>, u16),
    /// Sends these messages, then receives acknowledgements until one of this event.
    SendThenReceive(Vec<String>, u64),
    /// Refuse the handshake.
    Refuse(u16, &'static str),
}

/// Serves the connections one after the other; returns the URL and, once all are served, what each requested.
pub(crate) async fn server(connections: Vec<Connection>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let served = tokio::spawn(async move {
        let mut requests = Vec::new();
        for connection in connections {
            let (stream, _) = listener.accept().await.expect("a connection");
            requests.push(serve(stream, connection).await);
        }
        requests
    });
    (url, served)
}

async fn serve(stream: TcpStream, connection: Connection) -> String {
    let mut requests = String::new();
    #[expect(clippy::result_large_err, reason = "the library's own signature")]
    let note = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        let key = request.headers().get("x-api-key").and_then(|key| key.to_str().ok());
        assert_eq!(key, Some("raw_key"));
        requests = request.uri().to_string();
        match &connection {
            Connection::Refuse(status, body) => {
                let refusal = ErrorResponse::new(Some((*body).to_owned()));
                let (mut parts, body) = refusal.into_parts();
                parts.status = (*status).try_into().expect("a status");
                Err(ErrorResponse::from_parts(parts, body))
            }
            _ => Ok(response),
        }
    };
    let Ok(mut socket) = accept_hdr_async(stream, note).await else { return requests };
    match connection {
        Connection::Send(texts) => send_all(&mut socket, texts).await,
        Connection::SendThenClose(texts, code) => {
            send_all(&mut socket, texts).await;
            let frame = CloseFrame { code: code.into(), reason: "because".into() };
            socket.close(Some(frame)).await.expect("the client is connected");
            while let Some(Ok(_)) = socket.next().await {}
        }
        Connection::SendThenReceive(texts, last) => {
            send_all(&mut socket, texts).await;
            while !requests.ends_with(&ack(last)) {
                match timeout(TIMEOUT, socket.next()).await.expect("a message in time") {
                    Some(Ok(Message::Text(text))) => requests.push_str(&format!(" {text}")),
                    other => panic!("no acknowledgement: {other:?}"),
                }
            }
        }
        Connection::Refuse(..) => {}
    }
    requests
}

async fn send_all(socket: &mut WebSocketStream<TcpStream>, texts: Vec<String>) {
    for text in texts {
        socket.send(Message::text(text)).await.expect("the client is connected");
    }
}

pub(crate) fn connected(seq: u64) -> String {
    format!(r#"{{"type":"connected","app_id":"a","session_id":"s","seq":{seq},"oldest_seq":1}}"#)
}

/// Returns the `connected` message of a server that names the epoch of its feed.
pub(crate) fn connected_in(epoch: &str, seq: u64) -> String {
    connected(seq).replace('}', &format!(r#","epoch":"{epoch}"}}"#))
}

pub(crate) fn ring(seq: u64) -> String {
    format!(r#"{{"type":"call.ring","seq":{seq},"event_id":"e{seq}","app_id":"a","dialpad_call_id":{seq}}}"#)
}

pub(crate) fn subscription(url: &str) -> Subscription {
    let backoff = Backoff { initial: Duration::from_millis(5), ..Backoff::default() };
    Subscription::new(url, "raw_key").expect("an address").backoff(backoff)
}

pub(crate) async fn next_item(feed: &mut Feed) -> Result<Item, FeedError> {
    timeout(TIMEOUT, feed.next()).await.expect("in time").expect("the feed continues")
}

pub(crate) async fn event(feed: &mut Feed) -> Event {
    match next_item(feed).await {
        Ok(Item::Event(event)) => *event,
        other => panic!("no event: {other:?}"),
    }
}

pub(crate) async fn requests(served: JoinHandle<Vec<String>>) -> Vec<String> {
    timeout(TIMEOUT, served).await.expect("in time").expect("all connections are served")
}

/// Returns an acknowledgement as it appears in the requests.
pub(crate) fn ack(seq: u64) -> String {
    format!(r#" {{"type":"ack","seq":{seq}}}"#)
}
