//! A step says what happened. The comparison of before and after, which nobody but these tests makes, shows the same.

use tongbao::domain::channel::Channel;
use tongbao::domain::event::{CloseAnswer, Event, Fact, Fault, Finding, Rejection, SendOutcome, Step, Verdict};
use tongbao::domain::id::{Account, Incarnation};
use tongbao::domain::ledger::EntryKind;
use tongbao::domain::note::{AttemptEnd, Note};
use tongbao::domain::order::{Attempt, AttemptFailure, AttemptState, Order, OrderFailure, State};
use tongbao::domain::step;
use tongbao::domain::success::Ending;
use tongbao::domain::time::Instant;

use crate::world::*;

/// Holds the notes of a step against the comparison of the order before it and after it.
pub fn compare(before: &Order, step: &Step) {
    assert_eq!(Note::state_left_in(&step.notes), reached(before, &step.after), "{:?}", step.notes);
    assert_eq!(created(step), before.version == 0, "{:?}", step.notes);
    let opened = |note: &Note| if let Note::AttemptOpened { ordinal } = note { Some(*ordinal) } else { None };
    let new = &step.after.attempts[before.attempts.len()..];
    assert_eq!(
        step.notes.iter().filter_map(opened).collect::<Vec<_>>(),
        new.iter().map(|attempt| attempt.ordinal).collect::<Vec<_>>()
    );
    let mut ended = ended(step);
    ended.sort_by_key(|(ordinal, ..)| *ordinal);
    let compared: Vec<_> = step.after.attempts.iter().filter_map(|attempt| end(before, &step.after, attempt)).collect();
    let said: Vec<_> = ended.iter().map(|(ordinal, account, end)| (*ordinal, account.clone(), end.ending())).collect();
    assert_eq!(said, compared, "{:?}", step.notes);
    let booked = |note: &Note| if let Note::EntryBooked { kind } = note { Some(*kind) } else { None };
    assert_eq!(step.notes.iter().filter_map(booked).collect::<Vec<_>>(), entries(step));
}

/// Holds the notes of an answer against what was on record of the money that it tells of.
pub fn compare_told(before: &Order, fact: &Fact, step: &Step) {
    let told =
        if let Fact::QueryAnswered { ordinal, finding: Finding::Paid { reference, amount_minor, .. }, .. }
        | Fact::SendAnswered { ordinal, outcome: SendOutcome::Paid { reference, amount_minor, .. }, .. } = fact
        {
            Some((*ordinal, reference, *amount_minor))
        } else {
            None
        };
    let account = |ordinal| before.attempt(ordinal).map(|attempt| &attempt.account);
    let contradicts = told.is_some_and(|(ordinal, reference, amount_minor)| {
        let same = before
            .captures
            .iter()
            .find(|capture| capture.reference == *reference && account(capture.ordinal) == account(ordinal));
        same.is_some_and(|capture| (capture.ordinal, capture.amount_minor) != (ordinal, amount_minor))
    });
    let noted = step.notes.iter().filter(|note| matches!(note, Note::CaptureContradicted { .. })).count();
    assert_eq!(noted, usize::from(contradicts), "{fact:?}");
}

/// The state that the order was brought to. While a channel is looked at it is in between.
fn reached(before: &Order, after: &Order) -> Option<(State, Option<OrderFailure>)> {
    let is_new = before.version == 0;
    let is_between = match (before.state, after.state) {
        (_, State::Validating) | (State::Validating, State::Created) => true,
        (_, State::Created | State::Submitted | State::Succeeded | State::Failed) => false,
    };
    (is_new || before.state != after.state && !is_between).then_some((after.state, after.failure))
}

fn created(step: &Step) -> bool {
    step.notes.contains(&Note::OrderCreated)
}

fn ended(step: &Step) -> Vec<(u8, Account, AttemptEnd)> {
    let end = |note: &Note| match note {
        Note::AttemptEnded { ordinal, account, end } => Some((*ordinal, account.clone(), *end)),
        Note::OrderCreated
        | Note::StateReached { .. }
        | Note::AttemptOpened { .. }
        | Note::CaptureContradicted { .. }
        | Note::RefundStuck { .. }
        | Note::RefundNotPermitted { .. }
        | Note::RefundContradicted { .. }
        | Note::InstantImplausible
        | Note::EntryBooked { .. } => None,
    };
    step.notes.iter().filter_map(end).collect()
}

