//! The server's own documentation: documents made from the code, so that they can't differ from it.
//!
//! A handler documents itself with `#[utoipa::path]`; parameters and bodies are described by the structs that parse
//! them, and answers by the structs that are written. The documents below list the handlers by who may send the
//! requests. Tests compare them with the table of routes. To add a route: a line in that table, `#[utoipa::path]` at
//! its handler, and the handler in one of the lists.
//!
//! Written by hand is what the macros can't express: the error responses ([`errors`]), the events, which are composed
//! from parts ([`schemas`]), the bodies of webhooks, which the server reads by name ([`webhook_bodies`]), the AsyncAPI
//! document, and the OpenAPI 3.0 rendering ([`version_3_0`]).

pub(crate) mod admin_examples;
pub(crate) mod asyncapi;
pub(crate) mod errors;
pub(crate) mod examples;
pub(crate) mod parameters;
pub(crate) mod schemas;
pub(crate) mod security;
pub(crate) mod served;
pub(crate) mod tags;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod version_3_0;
pub(crate) mod webhook_bodies;

use std::sync::LazyLock;

use actix_web::web::Data;
use utoipa::{
    OpenApi,
    openapi::{
        self, RefOr,
        path::{Operation, PathItem},
        tag::TagBuilder,
    },
};

pub use self::asyncapi::asyncapi_document;
use self::{
    security::{Access, Schemes},
    served::Documents,
};
use crate::http::{
    admin::{
        api_keys, apps, cluster, dialpad_users, engine, journal, people, user_mappings,
        webhooks as registered_webhooks,
    },
    crm::{calls, interactions, messages, place_call, recordings, status, voicemails},
    error::{ErrorBody, ErrorCode},
    feed::{consumers, events, stream, ws},
    health, oauth, webhooks,
};

const DESCRIPTION: &str = "\
What CRMs, administrators and Dialpad request from cti-server over HTTP. The messages of the WebSocket are in \
`/asyncapi.json`; both documents are shown at `/docs`.\n\n\
**Errors** all have one form: base decisions on `code`. An address that is not listed here returns 404 `NOT_FOUND`, and \
405 `METHOD_NOT_ALLOWED` if only the method is wrong. Input is never ignored silently: an unknown parameter, a parameter \
given twice, and a value that can't be parsed return 400 and name the parameter.\n\n\
**Lists** are arrays. While there is more, a `Link` header leads to the next page.\n\n\
**HEAD** is answered wherever `GET` is, with the same status and headers and no body; `/ws` and `/api/events/stream` \
return 405. It is listed below only where it is of use.\n\n\
In production, plain HTTP is redirected to HTTPS (`GET` and `HEAD`: 308) or refused (403 `HTTPS_REQUIRED`).";

/// The document without operations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "CTI Server",
        description = DESCRIPTION,
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/")),
    components(schemas(ErrorBody<'static>, ErrorCode)),
    modifiers(&Schemes),
)]
struct Base;

/// Requests of an app.
#[derive(OpenApi)]
#[openapi(paths(
    status::status,
    calls::list,
    calls::active,
    calls::one,
    calls::timeline,
    place_call::place,
    recordings::of_call,
    recordings::of_voicemail,
    voicemails::list,
    voicemails::one,
    messages::list,
    messages::one,
    interactions::list,
    interactions::one,
    consumers::list,
    consumers::one,
    consumers::delete,
    consumers::ack,
    events::list,
))]
struct CrmApi;

/// Requests of an app that a browser sends.
#[derive(OpenApi)]
#[openapi(paths(stream::follow))]
struct StreamApi;

/// The WebSocket of an app.
#[derive(OpenApi)]
#[openapi(paths(ws::connect))]
struct SocketApi;

/// Requests of administrators.
#[derive(OpenApi)]
#[openapi(paths(
    oauth::disconnect,
    apps::list,
    apps::create,
    apps::one,
    apps::change,
    apps::remove,
    api_keys::rotate,
    api_keys::revoke,
    api_keys::status,
    api_keys::audit,
    dialpad_users::list,
    people::erase,
    user_mappings::map,
    user_mappings::map_batch,
    user_mappings::list,
    user_mappings::of_dialpad_user,
    user_mappings::delete_of_dialpad_user,
    user_mappings::of_crm_user,
    user_mappings::delete_one,
    voicemails::list_for_administrators,
    voicemails::one_for_administrators,
    voicemails::delete,
    journal::list,
    journal::one,
    journal::replay,
    engine::state,
    cluster::state,
    registered_webhooks::list,
    registered_webhooks::create,
    registered_webhooks::one,
    registered_webhooks::delete,
    registered_webhooks::rotate_secret,
))]
struct AdministratorApi;

