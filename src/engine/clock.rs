//! Time: the one place that reads the wall clock.
//!
//! Now is the wall's time at the start plus what has passed since by the monotonic clock, so that a step of the wall
//! clock changes nothing by itself. [`course`] judges steps; until one is settled, time is in doubt.

pub mod course;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant as Monotonic, SystemTime, UNIX_EPOCH};

use uuid::timestamp::context::ContextV7;
use uuid::{Timestamp, Uuid};

use crate::domain::id::{Account, OrderId};
use crate::domain::partition::Partition;
use crate::domain::time::Instant;
use crate::store::Store;
use course::{Certainty, Course, Judgement};

/// How often the wall clock is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a server's clock is told at its start.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// A wall clock that is further off than this has been set; what is less is followed slowly.
    pub step_ms: i64,
    /// Milliseconds that are added to the wall clock, for tests of the sandbox; empty: none.
    pub offset_file: PathBuf,
}

struct Clock {
    settings: Settings,
    began: Instant,
    monotonic: Monotonic,
    /// What was followed of the wall clock since.
    offset_ms: AtomicI64,
    /// All steps back that were followed, and by how much the store was ahead of the start.
    behind_ms: AtomicI64,
    certainty: AtomicU8,
    /// The last instant of the store, while time is in doubt.
    stored_at: AtomicI64,
    course: Mutex<Course>,
}

static CLOCK: OnceLock<Clock> = OnceLock::new();

impl Clock {
    fn begin(settings: Settings) -> Self {
        Clock {
            began: wall(&settings.offset_file),
            monotonic: Monotonic::now(),
            offset_ms: AtomicI64::new(0),
            behind_ms: AtomicI64::new(0),
            certainty: AtomicU8::new(Certainty::Sure as u8),
            stored_at: AtomicI64::new(i64::MIN),
            course: Mutex::new(Course::new(settings.step_ms)),
            settings,
        }
    }

