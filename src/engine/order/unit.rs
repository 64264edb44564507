//! What an order's step makes durable.

use std::sync::Arc;

use super::{Beside, Opened, Orders};
use crate::channels::Ask;
use crate::domain::event::{Event, Write, journal};
use crate::domain::machine::Step;
use crate::domain::order::{Order, Purpose};
use crate::domain::view;
use crate::engine::ask::Known;
use crate::engine::lane::WriteError;
use crate::engine::request::Original;
use crate::store::{AttemptRow, LastChannel, NamedPayer, NextActionChange, OrderUnit, OutboxRow, Unit};

/// # Errors
/// [`WriteError::Culprit`].
pub async fn of(
    orders: &Orders,
    step: &Step<Order>,
    events: &[Event],
    known: &Known,
    beside: &mut Beside,
) -> Result<Unit, WriteError> {
    let order = &step.after;
    let mut unit = OrderUnit {
        id: order.id,
        decided_at: events.last().map_or(order.last_at, |event| event.at),
        expected_version: order.version - 1,
        order: order.clone(),
        journal: journal(events).map_err(|error| WriteError::Culprit(format!("events cannot be written: {error}")))?,
        request: beside.request.take(),
        next_action: NextActionChange::Keep,
        payer: named(step, beside),
        attempts: Vec::new(),
        captures: Vec::new(),
        entries: Vec::new(),
        webhooks: render(orders, step, known).await?,
        paid_by: Vec::new(),
        claim: beside.claim.take(),
    };
    for write in &step.writes {
        match write {
            Write::OpenAttempt { ordinal } => {
                let row = freeze(orders, order, *ordinal, beside);
                unit.attempts.push(row.ok_or_else(|| WriteError::Culprit("an attempt cannot be frozen".into()))?);
            }
            Write::Capture { index } => {
                unit.captures.push(*index);
                unit.paid_by.extend(paid_by(orders, order, *index, known));
            }
            Write::Entry(entry) => unit.entries.push(entry.clone()),
            // Rendered already.
            Write::Webhook { .. } => {}
            Write::StoreNextAction => {
                if let Some(action) = &beside.next_action {
                    unit.next_action = NextActionChange::Store(action.as_ref().into());
                }
            }
            Write::WipeNextAction => {
                unit.next_action = NextActionChange::Wipe;
                beside.next_action = None;
            }
        }
    }
    beside.webhooks.clone_from(&unit.webhooks);
    Ok(Unit::Order(Box::new(unit)))
}

fn freeze(orders: &Orders, order: &Order, ordinal: u8, beside: &mut Beside) -> Option<AttemptRow> {
    let attempt = order.attempt(ordinal)?;
    let details = beside.details.as_ref()?;
    let ask = Ask {
        number: order.number(attempt),
        method: attempt.method,
        payable_minor: attempt.payable_minor,
        currency: order.currency,
        description: &details.description,
        notify_url: orders.accounts.notify_url(&attempt.account),
        return_url: details.return_url.as_deref(),
        payer: &details.payer,
        opened_at: attempt.opened_at,
        expires_at: attempt.expires_at,
    };
    let frozen = orders.accounts.freeze(&attempt.account, &ask)?;
    let original = Original { frozen: frozen.clone(), payer: details.payer.clone() };
    beside.opened = Some(Opened { ordinal, original: Arc::new(original) });
    Some(AttemptRow { ordinal, frozen })
}

/// What the payer is offered first from now on, if this capture is what the order was paid by.
fn paid_by(orders: &Orders, order: &Order, capture: u16, known: &Known) -> Vec<LastChannel> {
    let capture = order.captures.get(usize::from(capture)).filter(|capture| capture.purpose == Purpose::Payment);
    let now = orders.time.now();
    let paid = capture.and_then(|capture| Some((order.attempt(capture.ordinal)?.channel(), capture.at.min(now))));
    let Some((channel, at)) = paid else { return Vec::new() };
    known.payer.iter().map(|payer| LastChannel { payer: *payer, channel, at }).collect()
}

/// Who pays by the attempt that this step opens; else who was named to pay by the next one to be opened.
fn named(step: &Step<Order>, beside: &mut Beside) -> Option<NamedPayer> {
    let opened = step.writes.iter().find_map(|write| match write {
        Write::OpenAttempt { ordinal } => Some(*ordinal),
        Write::Capture { .. }
        | Write::Entry(_)
        | Write::Webhook { .. }
        | Write::StoreNextAction
        | Write::WipeNextAction => None,
    });
    let named = beside.payer.take();
    let (ordinal, payer) = match opened {
        Some(ordinal) => (ordinal, named.or_else(|| beside.details.as_ref()?.named.clone())?),
        None => (u8::try_from(step.after.attempts.len()).ok()?, named?),
    };
    Some(NamedPayer { ordinal, payer: payer.as_ref().into() })
}

/// The webhooks of this step as they will be sent.
async fn render(orders: &Orders, step: &Step<Order>, known: &Known) -> Result<Vec<OutboxRow>, WriteError> {
    let raised: Vec<_> = step
        .writes
        .iter()
        .filter_map(|write| match write {
            Write::Webhook { kind, sequence } => Some((*kind, *sequence)),
            Write::OpenAttempt { .. }
            | Write::Capture { .. }
            | Write::Entry(_)
            | Write::StoreNextAction
            | Write::WipeNextAction => None,
        })
        .collect();
    if raised.is_empty() {
        return Ok(Vec::new());
    }
    let order = &step.after;
    let Some(addressee) = &known.addressee else {
        tracing::error!(order = %order.id, "a webhook has no address");
        return Ok(Vec::new());
    };
    let outlook = orders.advice.outlook_after(order, &step.notes, known.payer.clone()).await;
    let beside = view::Beside {
        merchant_order_id: &addressee.merchant_order_id,
        metadata: &*addressee.metadata,
        links: &orders.links,
        outlook: &outlook,
    };
    let row = |(kind, sequence)| {
        let at = order.last_at;
        let body = view::webhook_body(kind, sequence, at, order, &beside)
            .map_err(|error| WriteError::Culprit(format!("a webhook cannot be rendered: {error}")))?;
        let (platform, url, trace) = (order.platform, addressee.url.clone(), known.trace.0);
        Ok(OutboxRow { kind, sequence, at, platform, url, trace, body: body.into() })
    };
    raised.into_iter().map(row).collect()
}
