//! One actor per in-flight order: a thin shell around [`Turn`]. Everything that touches an order goes through its
//! mailbox, and the mailbox waits while a step is being committed.
//!
//! It must never keep an order whose commit was lost: it goes, and the store is asked again.

mod shell;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;
use tokio::sync::oneshot;

use super::ask::{AskError, Details, Known, Placed, Trace};
use super::clock::{self, course::Certainty};
use super::registry::Registry;
use super::request;
use super::supervisor::{Call, Connection, Question, never_left};
use super::turn::{Turn, TurnError};
use super::writer::WriteError;
use crate::channels::{Attempted, NextAction, RefundAsk};
use crate::domain::channel::{Channel, Method};
use crate::domain::event::{Effect, Event, Fact, Finding, Refusal, SendOutcome};
use crate::domain::id::{OrderId, Round};
use crate::domain::order::{
    Attempt, AttemptState, Capture, CloseStage, Order, OrderFailure, Purpose, Reach, RefundStage, State, Wish,
};
use crate::domain::step::wake;
use crate::domain::time::Instant;
use crate::domain::validation::{check_switch, validate};
use crate::store::{Claim, Request, StoreError, StoredOrder};
use shell::{ActorShell, Committed, Opened};

/// Somebody who waits for the channel's answer.
pub type Follower = oneshot::Sender<Placed>;

/// What an order is told.
#[derive(Debug)]
pub enum Told {
    /// Facts from channels, payers, platforms and operators.
    Fact(Fact, Option<NextAction>),
    /// A channel was chosen; what is known of it is looked up when it is this message's turn.
    /// `payer` is JSON, where the choice names one.
    Choice { channel: Channel, method: Method, details: Arc<Details>, payer: Option<Arc<str>> },
    /// The switch that was wished for can be made; void if the wish has gone meanwhile.
    Switch { channel: Channel, method: Method, details: Arc<Details> },
    /// Its timer came up.
    Timer,
}

impl Told {
    /// The same again, for an order whose actor was just leaving.
    pub fn again(&self) -> Told {
        match self {
            Told::Fact(fact, next_action) => Told::Fact(fact.clone(), next_action.clone()),
            Told::Choice { channel, method, details, payer } => {
                Told::Choice { channel: *channel, method: *method, details: details.clone(), payer: payer.clone() }
            }
            Told::Switch { channel, method, details } => {
                Told::Switch { channel: *channel, method: *method, details: details.clone() }
            }
            Told::Timer => Told::Timer,
        }
    }

    /// Whether it was meant for an order as it no longer is.
    fn is_void(&self, order: &Order) -> bool {
        match self {
            Told::Fact(..) | Told::Choice { .. } | Told::Timer => false,
            Told::Switch { channel, method, .. } => {
                order.wish != Some(Wish::Switch { channel: *channel, method: *method })
            }
        }
    }
}

#[derive(Message)]
#[rtype(result = "Result<Order, AskError>")]
pub struct Tell {
    pub told: Told,
    pub follower: Option<Follower>,
    /// The request that it is told by, to become durable with what it changes.
    pub claim: Option<Box<Claim>>,
}

/// The first message of a new order.
#[derive(Message)]
#[rtype(result = "Result<Order, AskError>")]
pub struct Open {
    pub order: Order,
    pub events: Vec<Event>,
    pub request: Box<Request>,
    pub details: Arc<Details>,
    pub follower: Option<Follower>,
}

/// To itself, behind all that is waiting: go, if there is still nothing to do.
#[derive(Message)]
#[rtype(result = "()")]
struct Leave;

/// To itself: the store is away, so nothing could be looked up for the channel that was chosen.
#[derive(Message)]
#[rtype(result = "()")]
struct ChoiceFailed;

/// What travels beside the events of a turn and never enters the journal.
#[derive(Default)]
struct Beside {
    request: Option<Box<Request>>,
    details: Option<Arc<Details>>,
    next_action: Option<Arc<str>>,
    /// Who is named to pay from now on.
    payer: Option<Arc<str>>,
    claim: Option<Box<Claim>>,
}

pub struct OrderActor {
    registry: Arc<Registry>,
    id: OrderId,
    known: Known,
    /// None while it is being loaded, while a turn is under way, and after it was lost.
    turn: Option<Box<Turn>>,
    followers: Vec<Follower>,
    /// Submits that may not have left yet.
    submits: Vec<(u8, Arc<AtomicBool>)>,
    origin: Origin,
    standing: Standing,
}

