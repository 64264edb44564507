//! One life of the server: the true engine on the world's ports, and whatever of it waits for something. All of it dies
//! with the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tongbao::config;
use tongbao::domain::id::{Account, AttemptNumber, OrderId, RefundId, Round};
use tongbao::domain::order::Order;
use tongbao::domain::pay_link::PayLinks;
use tongbao::domain::stream::StreamId;
use tongbao::domain::time::Instant;
use tongbao::engine::ask::{AskError, Placed, Taken};
use tongbao::engine::calendars::Calendars;
use tongbao::engine::courier::Courier;
use tongbao::engine::directory::{Bounds, Directory};
use tongbao::engine::finder::{Finder, Found};
use tongbao::engine::homes::Homes;
use tongbao::engine::inbox::{self, Inbox};
use tongbao::engine::lane::{self, Lane, Try};
use tongbao::engine::letter::End;
use tongbao::engine::nettings::Nettings;
use tongbao::engine::order::Orders;
use tongbao::engine::order::desk::Desk;
use tongbao::engine::payees::Payees;
use tongbao::engine::quiet::Quietly;
use tongbao::engine::supervisor;
use tongbao::engine::unreadable::UnreadableRows;
use tongbao::store::companions::Companions;
use tongbao::store::{LaneRow, Unit};

use crate::book::Draft;
use crate::crew::{Crew, Porter, WayNumber, Yard};
use crate::cycles;
use crate::gateways::Request;
use crate::ports::{Door, Port, Ship, Verdict};
use crate::reminder::Reminders;
use crate::scene::{Scene, lock};
use crate::weather::Habits;

/// A callback on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub number: AttemptNumber,
    pub account: Account,
    pub reference: String,
    pub amount_minor: i64,
    pub tries: usize,
}

/// A callback about a refund on its way. What it tells is what is true when it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundTold {
    pub number: AttemptNumber,
    pub account: Account,
    pub refund_number: String,
    /// It tells of a payment that is not made, or not made yet.
    pub is_early: bool,
    pub tries: usize,
}

/// A call to a channel, from the moment the engine made it.
#[derive(Debug, Clone)]
pub struct Call {
    pub number: AttemptNumber,
    pub account: Account,
    pub question: Question,
    /// None: the attempt's request is to be read from the store first.
    pub request: Option<Request>,
    pub withdrawn: Arc<AtomicBool>,
    pub tries: usize,
    /// When it left, as far as it did.
    pub asked_at: Instant,
    /// Whose cell made it.
    pub way: Option<WayNumber>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    Submit { send: u32 },
    Query,
    Close,
    Refund { refund: u16, round: Round },
    QueryRefund { refund: u16, round: Round },
}

impl From<&supervisor::Question> for Question {
    fn from(asked: &supervisor::Question) -> Self {
        match asked {
            supervisor::Question::Submit { send, .. } => Question::Submit { send: *send },
            supervisor::Question::Query => Question::Query,
            supervisor::Question::Close => Question::Close,
            supervisor::Question::Refund { refund, round, .. } => Question::Refund { refund: *refund, round: *round },
            supervisor::Question::QueryRefund { refund, round, .. } => {
                Question::QueryRefund { refund: *refund, round: *round }
            }
        }
    }
}

/// What somebody outside hears of what they asked.
pub enum Heard {
    Created(Result<Placed, AskError>),
    Asked(OrderId, Result<Placed, AskError>),
    Resolved(OrderId, Result<Order, AskError>),
    Notified(Notice, Result<Taken, AskError>),
    /// With what the platform called it.
    Refunded(OrderId, Box<str>, Result<RefundId, AskError>),
    /// With whether it told of money that came back.
    RefundNotified(RefundTold, bool, Result<(), AskError>),
    Set(End<Reminders>),
    /// With how far ahead of the open cycle the one was that was to be closed.
    Calendar(i64, End<Calendars>),
    Looked(Found),
}

/// What a lane has asked the store.
pub enum Asked {
    Commit(Try<Unit>, Box<Draft>),
    Beat { epoch: i64 },
    FindLosers(Try<Unit>),
}

