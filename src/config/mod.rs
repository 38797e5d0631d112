//! Settings: `config/default.toml`, a file laid over it, and the environment before both.
//!
//! A setting is named once, in the default file; its environment variable is that name in capitals. To add one:
//! write it there with a comment, and read it in [`Config::read`].

mod dialpad;
mod limits;
mod repair;
mod settings;

use std::{collections::BTreeMap, fmt, net::IpAddr, path::Path, time::Duration};

use reqwest::Url;
use secrecy::SecretString;
use thiserror::Error;

use self::settings::Settings;
pub use self::{
    dialpad::{DialpadConfig, OauthClient},
    limits::RateLimits,
    repair::RepairConfig,
};
use crate::{database_url::DatabaseUrl, encryption_keys::EncryptionKeys};

const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Which Dialpad is meant, and whether https is insisted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// For trying things out.
    Sandbox,
    /// For real calls.
    Production,
}

impl Environment {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Production => "production",
        }
    }
}

/// How the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Everything that can be set, understood. Prints without secrets.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on.
    pub host: String,
    /// The port to listen on; 0 is any free one.
    pub port: u16,
    /// How the outside reaches us; `None`: at the address that is listened on.
    pub public_url: Option<Url>,
    /// Which Dialpad is meant.
    pub environment: Environment,
    /// How many threads serve HTTP.
    pub http_workers: usize,
    /// The database.
    pub database_url: DatabaseUrl,
    /// Whether pending migrations are applied at the start.
    pub auto_migrate: bool,
    /// The bearers of `/internal`.
    pub internal_secrets: Vec<SecretString>,
    /// What webhooks are signed with.
    pub webhook_secrets: Vec<SecretString>,
    /// What stored tokens are sealed with; `None`: a key beside the SQLite file.
    pub token_encryption_keys: Option<EncryptionKeys>,
    /// The bearer of `/metrics`.
    pub metrics_token: Option<SecretString>,
    /// Dialpad.
    pub dialpad: DialpadConfig,
    /// The header with the HMAC of a webhook.
    pub signature_header: String,
    /// Whether the server subscribes by itself.
    pub auto_subscribe: bool,
    /// How often it is seen whether what was subscribed to still stands.
    pub subscription_check_interval: Duration,
    /// How long things are kept.
    pub retention: Retention,
    /// How often strangers may guess.
    pub rate_limits: RateLimits,
    /// When to look for what did not come by itself.
    pub repair: RepairConfig,
    /// How many sessions an app may have.
    pub max_sessions_per_app: usize,
    /// How long a session may take nothing of what it is given.
    pub stuck_session_timeout: Duration,
    /// What to log.
    pub log_filter: String,
    /// How the log looks.
    pub log_format: LogFormat,
}

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// What was told.
    pub events: Duration,
    /// Webhooks that are dealt with.
    pub journal: Duration,
    /// Webhooks that wait for somebody.
    pub unrouted: Duration,
    /// How often what is older is removed.
    pub interval: Duration,
}

/// What a command needs beyond the settings' own defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Only the database.
    Database,
    /// Everything that serving takes.
    Serving,
}

