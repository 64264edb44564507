//! What may be asked of orders from outside: create, pay, cancel, resolve, and the verified callbacks of channels.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::oneshot;

use super::refunds::NamedRefund;
use super::{Awaits, Follower, Memory, Orders, Told, What, details, refunds};
use crate::channels::{NextAction, Notice, RefundNotice};
use crate::domain::event::{Event, Fact};
use crate::domain::id::{Account, AttemptNumber, OrderId};
use crate::domain::order::{Attempt, AttemptState, Order};
use crate::domain::step::create;
use crate::domain::validation::validate;
use crate::domain::view::RefundView;
use crate::engine::ask::{AskError, Command, NewOrder, Patience, Placed, RefundResolved, RefundWanted, Resolution};
use crate::engine::cell::Cell;
use crate::engine::directory::Directory;
use crate::engine::letter::Letter;
use crate::engine::supervisor::Answers;
use crate::store::{Claim, StoreError, StoredRefund};

/// The way to orders.
#[derive(Clone)]
pub struct Desk {
    directory: Arc<Directory<Orders>>,
    /// How long an asker waits for a channel's first answer.
    first_answer_wait: Duration,
    draining: Arc<AtomicBool>,
}

impl Desk {
    pub fn new(directory: Arc<Directory<Orders>>, first_answer_wait: Duration) -> Self {
        Desk { directory, first_answer_wait, draining: Arc::default() }
    }

    pub fn directory(&self) -> &Arc<Directory<Orders>> {
        &self.directory
    }

    fn orders(&self) -> &Orders {
        self.directory.host()
    }

    /// From here on no new order is taken.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Makes an order durable and, if a channel was chosen, sets out to pay for it. Runs on a thread that may hold
    /// cells, and the order's stays there.
    ///
    /// # Errors
    /// [`AskError`]; nothing was accepted unless it is [`AskError::OutcomeUnknown`].
    pub async fn create(&self, new: NewOrder, patience: Patience) -> Result<Placed, AskError> {
        if self.is_draining() {
            return Err(AskError::Overloaded);
        }
        let (orders, now) = (self.orders(), self.orders().time.now());
        let order = create(&new.facts, now);
        let event = |fact| Event { at: now, incarnation: orders.time.incarnation(), fact };
        let mut events = vec![event(Fact::Created(Box::new(new.facts)))];
        if let Some((channel, method)) = new.choice {
            let facts = orders.accounts.facts(order.platform, (channel, method), &new.details);
            let verdict = validate(&order, &facts, now);
            events.push(event(Fact::ChannelChosen { channel, method }));
            events.push(event(Fact::Validated { channel, method, verdict }));
        }
        let (follower, answer) = follow(patience, Awaits::FirstAnswer);
        let what = What::Open { events, request: Box::new(new.request), details: new.details };
        let cell = Cell::fresh(order, Memory::new(new.known));
        let order = self.directory.create(cell, Told { what, follower, claim: None }).await?;
        Ok(self.first_answer(order, answer).await)
    }

