//! Text messages, as a CRM reads them. The engine writes them ([`crate::store::ledger`]).

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    event::schema::DialpadId,
    id::AppId,
    model::{call::Direction, message::to_numbers},
};
use serde::Serialize;
use serde_json::Value;
use sqlx::QueryBuilder;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    listing::{Audit, Cursor, Filter, ItemRef, Page, Paged},
    plan::{Listed, PageQuery, Part},
};
use crate::store::{
    Messages,
    db::types::{Id, JsonText, NumberOrText, OptWord},
    on_db,
};

const SELECT: &str =
    "SELECT m.id, m.app_id, m.dialpad_message_id, m.direction, m.from_number, m.to_number, m.from_e164, m.to_e164,
    m.text, m.mms_url, CAST(m.media_urls AS TEXT) AS media_urls, m.message_status, m.message_delivery_result, m.dialpad_user_id, u.crm_user_id, m.sent_at, m.created_at, m.updated_at
    FROM messages m
    LEFT JOIN dialpad_user_mappings u ON u.app_id = m.app_id AND u.dialpad_user_id = m.dialpad_user_id
    WHERE m.app_id = ";

/// A text message.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
#[schema(as = Message)]
pub struct MessageView {
    /// The server's id.
    #[sqlx(try_from = "Id")]
    pub id: Uuid,
    /// The same id, under the name that events use.
    #[sqlx(rename = "id", try_from = "Id")]
    pub message_id: Uuid,
    /// Dialpad's id.
    #[sqlx(try_from = "NumberOrText")]
    #[schema(value_type = DialpadId)]
    pub dialpad_message_id: Value,
    /// The app.
    #[sqlx(try_from = "Id")]
    pub app_id: Uuid,
    /// `inbound` or `outbound`; null where no webhook said.
    #[sqlx(try_from = "OptWord<Direction>")]
    pub direction: Option<Direction>,
    /// The sender's number.
    pub from_number: Option<String>,
    /// The recipient's number; several are separated by commas.
    pub to_number: Option<String>,
    /// The recipients' numbers, one by one.
    #[sqlx(rename = "to_number", try_from = "Numbers")]
    pub to_numbers: Vec<String>,
    /// The sender's number in E.164 form; null if it is no phone number.
    pub from_e164: Option<String>,
    /// The recipients' numbers in E.164 form, separated by commas; null if none is a phone number.
    pub to_e164: Option<String>,
    /// The text.
    pub text: Option<String>,
    /// Where the attached picture or file is.
    pub mms_url: Option<String>,
    /// Where all attached pictures and files are.
    #[sqlx(try_from = "JsonText")]
    pub media_urls: Vec<String>,
    /// The state of delivery, in Dialpad's words.
    pub message_status: Option<String>,
    /// The result of the delivery, in Dialpad's words.
    pub message_delivery_result: Option<String>,
    /// The Dialpad user who sent or received it.
    #[schema(value_type = Option<DialpadId>)]
    pub dialpad_user_id: Option<i64>,
    /// The CRM's id of that user.
    pub crm_user_id: Option<String>,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
    /// When the server first heard of it.
    pub created_at: DateTime<Utc>,
    /// When anything here last changed.
    pub updated_at: DateTime<Utc>,
}

/// Numbers with commas between them.
#[derive(sqlx::Type)]
#[sqlx(transparent, no_pg_array)]
struct Numbers(Option<String>);

impl From<Numbers> for Vec<String> {
    fn from(numbers: Numbers) -> Self {
        to_numbers(numbers.0.as_deref()).into_iter().map(str::to_owned).collect()
    }
}

impl Paged for MessageView {
    fn audit(&self) -> Audit {
        Audit { id: self.id, created_at: self.created_at, updated_at: self.updated_at }
    }
}

impl Messages<'_> {
    /// Returns a page of an app's messages.
    pub async fn list(
        self,
        app: AppId,
        filter: &Filter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<MessageView>, StoreError> {
        let Some(page) = self.page_query(app, filter, cursor, limit).await? else { return Ok(Page::empty()) };
        let plan = page.plan(self.store).await?;
        let messages = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            page.write(plan, &mut query);
            query.build_query_as().fetch_all(db).await
        })?;
        Ok(filter.page(messages, limit))
    }

    /// Returns how the database finds a page, in its own words.
    pub async fn explain(
        self,
        app: AppId,
        filter: &Filter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        match self.page_query(app, filter, cursor, limit).await? {
            Some(page) => page.explain(self.store, SELECT).await,
            None => Ok(Vec::new()),
        }
    }

    /// Returns the query of a page; `None` where the filter names a user that nobody is.
    async fn page_query<'f>(
        self,
        app: AppId,
        filter: &'f Filter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Option<PageQuery<'f>>, StoreError> {
        let all = Part { condition: String::new(), is_indexed: true, changed: "updated_at" };
        let listed = Listed {
            table: "messages",
            alias: "m",
            parts: vec![all],
            is_narrowed: false,
            has_recipients: true,
            also: None,
        };
        PageQuery::new(self.store, app, filter, listed, cursor, limit).await
    }

    /// Returns one message.
    pub async fn find(self, app: AppId, message: &ItemRef) -> Result<Option<MessageView>, StoreError> {
        on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            query.push_bind(Id::from(app));
            message.write(&mut query, "m.id", "m.dialpad_message_id");
            query.push(" ORDER BY m.id DESC LIMIT 1");
            query.build_query_as().fetch_optional(db).await
        })
    }
}