/// Whether an attempt has ended since, and what its end says about its channel.
fn end(before: &Order, after: &Order, attempt: &Attempt) -> Option<(u8, Account, Option<Ending>)> {
    let old = before.attempt(attempt.ordinal)?;
    let failed_by_channel = match attempt.failure {
        Some(AttemptFailure::ChannelDeclined | AttemptFailure::ChannelUnavailable) => true,
        Some(
            AttemptFailure::AmountInsufficient
            | AttemptFailure::AmountMismatch
            | AttemptFailure::ChannelUnsuitable
            | AttemptFailure::HeldBack,
        )
        | None => false,
    };
    let ending = match attempt.state {
        AttemptState::Open | AttemptState::Closing => return None,
        AttemptState::Captured => Some(Ending::Succeeded),
        AttemptState::Dead => (failed_by_channel && after.last_at < attempt.expires_at).then_some(Ending::Failed),
    };
    (old.state != attempt.state).then(|| (attempt.ordinal, attempt.account.clone(), ending))
}

fn events<const N: usize>(at: Instant, facts: [Fact; N]) -> [Event; N] {
    facts.map(|fact| Event { at, incarnation: Incarnation::default(), fact })
}

fn reaches(state: State) -> Note {
    Note::StateReached { state, failure: None }
}

fn fails(failure: OrderFailure) -> Note {
    Note::StateReached { state: State::Failed, failure: Some(failure) }
}

fn ends(ordinal: u8, channel: Channel, end: AttemptEnd) -> Note {
    Note::AttemptEnded { ordinal, account: account(channel), end }
}

fn books(kind: EntryKind) -> Note {
    Note::EntryBooked { kind }
}

#[test]
fn an_order_that_is_created_with_its_first_attempt_says_both_and_is_left_in_the_last_state() {
    let facts = creation();
    let opening = [
        Fact::Created(Box::new(facts.clone())),
        chosen(Channel::Simpay),
        suitable(Channel::Simpay, START.plus_ms(MINUTE)),
    ];
    let step = step::decide(&step::create(&facts, START), &events(START, opening)).unwrap();
    assert_eq!(step.notes, [Note::OrderCreated, Note::AttemptOpened { ordinal: 0 }, reaches(State::Submitted)]);
    assert_eq!(Note::state_left_in(&step.notes), Some((State::Submitted, None)));
}

/// The order is submitted before and after: a comparison of its states would see nothing.
#[test]
fn an_attempt_that_dies_and_the_next_that_is_opened_in_the_same_step_are_both_noted() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    walk.tell(chosen(Channel::Wechat));
    let switch =
        [closed(0, CloseAnswer::Closed), chosen(Channel::Wechat), suitable(Channel::Wechat, walk.at.plus_ms(MINUTE))];
    let step = step::decide(&walk.order, &events(walk.at, switch)).unwrap();
    assert_eq!(
        step.notes,
        [
            ends(0, Channel::Simpay, AttemptEnd::Switched),
            reaches(State::Created),
            Note::AttemptOpened { ordinal: 1 },
            reaches(State::Submitted),
        ]
    );
}

/// Money comes for a dead attempt while the next one was only ever put off by its channel.
#[test]
fn two_attempts_that_end_in_one_step_are_both_noted() {
    let mut walk = Walk::shown_at(Channel::Simpay);
    walk.tell(found(0, Finding::Declined));
    walk.pay_by(Channel::Wechat);
    walk.tell(sent(1, 1, later()));
    let step = walk.tell(found(0, paid(REFERENCE, PAYABLE)));
    assert_eq!(
        step.notes,
        [
            ends(0, Channel::Simpay, AttemptEnd::Paid),
            books(EntryKind::Payment),
            reaches(State::Succeeded),
            ends(1, Channel::Wechat, AttemptEnd::FailedByChannel),
        ]
    );
}

