//! The scopes that requests require, with the switch `enforce_scopes`.

use actix_web::http::Method;

/// A route, and the scopes of which it requires one. Other routes require none.
const NEEDED: [(Method, &str, &[&str]); 9] = [
    (Method::GET, "/api/v2/call", &["calls:list"]),
    (Method::POST, "/api/v2/subscriptions/sms", &["message_content_export:all", "message_content_export"]),
    (Method::POST, "/api/v2/subscriptions/changelog", &["change_log"]),
    (Method::POST, "/api/v2/users/{id}/screenpop", &["screen_pop"]),
    (Method::GET, "/api/v2/call/{id}/ai_recap", &["ai_recap"]),
    (Method::POST, "/api/v2/recordingsharelink", &["recordings_export"]),
    (Method::PUT, "/api/v2/recordingsharelink/{id}", &["recordings_export"]),
    (Method::GET, "/r/{id}", &["recordings_export"]),
    (Method::GET, "/secureblob/{kind}/{id}", &["recordings_export"]),
];

/// Returns the scope that a token with these (space-separated) scopes lacks for a route.
pub(crate) fn lacking(granted: &str, method: &Method, route: &str) -> Option<&'static str> {
    let (_, _, enough) = NEEDED.iter().find(|(verb, path, _)| verb == method && *path == route)?;
    let has = |wanted: &&&str| granted.split_whitespace().any(|scope| scope == **wanted);
    if enough.iter().any(|wanted| has(&wanted)) { None } else { enough.first().copied() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_scope_allows_texts_and_unlisted_routes_require_none() {
        let texts = |granted| lacking(granted, &Method::POST, "/api/v2/subscriptions/sms");
        assert_eq!(texts("calls:list offline_access"), Some("message_content_export:all"));
        assert_eq!(texts("calls:list message_content_export"), None);
        assert_eq!(texts("message_content_export:all"), None);
        assert_eq!(lacking("", &Method::GET, "/api/v2/subscriptions/sms"), None);
    }
}