/// Whether the order was quarantined before this actor took it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Good,
    OnTrial,
}

/// Where an actor gets its order from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// From the message that opens it.
    Message,
    Store,
}

impl OrderActor {
    /// An actor for an order that is about to be created.
    pub fn fresh(registry: Arc<Registry>, id: OrderId, known: Known) -> Self {
        OrderActor::new(registry, id, known, Origin::Message)
    }

    /// An actor that loads its order from the store before its first message.
    pub fn stored(registry: Arc<Registry>, id: OrderId, standing: Standing) -> Self {
        let known = Known { trace: Trace(id.as_u128()), addressee: None, payer: Arc::default() };
        let mut actor = OrderActor::new(registry, id, known, Origin::Store);
        actor.standing = standing;
        actor
    }

    fn new(registry: Arc<Registry>, id: OrderId, known: Known, origin: Origin) -> Self {
        OrderActor {
            registry,
            id,
            known,
            turn: None,
            followers: Vec::new(),
            submits: Vec::new(),
            origin,
            standing: Standing::Good,
        }
    }

    /// Runs one turn while the mailbox waits.
    fn turn(&mut self, turn: Box<Turn>, events: Vec<Event>, beside: Beside) -> TurnResponse {
        let mut shell = ActorShell::new(self.registry.clone(), turn.order(), self.known.payer.clone(), beside);
        let work = async move {
            let mut turn = turn;
            let end = turn.take(&events, &mut shell).await;
            (turn, shell, end)
        };
        AtomicResponse::new(Box::pin(
            work.into_actor(self).map(|(turn, shell, end), actor, context| actor.taken(turn, shell, end, context)),
        ))
    }

    fn taken(
        &mut self,
        turn: Box<Turn>,
        shell: ActorShell,
        end: Result<(), TurnError<WriteError>>,
        context: &mut Context<Self>,
    ) -> Result<Order, AskError> {
        match end {
            // Nothing was written, and of this order nothing is wrong: it stays as it was.
            Err(TurnError::Lost(WriteError::ReferenceTaken)) => {
                tracing::error!(order = %self.id, "a channel tells of money that is on record by another order");
                metrics::counter!("tongbao_contradictions_total").increment(1);
                self.turn = Some(turn);
                Err(AskError::Refused(Refusal::CaptureContradicts))
            }
            Err(TurnError::Lost(error)) => Err(self.lost(turn.order().version, error, context)),
            Err(TurnError::Refused(refusal)) => {
                if turn.order().version == 0 {
                    self.registry.forget(self.id);
                    context.stop();
                }
                self.turn = Some(turn);
                Err(AskError::Refused(refusal))
            }
            Ok(()) => {
                let order = turn.order().clone();
                self.turn = Some(turn);
                if self.standing == Standing::OnTrial && shell.committed == Committed::Something {
                    self.standing = Standing::Good;
                    self.registry.acquit(self.id);
                }
                self.perform(&order, shell, context);
                Ok(order)
            }
        }
    }

    fn perform(&mut self, order: &Order, shell: ActorShell, context: &mut Context<Self>) {
        for ordinal in &shell.withdrawn {
            for (_, flag) in self.submits.iter().filter(|(submit, _)| submit == ordinal) {
                flag.store(true, Ordering::Release);
            }
        }
        if !shell.effects.iter().any(|effect| matches!(effect, Effect::ArmTimer { .. })) {
            self.registry.disarm(self.id);
        }
        for effect in &shell.effects {
            self.act(order, *effect, shell.opened.as_ref(), context);
        }
        if let Some(state) = shell.reached {
            count_state(order, state);
        }
        if shell.committed == Committed::Something {
            self.registry.router().count(&shell.before.attempts, order);
        }
        if let Some(addressee) = &self.known.addressee {
            self.registry.webhooks_written(order, addressee, &shell.webhooks);
        }
        if is_settled(order) && !self.followers.is_empty() {
            let placed = Placed { order: order.clone(), next_action: shell.beside.next_action };
            for follower in self.followers.drain(..) {
                let _ = follower.send(placed.clone());
            }
        }
        if order.may_leave(clock::now()) {
            context.address().do_send(Leave);
        }
    }

