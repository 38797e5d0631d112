//! Checks of the settings, and of Dialpad as they name it.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use reqwest::{Client, header};

use super::check::Check;
use crate::config::{Config, ConfigError, Environment};

/// Dialpad's signed webhooks and tokens carry instants: a clock that is further off misjudges them.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(30);
const TOLERATED_CLOCK_SKEW: Duration = Duration::from_secs(5);
const DIALPAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns a failure for each setting that is wrong or missing.
pub(super) fn refused(error: &ConfigError) -> Vec<Check> {
    let problems = error.problems.iter();
    problems.map(|problem| Check::fail("settings", "the settings were read", problem)).collect()
}

pub(super) fn check(config: &Config) -> Vec<Check> {
    let mut checks = vec![Check::ok(
        "settings",
        format!("all settings were read; CTI_ENV is {}", config.environment.as_str()),
    )];
    let warnings = config.warnings.iter();
    checks.extend(warnings.map(|warning| Check::warn("settings", "the settings were read", warning)));
    let is_production = config.environment == Environment::Production;

    checks.push(match &config.public_url {
        Some(url) if url.scheme() == "https" => Check::ok("public_url", format!("PUBLIC_URL is {url}")),
        Some(url) => Check::advise(
            "public_url",
            !is_production,
            format!("PUBLIC_URL is {url}, without TLS"),
            "put a proxy with TLS in front, and set PUBLIC_URL to its https address",
        ),
        None => Check::warn(
            "public_url",
            "PUBLIC_URL is not set: Dialpad gets the address that the server listens on",
            "set PUBLIC_URL to the https address at which Dialpad reaches this server",
        ),
    });
    checks.push(match &config.dialpad.client {
        Some(client) => Check::ok("oauth_client", format!("the OAuth client is {}", client.id)),
        None => Check::warn(
            "oauth_client",
            "no OAuth client is configured: no app can connect to Dialpad",
            format!("set DIALPAD_{0}_CLIENT_ID and DIALPAD_{0}_CLIENT_SECRET", suffix(config)),
        ),
    });
    checks.push(redirect_uri(config));
    checks.push(Check::require(
        "scopes",
        config.dialpad.scopes.iter().any(|scope| scope == "offline_access"),
        format!("DIALPAD_SCOPES is {:?}", config.dialpad.scopes.join(" ")),
        "add offline_access to DIALPAD_SCOPES: without it a connection ends with its first token",
    ));
    checks.push(Check::advise(
        "encryption_key",
        config.token_encryption_keys.is_some(),
        if config.token_encryption_keys.is_some() {
            "TOKEN_ENCRYPTION_KEY is set"
        } else {
            "TOKEN_ENCRYPTION_KEY is not set: tokens are encrypted with a key file"
        },
        "set TOKEN_ENCRYPTION_KEY, and keep it apart from the database's backups",
    ));
    checks.push(Check::advise(
        "metrics_token",
        config.metrics_token.is_some() || !is_production,
        if config.metrics_token.is_some() { "METRICS_TOKEN is set" } else { "/metrics is open to everybody" },
        "set METRICS_TOKEN, or let the proxy refuse /metrics from outside",
    ));
    checks.push(Check::advise(
        "auto_subscribe",
        config.auto_subscribe,
        format!("AUTO_SUBSCRIBE is {}", config.auto_subscribe),
        "set AUTO_SUBSCRIBE=true, or register the webhook and its subscriptions by hand",
    ));
    checks
}

fn suffix(config: &Config) -> &'static str {
    match config.environment {
        Environment::Sandbox => "SANDBOX",
        Environment::Production => "PROD",
    }
}

/// Dialpad compares the address with the one in its console, letter by letter.
fn redirect_uri(config: &Config) -> Check {
    let name = "redirect_uri";
    let fix = format!(
        "set DIALPAD_{}_REDIRECT_URI to PUBLIC_URL with /callback, and enter the same in Dialpad's console",
        suffix(config)
    );
    match (&config.dialpad.redirect_uri, &config.public_url) {
        (None, _) => Check::ok(name, "the redirect URI is PUBLIC_URL with /callback"),
        (Some(uri), _) if uri.path().trim_end_matches('/') != "/callback" => {
            Check::warn(name, format!("the redirect URI is {uri}; this server answers at /callback"), fix)
        }
        (Some(uri), Some(public)) if uri.origin() != public.origin() => {
            Check::fail(name, format!("the redirect URI {uri} is not at PUBLIC_URL {public}"), fix)
        }
        (Some(uri), _) => Check::ok(name, format!("the redirect URI is {uri}")),
    }
}

