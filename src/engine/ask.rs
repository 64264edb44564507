//! What may be asked of orders from outside, and what comes back.

use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};

use crate::domain::channel::{Channel, Method};
use crate::domain::event::{Created, Finding, RefundResolution, Refusal};
use crate::domain::order::{AttemptState, Order};
use crate::domain::payer::{Payer, PayerMark};
use crate::domain::refund::FeePolicy;
use crate::domain::request::{Asked, Request, Trace};
use crate::domain::splits::AskedSplit;
use crate::store::StoredOrder;

use super::letter::TellError;

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
    pub splits: Box<[AskedSplit]>,
}

impl Addressee {
    /// None where nobody wants to be told of the order.
    pub fn of(request: &Request) -> Option<Arc<Self>> {
        let url = request.webhook_url.as_deref()?;
        let metadata = to_raw_value(&request.asked.metadata).expect("a map of texts is JSON");
        let (merchant_order_id, splits) = (request.merchant_order_id.clone(), request.asked.splits.as_slice().into());
        Some(Arc::new(Addressee { url: url.into(), merchant_order_id, metadata, splits }))
    }
}

/// What of a request its attempts need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    pub description: String,
    pub return_url: Option<String>,
    pub payer: Option<Arc<Payer>>,
    pub kept: Kept,
}

/// Whether the payer of [`Details`] is stored for an attempt that is opened with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// With the request that creates the order.
    ByRequest,
    /// Only for the attempts before.
    NotYet,
}

impl Details {
    /// Of an order that is about to be created.
    pub fn of_new(request: &Request) -> Self {
        Details::of(&request.asked, request.payer.clone(), Kept::ByRequest)
    }

    /// Of an order that is there: whoever was named last pays.
    pub fn of_stored(stored: &StoredOrder) -> Self {
        Details::of(&stored.request.asked, stored.payer.clone(), Kept::NotYet)
    }

    fn of(asked: &Asked, payer: Option<Arc<Payer>>, kept: Kept) -> Self {
        Details { description: asked.description.clone(), return_url: asked.return_url.clone(), payer, kept }
    }

    /// The same with another payer.
    pub fn paid_by(&self, payer: Arc<Payer>) -> Self {
        Details { payer: Some(payer), kept: Kept::NotYet, ..self.clone() }
    }

    /// Who is to be stored with an attempt that is opened with them.
    pub fn to_be_kept(&self) -> Option<Arc<Payer>> {
        match self.kept {
            Kept::ByRequest => None,
            Kept::NotYet => self.payer.clone(),
        }
    }
}

/// What is asked of an order that exists.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// Without a payer, who was named last pays.
    Pay {
        channel: Channel,
        method: Method,
        payer: Option<Arc<Payer>>,
    },
    Cancel,
}

/// A refund as a platform asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundWanted {
    pub merchant_refund_id: Box<str>,
    /// What the payer is told.
    pub reason: Option<Box<str>>,
    /// None: all that is left.
    pub amount_minor: Option<i64>,
    pub fee_policy: FeePolicy,
    /// The most that the seller may give to it, where that is bounded.
    pub seller_max_minor: Option<i64>,
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

/// How a person ended a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundResolved {
    /// Its place among the order's refunds.
    pub refund: u16,
    pub resolution: RefundResolution,
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
