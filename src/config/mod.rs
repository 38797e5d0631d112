//! Settings: `config/default.toml`, overridden by a file, and both by the environment.
//!
//! A setting is named once, in the default file; its environment variable is that name in capitals. To add one: write it
//! there with a comment, read it in `read.rs`, and write the table in `docs/operations.md` again (`docs.rs`).

mod cors;
mod dialpad;
#[cfg(test)]
mod docs;
mod limits;
mod otlp;
mod read;
mod recovery;
mod secrets;
mod settings;
mod shown;
mod spool;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use reqwest::Url;
use secrecy::SecretString;
use strum::{EnumString, IntoStaticStr};
use thiserror::Error;

use self::settings::Settings;
pub use self::{
    cors::CorsOrigins,
    dialpad::{DialpadConfig, OauthClient},
    limits::RateLimits,
    otlp::OtlpConfig,
    recovery::RecoveryConfig,
    spool::SpoolConfig,
};
use crate::{database_url::DatabaseUrl, encryption_keys::EncryptionKeys, tls::TlsFiles};

const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Which Dialpad is used, and whether https is required.
#[derive(Clone, Copy, Debug, EnumString, IntoStaticStr, PartialEq, Eq)]
#[strum(serialize_all = "snake_case")]
pub enum Environment {
    /// Dialpad's sandbox.
    Sandbox,
    /// Dialpad's production; https is required.
    Production,
}

impl Environment {
    /// Returns the name in settings, answers and the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The format of the log.
#[derive(Clone, Copy, Debug, EnumString, PartialEq, Eq)]
#[strum(serialize_all = "snake_case")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// JSON objects, one per line.
    Json,
}

/// All settings, parsed and checked. Its `Debug` form is redacted. `config/default.toml` says what each one means.
#[derive(Clone, Debug)]
pub struct Config {
    /// `HOST`.
    pub host: String,
    /// `PORT`; 0 is any free one.
    pub port: u16,
    /// `PUBLIC_URL`; `None`: the address that is listened on.
    pub public_url: Option<Url>,
    /// `CTI_ENV`.
    pub environment: Environment,
    /// `TLS_CERT_FILE` and `TLS_KEY_FILE`; `None`: a proxy does TLS.
    pub tls: Option<TlsFiles>,
    /// `HTTP_WORKERS`; 0 is one per core.
    pub http_workers: usize,
    /// `DATABASE_URL`.
    pub database_url: DatabaseUrl,
    /// `DATABASE_LISTEN_URL`.
    pub database_listen_url: Option<DatabaseUrl>,
    /// `AUTO_MIGRATE`.
    pub auto_migrate: bool,
    /// `ALLOW_UNSAFE_DATABASE`.
    pub allow_unsafe_database: bool,
    /// `PROCESS_ID`; `None`: a random one.
    pub process_id: Option<String>,
    /// `SPOOL_…`; `None`: `SPOOL` is off.
    pub spool: Option<SpoolConfig>,
    /// `INTERNAL_API_SECRET`: the bearer tokens of `/internal`.
    pub internal_secrets: Vec<SecretString>,
    /// `DIALPAD_WEBHOOK_SECRET`.
    pub webhook_secrets: Vec<SecretString>,
    /// `TOKEN_ENCRYPTION_KEY`; `None`: a key file.
    pub token_encryption_keys: Option<EncryptionKeys>,
    /// `METRICS_TOKEN`: the bearer token of `/metrics`.
    pub metrics_token: Option<SecretString>,
    /// `DIALPAD_…` of the configured environment.
    pub dialpad: DialpadConfig,
    /// `DIALPAD_WEBHOOK_SIGNATURE_HEADER`, in lower case.
    pub signature_header: String,
    /// `AUTO_SUBSCRIBE`.
    pub auto_subscribe: bool,
    /// `SUBSCRIPTION_CHECK_INTERVAL`.
    pub subscription_check_interval: Duration,
    /// `CANARY_INTERVAL`: how often the canary runs; `None`: never.
    pub canary_interval: Option<Duration>,
    /// `RETENTION_…`.
    pub retention: Retention,
    /// The limits for wrong credentials.
    pub rate_limits: RateLimits,
    /// `CORS_ORIGINS`.
    pub cors_origins: CorsOrigins,
    /// When missed calls are recovered.
    pub recovery: RecoveryConfig,
    /// `INTERACTION_SETTLE`.
    pub interaction_settle: Duration,
    /// `WS_MAX_SESSIONS_PER_APP`.
    pub max_sessions_per_app: usize,
    /// `WS_STUCK_AFTER`.
    pub stuck_session_timeout: Duration,
    /// `RUST_LOG`.
    pub log_filter: String,
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `OTLP_…`; `None`: traces are not recorded.
    pub otlp: Option<OtlpConfig>,
    /// What is accepted, but should be changed; one line each.
    pub warnings: Vec<String>,
    /// Each variable with its value in force, for people: of a secret, only whether it is set.
    pub shown: Vec<(String, String)>,
}

/// How long rows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events.
    pub events: Duration,
    /// Processed and failed webhooks.
    pub journal: Duration,
    /// Unrouted webhooks.
    pub unrouted: Duration,
    /// Calls, voicemails and messages; `None`: for ever.
    pub calls: Option<Duration>,
    /// How often older rows are removed.
    pub interval: Duration,
}

/// Which settings a command requires beyond those that have a default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// None: it only opens the database.
    Database,
    /// All that `serve` requires.
    Serving,
}

/// Every wrong or missing setting.
#[derive(Debug, Error)]
pub struct ConfigError {
    /// One line for each; it begins with the name of the variable.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl Config {
    /// Reads the defaults, the file and the environment.
    ///
    /// # Errors
    /// The file can't be read, or any setting is wrong or missing.
    pub fn load(file: Option<&Path>, needs: Needs) -> Result<Self, ConfigError> {
        let overrides = match file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|error| ConfigError {
                problems: vec![format!("--config {}: {error}", path.display())],
            })?,
        };
        Self::from_parts(&overrides, |name| std::env::var(name).ok(), needs)
    }

    /// Reads the defaults and these variables, but not the environment.
    ///
    /// # Errors
    /// Any setting is wrong or missing.
    pub fn from_variables(variables: &BTreeMap<String, String>, needs: Needs) -> Result<Self, ConfigError> {
        Self::from_parts("", |name| variables.get(name).cloned(), needs)
    }

    fn from_parts(
        file: &str,
        variable: impl Fn(&str) -> Option<String>,
        needs: Needs,
    ) -> Result<Self, ConfigError> {
        let mut settings = Settings::new(DEFAULTS);
        settings.override_with_file(file);
        settings.override_with_variables(variable);
        match Self::read(&mut settings, needs) {
            Some(config) if settings.problems.is_empty() => Ok(config),
            _ => Err(ConfigError { problems: settings.problems }),
        }
    }
}
