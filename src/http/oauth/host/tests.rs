use actix_web::test::TestRequest;

use super::*;

const LOCAL: &str = "http://127.0.0.1:4000/";

fn sent_to(uri: &str, headers: &[(&str, &str)], public_url: &str, redirect_uri: &str) -> Option<String> {
    let request = headers
        .iter()
        .fold(TestRequest::get().uri(uri), |request, (name, value)| request.insert_header((*name, *value)));
    let url = |text: &str| text.parse::<Url>().expect("a URL");
    let request = request.to_http_request();
    let answer = redirect_to_callback_host(&request, &url(public_url), &url(redirect_uri))?;
    let location = answer.headers().get(header::LOCATION).expect("a redirect has one");
    Some(location.to_str().expect("text").to_owned())
}

#[test]
fn a_browser_under_another_host_is_sent_to_that_of_the_callback() {
    let (callback, public) = ("http://127.0.0.1:4000/callback", "https://cti.example/sub/");
    let public_callback = "https://cti.example/sub/auth/dialpad/callback";
    for (host, public_url, redirect_uri, expected) in [
        ("localhost:4000", LOCAL, callback, Some("http://127.0.0.1:4000/authorize?app_id=7")),
        ("[::1]:4000", LOCAL, callback, Some("http://127.0.0.1:4000/authorize?app_id=7")),
        ("127.0.0.1:4000", LOCAL, callback, None),
        ("127.0.0.1:9", LOCAL, callback, None),
        ("cti.internal", public, public_callback, Some("https://cti.example/sub/authorize?app_id=7")),
        ("CTI.example:443", public, public_callback, None),
        // The redirect URI that is registered at Dialpad has another name of this machine.
        (
            "127.0.0.1:4000",
            LOCAL,
            "http://localhost:4000/callback",
            Some("http://localhost:4000/authorize?app_id=7"),
        ),
        ("localhost:4000", LOCAL, "http://localhost:4000/callback", None),
        // Under the public URL nothing is second-guessed.
        ("127.0.0.1:4000", LOCAL, "https://cti.example/callback", None),
        (
            "10.0.0.7:4000",
            LOCAL,
            "https://cti.example/callback",
            Some("https://cti.example/authorize?app_id=7"),
        ),
        ("10.0.0.7:4000", LOCAL, "https://cti.example/elsewhere", None),
    ] {
        let location = sent_to("/authorize?app_id=7", &[("host", host)], public_url, redirect_uri);
        assert_eq!(location.as_deref(), expected, "{host} for {redirect_uri}");
    }
    assert_eq!(
        sent_to("/auth/dialpad/connect", &[("host", "localhost")], LOCAL, callback).as_deref(),
        Some("http://127.0.0.1:4000/auth/dialpad/connect")
    );
}

#[test]
fn a_proxy_does_not_send_a_browser_in_circles() {
    let is_sent = |headers: &[(&str, &str)]| {
        sent_to("/authorize", headers, "https://cti.example/", "https://cti.example/callback").is_some()
    };
    let inner = ("host", "10.0.0.7:4000");
    assert!(is_sent(&[inner]));
    assert!(!is_sent(&[inner, ("x-forwarded-host", "cti.example")]));
    assert!(!is_sent(&[inner, ("forwarded", "host=cti.example;proto=https")]));
    assert!(!is_sent(&[inner, ("cookie", "cti_sent=1")]), "it was here before");
    assert!(
        is_sent(&[("host", "cti.example"), ("x-forwarded-proto", "http")]),
        "a secure cookie needs https"
    );
    assert!(!is_sent(&[("host", "cti.example"), ("x-forwarded-proto", "https")]));
    assert!(!is_sent(&[]));
}
