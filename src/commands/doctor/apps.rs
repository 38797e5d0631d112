//! Checks of all apps at Dialpad: their connections, scopes and webhooks.

use std::collections::HashMap;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{
    check::Check,
    probe::{Server, outcome},
};

/// How many apps are looked at.
const MAX_APPS: usize = 10_000;
/// How many are named in a line.
const MAX_NAMED: usize = 5;

pub(super) async fn check(server: &Server, secret: &str) -> Vec<Check> {
    let fix = "give doctor the settings that the server was started with, and run it again";
    let (apps, webhooks) = match read(server, secret).await {
        Ok(read) => read,
        Err(problem) => return vec![Check::fail("apps", problem, fix)],
    };
    let mut found = Found::default();
    let mut unread = Vec::new();
    for app in apps.iter().filter(|app| app["is_active"] == true) {
        let id = app["app_id"].as_str().unwrap_or_default();
        let path = format!("/internal/apps/{id}");
        match server.administer(Method::GET, &path, secret, None).await {
            Ok(answer) if answer.status == StatusCode::OK => {
                found.add(&answer.json(), webhooks.get(id).unwrap_or(&Value::Null));
            }
            // It was deleted meanwhile.
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => {}
            failed => unread.push(format!("GET {path} {}", outcome(&failed))),
        }
    }
    let mut checks = found.checks();
    if let Some(first) = unread.first() {
        checks.push(Check::warn("apps", format!("{} apps could not be read: {first}", unread.len()), fix));
    }
    if apps.len() >= MAX_APPS {
        checks.push(Check::warn("apps", format!("only the newest {} apps were looked at", apps.len()), fix));
    }
    checks
}

/// Reads the apps, and the webhook of each one that has one.
async fn read(server: &Server, secret: &str) -> Result<(Vec<Value>, HashMap<String, Value>), String> {
    let apps = server.list("/internal/apps", secret, MAX_APPS).await?;
    let webhooks = server.list("/internal/webhooks", secret, MAX_APPS).await?;
    let of_app = |webhook: Value| Some((webhook["app_id"].as_str()?.to_owned(), webhook));
    Ok((apps, webhooks.into_iter().filter_map(of_app).collect()))
}

#[derive(Default)]
struct Found {
    connected: usize,
    degraded: Vec<String>,
    expired: Vec<String>,
    unconnected: Vec<String>,
    /// With what the last check of the webhook found.
    undelivered: Vec<String>,
    unregistered: Vec<String>,
    /// With the scopes.
    missing_scopes: Vec<String>,
}

impl Found {
    fn add(&mut self, app: &Value, webhook: &Value) {
        let name = app["name"].as_str().or(app["app_id"].as_str()).unwrap_or_default().to_owned();
        let connection = &app["connection"];
        match connection["status"].as_str() {
            Some("expired") => self.expired.push(name),
            Some("connected") if connection["degraded_since"].is_null() => {
                self.connected += 1;
                self.add_webhook(name, connection, webhook);
            }
            Some("connected" | "degraded") => {
                self.degraded.push(name.clone());
                self.add_webhook(name, connection, webhook);
            }
            _ => self.unconnected.push(name),
        }
    }

    fn add_webhook(&mut self, name: String, connection: &Value, webhook: &Value) {
        let texts = |value: &Value| -> Vec<String> {
            value
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|text| Some(text.as_str()?.to_owned()))
                .collect()
        };
        let missing = texts(&connection["missing_scopes"]);
        if !missing.is_empty() {
            self.missing_scopes.push(format!("{name} ({})", missing.join(", ")));
        }
        match webhook["state"].as_str() {
            Some("degraded") => {
                self.undelivered.push(format!("{name} ({})", texts(&webhook["problems"]).join(" ")));
            }
            Some(_) => {}
            None => self.unregistered.push(name),
        }
    }

    fn checks(&self) -> Vec<Check> {
        let of = |name, require: bool, apps: &[String], good: String, bad: &str, fix: &'static str| {
            let how = if apps.is_empty() { good } else { format!("{bad}: {}", named(apps)) };
            let judge = if require { Check::require } else { Check::advise };
            judge(name, apps.is_empty(), how, fix)
        };
        let (require, advise) = (true, false);
        vec![
            of(
                "expired_connections",
                require,
                &self.expired,
                format!("{} apps are connected, none has expired", self.connected),
                "expired",
                "open /authorize?app_id=… as an administrator of the company's Dialpad",
            ),
            of(
                "degraded_connections",
                advise,
                &self.degraded,
                "no connection is degraded".to_owned(),
                "tokens can't be refreshed",
                "look at `problem` in GET /internal/apps/{app_id}; the server tries again by itself",
            ),
            of(
                "unconnected_apps",
                advise,
                &self.unconnected,
                "every active app is connected".to_owned(),
                "not connected",
                "connect it with /authorize?app_id=…, or deactivate it",
            ),
            of(
                "registered_webhooks",
                advise,
                &self.unregistered,
                "every connected app has its webhook at Dialpad".to_owned(),
                "without a webhook at Dialpad",
                "POST /internal/webhooks/create?app_id=…, unless you register it by hand",
            ),
            of(
                "confirmed_webhooks",
                require,
                &self.undelivered,
                "no webhook at Dialpad has a problem".to_owned(),
                "Dialpad may deliver nothing for",
                "correct what it names, then POST /internal/webhooks/create?app_id=…, which checks it again",
            ),
            of(
                "granted_scopes",
                advise,
                &self.missing_scopes,
                "every connection has the scopes that the server needs".to_owned(),
                "scopes are missing",
                "have them added to the OAuth client at Dialpad, and connect the app again",
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
        let found = Found {
            connected: 1,
            degraded: vec!["a".into()],
            expired: (0..7).map(|app| app.to_string()).collect(),
            ..Found::default()
        };
        let checks = found.checks();
        let statuses: Vec<Status> = checks.iter().take(3).map(|check| check.status).collect();
        assert_eq!(statuses, [Status::Fail, Status::Warn, Status::Ok]);
        assert!(checks[0].how.ends_with("and 2 more"), "{}", checks[0].how);
    }
}