/// Asks Dialpad for its time.
pub(super) async fn check_dialpad(config: &Config) -> Vec<Check> {
    let url = config.dialpad.base_url.clone();
    let client = match Client::builder().timeout(DIALPAD_TIMEOUT).build() {
        Ok(client) => client,
        Err(error) => {
            return vec![Check::warn("dialpad", error.to_string(), "install the system's certificates")];
        }
    };
    let answer = match client.head(url.clone()).send().await {
        Ok(answer) => answer,
        Err(error) => {
            let how = format!("HEAD {url} failed: {}", crate::commands::error_chain(&error.without_url()));
            let fix = "let this machine open https connections to Dialpad";
            return vec![Check::warn("dialpad", how, fix)];
        }
    };
    let now = SystemTime::now();
    let mut checks = vec![Check::ok("dialpad", format!("HEAD {url} answered {}", answer.status().as_u16()))];
    let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
    if let Some(theirs) = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()) {
        checks.push(clock(now.into(), theirs.with_timezone(&Utc)));
    }
    checks
}

fn clock(ours: DateTime<Utc>, theirs: DateTime<Utc>) -> Check {
    // The header has whole seconds.
    let skew = (ours - theirs).abs().to_std().unwrap_or_default().saturating_sub(Duration::from_secs(1));
    let how = format!("this machine's clock differs from Dialpad's by {} s", skew.as_secs());
    let fix = "let chrony or systemd-timesyncd set the clock";
    if skew > MAX_CLOCK_SKEW {
        Check::fail("clock", how, fix)
    } else {
        Check::advise("clock", skew <= TOLERATED_CLOCK_SKEW, how, fix)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{commands::doctor::check::Status, config::Needs};

    fn status(checks: &[Check], name: &str) -> Status {
        checks.iter().find(|check| check.name == name).expect(name).status
    }

    fn checked(variables: &[(&str, &str)]) -> Vec<Check> {
        let common = [
            ("INTERNAL_API_SECRET", "an internal secret of a test"),
            ("DIALPAD_WEBHOOK_SECRET", "a webhook secret of a test"),
        ];
        let all: BTreeMap<String, String> = common
            .iter()
            .chain(variables)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        match Config::from_variables(&all, Needs::Serving) {
            Ok(config) => check(&config),
            Err(error) => refused(&error),
        }
    }

    #[test]
    fn each_wrong_setting_is_a_failure_that_names_it() {
        let checks = checked(&[("PORT", "x"), ("CTI_ENV", "live")]);
        assert_eq!(checks.len(), 2);
        assert!(checks.iter().all(|check| check.status == Status::Fail));
        assert!(checks.iter().any(|check| check.fix.starts_with("PORT")));
    }

    #[test]
    fn settings_that_cost_connections_or_tokens_are_found() {
        let sandbox = checked(&[]);
        assert_eq!(status(&sandbox, "public_url"), Status::Warn);
        assert_eq!(status(&sandbox, "oauth_client"), Status::Warn);
        assert_eq!(status(&sandbox, "encryption_key"), Status::Warn);
        assert_eq!(status(&sandbox, "redirect_uri"), Status::Ok);
        assert_eq!(status(&checked(&[("DIALPAD_SCOPES", "calls:list")]), "scopes"), Status::Fail);
        assert_eq!(status(&checked(&[("AUTO_SUBSCRIBE", "false")]), "auto_subscribe"), Status::Warn);
        let elsewhere = checked(&[
            ("PUBLIC_URL", "https://cti.example.com"),
            ("DIALPAD_SANDBOX_REDIRECT_URI", "https://old.example.com/callback"),
        ]);
        assert_eq!(status(&elsewhere, "redirect_uri"), Status::Fail);
    }

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off() {
        let now = DateTime::from(SystemTime::now());
        for (seconds, expected) in [(1, Status::Ok), (10, Status::Warn), (-600, Status::Fail)] {
            assert_eq!(clock(now + chrono::TimeDelta::seconds(seconds), now).status, expected);
        }
    }
}
