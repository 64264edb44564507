//! What a run saw: every arrival ends in exactly one of accepted, refused, broken and skipped.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::wire::Broken;

const MICROS_MAX: u64 = 3_600_000_000;
const EXAMPLE_MAX: usize = 300;

/// Latencies in microseconds, to three significant digits; longer than an hour counts as an hour.
pub struct Latency(Histogram<u32>);

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, MICROS_MAX, 3).expect("the bounds are constants and valid"))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    pub count: u64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

impl Latency {
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(MICROS_MAX).max(1));
    }

    pub fn percentiles(&self) -> Percentiles {
        if self.0.is_empty() {
            return Percentiles::default();
        }
        let at = |quantile| self.0.value_at_quantile(quantile).min(self.0.max());
        Percentiles {
            count: self.0.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.0.max(),
        }
    }
}

#[derive(Default)]
struct Refused {
    count: u64,
    latency: Latency,
    example: String,
}

/// One request: when it was meant to start, when it was sent.
#[derive(Clone, Copy)]
pub struct Start {
    pub intended: Instant,
    pub sent: Instant,
}

pub struct Tally {
    /// Latencies of what was meant to start earlier are warm-up and left out; counts are not.
    record_from: Instant,
    accepted: u64,
    acceptance: Latency,
    /// How late the generator itself was.
    lag: Latency,
    refused: BTreeMap<u16, Refused>,
    broken: BTreeMap<Broken, u64>,
    skipped: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct RefusedSummary {
    pub status: u16,
    pub count: u64,
    pub latency: Percentiles,
    pub example: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub accepted: u64,
    pub acceptance: Percentiles,
    pub lag: Percentiles,
    pub refused: Vec<RefusedSummary>,
    pub broken: BTreeMap<&'static str, u64>,
    pub skipped: u64,
}

impl Tally {
    pub fn new(record_from: Instant) -> Self {
        Self {
            record_from,
            accepted: 0,
            acceptance: Latency::default(),
            lag: Latency::default(),
            refused: BTreeMap::new(),
            broken: BTreeMap::new(),
            skipped: 0,
        }
    }

    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    pub fn refused(&self) -> u64 {
        self.refused.values().map(|refused| refused.count).sum()
    }

    /// Exchanges that came to an end, whichever.
    pub fn answered_or_broken(&self) -> u64 {
        self.accepted + self.refused() + self.broken.values().sum::<u64>()
    }

    pub fn answer(&mut self, start: Start, now: Instant, status: u16, body: &[u8]) {
        let latency = (start.intended >= self.record_from).then(|| now.duration_since(start.intended));
        if is_success(status) {
            self.accepted += 1;
            if let Some(latency) = latency {
                self.acceptance.record(latency);
                self.lag.record(start.sent.duration_since(start.intended));
            }
            return;
        }
        let refused = self.refused.entry(status).or_default();
        if refused.count == 0 {
            refused.example = String::from_utf8_lossy(&body[..body.len().min(EXAMPLE_MAX)]).into_owned();
        }
        refused.count += 1;
        if let Some(latency) = latency {
            refused.latency.record(latency);
        }
    }

    pub fn broke(&mut self, broken: Broken) {
        *self.broken.entry(broken).or_default() += 1;
    }

    pub fn skip(&mut self) {
        self.skipped += 1;
    }

    pub fn summary(&self) -> Summary {
        Summary {
            accepted: self.accepted,
            acceptance: self.acceptance.percentiles(),
            lag: self.lag.percentiles(),
            refused: self
                .refused
                .iter()
                .map(|(&status, refused)| RefusedSummary {
                    status,
                    count: refused.count,
                    latency: refused.latency.percentiles(),
                    example: refused.example.clone(),
                })
                .collect(),
            broken: self.broken.iter().map(|(broken, &count)| (broken.name(), count)).collect(),
            skipped: self.skipped,
        }
    }
}

pub fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(origin: Instant, intended_ms: u64, sent_ms: u64) -> Start {
        Start { intended: origin + Duration::from_millis(intended_ms), sent: origin + Duration::from_millis(sent_ms) }
    }

    #[test]
    fn latency_counts_from_the_intended_start() {
        let origin = Instant::now();
        let mut tally = Tally::new(origin);
        tally.answer(start(origin, 10, 400), origin + Duration::from_millis(410), 201, b"");
        let summary = tally.summary();
        assert_eq!(summary.accepted, 1);
        assert!((400_000..=400_500).contains(&summary.acceptance.max_us), "{:?}", summary.acceptance);
        assert!((390_000..=390_500).contains(&summary.lag.max_us), "{:?}", summary.lag);
    }

    #[test]
    fn refusals_are_kept_apart_by_status() {
        let origin = Instant::now();
        let mut tally = Tally::new(origin);
        let at = |ms| origin + Duration::from_millis(ms);
        tally.answer(start(origin, 0, 0), at(1), 201, b"");
        tally.answer(start(origin, 0, 0), at(2), 429, b"slow down");
        tally.answer(start(origin, 0, 0), at(3), 503, b"busy");
        tally.answer(start(origin, 0, 0), at(9), 503, b"still busy");
        tally.broke(Broken::Timeout);
        tally.skip();
        let summary = tally.summary();
        assert_eq!((summary.accepted, summary.acceptance.count, tally.refused()), (1, 1, 3));
        assert_eq!(summary.refused.iter().map(|r| (r.status, r.count)).collect::<Vec<_>>(), [(429, 1), (503, 2)]);
        assert_eq!(summary.refused[1].example, "busy");
        assert!(summary.refused[1].latency.max_us >= 9_000);
        assert_eq!((summary.broken["timeout"], summary.skipped), (1, 1));
    }

    #[test]
    fn warm_up_is_counted_but_its_latency_is_not() {
        let origin = Instant::now();
        let mut tally = Tally::new(origin + Duration::from_millis(100));
        tally.answer(start(origin, 99, 99), origin + Duration::from_secs(5), 201, b"");
        tally.answer(start(origin, 100, 100), origin + Duration::from_millis(101), 201, b"");
        let summary = tally.summary();
        assert_eq!((summary.accepted, summary.acceptance.count), (2, 1));
        assert!(summary.acceptance.max_us < 2_000);
    }

    #[test]
    fn percentiles_of_a_known_series() {
        let mut latency = Latency::default();
        for ms in 1..=1_000 {
            latency.record(Duration::from_millis(ms));
        }
        latency.record(Duration::from_secs(100_000));
        let percentiles = latency.percentiles();
        let near = |value: u64, expected: u64| value.abs_diff(expected) <= expected / 500;
        assert_eq!(percentiles.count, 1_001);
        assert!(near(percentiles.p50_us, 501_000), "{percentiles:?}");
        assert!(near(percentiles.p99_us, 991_000), "{percentiles:?}");
        assert!(near(percentiles.max_us, MICROS_MAX), "{percentiles:?}");
        assert_eq!(Latency::default().percentiles(), Percentiles::default());
    }
}
