//! A lane: one writer of the store, by group commit.
//!
//! [`Lane`] is a plain struct without a clock, threads or I/O. It is told what happens (a unit is offered, the store
//! answers, time passes) and says what to do next as [`Act`]s. A `carrier` does it in the server; the simulation does
//! it on virtual time against a model of the store.
//!
//! What gathers while a group is being committed is the next group; there is no artificial delay. New streams stop at
//! their bound; steps of existing ones are never shed, and there are at most as many of them as streams in memory, since
//! a stream waits for its step. While the store is away nothing is taken.

mod carrier;
mod lanes;
mod standing;
#[cfg(test)]
mod tests;
mod underway;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub use carrier::{Clock, Stop};
pub use lanes::Lanes;
pub use standing::{Seat, Standing};

use crate::domain::partition::LaneId;
use crate::store::{Committed, Doubt, LaneRow, StoreError};
use underway::{Stage, Underway};

/// A call of the store that takes longer than this is taken for a store that has halted: everybody who waits hears of
/// it within three seconds.
pub const COMMIT_PATIENCE: Duration = Duration::from_millis(2_500);
/// How long an outcome that was left open is asked for before the store counts as away.
pub const READ_BACK_PATIENCE: Duration = Duration::from_secs(10);
pub const READ_BACK_GAP: Duration = Duration::from_millis(250);
/// A store that refused something counts as broken until it has taken other groups for as long after.
pub const MENDED_AFTER: Duration = Duration::from_secs(5);
/// And where nobody writes any more, until this has passed: then it is worth a try.
pub const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);

const FENCED: &str = "another process owns the store";

/// Which share of the queue a unit may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Refused once the pending units pass the share that new streams may take.
    NewStream,
    Existing,
}

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
    /// A new refund has the name of another one of its platform's.
    NameTaken,
    /// A new order whose merchant order id is taken.
    Duplicate,
    /// The store will never take this unit.
    Culprit(String),
}

pub type Verdict = Result<(), WriteError>;

#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub group_max: usize,
    /// Pending units at which new streams are refused.
    pub new_streams_max: usize,
    pub beat: Duration,
}

/// What whoever carries a lane does for it.
///
/// At most one call of the store is under way at a time, and its answer is told by the method that its act names.
#[derive(Debug)]
pub enum Act<U, W> {
    /// Commit these units as one group; [`Lane::committed`].
    Commit(Try<U>),
    /// Write the lane's row and read it back; [`Lane::beaten`].
    Beat { lane: LaneId, epoch: i64 },
    /// The group was committed and the answer that named its losers is lost: find them; [`Lane::losers_found`].
    FindLosers(Try<U>),
    /// Tell a waiter what became of its unit.
    Tell(W, Verdict),
    /// This process must not write any more.
    Stop(String),
    /// Everything is written, and nothing more is taken.
    Left,
}

/// A group that the store is to commit as a whole or not at all.
#[derive(Debug)]
pub struct Try<U> {
    pub lane: LaneId,
    pub epoch: i64,
    pub number: i64,
    pub first_place: i64,
    units: Arc<Vec<U>>,
    range: Range<usize>,
}

impl<U> Try<U> {
    pub fn units(&self) -> &[U] {
        &self.units[self.range.clone()]
    }
}

/// What a lane is doing.
enum Phase<U, W> {
    Idle,
    Beating,
    Writing(Underway<U, W>),
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    /// Nothing more is taken.
    Closed,
}

/// One writer of the store. `U` is what is written, `W` whoever waits for it; a lane looks into neither.
///
/// Times are monotonic, from any start that is the same for all of them.
pub struct Lane<U, W> {
    /// As the store last showed it: groups are numbered from here.
    row: LaneRow,
    bounds: Bounds,
    doubt: Doubt,
    standing: Arc<Standing>,
    door: Door,
    queue: VecDeque<(U, W)>,
    phase: Phase<U, W>,
    /// When the call under way, or the last one, began or ended.
    written_at: Duration,
    /// When those who wait for the call under way are told that the store has halted; none when they were.
    halts_at: Option<Duration>,
    beats_at: Duration,
    /// When the store last refused what it should take; none while it is well.
    broken_at: Option<Duration>,
    /// How often the store was found ill until now.
    refusals: u64,
    /// The queue's length as metrics have it.
    measured: usize,
    acts: VecDeque<Act<U, W>>,
}

impl<U, W> Lane<U, W> {
    pub fn new(row: LaneRow, bounds: Bounds, doubt: Doubt, now: Duration) -> Self {
        Lane {
            row,
            bounds,
            doubt,
            standing: Arc::new(Standing::new()),
            door: Door::Open,
            queue: VecDeque::new(),
            phase: Phase::Idle,
            written_at: now,
            halts_at: None,
            beats_at: now + bounds.beat,
            broken_at: None,
            refusals: 0,
            measured: 0,
            acts: VecDeque::new(),
        }
    }

