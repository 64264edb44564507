//! The rules that keep the money right, one by one, each test named after what its rule says.

use std::collections::BTreeSet;

use tongbao::domain::channel::{Channel, Closing, Method, Proof};
use tongbao::domain::dated::Effective;
use tongbao::domain::event::{
    CloseAnswer, Created, Effect, Fact, Fault, Finding, RefundOutcome, Refusal, SendOutcome, Step, Verdict,
    WebhookKind, Write,
};
use tongbao::domain::id::{Account, AttemptNumber, PlatformId};
use tongbao::domain::ledger::{Booking, Entry, EntryKind, Fee, Parts};
use tongbao::domain::merchant::Merchant;
use tongbao::domain::note::Note;
use tongbao::domain::order::{
    AttemptFailure, AttemptState, FeeBearer, OrderFailure, Purpose, Reach, State, SuspenseReason, Webhooks, Wish,
};
use tongbao::domain::refund::Stage;
use tongbao::domain::retry;
use tongbao::domain::step;
use tongbao::domain::time::{Instant, TimeScale};
use tongbao::domain::validation::{Facts, Health, validate};

use crate::world::*;

#[test]
fn rule_01_a_refusal_says_nothing_of_an_earlier_send_that_was_never_answered() {
    let mut walk = Walk::new();
    walk.pay_by(Channel::Simpay);
    walk.wait(10 * SECOND).tell(found(0, Finding::NotExist));
    walk.tell(sent(0, 2, refused(Fault::Payment)));
    assert!(walk.attempt(0).is_open(), "the first send may have been taken");
}

#[test]
fn rule_01_an_attempt_whose_only_send_was_refused_or_never_left_is_dead() {
    for (outcome, failure) in [
        (refused(Fault::Payment), AttemptFailure::ChannelDeclined),
        (refused(Fault::Ours), AttemptFailure::ChannelUnavailable),
        (not_sent(), AttemptFailure::ChannelUnavailable),
        (SendOutcome::HeldBack { why: "too many calls are waiting".into() }, AttemptFailure::HeldBack),
        (SendOutcome::Impossible { code: "openid_missing".into() }, AttemptFailure::ChannelUnsuitable),
    ] {
        let mut walk = Walk::new();
        walk.pay_by(Channel::Simpay);
        let step = walk.tell(sent(0, 1, outcome));
        assert_eq!((walk.order.state, walk.attempt(0).state), (State::Created, AttemptState::Dead));
        assert_eq!((walk.order.last_failure, walk.attempt(0).failure), (Some(failure), Some(failure)));
        assert_eq!(webhooks(&step), [WebhookKind::OrderAttemptFailed]);
        assert!(step.writes.contains(&Write::WipeNextAction));
    }
}

#[test]
fn report_later_is_heard_as_later_and_the_attempt_lives() {
    for channel in [Channel::Simpay, Channel::Wechat, Channel::Alipay, Channel::Stripe] {
        let mut walk = Walk::new();
        walk.pay_by(channel);
        let step = walk.tell(sent(0, 1, later()));
        assert_eq!((walk.order.state, walk.order.last_failure), (State::Submitted, None), "{channel}");
        assert_eq!((proposed(&step), &step.writes[..]), (vec![], &[][..]), "it waits for its tick");
        // Twice as long each time, under the same number.
        let first_at = walk.order.next_due_at(walk.at).unwrap();
        walk.wait_until(first_at);
        assert_eq!(proposed(&walk.wake()), [Effect::Query { ordinal: 0 }]);
        let step = walk.tell(found_by_asking_at(walk.at, 0, Finding::NotExist));
        assert_eq!(proposed(&step), [Effect::Submit { ordinal: 0, send: 2 }]);
        walk.tell(sent(0, 2, later()));
        let second_gap = walk.order.next_due_at(walk.at).unwrap().since_ms(walk.at);
        assert!(second_gap > retry::queries(channel, walk.order.pace)[0], "{channel}");
        walk.wake();
        walk.tell(found_by_asking_at(walk.at, 0, Finding::NotExist));
        walk.tell(sent(0, 3, SendOutcome::Accepted { reference: None }));
        assert!(walk.attempt(0).is_open() && walk.order.attempts.len() == 1, "{channel}");
    }
}

#[test]
fn report_what_was_only_put_off_needs_no_close() {
    let mut walk = Walk::new();
    walk.pay_by(Channel::Wechat);
    walk.tell(sent(0, 1, later()));
    assert_eq!(proposed(&walk.tell(Fact::CancelAsked)), []);
    assert_eq!((walk.order.state, walk.order.failure), (State::Failed, Some(OrderFailure::Cancelled)));
    assert_eq!(walk.order.next_due_at(walk.at), None, "nobody at the channel knows of it");

    let mut walk = Walk::new();
    walk.pay_by(Channel::Wechat);
    walk.tell(Fact::CancelAsked);
    walk.tell(sent(0, 1, later()));
    assert_eq!((walk.order.state, walk.order.failure), (State::Failed, Some(OrderFailure::Cancelled)));
}

#[test]
fn report_a_first_send_that_nobody_answered_is_asked_for_at_once_and_sent_again() {
    let mut walk = Walk::new();
    walk.pay_by(Channel::Simpay);
    assert_eq!(proposed(&walk.tell(sent(0, 1, no_answer()))), [Effect::Query { ordinal: 0 }]);
    let step = walk.tell(found_by_asking_at(walk.at, 0, Finding::NotExist));
    assert_eq!(proposed(&step), [Effect::Submit { ordinal: 0, send: 2 }]);
    assert_eq!(proposed(&walk.tell(sent(0, 2, no_answer()))), [], "the next one waits for its tick");
}

#[test]
fn rule_01_an_attempt_with_one_unknown_send_does_not_die_of_later_refusals() {
    for outcome in [refused(Fault::Payment), refused(Fault::Ours), not_sent()] {
        let mut walk = Walk::new();
        walk.pay_by(Channel::Simpay);
        walk.tell(sent(0, 1, no_answer()));
        walk.wake();
        walk.tell(found(0, Finding::NotExist));
        walk.tell(sent(0, 2, outcome));
        assert!(walk.order.state == State::Submitted && walk.attempt(0).is_open());
        walk.tell(found(0, paid(REFERENCE, PAYABLE)));
        assert_eq!(walk.order.state, State::Succeeded);
    }
}

#[test]
fn rule_01_each_channel_says_in_its_own_form_that_an_attempt_is_dead() {
    use Channel::{Alipay, Simpay, Stripe, Unionpay, Wechat};
    let lapsed = |channel: Channel| 2 * HOUR + channel.rules().grace_ms + 1;
    // The certainly dead table: who says it, how long after the order's creation, what is said, and whether the
    // attempt dies of it.
    let table = [
        (Simpay, 0, Finding::Declined, true),
        (Simpay, 0, Finding::Closed, true),
        (Simpay, 0, Finding::NotExist, false),
        (Simpay, lapsed(Simpay), Finding::NotExist, false),
        (Simpay, lapsed(Simpay), Finding::Pending, false),
        (Wechat, 0, Finding::Closed, true),
        (Wechat, 0, Finding::NotExist, false),
        (Wechat, lapsed(Wechat) - 1, Finding::NotExist, false),
        (Wechat, lapsed(Wechat), Finding::NotExist, true),
        (Wechat, lapsed(Wechat), Finding::Pending, true),
        (Wechat, lapsed(Wechat), unclear(), false),
        (Alipay, 0, Finding::Closed, true),
        (Alipay, lapsed(Alipay) - 1, Finding::NotExist, false),
        (Alipay, lapsed(Alipay), Finding::NotExist, true),
        (Alipay, lapsed(Alipay), Finding::Pending, false),
        (Unionpay, 0, Finding::NotExist, false),
        (Unionpay, 15 * MINUTE + 10 * MINUTE, Finding::Pending, false),
        (Unionpay, 15 * MINUTE + 10 * MINUTE + 1, Finding::Pending, true),
        (Unionpay, 15 * MINUTE + 10 * MINUTE + 1, Finding::NotExist, true),
        (Unionpay, 24 * HOUR, unclear(), false),
        (Stripe, 0, Finding::Closed, true),
        (Stripe, lapsed(Stripe), Finding::NotExist, false), // It was shown, so it is there.
        (Stripe, lapsed(Stripe), Finding::Pending, false),
    ];
    for (channel, after_ms, finding, dies) in table {
        let mut walk = Walk::shown_at(channel);
        walk.wait(after_ms).tell(found(0, finding.clone()));
        let expected = if dies { AttemptState::Dead } else { AttemptState::Open };
        assert_eq!(walk.attempt(0).state, expected, "{channel} after {after_ms} ms: {finding:?}");
    }
}

#[test]
fn rule_01_the_answer_to_a_close_is_certain_only_where_the_channel_s_word_is() {
    for (channel, dies) in
        [(Channel::Simpay, true), (Channel::Stripe, true), (Channel::Wechat, false), (Channel::Alipay, false)]
    {
        let mut walk = Walk::shown_at(channel);
        walk.tell(Fact::CancelAsked);
        let step = walk.tell(closed(0, CloseAnswer::Closed));
        let expected = if dies { State::Failed } else { State::Submitted };
        assert_eq!(walk.order.state, expected, "{channel}");
        if !dies {
            assert_eq!(proposed(&step), [Effect::Query { ordinal: 0 }]);
            walk.tell(found(0, Finding::Closed));
            assert_eq!((walk.order.state, walk.order.failure), (State::Failed, Some(OrderFailure::Cancelled)));
        }
    }
}

