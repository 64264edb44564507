//! How often the attempts at an account succeed of late: counts over a sliding window of whole minutes, in a ring.

use std::fmt;

use serde::{Serialize, Serializer};

use super::order::{Attempt, AttemptFailure};
use super::time::Instant;

/// The window slides by this much.
const BUCKET_MS: i64 = 60_000;

/// What the end of an attempt says about its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Succeeded,
    Failed,
}

impl Ending {
    pub const fn name(self) -> &'static str {
        match self {
            Ending::Succeeded => "succeeded",
            Ending::Failed => "failed",
        }
    }
}

impl Attempt {
    /// Whether the payer could not pay by it, whoever's doing that was.
    pub fn was_turned_away(&self) -> bool {
        match self.failure {
            Some(
                AttemptFailure::ChannelDeclined
                | AttemptFailure::ChannelUnavailable
                | AttemptFailure::ChannelUnsuitable
                | AttemptFailure::HeldBack,
            ) => true,
            Some(AttemptFailure::AmountInsufficient | AttemptFailure::AmountMismatch) | None => false,
        }
    }
}

/// A share in ten-thousandths, 0 to 10000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BasisPoints(u16);

impl BasisPoints {
    pub const WHOLE: BasisPoints = BasisPoints(10_000);

    pub const fn percent(percent: u8) -> Option<Self> {
        if percent > 100 { None } else { Some(BasisPoints(percent as u16 * 100)) }
    }

    /// The share of `part` in `whole`, rounded down; none of nothing.
    pub fn share(part: u64, whole: u64) -> Option<Self> {
        let share = (u128::from(part.min(whole)) * 10_000).checked_div(u128::from(whole))?;
        u16::try_from(share).ok().map(BasisPoints)
    }

    /// How many steps of this size it is below the whole: 0 within the first one.
    pub fn steps_lost(self, step_percent: u16) -> u16 {
        (BasisPoints::WHOLE.0 - self.0) / step_percent.saturating_mul(100).max(1)
    }

    /// For metrics.
    pub fn as_ratio(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

/// As a decimal: `0.9870`.
impl fmt::Display for BasisPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:04}", self.0 / 10_000, self.0 % 10_000)
    }
}

impl Serialize for BasisPoints {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Counted endings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub succeeded: u32,
    pub failed: u32,
}

impl Tally {
    pub fn count(&mut self, ending: Ending) {
        let counter = match ending {
            Ending::Succeeded => &mut self.succeeded,
            Ending::Failed => &mut self.failed,
        };
        *counter = counter.saturating_add(1);
    }

    pub const fn plus(self, other: Tally) -> Tally {
        Tally {
            succeeded: self.succeeded.saturating_add(other.succeeded),
            failed: self.failed.saturating_add(other.failed),
        }
    }

    /// None with fewer than `samples_min` endings, which say too little.
    pub fn rate(self, samples_min: u32) -> Option<BasisPoints> {
        let ended = u64::from(self.succeeded) + u64::from(self.failed);
        if ended < u64::from(samples_min) { None } else { BasisPoints::share(u64::from(self.succeeded), ended) }
    }
}

/// The endings of the last so many minutes, the one under way included.
#[derive(Debug, Clone)]
pub struct Window {
    /// Minute `n` lies at `n` modulo their number.
    minutes: Box<[Tally]>,
    newest: i64,
}

impl Window {
    pub fn new(minutes: u16) -> Self {
        Window { minutes: vec![Tally::default(); usize::from(minutes.max(1))].into(), newest: 0 }
    }

    pub fn record(&mut self, ending: Ending, at: Instant) {
        let minute = at.0.div_euclid(BUCKET_MS);
        let span = self.span();
        if minute > self.newest {
            for passed in (self.newest + 1).max(minute.saturating_sub(span - 1))..=minute {
                *self.at(passed) = Tally::default();
            }
            self.newest = minute;
        }
        // A clock that was set back by more than the window tells nothing of use.
        if minute > self.newest - span {
            self.at(minute).count(ending);
        }
    }

