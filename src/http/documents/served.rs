//! The documents as they are served: made once, cached by whoever asked before.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ETag, EntityTag, Header, IfNoneMatch},
};
use sha2::{Digest, Sha256};

use super::openapi_document;

/// How long a copy is good without asking.
const CACHE: &str = "public, max-age=300";

static OPENAPI: LazyLock<Document> =
    LazyLock::new(|| Document::new(serde_json::to_string(&openapi_document()).unwrap_or_default()));

struct Document {
    text: String,
    tag: EntityTag,
}

impl Document {
    fn new(text: String) -> Self {
        let tag = EntityTag::new_strong(hex::encode(&Sha256::digest(&text)[..12]));
        Self { text, tag }
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
