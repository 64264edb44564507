//! Which aggregates of a kind are in memory, and the way to each of them: activate on demand, forget, hold back.
//!
//! It must never decide anything about an aggregate: that is the cell's own turn.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::mapref::entry::Entry;
use dashmap::{DashMap, DashSet};
use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::carry::{Carrier, Done, Spot, Task};
use super::cell::{Cell, Leaving, Lost, Reason, Release, Timer, Wants};
use super::homes::{Home, Receipt, Taken};
use super::host::{Hands, Host, RefusalOf};
use super::lane::{Admission, WriteError};
use super::letter::{End, Letter, TellError};
use super::quarantine::{Quarantine, Quarantined};
use super::slot::{Put, Slot};
use super::timers::Timers;
use crate::domain::machine::Machine;
use crate::domain::stream::{Kind, StreamId};
use crate::domain::time::Instant;
use crate::store::{StoreError, StoredMessage, Unit};

/// When an aggregate whose commit was lost, or that could not be loaded, is taken up again.
const TAKE_UP_AGAIN_MS: i64 = 1_000;
/// How often it is looked for cells that may leave.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How many idle cells leave at once, in two or three milliseconds. Twenty times as many leave in a second, which is as
/// fast as orders come.
const LET_GO_AT_ONCE: usize = 1_000;
/// Parts of the map of cells. A sweep holds one at a time, of two hundred cells when memory is full, which takes a tenth
/// of a millisecond: whoever makes a cell waits for that and not for thousands.
const SHARDS: usize = 512;

/// Whether the store takes anything at the moment.
pub trait Gauge: Send + Sync + 'static {
    fn is_away(&self) -> bool;
}

/// What bounds a directory.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// New aggregates are refused beyond it.
    pub in_memory_max: usize,
    /// A cell that was told nothing for so long leaves.
    pub idle_ms: i64,
}

pub struct Directory<H: Host> {
    host: Arc<H>,
    carrier: Box<dyn Carrier>,
    gauge: Arc<dyn Gauge>,
    bounds: Bounds,
    slots: DashMap<u128, Arc<Slot<H>>>,
    quarantine: Quarantine,
    /// Aggregates with a commit whose outcome is open: what is read of them may still change under the reader.
    undecided: DashSet<u128>,
    /// Aggregates that this process has lost: what happened to their calls is to be asked.
    lost: DashSet<u128>,
    timers: Timers,
    retries: Timers,
    /// Cells that a sweep has found, and since when they have been idle.
    leaving: Mutex<VecDeque<(Instant, u128)>>,
}

impl<H: Host> Directory<H> {
    pub fn new(
        host: Arc<H>,
        carrier: Box<dyn Carrier>,
        gauge: Arc<dyn Gauge>,
        bounds: Bounds,
        quarantine_retry_ms: Vec<u64>,
    ) -> Arc<Self> {
        Arc::new(Directory {
            host,
            carrier,
            gauge,
            bounds,
            slots: DashMap::with_shard_amount(SHARDS),
            quarantine: Quarantine::new(quarantine_retry_ms),
            undecided: DashSet::new(),
            lost: DashSet::new(),
            timers: Timers::new(),
            retries: Timers::new(),
            leaving: Mutex::default(),
        })
    }

    pub fn host(&self) -> &Arc<H> {
        &self.host
    }

    /// Aggregates in memory.
    pub fn active(&self) -> usize {
        self.slots.len()
    }

    pub fn is_active(&self, id: u128) -> bool {
        self.slots.contains_key(&id)
    }

    /// Deadlines in memory.
    pub fn armed(&self) -> usize {
        self.timers.count() + self.retries.count()
    }

    pub fn quarantine(&self) -> &Quarantine {
        &self.quarantine
    }

    // --- letters -------------------------------------------------------------------------------------------------

    /// Makes a new aggregate by its first letter, on this thread.
    ///
    /// # Errors
    /// [`TellError`].
    pub async fn create(self: &Arc<Self>, cell: Cell<H>, first: H::Told) -> End<H> {
        let id = cell.machine().map_or(0, Machine::id);
        if self.slots.len() >= self.bounds.in_memory_max {
            return Err(TellError::Overloaded);
        }
        let (answer, told) = oneshot::channel();
        let letter = Letter::Told { told: first, answer: Some(answer) };
        let slot = Arc::new(Slot::new(id, self.carrier.settle(Spot::Here), Some(letter), self.host.now()));
        self.slots.insert(id, slot.clone());
        self.carry(slot, Box::new(cell));
        told.await.unwrap_or(Err(TellError::OutcomeUnknown))
    }

