//! Puts the engine together, from what needs nothing to what needs all of it.

use std::sync::Arc;
use std::time::Duration;

use actix::ArbiterHandle;
use dashmap::DashMap;

use super::accounts::Accounts;
use super::advice::{Advice, RoutingStats};
use super::calendars::{Calendars, Closer, Keeper};
use super::carrier::Threads;
use super::changes::{Changes, Needs};
use super::clock;
use super::clock::course::Certainty;
use super::courier::Courier;
use super::cover::CoverWatch;
use super::directory::{Bounds, Directory, Gauge, SWEEP_EVERY};
use super::finder::Finder;
use super::homes::Homes;
use super::inbox::{self, Inbox};
use super::lane::{Admission, Lanes};
use super::nettings::Nettings;
use super::order::Orders;
use super::order::desk::Desk;
use super::payees::Payees;
use super::payout_desk::PayoutDesk;
use super::ports;
use super::proposal::{ByHand, ProposalDesk, Proposals};
use super::quiet::Quietly;
use super::timers::TICK;
use super::unreadable::UnreadableRows;
use super::webhooks::{Letter, WebhookDispatcher, WebhookHandle};
use crate::config::Config;
use crate::domain::closing::Cover;
use crate::domain::cycle::CycleId;
use crate::domain::id::{Incarnation, OrderId, PlatformId, RefundId};
use crate::domain::journal::Salt;
use crate::domain::money::Currency;
use crate::domain::operator::{OperatorId, Role};
use crate::domain::partition::LaneId;
use crate::domain::pay_link::PayLinks;
use crate::domain::platform::KeyHash;
use crate::domain::settlement::Totals;
use crate::domain::stream::StreamId;
use crate::domain::time::Instant;
use crate::store::{
    DeadLetter, Due, LaneBalance, MessageKey, Reply, Seen, Store, StoreError, StoredHead, StoredInboxRow,
    StoredMessage, StoredOperator, StoredOrder, StoredPlatform, StoredRefund, Unit,
};

/// Proposals in memory at once: those that somebody approves at this moment, and those that were just made.
const PROPOSALS_MAX: usize = 1_000;

