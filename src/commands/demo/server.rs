//! The server of the demo: started in this process through the library, and used over HTTP only.

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
    pub(super) database: &'a Path,
    pub(super) port: u16,
    pub(super) internal_secret: &'a str,
    pub(super) dialpad_url: &'a str,
    pub(super) client_id: &'a str,
    pub(super) client_secret: &'a str,
}

/// A running server.
pub(super) struct Server(Application);

impl Server {
    pub(super) async fn start(settings: ServerSettings<'_>) -> Result<Self, SetupError> {
        let log_filter = std::env::var("RUST_LOG").unwrap_or_else(|_| LOG_FILTER.to_owned());
        log::start(&log_filter, LogFormat::Text)
            .map_err(|error| SetupError::Server(format!("RUST_LOG: {error}").into()))?;
        let Some(database) = settings.database.to_str() else {
            return Err(SetupError::Server("the folder's name is not Unicode".into()));
        };
        // The environment's own settings are ignored: a demo must not use a real database or a real Dialpad.
        let variables = BTreeMap::from(
            [
                ("HOST", "127.0.0.1".to_owned()),
                ("PORT", settings.port.to_string()),
                ("CTI_ENV", "sandbox".to_owned()),
                ("DATABASE_URL", format!("sqlite://{database}")),
                ("INTERNAL_API_SECRET", settings.internal_secret.to_owned()),
                ("DIALPAD_WEBHOOK_SECRET", hex::encode(rand::random::<[u8; 32]>())),
                ("DIALPAD_SANDBOX_BASE_URL", settings.dialpad_url.to_owned()),
                ("DIALPAD_SANDBOX_CLIENT_ID", settings.client_id.to_owned()),
                ("DIALPAD_SANDBOX_CLIENT_SECRET", settings.client_secret.to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
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
