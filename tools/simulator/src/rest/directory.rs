//! The directory: users, their devices and numbers, offices, call centers and departments. They are the same in every
//! company, and they are those of the flows.
//!
//! The first user is the user of every token, `me`.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::outbound::is_dialable;
use super::{Caller, Int64, PageQuery, Problem, Query, as_strings, page};
use crate::flows::{self, OFFICE_ID, Party};
use crate::{State, lock};

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/users", web::get().to(users))
        .route("/users/{id}", web::get().to(user))
        .route("/users/{id}/personas", web::get().to(personas))
        .route("/userdevices", web::get().to(devices))
        .route("/userdevices/{id}", web::get().to(device_by_id))
        .route("/offices", web::get().to(offices))
        .route("/offices/{id}", web::get().to(office))
        .route("/offices/{id}/callcenters", web::get().to(call_centers))
        .route("/offices/{id}/departments", web::get().to(departments))
        .route("/offices/{id}/operators", web::get().to(operators))
        .route("/callcenters", web::get().to(call_centers))
        .route("/callcenters/{id}", web::get().to(call_center))
        .route("/callcenters/{id}/operators", web::get().to(operators))
        .route("/callcenters/{id}/status", web::get().to(call_center_status))
        .route("/callcenters/operators/{id}/dutystatus", web::get().to(duty_status))
        .route("/departments", web::get().to(departments))
        .route("/departments/{id}", web::get().to(department))
        .route("/departments/{id}/operators", web::get().to(operators))
        .route("/numbers", web::get().to(numbers))
        .route("/numbers/format", web::post().to(format_number))
        .route("/numbers/{number}", web::get().to(number));
}

/// Returns the user that a path names: an id, or `me`.
pub(crate) fn named_user(name: &str) -> Result<Party, Problem> {
    let user = match name {
        "me" => Some(flows::first_user()),
        id => id.parse().ok().and_then(flows::user_by_id),
    };
    user.ok_or_else(|| Problem::not_found("user"))
}

fn rendered_user(state: &State, caller: &Caller, user: &Party) -> Value {
    let (first_name, last_name) = user.name.split_once(' ').unwrap_or((user.name, ""));
    let is_admin = user.id == flows::first_user().id;
    let mut reply = json!({
        "id": user.id,
        "company_id": caller.company(state),
        "office_id": OFFICE_ID,
        "display_name": user.name,
        "first_name": first_name,
        "last_name": last_name,
        "emails": [user.email],
        "phone_numbers": [user.phone],
        "country": "us",
        "timezone": "US/Pacific",
        "license": "talk",
        "is_admin": is_admin,
        "is_super_admin": is_admin,
        "is_available": true,
        "is_online": true,
        "is_on_duty": false,
        "do_not_disturb": false,
        "state": "active",
        "group_details": [
            {"group_id": OFFICE_ID, "group_type": "office", "role": if is_admin { "admin" } else { "operator" },
                "do_not_disturb": false},
            {"group_id": flows::centre().id, "group_type": "callcenter", "role": "operator", "do_not_disturb": false},
        ],
    });
    if let (Some(changed), Some(fields)) = (lock(&state.user_settings).get(&user.id), reply.as_object_mut()) {
        fields.extend(changed.clone());
    }
    as_strings(reply)
}

/// The query of the list of users.
#[derive(Deserialize)]
struct UsersQuery {
    #[serde(flatten)]
    page: PageQuery,
    state: Option<String>,
    company_admin: Option<String>,
    email: Option<String>,
    number: Option<String>,
}

async fn users(state: web::Data<State>, caller: Caller, query: Query<UsersQuery>) -> HttpResponse {
    let is_wanted = |user: &Party| {
        query.state.as_deref().is_none_or(|state| matches!(state, "active" | "all"))
            && query
                .company_admin
                .as_deref()
                .is_none_or(|wanted| (wanted == "true") == (user.id == flows::first_user().id))
            && query.email.is_none_or_matches(user.email.as_deref())
            && query.number.is_none_or_matches(Some(&user.phone))
    };
    let mut found: Vec<Party> = flows::users().filter(is_wanted).collect();
    found.sort_by_key(|user| user.id);
    page(found.iter().map(|user| (user.id, rendered_user(&state, &caller, user))), &query.page)
}

