//! Holds what the server says and stores against the gateways' truth, after everything that happens and once all is
//! quiet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tongbao::domain::channel::{Channel, Lapse, Unclosed};
use tongbao::domain::event::{Event, Fact, Refusal, WebhookKind};
use tongbao::domain::id::{Account, AttemptNumber, Incarnation, OrderId, RefundId};
use tongbao::domain::ledger::{EntryKind, Fee, LedgerAccount};
use tongbao::domain::order::{Attempt, AttemptState, CloseStage, Order, Purpose, Reach, State};
use tongbao::domain::refund::{Cause, PaidFrom, Refund, RefundFailure, RefundState, Stage};
use tongbao::domain::step;
use tongbao::domain::time::Instant;
use tongbao::engine::ask::AskError;
use tongbao::store::{
    CaptureRow, InboxReason, InboxRow, OutboxRow, PutOff, RefundName, RefundRow, Row as UnitRow, StepUnit, Unit,
};

use crate::balances::Balances;
use crate::book::Draft;
use crate::cycles;
use crate::gateways::{Gateways, Honesty, Payment, RefundRequest, Request};
use crate::life::{Call, Life, Notice, Question, RefundTold};
use crate::people::PLATFORM;
use crate::ports::merchant_of;
use crate::reminders;
use crate::scene::lock;
use crate::sights::{self, Sight};
use crate::store::{self, Row, Store};
use crate::world::{HOUR, MINUTE, SECOND, World};

/// The longest that a channel may change its mind after the end of an attempt.
const LAPSE_MAX_MS: i64 = 20 * MINUTE;
/// How long the slowest issuer is at work.
const SETTLED_MS: i64 = 8 * HOUR;
/// How long nobody may look at an attempt that has ended.
const LOOK_MAX_MS: i64 = HOUR;
/// How long a switch may wait for us once its old attempt is dead.
const CHOICE_MAX_MS: i64 = 5 * MINUTE;

/// A client was told of this order, so it must be there, every bit of it.
pub fn acknowledged(store: &Store, order: &Order) {
    let row = store.row(order.id).expect("what was acknowledged is stored");
    assert!(row.order.version >= order.version, "version {} was acknowledged, not stored", order.version);
    assert!(row.order.version > order.version || *row.order == *order, "what was acknowledged is what is stored");
}

/// What happened in this order's step is about to be counted, so it must have happened.
pub fn noted(store: &Store, order: &Order) {
    let row = store.row(order.id).expect("what is noted is stored");
    assert_eq!(*row.order, *order, "what is noted is what is stored");
}

/// This webhook is about to go out, so it must lie in the outbox, byte for byte.
pub fn posted(store: &Store, order: OrderId, row: &OutboxRow) {
    let posted = store.outbox.get(&(order, row.sequence)).expect("what goes out lies in the outbox");
    assert_eq!(posted.row, *row, "a webhook goes out as it is stored");
}

/// A gateway will not tell this again.
pub fn callback_acknowledged(store: &Store, notice: &Notice) {
    let row = store.row(notice.number.order).expect("the order of an acknowledged callback is stored");
    let is_booked = row.order.captures.iter().any(|capture| {
        capture.ordinal == notice.number.ordinal
            && *capture.reference == *notice.reference
            && capture.amount_minor == notice.amount_minor
    });
    let attempt = row.order.attempt(notice.number.ordinal).expect("the attempt of an acknowledged callback is stored");
    assert!(is_booked || attempt.claimed_at.is_some(), "a callback was acknowledged and nothing holds its money");
}

/// The same where the order could not be spoken to: then the inbox holds it.
pub fn callback_parked(store: &Store, notice: &Notice) {
    let is_parked = store.inbox().any(|stored| {
        let (number, told) = store::parked(&stored.row);
        (number, told.reference, told.amount_minor) == (notice.number, notice.reference.clone(), notice.amount_minor)
    });
    assert!(is_parked, "a callback was acknowledged and lies in no inbox");
}

/// The engine asks for a call: its intent must be durable at this moment.
pub fn departs(store: &Store, number: AttemptNumber, question: Question) {
    let row = store.row(number.order).expect("a request leaves only for a stored order");
    let attempt = row.order.attempt(number.ordinal).expect("a request leaves only for a stored attempt");
    let is_intended = match question {
        Question::Submit { send } => attempt.sends >= send,
        Question::Query => true,
        Question::Close => match attempt.state {
            AttemptState::Open => false,
            AttemptState::Closing | AttemptState::Dead | AttemptState::Captured => true,
        },
        Question::Refund { refund, round } | Question::QueryRefund { refund, round } => {
            row.order.refunds.get(usize::from(refund)).is_some_and(|refund| match refund.state() {
                RefundState::Created => false,
                RefundState::Submitted | RefundState::Succeeded | RefundState::Failed | RefundState::Returned => {
                    refund.round >= round
                }
            })
        }
    };
    assert!(is_intended, "{question:?} leaves before its intent is durable");
}

