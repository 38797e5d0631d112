//! Connecting an app to Dialpad, and how that stands.

use serde_json::json;
use utoipa::openapi::{content::ContentBuilder, path::ParameterIn};

use super::{
    examples,
    operation::{Access, Group, Way, text},
    parameters::{app_id, ids, query, required_query, uuid},
    schemas::named,
};
use crate::http::{crm::status, error::ErrorCode::*, oauth};

const ANYONE: Group = Group { tag: "Connecting", access: Access::Anyone };

pub(crate) fn ways() -> Vec<Way> {
    let (authorize, callback) = (authorize(), callback());
    vec![
        authorize.also_at("/auth/dialpad/connect", "connect_dialpad"),
        authorize.also_at("/auth/dialpad/authorize", "authorize_dialpad"),
        callback.also_at("/auth/dialpad/callback", "callback_dialpad"),
        authorize,
        callback,
        status(),
        disconnect(),
    ]
}

fn authorize() -> Way {
    ANYONE
        .get("/authorize", "authorize", "Begin to connect an app")
        .says(
            "Opened in a person's browser. Leads to Dialpad with PKCE and a `state` that is good once, for 10 minutes, \
             in this browser.",
        )
        .takes([required_query("app_id", uuid(), "The app that is to be connected.")])
        .answers(302, "On to Dialpad.")
        .with_header(302, "Location", "Dialpad's page for authorizations.")
        .with_header(302, "Set-Cookie", "`cti_oauth`: binds the authorization to this browser.")
        .refuses([AppInactive, AppNotFound, RateLimited, OauthNotConfigured, DatabaseUnavailable, Internal])
}

fn callback() -> Way {
    let connected =
        json!({"message": "Dialpad connected", "app_id": examples::APP, "environment": "sandbox"});
    let page = ContentBuilder::new().schema(Some(text())).build();
    let mut cookie = query("cti_oauth", text(), "What `/authorize` had this browser keep.");
    cookie.parameter_in = ParameterIn::Cookie;
    ANYONE
        .get("/callback", "callback", "Come back from Dialpad")
        .says("Dialpad sends the browser here. Any attempt spends the `state`. Other parameters may come.")
        .takes([
            query("state", text(), "As `/authorize` gave it to Dialpad."),
            query("code", text(), "Dialpad's authorization code."),
            query("error", text(), "Dialpad's word for why there is no code."),
            cookie,
        ])
        .shows(200, "The app is connected.", named::<oauth::Connected<'_>>(), connected)
        .streams(200, "The app is connected.", "text/html", page)
        .refuses([
            OauthStateInvalid,
            OauthDenied,
            OauthNotConfigured,
            TokenExchangeRejected,
            TokenExchangeFailed,
            DatabaseUnavailable,
            Internal,
        ])
}

fn status() -> Way {
    let status = json!({
        "app_id": examples::APP, "connected": true, "connected_at": "2024-01-01T11:50:12.004310Z",
        "degraded_since": null, "dialpad_org_id": 12_345_678, "environment": "sandbox",
        "message": "App is connected to Dialpad", "missing_scopes": ["message_content_export:all"],
        "problem": null, "status": "connected", "token_expires_at": "2024-01-01T12:50:12.004310Z",
        "unrecovered_gaps": [], "webhook": {
            "problems": [], "state": "active", "verified_at": "2024-01-01T12:00:01.120044Z",
            "webhook_id": "018cc4db-fc10-7d3f-8e52-6b0c1d2e3f40",
        },
    });
    Group { tag: "Connecting", access: Access::Crm }
        .get("/status", "app_status", "Whether the app is connected")
        .takes([ids()])
        .shows(200, "How the connection stands.", named::<status::AppStatus>(), status)
}

fn disconnect() -> Way {
    let done = json!({"message": "Dialpad disconnected", "app_id": examples::APP});
    Group { tag: "Connecting", access: Access::Administrator }
        .post("/auth/dialpad/disconnect/{app_id}", "disconnect", "Forget an app's tokens")
        .says("Here and at Dialpad, where its webhook is removed as well. Told as `connection.disconnected`.")
        .takes([app_id()])
        .shows(200, "It is not connected.", named::<oauth::Disconnected>(), done)
        .refuses([AppNotFound])
}
