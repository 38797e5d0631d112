//! The secrets of an app's own webhook: the present one, and retired ones that are still accepted. Each column is
//! sealed for its own place.

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::AppId};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::own_webhooks::OwnWebhook;
use crate::store::Webhooks;

/// A secret that was replaced by a rotation.
#[derive(Clone, Debug)]
pub struct RetiredSecret {
    /// The secret.
    pub secret: SecretString,
    /// Until when it is accepted; `None` while Dialpad may not have been given its successor.
    pub until: Option<DateTime<Utc>>,
}

/// A retired secret as JSON, before it is sealed.
#[derive(Deserialize, Serialize)]
struct RetiredJson {
    secret: String,
    until: Option<DateTime<Utc>>,
}

impl RetiredSecret {
    fn is_accepted(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

fn place(app: AppId, column: &str) -> String {
    format!("dialpad_webhooks.{column}:{app}")
}

/// Generates 256 random bits in hex.
pub(crate) fn generate_secret() -> SecretString {
    let bits: [u8; 32] = rand::random();
    hex::encode(bits).into()
}

impl Webhooks<'_> {
    pub(crate) fn seal_secret(self, app: AppId, secret: &SecretString) -> Vec<u8> {
        self.store.shared.vault.seal(secret, &place(app, "secret"))
    }

    /// Seals the retired secrets together. Expired ones are left out.
    pub(crate) fn seal_retired(self, app: AppId, webhook: &OwnWebhook, now: DateTime<Utc>) -> Vec<u8> {
        let kept = webhook.retired.iter().filter(|retired| retired.is_accepted(now));
        let json = kept.map(|retired| RetiredJson {
            secret: retired.secret.expose_secret().to_owned(),
            until: retired.until,
        });
        let text = serde_json::json!(json.collect::<Vec<_>>()).to_string();
        self.store.shared.vault.seal(&text.into(), &place(app, "retired_secrets"))
    }

    /// Returns the secrets that an app's webhooks may be signed with: the present one, and retired ones that have not
    /// expired.
    pub(crate) fn accepted_secrets(
        self,
        app: AppId,
        present: Option<&[u8]>,
        retired: Option<&[u8]>,
    ) -> Result<Vec<SecretString>, StoreError> {
        let now = self.store.now();
        let present = present.map(|sealed| self.open_secret(app, sealed)).transpose()?;
        let retired = self.open_retired(app, retired)?.into_iter().filter(|retired| retired.is_accepted(now));
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
        let retired: Vec<RetiredJson> = serde_json::from_str(text.expose_secret()).map_err(|_| corrupt())?;
        Ok(retired
            .into_iter()
            .map(|retired| RetiredSecret { secret: retired.secret.into(), until: retired.until })
            .collect())
    }
}

fn corrupt(app: AppId, column: &'static str) -> StoreError {
    StoreError::Corrupt { table: "dialpad_webhooks", column, id: app.to_string() }
}
