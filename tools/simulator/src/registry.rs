//! The webhooks and subscriptions of the simulated companies, and which webhooks receive an event.

use std::collections::BTreeMap;

use serde_json::Value;

/// A webhook: where events are sent, and the secret that signs them.
#[derive(Clone)]
pub(crate) struct Webhook {
    pub(crate) id: i64,
    pub(crate) company_id: i64,
    pub(crate) hook_url: String,
    pub(crate) secret: Option<String>,
}

/// A subscription to calls or to text messages.
#[derive(Clone)]
pub(crate) struct Subscription {
    pub(crate) id: i64,
    pub(crate) company_id: i64,
    pub(crate) endpoint_id: i64,
    pub(crate) enabled: bool,
    /// `None`: the whole company.
    pub(crate) target: Option<(String, i64)>,
    pub(crate) filter: SubscriptionFilter,
}

/// Which events a subscription receives.
#[derive(Clone)]
pub(crate) enum SubscriptionFilter {
    Calls {
        /// `None`: every state.
        states: Option<Vec<String>>,
        group_calls_only: bool,
    },
    Texts {
        direction: String,
        include_internal: bool,
        /// Whether changes of the delivery status are sent too.
        status: bool,
    },
}

/// The two kinds of subscriptions; each has its own list and path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubscriptionKind {
    Calls,
    Texts,
}

impl SubscriptionFilter {
    pub(crate) fn kind(&self) -> SubscriptionKind {
        match self {
            Self::Calls { .. } => SubscriptionKind::Calls,
            Self::Texts { .. } => SubscriptionKind::Texts,
        }
    }
}

/// Maximum number of subscriptions of a kind per company.
const MAX_SUBSCRIPTIONS: usize = 100;
/// Maximum number of subscriptions of a kind with the whole company as target.
const MAX_COMPANY_SUBSCRIPTIONS: usize = 10;

/// Everything that was registered and not deleted.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) webhooks: BTreeMap<i64, Webhook>,
    pub(crate) subscriptions: BTreeMap<i64, Subscription>,
    issued: i64,
}

impl Registry {
    /// Returns an id that was never used.
    pub(crate) fn next_id(&mut self) -> i64 {
        self.issued += 1;
        4_800_000_000_000_000 + self.issued
    }

    /// Deletes a webhook and its subscriptions.
    pub(crate) fn delete_webhook(&mut self, id: i64) -> Option<Webhook> {
        let webhook = self.webhooks.remove(&id)?;
        self.subscriptions.retain(|_, subscription| subscription.endpoint_id != id);
        Some(webhook)
    }

    /// Returns whether a company may have one more subscription of a kind with this target.
    pub(crate) fn allows_another(
        &self,
        company_id: i64,
        kind: SubscriptionKind,
        target: Option<&(String, i64)>,
    ) -> bool {
        let whole = |target: Option<&(String, i64)>| target.is_none_or(|(kind, _)| kind == "company");
        let of_kind = || {
            let all = self.subscriptions.values();
            all.filter(|subscription| {
                subscription.company_id == company_id && subscription.filter.kind() == kind
            })
        };
        let of_company = of_kind().filter(|one| whole(one.target.as_ref())).count();
        of_kind().count() < MAX_SUBSCRIPTIONS && (!whole(target) || of_company < MAX_COMPANY_SUBSCRIPTIONS)
    }

    /// Returns the number of enabled subscriptions.
    pub(crate) fn enabled_subscriptions(&self) -> usize {
        self.subscriptions.values().filter(|subscription| subscription.enabled).count()
    }

    /// Returns the webhooks of a company that receive this payload, once per matching subscription.
    pub(crate) fn receivers(&self, company_id: i64, payload: &Value) -> Vec<Webhook> {
        let receives = |subscription: &&Subscription| {
            subscription.company_id == company_id && subscription.enabled && subscription.matches(payload)
        };
        let endpoint = |subscription: &Subscription| self.webhooks.get(&subscription.endpoint_id).cloned();
        self.subscriptions.values().filter(receives).filter_map(endpoint).collect()
    }
}

impl Subscription {
    fn matches(&self, payload: &Value) -> bool {
        self.is_in_scope(payload) && self.filter.matches(payload)
    }

    fn is_in_scope(&self, payload: &Value) -> bool {
        let Some((kind, id)) = &self.target else {
            return true;
        };
        let target = &payload["target"];
        let target_id = target["id"].as_i64().or_else(|| payload["dialpad_user_id"].as_i64());
        match kind.as_str() {
            "company" => true,
            "office" if target["office_id"] == *id => true,
            // Events and subscriptions name target types differently.
            kind => {
                let of_kind =
                    target["type"].as_str().map_or_else(|| "user".to_owned(), |kind| kind.replace('_', ""));
                target_id == Some(*id) && of_kind == kind
            }
        }
    }
}

impl SubscriptionFilter {
    fn matches(&self, payload: &Value) -> bool {
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

/// Returns the state of a call event. The workflow family's types count as the states in which they happen, so that one
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

/// Returns whether a leg belongs to a group, or was rung for a group.
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
            // The first event of a text says `pending`; later ones are changes.
            status_change: payload["message_status"].as_str().is_some_and(|status| status != "pending"),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn calls(states: Option<&[&str]>) -> SubscriptionFilter {
        let owned = |states: &[&str]| states.iter().map(|state| (*state).to_owned()).collect();
        SubscriptionFilter::Calls { states: states.map(owned), group_calls_only: false }
    }

    #[test]
    fn omitted_states_are_all_states() {
        let hangup = json!({"state": "hangup", "call_id": 1});
        assert!(calls(None).matches(&hangup));
        assert!(calls(Some(&["all"])).matches(&hangup));
        assert!(calls(Some(&["ringing", "hangup"])).matches(&hangup));
        assert!(!calls(Some(&["ringing"])).matches(&hangup));
        assert!(!calls(Some(&[])).matches(&hangup));
    }

    #[test]
    fn workflow_types_pass_the_filter_of_their_state() {
        let resumed = json!({"event_type": "call.resumed", "call_id": 1});
        assert!(calls(Some(&["connected"])).matches(&resumed));
        assert!(!calls(Some(&["hold"])).matches(&resumed));
        assert!(!calls(None).matches(&json!({"event_type": "message.sent", "direction": "outbound"})));
    }

    #[test]
    fn texts_are_filtered_by_direction_and_status() {
        let filter = |direction: &str, status| SubscriptionFilter::Texts {
            direction: direction.to_owned(),
            include_internal: false,
            status,
        };
        let sent = json!({"direction": "outbound", "message_status": "pending"});
        let delivered = json!({"direction": "outbound", "message_status": "delivered"});
        assert!(filter("all", false).matches(&sent) && filter("outbound", false).matches(&sent));
        assert!(!filter("inbound", true).matches(&sent));
        assert!(!filter("all", false).matches(&delivered) && filter("all", true).matches(&delivered));
        assert!(!filter("all", true).matches(&json!({"state": "ringing", "direction": "inbound"})));
    }
}
