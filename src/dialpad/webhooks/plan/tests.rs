use proptest::{collection::vec, option, prelude::*, sample::select};
use secrecy::SecretString;

use super::*;
use crate::{
    dialpad::webhooks::kind::SubscriptionKind::{Calls, Messages},
    store::dialpad::secrets::RetiredSecret,
};

const HOOK_URL: &str = "https://cti.example/webhooks/app";

fn own() -> OwnWebhook {
    OwnWebhook {
        secret: "present".into(),
        retired: vec![RetiredSecret { secret: "old".into(), until: None }],
        dialpad_webhook_id: None,
        call_subscription: None,
        sms_subscription: None,
        sms_with_texts: false,
        verified_at: None,
    }
}

fn webhook(id: &str, hook_url: &str, secret: &str) -> RemoteWebhook {
    let signing = Signing::With(SecretString::from(secret));
    RemoteWebhook { id: id.into(), hook_url: Some(hook_url.into()), signing }
}

fn subscription(id: &str, webhook_id: &str) -> RemoteSubscription {
    RemoteSubscription {
        id: id.into(),
        webhook_id: Some(webhook_id.into()),
        hook_url: None,
        enabled: true,
        has_target: false,
        is_restricted: false,
    }
}

fn remote(
    webhooks: Vec<RemoteWebhook>,
    calls: Vec<RemoteSubscription>,
    messages: Option<Vec<RemoteSubscription>>,
) -> Remote {
    let mut subscriptions = BTreeMap::from([(Calls, calls)]);
    subscriptions.extend(messages.map(|messages| (Messages, messages)));
    Remote { webhooks, subscriptions }
}

fn in_order() -> Remote {
    remote(
        vec![webhook("w", HOOK_URL, "present")],
        vec![subscription("c", "w")],
        Some(vec![subscription("m", "w")]),
    )
}

impl Remote {
    fn calls(&mut self) -> &mut Vec<RemoteSubscription> {
        self.subscriptions.get_mut(&Calls).expect("calls are always listed")
    }
}

impl Plan {
    fn calls(&self) -> &SubscriptionPlan {
        &self.subscriptions[&Calls]
    }

    fn messages(&self) -> &SubscriptionPlan {
        &self.subscriptions[&Messages]
    }
}

fn keep(id: &str) -> Step {
    Step::Keep(id.into())
}

fn update(id: &str) -> Step {
    Step::Update(id.into())
}

#[test]
fn what_does_not_exist_is_created() {
    let plan = plan(&remote(vec![], vec![], Some(vec![])), &own(), HOOK_URL, false);
    assert_eq!((&plan.webhook, &plan.calls().step), (&Step::Create, &Step::Create));
    assert_eq!(plan.messages().step, Step::Create);
    assert_eq!(plan.calls_missing, Some("the webhook was missing"));
}

#[test]
fn what_is_in_order_is_kept() {
    let plan = plan(&in_order(), &own(), HOOK_URL, false);
    assert_eq!((&plan.webhook, &plan.calls().step, plan.calls_missing), (&keep("w"), &keep("c"), None));
    assert_eq!(plan.messages().step, keep("m"));
}

#[test]
fn what_was_changed_is_updated_and_the_reason_is_named() {
    type Change = fn(&mut Remote);
    let cases: [(Change, Step, Step, Option<&str>); 7] = [
        (
            |remote| remote.webhooks[0].signing = Signing::With("foreign".into()),
            update("w"),
            keep("c"),
            Some("the webhook was signed with another secret"),
        ),
        // The app's old secret is accepted: nothing was lost.
        (|remote| remote.webhooks[0].signing = Signing::With("old".into()), update("w"), keep("c"), None),
        (
            |remote| remote.webhooks[0].signing = Signing::Unsigned,
            update("w"),
            keep("c"),
            Some("the webhook was signed with another secret"),
        ),
        (
            |remote| remote.calls()[0].enabled = false,
            keep("w"),
            update("c"),
            Some("the subscription was disabled"),
        ),
        (
            |remote| remote.calls()[0].is_restricted = true,
            keep("w"),
            update("c"),
            Some("the subscription was restricted"),
        ),
        // A target can't be removed: a new one is created, and this one is removed.
        (
            |remote| remote.calls()[0].has_target = true,
            keep("w"),
            Step::Create,
            Some("there was no subscription"),
        ),
        (
            |remote| remote.webhooks[0].hook_url = Some("https://elsewhere.example/".into()),
            update("w"),
            keep("c"),
            Some("the webhook pointed at another address"),
        ),
    ];
    for (change, webhook, calls, reason) in cases {
        let mut remote = in_order();
        change(&mut remote);
        let stored = OwnWebhook { dialpad_webhook_id: Some("w".into()), ..own() };
        let plan = plan(&remote, &stored, HOOK_URL, false);
        let actual = (&plan.webhook, &plan.calls().step, plan.calls_missing);
        assert_eq!(actual, (&webhook, &calls, reason), "{remote:?}");
    }
}

