//! The write side of the store: group commit with two lanes.
//!
//! What gathers while a group is being committed is the next group; there is no artificial delay. New orders stop at
//! their bound; steps of existing orders are never shed, and there are at most as many of them as orders in memory,
//! since an order waits for its step. While the store is away nothing is taken.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Monotonic};

use actix::prelude::*;
use tokio::sync::oneshot;

use super::clock;
use crate::store::{Doubt, Group, Owner, Store, StoreError, Unit};

/// The lanes of the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Refused once the pending units pass the share that new orders may take.
    NewOrders,
    Existing,
}

/// A commit that takes longer than this is taken for a store that has halted. With the look's gap, everybody who waits
/// hears of it within three seconds.
const COMMIT_PATIENCE: Duration = Duration::from_millis(2_500);
/// How often it is looked whether a commit takes too long.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// A store that refused something counts as broken until it has taken other groups for as long after.
const MENDED_AFTER: Duration = Duration::from_secs(5);
/// And where nobody writes any more, until this has passed: then it is worth a try.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Why a unit is not durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteError {
    /// Shed at the door.
    Overloaded,
    /// The store is away: nothing was written.
    Away,
    /// It may have been written; the store went away before it could be found out.
    Unknown,
    /// Somebody else was first.
    Conflict(String),
    /// A capture's reference is on record at its account, by another order.
    ReferenceTaken,
    /// A new order whose merchant order id is taken.
    Duplicate,
    /// The store will never take this unit.
    Culprit(String),
}

type Verdict = Result<(), WriteError>;

struct Pending {
    unit: Unit,
    reply: oneshot::Sender<Verdict>,
}

#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub group_max: usize,
    pub new_orders_max: usize,
    pub beat: Duration,
}

/// What the writer's process does when it must not go on: the store was taken over, or its disk failed at a commit.
pub type Stop = Arc<dyn Fn(&str) + Send + Sync>;

/// What waits for the next group. It is shared rather than a mailbox, because nobody need wake the writer while it
/// commits: it looks here before it rests.
#[derive(Default)]
struct Queue {
    pending: VecDeque<Pending>,
    attention: Attention,
}

/// Whether the writer will look at its queue without being told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Attention {
    #[default]
    Resting,
    Looking,
    /// It takes nothing any more.
    Gone,
}

/// A holder that panicked left a whole queue: nothing is done while it is held that could fail halfway.
fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the writer stands, as others may see it.
#[derive(Debug, Default)]
struct Gauge {
    pending: AtomicUsize,
    away: AtomicBool,
    stopped: AtomicBool,
    /// When the store last refused what it should take; none while it is well.
    broken_at: Mutex<Option<Monotonic>>,
}

impl Gauge {
    fn broken_at(&self) -> MutexGuard<'_, Option<Monotonic>> {
        self.broken_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store is ill; whatever is refused is refused by it and not because of what it is.
    fn broke(&self, why: &str) {
        tracing::error!(why, "the store is broken: it refuses what it should take");
        metrics::counter!("tongbao_store_refusals_total").increment(1);
        metrics::gauge!("tongbao_store_broken").set(1.0);
        *self.broken_at() = Some(Monotonic::now());
    }

    /// It took something, or nothing was refused for long.
    fn mended(&self, after: Duration) {
        if self.broken_at().take_if(|at| at.elapsed() >= after).is_some() {
            tracing::info!("the store refuses nothing any more");
            metrics::gauge!("tongbao_store_broken").set(0.0);
        }
    }
}

/// The way to the writer, for everybody.
#[derive(Clone)]
pub struct WriterHandle {
    address: Addr<Writer>,
    queue: Arc<Mutex<Queue>>,
    gauge: Arc<Gauge>,
    bounds: Bounds,
}

impl WriterHandle {
    /// Makes a unit durable.
    ///
    /// # Errors
    /// [`WriteError`]; only [`WriteError::Unknown`] leaves open whether it was written.
    pub async fn write(&self, lane: Lane, unit: Unit) -> Verdict {
        if self.gauge.away.load(Ordering::Acquire) {
            return Err(WriteError::Away);
        }
        let bound = match lane {
            Lane::NewOrders => self.bounds.new_orders_max,
            Lane::Existing => usize::MAX,
        };
        let place = Place::take(&self.gauge, bound).ok_or(WriteError::Overloaded)?;
        let (reply, verdict) = oneshot::channel();
        self.enqueue(Pending { unit, reply })?;
        let verdict = verdict.await.unwrap_or(Err(WriteError::Unknown));
        drop(place);
        verdict
    }