#[test]
fn an_end_says_whose_doing_it_was() {
    let shown = || Walk::shown_at(Channel::Simpay);
    let after = |wish: Fact, fact: Fact| {
        let mut walk = shown();
        if wish == Fact::DeadlinePassed {
            walk.wait_until(walk.order.expires_at);
        }
        walk.tell(wish);
        walk.tell(fact)
    };
    let answered = |outcome: SendOutcome| {
        let mut walk = Walk::new();
        walk.pay_by(Channel::Simpay);
        walk.tell(sent(0, 1, outcome))
    };
    let declined_at = |past_expiry_ms: i64| {
        let mut walk = shown();
        walk.wait_until(walk.attempt(0).expires_at.plus_ms(past_expiry_ms));
        walk.tell(found(0, Finding::Declined))
    };
    let further = {
        let mut walk = Walk::shown_at(Channel::Simpay);
        walk.tell(found(0, Finding::Declined));
        walk.pay_by(Channel::Wechat);
        walk.tell(sent(1, 1, SendOutcome::Accepted { reference: None }));
        walk.tell(found(0, paid(REFERENCE, PAYABLE)));
        walk.tell(found(1, Finding::Closed))
    };
    let table = [
        (shown().tell(found(0, paid(REFERENCE, PAYABLE))), AttemptEnd::Paid),
        (shown().tell(found(0, paid(REFERENCE, PAYABLE - 1))), AttemptEnd::WrongAmount),
        (shown().tell(found(0, Finding::Closed)), AttemptEnd::FailedByChannel),
        (declined_at(-1), AttemptEnd::FailedByChannel),
        (declined_at(0), AttemptEnd::RanOut),
        (after(Fact::CancelAsked, closed(0, CloseAnswer::Closed)), AttemptEnd::Cancelled),
        (after(Fact::DeadlinePassed, closed(0, CloseAnswer::Closed)), AttemptEnd::RanOut),
        (after(chosen(Channel::Wechat), closed(0, CloseAnswer::Closed)), AttemptEnd::Switched),
        (after(Fact::CancelAsked, found(0, Finding::Declined)), AttemptEnd::FailedByChannel),
        (answered(refused(Fault::Payment)), AttemptEnd::FailedByChannel),
        (answered(refused(Fault::Ours)), AttemptEnd::FailedByChannel),
        (answered(not_sent()), AttemptEnd::FailedByChannel),
        (answered(SendOutcome::HeldBack { why: "a bound".into() }), AttemptEnd::Withheld),
        (answered(SendOutcome::Impossible { code: "x".into() }), AttemptEnd::Withheld),
        (further, AttemptEnd::Superseded),
    ];
    for (step, expected) in table {
        let ends: Vec<_> = ended(&step).into_iter().map(|(.., end)| end).collect();
        assert_eq!(ends, [expected], "{:?}", step.notes);
        let ending = match expected {
            AttemptEnd::Paid => Some(Ending::Succeeded),
            AttemptEnd::FailedByChannel => Some(Ending::Failed),
            AttemptEnd::Withheld
            | AttemptEnd::Switched
            | AttemptEnd::Cancelled
            | AttemptEnd::RanOut
            | AttemptEnd::WrongAmount
            | AttemptEnd::Superseded => None,
        };
        assert_eq!(expected.ending(), ending);
    }
}

#[test]
fn an_order_that_fails_says_why() {
    let mut walk = Walk::new();
    assert_eq!(walk.clone().tell(Fact::CancelAsked).notes, [fails(OrderFailure::Cancelled)]);
    walk.wait_until(walk.order.expires_at);
    assert_eq!(walk.tell(Fact::DeadlinePassed).notes, [fails(OrderFailure::Expired)]);
}

#[test]
fn a_channel_that_does_not_suit_leaves_the_order_where_it_was() {
    let mut walk = Walk::new();
    let verdict = Verdict::Unsuitable { failure: AttemptFailure::ChannelUnsuitable };
    let method = method_of(Channel::Simpay);
    let validated = Fact::Validated { channel: Channel::Simpay, method, verdict };
    assert_eq!(walk.try_tell(vec![chosen(Channel::Simpay), validated]).unwrap().notes, []);
}

#[test]
fn a_contradiction_is_noted_by_a_step_that_changes_nothing() {
    let mut walk = Walk::succeeded();
    let before = walk.order.clone();
    let step = walk.tell(found(0, paid(REFERENCE, PAYABLE + 1)));
    assert_eq!((&step.after, &step.writes[..]), (&before, &[][..]));
    assert_eq!(step.notes, [Note::CaptureContradicted { capture: 0, ordinal: 0 }]);
    let step = walk.tell(sent(0, 1, send_paid(REFERENCE, PAYABLE - 1)));
    assert_eq!(step.notes, [Note::CaptureContradicted { capture: 0, ordinal: 0 }]);
    assert_eq!(walk.tell(found(0, paid(REFERENCE, PAYABLE))).notes, []);
}

#[test]
fn a_refund_says_what_it_books_and_when_it_is_stuck() {
    let mut walk = Walk::succeeded();
    let step = walk.tell(found(0, paid("another", PAYABLE)));
    assert_eq!(step.notes, [books(EntryKind::Suspense), books(EntryKind::Refund)]);
    for _ in 0..2 {
        assert_eq!(walk.tell(refund(0, refund_stuck())).notes, [Note::RefundStuck { refund: 0 }]);
    }
    assert_eq!(walk.tell(refund(0, refund_rejected(Rejection::Ours))).notes, [Note::RefundNotPermitted { refund: 0 }]);
    assert_eq!(walk.tell(refund(0, refund_unclear())).notes, []);
    assert_eq!(walk.tell(refund(0, refund_done())).notes, [books(EntryKind::RefundPaid)]);
    assert_eq!(walk.tell(refund(0, refund_stuck())).notes, [], "the money has gone back");
}