/// A request leaves for a gateway.
pub fn leaves(store: &Store, call: &Call) {
    let attempt = store.row(call.number.order).and_then(|row| row.order.attempt(call.number.ordinal));
    // The close of a cell that was lost may leave when the next cell has asked too and given its switch up.
    let was_asked = attempt.is_some_and(|attempt| attempt.close != CloseStage::NotAsked);
    if call.question != Question::Close || !was_asked {
        departs(store, call.number, call.question);
    }
}

/// A create made something that can be paid: an attempt that was declared dead cannot begin any more.
pub fn begun(store: &Store, gateways: &Gateways, number: AttemptNumber, now: Instant) {
    let is_dead = state_of(store, number) == Some(AttemptState::Dead);
    assert!(!(is_dead && gateways.may_capture(number, now)), "{number} was declared dead and then began to live");
}

/// A gateway did what it was asked: it gives back what it took once and no more, each refund once, and none that has
/// failed by our books.
pub fn served(store: &Store, gateways: &Gateways, number: AttemptNumber, request: &Request) {
    let net_minor = gateways.payment(number).map_or(0, Payment::net_minor);
    assert!(net_minor >= 0, "{number} was paid out twice: {net_minor} is left of it");
    let Request::Refund(RefundRequest { refund, .. }) = request else { return };
    let times = gateways.payment(number).map_or(0, |payment| payment.times_paid(*refund));
    assert!(times <= 1, "refund {refund} of {number} is paid {times} times");
    let stored = store.row(number.order).and_then(|row| row.order.refunds.get(usize::from(*refund)));
    let has_failed = stored.is_some_and(|refund| refund.state() == RefundState::Failed);
    assert!(times == 0 || !has_failed, "refund {refund} of {number} has failed and is paid: {stored:?}");
}

/// A channel has answered a call: whatever has become of the order since, it takes the answer.
pub fn takes(store: &Store, id: OrderId, fact: &Fact, now: Instant) {
    let order = &store.row(id).expect("a call is of a stored order").order;
    let event = Event { at: now, incarnation: Incarnation::default(), fact: fact.clone() };
    if let Err(refusal) = step::decide(order, &[event]) {
        panic!("{refusal:?} is no answer to {fact:?}: {order:?}");
    }
}

/// Whether a send of a refund may have arrived of which nobody knows what became.
pub fn is_in_doubt(store: &Store, order: OrderId, refund: u16) -> bool {
    let refund = store.row(order).and_then(|row| row.order.refunds.get(usize::from(refund)));
    refund.is_some_and(|refund| matches!(refund.stage, Stage::Doubtful { .. }))
}

/// A platform was told of this refund, so it must be there under that name.
pub fn refund_acknowledged(store: &Store, refund: RefundId, name: &str) {
    let stored = store.refund(refund).expect("a refund that was acknowledged is stored");
    assert_eq!(&*stored.row.merchant_refund_id, name, "a refund is known by its name");
}

/// A platform was told that its refund was not opened.
pub fn refund_refused(store: &Store, id: OrderId, name: &str, error: &AskError) {
    let refusal = match error {
        AskError::Refused(refusal) => refusal,
        AskError::Duplicate => {
            sights::note(Sight::RefundNameTaken);
            assert!(store.refund_named(PLATFORM, name).is_some(), "{name} is no name of a refund");
            return;
        }
        AskError::Overloaded
        | AskError::StoreAway
        | AskError::OutcomeUnknown
        | AskError::Quarantined
        | AskError::NotFound => return,
    };
    let order = &store.row(id).expect("it was asked of a stored order").order;
    match refusal {
        Refusal::OrderNotPaid | Refusal::BalanceInsufficient => {}
        Refusal::RefundExceeds { remaining_minor } => {
            sights::note(Sight::RefundExceeded);
            let payable = order.payment().map_or(0, |(_, capture)| capture.amount_minor);
            assert!((0..=payable).contains(remaining_minor), "{remaining_minor} remains of {payable}");
        }
        other => panic!("{other:?} is no answer to a refund of {order:?}"),
    }
}

/// A gateway will not tell this of a refund again.
pub fn refund_notice_acknowledged(store: &Store, notice: &RefundTold, is_back: bool) {
    let order = &store.row(notice.number.order).expect("the order of a refund is stored").order;
    let (index, _) = order.refund_numbered(&notice.refund_number).expect("its number is the order's");
    let refund = &order.refunds[usize::from(index)];
    match notice.account.channel() {
        Channel::Simpay | Channel::Alipay | Channel::Wechat if is_back => {
            assert_eq!(refund.state(), RefundState::Returned, "{refund:?} was told to have come back");
        }
        // Elsewhere it is a reason to ask, and looks find it.
        Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Unionpay | Channel::Stripe => {}
    }
}

/// Money was taken by a gateway that keeps its word: an attempt that was declared dead cannot do that.
pub fn taken(store: &Store, gateways: &Gateways, number: AttemptNumber) {
    let is_honest = gateways.payment(number).is_some_and(|payment| payment.honesty == Honesty::Honest);
    let is_dead = state_of(store, number) == Some(AttemptState::Dead);
    assert!(!(is_honest && is_dead), "{number} was declared dead and then took money");
}

