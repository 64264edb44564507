//! Which orders are in memory, and the way to each of them: activate on demand, forget, quarantine.
//!
//! It must never decide anything about an order: that is the order's own turn.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use actix::prelude::*;
use aws_lc_rs::digest::{SHA256, digest};
use dashmap::mapref::entry::Entry;
use dashmap::{DashMap, DashSet};
use tokio::sync::oneshot;

use super::ask::{Addressee, AskError, Command, Details, NewOrder, Patience, Placed, Resolution, Taken};
use super::clock;
use super::order::{Open, OrderActor, Tell, Told};
use super::quarantine::{Quarantine, Quarantined};
use super::request;
use super::router::Router;
use super::supervisor::{Answers, SupervisorHandle};
use super::timers::Timers;
use super::unreadable::{Table, UnreadableRows};
use super::webhooks::{Letter, WebhookHandle};
use super::writer::{Lane, WriteError, WriterHandle};
use crate::channels::{Adapter, CallbackError, Heard, NextAction, Notice, Received};
use crate::config::Config;
use crate::domain::channel::{Channel, Method};
use crate::domain::event::{Event, Fact, Refusal};
use crate::domain::id::{Account, AttemptNumber, Incarnation, OrderId, PlatformId};
use crate::domain::order::{Attempt, AttemptState, Order};
use crate::domain::step::create;
use crate::domain::time::Instant;
use crate::domain::validation::{Facts, Health, validate};
use crate::store::{Claim, InboxReason, InboxRow, KeptAnswer, OutboxRow, Store, StoreError, Unit};

/// The account that is used where none is named.
pub const DEFAULT_ACCOUNT: &str = "default";
/// Orders with callbacks in the inbox that are seen to at once.
const INBOX_AT_ONCE: u32 = 1_000;
/// How often a message is sent again to an order whose actor was just leaving. A final order that is spoken to without
/// a pause leaves after every few words: two times in a row were measured, so many are not.
const DELIVERIES_MAX: u32 = 16;
/// When an order whose commit was lost, or that could not be loaded, is taken up again.
const TAKE_UP_AGAIN_MS: i64 = 1_000;

/// What `/readyz` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    NotReady(String),
}

/// Which account takes a platform's money at a channel.
pub type Assignments = HashMap<(PlatformId, Channel), Account>;

pub struct Registry {
    config: Arc<Config>,
    store: Arc<dyn Store>,
    writer: WriterHandle,
    router: Router,
    actors: DashMap<OrderId, Addr<OrderActor>>,
    quarantine: Quarantine,
    /// Orders with a commit whose outcome is open: what is read of them may still change under the reader.
    undecided: DashSet<OrderId>,
    unreadable: UnreadableRows,
    /// How many callbacks lay in the inbox when it was last counted, and those that were put there since.
    inbox_size: AtomicI64,
    /// How far the inbox has been looked through for orders.
    inbox_looked_to: Mutex<Option<OrderId>>,
    timers: Timers,
    retries: Timers,
    /// What the timers know of [`clock::behind_ms`].
    behind_ms: AtomicI64,
    supervisors: RwLock<HashMap<Account, SupervisorHandle>>,
    assignments: RwLock<Assignments>,
    webhooks: OnceLock<WebhookHandle>,
    arbiters: Vec<ArbiterHandle>,
    next_arbiter: AtomicUsize,
    draining: AtomicBool,
}

impl Registry {
    pub fn new(
        config: Arc<Config>,
        store: Arc<dyn Store>,
        writer: WriterHandle,
        router: Router,
        arbiters: Vec<ArbiterHandle>,
    ) -> Arc<Self> {
        assert!(!arbiters.is_empty(), "orders need a thread to live on");
        Arc::new(Registry {
            quarantine: Quarantine::new(config.orders.quarantine_retry_ms.clone()),
            undecided: DashSet::new(),
            unreadable: UnreadableRows::default(),
            inbox_size: AtomicI64::new(0),
            inbox_looked_to: Mutex::default(),
            config,
            store,
            writer,
            router,
            actors: DashMap::new(),
            timers: Timers::new(),
            retries: Timers::new(),
            behind_ms: AtomicI64::new(clock::behind_ms()),
            supervisors: RwLock::default(),
            assignments: RwLock::default(),
            webhooks: OnceLock::new(),
            arbiters,
            next_arbiter: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
        })
    }

