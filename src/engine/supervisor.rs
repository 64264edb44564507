//! One supervisor per channel account: its order of service, its bounds on calls under way, time-outs, retries and
//! breaker.
//!
//! A slow channel slows nobody else: every call is a task of its own on the supervisor's thread, and it always ends in
//! an event for its order.

mod gate;
mod places;
mod renewable;
mod upkeep;

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant as Monotonic};

use actix::prelude::*;
use gate::{Bounds, Gate, Room};
use places::Full;
pub use renewable::Renewable;

use super::clock::{self, course::Certainty};
use super::unreadable::{Table, UnreadableRows};
use crate::channels::sender::{self, Allowance, Undelivered};
use crate::channels::{Adapter, Answer, Attempted, NextAction, Outgoing, Payer, Reading, RefundAsk, Stamp, Submission};
use crate::domain::breaker::{Admission, Breaker, Condition, Limits, Sign};
use crate::domain::channel::Channel;
use crate::domain::event::{CloseAnswer, Fact, Fault, Finding, RefundOutcome, Rejection, SendOutcome};
use crate::domain::id::{AttemptNumber, PlatformId, Round};
use crate::domain::request::Trace;
use crate::domain::time::Instant;
use crate::domain::validation::Health;
use crate::store::{Store, StoreError};

/// An attempt's request, as every send of it is made from.
#[derive(Debug)]
pub struct Original {
    pub frozen: Box<str>,
    pub payer: Payer,
}

/// Where the answers go.
pub trait Answers: Send + Sync + 'static {
    fn answered(self: Arc<Self>, number: AttemptNumber, fact: Fact, next_action: Option<NextAction>);
}

/// What a call asks.
#[derive(Debug, Clone)]
pub enum Question {
    /// `original` none: it is read from the store.
    Submit {
        send: u32,
        original: Option<Arc<Original>>,
        withdrawn: Arc<AtomicBool>,
    },
    Query,
    Close,
    /// Its reason is read from the store where nobody has it in memory.
    Refund {
        refund: u16,
        round: Round,
        ask: RefundAsk,
    },
    QueryRefund {
        refund: u16,
        round: Round,
        ask: RefundAsk,
    },
}

impl Question {
    const fn name(&self) -> &'static str {
        match self {
            Question::Submit { .. } => "submit",
            Question::Query => "query",
            Question::Close => "close",
            Question::Refund { .. } => "refund",
            Question::QueryRefund { .. } => "query_refund",
        }
    }

    const fn room(&self) -> Room {
        match self {
            Question::Submit { .. } => Room::Creates,
            Question::Refund { .. } => Room::Refunds,
            Question::Close => Room::Closes,
            Question::Query | Question::QueryRefund { .. } => Room::Queries,
        }
    }
}

/// Which connection a call goes out on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// One that is kept open, if there is one.
    Kept,
    /// One of its own, for what was asked before and may have met a connection that was cut.
    Fresh,
}

#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct Call {
    /// Whose order it is about.
    pub platform: PlatformId,
    pub attempt: Attempted,
    pub question: Question,
    pub connection: Connection,
    /// How old the question is: of two queries for which there is no room, the younger one is asked.
    pub since: Instant,
    pub trace: Trace,
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub per_second: u32,
    pub queries_percent: u32,
    pub concurrent: usize,
    pub waiting_max: usize,
    pub queries_wait_ms: u64,
    pub timeout: Duration,
    pub retry_ms: Vec<u64>,
    pub breaker: Limits,
}

/// The way to a supervisor, for everybody.
#[derive(Clone)]
pub struct SupervisorHandle {
    address: Addr<ChannelSupervisor>,
    breaker: Arc<Mutex<Breaker>>,
    pub adapter: Arc<Renewable>,
}

impl SupervisorHandle {
    /// Sends a call on its way; its answer comes as an event.
    pub fn call(&self, call: Call) {
        self.address.do_send(call);
    }

    pub fn health(&self) -> Health {
        match lock(&self.breaker).is_open(clock::steady()) {
            Some(_) => Health::Down,
            None => Health::Up,
        }
    }
}