fn state_of(store: &Store, number: AttemptNumber) -> Option<AttemptState> {
    let order = &store.row(number.order)?.order;
    let attempt = order.attempt(number.ordinal)?;
    assert_eq!(order.number(attempt), number, "an attempt keeps its number");
    Some(attempt.state)
}

/// What a unit finds in the store.
pub struct Before {
    order: Option<Arc<Order>>,
    parked: Option<InboxRow>,
}

impl Before {
    pub fn of(store: &Store, unit: &Unit) -> Self {
        let (order, parked) = match unit {
            Unit::Step(step) => (step.stream.order().and_then(|id| store.row(id)).map(|row| row.order.clone()), None),
            Unit::InboxDone { id } => (None, store.inbox_row(*id).cloned()),
            Unit::PutOff(_)
            | Unit::Answer(_)
            | Unit::Inbox(_)
            | Unit::Delivery(_)
            | Unit::DeadLetter(_)
            | Unit::Cut(_)
            | Unit::OperatorAct(_) => (None, None),
        };
        Before { order, parked }
    }
}

/// A unit has become durable.
pub fn committed(world: &World, unit: &Unit, before: &Before) {
    match unit {
        Unit::Step(step) => {
            if let Some(id) = step.stream.order() {
                stepped(world, id, step, before.order.as_deref());
            }
        }
        Unit::PutOff(put_off) => was_put_off(world, put_off),
        Unit::InboxDone { .. } => {
            if let Some(row) = &before.parked {
                sights::note(Sight::CallbackDelivered);
                delivered(&world.store(), row);
            }
        }
        Unit::Answer(_)
        | Unit::Inbox(_)
        | Unit::Delivery(_)
        | Unit::DeadLetter(_)
        | Unit::Cut(_)
        | Unit::OperatorAct(_) => {}
    }
}

/// A callback goes from the inbox only once its order has heard of the money, now or before.
fn delivered(store: &Store, row: &InboxRow) {
    let (number, told) = store::parked(row);
    let row = store.row(number.order).expect("the order of a parked callback is stored");
    let is_booked = row.order.captures.iter().any(|capture| *capture.reference == *told.reference);
    let is_journaled = row.events().iter().any(|event| match &event.fact {
        Fact::CallbackVerified { ordinal, .. } => *ordinal == number.ordinal,
        Fact::Created(_)
        | Fact::ChannelChosen { .. }
        | Fact::Validated { .. }
        | Fact::SendAnswered { .. }
        | Fact::QueryAnswered { .. }
        | Fact::CloseAnswered { .. }
        | Fact::RefundAsked { .. }
        | Fact::RefundAnswered { .. }
        | Fact::RefundNoticed { .. }
        | Fact::RefundResolved { .. }
        | Fact::CancelAsked
        | Fact::DeadlinePassed
        | Fact::TimerFired
        | Fact::OperatorResolved { .. }
        | Fact::MessageTaken { .. } => false,
    });
    assert!(is_booked || is_journaled, "a callback has left the inbox, and its order knows nothing of it");
}

fn was_put_off(world: &World, put_off: &PutOff) {
    let store = world.store();
    let Some(id) = put_off.stream.order() else { return };
    let row = store.row(id).expect("what is put off is stored");
    if row.order.version == put_off.version {
        let due_at = row.order.next_due_at(world.now());
        assert!(due_at.is_some_and(|due_at| put_off.next_due_at <= due_at), "it is put off to when it is due");
    }
}

fn stepped(world: &World, id: OrderId, step: &StepUnit, before: Option<&Order>) {
    let store = world.store();
    let row = store.row(id).expect("what was committed is stored");
    let order = &*row.order;
    assert_eq!(row.version(), order.version, "one row of the journal for each version");
    if let Some(before) = before {
        follows(before, order);
    }
    reminders::told(step, row, before);
    let payments = order.captures.iter().filter(|capture| capture.purpose == Purpose::Payment).count();
    let is_paid = order.state == State::Succeeded;
    assert_eq!(payments, usize::from(is_paid), "an order is paid once, exactly when it has succeeded");
    if !order.state.is_final() {
        assert!(row.next_due_at.is_some(), "what is not final has something due");
    }
    if order.state.is_final() {
        assert_eq!(row.next_action, None, "nothing is shown of a final order");
    }
    refunds(world, &store, row, before);
    books_follow(step, before, order);
    let taken = step.entries.iter().filter(|entry| match entry.kind() {
        EntryKind::Payment | EntryKind::Suspense => true,
        EntryKind::Refund
        | EntryKind::RefundPaid
        | EntryKind::RefundPaidOtherwise
        | EntryKind::RefundFailed
        | EntryKind::RefundReturned
        | EntryKind::Closing
        | EntryKind::Adjustment
        | EntryKind::Payout
        | EntryKind::PayoutPaid
        | EntryKind::PayoutFailed
        | EntryKind::PayoutReturned
        | EntryKind::PaymentReceived
        | EntryKind::WriteOff
        | EntryKind::Netting => false,
    });
    let captures: Vec<_> = step.rows.iter().filter_map(capture).collect();
    // What a seller took itself has an entry only where there are shares or a fee.
    let ours = captures.iter().filter(|capture| merchant_of(&capture.account).is_operator()).count();
    let taken = taken.count();
    assert!(ours <= taken && taken <= captures.len(), "one entry for each capture: {taken} of {captures:?}");
    for capture in captures {
        really_taken(world, order, capture);
    }
    let opened = before.map_or(0, |before| before.attempts.len());
    if order.attempts.len() > opened {
        let still_open = order.attempts[..opened].iter().filter(|attempt| attempt.is_open()).count();
        assert_eq!(still_open, 0, "an attempt is opened only after all others have ended");
    }
    deaths(world, order, before);
}

