//! User and company of the token: the only way to learn the company, because no token answer names it.

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::{Caller, Int64};
use crate::State;
use crate::flows::{OFFICE_ID, first_user};

/// `GET /api/v2/users/me`.
pub(crate) async fn me(state: web::Data<State>, caller: Caller) -> HttpResponse {
    let user = first_user();
    let (first_name, last_name) = user.name.split_once(' ').unwrap_or((user.name, ""));
    HttpResponse::Ok().json(json!({
        "id": Int64(user.id),
        "company_id": Int64(caller.company(&state)),
        "office_id": Int64(OFFICE_ID),
        "display_name": user.name,
        "first_name": first_name,
        "last_name": last_name,
        "emails": [user.email],
        "phone_numbers": [user.phone],
        "country": "us",
        "timezone": "US/Pacific",
        "is_admin": true,
        "is_super_admin": true,
        "is_available": true,
        "state": "active",
    }))
}

/// `GET /api/v2/company`.
pub(crate) async fn company(state: web::Data<State>, caller: Caller) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "id": Int64(caller.company(&state)),
        "name": "Acme Corp.",
        "domain": "acme.example",
        "country": "us",
        "account_type": "pro",
        "state": "active",
        "office_count": Int64(1),
        "admin_email": first_user().email,
    }))
}
