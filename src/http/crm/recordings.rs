//! Recordings, streamed from Dialpad to CRMs with the server's token, which stays here.

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

use super::{calls, voicemails};
use crate::http::{
    extract::{auth::Crm, query::Query},
    state::AppState,
};
use crate::{
    dialpad::{
        client::DialpadError,
        media::{Audio, Unheard, Wish},
    },
    enrichment::Track,
    http::error::{ApiError, ErrorCode},
    store::views::calls::{CallName, CallView},
};

/// After how many seconds a place among the app's downloads may be free.
const TURN_AFTER: u32 = 5;

pub(crate) async fn of_call(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request, &[])?;
    let call = calls::find(&shared, &crm, &name).await?;
    let link = call.recording_url.as_deref();
    answer(&request, &shared, crm.app_id, &call, Track::Recording, link).await
}

pub(crate) async fn of_voicemail(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request, &[])?;
    let voicemail = voicemails::find(&shared, crm.app_id, &name).await?;
    let call = voicemail.dialpad_call_id.map(|id| CallName::Dialpads(DialpadCallId(id)));
    let call = match call {
        Some(name) => shared.store.calls().find(crm.app_id, name).await?,
        None => None,
    };
    let call = call.ok_or_else(not_found)?;
    let link = voicemail.recording_url.as_deref();
    answer(&request, &shared, crm.app_id, &call, Track::Voicemail, link).await
}

async fn answer(
    request: &HttpRequest,
    shared: &AppState,
    app: AppId,
    call: &CallView,
    track: Track,
    link: Option<&str>,
) -> Result<HttpResponse, ApiError> {
    match shared.enrichment.listen(app, call, track, link, &wish(request)).await {
        Ok(audio) => Ok(play(request, audio, &file_name(call, track))),
        Err(reason) => {
            tracing::info!(app.id = %app, call.id = call.dialpad_call_id, %reason, "a recording could not be had");
            refuse(reason)
        }
    }
}

/// What of the recording is wanted: one range of bytes. Whatever else `Range` may say, the whole is a right answer.
fn wish(request: &HttpRequest) -> Wish {
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let range = text(header::RANGE).filter(|range| is_one_range(range));
    let if_range = range.and_then(|_| text(header::IF_RANGE));
    Wish { range: range.and_then(|it| it.parse().ok()), if_range: if_range.and_then(|it| it.parse().ok()) }
}

fn is_one_range(range: &str) -> bool {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return false;
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    is_number(first) && is_number(last) && !(first.is_empty() && last.is_empty())
}

fn file_name(call: &CallView, track: Track) -> String {
    let what = match track {
        Track::Recording => "call",
        Track::Voicemail => "voicemail",
    };
    format!("{what}-{}", call.dialpad_call_id)
}

fn play(request: &HttpRequest, audio: Audio, file_name: &str) -> HttpResponse {
    let status = if audio.is_part { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let extension = audio.sound.map_or("bin", |sound| sound.extension());
    let mut answer = HttpResponse::build(status);
    answer
        .insert_header((header::CONTENT_TYPE, audio.media_type))
        .insert_header((header::CONTENT_DISPOSITION, format!("inline; filename=\"{file_name}.{extension}\"")))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    for (name, value) in &audio.headers {
        // The two sides of this server know different versions of one library.
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
    ApiError::new(ErrorCode::RecordingNotFound, "There is no recording, or Dialpad has it no more")
}

fn refuse(reason: Unheard) -> Result<HttpResponse, ApiError> {
    let unavailable = |sentence: &'static str| Err(ApiError::new(ErrorCode::RecordingUnavailable, sentence));
    match reason {
        Unheard::Gone | Unheard::Expired => Err(not_found()),
        Unheard::OffLimits => unavailable("The recording lies where this server does not fetch from"),
        Unheard::LoginWanted | Unheard::Refused(_) => unavailable("Dialpad does not give the recording"),
        Unheard::NoAudio => unavailable("What Dialpad gives is no recording"),
        Unheard::TooLarge => unavailable("The recording is too large"),
        Unheard::NothingInRange(size) => {
            let error = ApiError::new(
                ErrorCode::RangeNotSatisfiable,
                "No part of the recording lies in the range that was asked for",
            );
            let mut answer = HttpResponse::from_error(error);
            if let Some(size) = size.and_then(|size| HeaderValue::from_bytes(size.as_bytes()).ok()) {
                answer.headers_mut().insert(header::CONTENT_RANGE, size);
            }
            Ok(answer)
        }
        Unheard::TooMany => Err(ApiError {
            retry_after: Some(TURN_AFTER),
            ..ApiError::new(ErrorCode::DialpadRateLimited, "Too many recordings of this app are under way")
        }),
        Unheard::Dialpad(DialpadError::Refused(status)) if !status.is_server_error() => {
            unavailable("Dialpad does not give the recording")
        }
        Unheard::Dialpad(error) => Err(error.into()),
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
