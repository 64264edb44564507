//! Refunds that a platform asks for: who gives how much, when they go, what a channel takes, and when one has failed.

use tongbao::domain::bank::BankName;
use tongbao::domain::channel::{Channel, Proof};
use tongbao::domain::dated::Dated;
use tongbao::domain::event::{
    Created, Effect, Fact, Finding, RefundOutcome, RefundResolution, RefundWord, Refusal, Rejection, RowChange,
    WebhookKind, Write,
};
use tongbao::domain::id::{PlatformId, Round};
use tongbao::domain::ledger::{EntryKind, LedgerAccount};
use tongbao::domain::note::Note;
use tongbao::domain::order::FeeBearer;
use tongbao::domain::refund::{Asked, Attention, FeePolicy, Refund, RefundFailure, RefundState, Stage};
use tongbao::domain::retry;
use tongbao::domain::splits::{Share, Split};
use tongbao::domain::step;
use tongbao::domain::time::Instant;

use crate::balances::Balances;
use crate::world::*;

const DAY: i64 = 24 * HOUR;
/// How long a send may be on its way to any channel.
const ARRIVES_MS: i64 = 20 * MINUTE;
const PART: i64 = 1_000;
/// The minute that WeChat Pay wants, and what a request may take until it arrives there.
const WECHAT_PAUSE_MS: i64 = MINUTE + 5 * SECOND;

fn proportional(amount_minor: i64) -> Fact {
    refund_asked(amount_minor, FeePolicy::Proportional)
}

/// An order that was paid through a channel, with a part of it on its way back.
fn owing(channel: Channel) -> Walk {
    let mut walk = Walk::paid_at(channel);
    walk.tell(proportional(PART));
    walk
}

fn newest(walk: &Walk) -> &Refund {
    walk.order.refunds.last().expect("there is a refund")
}

fn asked(walk: &Walk) -> &Asked {
    newest(walk).asked().expect("a platform asked for it")
}

fn shared(amount_minor: i64, shares: &[Share]) -> Created {
    let splits = shares.iter().zip(8..).map(|(share, to)| Split { to: PlatformId(to), share: *share }).collect();
    Created { amount_minor, splits, ..creation() }
}

/// Asked for at this instant, so that what is not there may be certain.
fn answered(walk: &Walk, outcome: RefundOutcome) -> Fact {
    refund_by_asking_at(walk.at, newest(walk).round, 0, outcome)
}

// --- who gives how much ----------------------------------------------------------------------------------------------

/// Of shares 6, 6 and 2, ten back is 4, 4 and 2. Of the first shares eleven would be 5, 5 and 1: the second refund would
/// give the third party one back.
#[test]
fn what_is_left_decides_who_gives_and_nobody_gets_anything_by_a_refund() {
    let mut walk = Walk::paid_of(&shared(14, &[Share::AmountMinor(6), Share::AmountMinor(2)]), Channel::Simpay);
    let parts = [10, 1, 3].map(|amount_minor| {
        walk.tell(refund_asked(amount_minor, FeePolicy::Kept));
        asked(&walk).parts.to_vec()
    });
    assert_eq!(parts, [vec![4, 4, 2], vec![1, 0, 0], vec![1, 2, 0]]);
    assert_eq!(walk.order.refundable_minor(FeePolicy::Kept), 0);
}

/// The example of the design: 200.00 by WeChat Pay, of which 10 % and 5.00 go to others, the fee borne by the payer.
#[test]
fn a_fee_that_the_payer_bears_goes_back_in_proportion_and_twice_the_half_is_the_whole() {
    let shares = [Share::Rate(rate("0.1")), Share::AmountMinor(500)];
    let mut walk = Walk::paid_of(&shared(20_000, &shares), Channel::Wechat);
    for left in [10_030, 0] {
        walk.tell(proportional(10_030));
        assert_eq!((&*asked(&walk).parts, asked(&walk).fee_minor), (&[8_750, 1_000, 250][..], 30));
        assert_eq!(walk.order.refundable_minor(FeePolicy::Proportional), left);
    }
    assert_eq!(walk.refusal(proportional(1)), Refusal::RefundExceeds { remaining_minor: 0 });
}

