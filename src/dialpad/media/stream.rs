//! The body of a successful answer: checked by its first bytes, then passed on as it arrives.

use std::{collections::VecDeque, io, time::Duration};

use actix_web::web::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use reqwest::{
    Response, StatusCode,
    header::{
        ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED,
    },
};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    MediaError,
    audio_format::{AudioFormat, SNIFF_LEN, may_be_audio},
};
use crate::dialpad::client::{DialpadError, short_reason};

/// The longest pause between two chunks.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// In bytes: a working day of uncompressed telephone audio.
const MAX_SIZE: u64 = 1 << 30;

/// A download in progress.
pub struct Audio {
    /// Whether it is a range of the recording (206).
    pub is_partial: bool,
    /// The media type.
    pub media_type: String,
    /// The format, if it is known.
    pub format: Option<AudioFormat>,
    /// The number of bytes that follow, if Dialpad says so.
    pub length: Option<u64>,
    /// The headers to pass on: `Content-Range`, `Accept-Ranges`, `ETag` and `Last-Modified`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The bytes. Dropping the stream ends the download.
    pub bytes: BoxStream<'static, io::Result<Bytes>>,
}

/// Reads the first bytes of an answer and returns the whole as a stream, if it is audio.
pub(super) async fn open(mut answer: Response, permit: OwnedSemaphorePermit) -> Result<Audio, MediaError> {
    let is_partial = answer.status() == StatusCode::PARTIAL_CONTENT;
    let named_type = media_type(answer.headers());
    if !may_be_audio(&named_type) {
        return Err(MediaError::NotAudio);
    }
    let length = answer.content_length();
    if length.is_some_and(|length| length > MAX_SIZE) {
        return Err(MediaError::TooLarge);
    }
    let mut head = VecDeque::new();
    let mut first_bytes = Vec::with_capacity(SNIFF_LEN);
    while first_bytes.len() < SNIFF_LEN {
        let Some(bytes) = next_chunk(&mut answer).await? else { break };
        first_bytes.extend(bytes.iter().take(SNIFF_LEN - first_bytes.len()));
        head.push_back(bytes);
    }
    // The middle of a recording, or too short a part of its beginning, looks like anything.
    let can_detect = !is_partial || (begins_at_zero(answer.headers()) && first_bytes.len() == SNIFF_LEN);
    let format = if can_detect {
        Some(AudioFormat::of_bytes(&first_bytes).ok_or(MediaError::NotAudio)?)
    } else {
        AudioFormat::of_type(&named_type)
    };
    let media_type = match format {
        Some(format) if !named_type.starts_with("audio/") => format.media_type().to_owned(),
        _ => named_type,
    };
    let passed_on = [CONTENT_RANGE, ACCEPT_RANGES, ETAG, LAST_MODIFIED].into_iter();
    let headers = passed_on
        .filter_map(|name| {
            let value = answer.headers().get(&name)?.clone();
            Some((name, value))
        })
        .collect();
    Ok(Audio { is_partial, media_type, format, length, headers, bytes: into_stream(head, answer, permit) })
}

/// Returns the media type of an answer, in lower case and without parameters.
fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn begins_at_zero(headers: &HeaderMap) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range
        .and_then(|range| range.trim().strip_prefix("bytes"))
        .is_some_and(|rest| rest.trim().starts_with("0-"))
}

async fn next_chunk(answer: &mut Response) -> Result<Option<Bytes>, DialpadError> {
    match timeout(CHUNK_TIMEOUT, answer.chunk()).await {
        Ok(bytes) => bytes.map_err(|error| DialpadError::Unreachable(short_reason(&error))),
        Err(_) => Err(DialpadError::Unreachable("Connection timeout".into())),
    }
}

/// Returns the chunks that were read already, and then the others as they are taken.
fn into_stream(
    head: VecDeque<Bytes>,
    answer: Response,
    permit: OwnedSemaphorePermit,
) -> BoxStream<'static, io::Result<Bytes>> {
    stream::try_unfold((head, answer, permit, 0), |(mut head, mut answer, permit, size)| async move {
        let bytes = match head.pop_front() {
            Some(bytes) => Some(bytes),
            None => next_chunk(&mut answer).await.map_err(io::Error::other)?,
        };
        let Some(bytes) = bytes else { return Ok(None) };
        let size = size + bytes.len() as u64;
        if size > MAX_SIZE {
            return Err(io::Error::other("the recording is too large"));
        }
        Ok(Some((bytes, (head, answer, permit, size))))
    })
    .boxed()
}