    pub fn tally(&self, now: Instant) -> Tally {
        let span = self.span();
        let oldest = now.0.div_euclid(BUCKET_MS).saturating_sub(span - 1).max(self.newest.saturating_sub(span - 1));
        (oldest..=self.newest).map(|minute| self.minutes[self.place(minute)]).fold(Tally::default(), Tally::plus)
    }

    fn at(&mut self, minute: i64) -> &mut Tally {
        let place = self.place(minute);
        &mut self.minutes[place]
    }

    fn place(&self, minute: i64) -> usize {
        usize::try_from(minute.rem_euclid(self.span())).expect("a remainder is not negative")
    }

    fn span(&self) -> i64 {
        i64::try_from(self.minutes.len()).expect("a window has at most 65,535 minutes")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = BUCKET_MS;

    fn at(minute: i64) -> Instant {
        Instant(1_767_225_600_000 + minute * MINUTE)
    }

    #[test]
    fn a_window_forgets_what_is_older_than_it() {
        let mut window = Window::new(3);
        assert_eq!(window.tally(at(0)), Tally::default());
        window.record(Ending::Succeeded, at(0));
        window.record(Ending::Failed, at(1));
        window.record(Ending::Succeeded, at(2));
        assert_eq!(window.tally(at(2)), Tally { succeeded: 2, failed: 1 });
        assert_eq!(window.tally(at(3)), Tally { succeeded: 1, failed: 1 });
        assert_eq!(window.tally(at(4)), Tally { succeeded: 1, failed: 0 });
        assert_eq!(window.tally(at(5)), Tally::default());
        window.record(Ending::Failed, at(1_000));
        assert_eq!(window.tally(at(1_000)), Tally { succeeded: 0, failed: 1 });
        window.record(Ending::Succeeded, at(997));
        assert_eq!(window.tally(at(1_000)), Tally { succeeded: 0, failed: 1 }, "too late to be counted");
    }

    #[test]
    fn a_rate_needs_samples_and_is_rounded_down() {
        let tally = |succeeded, failed| Tally { succeeded, failed };
        assert_eq!(tally(19, 0).rate(20), None);
        assert_eq!(tally(20, 0).rate(20), Some(BasisPoints::WHOLE));
        assert_eq!(tally(0, 0).rate(0), None, "nothing has no share");
        assert_eq!(tally(2, 1).rate(1).unwrap().to_string(), "0.6666");
        assert_eq!(tally(u32::MAX, u32::MAX).rate(1).unwrap().to_string(), "0.5000");
        assert_eq!(BasisPoints::WHOLE.to_string(), "1.0000");
        let lost = [10_000, 9_801, 9_800, 9_601, 0].map(|points| BasisPoints(points).steps_lost(2));
        assert_eq!(lost, [0, 0, 1, 1, 50], "the whole and what is less than a step below it are one");
    }

    proptest! {
        /// Against a list of everything that happened.
        #[test]
        fn a_window_counts_as_a_list_does(
            span in 1u16..20,
            steps in proptest::collection::vec((0i64..5, any::<bool>()), 0..200),
            rest in 0i64..30,
        ) {
            let mut window = Window::new(span);
            let mut list = VecDeque::new();
            let mut minute = 0;
            for (pause, succeeds) in steps {
                minute += pause;
                let ending = if succeeds { Ending::Succeeded } else { Ending::Failed };
                window.record(ending, at(minute));
                list.push_back((minute, ending));
            }
            let now = minute + rest;
            let mut expected = Tally::default();
            list.iter().filter(|(then, _)| *then > now - i64::from(span)).for_each(|(_, ending)| expected.count(*ending));
            prop_assert_eq!(window.tally(at(now)), expected);
        }
    }
}
