//! Recordings: `/r/{id}` → `/secureblob/…` → `/blob-server/…?signature=` → audio, all on one host, as at Dialpad.
//!
//! The first two require a token and redirect other requests to a login page, which answers 200. The last one requires
//! only its signature, supports `Range`, and is as long as the talk time of the call.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ContentType, LOCATION, RANGE};
use actix_web::{HttpRequest, HttpResponse, web};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use super::{Caller, Problem};
use crate::call_log::Recording;
use crate::{State, lock};

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/r/{id}", web::get().to(link))
        .route("/secureblob/{kind}/{id}", web::get().to(blob))
        .route("/blob-server/{kind}/{id}.wav", web::get().to(audio))
        .route("/shared/recording/{id}", web::get().to(shared))
        .route("/shared/call/{id}", web::get().to(login))
        .route("/callhistory/callreview/{id}", web::get().to(login))
        .route("/login", web::get().to(login));
}

/// The link in webhooks and calls.
async fn link(
    state: web::Data<State>,
    caller: Result<Caller, Problem>,
    number: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    let caller = match caller_or_login(caller)? {
        Ok(caller) => caller,
        Err(login) => return Ok(login),
    };
    let recording = find(&state, *number, &caller)?;
    if state.switches().expired_recording_links && *number != recording.renewed {
        return Err(Problem::expired_link());
    }
    Ok(redirect(format!("/secureblob/{}/{}", recording.kind, recording.id)))
}

async fn blob(
    state: web::Data<State>,
    caller: Result<Caller, Problem>,
    path: web::Path<(String, i64)>,
) -> Result<HttpResponse, Problem> {
    let caller = match caller_or_login(caller)? {
        Ok(caller) => caller,
        Err(login) => return Ok(login),
    };
    let recording = find(&state, path.1, &caller)?;
    let host = state.switches().recordings_elsewhere.unwrap_or_default();
    let signature = signature(&state, &recording);
    let Recording { kind, id, .. } = recording;
    Ok(redirect(format!("{host}/blob-server/{kind}/{id}.wav?signature={signature}")))
}

/// A link that was made over the API: with the privacy `public` it leads to the audio, otherwise to the login page.
async fn shared(state: web::Data<State>, id: web::Path<String>) -> HttpResponse {
    let recording_id = lock(&state.share_links).public(&id).and_then(|link| link.recording_id);
    let calls = lock(&state.calls);
    let recording = recording_id.and_then(|id| calls.by_link(id)?.recording.clone());
    match recording {
        Some(recording) => {
            let signature = signature(&state, &recording);
            redirect(format!("/blob-server/{}/{}.wav?signature={signature}", recording.kind, recording.id))
        }
        None => redirect("/login".to_owned()),
    }
}

#[derive(Deserialize)]
struct Signed {
    #[serde(default)]
    signature: String,
}

async fn audio(
    state: web::Data<State>,
    path: web::Path<(String, i64)>,
    query: web::Query<Signed>,
    http: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let recording = lock(&state.calls).by_link(path.1).and_then(|call| call.recording.clone());
    let recording = recording.ok_or_else(|| Problem::not_found("recording"))?;
    if query.signature != signature(&state, &recording) {
        return Err(Problem::expired_link());
    }
    let whole = sound(&recording);
    let length = whole.len();
    let range = http.headers().get(RANGE).and_then(|range| range.to_str().ok());
    let mut reply = HttpResponse::Ok();
    reply.insert_header((CONTENT_TYPE, "audio/wav")).insert_header((ACCEPT_RANGES, "bytes"));
    Ok(match byte_range(range, length) {
        ByteRange::Whole => reply.body(whole),
        ByteRange::Between(first, last) => reply
            .status(StatusCode::PARTIAL_CONTENT)
            .insert_header((CONTENT_RANGE, format!("bytes {first}-{last}/{length}")))
            .body(whole[first..=last].to_vec()),
        ByteRange::Beyond => reply
            .status(StatusCode::RANGE_NOT_SATISFIABLE)
            .insert_header((CONTENT_RANGE, format!("bytes */{length}")))
            .finish(),
    })
}

/// The page that a browser would see: 200, but no audio.
async fn login() -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .body("<!doctype html><title>Log in</title><h1>Log in to Dialpad</h1>")
}

