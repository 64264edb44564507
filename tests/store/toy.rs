//! The reminder over a real store, with the true finder and couriers, in two lives of a server.

use std::sync::Arc;
use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};
use tongbao::config::Config;
use tongbao::domain::event::{self, Fact};
use tongbao::domain::id::OrderId;
use tongbao::domain::machine::Machine;
use tongbao::domain::order::Order;
use tongbao::domain::stream::StreamId;
use tongbao::domain::time::Instant;
use tongbao::engine::carrier::Threads;
use tongbao::engine::cell::Cell;
use tongbao::engine::clock;
use tongbao::engine::courier::Courier;
use tongbao::engine::directory::{Bounds, Directory};
use tongbao::engine::finder::Finder;
use tongbao::engine::homes::Homes;
use tongbao::engine::start::{self, Random, Wall};
use tongbao::store::whole;

use super::book::Place;
use super::directory::Hall;
use super::reminder::{Event, Reminder, Reminders, State};

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
        let time = Arc::new(Wall { incarnation: lanes.incarnation() });
        let reads = Arc::new(start::Stored::new(store));
        let host = Reminders {
            time: time.clone(),
            salts: Arc::new(Random),
            heads: reads.clone(),
            lanes: Arc::new(lanes.clone()),
        };
        let carrier = Box::new(Threads::new(threads));
        let reminders = Directory::new(Arc::new(host), carrier, Arc::new(lanes.clone()), bounds, vec![1_000]);
        let homes = Homes::new(vec![hall.directory().clone(), reminders.clone()]);
        let settings = Config::load(&[]).expect("the defaults are right").orders;
        let finder = Finder::new(time.clone(), reads.clone(), homes.clone(), &settings);
        let courier = Courier::new(time, reads, homes);
        Life { hall, reminders, finder, courier }
    }

    async fn set(&self, id: u128, order: OrderId, due_at: Instant) {
        let reminder = Reminder::new(id, order, due_at);
        self.reminders.create(Cell::fresh(reminder, ()), Event::Set).await.expect("it is durable");
    }

    async fn leaves(&self, id: u128) {
        while self.reminders.is_active(id) {
            Directory::sweep(&self.reminders);
            Directory::let_go(&self.reminders);
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
            if Reminder::read(&head).expect("a reminder").state == State::Rung {
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
    let mut other = Courier::new(time, Arc::new(start::Stored::new(life.hall.store.clone())), homes);
    for _ in 0..3 {
        futures_util::future::join(life.courier.round(), other.round()).await;
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        Directory::tick(life.hall.directory(), clock::now());
    }
    assert_eq!((life.messages().await, life.taken(order).await), (0, 3));
}