/// A filter by text.
trait TextFilter {
    fn is_none_or_matches(&self, value: Option<&str>) -> bool;
}

impl TextFilter for Option<String> {
    fn is_none_or_matches(&self, value: Option<&str>) -> bool {
        self.as_deref().is_none_or(|wanted| Some(wanted) == value)
    }
}

async fn user(
    state: web::Data<State>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(rendered_user(&state, &caller, &named_user(&id)?)))
}

async fn personas(_: Caller, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let user = named_user(&id)?;
    let own = json!({"id": user.id, "type": "user", "name": user.name, "caller_id": user.phone,
        "phone_numbers": [user.phone]});
    Ok(HttpResponse::Ok().json(as_strings(json!({"items": [own]}))))
}

/// Returns the only device of a user: the web app.
pub(crate) fn device(user: &Party) -> Value {
    json!({
        "id": format!("{}-web", user.id),
        "type": "native",
        "user_id": Int64(user.id),
        "display_name": "Web app",
        "app_version": "simulated",
        "date_created": "2024-01-01T00:00:00",
        "date_registered": "2024-01-01T00:00:00",
        "date_updated": "2024-01-01T00:00:00",
    })
}

/// The query of the list of devices.
#[derive(Deserialize)]
struct DevicesQuery {
    #[serde(flatten)]
    page: PageQuery,
    user_id: Option<String>,
}

async fn devices(_: Caller, query: Query<DevicesQuery>) -> Result<HttpResponse, Problem> {
    let mut owners = match &query.user_id {
        Some(user) => vec![named_user(user)?],
        None => flows::users().collect(),
    };
    owners.sort_by_key(|user| user.id);
    Ok(page(owners.iter().map(|user| (user.id, device(user))), &query.page))
}

async fn device_by_id(_: Caller, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let owner = id.strip_suffix("-web").and_then(|user| user.parse().ok()).and_then(flows::user_by_id);
    let owner = owner.ok_or_else(|| Problem::not_found("device"))?;
    Ok(HttpResponse::Ok().json(device(&owner)))
}

fn rendered_group(group: &Party) -> Value {
    let mut reply = json!({
        "id": group.id,
        "name": group.name,
        "office_id": OFFICE_ID,
        "country": "us",
        "timezone": "US/Pacific",
        "phone_numbers": [group.phone],
        "ring_seconds": 30,
        "state": "active",
        "availability_status": "open",
        "first_action": if group.kind == "office" { "menu" } else { "operators" },
        "no_operators_action": "voicemail",
    });
    if group.kind == "office" {
        reply["is_primary_office"] = true.into();
    }
    as_strings(reply)
}

/// The query of a list of groups.
#[derive(Deserialize)]
struct GroupsQuery {
    #[serde(flatten)]
    page: PageQuery,
    office_id: Option<Int64>,
    name_search: Option<String>,
}

fn group_list(group: &Party, query: &GroupsQuery) -> HttpResponse {
    let name = group.name.to_lowercase();
    let is_wanted = query.office_id.is_none_or(|office| office.0 == OFFICE_ID)
        && query.name_search.as_ref().is_none_or(|part| name.contains(&part.to_lowercase()));
    page(is_wanted.then(|| (group.id, rendered_group(group))).into_iter(), &query.page)
}

fn group_by_id(group: &Party, id: i64, what: &str) -> Result<HttpResponse, Problem> {
    if group.id == id {
        Ok(HttpResponse::Ok().json(rendered_group(group)))
    } else {
        Err(Problem::not_found(what))
    }
}

async fn offices(_: Caller, query: Query<GroupsQuery>) -> HttpResponse {
    group_list(&flows::main_line(), &query)
}

async fn office(_: Caller, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    group_by_id(&flows::main_line(), *id, "office")
}

async fn call_centers(_: Caller, query: Query<GroupsQuery>) -> HttpResponse {
    group_list(&flows::centre(), &query)
}