fn capture(row: &UnitRow) -> Option<&CaptureRow> {
    match row {
        UnitRow::Capture(capture) => Some(capture),
        UnitRow::Order(_) | UnitRow::Payer(_) | UnitRow::Attempt(_) | UnitRow::PaidBy(_) => None,
        UnitRow::Refund(_) | UnitRow::RefundMoved { .. } => None,
        UnitRow::RefundsStuck { .. } | UnitRow::RefundsMove => None,
        UnitRow::Platform(_) | UnitRow::Key(_) | UnitRow::KeyRevoked(_) => None,
        UnitRow::SharesAccepted(_) | UnitRow::SharesRefused(_) | UnitRow::DebtBound(_) => None,
        UnitRow::Settlement(_) | UnitRow::SettlementMoved(_) => None,
        UnitRow::Payout(_) | UnitRow::BankDetails(_) | UnitRow::BankDetailsInForce(_) => None,
        UnitRow::Operator(_) | UnitRow::RoleChanged(_) | UnitRow::OperatorKey(_) => None,
        UnitRow::OperatorKeyRevoked(_) => None,
        UnitRow::NettingParty(_) | UnitRow::Netted(_) => None,
    }
}

/// Each entry sums to zero, and all of a step's bring the ledger from what the order was before to what it is.
fn books_follow(step: &StepUnit, before: Option<&Order>, order: &Order) {
    let mut balances = before.map_or_else(Balances::default, Balances::of);
    for entry in &step.entries {
        assert_eq!(entry.lines().iter().map(|line| line.amount_minor).sum::<i64>(), 0, "an entry sums to zero");
        balances.book(entry);
    }
    assert_eq!(balances.settled(), Balances::of(order), "the ledger is what the order says: {order:?}");
}

/// What holds of an order's refunds after each step, and what their rows say.
fn refunds(world: &World, store: &Store, row: &Row, before: Option<&Order>) {
    let order = &*row.order;
    let known = before.map_or(&[][..], |before| &before.refunds[..]);
    assert!(order.refunds.len() >= known.len(), "a refund never goes away");
    for (refund, index) in order.refunds.iter().zip(0u16..) {
        goes_on(refund, known.get(usize::from(index)));
        keeps_its_pause(order, refund, index);
        if refund.state() == RefundState::Failed {
            let number = order.number(order.attempt_of(refund).expect("a refund is of a capture"));
            let times = world.gateways.payment(number).map_or(0, |payment| payment.times_paid(index));
            assert_eq!(times, 0, "{refund:?} has failed by our books and was paid");
        }
    }
    if let Some((_, payment)) = order.payment() {
        let reserved = order.asked_refunds().filter(|(refund, _)| match refund.state() {
            RefundState::Created | RefundState::Submitted | RefundState::Succeeded => true,
            RefundState::Failed | RefundState::Returned => false,
        });
        let reserved: i64 = reserved.map(|(refund, _)| refund.amount_minor).sum();
        assert!(reserved <= payment.amount_minor, "{reserved} is reserved of {payment:?}");
        let left = order.left().expect("what was paid has parties");
        let (Fee::OfPayer(fee) | Fee::OfPlatform(fee)) = left.fee;
        assert!(left.parts.iter().chain([&fee]).all(|part| *part >= 0), "a party has less than nothing: {left:?}");
        assert_eq!(left.payable_minor(), payment.amount_minor - reserved, "what is left is what is not reserved");
    }
    let named = |row: &RefundRow| RefundName {
        merchant_refund_id: row.merchant_refund_id.clone(),
        reason: row.reason.clone(),
        refundable_minor: row.refundable_minor,
    };
    let rows: Vec<&RefundRow> = store.refunds_of(order.id).collect();
    assert_eq!(rows.len(), order.asked_refunds().count(), "a row for each refund that was asked for");
    for (stored, (refund, _)) in rows.into_iter().zip(order.asked_refunds()) {
        let expected = RefundRow::of(order, refund, named(stored), stored.created_at);
        assert_eq!(Some(stored), expected.as_ref(), "a refund's row is what its order says");
        assert!(refund.amount_minor <= stored.refundable_minor, "{stored:?} is more than could be asked for");
    }
}