fn lock(breaker: &Mutex<Breaker>) -> std::sync::MutexGuard<'_, Breaker> {
    breaker.lock().expect("no holder of the breaker panics")
}

/// What every call of an account shares.
struct Desk {
    adapter: Arc<Renewable>,
    answers: Arc<dyn Answers>,
    store: Arc<dyn Store>,
    unreadable: Arc<UnreadableRows>,
    settings: Settings,
    breaker: Arc<Mutex<Breaker>>,
    gate: Gate,
    kept: RefCell<Option<reqwest::Client>>,
    fresh: RefCell<Option<reqwest::Client>>,
}

impl Desk {
    fn channel(&self) -> Channel {
        self.adapter.account().channel()
    }
}

pub struct ChannelSupervisor {
    desk: Rc<Desk>,
}

impl ChannelSupervisor {
    /// Starts the supervisor of one account on the given thread.
    pub fn start(
        arbiter: &ArbiterHandle,
        adapter: Arc<dyn Adapter>,
        answers: Arc<dyn Answers>,
        (store, unreadable): (Arc<dyn Store>, Arc<UnreadableRows>),
        settings: Settings,
    ) -> SupervisorHandle {
        let breaker = Arc::new(Mutex::new(Breaker::new(settings.breaker)));
        let handle_breaker = breaker.clone();
        let adapter = Arc::new(Renewable::new(adapter));
        let handle_adapter = adapter.clone();
        let address = ChannelSupervisor::start_in_arbiter(arbiter, move |_| {
            let gate = Gate::new(&Bounds {
                per_second: settings.per_second,
                queries_percent: settings.queries_percent,
                concurrent: settings.concurrent,
                waiting_max: settings.waiting_max,
                queries_wait_ms: settings.queries_wait_ms,
            });
            ChannelSupervisor {
                desk: Rc::new(Desk {
                    adapter,
                    answers,
                    store,
                    unreadable,
                    breaker,
                    gate,
                    kept: RefCell::new(None),
                    fresh: RefCell::new(None),
                    settings,
                }),
            }
        });
        SupervisorHandle { address, breaker: handle_breaker, adapter: handle_adapter }
    }
}

impl Actor for ChannelSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        actix::spawn(upkeep::run(self.desk.clone()));
        let desk = self.desk.clone();
        actix::spawn(async move { desk.gate.serve().await });
    }
}

impl Handler<Call> for ChannelSupervisor {
    type Result = ();

    fn handle(&mut self, call: Call, _: &mut Self::Context) {
        // A task of its own rather than a future of this actor's context, which would be polled at every message. A
        // panic in an adapter ends this task alone; the guard then answers that nothing is known.
        actix::spawn(answer(self.desk.clone(), call));
    }
}

/// Answers a call exactly once, even if the task that held it panics.
struct Due {
    desk: Rc<Desk>,
    call: Call,
    answered: bool,
}

impl Due {
    fn settle(&mut self, end: Settled) {
        self.answered = true;
        observe(&self.desk, &end.fact, self.call.question.name(), end.way);
        self.desk.answers.clone().answered(self.call.attempt.number, end.fact, end.next_action);
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        if !self.answered {
            let number = self.call.attempt.number;
            metrics::counter!("tongbao_channel_panics_total", "channel" => self.desk.channel().name()).increment(1);
            tracing::error!(attempt = %number, call = self.call.question.name(), "a channel call panicked");
            self.settle(undelivered(&self.call, Undelivered::Unknown("the call panicked".into())));
        }
    }
}

/// How a request ended on the way.
enum End {
    Answered(Stamp, Answer),
    Undelivered(Undelivered),
}

/// What a call came to.
struct Settled {
    fact: Fact,
    next_action: Option<NextAction>,
    way: Way,
}

/// Requests that one call may take: a close may have to look before and after, and a payment whose name is not known is
/// looked for page by page among all of its time (Stripe: 40 a page, so among 4,000).
const REQUESTS_MAX: u32 = 100;