    pub fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    /// Whether a unit that is offered now stays until somebody calls [`Lane::proceed`].
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Queues a unit. The seat is to be kept until the waiter was told or went away.
    ///
    /// # Errors
    /// [`WriteError::Overloaded`] and [`WriteError::Away`].
    pub fn offer(&mut self, admission: Admission, unit: U, waiter: W) -> Result<Seat, WriteError> {
        if self.door == Door::Closed || self.standing.is_away() {
            return Err(WriteError::Away);
        }
        let bound = match admission {
            Admission::NewStream => self.bounds.new_streams_max,
            Admission::Existing => usize::MAX,
        };
        let seat = Seat::take(&self.standing, bound).ok_or(WriteError::Overloaded)?;
        self.queue.push_back((unit, waiter));
        Ok(seat)
    }

    /// What is to be done next, one after the other.
    pub fn next_act(&mut self) -> Option<Act<U, W>> {
        self.acts.pop_front()
    }

    /// When [`Lane::tick`] is to be called, as far as is known now.
    pub fn wakes_at(&self) -> Duration {
        let again_at = match &self.phase {
            Phase::Writing(Underway { stage: Stage::Pausing { again_at, .. }, .. }) => Some(*again_at),
            Phase::Writing(_) | Phase::Idle | Phase::Beating | Phase::Stopped => None,
        };
        [self.halts_at, again_at].into_iter().flatten().fold(self.beats_at, Duration::min)
    }

    /// Begins the next group if nothing is under way.
    pub fn proceed(&mut self, now: Duration) {
        if !self.is_idle() {
            return;
        }
        let size = self.queue.len().min(self.bounds.group_max);
        if size > 0 {
            metrics::histogram!("tongbao_group_size").record(size as f64);
            self.begin(now);
            self.phase = Phase::Writing(Underway::new(self.queue.drain(..size), now));
            self.try_next(now);
        } else if self.door == Door::Closed {
            self.phase = Phase::Stopped;
            self.standing.stop();
            self.acts.push_back(Act::Left);
        }
    }

    /// Takes nothing more and commits what is queued.
    pub fn leave(&mut self, now: Duration) {
        self.door = Door::Closed;
        match self.phase {
            Phase::Stopped => self.acts.push_back(Act::Left),
            Phase::Idle | Phase::Beating | Phase::Writing(_) => self.proceed(now),
        }
    }

    /// Drops everything at once: whoever waits is told nothing.
    pub fn abandon(&mut self) {
        self.door = Door::Closed;
        self.phase = Phase::Stopped;
        self.standing.stop();
        self.queue.clear();
        self.acts.clear();
    }

    /// Time has passed. `refusals` is how often the store was found ill until now.
    pub fn tick(&mut self, refusals: u64, now: Duration) {
        if self.halts_at.is_some_and(|at| at <= now) {
            self.halted();
        }
        if let Phase::Writing(work) = &mut self.phase
            && work.looks_again(now)
        {
            self.acts.push_back(self.a_beat());
        }
        if self.beats_at <= now {
            while self.beats_at <= now {
                self.beats_at += self.bounds.beat;
            }
            self.look(refusals, now);
        }
        self.proceed(now);
    }

    /// Once in every beat's span: what is measured, and a beat unless something else beat lately. Half a span, because
    /// a beat ends later than the tick that began it, and the next tick must beat again.
    fn look(&mut self, refusals: u64, now: Duration) {
        let measured = std::mem::replace(&mut self.measured, self.queue.len());
        metrics::gauge!("tongbao_writer_pending").increment(self.queue.len() as f64 - measured as f64);
        self.mended(TRY_AGAIN_AFTER, now);
        if std::mem::replace(&mut self.refusals, refusals) < refusals {
            self.broke("see what was refused", now);
        }
        if self.is_idle() && now.saturating_sub(self.written_at) >= self.bounds.beat / 2 {
            self.begin(now);
            self.phase = Phase::Beating;
            self.acts.push_back(self.a_beat());
        }
    }

    /// Something of the store is under way.
    fn begin(&mut self, now: Duration) {
        self.written_at = now;
        self.halts_at = Some(now + COMMIT_PATIENCE);
    }