/// What a refund becomes, and that suspense never fails.
fn goes_on(refund: &Refund, known: Option<&Refund>) {
    let fails = refund.is_of_suspense() && refund.state() == RefundState::Failed;
    assert!(!fails, "suspense has failed: {refund:?}");
    match (known.map(Refund::state), refund.state()) {
        (None, _) => {
            if let Cause::Asked(asked) = &refund.cause
                && asked.parts.iter().filter(|part| **part > 0).count() > 1
            {
                sights::note(Sight::RefundOfShares);
            }
        }
        (Some(RefundState::Created | RefundState::Submitted), _) => match refund.stage {
            Stage::Failed { failure: RefundFailure::GivenUp, .. } => sights::note(Sight::RefundGivenUp),
            Stage::Failed { failure: RefundFailure::Refused | RefundFailure::Ended, .. } => {
                sights::note(Sight::RefundFailed);
            }
            Stage::Succeeded { paid_from: PaidFrom::Bank, .. } => sights::note(Sight::RefundPaidOtherwise),
            Stage::Returned { .. } => sights::note(Sight::RefundCameBack),
            Stage::Unconfirmed { .. }
            | Stage::Waiting { .. }
            | Stage::Owed { .. }
            | Stage::Doubtful { .. }
            | Stage::Succeeded { paid_from: PaidFrom::Channel, .. } => {}
        },
        (Some(RefundState::Succeeded), RefundState::Returned) => sights::note(Sight::RefundCameBack),
        (Some(before), now) => assert_eq!(before, now, "an end never changes: {known:?} is {refund:?}"),
    }
    if let Stage::Waiting { .. } = refund.stage {
        sights::note(Sight::RefundWaited);
    }
}

/// Refunds of a payment are as far apart as their channel wants.
fn keeps_its_pause(order: &Order, refund: &Refund, index: u16) {
    let waits = |refund: &Refund| refund.state() == RefundState::Created;
    let channel = order.attempt_of(refund).map(Attempt::channel).expect("a refund is of a capture");
    let pause_ms = match channel {
        Channel::Wechat => MINUTE,
        Channel::Alipay => 3 * SECOND,
        Channel::Simpay | Channel::Unionpay | Channel::Stripe => return,
    };
    for other in &order.refunds[..usize::from(index)] {
        let apart_ms = refund.dated_at.since_ms(other.dated_at).abs();
        let both_go = refund.capture == other.capture && !waits(refund) && !waits(other);
        assert!(!both_go || apart_ms >= pause_ms, "{refund:?} goes {apart_ms} ms from {other:?}");
    }
}

/// What is booked was taken by the gateway, that much of it and under that name.
fn really_taken(world: &World, order: &Order, booked: &CaptureRow) {
    let attempt = order.attempt(booked.ordinal).expect("a capture belongs to an attempt");
    let truth = world.gateways.payment(order.number(attempt)).and_then(|payment| payment.capture.as_ref());
    let is_true =
        truth.is_some_and(|taken| *taken.reference == *booked.reference && taken.amount_minor == booked.amount_minor);
    assert!(is_true, "{booked:?} is booked, and the gateway's truth is {truth:?}");
}

/// Somebody who asked was told that nothing comes of it.
pub fn refused(life: &Life, store: &Store, id: OrderId, error: &AskError, now: Instant) {
    match error {
        AskError::Refused(refusal) => told_to_wait(store, id, refusal, now),
        AskError::OutcomeUnknown => {
            sights::note(Sight::OutcomeUnknown);
            let is_unknown = lock(&life.ship.unknown).contains(&id);
            assert!(is_unknown, "{id} was told something, and nobody knows what became of it");
        }
        AskError::NotFound => panic!("{id} is stored and was not found"),
        AskError::Duplicate | AskError::Overloaded | AskError::StoreAway | AskError::Quarantined => {}
    }
}

/// A payer was told to wait until an attempt that cannot be closed has ended: not longer than that takes.
fn told_to_wait(store: &Store, id: OrderId, refusal: &Refusal, now: Instant) {
    let Refusal::AttemptOpen { retry_after_ms, until } = refusal else { return };
    sights::note(Sight::ToldToWait);
    // It may have ended since this was said.
    let Some(attempt) = store.row(id).and_then(|row| row.order.open_attempt()) else { return };
    let lapses_at = attempt.expires_at.plus_ms(LAPSE_MAX_MS);
    assert!(*retry_after_ms > 0, "a payer is told to come back at once");
    assert!(until.is_none_or(|until| until <= lapses_at), "a payer is told of a later end than {attempt:?} has");
    let is_right = now.plus_ms(*retry_after_ms) <= lapses_at.max(now.plus_ms(SECOND));
    assert!(is_right, "a payer is told to wait {retry_after_ms} ms for {attempt:?}");
}

