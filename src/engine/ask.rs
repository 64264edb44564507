//! What may be asked of orders from outside, and what comes back.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::channels::Payer;
use crate::domain::channel::{Channel, Method};
use crate::domain::event::{Created, Finding, Refusal};
use crate::domain::order::{AttemptState, Order};
use crate::domain::payer::PayerMark;
use crate::store::{Request, StoredOrder};

use super::letter::TellError;

/// The trace that an order's calls and webhooks belong to (W3C trace context).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace(pub u128);

/// An order as a platform posted it, checked and priced.
#[derive(Debug)]
pub struct NewOrder {
    pub facts: Created,
    pub request: Request,
    /// What the channel is told, kept apart because it is needed at once.
    pub details: Arc<Details>,
    /// Present when it is to be paid for at once.
    pub choice: Option<(Channel, Method)>,
    pub known: Known,
}

/// What an order's actor knows of the request that the order was posted by, for as long as it lives.
#[derive(Debug, Clone)]
pub struct Known {
    pub trace: Trace,
    /// None where nobody wants to be told of it.
    pub addressee: Option<Arc<Addressee>>,
    /// By what its payer is known again.
    pub payer: Arc<[PayerMark]>,
}

/// What the webhooks of an order need besides the order. Every order that waits for its payer holds one.
#[derive(Debug, Clone)]
pub struct Addressee {
    pub url: Arc<str>,
    pub merchant_order_id: Box<str>,
    /// The JSON of [`Metadata`], which takes a tenth of the room.
    ///
    /// [`Metadata`]: crate::domain::view::Metadata
    pub metadata: Box<RawValue>,
}

/// What of a request its attempts need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    pub description: String,
    pub return_url: Option<String>,
    /// JSON of the payer who was named last; none in the details of a new order, whose request has it.
    pub named: Option<Arc<str>>,
    pub payer_id: Option<String>,
    pub payer: Payer,
}

/// What is asked of an order that exists.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// `payer` is JSON as the store keeps it; without it, who was named last pays.
    Pay {
        channel: Channel,
        method: Method,
        payer: Option<Arc<str>>,
    },
    Cancel,
}

/// What a person found out about an attempt that could not be settled by asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    pub ordinal: u8,
    pub finding: Finding,
    pub operator: Box<str>,
    /// What shows it, for the journal: nothing personal.
    pub evidence: Box<str>,
}

/// How long the asker stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Answer as soon as it is durable.
    Durable,
    /// Wait for the channel's answer, within the configured bound.
    FirstAnswer,
}

/// An order as it is now, all of it durable.
#[derive(Debug, Clone)]
pub struct Placed {
    pub order: Order,
    /// What a channel has just answered.
    pub next_action: Option<Arc<str>>,
}

impl Placed {
    /// What remains to be done by the payer: what a channel has just answered, or what was to be done before as long as
    /// it is of the attempt that is still open.
    pub fn next_action<'a>(&'a self, before: &'a StoredOrder) -> Option<&'a str> {
        let open = |order: &Order| {
            order.open_attempt().filter(|attempt| attempt.state == AttemptState::Open).map(|attempt| attempt.ordinal)
        };
        let is_unchanged = open(&self.order).is_some() && open(&self.order) == open(&before.order);
        self.next_action.as_deref().or_else(|| before.next_action.as_deref().filter(|_| is_unchanged))
    }
}

/// What became of a verified callback; each of them is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// An order has it in its journal, now or before.
    ByOrder,
    /// Kept for reconciliation: no such order or attempt, or the order cannot be spoken to.
    ByInbox,
}

/// Why nothing came of what an order was asked.
pub type AskError = TellError<Refusal>;
