//! Problems that Dialpad does not report.

use std::net::IpAddr;

use reqwest::Url;

use crate::dialpad::oauth::scopes;

/// Returns why Dialpad can't reach `PUBLIC_URL`, if that is certain.
pub(crate) fn of_address(public_url: &Url, dialpad: &Url) -> Option<String> {
    // A simulator on this machine can reach this machine.
    let unreachable = is_local(public_url) && !is_local(dialpad);
    unreachable.then(|| {
        format!("PUBLIC_URL is {}, which Dialpad can't reach", public_url.as_str().trim_end_matches('/'))
    })
}

/// Returns whether a URL works only on this machine or in its network.
fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(ip)) => {
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()
        }
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified()
        }
        Err(_) => host == "localhost" || host.ends_with(".localhost") || !host.contains('.'),
    }
}

/// Returns what a connection with these scopes can't do. Those of the static key are not known.
pub(crate) fn of_scopes(granted: Option<&str>) -> impl Iterator<Item = String> {
    let missing = granted.into_iter().flat_map(scopes::missing);
    missing.map(|(scope, without)| format!("the scope {scope} is missing: {without}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_address_is_a_problem_unless_dialpad_is_local_too() {
        let url = |text: &str| Url::parse(text).expect("a URL");
        let problem = |ours: &str| of_address(&url(ours), &url("https://sandbox.dialpad.com"));
        for local in [
            "http://localhost:4000",
            "http://127.0.0.1:4000",
            "http://[::1]:4000",
            "http://10.1.2.3",
            "http://192.168.1.2",
            "http://cti",
        ] {
            assert!(problem(local).is_some_and(|problem| problem.contains(local)), "{local}");
        }
        assert_eq!(problem("https://cti.example.com/below"), None);
        assert_eq!(problem("https://203.0.113.7"), None);
        assert_eq!(of_address(&url("http://127.0.0.1:4000"), &url("http://127.0.0.1:4010")), None);
    }

    #[test]
    fn each_missing_scope_is_a_problem() {
        let problems: Vec<_> = of_scopes(Some("calls:list offline_access")).collect();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("recordings_export") && problems[1].contains(scopes::MESSAGE_TEXTS));
        assert_eq!(of_scopes(None).count(), 0);
    }
}
