//! One connection, from its handshake to its end.

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

use crate::error::Stopped;
use crate::message::Message;

/// How long a handshake may take.
const OPEN_WITHIN: Duration = Duration::from_secs(15);
/// A server gives a sign of life at least every 20 seconds.
const SILENCE: Duration = Duration::from_secs(45);
/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Worth to come back.
    Broken {
        reason: String,
        /// How long the server asks to wait.
        wait: Option<Duration>,
    },
    /// Not worth it.
    Stopped(Stopped),
    /// Nobody wants to know any more.
    Unheard,
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
        let mut request = address.into_client_request().map_err(unsuitable)?;
        let mut key = HeaderValue::from_str(api_key.expose_secret())
            .map_err(|_| End::Stopped(Stopped::NotAuthenticated("no API key looks like that".to_owned())))?;
        key.set_sensitive(true);
        request.headers_mut().insert("x-api-key", key);
        let opening = connect_async_tls_with_config(request, None, true, connector);
        match timeout(OPEN_WITHIN, opening).await {
            Ok(Ok((socket, _))) => Ok(Self { socket }),
            Ok(Err(tungstenite::Error::Http(response))) => Err(refusal(&response)),
            Ok(Err(error)) => Err(End::broken(format!("can't connect: {error}"))),
            Err(_) => Err(End::broken("can't connect: no answer in time")),
        }
    }

    /// What the server says next. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Message, End> {
        loop {
            let Ok(frame) = timeout(SILENCE, self.socket.next()).await else {
                return Err(End::broken("the connection is silent"));
            };
            match frame {
                Some(Ok(Frame::Text(text))) => {
                    return Message::read(text.to_string())
                        .map_err(|error| End::broken(format!("what came is no message: {error}")));
                }
                Some(Ok(Frame::Close(frame))) => return Err(closed(frame)),
                // Pings are answered by the library.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(End::broken(format!("the connection broke: {error}"))),
                None => return Err(closed(None)),
            }
        }
    }

    /// Says that everything up to here is dealt with.
    pub(crate) async fn acknowledge(&mut self, seq: u64) -> Result<(), End> {
        let said = self.socket.send(Frame::text(format!(r#"{{"type":"ack","seq":{seq}}}"#))).await;
        said.map_err(|error| End::broken(format!("the connection broke: {error}")))
    }

    /// Says goodbye and waits for the answer.
    pub(crate) async fn close(mut self) {
        let goodbye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        if self.socket.close(Some(goodbye)).await.is_ok() {
            while let Some(Ok(_)) = self.socket.next().await {}
        }
        // The server may be gone already.
        let _ = self.socket.flush().await;
    }
}

/// The request itself can't be made, today or tomorrow.
fn unsuitable(error: tungstenite::Error) -> End {
    End::Stopped(Stopped::Refused { code: 400, reason: error.to_string() })
}

fn closed(frame: Option<CloseFrame>) -> End {
    let Some(CloseFrame { code, reason }) = frame else {
        return End::broken("the connection was closed without a reason");
    };
    let code = u16::from(code);
    let text = format!("closed with {code}: {reason}");
    Stopped::by_code(code, reason.to_string()).map_or_else(|| End::broken(text), End::Stopped)
}

fn refusal(response: &Response<Option<Vec<u8>>>) -> End {
    let status = response.status().as_u16();
    let body = response.body().as_deref().unwrap_or_default();
    let said = serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default();
    let reason = match said["error"].as_str() {
        Some(error) => error.to_owned(),
        None => response.status().canonical_reason().unwrap_or("no reason was given").to_owned(),
    };
    let text = format!("the server answers {status}: {reason}");
    let wait =
        response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let wait = wait.map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT));
    Stopped::by_code(status, reason).map_or(End::Broken { reason: text, wait }, End::Stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> End {
        let response = Response::builder().status(status).header(header::RETRY_AFTER, "7");
        refusal(&response.body(Some(body.as_bytes().to_vec())).expect("a response"))
    }

    #[test]
    fn a_wrong_key_stops_with_the_servers_own_words() {
        let end = answer(401, r#"{"error":"Invalid API key","code":"INVALID_API_KEY"}"#);
        assert!(
            matches!(end, End::Stopped(Stopped::NotAuthenticated(reason)) if reason == "Invalid API key")
        );
    }

    #[test]
    fn a_server_that_is_busy_says_how_long_to_wait() {
        match answer(503, "<html>") {
            End::Broken { reason, wait } => {
                assert_eq!(wait, Some(Duration::from_secs(7)));
                assert_eq!(reason, "the server answers 503: Service Unavailable");
            }
            end => panic!("{end:?}"),
        }
    }

    #[test]
    fn a_close_code_decides() {
        let close = |code: u16| closed(Some(CloseFrame { code: code.into(), reason: "so".into() }));
        assert!(matches!(close(4403), End::Stopped(Stopped::Forbidden(_))));
        assert!(matches!(close(1001), End::Broken { .. }));
        assert!(matches!(close(4408), End::Broken { .. }));
        assert!(matches!(closed(None), End::Broken { .. }));
    }
}
