//! Balance transactions: every charge and refund, in the order in which they moved money.

use serde_json::{Value, json};

use super::Done;
use super::failure::Failure;
use super::form::Params;
use super::listing::Page;
use super::objects::{self, Intent, Movement, balance_transaction, related};
use crate::gateway::Gateway;
use crate::gateway::accounts::AccountId;

/// Whether the list shows what its lines come from, or only how that is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Named,
    Expanded,
}

/// Some of the types that Stripe has; here money only moves by the first two.
const TYPES: [&str; 8] =
    ["charge", "refund", "payment", "payment_refund", "adjustment", "payout", "stripe_fee", "transfer"];

pub fn list(gateway: &Gateway, account: AccountId, mut params: Params, now: i64) -> Result<Done, Failure> {
    let page = Page::read(&mut params)?;
    let span = params.span("created")?;
    let kind = params.one_of("type", &TYPES)?;
    let source = if params.expand(&["data.source"])?.is_empty() { Source::Named } else { Source::Expanded };
    params.finish()?;
    let mut lines: Vec<(i64, Value)> = Vec::new();
    for line in gateway.books.captured_between(account, span.from, span.until) {
        let Some(view) = gateway.books.view(account, &line.number, now) else { continue };
        let Some(intent) = Intent::of(&view) else { continue };
        let shown = match source {
            Source::Named => json!(related(&intent.data.id, "ch")),
            Source::Expanded => intent.charge().unwrap_or_default(),
        };
        let (id, capture) = (&intent.data.id, &line.capture);
        let amount = capture.amount_minor;
        lines.push((capture.at, balance_transaction(Movement::Charge, id, amount, line.currency, capture.at, shown)));
    }
    for line in gateway.books.refunded_between(account, span.from, span.until) {
        let (id, refund) = (&line.refund_number, &line.refund);
        let intent_id = line.payment_reference.as_deref().unwrap_or_default();
        let shown = match source {
            Source::Named => json!(&**id),
            Source::Expanded => objects::refund(id, intent_id, refund),
        };
        lines.push((
            refund.at,
            balance_transaction(Movement::Refund, id, refund.amount_minor, refund.currency, refund.at, shown),
        ));
    }
    lines.sort_by_key(|(at, _)| *at);
    let wanted = |line: &Value| kind.as_deref().is_none_or(|kind| line["type"] == kind);
    let objects = lines.into_iter().map(|(_, line)| line).filter(wanted).collect();
    Ok(Done::listing(page.of("/v1/balance_transactions", objects)?))
}