/// An attempt whose first send was never answered, whose second one is now.
fn resent(channel: Channel) -> Walk {
    let mut walk = Walk::new();
    walk.pay_by(channel);
    walk.tell(sent(0, 1, no_answer()));
    walk.wake();
    let step = walk.tell(found(0, Finding::NotExist));
    assert_eq!(proposed(&step), [Effect::Submit { ordinal: 0, send: 2 }]);
    walk
}

#[test]
fn rule_02_a_resend_that_is_declined_has_the_attempt_closed_instead_of_sending_on() {
    let mut walk = resent(Channel::Simpay);
    let step = walk.tell(sent(0, 2, refused(Fault::Payment)));
    assert_eq!(walk.attempt(0).state, AttemptState::Closing, "the first send may have been taken");
    assert_eq!(proposed(&step), [Effect::Close { ordinal: 0 }]);
    walk.tell(closed(0, CloseAnswer::Closed));
    let failure = Some(AttemptFailure::ChannelDeclined);
    assert_eq!((walk.order.state, walk.order.last_failure), (State::Created, failure));
}

#[test]
fn rule_02_a_refused_resend_that_cannot_be_closed_waits_for_the_next_query_instead_of_spinning() {
    for (channel, fault) in [(Channel::Simpay, Fault::Ours), (Channel::Unionpay, Fault::Payment)] {
        let mut walk = resent(channel);
        let step = walk.tell(sent(0, 2, refused(fault)));
        assert_eq!(walk.attempt(0).state, AttemptState::Open, "the first send may have been taken");
        assert_eq!(proposed(&step), []);
        let due_at = walk.order.next_due_at(walk.at).unwrap();
        assert_eq!(
            due_at.since_ms(walk.at),
            retry::queries(channel, walk.order.pace)[1],
            "later for what was sent twice"
        );
    }
}

#[test]
fn rule_02_a_send_that_was_lost_before_it_was_answered_is_sent_again() {
    let mut walk = Walk::new();
    walk.pay_by(Channel::Simpay);
    assert_eq!(step::resume(&walk.order, walk.at)[0], Effect::Query { ordinal: 0 });
    walk.wait(10 * SECOND);
    let step = walk.tell(found(0, Finding::NotExist));
    assert_eq!(proposed(&step), [Effect::Submit { ordinal: 0, send: 2 }]);
}

#[test]
fn rule_02_an_unknown_outcome_is_queried_until_it_is_certain() {
    let mut walk = Walk::new();
    walk.pay_by(Channel::Unionpay);
    walk.tell(sent(0, 1, no_answer()));
    walk.try_tell(vec![Fact::CancelAsked]).expect("a wish is stored");
    for _ in 0..200 {
        assert_eq!(proposed(&walk.wake()), [Effect::Query { ordinal: 0 }]);
        walk.tell(found(0, unclear()));
        assert_eq!((walk.order.state, walk.attempt(0).state), (State::Submitted, AttemptState::Closing));
    }
    assert!(walk.at.since_ms(START) > 72 * HOUR);
    walk.tell(found(0, paid(REFERENCE, 20_120)));
    assert_eq!(walk.order.state, State::Succeeded);
}

#[test]
fn rule_02_queries_follow_the_channel_s_schedule() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    let mut gaps = Vec::new();
    for _ in 0..7 {
        let since = walk.at;
        assert_eq!(proposed(&walk.wake()), [Effect::Query { ordinal: 0 }]);
        walk.tell(found(0, Finding::Pending));
        gaps.push(walk.at.since_ms(since));
    }
    assert_eq!(gaps, retry::queries(Channel::Simpay, walk.order.pace));
}

/// What was certain when the question went out, not when its answer came in.
#[test]
fn rule_02_an_answer_is_as_old_as_its_question() {
    for finding in [Finding::NotExist, Finding::Pending] {
        let mut walk = Walk::shown_at(Channel::Wechat);
        let dead_at = walk.attempt(0).expires_at.plus_ms(Channel::Wechat.rules().grace_ms + 1);
        walk.wait_until(dead_at.plus_ms(MINUTE));
        walk.tell(found_by_asking_at(dead_at.plus_ms(-1), 0, finding.clone()));
        assert!(walk.attempt(0).is_open(), "{finding:?}: it could still have been paid after it was asked");
        walk.tell(found_by_asking_at(dead_at, 0, finding.clone()));
        assert_eq!(walk.attempt(0).state, AttemptState::Dead, "{finding:?}");
    }
}

#[test]
fn rule_02_what_is_sent_again_and_again_becomes_rare() {
    let mut walk = Walk::new();
    walk.pay_by(Channel::Simpay);
    let schedule = retry::queries(Channel::Simpay, walk.order.pace);
    for (gap, send) in (1..10u32).enumerate() {
        walk.tell(sent(0, send, no_answer()));
        let since = walk.at;
        assert_eq!(proposed(&walk.wake()), [Effect::Query { ordinal: 0 }]);
        assert_eq!(walk.at.since_ms(since), schedule[gap.min(schedule.len() - 1)], "after send {send}");
        let again = Effect::Submit { ordinal: 0, send: send + 1 };
        assert_eq!(proposed(&walk.tell(found(0, Finding::NotExist))), [again]);
    }
    // What the payer was shown is asked for at the usual pace, however often it was sent.
    walk.tell(sent(0, 10, SendOutcome::Accepted { reference: None }));
    let since = walk.at;
    walk.wake();
    assert_eq!(walk.at.since_ms(since), schedule[0]);
}

/// The count goes on where sixteen bits end, and an answer to the next send is heard.
#[test]
fn report_sends_stick_at_65_535() {
    let mut walk = Walk::new();
    walk.pay_by(Channel::Simpay);
    walk.tell(sent(0, 1, no_answer()));
    (walk.order.attempts[0].sends, walk.order.attempts[0].answered) = (65_535, 65_535);
    let again = Effect::Submit { ordinal: 0, send: 65_536 };
    assert_eq!(proposed(&walk.tell(found(0, Finding::NotExist))), [again]);
    walk.tell(sent(0, 65_536, SendOutcome::Accepted { reference: None }));
    assert_eq!((walk.attempt(0).answered, walk.attempt(0).reach), (65_536, Reach::Shown));
}

#[test]
fn rule_02_a_timer_that_fires_before_anything_is_due_asks_nothing() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    assert_eq!(proposed(&walk.wait(SECOND).tell(Fact::TimerFired)), []);
    walk.tell(Fact::CancelAsked);
    assert_eq!(proposed(&walk.wait(SECOND).tell(Fact::TimerFired)), []);
}

#[test]
fn rule_02_an_operator_s_resolution_is_a_finding_of_its_own() {
    let mut walk = Walk::shown_at(Channel::Unionpay);
    walk.tell(Fact::CancelAsked);
    walk.tell(resolved(0, Finding::Declined));
    assert_eq!((walk.order.state, walk.order.failure), (State::Failed, Some(OrderFailure::Cancelled)));
    let mut walk = Walk::shown_at(Channel::Unionpay);
    walk.tell(resolved(0, paid(REFERENCE, 20_120)));
    assert_eq!(walk.order.state, State::Succeeded);
}

#[test]
fn rule_03_an_attempt_expires_at_an_instant_that_is_fixed_when_it_is_opened() {
    let mut walk = Walk::new();
    let expires_at = START.plus_ms(HOUR);
    walk.try_tell(vec![chosen(Channel::Wechat), suitable(Channel::Wechat, expires_at)]).expect("it suits");
    walk.wait(MINUTE).tell(sent(0, 1, no_answer()));
    walk.tell(found(0, Finding::NotExist));
    walk.wait(MINUTE).tell(sent(0, 2, SendOutcome::Accepted { reference: None }));
    walk.wait(MINUTE).tell(chosen(Channel::Wechat));
    assert_eq!((walk.attempt(0).sends, walk.attempt(0).expires_at), (3, expires_at));
    walk.wait_until(expires_at.plus_ms(Channel::Wechat.rules().grace_ms + 1)).tell(found(0, Finding::NotExist));
    assert_eq!(walk.attempt(0).state, AttemptState::Dead);
}

#[test]
fn rule_03_the_look_at_a_channel_takes_the_earlier_of_both_expiries_and_refuses_what_is_too_short() {
    let order = Walk::new().order;
    let facts = |channel: Channel| Facts {
        channel,
        method: method_of(channel),
        account: Some(account(channel)),
        merchant: Merchant::Operator,
        health: Health::Up,
        risk: None,
    };
    let left = |ms: i64| order.expires_at.plus_ms(-ms);
    let suits =
        |channel, expires_at| Verdict::Suitable { account: account(channel), merchant: Merchant::Operator, expires_at };
    let unsuitable = Verdict::Unsuitable { failure: AttemptFailure::ChannelUnsuitable };
    assert_eq!(
        validate(&order, &facts(Channel::Unionpay), START),
        suits(Channel::Unionpay, START.plus_ms(15 * MINUTE))
    );
    assert_eq!(validate(&order, &facts(Channel::Simpay), START), suits(Channel::Simpay, order.expires_at));
    assert_eq!(
        validate(&order, &facts(Channel::Wechat), left(MINUTE + 10 * SECOND)),
        suits(Channel::Wechat, order.expires_at)
    );
    assert_eq!(validate(&order, &facts(Channel::Wechat), left(MINUTE + 10 * SECOND - 1)), unsuitable);
    assert_eq!(validate(&order, &Facts { account: None, ..facts(Channel::Simpay) }, START), unsuitable);
    assert_eq!(validate(&order, &Facts { method: Method::Card, ..facts(Channel::Simpay) }, START), unsuitable);
    assert_eq!(
        validate(&order, &Facts { health: Health::Down, ..facts(Channel::Simpay) }, START),
        Verdict::Unsuitable { failure: AttemptFailure::ChannelUnavailable }
    );
    assert_eq!(
        validate(&order, &Facts { risk: Some("velocity".into()), ..facts(Channel::Simpay) }, START),
        Verdict::RiskRefused { rule: "velocity".into() }
    );
}

