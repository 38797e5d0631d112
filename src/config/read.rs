//! Parsing and checking every setting. A wrong one is reported, and the others are still read.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use actix_web::http::header::HeaderName;
use tracing_subscriber::EnvFilter;

use super::{
    Config, CorsOrigins, DialpadConfig, Environment, Needs, OtlpConfig, RateLimits, RecoveryConfig,
    Retention, SpoolConfig, secrets, settings::Settings,
};
use crate::{
    database_url::DatabaseUrl,
    encryption_keys::EncryptionKeys,
    tls::{self, TlsFiles},
};

impl Config {
    /// Reads all settings. Returns `None` after a problem that leaves a field without a value.
    pub(super) fn read(settings: &mut Settings, needs: Needs) -> Option<Self> {
        let environment = settings.parse("cti_env", |text| {
            text.parse::<Environment>().map_err(|_| "must be sandbox or production".into())
        });
        let is_production = environment == Some(Environment::Production);
        let is_serving = needs == Needs::Serving;

        let host = settings.parse("host", host);
        let port = settings.number("port", 0, u16::MAX.into());
        let http_workers = settings.number("http_workers", 0, 1024);
        let tls = tls_files(settings, is_serving);
        let public_url = settings.url("public_url", is_production);
        if is_serving && is_production && public_url.is_none() && !settings.has_problem("public_url") {
            settings.report("public_url", "is required in production, and must be https");
        }
        if tls.is_some() && public_url.as_ref().is_some_and(|url| url.scheme() == "http") {
            settings.warn(
                "public_url",
                "begins with http://, but with TLS_CERT_FILE the server speaks https only",
            );
        }

        let database_url = settings
            .parse("database_url", |text| text.parse::<DatabaseUrl>().map_err(|error| error.to_string()));
        let database_listen_url = listen_url(settings, database_url.as_ref());
        let auto_migrate = settings.boolean("auto_migrate");
        let allow_unsafe_database = settings.boolean("allow_unsafe_database");
        let process_id = settings.parse("process_id", process_id);
        let spool = SpoolConfig::read(settings, database_url.as_ref());

        let internal_secrets = settings.secrets("internal_api_secret");
        let webhook_secrets = settings.secrets("dialpad_webhook_secret");
        let token_encryption_keys = settings.secret("token_encryption_key").and_then(|keys| {
            settings.parse("token_encryption_key", |_| {
                EncryptionKeys::parse(&keys).map_err(|error| error.to_string())
            })
        });
        secrets::check(settings, "internal_api_secret", &internal_secrets, is_production);
        secrets::check(settings, "dialpad_webhook_secret", &webhook_secrets, is_production);
        if is_serving {
            for (name, is_missing) in [
                ("internal_api_secret", internal_secrets.is_empty()),
                ("dialpad_webhook_secret", webhook_secrets.is_empty()),
                ("token_encryption_key", is_production && token_encryption_keys.is_none()),
            ] {
                if is_missing && !settings.has_problem(name) {
                    settings.report(name, "is required");
                }
            }
        }

        let rate_limits = RateLimits::read(settings);
        let cors_origins = settings.parse("cors_origins", CorsOrigins::parse);
        let dialpad = DialpadConfig::read(settings, is_production);
        let signature_header = settings.parse("dialpad_webhook_signature_header", header_name);
        let auto_subscribe = settings.boolean("auto_subscribe");
        let subscription_check_interval = settings.duration("subscription_check_interval");
        let recovery = RecoveryConfig::read(settings);
        let canary_interval = settings.duration_or("off", "canary_interval");
        let retention = Retention::read(settings);
        let interaction_settle = settings.pause("interaction_settle", MAX_SETTLE);
        let max_sessions_per_app = settings.number("ws_max_sessions_per_app", 1, 10_000_000);
        let stuck_session_timeout = settings.duration("ws_stuck_after");
        let log_filter = settings.parse("rust_log", log_filter);
        let log_format =
            settings.parse("log_format", |text| text.parse().map_err(|_| "must be text or json".into()));
        let otlp = OtlpConfig::read(settings);

        Some(Self {
            host: host?,
            port: u16::try_from(port?).ok()?,
            public_url,
            tls,
            environment: environment?,
            http_workers: usize::try_from(http_workers?).ok()?,
            database_url: database_url?,
            database_listen_url,
            auto_migrate: auto_migrate?,
            allow_unsafe_database: allow_unsafe_database?,
            process_id: process_id?,
            spool: spool?,
            internal_secrets,
            webhook_secrets,
            token_encryption_keys,
            metrics_token: settings.secret("metrics_token"),
            dialpad: dialpad?,
            signature_header: signature_header?,
            auto_subscribe: auto_subscribe?,
            subscription_check_interval: subscription_check_interval?,
            canary_interval: canary_interval?,
            retention: retention?,
            rate_limits: rate_limits?,
            cors_origins: cors_origins?,
            recovery: recovery?,
            interaction_settle: interaction_settle?,
            max_sessions_per_app: usize::try_from(max_sessions_per_app?).ok()?,
            stuck_session_timeout: stuck_session_timeout?,
            log_filter: log_filter?,
            log_format: log_format?,
            otlp: otlp?,
            warnings: std::mem::take(&mut settings.warnings),
            shown: settings.shown(),
        })
    }
}