/// The handles by which others come to the engine.
pub struct Engine {
    pub desk: Desk,
    pub accounts: Arc<Accounts>,
    pub advice: Arc<Advice>,
    pub inbox: Arc<Inbox>,
    pub changes: Arc<Changes>,
    pub calendars: Arc<Directory<Calendars>>,
    pub payees: Arc<Directory<Payees>>,
    pub payouts: Arc<PayoutDesk>,
    pub nettings: Arc<Directory<Nettings>>,
    pub proposals: Arc<ProposalDesk>,
    pub lanes: Lanes,
    pub unreadable: Arc<UnreadableRows>,
    homes: Arc<Homes>,
    store: Arc<dyn Store>,
    cover: CoverWatch,
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
        let outbox: Arc<dyn ports::Outbox> = Arc::new(webhooks);
        let (bell, rung) = inbox::bell();
        let time: Arc<dyn ports::Time> = Arc::new(Wall { incarnation: lanes.incarnation() });
        let reads = Arc::new(Stored::new(store.clone()));
        let orders = Orders {
            time: time.clone(),
            salts: Arc::new(Random),
            reads: reads.clone(),
            lanes: Arc::new(lanes.clone()),
            accounts: accounts.clone(),
            advice: advice.clone(),
            outbox: outbox.clone(),
            parked: Arc::new(bell),
            links,
        };
        let bounds = Bounds { in_memory_max: config.orders.in_memory_max, idle_ms: config.orders.idle_ms };
        let retry_ms = config.orders.quarantine_retry_ms.clone();
        let (beside, closers, threads_of_proposals) = (threads.clone(), threads.clone(), threads.clone());
        let carrier = Box::new(Threads::new(threads));
        let directory = Directory::new(Arc::new(orders), carrier, Arc::new(lanes.clone()), bounds, retry_ms);
        let desk = Desk::new(directory, Duration::from_millis(config.server.first_answer_wait_ms));
        let (parked_max, ways) = (config.orders.inbox_max, Arc::new(lanes.clone()));
        let inbox = Inbox::new(time.clone(), reads.clone(), ways, desk.clone(), unreadable.clone(), parked_max, &rung);
        let inbox = Arc::new(inbox);
        let serving = inbox.clone();
        actix::spawn(async move { serving.serve(rung).await });
        let changes = start_changes(config, store.clone(), lanes.clone(), accounts.clone(), beside);
        let settling = start_settling(config, &store, (&lanes, outbox), closers);
        let (calendars, payees) = (settling.clone(), settling.host().closer.payees.clone());
        let nettings = settling.host().closer.nettings.clone();
        let by_hand = ByHand { desk: desk.clone(), changes: changes.clone(), reads: reads.clone(), time: time.clone() };
        let proposals = Proposals {
            time,
            salts: Arc::new(Random),
            heads: reads,
            lanes: Arc::new(lanes.clone()),
            by_hand: Arc::new(by_hand),
        };
        let carrier = Box::new(Threads::new(threads_of_proposals));
        let (gauge, bounds) = (Arc::new(lanes.clone()), Bounds { in_memory_max: PROPOSALS_MAX, idle_ms: 0 });
        let retry_ms = config.orders.quarantine_retry_ms.clone();
        let proposals = Directory::new(Arc::new(proposals), carrier, gauge, bounds, retry_ms);
        let proposals = Arc::new(ProposalDesk::new(proposals, config.operators.proposal_lapses_ms));
        let payouts = Arc::new(PayoutDesk::new(store.clone(), payees.clone()));
        let homes = Homes::new(vec![
            desk.directory().clone(),
            changes.platforms().clone(),
            changes.operators().clone(),
            proposals.directory().clone(),
            calendars.clone(),
            payees.clone(),
            nettings.clone(),
        ]);
        actix::spawn(tick(homes.clone()));
        Engine {
            desk,
            accounts,
            advice,
            inbox,
            changes,
            calendars,
            nettings,
            payees,
            payouts,
            proposals,
            lanes,
            unreadable,
            homes,
            store,
            cover: CoverWatch::default(),
        }
    }

    /// Starts to find what is due, once all accounts are served.
    pub fn find(&self, config: &Config) {
        let time = Arc::new(Wall { incarnation: self.lanes.incarnation() });
        let reads = Arc::new(Stored::new(self.store.clone()));
        let courier = Courier::new(time.clone(), reads.clone(), self.homes.clone());
        actix::spawn(courier.run());
        let keeper = Keeper {
            calendars: self.calendars.clone(),
            cycles: reads.clone(),
            schedule: config.settlement.schedule.clone(),
            close_after_ms: config.settlement.close_after_ms,
        };
        actix::spawn(keeper.run(Duration::from_millis(config.settlement.look_ms)));
        let finder = Finder::new(time, reads, self.homes.clone(), &config.orders);
        actix::spawn(finder.run(self.inbox.clone(), Duration::from_millis(config.orders.scan_ms)));
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
        self.inbox.measure().await?;
        self.cover.measure(self.store.as_ref()).await
    }
}

/// What a process needs that does nothing but change a store for a command.
pub fn start_changes(
    config: &Config,
    store: Arc<dyn Store>,
    lanes: Lanes,
    accounts: Arc<Accounts>,
    threads: Vec<ArbiterHandle>,
) -> Arc<Changes> {
    let reads = Arc::new(Stored::new(store));
    Arc::new(Changes::new(Needs {
        time: Arc::new(Wall { incarnation: lanes.incarnation() }),
        salts: Arc::new(Random),
        heads: reads.clone(),
        platforms: reads.clone(),
        operators: reads.clone(),
        dead_letters: reads,
        lanes: Arc::new(lanes.clone()),
        gauge: Arc::new(lanes),
        accounts,
        quarantine_retry: config.orders.quarantine_retry_ms.clone(),
        threads,
    }))
}

