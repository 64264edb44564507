//! One order against its own journal and its own entries. Pure.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::domain::bank::BankName;
use crate::domain::event::{Event, Fact, Write};
use crate::domain::ledger::{Entry, Fee, LedgerAccount, Line};
use crate::domain::merchant::Merchant;
use crate::domain::order::{Order, Purpose, State};
use crate::domain::refund::{Cause, PaidFrom, Refund, Stage};
use crate::domain::step::{create, decide};
use crate::domain::time::Instant;
use crate::store::{JournalRow, RefundName, RefundRow, StoredEntry, StoredLine, StoredRefund};

/// What the store holds of one order, all of the same version.
pub struct Evidence {
    pub order: Order,
    pub journal: Vec<JournalRow>,
    pub entries: Vec<StoredEntry>,
    /// Rows of refunds that its platform asked for.
    pub refunds: Vec<StoredRefund>,
    /// Since when operators see it for a refund that is stuck.
    pub stuck_since: Option<Instant>,
}

/// All that is wrong with an order.
pub fn examine(evidence: &Evidence, now: Instant) -> Vec<String> {
    let Evidence { order, journal, entries, refunds, stuck_since } = evidence;
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
    faults.extend(refund_rows(order, refunds));
    match (stuck_since, order.refunds.iter().any(Refund::is_stuck)) {
        (None, true) => faults.push("a refund is stuck, and no operator sees it".to_owned()),
        (Some(_), false) => faults.push("operators see a refund as stuck, and none is".to_owned()),
        (None, false) | (Some(_), true) => {}
    }
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

/// An entry as it is stored.
pub fn stored(entry: &Entry) -> StoredEntry {
    StoredEntry {
        kind: entry.kind().name().to_owned(),
        currency: entry.currency().code().to_owned(),
        effective_at: entry.effective().at,
        bill_day: entry.effective().bill_day.as_number(),
        refund: entry.refund().map(|ordinal| i64::from(u8::from(ordinal))),
        lines: entry.lines().iter().map(stored_line).collect(),
    }
}

fn stored_line(line: &Line) -> StoredLine {
    let counterparty = line.transaction.and_then(|transaction| transaction.counterparty);
    StoredLine {
        account: line.account.to_string(),
        amount_minor: line.amount_minor,
        transaction_kind: line.transaction.map(|transaction| transaction.kind.name().to_owned()),
        counterparty: counterparty.map(|platform| i64::from(platform.0)),
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
    entry.lines.iter().map(|line| i128::from(line.amount_minor)).sum()
}

type Balances = BTreeMap<String, i128>;

fn booked(entries: &[StoredEntry]) -> Balances {
    let mut balances = Balances::new();
    for line in entries.iter().flat_map(|entry| &entry.lines) {
        *balances.entry(line.account.clone()).or_default() += i128::from(line.amount_minor);
    }
    balances.retain(|_, amount| *amount != 0);
    balances
}

/// The balances that an order's captures and refunds must have left, worked out from what is left of each party and
/// where each refund stands, without its entries.
fn expected(order: &Order) -> Balances {
    let mut balances = Balances::new();
    let mut add = |account: LedgerAccount, amount_minor: i64| {
        *balances.entry(account.to_string()).or_default() += i128::from(amount_minor);
    };
    for capture in &order.captures {
        let Some(attempt) = order.attempt(capture.ordinal) else { continue };
        match (attempt.merchant, capture.purpose) {
            (Merchant::Operator, Purpose::Payment) => {
                add(LedgerAccount::Channel(attempt.account.clone()), capture.amount_minor);
                let Some(left) = order.left() else { continue };
                let parties = std::iter::once(order.platform).chain(order.splits.iter().map(|split| split.to));
                for (party, part) in parties.zip(left.parts) {
                    add(LedgerAccount::Platform(party), -part);
                }
                let fees = LedgerAccount::Fees(attempt.channel());
                match left.fee {
                    Fee::OfPayer(fee) => add(fees, -fee),
                    Fee::OfPlatform(fee) => {
                        add(fees, -fee);
                        add(LedgerAccount::FeesDue(order.platform), fee);
                    }
                }
            }
            (Merchant::Operator, Purpose::Suspense(_)) => {
                add(LedgerAccount::Channel(attempt.account.clone()), capture.amount_minor);
                add(LedgerAccount::Suspense(attempt.account.clone()), -capture.amount_minor);
            }
            (Merchant::Seller, Purpose::Payment) => {
                let Some(left) = order.left() else { continue };
                for (split, part) in order.splits.iter().zip(left.parts.iter().skip(1)) {
                    add(LedgerAccount::Position(order.platform), *part);
                    add(LedgerAccount::Position(split.to), -part);
                }
                let (Fee::OfPayer(fee) | Fee::OfPlatform(fee)) = left.fee;
                add(LedgerAccount::Fees(attempt.channel()), -fee);
                add(LedgerAccount::FeesDue(order.platform), fee);
            }
            (Merchant::Seller, Purpose::Suspense(_)) => {}
        }
    }
    for refund in &order.refunds {
        let Some(attempt) = order.attempt_of(refund).filter(|attempt| attempt.merchant.is_operator()) else { continue };
        let (suspense, amount_minor) = (LedgerAccount::Suspense(attempt.account.clone()), refund.amount_minor);
        let held_in = match refund.stage {
            Stage::Unconfirmed { .. } | Stage::Failed { .. } | Stage::Returned { .. } => None,
            Stage::Waiting { .. } | Stage::Owed { .. } | Stage::Doubtful { .. } => {
                Some(LedgerAccount::RefundPending(attempt.account.clone()))
            }
            Stage::Succeeded { paid_from: PaidFrom::Channel, .. } => {
                Some(LedgerAccount::Channel(attempt.account.clone()))
            }
            Stage::Succeeded { paid_from: PaidFrom::Bank, .. } => Some(LedgerAccount::Bank(BankName::main())),
        };
        // A platform's parts are taken from what is left of each party already.
        let Some(held_in) = held_in else { continue };
        add(held_in, -amount_minor);
        match refund.cause {
            Cause::Asked(_) => {}
            Cause::Suspense => add(suspense, amount_minor),
        }
    }
    balances.retain(|_, amount| *amount != 0);
    balances
}

/// The rows of refunds against the order that says how far they have got.
fn refund_rows(order: &Order, rows: &[StoredRefund]) -> Vec<String> {
    let mut faults = Vec::new();
    for (refund, asked) in order.asked_refunds() {
        let Some(row) = rows.iter().map(|stored| &stored.row).find(|row| row.ordinal == asked.ordinal) else {
            faults.push(format!("refund {}: its row is gone", u8::from(asked.ordinal)));
            continue;
        };
        let name = RefundName {
            merchant_refund_id: row.merchant_refund_id.clone(),
            reason: row.reason.clone(),
            refundable_minor: row.refundable_minor,
        };
        if RefundRow::of(order, refund, name, row.created_at).as_ref() != Some(row) {
            faults.push(format!("refund {}: its row says otherwise than the order", u8::from(asked.ordinal)));
        }
    }
    if rows.len() > order.asked_refunds().count() {
        faults.push("there are rows of refunds that it has not".to_owned());
    }
    faults
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
        State::Succeeded if order.is_quiet() && paid != Some(net + by_channel(order) - stranded(order)) => {
            Some(format!("it is quiet and its net capture is {net} instead of {paid:?} less what was refunded"))
        }
        State::Failed if order.is_quiet() && net != stranded(order) => {
            Some(format!("it failed, is quiet, and its net capture is {net} instead of nothing"))
        }
        State::Succeeded => None,
        State::Created | State::Validating | State::Submitted | State::Failed => {
            paid.map(|_| format!("it was paid and is {}", order.state.name()))
        }
    }
}

/// What channels have given back of the payment.
fn by_channel(order: &Order) -> i64 {
    let given = order.asked_refunds().filter(|(refund, _)| refund.stage.is_paid_by_channel());
    given.map(|(refund, _)| refund.amount_minor).sum()
}

/// Suspense that is at the channel for good: it came back from its payer, or a person paid it from elsewhere.
fn stranded(order: &Order) -> i64 {
    let stranded = order.refunds.iter().filter(|refund| refund.is_of_suspense() && !refund.stage.is_paid_by_channel());
    stranded.map(|refund| refund.amount_minor).sum()
}
