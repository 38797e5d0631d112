//! The secrets of an app's own webhook: the present one, and those that were rotated out and are still taken. Sealed,
//! each column for its own place.

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::AppId};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::own_webhooks::OwnWebhook;
use crate::store::Webhooks;

/// A secret that was rotated out.
#[derive(Clone, Debug)]
pub struct RetiredSecret {
    /// The secret.
    pub secret: SecretString,
    /// Until when it is taken; `None` as long as Dialpad may not have heard of its successor.
    pub until: Option<DateTime<Utc>>,
}

/// How it is written before it is sealed.
#[derive(Deserialize, Serialize)]
struct Written {
    secret: String,
    until: Option<DateTime<Utc>>,
}

impl RetiredSecret {
    fn is_taken(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

fn place(app: AppId, column: &str) -> String {
    format!("dialpad_webhooks.{column}:{app}")
}

/// 256 random bits in hex.
pub(crate) fn fresh_secret() -> SecretString {
    let bits: [u8; 32] = rand::random();
    hex::encode(bits).into()
}

impl Webhooks<'_> {
    pub(crate) fn seal_secret(self, app: AppId, secret: &SecretString) -> Vec<u8> {
        self.store.shared.vault.seal(secret, &place(app, "secret"))
    }

    /// The old secrets in one; what is no longer taken is left out.
    pub(crate) fn seal_retired(self, app: AppId, webhook: &OwnWebhook, now: DateTime<Utc>) -> Vec<u8> {
        let kept = webhook.retired.iter().filter(|retired| retired.is_taken(now));
        let written =
            kept.map(|it| Written { secret: it.secret.expose_secret().to_owned(), until: it.until });
        let text = serde_json::json!(written.collect::<Vec<_>>()).to_string();
        self.store.shared.vault.seal(&text.into(), &place(app, "retired_secrets"))
    }

    /// The secrets that webhooks of an app are taken with: the present one, and those that were rotated out a short
    /// while ago.
    pub(crate) fn accepted_secrets(
        self,
        app: AppId,
        present: Option<&[u8]>,
        retired: Option<&[u8]>,
    ) -> Result<Vec<SecretString>, StoreError> {
        let now = self.store.now();
        let present = present.map(|sealed| self.open_secret(app, sealed)).transpose()?;
        let retired = self.open_retired(app, retired)?.into_iter().filter(|retired| retired.is_taken(now));
        Ok(present.into_iter().chain(retired.map(|retired| retired.secret)).collect())
    }

    pub(crate) fn open_secret(self, app: AppId, sealed: &[u8]) -> Result<SecretString, StoreError> {
        self.store.shared.vault.open(sealed, &place(app, "secret")).map_err(|_| corrupt(app, "secret"))
    }

    pub(crate) fn open_retired(
        self,
        app: AppId,
        sealed: Option<&[u8]>,
    ) -> Result<Vec<RetiredSecret>, StoreError> {
        let Some(sealed) = sealed else { return Ok(Vec::new()) };
        let corrupt = || corrupt(app, "retired_secrets");
        let text =
            self.store.shared.vault.open(sealed, &place(app, "retired_secrets")).map_err(|_| corrupt())?;
        let written: Vec<Written> = serde_json::from_str(text.expose_secret()).map_err(|_| corrupt())?;
        Ok(written
            .into_iter()
            .map(|it| RetiredSecret { secret: it.secret.into(), until: it.until })
            .collect())
    }
}

fn corrupt(app: AppId, column: &'static str) -> StoreError {
    StoreError::Corrupt { table: "dialpad_webhooks", column, id: app.to_string() }
}
