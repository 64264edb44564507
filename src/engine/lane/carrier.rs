//! What drives a lane in the server: a thread of its own that does what the lane says, and the way to it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant as Monotonic;

use super::{Act, Admission, Bounds, Lane, Standing, Try, Verdict, WriteError};
use crate::domain::partition::LaneId;
use crate::domain::time::Instant;
use crate::store::{Committed, Group, LaneRow, Store, StoreError, Unit};

/// What the process does when it must not go on: the store was taken over, or its disk failed at a commit.
pub type Stop = Arc<dyn Fn(&str) + Send + Sync>;

/// The instant that a group is dated by.
pub type Clock = fn() -> Instant;

/// The lane with what waits for it. It is shared rather than behind a mailbox, because nobody need wake the carrier
/// while a group is being committed: it looks here before it rests.
struct Shared {
    lane: Lane<Unit, oneshot::Sender<Verdict>>,
    attention: Attention,
    leaving: Vec<oneshot::Sender<()>>,
}

/// Whether the carrier will look at its lane without being woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attention {
    Resting,
    Looking,
}

/// A holder that panicked left a whole lane, or its carrier, which then abandons it.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The way to one lane.
pub struct LaneEnd {
    shared: Arc<Mutex<Shared>>,
    standing: Arc<Standing>,
    /// The carrier ends when nobody can wake it any more.
    wake: mpsc::Sender<()>,
}

impl LaneEnd {
    /// Starts a lane on a thread of its own.
    ///
    /// # Panics
    /// If the system gives no thread.
    pub fn start(store: Arc<dyn Store>, row: LaneRow, bounds: Bounds, clock: Clock, stop: Stop) -> Self {
        let name = format!("lane-{}", row.lane);
        let lane = Lane::new(row, bounds, store.doubt(), Duration::ZERO);
        let standing = lane.standing().clone();
        let shared = Arc::new(Mutex::new(Shared { lane, attention: Attention::Resting, leaving: Vec::new() }));
        let (wake, woken) = mpsc::channel(1);
        let carrier = Carrier { store, shared: shared.clone(), begun: Monotonic::now(), clock, stop };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a timer is made");
        let thread = std::thread::Builder::new().name(name);
        thread.spawn(move || runtime.block_on(carrier.run(woken))).expect("a thread is started");
        LaneEnd { shared, standing, wake }
    }

    pub async fn write(&self, admission: Admission, unit: Unit) -> Verdict {
        let (reply, verdict) = oneshot::channel();
        let _seat = {
            let mut shared = lock(&self.shared);
            let seat = shared.lane.offer(admission, unit, reply)?;
            self.get_attention(&mut shared);
            seat
        };
        verdict.await.unwrap_or(Err(WriteError::Unknown))
    }

    fn get_attention(&self, shared: &mut Shared) {
        match shared.attention {
            Attention::Looking => {}
            Attention::Resting => {
                shared.attention = Attention::Looking;
                // One wake that was not seen yet is enough.
                let _ = self.wake.try_send(());
            }
        }
    }

    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Commits what is queued and ends the carrier; whether it came to that.
    pub async fn leave(&self) -> bool {
        let (left, wait) = oneshot::channel();
        lock(&self.shared).leaving.push(left);
        // A carrier that has ended has dropped its waker's other end.
        self.wake.send(()).await.is_ok() && wait.await.is_ok()
    }
}

/// What the store answered to a call of the lane's.
enum Answer {
    Committed(Result<Committed, StoreError>),
    Beaten(Result<LaneRow, StoreError>),
    LosersFound(Result<Vec<usize>, StoreError>),
}

type Call = Pin<Box<dyn Future<Output = Answer> + Send>>;

struct Carrier {
    store: Arc<dyn Store>,
    shared: Arc<Mutex<Shared>>,
    begun: Monotonic,
    clock: Clock,
    stop: Stop,
}

/// Whether the carrier goes on.
enum Course {
    On,
    Ended,
}

