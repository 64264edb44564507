//! When an attempt is certainly dead, a test for each channel: what its answers end, and what they leave open. The payer
//! was shown something each time, so that an answer of "no such payment" alone ends nothing.

use tongbao::domain::channel::Channel;
use tongbao::domain::event::{CloseAnswer, Effect, Fact, Fault, Finding};
use tongbao::domain::order::{AttemptState, OrderFailure, State};

use crate::world::*;

/// Whether an attempt dies of what a query says of it so long after it was made.
fn dies(channel: Channel, after_ms: i64, finding: Finding) -> bool {
    let mut walk = Walk::shown_at(channel);
    walk.wait(after_ms).tell(found(0, finding));
    walk.attempt(0).state == AttemptState::Dead
}

/// An attempt that is being closed, because its order is called off.
fn closing(channel: Channel) -> Walk {
    let mut walk = Walk::shown_at(channel);
    let step = walk.tell(Fact::CancelAsked);
    let closes = proposed(&step).contains(&Effect::Close { ordinal: 0 });
    assert_eq!(closes, channel != Channel::Unionpay, "{channel}");
    walk
}

fn is_called_off(walk: &Walk) -> bool {
    (walk.order.state, walk.order.failure) == (State::Failed, Some(OrderFailure::Cancelled))
}

#[test]
fn dead_by_simpay_is_what_was_closed_or_what_a_query_says_is_declined_or_closed() {
    let mut walk = closing(Channel::Simpay);
    walk.tell(closed(0, close_unclear()));
    assert!(!is_called_off(&walk));
    walk.tell(closed(0, CloseAnswer::Closed));
    assert!(is_called_off(&walk));
    assert!(dies(Channel::Simpay, 0, Finding::Declined) && dies(Channel::Simpay, 0, Finding::Closed));
    for finding in [Finding::NotExist, Finding::Pending, unclear()] {
        assert!(!dies(Channel::Simpay, 30 * 24 * HOUR, finding.clone()), "{finding:?}");
    }
}

#[test]
fn dead_by_wechat_is_what_was_closed_and_is_seen_closed_or_what_time_has_ended() {
    let mut walk = closing(Channel::Wechat);
    let step = walk.tell(closed(0, CloseAnswer::Closed));
    assert!(!is_called_off(&walk) && proposed(&step) == [Effect::Query { ordinal: 0 }]);
    walk.tell(found(0, Finding::Pending));
    assert!(!is_called_off(&walk), "the close is not seen yet");
    walk.tell(found(0, Finding::Closed));
    assert!(is_called_off(&walk));
    // CLOSED and REVOKED are told as closed, PAYERROR as declined.
    assert!(dies(Channel::Wechat, 0, Finding::Closed) && dies(Channel::Wechat, 0, Finding::Declined));
    for finding in [Finding::NotExist, Finding::Pending] {
        assert!(!dies(Channel::Wechat, 2 * HOUR + 5 * MINUTE, finding.clone()), "{finding:?}");
        assert!(dies(Channel::Wechat, 2 * HOUR + 5 * MINUTE + 1, finding.clone()), "{finding:?}");
    }
    assert!(!dies(Channel::Wechat, 24 * HOUR, unclear()));
}

#[test]
fn dead_by_alipay_is_what_was_closed_and_is_seen_closed_or_what_it_never_heard_of_in_time() {
    let mut walk = closing(Channel::Alipay);
    let step = walk.tell(closed(0, CloseAnswer::Closed));
    assert!(!is_called_off(&walk) && proposed(&step) == [Effect::Query { ordinal: 0 }]);
    walk.tell(found(0, Finding::NotExist));
    assert!(!is_called_off(&walk), "a page that nobody opened can still be opened");
    walk.tell(found(0, Finding::Closed));
    assert!(is_called_off(&walk));
    assert!(dies(Channel::Alipay, 0, Finding::Closed));
    assert!(!dies(Channel::Alipay, 2 * HOUR + 5 * MINUTE, Finding::NotExist));
    assert!(dies(Channel::Alipay, 2 * HOUR + 5 * MINUTE + 1, Finding::NotExist));
    for finding in [Finding::Pending, unclear()] {
        assert!(!dies(Channel::Alipay, 24 * HOUR, finding.clone()), "{finding:?}");
    }
}

#[test]
fn dead_by_unionpay_is_only_what_time_has_ended() {
    let mut walk = closing(Channel::Unionpay);
    walk.tell(found(0, Finding::Pending));
    assert!(!is_called_off(&walk), "a failure may be tried again until its time is over");
    // A failure in `origRespCode` is told as pending, 34 in `respCode` as unheard of.
    for finding in [Finding::Pending, Finding::NotExist] {
        assert!(!dies(Channel::Unionpay, 15 * MINUTE + 10 * MINUTE, finding.clone()), "{finding:?}");
        assert!(dies(Channel::Unionpay, 15 * MINUTE + 10 * MINUTE + 1, finding.clone()), "{finding:?}");
    }
    assert!(!dies(Channel::Unionpay, 24 * HOUR, unclear()));
}

#[test]
fn dead_by_stripe_is_what_is_canceled_or_whose_every_create_was_refused() {
    let mut walk = closing(Channel::Stripe);
    walk.tell(closed(0, CloseAnswer::Closed));
    assert!(is_called_off(&walk));
    assert!(dies(Channel::Stripe, 0, Finding::Closed) && dies(Channel::Stripe, 0, Finding::Declined));
    for finding in [Finding::NotExist, Finding::Pending, unclear()] {
        assert!(!dies(Channel::Stripe, 30 * 24 * HOUR, finding.clone()), "{finding:?}");
    }
    let mut walk = Walk::new();
    walk.pay_by(Channel::Stripe);
    walk.tell(sent(0, 1, refused(Fault::Payment)));
    assert_eq!(walk.attempt(0).state, AttemptState::Dead);
    let mut walk = Walk::new();
    walk.pay_by(Channel::Stripe);
    walk.tell(sent(0, 1, no_answer()));
    walk.wait(10 * SECOND).tell(found(0, Finding::NotExist));
    walk.tell(sent(0, 2, refused(Fault::Payment)));
    assert_ne!(walk.attempt(0).state, AttemptState::Dead, "one create may have been taken");
}

/// A refund or a close that is told of after the payment, or before it, leaves a success as it is.
#[test]
fn trap_08_nothing_that_is_told_out_of_order_undoes_a_success() {
    for finding in [Finding::Closed, Finding::Declined, Finding::NotExist, Finding::Pending] {
        let mut walk = Walk::succeeded();
        let _ = walk.try_tell(vec![found(0, finding.clone())]);
        assert_eq!(
            (walk.order.state, walk.attempt(0).state),
            (State::Succeeded, AttemptState::Captured),
            "{finding:?}"
        );
    }
    // Closed first, and paid all the same: the money counts.
    let mut walk = Walk::shown_at(Channel::Wechat);
    walk.tell(found(0, Finding::Closed));
    assert_eq!(walk.attempt(0).state, AttemptState::Dead);
    walk.tell(called_back(Channel::Wechat, 0, REFERENCE, PAYABLE));
    assert_eq!(walk.order.state, State::Succeeded);
}