#[test]
fn a_subscription_that_points_at_another_webhook_is_updated_if_it_is_stored() {
    let mut remote = in_order();
    remote.webhooks.push(webhook("other", "https://other.example/", "x"));
    remote.calls()[0].webhook_id = Some("other".into());
    let stored = OwnWebhook { call_subscription: Some("c".into()), ..own() };
    assert_eq!(plan(&remote, &stored, HOOK_URL, false).calls().step, update("c"));
    assert_eq!(
        plan(&remote, &own(), HOOK_URL, false).calls().step,
        Step::Create,
        "one that is not known to be the app's is not"
    );
}

#[test]
fn duplicates_are_removed_and_the_stored_one_is_kept() {
    let mut remote = in_order();
    remote.webhooks.insert(0, webhook("v", HOOK_URL, "present"));
    remote.calls().extend([subscription("c2", "w"), subscription("c3", "v"), subscription("theirs", "x")]);
    let stored = OwnWebhook { dialpad_webhook_id: Some("w".into()), ..own() };
    let plan = plan(&remote, &stored, HOOK_URL, false);
    assert_eq!((&plan.webhook, &plan.surplus_webhooks), (&keep("w"), &vec!["v".to_owned()]));
    assert_eq!(plan.calls().step, keep("c"));
    assert_eq!(plan.calls().surplus, ["c2", "c3"]);
}

#[test]
fn a_reached_limit_is_a_problem_and_not_a_request() {
    let mut remote = in_order();
    *remote.calls() = (0..10).map(|n| subscription(&format!("theirs{n}"), "x")).collect();
    let step = plan(&remote, &own(), HOOK_URL, false).calls().step.clone();
    let Step::LimitReached(problem) = step else { panic!("the limit is not reached") };
    assert!(problem.contains("10 of 10"), "{problem}");

    // One of them is the app's and can't be used: its removal makes room.
    remote.calls()[9] = RemoteSubscription { has_target: true, ..subscription("own", "w") };
    remote.calls().push(subscription("theirs10", "x"));
    assert!(matches!(plan(&remote, &own(), HOOK_URL, false).calls().step, Step::LimitReached(_)));
    remote.calls().pop();
    let plan = plan(&remote, &own(), HOOK_URL, false);
    assert_eq!(plan.calls().step, Step::Create);
    assert_eq!(plan.calls().surplus, ["own"]);
}

#[test]
fn a_subscription_without_texts_is_replaced_once_a_new_one_would_have_them() {
    let outdated = plan(&in_order(), &own(), HOOK_URL, true);
    assert_eq!(outdated.messages().step, Step::Create);
    assert_eq!(outdated.messages().surplus, ["m"]);
    let with_texts = OwnWebhook { sms_with_texts: true, ..own() };
    for can_read_texts in [true, false] {
        let plan = plan(&in_order(), &with_texts, HOOK_URL, can_read_texts);
        assert_eq!(plan.messages().step, keep("m"));
    }
    assert_eq!(plan(&in_order(), &own(), HOOK_URL, true).calls().step, keep("c"));
}

#[test]
fn a_hidden_secret_is_updated_only_while_it_changes() {
    let mut remote = in_order();
    remote.webhooks[0].signing = Signing::Hidden;
    assert_eq!(plan(&remote, &own(), HOOK_URL, false).webhook, update("w"), "a rotation is in progress");
    let not_rotating = OwnWebhook { retired: vec![], ..own() };
    assert_eq!(plan(&remote, &not_rotating, HOOK_URL, false).webhook, keep("w"));
}

