//! The event feed over HTTP: what its transports share.

pub(crate) mod consumers;
pub(crate) mod events;
pub(crate) mod params;
pub(crate) mod stream;
pub(crate) mod ws;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ContentType, HeaderName, HeaderValue},
};
use cti_actors::{
    consumer::JoinError,
    event::Frame,
    feed::Position,
    id::{AppId, Epoch, Seq},
    ports::{Bounds, EventLog, GapTimes},
    session::{BadCursor, Refusal},
};
use serde_json::json;

use super::{
    error::{ApiError, ErrorCode},
    extract::query::next_link,
    state::AppState,
};

/// The header with the `seq` after which a reader continues. Events that were filtered out lie before it as well.
pub(super) const CURSOR_HEADER: &str = "x-cursor";

/// The header with the epoch of the feed.
const EPOCH_HEADER: HeaderName = HeaderName::from_static("x-epoch");

/// Returns the header with the epoch of the feed.
pub(super) fn epoch_header(epoch: Epoch) -> (HeaderName, HeaderValue) {
    let value = HeaderValue::from_str(&epoch.to_string()).expect("a UUID is a valid value of a header");
    (EPOCH_HEADER, value)
}

/// Returns events as a JSON array, with a link to those after `next`. The text of each event is that of the WebSocket.
pub(super) fn event_page(
    request: &HttpRequest,
    events: &[Frame],
    ids_as_text: bool,
    next: Option<Position>,
) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    if let Some(next) = next {
        answer.insert_header((header::LINK, next_link(request, "after", &next.to_string())));
    }
    let text = |event: &Frame| if ids_as_text { event.text_with_text_ids() } else { event.text.clone() };
    let texts: Vec<_> = events.iter().map(text).collect();
    answer.content_type(ContentType::json()).body(json_array(&texts))
}

/// Joins JSON texts to an array.
pub(super) fn json_array(items: &[impl AsRef<str>]) -> String {
    let length = 2 + items.iter().map(|item| item.as_ref().len() + 1).sum::<usize>();
    let mut array = String::with_capacity(length);
    array.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            array.push(',');
        }
        array.push_str(item.as_ref());
    }
    array.push(']');
    array
}

/// Returns the error of a cursor beyond the newest event.
pub(super) fn cursor_ahead(bounds: Bounds) -> ApiError {
    ApiError::new(ErrorCode::CursorAhead, "The cursor is beyond the newest event")
        .with_details(json!({"seq": bounds.head}))
}

/// Returns the error of a cursor of another epoch.
pub(super) fn epoch_changed(bounds: Bounds) -> ApiError {
    let sentence =
        "The cursor belongs to another epoch of the feed: read everything again, and resume after seq";
    let Bounds { epoch, oldest, head } = bounds;
    ApiError::new(ErrorCode::EpochChanged, sentence)
        .with_details(json!({"epoch": epoch, "seq": head, "oldest_seq": oldest}))
}

/// Returns the error of a cursor after which events are no longer kept.
pub(super) fn cursor_expired(bounds: Bounds, times: GapTimes) -> ApiError {
    ApiError::new(ErrorCode::CursorExpired, "The events after this cursor are no longer kept").with_details(json!({
        "oldest_seq": bounds.oldest, "seq": bounds.head, "from_at": times.from_at, "until_at": times.until_at,
    }))
}

/// Checks that everything after a cursor is kept.
pub(super) async fn check_kept(
    state: &AppState,
    app: AppId,
    after: Seq,
    bounds: Bounds,
) -> Result<(), ApiError> {
    if bounds.reach_back_to(after) {
        return Ok(());
    }
    let times = state.store.gap_times(app, after.next()).await?;
    Err(cursor_expired(bounds, times))
}

/// Returns the error of a consumer beyond the maximum.
pub(super) fn too_many_consumers() -> ApiError {
    ApiError::new(ErrorCode::TooManyConsumers, "The app has too many consumers: delete some")
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooMany => Self {
                retry_after: Some(5),
                ..Self::new(ErrorCode::TooManyConnections, "The app has too many connections")
            },
            Refusal::Consumer(JoinError::TooMany) => too_many_consumers(),
            Refusal::Consumer(JoinError::Store(error)) => error.into(),
            Refusal::Cursor(BadCursor::Ahead, bounds, _) => cursor_ahead(bounds),
            Refusal::Cursor(BadCursor::OtherEpoch, bounds, _) => epoch_changed(bounds),
            Refusal::Cursor(BadCursor::Expired, bounds, times) => cursor_expired(bounds, times),
            Refusal::Store(error) => error.into(),
        }
    }
}