    /// Asks something of an order. What changes by it is committed together with `claim`.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(
        &self,
        id: OrderId,
        command: Command,
        patience: Patience,
        claim: Option<Box<Claim>>,
    ) -> Result<Placed, AskError> {
        let (follower, answer) = follow(patience, Awaits::FirstAnswer);
        let is_payment = match &command {
            Command::Cancel => false,
            Command::Pay { .. } => true,
        };
        let what = match command {
            Command::Cancel => What::Fact(Fact::CancelAsked, None),
            Command::Pay { channel, method, payer } => {
                let read = details(self.orders().reads.as_ref(), id).await;
                let details = read.map_err(|_| AskError::StoreAway)?.ok_or(AskError::NotFound)?;
                let details = match payer.clone() {
                    Some(payer) => Arc::new(details.paid_by(payer)),
                    None => details,
                };
                What::Choice { channel, method, details, payer }
            }
        };
        let order = self.directory.tell(id.as_u128(), Told { what, follower, claim }).await?;
        let is_closing = |attempt: &&Attempt| attempt.state == AttemptState::Closing;
        let closing = order.open_attempt().filter(is_closing).map(|attempt| attempt.ordinal);
        let placed = self.first_answer(order, answer).await;
        let closing = closing.filter(|_| is_payment);
        let held_back = closing.and_then(|ordinal| placed.order.held_back_by(ordinal, self.orders().time.now()));
        held_back.map_or(Ok(placed), |refusal| Err(AskError::Refused(refusal)))
    }

    /// Opens a refund of an order. Runs on a thread that may hold cells. What changes by it is committed together with `claim`, and then, or once it is
    /// refused, `once_durable` is called.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn refund(
        &self,
        id: OrderId,
        wanted: RefundWanted,
        patience: Patience,
        (claim, once_durable): (Option<Box<Claim>>, impl FnOnce()),
    ) -> Result<StoredRefund, AskError> {
        let (follower, answer) = follow(patience, Awaits::RefundAsked);
        let what = What::Refund(wanted.clone());
        let order = self.directory.tell_here(id.as_u128(), Told { what, follower, claim }).await;
        once_durable();
        let order = order?;
        // As the turn left it that opened the refund: the last is this one.
        let opened = NamedRefund::wanted(&order, wanted).ok_or(AskError::NotFound)?;
        let order = self.first_answer(order, answer).await.order;
        opened.stored(&order).ok_or(AskError::NotFound)
    }

    /// A refund as it is stored, with the names of its parties.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn refund_view(&self, stored: &StoredRefund) -> Result<RefundView, StoreError> {
        refunds::shown(self.orders().reads.as_ref(), stored).await
    }

    /// Takes a verified callback about a refund to its order; returns once what follows from it is durable.
    ///
    /// # Errors
    /// [`AskError`]; then nothing of it is durable.
    pub async fn refund_notice(&self, id: OrderId, account: &Account, notice: RefundNotice) -> Result<(), AskError> {
        let RefundNotice { number, word } = notice;
        let fact = Fact::RefundNoticed { number: number.into(), account: account.clone(), word };
        self.directory.tell(id.as_u128(), What::Fact(fact, None).into()).await.map(drop)
    }

    /// Takes a person's word for what became of an attempt.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn resolve(&self, id: OrderId, resolution: Resolution) -> Result<Order, AskError> {
        let Resolution { ordinal, finding, operator, evidence } = resolution;
        let fact = Fact::OperatorResolved { ordinal, finding, operator, evidence };
        self.directory.tell(id.as_u128(), What::Fact(fact, None).into()).await
    }

    /// Takes a person's word for what became of a refund.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn resolve_refund(&self, id: OrderId, resolved: RefundResolved) -> Result<Order, AskError> {
        let RefundResolved { refund, resolution, operator, evidence } = resolved;
        let fact = Fact::RefundResolved { refund, resolution, operator, evidence };
        self.directory.tell(id.as_u128(), What::Fact(fact, None).into()).await
    }

    /// Takes a verified callback to its order; returns once what follows from it is durable.
    ///
    /// # Errors
    /// [`AskError`]; then nothing of it is durable.
    pub async fn notice(&self, number: AttemptNumber, account: &Account, notice: &Notice) -> Result<(), AskError> {
        let fact = Fact::CallbackVerified {
            ordinal: number.ordinal,
            opened_in: number.incarnation,
            account: account.clone(),
            reference: notice.reference.as_str().into(),
            amount_minor: notice.amount_minor,
            currency: notice.currency.as_str().into(),
            dated: notice.dated,
        };
        self.directory.tell(number.order.as_u128(), What::Fact(fact, None).into()).await.map(drop)
    }

    /// Waits for the channel's answer, within the bound; what is then known is answered.
    async fn first_answer(&self, order: Order, answer: Option<oneshot::Receiver<Placed>>) -> Placed {
        let answered = match answer {
            Some(answer) => match select(answer, self.orders().time.sleep(self.first_answer_wait)).await {
                Either::Left((answered, _)) => answered.ok(),
                Either::Right(_) => None,
            },
            None => None,
        };
        answered.unwrap_or(Placed { order, next_action: None })
    }
}

fn follow(patience: Patience, awaits: Awaits) -> (Option<Follower>, Option<oneshot::Receiver<Placed>>) {
    match patience {
        Patience::Durable => (None, None),
        Patience::FirstAnswer => {
            let (answer, placed) = oneshot::channel();
            (Some(Follower { awaits, answer }), Some(placed))
        }
    }
}

impl Answers for Directory<Orders> {
    fn answered(self: Arc<Self>, number: AttemptNumber, fact: Fact, next_action: Option<NextAction>) {
        self.put(number.order.as_u128(), Letter::told(What::Fact(fact, next_action).into()));
    }
}
