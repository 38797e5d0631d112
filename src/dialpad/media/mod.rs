//! Streams audio from Dialpad. Only the bytes in transit are in memory.
//!
//! [`fetch_policy`] decides which URLs are fetched, [`audio_format`] what counts as audio. Each redirect is checked before
//! it is followed: a recording's link leads over two of them at Dialpad, and a login page is one too
//! (<https://developers.dialpad.com/docs/downloading-call-recordings>).

mod audio_format;
mod fetch_policy;
mod stream;

use std::{sync::Arc, time::Duration};

use cti_actors::id::AppId;
use dashmap::DashMap;
use reqwest::{
    Response, StatusCode, Url,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE},
};
use secrecy::ExposeSecret;
use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use self::fetch_policy::{FetchPolicy, classify, is_login};
pub use self::{audio_format::AudioFormat, stream::Audio};
use super::{
    api::Dialpad,
    client::{
        self, DialpadError,
        request::{ApiRequest, Endpoint},
    },
    oauth::access::{Access, NoAccess},
};

const MAX_REDIRECTS: usize = 3;
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest download, however slowly its client reads.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(4 * 3600);
const MAX_DOWNLOADS_PER_APP: usize = 16;
/// How long a download waits while the app has as many as it may.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The range of a recording that a client requests, as its HTTP headers (RFC 9110, section 14).
#[derive(Clone, Debug, Default)]
pub struct RangeRequest {
    /// The `Range` header.
    pub range: Option<HeaderValue>,
    /// The `If-Range` header.
    pub if_range: Option<HeaderValue>,
}

/// Why there is no audio.
#[derive(Debug, Error)]
pub enum MediaError {
    /// The link, or a redirect, leads to a host that is not Dialpad's.
    #[error("it is at a host that nothing is fetched from")]
    Forbidden,
    /// The link has expired, or the token lacks the scope (403).
    #[error("its link has expired")]
    Expired,
    /// Dialpad refuses a link that is not old (403).
    #[error("Dialpad refuses it with 403")]
    Denied,
    /// Dialpad redirects to its login page.
    #[error("Dialpad asks for a login")]
    LoginRequired,
    /// Dialpad has no such recording, or no longer has it.
    #[error("there is no such recording")]
    NotFound,
    /// The content is no audio, or there are too many redirects.
    #[error("the content is not audio")]
    NotAudio,
    /// The recording is over the size limit.
    #[error("it is too large")]
    TooLarge,
    /// Another client error.
    #[error("Dialpad answered {0}")]
    Refused(StatusCode),
    /// The requested range is empty; `Content-Range` says how long the recording is, if Dialpad does.
    #[error("the requested range is empty")]
    RangeNotSatisfiable(Option<HeaderValue>),
    /// The app has too many downloads in progress.
    #[error("too many downloads are in progress")]
    TooManyDownloads,
    /// The request failed.
    #[error(transparent)]
    Dialpad(#[from] DialpadError),
}

impl From<NoAccess> for MediaError {
    fn from(reason: NoAccess) -> Self {
        Self::Dialpad(reason.into())
    }
}

/// Fetches audio. Cheap to clone.
#[derive(Clone)]
pub struct Media {
    dialpad: Dialpad,
    /// Limits the downloads of each app.
    permits: Arc<DashMap<AppId, Arc<Semaphore>>>,
}

impl Media {
    /// Creates it for this Dialpad.
    #[must_use]
    pub fn new(dialpad: Dialpad) -> Self {
        Self { dialpad, permits: Arc::default() }
    }