    /// Tells an aggregate something, and returns once what follows from it is durable.
    ///
    /// # Errors
    /// [`TellError`].
    pub async fn tell(self: &Arc<Self>, id: u128, told: H::Told) -> End<H> {
        self.tell_at(Spot::Anywhere, id, told).await
    }

    /// The same on a thread that may hold cells: one that must be brought into memory for it is worked on there.
    pub async fn tell_here(self: &Arc<Self>, id: u128, told: H::Told) -> End<H> {
        self.tell_at(Spot::Here, id, told).await
    }

    async fn tell_at(self: &Arc<Self>, spot: Spot, id: u128, told: H::Told) -> End<H> {
        let (answer, end) = oneshot::channel();
        self.put_at(spot, id, Letter::Told { told, answer: Some(answer) });
        match end.await {
            Ok(end) => end,
            // It panicked over this letter, or the server stops.
            Err(_) if self.quarantine.holds(id) => Err(TellError::Quarantined),
            Err(_) => Err(TellError::OutcomeUnknown),
        }
    }

    /// Puts a letter into the mailbox of an aggregate, which is brought into memory if it is not there.
    pub fn put(self: &Arc<Self>, id: u128, letter: Letter<H>) {
        self.put_at(Spot::Anywhere, id, letter);
    }

    fn put_at(self: &Arc<Self>, spot: Spot, id: u128, letter: Letter<H>) {
        let mut letter = letter;
        loop {
            let slot = self.slots.get(&id).map(|slot| slot.value().clone());
            let gone = match slot {
                None => match self.activate(spot, id, Some(letter)) {
                    Activation::Begun => return,
                    Activation::There(Some(back)) => {
                        letter = back;
                        continue;
                    }
                    Activation::There(None) => return,
                    Activation::Refused(back, error) => {
                        return back.into_iter().for_each(|letter| letter.refuse(&error));
                    }
                },
                Some(slot) => match slot.put(letter, self.host.now()) {
                    Put::Taken => return,
                    Put::Woken(cell) => return self.carry(slot, cell),
                    Put::Gone(back) => {
                        letter = back;
                        slot
                    }
                },
            };
            self.forget(&gone);
        }
    }

    /// The same for one that is in memory; another one has nothing to learn by it.
    fn put_if_active(self: &Arc<Self>, id: u128, letter: Letter<H>) {
        if let Some(slot) = self.slots.get(&id).map(|slot| slot.value().clone()) {
            self.put_into(slot, letter);
        }
    }

    /// The same for a cell, and for no other one that comes after it.
    fn put_into(self: &Arc<Self>, slot: Arc<Slot<H>>, letter: Letter<H>) {
        match slot.put(letter, self.host.now()) {
            Put::Taken | Put::Gone(_) => {}
            Put::Woken(cell) => self.carry(slot, cell),
        }
    }

    /// Takes an aggregate up from the store, so that it does what it owes. A quarantined one is not taken up before its
    /// time.
    pub fn take_up(self: &Arc<Self>, id: u128) {
        if !self.is_active(id) {
            self.activate(Spot::Anywhere, id, None);
        }
    }

    /// Reserves the slot first; the cell is read inside.
    fn activate(self: &Arc<Self>, spot: Spot, id: u128, letter: Option<Letter<H>>) -> Activation<H> {
        if self.undecided.contains(&id) {
            if self.gauge.is_away() {
                return Activation::Refused(letter, TellError::OutcomeUnknown);
            }
            self.undecided.remove(&id);
        }
        let Some(standing) = self.quarantine.standing(id) else {
            return Activation::Refused(letter, TellError::Quarantined);
        };
        match self.slots.entry(id) {
            Entry::Occupied(_) => Activation::There(letter),
            Entry::Vacant(vacant) => {
                let slot = Arc::new(Slot::new(id, self.carrier.settle(spot), letter, self.host.now()));
                vacant.insert(slot.clone());
                self.carry(slot, Box::new(Cell::unread(id, standing)));
                Activation::Begun
            }
        }
    }