    /// Tells everybody who waits for a store that has halted: those in the group that nobody knows, all others that
    /// nothing was written. Whoever comes now is told at once; the end of the call takes it back.
    fn halted(&mut self) {
        self.halts_at = None;
        if !self.standing.is_away() {
            tracing::warn!("the store has halted in a commit; those who wait are told");
        }
        self.standing.set_away();
        self.fail_queue();
        if let Phase::Writing(work) = &mut self.phase {
            let all = 0..work.len();
            work.tell(all, &Err(WriteError::Unknown), &mut self.acts);
        }
    }

    fn fail_queue(&mut self) {
        self.acts.extend(self.queue.drain(..).map(|(_, waiter)| Act::Tell(waiter, Err(WriteError::Away))));
    }

    /// The store is ill; whatever is refused is refused by it and not because of what it is.
    fn broke(&mut self, why: &str, now: Duration) {
        tracing::error!(why, "the store is broken: it refuses what it should take");
        metrics::counter!("tongbao_store_refusals_total").increment(1);
        self.broken_at = Some(now);
        self.standing.set_broken();
    }

    /// It took something, or nothing was refused for long.
    fn mended(&mut self, after: Duration, now: Duration) {
        if self.broken_at.take_if(|at| now.saturating_sub(*at) >= after).is_some() {
            tracing::info!("the store refuses nothing any more");
            self.standing.set_mended();
        }
    }

    /// # Panics
    /// If no group is under way: the carrier told of an answer that nothing was asked for.
    fn work(&mut self) -> &mut Underway<U, W> {
        match &mut self.phase {
            Phase::Writing(work) => work,
            Phase::Idle | Phase::Beating | Phase::Stopped => panic!("no group is under way"),
        }
    }

    /// Tries the next units of the group, if there are any left.
    fn try_next(&mut self, now: Duration) {
        if !self.work().advance() {
            return self.end_well(now);
        }
        let group = self.current_try();
        self.acts.push_back(Act::Commit(group));
    }

    fn current_try(&mut self) -> Try<U> {
        let (lane, epoch, number) = (self.row.lane, self.row.epoch, self.row.group + 1);
        let first_place = self.row.next_place;
        let work = self.work();
        Try { lane, epoch, number, first_place, units: work.units().clone(), range: work.tried() }
    }

    fn a_beat(&self) -> Act<U, W> {
        Act::Beat { lane: self.row.lane, epoch: self.row.epoch }
    }

    /// What became of [`Act::Commit`].
    pub fn committed(&mut self, result: Result<Committed, StoreError>, now: Duration) {
        match result {
            Ok(committed) => {
                self.row.group += 1;
                self.row.next_place = committed.next_place;
                self.accepted(&committed.duplicates, now);
            }
            Err(
                error @ (StoreError::Conflict(_)
                | StoreError::ReferenceTaken(_)
                | StoreError::NameTaken(_)
                | StoreError::Corrupt(_)),
            ) => self.refused(error, now),
            // Whoever comes next may have more luck: a damaged page is in the way of some.
            Err(StoreError::Broken(why)) => {
                self.broke(&why, now);
                self.judge(&Err(WriteError::Away));
                self.try_next(now);
            }
            Err(StoreError::Unavailable(why)) => self.end_away(&why, now),
            Err(StoreError::InDoubt(why)) => match self.doubt {
                Doubt::ReadBack => self.read_back(why, now),
                Doubt::Stop => self.end_fatal(&why, now),
            },
            Err(StoreError::Fenced) => self.end_fatal(FENCED, now),
        }
    }

    /// What became of [`Act::Beat`].
    pub fn beaten(&mut self, result: Result<LaneRow, StoreError>, now: Duration) {
        match self.phase {
            Phase::Beating => self.has_beaten(result, now),
            Phase::Writing(_) => self.has_read_back(result, now),
            Phase::Idle | Phase::Stopped => panic!("no beat is under way"),
        }
    }

    fn has_beaten(&mut self, result: Result<LaneRow, StoreError>, now: Duration) {
        match result {
            Ok(seen) => {
                self.row = seen;
                self.end_well(now);
            }
            Err(StoreError::Fenced) => self.end_fatal(FENCED, now),
            // After a failed write to the disk nobody knows what is on it, whatever was written.
            Err(StoreError::InDoubt(why)) if self.doubt == Doubt::Stop => self.end_fatal(&why, now),
            Err(StoreError::Broken(why)) => {
                self.broke(&why, now);
                self.end_away(&why, now);
            }
            Err(
                error @ (StoreError::Conflict(_)
                | StoreError::ReferenceTaken(_)
                | StoreError::NameTaken(_)
                | StoreError::Corrupt(_)
                | StoreError::Unavailable(_)
                | StoreError::InDoubt(_)),
            ) => self.end_away(&error.to_string(), now),
        }
    }