/// The example of the design: 99.99 by Alipay, a third each, the fee borne by the platform.
#[test]
fn a_fee_that_the_platform_bears_comes_to_it_beside_what_goes_back() {
    let third = Share::Rate(rate("0.333333"));
    let facts = Created { fee_bearer: FeeBearer::Platform, ..shared(9_999, &[third, third]) };
    let mut walk = Walk::paid_of(&facts, Channel::Alipay);
    let before = walk.clone();
    walk.tell(proportional(1_000));
    assert_eq!((&*asked(&walk).parts, asked(&walk).fee_minor), (&[334, 333, 333][..], 5));
    walk.tell(proportional(8_999));
    assert_eq!(asked(&walk).fee_minor, 45, "all of it once all has gone back");
    // What failed belongs to its parties again, to the fen.
    for refund in [0, 1] {
        walk.tell(refund_resolved(refund, RefundResolution::Failed));
    }
    assert_eq!(walk.order.left(), before.order.left());
    assert_eq!(Balances::of(&walk.order), Balances::of(&before.order));
}

#[test]
fn a_fee_that_is_kept_stays_and_bounds_the_refund() {
    for (fee_bearer, kept) in [(FeeBearer::Payer, 20_000), (FeeBearer::Platform, 20_000)] {
        let mut walk = Walk::paid_of(&Created { fee_bearer, ..creation() }, Channel::Simpay);
        let more = refund_asked(kept + 1, FeePolicy::Kept);
        assert_eq!(walk.refusal(more), Refusal::RefundExceeds { remaining_minor: kept });
        walk.tell(refund_asked(kept, FeePolicy::Kept));
        assert_eq!((asked(&walk).fee_minor, &*asked(&walk).parts), (0, &[kept][..]));
        let rest = walk.order.left().expect("it is paid").payable_minor();
        assert_eq!(rest, walk.attempt(0).payable_minor - kept, "{fee_bearer:?}");
    }
}

/// What is asked for is taken from its parties at once, whatever becomes of it later.
#[test]
fn a_refund_is_reserved_when_it_is_asked_for_and_free_again_when_it_failed_or_came_back() {
    let mut walk = Walk::paid_at(Channel::Simpay);
    let step = walk.tell(proportional(PAYABLE));
    assert_eq!(entries(&step), [EntryKind::Refund]);
    assert_eq!(walk.refusal(proportional(1)), Refusal::RefundExceeds { remaining_minor: 0 });
    let mut failed = walk.clone();
    assert_eq!(entries(&failed.tell(refund(0, refund_rejected(Rejection::Refused)))), [EntryKind::RefundFailed]);
    let step = walk.tell(refund(0, refund_done()));
    assert_eq!((entries(&step), webhooks(&step)), (vec![EntryKind::RefundPaid], vec![WebhookKind::RefundSucceeded]));
    assert_eq!((walk.order.refunded_minor(), walk.order.net_captured_minor()), (PAYABLE, 0));
    assert_eq!(walk.refusal(proportional(1)), Refusal::RefundExceeds { remaining_minor: 0 });
    let step = walk.tell(refund(0, refund_returned()));
    assert_eq!((entries(&step), webhooks(&step)), (vec![EntryKind::RefundReturned], vec![WebhookKind::RefundReturned]));
    for mut walk in [failed, walk] {
        assert_eq!((walk.order.refunded_minor(), walk.order.net_captured_minor()), (0, PAYABLE));
        walk.tell(proportional(PAYABLE));
        walk.tell(refund(1, refund_done()));
        assert_eq!((walk.order.refunded_minor(), walk.order.net_captured_minor()), (PAYABLE, 0));
    }
}

#[test]
fn only_what_an_order_was_paid_by_is_refunded() {
    let mut dead = Walk::shown_at(Channel::Simpay);
    dead.tell(found(0, Finding::Declined));
    let mut late = Walk::cancelled();
    late.tell(found(0, paid(REFERENCE, PAYABLE)));
    for mut walk in [Walk::new(), Walk::shown_at(Channel::Simpay), dead, Walk::cancelled(), late] {
        let before = walk.order.clone();
        assert_eq!(walk.refusal(proportional(1)), Refusal::OrderNotPaid, "{:?}", before.state);
        assert_eq!(walk.order, before);
    }
    // A further capture is suspense and goes back by itself; the payment may be refunded beside it.
    let mut walk = Walk::succeeded();
    walk.tell(found(0, paid("another", PAYABLE)));
    walk.tell(proportional(PAYABLE));
    assert_eq!(walk.refusal(proportional(1)), Refusal::RefundExceeds { remaining_minor: 0 });
    let numbers: Vec<String> = walk
        .order
        .refunds
        .iter()
        .filter_map(|refund| Some(walk.order.refund_number(refund, Round::FIRST)?.to_string()))
        .collect();
    assert!(numbers.len() == 2 && numbers[0] != numbers[1], "{numbers:?}");
    for refund in [0, 1] {
        walk.tell(self::refund(refund, refund_done()));
    }
    assert_eq!((walk.order.refunded_minor(), walk.order.net_captured_minor()), (PAYABLE, 0));
}