/// Reads the files of the certificate. Only a server presents it, so only then must they be there.
fn tls_files(settings: &mut Settings, is_serving: bool) -> Option<TlsFiles> {
    let path = |name: &str| settings.text(name).map(PathBuf::from);
    let (cert, key) = (path("tls_cert_file"), path("tls_key_file"));
    let files = match tls::files(cert.as_deref(), key.as_deref()) {
        Ok(files) => files?,
        Err(missing) => {
            settings
                .report(missing, "is required, because its counterpart is set: give both files or neither");
            return None;
        }
    };
    if is_serving && let Err(problem) = files.check() {
        settings.problems.push(problem.to_string());
    }
    Some(files)
}

/// How long the end of an interaction may be held back.
const MAX_SETTLE: Duration = Duration::from_secs(3600);

impl Retention {
    fn read(settings: &mut Settings) -> Option<Self> {
        let events = settings.duration("retention_events");
        let journal = settings.duration("retention_journal");
        let unrouted = settings.duration("retention_unrouted");
        let calls = settings.duration_or("never", "retention_calls");
        let interval = settings.duration("retention_interval");
        Some(Self {
            events: events?,
            journal: journal?,
            unrouted: unrouted?,
            calls: calls?,
            interval: interval?,
        })
    }
}

/// Reads where notifications are listened for. It must be PostgreSQL, as the database is.
fn listen_url(settings: &mut Settings, database_url: Option<&DatabaseUrl>) -> Option<DatabaseUrl> {
    settings.text("database_listen_url")?;
    settings.parse("database_listen_url", |text| {
        let url = text.parse::<DatabaseUrl>().map_err(|error| error.to_string())?;
        match (&url, database_url) {
            (DatabaseUrl::Sqlite(_), _) => Err("must begin with postgres://".into()),
            (_, Some(DatabaseUrl::Sqlite(_))) => Err("is only for PostgreSQL".into()),
            _ => Ok(url),
        }
    })
}

/// Accepts an IP address, or a name that can't be mistaken for one. Whether the name exists is known only at the start.
fn host(text: &str) -> Result<String, String> {
    let is_in_name = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let last_label = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_name = text.chars().all(is_in_name) && last_label.contains(|last: char| !last.is_ascii_digit());
    if text.parse::<IpAddr>().is_ok() || is_name {
        Ok(text.to_owned())
    } else {
        Err("must be an IP address or a host name".into())
    }
}

/// Accepts a short name that is safe in a log and in a metric.
fn process_id(text: &str) -> Result<Option<String>, String> {
    let is_in_name = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if text.len() > 128 || !text.chars().all(is_in_name) {
        return Err("must be at most 128 letters, digits, -, _ and .".into());
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn header_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(_) => Ok(name),
        Err(_) => Err("must be the name of a header".into()),
    }
}

fn log_filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