    /// Finds out by a write, never by a plain read, whether the group after `row.group` was committed.
    fn read_back(&mut self, why: String, now: Duration) {
        // Nobody new waits for a store that has to be found again first.
        self.standing.set_away();
        tracing::warn!(why, group = self.row.group + 1, "a commit's outcome is open; reading it back");
        self.work().stage = Stage::ReadingBack { why, until: now + READ_BACK_PATIENCE };
        self.acts.push_back(self.a_beat());
    }

    fn has_read_back(&mut self, result: Result<LaneRow, StoreError>, now: Duration) {
        match result {
            Ok(seen) => {
                let written = seen.group == self.row.group + 1;
                if written {
                    let group = self.current_try();
                    self.work().stage = Stage::FindingLosers;
                    self.acts.push_back(Act::FindLosers(group));
                }
                self.row = seen;
                if !written {
                    // It is certain that nothing of it was written, and the store answers.
                    self.work().retry();
                    self.try_next(now);
                }
            }
            Err(StoreError::Fenced) => self.end_fatal(FENCED, now),
            Err(error) => {
                tracing::debug!(%error, "the store does not answer yet");
                if let Some(why) = self.work().pause(now) {
                    self.end_in_doubt(&why, now);
                }
            }
        }
    }

    /// What became of [`Act::FindLosers`]: the places, within the try, of units that were not written.
    pub fn losers_found(&mut self, result: Result<Vec<usize>, StoreError>, now: Duration) {
        match result {
            Ok(losers) => self.accepted(&losers, now),
            Err(error) => self.end_in_doubt(&error.to_string(), now),
        }
    }

    /// The units that were tried are durable, but for the losers.
    fn accepted(&mut self, losers: &[usize], now: Duration) {
        self.mended(MENDED_AFTER, now);
        let Phase::Writing(work) = &mut self.phase else { panic!("no group is under way") };
        for (place, unit) in work.tried().enumerate() {
            let verdict = if losers.contains(&place) { Err(WriteError::Duplicate) } else { Ok(()) };
            work.tell(unit..unit + 1, &verdict, &mut self.acts);
        }
        self.try_next(now);
    }

    /// Something among the units that were tried can never be written: halves them until it is alone.
    fn refused(&mut self, error: StoreError, now: Duration) {
        let units = self.work().tried().len();
        if units == 1 {
            self.judge(&Err(match error {
                StoreError::Conflict(why) => WriteError::Conflict(why),
                StoreError::ReferenceTaken(_) => WriteError::ReferenceTaken,
                StoreError::NameTaken(_) => WriteError::NameTaken,
                StoreError::Corrupt(why) => WriteError::Culprit(why),
                StoreError::Unavailable(_) | StoreError::InDoubt(_) | StoreError::Broken(_) | StoreError::Fenced => {
                    WriteError::Away
                }
            }));
        } else {
            tracing::warn!(%error, units, "a group fails; it is split to find the culprit");
            self.work().split();
        }
        self.try_next(now);
    }

    /// Tells those whose units were tried.
    fn judge(&mut self, verdict: &Verdict) {
        let Phase::Writing(work) = &mut self.phase else { panic!("no group is under way") };
        work.tell(work.tried(), verdict, &mut self.acts);
    }

    /// Nobody could find out whether what was tried was written.
    fn end_in_doubt(&mut self, why: &str, now: Duration) {
        self.judge(&Err(WriteError::Unknown));
        self.end_away(why, now);
    }

    fn end_well(&mut self, now: Duration) {
        self.end_work(WriteError::Away, now);
        if self.standing.is_away() {
            tracing::info!("the store is back");
        }
        self.standing.set_back();
        self.proceed(now);
    }

    /// Nothing was written of what has no verdict yet.
    fn end_away(&mut self, why: &str, now: Duration) {
        self.end_work(WriteError::Away, now);
        tracing::warn!(why, "the store is away");
        self.standing.set_away();
        self.fail_queue();
        self.proceed(now);
    }

    /// The process must not write any more.
    fn end_fatal(&mut self, why: &str, now: Duration) {
        self.end_work(WriteError::Unknown, now);
        tracing::error!(why, "the writer stops");
        self.phase = Phase::Stopped;
        self.standing.stop();
        self.standing.set_away();
        self.door = Door::Closed;
        self.fail_queue();
        self.acts.push_back(Act::Stop(why.to_owned()));
    }

    fn end_work(&mut self, open: WriteError, now: Duration) {
        if let Phase::Writing(mut work) = std::mem::replace(&mut self.phase, Phase::Idle) {
            metrics::histogram!("tongbao_commit_seconds").record(now.saturating_sub(work.begun_at).as_secs_f64());
            work.tell(0..work.len(), &Err(open), &mut self.acts);
        }
        self.written_at = now;
        self.halts_at = None;
    }
}
