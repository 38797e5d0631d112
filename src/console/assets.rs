//! The style sheet and the script, in the binary. Their addresses change with their content, so browsers keep them.

use std::sync::LazyLock;

use actix_web::{HttpResponse, http::header};
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("console.css");
const SCRIPT: &str = include_str!("console.js");
const FOR_ONE_YEAR: &str = "public, max-age=31536000, immutable";

static STYLE_ADDRESS: LazyLock<String> = LazyLock::new(|| address("console.css", STYLE));
static SCRIPT_ADDRESS: LazyLock<String> = LazyLock::new(|| address("console.js", SCRIPT));

fn address(name: &str, content: &str) -> String {
    format!("/console/assets/{name}?v={}", hex::encode(&Sha256::digest(content)[..6]))
}

pub(super) fn style_address() -> &'static str {
    &STYLE_ADDRESS
}

pub(super) fn script_address() -> &'static str {
    &SCRIPT_ADDRESS
}

/// Answers the style sheet.
pub(super) async fn style() -> HttpResponse {
    answer("text/css; charset=utf-8", STYLE)
}

/// Answers the script.
pub(super) async fn script() -> HttpResponse {
    answer("text/javascript; charset=utf-8", SCRIPT)
}

fn answer(media_type: &str, content: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, FOR_ONE_YEAR))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .content_type(media_type)
        .body(content)
}