    /// Connects the dispatcher, which was started after the registry because it needs it.
    ///
    /// # Panics
    /// When called twice.
    pub fn connect(&self, webhooks: WebhookHandle) {
        assert!(self.webhooks.set(webhooks).is_ok(), "the registry is connected once");
    }

    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub fn writer(&self) -> &WriterHandle {
        &self.writer
    }

    /// What is opened from now on is numbered by it.
    pub fn incarnation(&self) -> Incarnation {
        self.writer.incarnation()
    }

    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Orders in memory.
    pub fn active(&self) -> usize {
        self.actors.len()
    }

    pub fn is_active(&self, id: OrderId) -> bool {
        self.actors.contains_key(&id)
    }

    pub fn readiness(&self) -> Readiness {
        if self.draining.load(Ordering::Acquire) {
            Readiness::NotReady("stopping".into())
        } else if self.writer.is_away() {
            Readiness::NotReady("the store is away".into())
        } else if self.writer.is_broken() {
            Readiness::NotReady("the store refuses what it should take".into())
        } else {
            Readiness::Ready
        }
    }

    /// From here on no new order is taken.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    // --- channels ------------------------------------------------------------------------------------------------

    /// Starts serving an account.
    pub fn serve(&self, supervisor: SupervisorHandle) {
        let account = supervisor.adapter.account().clone();
        self.supervisors.write().unwrap_or_else(PoisonError::into_inner).insert(account, supervisor);
    }

