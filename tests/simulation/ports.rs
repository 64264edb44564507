//! What the engine needs of the world, in one life of the server.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tongbao::channels::Ask;
use tongbao::domain::breaker::{Breaker, Limits};
use tongbao::domain::channel::{Channel, Method};
use tongbao::domain::closing::Cover;
use tongbao::domain::cycle::CycleId;
use tongbao::domain::id::{Account, Incarnation, OrderId, PlatformId, RefundId};
use tongbao::domain::journal::Salt;
use tongbao::domain::ledger::LedgerAccount;
use tongbao::domain::merchant::Merchant;
use tongbao::domain::note::Note;
use tongbao::domain::order::Order;
use tongbao::domain::partition::{LaneId, Partition};
use tongbao::domain::payer::PayerMark;
use tongbao::domain::routing::{Outlook, Policy};
use tongbao::domain::settlement::Totals;
use tongbao::domain::stream::StreamId;
use tongbao::domain::success::BasisPoints;
use tongbao::domain::time::Instant;
use tongbao::domain::validation::{Facts, Health};
use tongbao::engine::ask::Details;
use tongbao::engine::clock::course::Certainty;
use tongbao::engine::directory::Gauge;
use tongbao::engine::inbox::Bell;
use tongbao::engine::lane::{Admission, Lane, WriteError};
use tongbao::engine::ports::{
    Accounts, Addressees, Advice, CycleReads, DueReads, HeadReads, InboxReads, Lanes, MessageReads, OrderReads, Outbox,
    Parked, Salts, Sleep, StreamReads, Time, Verdict as Written,
};
use tongbao::engine::supervisor::Call;
use tongbao::engine::webhooks::Letter;
use tongbao::store::{
    Address, Due, LaneBalance, MessageKey, Reply, Seen, StoreError, StoredHead, StoredInboxRow, StoredMessage,
    StoredOrder, StoredRefund, Unit,
};

use crate::auditor;
use crate::crew::WayNumber;
use crate::gateways::Terms;
use crate::life::Question;
use crate::scene::{Scene, lock};
use crate::sights::{self, Sight};
use crate::store::step_of;

pub type Verdict = Result<(), WriteError>;
pub type ShipLane = Lane<Unit, oneshot::Sender<Verdict>>;

/// What the ports of one life share among themselves and with the world.
pub struct Ship {
    pub scene: Arc<Scene>,
    pub life: u32,
    pub lanes: Vec<Mutex<ShipLane>>,
    pub epochs: Vec<i64>,
    /// Calls that the engine has made and that are not on their way yet.
    pub called: Mutex<Vec<(Option<WayNumber>, Account, Call)>>,
    /// Webhooks that are durable, and those whose try is over.
    pub posted: Mutex<Vec<(OrderId, u32)>>,
    pub delivered: Mutex<Vec<(OrderId, u32)>>,
    pub breakers: Mutex<BTreeMap<Account, Breaker>>,
    /// The way of the cell that is being worked on at this moment.
    pub at_work: Mutex<Option<WayNumber>>,
    /// Ways whose cells are lost, because a commit of theirs was.
    pub lost: Mutex<BTreeSet<WayNumber>>,
    /// Ways whose cells are coming back under the same ownership, with nothing due.
    pub returning: Mutex<BTreeSet<WayNumber>>,
    /// Orders that a cell of was lost.
    pub ever_lost: Mutex<BTreeSet<OrderId>>,
    /// What each way's cell is of.
    pub whose: Mutex<BTreeMap<WayNumber, StreamId>>,
    /// Orders of which a lane has said that nobody knows whether something of theirs was written.
    pub unknown: Mutex<BTreeSet<OrderId>>,
    /// Streams with a step on its way into the store.
    pub writing: Mutex<BTreeSet<StreamId>>,
}

impl Ship {
    pub fn breaker<T>(&self, account: &Account, ask: impl FnOnce(&mut Breaker) -> T) -> T {
        let limits = Limits { failures: 10, open_ms: 5_000 };
        ask(lock(&self.breakers).entry(account.clone()).or_insert_with(|| Breaker::new(limits)))
    }

    /// Waits as a look into the store does. Readers have connections of their own: some still reach a store that is
    /// away, and see what may be about to change.
    async fn read<T>(&self, look: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let dice = self.scene.dice.clone();
        let before = dice.happens(500).then(&look);
        self.scene.nap(dice.between((0, 20))).await;
        if self.scene.is_out() && dice.happens(500) {
            return Err(StoreError::Unavailable("the store is away".into()));
        }
        before.unwrap_or_else(look)
    }

    /// The cell at work is of this stream.
    fn works_on(&self, stream: StreamId) {
        if let Some(way) = *lock(&self.at_work) {
            lock(&self.whose).insert(way, stream);
        }
    }

