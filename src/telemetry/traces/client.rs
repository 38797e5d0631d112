//! The HTTP client of the exporter.

use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

/// How much of an answer is read, in bytes. All that it may say is how many spans were rejected.
const MAX_RESPONSE_SIZE: usize = 64 << 10;

/// Sends the spans with the TLS that the server uses for Dialpad.
#[derive(Debug)]
pub(super) struct Client(reqwest::Client);

impl Client {
    /// # Errors
    /// The TLS library can't be set up.
    pub(super) fn new(timeout: Duration) -> Result<Self, reqwest::Error> {
        // The headers may contain a key: it must not travel to where a redirect leads, or through a proxy.
        let client = reqwest::Client::builder()
            .user_agent(concat!("cti-server/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self(client))
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request.map(reqwest::Body::from))?;
        let mut answer = self.0.execute(request).await?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > MAX_RESPONSE_SIZE {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response::builder().status(answer.status()).body(body.into())?)
    }
}