/// Everything that is wrong with the settings, a line each.
#[derive(Debug, Error)]
pub struct ConfigError {
    /// The lines; each begins with the name of its variable.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl Config {
    /// Reads the settings as the command line and the environment give them.
    ///
    /// # Errors
    /// Names everything that is wrong.
    pub fn load(file: Option<&Path>, needs: Needs) -> Result<Self, ConfigError> {
        let overlay = match file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|error| ConfigError {
                problems: vec![format!("--config {}: {error}", path.display())],
            })?,
        };
        Self::from_parts(&overlay, |name| std::env::var(name).ok(), needs)
    }

    /// Reads the defaults with these variables over them, and nothing else.
    ///
    /// # Errors
    /// Names everything that is wrong.
    pub fn from_variables(variables: &BTreeMap<String, String>, needs: Needs) -> Result<Self, ConfigError> {
        Self::from_parts("", |name| variables.get(name).cloned(), needs)
    }

    fn from_parts(
        overlay: &str,
        variable: impl Fn(&str) -> Option<String>,
        needs: Needs,
    ) -> Result<Self, ConfigError> {
        let mut settings = Settings::default();
        settings.lay_over(DEFAULTS, "config/default.toml");
        settings.known = settings.values.keys().cloned().collect();
        settings.lay_over(overlay, "--config");
        for name in settings.known.clone() {
            if let Some(value) = variable(&name.to_ascii_uppercase()) {
                settings.values.insert(name, value);
            }
        }
        let config = Self::read(&mut settings, needs);
        match config {
            Some(config) if settings.problems.is_empty() => Ok(config),
            _ => Err(ConfigError { problems: settings.problems }),
        }
    }

    fn read(settings: &mut Settings, needs: Needs) -> Option<Self> {
        let environment = settings.parse("cti_env", |text| match text {
            "sandbox" => Ok(Environment::Sandbox),
            "production" => Ok(Environment::Production),
            _ => Err("must be sandbox or production".into()),
        });
        let production = environment == Some(Environment::Production);
        let log_format = settings.parse("log_format", |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("must be text or json".into()),
        });
        let host = settings.parse("host", |text| match is_host(text) {
            true => Ok(text.to_owned()),
            false => Err("must be an IP address or the name of a host".into()),
        });
        let port = settings.number("port", 0, u16::MAX.into());
        let http_workers = settings.number("http_workers", 0, 1024);
        let max_sessions_per_app = settings.number("ws_max_sessions_per_app", 1, 10_000_000);
        let stuck_session_timeout = settings.duration("ws_stuck_after");
        let public_url = settings.url("public_url", production);
        if needs == Needs::Serving
            && production
            && public_url.is_none()
            && !settings.has_problem("public_url")
        {
            settings.complain("public_url", "is required in production, and must be https");
        }
        let (events, journal) =
            (settings.duration("retention_events"), settings.duration("retention_journal"));
        let unrouted = settings.duration("retention_unrouted");
        let interval = settings.duration("retention_interval");
        let repair = RepairConfig::read(settings);
        let database_url = settings
            .parse("database_url", |text| text.parse::<DatabaseUrl>().map_err(|error| error.to_string()));
        let auto_migrate = settings.switch("auto_migrate");
        let auto_subscribe = settings.switch("auto_subscribe");
        let subscription_check_interval = settings.duration("subscription_check_interval");
        let token_encryption_keys = settings.secret("token_encryption_key").and_then(|keys| {
            settings.parse("token_encryption_key", |_| {
                EncryptionKeys::parse(&keys).map_err(|error| error.to_string())
            })
        });
        let (internal_secrets, webhook_secrets) =
            (settings.secrets("internal_api_secret"), settings.secrets("dialpad_webhook_secret"));
        if needs == Needs::Serving {
            for (name, missing) in [
                ("internal_api_secret", internal_secrets.is_empty()),
                ("dialpad_webhook_secret", webhook_secrets.is_empty()),
                ("token_encryption_key", production && token_encryption_keys.is_none()),
            ] {
                if missing && !settings.has_problem(name) {
                    settings.complain(name, "is required");
                }
            }
        }
        let dialpad = DialpadConfig::read(settings, production);
        let rate_limits = RateLimits::read(settings);
        let signature_header = settings.parse("dialpad_webhook_signature_header", |text| {
            let name = text.to_ascii_lowercase();
            match actix_web::http::header::HeaderName::from_bytes(name.as_bytes()) {
                Ok(_) => Ok(name),
                Err(_) => Err("must be the name of a header".into()),
            }
        });
        let log_filter = settings.parse("rust_log", |text| {
            let filter = tracing_subscriber::EnvFilter::try_new(text);
            filter.map(|_| text.to_owned()).map_err(|error| error.to_string())
        });
        Some(Self {
            host: host?,
            port: u16::try_from(port?).ok()?,
            public_url,
            environment: environment?,
            http_workers: usize::try_from(http_workers?).ok()?,
            database_url: database_url?,
            auto_migrate: auto_migrate?,
            internal_secrets,
            webhook_secrets,
            token_encryption_keys,
            metrics_token: settings.secret("metrics_token"),
            dialpad: dialpad?,
            signature_header: signature_header?,
            auto_subscribe: auto_subscribe?,
            subscription_check_interval: subscription_check_interval?,
            retention: Retention {
                events: events?,
                journal: journal?,
                unrouted: unrouted?,
                interval: interval?,
            },
            rate_limits: rate_limits?,
            repair: repair?,
            max_sessions_per_app: usize::try_from(max_sessions_per_app?).ok()?,
            stuck_session_timeout: stuck_session_timeout?,
            log_filter: log_filter?,
            log_format: log_format?,
        })
    }
}

