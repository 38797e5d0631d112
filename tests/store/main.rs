//! One contract for every store: on both databases, and in memory, which the tests of the engine use.

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod console_endings;
mod contract;
mod cursors;
mod deletion;
mod distribution;
mod feed;
mod idempotency;
mod incoming;
mod leases;
mod own_webhooks;
mod plans;
mod recovery;
mod reencryption;
mod renewals;
mod schema;
mod webhook_hours;

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
    legs_are_found_by_the_legs_that_name_them_and_by_their_interaction,
    a_leg_is_new_only_if_no_call_is_it_or_names_it,
    legs_that_name_nothing_of_each_other_are_found_by_user_and_time,
    the_newest_calls_are_those_first_seen_and_those_that_wait,
    an_interaction_is_replaced_only_by_its_next_version,
    seq_goes_on_without_holes,
    a_lost_race_changes_nothing,
    the_journal_gives_what_is_pending_in_its_order,
    a_unit_marks_its_webhooks,
    a_page_of_the_feed_begins_after_its_cursor,
    a_page_ends_when_it_has_enough_bytes,
    the_tail_of_a_feed_comes_with_its_epoch,
    the_heads_of_several_feeds_are_read_at_once,
    all_feeds_have_one_epoch_until_another_one_begins,
    the_active_calls_come_with_the_last_event_that_they_include,
    the_active_calls_are_one_snapshot,
    messages_keep_their_facts,
    a_user_has_the_crm_id_that_was_mapped_last,
    apps_do_not_see_each_other,
    a_consumer_begins_once_and_then_continues_at_its_cursor,
    a_cursor_never_goes_back_and_only_its_holder_keeps_it,
    what_processes_share_is_replaced_only_by_whoever_has_read_it_last,
    what_processes_share_belongs_to_an_epoch,
    a_consumer_may_be_moved_on_and_removed,
    a_cursor_belongs_to_the_epoch_in_which_it_was_acknowledged,
}

mod sql {
    use super::*;

    async fn the_same_webhook_is_written_once(world: World) {
        schema::the_same_webhook_is_written_once(&open(&world).await).await;
    }

    async fn old_events_are_deleted_and_the_bound_moves(world: World) {
        schema::old_events_are_deleted_and_the_bound_moves(&open(&world).await).await;
    }

    async fn events_that_a_wrong_clock_has_dated_delete_no_others(world: World) {
        schema::events_that_a_wrong_clock_has_dated_delete_no_others(&open(&world).await).await;
    }

    async fn a_deleted_voicemail_is_not_written_again(world: World) {
        schema::a_deleted_voicemail_is_not_written_again(&open(&world).await).await;
    }

    async fn a_key_is_valid_until_it_ends(world: World) {
        let clock: Arc<ManualClock> = Arc::default();
        let store = open_at(&world, Arc::<ManualClock>::clone(&clock)).await;
        schema::a_key_is_valid_until_it_ends(&store, &clock).await;
    }

    async fn look_ups_at_the_same_time_give_each_caller_its_own(world: World) {
        schema::look_ups_at_the_same_time_give_each_caller_its_own(&open(&world).await).await;
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
        old_events_are_deleted_and_the_bound_moves,
        events_that_a_wrong_clock_has_dated_delete_no_others,
        a_deleted_voicemail_is_not_written_again,
        a_key_is_valid_until_it_ends,
        look_ups_at_the_same_time_give_each_caller_its_own,
        both_databases_have_the_same_tables,
        a_second_start_has_nothing_to_migrate,
    }
}

mod one_commit {
    use super::*;

    macro_rules! incoming {
        ($($test:ident),+ $(,)?) => {
            $(
                async fn $test(world: World) {
                    incoming::$test(&open(&world).await).await;
                }
            )+

            on_both_databases! { $($test),+ }
        };
    }

    incoming! {
        a_webhook_is_in_the_journal_with_what_follows_from_it,
        a_webhook_whose_attempt_failed_is_pending_and_one_that_failed_is_not,
        a_unit_with_a_known_webhook_names_it_and_writes_nothing,
        a_unit_of_an_app_that_is_gone_is_refused,
        who_writes_beside_units_that_never_pause_has_its_turn,
    }
}

mod lists {
    use super::*;

    async fn every_filter_of_a_list_has_an_index(world: World) {
        plans::every_filter_of_a_list_has_an_index(&world, &open(&world).await).await;
    }

    async fn every_filter_of_the_journal_has_an_index(world: World) {
        plans::every_filter_of_the_journal_has_an_index(&world, &open(&world).await).await;
    }

    on_both_databases! { every_filter_of_a_list_has_an_index, every_filter_of_the_journal_has_an_index }
}

mod keys {
    use super::*;

    async fn of_many_claims_of_a_key_one_succeeds(world: World) {
        idempotency::of_many_claims_of_a_key_one_succeeds(&open(&world).await).await;
    }

    async fn the_first_answer_is_kept_for_a_day(world: World) {
        let clock: Arc<ManualClock> = Arc::default();
        let store = open_at(&world, Arc::<ManualClock>::clone(&clock)).await;
        idempotency::the_first_answer_is_kept_for_a_day(&store, &clock).await;
    }

    async fn the_outcome_of_an_unanswered_request_is_unknown_after_a_minute(world: World) {
        let clock: Arc<ManualClock> = Arc::default();
        let store = open_at(&world, Arc::<ManualClock>::clone(&clock)).await;
        idempotency::the_outcome_of_an_unanswered_request_is_unknown_after_a_minute(&store, &clock).await;
    }

    async fn a_released_key_is_new_again(world: World) {
        idempotency::a_released_key_is_new_again(&open(&world).await).await;
    }

    on_both_databases! {
        of_many_claims_of_a_key_one_succeeds,
        the_first_answer_is_kept_for_a_day,
        the_outcome_of_an_unanswered_request_is_unknown_after_a_minute,
        a_released_key_is_new_again,
    }
}

mod gaps {
    use super::*;

    async fn gaps_that_touch_are_merged(world: World) {
        let clock: Arc<ManualClock> = Arc::default();
        let store = open_at(&world, Arc::<ManualClock>::clone(&clock)).await;
        recovery::gaps_that_touch_are_merged(&store, &clock).await;
    }

    async fn a_gap_is_claimed_once_and_continues_at_its_cursor(world: World) {
        let clock: Arc<ManualClock> = Arc::default();
        let store = open_at(&world, Arc::<ManualClock>::clone(&clock)).await;
        recovery::a_gap_is_claimed_once_and_continues_at_its_cursor(&store, &clock).await;
    }

    async fn gaps_that_were_given_up_are_merged_until_one_is_recovered(world: World) {
        let clock: Arc<ManualClock> = Arc::default();
        let store = open_at(&world, Arc::<ManualClock>::clone(&clock)).await;
        recovery::gaps_that_were_given_up_are_merged_until_one_is_recovered(&store, &clock).await;
    }

    on_both_databases! {
        gaps_that_touch_are_merged,
        a_gap_is_claimed_once_and_continues_at_its_cursor,
        gaps_that_were_given_up_are_merged_until_one_is_recovered,
    }
}

mod deleted {
    use super::*;

    async fn nothing_of_a_deleted_app_is_left(world: World) {
        let clock: Arc<ManualClock> = Arc::default();
        let store = open_at(&world, Arc::<ManualClock>::clone(&clock)).await;
        deletion::nothing_of_a_deleted_app_is_left(&world, &store, &clock).await;
    }

    on_both_databases! { nothing_of_a_deleted_app_is_left }
}