async fn answer(desk: Rc<Desk>, call: Call) {
    let mut due = Due { desk: desk.clone(), call, answered: false };
    let begun = Monotonic::now();
    let settled = carry(&desk, &due.call).await;
    let kind = due.call.question.name();
    metrics::histogram!("tongbao_channel_call_seconds", "channel" => desk.channel().name(), "call" => kind)
        .record(begun.elapsed().as_secs_f64());
    due.settle(settled);
}

/// Waits for a place, asks, and asks again what was certainly not taken.
async fn carry(desk: &Desk, call: &Call) -> Settled {
    let held_back = |why: &str| undelivered(call, Undelivered::HeldBack(why.into()));
    let room = call.question.room();
    let _place = match desk.gate.enter(room, call.platform, call.since).await {
        Ok(place) => place,
        Err(Full) => {
            let (channel, call) = (desk.channel().name(), call.question.name());
            metrics::counter!("tongbao_channel_calls_put_off_total", "channel" => channel, "call" => call).increment(1);
            return held_back("too many calls are waiting");
        }
    };
    let original = match &call.question {
        Question::Submit { original: Some(original), .. } => Some(original.clone()),
        Question::Submit { original: None, .. } => {
            match desk.store.frozen(call.attempt.number.order, call.attempt.number.ordinal).await {
                Ok(Some(frozen)) => {
                    Some(Arc::new(Original { frozen: frozen.request, payer: Payer::of(frozen.payer.as_ref()) }))
                }
                Ok(None) => return held_back("the attempt's request is not stored"),
                Err(error) => return held_back(&error.to_string()),
            }
        }
        Question::Query | Question::Close | Question::Refund { .. } | Question::QueryRefund { .. } => None,
    };
    let reasoned = match reasoned(desk, call).await {
        Ok(reasoned) => reasoned,
        Err(error) => return held_back(&error.to_string()),
    };
    let call = reasoned.as_ref().unwrap_or(call);
    // One for the whole call: credentials that are renewed meanwhile did not sign its request.
    let adapter = desk.adapter.current();
    let adapter = adapter.as_ref();
    let frozen = match &original {
        Some(original) => adapter.complete(&original.frozen, &original.payer),
        None => Some(Cow::Borrowed("")),
    };
    let Some(frozen) = frozen.as_deref() else { return held_back("what it tells of the payer is not known any more") };
    let mut next = Next::First;
    let mut first_at: Option<Instant> = None;
    for _ in 0..REQUESTS_MAX {
        let (stamp, answer) = match deliver(desk, adapter, call, frozen, next).await {
            Delivered::Answered(stamp, answer) => (stamp, answer),
            Delivered::Settled(settled) => return *settled,
        };
        match read(adapter, call, frozen, &stamp, &answer) {
            Reading::Told((mut fact, next_action)) => {
                // What is told by several pages is as old as the first of them.
                if let (Fact::QueryAnswered { asked_at, .. }, Some(at)) = (&mut fact, first_at) {
                    *asked_at = at.min(*asked_at);
                }
                return Settled { fact, next_action, way: Way::Answered { status: answer.status } };
            }
            Reading::Ask(outgoing) => next = Next::Further(outgoing),
        }
        first_at = first_at.or(Some(stamp.at));
    }
    undelivered(call, Undelivered::Unknown("the channel asks for one request after the other".into()))
}

/// A call that sends a refund, with the reason that the store has of it; none where there is no other call to make.
///
/// # Errors
/// [`StoreError`].
async fn reasoned(desk: &Desk, call: &Call) -> Result<Option<Call>, StoreError> {
    let Question::Refund { refund, round, ask } = &call.question else { return Ok(None) };
    let Some(id) = ask.id else { return Ok(None) };
    // It is not sent before it can be read: without its reason it would be another request.
    let stored = desk.store.refund(id).await.inspect_err(|error| {
        if error.corruption().is_some() {
            desk.unreadable.met(Table::Refunds, Some(id.to_string()), error, clock::now());
        }
    })?;
    let reason = stored.and_then(|stored| stored.row.reason);
    let Some(reason) = reason else { return Ok(None) };
    let ask = RefundAsk { reason: Some(reason), ..ask.clone() };
    let question = Question::Refund { refund: *refund, round: *round, ask };
    Ok(Some(Call { attempt: call.attempt.clone(), question, ..*call }))
}

