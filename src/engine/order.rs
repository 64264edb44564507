//! The order in the engine: what it may be told, what its steps write, and how its effects become calls.

mod calls;
pub mod desk;
mod notes;
pub mod refunds;
mod unit;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use self::refunds::NamedRefund;
use super::ask::{Addressee, Details, Known, Placed, RefundWanted};
use super::clock::course::Certainty;
use super::host::{Act, Errand, Hands, Hearing, Host, Loaded, Stored};
use super::lane::{Admission, WriteError};
use super::ports::{Accounts, Advice, Lanes, OrderReads, Outbox, Parked, Salts, Time};
use super::supervisor::{Call, Original, Question, never_left};
use super::webhooks::Letter;
use crate::channels::NextAction;
use crate::domain::channel::{Channel, Method};
use crate::domain::event::{Effect, Event, Fact, Refusal};
use crate::domain::id::OrderId;
use crate::domain::machine::Step;
use crate::domain::note::Note;
use crate::domain::order::{Attempt, Order, Reach, State, Wish};
use crate::domain::pay_link::PayLinks;
use crate::domain::payer::Payer;
use crate::domain::refund::Refund;
use crate::domain::request::Request;
use crate::domain::step::{Target, wake};
use crate::domain::time::Instant;
use crate::domain::validation::{check_switch, validate};
use crate::store::{
    Claim, MessageKey, OutboxRow, RefundName, Reply, StepUnit, StoreError, StoredMessage, TakenMessage, Unit,
};

/// Somebody who waits for the channel's answer.
#[derive(Debug)]
pub struct Follower {
    pub awaits: Awaits,
    pub answer: oneshot::Sender<Placed>,
}

/// What a follower waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaits {
    /// The first answer about the open attempt.
    FirstAnswer,
    /// The certain word on the refund that is asked for with it.
    RefundAsked,
    /// The certain word on this refund.
    Refund(u16),
}

/// What an order is told, by whom, and what becomes durable with it.
#[derive(Debug)]
pub struct Told {
    pub what: What,
    pub follower: Option<Follower>,
    /// The request that it is told by, to become durable with what it changes.
    pub claim: Option<Box<Claim>>,
}

#[derive(Debug)]
pub enum What {
    /// The first letter of a new order.
    Open { events: Vec<Event>, request: Box<Request>, details: Arc<Details> },
    /// Facts from channels, payers, platforms and operators.
    Fact(Fact, Option<NextAction>),
    /// A channel was chosen; what is known of it is looked up when it is this letter's turn.
    /// `payer` where the choice names one.
    Choice { channel: Channel, method: Method, details: Arc<Details>, payer: Option<Arc<Payer>> },
    /// The switch that was wished for can be made; void if the wish has gone meanwhile.
    Switch { channel: Channel, method: Method, details: Arc<Details> },
    /// The store is away, so nothing could be looked up for the channel that was chosen.
    ChoiceFailed,
    /// The platform wants money back at the payer.
    Refund(RefundWanted),
    /// Another stream's message.
    Message { key: MessageKey, body: Box<str> },
    /// Something has come due.
    Timer,
}

impl From<What> for Told {
    fn from(what: What) -> Self {
        Told { what, follower: None, claim: None }
    }
}

/// What an order keeps in memory beside its machine.
pub struct Memory {
    known: Known,
    followers: Vec<Follower>,
    /// Submits that may not have left yet.
    submits: Vec<(u8, Arc<AtomicBool>)>,
    /// What was asked for since this cell is in memory and is under way.
    refunds: Vec<NamedRefund>,
}

impl Memory {
    pub fn new(known: Known) -> Self {
        Memory { known, followers: Vec::new(), submits: Vec::new(), refunds: Vec::new() }
    }
}

/// What travels beside the events of a turn.
#[derive(Default)]
pub struct Beside {
    request: Option<Box<Request>>,
    details: Option<Arc<Details>>,
    next_action: Option<Arc<str>>,
    /// Who is named to pay from now on.
    payer: Option<Arc<Payer>>,
    claim: Option<Box<Claim>>,
    /// The message that this turn takes.
    taken: Option<TakenMessage>,
    /// The attempt that this turn opens.
    opened: Option<Opened>,
    /// What the platform calls the refund that this turn opens.
    refund: Option<RefundName>,
    /// What this turn tells the platform.
    webhooks: Vec<OutboxRow>,
}