// --- what channels take ----------------------------------------------------------------------------------------------

#[test]
fn refunds_of_a_payment_keep_the_pause_that_their_channel_wants() {
    let pauses = [(Channel::Simpay, 0), (Channel::Wechat, WECHAT_PAUSE_MS), (Channel::Alipay, 3 * SECOND)];
    for (channel, pause_ms) in pauses.into_iter().chain([(Channel::Unionpay, 0), (Channel::Stripe, 0)]) {
        let mut walk = owing(channel);
        let first_at = walk.at;
        for place in 1..=2u16 {
            let step = walk.tell(proportional(PART));
            let due_at = first_at.plus_ms(i64::from(place) * pause_ms);
            let (sends, stage) = match pause_ms {
                0 => (vec![Effect::Refund { refund: place }], Stage::Owed { tries: 0, due_at }),
                _ => (vec![], Stage::Waiting { due_at }),
            };
            assert_eq!((proposed(&step), newest(&walk).stage), (sends, stage), "{channel}");
        }
        if pause_ms == 0 {
            continue;
        }
        walk.tell(refund(0, refund_done()));
        for place in 1..=2u16 {
            assert_eq!(newest(&walk).state(), RefundState::Created, "{channel}");
            assert_eq!(proposed(&walk.wake()), [Effect::Refund { refund: place }], "{channel}");
            assert_eq!(walk.at, first_at.plus_ms(i64::from(place) * pause_ms));
            walk.tell(refund(place, refund_done()));
        }
        walk.wait(pause_ms);
        walk.tell(proportional(PART));
        assert_eq!(newest(&walk).stage, Stage::Owed { tries: 0, due_at: walk.at }, "{channel}: the pause is over");
    }
}

/// Nobody was there when their turns came: they do not go all at once.
#[test]
fn refunds_whose_turns_were_missed_keep_the_pause_all_the_same() {
    let mut walk = owing(Channel::Wechat);
    for _ in 0..3 {
        walk.tell(proportional(PART));
    }
    walk.tell(refund(0, refund_done()));
    walk.wait(DAY);
    assert_eq!(
        step::resume(&walk.order, walk.at).len(),
        1,
        "what was never sent is not asked about; a timer alone is set"
    );
    let since = walk.at;
    for place in 1..=3u16 {
        assert_eq!(proposed(&walk.tell(Fact::TimerFired)), [Effect::Refund { refund: place }]);
        assert_eq!(walk.order.refunds[usize::from(place)].dated_at, walk.at);
        assert_eq!(walk.at.since_ms(since), i64::from(place - 1) * WECHAT_PAUSE_MS);
        walk.tell(refund(place, refund_done()));
        if let Some(due_at) = walk.order.next_due_at(walk.at) {
            walk.wait_until(due_at);
        }
    }
    assert!(walk.order.is_quiet());
}

/// The next number of a refund keeps the pause too.
#[test]
fn a_next_number_goes_a_pause_after_the_refunds_beside_it() {
    let mut walk = owing(Channel::Wechat);
    walk.tell(refund(0, refund_unclear()));
    walk.wait(WECHAT_PAUSE_MS).tell(proportional(PART));
    walk.tell(refund(1, refund_done()));
    // A minute after its end would be half a minute after the other one.
    walk.wait(-MINUTE / 2).tell(refund(0, refund_ended()));
    let (other, next) = (&walk.order.refunds[1], &walk.order.refunds[0]);
    assert_eq!(next.dated_at.since_ms(other.dated_at), WECHAT_PAUSE_MS);
    assert_eq!(next.round, Round(1));
}

/// A number that goes tomorrow does not keep those back that can go today: they find the gaps beside it.
#[test]
fn a_refund_does_not_wait_behind_a_number_that_goes_much_later() {
    let mut walk = Walk::paid_at(Channel::Wechat);
    walk.tell(proportional(1));
    for round in 0..5 {
        walk.tell(refund_of(Round(round), 0, refund_ended()));
        if round < 4 {
            walk.wake();
        }
    }
    let last_at = newest(&walk).dated_at;
    assert_eq!(last_at.since_ms(walk.at), DAY, "the sixth number waits for a day");
    let mut turns = vec![last_at];
    for place in 1..=44u16 {
        walk.tell(proportional(1));
        while newest(&walk).state() == RefundState::Created {
            if proposed(&walk.wake()) == [Effect::Refund { refund: 0 }] {
                assert_eq!(walk.at, last_at);
                walk.tell(refund_of(Round(5), 0, refund_done()));
            }
        }
        turns.push(walk.at);
        walk.tell(refund(place, refund_done()));
        // Towards the end they come near to it, from both sides.
        if place == 20 {
            walk.wait_until(last_at.plus_ms(-3 * WECHAT_PAUSE_MS));
        }
    }
    assert_eq!(walk.refusal(proportional(1)), Refusal::RefundLimit { most: 50 }, "six numbers and 44");
    turns.sort_unstable();
    let apart: Vec<i64> = turns.windows(2).map(|pair| pair[1].since_ms(pair[0])).collect();
    assert!(apart.iter().all(|apart_ms| *apart_ms >= WECHAT_PAUSE_MS), "{apart:?}");
}

