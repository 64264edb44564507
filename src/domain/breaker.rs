//! The circuit breaker of a channel account, as a pure machine.

use super::time::Instant;

/// Limits of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Failures in a row before it opens; at least 1.
    pub failures: u32,
    /// How long it stays open before one call may try again.
    pub open_ms: i64,
}

/// What a call says about the health of its channel (not about the payment).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// The channel answered as a working channel does, a refusal included.
    Healthy,
    /// Time-out, reset, 5xx, unreadable or unverifiable answer, or a refusal that is our own fault.
    Sick,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// One call is out to see whether the channel is back.
    Trying {
        until: Instant,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Go,
    /// Down: try again at this instant.
    Wait(Instant),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    limits: Limits,
    condition: Condition,
}

impl Breaker {
    pub fn new(limits: Limits) -> Self {
        assert!(limits.failures > 0, "a breaker opens after at least one failure");
        Breaker { limits, condition: Condition::Closed { failures: 0 } }
    }

    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// Whether the channel takes new payments, without asking for a place.
    pub fn is_open(&self, now: Instant) -> Option<Instant> {
        match self.condition {
            Condition::Closed { .. } => None,
            Condition::Open { until } | Condition::Trying { until } => (now < until).then_some(until),
        }
    }

    /// Asks whether a call may go. In the open state the first caller after `until` goes alone; a caller that never
    /// reports back is given up after another span.
    pub fn admit(&mut self, now: Instant) -> Admission {
        match self.condition {
            Condition::Closed { .. } => Admission::Go,
            Condition::Open { until } | Condition::Trying { until } if now < until => Admission::Wait(until),
            Condition::Open { .. } | Condition::Trying { .. } => {
                self.condition = Condition::Trying { until: now.plus_ms(self.limits.open_ms) };
                Admission::Go
            }
        }
    }

    pub fn record(&mut self, sign: Sign, now: Instant) {
        self.condition = match (self.condition, sign) {
            (_, Sign::Healthy) => Condition::Closed { failures: 0 },
            (Condition::Closed { failures }, Sign::Sick) if failures + 1 < self.limits.failures => {
                Condition::Closed { failures: failures + 1 }
            }
            (Condition::Closed { .. } | Condition::Trying { .. }, Sign::Sick) => {
                Condition::Open { until: now.plus_ms(self.limits.open_ms) }
            }
            (Condition::Open { until }, Sign::Sick) => Condition::Open { until },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(Limits { failures: 3, open_ms: 100 })
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_a_success_in_between_counts_anew() {
        let mut breaker = breaker();
        for sign in [Sign::Sick, Sign::Sick, Sign::Healthy, Sign::Sick, Sign::Sick] {
            breaker.record(sign, Instant(0));
            assert_eq!(breaker.admit(Instant(0)), Admission::Go);
        }
        breaker.record(Sign::Sick, Instant(7));
        assert_eq!(breaker.admit(Instant(8)), Admission::Wait(Instant(107)));
        assert_eq!(breaker.is_open(Instant(8)), Some(Instant(107)));
    }

    #[test]
    fn after_its_time_one_call_tries_and_decides() {
        for (sign, after) in [(Sign::Healthy, Admission::Go), (Sign::Sick, Admission::Wait(Instant(250)))] {
            let mut breaker = Breaker::new(Limits { failures: 1, open_ms: 100 });
            breaker.record(Sign::Sick, Instant(0));
            assert_eq!(breaker.admit(Instant(100)), Admission::Go);
            assert_eq!(breaker.admit(Instant(101)), Admission::Wait(Instant(200)), "the others wait for the trier");
            breaker.record(sign, Instant(150));
            assert_eq!(breaker.admit(Instant(151)), after);
        }
    }

    #[test]
    fn a_trier_that_never_reports_is_given_up() {
        let mut breaker = Breaker::new(Limits { failures: 1, open_ms: 100 });
        breaker.record(Sign::Sick, Instant(0));
        assert_eq!(breaker.admit(Instant(100)), Admission::Go);
        assert_eq!(breaker.admit(Instant(200)), Admission::Go);
    }
}
