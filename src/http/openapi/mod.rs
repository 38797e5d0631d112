//! What the server says of itself: documents made from the code, so that they can't differ from it.
//!
//! Schemas are derived from the structs that are written ([`schemas`]); errors come from the table of codes
//! ([`refusals`]); ways to ask are listed by group, and tests hold them to the table of routes. To add a route: a line in
//! that table, and a [`way`] in the file of its group.

pub(crate) mod apps;
pub(crate) mod asyncapi;
pub(crate) mod bodies;
pub(crate) mod calls;
pub(crate) mod consumers;
pub(crate) mod engine;
pub(crate) mod errors;
pub(crate) mod examples;
pub(crate) mod feed;
pub(crate) mod health;
pub(crate) mod items;
pub(crate) mod journal;
pub(crate) mod oauth;
pub(crate) mod operation;
pub(crate) mod parameters;
pub(crate) mod schemas;
pub(crate) mod security;
pub(crate) mod served;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod users;
pub(crate) mod webhooks;

use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Server,
    path::PathItem, tag::TagBuilder,
};

pub use self::asyncapi::asyncapi_document;
use self::operation::Way;
pub(super) use self::served::{asyncapi, openapi, page, script, style};

const DESCRIPTION: &str = "\
What CRMs, administrators and Dialpad ask of cti-server over HTTP. What is said on the WebSocket is in \
`/asyncapi.json`; both are shown at `/docs`.\n\n\
**Errors** all have one shape: decide by `code`. Whatever is not listed here answers 404 `NOT_FOUND`, and 405 \
`METHOD_NOT_ALLOWED` where only the method is wrong. Nothing is ignored silently: an unknown parameter, a parameter \
given twice and a value that can't be understood answer 400 and name the parameter.\n\n\
**Lists** are arrays; while there is more, a `Link` leads to the next page.\n\n\
In production, what comes over plain http is sent to https (`GET` and `HEAD`: 308) or refused (403 `HTTPS_REQUIRED`).";

const TAGS: [(&str, &str); 17] = [
    ("Connecting", "An app is connected to Dialpad by a person, once."),
    ("Calls", "Calls, each one leg at Dialpad, and the human calls that they belong to."),
    ("Recordings", "Audio, streamed from Dialpad."),
    ("Voicemails", "What callers left."),
    ("Text messages", "Messages that came in and went out."),
    (
        "The feed",
        "Everything that happens, told once, in order, without holes, to be resumed from any place.",
    ),
    ("Named consumers", "Readers of the feed whose cursor the server keeps."),
    ("Webhooks in", "The door for Dialpad."),
    ("Administration: apps", "The tenants."),
    ("Administration: keys", "An app's API keys, which are shown once and kept as hashes."),
    ("Administration: user mappings", "What the CRM calls the users of Dialpad."),
    ("Administration: voicemails", "An app's voicemails, which may be deleted."),
    ("Administration: journal", "Every authentic webhook as it came, and what became of it."),
    ("Administration: webhooks at Dialpad", "What the server has registered there."),
    ("Administration: engine", "What this process does at the moment."),
    ("Health", "How the server is."),
    ("Documents", "What the server says of itself."),
];

/// Every way to ask the server.
fn ways() -> Vec<Way> {
    let groups = [
        oauth::ways(),
        calls::ways(),
        items::ways(),
        feed::ways(),
        consumers::ways(),
        webhooks::ways(),
        apps::ways(),
        users::ways(),
        journal::ways(),
        engine::ways(),
        health::ways(),
    ];
    groups.into_iter().flatten().collect()
}

/// Every address, with its methods.
pub fn routes() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    super::ROUTES.iter().copied()
}

/// The OpenAPI document.
#[must_use]
pub fn openapi_document() -> OpenApi {
    let license = LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0"));
    let info = InfoBuilder::new()
        .title("CTI Server")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(license.build()));
    let mut components = ComponentsBuilder::new().schemas_from_iter(schemas::all());
    for (name, scheme) in security::schemes() {
        components = components.security_scheme(name, scheme);
    }
    let mut paths = PathsBuilder::new();
    for way in ways() {
        let (path, method) = (way.path.clone(), way.method.clone());
        paths = paths.path(path, PathItem::new(method, way.operation()));
    }
    let tags =
        TAGS.map(|(name, description)| TagBuilder::new().name(name).description(Some(description)).build());
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/")]))
        .paths(paths)
        .components(Some(components.build()))
        .tags(Some(tags))
        .build()
}
