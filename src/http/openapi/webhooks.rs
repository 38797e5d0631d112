//! The door for Dialpad.

use serde_json::json;
use utoipa::openapi::{Required, content::ContentBuilder, schema::AnyOfBuilder};

use super::{
    bodies,
    operation::{Access, Group, Way, text},
    parameters::{path, uuid},
    schemas::named,
};
use crate::http::{error::ErrorCode::*, webhooks::Taken};

const DIALPAD: Group = Group { tag: "Webhooks in", access: Access::Dialpad };

pub(crate) fn ways() -> Vec<Way> {
    let shared = webhook(DIALPAD.post("/webhooks", "receive_webhook", "Take a webhook for whoever it is for").says(
        "The payload's organization decides which apps it goes to. Authentic is a JSON body with its HMAC-SHA256 in \
         `x-dialpad-signature` (hex or base64, `sha256=` before it or not), or a compact JWS with `alg` HS256; which \
         one it is, the body decides. 200 comes only when it is durable, and always for an authentic one: what nobody \
         is responsible for, and what can't be read, is kept with the reason.",
    ));
    let own = DIALPAD
        .post("/webhooks/{app_id}", "receive_webhook_of_app", "Take a webhook for an app")
        .says("This is the address that the server registers at Dialpad, with a secret of the app's own.");
    let own =
        webhook(own).with_parameter(path("app_id", uuid(), "The app. One that does not exist answers 401."));
    vec![shared.also_at("/webhooks/dialpad", "receive_webhook_dialpad"), shared, own]
}

fn webhook(way: Way) -> Way {
    // As in the workflow document.
    let ring = json!({
        "event_type": "call.ring", "call_id": 9_876_543_210_i64, "direction": "inbound",
        "from_number": "+14155551234", "to_number": "+14155555678", "dialpad_user_id": 555,
        "timestamp": 1_704_067_200, "organization_id": 12_345_678,
        "raw_payload": {"event": "call.ring", "call": {
            "id": 9_876_543_210_i64, "direction": "INBOUND", "from_number": "+14155551234",
            "to_number": "+14155555678", "user_id": 555, "created_at": "2024-01-01T12:00:00Z",
        }},
    });
    let families =
        AnyOfBuilder::new().item(named::<bodies::WorkflowWebhook>()).item(named::<bodies::DialpadWebhook>());
    let json = ContentBuilder::new().schema(Some(families)).example(Some(ring)).build();
    let jws = ContentBuilder::new().schema(Some(text())).build();
    let taken = json!({
        "success": true, "event_id": "018cc4e5-2270-7c12-8f01-6a7b8c9d0e1f", "duplicate": false,
    });
    way.reads_one_of(Required::True, [("application/json", json), ("application/jwt", jws)])
        .shows(
            200,
            "It is kept. `status` and `reason` are there where it is not processed.",
            named::<Taken>(),
            taken,
        )
        .refuses([PayloadTooLarge, UnsupportedMediaType])
}
