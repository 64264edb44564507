//! What an order's step makes durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Beside, Memory, Opened, Orders, refunds};
use crate::channels::{Ask, Payer};
use crate::domain::event::{Event, RowChange, Write};
use crate::domain::journal::Title;
use crate::domain::machine::Step;
use crate::domain::order::{Order, Purpose};
use crate::domain::view;
use crate::engine::ask::Known;
use crate::engine::host::message_rows;
use crate::engine::lane::WriteError;
use crate::engine::supervisor::Original;
use crate::store::{
    AttemptRow, CaptureRow, Head, LastChannel, NamedPayer, NextActionChange, OrderRow, OutboxRow, Row, StepUnit,
    StoreError, UniqueName,
};

/// # Errors
/// [`WriteError::Culprit`].
pub async fn of(
    orders: &Orders,
    step: &Step<Order>,
    events: &[Event],
    memory: &Memory,
    beside: &mut Beside,
) -> Result<StepUnit, WriteError> {
    let order = &step.after;
    let decided_at = events.last().map_or(order.last_at, |event| event.at);
    let title = Title::of::<Order>(order.id.as_u128(), order.version, order.last_at);
    let journal = title.write(orders.salts.salt(), events);
    let journal = journal.map_err(|error| culprit(&format!("events cannot be written: {error}")))?;
    let (mut next_action, mut entries, mut rows) = (NextActionChange::Keep, Vec::new(), Vec::new());
    let request = beside.request.take();
    let name = request.as_ref().map(|request| UniqueName::of(order, request));
    rows.extend(request.map(|request| Row::Order(Box::new(OrderRow::of(order, *request)))));
    rows.extend(named(step, beside).map(Row::Payer));
    for write in &step.writes {
        match write {
            Write::OpenAttempt { ordinal } => {
                let row = freeze(orders, order, *ordinal, beside);
                rows.push(Row::Attempt(row.ok_or_else(|| culprit("an attempt cannot be frozen"))?));
            }
            Write::Capture { index } => {
                let row = CaptureRow::of(order, *index);
                rows.push(Row::Capture(row.ok_or_else(|| culprit("a capture is not the order's"))?));
                rows.extend(paid_by(orders, order, *index, &memory.known).into_iter().map(Row::PaidBy));
            }
            Write::Entry(entry) => entries.push(entry.clone()),
            // Below, once for each.
            Write::Refund { .. } => {}
            // Rendered below.
            Write::Webhook { .. } => {}
            Write::StoreNextAction => {
                if let Some(action) = &beside.next_action {
                    next_action = NextActionChange::Store(action.as_ref().into());
                }
            }
            Write::WipeNextAction => {
                next_action = NextActionChange::Wipe;
                beside.next_action = None;
            }
            Write::RefundsStuck => rows.push(Row::RefundsStuck { since: order.last_at }),
            Write::RefundsMove => rows.push(Row::RefundsMove),
        }
    }
    for (index, change) in changed_refunds(step) {
        rows.push(refunds::row(order, index, change, beside)?);
    }
    let head = Head::of(order, next_action, decided_at).map_err(|error: StoreError| culprit(&error.to_string()))?;
    let webhooks = render(orders, step, memory, beside).await?;
    beside.webhooks.clone_from(&webhooks);
    Ok(StepUnit {
        stream: order.id.into(),
        expected_version: order.version - 1,
        version: order.version,
        at: order.last_at,
        decided_at,
        head,
        journal,
        name,
        rows,
        entries,
        webhooks,
        messages: message_rows(step, order.last_at)?,
        taken: beside.taken.take(),
        claim: beside.claim.take(),
    })
}

