//! Audio from Dialpad, as a stream: never more of it in memory than is under way.
//!
//! [`place`] says where it may come from, [`sound`] what counts as audio. Links lead over redirects, each of which is
//! looked at before it is followed; the token goes to the configured Dialpad and nowhere else.

mod audio_format;
mod fetch_policy;

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use actix_web::web::Bytes;
use cti_actors::id::AppId;
use dashmap::DashMap;
use futures_util::stream::{self, BoxStream, StreamExt};
use reqwest::{
    RequestBuilder, Response, StatusCode, Url,
    header::{
        ACCEPT, ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
        HeaderValue, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE,
    },
};
use secrecy::ExposeSecret;
use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

pub use self::audio_format::Sound;
use self::{
    audio_format::{TELLING, may_be_audio},
    fetch_policy::{Place, is_login, judge},
};
use super::{
    api::Dialpad,
    client::{
        DialpadError,
        request::{ApiRequest, Endpoint},
    },
    oauth::access::{Access, NoAccess},
};

/// How many redirects a link may lead over.
const MOST_REDIRECTS: usize = 3;
/// How long Dialpad may take to begin an answer.
const FIRST_BYTE_WITHIN: Duration = Duration::from_secs(15);
/// How long it may be silent in the middle of one.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);
/// How long a recording may take altogether, however slowly somebody listens.
const LONGEST_DOWNLOAD: Duration = Duration::from_secs(4 * 3600);
/// The largest recording: a working day of uncompressed telephone sound.
const LARGEST: u64 = 1 << 30;
/// How many recordings of an app are under way at once.
const MOST_AT_ONCE: usize = 16;
/// How long another one waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(2);

/// What of a recording is wanted, in the words of HTTP.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Which bytes.
    pub range: Option<HeaderValue>,
    /// Only if it is still this one; else all of it.
    pub if_range: Option<HeaderValue>,
}

/// Audio on its way.
pub struct Audio {
    /// Whether this is a part of it (206).
    pub is_part: bool,
    /// What it is called on the web.
    pub media_type: String,
    /// The kind, where it is known.
    pub sound: Option<Sound>,
    /// How many bytes are to come, where Dialpad says so.
    pub length: Option<u64>,
    /// What else Dialpad says that a reader has to know; nothing but the named few.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The bytes. Dropping it ends the download.
    pub bytes: BoxStream<'static, io::Result<Bytes>>,
}

/// Why there is no audio.
#[derive(Debug, Error)]
pub enum Unheard {
    /// It lies, or leads, where nothing is fetched from.
    #[error("it lies where nothing is fetched from")]
    OffLimits,
    /// The link is good no more (403).
    #[error("its link has expired")]
    Expired,
    /// The link leads to where people log in.
    #[error("Dialpad wants somebody to log in")]
    LoginWanted,
    /// It is there no more, or never was.
    #[error("it is gone")]
    Gone,
    /// What is there is no audio, or leads from place to place.
    #[error("what is there is no audio")]
    NoAudio,
    /// It is larger than any recording.
    #[error("it is too large")]
    TooLarge,
    /// Dialpad refuses it.
    #[error("Dialpad answered {0}")]
    Refused(StatusCode),
    /// Nothing lies in the range that is wanted; how much there is, where Dialpad says so.
    #[error("nothing lies in the range")]
    NothingInRange(Option<HeaderValue>),
    /// The app has as many recordings under way as it may.
    #[error("too many are under way")]
    TooMany,
    /// Dialpad could not be asked, or only later.
    #[error(transparent)]
    Dialpad(#[from] DialpadError),
}

impl From<NoAccess> for Unheard {
    fn from(reason: NoAccess) -> Self {
        Self::Dialpad(reason.into())
    }
}

/// The way to audio. Cheap to clone.
#[derive(Clone)]
pub struct Media {
    dialpad: Dialpad,
    turns: Arc<DashMap<AppId, Arc<Semaphore>>>,
}

impl Media {
    /// Audio from this Dialpad.
    #[must_use]
    pub fn new(dialpad: Dialpad) -> Self {
        Self { dialpad, turns: Arc::default() }
    }

