//! The server of the demo: started in this process through the library, and used over HTTP only. Several servers are
//! processes of their own: see `cluster.rs`.

use std::collections::BTreeMap;
use std::path::Path;

use super::setup::SetupError;
use crate::config::{Config, LogFormat, Needs};
use crate::startup::Application;
use crate::telemetry::log;

/// The server's log filter. The warning about a key file is left out.
const LOG_FILTER: &str = "warn,cti_server::startup=error";

/// The settings that the demo changes; all others have their defaults.
pub(super) struct ServerSettings<'a> {
    /// The folder of everything that the servers write.
    pub(super) folder: &'a Path,
    pub(super) database: &'a Path,
    pub(super) port: u16,
    pub(super) internal_secret: &'a str,
    pub(super) webhook_secret: &'a str,
    /// Used by several servers; one has a key file beside its database.
    pub(super) encryption_key: &'a str,
    pub(super) dialpad_url: &'a str,
    pub(super) client_id: &'a str,
    pub(super) client_secret: &'a str,
}

impl ServerSettings<'_> {
    /// Returns the variables of a server. The environment's own settings are ignored: a demo must not use a real database
    /// or a real Dialpad.
    pub(super) fn variables<const N: usize>(&self, own: [(&str, String); N]) -> BTreeMap<String, String> {
        let shared = [
            ("HOST", "127.0.0.1".to_owned()),
            ("CTI_ENV", "sandbox".to_owned()),
            ("INTERNAL_API_SECRET", self.internal_secret.to_owned()),
            ("DIALPAD_WEBHOOK_SECRET", self.webhook_secret.to_owned()),
            ("DIALPAD_SANDBOX_BASE_URL", self.dialpad_url.to_owned()),
            ("DIALPAD_SANDBOX_CLIENT_ID", self.client_id.to_owned()),
            ("DIALPAD_SANDBOX_CLIENT_SECRET", self.client_secret.to_owned()),
        ];
        shared.into_iter().chain(own).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// A running server.
pub(super) struct Server(Application);

impl Server {
    pub(super) async fn start(settings: &ServerSettings<'_>) -> Result<Self, SetupError> {
        let log_filter = std::env::var("RUST_LOG").unwrap_or_else(|_| LOG_FILTER.to_owned());
        log::start(&log_filter, LogFormat::Text)
            .map_err(|error| SetupError::Server(format!("RUST_LOG: {error}").into()))?;
        let Some(database) = settings.database.to_str() else {
            return Err(SetupError::Server("the folder's name is not Unicode".into()));
        };
        let variables = settings.variables([
            ("PORT", settings.port.to_string()),
            ("DATABASE_URL", format!("sqlite://{database}")),
        ]);
        let config = Config::from_variables(&variables, Needs::Serving)
            .map_err(|error| SetupError::Server(Box::new(error)))?;
        let application =
            Application::start(config).await.map_err(|error| SetupError::Server(Box::new(error)))?;
        Ok(Self(application))
    }

    pub(super) fn base_url(&self) -> String {
        self.0.base_url()
    }

    pub(super) fn create_sign_in_address(&self) -> String {
        self.0.create_sign_in_address()
    }

    pub(super) async fn stop(self) {
        self.0.stop().await;
    }
}