    fn lane_of(&self, unit: &Unit) -> usize {
        match unit.address() {
            Address::Partition(partition) => self.lane_with(partition),
            Address::Lane(LaneId(number)) => usize::try_from(number).expect("few lanes") - 1,
        }
    }

    fn lane_with(&self, partition: Partition) -> usize {
        usize::from(partition.index()) % self.lanes.len()
    }
}

/// The handle of a port.
#[derive(Clone)]
pub struct Port(pub Arc<Ship>);

impl Time for Port {
    fn now(&self) -> Instant {
        self.0.scene.now()
    }

    fn certainty(&self) -> Certainty {
        Certainty::Sure
    }

    fn incarnation(&self) -> Incarnation {
        incarnation(self.0.life)
    }

    fn steady(&self) -> Instant {
        self.0.scene.now()
    }

    fn behind_ms(&self) -> i64 {
        0
    }

    fn sleep(&self, span: Duration) -> Sleep {
        Box::pin(self.0.scene.nap(i64::try_from(span.as_millis()).expect("a short span")))
    }
}

impl Salts for Port {
    fn salt(&self) -> Salt {
        let halves = [(); 2].map(|()| u128::from(self.0.scene.salts.roll()));
        Salt((halves[0] << 64 | halves[1]).to_be_bytes())
    }
}

/// Of the store in a life of the server: another one in each.
pub fn incarnation(life: u32) -> Incarnation {
    Incarnation::default().another(u16::try_from(life).expect("a server has few lives"))
}

impl OrderReads for Port {
    fn order(&self, id: OrderId) -> Reply<'_, Option<StoredOrder>> {
        self.0.works_on(id.into());
        let way = *lock(&self.0.at_work);
        Box::pin(async move {
            let stored = self.0.read(move || self.0.scene.store().order(id)).await?;
            if let (Some(way), Some(stored)) = (way, &stored) {
                self.returns(way, stored);
            }
            Ok(stored)
        })
    }

    fn refund(&self, id: RefundId) -> Reply<'_, Option<StoredRefund>> {
        Box::pin(self.needed(move || Ok(self.0.scene.store().refund(id).cloned())))
    }

    fn platform_name(&self, id: PlatformId) -> Reply<'_, Box<str>> {
        Box::pin(self.needed(move || Ok(format!("platform-{}", id.0).into())))
    }
}

/// No platform wants to hear of its settlements.
impl Addressees for Port {
    fn name(&self, id: PlatformId) -> Reply<'_, Box<str>> {
        self.platform_name(id)
    }

    fn webhook_url(&self, _: PlatformId) -> Reply<'_, Option<Box<str>>> {
        Box::pin(async { Ok(None) })
    }
}

impl CycleReads for Port {
    fn currencies(&self) -> Reply<'_, Vec<String>> {
        Box::pin(self.0.read(|| Ok(self.0.scene.store().currencies())))
    }

    fn cuts(&self, cycle: CycleId) -> Reply<'_, Vec<Cover>> {
        Box::pin(self.0.read(move || Ok(self.0.scene.store().cuts(cycle))))
    }

    fn accounts<'a>(&'a self, cycle: CycleId, after: &'a str, limit: u32) -> Reply<'a, Vec<String>> {
        Box::pin(self.0.read(move || {
            let store = self.0.scene.store();
            let accounts: BTreeSet<String> = store.kept(cycle).map(|sum| sum.account).collect();
            Ok(accounts.into_iter().filter(|account| **account > *after).take(limit as usize).collect())
        }))
    }

    fn sums(&self, platform: PlatformId, cycle: CycleId) -> Reply<'_, Vec<LaneBalance>> {
        let accounts = [LedgerAccount::Platform, LedgerAccount::FeesDue, LedgerAccount::Position];
        let accounts = accounts.map(|of| of(platform).to_string());
        Box::pin(self.0.read(move || {
            let store = self.0.scene.store();
            Ok(store.kept(cycle).filter(|sum| accounts.contains(&sum.account)).collect())
        }))
    }

    fn totals(&self, cycle: CycleId, after: PlatformId, limit: u32) -> Reply<'_, Vec<(PlatformId, Totals)>> {
        Box::pin(self.0.read(move || {
            let store = self.0.scene.store();
            let of_cycle = store.settlements().filter(|row| row.cycle == cycle && row.platform > after);
            let totals = of_cycle.map(|row| {
                let totals: Totals = serde_json::from_str(&row.totals).expect("written totals can be read");
                (row.platform, totals)
            });
            Ok(totals.take(limit as usize).collect())
        }))
    }
}

impl HeadReads for Port {
    fn head(&self, stream: StreamId) -> Reply<'_, Option<StoredHead>> {
        StreamReads::head(self, stream)
    }
}