    /// Begins to fetch what a link leads to, for an app.
    ///
    /// # Errors
    /// See [`Unheard`].
    pub async fn fetch(&self, app: AppId, link: &str, wish: &Wish) -> Result<Audio, Unheard> {
        let link = Url::parse(link).map_err(|_| Unheard::OffLimits)?;
        let base = self.dialpad.client.base_url.clone();
        if judge(&link, &base) == Place::OffLimits {
            return Err(Unheard::OffLimits);
        }
        let turn = self.turn(app).await?;
        let mut access = self.dialpad.access.of(app).await?;
        let (mut url, mut redirects, mut renewed) = (link.clone(), 0, false);
        loop {
            let with_token = match judge(&url, &base) {
                Place::OurDialpad => true,
                Place::AnotherDialpad => false,
                Place::OffLimits => return Err(Unheard::OffLimits),
            };
            let answer = self.ask(&access, &url, with_token, wish).await?;
            match answer.status() {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => return audio(answer, turn).await,
                StatusCode::UNAUTHORIZED if with_token && !renewed => {
                    access = self.dialpad.access.after_refusal(app, &access).await?;
                    renewed = true;
                }
                status if status.is_redirection() && status != StatusCode::NOT_MODIFIED => {
                    url = next(&url, answer.headers()).ok_or(Unheard::NoAudio)?;
                    redirects += 1;
                    if redirects > MOST_REDIRECTS {
                        return Err(Unheard::NoAudio);
                    }
                    if is_login(&url) {
                        if renewed {
                            return Err(Unheard::LoginWanted);
                        }
                        access = self.newer_token(app, &access).await?.ok_or(Unheard::LoginWanted)?;
                        (url, redirects, renewed) = (link.clone(), 0, true);
                    }
                }
                StatusCode::FORBIDDEN => return Err(Unheard::Expired),
                StatusCode::NOT_FOUND | StatusCode::GONE => return Err(Unheard::Gone),
                StatusCode::RANGE_NOT_SATISFIABLE => {
                    return Err(Unheard::NothingInRange(answer.headers().get(CONTENT_RANGE).cloned()));
                }
                StatusCode::TOO_MANY_REQUESTS => {
                    let retry_after = super::client::retry_after(answer.headers());
                    return Err(DialpadError::RateLimited { retry_after }.into());
                }
                status if status.is_server_error() => return Err(DialpadError::Refused(status).into()),
                status => return Err(Unheard::Refused(status)),
            }
        }
    }

    /// A redirect to a login page may mean that the token is no good, which is said plainly to a question alone. Gives
    /// the token that came of asking one, unless it is still the same.
    async fn newer_token(&self, app: AppId, access: &Access) -> Result<Option<Access>, DialpadError> {
        self.dialpad.ask(app, &ApiRequest::get(Endpoint::User, "users/me")).await?;
        let now = self.dialpad.access.of(app).await?;
        Ok(Some(now).filter(|now| now.generation != access.generation))
    }

    /// A place among the app's downloads, kept until the last byte.
    async fn turn(&self, app: AppId) -> Result<OwnedSemaphorePermit, Unheard> {
        let turns =
            Arc::clone(&self.turns.entry(app).or_insert_with(|| Arc::new(Semaphore::new(MOST_AT_ONCE))));
        match timeout(TURN_WITHIN, turns.acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Unheard::TooMany),
        }
    }