    fn carry(self: &Arc<Self>, slot: Arc<Slot<H>>, cell: Box<Cell<H>>) {
        let work = Work { directory: self.clone(), slot: slot.clone(), cell };
        slot.way.carry(Box::new(work));
    }

    // --- leaving ---------------------------------------------------------------------------------------------------

    /// A cell that came after this slot's keeps its place and its timer.
    fn forget(&self, slot: &Arc<Slot<H>>) {
        self.slots.remove_if(&slot.id, |_, there| {
            let is_there = Arc::ptr_eq(there, slot);
            if is_there {
                self.timers.disarm(slot.id);
            }
            is_there
        });
    }

    /// Finds the cells that are to leave: those that were told nothing for long, and where memory is more than three
    /// quarters full, as many of the longest idle ones as are above that. [`Directory::let_go`] lets them go.
    pub fn sweep(&self) {
        let since = self.host.now().plus_ms(-self.bounds.idle_ms);
        let max = self.bounds.in_memory_max;
        let surplus = self.slots.len().saturating_sub(max - max / 4);
        let resting = self.slots.iter().filter_map(|slot| Some((slot.rests_since()?, slot.id)));
        let mut leaving: Vec<(Instant, u128)> = resting.filter(|(at, _)| surplus > 0 || *at <= since).collect();
        // The map has an order of its own in every process; what a run does must not hang on it.
        leaving.sort_unstable();
        let idle = leaving.partition_point(|(at, _)| *at <= since);
        leaving.truncate(idle.max(surplus));
        *self.leaving() = leaving.into();
    }

    /// Lets the next cells go that a sweep has found, not all at once: whoever works beside this would stand still. None
    /// are left where it says so.
    pub fn let_go(self: &Arc<Self>) -> bool {
        for _ in 0..LET_GO_AT_ONCE {
            let Some((since, id)) = self.leaving().pop_front() else { return false };
            let Some(slot) = self.slots.get(&id).map(|slot| slot.value().clone()) else { continue };
            // It leaves on its own thread, which gets its memory back.
            if slot.rests_since().is_some_and(|at| at <= since) {
                self.put_into(slot, Letter::Idle);
            }
        }
        true
    }

    fn leaving(&self) -> MutexGuard<'_, VecDeque<(Instant, u128)>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit of this aggregate was lost, so its cell goes. It is taken up again from the store, unless it was new and
    /// certainly not written.
    fn lose(self: &Arc<Self>, slot: &Arc<Slot<H>>, lost: &Lost) {
        let id = slot.id;
        if lost.error == WriteError::Unknown {
            self.undecided.insert(id);
        }
        let is_there = lost.version > 0 || lost.error == WriteError::Unknown;
        if is_there {
            self.lost.insert(id);
        }
        let waiting = slot.lose();
        self.forget(slot);
        match &lost.error {
            WriteError::Culprit(why) if lost.version > 0 => self.hold_back(id, why),
            WriteError::Culprit(_) => {}
            WriteError::Overloaded
            | WriteError::Duplicate
            | WriteError::Away
            | WriteError::Conflict(_)
            | WriteError::ReferenceTaken
            | WriteError::NameTaken
            | WriteError::Unknown => {
                if is_there {
                    self.take_up_later(id);
                }
            }
        }
        for letter in waiting {
            self.put_again(id, letter);
        }
    }

    /// What a cell that was lost had not begun with. An errand of it is nothing to the next one.
    fn put_again(self: &Arc<Self>, id: u128, letter: Letter<H>) {
        match letter {
            Letter::Told { .. } => self.put(id, letter),
            Letter::Errand(_) | Letter::Idle => {}
        }
    }

    /// The aggregate could not be read.
    fn unreadable(self: &Arc<Self>, slot: &Arc<Slot<H>>, error: &StoreError) {
        let waiting = slot.lose();
        self.forget(slot);
        let told = match error.corruption() {
            Some(why) => {
                self.hold_back(slot.id, why);
                TellError::Quarantined
            }
            None => {
                self.take_up_later(slot.id);
                TellError::StoreAway
            }
        };
        for letter in waiting {
            letter.refuse(&told);
        }
    }

