//! The documents as they are served: made once, cached by whoever asked before.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ETag, EntityTag, Header, IfNoneMatch},
    web::Bytes,
};
use sha2::{Digest, Sha256};

use super::{asyncapi_document, openapi_document};

/// How long a copy is good without asking.
const CACHE: &str = "public, max-age=300";

static OPENAPI: LazyLock<Document> =
    LazyLock::new(|| Document::new(serde_json::to_string(&openapi_document()).unwrap_or_default()));

static ASYNCAPI: LazyLock<Document> = LazyLock::new(|| Document::new(asyncapi_document().to_string()));
static PAGE: LazyLock<Document> = LazyLock::new(|| Document::new(include_str!("page.html").to_owned()));
static STYLE: LazyLock<Document> = LazyLock::new(|| Document::new(include_str!("page.css").to_owned()));
static SCRIPT: LazyLock<Document> = LazyLock::new(|| Document::new(include_str!("page.js").to_owned()));

/// The page takes nothing from anywhere else, and nothing that is not in a file of its own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Document {
    text: Bytes,
    tag: EntityTag,
}

impl Document {
    fn new(text: String) -> Self {
        let tag = EntityTag::new_strong(hex::encode(&Sha256::digest(&text)[..12]));
        Self { text: text.into(), tag }
    }

    fn answer(&self, request: &HttpRequest, media: &str) -> HttpResponse {
        let is_known = match IfNoneMatch::parse(request) {
            Ok(IfNoneMatch::Any) => true,
            Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&self.tag)),
            Err(_) => false,
        };
        let mut answer = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        answer
            .insert_header(ETag(self.tag.clone()))
            .insert_header((header::CACHE_CONTROL, CACHE))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            // It is for everybody, pages of others as well.
            .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"));
        if is_known {
            return answer.finish();
        }
        answer.content_type(media).body(self.text.clone())
    }
}

/// `GET /openapi.json`.
pub(in crate::http) async fn openapi(request: HttpRequest) -> HttpResponse {
    OPENAPI.answer(&request, "application/json")
}

/// `GET /asyncapi.json`.
pub(in crate::http) async fn asyncapi(request: HttpRequest) -> HttpResponse {
    ASYNCAPI.answer(&request, "application/json")
}

/// `GET /docs`: both documents, for people.
pub(in crate::http) async fn page(request: HttpRequest) -> HttpResponse {
    let mut answer = PAGE.answer(&request, "text/html; charset=utf-8");
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, header::HeaderValue::from_static("no-referrer"));
    answer
}

/// `GET /docs/page.css`.
pub(in crate::http) async fn style(request: HttpRequest) -> HttpResponse {
    STYLE.answer(&request, "text/css; charset=utf-8")
}

/// `GET /docs/page.js`.
pub(in crate::http) async fn script(request: HttpRequest) -> HttpResponse {
    SCRIPT.answer(&request, "text/javascript; charset=utf-8")
}