/// Which request of a call is to be sent.
#[derive(Clone)]
enum Next {
    First,
    Further(Outgoing),
}

/// What became of one request of a call.
enum Delivered {
    Answered(Stamp, Answer),
    Settled(Box<Settled>),
}

/// Sends one request, and sends it again while it was certainly not taken.
async fn deliver(desk: &Desk, adapter: &dyn Adapter, call: &Call, frozen: &str, next: Next) -> Delivered {
    let settled = |end| Delivered::Settled(Box::new(undelivered(call, end)));
    let mut retries = desk.settings.retry_ms.iter();
    let mut connection = call.connection;
    loop {
        desk.gate.turn(call.question.room()).await;
        if let Question::Submit { withdrawn, .. } = &call.question
            && withdrawn.load(Ordering::Acquire)
        {
            return settled(Undelivered::HeldBack("withdrawn".into()));
        }
        let stamp = fresh_stamp();
        let outgoing = match next.clone() {
            Next::Further(outgoing) => outgoing,
            Next::First => match build(adapter, call, frozen, &stamp) {
                Built::Request(outgoing) => outgoing,
                Built::Settled(settled) => return Delivered::Settled(settled),
            },
        };
        let end = once(desk, call.trace, connection, stamp, outgoing).await;
        connection = Connection::Fresh;
        let gap_ms = if may_be_repeated(adapter, &call.question, &end) { retries.next() } else { None };
        let Some(gap_ms) = gap_ms else {
            return match end {
                End::Answered(stamp, answer) => Delivered::Answered(stamp, answer),
                End::Undelivered(end) => settled(end),
            };
        };
        let jittered = Duration::from_millis(gap_ms / 2 + rand::random_range(0..=*gap_ms));
        tokio::time::sleep(jittered).await;
    }
}

/// Whether another try of the same request is harmless and may help.
fn may_be_repeated(adapter: &dyn Adapter, question: &Question, end: &End) -> bool {
    match (end, question) {
        (End::Undelivered(Undelivered::HeldBack(_) | Undelivered::NotSent(_)), _) => true,
        // It may have been taken all the same, and what is told of the next one says nothing of it.
        (End::Answered(..), Question::Refund { .. }) => false,
        (
            End::Answered(_, answer),
            Question::Submit { .. } | Question::Query | Question::Close | Question::QueryRefund { .. },
        ) => adapter.says_later(answer),
        (End::Undelivered(Undelivered::Unknown(_)), _) => false,
    }
}

async fn once(desk: &Desk, trace: Trace, connection: Connection, stamp: Stamp, outgoing: Outgoing) -> End {
    if let Admission::Wait(_) = lock(&desk.breaker).admit(clock::steady()) {
        return End::Undelivered(Undelivered::HeldBack("the channel is down".into()));
    }
    let client = match client(desk, connection) {
        Ok(client) => client,
        Err(why) => return End::Undelivered(Undelivered::HeldBack(why)),
    };
    let traceparent = traceparent(trace);
    match sender::send(&client, outgoing, &traceparent, Allowance::of_call(desk.settings.timeout)).await {
        Ok(answer) => {
            clock::hear(desk.adapter.account(), &answer.headers);
            End::Answered(stamp, answer)
        }
        Err(undelivered) => {
            record(desk, Sign::Sick);
            End::Undelivered(undelivered)
        }
    }
}

/// The first request of a call, or its end where the channel needs none.
enum Built {
    Request(Outgoing),
    Settled(Box<Settled>),
}

