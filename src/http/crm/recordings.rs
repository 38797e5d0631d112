//! Recordings, streamed from Dialpad to CRMs with the server's token, which the client never gets.

use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    http::{
        Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    web::{Data, Path},
};
use cti_actors::id::{AppId, DialpadCallId};
use futures_util::{StreamExt, stream};
use reqwest::StatusCode as DialpadStatus;
use serde::Deserialize;
use serde_json::json;
use utoipa::{
    IntoParams,
    openapi::path::{Parameter, ParameterIn},
};

use super::{
    calls::{self, CallPath},
    voicemails::{self, VoicemailPath},
};
use crate::{
    dialpad::{
        client::DialpadError,
        media::{Audio, MediaError, RangeRequest},
    },
    enrichment::AudioKind,
    http::{
        error::{
            ApiError,
            ErrorCode::{
                CallNotFound, DialpadRateLimited, DialpadUnavailable, NotConnected, RangeNotSatisfiable,
                RecordingNotFound, RecordingUnavailable, TokensExpired, VoicemailNotFound,
            },
        },
        extract::{auth::Crm, values::WholeNumber},
        openapi::{
            errors::{CRM, Codes, Errors, codes},
            parameters, tags,
        },
        state::AppState,
    },
    store::views::calls::{CallRef, CallView},
};

/// The scope without which Dialpad refuses the audio of calls and voicemails.
const AUDIO_SCOPE: &str = "recordings_export";
/// After how many seconds one of the app's downloads may have ended.
const RETRY_AFTER: u32 = 5;

/// What every request for audio can be refused with.
const AUDIO: Codes = codes(&[
    RecordingNotFound,
    RecordingUnavailable,
    RangeNotSatisfiable,
    NotConnected,
    TokensExpired,
    DialpadRateLimited,
    DialpadUnavailable,
]);

/// The headers that select a part of the audio.
pub(crate) struct RangeHeaders;

impl IntoParams for RangeHeaders {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let range =
            "The part to return: one range of bytes. For any other value the whole audio is returned.";
        let if_range = "The `ETag` or `Last-Modified` of the audio that the range belongs to.";
        vec![
            parameters::header("Range", parameters::text(), range),
            parameters::header("If-Range", parameters::text(), if_range),
        ]
    }
}

/// Which part of a recording.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RecordingPart {
    /// The part, counted from 1, in the order of `recordings`. Left out: the call's `recording_url`.
    #[param(inline)]
    part: Option<WholeNumber<1, { i64::MAX }>>,
}

impl RecordingPart {
    fn index(&self) -> Option<usize> {
        let part = self.part.as_ref()?;
        Some(usize::try_from(part.0 - 1).unwrap_or(usize::MAX))
    }
}

/// Streams the recording of a call.
///
/// The server fetches the audio from Dialpad with its own token, so a CRM needs none. An expired link is looked up
/// again. The server does not store the audio.
#[utoipa::path(
    method(get, head), path = "/api/calls/{id}/recording", operation_id = "call_recording",
    tag = tags::RECORDINGS, params(CallPath, RecordingPart, RangeHeaders),
    responses(
        (status = 200, description = "The audio.", content(("audio/*")),
         headers(("Content-Disposition" = String, description = "A file name."))),
        (status = 206, description = "The requested part.", content(("audio/*")),
         headers(("Content-Range" = String, description = "Which part it is, and the length of the whole."))),
        Errors<{ CRM | AUDIO | codes(&[CallNotFound]) }>,
    ),
)]
pub(crate) async fn of_call(
    crm: Crm<RecordingPart>,
    request: HttpRequest,
    state: Data<AppState>,
    path: Path<CallPath>,
) -> Result<HttpResponse, ApiError> {
    let call = calls::find(&state, crm.app_id, &path).await?;
    call_audio(&request, &state, crm.app_id, &call, crm.query.index()).await
}

