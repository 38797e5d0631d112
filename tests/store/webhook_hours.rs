//! How many webhooks each app received in each hour, on both databases.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::id::AppId;
use cti_server::store::{
    Store,
    dialpad::webhook_hours::{WebhookRange, hour_of},
    tenants::api_keys::NewKey,
};
use futures_util::future::join_all;

use crate::{open, support::World};

on_both_databases![
    what_several_processes_count_at_once_is_added_up,
    an_app_is_known_from_its_first_hour_to_its_last_webhook,
    old_hours_are_removed_and_an_app_that_is_not_there_has_none,
];

fn noon() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::hours(12)
}

async fn app(store: &Store) -> AppId {
    store.apps().create("an app", &NewKey::generate()).await.expect("an app").id
}

async fn what_several_processes_count_at_once_is_added_up(world: World) {
    let store = open(&world).await;
    let (busy, other) = (app(&store).await, app(&store).await);
    let hours = store.webhook_hours();
    let added = join_all((0..8).map(|second| hours.add(busy, 3, noon() + TimeDelta::seconds(second)))).await;
    assert!(added.iter().all(Result::is_ok), "{added:?}");
    hours.add(busy, 1, noon() + TimeDelta::hours(1)).await.expect("added");
    hours.add(other, 5, noon()).await.expect("added");
    let hour = hour_of(noon());
    let mut of_busy = hours.of_app(busy, hour).await.expect("read");
    of_busy.sort_unstable();
    assert_eq!(of_busy, [(hour, 24), (hour + 1, 1)]);
    assert_eq!(hours.of_app(busy, hour + 1).await.expect("read"), [(hour + 1, 1)]);
    assert_eq!(hours.of_app(other, hour).await.expect("read"), [(hour, 5)]);
}

async fn an_app_is_known_from_its_first_hour_to_its_last_webhook(world: World) {
    let store = open(&world).await;
    let (known, _silent) = (app(&store).await, app(&store).await);
    let hours = store.webhook_hours();
    let last_at = noon() + TimeDelta::minutes(7);
    hours.add(known, 1, noon() - TimeDelta::hours(9)).await.expect("added");
    hours.add(known, 1, last_at).await.expect("added");
    // Counted by a process that is late.
    hours.add(known, 1, noon()).await.expect("added");
    let expected = WebhookRange { app: known, first_hour: hour_of(noon()) - 9, last_at };
    assert_eq!(hours.ranges().await.expect("read"), [expected]);
}

async fn old_hours_are_removed_and_an_app_that_is_not_there_has_none(world: World) {
    let store = open(&world).await;
    let app = app(&store).await;
    let hours = store.webhook_hours();
    let hour = hour_of(noon());
    for before in 0..4 {
        hours.add(app, 1, noon() - TimeDelta::hours(before)).await.expect("added");
    }
    hours.prune(hour - 1).await.expect("removed");
    let mut rest = hours.of_app(app, 0).await.expect("read");
    rest.sort_unstable();
    assert_eq!(rest, [(hour - 1, 1), (hour, 1)]);

    let elsewhere = AppId::CANARY;
    hours.add(elsewhere, 1, noon()).await.expect("nothing to add to is no error");
    assert_eq!(hours.of_app(elsewhere, 0).await.expect("read"), []);
}