/// A panic ends a cell and nothing else in the server; here it is a fault that was found.
fn nobody_panicked(life: &Life) {
    for quarantine in [life.directory.quarantine(), life.reminders.quarantine()] {
        if quarantine.count() > 0 {
            let mut held = quarantine.list(None, usize::MAX).into_iter();
            let panicked = held.find(|(_, held)| held.why.contains("panicked"));
            assert!(panicked.is_none(), "{panicked:?}");
        }
    }
}

/// Cells have left memory: none of them with a call in flight, unless it was lost.
pub fn left(life: &Life) {
    for way in life.yard.left() {
        lock(&life.ship.whose).remove(&way);
        let is_lost = lock(&life.ship.lost).contains(&way);
        let calls: Vec<_> = life.calls.values().filter(|call| call.way == Some(way)).collect();
        // Answers to a cell that was lost count as answers to the next one's calls.
        let heard_anothers = calls.iter().any(|call| lock(&life.ship.ever_lost).contains(&call.number.order));
        assert!(is_lost || heard_anothers || calls.is_empty(), "a cell has left with a call in flight: {calls:?}");
    }
}

/// What never changes from one version of an order to the next.
fn follows(before: &Order, order: &Order) {
    assert_eq!(order.version, before.version + 1, "versions follow each other");
    assert!(order.last_at >= before.last_at, "time goes on");
    if before.state.is_final() {
        let end = |order: &Order| (order.state, order.failure, order.finished_at);
        assert_eq!(end(order), end(before), "a final state never changes");
    }
    assert!(order.captures.len() >= before.captures.len(), "a capture never goes away");
    for (capture, known) in order.captures.iter().zip(&before.captures) {
        let money = |capture: &tongbao::domain::order::Capture| {
            (capture.ordinal, capture.reference.clone(), capture.amount_minor)
        };
        assert_eq!(money(capture), money(known), "a capture never changes");
    }
    for (attempt, known) in order.attempts.iter().zip(&before.attempts) {
        assert_eq!(order.number(attempt), order.number(known), "an attempt keeps its number");
        let was_asked = |stage| stage != CloseStage::NotAsked;
        assert!(was_asked(attempt.close) || !was_asked(known.close), "a close that was asked for is not forgotten");
        assert!(attempt.is_open() || !matches!(known.state, AttemptState::Captured) || attempt.state == known.state);
    }
}

/// An attempt that is declared dead now has taken no money that the order does not know, and can take none any more.
fn deaths(world: &World, order: &Order, before: Option<&Order>) {
    for attempt in order.attempts.iter().filter(|attempt| attempt.state == AttemptState::Dead) {
        let known = before.and_then(|before| before.attempt(attempt.ordinal));
        let number = order.number(attempt);
        if known.is_some_and(|known| known.state == AttemptState::Dead) {
            continue;
        }
        let Some(payment) = world.gateways.payment(number) else {
            if attempt.channel() == Channel::Stripe && attempt.reach == Reach::Perhaps {
                sights::note(Sight::NowhereForGood);
            }
            continue;
        };
        if payment.honesty == Honesty::Lies {
            continue;
        }
        assert!(!world.gateways.may_capture(number, world.now()), "{number} is declared dead and can still take money");
        let is_known = |reference: &str| {
            order.captures.iter().any(|capture| capture.ordinal == attempt.ordinal && *capture.reference == *reference)
        };
        let is_complete = payment.capture.as_ref().is_none_or(|capture| is_known(&capture.reference));
        assert!(is_complete, "{number} is declared dead and has taken money that nobody booked");
    }
}

/// After everything that happens.
pub fn look(world: &mut World) {
    let now = world.now();
    let scene = world.scene.clone();
    let Some(life) = &mut world.life else { return };
    nobody_panicked(life);
    let (alive, active) = (life.yard.alive(), life.active());
    let is_right = alive == active || (alive > active && life.crew.is_on_errand());
    assert!(is_right, "one live cell for each stream in memory: {alive} for {active}");
    let store = scene.store();
    for row in store.rows() {
        let id = row.order.id;
        if life.is_active(id) {
            life.active_since.entry(id).or_insert(now);
        } else if life.active_since.remove(&id).is_some() && !row.order.may_leave(now) {
            sights::note(Sight::WaitsElsewhere);
        }
    }
    drop(store);
    let (Some(life), store) = (&world.life, world.store()) else { return };
    // While it looks, its place is on its way.
    let place = lock(&life.finder).as_ref().map(tongbao::engine::finder::Finder::place);
    let reached = place.map(|place| place.map(|due| (due.due_at, due.stream)));
    reminders::look(life, &store, reached);
    cycles::look(life, &store);
    for row in store.rows() {
        let (order, id) = (&*row.order, row.order.id);
        for attempt in order.attempts.iter().filter(|attempt| attempt.is_open()) {
            ends_in_time(world, order, attempt);
        }
        if let Some(since) = life.active_since.get(&id) {
            // One that is overdue already comes up at the next tick.
            let is_armed = life.directory.armed_at(id.as_u128()).is_some();
            let is_busy = is_armed || life.is_at_work(id.into()) || life.is_calling(id);
            assert!(is_busy || order.may_leave(now), "{id} waits for nothing: {order:?}");
            let is_switching = order.state == State::Created && order.wish.is_some();
            let waits_ms = now.since_ms(order.last_at.max(*since));
            assert!(!is_switching || waits_ms < CHOICE_MAX_MS, "{id} waits in vain for its next channel: {order:?}");
        }
        if let (Some(due_at), Some(reached)) = (row.next_due_at, reached) {
            let will_be_found = reached.is_none_or(|reached| (due_at, id.into()) > reached);
            let is_kept = life.active_since.contains_key(&id) || life.directory.is_retried(id.as_u128());
            assert!(will_be_found || is_kept, "{id} is due at {due_at:?} and nobody will look: {order:?}");
        }
    }
}