fn build(adapter: &dyn Adapter, call: &Call, frozen: &str, stamp: &Stamp) -> Built {
    let attempt = &call.attempt;
    Built::Request(match &call.question {
        Question::Submit { send, .. } => match adapter.submit(frozen, stamp) {
            Submission::Call(outgoing) => outgoing,
            Submission::Carried(submitted) => {
                let (ordinal, send) = (attempt.number.ordinal, *send);
                let fact = Fact::SendAnswered { ordinal, send, outcome: submitted.outcome };
                return Built::Settled(Box::new(Settled {
                    fact,
                    next_action: submitted.next_action,
                    way: Way::NoCall,
                }));
            }
        },
        Question::Query => adapter.query(attempt, stamp),
        Question::Close => match adapter.close(attempt, stamp) {
            Some(outgoing) => outgoing,
            None => {
                let never = Undelivered::HeldBack("the channel has no such call".into());
                return Built::Settled(Box::new(undelivered(call, never)));
            }
        },
        Question::Refund { ask, .. } => adapter.refund(ask, stamp),
        Question::QueryRefund { ask, .. } => adapter.query_refund(ask, stamp),
    })
}

/// A client of this thread, made when it is first needed: connections belong to the runtime that opened them.
fn client(desk: &Desk, connection: Connection) -> Result<reqwest::Client, String> {
    let mut slot = match connection {
        Connection::Kept => desk.kept.borrow_mut(),
        Connection::Fresh => desk.fresh.borrow_mut(),
    };
    if let Some(client) = &*slot {
        return Ok(client.clone());
    }
    let client = match connection {
        Connection::Kept => sender::client(),
        Connection::Fresh => sender::client_without_kept_connections(),
    };
    Ok(slot.insert(client.map_err(|error| sender::describe(&error))?).clone())
}

fn record(desk: &Desk, sign: Sign) {
    let (before, after) = {
        let mut breaker = lock(&desk.breaker);
        let before = breaker.condition();
        breaker.record(sign, clock::steady());
        (before, breaker.condition())
    };
    let is_open = |condition| match condition {
        Condition::Closed { .. } => false,
        Condition::Open { .. } | Condition::Trying { .. } => true,
    };
    if is_open(before) != is_open(after) {
        tracing::warn!(account = %desk.adapter.account(), open = is_open(after), "breaker");
        metrics::gauge!("tongbao_breaker_open", "channel" => desk.channel().name(), "account" => desk.adapter.account().name().to_owned())
            .set(f64::from(u8::from(is_open(after))));
    }
}

/// What an answer means to the order of a call.
fn read(
    adapter: &dyn Adapter,
    call: &Call,
    frozen: &str,
    stamp: &Stamp,
    answer: &Answer,
) -> Reading<(Fact, Option<NextAction>)> {
    let (attempt, ordinal) = (&call.attempt, call.attempt.number.ordinal);
    let fact = match &call.question {
        Question::Submit { send, .. } => {
            let submitted = adapter.read_submit(frozen, stamp, answer);
            let fact = Fact::SendAnswered { ordinal, send: *send, outcome: submitted.outcome };
            return Reading::Told((fact, submitted.next_action));
        }
        Question::Query => match adapter.read_query(attempt, stamp, answer) {
            Reading::Told(finding) => Fact::QueryAnswered { ordinal, finding, asked_at: clock::certain_by(stamp.at) },
            Reading::Ask(outgoing) => return Reading::Ask(outgoing),
        },
        Question::Close => match adapter.read_close(attempt, stamp, answer) {
            Reading::Told(answer) => Fact::CloseAnswered { ordinal, answer },
            Reading::Ask(outgoing) => return Reading::Ask(outgoing),
        },
        Question::Refund { refund, round, ask } => {
            let outcome = in_time(adapter.read_refund(ask, stamp, answer));
            let asked_at = clock::certain_by(stamp.at);
            Fact::RefundAnswered { refund: *refund, round: *round, asked_at, outcome }
        }
        Question::QueryRefund { refund, round, ask } => {
            let outcome = in_time(adapter.read_refund_query(ask, stamp, answer));
            let asked_at = clock::certain_by(stamp.at);
            Fact::RefundAnswered { refund: *refund, round: *round, asked_at, outcome }
        }
    };
    Reading::Told((fact, None))
}

