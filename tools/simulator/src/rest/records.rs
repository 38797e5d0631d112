//! Resources that are stored as they come, and change nothing else: contacts, websockets, blocked numbers, and the
//! subscriptions to which the simulator sends nothing.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Caller, PageQuery, Problem, Query, as_strings, page};
use crate::{State, flows, lock};

/// The kind of a record; each has its own path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    Contact,
    Websocket,
    AgentStatusSubscription,
    ContactSubscription,
    ChangelogSubscription,
}

/// The records of all kinds, by number.
pub(crate) struct Records {
    stored: BTreeMap<i64, Record>,
    blocked: BTreeMap<String, i64>,
    issued: i64,
}

#[derive(Clone)]
struct Record {
    kind: RecordKind,
    /// `None`: every company has it.
    company_id: Option<i64>,
    /// The caller's own id, which replaces ours.
    uid: Option<String>,
    fields: Map<String, Value>,
}

const FIRST_ID: i64 = 4_850_000_000_000_000;

impl Default for Records {
    /// Has the contacts whom the flows call.
    fn default() -> Self {
        let contact = |party: flows::Party| {
            let (first_name, last_name) = party.name.split_once(' ').unwrap_or((party.name, ""));
            let fields = json!({"first_name": first_name, "last_name": last_name, "type": "shared",
                "phones": [party.phone], "emails": [party.email]});
            let Value::Object(fields) = fields else { unreachable!("written as an object") };
            (party.id, Record { kind: RecordKind::Contact, company_id: None, uid: None, fields })
        };
        Self { stored: flows::contacts().map(contact).collect(), blocked: BTreeMap::new(), issued: 0 }
    }
}

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/contacts", web::put().to(create_or_update_contact))
        .route("/blockednumbers", web::get().to(blocked_numbers))
        .route("/blockednumbers/add", web::post().to(block))
        .route("/blockednumbers/remove", web::post().to(unblock))
        .route("/blockednumbers/{number}", web::get().to(blocked_number));
    for (path, kind) in [
        ("/contacts", RecordKind::Contact),
        ("/websockets", RecordKind::Websocket),
        ("/subscriptions/agent_status", RecordKind::AgentStatusSubscription),
        ("/subscriptions/contact", RecordKind::ContactSubscription),
        ("/subscriptions/changelog", RecordKind::ChangelogSubscription),
    ] {
        config.service(web::resource(path).app_data(web::Data::new(kind)).get(list).post(create)).service(
            web::resource(format!("{path}/{{id}}"))
                .app_data(web::Data::new(kind))
                .get(show)
                .patch(update)
                .delete(delete),
        );
    }
}

impl RecordKind {
    /// Checks the fields of a new record.
    fn check(self, fields: &Map<String, Value>) -> Result<(), Problem> {
        let needed: &[&str] = match self {
            Self::Contact => &["first_name", "last_name"],
            Self::Websocket => &[],
            Self::AgentStatusSubscription => &["agent_type"],
            Self::ContactSubscription => &["contact_type"],
            Self::ChangelogSubscription => &["endpoint_id"],
        };
        match needed.iter().find(|name| fields.get(**name).is_none_or(Value::is_null)) {
            Some(name) => Err(Problem::bad(format!("{name} is required"))),
            None => Ok(()),
        }
    }
}

impl Record {
    fn is(&self, kind: RecordKind, caller: &Caller) -> bool {
        self.kind == kind && self.company_id.is_none_or(|company| caller.sees(company))
    }

    fn rendered(&self, id: i64, state: &State) -> Value {
        let mut reply = Value::from(self.fields.clone());
        reply["id"] = id.into();
        match self.kind {
            RecordKind::Contact => {
                if let Some(uid) = &self.uid {
                    reply["id"] = uid.as_str().into();
                }
                let name = |field: &str| reply[field].as_str().unwrap_or_default().to_owned();
                let display_name = format!("{} {}", name("first_name"), name("last_name"));
                let (phone, email) = (reply["phones"][0].clone(), reply["emails"][0].clone());
                reply["display_name"] = display_name.trim().into();
                reply["primary_phone"] = phone;
                reply["primary_email"] = email;
            }
            RecordKind::Websocket => {
                let secret = reply["secret"].take();
                reply["websocket_url"] =
                    format!("{}/events/{id}", state.base_url.replacen("http", "ws", 1)).into();
                if secret.is_string() {
                    reply["signature"] = json!({"algo": "HS256", "type": "jwt", "secret": secret});
                }
            }
            RecordKind::AgentStatusSubscription
            | RecordKind::ContactSubscription
            | RecordKind::ChangelogSubscription => {
                if reply["enabled"].is_null() {
                    reply["enabled"] = true.into();
                }
                let endpoint = reply["endpoint_id"].take();
                let endpoint = endpoint.as_i64().or_else(|| endpoint.as_str()?.parse().ok());
                let registry = lock(&state.registry);
                if let Some(webhook) = endpoint.and_then(|id| registry.webhooks.get(&id)) {
                    reply["webhook"] = super::webhooks::rendered(webhook);
                }
            }
        }
        as_strings(reply)
    }
}

impl Records {
    /// Returns whether a company has a websocket with this id.
    pub(crate) fn has_websocket(&self, id: i64, company_id: i64) -> bool {
        self.stored.get(&id).is_some_and(|record| {
            record.kind == RecordKind::Websocket && record.company_id.is_none_or(|own| own == company_id)
        })
    }

    fn insert(&mut self, record: Record) -> i64 {
        self.issued += 1;
        self.stored.insert(FIRST_ID + self.issued, record);
        FIRST_ID + self.issued
    }