/// Returns what Dialpad has after the plan was applied, and the ids that were changed or removed.
fn applied(remote: &Remote, own: &mut OwnWebhook) -> (Remote, Vec<String>) {
    let mut after = remote.clone();
    let mut touched = Vec::new();
    let plan = plan(remote, own, HOOK_URL, false);
    let webhook_id = match plan.webhook {
        Step::Keep(id) => id,
        Step::Update(id) => {
            touched.push(id.clone());
            let updated = webhook(&id, HOOK_URL, "present");
            after.webhooks.iter_mut().filter(|webhook| webhook.id == id).for_each(|it| *it = updated.clone());
            id
        }
        Step::Create | Step::LimitReached(_) => {
            after.webhooks.push(webhook("new webhook", HOOK_URL, "present"));
            "new webhook".into()
        }
    };
    own.dialpad_webhook_id = Some(webhook_id.clone());
    for (kind, plan) in plan.subscriptions {
        let list = after.subscriptions.get_mut(&kind).expect("only listed kinds are planned");
        let in_order = |id: &str| subscription(id, &webhook_id);
        let id = match plan.step {
            Step::Keep(id) => Some(id),
            Step::Update(id) => {
                touched.push(id.clone());
                list.iter_mut().filter(|found| found.id == id).for_each(|found| *found = in_order(&id));
                Some(id)
            }
            Step::Create => {
                let id = format!("new {kind}");
                list.push(in_order(&id));
                Some(id)
            }
            Step::LimitReached(_) => None,
        };
        list.retain(|found| !plan.surplus.contains(&found.id));
        touched.extend(plan.surplus);
        kind.set_stored_id(own, id);
    }
    after.webhooks.retain(|webhook| !plan.surplus_webhooks.contains(&webhook.id));
    touched.extend(plan.surplus_webhooks);
    (after, touched)
}

fn signing() -> impl Strategy<Value = Signing> {
    prop_oneof![
        select(vec!["present", "old", "foreign"]).prop_map(|secret| Signing::With(secret.into())),
        Just(Signing::Hidden),
        Just(Signing::Unsigned),
    ]
}

fn webhooks() -> impl Strategy<Value = Vec<RemoteWebhook>> {
    let hook_url = option::of(select(vec![HOOK_URL, HOOK_URL, "https://theirs.example/"]));
    vec((hook_url, signing()), 0..5).prop_map(|all| {
        let numbered = |(n, (hook_url, signing)): (usize, (Option<&str>, Signing))| RemoteWebhook {
            id: format!("w{n}"),
            hook_url: hook_url.map(str::to_owned),
            signing,
        };
        all.into_iter().enumerate().map(numbered).collect()
    })
}

fn subscriptions(prefix: &'static str) -> impl Strategy<Value = Vec<RemoteSubscription>> {
    type Fields = (Option<usize>, [bool; 3]);
    let one = (option::of(0..6_usize), any::<[bool; 3]>());
    vec(one, 0..6).prop_map(move |all| {
        let numbered = |(n, (webhook, flags)): (usize, Fields)| {
            let [enabled, has_target, is_restricted] = flags;
            RemoteSubscription {
                id: format!("{prefix}{n}"),
                webhook_id: webhook.map(|n| format!("w{n}")),
                hook_url: None,
                enabled,
                has_target,
                is_restricted,
            }
        };
        all.into_iter().enumerate().map(numbered).collect()
    })
}

proptest! {
    #[test]
    fn after_one_plan_everything_is_in_order_and_nothing_of_others_was_touched(
        webhooks in webhooks(),
        calls in subscriptions("c"),
        messages in option::of(subscriptions("m")),
        (webhook, call, message) in (option::of(0..6_usize), option::of(0..7_usize), option::of(0..7_usize)),
    ) {
        let before = remote(webhooks, calls, messages);
        let stored = OwnWebhook {
            dialpad_webhook_id: webhook.map(|n| format!("w{n}")),
            call_subscription: call.map(|n| format!("c{n}")),
            sms_subscription: message.map(|n| format!("m{n}")),
            ..own()
        };
        let mut own = stored.clone();
        let (after, touched) = applied(&before, &mut own);
        own.retired.clear();

        let next = plan(&after, &own, HOOK_URL, false);
        prop_assert!(matches!(next.webhook, Step::Keep(_)), "{next:?}");
        prop_assert!(next.surplus_webhooks.is_empty(), "{next:?}");
        prop_assert_eq!(next.calls_missing, None);
        for subscription in next.subscriptions.values() {
            prop_assert!(matches!(subscription.step, Step::Keep(_)), "{subscription:?}");
            prop_assert!(subscription.surplus.is_empty(), "{subscription:?}");
        }

        let is_at_hook_url = |id: &str| {
            before.webhooks.iter().any(|webhook| webhook.id == id && webhook.hook_url.as_deref() == Some(HOOK_URL))
        };
        let is_own_webhook = |id: &str| is_at_hook_url(id) || stored.dialpad_webhook_id.as_deref() == Some(id);
        let is_own = |id: &str| {
            let ids = [&stored.dialpad_webhook_id, &stored.call_subscription, &stored.sms_subscription];
            ids.into_iter().flatten().any(|stored| stored == id)
                || is_at_hook_url(id)
                || before.subscriptions.values().flatten().any(|subscription| {
                    subscription.id == id && subscription.webhook_id.as_deref().is_some_and(is_own_webhook)
                })
        };
        prop_assert!(touched.iter().all(|id| is_own(id)), "{touched:?}");
    }
}
