//! An app's own webhook: claims on it, and which secrets are accepted.

use std::sync::Arc;

use chrono::TimeDelta;
use cti_actors::{clock::Clock, clock::SystemClock, error::StoreError, id::AppId};
use cti_server::{
    encryption_keys::EncryptionKeys,
    store::{
        Store,
        crypto::vault::Vault,
        dialpad::own_webhooks::{CheckNote, Claimed},
        tenants::api_keys::NewKey,
    },
};
use secrecy::ExposeSecret;

use crate::{open, support::World};

on_both_databases! {
    a_webhook_is_claimed_by_one_at_a_time,
    an_expired_claim_changes_nothing,
    a_secret_is_accepted_until_a_day_after_its_successor_is_in_use,
    an_organization_that_was_left_knows_no_accepted_secret,
    a_secret_that_no_key_opens_is_replaced_when_the_app_is_reconnected,
}

const HOOK: &str = "https://cti.example/webhooks/1";
const MINUTE: TimeDelta = TimeDelta::minutes(1);

async fn app_with_webhook(store: &Store) -> AppId {
    let app = store.apps().create("an app", &NewKey::generate()).await.expect("an app").id;
    store.webhooks().ensure(app, HOOK, Some(1), false).await.expect("wanted");
    app
}

async fn claimed(store: &Store, app: AppId) -> Claimed {
    store.webhooks().claim(app, MINUTE).await.expect("asked").expect("it is free")
}

fn note() -> CheckNote {
    let now = SystemClock.now();
    CheckNote {
        hook_url: HOOK.into(),
        organization: Some(1),
        problems: vec![],
        checked_at: now,
        next_check_at: now + MINUTE,
    }
}

async fn accepted(store: &Store, app: AppId) -> Vec<String> {
    let route = store.routes().of_app_now(app).await.expect("asked").expect("an app");
    route.secrets.iter().map(|secret| secret.expose_secret().to_owned()).collect()
}

async fn a_webhook_is_claimed_by_one_at_a_time(world: World) {
    let store = open(&world).await;
    let app = app_with_webhook(&store).await;
    let first = claimed(&store, app).await;
    assert!(store.webhooks().claim(app, MINUTE).await.expect("asked").is_none());
    assert_eq!(
        store.webhooks().due("sandbox", true, "https://cti.example/webhooks/").await.expect("asked"),
        []
    );
    store.webhooks().release(first).await.expect("released");
    let second = claimed(&store, app).await;
    store.webhooks().record_check(second, &note()).await.expect("noted");
    // The app has no connection, only the static key.
    let elsewhere = "https://elsewhere.example/webhooks/";
    assert_eq!(store.webhooks().due("sandbox", true, elsewhere).await.expect("asked"), [(app, None)]);
    assert_eq!(store.webhooks().due("sandbox", false, elsewhere).await.expect("asked"), []);
    let gone = store.webhooks().claim(app, TimeDelta::zero()).await.expect("asked").expect("free");
    claimed(&store, app).await;
    let late = store.webhooks().record_check(gone, &note()).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))), "{late:?}");
}

async fn an_expired_claim_changes_nothing(world: World) {
    let store = open(&world).await;
    let app = app_with_webhook(&store).await;
    let mut late = claimed(&store, app).await;
    store.webhooks().ensure(app, HOOK, Some(2), true).await.expect("moved");
    let before = accepted(&store, app).await;
    let refused = store.webhooks().begin_rotation(&mut late).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    let refused = store.webhooks().remove(late, true).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    assert_eq!(accepted(&store, app).await, before);
    assert!(store.webhooks().of_app(app).await.expect("asked").is_some());
}

async fn a_secret_is_accepted_until_a_day_after_its_successor_is_in_use(world: World) {
    let store = open(&world).await;
    let app = app_with_webhook(&store).await;
    let first = accepted(&store, app).await;
    let mut webhook = claimed(&store, app).await;
    store.webhooks().begin_rotation(&mut webhook).await.expect("rotated");
    store.webhooks().begin_rotation(&mut webhook).await.expect("it is in progress already");
    let both = accepted(&store, app).await;
    assert_eq!((both.len(), &both[1]), (2, &first[0]));

    // Dialpad was given it a day ago.
    webhook.webhook.finish_rotation(SystemClock.now() - TimeDelta::hours(24));
    store.webhooks().record_check(webhook, &note()).await.expect("noted");
    assert_eq!(accepted(&store, app).await, both[..1]);

    store.webhooks().remove(claimed(&store, app).await, true).await.expect("removed");
    assert_eq!(accepted(&store, app).await, both[..1], "webhooks on their way are accepted");
    store.webhooks().ensure(app, HOOK, Some(1), false).await.expect("asked");
    assert!(
        store.webhooks().of_app(app).await.expect("asked").is_none(),
        "it is not created again by itself"
    );
    store.webhooks().ensure(app, HOOK, Some(1), true).await.expect("asked");
    let after = accepted(&store, app).await;
    assert_eq!((after.len(), &after[1]), (2, &both[0]));
}

async fn an_organization_that_was_left_knows_no_accepted_secret(world: World) {
    let store = open(&world).await;
    let app = app_with_webhook(&store).await;
    let before = accepted(&store, app).await;
    store.webhooks().ensure(app, HOOK, Some(2), false).await.expect("moved");
    let after = accepted(&store, app).await;
    assert_eq!(after.len(), 1);
    assert_ne!(after, before);
    store.webhooks().remove(claimed(&store, app).await, true).await.expect("removed");
    store.webhooks().drop_foreign_secrets(app, 2).await.expect("asked");
    assert_eq!(accepted(&store, app).await, after, "webhooks on their way from this one are accepted");
    store.webhooks().drop_foreign_secrets(app, 3).await.expect("asked");
    assert_eq!(accepted(&store, app).await, Vec::<String>::new());
    store.webhooks().ensure(app, HOOK, Some(2), true).await.expect("asked");
    let after = accepted(&store, app).await;
    store.webhooks().ensure(app, HOOK, None, true).await.expect("asked");
    store.webhooks().ensure(app, HOOK, Some(2), true).await.expect("asked");
    assert_eq!(accepted(&store, app).await, after);
}

async fn a_secret_that_no_key_opens_is_replaced_when_the_app_is_reconnected(world: World) {
    let store = open(&world).await;
    let app = app_with_webhook(&store).await;
    let url = world.setting("DATABASE_URL").parse().expect("a database URL");
    let other_keys =
        EncryptionKeys::parse(&"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=".into()).expect("a key");
    let (other, _) =
        Store::open(&url, Vault::new(&other_keys), Arc::new(SystemClock)).await.expect("it opens");
    other.webhooks().ensure(app, HOOK, Some(1), false).await.expect("asked");
    let lost = other.webhooks().claim(app, TimeDelta::zero()).await;
    assert!(matches!(lost, Err(StoreError::Corrupt { .. })), "{lost:?}");
    other.webhooks().ensure(app, HOOK, Some(1), true).await.expect("asked");
    assert_eq!(accepted(&other, app).await.len(), 1);
}
