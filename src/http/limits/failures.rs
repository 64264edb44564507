//! Failed verifications per address, in bounded room and without looking through it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After this long without a failure an address has its whole burst again, and nothing need be known of it.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Addresses in one generation, some 100 bytes each. Whoever has more of them than this is slowed down by none.
const ADDRESSES_MAX: usize = 20_000;
/// How often an address that has failed too often is verified all the same: some 50 µs each, for RSA.
const VERIFY_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Within,
    Beyond { wait: Duration },
}

#[derive(Debug)]
pub struct Failures {
    burst: NonZeroU32,
    generations: Mutex<Generations>,
}

/// Addresses that failed lately and those that did before. A generation ends when it is as long as the window, or full;
/// the one before is then forgotten whole.
#[derive(Debug)]
struct Generations {
    recent: HashMap<IpAddr, Record>,
    former: HashMap<IpAddr, Record>,
    since: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    /// When the whole burst is there again.
    free_at: Instant,
    /// The last time that it was verified although it had failed too often.
    verified: Option<Instant>,
}

impl Failures {
    pub fn new(per_minute: NonZeroU32) -> Self {
        let generations = Generations { recent: HashMap::new(), former: HashMap::new(), since: Instant::now() };
        Failures { burst: per_minute, generations: Mutex::new(generations) }
    }

    pub fn burst(&self) -> u32 {
        self.burst.get()
    }

    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one failure.
    pub fn count(&self, address: IpAddr) -> Verdict {
        self.count_at(address, Instant::now())
    }

    fn count_at(&self, address: IpAddr, now: Instant) -> Verdict {
        let mut generations = self.generations();
        let record = generations.record(address, now);
        let verdict = self.judge(record, now);
        if verdict == Verdict::Within {
            record.free_at = record.free_at.max(now) + self.interval();
        }
        verdict
    }

    /// Whether something of this address is to be verified.
    pub fn may_verify(&self, address: IpAddr) -> Verdict {
        self.may_verify_at(address, Instant::now())
    }

    fn may_verify_at(&self, address: IpAddr, now: Instant) -> Verdict {
        let mut generations = self.generations();
        let Some(record) = generations.known(address) else { return Verdict::Within };
        let verdict = self.judge(record, now);
        let is_due = record.verified.is_none_or(|last| now.duration_since(last) >= VERIFY_EVERY);
        match verdict {
            Verdict::Within => Verdict::Within,
            Verdict::Beyond { .. } if is_due => {
                record.verified = Some(now);
                Verdict::Within
            }
            Verdict::Beyond { wait } => Verdict::Beyond { wait },
        }
    }

    /// What the next failure would be told.
    fn judge(&self, record: &Record, now: Instant) -> Verdict {
        let used = record.free_at.saturating_duration_since(now) + self.interval();
        match used.checked_sub(WINDOW) {
            Some(wait) if !wait.is_zero() => Verdict::Beyond { wait },
            Some(_) | None => Verdict::Within,
        }
    }

    /// One failure is forgiven in this time.
    fn interval(&self) -> Duration {
        WINDOW / self.burst.get()
    }
}

impl Generations {
    fn known(&mut self, address: IpAddr) -> Option<&mut Record> {
        match self.recent.get_mut(&address) {
            Some(record) => Some(record),
            None => self.former.get_mut(&address),
        }
    }

    fn record(&mut self, address: IpAddr, now: Instant) -> &mut Record {
        // Before the generations change: what is counted again is not forgotten.
        let former = self.former.remove(&address);
        let is_over = now.duration_since(self.since) >= WINDOW || self.recent.len() >= ADDRESSES_MAX;
        if is_over && !self.recent.contains_key(&address) {
            self.former = std::mem::take(&mut self.recent);
            self.since = now;
        }
        self.recent.entry(address).or_insert(former.unwrap_or(Record { free_at: now, verified: None }))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(number))
    }

    fn per_minute(number: u32) -> Failures {
        Failures::new(NonZeroU32::new(number).unwrap())
    }

    /// "Beyond 20,000 failing addresses each failure scans them all": what is known never exceeds two generations, and
    /// nothing is looked through.
    #[test]
    fn report_any_number_of_failing_addresses_takes_bounded_room() {
        let (failures, now) = (per_minute(1), Instant::now());
        for number in 0..100_000 {
            assert_eq!(failures.count_at(address(number), now), Verdict::Within, "{number}");
        }
        let known = |failures: &Failures| {
            let generations = failures.generations();
            (generations.recent.len(), generations.former.len())
        };
        assert_eq!(known(&failures), (20_000, 20_000));
        assert_eq!(
            failures.count_at(address(99_999), now),
            Verdict::Beyond { wait: WINDOW },
            "the last ones are known"
        );
        assert_eq!(failures.count_at(address(70_000), now), Verdict::Beyond { wait: WINDOW });
        assert_eq!(failures.count_at(address(0), now), Verdict::Within, "the first ones are forgotten");
        failures.count_at(address(1), now + WINDOW);
        failures.count_at(address(2), now + 2 * WINDOW);
        let (recent, former) = known(&failures);
        assert!(recent + former < 10, "quiet addresses are forgotten: {recent} and {former}");
    }

    #[test]
    fn a_failure_is_forgiven_in_its_part_of_the_minute() {
        let (failures, now) = (per_minute(60), Instant::now());
        for _ in 0..60 {
            assert_eq!(failures.count_at(address(1), now), Verdict::Within);
        }
        let second = Duration::from_secs(1);
        assert_eq!(failures.count_at(address(1), now), Verdict::Beyond { wait: second });
        assert_eq!(failures.count_at(address(1), now + second / 2), Verdict::Beyond { wait: second / 2 });
        assert_eq!(failures.count_at(address(1), now + second), Verdict::Within);
        assert_eq!(failures.count_at(address(1), now + second), Verdict::Beyond { wait: second });
        assert_eq!(failures.count_at(address(2), now), Verdict::Within);
        for step in 0..60 {
            assert_eq!(failures.count_at(address(1), now + 2 * WINDOW), Verdict::Within, "{step}");
        }
    }

    #[test]
    fn who_failed_too_often_is_verified_now_and_then() {
        let (failures, now) = (per_minute(1), Instant::now());
        assert_eq!(failures.may_verify_at(address(1), now), Verdict::Within, "nothing is known of it");
        failures.count_at(address(1), now);
        let verified = (0..1_000)
            .filter(|ms| failures.may_verify_at(address(1), now + Duration::from_millis(*ms)) == Verdict::Within);
        assert_eq!(verified.count(), 10);
        assert_eq!(failures.may_verify_at(address(2), now), Verdict::Within);
        assert_eq!(failures.generations().recent.len(), 1, "asking makes no record");
    }
}
