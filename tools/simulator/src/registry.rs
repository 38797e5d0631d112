//! The webhooks and subscriptions of the simulated companies, and who of them hears a given event.

use std::collections::BTreeMap;

use serde_json::Value;

/// Where events go, and the secret that signs them.
#[derive(Clone)]
pub(crate) struct Webhook {
    pub(crate) id: i64,
    pub(crate) company_id: i64,
    pub(crate) hook_url: String,
    pub(crate) secret: Option<String>,
}

/// A wish to hear of calls or of texts.
#[derive(Clone)]
pub(crate) struct Subscription {
    pub(crate) id: i64,
    pub(crate) company_id: i64,
    pub(crate) endpoint_id: i64,
    pub(crate) enabled: bool,
    /// `None` is the whole company.
    pub(crate) target: Option<(String, i64)>,
    pub(crate) topic: Topic,
}

/// What a subscription wants to hear.
#[derive(Clone)]
pub(crate) enum Topic {
    Calls {
        /// `None` is every state.
        states: Option<Vec<String>>,
        group_calls_only: bool,
    },
    Texts {
        direction: String,
        include_internal: bool,
        /// Whether changes of a text's delivery status are told too.
        status: bool,
    },
}

/// The two kinds of subscriptions, each with its own list and address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Calls,
    Texts,
}

impl Topic {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Calls { .. } => Kind::Calls,
            Self::Texts { .. } => Kind::Texts,
        }
    }
}

/// How many subscriptions of a kind a company may have.
const SUBSCRIPTIONS: usize = 100;
/// How many of them may have the whole company as their target.
const COMPANY_SUBSCRIPTIONS: usize = 10;

/// Everything that was registered and not deleted.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) webhooks: BTreeMap<i64, Webhook>,
    pub(crate) subscriptions: BTreeMap<i64, Subscription>,
    issued: i64,
}

impl Registry {
    /// An id that nothing had before.
    pub(crate) fn next_id(&mut self) -> i64 {
        self.issued += 1;
        4_800_000_000_000_000 + self.issued
    }

    /// Deletes a webhook and the subscriptions that point at it.
    pub(crate) fn delete_webhook(&mut self, id: i64) -> Option<Webhook> {
        let webhook = self.webhooks.remove(&id)?;
        self.subscriptions.retain(|_, subscription| subscription.endpoint_id != id);
        Some(webhook)
    }

    /// Whether a company may have one more subscription of a kind: so many in all, and fewer for the whole company.
    pub(crate) fn has_room(&self, company_id: i64, kind: Kind, target: Option<&(String, i64)>) -> bool {
        let whole = |target: Option<&(String, i64)>| target.is_none_or(|(kind, _)| kind == "company");
        let of_kind = || {
            let all = self.subscriptions.values();
            all.filter(|one| one.company_id == company_id && one.topic.kind() == kind)
        };
        let of_company = of_kind().filter(|one| whole(one.target.as_ref())).count();
        of_kind().count() < SUBSCRIPTIONS && (!whole(target) || of_company < COMPANY_SUBSCRIPTIONS)
    }

    /// How many enabled subscriptions there are.
    pub(crate) fn listeners(&self) -> usize {
        self.subscriptions.values().filter(|subscription| subscription.enabled).count()
    }

    /// The webhooks of a company that hear this payload: once for each subscription that wants it.
    pub(crate) fn audience(&self, company_id: i64, payload: &Value) -> Vec<Webhook> {
        let wants = |subscription: &&Subscription| {
            subscription.company_id == company_id && subscription.enabled && subscription.wants(payload)
        };
        let endpoint = |subscription: &Subscription| self.webhooks.get(&subscription.endpoint_id).cloned();
        self.subscriptions.values().filter(wants).filter_map(endpoint).collect()
    }
}

impl Subscription {
    fn wants(&self, payload: &Value) -> bool {
        self.covers(payload) && self.topic.includes(payload)
    }

    fn covers(&self, payload: &Value) -> bool {
        let Some((kind, id)) = &self.target else {
            return true;
        };
        let target = &payload["target"];
        let whose = target["id"].as_i64().or_else(|| payload["dialpad_user_id"].as_i64());
        match kind.as_str() {
            "company" => true,
            "office" if target["office_id"] == *id => true,
            // Targets are named otherwise in events than in subscriptions.
            kind => {
                let of_kind =
                    target["type"].as_str().map_or_else(|| "user".to_owned(), |kind| kind.replace('_', ""));
                whose == Some(*id) && of_kind == kind
            }
        }
    }
}

