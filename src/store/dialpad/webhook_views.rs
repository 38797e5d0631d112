//! The webhooks at Dialpad, as administrators and CRMs see them: everything but their secrets.

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::AppId};
use strum::IntoStaticStr;
use uuid::Uuid;

use crate::store::{
    Webhooks,
    db::types::Id,
    on_db,
    views::listing::{Cursor, Page},
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, app_id, hook_url, dialpad_webhook_id, call_subscription, sms_subscription, dialpad_org_id,
            verified_at, checked_at, problems, created_at FROM dialpad_webhooks WHERE removed_at IS NULL AND ",
            $rest
        )
    };
}

const LIST: &str = select!(
    "($1 IS NULL OR app_id = $1)
    AND ($2 IS NULL OR created_at < $2 OR (created_at = $2 AND id < $3)) ORDER BY created_at DESC, id DESC LIMIT $4"
);
const BY_ID: &str = select!("id = $1");
const BY_DIALPADS_ID: &str = select!("dialpad_webhook_id = $1");
const SCOPES: &str = "SELECT scopes FROM dialpad_connections WHERE app_id = $1";

/// What a URL calls a webhook.
#[derive(Clone, Debug)]
pub enum WebhookRef {
    /// The server's id.
    Ours(Uuid),
    /// Dialpad's id.
    Dialpads(String),
}

/// The state of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum WebhookState {
    /// It was not checked yet.
    Pending,
    /// Calls are delivered, as of the last check.
    Active,
    /// The last check could not confirm that calls are delivered.
    Degraded,
}

impl WebhookState {
    /// Returns the word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// An app's webhook at Dialpad.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct WebhookView {
    /// The server's id.
    #[sqlx(try_from = "Id")]
    pub id: Uuid,
    /// The app.
    #[sqlx(rename = "app_id", try_from = "Id")]
    pub app: AppId,
    /// The address that Dialpad delivers to.
    pub hook_url: String,
    /// Dialpad's id, once it has one.
    pub dialpad_webhook_id: Option<String>,
    /// Dialpad's id of the subscription to calls.
    pub call_subscription: Option<String>,
    /// Dialpad's id of the subscription to messages.
    pub sms_subscription: Option<String>,
    /// The organization in which it was created, where that is known.
    #[sqlx(rename = "dialpad_org_id")]
    pub organization: Option<i64>,
    /// When calls were last known to be delivered.
    pub verified_at: Option<DateTime<Utc>>,
    /// When it was last checked.
    pub checked_at: Option<DateTime<Utc>>,
    /// What is wrong, in sentences.
    #[sqlx(try_from = "Problems")]
    pub problems: Vec<String>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

/// A JSON array of sentences.
#[derive(sqlx::Type)]
#[sqlx(transparent, no_pg_array)]
struct Problems(Option<String>);

impl From<Problems> for Vec<String> {
    fn from(problems: Problems) -> Self {
        let Some(text) = problems.0 else { return Vec::new() };
        // Text that can't be read is shown rather than hidden.
        serde_json::from_str(&text).unwrap_or_else(|_| vec![text])
    }
}

impl WebhookView {
    /// Derives the state from the last check.
    #[must_use]
    pub fn state(&self) -> WebhookState {
        match self.checked_at {
            None => WebhookState::Pending,
            Some(checked_at) if self.verified_at.is_some_and(|verified_at| verified_at >= checked_at) => {
                WebhookState::Active
            }
            Some(_) => WebhookState::Degraded,
        }
    }
}

impl Webhooks<'_> {
    /// Returns a page of the webhooks, newest first: of one app, which has at most one, or of all.
    pub async fn list(
        self,
        app: Option<AppId>,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<WebhookView>, StoreError> {
        let app = app.map(Id::from);
        let at = cursor.map(|cursor| cursor.at);
        let id = Id(cursor.map_or(Uuid::nil(), |cursor| cursor.id));
        let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let webhooks: Vec<WebhookView> = on_db!(self.store, read db => {
            sqlx::query_as(LIST).bind(app).bind(at).bind(id).bind(one_more).fetch_all(db).await
        })?;
        Ok(Page::of(webhooks, limit, |view| Cursor { at: view.created_at, id: view.id }))
    }

    /// Returns the webhook of an app.
    pub async fn of_app(self, app: AppId) -> Result<Option<WebhookView>, StoreError> {
        Ok(self.list(Some(app), None, 1).await?.items.pop())
    }

    /// Returns one webhook.
    pub async fn find(self, webhook: &WebhookRef) -> Result<Option<WebhookView>, StoreError> {
        match webhook {
            WebhookRef::Ours(id) => {
                on_db!(self.store, read db => sqlx::query_as(BY_ID).bind(Id(*id)).fetch_optional(db).await)
            }
            WebhookRef::Dialpads(id) => {
                on_db!(self.store, read db => sqlx::query_as(BY_DIALPADS_ID).bind(id).fetch_optional(db).await)
            }
        }
    }

    /// Returns the scopes of an app's connection, separated by spaces; `None` for an app without one.
    pub async fn granted_scopes(self, app: AppId) -> Result<Option<String>, StoreError> {
        on_db!(self.store, read db => sqlx::query_scalar(SCOPES).bind(Id::from(app)).fetch_optional(db).await)
    }
}
