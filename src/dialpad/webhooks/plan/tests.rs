use proptest::{collection::vec, option, prelude::*, sample::select};
use secrecy::SecretString;

use super::*;
use crate::store::dialpad::secrets::RetiredSecret;

const OURS: &str = "https://cti.example/webhooks/app";

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

fn webhook(id: &str, hook_url: &str, secret: &str) -> FoundWebhook {
    let signing = Signing::With(SecretString::from(secret));
    FoundWebhook { id: id.into(), hook_url: Some(hook_url.into()), signing }
}

fn subscription(id: &str, webhook_id: &str) -> FoundSubscription {
    FoundSubscription {
        id: id.into(),
        webhook_id: Some(webhook_id.into()),
        hook_url: None,
        enabled: true,
        has_target: false,
        is_narrow: false,
    }
}

fn all_right() -> Found {
    Found {
        webhooks: vec![webhook("w", OURS, "present")],
        calls: vec![subscription("c", "w")],
        messages: Some(vec![subscription("m", "w")]),
    }
}

fn keep(id: &str) -> Step {
    Step::Keep(id.into())
}

#[test]
fn where_nothing_is_everything_is_made() {
    let plan = plan(&Found { messages: Some(vec![]), ..Found::default() }, &own(), OURS, false);
    assert_eq!((&plan.webhook, &plan.calls.step), (&Step::Make, &Step::Make));
    assert_eq!(plan.messages.map(|it| it.step), Some(Step::Make));
    assert_eq!(plan.calls_missing, Some("the webhook was missing"));
}

#[test]
fn what_is_right_is_kept() {
    let plan = plan(&all_right(), &own(), OURS, false);
    assert_eq!((plan.webhook, plan.calls.step, plan.calls_missing), (keep("w"), keep("c"), None));
    assert_eq!(plan.messages.map(|it| it.step), Some(keep("m")));
}

#[test]
fn what_drifted_is_changed_and_called_by_its_name() {
    type Drift = fn(&mut Found);
    let cases: [(Drift, Step, Step, Option<&str>); 7] = [
        (
            |found| found.webhooks[0].signing = Signing::With("foreign".into()),
            Step::Change("w".into()),
            keep("c"),
            Some("the webhook was signed with another secret"),
        ),
        // The old secret of ours is taken here: nothing was lost.
        (
            |found| found.webhooks[0].signing = Signing::With("old".into()),
            Step::Change("w".into()),
            keep("c"),
            None,
        ),
        (
            |found| found.webhooks[0].signing = Signing::Unsigned,
            Step::Change("w".into()),
            keep("c"),
            Some("the webhook was signed with another secret"),
        ),
        (
            |found| found.calls[0].enabled = false,
            keep("w"),
            Step::Change("c".into()),
            Some("the subscription was disabled"),
        ),
        (
            |found| found.calls[0].is_narrow = true,
            keep("w"),
            Step::Change("c".into()),
            Some("the subscription was narrowed"),
        ),
        // A target can't be taken away: a new one is made, and this one goes.
        (|found| found.calls[0].has_target = true, keep("w"), Step::Make, Some("there was no subscription")),
        (
            |found| found.webhooks[0].hook_url = Some("https://elsewhere.example/".into()),
            Step::Change("w".into()),
            keep("c"),
            Some("the webhook led elsewhere"),
        ),
    ];
    for (drift, webhook, calls, why) in cases {
        let mut found = all_right();
        drift(&mut found);
        let remembered = OwnWebhook { dialpad_webhook_id: Some("w".into()), ..own() };
        let plan = plan(&found, &remembered, OURS, false);
        assert_eq!((plan.webhook, plan.calls.step, plan.calls_missing), (webhook, calls, why), "{found:?}");
    }
}

#[test]
fn a_subscription_that_was_led_elsewhere_is_led_back() {
    let mut found = all_right();
    found.webhooks.push(webhook("other", "https://other.example/", "x"));
    found.calls[0].webhook_id = Some("other".into());
    let remembered = OwnWebhook { call_subscription: Some("c".into()), ..own() };
    let led_back = plan(&found, &remembered, OURS, false);
    assert_eq!(led_back.calls.step, Step::Change("c".into()));
    assert_eq!(
        plan(&found, &own(), OURS, false).calls.step,
        Step::Make,
        "one that is not known to be ours is not"
    );
}