impl StreamReads for Port {
    fn head(&self, stream: StreamId) -> Reply<'_, Option<StoredHead>> {
        self.0.works_on(stream);
        Box::pin(self.0.read(move || Ok(self.0.scene.store().head(stream))))
    }
}

impl MessageReads for Port {
    fn messages(&self, after: Option<MessageKey>, limit: u32) -> Reply<'_, Vec<Seen<MessageKey, StoredMessage>>> {
        Box::pin(self.0.read(move || {
            let store = self.0.scene.store();
            let rows = store.messages.values().filter(|message| after.is_none_or(|after| message.key > after));
            let seen = rows.map(|message| Seen { key: Some(message.key), value: Ok(message.clone()) });
            Ok(seen.take(limit as usize).collect())
        }))
    }
}

impl DueReads for Port {
    fn due(&self, after: Option<Due>, until: Instant, limit: u32) -> Reply<'_, Vec<Due>> {
        Box::pin(self.0.read(move || Ok(self.0.scene.store().due(after, until, limit))))
    }
}

impl InboxReads for Port {
    fn of(&self, order: OrderId) -> Reply<'_, Vec<Seen<i64, StoredInboxRow>>> {
        Box::pin(self.0.read(move || {
            let store = self.0.scene.store();
            let rows = store.inbox().filter(|stored| stored.row.order == Some(order));
            Ok(rows.map(|stored| Seen { key: Some(stored.id), value: Ok(stored) }).collect())
        }))
    }

    fn orders(&self, after: Option<OrderId>, limit: u32) -> Reply<'_, Vec<OrderId>> {
        Box::pin(self.0.read(move || Ok(self.0.scene.store().inbox_orders(after, limit))))
    }

    fn size(&self) -> Reply<'_, i64> {
        Box::pin(self.0.read(|| Ok(i64::try_from(self.0.scene.store().inbox().count()).expect("few rows"))))
    }
}

impl Gauge for Port {
    fn is_away(&self) -> bool {
        self.0.lanes.iter().any(|lane| {
            let lane = lock(lane);
            lane.standing().is_away() || lane.standing().is_stopped()
        })
    }
}

impl Lanes for Port {
    fn active(&self) -> Vec<LaneId> {
        (1..).map(LaneId).take(self.0.lanes.len()).collect()
    }

    fn is_ours(&self, stream: StreamId, epoch: i64) -> bool {
        self.0.epochs[self.0.lane_with(stream.partition())] == epoch
    }

    fn write(&self, admission: Admission, unit: Unit) -> Written<'_> {
        let ship = &self.0;
        let step = step_of(&unit).map(|step| step.stream);
        let (about, way) = (order_about(&unit), *lock(&ship.at_work));
        Box::pin(async move {
            if let Some(stream) = step {
                ship.works_on(stream);
                let is_first = lock(&ship.writing).insert(stream);
                assert!(is_first, "{stream} has two steps under way: it is active twice");
            }
            let verdict = self.commit(admission, unit).await;
            if let Some(stream) = step {
                lock(&ship.writing).remove(&stream);
                match (&verdict, way) {
                    (Err(WriteError::ReferenceTaken | WriteError::NameTaken), _) | (Ok(()), _) | (_, None) => {}
                    (Err(_), Some(way)) => drop(lock(&ship.lost).insert(way)),
                }
            }
            if let (Err(WriteError::Unknown), Some(order)) = (&verdict, about) {
                lock(&ship.unknown).insert(order);
            }
            if let (Err(_), Some(order), Some(_)) = (&verdict, about, way) {
                lock(&ship.ever_lost).insert(order);
            }
            verdict
        })
    }
}

impl Port {
    /// The cell at work has been read from the store.
    fn returns(&self, way: WayNumber, stored: &StoredOrder) {
        let (id, now) = (stored.order.id, self.0.scene.now());
        let is_ours = self.is_ours(id.into(), stored.epoch) && !lock(&self.0.ever_lost).contains(&id);
        if is_ours && stored.next_due_at.is_some_and(|due_at| due_at > now) {
            sights::note(Sight::CameBack);
            lock(&self.0.returning).insert(way);
        }
    }

    /// What a webhook is made of: where it cannot be read the step comes to nothing, and its cell is lost.
    fn needed<T>(&self, look: impl Fn() -> Result<T, StoreError>) -> impl Future<Output = Result<T, StoreError>> {
        let way = *lock(&self.0.at_work);
        async move {
            let read = self.0.read(look).await;
            if let (Err(_), Some(way)) = (&read, way) {
                lock(&self.0.lost).insert(way);
                let order = lock(&self.0.whose).get(&way).and_then(|stream| stream.order());
                lock(&self.0.ever_lost).extend(order);
            }
            read
        }
    }