/// A clock that ran ahead has dated a number a month from now.
#[test]
fn a_refund_does_not_wait_behind_a_date_that_a_wrong_clock_gave() {
    let mut walk = owing(Channel::Wechat);
    walk.wait(30 * DAY).tell(refund(0, refund_ended()));
    walk.wait(-30 * DAY + HOUR).tell(proportional(PART));
    let late_at = walk.at.plus_ms(MINUTE);
    assert_eq!(walk.order.refunds[0].stage, Stage::Owed { tries: 0, due_at: late_at });
    assert_eq!(newest(&walk).stage, Stage::Waiting { due_at: late_at.plus_ms(WECHAT_PAUSE_MS) });
}

/// WeChat Pay counts a request that came too soon.
#[test]
fn a_send_that_was_not_taken_is_repeated_after_the_pause_and_beside_the_others() {
    for outcome in [refund_not_sent(), refund_poor(), refund_rejected(Rejection::Ours)] {
        let mut walk = owing(Channel::Wechat);
        walk.tell(proportional(PART));
        let second_at = walk.at.plus_ms(WECHAT_PAUSE_MS);
        walk.wait(SECOND).tell(refund(0, outcome.clone()));
        assert_eq!(proposed(&walk.wake()), [Effect::Refund { refund: 1 }], "{outcome:?}");
        assert_eq!(walk.at, second_at);
        walk.tell(refund(1, refund_done()));
        assert_eq!(proposed(&walk.wake()), [Effect::Refund { refund: 0 }], "{outcome:?}");
        assert_eq!(walk.at.since_ms(second_at), WECHAT_PAUSE_MS, "{outcome:?}");
    }
}

#[test]
fn a_channel_takes_so_many_refunds_of_a_payment_and_no_more() {
    let mut walk = Walk::paid_at(Channel::Wechat);
    for place in 0..50u16 {
        walk.tell(proportional(1));
        walk.wait(WECHAT_PAUSE_MS).tell(Fact::TimerFired);
        walk.tell(refund(place, if place % 2 == 0 { refund_done() } else { refund_rejected(Rejection::Refused) }));
    }
    assert_eq!(walk.refusal(proportional(1)), Refusal::RefundLimit { most: 50 }, "what failed had a number too");
}

/// WeChat Pay counts the numbers that it ended.
#[test]
fn numbers_that_are_used_up_count_and_a_refund_that_finds_no_other_one_has_failed() {
    let mut walk = Walk::paid_at(Channel::Wechat);
    walk.tell(proportional(1));
    for round in 0..5 {
        walk.tell(refund_of(Round(round), 0, refund_ended()));
        walk.wake();
    }
    walk.tell(refund_of(Round(5), 0, refund_done()));
    for place in 1..=43u16 {
        walk.wait(WECHAT_PAUSE_MS).tell(proportional(1));
        walk.tell(refund(place, refund_done()));
    }
    walk.wait(WECHAT_PAUSE_MS).tell(proportional(1));
    assert_eq!(walk.refusal(proportional(1)), Refusal::RefundLimit { most: 50 });
    walk.tell(refund(44, refund_ended()));
    let failure = RefundFailure::Ended;
    assert_eq!(newest(&walk).stage, Stage::Failed { at: walk.at, failure }, "there is no 51st number");
}