async fn call_center(_: Caller, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    group_by_id(&flows::centre(), *id, "call center")
}

async fn departments(_: Caller, query: Query<GroupsQuery>) -> HttpResponse {
    group_list(&flows::department(), &query)
}

async fn department(_: Caller, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    group_by_id(&flows::department(), *id, "department")
}

/// Every user is an operator of every group.
async fn operators(
    state: web::Data<State>,
    caller: Caller,
    id: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    let groups = [flows::main_line(), flows::centre(), flows::department()];
    if !groups.iter().any(|group| group.id == *id) {
        return Err(Problem::not_found("group"));
    }
    let users: Vec<Value> = flows::users().map(|user| rendered_user(&state, &caller, &user)).collect();
    Ok(HttpResponse::Ok().json(json!({"users": users})))
}

async fn call_center_status(_: Caller, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    if flows::centre().id != *id {
        return Err(Problem::not_found("call center"));
    }
    Ok(HttpResponse::Ok().json(as_strings(json!({
        "availability": {"name": "Support", "status": "open"},
        "capacity": 50,
        "longest_call_wait_time": 0,
        "on_duty_operators": flows::users().count(),
        "pending": 0,
    }))))
}

async fn duty_status(_: Caller, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    let user = flows::user_by_id(*id).ok_or_else(|| Problem::not_found("user"))?;
    let reply = json!({"user_id": user.id, "on_duty": true, "on_duty_status": "available"});
    Ok(HttpResponse::Ok().json(as_strings(reply)))
}

/// Returns the numbers with their owners.
fn owned_numbers() -> Vec<(i64, Value)> {
    let groups = [flows::main_line(), flows::centre(), flows::department()];
    let mut numbers: Vec<(i64, Value)> = flows::users()
        .chain(groups)
        .map(|owner| {
            let digits = owner.phone.trim_start_matches('+');
            let rendered = as_strings(json!({
                "number": owner.phone,
                "status": owner.kind.replace('_', ""),
                "target_id": owner.id,
                "target_type": owner.kind.replace('_', ""),
                "office_id": OFFICE_ID,
                "area_code": digits.get(1..4),
                "type": "local",
                "deleted": false,
            }));
            (digits.parse().unwrap_or_default(), rendered)
        })
        .collect();
    numbers.sort_by_key(|(digits, _)| *digits);
    numbers
}

async fn numbers(_: Caller, query: Query<PageQuery>) -> HttpResponse {
    page(owned_numbers().into_iter(), &query)
}

async fn number(_: Caller, number: web::Path<String>) -> Result<HttpResponse, Problem> {
    let found = owned_numbers().into_iter().find(|(_, owned)| owned["number"] == number.as_str());
    let (_, found) = found.ok_or_else(|| Problem::not_found("number"))?;
    Ok(HttpResponse::Ok().json(found))
}

/// The query of `POST /numbers/format`.
#[derive(Deserialize)]
struct FormatQuery {
    country_code: Option<String>,
    number: String,
}

/// Formats numbers of the United States, and leaves E.164 numbers as they are.
async fn format_number(_: Caller, query: Query<FormatQuery>) -> Result<HttpResponse, Problem> {
    // A plus that was not escaped is a space.
    let digits: String = query.number.chars().filter(char::is_ascii_digit).collect();
    let is_international = query.number.trim_start().starts_with('+') || query.number.starts_with(' ');
    let e164 = match digits.len() {
        10 if !is_international => format!("+1{digits}"),
        _ => format!("+{digits}"),
    };
    if !is_dialable(&e164) {
        return Err(Problem::bad("number is not a phone number"));
    }
    let local = e164.strip_prefix("+1").filter(|local| local.len() == 10);
    Ok(HttpResponse::Ok().json(as_strings(json!({
        "e164_number": e164,
        "country_code": query.country_code.as_deref().or(local.map(|_| "us")),
        "area_code": local.map(|local| &local[..3]),
        "local_number": local.map(|local| format!("({}) {}-{}", &local[..3], &local[3..6], &local[6..])),
    }))))
}
