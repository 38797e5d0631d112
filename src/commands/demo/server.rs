//! The server under demonstration: started in this process through the library, reached over HTTP only.

use std::collections::BTreeMap;
use std::path::Path;

use super::stage::StageError;
use crate::config::{Config, LogFormat, Needs};
use crate::startup::Application;
use crate::telemetry::log;

/// What the server may say between the events. That its tokens are sealed with a key file is no news to a demo.
const LOG_FILTER: &str = "warn,cti_server::startup=error";

/// What a demo decides about its server; all else is as by default.
pub(super) struct Wishes<'a> {
    pub(super) database: &'a Path,
    pub(super) port: u16,
    pub(super) internal_secret: &'a str,
    pub(super) dialpad_url: &'a str,
    pub(super) client_id: &'a str,
    pub(super) client_secret: &'a str,
}

/// A server that runs.
pub(super) struct Server(Application);

impl Server {
    pub(super) async fn start(wishes: Wishes<'_>) -> Result<Self, StageError> {
        let log_filter = std::env::var("RUST_LOG").unwrap_or_else(|_| LOG_FILTER.to_owned());
        log::start(&log_filter, LogFormat::Text)
            .map_err(|error| StageError::Server(format!("RUST_LOG: {error}").into()))?;
        let Some(database) = wishes.database.to_str() else {
            return Err(StageError::Server("the folder's name is not Unicode".into()));
        };
        // The environment's own settings stay outside: a demo must not touch a real database or a real Dialpad.
        let variables = BTreeMap::from(
            [
                ("HOST", "127.0.0.1".to_owned()),
                ("PORT", wishes.port.to_string()),
                ("CTI_ENV", "sandbox".to_owned()),
                ("DATABASE_URL", format!("sqlite://{database}")),
                ("INTERNAL_API_SECRET", wishes.internal_secret.to_owned()),
                ("DIALPAD_WEBHOOK_SECRET", hex::encode(rand::random::<[u8; 32]>())),
                ("DIALPAD_SANDBOX_BASE_URL", wishes.dialpad_url.to_owned()),
                ("DIALPAD_SANDBOX_CLIENT_ID", wishes.client_id.to_owned()),
                ("DIALPAD_SANDBOX_CLIENT_SECRET", wishes.client_secret.to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let config = Config::from_variables(&variables, Needs::Serving)
            .map_err(|error| StageError::Server(Box::new(error)))?;
        let application =
            Application::start(config).await.map_err(|error| StageError::Server(Box::new(error)))?;
        Ok(Self(application))
    }

    pub(super) fn base_url(&self) -> String {
        self.0.base_url()
    }

    pub(super) async fn stop(self) {
        self.0.stop().await;
    }
}