    fn steady(&self) -> Instant {
        self.began.plus_ms(i64::try_from(self.monotonic.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stand(&self, certainty: Certainty, why: &str) {
        let before = self.certainty.swap(certainty as u8, Ordering::AcqRel);
        if before == certainty as u8 {
            return;
        }
        metrics::gauge!("tongbao_clock_in_doubt").set(f64::from(certainty as u8));
        match certainty {
            Certainty::InDoubt => {
                tracing::error!(why, "time is in doubt: nothing ends by time until the clock is confirmed");
            }
            Certainty::Sure => tracing::warn!(why, "time is not in doubt any more"),
        }
    }

    fn take(&self, judgement: &Judgement) {
        match *judgement {
            Judgement::Keep => {}
            Judgement::Slew(by_ms) => {
                self.offset_ms.fetch_add(by_ms, Ordering::AcqRel);
            }
            Judgement::Follow(step_ms) => {
                self.offset_ms.fetch_add(step_ms, Ordering::AcqRel);
                if step_ms < 0 {
                    self.behind_ms.fetch_sub(step_ms, Ordering::AcqRel);
                }
                tracing::error!(step_ms, "a step of the wall clock was confirmed and is followed");
            }
        }
    }
}

/// Milliseconds since the epoch by the machine's clock.
fn wall(offset_file: &Path) -> Instant {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Instant(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    if offset_file.as_os_str().is_empty() {
        return now;
    }
    let offset = std::fs::read_to_string(offset_file).ok().and_then(|text| text.trim().parse().ok());
    now.plus_ms(offset.unwrap_or_default())
}

/// A command that serves nothing takes the wall clock as it finds it.
fn clock() -> &'static Clock {
    CLOCK.get_or_init(|| Clock::begin(Settings::default()))
}

/// Sets the clock of a server, before it is first read.
pub fn begin(settings: Settings) {
    let began = Clock::begin(settings);
    if CLOCK.set(began).is_err() {
        tracing::error!("the clock was read before it was set; its settings are not used");
    }
}

/// Now, in milliseconds since the epoch.
pub fn now() -> Instant {
    let clock = clock();
    clock.steady().plus_ms(clock.offset_ms.load(Ordering::Acquire))
}

/// Ids grow with time: with ours, so that a step of the wall clock makes none of another day.
static IDS: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// The id of a new order of this partition.
pub fn fresh_order_id(partition: Partition) -> OrderId {
    let ms = now().0.max(0).unsigned_abs();
    let nanos = u32::try_from(ms % 1_000 * 1_000_000).expect("less than a second");
    OrderId::from_u128(Uuid::new_v7(Timestamp::from_unix(&IDS, ms / 1_000, nanos)).as_u128()).within(partition)
}

/// For spans within this process: it never steps.
pub fn steady() -> Instant {
    clock().steady()
}

/// Whether time may end anything.
pub fn certainty() -> Certainty {
    if clock().certainty.load(Ordering::Acquire) == Certainty::Sure as u8 {
        Certainty::Sure
    } else {
        Certainty::InDoubt
    }
}

/// The instant by which an answer may take something for over: while time is in doubt nothing is.
pub fn certain_by(asked_at: Instant) -> Instant {
    match certainty() {
        Certainty::Sure => asked_at,
        Certainty::InDoubt => Instant::EPOCH,
    }
}

/// By how much instants that were stored may lie ahead of now, in all: it grows with each step back.
pub fn behind_ms() -> i64 {
    clock().behind_ms.load(Ordering::Acquire)
}

/// What the store is to remember as the last instant: while time is in doubt never less than what it has.
pub fn to_store() -> Instant {
    match certainty() {
        Certainty::Sure => now(),
        Certainty::InDoubt => now().max(Instant(clock().stored_at.load(Ordering::Acquire))),
    }
}

/// Compares the start with the last instant that the store's owner before had, and with the store's own clock. A clock
/// that is ahead of that instant may have been stopped for as long: only a clock that contradicts it makes it doubtful.
pub async fn compare(store: &dyn Store, stored_at: Instant) {
    let clock = clock();
    let told = store.clock().await.ok().flatten();
    let behind_ms = stored_at.since_ms(now());
    let mut course = clock.course();
    course.begin(behind_ms);
    if let Some(behind_ms) = course.behind_ms() {
        tracing::error!(behind_ms, stored_at = stored_at.rfc3339(), "the clock is behind what the store has seen");
        clock.behind_ms.fetch_add(behind_ms, Ordering::AcqRel);
        clock.stored_at.store(stored_at.0, Ordering::Release);
        metrics::gauge!("tongbao_clock_step_ms").set(-behind_ms as f64);
    }
    if let Some(at) = told {
        course.store_says(at.since_ms(now()));
    }
    clock.stand(course.certainty(), "the start does not agree with the store");
}

/// Takes the `Date` of an account's answer for what its channel's clock says.
pub fn hear(account: &Account, headers: &[(String, String)]) {
    let date = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("date"));
    let Some(at) = date.and_then(|(_, text)| Instant::parse_http_date(text)) else { return };
    let clock = clock();
    let mut course = clock.course();
    course.hear(account.clone(), at.since_ms(now()));
    clock.stand(course.certainty(), "a channel's clock");
}

/// Looks after the clock for as long as the server runs.
pub async fn watch(store: Arc<dyn Store>) {
    loop {
        look(store.as_ref()).await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn look(store: &dyn Store) {
    let clock = clock();
    let has_stepped = clock.course().has_stepped();
    let stored = match (certainty(), has_stepped) {
        (Certainty::Sure, false) => None,
        (Certainty::InDoubt, _) | (_, true) => store.clock().await.ok().flatten(),
    };
    let step_ms = wall(&clock.settings.offset_file).since_ms(now());
    let mut course = clock.course();
    if let Some(at) = stored {
        course.store_says(at.since_ms(now()));
    }
    let judgement = course.look(step_ms);
    clock.take(&judgement);
    metrics::gauge!("tongbao_clock_step_ms").set(course.alarm_ms() as f64);
    clock.stand(course.certainty(), "the wall clock");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_orders_grow_with_our_clock() {
        let before = now();
        let fresh = |low| fresh_order_id(Partition::from_low_bits(low)).as_u128();
        // The one partition and the other in turns: what the ids grow by stands above it.
        let ids: Vec<u128> = (0..5_000).map(|number| fresh(!number)).collect();
        assert!(ids.is_sorted_by(|one, next| one < next));
        let dated = |id: u128| i64::try_from(id >> 80).expect("48 bits");
        assert!(before.0 <= dated(ids[0]) && dated(ids[4_999]) <= now().0 + 1_000);
    }
}