    async fn ask(
        &self,
        access: &Access,
        url: &Url,
        with_token: bool,
        wish: &Wish,
    ) -> Result<Response, DialpadError> {
        let client = &self.dialpad.client;
        let request = client.http.get(url.clone()).timeout(LONGEST_DOWNLOAD);
        let request = request.header(ACCEPT, "audio/*, */*;q=0.1").header(ACCEPT_ENCODING, "identity");
        let request = if with_token { request.bearer_auth(access.token.expose_secret()) } else { request };
        let request = wishing(request, wish);
        match timeout(FIRST_BYTE_WITHIN, client.fetch(access, Endpoint::Recording, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(DialpadError::Unreachable("Connection timeout".into())),
        }
    }
}

fn wishing(request: RequestBuilder, wish: &Wish) -> RequestBuilder {
    let headers = [(RANGE, &wish.range), (IF_RANGE, &wish.if_range)];
    headers.into_iter().fold(request, |request, (name, value)| match value {
        Some(value) => request.header(name, value.clone()),
        None => request,
    })
}

/// Where a redirect leads.
fn next(url: &Url, headers: &HeaderMap) -> Option<Url> {
    url.join(headers.get(LOCATION)?.to_str().ok()?).ok()
}

/// The media type of an answer, without parameters.
fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Looks at how an answer begins, and lets it go on.
async fn audio(mut answer: Response, turn: OwnedSemaphorePermit) -> Result<Audio, Unheard> {
    let is_part = answer.status() == StatusCode::PARTIAL_CONTENT;
    let named = media_type(answer.headers());
    if !may_be_audio(&named) {
        return Err(Unheard::NoAudio);
    }
    let length = answer.content_length();
    if length.is_some_and(|length| length > LARGEST) {
        return Err(Unheard::TooLarge);
    }
    let mut head = VecDeque::new();
    let mut beginning = Vec::with_capacity(TELLING);
    while beginning.len() < TELLING {
        let Some(bytes) = chunk(&mut answer).await? else { break };
        beginning.extend(bytes.iter().take(TELLING - beginning.len()));
        head.push_back(bytes);
    }
    let sound = Sound::of_bytes(&beginning);
    // The middle of a recording looks like anything, and so does a beginning that is too short.
    let can_be_told =
        if is_part { begins_at_the_beginning(answer.headers()) && beginning.len() == TELLING } else { true };
    if can_be_told && sound.is_none() {
        return Err(Unheard::NoAudio);
    }
    let sound = if can_be_told { sound } else { Sound::of_type(&named) };
    let media_type = match sound {
        Some(sound) if !named.starts_with("audio/") => sound.media_type().to_owned(),
        _ => named,
    };
    let named_few = [CONTENT_RANGE, ACCEPT_RANGES, ETAG, LAST_MODIFIED];
    let headers = named_few.into_iter().filter_map(|name| {
        let value = answer.headers().get(&name)?.clone();
        Some((name, value))
    });
    let headers = headers.collect();
    Ok(Audio { is_part, media_type, sound, length, headers, bytes: flow(head, answer, turn) })
}

fn begins_at_the_beginning(headers: &HeaderMap) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range
        .and_then(|range| range.trim().strip_prefix("bytes"))
        .is_some_and(|rest| rest.trim().starts_with("0-"))
}

async fn chunk(answer: &mut Response) -> Result<Option<Bytes>, DialpadError> {
    match timeout(LONGEST_SILENCE, answer.chunk()).await {
        Ok(bytes) => bytes.map_err(|error| DialpadError::Unreachable(super::client::short_reason(&error))),
        Err(_) => Err(DialpadError::Unreachable("Connection timeout".into())),
    }
}

/// What was read ahead, and then the rest as it comes, while somebody takes it.
fn flow(
    head: VecDeque<Bytes>,
    answer: Response,
    turn: OwnedSemaphorePermit,
) -> BoxStream<'static, io::Result<Bytes>> {
    stream::try_unfold((head, answer, turn, 0), |(mut head, mut answer, turn, flown)| async move {
        let bytes = match head.pop_front() {
            Some(bytes) => Some(bytes),
            None => chunk(&mut answer).await.map_err(io::Error::other)?,
        };
        let Some(bytes) = bytes else { return Ok(None) };
        let flown = flown + bytes.len() as u64;
        if flown > LARGEST {
            return Err(io::Error::other("the recording is too large"));
        }
        Ok(Some((bytes, (head, answer, turn, flown))))
    })
    .boxed()
}
