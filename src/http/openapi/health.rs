//! How the server is, and what it says of itself.

use serde_json::{Value, json};
use utoipa::openapi::{
    Content,
    content::ContentBuilder,
    schema::{ObjectBuilder, Type},
};

use super::{
    operation::{Access, Group, Way, text},
    schemas::named,
};
use crate::http::{error::ErrorCode::*, health};

const HEALTH: Group = Group { tag: "Health", access: Access::Anyone };
const DOCUMENTS: Group = Group { tag: "Documents", access: Access::Anyone };

pub(crate) fn ways() -> Vec<Way> {
    let mut ways: Vec<Way> = [home(), whole(), live(), ready()]
        .into_iter()
        .flat_map(|get| {
            let head = get.as_head(&format!("{}_head", get.id()));
            [get, head]
        })
        .collect();
    ways.push(metrics());
    ways.extend(documents());
    ways
}

fn home() -> Way {
    let home = json!({"message": "CTI Server is running", "version": env!("CARGO_PKG_VERSION")});
    HEALTH.get("/", "home", "Whether the server runs").shows(200, "It does.", named::<health::Home>(), home)
}

fn report(status: &str, database: &str) -> Value {
    json!({
        "status": status, "timestamp": "2024-01-01T12:00:00.112Z", "uptime": 86_400, "environment": "sandbox",
        "version": env!("CARGO_PKG_VERSION"), "checks": {"database": database},
    })
}

fn whole() -> Way {
    HEALTH
        .get("/health", "health", "How the server is")
        .shows(200, "It is well.", named::<health::Health>(), report("healthy", "ok"))
        .shows(
            503,
            "The database can't be reached.",
            named::<health::Health>(),
            report("unhealthy", "the database took too long"),
        )
}

fn live() -> Way {
    let live = json!({"status": "live"});
    HEALTH.get("/health/live", "health_live", "Whether the process runs").shows(
        200,
        "It does.",
        named::<health::Probe>(),
        live,
    )
}

fn ready() -> Way {
    HEALTH
        .get("/health/ready", "health_ready", "Whether the server may be sent traffic")
        .shows(200, "It may.", named::<health::Probe>(), json!({"status": "ready"}))
        .refuses([DatabaseUnavailable])
}

fn metrics() -> Way {
    let content = ContentBuilder::new().schema(Some(text())).build();
    Group { tag: "Health", access: Access::Monitor }
        .get("/metrics", "metrics", "What is measured, in Prometheus' text format")
        .says("The bearer is asked for only where `METRICS_TOKEN` is set.")
        .streams(200, "The metrics.", "text/plain", content)
}

fn documents() -> Vec<Way> {
    let file = |path: &str, id: &str, summary: &str, media: &str, content: Content| {
        DOCUMENTS
            .get(path, id, summary)
            .streams(200, "The document.", media, content)
            .with_header(200, "ETag", "Changes with the document.")
            .answers(304, "It is the one that `If-None-Match` names.")
    };
    let words = || ContentBuilder::new().schema(Some(text())).build();
    vec![
        file("/openapi.json", "openapi", "This document, OpenAPI 3.1", "application/json", document()),
        file(
            "/asyncapi.json",
            "asyncapi",
            "What is said on the WebSocket, AsyncAPI 3.0",
            "application/json",
            document(),
        ),
        file("/docs", "docs", "Both documents as a page", "text/html", words()),
        file("/docs/page.css", "docs_style", "How the page looks", "text/css", words()),
        file("/docs/page.js", "docs_script", "How the page is made", "text/javascript", words()),
    ]
}

fn document() -> Content {
    ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::Object))).build()
}