pub struct Life {
    pub number: u32,
    pub ship: Arc<Ship>,
    pub crew: Crew,
    pub yard: Arc<Yard>,
    pub directory: Arc<Directory<Orders>>,
    pub reminders: Arc<Directory<Reminders>>,
    pub calendars: Arc<Directory<Calendars>>,
    pub payees: Arc<Directory<Payees>>,
    pub nettings: Arc<Directory<Nettings>>,
    pub desk: Desk,
    pub inbox: Arc<Inbox>,
    /// None while it looks.
    pub finder: Arc<Mutex<Option<Finder>>>,
    /// Each none while it makes its round.
    pub couriers: Vec<Arc<Mutex<Option<Courier>>>>,
    /// By lane, how its last group left what goes along with it, where that is known.
    pub companions: Vec<Option<Companions>>,
    pub heard: Arc<Mutex<Vec<Heard>>>,
    /// By lane, with when the store answers.
    pub asked: BTreeMap<usize, (Asked, Instant)>,
    pub calls: BTreeMap<u64, Call>,
    /// Since when orders are in memory.
    pub active_since: BTreeMap<OrderId, Instant>,
    /// When something last went on, and until when the sweeps have looked.
    pub moved_at: Instant,
    pub swept_at: Instant,
    /// When the next timer of a directory comes up, as it was last planned.
    pub timers_at: Option<Instant>,
    /// Wakes that are on the agenda.
    pub wakes: BTreeSet<Instant>,
    /// Looks of the finder that are on the agenda.
    pub scans: BTreeSet<Instant>,
    /// Webhooks that are on their way to their receivers.
    pub delivering: BTreeSet<(OrderId, u32)>,
    /// Whether a look is on the agenda already.
    pub looks_into_outbox: Look,
    pub looks_into_inbox: Look,
    pub looks_for_messages: Look,
}

/// A look that is repeated while there is anything to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Look {
    #[default]
    Needless,
    Planned,
}

