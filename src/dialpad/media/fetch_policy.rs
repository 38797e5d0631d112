//! Where audio may be fetched from. A webhook may name any URL, also one within our own network, so only Dialpad's hosts
//! are allowed (server-side request forgery).

use reqwest::Url;

/// Dialpad's hosts. Content there may be public; only the configured host gets the token.
const ALLOWED_HOSTS: [&str; 2] = ["dialpad.com", "sandbox.dialpad.com"];

/// How a URL may be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FetchPolicy {
    /// With the token: it is the configured Dialpad.
    WithToken,
    /// Without the token: it is another host of Dialpad.
    WithoutToken,
    /// Not at all.
    Forbidden,
}

/// Returns how a URL may be fetched; `dialpad` is the configured base URL. Scheme, host and port must match. A URL with a
/// user name is an attempt to deceive, and is forbidden.
pub(super) fn classify(url: &Url, dialpad: &Url) -> FetchPolicy {
    if !url.username().is_empty() || url.password().is_some() {
        return FetchPolicy::Forbidden;
    }
    if url.origin() == dialpad.origin() {
        return FetchPolicy::WithToken;
    }
    let is_allowed = url.host_str().is_some_and(|host| ALLOWED_HOSTS.contains(&host));
    if url.scheme() == "https" && is_allowed && url.port().is_none() {
        return FetchPolicy::WithoutToken;
    }
    FetchPolicy::Forbidden
}

/// Returns whether a URL is that of a login page. A redirect there means that the token was not accepted.
pub(super) fn is_login(url: &Url) -> bool {
    let words = ["login", "log-in", "signin", "sign-in", "sso"];
    url.path_segments().is_some_and(|mut segments| {
        segments.any(|segment| words.contains(&segment.to_ascii_lowercase().as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(url: &str, dialpad: &str) -> FetchPolicy {
        classify(&url.parse().expect("a URL"), &dialpad.parse().expect("a URL"))
    }

    #[test]
    fn only_dialpad_is_fetched_from_and_only_the_configured_host_gets_the_token() {
        use FetchPolicy::{Forbidden, WithToken, WithoutToken};
        let production = "https://dialpad.com";
        let simulator = "http://127.0.0.1:4010/";
        for (url, dialpad, expected) in [
            ("https://dialpad.com/r/1", production, WithToken),
            ("https://dialpad.com:443/r/1?token=x", production, WithToken),
            ("https://DIALPAD.com/r/1", production, WithToken),
            ("https://sandbox.dialpad.com/r/1", production, WithoutToken),
            ("https://dialpad.com/r/1", "https://sandbox.dialpad.com", WithoutToken),
            ("https://dialpad.com/r/1", simulator, WithoutToken),
            ("http://127.0.0.1:4010/r/1", simulator, WithToken),
            ("http://127.0.0.1:4010/r/1", production, Forbidden),
            ("http://127.0.0.1:4011/r/1", simulator, Forbidden),
            ("https://127.0.0.1:4010/r/1", simulator, Forbidden),
            ("http://localhost:4010/r/1", simulator, Forbidden),
            ("http://127.0.0.2:4010/r/1", simulator, Forbidden),
            ("http://dialpad.com/r/1", production, Forbidden),
            ("https://dialpad.com:8443/r/1", production, Forbidden),
            ("https://www.dialpad.com/r/1", production, Forbidden),
            ("https://dialpad.com.evil.example/r/1", production, Forbidden),
            ("https://dialpad.com./r/1", production, Forbidden),
            ("https://evildialpad.com/r/1", production, Forbidden),
            ("https://dialpad.com@evil.example/r/1", production, Forbidden),
            ("https://user@dialpad.com/r/1", production, Forbidden),
            ("https://:secret@dialpad.com/r/1", production, Forbidden),
            ("https://evil.example/dialpad.com", production, Forbidden),
            ("https://evil.example/?https://dialpad.com/", production, Forbidden),
            ("https://xn--dialpd-7ya.com/r/1", production, Forbidden),
            ("https://di\u{430}lpad.com/r/1", production, Forbidden),
            ("http://169.254.169.254/latest/meta-data", production, Forbidden),
            ("http://[::1]/r/1", production, Forbidden),
            ("https://2130706433/r/1", production, Forbidden),
            ("ftp://dialpad.com/r/1", production, Forbidden),
            ("file:///etc/passwd", production, Forbidden),
            ("data:audio/wav;base64,UklGRg==", production, Forbidden),
            ("javascript:alert(1)", production, Forbidden),
        ] {
            assert_eq!(policy(url, dialpad), expected, "{url} where Dialpad is {dialpad}");
        }
    }

    #[test]
    fn a_login_page_is_recognized_by_its_path() {
        let is = |url: &str| is_login(&url.parse().expect("a URL"));
        assert!(is("https://dialpad.com/login?next=%2Fr%2F1") && is("https://dialpad.com/auth/SignIn"));
        assert!(!is("https://dialpad.com/blob-server/1.wav?signature=login") && !is("https://dialpad.com/"));
    }
}
