//! The feed, for CRMs that ask: the same objects as on the WebSocket, behind a cursor.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ContentType},
    web::Data,
};
use cti_actors::{feed::Frame, id::Seq, ports::EventLog, session::Subscription};
use serde_json::json;

use super::{
    Shared,
    auth::Crm,
    query::{Query, next_link},
};
use crate::error::{ApiError, ErrorCode};

pub(super) const DEFAULT_LIMIT: usize = 100;
pub(super) const LARGEST_LIMIT: usize = 1000;

pub(super) async fn list(
    request: HttpRequest,
    crm: Crm,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["after", "limit", "types", "dialpad_user_id", "ids"])?;
    let limit = query.limit(DEFAULT_LIMIT, LARGEST_LIMIT)?;
    let wanted = Subscription::parse(
        query.text("after"),
        query.text("types"),
        query.text("dialpad_user_id"),
        query.text("ids"),
    )
    .map_err(|problem| ApiError::invalid(problem.to_string()))?;

    let bounds = shared.store.bounds(crm.app_id).await?;
    let after = wanted.after.unwrap_or(Seq(bounds.oldest.0 - 1));
    if after > bounds.head {
        let details = json!({"seq": bounds.head});
        return Err(ApiError::new(ErrorCode::CursorAhead, "The cursor lies beyond the newest event")
            .with_details(details));
    }
    // The beginning is always a place to begin at; any other cursor promises that nothing behind it is missing.
    if after > Seq::START && !bounds.reach_back_to(after) {
        let details = json!({"oldest_seq": bounds.oldest, "seq": bounds.head});
        return Err(ApiError::new(
            ErrorCode::CursorExpired,
            "The events behind this cursor are no longer kept",
        )
        .with_details(details));
    }
    let page = shared.store.page(crm.app_id, after, limit + 1).await?;
    let more = page.len() > limit;
    let page = &page[..page.len().min(limit)];
    let next = page.last().filter(|_| more).map(|last| last.seq);
    let frames: Vec<Frame> = page.iter().filter(|frame| wanted.filter.admits(frame)).cloned().collect();
    render(&request, &frames, next, wanted.ids_as_text)
}

/// A cursor in the query.
pub(super) fn cursor(query: &Query) -> Result<Option<Seq>, ApiError> {
    match query.integer("after")? {
        Some(after) if after < 0 => Err(ApiError::invalid("after: must not be negative")),
        after => Ok(after.map(Seq)),
    }
}

/// Events as an array; the text of each is as it is on the WebSocket.
pub(super) fn render(
    request: &HttpRequest,
    frames: &[Frame],
    next: Option<Seq>,
    ids_as_text: bool,
) -> Result<HttpResponse, ApiError> {
    let mut answer = HttpResponse::Ok();
    if let Some(next) = next {
        answer.insert_header((header::LINK, next_link(request, &[("after", &next.to_string())])));
    }
    let mut body = String::with_capacity(2 + frames.iter().map(|frame| frame.text.len() + 1).sum::<usize>());
    body.push('[');
    for (place, frame) in frames.iter().enumerate() {
        if place > 0 {
            body.push(',');
        }
        if ids_as_text {
            body.push_str(&frame.text_with_text_ids());
        } else {
            body.push_str(&frame.text);
        }
    }
    body.push(']');
    Ok(answer.content_type(ContentType::json()).body(body))
}