/// What was just written has the places that are next in its lane.
pub fn placed(store: &Store, lane: usize, draft: &Draft) {
    let (book, next_place) = store.books().nth(lane).expect("the lane is there");
    book.has(draft, next_place);
}

/// Whatever is in the lanes' journals has its place there, and their balances say what their lines say.
pub fn books_add_up(store: &Store) {
    let mut seen = BTreeSet::new();
    for (book, next_place) in store.books() {
        book.adds_up(next_place, &mut seen);
    }
    cycles::add_up(store);
    let orders = store.rows().map(|row| (row.order.id.into(), row.version()));
    let plain = store.plain().map(|(stream, plain)| (stream, plain.head.version));
    for (stream, version) in orders.chain(plain) {
        let first_missing = (1..=version).find(|version| !seen.contains(&(stream, *version)));
        assert_eq!(first_missing, None, "each row of {stream}'s journal has a place");
    }
}

/// What time alone ends is found to have ended, soon after no money can come by it any more.
fn ends_in_time(world: &World, order: &Order, attempt: &Attempt) {
    let (now, number) = (world.now(), order.number(attempt));
    let is_calm = now > world.calm_at.plus_ms(SETTLED_MS);
    let is_over = now > attempt.expires_at.plus_ms(LAPSE_MAX_MS + LOOK_MAX_MS);
    let payment = world.gateways.payment(number);
    let rules = order.rulebook().channel(attempt.channel());
    let may_live = match rules.unclosed {
        Unclosed::Ends => payment.is_some_and(|payment| payment.capture.is_some()),
        Unclosed::Lives => payment.is_some(),
    } || world.gateways.may_capture(number, now);
    match rules.lapse {
        Lapse::NotExist | Lapse::NotExistOrPending => {
            assert!(!is_calm || !is_over || may_live, "{number} ended long ago and is still open: {order:?}");
        }
        Lapse::Never => {}
    }
}

/// Once all is quiet.
pub fn at_the_end(world: &World) {
    let now = world.now();
    let mut booked = BTreeSet::new();
    let store = world.store();
    for row in store.rows() {
        let order = row.load();
        assert!(order.state.is_final() && order.may_leave(now), "{} has not come to its end: {order:?}", order.id);
        assert_eq!(row.next_due_at, None, "{} still has something due: {order:?}", order.id);
        for capture in &order.captures {
            let attempt = order.attempt(capture.ordinal).expect("a capture belongs to an attempt");
            booked.insert((attempt.account.clone(), capture.reference.to_string(), capture.amount_minor));
        }
        settled(world, row);
        let unheard = row.webhooks.iter().find(|(_, sequence)| !world.received.contains(&(order.id, *sequence)));
        assert_eq!(unheard, None, "{} has a webhook that its platform never got", order.id);
    }
    assert!(store.outbox.is_empty(), "what was delivered leaves the outbox: {:?}", store.outbox);
    let parked = store.inbox().find(|stored| stored.row.reason == InboxReason::OrderQuarantined);
    assert_eq!(parked, None, "a callback lies in the inbox for good");
    reminders::at_the_end(&store);
    cycles::at_the_end(&store);
    books_add_up(&store);
    drop(store);
    let truth: BTreeSet<_> = world
        .gateways
        .payments()
        .filter_map(|(_, payment)| {
            let capture = payment.capture.clone()?;
            Some((payment.account.clone(), capture.reference, capture.amount_minor))
        })
        .collect();
    assert_eq!(booked, truth, "our captures are the gateways' captures");
    books(world);
}

