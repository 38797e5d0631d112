//! The webhooks at Dialpad as administrators and CRMs see them: everything but their secrets.

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::AppId};
use uuid::Uuid;

use crate::store::{
    Webhooks,
    db::types::Id,
    on_db,
    views::listing::{Cursor, Page},
};

const LIST: &str = "SELECT id, app_id, hook_url, dialpad_webhook_id, call_subscription, sms_subscription,
    dialpad_org_id, verified_at, checked_at, problems, created_at FROM dialpad_webhooks
    WHERE removed_at IS NULL AND ($1 IS NULL OR app_id = $1)
    AND ($2 IS NULL OR created_at < $2 OR (created_at = $2 AND id < $3)) ORDER BY created_at DESC, id DESC LIMIT $4";
const BY_ID: &str = "SELECT id, app_id, hook_url, dialpad_webhook_id, call_subscription, sms_subscription,
    dialpad_org_id, verified_at, checked_at, problems, created_at FROM dialpad_webhooks WHERE removed_at IS NULL AND id = $1";
const BY_DIALPADS_ID: &str =
    "SELECT id, app_id, hook_url, dialpad_webhook_id, call_subscription, sms_subscription,
    dialpad_org_id, verified_at, checked_at, problems, created_at FROM dialpad_webhooks WHERE removed_at IS NULL AND dialpad_webhook_id = $1";
const SCOPES: &str = "SELECT scopes FROM dialpad_connections WHERE app_id = $1";

/// What a webhook goes by.
#[derive(Clone, Debug)]
pub enum WebhookName {
    /// Our id.
    Ours(Uuid),
    /// Dialpad's id.
    Dialpads(String),
}

/// How a webhook is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookState {
    /// Nobody has looked at Dialpad yet.
    Pending,
    /// Calls come as they should, as of the last look.
    Active,
    /// Something was in the way at the last look.
    Degraded,
}

impl WebhookState {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Degraded => "degraded",
        }
    }
}

/// An app's webhook at Dialpad.
#[derive(Clone, Debug)]
pub struct WebhookView {
    /// Our id.
    pub id: Uuid,
    /// Whose it is.
    pub app: AppId,
    /// Where Dialpad sends to.
    pub hook_url: String,
    /// Dialpad's id, once it has one.
    pub dialpad_webhook_id: Option<String>,
    /// Dialpad's id of the subscription to calls.
    pub call_subscription: Option<String>,
    /// Dialpad's id of the subscription to messages.
    pub sms_subscription: Option<String>,
    /// The organisation where it was made, where that is known.
    pub organization: Option<i64>,
    /// When calls were last known to come as they should.
    pub verified_at: Option<DateTime<Utc>>,
    /// When it was last looked at.
    pub checked_at: Option<DateTime<Utc>>,
    /// What stands in the way.
    pub problems: Vec<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl WebhookView {
    /// How it is.
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

#[derive(sqlx::FromRow)]
struct Row {
    id: Id,
    app_id: Id,
    hook_url: String,
    dialpad_webhook_id: Option<String>,
    call_subscription: Option<String>,
    sms_subscription: Option<String>,
    dialpad_org_id: Option<i64>,
    verified_at: Option<DateTime<Utc>>,
    checked_at: Option<DateTime<Utc>>,
    problems: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<Row> for WebhookView {
    fn from(row: Row) -> Self {
        // Written by us; what can't be read is still better shown than hidden.
        let problems = row
            .problems
            .map_or_else(Vec::new, |text| serde_json::from_str(&text).unwrap_or_else(|_| vec![text]));
        Self {
            id: row.id.0,
            app: row.app_id.into(),
            hook_url: row.hook_url,
            dialpad_webhook_id: row.dialpad_webhook_id,
            call_subscription: row.call_subscription,
            sms_subscription: row.sms_subscription,
            organization: row.dialpad_org_id,
            verified_at: row.verified_at,
            checked_at: row.checked_at,
            problems,
            created_at: row.created_at,
        }
    }
}

impl Webhooks<'_> {
    /// The webhooks, newest first: of one app, which has one at most, or of all.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn list(
        self,
        app: Option<AppId>,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<WebhookView>, StoreError> {
        let (app, at) = (app.map(Id::from), cursor.map(|cursor| cursor.at));
        let id = Id(cursor.map_or(Uuid::nil(), |cursor| cursor.id));
        let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let rows: Vec<Row> = on_db!(self.store, read db => {
            sqlx::query_as(LIST).bind(app).bind(at).bind(id).bind(one_more).fetch_all(db).await
        })?;
        let views = rows.into_iter().map(WebhookView::from).collect();
        Ok(Page::of(views, limit, |view| Cursor { at: view.created_at, id: view.id }))
    }

    /// The webhook of an app.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn of_app(self, app: AppId) -> Result<Option<WebhookView>, StoreError> {
        Ok(self.list(Some(app), None, 1).await?.items.pop())
    }

    /// The webhook with this name.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn find(self, name: &WebhookName) -> Result<Option<WebhookView>, StoreError> {
        let row: Option<Row> = match name {
            WebhookName::Ours(id) => {
                on_db!(self.store, read db => sqlx::query_as(BY_ID).bind(Id(*id)).fetch_optional(db).await)?
            }
            WebhookName::Dialpads(id) => {
                on_db!(self.store, read db => sqlx::query_as(BY_DIALPADS_ID).bind(id).fetch_optional(db).await)?
            }
        };
        Ok(row.map(WebhookView::from))
    }

    /// The scopes of an app's connection, with spaces between; `None` for an app without one.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn granted_scopes(self, app: AppId) -> Result<Option<String>, StoreError> {
        let row: Option<(String,)> = on_db!(self.store, read db => sqlx::query_as(SCOPES).bind(Id::from(app)).fetch_optional(db).await)?;
        Ok(row.map(|(scopes,)| scopes))
    }
}