/// In a sandbox what only time ends, and every grace, shrinks by the scale that the order began with. What a close can
/// end lives as long as elsewhere.
#[test]
fn rule_03_a_scale_shrinks_the_life_of_what_only_time_ends_and_every_grace() {
    let time_scale = TimeScale::percent(10).expect("a scale");
    for (channel, life_ms, grace_ms) in [
        (Channel::Unionpay, 15 * MINUTE / 10, MINUTE),
        (Channel::Wechat, 2 * HOUR, 30 * SECOND),
        (Channel::Alipay, 2 * HOUR, 30 * SECOND),
    ] {
        let mut walk = Walk::of(&Created { time_scale, ..creation() });
        let (method, account) = (method_of(channel), Some(account(channel)));
        let facts = Facts { channel, method, account, merchant: Merchant::Operator, health: Health::Up, risk: None };
        let Verdict::Suitable { expires_at, .. } = validate(&walk.order, &facts, START) else { panic!("{channel}") };
        assert_eq!(expires_at, START.plus_ms(life_ms), "{channel}");
        walk.pay_by(channel);
        assert_eq!(walk.attempt(0).expires_at, expires_at, "{channel}");
        walk.tell(Fact::CancelAsked);
        walk.wait_until(expires_at.plus_ms(grace_ms)).tell(found(0, Finding::NotExist));
        assert!(walk.attempt(0).is_open(), "{channel}: its time is not over");
        walk.wait(1).tell(found(0, Finding::NotExist));
        assert_eq!(walk.order.failure, Some(OrderFailure::Cancelled), "{channel}");
    }
}

/// Journals of before there was a scale, and those of live orders, do not name it.
#[test]
fn a_true_scale_is_not_journaled() {
    let text = serde_json::to_value(creation()).expect("JSON");
    assert_eq!(text.get("time_scale"), None);
    assert_eq!(serde_json::from_value::<Created>(text).expect("a creation"), creation());
    let scaled = Created { time_scale: TimeScale::percent(5).expect("a scale"), ..creation() };
    let text = serde_json::to_value(&scaled).expect("JSON");
    assert_eq!(text["time_scale"], 5);
    assert_eq!(serde_json::from_value::<Created>(text).expect("a creation"), scaled);
}

/// What a channel is asked for is the payable, so that its limits bound that.
#[test]
fn the_look_at_a_channel_holds_to_its_limits() {
    let mut order = Walk::new().order;
    let mut suits = |channel: Channel, amount_minor: i64| {
        order.amount_minor = amount_minor;
        let account = Some(account(channel));
        let facts = Facts {
            channel,
            method: method_of(channel),
            account,
            merchant: Merchant::Operator,
            health: Health::Up,
            risk: None,
        };
        match validate(&order, &facts, START) {
            Verdict::Suitable { .. } => true,
            Verdict::Unsuitable { failure } => {
                assert_eq!(failure, AttemptFailure::ChannelUnsuitable);
                false
            }
            Verdict::RiskRefused { rule } => panic!("{rule}"),
        }
    };
    // With a fee of 0.005 the greatest payable is 100000000.00, with one of 0.029 the least is 4.00.
    assert!(suits(Channel::Alipay, 1) && suits(Channel::Alipay, 9_950_248_756));
    assert!(!suits(Channel::Alipay, 9_950_248_757));
    assert!(!suits(Channel::Stripe, 388) && suits(Channel::Stripe, 389));
    assert!(suits(Channel::Stripe, 97_181_729) && !suits(Channel::Stripe, 97_181_730));
    for unbounded in [Channel::Simpay, Channel::Wechat, Channel::Unionpay] {
        assert!(suits(unbounded, 1) && suits(unbounded, 90_000_000_000_000), "{unbounded}");
    }
}

#[test]
fn rule_04_our_own_fault_is_no_fault_of_the_payer_s() {
    let mut walk = Walk::new();
    walk.pay_by(Channel::Simpay);
    walk.tell(sent(0, 1, refused(Fault::Ours)));
    assert_eq!(walk.order.last_failure, Some(AttemptFailure::ChannelUnavailable));
    let mut walk = Walk::new();
    walk.pay_by(Channel::Simpay);
    walk.tell(sent(0, 1, no_answer()));
    walk.wake();
    walk.tell(found(0, Finding::NotExist));
    walk.tell(sent(0, 2, refused(Fault::Ours)));
    assert_eq!((walk.order.state, walk.order.last_failure), (State::Submitted, None));
}

#[test]
fn rule_05_what_was_never_shown_is_sent_again_until_the_attempt_expires() {
    for finding in [Finding::NotExist, Finding::Pending] {
        let mut walk = Walk::new();
        walk.pay_by(Channel::Simpay);
        walk.tell(sent(0, 1, no_answer()));
        for send in 2..10 {
            walk.wake();
            assert_eq!(proposed(&walk.tell(found(0, finding.clone()))), [Effect::Submit { ordinal: 0, send }]);
            walk.tell(sent(0, send, no_answer()));
        }
        walk.wait_until(walk.attempt(0).expires_at);
        assert_eq!(proposed(&walk.tell(found(0, finding))), []);
    }
}

#[test]
fn rule_05_nothing_is_sent_again_once_a_next_action_is_durable() {
    for finding in [Finding::NotExist, Finding::Pending, unclear()] {
        let mut walk = Walk::new();
        walk.pay_by(Channel::Simpay);
        assert!(
            walk.tell(sent(0, 1, SendOutcome::Accepted { reference: None })).writes.contains(&Write::StoreNextAction)
        );
        assert_eq!(walk.attempt(0).reach, Reach::Shown);
        for _ in 0..8 {
            walk.wake();
            assert_eq!(proposed(&walk.tell(found(0, finding.clone()))), []);
        }
        assert_eq!(walk.attempt(0).sends, 1);
    }
}

#[test]
fn rule_05_pay_on_the_same_channel_refreshes_the_next_action_and_opens_no_attempt() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    assert_eq!(proposed(&walk.tell(chosen(Channel::Simpay))), [Effect::Submit { ordinal: 0, send: 2 }]);
    assert_eq!(proposed(&walk.tell(chosen(Channel::Simpay))), [], "the refresh is under way");
    assert!(walk.tell(sent(0, 2, SendOutcome::Accepted { reference: None })).writes.contains(&Write::StoreNextAction));
    assert_eq!(walk.order.attempts.len(), 1);
}

#[test]
fn rule_05_pay_on_the_same_channel_after_the_attempt_s_own_end_opens_a_new_one_once_the_old_is_dead() {
    for channel in Channel::ALL {
        let mut walk = Walk::of(&Created { expires_at: START.plus_ms(300 * HOUR), ..creation() });
        walk.pay_by(channel);
        walk.tell(sent(0, 1, SendOutcome::Accepted { reference: None }));
        let ends_at = walk.attempt(0).expires_at;
        walk.wait_until(ends_at.plus_ms(-1));
        assert_eq!(proposed(&walk.tell(chosen(channel))), [Effect::Submit { ordinal: 0, send: 2 }], "{channel}");
        walk.tell(sent(0, 2, SendOutcome::Accepted { reference: None }));
        walk.wait_until(ends_at);
        match channel.rules().closing {
            Closing::Impossible => {
                let retry_after_ms = channel.rules().grace_ms;
                let until = Some(ends_at.plus_ms(retry_after_ms));
                assert_eq!(walk.refusal(chosen(channel)), Refusal::AttemptOpen { retry_after_ms, until });
            }
            Closing::Certain | Closing::Confirmed => {
                assert_eq!(proposed(&walk.tell(chosen(channel))), [Effect::Close { ordinal: 0 }], "{channel}");
                let step = walk.tell(found(0, Finding::Closed));
                let again = Effect::Choose { channel, method: method_of(channel) };
                assert_eq!(proposed(&step), [again], "{channel}");
            }
        }
        assert_eq!(walk.attempt(0).sends, 2, "{channel}");
    }
}

#[test]
fn rule_05_a_create_that_is_sent_at_an_attempt_s_end_arrives_while_its_key_is_known() {
    // Stripe: "keys may be removed after they are at least 24 hours old".
    assert!(Channel::Stripe.rules().live_max_ms <= 23 * HOUR);
}