impl Carrier {
    async fn run(self, mut woken: mpsc::Receiver<()>) {
        let mut call: Option<Call> = None;
        loop {
            if let Course::Ended = self.act(&mut call) {
                return;
            }
            let wakes_at = self.begun + lock(&self.shared).lane.wakes_at();
            tokio::select! {
                answer = async { call.as_mut().expect("a call is under way").await }, if call.is_some() => {
                    call = None;
                    self.answered(answer);
                }
                wake = woken.recv() => match wake {
                    Some(()) => self.look(),
                    None => return,
                },
                () = tokio::time::sleep_until(wakes_at) => {
                    let refusals = self.store.refusals();
                    lock(&self.shared).lane.tick(refusals, self.now());
                }
            }
        }
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn look(&self) {
        let mut shared = lock(&self.shared);
        if shared.leaving.is_empty() {
            shared.lane.proceed(self.now());
        } else {
            shared.lane.leave(self.now());
        }
    }

    fn answered(&self, answer: Answer) {
        let lane = &mut lock(&self.shared).lane;
        match answer {
            Answer::Committed(result) => lane.committed(result, self.now()),
            Answer::Beaten(result) => lane.beaten(result, self.now()),
            Answer::LosersFound(result) => lane.losers_found(result, self.now()),
        }
    }

    /// Does what the lane says. Nobody is told anything while the lane is held.
    fn act(&self, call: &mut Option<Call>) -> Course {
        let acts: Vec<_> = {
            let mut shared = lock(&self.shared);
            let acts = std::iter::from_fn(|| shared.lane.next_act()).collect();
            if shared.lane.is_idle() {
                shared.attention = Attention::Resting;
            }
            acts
        };
        for act in acts {
            match act {
                Act::Commit(group) => *call = Some(Box::pin(commit(self.store.clone(), group, (self.clock)()))),
                Act::Beat { lane, epoch } => {
                    *call = Some(Box::pin(beat(self.store.clone(), lane, epoch, (self.clock)())));
                }
                Act::FindLosers(group) => *call = Some(Box::pin(find_losers(self.store.clone(), group))),
                Act::Tell(waiter, verdict) => drop(waiter.send(verdict)),
                Act::Stop(why) => {
                    (self.stop)(&why);
                    return Course::Ended;
                }
                Act::Left => {
                    let leaving = std::mem::take(&mut lock(&self.shared).leaving);
                    for left in leaving {
                        let _ = left.send(());
                    }
                    return Course::Ended;
                }
            }
        }
        Course::On
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        {
            let mut shared = lock(&self.shared);
            shared.lane.abandon();
            shared.leaving.clear();
        }
        // A writer that is wrong must not be written around: the process ends and is started afresh.
        if std::thread::panicking() {
            (self.stop)("the writer panicked");
        }
    }
}

async fn commit(store: Arc<dyn Store>, group: Try<Unit>, at: Instant) -> Answer {
    let (lane, epoch, number, first_place) = (group.lane, group.epoch, group.number, group.first_place);
    let group = Group { lane, epoch, number, first_place, at, units: group.units() };
    Answer::Committed(store.commit(&group).await)
}

async fn beat(store: Arc<dyn Store>, lane: LaneId, epoch: i64, at: Instant) -> Answer {
    Answer::Beaten(store.beat(lane, epoch, at).await)
}

/// New orders that are not there: their merchant order ids were taken.
async fn find_losers(store: Arc<dyn Store>, group: Try<Unit>) -> Answer {
    let mut losers = Vec::new();
    for (place, unit) in group.units().iter().enumerate() {
        let Unit::Step(unit) = unit else { continue };
        if unit.expected_version > 0 {
            continue;
        }
        match store.head(unit.stream).await {
            Ok(Some(_)) => {}
            Ok(None) => losers.push(place),
            Err(error) => return Answer::LosersFound(Err(error)),
        }
    }
    Answer::LosersFound(Ok(losers))
}