/// Requests of monitoring systems.
#[derive(OpenApi)]
#[openapi(paths(health::metrics))]
struct MonitorApi;

/// Requests of Dialpad.
#[derive(OpenApi)]
#[openapi(paths(webhooks::shared, webhooks::own))]
struct DialpadApi;

/// Requests of everyone.
#[derive(OpenApi)]
#[openapi(paths(
    oauth::authorize,
    oauth::callback,
    health::home,
    health::health,
    health::live,
    health::ready,
    served::openapi,
    served::openapi_3_0,
    served::asyncapi,
    served::page,
    served::style,
    served::script,
))]
struct PublicApi;

/// Paths under which an operation is available as well: the older path, the current one, and the id of the older
/// operation.
const OLDER_PATHS: [(&str, &str, &str); 4] = [
    ("/auth/dialpad/connect", "/authorize", "connect_dialpad"),
    ("/auth/dialpad/authorize", "/authorize", "authorize_dialpad"),
    ("/auth/dialpad/callback", "/callback", "callback_dialpad"),
    ("/webhooks/dialpad", "/webhooks", "receive_webhook_dialpad"),
];

/// Returns the OpenAPI 3.1 document.
#[must_use]
pub fn openapi_document() -> openapi::OpenApi {
    let mut document = Base::openapi();
    // The derive takes it from the authors of the crate.
    document.info.contact = None;
    for (access, mut part) in [
        (Access::Crm, CrmApi::openapi()),
        (Access::CrmOrQuery, StreamApi::openapi()),
        (Access::Socket, SocketApi::openapi()),
        (Access::Administrator, AdministratorApi::openapi()),
        (Access::Monitor, MonitorApi::openapi()),
        (Access::Dialpad, DialpadApi::openapi()),
        (Access::Public, PublicApi::openapi()),
    ] {
        access.secure(&mut part);
        document.merge(part);
    }
    for (older, current, id) in OLDER_PATHS {
        let item = document.paths.paths.get(current).cloned().unwrap_or_default();
        document.paths.paths.insert(older.to_owned(), as_older(item, current, id));
    }
    document.paths.paths.values_mut().filter_map(|item| item.head.as_mut()).for_each(complete_head);
    let tag = |(name, description)| TagBuilder::new().name(name).description(Some(description)).build();
    document.tags = Some(tags::ALL.map(tag).into());
    schemas::complete(&mut document);
    document
}

/// Returns the OpenAPI 3.0 document.
#[must_use]
pub fn openapi_3_0_document() -> serde_json::Value {
    version_3_0::converted(serde_json::to_value(openapi_document()).unwrap_or_default())
}

/// Returns the documents that the server serves.
pub(super) fn documents() -> Data<Documents> {
    static DOCUMENTS: LazyLock<Data<Documents>> = LazyLock::new(|| {
        let openapi = || serde_json::to_string(&openapi_document()).unwrap_or_default();
        let openapi_3_0 = || openapi_3_0_document().to_string();
        Data::new(Documents::new(openapi, openapi_3_0, || asyncapi_document().to_string()))
    });
    DOCUMENTS.clone()
}

fn as_older(mut item: PathItem, current: &str, id: &str) -> PathItem {
    for operation in security::operations(&mut item) {
        let summary = operation.summary.take().unwrap_or_default();
        operation.summary = Some(format!("{} (older path).", summary.trim_end_matches('.')));
        operation.description = Some(format!("The same as `{current}`."));
        operation.operation_id = Some(id.to_owned());
    }
    item
}

/// Describes a `HEAD`, which is documented at the handler together with the `GET`.
fn complete_head(head: &mut Operation) {
    let id = head.operation_id.take().unwrap_or_default();
    head.operation_id = Some(format!("{id}_head"));
    head.description = Some("The response of `GET` without the body.".to_owned());
    for response in head.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            response.content.clear();
        }
    }
}