/// The last instant of the last day, by the channel's own calendar, and the one after it.
#[test]
fn a_payment_is_refunded_within_its_channel_s_window() {
    // START is 16:00 on 15 January 2027 in Beijing.
    let midnight_ms = 8 * HOUR;
    let windows = [(Channel::Wechat, 365 * DAY), (Channel::Alipay, 365 * DAY), (Channel::Unionpay, 334 * DAY)];
    for (channel, days_ms) in windows {
        let mut walk = Walk::paid_at(channel);
        walk.wait_until(START.plus_ms(days_ms + midnight_ms - 1));
        walk.tell(proportional(PART));
        let mut late = walk.clone();
        late.wait(1);
        assert_eq!(late.refusal(proportional(PART)), Refusal::RefundWindowOver, "{channel}");
        late.tell(refund(0, refund_done()));
        assert_eq!(newest(&late).state(), RefundState::Succeeded, "{channel}: what was asked for in time goes on");
    }
    for channel in [Channel::Simpay, Channel::Stripe] {
        let mut walk = Walk::paid_at(channel);
        walk.wait(4_000 * DAY).tell(proportional(PART));
    }
    // By when the channel says that the payer paid.
    let mut walk = Walk::shown_at(Channel::Wechat);
    walk.wait(HOUR);
    let dated = Dated::at(START);
    walk.tell(found(0, Finding::Paid { reference: REFERENCE.into(), amount_minor: PAYABLE, dated }));
    walk.wait_until(START.plus_ms(365 * DAY + midnight_ms));
    assert_eq!(walk.refusal(proportional(PART)), Refusal::RefundWindowOver);
}

/// Months end on their last day where they have no such day.
#[test]
fn a_window_of_months_ends_on_the_last_day_of_a_shorter_month() {
    let paid_at = |text: &str, month: u8| {
        let day = tongbao::domain::dated::Day::parse(text).expect("a day");
        day.plus_months(month).to_string()
    };
    assert_eq!(paid_at("2027-03-31", 11), "2028-02-29");
    assert_eq!(paid_at("2026-03-31", 11), "2027-02-28");
    assert_eq!(paid_at("2028-02-29", 12), "2029-02-28");
}

// --- when it has failed ----------------------------------------------------------------------------------------------

/// A refusal judges one send. Where an earlier one may have arrived the refund goes on until its absence is certain; at
/// Alipay, where what failed and what is under way are not found either, that is never.
#[test]
fn a_refund_that_was_refused_after_an_unknown_send_has_not_failed_before_its_absence_is_certain() {
    for channel in Channel::ALL {
        let mut walk = owing(channel);
        walk.tell(refund(0, refund_unclear()));
        for _ in 0..4 {
            for class in [Rejection::Refused, Rejection::DeadNumber] {
                walk.tell(answered(&walk, refund_rejected(class)));
                assert!(matches!(newest(&walk).stage, Stage::Doubtful { .. }), "{channel}: {class:?}");
                assert!(newest(&walk).round.is_first(), "{channel}: another number could pay twice");
            }
            assert_eq!(proposed(&walk.wake()), [Effect::QueryRefund { refund: 0 }]);
            let step = walk.tell(answered(&walk, RefundOutcome::NotExist));
            assert_eq!(proposed(&step), [Effect::Refund { refund: 0 }], "{channel}: under the same number");
            walk.tell(answered(&walk, refund_unclear()));
        }
        let sent_at = walk.at;
        walk.wait(ARRIVES_MS);
        walk.tell(answered(&walk, RefundOutcome::NotExist));
        assert!(matches!(newest(&walk).stage, Stage::Doubtful { .. }), "{channel}: it may just have arrived");
        walk.tell(answered(&walk, refund_not_sent()));
        let mut asked_before = walk.clone();
        asked_before.wait(DAY);
        let early = refund_by_asking_at(sent_at.plus_ms(ARRIVES_MS), Round::FIRST, 0, RefundOutcome::NotExist);
        asked_before.tell(early);
        assert!(matches!(newest(&asked_before).stage, Stage::Doubtful { .. }), "an answer is as old as its question");
        walk.wait(300 * DAY);
        walk.tell(answered(&walk, RefundOutcome::NotExist));
        walk.tell(answered(&walk, refund_rejected(Rejection::Refused)));
        let (state, failure) = (newest(&walk).state(), newest(&walk).stage);
        if channel == Channel::Alipay {
            assert_eq!(state, RefundState::Submitted, "{failure:?}");
            let step = walk.tell(refund_resolved(0, RefundResolution::Failed));
            assert_eq!(webhooks(&step), [WebhookKind::RefundFailed], "a person ends it");
        } else {
            assert_eq!(failure, Stage::Failed { at: walk.at, failure: RefundFailure::Refused }, "{channel}");
        }
    }
}

/// Whoever pays it under another number while the first may still arrive pays it twice.
#[test]
fn nothing_but_a_certain_word_gives_a_refund_another_number() {
    let uncertain = [
        RefundOutcome::NotExist,
        refund_unclear(),
        refund_not_sent(),
        refund_poor(),
        refund_rejected(Rejection::Ours),
        refund_stuck(),
    ];
    for outcome in &uncertain {
        let mut walk = owing(Channel::Wechat);
        walk.tell(refund(0, outcome.clone()));
        walk.wait(30 * DAY).tell(Fact::TimerFired);
        walk.tell(answered(&walk, outcome.clone()));
        assert_eq!((newest(&walk).round, newest(&walk).state()), (Round::FIRST, RefundState::Submitted), "{outcome:?}");
    }
}

