//! Checks of the connections of all apps.

use reqwest::Method;

use super::{check::Check, probe::Server};

/// How many apps are looked at.
const MAX_APPS: usize = 1000;
/// How many are named in a line.
const MAX_NAMED: usize = 5;

pub(super) async fn check(server: &Server, secret: &str) -> Vec<Check> {
    let listed = server.administer(Method::GET, "/internal/apps?limit=100", secret, None).await;
    let listed = listed.map(|answer| answer.json()).unwrap_or_default();
    let apps = listed.as_array().cloned().unwrap_or_default();
    let mut found = Connections::default();
    for app in apps.iter().take(MAX_APPS).filter(|app| app["is_active"] == true) {
        let id = app["app_id"].as_str().unwrap_or_default();
        let path = format!("/internal/apps/{id}");
        let Ok(answer) = server.administer(Method::GET, &path, secret, None).await else { continue };
        let app = answer.json();
        let name = app["name"].as_str().unwrap_or(id).to_owned();
        match app["connection"]["status"].as_str() {
            Some("connected") if app["connection"]["degraded_since"].is_string() => found.degraded.push(name),
            Some("connected") => found.connected += 1,
            Some("degraded") => found.degraded.push(name),
            Some("expired") => found.expired.push(name),
            _ => found.unconnected.push(name),
        }
    }
    found.checks()
}

#[derive(Default)]
struct Connections {
    connected: usize,
    degraded: Vec<String>,
    expired: Vec<String>,
    unconnected: Vec<String>,
}

impl Connections {
    fn checks(&self) -> Vec<Check> {
        vec![
            Check::require(
                "expired_connections",
                self.expired.is_empty(),
                if self.expired.is_empty() {
                    format!("{} apps are connected, none has expired", self.connected)
                } else {
                    format!("expired: {}", named(&self.expired))
                },
                "open /authorize?app_id=… as an administrator of the company's Dialpad",
            ),
            Check::advise(
                "degraded_connections",
                self.degraded.is_empty(),
                if self.degraded.is_empty() {
                    "no connection is degraded".to_owned()
                } else {
                    format!("tokens can't be refreshed: {}", named(&self.degraded))
                },
                "look at `problem` in GET /internal/apps/{app_id}; the server tries again by itself",
            ),
            Check::advise(
                "unconnected_apps",
                self.unconnected.is_empty(),
                if self.unconnected.is_empty() {
                    "every active app is connected".to_owned()
                } else {
                    format!("not connected: {}", named(&self.unconnected))
                },
                "connect it with /authorize?app_id=…, or deactivate it",
            ),
        ]
    }
}

fn named(apps: &[String]) -> String {
    let shown = apps[..apps.len().min(MAX_NAMED)].join(", ");
    match apps.len().saturating_sub(MAX_NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Status;

    #[test]
    fn connections_that_have_ended_fail_and_those_that_may_recover_warn() {
        let found = Connections {
            connected: 1,
            degraded: vec!["a".into()],
            expired: (0..7).map(|app| app.to_string()).collect(),
            unconnected: Vec::new(),
        };
        let checks = found.checks();
        let statuses: Vec<Status> = checks.iter().map(|check| check.status).collect();
        assert_eq!(statuses, [Status::Fail, Status::Warn, Status::Ok]);
        assert!(checks[0].how.ends_with("and 2 more"), "{}", checks[0].how);
    }
}
