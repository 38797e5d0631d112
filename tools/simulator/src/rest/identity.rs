//! The company of the token, and the settings of the OAuth app in it.

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::{Caller, Int64};
use crate::State;
use crate::flows::first_user;

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

/// `GET /api/v2/app/settings`: the OAuth app is on for every target, without settings of its own.
pub(crate) async fn app_settings(_: Caller) -> HttpResponse {
    HttpResponse::Ok().json(json!({"enabled": true, "is_preferred_service": false, "settings": {}}))
}