    async fn commit(&self, admission: Admission, unit: Unit) -> Verdict {
        let (waiter, verdict) = oneshot::channel();
        let _seat = lock(&self.0.lanes[self.0.lane_of(&unit)]).offer(admission, unit, waiter)?;
        verdict.await.unwrap_or(Err(WriteError::Unknown))
    }
}

/// The order that hears of it where nobody knows what became of a unit.
fn order_about(unit: &Unit) -> Option<OrderId> {
    match unit {
        Unit::Step(step) => step.stream.order(),
        Unit::PutOff(put_off) => put_off.stream.order(),
        Unit::Inbox(row) => row.order,
        Unit::Answer(_)
        | Unit::InboxDone { .. }
        | Unit::Delivery(_)
        | Unit::DeadLetter(_)
        | Unit::Cut(_)
        | Unit::OperatorAct(_) => None,
    }
}

/// One account of each channel belongs to the seller.
pub fn merchant_of(account: &Account) -> Merchant {
    if account.name() == "own" { Merchant::Seller } else { Merchant::Operator }
}

impl Accounts for Port {
    fn facts(&self, _: PlatformId, (channel, method): (Channel, Method), _: &Details) -> Facts {
        let Ship { scene, .. } = &*self.0;
        let account = Account::new(channel, scene.dice.pick(&["default", "second", "own"]));
        let merchant = merchant_of(&account);
        let risk = scene.dice.happens(5).then(|| "refused_payer".into());
        let waits = self.0.breaker(&account, |breaker| breaker.is_open(scene.now()));
        let health = if waits.is_some() { Health::Down } else { Health::Up };
        Facts { channel, method, account: Some(account), merchant, health, risk }
    }

    fn freeze(&self, _: &Account, ask: &Ask<'_>) -> Option<Box<str>> {
        let terms = json!({
            "amount_minor": ask.payable_minor, "expires_at": ask.expires_at.0, "method": ask.method,
        });
        Some(terms.to_string().into())
    }

    fn notify_url(&self, account: &Account) -> String {
        format!("https://pay.test/{}/{}", account.channel(), account.name())
    }

    fn call(&self, account: &Account, call: Call) -> Result<(), Box<Call>> {
        auditor::departs(&self.0.scene.store(), call.attempt.number, Question::from(&call.question));
        let way = *lock(&self.0.at_work);
        if let Some(way) = way {
            let comes_back = lock(&self.0.returning).contains(&way);
            assert!(!comes_back, "an order comes back, nothing is due, and it asks its channel: {call:?}");
        }
        lock(&self.0.called).push((way, account.clone(), call));
        Ok(())
    }
}

/// What an attempt's frozen request asks of its gateway.
pub fn thaw(frozen: &str) -> Terms {
    let terms: Value = serde_json::from_str(frozen).expect("a frozen request is JSON");
    let number = |name: &str| terms[name].as_i64().expect("a number");
    Terms {
        amount_minor: number("amount_minor"),
        expires_at: Instant(number("expires_at")),
        method: serde_json::from_value(terms["method"].clone()).expect("a method"),
    }
}

impl Advice for Port {
    fn noted(&self, order: &Order, notes: &[Note]) {
        if !notes.is_empty() {
            auditor::noted(&self.0.scene.store(), order);
        }
    }

    fn marks(&self, _: PlatformId, _: Option<&tongbao::domain::payer::Payer>) -> Vec<PayerMark> {
        Vec::new()
    }

    fn outlook_after<'a>(
        &'a self,
        _: &'a Order,
        _: &'a [Note],
        _: Arc<[PayerMark]>,
    ) -> Pin<Box<dyn Future<Output = Outlook> + Send + 'a>> {
        let policy = Policy { samples_min: 20, rate_step_percent: 5, neutral_rate: BasisPoints::WHOLE };
        let look_ms = self.0.scene.dice.between((0, 20));
        Box::pin(async move {
            self.0.scene.nap(look_ms).await;
            Outlook::none(self.0.scene.now(), policy)
        })
    }
}

/// Is told of every cell that is in memory again, before it takes its first letter.
pub struct Door {
    pub bell: Bell,
    pub ship: Arc<Ship>,
}

impl Parked for Door {
    fn is_back(&self, order: OrderId) {
        if let Some(way) = *lock(&self.ship.at_work) {
            lock(&self.ship.returning).remove(&way);
        }
        self.bell.is_back(order);
    }
}

impl Outbox for Port {
    fn written(&self, letter: Letter) {
        let Letter { stream, row } = letter;
        let order = stream.order().expect("only orders tell their platforms something");
        auditor::posted(&self.0.scene.store(), order, &row);
        lock(&self.0.posted).push((order, row.sequence));
    }
}