impl Life {
    pub fn begin(number: u32, scene: &Arc<Scene>, owners: Vec<LaneRow>, habits: &Habits, start: Instant) -> Self {
        let now = scene.now();
        let bounds =
            lane::Bounds { group_max: 8, new_streams_max: habits.new_orders_max, beat: Duration::from_secs(2) };
        let since = Duration::from_millis(u64::try_from(now.since_ms(start)).expect("time goes on"));
        let lane = |owner| Mutex::new(Lane::<Unit, oneshot::Sender<Verdict>>::new(owner, bounds, habits.doubt, since));
        let companions = owners.iter().map(|_| None).collect();
        let ship = Arc::new(Ship {
            scene: scene.clone(),
            life: number,
            epochs: owners.iter().map(|owner| owner.epoch).collect(),
            lanes: owners.into_iter().map(lane).collect(),
            called: Mutex::default(),
            posted: Mutex::default(),
            delivered: Mutex::default(),
            breakers: Mutex::default(),
            at_work: Mutex::default(),
            lost: Mutex::default(),
            returning: Mutex::default(),
            ever_lost: Mutex::default(),
            whose: Mutex::default(),
            unknown: Mutex::default(),
            writing: Mutex::default(),
        });
        let port = Arc::new(Port(ship.clone()));
        let (bell, rung) = inbox::bell();
        let orders = Orders {
            time: port.clone(),
            salts: port.clone(),
            reads: port.clone(),
            lanes: port.clone(),
            accounts: port.clone(),
            advice: port.clone(),
            outbox: port.clone(),
            parked: Arc::new(Door { bell, ship: ship.clone() }),
            links: Arc::new(PayLinks::new("https://pay.test", &[7; 32])),
        };
        let yard = Arc::<Yard>::default();
        let bounds = Bounds { in_memory_max: habits.in_memory_max, idle_ms: habits.idle_ms };
        let porter = Box::new(Porter(yard.clone()));
        let retry_ms = vec![1_000, 5_000, 300_000];
        let directory = Directory::new(Arc::new(orders), porter, port.clone(), bounds, retry_ms.clone());
        let reminders = Reminders { time: port.clone(), salts: port.clone(), heads: port.clone(), lanes: port.clone() };
        let porter = Box::new(Porter(yard.clone()));
        let reminders = Directory::new(Arc::new(reminders), porter, port.clone(), bounds, retry_ms.clone());
        let payees = Payees {
            time: port.clone(),
            salts: port.clone(),
            reads: port.clone(),
            addressees: port.clone(),
            lanes: port.clone(),
            outbox: port.clone(),
        };
        let porter = Box::new(Porter(yard.clone()));
        let payees = Directory::new(Arc::new(payees), porter, port.clone(), bounds, retry_ms.clone());
        let nettings = Quietly::new(port.clone(), port.clone(), port.clone(), port.clone());
        let porter = Box::new(Porter(yard.clone()));
        let nettings = Directory::new(Arc::new(nettings), porter, port.clone(), bounds, retry_ms.clone());
        let calendars = Arc::new(cycles::hosts(&port, payees.clone(), nettings.clone()));
        let porter = Box::new(Porter(yard.clone()));
        let calendars = Directory::new(calendars, porter, port.clone(), bounds, retry_ms);
        let desk = Desk::new(directory.clone(), Duration::from_secs(3));
        let unreadable = Arc::<UnreadableRows>::default();
        let inbox = Inbox::new(port.clone(), port.clone(), port.clone(), desk.clone(), unreadable, 1_000, &rung);
        let inbox = Arc::new(inbox);
        let settings = config::Orders {
            scan_ms: 1_000,
            scan_page: habits.page,
            takeup_per_second: 20 * habits.page,
            inbox_max: 1_000,
            idle_ms: habits.idle_ms,
            in_memory_max: habits.in_memory_max,
            quarantine_retry_ms: vec![1_000],
        };
        let homes =
            Homes::new(vec![directory.clone(), reminders.clone(), calendars.clone(), payees.clone(), nettings.clone()]);
        let courier = || Courier::new(port.clone(), port.clone(), homes.clone());
        let couriers = (0..habits.couriers).map(|_| Arc::new(Mutex::new(Some(courier())))).collect();
        let finder = Finder::new(port.clone(), port, homes, &settings);
        let mut crew = Crew::new(yard.clone(), scene.dice.clone());
        let serving = inbox.clone();
        crew.add(Box::pin(async move { serving.serve(rung).await }));
        Life {
            number,
            ship,
            crew,
            yard,
            directory,
            reminders,
            calendars,
            payees,
            nettings,
            desk,
            inbox,
            finder: Arc::new(Mutex::new(Some(finder))),
            couriers,
            companions,
            heard: Arc::default(),
            asked: BTreeMap::new(),
            calls: BTreeMap::new(),
            active_since: BTreeMap::new(),
            moved_at: now,
            swept_at: now,
            timers_at: None,
            wakes: BTreeSet::new(),
            scans: BTreeSet::new(),
            delivering: BTreeSet::new(),
            looks_into_outbox: Look::default(),
            looks_into_inbox: Look::default(),
            looks_for_messages: Look::default(),
        }
    }

    /// Has something asked from outside, and heard once it is answered.
    pub fn ask(&mut self, asking: impl Future<Output = Heard> + 'static) {
        let heard = self.heard.clone();
        self.crew.add(Box::pin(async move {
            let end = asking.await;
            lock(&heard).push(end);
        }));
    }

    /// Whether a call about this order is under way.
    pub fn is_calling(&self, id: OrderId) -> bool {
        self.calls.values().any(|call| call.number.order == id)
    }

    /// Whether its cell is at work, or waits for the store in the middle of it.
    pub fn is_at_work(&self, stream: StreamId) -> bool {
        lock(&self.ship.whose).iter().any(|(way, whose)| *whose == stream && self.crew.is_busy(*way))
    }

    pub fn is_active(&self, id: OrderId) -> bool {
        self.directory.is_active(id.as_u128())
    }

    /// Cells in memory.
    pub fn active(&self) -> usize {
        let settling = self.calendars.active() + self.payees.active() + self.nettings.active();
        self.directory.active() + self.reminders.active() + settling
    }

    pub fn sweep(&self) {
        self.directory.sweep();
        while self.directory.let_go() {}
        self.reminders.sweep();
        while self.reminders.let_go() {}
        self.calendars.sweep();
        while self.calendars.let_go() {}
        self.payees.sweep();
        while self.payees.let_go() {}
        self.nettings.sweep();
        while self.nettings.let_go() {}
    }
}