    /// Begins to download the audio behind a link, for an app.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn fetch(&self, app: AppId, link: &str, range: &RangeRequest) -> Result<Audio, MediaError> {
        let link = Url::parse(link).map_err(|_| MediaError::Forbidden)?;
        let dialpad = &self.dialpad.client.base_url;
        if classify(&link, dialpad) == FetchPolicy::Forbidden {
            return Err(MediaError::Forbidden);
        }
        let permit = self.acquire_permit(app).await?;
        let mut access = self.dialpad.access.of(app).await?;
        let mut url = link.clone();
        let mut redirects = 0;
        let mut is_refreshed = false;
        loop {
            let with_token = match classify(&url, dialpad) {
                FetchPolicy::WithToken => true,
                FetchPolicy::WithoutToken => false,
                FetchPolicy::Forbidden => return Err(MediaError::Forbidden),
            };
            let answer = self.send(&access, &url, with_token, range, redirects).await?;
            match answer.status() {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => return stream::open(answer, permit).await,
                StatusCode::UNAUTHORIZED if with_token && !is_refreshed => {
                    access = self.dialpad.access.after_refusal(app, &access).await?;
                    is_refreshed = true;
                }
                status if status.is_redirection() && status != StatusCode::NOT_MODIFIED => {
                    url = redirect_target(&url, answer.headers()).ok_or(MediaError::NotAudio)?;
                    redirects += 1;
                    if redirects > MAX_REDIRECTS {
                        return Err(MediaError::NotAudio);
                    }
                    if is_login(&url) {
                        if is_refreshed {
                            return Err(MediaError::LoginRequired);
                        }
                        access = self.newer_access(app, &access).await?.ok_or(MediaError::LoginRequired)?;
                        is_refreshed = true;
                        url = link.clone();
                        redirects = 0;
                    }
                }
                StatusCode::FORBIDDEN => return Err(MediaError::Expired),
                StatusCode::NOT_FOUND | StatusCode::GONE => return Err(MediaError::NotFound),
                StatusCode::RANGE_NOT_SATISFIABLE => {
                    let size = answer.headers().get(CONTENT_RANGE).cloned();
                    return Err(MediaError::RangeNotSatisfiable(size));
                }
                StatusCode::TOO_MANY_REQUESTS => {
                    let retry_after = client::retry_after(answer.headers());
                    return Err(DialpadError::RateLimited { retry_after }.into());
                }
                status if status.is_server_error() => return Err(DialpadError::Refused(status).into()),
                status => return Err(MediaError::Refused(status)),
            }
        }
    }

    /// Returns a newer token than the one with which Dialpad redirected to its login page, if there is one. Whether a
    /// token is still valid only the REST API says, so a request there comes first.
    async fn newer_access(&self, app: AppId, access: &Access) -> Result<Option<Access>, DialpadError> {
        self.dialpad.send(app, &ApiRequest::get(Endpoint::User, "users/me")).await?;
        let now = self.dialpad.access.of(app).await?;
        Ok(Some(now).filter(|now| now.generation != access.generation))
    }

    /// Waits for a permit for a download; it is kept until the last byte.
    async fn acquire_permit(&self, app: AppId) -> Result<OwnedSemaphorePermit, MediaError> {
        let new = || Arc::new(Semaphore::new(MAX_DOWNLOADS_PER_APP));
        let permits = Arc::clone(&self.permits.entry(app).or_insert_with(new));
        match timeout(PERMIT_TIMEOUT, permits.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(MediaError::TooManyDownloads),
        }
    }

    async fn send(
        &self,
        access: &Access,
        url: &Url,
        with_token: bool,
        range: &RangeRequest,
        redirects: usize,
    ) -> Result<Response, DialpadError> {
        let client = &self.dialpad.client;
        let mut request = client
            .http
            .get(url.clone())
            .timeout(DOWNLOAD_TIMEOUT)
            .header(ACCEPT, "audio/*, */*;q=0.1")
            .header(ACCEPT_ENCODING, "identity");
        if with_token {
            request = request.bearer_auth(access.token.expose_secret());
        }
        for (name, value) in [(RANGE, &range.range), (IF_RANGE, &range.if_range)] {
            if let Some(value) = value {
                request = request.header(name, value.clone());
            }
        }
        let answer = async {
            if redirects == 0 {
                client.fetch(access, Endpoint::Recording, request).await
            } else {
                // One recording is one request to Dialpad's limits, over however many redirects its link leads.
                client.fetch_unlimited(access, Endpoint::Recording, request).await
            }
        };
        match timeout(FIRST_BYTE_TIMEOUT, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(DialpadError::Unreachable("Connection timeout".into())),
        }
    }
}

fn redirect_target(url: &Url, headers: &HeaderMap) -> Option<Url> {
    url.join(headers.get(LOCATION)?.to_str().ok()?).ok()
}