#[test]
fn duplicates_go_and_what_is_remembered_stays() {
    let mut found = all_right();
    found.webhooks.insert(0, webhook("v", OURS, "present"));
    found.calls.extend([subscription("c2", "w"), subscription("c3", "v"), subscription("theirs", "x")]);
    let remembered = OwnWebhook { dialpad_webhook_id: Some("w".into()), ..own() };
    let plan = plan(&found, &remembered, OURS, false);
    assert_eq!((plan.webhook, plan.surplus_webhooks), (keep("w"), vec!["v".to_owned()]));
    assert_eq!((plan.calls.step, plan.calls.surplus), (keep("c"), vec!["c2".to_owned(), "c3".to_owned()]));
}

#[test]
fn a_full_company_is_a_problem_and_not_a_request() {
    let mut found = all_right();
    found.calls = (0..10).map(|n| subscription(&format!("theirs{n}"), "x")).collect();
    let Step::NoRoom(problem) = plan(&found, &own(), OURS, false).calls.step else { panic!("there is room") };
    assert!(problem.contains("10 of 10"), "{problem}");

    // One of them is ours and of no use: it makes room.
    found.calls[9] = FoundSubscription { has_target: true, ..subscription("ours", "w") };
    found.calls.push(subscription("theirs10", "x"));
    assert!(matches!(plan(&found, &own(), OURS, false).calls.step, Step::NoRoom(_)));
    found.calls.pop();
    let plan = plan(&found, &own(), OURS, false);
    assert_eq!((plan.calls.step, plan.calls.surplus), (Step::Make, vec!["ours".to_owned()]));
}

#[test]
fn a_subscription_that_tells_no_texts_is_made_anew_as_soon_as_one_can_tell_them() {
    let mute = plan(&all_right(), &own(), OURS, true).messages.expect("a plan");
    assert_eq!((mute.step, mute.surplus), (Step::Make, vec!["m".to_owned()]));
    let telling = OwnWebhook { sms_with_texts: true, ..own() };
    for may_read in [true, false] {
        assert_eq!(plan(&all_right(), &telling, OURS, may_read).messages.expect("a plan").step, keep("m"));
    }
    assert_eq!(plan(&all_right(), &own(), OURS, true).calls.step, keep("c"));
}

#[test]
fn what_dialpad_hides_is_set_again_only_while_the_secret_changes() {
    let mut found = all_right();
    found.webhooks[0].signing = Signing::Hidden;
    assert_eq!(
        plan(&found, &own(), OURS, false).webhook,
        Step::Change("w".into()),
        "a rotation is under way"
    );
    let settled = OwnWebhook { retired: vec![], ..own() };
    assert_eq!(plan(&found, &settled, OURS, false).webhook, keep("w"));
}