/// What the payer of an order has really paid in the end, and what its platform heard.
fn settled(world: &World, row: &Row) {
    let order = &row.order;
    let net: i64 = world
        .gateways
        .payments()
        .filter(|(number, _)| number.order == order.id)
        .map(|(_, payment)| payment.net_minor())
        .sum();
    let paid_by = order.attempts.iter().find(|attempt| attempt.state == AttemptState::Captured);
    let payable = paid_by.map_or(0, |attempt| attempt.payable_minor);
    let (mut refunded, mut kept) = (0, 0);
    for (refund, index) in order.refunds.iter().zip(0u16..) {
        let number = order.number(order.attempt_of(refund).expect("a refund is of a capture"));
        let times = world.gateways.payment(number).map_or(0, |payment| payment.times_paid(index));
        let expected = match refund.stage {
            Stage::Succeeded { paid_from: PaidFrom::Channel, .. } | Stage::Returned { .. } => 1,
            Stage::Failed { .. } | Stage::Succeeded { paid_from: PaidFrom::Bank, .. } => 0,
            Stage::Unconfirmed { .. } | Stage::Waiting { .. } | Stage::Owed { .. } | Stage::Doubtful { .. } => {
                panic!("{refund:?} has not come to its end")
            }
        };
        assert_eq!(times, expected, "how often {refund:?} was paid");
        match &refund.cause {
            Cause::Asked(_) if refund.stage.is_paid_by_channel() => refunded += refund.amount_minor,
            // It is suspense again, and a person must see where it can go; or a person has paid it from elsewhere.
            Cause::Suspense if !refund.stage.is_paid_by_channel() => kept += refund.amount_minor,
            Cause::Asked(_) | Cause::Suspense => {}
        }
    }
    assert_eq!(net, payable - refunded + kept, "{} by its gateways' truth: {order:?}", order.id);
    let told = |wanted: WebhookKind| row.webhooks.iter().filter(|(kind, _)| *kind == wanted).count();
    let ended = |state: RefundState| order.asked_refunds().filter(|(refund, _)| refund.state() == state).count();
    let came_back = ended(RefundState::Returned);
    assert_eq!(told(WebhookKind::RefundSucceeded), ended(RefundState::Succeeded) + came_back, "each payment is told");
    assert_eq!(told(WebhookKind::RefundFailed), ended(RefundState::Failed), "each failure is told");
    assert_eq!(told(WebhookKind::RefundReturned), came_back, "what came back is told");
    let sequences: Vec<u32> = row.webhooks.iter().map(|(_, sequence)| *sequence).collect();
    assert!(sequences.iter().copied().eq(1..=order.sequence), "webhooks are numbered without a gap: {sequences:?}");
    let ends =
        row.webhooks.iter().filter(|(kind, _)| kind.name() == "order.succeeded" || kind.name() == "order.failed");
    assert_eq!(ends.count(), 1, "one end is told");
}

/// Closing moves what a platform has to other accounts of its own: the name of all of them.
fn unsettled(account: &str) -> String {
    match account.split_once(':') {
        Some(("platform" | "fees_due" | "settlement", platform)) => format!("own:{platform}"),
        Some(("position" | "netting", platform)) => format!("position:{platform}"),
        Some(_) | None => account.to_owned(),
    }
}

/// The ledger against the gateways.
fn books(world: &World) {
    let mut held: BTreeMap<Account, i64> = BTreeMap::new();
    for (_, payment) in world.gateways.payments() {
        *held.entry(payment.account.clone()).or_default() += payment.net_minor();
    }
    let store = world.store();
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for (account, amount_minor) in store.books().flat_map(|(book, _)| book.balances()) {
        *sums.entry(unsettled(account)).or_default() += amount_minor;
    }
    assert_eq!(sums.values().sum::<i64>(), 0, "the books sum to zero");
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    let mut stranded: BTreeMap<Account, i64> = BTreeMap::new();
    for row in store.rows() {
        for (account, amount_minor) in Balances::of(&row.order).iter() {
            *expected.entry(unsettled(&account.to_string())).or_default() += amount_minor;
        }
        let is_back = |refund: &&Refund| refund.is_of_suspense() && refund.state() == RefundState::Returned;
        for refund in row.order.refunds.iter().filter(is_back) {
            let attempt = row.order.attempt_of(refund).expect("a refund is of a capture");
            *stranded.entry(attempt.account.clone()).or_default() += refund.amount_minor;
        }
    }
    expected.retain(|_, amount_minor| *amount_minor != 0);
    let booked = sums.iter().filter(|(_, amount)| **amount != 0).map(|(account, amount)| (account.clone(), *amount));
    assert_eq!(booked.collect::<BTreeMap<_, _>>(), expected, "the books are what the orders say");
    for (account, amount_minor) in held {
        let is_ours = merchant_of(&account).is_operator();
        let booked = |name: LedgerAccount| sums.get(&*name.to_string()).copied().unwrap_or_default();
        let holds = booked(LedgerAccount::Channel(account.clone()));
        assert_eq!(holds, if is_ours { amount_minor } else { 0 }, "what {account} holds for us");
        let stranded = stranded.get(&account).copied().unwrap_or_default();
        assert_eq!(booked(LedgerAccount::RefundPending(account.clone())), 0, "no refund is under way at {account}");
        let stranded = if is_ours { stranded } else { 0 };
        assert_eq!(booked(LedgerAccount::Suspense(account)), -stranded, "all suspense was given back that could be");
    }
}
