//! One order against its own journal and its own entries. Pure.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::domain::event::{Event, Fact, Write};
use crate::domain::ledger::{Entry, LedgerAccount};
use crate::domain::order::{Attempt, Capture, FeeBearer, Order, Purpose, RefundStage, State};
use crate::domain::step::{create, decide};
use crate::domain::time::Instant;
use crate::store::{JournalRow, StoredEntry};

/// What the store holds of one order, all of the same version.
pub struct Evidence {
    pub order: Order,
    pub journal: Vec<JournalRow>,
    pub entries: Vec<StoredEntry>,
}

/// All that is wrong with an order.
pub fn examine(evidence: &Evidence, now: Instant) -> Vec<String> {
    let Evidence { order, journal, entries } = evidence;
    let mut faults = Vec::new();
    // A journal that somebody changed may break what the order machine asserts; an audit must survive that.
    let replayed = catch_unwind(AssertUnwindSafe(|| replay(journal)));
    match replayed.unwrap_or_else(|_| Err("its journal breaks an invariant when it is replayed".to_owned())) {
        Ok(replayed) => {
            let fields = differing_fields(&replayed.order, order);
            if !fields.is_empty() {
                faults.push(format!("its journal gives another order than is stored: {}", fields.join(", ")));
            }
            if replayed.entries != *entries {
                faults.push("its journal gives other entries than are stored".to_owned());
            }
        }
        Err(why) => faults.push(why),
    }
    if entries.iter().any(|entry| sum(entry) != 0) {
        faults.push("an entry does not sum to zero".to_owned());
    }
    let (booked, expected) = (booked(entries), expected(order));
    if booked != expected {
        faults.push(format!("its captures make the balances {expected:?}, its entries {booked:?}"));
    }
    faults.extend(payments(order));
    if !order.state.is_final() && order.next_due_at(now).is_none() {
        faults.push(format!("it is {} and nothing is due", order.state.name()));
    }
    faults.into_iter().map(|fault| format!("{}: {fault}", order.id)).collect()
}

struct Replayed {
    order: Order,
    entries: Vec<StoredEntry>,
}

fn replay(journal: &[JournalRow]) -> Result<Replayed, String> {
    let mut order: Option<Order> = None;
    let mut entries = Vec::new();
    for (row, version) in journal.iter().zip(1u32..) {
        if row.version != version {
            return Err(format!("version {version} of its journal is missing"));
        }
        let record = row.record::<Order>();
        let events =
            record.map_err(|error| format!("version {version} of its journal cannot be read: {error}"))?.events;
        let before = match order.take() {
            Some(order) => order,
            None => begin(&events).ok_or("its journal does not begin with its creation")?,
        };
        let step = decide(&before, &events)
            .map_err(|refusal| format!("version {version} of its journal is refused: {refusal:?}"))?;
        if step.after.version != version {
            return Err(format!("version {version} of its journal changes nothing"));
        }
        for write in step.writes {
            if let Write::Entry(entry) = write {
                entries.push(stored(&entry));
            }
        }
        order = Some(step.after);
    }
    let order = order.ok_or("it has no journal")?;
    Ok(Replayed { order, entries })
}

fn begin(events: &[Event]) -> Option<Order> {
    let first = events.first()?;
    let Fact::Created(facts) = &first.fact else { return None };
    Some(create(facts, first.at))
}

fn stored(entry: &Entry) -> StoredEntry {
    StoredEntry {
        kind: entry.kind().name().to_owned(),
        currency: entry.currency().code().to_owned(),
        lines: entry.lines().iter().map(|(account, amount)| (account.to_string(), *amount)).collect(),
    }
}

/// The names of the fields in which two orders differ.
fn differing_fields(one: &Order, other: &Order) -> Vec<String> {
    if one == other {
        return Vec::new();
    }
    let fields = |order: &Order| match serde_json::to_value(order) {
        Ok(serde_json::Value::Object(fields)) => fields,
        Ok(_) | Err(_) => serde_json::Map::new(),
    };
    let others = fields(other);
    fields(one).into_iter().filter(|(name, value)| others.get(name) != Some(value)).map(|(name, _)| name).collect()
}

fn sum(entry: &StoredEntry) -> i128 {
    entry.lines.iter().map(|(_, amount)| i128::from(*amount)).sum()
}

type Balances = BTreeMap<String, i128>;

fn booked(entries: &[StoredEntry]) -> Balances {
    let mut balances = Balances::new();
    for (account, amount) in entries.iter().flat_map(|entry| &entry.lines) {
        *balances.entry(account.clone()).or_default() += i128::from(*amount);
    }
    balances.retain(|_, amount| *amount != 0);
    balances
}

/// The balances that an order's captures must have left, worked out without its entries.
fn expected(order: &Order) -> Balances {
    let mut balances = Balances::new();
    for capture in &order.captures {
        let Some(attempt) = order.attempt(capture.ordinal) else { continue };
        for (account, amount) in expected_lines(order, attempt, capture) {
            *balances.entry(account.to_string()).or_default() += i128::from(amount);
        }
    }
    balances.retain(|_, amount| *amount != 0);
    balances
}

fn expected_lines(order: &Order, attempt: &Attempt, capture: &Capture) -> Vec<(LedgerAccount, i64)> {
    let held = LedgerAccount::Channel(attempt.account.clone());
    match capture.purpose {
        Purpose::Payment => {
            let mut lines = vec![
                (held, capture.amount_minor),
                (LedgerAccount::Platform(order.platform), -order.amount_minor),
                (LedgerAccount::Fees(attempt.channel()), -attempt.fee_minor),
            ];
            match order.fee_bearer {
                FeeBearer::Payer => {}
                FeeBearer::Platform => lines.push((LedgerAccount::FeesDue(order.platform), attempt.fee_minor)),
            }
            lines
        }
        Purpose::Suspense { refund: RefundStage::Done { .. }, .. } => Vec::new(),
        Purpose::Suspense {
            refund: RefundStage::Unconfirmed { .. } | RefundStage::Owed { .. } | RefundStage::Doubtful { .. },
            ..
        } => {
            let owed = LedgerAccount::Suspense(attempt.account.clone());
            vec![(held, capture.amount_minor), (owed, -capture.amount_minor)]
        }
    }
}

/// What an order was paid, against its state.
fn payments(order: &Order) -> Option<String> {
    let mut payments = order.captures.iter().filter(|capture| capture.purpose == Purpose::Payment);
    let (payment, further) = (payments.next(), payments.next());
    let payable = payment.and_then(|payment| order.attempt(payment.ordinal)).map(|attempt| attempt.payable_minor);
    let paid = payment.map(|payment| payment.amount_minor);
    let net = order.net_captured_minor();
    match order.state {
        State::Succeeded if further.is_some() => Some("it was paid more than once".to_owned()),
        State::Succeeded if paid.is_none() => Some("it succeeded without a payment".to_owned()),
        State::Succeeded if paid != payable => Some(format!("it was paid by {paid:?} instead of {payable:?}")),
        State::Succeeded if order.is_quiet() && paid != Some(net) => {
            Some(format!("it is quiet and its net capture is {net} instead of {paid:?}"))
        }
        State::Failed if order.is_quiet() && net != 0 => {
            Some(format!("it failed, is quiet, and its net capture is {net} instead of nothing"))
        }
        State::Succeeded => None,
        State::Created | State::Validating | State::Submitted | State::Failed => {
            paid.map(|_| format!("it was paid and is {}", order.state.name()))
        }
    }
}
