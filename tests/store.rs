//! Every operation of the store, on SQLite and on PostgreSQL.

#[path = "support/asked.rs"]
mod asked;
#[path = "store/book.rs"]
mod book;
#[path = "store/cases.rs"]
mod cases;
#[path = "store/damage.rs"]
mod damage;
#[path = "store/directory.rs"]
mod directory;
#[path = "store/doubt.rs"]
mod doubt;
#[path = "store/faults.rs"]
mod faults;
#[path = "store/lanes.rs"]
mod lanes;
#[path = "store/lease.rs"]
mod lease;
#[path = "store/measure.rs"]
mod measure;
#[path = "store/nettings.rs"]
mod nettings;
#[path = "store/plans.rs"]
mod plans;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "store/refunds.rs"]
mod refunds;
#[path = "support/reminder.rs"]
mod reminder;
#[path = "store/tls.rs"]
mod tls;
#[path = "store/toy.rs"]
mod toy;
#[path = "store/units.rs"]
mod units;
#[path = "store/writer.rs"]
mod writer;

/// Each rule of writer, lease and directory, as a test over either store.
macro_rules! rules_on_both_stores {
    ($($part:ident::$rule:ident),* $(,)?) => {
        mod rules_on_sqlite {
            $(#[test]
            fn $rule() {
                actix::System::new().block_on(super::$part::$rule(super::book::Place::sqlite()));
            })*
        }
        mod rules_on_postgres {
            $(#[test]
            fn $rule() {
                actix::System::new().block_on(super::$part::$rule(super::book::Place::postgres()));
            })*
        }
    };
}

rules_on_both_stores!(
    writer::rule_13_what_gathers_while_a_group_is_committed_is_the_next_group,
    writer::rule_14_a_step_decided_on_another_version_is_refused_and_the_others_are_written,
    writer::rule_16_one_bad_row_is_found_and_the_rest_is_committed,
    writer::rule_17_new_orders_stop_at_their_bound_and_steps_are_never_shed,
    writer::rule_19_of_a_loser_nothing_is_written,
    writer::a_new_order_outside_of_its_names_partition_is_its_own_fault,
    writer::rule_20_a_writer_whose_store_was_taken_over_writes_nothing_and_stops,
    lease::rule_20_an_owner_that_is_silent_is_taken_over,
    lease::rule_20_an_owner_that_was_killed_may_still_have_its_last_word,
    lease::rule_20_an_owner_that_is_heard_twice_is_alive,
    lease::rule_20_a_store_that_was_given_back_is_taken_at_once,
    lease::rule_20_an_idle_owner_beats_in_every_span,
    toy::a_kind_that_the_engine_never_heard_of_falls_due_and_tells_an_order,
    directory::rule_21_whoever_comes_to_an_order_that_is_leaving_is_answered,
    nettings::what_platforms_owe_each_other_is_netted_once_and_booked_when_both_confirm,
);

/// Each case as a test of either store.
macro_rules! on_both_stores {
    ($($case:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let place = super::book::Place::sqlite();
                super::cases::$case(place.book().await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let place = super::book::Place::postgres();
                super::cases::$case(place.book().await).await;
            })*
        }
    };
}

on_both_stores!(
    a_new_order_is_read_back_as_it_was_written,
    every_step_of_a_payment_is_kept,
    an_epoch_of_the_past_is_fenced_off,
    a_store_is_taken_over_only_as_it_was_seen,
    a_beat_tells_the_last_group,
    report_the_owner_s_row_tells_the_last_instant,
    report_an_order_dated_by_a_clock_that_ran_ahead_is_due_now,
    a_group_makes_its_number_durable,
    a_taken_merchant_order_id_writes_nothing,
    the_first_of_two_in_one_group_wins,
    another_version_rolls_the_whole_group_back,
    an_order_that_is_there_is_not_made_again,
    two_steps_of_one_order_in_a_group_are_refused,
    a_capture_is_booked_once_and_for_all,
    a_unit_that_contradicts_itself_is_corrupt,
    lists_are_filtered_and_turn_pages,
    due_orders_come_in_pages,
    a_stream_of_any_kind_is_kept_like_an_order,
    what_is_due_is_put_off_without_a_step,
    a_message_is_delivered_until_it_is_taken_and_taken_once,
    losers_are_found_before_the_group,
    an_order_is_read_as_it_was_committed_last,
    a_place_is_given_once,
    balances_run_along_with_the_lines,
    webhooks_live_and_die_in_the_outbox,
    dead_letters_are_erased,
    a_webhook_of_a_fact_ahead_is_due_now,
    the_outbox_turns_pages,
    webhooks_of_streams_of_two_kinds_are_kept_apart,
    the_inbox_keeps_what_no_order_could_take,
    the_inbox_turns_pages_of_orders,
    answers_are_kept_and_forgotten,
    a_claim_lives_and_dies_with_its_step,
    platforms_and_their_keys,
    a_name_a_number_and_a_key_have_one_platform,
    a_setting_is_kept_as_it_was_first,
    the_books_add_up,
    a_group_of_two_thousand_units_is_one_commit,
    a_write_ends_though_nobody_waits_for_it,
    payers_lie_apart,
    what_payers_paid_by_is_kept_and_forgotten,
    migrating_twice_changes_nothing,
);

/// Each case of refunds as a test of either store.
macro_rules! refunds_on_both_stores {
    ($($case:ident),* $(,)?) => {
        mod refunds_on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let place = super::book::Place::sqlite();
                super::refunds::$case(place.book().await).await;
            })*
        }
        mod refunds_on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let place = super::book::Place::postgres();
                super::refunds::$case(place.book().await).await;
            })*
        }
    };
}

refunds_on_both_stores!(
    a_refund_is_found_by_its_id_and_by_its_name_until_it_ends,
    a_name_is_one_refunds_and_another_platform_may_give_it_too,
    refunds_turn_pages_newest_first,
    every_line_of_a_platform_is_its_transaction,
    an_order_is_listed_while_a_refund_of_it_is_stuck,
    sums_are_kept_by_the_totals_that_lines_add_to,
);

/// An embedded store has one lane for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_divided_anew_and_a_lane_s_number_is_given_once() {
    let place = book::Place::postgres();
    cases::partitions_are_divided_anew_and_a_lane_s_number_is_given_once(place.book().await).await;
}
