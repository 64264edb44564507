//! Balance transactions: every charge and refund, and every refund that failed after it looked done, in the order in
//! which they moved money.

use std::sync::Arc;

use serde_json::{Value, json};

use super::failure::Failure;
use super::form::Params;
use super::listing::Page;
use super::objects::{self, Intent, Movement, balance_transaction, related};
use super::{Done, intents};
use crate::gateway::Gateway;
use crate::gateway::accounts::{AccountId, Channel};
use crate::gateway::books::{BookedRefund, Capture, Moment};

/// Whether the list shows what its lines come from, or only how that is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Named,
    Expanded,
}

impl Source {
    fn read(params: &mut Params, path: &str) -> Result<Self, Failure> {
        Ok(if params.expand(&[path])?.is_empty() { Source::Named } else { Source::Expanded })
    }
}

/// Some of the types that Stripe has; here money only moves by the first three.
const TYPES: [&str; 9] = [
    "charge",
    "refund",
    "refund_failure",
    "payment",
    "payment_refund",
    "adjustment",
    "payout",
    "stripe_fee",
    "transfer",
];

pub fn list(gateway: &Gateway, account: AccountId, mut params: Params, now: i64) -> Result<Done, Failure> {
    let page = Page::read(&mut params)?;
    let span = params.span("created")?;
    let kind = params.one_of("type", &TYPES)?;
    let source = Source::read(&mut params, "data.source")?;
    params.finish()?;
    let mut lines: Vec<(i64, Value)> = Vec::new();
    for line in gateway.books.captured_between(account, span.from, span.until) {
        let Some(view) = gateway.books.view(account, &line.number, now) else { continue };
        let Some(intent) = Intent::of(&view) else { continue };
        lines.push((line.capture.at, of_charge(gateway, &intent, &line.capture, source)));
    }
    // What has not moved yet is not on the balance.
    let until = span.until.min(now.saturating_add(1));
    for (moment, movement) in [(Moment::Refunded, Movement::Refund), (Moment::Returned, Movement::RefundFailure)] {
        for line in gateway.books.refunds_between(account, moment, span.from, until) {
            let intent_id = line.payment_reference.as_deref().unwrap_or_default();
            let moved = Moved { movement, at: line.at, now };
            lines.push((line.at, of_refund(&line.refund_number, intent_id, &line.refund, moved, source)));
        }
    }
    lines.sort_by_key(|(at, _)| *at);
    let wanted = |line: &Value| kind.as_deref().is_none_or(|kind| line["type"] == kind);
    let objects = lines.into_iter().map(|(_, line)| line).filter(wanted).collect();
    Ok(Done::listing(page.of("/v1/balance_transactions", objects)?))
}

/// One of them by its id, which is that of what moved the money but for the prefix.
pub fn retrieve(
    gateway: &Gateway,
    account: AccountId,
    id: &str,
    mut params: Params,
    now: i64,
) -> Result<Done, Failure> {
    let source = Source::read(&mut params, "source")?;
    params.finish()?;
    let charged = intents::find(gateway, account, &related(id, "pi"), now).ok();
    let refunded = || {
        let (refund_number, movement) = match objects::failed_refund(id) {
            Some(refund_number) => (refund_number, Movement::RefundFailure),
            None => (related(id, "re"), Movement::Refund),
        };
        let refund = gateway.books.refund_of(account, &refund_number)?;
        let at = match movement {
            Movement::Refund | Movement::Charge(_) => refund.fate.refunded_at(),
            Movement::RefundFailure => refund.fate.returned_at(),
        };
        let moved = Moved { movement, at: at.filter(|at| *at <= now)?, now };
        let intent_id = gateway.books.view(account, &refund.number, now)?.reference?;
        Some((Arc::clone(&refund.number), of_refund(&refund_number, &intent_id, &refund, moved, source)))
    };
    charged
        .and_then(|(number, intent)| Some((number, of_charge(gateway, &intent, intent.capture.as_ref()?, source))))
        .or_else(refunded)
        .filter(|(_, line)| line["id"] == id)
        .map(|(number, line)| Done::of(&number, line))
        .ok_or_else(|| Failure::no_such("balance_transaction", "id", id))
}

/// How and when the money of a refund moved, for one who looks now.
#[derive(Clone, Copy)]
struct Moved {
    movement: Movement,
    at: i64,
    now: i64,
}

fn of_charge(gateway: &Gateway, intent: &Intent, capture: &Capture, source: Source) -> Value {
    let id = &intent.data.id;
    let shown = match source {
        Source::Named => json!(related(id, "ch")),
        Source::Expanded => intent.charge().unwrap_or_default(),
    };
    let movement = Movement::Charge(gateway.costs.of(Channel::Stripe));
    balance_transaction(movement, id, capture.amount_minor, intent.currency, capture.at, shown)
}

fn of_refund(refund_number: &str, intent_id: &str, refund: &BookedRefund, moved: Moved, source: Source) -> Value {
    let shown = match source {
        Source::Named => json!(refund_number),
        Source::Expanded => objects::refund(refund_number, intent_id, refund, moved.now),
    };
    balance_transaction(moved.movement, refund_number, refund.amount_minor, refund.currency, moved.at, shown)
}
