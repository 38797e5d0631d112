//! Text messages as a CRM asks for them. The engine writes them ([`crate::store::ledger`]).

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    event::number_or_text,
    event::schema::DialpadId,
    id::AppId,
    model::{call::Direction, message::to_numbers},
};
use serde::Serialize;
use sqlx::QueryBuilder;
use utoipa::ToSchema;
use uuid::Uuid;

use super::listing::{Cursor, Filter, ItemName, Listed, Page};
use crate::store::{Messages, db::types::Id, on_db};

const SELECT: &str =
    "SELECT m.id, m.app_id, m.dialpad_message_id, m.direction, m.from_number, m.to_number, m.text,
    m.mms_url, m.message_status, m.dialpad_user_id, u.crm_user_id, m.sent_at, m.created_at, m.updated_at
    FROM messages m
    LEFT JOIN dialpad_user_mappings u ON u.app_id = m.app_id AND u.dialpad_user_id = m.dialpad_user_id
    WHERE m.app_id = ";

/// A text message, as REST shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Message)]
pub struct MessageView {
    /// Our name of it.
    pub id: Uuid,
    /// The same, as the events call it.
    pub message_id: Uuid,
    /// Dialpad's name of it.
    #[schema(value_type = DialpadId)]
    pub dialpad_message_id: serde_json::Value,
    /// Whose it is.
    pub app_id: Uuid,
    /// `inbound` or `outbound`, once anybody said so.
    #[schema(value_type = Option<Direction>)]
    pub direction: Option<String>,
    /// Who wrote.
    pub from_number: Option<String>,
    /// Who was written to, comma-separated where there are several.
    pub to_number: Option<String>,
    /// The same, one by one.
    pub to_numbers: Vec<String>,
    /// The words.
    pub text: Option<String>,
    /// Where the picture or file is that came with it.
    pub mms_url: Option<String>,
    /// Where delivery stands, in Dialpad's words.
    pub message_status: Option<String>,
    /// The Dialpad user who wrote or was written to.
    #[schema(value_type = Option<DialpadId>)]
    pub dialpad_user_id: Option<i64>,
    /// The same person in the CRM.
    pub crm_user_id: Option<String>,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
    /// When it was first seen.
    pub created_at: DateTime<Utc>,
    /// When anything here last changed.
    pub updated_at: DateTime<Utc>,
}

impl Listed for MessageView {
    fn id(&self) -> Uuid {
        self.id
    }

    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn updated_at(&self) -> DateTime<Utc> {
        self.updated_at
    }
}

#[derive(sqlx::FromRow)]
struct MessageRow {
    id: Id,
    app_id: Id,
    dialpad_message_id: String,
    direction: Option<String>,
    from_number: Option<String>,
    to_number: Option<String>,
    text: Option<String>,
    mms_url: Option<String>,
    message_status: Option<String>,
    dialpad_user_id: Option<i64>,
    crm_user_id: Option<String>,
    sent_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<MessageRow> for MessageView {
    fn from(row: MessageRow) -> Self {
        let one_by_one = to_numbers(row.to_number.as_deref()).into_iter().map(str::to_owned).collect();
        Self {
            id: row.id.0,
            message_id: row.id.0,
            dialpad_message_id: number_or_text(&row.dialpad_message_id),
            app_id: row.app_id.0,
            direction: row.direction,
            from_number: row.from_number,
            to_number: row.to_number,
            to_numbers: one_by_one,
            text: row.text,
            mms_url: row.mms_url,
            message_status: row.message_status,
            dialpad_user_id: row.dialpad_user_id,
            crm_user_id: row.crm_user_id,
            sent_at: row.sent_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl Messages<'_> {
    /// A page of an app's messages.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn list(
        self,
        app: AppId,
        filter: &Filter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<MessageView>, StoreError> {
        let rows: Vec<MessageRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            query.push_bind(Id::from(app));
            filter.write(&mut query, "m", cursor, limit);
            query.build_query_as().fetch_all(db).await
        })?;
        Ok(filter.page(rows.into_iter().map(MessageView::from).collect(), limit))
    }

    /// One message.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn find(self, app: AppId, name: &ItemName) -> Result<Option<MessageView>, StoreError> {
        let row: Option<MessageRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            query.push_bind(Id::from(app));
            name.write(&mut query, "m.id", "m.dialpad_message_id");
            query.push(" ORDER BY m.id DESC LIMIT 1");
            query.build_query_as().fetch_optional(db).await
        })?;
        Ok(row.map(Into::into))
    }
}
