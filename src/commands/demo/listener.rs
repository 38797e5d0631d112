//! The CRM of the demo: follows an app's events on a WebSocket, and comes back behind the last one it has seen when
//! the connection breaks, as any CRM should.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::event::{Arrival, Event};
use crate::simulator::clock;

/// How often in a row the connection may fail to come back: about six seconds.
const RETRIES: u32 = 5;

/// A CRM at work.
pub(super) struct Listener {
    /// The place of the newest event before ours.
    head: i64,
    /// Dropping it ends the task.
    heard: mpsc::Receiver<Heard>,
    task: JoinHandle<()>,
}

/// What a listener has to report.
#[derive(Debug)]
pub(super) enum Heard {
    /// An event.
    Event(Box<Arrival>),
    /// The connection broke, for this reason; it is being opened again.
    Interrupted(String),
    /// It could not be opened again.
    Gone(ListenError),
}

/// Why there are no events to be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The connection was refused.
    #[error("cannot open the WebSocket: {0}")]
    Refused(#[source] Box<tungstenite::Error>),
    /// The server greets otherwise than was agreed.
    #[error("the first message on the WebSocket is not `connected`: {0}")]
    Greeting(String),
    /// A message is no event.
    #[error("unreadable event ({error}): {text}")]
    Unreadable {
        /// What is wrong with it.
        error: serde_json::Error,
        /// The message.
        text: String,
    },
    /// Nothing more will come.
    #[error("the WebSocket's reader is gone")]
    Ended,
}

