//! Named consumers, for their CRM.

use serde_json::{Value, json};
use utoipa::openapi::Required;

use super::{
    bodies,
    operation::{Access, Group, Way},
    parameters::{consumer_name, paging, path},
    schemas::{list_of, named},
};
use crate::{http::error::ErrorCode::*, store::feed::consumers::ConsumerView};

const CONSUMERS: Group = Group { tag: "Named consumers", access: Access::Crm };

pub(crate) fn ways() -> Vec<Way> {
    let name = || path("name", consumer_name(), "The consumer.");
    vec![
        CONSUMERS
            .get("/api/consumers", "list_consumers", "List consumers")
            .says("By name.")
            .takes(paging())
            .shows(200, "A page of consumers.", list_of(named::<ConsumerView>()), json!([consumer(39)]))
            .paged(),
        CONSUMERS
            .get("/api/consumers/{name}", "get_consumer", "Show a consumer")
            .takes([name()])
            .shows(200, "The consumer.", named::<ConsumerView>(), consumer(39))
            .refuses([ConsumerNotFound]),
        CONSUMERS
            .delete("/api/consumers/{name}", "delete_consumer", "Delete a consumer")
            .says("Its connections are closed with 4409. Whoever comes with its name begins anew.")
            .takes([name()])
            .answers(204, "It is gone.")
            .refuses([ConsumerNotFound]),
        CONSUMERS
            .post("/api/consumers/{name}/ack", "acknowledge", "Acknowledge events")
            .says(
                "For who reads without a WebSocket. Everything up to `seq` is dealt with: it does not come again. The \
                 cursor never goes back. When this is answered, it is durable.",
            )
            .takes([name()])
            .reads(Required::True, named::<bodies::Acknowledgement>(), json!({"seq": 42}))
            .shows(200, "The consumer as it is now.", named::<ConsumerView>(), consumer(42))
            .refuses([ConsumerNotFound, ConsumerElsewhere, CursorAhead]),
    ]
}

fn consumer(acked_seq: i64) -> Value {
    json!({
        "name": "crm-backend", "mode": "exclusive", "acked_seq": acked_seq, "behind": 42 - acked_seq,
        "connections": 1, "created_at": "2024-01-01T11:50:00.104233Z", "updated_at": "2024-01-01T12:00:04.771025Z",
    })
}