#[test]
fn a_refund_that_its_channel_ends_under_each_number_has_failed() {
    let rounds = retry::refund_rounds(creation().pace);
    for end in [refund_ended(), refund_rejected(Rejection::DeadNumber)] {
        let mut walk = owing(Channel::Stripe);
        let mut numbers = Vec::new();
        for (round, gap_ms) in (0u8..).zip(rounds) {
            numbers.push(walk.order.refund_number(newest(&walk), newest(&walk).round).expect("it has a number"));
            assert_eq!(proposed(&walk.tell(refund_of(Round(round), 0, end.clone()))), [], "not at once");
            let since = walk.at;
            assert_eq!(proposed(&walk.wake()), [Effect::Refund { refund: 0 }]);
            assert_eq!(walk.at.since_ms(since), *gap_ms);
            assert_eq!(newest(&walk).dated_at, walk.at);
        }
        numbers.dedup();
        assert_eq!(numbers.len(), rounds.len());
        let last = newest(&walk).round;
        let step = walk.tell(refund_of(last, 0, end));
        assert_eq!(newest(&walk).stage, Stage::Failed { at: walk.at, failure: RefundFailure::Ended });
        assert_eq!((entries(&step), webhooks(&step)), (vec![EntryKind::RefundFailed], vec![WebhookKind::RefundFailed]));
        assert_eq!(walk.order.refundable_minor(FeePolicy::Proportional), walk.attempt(0).payable_minor);
    }
}

#[test]
fn a_refund_says_what_it_waits_for() {
    let mut walk = owing(Channel::Simpay);
    for (outcome, attention) in [
        (refund_poor(), Some(Attention::ChannelBalance)),
        (refund_rejected(Rejection::Ours), Some(Attention::Person)),
        (RefundOutcome::Pending { hold: tongbao::domain::event::Hold::Balance }, Some(Attention::ChannelBalance)),
        (refund_unclear(), Some(Attention::ChannelBalance)),
        (RefundOutcome::Pending { hold: tongbao::domain::event::Hold::Processing }, None),
        (refund_stuck(), Some(Attention::Person)),
        (refund_done(), None),
    ] {
        walk.tell(refund(0, outcome.clone()));
        assert_eq!(newest(&walk).attention, attention, "{outcome:?}");
    }
    // Once it goes on it waits for nobody, and its platform sees that.
    for outcome in [refund_rejected(Rejection::Ours), refund_stuck(), refund_poor()] {
        let mut walk = owing(Channel::Simpay);
        walk.tell(refund(0, outcome.clone()));
        assert!(newest(&walk).attention.is_some(), "{outcome:?}");
        let step = walk.tell(refund(0, refund_ended()));
        assert_eq!((newest(&walk).attention, newest(&walk).round), (None, Round(1)), "{outcome:?}");
        let moved = Write::Refund { index: 0, change: RowChange::Changed };
        assert_eq!(step.writes, [moved, Write::RefundsMove], "{outcome:?}");
    }
}

/// What no order was paid by has to go back: a person is asked, as often as it takes.
#[test]
fn suspense_never_fails() {
    let rounds = u8::try_from(retry::refund_rounds(creation().pace).len()).expect("few rounds");
    for outcome in [refund_rejected(Rejection::Refused), refund_rejected(Rejection::DeadNumber), refund_ended()] {
        let mut walk = Walk::succeeded();
        walk.tell(found(0, paid("another", PAYABLE)));
        for _ in 0..2 * rounds {
            walk.tell(answered(&walk, outcome.clone()));
            assert_eq!(newest(&walk).state(), RefundState::Submitted, "{outcome:?}");
            walk.wake();
        }
        assert_eq!(newest(&walk).attention, Some(Attention::Person), "{outcome:?}");
        assert_eq!(walk.refusal(refund_resolved(0, RefundResolution::Failed)), Refusal::RefundFinal);
        let step = walk.tell(refund_resolved(0, RefundResolution::PaidOtherwise));
        assert_eq!(entries(&step), [EntryKind::RefundPaidOtherwise]);
        assert_eq!(webhooks(&step), [WebhookKind::OrderSuspenseRefunded]);
        assert!(walk.order.is_quiet());
        assert_eq!(
            (walk.order.refunded_minor(), walk.order.asked_refunds().count()),
            (0, 0),
            "it is no refund of theirs"
        );
    }
}