struct Opened {
    ordinal: u8,
    original: Arc<Original>,
}

/// What orders need of the rest of the engine.
pub struct Orders {
    pub time: Arc<dyn Time>,
    pub salts: Arc<dyn Salts>,
    pub reads: Arc<dyn OrderReads>,
    pub lanes: Arc<dyn Lanes>,
    pub accounts: Arc<dyn Accounts>,
    pub advice: Arc<dyn Advice>,
    pub outbox: Arc<dyn Outbox>,
    pub parked: Arc<dyn Parked>,
    pub links: Arc<PayLinks>,
}

impl Orders {
    fn event(&self, fact: Fact) -> Event {
        Event { at: self.time.now(), incarnation: self.time.incarnation(), fact }
    }

    /// What a timer stands for. While time is in doubt no deadline has passed.
    fn timer(&self, order: &Order, now: Instant) -> Fact {
        match self.time.certainty() {
            Certainty::Sure => wake(order, now),
            Certainty::InDoubt => Fact::TimerFired,
        }
    }

    fn choose(
        &self,
        order: &Order,
        (channel, method): (Channel, Method),
        details: Arc<Details>,
    ) -> (Vec<Event>, Beside) {
        let mut events = vec![self.event(Fact::ChannelChosen { channel, method })];
        match order.state {
            State::Created => {
                let facts = self.accounts.facts(order.platform, (channel, method), &details);
                let verdict = validate(order, &facts, self.time.now());
                events.push(self.event(Fact::Validated { channel, method, verdict }));
            }
            State::Validating | State::Submitted | State::Succeeded | State::Failed => {}
        }
        (events, Beside { details: Some(details), ..Beside::default() })
    }

    /// The old attempt is dead: what the new one needs lies in the store.
    fn look_up(&self, id: OrderId, channel: Channel, method: Method) -> Errand<Told> {
        let reads = self.reads.clone();
        Box::pin(async move {
            let what = match details(reads.as_ref(), id).await {
                Ok(Some(details)) => What::Switch { channel, method, details },
                Ok(None) | Err(_) => What::ChoiceFailed,
            };
            vec![what.into()]
        })
    }

    fn call(&self, order: &Order, memory: &Memory, (ordinal, question): (u8, Question)) -> Act<Told> {
        let Some(attempt) = order.attempt(ordinal) else { return Act::Called };
        let call = Call {
            platform: order.platform,
            attempt: calls::attempted(order, attempt),
            connection: calls::connection(order, attempt, &question),
            since: calls::since(attempt, &question, self.time.now()),
            question,
            trace: memory.known.trace,
        };
        match self.accounts.call(&attempt.account, call) {
            Ok(()) => Act::Called,
            Err(call) => {
                tracing::error!(order = %order.id, account = %attempt.account,
                    "an attempt's account is not configured any more");
                Act::Tell(What::Fact(never_left(&call, "the account is not configured"), None).into())
            }
        }
    }
}

/// What a new attempt of a stored order needs to know.
///
/// # Errors
/// [`StoreError`].
async fn details(reads: &dyn OrderReads, id: OrderId) -> Result<Option<Arc<Details>>, StoreError> {
    let stored = reads.order(id).await.inspect_err(|error| {
        tracing::warn!(order = %id, %error, "an order's request cannot be read");
    })?;
    Ok(stored.map(|stored| Arc::new(Details::of_stored(&stored))))
}

impl Host for Orders {
    type Machine = Order;
    type Told = Told;
    type Beside = Beside;
    type Memory = Memory;

    fn now(&self) -> Instant {
        self.time.now()
    }

