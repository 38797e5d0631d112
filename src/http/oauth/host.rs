//! The host of the callback: an authorization begins there, because its cookie must come back there.

use std::net::IpAddr;

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, time::Duration as CookieAge},
    http::header,
};
use reqwest::Url;

/// Marks a browser that was sent to the host of the callback. It comes back only if the browser was there already, under
/// a proxy that does not pass on the host: then there is nowhere else to send it.
const SENT_COOKIE: &str = "cti_sent";

/// Returns a redirect to the same address at the host of the callback, where the browser is under another one: a cookie
/// that is set here would not come back there. That host is that of the public URL, unless the redirect URI is elsewhere.
pub(super) fn redirect_to_callback_host(
    request: &HttpRequest,
    public_url: &Url,
    redirect_uri: &Url,
) -> Option<HttpResponse> {
    if is_under(request, redirect_uri) || request.cookie(SENT_COOKIE).is_some() {
        return None;
    }
    // Under the public URL the browser is where its operator wants it: between names of this machine there is no doubt.
    if is_under(request, public_url) && !(is_loopback(public_url) && is_loopback(redirect_uri)) {
        return None;
    }
    let path = redirect_uri.path();
    let prefix = path.strip_suffix("/auth/dialpad/callback").or_else(|| path.strip_suffix("/callback"));
    let (mut target, prefix) = match prefix {
        _ if redirect_uri.host() == public_url.host() => (public_url.clone(), public_url.path()),
        Some(prefix) => (redirect_uri.clone(), prefix),
        None => return None,
    };
    target.set_path(&format!("{}{}", prefix.trim_end_matches('/'), request.path()));
    target.set_query(Some(request.query_string()).filter(|query| !query.is_empty()));
    let sent =
        Cookie::build(SENT_COOKIE, "1").path("/").http_only(true).max_age(CookieAge::seconds(5)).finish();
    let mut answer = HttpResponse::Found();
    answer.insert_header((header::LOCATION, target.as_str()));
    answer.insert_header((header::CACHE_CONTROL, "no-store")).cookie(sent);
    Some(answer.finish())
}

/// Returns whether a cookie that is set in the answer is sent to this address. The port does not matter to cookies.
fn is_under(request: &HttpRequest, address: &Url) -> bool {
    if address.scheme() == "https" && is_forwarded_http(request) {
        return false;
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let is_there =
        |host: &str| Url::parse(&format!("http://{host}")).is_ok_and(|url| url.host() == address.host());
    host.is_none_or(is_there) || is_there(request.connection_info().host())
}

fn is_loopback(address: &Url) -> bool {
    let host = address.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Returns whether a proxy says that the browser did not use https.
fn is_forwarded_http(request: &HttpRequest) -> bool {
    let is_forwarded = |name: &str| request.headers().contains_key(name);
    (is_forwarded("x-forwarded-proto") || is_forwarded("forwarded"))
        && request.connection_info().scheme().eq_ignore_ascii_case("http")
}

#[cfg(test)]
mod tests;
