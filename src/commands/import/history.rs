//! Calls, voicemails and messages.

use std::collections::{BTreeMap, BTreeSet};

use cti_actors::{
    id::{AppId, MessageId, VoicemailId},
    model::{
        call::Millis,
        message::{self, MessageEvent, MessageKnowledge, StoredMessage},
        number::{Region, e164},
    },
    unit::Unit,
};

use super::{
    Import, ImportError,
    call::{ReadCall, read_call, read_call_of_voicemail},
    report::Outcome,
    row::Row,
    target::Candidate,
};
use crate::store::import::{ImportedVoicemail, stable_id};

/// The voicemails whose call the source has are taken with it.
const WITHOUT_CALL: &str = "NOT EXISTS (SELECT 1 FROM calls AS c
    WHERE c.dialpad_call_id::text = t.dialpad_call_id::text AND c.app_id::text = t.app_id::text)";
const HAS_NEWER: &str = "its call has a newer voicemail";

/// A row, and what came with it: the voicemail of a call.
struct Pending {
    row: Row,
    voicemail: Option<Row>,
}

/// The rows of a page that are to be written.
#[derive(Default)]
struct Batch {
    rows: Vec<Pending>,
    candidates: Vec<Candidate>,
}

impl Batch {
    fn add(&mut self, row: Row, voicemail: Option<Row>, app: AppId, unit: Unit) {
        self.rows.push(Pending { row, voicemail });
        self.candidates.push(Candidate { app, unit });
    }
}

impl Import {
    pub(super) async fn calls(&mut self) -> Result<(), ImportError> {
        // Rows of the same call are next to each other.
        if !self.begin("calls", "", &["app_id", "dialpad_call_id", "created_at"]).await? {
            return Ok(());
        }
        let mut before = None;
        loop {
            let page = self.page().await?;
            if page.is_empty() {
                return Ok(());
            }
            let mut voicemails = self.voicemails_of(&page).await?;
            let mut batch = Batch::default();
            for row in page {
                let (app, id) = match (self.app_of(&row).await?, row.integer("dialpad_call_id")) {
                    (Ok(app), Some(id)) => (app, id),
                    (Err(reason), _) => {
                        self.finish("calls", &row, Outcome::LeftOut(reason));
                        continue;
                    }
                    (_, None) => {
                        let reason = "its dialpad_call_id is no number of 64 bits".to_owned();
                        self.finish("calls", &row, Outcome::LeftOut(reason));
                        continue;
                    }
                };
                if before.replace((app, id)) == Some((app, id)) {
                    self.finish("calls", &row, Outcome::LeftOut("another row is the same call".to_owned()));
                    continue;
                }
                let mut of_call = voicemails.remove(&(app, id)).unwrap_or_default();
                let newest = of_call.pop();
                for older in &of_call {
                    self.finish("voicemails", older, Outcome::LeftOut(HAS_NEWER.to_owned()));
                }
                match read_call(id, &row, newest.as_ref(), self.now) {
                    Ok(call) => {
                        let unit = self.unit(call, app, id).await?;
                        batch.add(row, newest, app, unit);
                    }
                    Err(reason) => {
                        self.finish("calls", &row, Outcome::LeftOut(reason));
                        if let Some(voicemail) = newest {
                            self.finish(
                                "voicemails",
                                &voicemail,
                                Outcome::LeftOut("its call is left out".to_owned()),
                            );
                        }
                    }
                }
            }
            self.write("calls", batch).await?;
        }
    }

    /// Returns the voicemails of the calls of a page, the newest of each call last.
    async fn voicemails_of(&mut self, page: &[Row]) -> Result<BTreeMap<(AppId, i64), Vec<Row>>, ImportError> {
        let mut found: BTreeMap<(AppId, i64), Vec<Row>> = BTreeMap::new();
        if !self.recognized.contains("voicemails") {
            return Ok(found);
        }
        let ids: BTreeSet<i64> = page.iter().filter_map(|row| row.integer("dialpad_call_id")).collect();
        let calls: BTreeSet<(AppId, i64)> = page
            .iter()
            .filter_map(|row| row.uuid("app_id").map(AppId).zip(row.integer("dialpad_call_id")))
            .collect();
        for text in self.source.rows_with("voicemails", "dialpad_call_id", &ids, "created_at").await? {
            let row = Row::read(text);
            let call = row.uuid("app_id").map(AppId).zip(row.integer("dialpad_call_id"));
            if let Some(call) = call.filter(|call| calls.contains(call)) {
                found.entry(call).or_default().push(row);
            }
        }
        // Values that do not fit are named when the row itself is read.
        page.iter().for_each(|row| drop(row.take_problems()));
        Ok(found)
    }