    fn load(&self, id: u128) -> Reply<'_, Option<Loaded<Self>>> {
        let id = OrderId::from_u128(id);
        Box::pin(async move {
            let Some(stored) = self.reads.order(id).await? else { return Ok(None) };
            let (trace, addressee) = (stored.request.asked.trace_of(id), Addressee::of(&stored.request));
            let payer = self.advice.marks(stored.order.platform, stored.payer.as_deref()).into();
            let hands = if self.lanes.is_ours(id.into(), stored.epoch) { Hands::Ours } else { Hands::Others };
            let stored_as = Stored { due_at: stored.next_due_at, hands };
            let memory = Memory::new(Known { trace, addressee, payer });
            Ok(Some(Loaded { machine: stored.order, memory, stored: stored_as }))
        })
    }

    fn woken(&self) -> Told {
        What::Timer.into()
    }

    fn received(&self, message: &StoredMessage) -> Option<Told> {
        let body = std::str::from_utf8(&message.body).ok()?.into();
        Some(What::Message { key: message.key, body }.into())
    }

    fn activated(&self, id: u128) {
        self.parked.is_back(OrderId::from_u128(id));
    }

    fn hear(&self, order: &Order, memory: &mut Memory, told: Told) -> Hearing<Self> {
        let Told { what, follower, claim } = told;
        let now = self.time.now();
        let (events, beside) = match what {
            What::Open { events, request, details } => {
                (events, Beside { request: Some(request), details: Some(details), ..Beside::default() })
            }
            What::Fact(fact, next_action) => {
                let next_action = next_action.and_then(|action| serde_json::to_string(&action).ok()).map(Arc::from);
                (vec![self.event(fact)], Beside { next_action, ..Beside::default() })
            }
            What::Refund(RefundWanted { merchant_refund_id, reason, amount_minor, fee_policy, seller_max_minor }) => {
                let refundable_minor = order.refundable_minor(fee_policy);
                let amount_minor = amount_minor.unwrap_or(refundable_minor);
                if seller_max_minor.is_some_and(|most| order.seller_gives(amount_minor, fee_policy) > Some(most)) {
                    return Hearing::Refused(Refusal::BalanceInsufficient);
                }
                let refund = Some(RefundName { merchant_refund_id, reason, refundable_minor });
                let events = vec![self.event(Fact::RefundAsked { amount_minor, fee_policy })];
                (events, Beside { refund, ..Beside::default() })
            }
            What::Timer => (vec![self.event(self.timer(order, now))], Beside::default()),
            What::Message { key: MessageKey { from, number, .. }, body } => {
                let beside = Beside { taken: Some(TakenMessage { from, number }), ..Beside::default() };
                (vec![self.event(Fact::MessageTaken { from, number, body })], beside)
            }
            What::Choice { channel, method, details, payer } => {
                let facts = self.accounts.facts(order.platform, (channel, method), &details);
                if let Err(refusal) = check_switch(order, &facts, now) {
                    return Hearing::Refused(refusal);
                }
                if let Some(payer) = &payer {
                    memory.known.payer = self.advice.marks(order.platform, Some(payer)).into();
                }
                let (events, beside) = self.choose(order, (channel, method), details);
                (events, Beside { payer, ..beside })
            }
            What::Switch { channel, method, details } => {
                // It may be meant for an order as it no longer is.
                if order.wish != Some(Wish::Switch { channel, method }) {
                    return Hearing::Nothing { over: Some(Target::Choice) };
                }
                self.choose(order, (channel, method), details)
            }
            What::ChoiceFailed => return Hearing::Nothing { over: Some(Target::Choice) },
        };
        memory.followers.retain(|follower| !follower.answer.is_closed());
        memory.followers.extend(follower.map(|follower| follower.of(order)));
        Hearing::Turn { events, beside: Beside { claim, ..beside } }
    }

    async fn unit(
        &self,
        step: &Step<Order>,
        events: &[Event],
        memory: &Memory,
        beside: &mut Beside,
    ) -> Result<StepUnit, WriteError> {
        unit::of(self, step, events, memory, beside).await
    }

    async fn write(&self, admission: Admission, unit: Unit) -> Result<(), WriteError> {
        self.lanes.write(admission, unit).await
    }

    fn act(&self, order: &Order, memory: &mut Memory, beside: &Beside, effect: Effect) -> Act<Told> {
        let asked = |refund: &Refund| Some(refunds::asked(order, refund, &memory.refunds, beside)?.0);
        let notify_url = |attempt: &Attempt| self.accounts.notify_url(&attempt.account);
        let question = match effect {
            Effect::ArmTimer { at } => return Act::Wake(at),
            Effect::Choose { channel, method } => return Act::Errand(self.look_up(order.id, channel, method)),
            Effect::Submit { ordinal, send } => {
                let withdrawn = Arc::new(AtomicBool::new(false));
                memory.submits.retain(|(submit, _)| *submit != ordinal);
                memory.submits.push((ordinal, withdrawn.clone()));
                let opened = beside.opened.as_ref().filter(|opened| opened.ordinal == ordinal);
                let original = opened.map(|opened| opened.original.clone());
                (ordinal, Question::Submit { send, original, withdrawn })
            }
            Effect::Query { ordinal } => (ordinal, Question::Query),
            Effect::Close { ordinal } => (ordinal, Question::Close),
            Effect::Refund { refund } => match calls::refund_ask(order, refund, asked, notify_url) {
                Some((ordinal, round, ask)) => (ordinal, Question::Refund { refund, round, ask }),
                None => return Act::Called,
            },
            Effect::QueryRefund { refund } => match calls::refund_ask(order, refund, asked, notify_url) {
                Some((ordinal, round, ask)) => (ordinal, Question::QueryRefund { refund, round, ask }),
                None => return Act::Called,
            },
        };
        self.call(order, memory, question)
    }

    fn take_back(&self, memory: &mut Memory, pending: Effect) {
        let Effect::Submit { ordinal, .. } = pending else { return };
        for (_, flag) in memory.submits.iter().filter(|(submit, _)| *submit == ordinal) {
            flag.store(true, Ordering::Release);
        }
    }

    fn noted(&self, order: &Order, notes: &[Note]) {
        notes::heed(order, notes);
        self.advice.noted(order, notes);
    }

    fn ended(&self, order: &Order, memory: &mut Memory, beside: Beside) {
        for row in beside.webhooks {
            self.outbox.written(Letter { stream: order.id.into(), row });
        }
        memory.refunds.extend(beside.refund.and_then(|name| NamedRefund::newest(order, name)));
        memory.refunds.retain(|named| named.is_under_way(order));
        for follower in memory.followers.extract_if(.., |follower| follower.awaits.is_over(order)) {
            let placed = Placed { order: order.clone(), next_action: beside.next_action.clone() };
            let _ = follower.answer.send(placed);
        }
    }

    fn refused_by_store(&self, id: u128) -> Option<Refusal> {
        tracing::error!(order = %OrderId::from_u128(id), "a channel tells of money that is on record by another order");
        metrics::counter!("tongbao_contradictions_total").increment(1);
        Some(Refusal::CaptureContradicts)
    }

    fn is_followed(&self, memory: &Memory) -> bool {
        memory.followers.iter().any(|follower| !follower.answer.is_closed())
    }
}

