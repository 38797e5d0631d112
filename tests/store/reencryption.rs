//! A new key in place of an old one, while tokens come and go.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::TimeDelta;
use cti_actors::{clock::Clock, clock::SystemClock, id::AppId};
use cti_server::{
    encryption_keys::EncryptionKeys,
    store::{
        Store,
        crypto::{reencrypt::Reencrypted, vault::Vault},
        dialpad::{
            connections::{Connection, Tokens},
            own_webhooks::Claimed,
            renewals::Begun,
        },
        idempotency::{Claim, KeyedRequest, StoredAnswer},
        tenants::api_keys::NewKey,
    },
};
use futures_util::{StreamExt, stream};
use secrecy::ExposeSecret;

use crate::support::World;

on_both_databases![
    the_new_key_alone_opens_everything_after_a_while,
    what_no_key_opens_is_counted_and_left_alone
];

async fn open(world: &World, keys: &[u8]) -> Store {
    let keys: Vec<String> = keys.iter().map(|seed| BASE64_STANDARD.encode([*seed; 32])).collect();
    let keys = EncryptionKeys::parse(&keys.join(",").into()).expect("keys");
    let url = world.setting("DATABASE_URL").parse().expect("a database URL");
    let (store, _) =
        Store::open(&url, Vault::new(&keys), Arc::new(SystemClock)).await.expect("the database opens");
    store.migrate().await.expect("the migrations apply");
    store
}

fn tokens(name: &str) -> Tokens {
    let issued_at = SystemClock.now() - TimeDelta::minutes(1);
    let expires_at = Some(issued_at + TimeDelta::hours(1));
    Tokens {
        access: format!("access {name}").into(),
        refresh: Some(format!("refresh {name}").into()),
        issued_at,
        expires_at,
    }
}

async fn connected_app(store: &Store) -> AppId {
    let app = store.apps().create("an app", &NewKey::generate()).await.expect("an app").id;
    store.connections().connect(app, "sandbox", Some(7), &tokens("0"), "").await.expect("connected");
    app
}

async fn connection(store: &Store, app: AppId) -> Connection {
    store.connections().find(app).await.expect("it opens").expect("connected")
}

/// The app's webhook in the middle of a rotation: it has two secrets.
async fn rotated_webhook(store: &Store, app: AppId) -> Vec<String> {
    store.webhooks().ensure(app, "https://cti.example/webhooks/1", None, true).await.expect("prepared");
    let mut claimed = store.webhooks().claim(app, TimeDelta::minutes(1)).await.expect("asked").expect("free");
    store.webhooks().begin_rotation(&mut claimed).await.expect("rotated");
    let secrets = secrets(&claimed);
    store.webhooks().release(claimed).await.expect("released");
    secrets
}

fn secrets(claimed: &Claimed) -> Vec<String> {
    let retired = claimed.webhook.retired.iter().map(|retired| &retired.secret);
    let all = [&claimed.webhook.secret].into_iter().chain(retired);
    all.map(|secret| secret.expose_secret().to_owned()).collect()
}

async fn the_new_key_alone_opens_everything_after_a_while(world: World) {
    const APPS: usize = 230;
    let old = open(&world, &[1]).await;
    assert!(!old.reencryption().is_due());
    let mut apps = Vec::new();
    for _ in 0..APPS {
        apps.push(connected_app(&old).await);
    }
    let hook = rotated_webhook(&old, apps[0]).await;
    let request = KeyedRequest { scope: "an app", key: "a key", hash: b"a request" };
    let Ok(Claim::New(held)) = old.idempotency().claim(request).await else { panic!("the key is new") };
    let answer = StoredAnswer { status: 201, body: "an answer".into() };
    old.idempotency().store_answer(&held, &answer).await.expect("kept");
    old.close().await;

    let both = open(&world, &[2, 1]).await;
    assert!(both.reencryption().is_due());
    // Each pair is renewed once, at some moment of the change: whatever would go back to an old one stays.
    let renewing = stream::iter(&apps).for_each_concurrent(8, async |app| {
        let pair = connection(&both, *app).await.pair;
        both.renewals().finish(pair, &tokens("1")).await.expect("stored");
    });
    let rekeying = async {
        let mut changed = 0;
        loop {
            let Reencrypted { changed: now, lost } =
                both.reencryption().run().await.expect("the database answers");
            assert_eq!(lost, 0);
            changed += now;
            if now == 0 {
                return changed;
            }
        }
    };
    let ((), changed) = tokio::join!(renewing, rekeying);
    assert!(changed > 2, "nothing was left to do");
    assert_eq!(both.reencryption().run().await.expect("the database answers"), Reencrypted::default());
    both.close().await;

    let new = open(&world, &[2]).await;
    for app in &apps {
        let connection = connection(&new, *app).await;
        assert_eq!(connection.access_token.expose_secret(), "access 1");
        let begun = new.renewals().begin(connection.pair, "sandbox").await.expect("the database answers");
        let Begun::Intent(intent) = begun else { panic!("no renewal is in progress") };
        assert_eq!(intent.refresh_token.expect("it opens").expose_secret(), "refresh 1");
    }
    let claimed =
        new.webhooks().claim(apps[0], TimeDelta::minutes(1)).await.expect("it opens").expect("free");
    assert_eq!(secrets(&claimed), hook);
    let Ok(Claim::Answered(kept)) = new.idempotency().claim(request).await else {
        panic!("the answer opens")
    };
    assert_eq!(kept.body, answer.body);
}

async fn what_no_key_opens_is_counted_and_left_alone(world: World) {
    let first = open(&world, &[1]).await;
    let app = connected_app(&first).await;
    let others = open(&world, &[3, 2]).await;
    assert_eq!(others.reencryption().run().await.expect("asked"), Reencrypted { changed: 0, lost: 2 });
    assert_eq!(connection(&first, app).await.access_token.expose_secret(), "access 0");
}