    fn act(&mut self, order: &Order, effect: Effect, opened: Option<&Opened>, context: &mut Context<Self>) {
        let question = match effect {
            Effect::ArmTimer { at } => {
                return self.registry.arm(self.id, at);
            }
            Effect::Choose { channel, method } => return self.switch_later(channel, method, context),
            Effect::Submit { ordinal, send } => {
                let withdrawn = Arc::new(AtomicBool::new(false));
                self.submits.retain(|(submit, _)| *submit != ordinal);
                self.submits.push((ordinal, withdrawn.clone()));
                let original = opened.filter(|opened| opened.ordinal == ordinal).map(|opened| opened.original.clone());
                (ordinal, Question::Submit { send, original, withdrawn })
            }
            Effect::Query { ordinal } => (ordinal, Question::Query),
            Effect::Close { ordinal } => (ordinal, Question::Close),
            Effect::Refund { capture } => {
                let Some((ordinal, round, ask)) = refund_ask(order, capture, &self.registry) else { return };
                (ordinal, Question::Refund { capture, round, ask })
            }
            Effect::QueryRefund { capture } => {
                let Some((ordinal, round, ask)) = refund_ask(order, capture, &self.registry) else { return };
                (ordinal, Question::QueryRefund { capture, round, ask })
            }
        };
        self.call(order, question, context);
    }

    fn call(&mut self, order: &Order, (ordinal, question): (u8, Question), context: &mut Context<Self>) {
        let Some(attempt) = order.attempt(ordinal) else { return };
        let connection = connection(order, attempt, &question);
        let since = since(attempt, &question);
        let call = Call { attempt: attempted(order, attempt), question, connection, since, trace: self.known.trace };
        match self.registry.supervisor(&attempt.account) {
            Some(supervisor) => supervisor.call(call),
            None => {
                tracing::error!(order = %self.id, account = %attempt.account,
                    "an attempt's account is not configured any more");
                let fact = never_left(&call, "the account is not configured");
                context.address().do_send(Tell { told: Told::Fact(fact, None), follower: None, claim: None });
            }
        }
    }

    /// The old attempt is dead: what the new one needs lies in the store.
    fn switch_later(&mut self, channel: Channel, method: Method, context: &mut Context<Self>) {
        let (registry, id) = (self.registry.clone(), self.id);
        let work = async move { registry.details(id).await };
        context.spawn(work.into_actor(self).map(move |details, _, context| match details {
            Ok(details) => {
                let told = Told::Switch { channel, method, details };
                context.address().do_send(Tell { told, follower: None, claim: None });
            }
            Err(_) => context.address().do_send(ChoiceFailed),
        }));
    }

    /// A commit was lost: this actor's order is not to be trusted any more.
    fn lost(&mut self, version: u32, error: WriteError, context: &mut Context<Self>) -> AskError {
        self.registry.lost(self.id, version, &error);
        context.stop();
        error.into()
    }

    fn loaded(&mut self, loaded: Result<Option<StoredOrder>, StoreError>, context: &mut Context<Self>) {
        match loaded {
            Ok(Some(stored)) => {
                let (trace, addressee) = request::trace_and_addressee(self.id, &stored.request);
                let payer = stored.payer.as_deref();
                let payer = self.registry.router().marks(stored.order.platform, payer).into();
                self.known = Known { trace, addressee, payer };
                let mut turn = Box::new(Turn::new(stored.order));
                let payer = self.known.payer.clone();
                let mut shell = ActorShell::new(self.registry.clone(), turn.order(), payer, Beside::default());
                turn.resume(clock::now(), &mut shell);
                let order = turn.order().clone();
                self.turn = Some(turn);
                // It could be read, and no step of it is to come that could show more.
                if self.standing == Standing::OnTrial && order.is_quiet() {
                    self.standing = Standing::Good;
                    self.registry.acquit(self.id);
                }
                self.perform(&order, shell, context);
                self.registry.take_inbox(self.id);
            }
            Ok(None) => {
                self.registry.acquit(self.id);
                self.registry.forget(self.id);
                context.stop();
            }
            Err(error) => {
                self.registry.unloadable(self.id, &error);
                context.stop();
            }
        }
    }

