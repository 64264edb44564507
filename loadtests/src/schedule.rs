//! The open loop: when each arrival is meant to start, whatever happened to the ones before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

const NANOS: u64 = 1_000_000_000;
/// Finer than a timer of the runtime (1 ms), coarse enough to cost next to nothing.
const TICK: Duration = Duration::from_micros(250);

/// With a rate of at most a million a second for at most ten minutes, every product below fits 64 bits.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    per_second: u32,
    length: Duration,
}

impl Schedule {
    pub fn new(per_second: u32, length: Duration) -> Self {
        Self { per_second, length }
    }

    pub fn per_second(&self) -> u32 {
        self.per_second
    }

    pub fn length(&self) -> Duration {
        self.length
    }

    pub fn arrivals(&self) -> u64 {
        nanos(self.length) * u64::from(self.per_second) / NANOS
    }

    /// The intended start of the arrival with this number, counted from the beginning.
    pub fn intended(&self, number: u64) -> Duration {
        Duration::from_nanos(number * NANOS / u64::from(self.per_second))
    }

    /// How many arrivals are meant to have started once `elapsed` has passed.
    pub fn due(&self, elapsed: Duration) -> u64 {
        let elapsed = nanos(elapsed.min(self.length));
        ((elapsed + 1) * u64::from(self.per_second)).div_ceil(NANOS).min(self.arrivals())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A thread that wakes the dispatcher when the next arrival is due. Ends when it is dropped.
pub struct Pacer {
    stopped: Arc<AtomicBool>,
    woken: Arc<Notify>,
}

impl Pacer {
    pub fn start(schedule: Schedule, begin: Instant) -> std::io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let woken = Arc::new(Notify::new());
        let (stop, wake) = (stopped.clone(), woken.clone());
        std::thread::Builder::new().name("pacer".into()).spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let next = schedule.intended(schedule.due(begin.elapsed()));
                std::thread::sleep(next.saturating_sub(begin.elapsed()).clamp(TICK, Duration::from_millis(100)));
                wake.notify_one();
            }
        })?;
        Ok(Self { stopped, woken })
    }

    pub async fn tick(&self) {
        self.woken.notified().await;
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_evenly_spaced() {
        let schedule = Schedule::new(4, Duration::from_secs(2));
        assert_eq!(schedule.arrivals(), 8);
        assert_eq!(schedule.intended(0), Duration::ZERO);
        assert_eq!(schedule.intended(3), Duration::from_millis(750));
    }

    #[test]
    fn an_arrival_is_due_exactly_from_its_intended_start() {
        for rate in [1, 3, 7, 1_000, 12_345, 999_999] {
            let schedule = Schedule::new(rate, Duration::from_secs(3));
            for number in 0..schedule.arrivals().min(5_000) {
                let intended = schedule.intended(number);
                assert_eq!(schedule.due(intended), number + 1, "rate {rate}, arrival {number}");
                if let Some(before) = intended.checked_sub(Duration::from_nanos(1)) {
                    assert_eq!(schedule.due(before), number, "rate {rate}, arrival {number}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_due_beyond_the_end() {
        let schedule = Schedule::new(1_000_000, Duration::from_secs(600));
        assert_eq!(schedule.due(Duration::from_secs(100_000)), 600_000_000);
        assert!(schedule.intended(599_999_999) < Duration::from_secs(600));
    }
}