/// The refunds whose rows a step makes or changes, each once.
fn changed_refunds(step: &Step<Order>) -> BTreeMap<u16, RowChange> {
    let mut changed = BTreeMap::new();
    for write in &step.writes {
        match write {
            Write::Refund { index, change } => {
                changed.entry(*index).or_insert(*change);
            }
            Write::OpenAttempt { .. }
            | Write::Capture { .. }
            | Write::Entry(_)
            | Write::Webhook { .. }
            | Write::StoreNextAction
            | Write::WipeNextAction
            | Write::RefundsStuck
            | Write::RefundsMove => {}
        }
    }
    changed
}

fn culprit(why: &str) -> WriteError {
    WriteError::Culprit(why.to_owned())
}

fn freeze(orders: &Orders, order: &Order, ordinal: u8, beside: &mut Beside) -> Option<AttemptRow> {
    let attempt = order.attempt(ordinal)?;
    let details = beside.details.as_ref()?;
    let payer = Payer::of(details.payer.as_deref());
    let ask = Ask {
        number: order.number(attempt),
        method: attempt.method,
        payable_minor: attempt.payable_minor,
        currency: order.currency,
        description: &details.description,
        notify_url: orders.accounts.notify_url(&attempt.account),
        return_url: details.return_url.as_deref(),
        payer: &payer,
        opened_at: attempt.opened_at,
        expires_at: attempt.expires_at,
    };
    let frozen = orders.accounts.freeze(&attempt.account, &ask)?;
    let original = Original { frozen: frozen.clone(), payer };
    beside.opened = Some(Opened { ordinal, original: Arc::new(original) });
    AttemptRow::of(order, ordinal, frozen)
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
        | Write::Refund { .. }
        | Write::Webhook { .. }
        | Write::StoreNextAction
        | Write::WipeNextAction
        | Write::RefundsStuck
        | Write::RefundsMove => None,
    });
    let named = beside.payer.take();
    let (ordinal, payer) = match opened {
        Some(ordinal) => (ordinal, named.or_else(|| beside.details.as_ref()?.to_be_kept())?),
        None => (u8::try_from(step.after.attempts.len()).ok()?, named?),
    };
    Some(NamedPayer { ordinal, payer })
}

/// The webhooks of this step as they will be sent.
async fn render(
    orders: &Orders,
    step: &Step<Order>,
    Memory { known, refunds: kept, .. }: &Memory,
    beside: &Beside,
) -> Result<Vec<OutboxRow>, WriteError> {
    let raised: Vec<_> = step
        .writes
        .iter()
        .filter_map(|write| match write {
            Write::Webhook { kind, sequence, refund } => Some((*kind, *sequence, *refund)),
            Write::OpenAttempt { .. }
            | Write::Capture { .. }
            | Write::Entry(_)
            | Write::Refund { .. }
            | Write::StoreNextAction
            | Write::WipeNextAction
            | Write::RefundsStuck
            | Write::RefundsMove => None,
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
    let at = order.last_at;
    let unrendered = |error| WriteError::Culprit(format!("a webhook cannot be rendered: {error}"));
    let mut rows = Vec::with_capacity(raised.len());
    for (kind, sequence, refund) in raised {
        let refund = refund.and_then(|index| order.refunds.get(usize::from(index)));
        let body = match refund {
            Some(refund) => {
                let asked = refunds::asked(order, refund, kept, beside);
                let shown = refunds::shown_after(orders, order, refund, asked).await?;
                view::refund_webhook_body(kind, sequence, at, shown).map_err(unrendered)?
            }
            None => {
                let outlook = orders.advice.outlook_after(order, &step.notes, known.payer.clone()).await;
                let beside = view::Beside {
                    merchant_order_id: &addressee.merchant_order_id,
                    metadata: &*addressee.metadata,
                    splits: &addressee.splits,
                    links: &orders.links,
                    outlook: &outlook,
                };
                view::webhook_body(kind, sequence, at, order, &beside).map_err(unrendered)?
            }
        };
        let (platform, url, trace) = (order.platform, addressee.url.clone(), known.trace.0);
        rows.push(OutboxRow { kind, sequence, at, platform, url, trace, body: body.into() });
    }
    Ok(rows)
}
