//! A group as rows, table by table, in the order of the keys that they are unique by.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use sqlx::types::Uuid;

use super::{
    Claim, Delivery, GivenAnswer, Group, InboxReason, InboxRow, NextActionChange, OrderUnit, StoreError, Unit,
};
use crate::domain::id::OrderId;
use crate::domain::order::Order;
use crate::domain::time::Instant;

/// Stands before every attempt: who the order was created with.
const CREATED_WITH: i64 = -1;

/// The key of an order's rows.
pub fn key(id: OrderId) -> Uuid {
    Uuid::from_u128(id.as_u128())
}

#[derive(Debug, Default)]
pub struct Batch {
    pub epoch: i64,
    pub number: i64,
    /// By the owner's clock.
    pub at: i64,
    pub created: Vec<CreatedRow>,
    pub moved: Vec<MovedRow>,
    pub payers: Vec<PayerRow>,
    pub journal: Vec<JournalLine>,
    pub attempts: Vec<AttemptLine>,
    pub captures: Vec<CaptureRow>,
    pub entries: Vec<EntryRow>,
    pub outbox: Vec<OutboxLine>,
    pub inbox: Vec<InboxLine>,
    pub inbox_done: Vec<i64>,
    pub answers: Vec<AnswerLine>,
    pub paid_by: Vec<PaidByLine>,
    pub delivered: Vec<(Uuid, i64)>,
    pub undelivered: Vec<UndeliveredRow>,
}

/// A new order and its place in the group.
#[derive(Debug)]
pub struct CreatedRow {
    pub place: usize,
    pub platform_id: i64,
    pub merchant_order_id: String,
    pub currency: &'static str,
    pub amount_minor: i64,
    pub created_at: i64,
    pub expires_at: i64,
    pub request: String,
    pub webhook_url: Option<String>,
    pub next_action: Option<String>,
    pub head: Head,
}

/// A step of an order that is there.
#[derive(Debug)]
pub struct MovedRow {
    pub expected_version: i64,
    /// Whether `next_action` is what the row gets, and what it gets.
    pub next_action: NextActionChange,
    pub head: Head,
}

/// What every step of an order writes into its row.
#[derive(Debug)]
pub struct Head {
    pub id: Uuid,
    pub version: i64,
    pub state: &'static str,
    pub channel: Option<&'static str>,
    pub next_due_at: Option<i64>,
    pub snapshot: String,
}

#[derive(Debug)]
pub struct PayerRow {
    pub order_id: Uuid,
    pub ordinal: i64,
    pub payer: String,
}

#[derive(Debug)]
pub struct JournalLine {
    pub order_id: Uuid,
    pub version: i64,
    pub at: i64,
    pub body: Vec<u8>,
}

#[derive(Debug)]
pub struct AttemptLine {
    pub order_id: Uuid,
    pub ordinal: i64,
    pub channel: &'static str,
    pub account: String,
    pub payable_minor: i64,
    pub opened_at: i64,
    pub frozen: String,
}

#[derive(Debug)]
pub struct CaptureRow {
    pub channel: &'static str,
    pub account: String,
    pub reference: String,
    pub order_id: Uuid,
    pub ordinal: i64,
    pub currency: &'static str,
    pub amount_minor: i64,
    pub at: i64,
}

#[derive(Debug)]
pub struct EntryRow {
    pub order_id: Uuid,
    pub version: i64,
    pub place: i64,
    pub kind: &'static str,
    pub currency: &'static str,
    pub at: i64,
    pub lines: String,
}

#[derive(Debug)]
pub struct OutboxLine {
    pub order_id: Uuid,
    pub sequence: i64,
    pub kind: &'static str,
    pub at: i64,
    /// Never later than now, though its order's last instant may lie ahead.
    pub next_at: i64,
    pub platform_id: i64,
    pub url: Arc<str>,
    pub trace: [u8; 16],
    pub body: Arc<[u8]>,
}

#[derive(Debug)]
pub struct InboxLine {
    pub reason: &'static str,
    pub channel: &'static str,
    pub account: String,
    pub number: String,
    pub order_id: Option<Uuid>,
    pub body: Vec<u8>,
    pub raw: Vec<u8>,
    pub digest: [u8; 32],
    pub at: i64,
}

#[derive(Debug)]
pub struct AnswerLine {
    pub platform_id: i64,
    pub key: String,
    pub fingerprint: Vec<u8>,
    pub order_id: Uuid,
    pub status: Option<i64>,
    pub body: Option<String>,
    pub at: i64,
}

#[derive(Debug)]
pub struct PaidByLine {
    pub payer: [u8; 16],
    pub channel: &'static str,
    pub at: i64,
}

/// A webhook that is tried again, or never.
#[derive(Debug)]
pub struct UndeliveredRow {
    pub order_id: Uuid,
    pub sequence: i64,
    pub tries: i64,
    pub next_at: Option<i64>,
    pub why: String,
}

