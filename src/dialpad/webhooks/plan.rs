//! What has to change at Dialpad so that an app's events arrive. Pure: decided from what is there. Once a plan is
//! applied, the next one changes nothing.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::{
    kind::SubscriptionKind,
    remote::{Remote, RemoteSubscription, RemoteWebhook, Signing},
};
use crate::{dialpad::client::request::Endpoint, store::dialpad::own_webhooks::OwnWebhook};

/// How many subscriptions of a kind a company may have, and how many of them may be for the whole company
/// (<https://developers.dialpad.com/docs/event-subscriptions>).
const MAX_SUBSCRIPTIONS: usize = 100;
const MAX_COMPANY_SUBSCRIPTIONS: usize = 10;

/// What to do about one webhook or subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: the one with this id is in order.
    Keep(String),
    /// Update the one with this id.
    Update(String),
    /// Create one.
    Create,
    /// Create none, because the company has reached Dialpad's limit; the problem, for administrators.
    LimitReached(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) webhook: Step,
    /// A kind that Dialpad refuses to list is absent.
    pub(crate) subscriptions: BTreeMap<SubscriptionKind, SubscriptionPlan>,
    /// Further webhooks at the app's address.
    pub(crate) surplus_webhooks: Vec<String>,
    /// Why calls may not have been delivered; `None` if they were.
    pub(crate) calls_missing: Option<&'static str>,
}

/// What to do about the subscriptions of one kind.
#[derive(Clone, Debug)]
pub(crate) struct SubscriptionPlan {
    pub(crate) step: Step,
    /// Further subscriptions of the app.
    pub(crate) surplus: Vec<String>,
    /// Whether the surplus has to be removed first, because of Dialpad's limit.
    pub(crate) remove_surplus_first: bool,
}

/// Decides what to change so that events arrive at `hook_url`, signed with the present secret. `can_read_texts`: whether
/// a subscription that is created now delivers the texts of messages.
pub(crate) fn plan(remote: &Remote, own: &OwnWebhook, hook_url: &str, can_read_texts: bool) -> Plan {
    let stored_id = own.dialpad_webhook_id.as_deref();
    let candidates = remote.webhooks.iter().filter(|webhook| is_own(webhook, own, hook_url));
    // Preferably one that needs no change, and then the stored one.
    let kept = candidates
        .min_by_key(|webhook| (!is_in_order(webhook, own, hook_url), Some(webhook.id.as_str()) != stored_id));
    let webhook = match kept {
        None => Step::Create,
        Some(kept) if is_in_order(kept, own, hook_url) => Step::Keep(kept.id.clone()),
        Some(kept) => Step::Update(kept.id.clone()),
    };
    let kept_id = kept.map(|webhook| webhook.id.as_str());
    // The stored one, if it points at another address, is not the app's any more as soon as there is another.
    let at_hook_url = remote.webhooks.iter().filter(|webhook| webhook.hook_url.as_deref() == Some(hook_url));
    let surplus_webhooks: Vec<String> =
        at_hook_url.map(|webhook| webhook.id.clone()).filter(|id| Some(id.as_str()) != kept_id).collect();

    let own_webhooks = OwnWebhooks { kept: kept_id, surplus: &surplus_webhooks, hook_url };
    let mut subscriptions = BTreeMap::new();
    let mut call_subscription_missing = None;
    for (kind, existing) in &remote.subscriptions {
        let is_outdated = kind.is_outdated(own, can_read_texts);
        let (subscription, missing) =
            own_webhooks.plan_subscription(*kind, existing, kind.stored_id(own), is_outdated);
        subscriptions.insert(*kind, subscription);
        if *kind == SubscriptionKind::Calls {
            call_subscription_missing = missing;
        }
    }
    let webhook_missing = match kept {
        None => Some("the webhook was missing"),
        Some(kept) if kept.hook_url.as_deref() != Some(hook_url) => {
            Some("the webhook pointed at another address")
        }
        Some(kept) if has_accepted_secret(kept, own) => None,
        Some(_) => Some("the webhook was signed with another secret"),
    };
    let calls_missing = webhook_missing.or(call_subscription_missing);
    Plan { webhook, subscriptions, surplus_webhooks, calls_missing }
}

/// Returns everything at Dialpad that belongs to the app, in the order in which it is removed.
pub(crate) fn everything_own(remote: &Remote, own: &OwnWebhook, hook_url: &str) -> Vec<(Endpoint, String)> {
    let webhooks: Vec<String> = remote
        .webhooks
        .iter()
        .filter(|webhook| is_own(webhook, own, hook_url))
        .map(|webhook| webhook.id.clone())
        .collect();
    let own_webhooks = OwnWebhooks { kept: None, surplus: &webhooks, hook_url };
    let mut everything = Vec::new();
    for (kind, existing) in &remote.subscriptions {
        let delivering = existing.iter().filter(|subscription| own_webhooks.have(subscription));
        everything.extend(delivering.map(|subscription| (kind.endpoint(), subscription.id.clone())));
    }
    everything.extend(webhooks.into_iter().map(|id| (Endpoint::Webhooks, id)));
    everything
}

