//! What lists and items have in common over HTTP: their parameters, their pages, and how ids are written.

use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, http::header};
use cti_actors::{model::call::Direction, session::phone_number};
use serde::Serialize;
use strum::VariantNames;

use super::query::{Query, next_link, write_ids_as_text};
use crate::{
    http::error::ApiError,
    store::views::listing::{Filter, Page},
};

pub(crate) const DEFAULT_LIMIT: usize = 50;
pub(crate) const LARGEST_LIMIT: usize = 500;

/// The parameters that every list takes.
pub(crate) const PARAMETERS: [&str; 10] =
    ["direction", "from", "to", "dialpad_user_id", "crm_user_id", "since", "until", "limit", "cursor", "ids"];

/// By what a list is to be narrowed.
pub(crate) fn filter(query: &Query) -> Result<Filter, ApiError> {
    Ok(Filter {
        direction: query.word("direction", Direction::VARIANTS)?.and_then(|word| word.parse().ok()),
        from: query.text("from").map(phone_number),
        to: query.text("to").map(phone_number),
        dialpad_user_id: query.integer("dialpad_user_id")?,
        crm_user_id: query.text("crm_user_id").map(str::to_owned),
        since: query.instant("since")?,
        until: query.instant("until")?,
    })
}

/// How long a page of a list is.
pub(crate) fn limit(query: &Query) -> Result<usize, ApiError> {
    query.limit(DEFAULT_LIMIT, LARGEST_LIMIT)
}

/// A page of a list, and where the next one is.
pub(crate) fn page<T: Serialize>(
    request: &HttpRequest,
    query: &Query,
    page: &Page<T>,
) -> Result<HttpResponse, ApiError> {
    let mut answer = HttpResponse::Ok();
    if let Some(next) = page.next {
        answer.insert_header((header::LINK, next_link(request, &[("cursor", &next.encode())])));
    }
    render(&mut answer, &page.items, query)
}

/// One item.
pub(crate) fn item<T: Serialize>(query: &Query, item: &T) -> Result<HttpResponse, ApiError> {
    render(&mut HttpResponse::Ok(), item, query)
}

fn render<T: Serialize>(
    answer: &mut HttpResponseBuilder,
    body: &T,
    query: &Query,
) -> Result<HttpResponse, ApiError> {
    if !query.ids_as_text()? {
        return Ok(answer.json(body));
    }
    let mut body = serde_json::to_value(body).unwrap_or_default();
    write_ids_as_text(&mut body);
    Ok(answer.json(body))
}