impl Topic {
    fn includes(&self, payload: &Value) -> bool {
        match self {
            Self::Calls { states, group_calls_only } => {
                let Some(state) = call_state(payload) else {
                    return false;
                };
                let wanted =
                    |states: &Vec<String>| states.iter().any(|wanted| wanted == state || wanted == "all");
                (!group_calls_only || is_group_call(payload)) && states.as_ref().is_none_or(wanted)
            }
            Self::Texts { direction, include_internal, status } => {
                let Some(text) = Text::of(payload) else {
                    return false;
                };
                (direction == "all" || direction == text.direction)
                    && (*include_internal || !text.internal)
                    && (*status || !text.status_change)
            }
        }
    }
}

/// The state of a call event. The workflow family's types count as the states in which they happen, so that one
/// subscription filters both families.
pub(crate) fn call_state(payload: &Value) -> Option<&str> {
    if let Some(state) = payload["state"].as_str() {
        return Some(state);
    }
    match payload["event_type"].as_str()? {
        "call.ring" if payload["direction"] == "outbound" => Some("calling"),
        "call.ring" => Some("ringing"),
        "call.started" | "call.resumed" => Some("connected"),
        "call.held" => Some("hold"),
        "call.ended" => Some("hangup"),
        "call.recording.completed" => Some("recording"),
        "call.merged" => Some("merged"),
        "voicemail.received" => Some("voicemail_uploaded"),
        _ => None,
    }
}

/// A leg of a group, or one that was rung for a group.
fn is_group_call(payload: &Value) -> bool {
    let of_group = payload["target"]["type"].as_str().is_some_and(|kind| kind != "user");
    of_group || payload["entry_point_call_id"].is_i64()
}

struct Text<'a> {
    direction: &'a str,
    internal: bool,
    status_change: bool,
}

impl<'a> Text<'a> {
    fn of(payload: &'a Value) -> Option<Self> {
        if call_state(payload).is_some() {
            return None;
        }
        Some(Self {
            direction: payload["direction"].as_str()?,
            internal: payload["is_internal"].as_bool().unwrap_or(false),
            // The first event of a text says `pending`; whatever follows is a change.
            status_change: payload["message_status"].as_str().is_some_and(|status| status != "pending"),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn calls(states: Option<&[&str]>) -> Topic {
        let owned = |states: &[&str]| states.iter().map(|state| (*state).to_owned()).collect();
        Topic::Calls { states: states.map(owned), group_calls_only: false }
    }

    #[test]
    fn omitted_states_are_all_states() {
        let hangup = json!({"state": "hangup", "call_id": 1});
        assert!(calls(None).includes(&hangup));
        assert!(calls(Some(&["all"])).includes(&hangup));
        assert!(calls(Some(&["ringing", "hangup"])).includes(&hangup));
        assert!(!calls(Some(&["ringing"])).includes(&hangup));
        assert!(!calls(Some(&[])).includes(&hangup));
    }

    #[test]
    fn workflow_types_pass_the_filter_of_their_state() {
        let resumed = json!({"event_type": "call.resumed", "call_id": 1});
        assert!(calls(Some(&["connected"])).includes(&resumed));
        assert!(!calls(Some(&["hold"])).includes(&resumed));
        assert!(!calls(None).includes(&json!({"event_type": "message.sent", "direction": "outbound"})));
    }

    #[test]
    fn texts_are_filtered_by_direction_and_status() {
        let topic = |direction: &str, status| Topic::Texts {
            direction: direction.to_owned(),
            include_internal: false,
            status,
        };
        let sent = json!({"direction": "outbound", "message_status": "pending"});
        let delivered = json!({"direction": "outbound", "message_status": "delivered"});
        assert!(topic("all", false).includes(&sent) && topic("outbound", false).includes(&sent));
        assert!(!topic("inbound", true).includes(&sent));
        assert!(!topic("all", false).includes(&delivered) && topic("all", true).includes(&delivered));
        assert!(!topic("all", true).includes(&json!({"state": "ringing", "direction": "inbound"})));
    }
}