    /// Returns the number of the record that a path names: by our id, or by the caller's own.
    fn find(&self, kind: RecordKind, id: &str, caller: &Caller) -> Result<i64, Problem> {
        let is_named = |number: i64, record: &Record| match &record.uid {
            Some(uid) => uid == id,
            None => number.to_string() == id,
        };
        let mut all = self.stored.iter();
        let found = all.find(|(number, record)| record.is(kind, caller) && is_named(**number, record));
        found.map(|(number, _)| *number).ok_or_else(|| Problem::not_found("record"))
    }
}

async fn create(
    state: web::Data<State>,
    kind: web::Data<RecordKind>,
    caller: Caller,
    body: web::Json<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    let mut fields = body.into_inner();
    kind.check(&fields)?;
    if **kind == RecordKind::Contact {
        let is_local = fields.get("owner_id").is_some_and(|owner| !owner.is_null());
        fields.insert("type".to_owned(), if is_local { "local" } else { "shared" }.into());
    }
    Ok(stored(&state, Record { kind: **kind, company_id: Some(caller.company(&state)), uid: None, fields }))
}

/// `PUT /contacts`: the contact with the caller's own id.
async fn create_or_update_contact(
    state: web::Data<State>,
    caller: Caller,
    body: web::Json<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    let mut fields = body.into_inner();
    RecordKind::Contact.check(&fields)?;
    let uid = fields.remove("uid").and_then(|uid| uid.as_str().map(str::to_owned));
    let uid = uid.ok_or_else(|| Problem::bad("uid is required"))?;
    let company_id = caller.company(&state);
    let uid = format!("api_{company_id}_{uid}");
    fields.insert("type".to_owned(), "shared".into());
    let known = lock(&state.records).find(RecordKind::Contact, &uid, &caller);
    match known {
        Ok(id) => Ok(changed(&state, id, fields)),
        Err(_) => {
            let company_id = Some(company_id);
            Ok(stored(&state, Record { kind: RecordKind::Contact, company_id, uid: Some(uid), fields }))
        }
    }
}

fn stored(state: &State, record: Record) -> HttpResponse {
    let id = lock(&state.records).insert(record.clone());
    HttpResponse::Ok().json(record.rendered(id, state))
}

fn changed(state: &State, id: i64, fields: Map<String, Value>) -> HttpResponse {
    let record = {
        let mut records = lock(&state.records);
        let record = records.stored.get_mut(&id).expect("it was found");
        record.fields.extend(fields);
        record.clone()
    };
    HttpResponse::Ok().json(record.rendered(id, state))
}

async fn list(
    state: web::Data<State>,
    kind: web::Data<RecordKind>,
    caller: Caller,
    query: Query<PageQuery>,
) -> HttpResponse {
    let theirs: Vec<(i64, Record)> = {
        let records = lock(&state.records);
        let theirs = records.stored.iter().filter(|(_, record)| record.is(**kind, &caller));
        theirs.map(|(id, record)| (*id, record.clone())).collect()
    };
    page(theirs.iter().map(|(id, record)| (*id, record.rendered(*id, &state))), &query)
}

async fn show(
    state: web::Data<State>,
    kind: web::Data<RecordKind>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let (id, record) = {
        let records = lock(&state.records);
        let id = records.find(**kind, &id, &caller)?;
        (id, records.stored[&id].clone())
    };
    Ok(HttpResponse::Ok().json(record.rendered(id, &state)))
}

async fn update(
    state: web::Data<State>,
    kind: web::Data<RecordKind>,
    caller: Caller,
    id: web::Path<String>,
    body: web::Json<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    let id = lock(&state.records).find(**kind, &id, &caller)?;
    Ok(changed(&state, id, body.into_inner()))
}

async fn delete(
    state: web::Data<State>,
    kind: web::Data<RecordKind>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let (id, deleted) = {
        let mut records = lock(&state.records);
        let id = records.find(**kind, &id, &caller)?;
        (id, records.stored.remove(&id).expect("it was found"))
    };
    Ok(HttpResponse::Ok().json(deleted.rendered(id, &state)))
}

/// The body of adding and removing blocked numbers.
#[derive(Deserialize)]
struct Numbers {
    #[serde(default)]
    numbers: Vec<String>,
}

async fn block(state: web::Data<State>, caller: Caller, body: web::Json<Numbers>) -> HttpResponse {
    let company_id = caller.company(&state);
    lock(&state.records)
        .blocked
        .extend(body.into_inner().numbers.into_iter().map(|number| (number, company_id)));
    HttpResponse::Ok().json(json!({}))
}

async fn unblock(state: web::Data<State>, caller: Caller, body: web::Json<Numbers>) -> HttpResponse {
    let mut records = lock(&state.records);
    records.blocked.retain(|number, company| !caller.sees(*company) || !body.numbers.contains(number));
    HttpResponse::Ok().json(json!({}))
}

async fn blocked_numbers(state: web::Data<State>, caller: Caller, query: Query<PageQuery>) -> HttpResponse {
    let records = lock(&state.records);
    let theirs = records.blocked.iter().filter(|(_, company)| caller.sees(**company));
    page((1..).zip(theirs).map(|(number, (blocked, _))| (number, json!({"number": blocked}))), &query)
}

async fn blocked_number(
    state: web::Data<State>,
    caller: Caller,
    number: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let records = lock(&state.records);
    let is_blocked = records.blocked.get(number.as_str()).is_some_and(|company| caller.sees(*company));
    if is_blocked {
        Ok(HttpResponse::Ok().json(json!({"number": number.as_str()})))
    } else {
        Err(Problem::not_found("blocked number"))
    }
}