    fn events_of(&self, order: &Order, told: Told, now: Instant) -> (Vec<Event>, Beside) {
        let event = |fact| Event { at: now, incarnation: self.registry.incarnation(), fact };
        match told {
            Told::Timer => (vec![event(woken(order, now))], Beside::default()),
            Told::Fact(fact, next_action) => {
                let next_action = next_action.and_then(|action| serde_json::to_string(&action).ok()).map(Arc::from);
                (vec![event(fact)], Beside { next_action, ..Beside::default() })
            }
            Told::Choice { channel, method, details, .. } | Told::Switch { channel, method, details } => {
                let mut events = vec![event(Fact::ChannelChosen { channel, method })];
                match order.state {
                    State::Created => {
                        let facts = self.registry.facts(order.platform, channel, method, &details);
                        let verdict = validate(order, &facts, now);
                        events.push(event(Fact::Validated { channel, method, verdict }));
                    }
                    State::Validating | State::Submitted | State::Succeeded | State::Failed => {}
                }
                (events, Beside { details: Some(details), ..Beside::default() })
            }
        }
    }
}

type TurnResponse = AtomicResponse<OrderActor, Result<Order, AskError>>;

fn refused(error: AskError) -> TurnResponse {
    AtomicResponse::new(Box::pin(actix::fut::ready(Err(error))))
}

/// Whether a channel's answer tells of money otherwise than it was booked. Callbacks that do are refused.
fn contradicts(order: &Order, told: &Told) -> bool {
    if let Told::Fact(
        Fact::QueryAnswered { ordinal, finding: Finding::Paid { reference, amount_minor }, .. }
        | Fact::SendAnswered { ordinal, outcome: SendOutcome::Paid { reference, amount_minor }, .. },
        _,
    ) = told
    {
        order.contradicts(*ordinal, reference, *amount_minor)
    } else {
        false
    }
}

/// Whether a channel's answer means that a refund will not get any further without a person.
fn is_stuck(order: &Order, told: &Told) -> bool {
    match told {
        Told::Fact(Fact::RefundAnswered { capture, round, outcome }, _) => order.is_stuck(*capture, *round, outcome),
        Told::Fact(..) | Told::Choice { .. } | Told::Switch { .. } | Told::Timer => false,
    }
}

/// Counts arrivals in a state; those in `failed` by their reason.
fn count_state(order: &Order, state: State) {
    let reason = match order.failure {
        None => "",
        Some(OrderFailure::Expired) => "expired",
        Some(OrderFailure::Cancelled) => "cancelled",
        Some(OrderFailure::RiskRefused) => "risk_refused",
        Some(OrderFailure::AttemptsUsedUp) => "attempts_used_up",
    };
    metrics::counter!("tongbao_orders_total", "state" => state.name(), "reason" => reason).increment(1);
}

/// What a timer stands for. While time is in doubt no deadline has passed.
fn woken(order: &Order, now: Instant) -> Fact {
    match clock::certainty() {
        Certainty::Sure => wake(order, now),
        Certainty::InDoubt => Fact::TimerFired,
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

fn refund_ask(order: &Order, index: u16, registry: &Registry) -> Option<(u8, Round, RefundAsk)> {
    let capture = order.captures.get(usize::from(index))?;
    let (round, dated_at) = match capture.purpose {
        Purpose::Payment => return None,
        Purpose::Suspense { round, dated_at, .. } => (round, dated_at),
    };
    let attempt = order.attempt(capture.ordinal)?;
    let notify_url = registry.notify_url(&attempt.account);
    let attempt = attempted(order, attempt);
    let ask = RefundAsk {
        refund_number: order.refund_number(index)?,
        attempt,
        reference: capture.reference.clone(),
        dated_at,
        captured_minor: capture.amount_minor,
        amount_minor: capture.amount_minor,
        notify_url,
    };
    Some((capture.ordinal, round, ask))
}

/// Which connection a call goes out on: what is asked because nobody knows what became of a call goes on one of its own.
fn connection(order: &Order, attempt: &Attempt, question: &Question) -> Connection {
    let follows_doubt = match question {
        Question::Submit { send, .. } => *send > 1,
        Question::Query => attempt.reach == Reach::Perhaps,
        Question::QueryRefund { .. } => false,
        Question::Close => attempt.close != CloseStage::NotAsked,
        Question::Refund { capture, .. } => order.captures.get(usize::from(*capture)).is_some_and(has_tried_to_refund),
    };
    if follows_doubt { Connection::Fresh } else { Connection::Kept }
}

/// How old a question is: one that only asks whether the payer has paid by now is as old as its attempt. Where something
/// has happened that an answer must settle, it is new.
fn since(attempt: &Attempt, question: &Question) -> Instant {
    let waits_for_payer = match attempt.state {
        AttemptState::Open => attempt.reach == Reach::Shown && attempt.claimed_at.is_none(),
        AttemptState::Closing => false,
        AttemptState::Dead | AttemptState::Captured => attempt.claimed_at.is_none(),
    };
    match question {
        Question::Query if waits_for_payer => attempt.opened_at,
        Question::Query
        | Question::Submit { .. }
        | Question::Close
        | Question::Refund { .. }
        | Question::QueryRefund { .. } => clock::now(),
    }
}

fn has_tried_to_refund(capture: &Capture) -> bool {
    match capture.purpose {
        Purpose::Payment => false,
        Purpose::Suspense { refund: RefundStage::Owed { tries, .. } | RefundStage::Doubtful { tries, .. }, .. } => {
            tries > 0
        }
        Purpose::Suspense { refund: RefundStage::Unconfirmed { .. } | RefundStage::Done { .. }, .. } => false,
    }
}

/// An attempt as its channel may be asked about it.
fn attempted(order: &Order, attempt: &Attempt) -> Attempted {
    Attempted {
        number: order.number(attempt),
        opened_at: attempt.opened_at,
        expires_at: attempt.expires_at,
        payable_minor: attempt.payable_minor,
        currency: order.currency,
        reference: attempt.reference.clone(),
    }
}

impl Actor for OrderActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        match self.origin {
            Origin::Message => {}
            Origin::Store => {
                let (registry, id) = (self.registry.clone(), self.id);
                let load = async move { registry.store().order(id).await };
                context.wait(load.into_actor(self).map(|loaded, actor, context| actor.loaded(loaded, context)));
            }
        }
    }
}