#[test]
fn rule_06_an_older_send_s_answer_never_overwrites_a_newer_one_s() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    walk.tell(chosen(Channel::Simpay));
    walk.tell(sent(0, 2, SendOutcome::Accepted { reference: None }));
    let before = walk.order.clone();
    for outcome in [
        SendOutcome::Accepted { reference: None },
        refused(Fault::Payment),
        refused(Fault::Ours),
        not_sent(),
        later(),
        no_answer(),
    ] {
        let step = walk.tell(sent(0, 1, outcome.clone()));
        assert_eq!((&step.after, &step.writes[..], proposed(&step)), (&before, &[][..], vec![]), "{outcome:?}");
    }
    assert_eq!(walk.refusal(sent(0, 3, SendOutcome::Accepted { reference: None })), Refusal::OutOfPlace);
    assert_eq!(walk.refusal(sent(1, 1, SendOutcome::Accepted { reference: None })), Refusal::AttemptUnknown);
}

#[test]
fn rule_06_money_counts_by_whichever_send_it_came() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    walk.tell(chosen(Channel::Simpay));
    walk.tell(sent(0, 2, SendOutcome::Accepted { reference: None }));
    walk.tell(sent(0, 1, send_paid(REFERENCE, PAYABLE)));
    assert_eq!(walk.order.state, State::Succeeded);
}

#[test]
fn rule_06_a_close_is_proposed_again_by_the_answer_of_the_send_it_had_to_wait_for() {
    for outcome in [SendOutcome::Accepted { reference: None }, no_answer()] {
        let mut walk = Walk::new();
        walk.pay_by(Channel::Simpay);
        assert_eq!(proposed(&walk.tell(Fact::CancelAsked)), [Effect::Close { ordinal: 0 }]);
        let step = walk.tell(sent(0, 1, outcome));
        assert_eq!(proposed(&step), [Effect::Close { ordinal: 0 }]);
        assert!(!step.writes.contains(&Write::StoreNextAction), "what is being closed is not shown any more");
    }
}

#[test]
fn rule_06_a_send_that_a_close_kept_from_leaving_ends_the_attempt() {
    let mut walk = Walk::new();
    walk.pay_by(Channel::Simpay);
    walk.tell(Fact::CancelAsked);
    walk.tell(sent(0, 1, not_sent()));
    assert_eq!((walk.order.state, walk.order.failure), (State::Failed, Some(OrderFailure::Cancelled)));
    assert_eq!(walk.order.next_due_at(walk.at), None, "nobody at the channel knows of it");
}

#[test]
fn rule_07_closing_is_paced_from_when_it_began() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    walk.wait(HOUR).tell(Fact::CancelAsked);
    walk.wait(SECOND).tell(closed(0, close_unclear()));
    let due_at = walk.order.next_due_at(walk.at).unwrap();
    assert!(due_at.since_ms(walk.at) <= retry::queries(Channel::Simpay, walk.order.pace)[0]);
    assert_eq!(proposed(&walk.wake()), [Effect::Close { ordinal: 0 }]);
}

#[test]
fn rule_07_cancel_expiry_and_switch_close_the_open_attempt_before_anything_else() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    assert_eq!(proposed(&walk.tell(Fact::CancelAsked)), [Effect::Close { ordinal: 0 }]);
    assert_eq!((walk.order.state, walk.order.wish), (State::Submitted, Some(Wish::Cancel)));
    assert_eq!(webhooks(&walk.tell(closed(0, CloseAnswer::Closed))), [WebhookKind::OrderFailed]);
    assert_eq!((walk.order.state, walk.order.failure), (State::Failed, Some(OrderFailure::Cancelled)));

    let mut walk = Walk::shown_at(Channel::Simpay);
    walk.wait_until(walk.order.expires_at);
    assert_eq!(step::wake(&walk.order, walk.at), Fact::DeadlinePassed);
    assert_eq!(proposed(&walk.tell(Fact::DeadlinePassed)), [Effect::Close { ordinal: 0 }]);
    assert_eq!((walk.order.state, walk.order.wish), (State::Submitted, Some(Wish::Expiry)));
    walk.tell(closed(0, CloseAnswer::Closed));
    assert_eq!((walk.order.state, walk.order.failure), (State::Failed, Some(OrderFailure::Expired)));

    let mut walk = Walk::shown_at(Channel::Simpay);
    assert_eq!(proposed(&walk.tell(chosen(Channel::Wechat))), [Effect::Close { ordinal: 0 }]);
    assert_eq!(walk.order.state, State::Submitted);
    let step = walk.tell(closed(0, CloseAnswer::Closed));
    let (channel, method) = (Channel::Wechat, method_of(Channel::Wechat));
    assert_eq!(proposed(&step), [Effect::Choose { channel, method }]);
    assert_eq!((webhooks(&step), walk.order.state), (vec![], State::Created));
    assert_eq!(walk.order.next_due_at(walk.at), Some(walk.at), "the switch waits for nothing but us");
    walk.pay_by(Channel::Wechat);
    assert_eq!((walk.order.state, walk.order.wish, walk.order.attempts.len()), (State::Submitted, None, 2));
}

#[test]
fn rule_07_cancel_beats_expiry_beats_switch() {
    let switching = |channel| Wish::Switch { channel, method: method_of(channel) };
    let mut walk = Walk::shown_at(Channel::Simpay);
    walk.tell(chosen(Channel::Wechat));
    walk.tell(chosen(Channel::Alipay));
    assert_eq!(walk.order.wish, Some(switching(Channel::Alipay)), "a newer switch takes the place of an older one");
    walk.wait_until(walk.order.expires_at).tell(Fact::DeadlinePassed);
    assert_eq!(walk.order.wish, Some(Wish::Expiry));
    assert!(matches!(walk.refusal(chosen(Channel::Wechat)), Refusal::AttemptOpen { .. }));
    walk.tell(Fact::DeadlinePassed);
    assert_eq!(walk.order.wish, Some(Wish::Expiry));
    walk.tell(Fact::CancelAsked);
    assert_eq!(walk.order.wish, Some(Wish::Cancel));
    walk.tell(Fact::DeadlinePassed);
    walk.tell(Fact::CancelAsked);
    assert_eq!(walk.order.wish, Some(Wish::Cancel));
    assert!(matches!(walk.refusal(chosen(Channel::Wechat)), Refusal::AttemptOpen { .. }));
    walk.tell(closed(0, CloseAnswer::Closed));
    assert_eq!(walk.order.failure, Some(OrderFailure::Cancelled));
}

#[test]
fn rule_07_a_success_beats_every_wish() {
    let expiring = |walk: &mut Walk| walk.wait_until(START.plus_ms(2 * HOUR)).tell(Fact::DeadlinePassed);
    let wishes: [fn(&mut Walk) -> Step; 3] =
        [|walk| walk.tell(Fact::CancelAsked), expiring, |walk| walk.tell(chosen(Channel::Alipay))];
    for wish in wishes {
        let mut walk = Walk::shown_at(Channel::Simpay);
        wish(&mut walk);
        assert_eq!(proposed(&walk.tell(closed(0, CloseAnswer::AlreadyPaid))), [Effect::Query { ordinal: 0 }]);
        walk.tell(found(0, paid(REFERENCE, PAYABLE)));
        assert_eq!((walk.order.state, walk.order.wish), (State::Succeeded, None));
        assert_eq!(walk.order.next_due_at(walk.at), None);
    }
}

#[test]
fn rule_07_where_a_channel_cannot_close_a_switch_waits_and_a_wish_is_stored_and_queried() {
    let mut walk = Walk::shown_at(Channel::Unionpay);
    let before = walk.order.clone();
    let dead_at = walk.attempt(0).expires_at.plus_ms(Channel::Unionpay.rules().grace_ms);
    walk.wait(MINUTE);
    let retry_after_ms = dead_at.since_ms(walk.at);
    let refusal = Refusal::AttemptOpen { retry_after_ms, until: Some(dead_at) };
    assert_eq!(walk.refusal(chosen(Channel::Wechat)), refusal);
    assert_eq!(walk.order, before);
    assert_eq!(proposed(&walk.tell(Fact::CancelAsked)), [Effect::Query { ordinal: 0 }]);
    assert_eq!(walk.refusal(closed(0, CloseAnswer::Closed)), Refusal::OutOfPlace);
    while walk.order.state == State::Submitted {
        assert_eq!(proposed(&walk.wake()), [Effect::Query { ordinal: 0 }]);
        assert_eq!(proposed(&walk.tell(found(0, Finding::NotExist))), [], "the next query waits for its tick");
    }
    assert!(walk.at > dead_at);
    assert_eq!(walk.order.failure, Some(OrderFailure::Cancelled));
}