impl Batch {
    /// # Errors
    /// [`StoreError::Corrupt`] for a unit that contradicts itself.
    pub fn of(group: &Group<'_>) -> Result<Self, StoreError> {
        let mut batch = Batch { epoch: group.epoch, number: group.number, at: group.at.0, ..Batch::default() };
        for (place, unit) in group.units.iter().enumerate() {
            match unit {
                Unit::Order(unit) => batch.take_order(place, unit)?,
                Unit::Answer(answer) => batch.answers.push(AnswerLine::of(&answer.claim, answer.given.as_ref())),
                Unit::Inbox(row) => batch.inbox.push(InboxLine::of(row)),
                Unit::InboxDone { id } => batch.inbox_done.push(*id),
                Unit::Delivery(delivery) => batch.take_delivery(delivery),
            }
        }
        batch.sort();
        Ok(batch)
    }

    fn take_order(&mut self, place: usize, unit: &OrderUnit) -> Result<(), StoreError> {
        let order = &unit.order;
        let contradiction = |what: &str| StoreError::Corrupt(format!("the unit of {} {what}", unit.id));
        let head = Head::of(order, unit.decided_at)?;
        let (id, version, at) = (head.id, head.version, order.last_at.0);
        self.answers.extend(unit.claim.as_deref().map(|claim| AnswerLine::of(claim, None)));
        self.paid_by.extend(unit.paid_by.iter().map(|last| PaidByLine {
            payer: last.payer.0,
            channel: last.channel.name(),
            at: last.at.0,
        }));
        self.outbox.extend(unit.webhooks.iter().map(|webhook| OutboxLine {
            order_id: id,
            sequence: i64::from(webhook.sequence),
            kind: webhook.kind.name(),
            at: webhook.at.0,
            next_at: webhook.at.min(unit.decided_at).0,
            platform_id: i64::from(webhook.platform.0),
            url: webhook.url.clone(),
            trace: webhook.trace.to_be_bytes(),
            body: webhook.body.clone(),
        }));
        self.payers.extend(unit.payer.as_ref().map(|named| PayerRow {
            order_id: id,
            ordinal: i64::from(named.ordinal),
            payer: named.payer.to_string(),
        }));
        match (&unit.request, unit.expected_version) {
            (Some(request), 0) => {
                let payer = request.payer.as_deref();
                self.payers.extend(payer.map(|payer| PayerRow {
                    order_id: id,
                    ordinal: CREATED_WITH,
                    payer: payer.to_owned(),
                }));
                self.created.push(CreatedRow {
                    place,
                    platform_id: i64::from(order.platform.0),
                    merchant_order_id: request.merchant_order_id.to_string(),
                    currency: order.currency.code(),
                    amount_minor: order.amount_minor,
                    created_at: order.created_at.0,
                    expires_at: order.expires_at.0,
                    request: request.body.to_string(),
                    webhook_url: request.webhook_url.as_deref().map(str::to_owned),
                    next_action: match &unit.next_action {
                        NextActionChange::Store(action) => Some(action.to_string()),
                        NextActionChange::Keep | NextActionChange::Wipe => None,
                    },
                    head,
                });
            }
            (None, expected) if expected > 0 => self.moved.push(MovedRow {
                expected_version: i64::from(expected),
                next_action: unit.next_action.clone(),
                head,
            }),
            (Some(_), _) => return Err(contradiction("asks anew for an order that is there")),
            (None, _) => return Err(contradiction("is new and has no request")),
        }
        self.journal.push(JournalLine { order_id: id, version, at, body: unit.journal.clone() });
        for row in &unit.attempts {
            let attempt = order.attempt(row.ordinal).ok_or_else(|| contradiction("freezes an attempt it has not"))?;
            self.attempts.push(AttemptLine {
                order_id: id,
                ordinal: i64::from(row.ordinal),
                channel: attempt.channel().name(),
                account: attempt.account.name().to_owned(),
                payable_minor: attempt.payable_minor,
                opened_at: attempt.opened_at.0,
                frozen: row.frozen.to_string(),
            });
        }
        for index in &unit.captures {
            let capture = order.captures.get(usize::from(*index));
            let capture = capture.ok_or_else(|| contradiction("books a capture it has not"))?;
            let attempt = order.attempt(capture.ordinal);
            let attempt = attempt.ok_or_else(|| contradiction("has a capture of no attempt"))?;
            self.captures.push(CaptureRow {
                channel: attempt.channel().name(),
                account: attempt.account.name().to_owned(),
                reference: capture.reference.to_string(),
                order_id: id,
                ordinal: i64::from(capture.ordinal),
                currency: order.currency.code(),
                amount_minor: capture.amount_minor,
                at: capture.at.0,
            });
        }
        for (entry, place) in unit.entries.iter().zip(0..) {
            self.entries.push(EntryRow {
                order_id: id,
                version,
                place,
                kind: entry.kind().name(),
                currency: entry.currency().code(),
                at,
                lines: serde_json::to_string(entry.lines()).map_err(unwritable)?,
            });
        }
        Ok(())
    }