/// Whether this can be listened on: an IP address, or a name that can't be taken for one. Whether somebody has that
/// name is asked when it is listened on.
fn is_host(text: &str) -> bool {
    if text.parse::<IpAddr>().is_ok() {
        return true;
    }
    let of_a_name = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let last_label = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    text.chars().all(of_a_name) && last_label.contains(|character: char| !character.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn read(overlay: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        Config::from_parts(
            overlay,
            |name| variables.get(name).map(|value| (*value).to_owned()),
            Needs::Serving,
        )
    }

    const NEEDED: [(&str, &str); 2] = [("INTERNAL_API_SECRET", "a"), ("DIALPAD_WEBHOOK_SECRET", "b, c\n")];

    #[test]
    fn the_defaults_need_two_secrets_and_nothing_else() {
        let config = read("", &NEEDED).expect("a good configuration");
        assert_eq!((config.port, config.environment), (4000, Environment::Sandbox));
        let secrets: Vec<_> = config.webhook_secrets.iter().map(ExposeSecret::expose_secret).collect();
        assert_eq!(secrets, ["b", "c"]);
    }

    #[test]
    fn the_environment_goes_before_the_file_and_the_file_before_the_defaults() {
        let config =
            read("port = 1\nhost = \"::1\"", &[&NEEDED[..], &[("PORT", "2")]].concat()).expect("good");
        assert_eq!((config.port, config.host.as_str()), (2, "::1"));
    }

    #[test]
    fn every_wrong_setting_is_named_by_its_variable() {
        let error =
            read("nonsense = 1", &[("PORT", "x"), ("CTI_ENV", "staging"), ("DATABASE_URL", "mysql://")])
                .expect_err("a bad configuration");
        for name in [
            "nonsense",
            "PORT:",
            "CTI_ENV:",
            "DATABASE_URL:",
            "INTERNAL_API_SECRET:",
            "DIALPAD_WEBHOOK_SECRET:",
        ] {
            assert_eq!(
                error.problems.iter().filter(|line| line.contains(name)).count(),
                1,
                "{name} in {error}"
            );
        }
    }

    #[test]
    fn production_insists_on_https_and_a_key() {
        let error =
            read("cti_env = \"production\"", &[&NEEDED[..], &[("PUBLIC_URL", "http://x.example")]].concat())
                .expect_err("a bad configuration");
        assert!(error.problems.iter().any(|line| line.starts_with("PUBLIC_URL:")), "{error}");
        assert!(error.problems.iter().any(|line| line.starts_with("TOKEN_ENCRYPTION_KEY:")), "{error}");
    }

    #[test]
    fn a_redirect_uri_without_a_path_gets_callback() {
        let given = [&NEEDED[..], &[("DIALPAD_SANDBOX_REDIRECT_URI", "https://cti.example")]].concat();
        let config = read("", &given).expect("good");
        assert_eq!(
            config.dialpad.redirect_uri.map(String::from).as_deref(),
            Some("https://cti.example/callback")
        );
    }

    #[test]
    fn secrets_are_never_printed() {
        let config = read("", &NEEDED).expect("good");
        assert!(!format!("{config:?}").contains("\"a\""));
    }
}
