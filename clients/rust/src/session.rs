//! One connection, from the handshake to the close.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response, header};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message as Frame};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

use crate::error::FeedError;
use crate::message::Message;

/// How long the handshake may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// A connection without any frame for this long is dead: the server sends one at least every 20 seconds.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(45);
/// The longest `Retry-After` that is respected.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// A retry may succeed.
    Broken {
        reason: String,
        /// The delay that the server asks for.
        wait: Option<Duration>,
    },
    /// A retry would not help.
    Failed(FeedError),
    /// The feed was closed or dropped.
    FeedDropped,
}

impl End {
    fn broken(reason: impl Into<String>) -> Self {
        Self::Broken { reason: reason.into(), wait: None }
    }
}

/// An open connection.
pub(crate) struct Session {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Session {
    pub(crate) async fn open(
        address: &str,
        api_key: &SecretString,
        connector: Option<Connector>,
    ) -> Result<Self, End> {
        let mut request = address.into_client_request().map_err(invalid_request)?;
        let mut key = HeaderValue::from_str(api_key.expose_secret()).map_err(|_| {
            End::Failed(FeedError::NotAuthenticated("the API key has invalid characters".to_owned()))
        })?;
        key.set_sensitive(true);
        request.headers_mut().insert("x-api-key", key);
        let opening = connect_async_tls_with_config(request, None, true, connector);
        match timeout(OPEN_TIMEOUT, opening).await {
            Ok(Ok((socket, _))) => Ok(Self { socket }),
            Ok(Err(tungstenite::Error::Http(response))) => Err(refusal(&response)),
            Ok(Err(error)) => Err(End::broken(format!("can't connect: {error}"))),
            Err(_) => Err(End::broken("can't connect: timed out")),
        }
    }

    /// Returns the next message. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Message, End> {
        loop {
            let Ok(frame) = timeout(SILENCE_TIMEOUT, self.socket.next()).await else {
                return Err(End::broken("no message or ping from the server"));
            };
            match frame {
                Some(Ok(Frame::Text(text))) => {
                    return Message::read(text.to_string())
                        .map_err(|error| End::broken(format!("unreadable message: {error}")));
                }
                Some(Ok(Frame::Close(frame))) => return Err(closed(frame)),
                // The library answers pings.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(End::broken(format!("the connection broke: {error}"))),
                None => return Err(closed(None)),
            }
        }
    }

    /// Acknowledges everything up to this event.
    pub(crate) async fn acknowledge(&mut self, seq: u64) -> Result<(), End> {
        let sent = self.socket.send(Frame::text(format!(r#"{{"type":"ack","seq":{seq}}}"#))).await;
        sent.map_err(|error| End::broken(format!("the connection broke: {error}")))
    }

    /// Closes the connection and waits for the server's close frame.
    pub(crate) async fn close(mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        if self.socket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = self.socket.next().await {}
        }
        // The server may have closed the connection already.
        let _ = self.socket.flush().await;
    }
}

/// Converts an error of the request itself, which no retry changes.
fn invalid_request(error: tungstenite::Error) -> End {
    End::Failed(FeedError::Refused { code: 400, reason: error.to_string() })
}

fn closed(frame: Option<CloseFrame>) -> End {
    let Some(CloseFrame { code, reason }) = frame else {
        return End::broken("the connection was closed without a reason");
    };
    let code = u16::from(code);
    let text = format!("closed with {code}: {reason}");
    FeedError::by_code(code, reason.to_string()).map_or_else(|| End::broken(text), End::Failed)
}

fn refusal(response: &Response<Option<Vec<u8>>>) -> End {
    let status = response.status().as_u16();
    let body = response.body().as_deref().unwrap_or_default();
    let json = serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default();
    let reason = match json["error"].as_str() {
        Some(error) => error.to_owned(),
        None => response.status().canonical_reason().unwrap_or("no reason").to_owned(),
    };
    let text = format!("the server answered {status}: {reason}");
    let wait =
        response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let wait = wait.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    FeedError::by_code(status, reason).map_or(End::Broken { reason: text, wait }, End::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> End {
        let response = Response::builder().status(status).header(header::RETRY_AFTER, "7");
        refusal(&response.body(Some(body.as_bytes().to_vec())).expect("a response"))
    }

    #[test]
    fn an_invalid_key_fails_with_the_servers_reason() {
        let end = answer(401, r#"{"error":"Invalid API key","code":"INVALID_API_KEY"}"#);
        assert!(
            matches!(end, End::Failed(FeedError::NotAuthenticated(reason)) if reason == "Invalid API key")
        );
    }

    #[test]
    fn an_unavailable_server_says_how_long_to_wait() {
        match answer(503, "<html>") {
            End::Broken { reason, wait } => {
                assert_eq!(wait, Some(Duration::from_secs(7)));
                assert_eq!(reason, "the server answered 503: Service Unavailable");
            }
            end => panic!("{end:?}"),
        }
    }

    #[test]
    fn the_close_code_decides() {
        let close = |code: u16| closed(Some(CloseFrame { code: code.into(), reason: "so".into() }));
        assert!(matches!(close(4403), End::Failed(FeedError::Forbidden(_))));
        assert!(matches!(close(1001), End::Broken { .. }));
        assert!(matches!(close(4408), End::Broken { .. }));
        assert!(matches!(closed(None), End::Broken { .. }));
    }
}