    /// The accounts that are served, in order.
    pub fn accounts(&self) -> BTreeSet<Account> {
        self.supervisors.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    pub fn supervisor(&self, account: &Account) -> Option<SupervisorHandle> {
        let supervisors = self.supervisors.read().unwrap_or_else(PoisonError::into_inner);
        supervisors.get(account).cloned()
    }

    /// The adapter of an account; none when the channel or the account is not configured.
    pub fn adapter(&self, account: &Account) -> Option<Arc<dyn Adapter>> {
        self.supervisor(account).map(|supervisor| supervisor.adapter.current())
    }

    /// What a callback for an account says; none when the channel or the account is not configured.
    pub fn hear(&self, account: &Account, received: &Received<'_>) -> Option<Result<Heard, CallbackError>> {
        let supervisor = self.supervisor(account)?;
        Some(supervisor.adapter.callback(received, clock::now()))
    }

    /// Says which accounts take the money of which platforms, where it is not the default one.
    pub fn assign(&self, assignments: Assignments) {
        *self.assignments.write().unwrap_or_else(PoisonError::into_inner) = assignments;
    }

    /// The account that takes a platform's money at a channel.
    pub(super) fn account_of(&self, platform: PlatformId, channel: Channel) -> Account {
        let assignments = self.assignments.read().unwrap_or_else(PoisonError::into_inner);
        assignments.get(&(platform, channel)).cloned().unwrap_or_else(|| Account::new(channel, DEFAULT_ACCOUNT))
    }

    /// What is known of a channel and a payer at this moment.
    pub fn facts(&self, platform: PlatformId, channel: Channel, method: Method, details: &Details) -> Facts {
        let account = self.account_of(platform, channel);
        let supervisor = self.supervisor(&account);
        Facts {
            channel,
            method,
            health: supervisor.as_ref().map_or(Health::Down, SupervisorHandle::health),
            account: supervisor.map(|_| account),
            risk: self.broken_rule(details),
        }
    }

    fn broken_rule(&self, details: &Details) -> Option<Box<str>> {
        let listed = |list: &[String], value: &Option<String>| value.as_ref().is_some_and(|value| list.contains(value));
        if listed(&self.config.risk.refused_payers, &details.payer_id) {
            Some("refused_payer".into())
        } else if listed(&self.config.risk.refused_ips, &details.payer.ip) {
            Some("refused_ip".into())
        } else {
            None
        }
    }

    /// Where a channel sends the callbacks of an account.
    pub fn notify_url(&self, account: &Account) -> String {
        self.config.public_url(&format!("/v1/callbacks/{}/{}", account.channel(), account.name()))
    }

    // --- what is asked -------------------------------------------------------------------------------------------

    /// Makes an order durable and, if a channel was chosen, sets out to pay for it. Runs on a thread that may hold
    /// actors, and the order's actor stays there.
    ///
    /// # Errors
    /// [`AskError`]; nothing was accepted unless it is [`AskError::OutcomeUnknown`].
    pub async fn create(self: &Arc<Self>, new: NewOrder, patience: Patience) -> Result<Placed, AskError> {
        if self.draining.load(Ordering::Acquire) {
            return Err(AskError::Overloaded);
        }
        let now = clock::now();
        let id = new.facts.id;
        let order = create(&new.facts, now);
        let event = |fact| Event { at: now, incarnation: self.incarnation(), fact };
        let mut events = vec![event(Fact::Created(Box::new(new.facts)))];
        if let Some((channel, method)) = new.choice {
            let facts = self.facts(order.platform, channel, method, &new.details);
            let verdict = validate(&order, &facts, now);
            events.push(event(Fact::ChannelChosen { channel, method }));
            events.push(event(Fact::Validated { channel, method, verdict }));
        }
        let address = OrderActor::fresh(self.clone(), id, new.known).start();
        self.actors.insert(id, address.clone());
        let (follower, answer) = follow(patience);
        let open = Open { order, events, request: Box::new(new.request), details: new.details, follower };
        let order = match address.send(open).await {
            Ok(result) => result?,
            Err(_) => return Err(AskError::OutcomeUnknown),
        };
        Ok(self.first_answer(order, answer).await)
    }

    /// Asks something of an order. What changes by it is committed together with `claim`.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(
        self: &Arc<Self>,
        id: OrderId,
        command: Command,
        patience: Patience,
        claim: Option<Box<Claim>>,
    ) -> Result<Placed, AskError> {
        let (follower, answer) = follow(patience);
        let is_payment = match &command {
            Command::Cancel => false,
            Command::Pay { .. } => true,
        };
        let told = match command {
            Command::Cancel => Told::Fact(Fact::CancelAsked, None),
            Command::Pay { channel, method, payer } => {
                let details = self.details(id).await?;
                let details = match payer.clone() {
                    Some(payer) => Arc::new(request::paid_by(&details, payer)),
                    None => details,
                };
                Told::Choice { channel, method, details, payer }
            }
        };
        let order = self.tell(id, told, follower, claim).await?;
        let is_closing = |attempt: &&Attempt| attempt.state == AttemptState::Closing;
        let closing = order.open_attempt().filter(is_closing).map(|attempt| attempt.ordinal);
        let placed = self.first_answer(order, answer).await;
        let closing = closing.filter(|_| is_payment);
        let held_back = closing.and_then(|ordinal| placed.order.held_back_by(ordinal, clock::now()));
        held_back.map_or(Ok(placed), |refusal| Err(AskError::Refused(refusal)))
    }

