//! What the world and the engine's ports share: the clock, chance, the store, and who sleeps until when.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use tongbao::domain::time::Instant;

use crate::dice::Dice;
use crate::store::Store;

pub struct Scene {
    pub dice: Arc<Dice>,
    /// For what changes nothing of a run.
    pub salts: Dice,
    now: AtomicI64,
    /// Until when the store answers nobody.
    outage_until: AtomicI64,
    store: Mutex<Store>,
    sleepers: Mutex<BTreeMap<(Instant, u64), Waker>>,
    naps: AtomicU64,
}

/// One thread runs a whole world: whoever meets a held lock holds it himself.
pub fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.try_lock().expect("nobody holds it while somebody else is at work")
}

impl Scene {
    pub fn new(dice: Arc<Dice>, now: Instant, store: Store) -> Arc<Self> {
        Arc::new(Scene {
            salts: dice.beside(),
            dice,
            now: AtomicI64::new(now.0),
            outage_until: AtomicI64::new(now.0),
            store: Mutex::new(store),
            sleepers: Mutex::default(),
            naps: AtomicU64::new(0),
        })
    }

    pub fn now(&self) -> Instant {
        Instant(self.now.load(Ordering::Relaxed))
    }

    pub fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    pub fn go_to(&self, now: Instant) {
        self.now.store(now.0, Ordering::Relaxed);
        let due = {
            let mut sleepers = lock(&self.sleepers);
            let later = sleepers.split_off(&(now.plus_ms(1), 0));
            std::mem::replace(&mut *sleepers, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// When the next sleeper wakes.
    pub fn wakes_at(&self) -> Option<Instant> {
        lock(&self.sleepers).keys().next().map(|(at, _)| *at)
    }

    /// Whoever slept is gone.
    pub fn forget_sleepers(&self) {
        lock(&self.sleepers).clear();
    }

    pub fn is_out(&self) -> bool {
        self.now() < Instant(self.outage_until.load(Ordering::Relaxed))
    }

    pub fn end_outage_at(&self, at: Instant) {
        self.outage_until.store(at.0, Ordering::Relaxed);
    }

    pub fn nap(self: &Arc<Self>, span_ms: i64) -> Nap {
        Nap { scene: self.clone(), until: self.now().plus_ms(span_ms) }
    }
}

/// Sleeps on virtual time.
pub struct Nap {
    scene: Arc<Scene>,
    until: Instant,
}

impl Future for Nap {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.scene.now() >= self.until {
            return Poll::Ready(());
        }
        let number = self.scene.naps.fetch_add(1, Ordering::Relaxed);
        lock(&self.scene.sleepers).insert((self.until, number), context.waker().clone());
        Poll::Pending
    }
}
