//! The rules that keep the money right, one by one.

use tongbao::domain::channel::Channel;
use tongbao::domain::event::{CloseAnswer, Effect, Fact, Fault, Finding, Refusal, RefundOutcome, SendOutcome, WebhookKind};
use tongbao::domain::ledger::EntryKind;
use tongbao::domain::order::{AttemptFailure, AttemptState, OrderFailure, Purpose, Reach, RefundStage, State, SuspenseReason, Wish};
use tongbao::domain::retry;
use tongbao::domain::step;

use crate::world::*;

#[test]
fn rule_02_a_refused_resend_waits_for_the_next_query_instead_of_spinning() {
    let mut walk = Walk::new();
    walk.pay_by(Channel::Simpay);
    walk.tell(sent(0, 1, no_answer()));
    walk.wake();
    let step = walk.tell(found(0, Finding::NotExist));
    assert_eq!(proposed(&step), [Effect::Submit { ordinal: 0, send: 2 }]);
    let step = walk.tell(sent(0, 2, refused(Fault::Payment)));
    assert_eq!(walk.attempt(0).state, AttemptState::Open, "the first send may have been taken");
    assert_eq!(proposed(&step), []);
    let due_at = walk.order.next_due_at(walk.at).unwrap();
    assert_eq!(due_at.since_ms(walk.at), retry::queries(Channel::Simpay, walk.order.pace)[0]);
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
fn rule_01_a_refusal_says_nothing_of_an_earlier_send_that_was_never_answered() {
    let mut walk = Walk::new();
    walk.pay_by(Channel::Simpay);
    walk.wait(10 * SECOND).tell(found(0, Finding::NotExist));
    walk.tell(sent(0, 2, refused(Fault::Payment)));
    assert_eq!(walk.attempt(0).state, AttemptState::Open, "the first send may have been taken");
}

#[test]
fn rule_11_a_watch_that_finds_the_capture_it_knows_counts_as_taken() {
    let mut walk = Walk::cancelled();
    walk.tell(found(0, paid(REFERENCE, PAYABLE)));
    walk.tell(refund(0, RefundOutcome::Done));
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
    assert_eq!(walk.order.watched, 0);
}

#[test]
fn rule_11_one_look_stands_for_all_the_watches_that_were_missed() {
    let mut walk = Walk::cancelled();
    walk.wait(2 * HOUR);
    walk.tell(found(0, Finding::Closed));
    assert_eq!(walk.order.watched, 3);
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
fn rule_09_a_doubtful_refund_is_sent_again_only_when_a_query_found_none() {
    let mut walk = Walk::cancelled();
    walk.tell(found(0, paid(REFERENCE, PAYABLE)));
    walk.tell(refund(0, RefundOutcome::Unknown { why: "timed out".into() }));
    for unsettled in [
        RefundOutcome::Unknown { why: "timed out".into() },
        RefundOutcome::NotSent { why: "connection refused".into() },
    ] {
        assert_eq!(proposed(&walk.wake()), [Effect::QueryRefund { capture: 0 }]);
        assert_eq!(proposed(&walk.tell(refund(0, unsettled))), []);
    }
    assert_eq!(proposed(&walk.wake()), [Effect::QueryRefund { capture: 0 }]);
    assert_eq!(proposed(&walk.tell(refund(0, RefundOutcome::NotExist))), [Effect::Refund { capture: 0 }]);
}

#[test]
fn rule_10_a_claim_is_asked_about_until_the_answer_is_certain() {
    let mut walk = Walk::shown_at(Channel::Unionpay);
    walk.wait(14 * MINUTE).tell(called_back(0, REFERENCE, 20_120));
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