    /// Takes a person's word for what became of an attempt.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn resolve(self: &Arc<Self>, id: OrderId, resolution: Resolution) -> Result<Order, AskError> {
        let Resolution { ordinal, finding, operator, evidence } = resolution;
        let fact = Fact::OperatorResolved { ordinal, finding, operator, evidence };
        self.tell(id, Told::Fact(fact, None), None, None).await
    }

    /// Waits for the channel's answer, within the bound; what is then known is answered.
    async fn first_answer(&self, order: Order, answer: Option<oneshot::Receiver<Placed>>) -> Placed {
        let wait = Duration::from_millis(self.config.server.first_answer_wait_ms);
        let answered = match answer {
            Some(answer) => tokio::time::timeout(wait, answer).await.ok().and_then(Result::ok),
            None => None,
        };
        answered.unwrap_or(Placed { order, next_action: None })
    }

    /// Takes a verified callback to its order; returns once what follows from it is durable.
    ///
    /// # Errors
    /// [`AskError`]; then it must not be acknowledged.
    pub async fn callback(
        self: &Arc<Self>,
        adapter: &dyn Adapter,
        notice: Notice,
        raw: &[u8],
    ) -> Result<Taken, AskError> {
        let number = notice.number.parse::<AttemptNumber>();
        let taken = match number {
            Ok(number) => self.notice(number, adapter.account(), &notice).await,
            Err(_) => Err(AskError::NotFound),
        };
        let reason = match taken {
            Ok(()) => return Ok(Taken::ByOrder),
            Err(AskError::NotFound | AskError::Refused(Refusal::AttemptUnknown)) => InboxReason::OrderUnknown,
            Err(AskError::Quarantined) => InboxReason::OrderQuarantined,
            // The order turned out to be unreadable by this very callback. Should it have been taken all the same, it
            // is known when it comes from the inbox.
            Err(AskError::OutcomeUnknown) if number.is_ok_and(|number| self.quarantine.holds(number.order)) => {
                InboxReason::OrderQuarantined
            }
            Err(error) => return Err(error),
        };
        if self.inbox_size.load(Ordering::Relaxed) >= self.config.orders.inbox_max {
            tracing::error!("the inbox is full: a callback is not acknowledged");
            return Err(AskError::Overloaded);
        }
        let account = adapter.account().clone();
        let unwritable = |_| AskError::StoreAway;
        // By what it tells and not by its bytes, which a channel may seal anew each time it tells it.
        let told = serde_json::to_vec(&(account.channel().name(), account.name(), &notice)).map_err(unwritable)?;
        let row = InboxRow {
            reason,
            account,
            number: notice.number.as_str().into(),
            order: number.ok().map(|number| number.order),
            body: serde_json::to_vec(&notice).map_err(unwritable)?,
            raw: raw.to_vec(),
            digest: digest(&SHA256, &told).as_ref().try_into().map_err(|_| AskError::StoreAway)?,
            at: clock::now(),
        };
        self.writer.write(Lane::Existing, Unit::Inbox(Box::new(row))).await?;
        self.inbox_size.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("tongbao_inbox_total").increment(1);
        tracing::error!(account = %adapter.account(), number = notice.number.as_str(),
            "a verified callback of money that no order could take lies in the inbox");
        Ok(Taken::ByInbox)
    }

    async fn notice(
        self: &Arc<Self>,
        number: AttemptNumber,
        account: &Account,
        notice: &Notice,
    ) -> Result<(), AskError> {
        let fact = Fact::CallbackVerified {
            ordinal: number.ordinal,
            opened_in: number.incarnation,
            account: account.clone(),
            reference: notice.reference.as_str().into(),
            amount_minor: notice.amount_minor,
            currency: notice.currency.as_str().into(),
        };
        self.tell(number.order, Told::Fact(fact, None), None, None).await.map(|_| ())
    }

    /// Makes the answer given under an `Idempotency-Key` durable.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn keep_answer(&self, answer: KeptAnswer) -> Result<(), AskError> {
        Ok(self.writer.write(Lane::Existing, Unit::Answer(Box::new(answer))).await?)
    }

    async fn tell(
        self: &Arc<Self>,
        id: OrderId,
        told: Told,
        follower: Option<oneshot::Sender<Placed>>,
        claim: Option<Box<Claim>>,
    ) -> Result<Order, AskError> {
        let mut letter = Some((told, follower));
        for _ in 0..DELIVERIES_MAX {
            let Some((told, follower)) = letter.take() else { break };
            let copy = told.again();
            match self.address(id)?.send(Tell { told, follower, claim: claim.clone() }).await {
                Ok(result) => return result,
                // Its actor had gone, or its order could not be loaded.
                Err(_) => match self.store.order(id).await {
                    Ok(Some(_)) => letter = Some((copy, None)),
                    Ok(None) => return Err(AskError::NotFound),
                    // It may have been taken before its actor went.
                    Err(_) => return Err(AskError::OutcomeUnknown),
                },
            }
            self.actors.remove_if(&id, |_, address| !address.connected());
        }
        Err(AskError::OutcomeUnknown)
    }

    // --- actors --------------------------------------------------------------------------------------------------

    /// The way to an order, activated if it is not in memory: its slot is reserved first, and it loads inside.
    fn address(self: &Arc<Self>, id: OrderId) -> Result<Addr<OrderActor>, AskError> {
        if let Some(address) = self.actors.get(&id) {
            return Ok(address.clone());
        }
        if self.undecided.contains(&id) {
            if self.writer.is_away() {
                return Err(AskError::OutcomeUnknown);
            }
            self.undecided.remove(&id);
        }
        let standing = self.quarantine.standing(id).ok_or(AskError::Quarantined)?;
        match self.actors.entry(id) {
            Entry::Occupied(active) => Ok(active.get().clone()),
            Entry::Vacant(slot) => {
                let registry = self.clone();
                let place = self.next_arbiter.fetch_add(1, Ordering::Relaxed) % self.arbiters.len();
                let address = OrderActor::start_in_arbiter(&self.arbiters[place], move |_| {
                    OrderActor::stored(registry, id, standing)
                });
                slot.insert(address.clone());
                Ok(address)
            }
        }
    }

    /// Takes an order up from the store, so that it does what it owes.
    pub fn take_up(self: &Arc<Self>, id: OrderId) {
        // A quarantined order is not taken up before its time.
        let _ = self.address(id);
    }

    pub fn forget(&self, id: OrderId) {
        self.timers.disarm(id);
        self.actors.remove(&id);
    }

    /// A commit of this order was lost, so its actor goes. It is taken up again from the store, unless it was new and
    /// certainly not written.
    pub fn lost(&self, id: OrderId, version: u32, error: &WriteError) {
        if *error == WriteError::Unknown {
            self.undecided.insert(id);
        }
        self.forget(id);
        match (error, version) {
            (
                WriteError::Overloaded
                | WriteError::Duplicate
                | WriteError::Away
                | WriteError::Conflict(_)
                | WriteError::ReferenceTaken
                | WriteError::Culprit(_),
                0,
            ) => {}
            (WriteError::Culprit(why), _) => self.hold_back(id, why),
            (
                WriteError::Overloaded
                | WriteError::Duplicate
                | WriteError::Away
                | WriteError::Conflict(_)
                | WriteError::ReferenceTaken
                | WriteError::Unknown,
                _,
            ) => self.take_up_later(id),
        }
    }

    /// The order could not be loaded.
    pub fn unloadable(&self, id: OrderId, error: &StoreError) {
        self.forget(id);
        match error {
            StoreError::Corrupt(why) => self.hold_back(id, why),
            StoreError::Conflict(_)
            | StoreError::ReferenceTaken(_)
            | StoreError::Unavailable(_)
            | StoreError::InDoubt(_)
            | StoreError::Broken(_)
            | StoreError::Fenced => {
                self.take_up_later(id);
            }
        }
    }

    pub fn panicked(&self, id: OrderId) {
        self.forget(id);
        metrics::counter!("tongbao_actor_panics_total").increment(1);
        self.hold_back(id, "its actor panicked");
    }

    fn take_up_later(&self, id: OrderId) {
        self.retries.arm(id, clock::now().plus_ms(TAKE_UP_AGAIN_MS));
    }

    fn hold_back(&self, id: OrderId, why: &str) {
        let held = self.quarantine.hold(id, why, clock::now());
        tracing::error!(order = %id, why, tries = held.tries, retry_at = held.retry_at.rfc3339(), "order quarantined");
        metrics::counter!("tongbao_quarantines_total").increment(1);
        self.retries.arm(id, held.retry_at);
        self.count_quarantined();
    }

    /// A quarantined order has taken a step again.
    pub fn acquit(&self, id: OrderId) {
        if self.quarantine.release(id) {
            tracing::info!(order = %id, "order released from quarantine");
            self.count_quarantined();
        }
    }

    fn count_quarantined(&self) {
        metrics::gauge!("tongbao_orders_quarantined").set(self.quarantine.count() as f64);
    }

    /// Orders that are held back.
    pub fn quarantine(&self) -> &Quarantine {
        &self.quarantine
    }

    /// Tries a quarantined order again at once, because an operator wants it.
    ///
    /// # Errors
    /// [`AskError::NotFound`] for an order that is not held, [`AskError::StoreAway`] while nothing can be tried.
    pub fn try_again(self: &Arc<Self>, id: OrderId) -> Result<Quarantined, AskError> {
        if self.writer.is_away() {
            return Err(AskError::StoreAway);
        }
        let held = self.quarantine.try_again(id).ok_or(AskError::NotFound)?;
        self.take_up(id);
        Ok(held)
    }

    // --- time ----------------------------------------------------------------------------------------------------

    pub fn arm(&self, id: OrderId, at: Instant) {
        self.timers.arm(id, at);
    }

    pub fn disarm(&self, id: OrderId) {
        self.timers.disarm(id);
    }

    /// Deadlines in memory.
    pub fn armed(&self) -> usize {
        self.timers.count() + self.retries.count()
    }

    /// Wakes everybody whose timer came up, and takes up again what was put off.
    pub fn tick(self: &Arc<Self>, now: Instant) {
        let behind_ms = clock::behind_ms();
        let back_ms = behind_ms - self.behind_ms.swap(behind_ms, Ordering::AcqRel);
        if back_ms > 0 {
            self.timers.set_back(back_ms);
            self.retries.set_back(back_ms);
        }
        for id in self.timers.due(now) {
            if let Some(address) = self.actors.get(&id) {
                address.do_send(Tell { told: Told::Timer, follower: None, claim: None });
            }
        }
        for id in self.retries.due(now) {
            // A commit whose outcome is open is decided once the writer has written again, and not before: what is read
            // until then may still change under the reader.
            if self.writer.is_away() {
                self.take_up_later(id);
                continue;
            }
            self.quarantine.try_again(id);
            self.take_up(id);
        }
    }

    // --- what the store knows --------------------------------------------------------------------------------------

    /// What a new attempt of a stored order needs to know.
    pub async fn details(&self, id: OrderId) -> Result<Arc<Details>, AskError> {
        match self.store.order(id).await {
            Ok(Some(stored)) => Ok(Arc::new(request::details(&stored))),
            Ok(None) => Err(AskError::NotFound),
            Err(error) => {
                tracing::warn!(order = %id, %error, "an order's request cannot be read");
                Err(AskError::StoreAway)
            }
        }
    }

    /// Rows that cannot be read.
    pub fn unreadable(&self) -> &UnreadableRows {
        &self.unreadable
    }

    /// Counts what waits in the store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn measure_waiting(&self) -> Result<(), StoreError> {
        let inbox = self.store.inbox_size().await?;
        self.inbox_size.store(inbox, Ordering::Relaxed);
        metrics::gauge!("tongbao_inbox_waiting").set(inbox as f64);
        metrics::gauge!("tongbao_webhooks_waiting").set(self.store.outbox_size().await? as f64);
        Ok(())
    }

    /// Sees to callbacks that were kept while their orders could not be spoken to. Each look goes on where the one
    /// before ended, so that none of them waits behind others for ever.
    pub async fn look_through_inbox(self: &Arc<Self>) {
        let after = *self.inbox_place();
        let orders = match self.store.inbox_orders(after, INBOX_AT_ONCE).await {
            Ok(orders) => orders,
            Err(error) => return tracing::warn!(%error, "the inbox cannot be read"),
        };
        *self.inbox_place() = orders.last().copied().filter(|_| orders.len() == INBOX_AT_ONCE as usize);
        for id in orders {
            if self.is_active(id) {
                self.take_inbox(id);
            } else {
                self.take_up(id);
            }
        }
    }

    fn inbox_place(&self) -> MutexGuard<'_, Option<OrderId>> {
        self.inbox_looked_to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an order the callbacks that came while it could not be spoken to.
    pub fn take_inbox(self: &Arc<Self>, id: OrderId) {
        let registry = self.clone();
        actix::spawn(async move {
            let rows = match registry.store.inbox(id).await {
                Ok(rows) => rows,
                Err(error) => return tracing::warn!(order = %id, %error, "the inbox cannot be read"),
            };
            for stored in registry.unreadable.pass_over(Table::Inbox, rows, ToString::to_string, clock::now()) {
                let (number, notice) = match read_kept(&stored.row) {
                    Ok(kept) => kept,
                    Err(error) => {
                        registry.unreadable.met(Table::Inbox, Some(stored.id.to_string()), &error, clock::now());
                        continue;
                    }
                };
                match registry.notice(number, &stored.row.account, &notice).await {
                    Ok(()) => {
                        let done = Unit::InboxDone { id: stored.id };
                        if let Err(error) = registry.writer.write(Lane::Existing, done).await {
                            tracing::warn!(order = %id, ?error, "an inbox row stays and will be taken again");
                        }
                    }
                    Err(error) => tracing::warn!(order = %id, ?error, "a callback in the inbox was not taken"),
                }
            }
        });
    }

    /// Webhooks of this order are durable and may go out.
    pub fn webhooks_written(&self, order: &Order, addressee: &Arc<Addressee>, rows: &[OutboxRow]) {
        if let Some(webhooks) = self.webhooks.get() {
            for row in rows {
                webhooks.written(Letter { order: order.clone(), addressee: addressee.clone(), row: row.clone() });
            }
        }
    }
}

impl Answers for Registry {
    fn answered(&self, number: AttemptNumber, fact: Fact, next_action: Option<NextAction>) {
        // An order that has left owes nothing that an answer could tell; should it be loaded again, it asks again.
        if let Some(address) = self.actors.get(&number.order) {
            address.do_send(Tell { told: Told::Fact(fact, next_action), follower: None, claim: None });
        }
    }
}

/// What a callback in the inbox tells of which attempt.
///
/// # Errors
/// [`StoreError::Corrupt`].
pub fn read_kept(row: &InboxRow) -> Result<(AttemptNumber, Notice), StoreError> {
    let unreadable = |what: &str| StoreError::Corrupt(format!("the {what} of a callback in the inbox cannot be read"));
    let number = row.number.parse().map_err(|_| unreadable("number"))?;
    let notice = serde_json::from_slice(&row.body).map_err(|_| unreadable("content"))?;
    Ok((number, notice))
}

fn follow(patience: Patience) -> (Option<oneshot::Sender<Placed>>, Option<oneshot::Receiver<Placed>>) {
    match patience {
        Patience::Durable => (None, None),
        Patience::FirstAnswer => {
            let (follower, answer) = oneshot::channel();
            (Some(follower), Some(answer))
        }
    }
}
