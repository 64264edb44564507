//! A kind of stream that the engine has never heard of: a reminder falls due, and tells an order so. It goes through the
//! loop, the store, the finder, the courier and a take-over without a line of the engine for it.

use std::sync::Arc;
use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};
use serde::{Deserialize, Serialize};
use tongbao::config::Config;
use tongbao::domain::event::{self, Fact};
use tongbao::domain::id::OrderId;
use tongbao::domain::journal::Title;
use tongbao::domain::machine::{Machine, Message, Step};
use tongbao::domain::order::Order;
use tongbao::domain::stream::{Kind, StreamId};
use tongbao::domain::time::Instant;
use tongbao::engine::carrier::Threads;
use tongbao::engine::cell::Cell;
use tongbao::engine::clock;
use tongbao::engine::courier::Courier;
use tongbao::engine::directory::{Bounds, Directory};
use tongbao::engine::finder::Finder;
use tongbao::engine::homes::Homes;
use tongbao::engine::host::{Act, Hands, Hearing, Host, Loaded, Stored, message_rows};
use tongbao::engine::lane::{Admission, Lanes, WriteError};
use tongbao::engine::ports::Salts;
use tongbao::engine::start::{self, Random, Wall};
use tongbao::store::{Head, NextActionChange, Reply, StepUnit, Store, StoreError, StoredMessage, Unit, whole};