    fn panicked(self: &Arc<Self>, slot: &Arc<Slot<H>>) {
        let waiting = slot.lose();
        self.lost.insert(slot.id);
        self.forget(slot);
        metrics::counter!("tongbao_actor_panics_total").increment(1);
        self.hold_back(slot.id, "its actor panicked");
        for letter in waiting {
            letter.refuse(&TellError::Quarantined);
        }
    }

    fn take_up_later(&self, id: u128) {
        self.retries.arm(id, self.host.now().plus_ms(TAKE_UP_AGAIN_MS));
    }

    fn hold_back(&self, id: u128, why: &str) {
        let held = self.quarantine.hold(id, why, self.host.now());
        let stream = StreamId { kind: H::Machine::KIND, id };
        let (kind, tries, retry_at) = (H::Machine::NAME, held.tries, held.retry_at.rfc3339());
        tracing::error!(%stream, why, tries, retry_at, "{kind} quarantined");
        metrics::counter!("tongbao_quarantines_total").increment(1);
        self.retries.arm(id, held.retry_at);
        self.count_quarantined();
    }

    fn release(&self, id: u128) {
        if self.quarantine.release(id) {
            let stream = StreamId { kind: H::Machine::KIND, id };
            tracing::info!(%stream, "{} released from quarantine", H::Machine::NAME);
            self.count_quarantined();
        }
    }

    fn count_quarantined(&self) {
        let kind = H::Machine::NAME;
        metrics::gauge!("tongbao_streams_quarantined", "kind" => kind).set(self.quarantine.count() as f64);
    }

    /// Tries a quarantined aggregate again at once, because an operator wants it.
    ///
    /// # Errors
    /// [`TellError::NotFound`] for one that is not held, [`TellError::StoreAway`] while nothing can be tried.
    pub fn try_again(self: &Arc<Self>, id: u128) -> Result<Quarantined, TellError<RefusalOf<H>>> {
        if self.gauge.is_away() {
            return Err(TellError::StoreAway);
        }
        let held = self.quarantine.try_again(id).ok_or(TellError::NotFound)?;
        self.take_up(id);
        Ok(held)
    }

    // --- time ------------------------------------------------------------------------------------------------------

    /// Wakes everybody whose timer came up, and takes up again what was put off.
    pub fn tick(self: &Arc<Self>, now: Instant) {
        for id in self.timers.due(now) {
            self.put_if_active(id, Letter::told(self.host.woken()));
        }
        for id in self.retries.due(now) {
            // A commit whose outcome is open is decided once the store has been written to again, and not before: what is
            // read until then may still change under the reader.
            if self.gauge.is_away() {
                self.take_up_later(id);
                continue;
            }
            self.quarantine.try_again(id);
            self.take_up(id);
        }
    }

    /// When [`Directory::tick`] next has something to do, as far as is known now.
    pub fn wakes_at(&self) -> Option<Instant> {
        self.timers.first().into_iter().chain(self.retries.first()).min()
    }

    /// The clock was set back: nobody waits longer for that.
    pub fn set_back(&self, by_ms: i64) {
        self.timers.set_back(by_ms);
        self.retries.set_back(by_ms);
    }

    /// Whether it is to be taken up again by itself.
    pub fn is_retried(&self, id: u128) -> bool {
        self.retries.armed_at(id).is_some()
    }

    /// When it is to be woken, if it is.
    pub fn armed_at(&self, id: u128) -> Option<Instant> {
        self.timers.armed_at(id)
    }

    fn follow(self: &Arc<Self>, slot: &Arc<Slot<H>>, wants: Wants<H::Told>) {
        match wants.timer {
            Timer::Keep => {}
            Timer::Off => self.timers.disarm(slot.id),
            Timer::At(at) => self.timers.arm(slot.id, at),
        }
        match wants.release {
            Release::No => {}
            Release::Yes => self.release(slot.id),
        }
        for errand in wants.errands {
            // A cell that was lost meanwhile leaves its errands to nobody.
            let (directory, slot) = (self.clone(), slot.clone());
            self.carrier.spawn(Box::pin(async move { directory.put_into(slot, Letter::Errand(errand.await)) }));
        }
        for told in wants.tell {
            // Its cell is being worked on, so the letter is taken.
            slot.put(Letter::told(told), self.host.now());
        }
    }
}