/// Alipay knows no trade before the payer opens the page, and the page can be paid by until its time is over.
#[test]
fn rule_07_a_page_that_nobody_opened_cannot_be_closed_so_the_switch_is_refused_and_it_stays_open() {
    let wechat = (Channel::Wechat, method_of(Channel::Wechat));
    let mut walk = Walk::shown_at(Channel::Alipay);
    let held_back = |walk: &Walk| walk.order.held_back_by(0, walk.at);
    assert_eq!(proposed(&walk.tell(chosen(Channel::Wechat))), [Effect::Close { ordinal: 0 }]);
    assert_eq!(held_back(&walk), None, "it is being closed");
    let mut expiring = walk.clone();
    let step = walk.tell(closed(0, CloseAnswer::NotExist));
    assert_eq!(proposed(&step), [Effect::Query { ordinal: 0 }], "it may be opened at this moment");
    assert_eq!((walk.order.wish, walk.attempt(0).state), (None, AttemptState::Open));
    let until = walk.attempt(0).expires_at.plus_ms(Channel::Alipay.rules().grace_ms);
    let retry_after_ms = until.since_ms(walk.at);
    assert_eq!(held_back(&walk), Some(Refusal::AttemptOpen { retry_after_ms, until: Some(until) }));
    assert_eq!(walk.order.held_back_by(1, walk.at), None, "another attempt was not asked to give way");
    // Once the payer has opened it the next try closes it.
    let mut opened = walk.clone();
    opened.tell(found(0, Finding::Pending));
    assert_eq!(proposed(&opened.tell(chosen(Channel::Wechat))), [Effect::Close { ordinal: 0 }]);
    assert_eq!(proposed(&opened.tell(closed(0, CloseAnswer::Closed))), [Effect::Query { ordinal: 0 }]);
    let choice = Effect::Choose { channel: wechat.0, method: wechat.1 };
    assert_eq!(proposed(&opened.tell(found(0, Finding::Closed))), [choice]);
    // Paid after all, it is the payment.
    walk.tell(found(0, paid(REFERENCE, walk.attempt(0).payable_minor)));
    assert_eq!((walk.order.state, held_back(&walk)), (State::Succeeded, None));
    // An expiry and a cancel wait.
    for fact in [Fact::DeadlinePassed, Fact::CancelAsked] {
        expiring.wait_until(expiring.order.expires_at).tell(fact);
        let wish = expiring.order.wish;
        expiring.tell(closed(0, CloseAnswer::NotExist));
        assert_eq!((expiring.order.wish, expiring.attempt(0).state), (wish, AttemptState::Closing));
    }
    expiring.wait_until(until.plus_ms(1)).tell(found(0, Finding::NotExist));
    assert_eq!(expiring.order.failure, Some(OrderFailure::Cancelled));
}

/// A switch that came when time was about to end the page needs no refusal: the query behind the close ends it.
#[test]
fn rule_07_a_page_whose_time_is_over_gives_way_to_a_switch() {
    let mut walk = Walk::of(&Created { expires_at: START.plus_ms(300 * HOUR), ..creation() });
    walk.pay_by(Channel::Alipay);
    walk.tell(sent(0, 1, SendOutcome::Accepted { reference: None }));
    walk.wait_until(walk.attempt(0).expires_at.plus_ms(Channel::Alipay.rules().grace_ms + 1));
    walk.tell(chosen(Channel::Wechat));
    walk.tell(closed(0, CloseAnswer::NotExist));
    assert!(walk.order.wish.is_some());
    let choice = Effect::Choose { channel: Channel::Wechat, method: method_of(Channel::Wechat) };
    assert_eq!(proposed(&walk.tell(found_by_asking_at(walk.at, 0, Finding::NotExist))), [choice]);
}

#[test]
fn rule_07_a_close_of_what_the_channel_does_not_know_is_followed_by_a_query_until_it_lapses() {
    let mut walk = Walk::new();
    walk.pay_by(Channel::Wechat);
    walk.tell(sent(0, 1, no_answer()));
    let lapses_at = walk.attempt(0).expires_at.plus_ms(Channel::Wechat.rules().grace_ms);
    walk.tell(Fact::CancelAsked);
    while walk.order.state == State::Submitted {
        assert_eq!(proposed(&walk.tell(closed(0, close_unclear()))), [Effect::Query { ordinal: 0 }]);
        walk.tell(found(0, Finding::NotExist));
        if walk.order.state == State::Submitted {
            let has_ended = walk.order.next_due_at(walk.at).is_some_and(|due_at| due_at > lapses_at);
            let asked = if has_ended { Effect::Query { ordinal: 0 } } else { Effect::Close { ordinal: 0 } };
            assert_eq!(proposed(&walk.wake()), [asked]);
        }
    }
    assert!(walk.at > lapses_at);
    assert_eq!(walk.order.failure, Some(OrderFailure::Cancelled));
}

#[test]
fn rule_07_what_time_has_ended_is_asked_about_and_not_closed_again() {
    for channel in [Channel::Wechat, Channel::Alipay] {
        let mut walk = Walk::shown_at(channel);
        walk.tell(Fact::CancelAsked);
        walk.tell(closed(0, close_unclear()));
        let lapses_at = walk.attempt(0).expires_at.plus_ms(channel.rules().grace_ms);
        while walk.order.next_due_at(walk.at).is_some_and(|due_at| due_at <= lapses_at) {
            assert_eq!(proposed(&walk.wake()), [Effect::Close { ordinal: 0 }], "{channel}");
            walk.tell(closed(0, close_unclear()));
        }
        assert_eq!(proposed(&walk.wake()), [Effect::Query { ordinal: 0 }], "{channel}");
        walk.tell(found(0, Finding::NotExist));
        assert_eq!(walk.order.failure, Some(OrderFailure::Cancelled), "{channel}");
    }
}

/// A PaymentIntent whose create nobody answered: once it can no longer be on its way there, its absence is certain, and
/// nobody has to see to it. What was shown is there.
#[test]
fn rule_02_a_create_that_nobody_answered_and_no_list_shows_ends_by_itself_at_stripe() {
    let mut walk = Walk::new();
    walk.pay_by(Channel::Stripe);
    walk.tell(sent(0, 1, no_answer()));
    let lapses_at = walk.order.expires_at.plus_ms(Channel::Stripe.rules().grace_ms);
    let mut shown = Walk::shown_at(Channel::Stripe);
    for walk in [&mut walk, &mut shown] {
        walk.wait_until(walk.order.expires_at).tell(Fact::DeadlinePassed);
        while walk.at <= lapses_at {
            assert_eq!(proposed(&walk.tell(closed(0, close_unclear()))), [Effect::Query { ordinal: 0 }]);
            let step = walk.tell(found_by_asking_at(walk.at, 0, Finding::NotExist));
            assert_eq!((walk.order.state, proposed(&step)), (State::Submitted, vec![]), "no create leaves any more");
            assert_eq!(proposed(&walk.wake()), [Effect::Close { ordinal: 0 }], "what may be there is to be ended");
        }
    }
    let mut late = walk.clone();
    late.tell(found_by_asking_at(lapses_at, 0, Finding::NotExist));
    assert!(late.attempt(0).is_open(), "the answer is as old as its question");
    late.tell(found(0, Finding::Pending));
    assert!(late.attempt(0).is_open(), "what is there can be paid until it is cancelled");
    walk.tell(found(0, Finding::NotExist));
    assert_eq!(walk.order.failure, Some(OrderFailure::Expired));
    shown.tell(found(0, Finding::NotExist));
    assert!(shown.attempt(0).is_open());
}

#[test]
fn rule_07_the_close_of_an_attempt_is_asked_again_until_it_is_answered() {
    let mut walk = Walk::shown_at(Channel::Wechat);
    walk.tell(Fact::CancelAsked);
    for answer in [close_unclear(), CloseAnswer::AlreadyPaid, close_unclear()] {
        walk.tell(closed(0, answer));
        walk.tell(found(0, Finding::Pending));
        assert_eq!(proposed(&walk.wake()), [Effect::Close { ordinal: 0 }]);
    }
    walk.tell(closed(0, CloseAnswer::Closed));
    assert_eq!(proposed(&walk.wake()), [Effect::Query { ordinal: 0 }], "now only a query makes it certain");
}

#[test]
fn rule_07_an_order_expires_at_an_instant_and_not_before() {
    let mut walk = Walk::new();
    walk.wait_until(walk.order.expires_at.plus_ms(-1));
    assert_eq!(step::wake(&walk.order, walk.at), Fact::TimerFired);
    let before = walk.order.clone();
    assert_eq!(walk.tell(Fact::DeadlinePassed).after, before);
    walk.wait(1).tell(Fact::DeadlinePassed);
    assert_eq!((walk.order.state, walk.order.failure), (State::Failed, Some(OrderFailure::Expired)));
    assert_eq!(walk.order.finished_at, Some(walk.order.expires_at));
    assert_eq!(walk.order.next_due_at(walk.at), None);
}

#[test]
fn rule_08_the_first_capture_of_the_amount_asked_makes_every_unfinished_order_succeeded() {
    let mut dead = Walk::shown_at(Channel::Simpay);
    dead.tell(found(0, Finding::Declined));
    assert_eq!(dead.order.state, State::Created);
    let mut validating = dead.clone();
    validating.tell(chosen(Channel::Wechat));
    assert_eq!(validating.order.state, State::Validating);
    let mut other = dead.clone();
    other.pay_by(Channel::Wechat);
    let mut closing = Walk::shown_at(Channel::Simpay);
    closing.tell(Fact::CancelAsked);
    for mut walk in [dead, validating, other, closing, Walk::shown_at(Channel::Simpay)] {
        let open: Vec<u8> =
            walk.order.attempts.iter().filter(|a| a.ordinal != 0 && a.is_open()).map(|a| a.ordinal).collect();
        let step = walk.tell(called_back(Channel::Simpay, 0, REFERENCE, PAYABLE));
        assert_eq!((walk.order.state, walk.attempt(0).state), (State::Succeeded, AttemptState::Captured));
        assert_eq!((entries(&step), webhooks(&step)), (vec![EntryKind::Payment], vec![WebhookKind::OrderSucceeded]));
        assert_eq!((walk.attempt(0).failure, walk.order.last_failure), (None, None));
        let closes: Vec<Effect> = open.iter().map(|ordinal| Effect::Close { ordinal: *ordinal }).collect();
        assert_eq!(proposed(&step), closes, "all other open attempts are closed");
        for ordinal in open {
            assert_eq!(walk.attempt(ordinal).state, AttemptState::Closing);
        }
    }
}

