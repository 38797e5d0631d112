//! How Dialpad's ids are written in an answer, and the answers in which they are.

use actix_web::{HttpRequest, HttpResponse, Responder, body::BoxBody, http::header};
use cti_actors::event::write_ids_as_text;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::query::next_link;

/// How Dialpad's ids are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(default = json!("number"))]
pub(crate) enum IdFormat {
    #[default]
    Number,
    String,
}

/// The parameter of requests whose answers have Dialpad's ids.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Ids {
    /// `string` writes Dialpad's ids as strings, for languages whose numbers are exact only up to 2^53.
    #[serde(default)]
    #[param(inline)]
    ids: IdFormat,
}

impl Ids {
    pub(crate) fn as_text(self) -> bool {
        self.ids == IdFormat::String
    }

    /// Returns a value as JSON with ids in this format.
    pub(crate) fn to_json<T: Serialize>(self, value: &T) -> Value {
        let mut json = serde_json::to_value(value).unwrap_or_default();
        if self.as_text() {
            write_ids_as_text(&mut json);
        }
        json
    }

    fn respond<T: Serialize>(self, mut answer: actix_web::HttpResponseBuilder, body: &T) -> HttpResponse {
        if self.as_text() { answer.json(self.to_json(body)) } else { answer.json(body) }
    }
}

/// A successful answer with one value.
pub(crate) struct Reply<T>(pub(crate) T, pub(crate) Ids);

impl<T: Serialize> Responder for Reply<T> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.1.respond(HttpResponse::Ok(), &self.0)
    }
}

/// A successful answer with a page of a list. While there is more, a `Link` header leads to the next page.
pub(crate) struct Listing<T> {
    pub(crate) items: Vec<T>,
    /// The parameter that the next page differs by, and its value.
    pub(crate) next: Option<(&'static str, String)>,
    pub(crate) ids: Ids,
}

impl<T: Serialize> Responder for Listing<T> {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        let mut answer = HttpResponse::Ok();
        if let Some((parameter, value)) = &self.next {
            answer.insert_header((header::LINK, next_link(request, parameter, value)));
        }
        self.ids.respond(answer, &self.items)
    }
}
