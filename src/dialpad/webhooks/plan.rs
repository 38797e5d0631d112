//! What has to be done at Dialpad so that an app's events come to us: decided from what was found there, without
//! asking anything. Whoever does it twice changes nothing the second time.

#[cfg(test)]
pub(crate) mod tests;

use crate::{
    dialpad::{
        client::request::Endpoint,
        webhooks::remote::{Found, FoundSubscription, FoundWebhook, Signing},
    },
    store::dialpad::own_webhooks::OwnWebhook,
};

/// How many subscriptions of a kind a company may have.
const MOST_SUBSCRIPTIONS: usize = 100;
/// How many of them may be for the whole company.
const MOST_WIDE_SUBSCRIPTIONS: usize = 10;

/// What to do about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is as it should be.
    Keep(String),
    /// It is there, and is to be set right.
    Change(String),
    /// It is missing.
    Make,
    /// It is missing, and the company has no room for one more; this is said of it.
    NoRoom(String),
}

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) webhook: Step,
    pub(crate) calls: Subscribing,
    /// None where Dialpad does not say what there is.
    pub(crate) messages: Option<Subscribing>,
    /// Further webhooks at our address.
    pub(crate) surplus_webhooks: Vec<String>,
    /// Why calls may not have come, in a few words; none if they have.
    pub(crate) calls_missing: Option<&'static str>,
}

/// What to do about the subscriptions of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Subscribing {
    pub(crate) step: Step,
    /// Further ones of ours.
    pub(crate) surplus: Vec<String>,
    /// The surplus has to go first, to make room.
    pub(crate) room_first: bool,
}

/// Decides what to do so that events come to this address, signed with the present secret. `may_read`: whether a
/// subscription that is made now tells the texts of messages.
pub(crate) fn plan(found: &Found, own: &OwnWebhook, hook_url: &str, may_read: bool) -> Plan {
    let remembered = own.dialpad_webhook_id.as_deref();
    let candidates = found.webhooks.iter().filter(|it| is_ours(it, own, hook_url));
    // What needs no change goes first, then what we remember.
    let kept = candidates.min_by_key(|it| (!is_right(it, own, hook_url), Some(it.id.as_str()) != remembered));
    let webhook = match kept {
        None => Step::Make,
        Some(kept) if is_right(kept, own, hook_url) => Step::Keep(kept.id.clone()),
        Some(kept) => Step::Change(kept.id.clone()),
    };
    let kept_id = kept.map(|it| it.id.as_str());
    // One that we remember and that leads elsewhere is no longer ours as soon as there is another.
    let at_our_address = found.webhooks.iter().filter(|it| it.hook_url.as_deref() == Some(hook_url));
    let surplus_webhooks: Vec<String> =
        at_our_address.map(|it| it.id.clone()).filter(|id| Some(id.as_str()) != kept_id).collect();

    let ours = Ours { kept: kept_id, surplus: &surplus_webhooks, hook_url };
    let (calls, subscription_missing) =
        ours.subscribing(&found.calls, own.call_subscription.as_deref(), false, "calls");
    let is_mute = may_read && !own.sms_with_texts;
    let messages = found.messages.as_ref();
    let messages =
        messages.map(|found| ours.subscribing(found, own.sms_subscription.as_deref(), is_mute, "messages").0);
    let webhook_missing = match kept {
        None => Some("the webhook was missing"),
        Some(kept) if kept.hook_url.as_deref() != Some(hook_url) => Some("the webhook led elsewhere"),
        Some(kept) if is_signed_acceptably(kept, own) => None,
        Some(_) => Some("the webhook was signed with another secret"),
    };
    Plan {
        webhook,
        calls,
        messages,
        surplus_webhooks,
        calls_missing: webhook_missing.or(subscription_missing),
    }
}

/// Everything at Dialpad that is ours and goes when the webhook goes, in this order.
pub(crate) fn everything_ours(found: &Found, own: &OwnWebhook, hook_url: &str) -> Vec<(Endpoint, String)> {
    let webhooks: Vec<String> =
        found.webhooks.iter().filter(|it| is_ours(it, own, hook_url)).map(|it| it.id.clone()).collect();
    let ours = Ours { kept: None, surplus: &webhooks, hook_url };
    let on_ours = |endpoint, found: &[FoundSubscription]| -> Vec<(Endpoint, String)> {
        found.iter().filter(|it| ours.carries(it)).map(|it| (endpoint, it.id.clone())).collect()
    };
    let calls = on_ours(Endpoint::CallSubscriptions, &found.calls);
    let messages = on_ours(Endpoint::MessageSubscriptions, found.messages.as_deref().unwrap_or_default());
    let webhooks = webhooks.into_iter().map(|id| (Endpoint::Webhooks, id));
    calls.into_iter().chain(messages).chain(webhooks).collect()
}