#[test]
fn suspense_that_came_back_is_suspense_until_a_person_finds_a_way() {
    let mut walk = Walk::succeeded();
    walk.tell(found(0, paid("another", PAYABLE)));
    walk.tell(refund(0, refund_done()));
    let step = walk.tell(refund(0, refund_returned()));
    assert_eq!((entries(&step), webhooks(&step)), (vec![EntryKind::RefundReturned], vec![]));
    assert_eq!(step.notes.last(), Some(&Note::EntryBooked { kind: EntryKind::RefundReturned }));
    assert!(step.notes.contains(&Note::RefundStuck { refund: 0 }));
    assert_eq!(newest(&walk).attention, Some(Attention::Person));
    assert_eq!(walk.order.net_captured_minor(), 2 * PAYABLE);
    assert_eq!(walk.refusal(refund_resolved(0, RefundResolution::Failed)), Refusal::RefundFinal);
    let step = walk.tell(refund_resolved(0, RefundResolution::PaidOtherwise));
    assert_eq!(entries(&step), [EntryKind::Refund, EntryKind::RefundPaidOtherwise]);
    let balances = Balances::of(&walk.order);
    assert!(
        balances.iter().any(|balance| balance == (&LedgerAccount::Bank(BankName::main()), -PAYABLE)),
        "{balances:?}"
    );
}

// --- what is told later ----------------------------------------------------------------------------------------------

/// A refund that Stripe has paid can fail weeks later.
#[test]
fn a_paid_refund_is_looked_at_after_one_seven_and_thirty_days_where_it_may_come_back() {
    for channel in Channel::ALL {
        let mut walk = owing(channel);
        walk.tell(refund(0, refund_done()));
        assert!(walk.order.is_quiet(), "{channel}: nobody waits for a look");
        if channel != Channel::Stripe {
            assert_eq!(walk.order.next_due_at(walk.at), None, "{channel}");
            continue;
        }
        let paid_at = walk.at;
        let mut returned = walk.clone();
        for days in [1, 7, 30] {
            assert!(walk.order.may_leave(walk.at));
            assert_eq!(proposed(&walk.wake()), [Effect::QueryRefund { refund: 0 }]);
            assert_eq!(walk.at, paid_at.plus_ms(days * DAY));
            assert!(!walk.order.may_leave(walk.at), "the answer must find it there");
            // No answer is no look.
            let since = walk.at;
            walk.tell(answered(&walk, refund_unclear()));
            assert_eq!(proposed(&walk.wake()), [Effect::QueryRefund { refund: 0 }]);
            assert!(walk.at > since && walk.at.since_ms(since) <= 30 * MINUTE);
            walk.tell(answered(&walk, refund_done()));
        }
        assert_eq!(walk.order.next_due_at(walk.at), None);
        returned.wake();
        let step = returned.tell(answered(&returned, refund_returned()));
        assert_eq!(webhooks(&step), [WebhookKind::RefundReturned]);
        assert_eq!(returned.order.next_due_at(returned.at), None);
        returned.tell(proportional(PART));
    }
}

/// A late look stands for those that were missed.
#[test]
fn one_look_stands_for_all_that_were_missed() {
    let mut walk = owing(Channel::Stripe);
    walk.tell(refund(0, refund_done()));
    walk.wait(8 * DAY);
    walk.tell(answered(&walk, refund_done()));
    let Stage::Succeeded { looks, .. } = newest(&walk).stage else { panic!("it is paid") };
    assert_eq!(looks, 2);
}

/// By the very refund, at its account, of its amount and in its currency.
#[test]
fn a_callback_is_proof_where_its_channel_s_word_is_and_tells_of_this_very_refund() {
    for channel in Channel::ALL {
        let walk = owing(channel);
        let number = walk.order.refund_number(newest(&walk), Round::FIRST).expect("a number").to_string();
        let noticed = |amount_minor, currency: &str| Fact::RefundNoticed {
            number: number.as_str().into(),
            account: account(channel),
            word: Some(RefundWord { amount_minor, currency: currency.into(), outcome: refund_done() }),
        };
        let mut told = walk.clone();
        let step = told.tell(noticed(PART, "CNY"));
        match channel.rules().proof {
            Proof::Callback => assert_eq!(newest(&told).state(), RefundState::Succeeded, "{channel}"),
            Proof::Query => {
                assert_eq!(proposed(&step), [Effect::QueryRefund { refund: 0 }], "{channel}");
                assert_eq!(step.after, walk.order, "{channel}");
            }
        }
        for untrue in [noticed(PART + 1, "CNY"), noticed(PART, "USD")] {
            let mut told = walk.clone();
            let step = told.tell(untrue);
            assert_eq!(proposed(&step), [Effect::QueryRefund { refund: 0 }], "{channel}");
            assert_eq!(told.order, walk.order, "{channel}");
        }
        for other in Channel::ALL.into_iter().filter(|other| *other != channel) {
            let mut told = walk.clone();
            let number = number.as_str().into();
            let fact = Fact::RefundNoticed { number, account: account(other), word: None };
            assert_eq!(told.refusal(fact), Refusal::AccountDiffers, "{other} of a refund at {channel}");
        }
    }
}

