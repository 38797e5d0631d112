//! How those who ask say who they are.

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

/// All ways, by their names.
pub(crate) fn schemes() -> Vec<(&'static str, SecurityScheme)> {
    let header = |name: &str, description: &str| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, description)))
    };
    let bearer = |description: &str| {
        let http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description));
        SecurityScheme::Http(http.build())
    };
    let in_query =
        "The app's key, for browsers, which can't set headers there. It is never logged by the server.";
    vec![
        ("api_key", header("x-api-key", "The app's key.")),
        ("app_api_key", header("x-app-api-key", "The app's key, under its other name.")),
        ("api_key_as_bearer", bearer("The app's key.")),
        (
            "api_key_in_query",
            SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::with_description("api_key", in_query))),
        ),
        ("internal_secret", bearer("`INTERNAL_API_SECRET`.")),
        ("metrics_token", bearer("`METRICS_TOKEN`, where it is set.")),
        (
            "webhook_signature",
            header(
                "x-dialpad-signature",
                "HMAC-SHA256 of the body as it is on the wire, in hex or base64, with or without `sha256=` before \
                 it. Not needed where the body is a JWS.",
            ),
        ),
    ]
}