/// While time is in doubt no refund takes a new number: whether the one before is dead is told by its age.
fn in_time(outcome: RefundOutcome) -> RefundOutcome {
    match (clock::certainty(), outcome) {
        (
            Certainty::InDoubt,
            RefundOutcome::Rejected { class: Rejection::DeadNumber, code } | RefundOutcome::Ended { code },
        ) => RefundOutcome::Unknown { why: format!("time is in doubt: {code}").into() },
        (
            Certainty::Sure | Certainty::InDoubt,
            outcome @ (RefundOutcome::Pending { .. }
            | RefundOutcome::Done { .. }
            | RefundOutcome::Rejected { .. }
            | RefundOutcome::Ended { .. }
            | RefundOutcome::Returned { .. }
            | RefundOutcome::Stuck { .. }
            | RefundOutcome::NotSent { .. }
            | RefundOutcome::NotExist
            | RefundOutcome::Unknown { .. }),
        ) => outcome,
    }
}

/// What a call that was never made means to its order.
pub fn never_left(call: &Call, why: &str) -> Fact {
    undelivered(call, Undelivered::HeldBack(why.into())).fact
}

/// What a call that brought no answer means to its order.
fn undelivered(call: &Call, end: Undelivered) -> Settled {
    let ordinal = call.attempt.number.ordinal;
    let fact = match (&call.question, end) {
        (Question::Submit { send, .. }, Undelivered::HeldBack(why)) => {
            Fact::SendAnswered { ordinal, send: *send, outcome: SendOutcome::HeldBack { why: why.into() } }
        }
        (Question::Submit { send, .. }, Undelivered::NotSent(why)) => {
            Fact::SendAnswered { ordinal, send: *send, outcome: SendOutcome::NotSent { why: why.into() } }
        }
        (Question::Submit { send, .. }, Undelivered::Unknown(why)) => {
            Fact::SendAnswered { ordinal, send: *send, outcome: SendOutcome::Unknown { why: why.into() } }
        }
        (Question::Query, Undelivered::HeldBack(why) | Undelivered::NotSent(why) | Undelivered::Unknown(why)) => {
            Fact::QueryAnswered { ordinal, finding: Finding::Unknown { why: why.into() }, asked_at: clock::now() }
        }
        (Question::Close, Undelivered::HeldBack(why) | Undelivered::NotSent(why) | Undelivered::Unknown(why)) => {
            Fact::CloseAnswered { ordinal, answer: CloseAnswer::Unknown { why: why.into() } }
        }
        (Question::Refund { refund, round, .. }, Undelivered::HeldBack(why) | Undelivered::NotSent(why)) => {
            let outcome = RefundOutcome::NotSent { why: why.into() };
            Fact::RefundAnswered { refund: *refund, round: *round, asked_at: clock::now(), outcome }
        }
        (Question::Refund { refund, round, .. }, Undelivered::Unknown(why)) => {
            let outcome = RefundOutcome::Unknown { why: why.into() };
            Fact::RefundAnswered { refund: *refund, round: *round, asked_at: clock::now(), outcome }
        }
        // A question that never left says nothing about the refund it asks for.
        (
            Question::QueryRefund { refund, round, .. },
            Undelivered::HeldBack(why) | Undelivered::NotSent(why) | Undelivered::Unknown(why),
        ) => {
            let outcome = RefundOutcome::Unknown { why: why.into() };
            Fact::RefundAnswered { refund: *refund, round: *round, asked_at: clock::now(), outcome }
        }
    };
    Settled { fact, next_action: None, way: Way::Undelivered }
}

/// Whether an answer came; the breaker was told of one that did not when that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Answered {
        status: u16,
    },
    Undelivered,
    /// The channel was not asked.
    NoCall,
}

/// Counts the outcome, tells the breaker what it says about the channel, and raises the alarm where the fault is ours.
fn observe(desk: &Desk, fact: &Fact, call: &'static str, way: Way) {
    let (outcome, sign) = reading(fact);
    let sign = match way {
        // A channel that says that something is still being worked on is well; one that fails is not.
        Way::Answered { status: 500.. } => Some(Sign::Sick),
        Way::Answered { .. } => sign,
        Way::Undelivered | Way::NoCall => None,
    };
    if let Some(sign) = sign {
        record(desk, sign);
    }
    if outcome == "our_fault" {
        tracing::error!(account = %desk.adapter.account(), call, "the channel refuses us");
    }
    metrics::counter!("tongbao_channel_calls_total", "channel" => desk.channel().name(), "call" => call, "outcome" => outcome)
        .increment(1);
}

