//! Holds what the server says and stores against the gateways' truth, after everything that happens and once all is
//! quiet.

use std::collections::{BTreeMap, BTreeSet};

use tongbao::domain::channel::{Channel, Lapse, Unclosed};
use tongbao::domain::event::Refusal;
use tongbao::domain::id::{Account, AttemptNumber};
use tongbao::domain::ledger::{EntryKind, LedgerAccount};
use tongbao::domain::order::{Attempt, AttemptState, CloseStage, Order, Purpose, Reach, RefundStage, State};
use tongbao::domain::time::Instant;

use crate::gateways::{Gateways, Honesty, Payment};
use crate::process::{Call, Notice, Phase, Question};
use crate::sights::{self, Sight};
use crate::store::{Row, Store, Unit};
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
    assert!(row.order.version > order.version || row.order == *order, "what was acknowledged is what is stored");
}

/// What happened in this order's step is about to be counted, so it must have happened.
pub fn noted(store: &Store, order: &Order) {
    let row = store.row(order.id).expect("what is noted is stored");
    assert_eq!(row.order, *order, "what is noted is what is stored");
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

/// A request leaves for a gateway: its intent must be durable at this moment.
pub fn departs(store: &Store, call: &Call) {
    let row = store.row(call.number.order).expect("a request leaves only for a stored order");
    let attempt = row.order.attempt(call.number.ordinal).expect("a request leaves only for a stored attempt");
    let is_intended = match call.question {
        Question::Submit { send } => attempt.sends >= send,
        Question::Query => true,
        Question::Close => match attempt.state {
            AttemptState::Open => false,
            AttemptState::Closing | AttemptState::Dead | AttemptState::Captured => true,
        },
        Question::Refund { capture, round } | Question::QueryRefund { capture, round } => {
            row.order.captures.get(usize::from(capture)).is_some_and(|capture| match capture.purpose {
                Purpose::Payment | Purpose::Suspense { refund: RefundStage::Unconfirmed { .. }, .. } => false,
                Purpose::Suspense { round: stored, .. } => stored >= round,
            })
        }
    };
    assert!(is_intended, "{:?} leaves before its intent is durable", call.question);
}

/// A create made something that can be paid: an attempt that was declared dead cannot begin any more.
pub fn begun(store: &Store, gateways: &Gateways, number: AttemptNumber, now: Instant) {
    let is_dead = state_of(store, number) == Some(AttemptState::Dead);
    assert!(!(is_dead && gateways.may_capture(number, now)), "{number} was declared dead and then began to live");
}

/// A gateway did what it was asked: it gives back what it took once, and no more.
pub fn served(gateways: &Gateways, number: AttemptNumber) {
    let net_minor = gateways.payment(number).map_or(0, Payment::net_minor);
    assert!(net_minor >= 0, "{number} was paid out twice: {net_minor} is left of it");
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

/// A unit has become durable.
pub fn committed(world: &World, unit: &Unit, before: Option<&Row>) {
    let order = &unit.order;
    let row = world.store.row(order.id).expect("what was committed is stored");
    assert_eq!(u32::try_from(row.journal.len()), Ok(order.version), "one row of the journal for each version");
    if let Some(before) = before {
        follows(&before.order, order);
    }
    let payments = order.captures.iter().filter(|capture| capture.purpose == Purpose::Payment).count();
    let is_paid = order.state == State::Succeeded;
    assert_eq!(payments, usize::from(is_paid), "an order is paid once, exactly when it has succeeded");
    if !order.state.is_final() {
        assert!(row.next_due_at.is_some(), "what is not final has something due");
    }
    if order.state.is_final() {
        assert_eq!(row.shown, None, "nothing is shown of a final order");
    }
    for entry in &unit.entries {
        assert_eq!(entry.lines().iter().map(|(_, amount)| amount).sum::<i64>(), 0, "an entry sums to zero");
    }
    let taken = unit.entries.iter().filter(|entry| match entry.kind() {
        EntryKind::Payment | EntryKind::Suspense => true,
        EntryKind::SuspenseRefund => false,
    });
    assert_eq!(taken.count(), unit.captures.len(), "one entry for each capture");
    for index in &unit.captures {
        really_taken(world, order, *index);
    }
    let opened = before.map_or(0, |row| row.order.attempts.len());
    if order.attempts.len() > opened {
        let still_open = order.attempts[..opened].iter().filter(|attempt| attempt.is_open()).count();
        assert_eq!(still_open, 0, "an attempt is opened only after all others have ended");
    }
    deaths(world, order, before.map(|row| &row.order));
}

/// What is booked was taken by the gateway, that much of it and under that name.
fn really_taken(world: &World, order: &Order, index: u16) {
    let booked = &order.captures[usize::from(index)];
    let attempt = order.attempt(booked.ordinal).expect("a capture belongs to an attempt");
    let truth = world.gateways.payment(order.number(attempt)).and_then(|payment| payment.capture.as_ref());
    let is_true =
        truth.is_some_and(|taken| *taken.reference == *booked.reference && taken.amount_minor == booked.amount_minor);
    assert!(is_true, "{booked:?} is booked, and the gateway's truth is {truth:?}");
}

/// A payer was told to wait until an attempt that cannot be closed has ended: not longer than that takes.
pub fn refused(order: &Order, refusal: &Refusal, now: Instant) {
    let Refusal::AttemptOpen { retry_after_ms, until } = refusal else { return };
    sights::note(Sight::ToldToWait);
    let attempt = order.open_attempt().expect("what is said to be open is open");
    let lapses_at = attempt.expires_at.plus_ms(LAPSE_MAX_MS);
    assert!(*retry_after_ms > 0, "a payer is told to come back at once");
    assert!(until.is_none_or(|until| until <= lapses_at), "a payer is told of a later end than {attempt:?} has");
    let is_right = now.plus_ms(*retry_after_ms) <= lapses_at.max(now.plus_ms(SECOND));
    assert!(is_right, "a payer is told to wait {retry_after_ms} ms for {attempt:?}");
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
pub fn look(world: &World) {
    let now = world.now();
    let Some(process) = &world.process else { return };
    for (id, actor) in &process.actors {
        let Phase::Resting(turn) = &actor.phase else { continue };
        let order = turn.machine();
        if order.version > 0 {
            acknowledged(&world.store, order);
        }
        let is_armed = actor.armed.is_some_and(|armed| armed >= now);
        let is_busy = is_armed || !actor.mailbox.is_empty() || process.is_calling(*id);
        assert!(is_busy || order.may_leave(now) || order.version == 0, "{id} waits for nothing: {order:?}");
        for attempt in order.attempts.iter().filter(|attempt| attempt.is_open()) {
            ends_in_time(world, order, attempt);
        }
        let is_switching = order.state == State::Created && order.wish.is_some();
        let waits_ms = now.since_ms(actor.since.max(order.last_at));
        assert!(!is_switching || waits_ms < CHOICE_MAX_MS, "{id} waits in vain for its next channel: {order:?}");
    }
    for row in world.store.rows() {
        let id = row.order.id;
        let Some(due_at) = row.next_due_at else { continue };
        let will_be_found = process.cursor.is_none_or(|cursor| (due_at, id) > cursor);
        let is_kept = process.actors.contains_key(&id) || process.retries.contains(&id);
        assert!(will_be_found || is_kept, "{id} is due at {due_at:?} and nobody will look: {:?}", row.order);
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
    for row in world.store.rows() {
        let order = row.load();
        assert!(order.state.is_final() && order.may_leave(now), "{} has not come to its end: {order:?}", order.id);
        assert_eq!(row.next_due_at, None, "{} still has something due: {order:?}", order.id);
        for capture in &order.captures {
            let attempt = order.attempt(capture.ordinal).expect("a capture belongs to an attempt");
            booked.insert((attempt.account.clone(), capture.reference.to_string(), capture.amount_minor));
        }
        settled(world, row);
    }
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
    assert_eq!(
        net,
        paid_by.map_or(0, |attempt| attempt.payable_minor),
        "{} by its gateways' truth: {order:?}",
        order.id
    );
    let sequences: Vec<u32> = row.webhooks.iter().map(|(_, sequence)| *sequence).collect();
    assert!(sequences.iter().copied().eq(1..=order.sequence), "webhooks are numbered without a gap: {sequences:?}");
    let ends =
        row.webhooks.iter().filter(|(kind, _)| kind.name() == "order.succeeded" || kind.name() == "order.failed");
    assert_eq!(ends.count(), 1, "one end is told");
}

/// The ledger against the gateways.
fn books(world: &World) {
    let mut held: BTreeMap<Account, i64> = BTreeMap::new();
    for (_, payment) in world.gateways.payments() {
        *held.entry(payment.account.clone()).or_default() += payment.net_minor();
    }
    let mut sums: BTreeMap<LedgerAccount, i64> = BTreeMap::new();
    for (account, amount_minor) in world.store.entries.iter().flat_map(|entry| entry.lines()) {
        *sums.entry(account.clone()).or_default() += amount_minor;
    }
    assert_eq!(sums.values().sum::<i64>(), 0, "the books sum to zero");
    for (account, amount_minor) in held {
        let booked = |name: LedgerAccount| sums.get(&name).copied().unwrap_or_default();
        let holds = booked(LedgerAccount::Channel(account.clone()));
        assert_eq!(holds, amount_minor, "what {account} holds");
        assert_eq!(booked(LedgerAccount::Suspense(account)), 0, "all suspense was given back");
    }
}