impl From<tungstenite::Error> for ListenError {
    fn from(error: tungstenite::Error) -> Self {
        Self::Refused(Box::new(error))
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Listener {
    /// Connects; when this returns, every event from then on will be heard.
    pub(super) async fn open(base_url: &str, api_key: &str) -> Result<Self, ListenError> {
        let door =
            Door { url: format!("{}/ws", base_url.replacen("http", "ws", 1)), api_key: api_key.to_owned() };
        let (socket, head) = door.open(None).await?;
        let (tell, heard) = mpsc::channel(1_024);
        let task = tokio::spawn(follow(door, socket, head, tell));
        Ok(Self { head, heard, task })
    }

    /// The place in the feed behind which its events begin.
    pub(super) fn head(&self) -> i64 {
        self.head
    }

    /// What comes next. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Heard {
        self.heard.recv().await.unwrap_or(Heard::Gone(ListenError::Ended))
    }

    /// Says goodbye to the server.
    pub(super) async fn close(self) {
        drop(self.heard);
        // A server that does not answer the goodbye is none of our business any more.
        let _ = timeout(Duration::from_secs(1), self.task).await;
    }
}

/// Where to connect, and as whom.
struct Door {
    url: String,
    api_key: String,
}

impl Door {
    /// Connects and waits for the greeting, which tells the place of the newest event.
    async fn open(&self, after: Option<i64>) -> Result<(Socket, i64), ListenError> {
        let cursor = after.map_or_else(String::new, |seq| format!("?after={seq}"));
        let mut request = format!("{}{cursor}", self.url).into_client_request()?;
        let key = HeaderValue::from_str(&self.api_key).map_err(tungstenite::http::Error::from);
        request.headers_mut().insert("x-api-key", key.map_err(tungstenite::Error::from)?);
        let (mut socket, _) = connect_async_with_config(request, None, true).await?;
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    return match serde_json::from_str::<Event>(&text) {
                        Ok(greeting) if greeting.kind == "connected" => Ok((socket, greeting.seq)),
                        _ => Err(ListenError::Greeting(text.to_string())),
                    };
                }
                Some(Ok(Message::Close(_))) | None => {
                    return Err(ListenError::Greeting("nothing".to_owned()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }
}

async fn follow(door: Door, mut socket: Socket, head: i64, tell: mpsc::Sender<Heard>) {
    let mut cursor = head;
    loop {
        let last_word = match read(&mut socket, &mut cursor, &tell).await {
            End::Broken(reason) => Heard::Interrupted(reason),
            End::Senseless(error) => Heard::Gone(error),
            End::Unheard => return,
        };
        let is_final = matches!(last_word, Heard::Gone(_));
        if tell.send(last_word).await.is_err() || is_final {
            return;
        }
        let mut failures = 0;
        socket = loop {
            // Longer each time, and never at once: a server that cuts every connection would be stormed.
            sleep(Duration::from_millis(100) * 2_u32.pow(failures)).await;
            match door.open(Some(cursor)).await {
                Ok((socket, _)) => break socket,
                Err(error) if failures == RETRIES => {
                    // Nobody may be listening any more; then nobody misses it.
                    let _ = tell.send(Heard::Gone(error)).await;
                    return;
                }
                Err(_) => failures += 1,
            }
        };
    }
}

/// Why reading ended.
enum End {
    /// The connection broke, for this reason.
    Broken(String),
    /// The server said something that is no event. Coming back would only hear it again.
    Senseless(ListenError),
    /// Nobody wants to know any more.
    Unheard,
}

async fn read(socket: &mut Socket, cursor: &mut i64, tell: &mpsc::Sender<Heard>) -> End {
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            () = tell.closed() => {
                let goodbye = CloseFrame { code: CloseCode::Normal, reason: "the demo is over".into() };
                // The server may be gone already.
                let _ = socket.close(Some(goodbye)).await;
                return End::Unheard;
            }
        };
        // Taken before anything else is done with it: it ends the measured way.
        let at = clock::now().timestamp_micros();
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(Some(frame)))) => return End::Broken(frame.to_string()),
            Some(Ok(Message::Close(None))) | None => {
                return End::Broken("closed without a reason".to_owned());
            }
            Some(Ok(_)) => continue,
            Some(Err(error)) => return End::Broken(error.to_string()),
        };
        let event = match serde_json::from_str::<Event>(&text) {
            Ok(event) if event.is_control() => continue,
            Ok(event) => event,
            Err(error) => return End::Senseless(ListenError::Unreadable { error, text: text.to_string() }),
        };
        *cursor = event.seq.max(*cursor);
        let arrival = Arrival { at, text: text.to_string(), event };
        if tell.send(Heard::Event(Box::new(arrival))).await.is_err() {
            return End::Unheard;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::SinkExt;
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_hdr_async;
    use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

    use super::*;

    /// Greets whoever comes, sends one event and cuts the connection; returns what was asked for.
    async fn serve_once(server: &TcpListener, head: i64, seq: i64) -> (String, bool) {
        let (stream, _) = server.accept().await.expect("somebody comes");
        let mut asked = (String::new(), false);
        #[expect(clippy::result_large_err, reason = "the library's own signature")]
        let note = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            asked = (request.uri().to_string(), request.headers().contains_key("x-api-key"));
            Ok(response)
        };
        let mut socket = accept_hdr_async(stream, note).await.expect("a WebSocket");
        for text in [
            format!(r#"{{"type":"connected","seq":{head}}}"#),
            format!(r#"{{"type":"call.ring","seq":{seq}}}"#),
            r#"{"type":"reconnect","after_ms":0}"#.to_owned(),
        ] {
            socket.send(Message::text(text)).await.expect("it listens");
        }
        asked
    }

    #[tokio::test]
    async fn a_broken_connection_is_resumed_behind_the_last_event() {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}", server.local_addr().expect("it is bound"));
        let served =
            tokio::spawn(async move { [serve_once(&server, 4, 5).await, serve_once(&server, 5, 6).await] });
        let mut listener = Listener::open(&base_url, "raw_key").await.expect("it greets");
        assert_eq!(listener.head(), 4);
        for seq in [5, 6] {
            assert!(matches!(listener.next().await, Heard::Event(arrival) if arrival.event.seq == seq));
            assert!(matches!(listener.next().await, Heard::Interrupted(_)));
        }
        let asked = served.await.expect("it served");
        assert_eq!(asked, [("/ws".to_owned(), true), ("/ws?after=5".to_owned(), true)]);
        listener.close().await;
    }
}