/// The outcome's name, and what it says about the channel's health.
fn reading(fact: &Fact) -> (&'static str, Option<Sign>) {
    const HEALTHY: Option<Sign> = Some(Sign::Healthy);
    const SICK: Option<Sign> = Some(Sign::Sick);
    match fact {
        Fact::SendAnswered { outcome, .. } => match outcome {
            SendOutcome::Accepted { .. } => ("accepted", HEALTHY),
            SendOutcome::Paid { .. } => ("paid", HEALTHY),
            SendOutcome::Rejected { fault: Fault::Payment, .. } => ("rejected", HEALTHY),
            SendOutcome::Rejected { fault: Fault::Ours, .. } => ("our_fault", SICK),
            SendOutcome::NotSent { .. } => ("not_sent", None),
            SendOutcome::HeldBack { .. } => ("held_back", None),
            SendOutcome::Impossible { .. } => ("impossible", None),
            SendOutcome::Later { .. } => ("later", None),
            SendOutcome::Unknown { .. } => ("unknown", None),
        },
        Fact::QueryAnswered { finding, .. } => match finding {
            Finding::Paid { .. } => ("paid", HEALTHY),
            Finding::Pending => ("pending", HEALTHY),
            Finding::NotExist => ("not_exist", HEALTHY),
            Finding::Declined => ("declined", HEALTHY),
            Finding::Closed => ("closed", HEALTHY),
            Finding::Unknown { .. } => ("unknown", None),
        },
        Fact::CloseAnswered { answer, .. } => match answer {
            CloseAnswer::Closed => ("closed", HEALTHY),
            CloseAnswer::AlreadyPaid => ("already_paid", HEALTHY),
            CloseAnswer::NotExist => ("not_exist", HEALTHY),
            CloseAnswer::Unknown { .. } => ("unknown", None),
        },
        Fact::RefundAnswered { outcome, .. } => match outcome {
            RefundOutcome::Pending { .. } => ("pending", HEALTHY),
            RefundOutcome::Done { .. } => ("done", HEALTHY),
            RefundOutcome::Rejected { class: Rejection::Poor, .. } => ("poor", HEALTHY),
            // An alarm, but no sign of illness: it may be about this one payment.
            RefundOutcome::Rejected { class: Rejection::Ours, .. } => ("our_fault", HEALTHY),
            RefundOutcome::Rejected { class: Rejection::Refused | Rejection::DeadNumber, .. } => ("rejected", HEALTHY),
            RefundOutcome::Ended { .. } => ("ended", HEALTHY),
            RefundOutcome::Returned { .. } => ("returned", HEALTHY),
            RefundOutcome::Stuck { .. } => ("stuck", HEALTHY),
            RefundOutcome::NotExist => ("not_exist", HEALTHY),
            RefundOutcome::NotSent { .. } => ("not_sent", None),
            RefundOutcome::Unknown { .. } => ("unknown", None),
        },
        Fact::Created(_)
        | Fact::ChannelChosen { .. }
        | Fact::Validated { .. }
        | Fact::CallbackVerified { .. }
        | Fact::RefundAsked { .. }
        | Fact::RefundNoticed { .. }
        | Fact::RefundResolved { .. }
        | Fact::CancelAsked
        | Fact::DeadlinePassed
        | Fact::TimerFired
        | Fact::OperatorResolved { .. }
        | Fact::MessageTaken { .. } => ("no_call", None),
    }
}

/// A transmission of now.
pub fn fresh_stamp() -> Stamp {
    Stamp { at: clock::now(), nonce: format!("{:032x}", rand::random::<u128>()) }
}

/// The W3C trace context of a call, with a span of its own.
pub fn traceparent(trace: Trace) -> String {
    format!("00-{:032x}-{:016x}-01", trace.0, rand::random_range(1..=u64::MAX))
}