#[test]
fn rule_09_a_doubtful_refund_is_sent_again_only_when_a_query_found_none() {
    let mut walk = Walk::succeeded();
    walk.tell(found(0, paid("another", PAYABLE)));
    walk.tell(refund(0, refund_unclear()));
    for unsettled in [refund_unclear(), refund_not_sent()] {
        assert_eq!(proposed(&walk.wake()), [Effect::QueryRefund { refund: 0 }]);
        assert_eq!(proposed(&walk.tell(refund(0, unsettled))), []);
    }
    assert_eq!(proposed(&walk.wake()), [Effect::QueryRefund { refund: 0 }]);
    assert_eq!(proposed(&walk.tell(refund(0, RefundOutcome::NotExist))), [Effect::Refund { refund: 0 }]);
}

#[test]
fn rule_09_a_capture_is_identified_by_account_and_reference() {
    let mut walk = Walk::succeeded();
    let before = walk.order.clone();
    for fact in [called_back(Channel::Simpay, 0, REFERENCE, PAYABLE), found(0, paid(REFERENCE, PAYABLE))] {
        let step = walk.tell(fact);
        assert_eq!((&step.after, &step.writes[..], &step.effects[..]), (&before, &[][..], &[][..]));
        assert_eq!(step.notes, []);
    }
    assert_eq!(walk.refusal(called_back(Channel::Simpay, 0, REFERENCE, PAYABLE - 1)), Refusal::CaptureContradicts);
    // What is booked stands whatever a query says; nobody resolves against it either.
    let step = walk.tell(found(0, paid(REFERENCE, PAYABLE + 1)));
    assert_eq!((&step.after, &step.writes[..], &step.effects[..]), (&before, &[][..], &[][..]));
    assert_eq!(step.notes, [Note::CaptureContradicted { capture: 0, ordinal: 0 }]);
    for finding in [paid(REFERENCE, PAYABLE + 1), Finding::Declined, Finding::Closed, Finding::NotExist] {
        assert_eq!(walk.refusal(resolved(0, finding)), Refusal::CaptureContradicts);
    }
}

/// A callback and a query tell of one capture by different amounts: no money goes back until they agree or a person
/// says how much it was, and meanwhile no look and no claim is left open by it.
#[test]
fn rule_09_a_capture_that_is_told_of_in_two_ways_waits_for_a_person() {
    let mut walk = Walk::cancelled();
    walk.tell(called_back(Channel::Simpay, 0, "late", PAYABLE));
    walk.tell(called_back_in("USD", account(Channel::Simpay), (0, "late", PAYABLE)));
    assert!(walk.attempt(0).claimed_at.is_some());
    walk.wait(MINUTE);
    let step = walk.tell(found(0, paid("late", PAYABLE - 1)));
    assert_eq!((proposed(&step), entries(&step)), (vec![], vec![]));
    assert_eq!((walk.attempt(0).claimed_at, walk.attempt(0).watched), (None, 1), "the claim and the look are settled");
    assert_eq!(proposed(&walk.wake()), [Effect::Query { ordinal: 0 }], "it is asked for, as long as it takes");
    assert_eq!(walk.refusal(resolved(0, paid("late", PAYABLE - 1))), Refusal::CaptureContradicts);
    assert_eq!(proposed(&walk.tell(resolved(0, paid("late", PAYABLE)))), [Effect::Refund { refund: 0 }]);
}

#[test]
fn rule_09_a_further_capture_goes_to_suspense_and_is_refunded_once_a_query_confirmed_it() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    walk.tell(chosen(Channel::Wechat));
    walk.tell(closed(0, CloseAnswer::Closed));
    walk.pay_by(Channel::Wechat);
    walk.tell(sent(1, 1, SendOutcome::Accepted { reference: None }));
    walk.tell(called_back(Channel::Wechat, 1, REFERENCE, PAYABLE));
    let step = walk.tell(called_back(Channel::Simpay, 0, "late", PAYABLE));
    assert_eq!((entries(&step), webhooks(&step)), (vec![EntryKind::Suspense], vec![]));
    assert_eq!(proposed(&step), [Effect::Query { ordinal: 0 }], "no money goes back on a callback's word");
    assert_eq!(walk.order.captures[1].purpose, Purpose::Suspense(SuspenseReason::Further));
    assert_eq!(walk.order.refunds[0].stage, Stage::Unconfirmed { since: walk.at });
    assert_eq!(walk.refusal(refund(0, refund_done())), Refusal::OutOfPlace);
    let step = walk.tell(found(0, paid("late", PAYABLE)));
    assert_eq!(proposed(&step), [Effect::Refund { refund: 0 }], "numbered from the capture");
    assert_eq!(entries(&step), [EntryKind::Refund], "it leaves suspense and waits for its channel");
    let step = walk.tell(refund(0, refund_done()));
    assert_eq!(webhooks(&step), [WebhookKind::OrderSuspenseRefunded]);
    assert_eq!(entries(&step), [EntryKind::RefundPaid]);
    assert_eq!((walk.order.state, walk.order.net_captured_minor()), (State::Succeeded, PAYABLE));
    let step = walk.tell(refund(0, refund_done()));
    assert_eq!((step.writes, proposed(&walk.tell(Fact::TimerFired))), (vec![], vec![]));
    for unknown in [1, 2] {
        assert_eq!(walk.refusal(refund(unknown, refund_done())), Refusal::RefundUnknown);
    }
}

#[test]
fn rule_09_a_wrong_amount_ends_the_attempt_and_leaves_the_order_payable() {
    for (amount, failure) in
        [(PAYABLE - 1, AttemptFailure::AmountInsufficient), (PAYABLE + 1, AttemptFailure::AmountMismatch)]
    {
        let mut walk = Walk::shown_at(Channel::Simpay);
        let step = walk.tell(found(0, paid(REFERENCE, amount)));
        assert_eq!((walk.order.state, walk.order.last_failure), (State::Created, Some(failure)));
        assert_eq!((walk.attempt(0).state, walk.attempt(0).failure), (AttemptState::Dead, Some(failure)));
        assert_eq!(entries(&step), [EntryKind::Suspense, EntryKind::Refund]);
        assert_eq!(webhooks(&step), [WebhookKind::OrderAttemptFailed]);
        assert_eq!(proposed(&step), [Effect::Refund { refund: 0 }]);
        walk.pay_by(Channel::Simpay);
        walk.tell(sent(1, 1, SendOutcome::Accepted { reference: None }));
        walk.tell(called_back(Channel::Simpay, 1, "second", PAYABLE));
        walk.tell(refund(0, refund_done()));
        assert_eq!((walk.order.state, walk.order.net_captured_minor()), (State::Succeeded, PAYABLE));
    }
}

#[test]
fn rule_09_a_capture_on_a_failed_order_is_too_late_and_changes_no_final_state() {
    let mut walk = Walk::cancelled();
    let step = walk.tell(called_back(Channel::Simpay, 0, REFERENCE, PAYABLE));
    assert_eq!((entries(&step), webhooks(&step)), (vec![EntryKind::Suspense], vec![]));
    walk.tell(found(0, paid(REFERENCE, PAYABLE)));
    walk.tell(refund(0, refund_done()));
    assert_eq!((walk.order.state, walk.order.failure), (State::Failed, Some(OrderFailure::Cancelled)));
    assert_eq!(walk.order.net_captured_minor(), 0);
}

#[test]
fn rule_09_a_refund_that_was_refused_is_owed_still_and_tried_at_its_pace() {
    let mut walk = Walk::succeeded();
    walk.tell(found(0, paid("another", PAYABLE)));
    let mut gaps = Vec::new();
    for outcome in [refund_poor(), refund_not_sent()] {
        walk.tell(refund(0, outcome));
        let since = walk.at;
        assert_eq!(proposed(&walk.wake()), [Effect::Refund { refund: 0 }]);
        gaps.push(walk.at.since_ms(since));
    }
    assert_eq!(gaps, &retry::refunds(walk.order.pace)[..2]);
}

#[test]
fn rule_10_a_claim_is_asked_about_until_the_answer_is_certain() {
    let mut walk = Walk::shown_at(Channel::Unionpay);
    walk.wait(14 * MINUTE).tell(called_back(Channel::Unionpay, 0, REFERENCE, 20_120));
    walk.tell(found(0, unclear()));
    let first_gap = retry::queries(Channel::Unionpay, walk.order.pace)[0];
    assert_eq!(walk.order.next_due_at(walk.at).unwrap().since_ms(walk.at), first_gap);
    for uncertain in [unclear(), Finding::Pending, Finding::NotExist] {
        assert_eq!(proposed(&walk.wake()), [Effect::Query { ordinal: 0 }]);
        walk.tell(found(0, uncertain));
        assert!(walk.attempt(0).claimed_at.is_some());
    }
    walk.tell(found(0, paid(REFERENCE, 20_120)));
    assert_eq!((walk.order.state, walk.attempt(0).claimed_at), (State::Succeeded, None));
}