/// A callback may speak of a number that was given up meanwhile.
#[test]
fn a_callback_of_an_earlier_number_says_nothing_of_the_next_one_unless_it_was_paid() {
    let mut walk = owing(Channel::Wechat);
    let number = walk.order.refund_number(newest(&walk), Round::FIRST).expect("a number").to_string();
    walk.tell(refund(0, refund_ended()));
    walk.wake();
    let noticed = |outcome| Fact::RefundNoticed {
        number: number.as_str().into(),
        account: account(Channel::Wechat),
        word: Some(RefundWord { amount_minor: PART, currency: "CNY".into(), outcome }),
    };
    let before = walk.order.clone();
    assert_eq!(walk.tell(noticed(refund_ended())).after, before);
    let step = walk.tell(noticed(refund_done()));
    assert_eq!(newest(&walk).state(), RefundState::Succeeded);
    assert!(step.notes.contains(&Note::RefundContradicted { refund: 0 }));
    assert_eq!((newest(&walk).paying_round(), newest(&walk).round), (Round::FIRST, Round(1)));
    assert_eq!(proposed(&walk.wake()), [Effect::QueryRefund { refund: 0 }], "the last number may be paid too");
}

/// By UnionPay a callback proves nothing, and when the earlier number was sent, which is a part of its name there, is not
/// known any more: a person must look. At Stripe what was paid may fail, and the word may be older than that.
#[test]
fn a_callback_that_is_no_proof_and_says_that_an_earlier_number_was_paid_is_for_a_person() {
    for (channel, is_heard) in [(Channel::Unionpay, true), (Channel::Stripe, false)] {
        let mut walk = owing(channel);
        let number = walk.order.refund_number(newest(&walk), Round::FIRST).expect("a number").to_string();
        walk.tell(refund(0, refund_ended()));
        walk.wake();
        let before = walk.order.clone();
        let step = walk.tell(Fact::RefundNoticed {
            number: number.into(),
            account: account(channel),
            word: Some(RefundWord { amount_minor: PART, currency: "CNY".into(), outcome: refund_done() }),
        });
        assert_eq!(step.after, before, "{channel}");
        assert_eq!(step.notes.contains(&Note::RefundContradicted { refund: 0 }), is_heard, "{channel}");
    }
}

/// What is over by our books and was paid all the same is for a person to see; what is booked stands.
#[test]
fn a_refund_that_is_over_and_was_paid_after_all_is_noted_and_booked_by_nobody() {
    let mut failed = owing(Channel::Simpay);
    failed.tell(refund(0, refund_rejected(Rejection::Refused)));
    let mut otherwise = owing(Channel::Simpay);
    otherwise.tell(refund_resolved(0, RefundResolution::PaidOtherwise));
    for mut walk in [failed, otherwise] {
        let before = walk.order.clone();
        let step = walk.tell(refund(0, refund_done()));
        assert_eq!((&step.after, &step.writes[..]), (&before, &[][..]));
        assert_eq!(step.notes, [Note::RefundContradicted { refund: 0 }]);
        assert_eq!(walk.tell(refund(0, refund_unclear())).notes, []);
    }
}

/// What a refund waits for is counted by the true time.
#[test]
fn a_refund_that_was_put_off_by_a_clock_that_ran_ahead_goes_by_the_true_time() {
    let mut walk = owing(Channel::Wechat);
    walk.tell(refund(0, refund_done()));
    walk.wait(30 * DAY).tell(proportional(PART));
    walk.tell(refund(1, refund_done()));
    walk.tell(proportional(PART));
    walk.wait(-30 * DAY);
    let back_at: Instant = walk.at;
    // The first wake counts anew from the true time.
    for _ in 0..3 {
        if newest(&walk).state() == RefundState::Created {
            walk.wake();
        }
    }
    assert_eq!(newest(&walk).state(), RefundState::Submitted);
    assert!(walk.at.since_ms(back_at) <= 50 * WECHAT_PAUSE_MS, "it waited {} ms", walk.at.since_ms(back_at));
}