impl Follower {
    /// The same, once it is known which refund is asked for with it: the next one of the order.
    fn of(self, order: &Order) -> Self {
        let awaits = match self.awaits {
            Awaits::RefundAsked => u16::try_from(order.refunds.len()).map_or(Awaits::FirstAnswer, Awaits::Refund),
            Awaits::FirstAnswer | Awaits::Refund(_) => self.awaits,
        };
        Follower { awaits, ..self }
    }
}

impl Awaits {
    fn is_over(self, order: &Order) -> bool {
        match self {
            Awaits::FirstAnswer => is_settled(order),
            Awaits::RefundAsked => true,
            Awaits::Refund(index) => order
                .refunds
                .get(usize::from(index))
                .is_none_or(|refund| !refund.stage.is_under_way() || refund.attention.is_some()),
        }
    }
}

/// Whether nobody needs to wait for a channel's answer any more.
pub fn is_settled(order: &Order) -> bool {
    match order.state {
        State::Succeeded | State::Failed => true,
        State::Validating => false,
        State::Created => match order.wish {
            Some(Wish::Switch { .. }) => false,
            None | Some(Wish::Expiry | Wish::Cancel) => true,
        },
        State::Submitted => {
            order.wish.is_none()
                && order
                    .open_attempt()
                    .is_none_or(|attempt| attempt.sends == attempt.answered && !is_sent_again(attempt))
        }
    }
}

/// Whether nobody knows what became of the first send, so that a query is under way and a second send follows.
fn is_sent_again(attempt: &Attempt) -> bool {
    (attempt.sends, attempt.reach) == (1, Reach::Perhaps)
}