    fn enqueue(&self, pending: Pending) -> Verdict {
        let mut queue = lock(&self.queue);
        match queue.attention {
            Attention::Gone => return Err(WriteError::Away),
            Attention::Looking => {}
            Attention::Resting => {
                queue.attention = Attention::Looking;
                self.address.do_send(Look);
            }
        }
        queue.pending.push_back(pending);
        Ok(())
    }

    pub fn is_away(&self) -> bool {
        self.gauge.away.load(Ordering::Acquire) || self.gauge.stopped.load(Ordering::Acquire)
    }

    /// Whether the store refused lately what it should take.
    pub fn is_broken(&self) -> bool {
        self.gauge.broken_at().is_some()
    }

    pub fn pending(&self) -> usize {
        self.gauge.pending.load(Ordering::Relaxed)
    }

    /// Commits what is pending and gives the store back.
    pub async fn stop(&self) {
        let (done, wait) = oneshot::channel();
        self.address.do_send(StopWriting(done));
        let _ = wait.await;
    }
}

/// A counted place in the writer's queue, given back however the wait ends.
struct Place<'a>(&'a Gauge);

impl<'a> Place<'a> {
    fn take(gauge: &'a Gauge, bound: usize) -> Option<Self> {
        let before = gauge.pending.fetch_add(1, Ordering::AcqRel);
        let place = Place(gauge);
        (before < bound).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Something waits.
#[derive(Message)]
#[rtype(result = "()")]
struct Look;

#[derive(Message)]
#[rtype(result = "()")]
struct StopWriting(oneshot::Sender<()>);

/// What the writer is doing.
enum Phase {
    Idle,
    Committing,
    Stopped,
}

pub struct Writer {
    store: Arc<dyn Store>,
    owner: Owner,
    bounds: Bounds,
    gauge: Arc<Gauge>,
    stop: Stop,
    queue: Arc<Mutex<Queue>>,
    phase: Phase,
    leaving: Option<oneshot::Sender<()>>,
    last_write: Monotonic,
    /// Who waits for the group that is being committed.
    waiting: Arc<Waiting>,
    /// How often the store was found ill until now.
    refusals: u64,
}

/// Those who wait for a group, each until it was told.
#[derive(Default)]
struct Waiting(Mutex<Vec<oneshot::Sender<Verdict>>>);

impl Waiting {
    fn take(&self) -> Vec<oneshot::Sender<Verdict>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, waiting: Vec<oneshot::Sender<Verdict>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
    }
}

impl Writer {
    /// Starts the writer on a thread of its own.
    pub fn start(store: Arc<dyn Store>, owner: Owner, bounds: Bounds, stop: Stop) -> WriterHandle {
        let gauge = Arc::new(Gauge::default());
        let queue = Arc::new(Mutex::new(Queue::default()));
        let (shared, its_queue) = (gauge.clone(), queue.clone());
        let address = Writer::start_in_arbiter(&Arbiter::new().handle(), move |_| Writer {
            store,
            owner,
            bounds,
            gauge: shared,
            stop,
            queue: its_queue,
            phase: Phase::Idle,
            leaving: None,
            last_write: Monotonic::now(),
            waiting: Arc::default(),
            refusals: 0,
        });
        WriterHandle { address, queue, gauge, bounds }
    }

    /// Begins the next group if none is under way.
    fn go_on(&mut self, context: &mut Context<Self>) {
        match self.phase {
            Phase::Committing | Phase::Stopped => return,
            Phase::Idle => {}
        }
        let group = self.next_group();
        if group.is_empty() {
            if self.leaving.is_some() {
                self.leave(context);
            }
            return;
        }
        self.phase = Phase::Committing;
        self.last_write = Monotonic::now();
        let (units, waiting) = group.into_iter().map(|pending| (pending.unit, pending.reply)).unzip();
        self.waiting.put(waiting);
        let work = commit(self.store.clone(), self.owner.clone(), units, self.waiting.clone(), self.gauge.clone());
        context.spawn(work.into_actor(self).map(|done, writer, context| writer.committed(done, context)));
    }

