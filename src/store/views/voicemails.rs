//! Voicemails as a CRM asks for them. The engine writes them ([`crate::store::ledger`]); only their end is written here.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    event::number_or_text,
    event::schema::DialpadId,
    id::{AppId, DialpadCallId},
    model::call::{CallRecord, Direction},
    ports::Ledger,
    unit::Unit,
};
use serde::Serialize;
use sqlx::QueryBuilder;
use utoipa::ToSchema;
use uuid::Uuid;

use super::listing::{Cursor, Filter, ItemName, Listed, Page};
use crate::store::{Voicemails, db::types::Id, on_db};

const SELECT: &str =
    "SELECT v.id, v.app_id, v.dialpad_voicemail_id, v.dialpad_call_id, v.direction, v.from_number,
    v.to_number, v.dialpad_user_id, u.crm_user_id, v.recording_url, v.transcript, v.duration_seconds, v.received_at,
    v.created_at, v.updated_at
    FROM voicemails v
    LEFT JOIN dialpad_user_mappings u ON u.app_id = v.app_id AND u.dialpad_user_id = v.dialpad_user_id
    WHERE v.deleted_at IS NULL AND v.app_id = ";
/// What is left is the fact that there was one.
const WIPE: &str = "UPDATE voicemails SET deleted_at = $3, updated_at = $3, dialpad_voicemail_id = NULL,
    dialpad_user_id = NULL, direction = NULL, from_number = NULL, to_number = NULL, recording_url = NULL,
    transcript = NULL, duration_seconds = NULL
    WHERE app_id = $1 AND id = $2 AND deleted_at IS NULL";

/// How often a deletion gives way to webhooks of the same call that come in between.
const MOST_TRIES: usize = 20;

/// A voicemail, as REST shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Voicemail)]
pub struct VoicemailView {
    /// Our name of it.
    pub id: Uuid,
    /// The same, as the events call it.
    pub voicemail_id: Uuid,
    /// Dialpad's name of it.
    #[schema(value_type = Option<DialpadId>)]
    pub dialpad_voicemail_id: Option<serde_json::Value>,
    /// Whose it is.
    pub app_id: Uuid,
    /// Dialpad's name of the call on which it was left.
    #[schema(value_type = Option<DialpadId>)]
    pub call_id: Option<i64>,
    /// The same.
    #[schema(value_type = Option<DialpadId>)]
    pub dialpad_call_id: Option<i64>,
    /// The direction of that call.
    #[schema(value_type = Option<Direction>)]
    pub direction: Option<String>,
    /// Who left it.
    pub from_number: Option<String>,
    /// Who had been called.
    pub to_number: Option<String>,
    /// The Dialpad user for whom it was left.
    #[schema(value_type = Option<DialpadId>)]
    pub dialpad_user_id: Option<i64>,
    /// The same person in the CRM.
    pub crm_user_id: Option<String>,
    /// Where the audio is.
    pub recording_url: Option<String>,
    /// What was said.
    pub transcript: Option<String>,
    /// Its length.
    pub duration_seconds: Option<i64>,
    /// When it was left.
    pub received_at: DateTime<Utc>,
    /// When it was first seen.
    pub created_at: DateTime<Utc>,
    /// When anything here last changed.
    pub updated_at: DateTime<Utc>,
}

impl Listed for VoicemailView {
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
struct VoicemailRow {
    id: Id,
    app_id: Id,
    dialpad_voicemail_id: Option<String>,
    dialpad_call_id: Option<i64>,
    direction: Option<String>,
    from_number: Option<String>,
    to_number: Option<String>,
    dialpad_user_id: Option<i64>,
    crm_user_id: Option<String>,
    recording_url: Option<String>,
    transcript: Option<String>,
    duration_seconds: Option<i64>,
    received_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<VoicemailRow> for VoicemailView {
    fn from(row: VoicemailRow) -> Self {
        Self {
            id: row.id.0,
            voicemail_id: row.id.0,
            dialpad_voicemail_id: row.dialpad_voicemail_id.as_deref().map(number_or_text),
            app_id: row.app_id.0,
            call_id: row.dialpad_call_id,
            dialpad_call_id: row.dialpad_call_id,
            direction: row.direction,
            from_number: row.from_number,
            to_number: row.to_number,
            dialpad_user_id: row.dialpad_user_id,
            crm_user_id: row.crm_user_id,
            recording_url: row.recording_url,
            transcript: row.transcript,
            duration_seconds: row.duration_seconds,
            received_at: row.received_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl Voicemails<'_> {
    /// A page of an app's voicemails.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn list(
        self,
        app: AppId,
        filter: &Filter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<VoicemailView>, StoreError> {
        let rows: Vec<VoicemailRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            query.push_bind(Id::from(app));
            filter.write(&mut query, "v", cursor, limit);
            query.build_query_as().fetch_all(db).await
        })?;
        Ok(filter.page(rows.into_iter().map(VoicemailView::from).collect(), limit))
    }

    /// One voicemail; the newest of that name, should Dialpad have given it twice.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn find(self, app: AppId, name: &ItemName) -> Result<Option<VoicemailView>, StoreError> {
        let row: Option<VoicemailRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            query.push_bind(Id::from(app));
            name.write(&mut query, "v.id", "v.dialpad_voicemail_id");
            query.push(" ORDER BY v.id DESC LIMIT 1");
            query.build_query_as().fetch_optional(db).await
        })?;
        Ok(row.map(Into::into))
    }

    /// Deletes a voicemail: what was left is gone, and no later webhook brings it back. Says whether there was one.
    ///
    /// # Errors
    /// The database could not be asked; asking again is right.
    pub async fn delete(self, app: AppId, name: &ItemName) -> Result<bool, StoreError> {
        let Some(voicemail) = self.find(app, name).await? else { return Ok(false) };
        // First its call forgets it, then the row: in between nobody can write it anew, and whoever dies in between
        // leaves a row that can be deleted again.
        if let Some(call) = voicemail.dialpad_call_id {
            self.detach(app, DialpadCallId(call)).await?;
        }
        let wiped = on_db!(self.store, write db => {
            let query = sqlx::query(WIPE).bind(Id::from(app)).bind(Id(voicemail.id)).bind(self.store.now());
            query.execute(db).await.map(|done| done.rows_affected())
        })?;
        Ok(wiped > 0)
    }

    /// Takes a voicemail out of the facts of its call. The call's actor holds the facts from before; its next write
    /// will meet a version that it does not know, and it will be rebuilt from these.
    async fn detach(self, app: AppId, call: DialpadCallId) -> Result<(), StoreError> {
        let mut tries = 0;
        loop {
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
            let unit = Unit { calls: vec![CallRecord { call, snapshot }], ..Unit::new(app, now) };
            tries += 1;
            match self.store.commit(Arc::new(unit)).await {
                Err(StoreError::Conflict(_)) if tries < MOST_TRIES => {}
                outcome => return outcome.map(|_| ()),
            }
        }
    }
}
