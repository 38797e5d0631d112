//! The groups of operations.

pub(crate) const CONNECTION: &str = "Connection";
pub(crate) const CALLS: &str = "Calls";
pub(crate) const RECORDINGS: &str = "Recordings";
pub(crate) const VOICEMAILS: &str = "Voicemails";
pub(crate) const MESSAGES: &str = "Text messages";
pub(crate) const FEED: &str = "Event feed";
pub(crate) const CONSUMERS: &str = "Named consumers";
pub(crate) const WEBHOOKS: &str = "Webhooks from Dialpad";
pub(crate) const APPS: &str = "Administration: apps";
pub(crate) const API_KEYS: &str = "Administration: API keys";
pub(crate) const USER_MAPPINGS: &str = "Administration: user mappings";
pub(crate) const APP_VOICEMAILS: &str = "Administration: voicemails";
pub(crate) const JOURNAL: &str = "Administration: journal";
pub(crate) const REGISTERED_WEBHOOKS: &str = "Administration: webhooks at Dialpad";
pub(crate) const ENGINE: &str = "Administration: engine";
pub(crate) const HEALTH: &str = "Health";
pub(crate) const DOCUMENTATION: &str = "Documentation";

/// All groups with their descriptions, in the order of the document.
pub(crate) const ALL: [(&str, &str); 17] = [
    (CONNECTION, "Connect an app to Dialpad, once, in a browser, and check the connection."),
    (CALLS, "Calls, each one leg at Dialpad, and the interactions that they belong to."),
    (RECORDINGS, "Audio, streamed from Dialpad."),
    (VOICEMAILS, "Messages that callers left."),
    (MESSAGES, "Inbound and outbound text messages."),
    (
        FEED,
        "Every event of an app, emitted once, in order, without gaps. A client can resume after any event.",
    ),
    (CONSUMERS, "Readers of the feed whose cursor the server stores."),
    (WEBHOOKS, "The endpoints that Dialpad delivers webhooks to."),
    (APPS, "The tenants of the server."),
    (API_KEYS, "The API keys of an app. A key is shown once and stored as a hash."),
    (USER_MAPPINGS, "The users of the CRM that belong to Dialpad's users."),
    (APP_VOICEMAILS, "The voicemails of an app, which an administrator can delete."),
    (JOURNAL, "Every authentic webhook as it was received, and the result of processing it."),
    (REGISTERED_WEBHOOKS, "The webhooks that the server has registered at Dialpad."),
    (ENGINE, "What a process does at the moment."),
    (HEALTH, "The state of the server."),
    (DOCUMENTATION, "The server's own documentation."),
];