    /// What has gathered; whoever comes after nothing has must tell the writer.
    fn next_group(&mut self) -> Vec<Pending> {
        let mut queue = lock(&self.queue);
        let size = queue.pending.len().min(self.bounds.group_max);
        if size == 0 && queue.attention == Attention::Looking {
            queue.attention = Attention::Resting;
        }
        queue.pending.drain(..size).collect()
    }

    fn committed(&mut self, (owner, end): (Owner, End), context: &mut Context<Self>) {
        self.owner = owner;
        self.last_write = Monotonic::now();
        self.phase = Phase::Idle;
        match end {
            End::Well => self.set_away(Away::No),
            End::Away(why) => {
                tracing::warn!(why, "the store is away");
                self.set_away(Away::Yes);
                self.fail_pending();
            }
            End::Fatal(why) => return self.give_up(&why),
        }
        self.go_on(context);
    }

    fn set_away(&mut self, away: Away) {
        let is_away = away == Away::Yes;
        if self.gauge.away.swap(is_away, Ordering::AcqRel) && !is_away {
            tracing::info!("the store is back");
        }
        metrics::gauge!("tongbao_store_away").set(f64::from(u8::from(is_away)));
    }

    fn fail_pending(&mut self) {
        let failed: Vec<Pending> = lock(&self.queue).pending.drain(..).collect();
        for pending in failed {
            let _ = pending.reply.send(Err(WriteError::Away));
        }
    }

    /// From here on nothing more is taken.
    fn close(&mut self) {
        lock(&self.queue).attention = Attention::Gone;
    }

    fn give_up(&mut self, why: &str) {
        tracing::error!(why, "the writer stops");
        self.phase = Phase::Stopped;
        self.gauge.stopped.store(true, Ordering::Release);
        self.set_away(Away::Yes);
        self.close();
        self.fail_pending();
        (self.stop)(why);
    }

    /// Tells everybody who waits for a store that has halted: those in the group that nobody knows, all others that
    /// nothing was written. Whoever comes now is told at once; the end of the commit takes it back.
    fn watch(&mut self, _: &mut Context<Self>) {
        match self.phase {
            Phase::Idle | Phase::Stopped => return,
            Phase::Committing if self.last_write.elapsed() < COMMIT_PATIENCE => return,
            Phase::Committing => {}
        }
        if !self.gauge.away.load(Ordering::Acquire) {
            tracing::warn!("the store has halted in a commit; those who wait are told");
        }
        self.gauge.away.store(true, Ordering::Release);
        metrics::gauge!("tongbao_store_away").set(1.0);
        self.fail_pending();
        for reply in self.waiting.take() {
            let _ = reply.send(Err(WriteError::Unknown));
        }
    }

    /// Beats when no group has for a while, and looks whether a store that was away is back.
    fn beat(&mut self, context: &mut Context<Self>) {
        metrics::gauge!("tongbao_writer_pending").set(lock(&self.queue).pending.len() as f64);
        self.gauge.mended(TRY_AGAIN_AFTER);
        let refusals = self.store.refusals();
        if std::mem::replace(&mut self.refusals, refusals) < refusals {
            self.gauge.broke("see what was refused");
        }
        match self.phase {
            Phase::Committing | Phase::Stopped => return,
            // Half a span, because a beat ends later than the tick that began it, and the next tick must beat again.
            Phase::Idle if self.last_write.elapsed() < self.bounds.beat / 2 => return,
            Phase::Idle => self.phase = Phase::Committing,
        }
        self.last_write = Monotonic::now();
        let (store, owner, gauge) = (self.store.clone(), self.owner.clone(), self.gauge.clone());
        let work = async move {
            match store.beat(owner.epoch, clock::to_store()).await {
                Ok(seen) => (seen, End::Well),
                Err(StoreError::Fenced) => (owner, End::Fatal("another process owns the store".into())),
                // After a failed write to the disk nobody knows what is on it, whatever was written.
                Err(StoreError::InDoubt(why)) if store.doubt() == Doubt::Stop => (owner, End::Fatal(why)),
                Err(StoreError::Broken(why)) => {
                    gauge.broke(&why);
                    (owner, End::Away(why))
                }
                Err(error) => (owner, End::Away(error.to_string())),
            }
        };
        context.spawn(work.into_actor(self).map(|done, writer, context| writer.committed(done, context)));
    }