    /// Takes the voicemails whose call the source does not have, and those without any.
    pub(super) async fn voicemails(&mut self) -> Result<(), ImportError> {
        let has_call =
            self.source.has_column("voicemails", "dialpad_call_id") && self.recognized.contains("calls");
        let condition = if has_call { WITHOUT_CALL } else { "" };
        if !self.begin("voicemails", condition, &["app_id", "dialpad_call_id", "created_at"]).await? {
            return Ok(());
        }
        let mut before = None;
        loop {
            let page = self.page().await?;
            if page.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::default();
            for row in page {
                let app = match self.app_of(&row).await? {
                    Ok(app) => app,
                    Err(reason) => {
                        self.finish("voicemails", &row, Outcome::LeftOut(reason));
                        continue;
                    }
                };
                let Some(id) = row.integer("dialpad_call_id") else {
                    let outcome = self.voicemail_without_call(&row, app).await?;
                    self.finish("voicemails", &row, outcome);
                    continue;
                };
                if before.replace((app, id)) == Some((app, id)) {
                    let reason = "its call has another voicemail".to_owned();
                    self.finish("voicemails", &row, Outcome::LeftOut(reason));
                    continue;
                }
                match read_call_of_voicemail(id, &row) {
                    Ok(call) => {
                        let unit = self.unit(call, app, id).await?;
                        batch.add(row, None, app, unit);
                    }
                    Err(reason) => self.finish("voicemails", &row, Outcome::LeftOut(reason)),
                }
            }
            self.write("voicemails", batch).await?;
        }
    }

    async fn voicemail_without_call(&mut self, row: &Row, app_id: AppId) -> Result<Outcome, ImportError> {
        let Some(received_at) = row.instant("created_at") else {
            return Ok(Outcome::LeftOut("it has no time that can be read".to_owned()));
        };
        let region = self.region(app_id).await?;
        let [from_number, to_number] = ["from_number", "to_number"].map(|column| row.text(column));
        let in_e164 = |number: &Option<String>| e164(number.as_deref()?, region);
        let voicemail = ImportedVoicemail {
            id: VoicemailId(stable_id("voicemail", app_id, &row.key(), received_at)),
            app_id,
            dialpad_voicemail_id: row.text("dialpad_voicemail_id"),
            dialpad_user_id: row.integer("dialpad_user_id"),
            from_e164: in_e164(&from_number),
            to_e164: in_e164(&to_number),
            from_number,
            to_number,
            recording_url: row.text("recording_url"),
            transcript: row.text("transcript"),
            duration_seconds: row.seconds("duration_seconds").map(Millis::seconds),
            received_at,
            updated_at: row.instant("updated_at").unwrap_or(received_at),
        };
        Ok(match self.writable(app_id) {
            Some((store, keep)) if !store.imports().voicemail(&voicemail, keep).await? => {
                Outcome::AlreadyThere
            }
            _ => Outcome::Taken,
        })
    }

    pub(super) async fn messages(&mut self) -> Result<(), ImportError> {
        if !self.begin("messages", "", &["app_id", "dialpad_message_id", "created_at"]).await? {
            return Ok(());
        }
        let mut before = None;
        loop {
            let page = self.page().await?;
            if page.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::default();
            for row in page {
                let read = match self.app_of(&row).await? {
                    Ok(app) => read_message(&row).map(|event| (app, event)),
                    Err(reason) => Err(reason),
                };
                let read = read.and_then(|(app, event)| {
                    let same = Some((app, event.dialpad_message_id.clone()));
                    let is_same = std::mem::replace(&mut before, same.clone()) == same;
                    if is_same { Err("another row is the same message".to_owned()) } else { Ok((app, event)) }
                });
                match read {
                    Ok((app, event)) => {
                        let region = self.region(app).await?;
                        batch.add(row, None, app, unit_of_message(app, region, &event));
                    }
                    Err(reason) => self.finish("messages", &row, Outcome::LeftOut(reason)),
                }
            }
            self.write("messages", batch).await?;
        }
    }

    async fn unit(&self, call: ReadCall, app: AppId, id: i64) -> Result<Unit, ImportError> {
        Ok(call.into_unit(app, id, self.region(app).await?))
    }

    async fn region(&self, app: AppId) -> Result<Region, ImportError> {
        let is_new = self.apps.get(&app).is_some_and(|app| app.is_new);
        Ok(self.target.region(app, is_new).await?)
    }

    /// Writes the rows of a page and adds them to the report.
    async fn write(&mut self, table: &'static str, batch: Batch) -> Result<(), ImportError> {
        let outcomes = self.target.write(batch.candidates).await?;
        for (Pending { row, voicemail }, outcome) in batch.rows.into_iter().zip(outcomes) {
            if let Some(voicemail) = voicemail {
                self.finish("voicemails", &voicemail, outcome.clone());
            }
            self.finish(table, &row, outcome);
        }
        Ok(())
    }
}

fn read_message(row: &Row) -> Result<MessageEvent, String> {
    let dialpad_message_id = row.text("dialpad_message_id").ok_or("its dialpad_message_id is missing")?;
    let sent_at = row.instant("sent_at");
    let at = sent_at.or_else(|| row.instant("created_at")).ok_or("it has no time that can be read")?;
    let knowledge = MessageKnowledge {
        direction: row.direction(),
        from_number: row.text("from_number"),
        to_number: row.text("to_number"),
        text: row.text("text"),
        mms_url: row.text("mms_url"),
        status: row.text("message_status").or_else(|| row.text("status")),
        dialpad_user_id: row.integer("dialpad_user_id"),
        sent_at,
        ..MessageKnowledge::default()
    };
    Ok(MessageEvent { dialpad_message_id, at, knowledge })
}

fn unit_of_message(app: AppId, region: Region, event: &MessageEvent) -> Unit {
    let (facts, _) = message::apply(None, event);
    let id = MessageId(stable_id("message", app, &event.dialpad_message_id, event.at));
    let dialpad_message_id = event.dialpad_message_id.clone();
    let message = StoredMessage { id, dialpad_message_id, version: 1, updated_at: event.at, facts };
    Unit { region, messages: vec![message], ..Unit::new(app, event.at) }
}
