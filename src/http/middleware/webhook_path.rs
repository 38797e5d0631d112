//! Addresses of webhooks with a slash too many. Such an address is registered at Dialpad by hand, and a 404 or a redirect
//! is final there: every event would be lost.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::Uri,
    middleware::Next,
};

/// Routes a webhook whose address has slashes at its end, or several in a row, like the one without them.
///
/// # Errors
/// Those of the inner services.
pub(crate) async fn ignore_extra_slashes<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    if let Some(uri) = without_extra_slashes(request.uri()) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
    next.call(request).await
}

/// Returns the address that is meant, if it is that of a webhook and differs.
fn without_extra_slashes(uri: &Uri) -> Option<Uri> {
    let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    if parts.first() != Some(&"webhooks") {
        return None;
    }
    let path = format!("/{}", parts.join("/"));
    if path == uri.path() {
        return None;
    }
    let path_and_query = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut changed = uri.clone().into_parts();
    changed.path_and_query = Some(path_and_query.parse().ok()?);
    Uri::from_parts(changed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_webhooks_lose_slashes() {
        for (given, meant) in [
            ("/webhooks/", Some("/webhooks")),
            ("/webhooks//", Some("/webhooks")),
            ("//webhooks", Some("/webhooks")),
            ("/webhooks/dialpad/", Some("/webhooks/dialpad")),
            ("//webhooks//7/?a=/b/", Some("/webhooks/7?a=/b/")),
            ("/webhooks/7", None),
            ("/webhooks", None),
            ("/webhooks2/", None),
            ("/api/calls/", None),
            ("/", None),
        ] {
            let meant: Option<Uri> = meant.map(|uri| uri.parse().expect("a URI"));
            assert_eq!(without_extra_slashes(&given.parse().expect("a URI")), meant, "{given}");
        }
    }
}
