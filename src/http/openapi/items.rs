//! Voicemails and text messages, for CRMs and for administrators.

use serde_json::json;

use super::{
    examples,
    operation::{Access, Group, Way, text},
    parameters::{app_id, ids, of_lists, path},
    schemas::{list_of, named},
};
use crate::{
    http::error::ErrorCode::*,
    store::views::{messages::MessageView, voicemails::VoicemailView},
};

const VOICEMAILS: Group = Group { tag: "Voicemails", access: Access::Crm };
const MESSAGES: Group = Group { tag: "Text messages", access: Access::Crm };
const FOR_ADMINISTRATORS: Group = Group { tag: "Administration: voicemails", access: Access::Administrator };
const BY: &str = "By our `id` or by Dialpad's.";

pub(crate) fn ways() -> Vec<Way> {
    let orders = "In the same orders as calls, with the same parameters but for `status`.";
    let voicemails = |way: Way| {
        let page = list_of(named::<VoicemailView>());
        way.takes(of_lists())
            .shows(200, "A page of voicemails.", page, json!([examples::voicemail()]))
            .paged()
    };
    let voicemail = |way: Way| {
        way.takes([path("id", text(), BY), ids()])
            .shows(200, "The voicemail.", named::<VoicemailView>(), examples::voicemail())
            .refuses([VoicemailNotFound])
    };
    vec![
        voicemails(VOICEMAILS.get("/api/voicemails", "list_voicemails", "List voicemails").says(orders)),
        voicemail(VOICEMAILS.get("/api/voicemails/{id}", "get_voicemail", "Show a voicemail")),
        MESSAGES
            .get("/api/messages", "list_messages", "List text messages")
            .says(
                "In the same orders as calls. `to` finds a message by each of the numbers it was written to.",
            )
            .takes(of_lists())
            .shows(200, "A page of messages.", list_of(named::<MessageView>()), json!([examples::message()]))
            .paged(),
        MESSAGES
            .get("/api/messages/{id}", "get_message", "Show a text message")
            .takes([path("id", text(), BY), ids()])
            .shows(200, "The message.", named::<MessageView>(), examples::message())
            .refuses([MessageNotFound]),
        voicemails(FOR_ADMINISTRATORS.get(
            "/internal/apps/{app_id}/voicemails",
            "list_voicemails_of_app",
            "List an app's voicemails",
        ))
        .takes([app_id()])
        .refuses([AppNotFound]),
        voicemail(FOR_ADMINISTRATORS.get(
            "/internal/apps/{app_id}/voicemails/{id}",
            "get_voicemail_of_app",
            "Show a voicemail of an app",
        ))
        .takes([app_id()])
        .refuses([AppNotFound]),
        FOR_ADMINISTRATORS
            .delete("/internal/apps/{app_id}/voicemails/{id}", "delete_voicemail", "Delete a voicemail")
            .says(
                "For good: nothing that Dialpad still sends brings it back. What was told before stays told.",
            )
            .takes([app_id(), path("id", text(), BY)])
            .answers(204, "It is gone.")
            .refuses([AppNotFound, VoicemailNotFound]),
    ]
}