/// Calendars, and payees and netting runs with them: few of any are in memory at a time.
fn start_settling(
    config: &Arc<Config>,
    store: &Arc<dyn Store>,
    (lanes, outbox): (&Lanes, Arc<dyn ports::Outbox>),
    threads: Vec<ArbiterHandle>,
) -> Arc<Directory<Calendars>> {
    let time: Arc<dyn ports::Time> = Arc::new(Wall { incarnation: lanes.incarnation() });
    let (salts, reads) = (Arc::new(Random), Arc::new(Stored::new(store.clone())));
    let retry_ms = &config.orders.quarantine_retry_ms;
    let payees = Payees {
        time: time.clone(),
        salts: salts.clone(),
        reads: reads.clone(),
        addressees: reads.clone(),
        lanes: Arc::new(lanes.clone()),
        outbox,
    };
    let bounds = Bounds { in_memory_max: config.orders.in_memory_max, idle_ms: 0 };
    let carrier = Box::new(Threads::new(threads.clone()));
    let payees = Directory::new(Arc::new(payees), carrier, Arc::new(lanes.clone()), bounds, retry_ms.clone());
    let nettings = Quietly::new(time.clone(), salts.clone(), reads.clone(), Arc::new(lanes.clone()));
    let carrier = Box::new(Threads::new(threads.clone()));
    let nettings = Directory::new(Arc::new(nettings), carrier, Arc::new(lanes.clone()), bounds, retry_ms.clone());
    let minima = config.clone();
    let closer = Closer {
        cycles: reads.clone(),
        payees,
        nettings,
        payout_min: Box::new(move |currency| minima.settlement.payout_min_minor(currency)),
    };
    let lanes = Arc::new(lanes.clone());
    let calendars = Calendars { time, salts, reads, lanes: lanes.clone(), closer: Arc::new(closer) };
    let carrier = Box::new(Threads::new(threads));
    Directory::new(Arc::new(calendars), carrier, lanes, bounds, retry_ms.clone())
}

/// Wakes what is due, and lets go what is idle.
async fn tick(homes: Arc<Homes>) {
    let mut behind_ms = clock::behind_ms();
    let mut swept = clock::steady();
    loop {
        tokio::time::sleep(TICK).await;
        let now_behind_ms = clock::behind_ms();
        let back_ms = now_behind_ms - std::mem::replace(&mut behind_ms, now_behind_ms);
        if back_ms > 0 {
            homes.all().for_each(|home| home.set_back(back_ms));
        }
        homes.all().for_each(|home| home.tick(clock::now()));
        let steady = clock::steady();
        if steady.since_ms(swept) >= i64::try_from(SWEEP_EVERY.as_millis()).unwrap_or(i64::MAX) {
            swept = steady;
            homes.all().for_each(|home| home.sweep());
        }
        homes.all().for_each(|home| home.let_go());
    }
}

/// The clock of the server.
pub struct Wall {
    pub incarnation: Incarnation,
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

    fn steady(&self) -> Instant {
        clock::steady()
    }

    fn behind_ms(&self) -> i64 {
        clock::behind_ms()
    }

    fn sleep(&self, span: Duration) -> ports::Sleep {
        Box::pin(tokio::time::sleep(span))
    }
}

/// The generator of this thread, which is cryptographically secure.
pub struct Random;

impl ports::Salts for Random {
    fn salt(&self) -> Salt {
        Salt(rand::random())
    }
}

/// The store, as the engine reads it.
pub struct Stored {
    store: Arc<dyn Store>,
    /// Of platforms, which keep them for ever.
    names: DashMap<PlatformId, Box<str>>,
}

impl Stored {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Stored { store, names: DashMap::new() }
    }

    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    async fn platform(&self, id: PlatformId) -> Result<StoredPlatform, StoreError> {
        let platform = self.store.platform(id).await?;
        platform.ok_or_else(|| StoreError::Corrupt(format!("platform {} is not there", id.0)))
    }
}

impl ports::MessageReads for Stored {
    fn messages(&self, after: Option<MessageKey>, limit: u32) -> Reply<'_, Vec<Seen<MessageKey, StoredMessage>>> {
        self.store.messages_due(after, limit)
    }
}

impl ports::DueReads for Stored {
    fn due(&self, after: Option<Due>, until: Instant, limit: u32) -> Reply<'_, Vec<Due>> {
        self.store.due(after, until, limit)
    }
}

impl ports::InboxReads for Stored {
    fn of(&self, order: OrderId) -> Reply<'_, Vec<Seen<i64, StoredInboxRow>>> {
        self.store.inbox(order)
    }

    fn orders(&self, after: Option<OrderId>, limit: u32) -> Reply<'_, Vec<OrderId>> {
        self.store.inbox_orders(after, limit)
    }

    fn size(&self) -> Reply<'_, i64> {
        self.store.inbox_size()
    }
}

impl ports::HeadReads for Stored {
    fn head(&self, stream: StreamId) -> Reply<'_, Option<StoredHead>> {
        self.store.head(stream)
    }
}

impl ports::OperatorReads for Stored {
    fn named<'a>(&'a self, name: &'a str) -> Reply<'a, Option<StoredOperator>> {
        self.store.operator_by_name(name)
    }