/// Streams the recording of a call, or one part of it.
///
/// # Errors
/// There is no such recording, or Dialpad does not deliver it.
pub(crate) async fn call_audio(
    request: &HttpRequest,
    state: &AppState,
    app: AppId,
    call: &CallView,
    part: Option<usize>,
) -> Result<HttpResponse, ApiError> {
    let Some(part) = part else {
        let link = call.recording_url.as_deref();
        return answer(request, state, app, call, AudioKind::Recording, link).await;
    };
    let link = match call.recordings.get(part) {
        Some(recording) => recording.url.as_deref(),
        // The first one may be known to Dialpad already.
        None if part == 0 => call.recording_url.as_deref(),
        None => return Err(not_found()),
    };
    answer(request, state, app, call, AudioKind::Part(part), link).await
}

/// Streams the voicemail of a call.
///
/// # Errors
/// As for [`call_audio`].
pub(crate) async fn voicemail_audio(
    request: &HttpRequest,
    state: &AppState,
    app: AppId,
    call: &CallView,
) -> Result<HttpResponse, ApiError> {
    let voicemail = call.voicemail.as_ref().ok_or_else(not_found)?;
    let link = voicemail.recording_url.as_deref();
    answer(request, state, app, call, AudioKind::Voicemail, link).await
}

/// Streams the audio of a voicemail.
///
/// The server fetches the audio from Dialpad with its own token, so a CRM needs none. An expired link is looked up
/// again. The server does not store the audio.
#[utoipa::path(
    method(get, head), path = "/api/voicemails/{id}/recording", operation_id = "voicemail_recording",
    tag = tags::RECORDINGS, params(VoicemailPath, RangeHeaders),
    responses(
        (status = 200, description = "The audio.", content(("audio/*")),
         headers(("Content-Disposition" = String, description = "A file name."))),
        (status = 206, description = "The requested part.", content(("audio/*")),
         headers(("Content-Range" = String, description = "Which part it is, and the length of the whole."))),
        Errors<{ CRM | AUDIO | codes(&[VoicemailNotFound]) }>,
    ),
)]
pub(crate) async fn of_voicemail(
    crm: Crm,
    request: HttpRequest,
    state: Data<AppState>,
    path: Path<VoicemailPath>,
) -> Result<HttpResponse, ApiError> {
    let voicemail = voicemails::find(&state, crm.app_id, &path.id).await?;
    let id = voicemail.dialpad_call_id.ok_or_else(not_found)?;
    let call = state.store.calls().find(crm.app_id, CallRef::Dialpads(DialpadCallId(id))).await?;
    let call = call.ok_or_else(not_found)?;
    let link = voicemail.recording_url.as_deref();
    answer(&request, &state, crm.app_id, &call, AudioKind::Voicemail, link).await
}

async fn answer(
    request: &HttpRequest,
    state: &AppState,
    app: AppId,
    call: &CallView,
    kind: AudioKind,
    link: Option<&str>,
) -> Result<HttpResponse, ApiError> {
    match state.enrichment.open_audio(app, call, kind, link, &range_of(request)).await {
        Ok(audio) => Ok(stream_audio(request, audio, &file_name(call, kind))),
        Err(reason) => {
            tracing::info!(app.id = %app, call.id = call.dialpad_call_id, %reason, "a recording could not be fetched");
            error_answer(reason)
        }
    }
}

/// Returns the requested range. For a `Range` with several ranges or another unit, the whole is a valid answer (RFC
/// 9110, section 14.2).
fn range_of(request: &HttpRequest) -> RangeRequest {
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let range = text(header::RANGE).filter(|range| is_one_range(range));
    let if_range = range.and_then(|_| text(header::IF_RANGE));
    let parse = |text: &str| text.parse().ok();
    RangeRequest { range: range.and_then(parse), if_range: if_range.and_then(parse) }
}

