//! Voicemails, as a CRM reads them. The engine writes them ([`crate::store::ledger`]); only their deletion is here.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    event::schema::DialpadId,
    id::{AppId, DialpadCallId},
    model::call::{CallRecord, Direction},
    ports::Ledger,
    unit::Unit,
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
    Voicemails,
    db::types::{Id, NumberOrText, OptWord},
    on_db,
    people::shown_by_legs,
};

const SELECT: &str =
    "SELECT v.id, v.app_id, v.dialpad_voicemail_id, v.dialpad_call_id, v.direction, v.from_number,
    v.to_number, v.from_e164, v.to_e164, v.dialpad_user_id, u.crm_user_id, v.recording_url, v.transcript, v.duration_seconds, v.received_at,
    v.created_at, v.updated_at
    FROM voicemails v
    LEFT JOIN dialpad_user_mappings u ON u.app_id = v.app_id AND u.dialpad_user_id = v.dialpad_user_id
    WHERE v.deleted_at IS NULL AND v.app_id = ";
/// The empty row stays, so that a late webhook does not create the voicemail again.
const ERASE: &str = "UPDATE voicemails SET deleted_at = $3, updated_at = $3, dialpad_voicemail_id = NULL,
    dialpad_user_id = NULL, direction = NULL, from_number = NULL, to_number = NULL, from_e164 = NULL, to_e164 = NULL,
    recording_url = NULL,
    transcript = NULL, duration_seconds = NULL
    WHERE app_id = $1 AND id = $2 AND deleted_at IS NULL";

/// How often a deletion is tried when webhooks of the same call are written in between.
const MAX_ATTEMPTS: usize = 20;

/// A voicemail.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
#[schema(as = Voicemail)]
pub struct VoicemailView {
    /// The server's id.
    #[sqlx(try_from = "Id")]
    pub id: Uuid,
    /// The same id, under the name that events use.
    #[sqlx(rename = "id", try_from = "Id")]
    pub voicemail_id: Uuid,
    /// Dialpad's id.
    #[sqlx(try_from = "NumberOrText")]
    #[schema(value_type = Option<DialpadId>)]
    pub dialpad_voicemail_id: Option<Value>,
    /// The app.
    #[sqlx(try_from = "Id")]
    pub app_id: Uuid,
    /// Dialpad's id of the call on which it was left.
    #[sqlx(rename = "dialpad_call_id")]
    #[schema(value_type = Option<DialpadId>)]
    pub call_id: Option<i64>,
    /// The same id.
    #[schema(value_type = Option<DialpadId>)]
    pub dialpad_call_id: Option<i64>,
    /// The direction of the call.
    #[sqlx(try_from = "OptWord<Direction>")]
    pub direction: Option<Direction>,
    /// The number of the caller who left it.
    pub from_number: Option<String>,
    /// The number that was called.
    pub to_number: Option<String>,
    /// The number of the caller in E.164 form; null if it is no phone number.
    pub from_e164: Option<String>,
    /// The number that was called in E.164 form; null if it is no phone number.
    pub to_e164: Option<String>,
    /// The Dialpad user for whom it was left.
    #[schema(value_type = Option<DialpadId>)]
    pub dialpad_user_id: Option<i64>,
    /// The CRM's id of that user.
    pub crm_user_id: Option<String>,
    /// Where the audio is.
    pub recording_url: Option<String>,
    /// The transcript of the audio.
    pub transcript: Option<String>,
    /// The length of the audio.
    pub duration_seconds: Option<i64>,
    /// When it was left.
    pub received_at: DateTime<Utc>,
    /// When the server first heard of it.
    pub created_at: DateTime<Utc>,
    /// When anything here last changed.
    pub updated_at: DateTime<Utc>,
}

impl Paged for VoicemailView {
    fn audit(&self) -> Audit {
        Audit { id: self.id, created_at: self.created_at, updated_at: self.updated_at }
    }
}

impl Voicemails<'_> {
    /// Returns a page of an app's voicemails.
    pub async fn list(
        self,
        app: AppId,
        filter: &Filter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<VoicemailView>, StoreError> {
        let Some(page) = self.page_query(app, filter, cursor, limit).await? else { return Ok(Page::empty()) };
        let plan = page.plan(self.store).await?;
        let voicemails = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            page.write(plan, &mut query);
            query.build_query_as().fetch_all(db).await
        })?;
        Ok(filter.page(voicemails, limit))
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
        let all =
            Part { condition: "deleted_at IS NULL".to_owned(), is_indexed: true, changed: "updated_at" };
        let listed = Listed {
            table: "voicemails",
            alias: "v",
            parts: vec![all],
            is_narrowed: false,
            has_recipients: false,
            also: None,
        };
        PageQuery::new(self.store, app, filter, listed, cursor, limit).await
    }

    /// Returns one voicemail; the newest, if Dialpad used its id twice.
    pub async fn find(self, app: AppId, voicemail: &ItemRef) -> Result<Option<VoicemailView>, StoreError> {
        on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            query.push_bind(Id::from(app));
            voicemail.write(&mut query, "v.id", "v.dialpad_voicemail_id");
            query.push(" ORDER BY v.id DESC LIMIT 1");
            query.build_query_as().fetch_optional(db).await
        })
    }

    /// Deletes a voicemail for good: no later webhook creates it again. Returns whether there was one. When it fails,
    /// it may be called again.
    pub async fn delete(self, app: AppId, voicemail: &ItemRef) -> Result<bool, StoreError> {
        let Some(voicemail) = self.find(app, voicemail).await? else { return Ok(false) };
        // First the facts of its call, then the row: in between nothing can write it again, and a crash in between
        // leaves a row that can still be deleted.
        if let Some(call) = voicemail.dialpad_call_id {
            self.detach(app, DialpadCallId(call)).await?;
        }
        let erased = on_db!(self.store, write db => {
            let query = sqlx::query(ERASE).bind(Id::from(app)).bind(Id(voicemail.id)).bind(self.store.now());
            query.execute(db).await.map(|done| done.rows_affected())
        })?;
        Ok(erased > 0)
    }

    /// Removes a voicemail from the facts of its call. The call's actor still has the facts from before; its next write
    /// meets a version that it does not know, and the actor is rebuilt from these facts.
    async fn detach(self, app: AppId, call: DialpadCallId) -> Result<(), StoreError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let relatives = self.store.relatives(app, &[call]).await?;
            let own = relatives.into_iter().find(|relative| relative.dialpad_call_id == call);
            let Some(mut call) = own else { return Ok(()) };
            if !call.facts.forget_voicemail() {
                return Ok(());
            }
            let now = self.store.now();
            call.version += 1;
            call.updated_at = now;
            let snapshot = call.facts.snapshot();
            let region = self.store.apps().region(app).await?;
            let interaction = call.interaction_id;
            let mut legs = self.store.legs(app, &[interaction]).await?;
            legs.iter_mut().filter(|leg| leg.id == call.id).for_each(|leg| leg.clone_from(&call));
            let interactions =
                shown_by_legs(self.store, app, interaction, &legs, now).await?.into_iter().collect();
            let calls = vec![CallRecord { call, snapshot }];
            let unit = Unit { region, calls, interactions, ..Unit::new(app, now) };
            match self.store.commit(Arc::new(unit)).await {
                Err(StoreError::Conflict(_)) if attempt < MAX_ATTEMPTS => {}
                outcome => return outcome.map(|_| ()),
            }
        }
    }
}
