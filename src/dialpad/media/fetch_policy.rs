//! From where audio may be fetched. A webhook may name any address, that of a machine within our own network too: what
//! is not on the short list here is not fetched.

use reqwest::Url;

/// Dialpad's own houses. What lies there may be public; the token goes to the configured one alone.
const HOUSES: [&str; 2] = ["dialpad.com", "sandbox.dialpad.com"];

/// What an address is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The Dialpad that we speak to: the token may go along.
    OurDialpad,
    /// Another house of Dialpad's: without the token.
    AnotherDialpad,
    /// Not to be fetched from.
    OffLimits,
}

/// What an address is, where `dialpad` is the configured one. Scheme, host and port must all be right, and an address
/// that carries a user's name is meant to deceive somebody.
pub(super) fn judge(url: &Url, dialpad: &Url) -> Place {
    if !url.username().is_empty() || url.password().is_some() {
        return Place::OffLimits;
    }
    if url.origin() == dialpad.origin() {
        return Place::OurDialpad;
    }
    let is_house = url.host_str().is_some_and(|host| HOUSES.contains(&host));
    if url.scheme() == "https" && is_house && url.port().is_none() {
        return Place::AnotherDialpad;
    }
    Place::OffLimits
}

/// Whether an address is that of a page on which people log in: whoever is sent there was not let in.
pub(super) fn is_login(url: &Url) -> bool {
    let words = ["login", "log-in", "signin", "sign-in", "sso"];
    url.path_segments().is_some_and(|mut segments| {
        segments.any(|segment| words.contains(&segment.to_ascii_lowercase().as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(url: &str, dialpad: &str) -> Place {
        judge(&url.parse().expect("a URL"), &dialpad.parse().expect("a URL"))
    }

    #[test]
    fn only_dialpad_is_fetched_from_and_only_the_configured_one_sees_the_token() {
        use Place::{AnotherDialpad, OffLimits, OurDialpad};
        let production = "https://dialpad.com";
        let simulator = "http://127.0.0.1:4010/";
        for (url, dialpad, expected) in [
            ("https://dialpad.com/r/1", production, OurDialpad),
            ("https://dialpad.com:443/r/1?token=x", production, OurDialpad),
            ("https://DIALPAD.com/r/1", production, OurDialpad),
            ("https://sandbox.dialpad.com/r/1", production, AnotherDialpad),
            ("https://dialpad.com/r/1", "https://sandbox.dialpad.com", AnotherDialpad),
            ("https://dialpad.com/r/1", simulator, AnotherDialpad),
            ("http://127.0.0.1:4010/r/1", simulator, OurDialpad),
            ("http://127.0.0.1:4010/r/1", production, OffLimits),
            ("http://127.0.0.1:4011/r/1", simulator, OffLimits),
            ("https://127.0.0.1:4010/r/1", simulator, OffLimits),
            ("http://localhost:4010/r/1", simulator, OffLimits),
            ("http://127.0.0.2:4010/r/1", simulator, OffLimits),
            ("http://dialpad.com/r/1", production, OffLimits),
            ("https://dialpad.com:8443/r/1", production, OffLimits),
            ("https://www.dialpad.com/r/1", production, OffLimits),
            ("https://dialpad.com.evil.example/r/1", production, OffLimits),
            ("https://dialpad.com./r/1", production, OffLimits),
            ("https://evildialpad.com/r/1", production, OffLimits),
            ("https://dialpad.com@evil.example/r/1", production, OffLimits),
            ("https://user@dialpad.com/r/1", production, OffLimits),
            ("https://:secret@dialpad.com/r/1", production, OffLimits),
            ("https://evil.example/dialpad.com", production, OffLimits),
            ("https://evil.example/?https://dialpad.com/", production, OffLimits),
            ("https://xn--dialpd-7ya.com/r/1", production, OffLimits),
            ("https://di\u{430}lpad.com/r/1", production, OffLimits),
            ("http://169.254.169.254/latest/meta-data", production, OffLimits),
            ("http://[::1]/r/1", production, OffLimits),
            ("https://2130706433/r/1", production, OffLimits),
            ("ftp://dialpad.com/r/1", production, OffLimits),
            ("file:///etc/passwd", production, OffLimits),
            ("data:audio/wav;base64,UklGRg==", production, OffLimits),
            ("javascript:alert(1)", production, OffLimits),
        ] {
            assert_eq!(judged(url, dialpad), expected, "{url} where Dialpad is {dialpad}");
        }
    }

    #[test]
    fn a_login_page_is_told_by_its_path() {
        let is = |url: &str| is_login(&url.parse().expect("a URL"));
        assert!(is("https://dialpad.com/login?next=%2Fr%2F1") && is("https://dialpad.com/auth/SignIn"));
        assert!(!is("https://dialpad.com/blob-server/1.wav?signature=login") && !is("https://dialpad.com/"));
    }
}
