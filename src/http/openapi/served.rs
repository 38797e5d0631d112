//! The documents as they are served: made once, and cached by clients.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ETag, EntityTag, Header, HeaderValue, IfNoneMatch},
    web::{Bytes, Data},
};
use sha2::{Digest, Sha256};

use super::tags;

/// For how long a client may use its copy without asking.
const CACHE_CONTROL: &str = "public, max-age=300";

/// The page loads nothing from other hosts, and nothing that is not in a file of its own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The documents of a process. Each is made when it is first requested.
pub(crate) struct Documents {
    openapi: LazyDocument,
    openapi_3_0: LazyDocument,
    asyncapi: LazyDocument,
    page: LazyDocument,
    style: LazyDocument,
    script: LazyDocument,
}

type LazyDocument = LazyLock<Document, Box<dyn FnOnce() -> Document + Send>>;

impl Documents {
    /// Creates documents with these texts. The texts describe the handlers below, so they come from outside.
    pub(crate) fn new(
        openapi: fn() -> String,
        openapi_3_0: fn() -> String,
        asyncapi: fn() -> String,
    ) -> Self {
        let lazy =
            |text: fn() -> String| -> LazyDocument { LazyLock::new(Box::new(move || Document::new(text()))) };
        Self {
            openapi: lazy(openapi),
            openapi_3_0: lazy(openapi_3_0),
            asyncapi: lazy(asyncapi),
            page: lazy(|| include_str!("page.html").to_owned()),
            style: lazy(|| include_str!("page.css").to_owned()),
            script: lazy(|| include_str!("page.js").to_owned()),
        }
    }
}

struct Document {
    text: Bytes,
    tag: EntityTag,
}

impl Document {
    fn new(text: String) -> Self {
        let tag = EntityTag::new_strong(hex::encode(&Sha256::digest(&text)[..12]));
        Self { text: text.into(), tag }
    }

    fn answer(&self, request: &HttpRequest, media_type: &str) -> HttpResponse {
        let is_unchanged = match IfNoneMatch::parse(request) {
            Ok(IfNoneMatch::Any) => true,
            Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&self.tag)),
            Err(_) => false,
        };
        let mut answer = if is_unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        answer
            .insert_header(ETag(self.tag.clone()))
            .insert_header((header::CACHE_CONTROL, CACHE_CONTROL))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            // The documents are public, also to pages of other sites.
            .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"));
        if is_unchanged {
            return answer.finish();
        }
        answer.content_type(media_type).body(self.text.clone())
    }
}

/// Returns this document: OpenAPI 3.1.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = tags::DOCUMENTATION,
    responses(
        (status = 200, description = "The document.", body = Object, content_type = "application/json",
         headers(("ETag" = String, description = "Changes with the document."))),
        (status = 304, description = "The document is the one that `If-None-Match` names."),
    ),
)]
pub(in crate::http) async fn openapi(request: HttpRequest, documents: Data<Documents>) -> HttpResponse {
    documents.openapi.answer(&request, "application/json")
}

/// Returns the same document as OpenAPI 3.0.
///
/// For generators that do not support 3.1.
#[utoipa::path(
    get, path = "/openapi-3.0.json", operation_id = "openapi_3_0", tag = tags::DOCUMENTATION,
    responses(
        (status = 200, description = "The document.", body = Object, content_type = "application/json",
         headers(("ETag" = String, description = "Changes with the document."))),
        (status = 304, description = "The document is the one that `If-None-Match` names."),
    ),
)]
pub(in crate::http) async fn openapi_3_0(request: HttpRequest, documents: Data<Documents>) -> HttpResponse {
    documents.openapi_3_0.answer(&request, "application/json")
}

/// Returns the messages of the WebSocket and the stream: AsyncAPI 3.0.
#[utoipa::path(
    get, path = "/asyncapi.json", operation_id = "asyncapi", tag = tags::DOCUMENTATION,
    responses(
        (status = 200, description = "The document.", body = Object, content_type = "application/json",
         headers(("ETag" = String, description = "Changes with the document."))),
        (status = 304, description = "The document is the one that `If-None-Match` names."),
    ),
)]
pub(in crate::http) async fn asyncapi(request: HttpRequest, documents: Data<Documents>) -> HttpResponse {
    documents.asyncapi.answer(&request, "application/json")
}

/// Returns both documents as a web page.
#[utoipa::path(
    get, path = "/docs", operation_id = "docs", tag = tags::DOCUMENTATION,
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html",
         headers(("ETag" = String, description = "Changes with the document."))),
        (status = 304, description = "The page is the one that `If-None-Match` names."),
    ),
)]
pub(in crate::http) async fn page(request: HttpRequest, documents: Data<Documents>) -> HttpResponse {
    let mut answer = documents.page.answer(&request, "text/html; charset=utf-8");
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

/// Returns the styles of the page.
#[utoipa::path(
    get, path = "/docs/page.css", operation_id = "docs_style", tag = tags::DOCUMENTATION,
    responses(
        (status = 200, description = "The styles.", body = String, content_type = "text/css",
         headers(("ETag" = String, description = "Changes with the document."))),
        (status = 304, description = "The styles are those that `If-None-Match` names."),
    ),
)]
pub(in crate::http) async fn style(request: HttpRequest, documents: Data<Documents>) -> HttpResponse {
    documents.style.answer(&request, "text/css; charset=utf-8")
}

/// Returns the script of the page.
#[utoipa::path(
    get, path = "/docs/page.js", operation_id = "docs_script", tag = tags::DOCUMENTATION,
    responses(
        (status = 200, description = "The script.", body = String, content_type = "text/javascript",
         headers(("ETag" = String, description = "Changes with the document."))),
        (status = 304, description = "The script is the one that `If-None-Match` names."),
    ),
)]
pub(in crate::http) async fn script(request: HttpRequest, documents: Data<Documents>) -> HttpResponse {
    documents.script.answer(&request, "text/javascript; charset=utf-8")
}