#[test]
fn rule_10_a_query_that_was_under_way_when_the_callback_came_does_not_undo_its_claim() {
    let mut walk = Walk::shown_at(Channel::Wechat);
    walk.tell(Fact::CancelAsked);
    walk.tell(closed(0, CloseAnswer::Closed));
    walk.tell(called_back(Channel::Wechat, 0, REFERENCE, PAYABLE - 1));
    walk.wait(3 * SECOND).tell(found(0, Finding::Closed));
    assert_eq!((walk.order.state, walk.order.is_quiet()), (State::Failed, false));
    assert_eq!(proposed(&walk.wake()), [Effect::Query { ordinal: 0 }]);
    let mut denied = walk.clone();
    walk.tell(found(0, paid(REFERENCE, PAYABLE - 1)));
    walk.tell(refund(0, refund_done()));
    assert_eq!((walk.order.is_quiet(), walk.order.net_captured_minor()), (true, 0));
    denied.wait(MINUTE).tell(found(0, Finding::Closed));
    assert!(denied.order.is_quiet(), "a minute later the channel's denial counts");
}

#[test]
fn rule_10_a_matching_callback_is_proof_where_the_channel_s_word_is_and_else_a_reason_to_ask() {
    for channel in Channel::ALL {
        let mut walk = Walk::shown_at(channel);
        let payable = walk.attempt(0).payable_minor;
        let step = walk.tell(called_back(channel, 0, REFERENCE, payable));
        match channel.rules().proof {
            Proof::Callback => assert_eq!(walk.order.state, State::Succeeded, "{channel}"),
            Proof::Query => {
                assert_eq!(walk.order.state, State::Submitted, "{channel}");
                assert_eq!(proposed(&step), [Effect::Query { ordinal: 0 }]);
                assert!(walk.order.version > 2, "it is journaled");
                assert!(walk.order.captures.is_empty());
                walk.tell(found(0, paid(REFERENCE, payable)));
                assert_eq!(walk.order.state, State::Succeeded, "{channel}");
            }
        }
        assert_eq!(walk.attempt(0).claimed_at, None);
    }
    assert_eq!([Channel::Unionpay, Channel::Stripe].map(|channel| channel.rules().proof), [Proof::Query; 2]);
}

#[test]
fn rule_10_a_callback_with_another_amount_moves_no_money_and_causes_a_query() {
    for amount in [1, PAYABLE - 1, PAYABLE + 1] {
        let mut walk = Walk::shown_at(Channel::Simpay);
        let step = walk.tell(called_back(Channel::Simpay, 0, REFERENCE, amount));
        assert_eq!((step.writes.len(), proposed(&step)), (0, vec![Effect::Query { ordinal: 0 }]));
        assert_eq!((walk.order.state, walk.order.captures.len()), (State::Submitted, 0));
        let before = walk.order.clone();
        assert_eq!(
            walk.tell(called_back(Channel::Simpay, 0, REFERENCE, amount)).after,
            before,
            "said twice, noted once"
        );
        walk.tell(found(0, paid(REFERENCE, PAYABLE)));
        assert_eq!(walk.order.state, State::Succeeded);
    }
}

#[test]
fn rule_10_a_callback_in_another_currency_moves_no_money_and_causes_a_query() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    let step = walk.tell(called_back_in("JPY", account(Channel::Simpay), (0, REFERENCE, PAYABLE)));
    assert_eq!((step.writes.len(), proposed(&step)), (0, vec![Effect::Query { ordinal: 0 }]));
    assert_eq!((walk.order.state, walk.order.captures.len()), (State::Submitted, 0));
}

#[test]
fn rule_10_the_account_whose_key_verified_must_be_the_attempt_s() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    let by_another = called_back_in("CNY", Account::new(Channel::Simpay, "second"), (0, REFERENCE, PAYABLE));
    assert_eq!(walk.refusal(by_another), Refusal::AccountDiffers);
    assert_eq!(walk.refusal(called_back(Channel::Simpay, 1, REFERENCE, PAYABLE)), Refusal::AttemptUnknown);
    assert_eq!(walk.order.state, State::Submitted);
}

/// Every channel has an account called `default`: the name alone is half an identity.
#[test]
fn report_a_callback_of_one_channel_is_not_believed_for_an_attempt_at_another() {
    for (own, other) in Channel::ALL.into_iter().flat_map(|own| Channel::ALL.map(|other| (own, other))) {
        let mut walk = Walk::shown_at(own);
        let payable = walk.attempt(0).payable_minor;
        let before = walk.order.clone();
        let told = called_back(other, 0, REFERENCE, payable);
        if own == other {
            walk.tell(told);
            assert_ne!(walk.order, before, "{own} is believed of its own");
        } else {
            assert_eq!(walk.refusal(told), Refusal::AccountDiffers, "{other} of an attempt at {own}");
            assert_eq!(walk.order, before, "{other} of an attempt at {own}");
        }
    }
}

/// Nor does a look at one channel open an attempt at an account of another.
#[test]
fn report_an_account_of_another_channel_takes_no_attempt() {
    let mut order = Walk::new();
    order.tell(chosen(Channel::Wechat));
    let before = order.order.clone();
    let verdict = Verdict::Suitable {
        account: account(Channel::Alipay),
        merchant: Merchant::Operator,
        expires_at: before.expires_at,
    };
    let crossed = Fact::Validated { channel: Channel::Wechat, method: method_of(Channel::Wechat), verdict };
    assert_eq!(order.refusal(crossed), Refusal::OutOfPlace);
    assert_eq!(order.order, before);
}

/// The ordinal is the attempt's, but the number was given to another one in a life that the store does not remember.
#[test]
fn report_numbers_repeat_after_a_restore_money_of_another_incarnation_is_not_the_attempts() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    let own = called_back(Channel::Simpay, 0, REFERENCE, PAYABLE);
    let Fact::CallbackVerified { opened_in, .. } = own else { panic!("{own:?}") };
    let mut foreign = own.clone();
    if let Fact::CallbackVerified { opened_in, .. } = &mut foreign {
        *opened_in = opened_in.another(0);
    }
    assert_eq!(walk.attempt(0).incarnation, opened_in);
    assert_eq!(walk.refusal(foreign), Refusal::AttemptUnknown);
    assert_eq!((walk.order.state, walk.order.captures.len()), (State::Submitted, 0));
    walk.tell(own);
    assert_eq!(walk.order.state, State::Succeeded);
}

/// Four bits hold an ordinal.
#[test]
fn an_order_has_no_more_attempts_than_ordinals() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    walk.order.attempts_max = u8::MAX;
    for ordinal in 0..AttemptNumber::ORDINALS {
        if ordinal > 0 {
            walk.pay_by(Channel::Simpay);
        }
        assert_eq!(walk.attempt(ordinal).ordinal, ordinal);
        walk.tell(found(ordinal, Finding::Declined));
    }
    assert_eq!(walk.order.failure, Some(OrderFailure::AttemptsUsedUp));
}

#[test]
fn rule_11_a_watch_that_finds_the_capture_it_knows_counts_as_taken() {
    let mut walk = Walk::cancelled();
    walk.tell(found(0, paid(REFERENCE, PAYABLE)));
    walk.tell(refund(0, refund_done()));
    let mut looks = 0;
    while walk.order.next_due_at(walk.at).is_some() {
        assert_eq!(proposed(&walk.wake()), [Effect::Query { ordinal: 0 }]);
        walk.tell(found(0, paid(REFERENCE, PAYABLE)));
        looks += 1;
        assert!(looks <= 4, "the watch never ends");
    }
    assert_eq!(looks, 4);
}

#[test]
fn rule_11_a_watch_without_an_answer_is_repeated_at_the_pace_of_queries() {
    let mut walk = Walk::cancelled();
    walk.wake();
    let mut gaps = Vec::new();
    for _ in 0..3 {
        walk.tell(found(0, unclear()));
        let since = walk.at;
        assert_eq!(proposed(&walk.wake()), [Effect::Query { ordinal: 0 }]);
        gaps.push(walk.at.since_ms(since));
    }
    assert_eq!(gaps, &retry::queries(Channel::Simpay, walk.order.pace)[..3]);
    assert_eq!(walk.attempt(0).watched, 0);
}

#[test]
fn rule_11_one_look_stands_for_all_the_watches_that_were_missed() {
    let mut walk = Walk::cancelled();
    walk.wait(2 * HOUR);
    walk.tell(found(0, Finding::Closed));
    assert_eq!(walk.attempt(0).watched, 3);
}

#[test]
fn rule_11_a_failed_order_that_once_had_a_live_attempt_is_watched_on() {
    let mut walk = Walk::cancelled();
    let finished_at = walk.order.finished_at.unwrap();
    for after_ms in [MINUTE, 10 * MINUTE, HOUR, 24 * HOUR] {
        assert_eq!(proposed(&walk.wake()), [Effect::Query { ordinal: 0 }]);
        assert_eq!(walk.at.since_ms(finished_at), after_ms);
        walk.tell(found(0, Finding::Closed));
    }
    assert_eq!(walk.order.next_due_at(walk.at), None);
}

#[test]
fn rule_11_a_failed_order_whose_attempts_nobody_knows_is_not_watched() {
    let mut walk = Walk::new();
    walk.pay_by(Channel::Simpay);
    walk.tell(sent(0, 1, refused(Fault::Payment)));
    walk.tell(Fact::CancelAsked);
    assert_eq!((walk.order.state, walk.order.next_due_at(walk.at)), (State::Failed, None));
}