    fn leave(&mut self, context: &mut Context<Self>) {
        self.phase = Phase::Stopped;
        self.gauge.stopped.store(true, Ordering::Release);
        let (store, epoch) = (self.store.clone(), self.owner.epoch);
        let work = async move {
            if let Err(error) = store.release(epoch).await {
                tracing::warn!(%error, "the store's lease was not given back; it will be taken over");
            }
        };
        context.spawn(work.into_actor(self).map(|(), writer, context| {
            if let Some(done) = writer.leaving.take() {
                let _ = done.send(());
            }
            context.stop();
        }));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    Yes,
    No,
}

/// How the commit of a group ended for the writer itself.
enum End {
    Well,
    Away(String),
    /// The process must not write any more.
    Fatal(String),
}

/// Commits a group, whatever that takes, and answers everybody in it.
async fn commit(
    store: Arc<dyn Store>,
    mut owner: Owner,
    units: Vec<Unit>,
    waiting: Arc<Waiting>,
    gauge: Arc<Gauge>,
) -> (Owner, End) {
    let begun = Monotonic::now();
    metrics::histogram!("tongbao_group_size").record(units.len() as f64);
    let mut verdicts: Vec<Option<Verdict>> = units.iter().map(|_| None).collect();
    let end = commit_range(store.as_ref(), &mut owner, &units, &mut verdicts, &gauge).await;
    metrics::histogram!("tongbao_commit_seconds").record(begun.elapsed().as_secs_f64());
    let open = match &end {
        End::Well | End::Away(_) => WriteError::Away,
        End::Fatal(_) => WriteError::Unknown,
    };
    // Empty where they were told before.
    for (reply, verdict) in waiting.take().into_iter().zip(verdicts) {
        let _ = reply.send(verdict.unwrap_or_else(|| Err(open.clone())));
    }
    (owner, end)
}

/// Commits units as one group; on an error that is no passing one, halves the group until the culprit is alone and
/// commits the rest.
async fn commit_range(
    store: &dyn Store,
    owner: &mut Owner,
    units: &[Unit],
    verdicts: &mut [Option<Verdict>],
    gauge: &Gauge,
) -> End {
    let mut ranges = VecDeque::from([(0, units.len())]);
    while let Some((from, to)) = ranges.pop_front() {
        let part = &units[from..to];
        match commit_once(store, owner, part, gauge).await {
            Attempted::Done(duplicates) => {
                gauge.mended(MENDED_AFTER);
                for (place, verdict) in verdicts[from..to].iter_mut().enumerate() {
                    let lost = duplicates.contains(&place);
                    *verdict = Some(if lost { Err(WriteError::Duplicate) } else { Ok(()) });
                }
            }
            Attempted::Bad(error) if part.len() == 1 => {
                verdicts[from] = Some(Err(match error {
                    StoreError::Conflict(why) => WriteError::Conflict(why),
                    StoreError::ReferenceTaken(_) => WriteError::ReferenceTaken,
                    StoreError::Corrupt(why) => WriteError::Culprit(why),
                    StoreError::Unavailable(_)
                    | StoreError::InDoubt(_)
                    | StoreError::Broken(_)
                    | StoreError::Fenced => WriteError::Away,
                }));
            }
            Attempted::Bad(error) => {
                tracing::warn!(%error, units = part.len(), "a group fails; it is split to find the culprit");
                let middle = from + part.len() / 2;
                ranges.push_front((middle, to));
                ranges.push_front((from, middle));
            }
            Attempted::Away(why) => return End::Away(why),
            // Whoever comes next may have more luck: a damaged page is in the way of some.
            Attempted::Refused => {
                for verdict in &mut verdicts[from..to] {
                    *verdict = Some(Err(WriteError::Away));
                }
            }
            // It is certain that nothing of it was written, and the store answers.
            Attempted::NotWritten => ranges.push_front((from, to)),
            Attempted::InDoubt(why) => {
                for verdict in &mut verdicts[from..to] {
                    *verdict = Some(Err(WriteError::Unknown));
                }
                return End::Away(why);
            }
            Attempted::Fatal(why) => {
                for verdict in &mut verdicts[from..to] {
                    *verdict = Some(Err(WriteError::Unknown));
                }
                return End::Fatal(why);
            }
        }
    }
    End::Well
}

enum Attempted {
    /// Places of new orders that were duplicates.
    Done(Vec<usize>),
    /// Something in it can never be written.
    Bad(StoreError),
    Away(String),
    /// By a store that is ill: nothing of it was written.
    Refused,
    NotWritten,
    /// Nobody could find out whether it was written.
    InDoubt(String),
    Fatal(String),
}

/// How long an outcome that was left open is asked for before its waiters are told so.
const READ_BACK_PATIENCE: Duration = Duration::from_secs(10);
const READ_BACK_GAP: Duration = Duration::from_millis(250);

async fn commit_once(store: &dyn Store, owner: &mut Owner, units: &[Unit], gauge: &Gauge) -> Attempted {
    let number = owner.group + 1;
    let group = Group { epoch: owner.epoch, number, at: clock::to_store(), units };
    match store.commit(&group).await {
        Ok(committed) => {
            owner.group = number;
            Attempted::Done(committed.duplicates)
        }
        Err(StoreError::Fenced) => Attempted::Fatal("another process owns the store".into()),
        Err(StoreError::Unavailable(why)) => Attempted::Away(why),
        Err(StoreError::Broken(why)) => {
            gauge.broke(&why);
            Attempted::Refused
        }
        Err(error @ (StoreError::Conflict(_) | StoreError::ReferenceTaken(_) | StoreError::Corrupt(_))) => {
            Attempted::Bad(error)
        }
        Err(StoreError::InDoubt(why)) => match store.doubt() {
            Doubt::ReadBack => {
                // Nobody new waits for a store that has to be found again first.
                gauge.away.store(true, Ordering::Release);
                read_back(store, owner, units, why).await
            }
            Doubt::Stop => Attempted::Fatal(why),
        },
    }
}

/// Finds out by a write, never by a plain read, whether the group after `owner.group` was committed.
async fn read_back(store: &dyn Store, owner: &mut Owner, units: &[Unit], why: String) -> Attempted {
    let number = owner.group + 1;
    tracing::warn!(why, group = number, "a commit's outcome is open; reading it back");
    let begun = Monotonic::now();
    while begun.elapsed() < READ_BACK_PATIENCE {
        match store.beat(owner.epoch, clock::to_store()).await {
            Ok(seen) => {
                let written = seen.group == number;
                *owner = seen;
                return if written { losers(store, units).await } else { Attempted::NotWritten };
            }
            Err(StoreError::Fenced) => return Attempted::Fatal("another process owns the store".into()),
            Err(error) => {
                tracing::debug!(%error, "the store does not answer yet");
                tokio::time::sleep(READ_BACK_GAP).await;
            }
        }
    }
    Attempted::InDoubt(why)
}

/// Which new orders of a group that was written are not there: their merchant order ids were taken, and the commit's
/// own answer, which would have said so, is gone.
async fn losers(store: &dyn Store, units: &[Unit]) -> Attempted {
    let mut duplicates = Vec::new();
    for (place, unit) in units.iter().enumerate() {
        let Unit::Order(unit) = unit else { continue };
        if unit.expected_version > 0 {
            continue;
        }
        match store.order(unit.id).await {
            Ok(Some(_)) => {}
            Ok(None) => duplicates.push(place),
            Err(error) => return Attempted::InDoubt(error.to_string()),
        }
    }
    Attempted::Done(duplicates)
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
        // Whoever still waits is told that nobody knows.
        lock(&self.queue).pending.clear();
        // A writer that is wrong must not be written around: the process ends and is started afresh.
        if std::thread::panicking() {
            self.gauge.stopped.store(true, Ordering::Release);
            (self.stop)("the writer panicked");
        }
    }
}

impl Actor for Writer {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(self.bounds.beat, Self::beat);
        context.run_interval(WATCH_EVERY, Self::watch);
    }
}

impl Handler<Look> for Writer {
    type Result = ();

    fn handle(&mut self, _: Look, context: &mut Self::Context) {
        self.go_on(context);
    }
}

impl Handler<StopWriting> for Writer {
    type Result = ();

    fn handle(&mut self, StopWriting(done): StopWriting, context: &mut Self::Context) {
        // What would come for ever must not keep the writer from leaving.
        self.close();
        self.leaving = Some(done);
        self.go_on(context);
    }
}