/// What Dialpad looks like after the plan was carried out, and what was touched on the way.
fn carried_out(found: &Found, own: &mut OwnWebhook) -> (Found, Vec<String>) {
    let (mut after, mut touched) = (found.clone(), Vec::new());
    let plan = plan(found, own, OURS, false);
    let endpoint = match plan.webhook {
        Step::Keep(id) => id,
        Step::Change(id) => {
            touched.push(id.clone());
            let changed = webhook(&id, OURS, "present");
            after.webhooks.iter_mut().filter(|it| it.id == id).for_each(|it| *it = changed.clone());
            id
        }
        Step::Make | Step::NoRoom(_) => {
            after.webhooks.push(webhook("new webhook", OURS, "present"));
            "new webhook".into()
        }
    };
    own.dialpad_webhook_id = Some(endpoint.clone());
    let mut subscribe = |subscribing: Subscribing, list: &mut Vec<FoundSubscription>, new: &str| {
        let right = |id: &str| subscription(id, &endpoint);
        let id = match subscribing.step {
            Step::Keep(id) => Some(id),
            Step::Change(id) => {
                touched.push(id.clone());
                list.iter_mut().filter(|it| it.id == id).for_each(|it| *it = right(&id));
                Some(id)
            }
            Step::Make => {
                list.push(right(new));
                Some(new.into())
            }
            Step::NoRoom(_) => None,
        };
        list.retain(|it| !subscribing.surplus.contains(&it.id));
        touched.extend(subscribing.surplus);
        id
    };
    own.call_subscription = subscribe(plan.calls, &mut after.calls, "new calls");
    if let (Some(messages), Some(list)) = (plan.messages, &mut after.messages) {
        own.sms_subscription = subscribe(messages, list, "new messages");
    }
    after.webhooks.retain(|it| !plan.surplus_webhooks.contains(&it.id));
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

fn webhooks() -> impl Strategy<Value = Vec<FoundWebhook>> {
    let hook_url = option::of(select(vec![OURS, OURS, "https://theirs.example/"]));
    vec((hook_url, signing()), 0..5).prop_map(|all| {
        let made = |(n, (hook_url, signing)): (usize, (Option<&str>, Signing))| FoundWebhook {
            id: format!("w{n}"),
            hook_url: hook_url.map(str::to_owned),
            signing,
        };
        all.into_iter().enumerate().map(made).collect()
    })
}

fn subscriptions(prefix: &'static str) -> impl Strategy<Value = Vec<FoundSubscription>> {
    let one = (option::of(0..6_usize), any::<[bool; 3]>());
    vec(one, 0..6).prop_map(move |all| {
        let made = |(n, (webhook, [enabled, has_target, is_narrow])): (usize, (Option<usize>, [bool; 3]))| {
            FoundSubscription {
                id: format!("{prefix}{n}"),
                webhook_id: webhook.map(|n| format!("w{n}")),
                hook_url: None,
                enabled,
                has_target,
                is_narrow,
            }
        };
        all.into_iter().enumerate().map(made).collect()
    })
}

proptest! {
    #[test]
    fn whatever_is_found_is_right_after_one_round_and_nothing_of_others_is_touched(
        webhooks in webhooks(),
        calls in subscriptions("c"),
        messages in option::of(subscriptions("m")),
        (webhook, call, message) in (option::of(0..6_usize), option::of(0..7_usize), option::of(0..7_usize)),
    ) {
        let found = Found { webhooks, calls, messages };
        let mut own = OwnWebhook {
            dialpad_webhook_id: webhook.map(|n| format!("w{n}")),
            call_subscription: call.map(|n| format!("c{n}")),
            sms_subscription: message.map(|n| format!("m{n}")),
            ..own()
        };
        let before = own.clone();
        let (after, touched) = carried_out(&found, &mut own);
        own.retired.clear();

        let then = plan(&after, &own, OURS, false);
        prop_assert!(matches!(then.webhook, Step::Keep(_)), "{then:?}");
        prop_assert!(matches!(then.calls.step, Step::Keep(_)), "{then:?}");
        prop_assert!(then.messages.iter().all(|it| matches!(it.step, Step::Keep(_))), "{then:?}");
        prop_assert_eq!(then.calls_missing, None);
        let surplus = then.calls.surplus.len() + then.messages.map_or(0, |it| it.surplus.len());
        prop_assert_eq!(surplus + then.surplus_webhooks.len(), 0);

        let at_ours = |id: &str| {
            found.webhooks.iter().any(|it| it.id == id && it.hook_url.as_deref() == Some(OURS))
        };
        let is_ours = |id: &str| {
            let remembered = [&before.dialpad_webhook_id, &before.call_subscription, &before.sms_subscription];
            let mut all = found.calls.iter().chain(found.messages.iter().flatten());
            let on_ours = |webhook: &str| at_ours(webhook) || before.dialpad_webhook_id.as_deref() == Some(webhook);
            remembered.into_iter().flatten().any(|it| it == id)
                || at_ours(id)
                || all.any(|it| it.id == id && it.webhook_id.as_deref().is_some_and(on_ours))
        };
        prop_assert!(touched.iter().all(|id| is_ours(id)), "{touched:?}");
    }
}