/// Returns the caller, or the redirect for a request without a valid token. A token without the scope is an error.
fn caller_or_login(caller: Result<Caller, Problem>) -> Result<Result<Caller, HttpResponse>, Problem> {
    match caller {
        Ok(caller) => Ok(Ok(caller)),
        Err(problem) if problem.status == StatusCode::UNAUTHORIZED => Ok(Err(redirect("/login".to_owned()))),
        Err(problem) => Err(problem),
    }
}

fn redirect(target: String) -> HttpResponse {
    HttpResponse::Found().insert_header((LOCATION, target)).finish()
}

fn find(state: &State, link: i64, caller: &Caller) -> Result<Recording, Problem> {
    let calls = lock(&state.calls);
    let call = calls.by_link(link).filter(|call| caller.sees(call.company_id));
    call.and_then(|call| call.recording.clone()).ok_or_else(|| Problem::not_found("recording"))
}

fn signature(state: &State, recording: &Recording) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&state.blob_key).expect("HMAC takes keys of any length");
    mac.update(&recording.id.to_be_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// The requested bytes.
#[derive(Debug, PartialEq, Eq)]
enum ByteRange {
    Whole,
    Between(usize, usize),
    Beyond,
}

/// Parses a single range (RFC 9110); anything else requests the whole recording.
fn byte_range(range: Option<&str>, length: usize) -> ByteRange {
    let Some((first, last)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return ByteRange::Whole;
    };
    match (first.trim().parse::<usize>(), last.trim()) {
        (Ok(first), _) if first >= length => ByteRange::Beyond,
        (Ok(first), "") => ByteRange::Between(first, length - 1),
        (Ok(first), last) => match last.parse::<usize>() {
            Ok(last) if last >= first => ByteRange::Between(first, last.min(length - 1)),
            _ => ByteRange::Whole,
        },
        (Err(_), last) if first.trim().is_empty() => match last.parse::<usize>() {
            Ok(0) => ByteRange::Beyond,
            Ok(count) => ByteRange::Between(length.saturating_sub(count), length - 1),
            Err(_) => ByteRange::Whole,
        },
        (Err(_), _) => ByteRange::Whole,
    }
}

/// Generates the audio: a low hum, 8 kHz, mono, 8 bits unsigned.
fn sound(recording: &Recording) -> Vec<u8> {
    const RATE: u32 = 8_000;
    const MAX_MILLIS: u64 = 600_000;
    let samples = u32::try_from(recording.millis.min(MAX_MILLIS)).expect("ten minutes") * (RATE / 1_000);
    let mut wav = Vec::with_capacity(44 + samples as usize);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + samples).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    wav.extend_from_slice(&16_u32.to_le_bytes());
    // PCM, one channel.
    wav.extend_from_slice(&[1, 0, 1, 0]);
    wav.extend_from_slice(&RATE.to_le_bytes());
    wav.extend_from_slice(&RATE.to_le_bytes());
    // One byte for each frame, eight bits for each sample.
    wav.extend_from_slice(&[1, 0, 8, 0]);
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&samples.to_le_bytes());
    let seed = recording.id.cast_unsigned() % 251;
    // Any two positions differ nearby, so that a test recognizes a wrong range.
    wav.extend((0..u64::from(samples)).map(|at| 120 + ((at / 9 + at / 251 + seed) % 17) as u8));
    wav
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_wants() {
        let parsed = |range| byte_range(Some(range), 100);
        assert_eq!(parsed("bytes=0-0"), ByteRange::Between(0, 0));
        assert_eq!(parsed("bytes=90-"), ByteRange::Between(90, 99));
        assert_eq!(parsed("bytes=90-500"), ByteRange::Between(90, 99));
        assert_eq!(parsed("bytes=-10"), ByteRange::Between(90, 99));
        assert_eq!(parsed("bytes=-500"), ByteRange::Between(0, 99));
        assert_eq!(parsed("bytes=100-"), ByteRange::Beyond);
        assert_eq!(parsed("bytes=-0"), ByteRange::Beyond);
        for nonsense in ["bytes=5-2", "bytes=0-1,4-5", "bytes=a-b", "lines=0-1", ""] {
            assert_eq!(parsed(nonsense), ByteRange::Whole, "{nonsense}");
        }
    }
}