    fn take_delivery(&mut self, delivery: &Delivery) {
        let (order, sequence, tries, next_at, why) = match delivery {
            Delivery::Delivered { order, sequence } => {
                return self.delivered.push((key(*order), i64::from(*sequence)));
            }
            Delivery::Failed { order, sequence, tries, next_at, why } => (order, sequence, tries, Some(next_at.0), why),
            Delivery::Dead { order, sequence, tries, why } => (order, sequence, tries, None, why),
        };
        self.undelivered.push(UndeliveredRow {
            order_id: key(*order),
            sequence: i64::from(*sequence),
            tries: i64::from(*tries),
            next_at,
            why: why.to_string(),
        });
    }

    /// Takes out every row of these new orders.
    pub fn leave_out(&mut self, losers: &HashSet<Uuid>) {
        self.payers.retain(|row| !losers.contains(&row.order_id));
        self.journal.retain(|row| !losers.contains(&row.order_id));
        self.attempts.retain(|row| !losers.contains(&row.order_id));
        self.captures.retain(|row| !losers.contains(&row.order_id));
        self.entries.retain(|row| !losers.contains(&row.order_id));
        self.outbox.retain(|row| !losers.contains(&row.order_id));
    }

    /// Two writers that take their locks in the same order cannot wait for each other. Of two new orders with one
    /// merchant order id the first of the group stays first.
    fn sort(&mut self) {
        self.created.sort_by(|a, b| {
            (a.platform_id, &a.merchant_order_id, a.place).cmp(&(b.platform_id, &b.merchant_order_id, b.place))
        });
        self.moved.sort_by_key(|row| row.head.id);
        self.payers.sort_by_key(|row| (row.order_id, row.ordinal));
        self.journal.sort_by_key(|row| (row.order_id, row.version));
        self.attempts.sort_by_key(|row| (row.order_id, row.ordinal));
        self.captures.sort_by(|a, b| (a.channel, &a.account, &a.reference).cmp(&(b.channel, &b.account, &b.reference)));
        self.entries.sort_by_key(|row| (row.order_id, row.version, row.place));
        self.outbox.sort_by_key(|row| (row.order_id, row.sequence));
        self.delivered.sort_unstable();
        self.undelivered.sort_by_key(|row| (row.order_id, row.sequence));
        // The last answer given under a key is the one that stands.
        self.answers.reverse();
        self.answers.sort_by(|a, b| (a.platform_id, &a.key).cmp(&(b.platform_id, &b.key)));
        self.answers.dedup_by(|later, first| (later.platform_id, &later.key) == (first.platform_id, &first.key));
        // Of several payments of one payer the newest is the last one.
        self.paid_by.sort_by_key(|row| (row.payer, Reverse(row.at)));
        self.paid_by.dedup_by_key(|row| row.payer);
    }
}

impl Head {
    fn of(order: &Order, now: Instant) -> Result<Self, StoreError> {
        let attempt = order.current_attempt().or_else(|| order.attempts.last());
        Ok(Head {
            id: key(order.id),
            version: i64::from(order.version),
            state: order.state.name(),
            channel: attempt.map(|attempt| attempt.channel().name()),
            next_due_at: order.next_due_at(now).map(|due| due.0),
            snapshot: serde_json::to_string(order).map_err(unwritable)?,
        })
    }
}

fn unwritable(error: serde_json::Error) -> StoreError {
    StoreError::Corrupt(format!("a row cannot be written: {error}"))
}

impl AnswerLine {
    fn of(claim: &Claim, given: Option<&GivenAnswer>) -> Self {
        AnswerLine {
            platform_id: i64::from(claim.platform.0),
            key: claim.key.to_string(),
            fingerprint: claim.fingerprint.to_vec(),
            order_id: key(claim.order),
            status: given.map(|given| i64::from(given.status)),
            body: given.map(|given| given.body.to_string()),
            at: claim.at.0,
        }
    }
}

impl InboxLine {
    fn of(row: &InboxRow) -> Self {
        InboxLine {
            reason: row.reason.name(),
            channel: row.account.channel().name(),
            account: row.account.name().to_owned(),
            number: row.number.to_string(),
            order_id: row.order.map(key),
            body: row.body.clone(),
            raw: row.raw.clone(),
            digest: row.digest,
            at: row.at.0,
        }
    }
}

impl InboxReason {
    const ALL: [InboxReason; 2] = [InboxReason::OrderQuarantined, InboxReason::OrderUnknown];

    const fn name(self) -> &'static str {
        match self {
            InboxReason::OrderQuarantined => "order_quarantined",
            InboxReason::OrderUnknown => "order_unknown",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        InboxReason::ALL.into_iter().find(|reason| reason.name() == name)
    }
}
