//! One contract for every store: the two databases, and the one in memory that the engine's own tests stand on.

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod contract;
mod cursors;
mod feed;
mod idempotency;
mod own_webhooks;
mod rekeying;
mod removals;
mod renewals;
mod repairs;
mod schema;

use std::sync::Arc;

use cti_actors::{
    clock::{Clock, SystemClock},
    testing::{ManualClock, MemoryStore},
};
use cti_server::{
    encryption_keys::EncryptionKeys,
    store::{Store, crypto::vault::Vault},
};
use support::World;

/// Opens the world's database, with its schema.
async fn open(world: &World) -> Store {
    open_at(world, Arc::new(SystemClock)).await
}

/// The same by another clock.
async fn open_at(world: &World, clock: Arc<dyn Clock>) -> Store {
    let url = world.setting("DATABASE_URL").parse().expect("a database URL");
    let keys = EncryptionKeys::parse(&world.setting("TOKEN_ENCRYPTION_KEY").into()).expect("a key");
    let (store, _) = Store::open(&url, Vault::new(&keys), clock).await.expect("the database opens");
    store.migrate().await.expect("the migrations apply");
    store
}

macro_rules! on_every_store {
    ($($test:ident),+ $(,)?) => {
        mod memory {
            $(
                #[tokio::test]
                async fn $test() {
                    super::contract::$test(&super::MemoryStore::default()).await;
                }
            )+
        }

        $(
            async fn $test(world: World) {
                let store = open(&world).await;
                contract::$test(&store).await;
                store.close().await;
            }
        )+

        on_both_databases! { $($test),+ }
    };
}

on_every_store! {
    a_unit_is_written_as_a_whole,
    legs_are_found_by_whoever_names_them_and_by_their_interaction,
    seq_goes_on_without_holes,
    a_lost_race_changes_nothing,
    the_journal_gives_what_is_pending_in_its_order,
    a_webhook_is_marked_as_the_unit_says,
    a_page_of_the_feed_begins_behind_its_cursor,
    a_page_ends_when_it_has_enough_bytes,
    the_heads_of_several_feeds_are_read_at_once,
    the_active_calls_are_shown_with_the_place_of_the_feed,
    the_active_calls_are_those_of_one_moment,
    messages_keep_their_facts,
    users_are_called_as_was_said_last,
    apps_do_not_see_each_other,
    a_consumer_begins_once_and_then_goes_on_where_it_stands,
    a_cursor_never_goes_back_and_only_its_holder_keeps_it,
    those_who_share_are_not_taken_over_by_others_who_share,
    a_consumer_may_be_moved_on_and_removed,
}

mod sql {
    use super::*;

    async fn the_same_webhook_is_written_once(world: World) {
        schema::the_same_webhook_is_written_once(&open(&world).await).await;
    }

    async fn what_is_old_is_removed_and_the_bound_says_so(world: World) {
        schema::what_is_old_is_removed_and_the_bound_says_so(&open(&world).await).await;
    }

    async fn a_deleted_voicemail_is_not_written_anew(world: World) {
        schema::a_deleted_voicemail_is_not_written_anew(&open(&world).await).await;
    }

    async fn a_key_is_valid_until_it_ends(world: World) {
        let clock: Arc<ManualClock> = Arc::default();
        let store = open_at(&world, Arc::<ManualClock>::clone(&clock)).await;
        schema::a_key_is_valid_until_it_ends(&store, &clock).await;
    }

    async fn both_databases_have_the_same_tables(world: World) {
        open(&world).await.close().await;
        schema::both_databases_have_the_same_tables(&world).await;
    }

    async fn a_second_start_has_nothing_to_migrate(world: World) {
        assert_eq!(open(&world).await.migrate().await.expect("migrates"), Vec::<String>::new());
    }

    on_both_databases! {
        the_same_webhook_is_written_once,
        what_is_old_is_removed_and_the_bound_says_so,
        a_deleted_voicemail_is_not_written_anew,
        a_key_is_valid_until_it_ends,
        both_databases_have_the_same_tables,
        a_second_start_has_nothing_to_migrate,
    }
}

mod keys {
    use super::*;

    async fn of_many_who_take_a_key_one_gets_it(world: World) {
        idempotency::of_many_who_take_a_key_one_gets_it(&open(&world).await).await;
    }

    async fn the_first_answer_stands_for_a_day(world: World) {
        let clock: Arc<ManualClock> = Arc::default();
        let store = open_at(&world, Arc::<ManualClock>::clone(&clock)).await;
        idempotency::the_first_answer_stands_for_a_day(&store, &clock).await;
    }

    async fn what_nobody_answers_is_in_doubt_after_a_minute(world: World) {
        let clock: Arc<ManualClock> = Arc::default();
        let store = open_at(&world, Arc::<ManualClock>::clone(&clock)).await;
        idempotency::what_nobody_answers_is_in_doubt_after_a_minute(&store, &clock).await;
    }

    async fn a_key_that_was_let_go_is_fresh_again(world: World) {
        idempotency::a_key_that_was_let_go_is_fresh_again(&open(&world).await).await;
    }

    on_both_databases! {
        of_many_who_take_a_key_one_gets_it,
        the_first_answer_stands_for_a_day,
        what_nobody_answers_is_in_doubt_after_a_minute,
        a_key_that_was_let_go_is_fresh_again,
    }
}

mod gaps {
    use super::*;

    async fn gaps_that_touch_become_one(world: World) {
        let clock: Arc<ManualClock> = Arc::default();
        let store = open_at(&world, Arc::<ManualClock>::clone(&clock)).await;
        repairs::gaps_that_touch_become_one(&store, &clock).await;
    }

    async fn a_turn_goes_to_one_and_goes_on_where_it_was(world: World) {
        let clock: Arc<ManualClock> = Arc::default();
        let store = open_at(&world, Arc::<ManualClock>::clone(&clock)).await;
        repairs::a_turn_goes_to_one_and_goes_on_where_it_was(&store, &clock).await;
    }

    async fn what_is_given_up_is_said_once_until_it_heals(world: World) {
        let clock: Arc<ManualClock> = Arc::default();
        let store = open_at(&world, Arc::<ManualClock>::clone(&clock)).await;
        repairs::what_is_given_up_is_said_once_until_it_heals(&store, &clock).await;
    }

    on_both_databases! {
        gaps_that_touch_become_one,
        a_turn_goes_to_one_and_goes_on_where_it_was,
        what_is_given_up_is_said_once_until_it_heals,
    }
}

mod gone {
    use super::*;

    async fn nothing_of_a_removed_app_is_left(world: World) {
        let clock: Arc<ManualClock> = Arc::default();
        let store = open_at(&world, Arc::<ManualClock>::clone(&clock)).await;
        removals::nothing_of_a_removed_app_is_left(&world, &store, &clock).await;
    }

    on_both_databases! { nothing_of_a_removed_app_is_left }
}