use super::book::Place;
use super::directory::Hall;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Set,
    Rung,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Reminder {
    id: u128,
    version: u32,
    state: State,
    order: OrderId,
    due_at: Instant,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Event {
    Set,
    Rang,
}

/// It is to be woken then.
#[derive(Debug, Clone, Copy)]
struct Wake(Instant);

impl Reminder {
    fn wakes(&self) -> Vec<Wake> {
        match self.state {
            State::Set => vec![Wake(self.due_at)],
            State::Rung => Vec::new(),
        }
    }
}

impl Machine for Reminder {
    const KIND: Kind = Kind(250);
    const NAME: &'static str = "reminder";

    type Event = Event;
    type Refusal = ();
    type Write = ();
    type Effect = Wake;
    type Note = ();
    type Target = ();

    fn id(&self) -> u128 {
        self.id
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn decide(&self, events: &[Event]) -> Result<Step<Self>, ()> {
        let (mut after, mut messages) = (self.clone(), Vec::new());
        for event in events {
            match (event, after.state) {
                (Event::Set, State::Set) => {}
                (Event::Rang, State::Set) => {
                    after.state = State::Rung;
                    messages.push(Message { to: self.order.into(), body: r#"{"reminder":"tea"}"#.into() });
                }
                (Event::Set | Event::Rang, State::Rung) => return Err(()),
            }
        }
        after.version += 1;
        let effects = after.wakes();
        Ok(Step { after, writes: Vec::new(), effects, notes: Vec::new(), messages })
    }

    fn resume(&self, _: Instant) -> Vec<Wake> {
        self.wakes()
    }

    fn next_due_at(&self, _: Instant) -> Option<Instant> {
        (self.state == State::Set).then_some(self.due_at)
    }

    fn is_at_rest(&self, _: Instant) -> bool {
        self.state == State::Rung
    }

    fn target(_: Wake) -> Option<()> {
        None
    }

    fn answered(_: &Event) -> Option<()> {
        None
    }

    fn takes_back(_: Wake, _: Wake) -> bool {
        false
    }
}

struct Reminders {
    store: Arc<dyn Store>,
    lanes: Lanes,
    salts: Random,
}

impl Host for Reminders {
    type Machine = Reminder;
    type Told = Event;
    type Beside = ();
    type Memory = ();

    fn now(&self) -> Instant {
        clock::now()
    }

    fn load(&self, id: u128) -> Reply<'_, Option<Loaded<Self>>> {
        Box::pin(async move {
            let stream = StreamId { kind: Reminder::KIND, id };
            let Some(head) = self.store.head(stream).await? else { return Ok(None) };
            let machine =
                serde_json::from_str(&head.snapshot).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            let hands = if head.epoch == self.lanes.epoch_of(stream) { Hands::Ours } else { Hands::Others };
            Ok(Some(Loaded { machine, memory: (), stored: Stored { due_at: head.next_due_at, hands } }))
        })
    }

    fn woken(&self) -> Event {
        Event::Rang
    }

    fn activated(&self, _: u128) {}

    fn received(&self, _: &StoredMessage) -> Option<Event> {
        None
    }

    fn hear(&self, reminder: &Reminder, (): &mut (), event: Event) -> Hearing<Self> {
        match event {
            Event::Rang if reminder.due_at > clock::now() => Hearing::Nothing { over: None },
            Event::Rang | Event::Set => Hearing::Turn { events: vec![event], beside: () },
        }
    }

    async fn unit(
        &self,
        step: &Step<Reminder>,
        events: &[Event],
        (): &(),
        (): &mut (),
    ) -> Result<StepUnit, WriteError> {
        let (after, at, salt) = (&step.after, clock::now(), self.salts.salt());
        Ok(StepUnit {
            stream: after.stream(),
            expected_version: after.version - 1,
            version: after.version,
            at,
            decided_at: at,
            head: Head {
                state: "reminder",
                facet: None,
                next_due_at: after.next_due_at(at),
                next_action: NextActionChange::Keep,
                snapshot: serde_json::to_string(after).expect("a reminder is JSON").into(),
            },
            journal: Title::of::<Reminder>(after.id, after.version, at).write(salt, events).expect("events are JSON"),
            name: None,
            rows: Vec::new(),
            entries: Vec::new(),
            webhooks: Vec::new(),
            messages: message_rows(step, at)?,
            taken: None,
            claim: None,
        })
    }

    async fn write(&self, admission: Admission, unit: Unit) -> Result<(), WriteError> {
        self.lanes.write(admission, unit).await
    }

    fn act(&self, _: &Reminder, (): &mut (), (): &(), Wake(at): Wake) -> Act<Event> {
        Act::Wake(at)
    }

    fn take_back(&self, (): &mut (), _: Wake) {}

    fn noted(&self, _: &Reminder, _: &[()]) {}

    fn ended(&self, _: &Reminder, (): &mut (), (): ()) {}

    fn refused_by_store(&self, _: u128) -> Option<()> {
        None
    }

    fn is_followed(&self, (): &()) -> bool {
        false
    }
}

/// One life of a server that knows orders and reminders.
struct Life {
    hall: Hall,
    reminders: Arc<Directory<Reminders>>,
    finder: Finder,
    courier: Courier,
}

impl Life {
    async fn begin(place: &Place) -> Self {
        let hall = Hall::new(place).await;
        let (store, lanes) = (hall.store.clone(), hall.engine.lanes.clone());
        let threads: Vec<ArbiterHandle> = vec![Arbiter::new().handle()];
        let bounds = Bounds { in_memory_max: 100, idle_ms: 0 };
        let host = Arc::new(Reminders { store: store.clone(), lanes: lanes.clone(), salts: Random });
        let carrier = Box::new(Threads::new(threads));
        let reminders = Directory::new(host, carrier, Arc::new(lanes.clone()), bounds, vec![1_000]);
        let homes = Homes::new(vec![hall.directory().clone(), reminders.clone()]);
        let time = Arc::new(Wall { incarnation: lanes.incarnation() });
        let reads = Arc::new(start::Stored(store));
        let settings = Config::load(&[]).expect("the defaults are right").orders;
        let finder = Finder::new(time.clone(), reads.clone(), homes.clone(), &settings);
        let courier = Courier::new(time, reads, homes);
        Life { hall, reminders, finder, courier }
    }

    async fn set(&self, id: u128, order: OrderId, due_at: Instant) {
        let reminder = Reminder { id, version: 0, state: State::Set, order, due_at };
        self.reminders.create(Cell::fresh(reminder, ()), Event::Set).await.expect("it is durable");
    }

    async fn leaves(&self, id: u128) {
        while self.reminders.is_active(id) {
            Directory::sweep(&self.reminders);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets time work until the reminder has rung.
    async fn rings(&mut self, id: u128) {
        for _ in 0..400 {
            self.finder.slice().await;
            Directory::tick(&self.reminders, clock::now());
            let head = self.hall.store.head(StreamId { kind: Reminder::KIND, id }).await.expect("the head is read");
            let head = head.expect("the reminder is there");
            if serde_json::from_str::<Reminder>(&head.snapshot).expect("a reminder").state == State::Rung {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the reminder does not ring");
    }

    async fn messages(&self) -> usize {
        let messages = self.hall.store.messages_due(None, 100).await.and_then(whole);
        messages.expect("messages are read").len()
    }

    /// How many messages are in the order's journal.
    async fn taken(&self, order: OrderId) -> usize {
        let journal = self.hall.store.journal(order.into()).await.expect("the journal is read");
        let told = |event: &&event::Event| matches!(event.fact, Fact::MessageTaken { .. });
        let events = journal.iter().map(|row| row.record::<Order>().expect("the row is read").events);
        events.map(|events| events.iter().filter(told).count()).sum()
    }
}

pub async fn a_kind_that_the_engine_never_heard_of_falls_due_and_tells_an_order(place: Place) {
    let mut life = Life::begin(&place).await;
    let order = life.hall.stored("reminded").await;
    let soon = || clock::now().plus_ms(150);

    life.set(1, order, soon()).await;
    life.leaves(1).await;
    life.rings(1).await;
    assert_eq!((life.messages().await, life.taken(order).await), (1, 0), "it lies in the store until it is taken");
    for _ in 0..3 {
        life.courier.round().await;
    }
    assert_eq!((life.messages().await, life.taken(order).await), (0, 1), "it was taken, and once");

    // What was set, and what was sent, outlives the process.
    life.set(2, order, soon()).await;
    life.set(3, order, soon()).await;
    life.rings(3).await;
    life.hall.engine.lanes.stop().await;
    drop(life);
    let mut life = Life::begin(&place).await;
    life.rings(2).await;
    life.rings(3).await;
    // Two couriers that have read the same message deliver it twice, and it is taken once.
    let homes = Homes::new(vec![life.hall.directory().clone()]);
    let time = Arc::new(Wall { incarnation: life.hall.engine.lanes.incarnation() });
    let mut other = Courier::new(time, Arc::new(start::Stored(life.hall.store.clone())), homes);
    for _ in 0..3 {
        futures_util::future::join(life.courier.round(), other.round()).await;
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        Directory::tick(life.hall.directory(), clock::now());
    }
    assert_eq!((life.messages().await, life.taken(order).await), (0, 3));
}