fn is_own(webhook: &RemoteWebhook, own: &OwnWebhook, hook_url: &str) -> bool {
    webhook.hook_url.as_deref() == Some(hook_url) || own.dialpad_webhook_id.as_ref() == Some(&webhook.id)
}

fn is_in_order(webhook: &RemoteWebhook, own: &OwnWebhook, hook_url: &str) -> bool {
    let is_signed = match &webhook.signing {
        Signing::With(_) => webhook.signing.is_with(&own.secret),
        // In order as far as is known, unless the secret has to change.
        Signing::Hidden => !own.is_rotating(),
        Signing::Unsigned => false,
    };
    is_signed && webhook.hook_url.as_deref() == Some(hook_url)
}

/// Returns whether events were accepted: old secrets are accepted too.
fn has_accepted_secret(webhook: &RemoteWebhook, own: &OwnWebhook) -> bool {
    match &webhook.signing {
        Signing::Hidden => true,
        Signing::Unsigned => false,
        signing => signing.is_with(&own.secret) || own.retired.iter().any(|old| signing.is_with(&old.secret)),
    }
}

/// The webhooks at Dialpad that belong to the app.
struct OwnWebhooks<'a> {
    /// The one that stays, if there is one.
    kept: Option<&'a str>,
    /// The others.
    surplus: &'a [String],
    hook_url: &'a str,
}

impl OwnWebhooks<'_> {
    /// Returns whether a subscription delivers to one of them.
    fn have(&self, subscription: &RemoteSubscription) -> bool {
        let webhook = subscription.webhook_id.as_deref();
        let by_id =
            webhook.is_some_and(|id| Some(id) == self.kept || self.surplus.iter().any(|own| own == id));
        by_id || subscription.hook_url.as_deref() == Some(self.hook_url)
    }

    /// Returns why a subscription delivered nothing, or not everything.
    fn defect(&self, subscription: &RemoteSubscription) -> Option<&'static str> {
        if self.kept.is_none() || subscription.webhook_id.as_deref() != self.kept {
            Some("the subscription pointed at another webhook")
        } else if !subscription.enabled {
            Some("the subscription was disabled")
        } else if subscription.is_restricted {
            Some("the subscription was restricted")
        } else {
            None
        }
    }

    /// Decides what to do about the subscriptions of a kind. Also returns why events may not have been delivered.
    /// `is_outdated`: no existing subscription can deliver everything, whatever is changed.
    fn plan_subscription(
        &self,
        kind: SubscriptionKind,
        existing: &[RemoteSubscription],
        stored_id: Option<&str>,
        is_outdated: bool,
    ) -> (SubscriptionPlan, Option<&'static str>) {
        let is_stored = |subscription: &RemoteSubscription| Some(subscription.id.as_str()) == stored_id;
        // As far as is known, a target can't be removed from a subscription, so one with a target is replaced.
        let usable = existing.iter().filter(|subscription| {
            !is_outdated && !subscription.has_target && (self.have(subscription) || is_stored(subscription))
        });
        let kept =
            usable.min_by_key(|subscription| (self.defect(subscription).is_some(), !is_stored(subscription)));
        let surplus: Vec<&RemoteSubscription> = existing
            .iter()
            .filter(|subscription| {
                self.have(subscription) && kept.is_none_or(|kept| kept.id != subscription.id)
            })
            .collect();
        let missing = match kept {
            Some(kept) => self.defect(kept),
            None => Some("there was no subscription"),
        };

        let company_wide = |subscription: &&RemoteSubscription| !subscription.has_target;
        let all = existing.len();
        let all_company_wide = existing.iter().filter(company_wide).count();
        let surplus_company_wide = surplus.iter().copied().filter(company_wide).count();
        let is_full =
            |all, company_wide| all >= MAX_SUBSCRIPTIONS || company_wide >= MAX_COMPANY_SUBSCRIPTIONS;
        let step = match kept {
            Some(kept) if missing.is_none() => Step::Keep(kept.id.clone()),
            Some(kept) => Step::Update(kept.id.clone()),
            None if is_full(all - surplus.len(), all_company_wide - surplus_company_wide) => {
                Step::LimitReached(format!(
                    "Dialpad takes no more subscriptions to {kind}: the company has {all} of {MAX_SUBSCRIPTIONS}, \
                     of which {all_company_wide} of {MAX_COMPANY_SUBSCRIPTIONS} are company-wide"
                ))
            }
            None => Step::Create,
        };
        let remove_surplus_first = step == Step::Create && is_full(all, all_company_wide);
        let surplus = surplus.into_iter().map(|subscription| subscription.id.clone()).collect();
        (SubscriptionPlan { step, surplus, remove_surplus_first }, missing)
    }
}
