//! A server that says exactly what the test wants, connection after connection, and how a feed is read from it.

use std::time::Duration;

use cti_client::{Event, Feed, Heard, Pace, Stopped, Subscription};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

const PATIENCE: Duration = Duration::from_secs(15);

/// What happens on one connection, until it is cut.
pub(crate) enum Connection {
    Says(Vec<String>),
    /// The same, and then a close code.
    SaysAndCloses(Vec<String>, u16),
    /// The same, and then hears acknowledgements until there is one of this event.
    SaysAndHears(Vec<String>, u64),
    /// The handshake is refused.
    Refuses(u16, &'static str),
}

/// Plays the connections one after the other; gives what was asked for by each.
pub(crate) async fn server(play: Vec<Connection>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let played = tokio::spawn(async move {
        let mut asked = Vec::new();
        for connection in play {
            let (stream, _) = listener.accept().await.expect("somebody comes");
            asked.push(serve(stream, connection).await);
        }
        asked
    });
    (url, played)
}

async fn serve(stream: TcpStream, connection: Connection) -> String {
    let mut asked = String::new();
    #[expect(clippy::result_large_err, reason = "the library's own signature")]
    let note = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        let key = request.headers().get("x-api-key").and_then(|key| key.to_str().ok());
        assert_eq!(key, Some("raw_key"));
        asked = request.uri().to_string();
        match &connection {
            Connection::Refuses(status, body) => {
                let refusal = ErrorResponse::new(Some((*body).to_owned()));
                let (mut parts, body) = refusal.into_parts();
                parts.status = (*status).try_into().expect("a status");
                Err(ErrorResponse::from_parts(parts, body))
            }
            _ => Ok(response),
        }
    };
    let Ok(mut socket) = accept_hdr_async(stream, note).await else { return asked };
    match connection {
        Connection::Says(texts) => say(&mut socket, texts).await,
        Connection::SaysAndCloses(texts, code) => {
            say(&mut socket, texts).await;
            let frame = CloseFrame { code: code.into(), reason: "because".into() };
            socket.close(Some(frame)).await.expect("it listens");
            while let Some(Ok(_)) = socket.next().await {}
        }
        Connection::SaysAndHears(texts, last) => {
            say(&mut socket, texts).await;
            while !asked.ends_with(&ack(last)) {
                match timeout(PATIENCE, socket.next()).await.expect("it says something") {
                    Some(Ok(Message::Text(text))) => asked.push_str(&format!(" {text}")),
                    other => panic!("no acknowledgement: {other:?}"),
                }
            }
        }
        Connection::Refuses(..) => {}
    }
    asked
}

async fn say(socket: &mut WebSocketStream<TcpStream>, texts: Vec<String>) {
    for text in texts {
        socket.send(Message::text(text)).await.expect("it listens");
    }
}

pub(crate) fn connected(seq: u64) -> String {
    format!(r#"{{"type":"connected","app_id":"a","session_id":"s","seq":{seq},"oldest_seq":1}}"#)
}

pub(crate) fn ring(seq: u64) -> String {
    format!(r#"{{"type":"call.ring","seq":{seq},"event_id":"e{seq}","app_id":"a","dialpad_call_id":{seq}}}"#)
}

pub(crate) fn subscription(url: &str) -> Subscription {
    let pace = Pace { base: Duration::from_millis(5), ..Pace::default() };
    Subscription::new(url, "raw_key").expect("an address").pace(pace)
}

pub(crate) async fn heard(feed: &mut Feed) -> Result<Heard, Stopped> {
    timeout(PATIENCE, feed.next()).await.expect("in time").expect("the feed goes on")
}

pub(crate) async fn event(feed: &mut Feed) -> Event {
    match heard(feed).await {
        Ok(Heard::Event(event)) => *event,
        other => panic!("no event: {other:?}"),
    }
}

pub(crate) async fn asked(played: JoinHandle<Vec<String>>) -> Vec<String> {
    timeout(PATIENCE, played).await.expect("in time").expect("it was played")
}

/// An acknowledgement as it is noted.
pub(crate) fn ack(seq: u64) -> String {
    format!(r#" {{"type":"ack","seq":{seq}}}"#)
}