#[test]
fn rule_11_the_watch_finds_late_money_and_gives_it_back() {
    let mut walk = Walk::cancelled();
    walk.wake();
    let step = walk.tell(found(0, paid(REFERENCE, PAYABLE)));
    assert_eq!(proposed(&step), [Effect::Refund { refund: 0 }]);
    walk.tell(refund(0, refund_done()));
    assert_eq!((walk.attempt(0).watched, walk.order.net_captured_minor()), (1, 0));
}

#[test]
fn states_a_failed_look_uses_up_no_attempt_and_a_risk_refusal_is_final() {
    let unsuitable = |failure| Fact::Validated {
        channel: Channel::Simpay,
        method: Method::Qr,
        verdict: Verdict::Unsuitable { failure },
    };
    let mut walk = Walk::new();
    for failure in [AttemptFailure::ChannelUnsuitable, AttemptFailure::ChannelUnavailable] {
        walk.try_tell(vec![chosen(Channel::Simpay), unsuitable(failure)]).expect("a look may fail");
        assert_eq!((walk.order.state, walk.order.last_failure), (State::Created, Some(failure)));
        assert!(walk.order.attempts.is_empty());
    }
    let verdict = Verdict::RiskRefused { rule: "velocity".into() };
    let refusal = Fact::Validated { channel: Channel::Simpay, method: Method::Qr, verdict };
    walk.try_tell(vec![chosen(Channel::Simpay), refusal]).expect("risk may refuse");
    assert_eq!((walk.order.state, walk.order.failure), (State::Failed, Some(OrderFailure::RiskRefused)));
}

#[test]
fn states_the_last_attempt_s_death_ends_the_order() {
    let mut walk = Walk::of(&Created { attempts_max: 2, ..creation() });
    walk.pay_by(Channel::Simpay);
    walk.tell(sent(0, 1, refused(Fault::Payment)));
    assert_eq!(walk.order.state, State::Created);
    walk.pay_by(Channel::Simpay);
    walk.tell(sent(1, 1, SendOutcome::Accepted { reference: None }));
    assert_eq!(walk.refusal(chosen(Channel::Wechat)), Refusal::AttemptsUsedUp, "the last attempt is not given away");
    let step = walk.tell(found(1, Finding::Declined));
    assert_eq!((walk.order.state, walk.order.failure), (State::Failed, Some(OrderFailure::AttemptsUsedUp)));
    assert_eq!(webhooks(&step), [WebhookKind::OrderFailed]);
}

#[test]
fn states_the_fee_is_booked_by_who_bears_it() {
    for (fee_bearer, payable) in [(FeeBearer::Payer, 20_060), (FeeBearer::Platform, 20_000)] {
        let mut walk = Walk::of(&Created { fee_bearer, ..creation() });
        walk.pay_by(Channel::Simpay);
        let step = walk.tell(found(0, paid(REFERENCE, payable)));
        let fee = match fee_bearer {
            FeeBearer::Payer => Fee::OfPayer(60),
            FeeBearer::Platform => Fee::OfPlatform(60),
        };
        let (account, effective) =
            (account(Channel::Simpay), Effective { at: walk.at, bill_day: Channel::Simpay.day_of(walk.at) });
        let currency = walk.order.currency;
        let booking =
            Booking { account: &account, merchant: Merchant::Operator, seller: PlatformId(7), currency, effective };
        let expected = Entry::payment(&booking, Parts { seller_minor: 20_000, others: &[] }, fee);
        assert_eq!(walk.order.state, State::Succeeded);
        assert!(step.writes.contains(&Write::Entry(expected)));
    }
}

#[test]
fn states_webhooks_nobody_wants_are_counted_and_not_written() {
    let mut walk = Walk::of(&Created { webhooks: Webhooks::NotWanted, ..creation() });
    assert_eq!(webhooks(&walk.tell(Fact::CancelAsked)), []);
    assert_eq!(walk.order.sequence, 1);
}

#[test]
fn states_no_event_is_earlier_than_the_one_before() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    walk.wait(MINUTE).tell(chosen(Channel::Wechat));
    let last_at = walk.order.last_at;
    walk.wait(-HOUR).tell(closed(0, CloseAnswer::Closed));
    walk.pay_by(Channel::Wechat);
    assert_eq!(walk.order.last_at, last_at);
    assert_eq!(walk.attempt(1).opened_at, walk.at, "a channel is told the true time");
}

const DAY: i64 = 24 * HOUR;

/// An event came while the clock was days ahead. The order waits by the true time all the same.
#[test]
fn report_an_order_whose_last_instant_lies_ahead_takes_events_and_is_queried() {
    for ahead_ms in [HOUR, 30 * DAY] {
        let mut walk = Walk::shown_at(Channel::Wechat);
        walk.wait(ahead_ms).tell(Fact::CancelAsked);
        let last_at = walk.order.last_at;
        walk.wait(-ahead_ms);
        let back_at = walk.at;
        walk.wake();
        assert_eq!(proposed(&walk.wake()), [Effect::Close { ordinal: 0 }]);
        assert!(walk.at.since_ms(back_at) <= 5 * SECOND, "queried after {} ms", walk.at.since_ms(back_at));
        walk.tell(closed(0, CloseAnswer::AlreadyPaid));
        walk.tell(found(0, paid(REFERENCE, PAYABLE)));
        assert_eq!((walk.order.state, walk.order.last_at), (State::Succeeded, last_at));
    }
}

/// However often a channel takes money for one order, all of it is booked and goes back under a number of its own.
#[test]
fn report_the_257th_capture_of_an_order_is_booked_and_refunded() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    walk.tell(called_back(Channel::Simpay, 0, REFERENCE, PAYABLE));
    let mut numbers = BTreeSet::new();
    for further in 1..=300u16 {
        let step = walk.tell(found(0, paid(&format!("{REFERENCE}-{further}"), PAYABLE)));
        assert!(step.effects.contains(&Effect::Refund { refund: further - 1 }), "{further}");
        let refund = walk.order.suspense_refund(further).expect("it goes back");
        numbers.extend(walk.order.refund_number(refund, refund.round).map(|number| number.to_string()));
    }
    assert_eq!((walk.order.state, walk.order.captures.len(), numbers.len()), (State::Succeeded, 301, 300));
}

#[test]
fn report_an_order_whose_last_instant_lies_ahead_does_not_expire_by_it() {
    let mut walk = Walk::shown_at(Channel::Unionpay);
    walk.wait(30 * DAY).tell(called_back(Channel::Unionpay, 0, REFERENCE, PAYABLE + 1));
    walk.wait(-30 * DAY);
    for _ in 0..4 {
        assert_eq!(step::wake(&walk.order, walk.at), Fact::TimerFired);
        walk.wake();
    }
    assert_eq!((walk.order.wish, walk.attempt(0).state), (None, AttemptState::Open));
    walk.wait_until(walk.order.expires_at);
    assert_eq!(step::wake(&walk.order, walk.at), Fact::DeadlinePassed);
}

#[test]
fn report_late_money_is_looked_for_by_the_true_time_after_an_end_that_lies_ahead() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    walk.wait(HOUR).tell(Fact::CancelAsked);
    walk.tell(closed(0, CloseAnswer::Closed));
    assert_eq!(walk.order.state, State::Failed);
    walk.wait(-HOUR);
    let back_at = walk.at;
    assert!(!walk.order.may_leave(walk.at), "whoever brings it back must be there");
    walk.wake();
    assert_eq!(proposed(&walk.wake()), [Effect::Query { ordinal: 0 }]);
    assert_eq!(walk.at.since_ms(back_at), retry::WATCHES[0]);
    walk.tell(found(0, paid(REFERENCE, PAYABLE)));
    assert_eq!(walk.order.captures.len(), 1);
}

#[test]
fn report_a_refund_that_was_put_off_by_a_clock_that_ran_ahead_is_tried_by_the_true_time() {
    let mut walk = Walk::succeeded();
    walk.tell(found(0, paid("another", PAYABLE)));
    walk.wait(30 * DAY).tell(refund(0, refund_unclear()));
    walk.wait(-30 * DAY);
    let back_at = walk.at;
    walk.wake();
    assert_eq!(proposed(&walk.wake()), [Effect::QueryRefund { refund: 0 }]);
    assert_eq!(walk.at.since_ms(back_at), retry::refunds(walk.order.pace)[0]);
}

/// While time is in doubt answers are asked for by [`Instant::EPOCH`].
#[test]
fn report_nothing_ends_by_time_while_time_is_in_doubt() {
    let in_doubt = |finding| found_by_asking_at(Instant::EPOCH, 0, finding);
    for (channel, finding) in [
        (Channel::Wechat, Finding::NotExist),
        (Channel::Wechat, Finding::Pending),
        (Channel::Alipay, Finding::NotExist),
        (Channel::Unionpay, Finding::NotExist),
        (Channel::Unionpay, Finding::Pending),
    ] {
        let mut walk = Walk::shown_at(channel);
        walk.wait(30 * DAY).tell(in_doubt(finding.clone()));
        assert!(walk.attempt(0).is_open(), "{channel}: {finding:?}");
    }
    let mut walk = Walk::cancelled();
    walk.wait(30 * DAY).tell(in_doubt(Finding::NotExist));
    assert_eq!(walk.attempt(0).watched, 0, "no look is over");
    walk.tell(found(0, Finding::NotExist));
    assert_eq!(walk.attempt(0).watched, 4);
}
