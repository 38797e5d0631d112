//! How the server is, and what it says of itself.

use serde_json::{Value, json};
use utoipa::openapi::{
    Content,
    content::ContentBuilder,
    schema::{ObjectBuilder, Type},
};

use super::{
    schemas::named,
    way::{Access, Group, Way, text},
};
use crate::{error::ErrorCode::*, http::health};

const HEALTH: Group = Group { tag: "Health", access: Access::Anyone };
const DOCUMENTS: Group = Group { tag: "Documents", access: Access::Anyone };

pub(super) fn ways() -> Vec<Way> {
    let mut ways: Vec<Way> = [home(), whole(), live(), ready()]
        .into_iter()
        .flat_map(|get| {
            let head = get.as_head(&format!("{}_head", get.id()));
            [get, head]
        })
        .collect();
    ways.extend([metrics(), openapi()]);
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

fn openapi() -> Way {
    DOCUMENTS
        .get("/openapi.json", "openapi", "This document")
        .streams(200, "An OpenAPI 3.1 document.", "application/json", document())
        .with_header(200, "ETag", "Changes with the document.")
        .answers(304, "It is the one that `If-None-Match` names.")
}

fn document() -> Content {
    ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::Object))).build()
}