fn is_ours(webhook: &FoundWebhook, own: &OwnWebhook, hook_url: &str) -> bool {
    webhook.hook_url.as_deref() == Some(hook_url) || own.dialpad_webhook_id.as_ref() == Some(&webhook.id)
}

fn is_right(webhook: &FoundWebhook, own: &OwnWebhook, hook_url: &str) -> bool {
    let signed = match &webhook.signing {
        Signing::With(_) => webhook.signing.is_with(&own.secret),
        // It is right as far as we know, unless we know that it has to become another.
        Signing::Hidden => !own.is_rotating(),
        Signing::Unsigned => false,
    };
    signed && webhook.hook_url.as_deref() == Some(hook_url)
}

/// Whether what comes was not refused: an old secret of ours is taken, too.
fn is_signed_acceptably(webhook: &FoundWebhook, own: &OwnWebhook) -> bool {
    match &webhook.signing {
        Signing::Hidden => true,
        Signing::Unsigned => false,
        signing => signing.is_with(&own.secret) || own.retired.iter().any(|it| signing.is_with(&it.secret)),
    }
}

struct Ours<'a> {
    /// The webhook that stays, where there is one.
    kept: Option<&'a str>,
    /// The others at our address.
    surplus: &'a [String],
    hook_url: &'a str,
}

impl Ours<'_> {
    /// Whether a subscription sends to a webhook of ours.
    fn carries(&self, subscription: &FoundSubscription) -> bool {
        let webhook = subscription.webhook_id.as_deref();
        let by_id = webhook.is_some_and(|id| Some(id) == self.kept || self.surplus.iter().any(|it| it == id));
        by_id || subscription.hook_url.as_deref() == Some(self.hook_url)
    }

    /// What to do about the subscriptions of a kind; and why nothing may have come of it, if so. `is_mute`: what there
    /// is was made by somebody who may hear less, which no change mends.
    fn subscribing(
        &self,
        found: &[FoundSubscription],
        remembered: Option<&str>,
        is_mute: bool,
        what: &str,
    ) -> (Subscribing, Option<&'static str>) {
        let is_remembered = |it: &FoundSubscription| Some(it.id.as_str()) == remembered;
        let misses = |it: &FoundSubscription| {
            if self.kept.is_none() || it.webhook_id.as_deref() != self.kept {
                Some("the subscription led elsewhere")
            } else if !it.enabled {
                Some("the subscription was disabled")
            } else {
                it.is_narrow.then_some("the subscription was narrowed")
            }
        };
        // A target can't be taken away from a subscription, as far as is known: such a one is made anew.
        let usable =
            found.iter().filter(|it| !is_mute && !it.has_target && (self.carries(it) || is_remembered(it)));
        let kept = usable.min_by_key(|it| (misses(it).is_some(), !is_remembered(it)));
        let surplus: Vec<&FoundSubscription> =
            found.iter().filter(|it| self.carries(it) && kept.is_none_or(|kept| kept.id != it.id)).collect();
        let missing = match kept {
            Some(kept) => misses(kept),
            None => Some("there was no subscription"),
        };
        let wide = |it: &&FoundSubscription| !it.has_target;
        let (all, all_wide) = (found.len(), found.iter().filter(wide).count());
        let is_full = |all, wide| all >= MOST_SUBSCRIPTIONS || wide >= MOST_WIDE_SUBSCRIPTIONS;
        let surplus_wide = surplus.iter().copied().filter(wide).count();
        let step = match (kept, missing) {
            (Some(kept), None) => Step::Keep(kept.id.clone()),
            (Some(kept), Some(_)) => Step::Change(kept.id.clone()),
            (None, _) if is_full(all - surplus.len(), all_wide - surplus_wide) => Step::NoRoom(format!(
                "Dialpad takes no more subscriptions to {what}: the company has {all} of {MOST_SUBSCRIPTIONS}, \
                 {all_wide} of {MOST_WIDE_SUBSCRIPTIONS} for all of it"
            )),
            (None, _) => Step::Make,
        };
        let room_first = step == Step::Make && is_full(all, all_wide);
        let surplus = surplus.into_iter().map(|it| it.id.clone()).collect();
        (Subscribing { step, surplus, room_first }, missing)
    }
}
