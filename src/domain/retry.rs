//! When to ask again: schedules as data, version 1 of them, see [`super::rules`].

use super::channel::Channel;
use super::time::Instant;
use serde::{Deserialize, Serialize};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// How fast an order's schedules run, fixed when it is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// As the channels advise.
    Production,
    /// Fast enough to watch: the first query within 2 s, later ones at most 10 s apart.
    Sandbox,
}

/// Gaps between tries in milliseconds; the last one repeats.
pub type Schedule = &'static [i64];

/// When an open attempt is queried, counted from its last send or its last unknown outcome. The older it is the rarer: an
/// order that nobody pays costs 9 queries in two hours, and two an hour from then on: what time
/// has ended is found to have ended within half an hour.
pub const fn queries(channel: Channel, pace: Pace) -> Schedule {
    match (pace, channel) {
        (Pace::Sandbox, _) => &[1_500, 3 * SECOND, 6 * SECOND, 10 * SECOND],
        (Pace::Production, Channel::Unionpay) => {
            &[5 * SECOND, 10 * SECOND, 30 * SECOND, MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE]
        }
        (Pace::Production, Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Stripe) => {
            &[5 * SECOND, 30 * SECOND, MINUTE, 3 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE]
        }
    }
}

/// When a refund that did not go through is tried again, or asked about.
pub const fn refunds(pace: Pace) -> Schedule {
    match pace {
        Pace::Sandbox => &[SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND],
        Pace::Production => &[10 * SECOND, MINUTE, 10 * MINUTE, HOUR],
    }
}

/// How long a refund waits for its next number, a gap for each round, once its channel has ended the one before without
/// paying it. There are as many rounds as gaps beside the first: what no number could give back, a person must see to.
///
/// WeChat Pay wants a minute between two refunds of a payment, and takes 50 of them (merchant document 4013071036).
pub const fn refund_rounds(pace: Pace) -> Schedule {
    match pace {
        Pace::Sandbox => &[SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, 10 * SECOND],
        Pace::Production => &[MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, 24 * HOUR],
    }
}

/// When a failed order that once had a live attempt is looked at again, counted from its end. The last one ends it.
pub const WATCHES: [i64; 4] = [MINUTE, 10 * MINUTE, HOUR, 24 * HOUR];

/// How long a claim stands against any denial: a query that was on its way when the callback came knows nothing of it.
pub const CLAIM_STANDS_MS: i64 = MINUTE;

/// The first tick of a schedule that began at `from` and lies after `now`.
///
/// # Panics
/// On an empty schedule or one whose last gap is not positive.
pub fn next_tick(schedule: Schedule, from: Instant, now: Instant) -> Instant {
    let last = *schedule.last().expect("a schedule has at least one gap");
    assert!(last > 0, "the last gap of a schedule repeats, so it is positive");
    let mut tick = from;
    for gap in schedule {
        tick = tick.plus_ms(*gap);
        if tick > now {
            return tick;
        }
    }
    let behind = now.since_ms(tick);
    tick.plus_ms((behind / last + 1) * last)
}

/// The gap before try number `tried + 1`, the last one repeating.
pub fn gap_ms(schedule: Schedule, tried: u16) -> i64 {
    let place = usize::from(tried).min(schedule.len() - 1);
    schedule[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_follow_the_gaps_and_the_last_gap_repeats() {
        let schedule: Schedule = &[10, 20, 50];
        let from = Instant(1_000);
        for (now, tick) in
            [(900, 1_010), (1_000, 1_010), (1_010, 1_030), (1_079, 1_080), (1_080, 1_130), (1_999, 2_030)]
        {
            assert_eq!(next_tick(schedule, from, Instant(now)), Instant(tick), "at {now}");
        }
    }

    #[test]
    fn the_sandbox_queries_within_2_s_and_then_at_most_10_s_apart() {
        for channel in Channel::ALL {
            let schedule = queries(channel, Pace::Sandbox);
            assert!(schedule[0] <= 2_000);
            assert!(schedule.iter().all(|gap| (1..=10_000).contains(gap)));
        }
    }

    #[test]
    fn report_queries_thin_out_with_the_age_of_an_order() {
        let until = |channel, end: i64| {
            let mut ticks = Vec::new();
            let mut now = Instant(0);
            while now < Instant(end) {
                now = next_tick(queries(channel, Pace::Production), Instant(0), now);
                ticks.push(now);
            }
            ticks.len() - 1
        };
        for channel in [Channel::Simpay, Channel::Wechat, Channel::Alipay, Channel::Stripe] {
            let gaps = queries(channel, Pace::Production);
            assert!(gaps.is_sorted(), "{channel}");
            assert_eq!((until(channel, 2 * HOUR), until(channel, 23 * HOUR)), (9, 51), "{channel}");
        }
    }

    #[test]
    fn every_schedule_has_positive_gaps() {
        for pace in [Pace::Production, Pace::Sandbox] {
            for channel in Channel::ALL {
                assert!(queries(channel, pace).iter().all(|gap| *gap > 0));
            }
            assert!(refunds(pace).iter().all(|gap| *gap > 0));
            assert!(refund_rounds(pace).is_sorted() && refund_rounds(pace)[0] > 0);
        }
    }
}
