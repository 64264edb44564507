//! One life of the server: orders in memory around the shared loop, the writer, the channels' supervisors, timers and the
//! look for what is due. All of it dies with the process; what the actors' shells do in the server is done here likewise.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tongbao::domain::breaker::{Breaker, Limits};
use tongbao::domain::channel::{Channel, Method};
use tongbao::domain::event::{Event, Fact, Refusal};
use tongbao::domain::id::{Account, AttemptNumber, OrderId, Round};
use tongbao::domain::order::Order;
use tongbao::domain::time::Instant;
use tongbao::engine::lane::WriteError;
use tongbao::engine::turn::{Turn, TurnError};

use crate::gateways::{Request, Shown};
use crate::shell::{Desk, Pending, SimulatedShell};

/// What is put into an order's mailbox.
#[derive(Debug, Clone)]
pub enum Letter {
    Open { events: Vec<Event>, merchant: u32 },
    Fact { fact: Fact, shown: Option<Shown>, asker: Asker },
    Choice { channel: Channel, method: Method, asker: Asker },
    ChoiceFailed,
    Timer,
    Leave,
}

/// Who waits for what becomes of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    Nobody,
    Client,
    Gateway(Notice),
}

/// A callback on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub number: AttemptNumber,
    pub account: Account,
    pub reference: String,
    pub amount_minor: i64,
    pub tries: usize,
}

pub type End = Result<(), TurnError<Refusal, WriteError>>;
type Work = Pin<Box<dyn Future<Output = (Box<Turn<Order>>, End)>>>;

pub enum Phase {
    Loading,
    Resting(Box<Turn<Order>>),
    Working { work: Work, letter: Box<Letter> },
}

pub struct Actor {
    pub phase: Phase,
    pub mailbox: VecDeque<Letter>,
    pub armed: Option<Instant>,
    pub since: Instant,
}

impl Actor {
    pub fn loading(letter: Option<Letter>, since: Instant) -> Self {
        Actor { phase: Phase::Loading, mailbox: letter.into_iter().collect(), armed: None, since }
    }
}

/// A call to a channel, from the moment the loop performed its effect.
#[derive(Debug, Clone)]
pub struct Call {
    pub number: AttemptNumber,
    pub method: Method,
    pub account: Account,
    pub question: Question,
    pub request: Request,
    pub withdrawn: bool,
    pub tries: usize,
    /// When it left, as far as it did.
    pub asked_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    Submit { send: u32 },
    Query,
    Close,
    Refund { capture: u16, round: Round },
    QueryRefund { capture: u16, round: Round },
}

/// How the writer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Open,
    /// The store was away when it was last asked; nothing is taken until it is back.
    Away,
}

pub struct Process {
    pub life: u32,
    pub actors: BTreeMap<OrderId, Actor>,
    pub desk: Rc<RefCell<Desk>>,
    pub calls: BTreeMap<u64, Call>,
    pub breakers: BTreeMap<Account, Breaker>,
    pub way: Way,
    pub committing: Option<Vec<Pending>>,
    /// How far the store has been looked through for what is due.
    pub cursor: Option<(Instant, OrderId)>,
    /// Orders that are to be taken up again after their commit was lost.
    pub retries: BTreeSet<OrderId>,
}

impl Process {
    pub fn new(life: u32) -> Self {
        Process {
            life,
            actors: BTreeMap::new(),
            desk: Rc::default(),
            calls: BTreeMap::new(),
            breakers: BTreeMap::new(),
            way: Way::Open,
            committing: None,
            cursor: None,
            retries: BTreeSet::new(),
        }
    }

    pub fn breaker(&mut self, account: &Account) -> &mut Breaker {
        let limits = Limits { failures: 10, open_ms: 5_000 };
        self.breakers.entry(account.clone()).or_insert_with(|| Breaker::new(limits))
    }

    /// Whether a call about this order is under way.
    pub fn is_calling(&self, id: OrderId) -> bool {
        self.calls.values().any(|call| call.number.order == id)
    }

    /// Begins a turn; it has to be polled.
    pub fn work(
        &self,
        turn: Box<Turn<Order>>,
        events: Vec<Event>,
        (merchant, shown): (Option<u32>, Option<Shown>),
    ) -> Work {
        let mut shell = SimulatedShell { desk: self.desk.clone(), merchant, shown };
        Box::pin(async move {
            let mut turn = turn;
            let end = turn.take(&events, &mut shell).await;
            (turn, end)
        })
    }
}

pub fn poll(work: &mut Work) -> Option<(Box<Turn<Order>>, End)> {
    match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}