fn is_one_range(range: &str) -> bool {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return false;
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    is_number(first) && is_number(last) && !(first.is_empty() && last.is_empty())
}

fn file_name(call: &CallView, kind: AudioKind) -> String {
    let what = match kind {
        AudioKind::Recording => "call",
        AudioKind::Part(index) => return format!("call-{}-{}", call.dialpad_call_id, index + 1),
        AudioKind::Voicemail => "voicemail",
    };
    format!("{what}-{}", call.dialpad_call_id)
}

fn stream_audio(request: &HttpRequest, audio: Audio, file_name: &str) -> HttpResponse {
    let status = if audio.is_partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let extension = audio.format.map_or("bin", |format| format.extension());
    let mut answer = HttpResponse::build(status);
    answer
        .insert_header((header::CONTENT_TYPE, audio.media_type))
        .insert_header((header::CONTENT_DISPOSITION, format!("inline; filename=\"{file_name}.{extension}\"")))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    for (name, value) in &audio.headers {
        // actix-web and reqwest use different versions of the `http` crate.
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.as_str()), HeaderValue::from_bytes(value.as_bytes()))
        {
            answer.insert_header((name, value));
        }
    }
    let bytes = if request.method() == Method::HEAD { stream::empty().boxed() } else { audio.bytes };
    match audio.length {
        Some(length) => answer.body(SizedStream::new(length, bytes)),
        None => answer.streaming(bytes),
    }
}

fn not_found() -> ApiError {
    ApiError::new(RecordingNotFound, "There is no recording, or Dialpad no longer has it")
}

fn error_answer(reason: MediaError) -> Result<HttpResponse, ApiError> {
    let unavailable = |sentence: &'static str| Err(ApiError::new(RecordingUnavailable, sentence));
    match reason {
        MediaError::NotFound | MediaError::Expired => Err(not_found()),
        MediaError::Forbidden => {
            unavailable("The link of the recording points to a host that is not allowed")
        }
        MediaError::Denied | MediaError::Dialpad(DialpadError::Refused(DialpadStatus::FORBIDDEN)) => {
            let sentence = "Dialpad refuses the recording: check that the app's connection has the scope \
                            recordings_export, and that its user may read recordings";
            let details = json!({"scope": AUDIO_SCOPE, "dialpad_status": 403});
            Err(ApiError::new(RecordingUnavailable, sentence).with_details(details))
        }
        MediaError::LoginRequired | MediaError::Refused(_) => {
            unavailable("Dialpad does not deliver the recording")
        }
        MediaError::NotAudio => unavailable("What Dialpad delivers is not audio"),
        MediaError::TooLarge => unavailable("The recording is too large"),
        MediaError::RangeNotSatisfiable(size) => {
            let sentence = "No part of the recording is in the requested range";
            let error = ApiError::new(RangeNotSatisfiable, sentence);
            let mut answer = HttpResponse::from_error(error);
            if let Some(size) = size.and_then(|size| HeaderValue::from_bytes(size.as_bytes()).ok()) {
                answer.headers_mut().insert(header::CONTENT_RANGE, size);
            }
            Ok(answer)
        }
        MediaError::TooManyDownloads => Err(ApiError {
            retry_after: Some(RETRY_AFTER),
            ..ApiError::new(DialpadRateLimited, "Too many recordings of this app are being streamed")
        }),
        MediaError::Dialpad(DialpadError::Refused(status)) if !status.is_server_error() => {
            unavailable("Dialpad does not deliver the recording")
        }
        MediaError::Dialpad(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_passed_on_and_nothing_else() {
        for range in ["bytes=0-", "bytes=0-99", "bytes=-500"] {
            assert!(is_one_range(range), "{range}");
        }
        for range in ["bytes=0-1,5-6", "bytes=-", "bytes=a-b", "lines=0-1", "bytes=0-1\r\nx: y", "", "bytes"]
        {
            assert!(!is_one_range(range), "{range}");
        }
    }
}
