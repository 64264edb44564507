//! Puts the engine together, from what needs nothing to what needs all of it.

use std::sync::Arc;
use std::time::Duration;

use actix::ArbiterHandle;

use super::accounts::Accounts;
use super::advice::{Advice, RoutingStats};
use super::carrier::Threads;
use super::clock;
use super::clock::course::Certainty;
use super::directory::{Bounds, Directory, Gauge, SWEEP_EVERY};
use super::finder::Finder;
use super::inbox::{self, Inbox};
use super::lane::{Admission, Lanes};
use super::order::Orders;
use super::order::desk::Desk;
use super::ports;
use super::timers::TICK;
use super::unreadable::UnreadableRows;
use super::webhooks::{Letter, WebhookDispatcher, WebhookHandle};
use crate::config::Config;
use crate::domain::id::{Incarnation, OrderId};
use crate::domain::pay_link::PayLinks;
use crate::domain::stream::StreamId;
use crate::domain::time::Instant;
use crate::store::{Reply, Store, StoreError, StoredOrder, Unit};

/// The handles by which others come to the engine.
pub struct Engine {
    pub desk: Desk,
    pub accounts: Arc<Accounts>,
    pub advice: Arc<Advice>,
    pub inbox: Arc<Inbox>,
    pub lanes: Lanes,
    pub unreadable: Arc<UnreadableRows>,
    store: Arc<dyn Store>,
}

impl Engine {
    /// Starts everything but the accounts, which are served one by one, and the finder.
    pub fn start(
        config: &Arc<Config>,
        store: Arc<dyn Store>,
        lanes: Lanes,
        stats: RoutingStats,
        links: Arc<PayLinks>,
        threads: Vec<ArbiterHandle>,
    ) -> Self {
        let unreadable = Arc::<UnreadableRows>::default();
        let accounts = Arc::new(Accounts::new(config.clone()));
        let advice = Arc::new(Advice::new(stats, accounts.clone(), store.clone()));
        let webhooks = WebhookDispatcher::start(config, store.clone(), lanes.clone(), unreadable.clone());
        let (bell, rung) = inbox::bell();
        let orders = Orders {
            time: Arc::new(Wall { incarnation: lanes.incarnation() }),
            reads: Arc::new(Stored(store.clone())),
            lanes: Arc::new(lanes.clone()),
            accounts: accounts.clone(),
            advice: advice.clone(),
            outbox: Arc::new(webhooks),
            parked: Arc::new(bell),
            links,
        };
        let bounds = Bounds { in_memory_max: config.orders.in_memory_max, idle_ms: config.orders.idle_ms };
        let retry_ms = config.orders.quarantine_retry_ms.clone();
        let carrier = Box::new(Threads::new(threads));
        let directory = Directory::new(Arc::new(orders), carrier, Arc::new(lanes.clone()), bounds, retry_ms);
        let desk = Desk::new(directory, Duration::from_millis(config.server.first_answer_wait_ms));
        let (parked_max, ways) = (config.orders.inbox_max, Arc::new(lanes.clone()));
        let inbox = Inbox::start(store.clone(), ways, desk.clone(), unreadable.clone(), parked_max, rung);
        actix::spawn(tick(desk.directory().clone()));
        Engine { desk, accounts, advice, inbox, lanes, unreadable, store }
    }

    /// Starts to find what is due, once all accounts are served.
    pub fn find(&self, config: &Config) {
        let finder = Finder::new(self.store.clone(), self.desk.clone(), self.inbox.clone(), config.orders.clone());
        actix::spawn(finder.run());
    }

    /// Measures what is counted by looking.
    ///
    /// # Errors
    /// What waits in the store cannot be counted.
    pub async fn measure(&self) -> Result<(), StoreError> {
        let directory = self.desk.directory();
        metrics::gauge!("tongbao_orders_active").set(directory.active() as f64);
        metrics::gauge!("tongbao_timers").set(directory.armed() as f64);
        self.advice.stats().measure();
        self.unreadable.measure(clock::now());
        metrics::gauge!("tongbao_webhooks_waiting").set(self.store.outbox_size().await? as f64);
        self.inbox.measure().await
    }
}

/// Wakes what is due, and lets go what is idle.
async fn tick(directory: Arc<Directory<Orders>>) {
    let mut behind_ms = clock::behind_ms();
    let mut swept = clock::steady();
    loop {
        tokio::time::sleep(TICK).await;
        let now_behind_ms = clock::behind_ms();
        let back_ms = now_behind_ms - std::mem::replace(&mut behind_ms, now_behind_ms);
        if back_ms > 0 {
            directory.set_back(back_ms);
        }
        directory.tick(clock::now());
        let steady = clock::steady();
        if steady.since_ms(swept) >= i64::try_from(SWEEP_EVERY.as_millis()).unwrap_or(i64::MAX) {
            swept = steady;
            directory.sweep();
        }
    }
}

/// The clock of the server.
struct Wall {
    incarnation: Incarnation,
}

impl ports::Time for Wall {
    fn now(&self) -> Instant {
        clock::now()
    }

    fn certainty(&self) -> Certainty {
        clock::certainty()
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }
}

/// Orders as the store has them.
struct Stored(Arc<dyn Store>);

impl ports::OrderReads for Stored {
    fn order(&self, id: OrderId) -> Reply<'_, Option<StoredOrder>> {
        self.0.order(id)
    }
}

impl ports::Lanes for Lanes {
    fn write(&self, admission: Admission, unit: Unit) -> ports::Verdict<'_> {
        Box::pin(Lanes::write(self, admission, unit))
    }

    fn is_ours(&self, stream: StreamId, epoch: i64) -> bool {
        Lanes::epoch_of(self, stream) == epoch
    }
}

impl ports::Outbox for WebhookHandle {
    fn written(&self, letter: Letter) {
        WebhookHandle::written(self, letter);
    }
}

impl Gauge for Lanes {
    fn is_away(&self) -> bool {
        Lanes::is_away(self)
    }
}