impl Drop for OrderActor {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.registry.panicked(self.id);
        }
    }
}

impl Handler<Open> for OrderActor {
    type Result = TurnResponse;

    fn handle(&mut self, open: Open, _: &mut Self::Context) -> Self::Result {
        self.followers.extend(open.follower);
        let beside = Beside { request: Some(open.request), details: Some(open.details), ..Beside::default() };
        self.turn(Box::new(Turn::new(open.order)), open.events, beside)
    }
}

impl Handler<Tell> for OrderActor {
    type Result = TurnResponse;

    fn handle(&mut self, tell: Tell, _: &mut Self::Context) -> Self::Result {
        let now = clock::now();
        let Some(turn) = self.turn.take() else { return refused(AskError::StoreAway) };
        if tell.told.is_void(turn.order()) {
            let order = turn.order().clone();
            self.turn = Some(turn);
            return AtomicResponse::new(Box::pin(actix::fut::ready(Ok(order))));
        }
        if let Told::Choice { channel, method, details, .. } = &tell.told {
            let facts = self.registry.facts(turn.order().platform, *channel, *method, details);
            if let Err(refusal) = check_switch(turn.order(), &facts, now) {
                self.turn = Some(turn);
                return refused(AskError::Refused(refusal));
            }
        }
        if contradicts(turn.order(), &tell.told) {
            tracing::error!(order = %self.id, "a channel tells of a capture otherwise than it is on record");
            metrics::counter!("tongbao_contradictions_total").increment(1);
        }
        if is_stuck(turn.order(), &tell.told) {
            tracing::error!(order = %self.id, "a refund waits for a person");
            metrics::counter!("tongbao_refunds_stuck_total").increment(1);
        }
        self.followers.retain(|follower| !follower.is_closed());
        self.followers.extend(tell.follower);
        let payer = match &tell.told {
            Told::Choice { payer: Some(payer), .. } => {
                self.known.payer = self.registry.router().marks(turn.order().platform, Some(payer)).into();
                Some(payer.clone())
            }
            Told::Choice { payer: None, .. } | Told::Fact(..) | Told::Switch { .. } | Told::Timer => None,
        };
        let (events, mut beside) = self.events_of(turn.order(), tell.told, now);
        beside.claim = tell.claim;
        beside.payer = payer;
        self.turn(turn, events, beside)
    }
}

impl Handler<ChoiceFailed> for OrderActor {
    type Result = ();

    fn handle(&mut self, _: ChoiceFailed, _: &mut Self::Context) {
        if let Some(turn) = &mut self.turn {
            turn.choice_failed();
        }
    }
}

impl Handler<Leave> for OrderActor {
    type Result = ();

    fn handle(&mut self, _: Leave, context: &mut Self::Context) {
        if self.turn.as_ref().is_some_and(|turn| turn.order().may_leave(clock::now())) {
            self.registry.forget(self.id);
            context.stop();
        }
    }
}