    fn last(&self) -> Reply<'_, Option<OperatorId>> {
        self.store.last_operator()
    }

    fn has_key(&self, hash: KeyHash) -> Reply<'_, bool> {
        Box::pin(async move { Ok(self.store.operator_key_owner(&hash.0).await?.is_some()) })
    }

    fn in_force(&self, role: Role, now: Instant) -> Reply<'_, i64> {
        self.store.operators_in_force(role, now)
    }
}

impl ports::ActReads for Stored {
    fn order(&self, id: OrderId) -> Reply<'_, Option<StoredOrder>> {
        self.store.order(id)
    }

    fn debt_bound(&self, platform: PlatformId, currency: Currency) -> Reply<'_, Option<i64>> {
        self.store.debt_bound(platform, currency)
    }

    fn operator<'a>(&'a self, name: &'a str) -> Reply<'a, Option<StoredOperator>> {
        self.store.operator_by_name(name)
    }

    fn key_owner(&self, hash: KeyHash) -> Reply<'_, Option<OperatorId>> {
        Box::pin(async move { self.store.operator_key_owner(&hash.0).await })
    }
}

impl ports::PlatformReads for Stored {
    fn named<'a>(&'a self, name: &'a str) -> Reply<'a, Option<PlatformId>> {
        Box::pin(async move { Ok(self.store.platform_by_name(name).await?.map(|platform| platform.id)) })
    }

    fn last(&self) -> Reply<'_, Option<PlatformId>> {
        self.store.last_platform()
    }

    fn has_key(&self, hash: KeyHash) -> Reply<'_, bool> {
        Box::pin(async move { Ok(self.store.key_owner(&hash.0).await?.is_some()) })
    }
}

impl ports::StreamReads for Stored {
    fn head(&self, stream: StreamId) -> Reply<'_, Option<StoredHead>> {
        self.store.head(stream)
    }
}

impl ports::CycleReads for Stored {
    fn currencies(&self) -> Reply<'_, Vec<String>> {
        self.store.booked_currencies()
    }

    fn cuts(&self, cycle: CycleId) -> Reply<'_, Vec<Cover>> {
        self.store.cuts(cycle)
    }

    fn accounts<'a>(&'a self, cycle: CycleId, after: &'a str, limit: u32) -> Reply<'a, Vec<String>> {
        self.store.accounts_of_cycle(cycle, after, limit)
    }

    fn sums(&self, platform: PlatformId, cycle: CycleId) -> Reply<'_, Vec<LaneBalance>> {
        self.store.sums_of_cycle(platform, cycle)
    }

    fn totals(&self, cycle: CycleId, after: PlatformId, limit: u32) -> Reply<'_, Vec<(PlatformId, Totals)>> {
        self.store.totals_of_cycle(cycle, after, limit)
    }
}

impl ports::DeadLetters for Stored {
    fn dead(&self, after: Option<(StreamId, u32)>, limit: u32) -> Reply<'_, Vec<Seen<(StreamId, u32), DeadLetter>>> {
        self.store.dead_letters(after, limit)
    }
}

impl ports::OrderReads for Stored {
    fn order(&self, id: OrderId) -> Reply<'_, Option<StoredOrder>> {
        self.store.order(id)
    }

    fn refund(&self, id: RefundId) -> Reply<'_, Option<StoredRefund>> {
        self.store.refund(id)
    }

    fn platform_name(&self, id: PlatformId) -> Reply<'_, Box<str>> {
        Box::pin(async move {
            if let Some(name) = self.names.get(&id) {
                return Ok(name.clone());
            }
            let platform = self.platform(id).await?;
            let name: Box<str> = platform.name.into();
            self.names.insert(id, name.clone());
            Ok(name)
        })
    }
}

impl ports::Addressees for Stored {
    fn name(&self, id: PlatformId) -> Reply<'_, Box<str>> {
        ports::OrderReads::platform_name(self, id)
    }

    /// One that is not there is told nothing: what it is settled for does not hang on that.
    fn webhook_url(&self, id: PlatformId) -> Reply<'_, Option<Box<str>>> {
        Box::pin(async move {
            let platform = self.store.platform(id).await?;
            Ok(platform.and_then(|platform| platform.webhook_url).map(Into::into))
        })
    }
}

impl ports::Lanes for Lanes {
    fn write(&self, admission: Admission, unit: Unit) -> ports::Verdict<'_> {
        Box::pin(Lanes::write(self, admission, unit))
    }

    fn active(&self) -> Vec<LaneId> {
        Lanes::active(self).to_vec()
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