impl<H: Host> Home for Directory<H> {
    fn kind(&self) -> Kind {
        H::Machine::KIND
    }

    fn is_active(&self, id: u128) -> bool {
        Directory::is_active(self, id)
    }

    fn take_up(self: Arc<Self>, id: u128) {
        Directory::take_up(&self, id);
    }

    fn receive(self: Arc<Self>, message: StoredMessage) -> Receipt {
        Box::pin(async move {
            let Some(told) = self.host.received(&message) else {
                return Taken::Never("it cannot be read".to_owned());
            };
            match self.tell(message.key.to.id, told).await {
                Ok(_) => Taken::Yes,
                Err(error @ (TellError::Refused(_) | TellError::NotFound | TellError::Duplicate)) => {
                    Taken::Never(format!("{error:?}"))
                }
                Err(
                    TellError::Overloaded | TellError::StoreAway | TellError::OutcomeUnknown | TellError::Quarantined,
                ) => Taken::Later,
            }
        })
    }

    fn tick(self: Arc<Self>, now: Instant) {
        Directory::tick(&self, now);
    }

    fn sweep(&self) {
        Directory::sweep(self);
    }

    fn let_go(self: Arc<Self>) {
        Directory::let_go(&self);
    }

    fn set_back(&self, by_ms: i64) {
        Directory::set_back(self, by_ms);
    }
}

enum Activation<H: Host> {
    Begun,
    /// Somebody else was first; the letter comes back.
    There(Option<Letter<H>>),
    Refused(Option<Letter<H>>, TellError<RefusalOf<H>>),
}

/// A cell with something in its mailbox, on its way to whoever works on it.
struct Work<H: Host> {
    directory: Arc<Directory<H>>,
    slot: Arc<Slot<H>>,
    cell: Box<Cell<H>>,
}

impl<H: Host> Task for Work<H> {
    /// Lets the cell take what lies in its mailbox, until nothing does. A panic ends the cell and nothing else.
    fn run(self: Box<Self>) -> Done {
        let Work { directory, slot, cell } = *self;
        Box::pin(async move {
            if AssertUnwindSafe(work(&directory, &slot, cell)).catch_unwind().await.is_err() {
                directory.panicked(&slot);
            }
        })
    }
}

async fn work<H: Host>(directory: &Arc<Directory<H>>, slot: &Arc<Slot<H>>, mut cell: Box<Cell<H>>) {
    let host = directory.host.clone();
    if cell.is_unread() {
        let hands = if directory.lost.remove(&slot.id).is_some() { Hands::Others } else { Hands::Ours };
        match cell.read(&host, hands).await {
            Ok(wants) => directory.follow(slot, wants),
            Err(error) => {
                if hands == Hands::Others {
                    directory.lost.insert(slot.id);
                }
                return directory.unreadable(slot, &error);
            }
        }
    }
    let mut reason = Reason::NothingWaits;
    loop {
        if let Some(letter) = slot.next() {
            reason = match letter {
                Letter::Idle => Reason::Idle,
                Letter::Told { .. } | Letter::Errand(_) => Reason::NothingWaits,
            };
            match cell.take(&host, letter).await {
                Ok(wants) => directory.follow(slot, wants),
                Err(lost) => return directory.lose(slot, &lost),
            }
            continue;
        }
        match cell.leaving(&host, reason) {
            Leaving::Goes => {
                if slot.leave() {
                    return directory.forget(slot);
                }
            }
            Leaving::After(put_off, stored) => match host.write(Admission::Existing, Unit::PutOff(put_off)).await {
                Ok(()) => cell.put_off(stored),
                Err(WriteError::Away | WriteError::Overloaded) => reason = Reason::NothingWaits,
                Err(error) => return directory.lose(slot, &Lost { version: cell.version(), error }),
            },
            Leaving::Stays => match slot.rest(cell) {
                None => return,
                Some(back) => cell = back,
            },
        }
    }
}
