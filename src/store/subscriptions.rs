//! The webhook that the server has registered at Dialpad for an app, with the app's own secret.

use cti_actors::{error::StoreError, id::AppId};
use secrecy::SecretString;
use uuid::Uuid;

use super::{Store, on_db, types::Id};

const PREPARE: &str = "INSERT INTO dialpad_webhooks (id, app_id, hook_url, secret, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (app_id) DO NOTHING";
const GET: &str = "SELECT hook_url, secret, dialpad_webhook_id, call_subscription, sms_subscription
    FROM dialpad_webhooks WHERE app_id = $1";
const CONFIRM: &str =
    "UPDATE dialpad_webhooks SET hook_url = $2, dialpad_webhook_id = $3, call_subscription = $4,
    sms_subscription = $5, updated_at = $6 WHERE app_id = $1";

/// An app's webhook at Dialpad, as far as it has come.
#[derive(Clone, Debug)]
pub struct OwnWebhook {
    /// Where Dialpad sends to.
    pub hook_url: String,
    /// What it signs with.
    pub secret: SecretString,
    /// Dialpad's name of the webhook.
    pub dialpad_webhook_id: Option<String>,
    /// Dialpad's name of the subscription to calls.
    pub call_subscription: Option<String>,
    /// Dialpad's name of the subscription to messages.
    pub sms_subscription: Option<String>,
}

fn place(app: AppId) -> String {
    format!("dialpad_webhooks.secret:{app}")
}

type WebhookRow = (String, Vec<u8>, Option<String>, Option<String>, Option<String>);

impl Store {
    /// The app's webhook. Where there is none, one is prepared with a fresh secret: it must be known here before
    /// Dialpad signs anything with it.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn prepare_webhook(&self, app: AppId, hook_url: &str) -> Result<OwnWebhook, StoreError> {
        let bits: [u8; 32] = rand::random();
        let sealed = self.shared.vault.seal(&hex::encode(bits).into(), &place(app));
        let (id, now) = (Id(Uuid::now_v7()), self.now());
        on_db!(self, write db => {
            sqlx::query(PREPARE).bind(id).bind(Id::from(app)).bind(hook_url).bind(&sealed).bind(now)
                .execute(db).await.map(|_| ())
        })?;
        self.shared.routes.forget_all();
        let row: WebhookRow =
            on_db!(self, read db => sqlx::query_as(GET).bind(Id::from(app)).fetch_one(db).await)?;
        let (hook_url, sealed, dialpad_webhook_id, call_subscription, sms_subscription) = row;
        let secret = self.open_webhook_secret(app, &sealed)?;
        Ok(OwnWebhook { hook_url, secret, dialpad_webhook_id, call_subscription, sms_subscription })
    }

    /// Notes what Dialpad has confirmed.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn confirm_webhook(&self, app: AppId, webhook: &OwnWebhook) -> Result<(), StoreError> {
        let now = self.now();
        let confirmed = on_db!(self, write db => {
            sqlx::query(CONFIRM).bind(Id::from(app)).bind(&webhook.hook_url).bind(&webhook.dialpad_webhook_id)
                .bind(&webhook.call_subscription).bind(&webhook.sms_subscription).bind(now)
                .execute(db).await.map(|_| ())
        });
        self.shared.routes.forget_all();
        confirmed
    }

    pub(super) fn open_webhook_secret(&self, app: AppId, sealed: &[u8]) -> Result<SecretString, StoreError> {
        self.shared.vault.open(sealed, &place(app)).map_err(|_| StoreError::Corrupt {
            table: "dialpad_webhooks",
            column: "secret",
            id: app.to_string(),
        })
    }
}
