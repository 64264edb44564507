//! When money moved, by its channel's own account of it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{Date, Month, OffsetDateTime};

use super::channel::Channel;
use super::time::Instant;

const HOUR_MS: i64 = 60 * 60 * 1_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// China has one time of the clock, eight hours ahead of UTC, and no summer time since 1991.
const BEIJING_MS: i64 = 8 * HOUR_MS;
/// A channel's clock may differ from ours by this much; what it dates later has not happened.
const AHEAD_MAX_MS: i64 = 5 * 60 * 1_000;

/// A day of a channel's own calendar, as its bills are dated: `2026-11-30`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Date);

impl Day {
    pub fn parse(text: &str) -> Option<Self> {
        const FORMAT: &[time::format_description::FormatItem<'_>] =
            time::macros::format_description!("[year]-[month]-[day]");
        // Only what would be written again the same.
        Date::parse(text, FORMAT).ok().map(Day).filter(|day| day.to_string() == text)
    }

    pub fn new(year: i32, month: u8, day: u8) -> Option<Self> {
        Some(Day(Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()?))
    }

    /// The day of an instant, so many milliseconds ahead of UTC.
    fn at(instant: Instant, ahead_ms: i64) -> Self {
        let seconds = instant.plus_ms(ahead_ms).0.div_euclid(1_000);
        // An instant beyond the calendar is no channel's; the first day of 1970 stands for it.
        Day(OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH).date())
    }

    /// So many months later; where that month is shorter, its last day.
    pub fn plus_months(self, months: u8) -> Self {
        let (mut year, mut month, day) = (self.0.year(), self.0.month(), self.0.day());
        for _ in 0..months {
            month = month.next();
            if month == Month::January {
                year += 1;
            }
        }
        let last = month.length(year);
        Day(Date::from_calendar_date(year, month, day.min(last)).unwrap_or(self.0))
    }

    pub fn plus_days(self, days: u16) -> Self {
        Day(self.0.checked_add(time::Duration::days(i64::from(days))).unwrap_or(self.0))
    }

    pub const fn date(self) -> Date {
        self.0
    }

    /// Its digits, as a number: 20261130.
    pub fn as_number(self) -> i64 {
        let month = i64::from(u8::from(self.0.month()));
        i64::from(self.0.year()) * 10_000 + month * 100 + i64::from(self.0.day())
    }
}

impl From<Date> for Day {
    fn from(date: Date) -> Self {
        Day(date)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), u8::from(self.0.month()), self.0.day())
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Day::parse(&text).ok_or_else(|| serde::de::Error::custom("not a day"))
    }
}

impl Channel {
    /// The day of this channel's bills that an instant belongs to: Beijing's for the Chinese ones, UTC's for the others.
    pub fn day_of(self, instant: Instant) -> Day {
        match self {
            Channel::Wechat | Channel::Alipay | Channel::Unionpay => Day::at(instant, BEIJING_MS),
            Channel::Simpay | Channel::Stripe => Day::at(instant, 0),
        }
    }
}

/// What a channel told of when money moved. Both are none where it told nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dated {
    /// Of the charge or the refund, by the channel's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_at: Option<Instant>,
    /// The day whose bill it stands in, where the channel tells that, or dates its bills by anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bill_day: Option<Day>,
}

impl Dated {
    pub const NOT_TOLD: Dated = Dated { effective_at: None, bill_day: None };

    pub fn at(effective_at: Instant) -> Self {
        Dated { effective_at: Some(effective_at), bill_day: None }
    }

    pub const fn is_not_told(&self) -> bool {
        matches!(self, Dated { effective_at: None, bill_day: None })
    }
}

/// When money moved, as it is booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective {
    pub at: Instant,
    pub bill_day: Day,
}

/// Whether what a channel told of an instant can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plausible {
    Told,
    /// It told nothing.
    NotTold,
    /// It told what cannot be: what was booked stands for it.
    Impossible,
}

impl Effective {
    /// Of money that stands in no channel's bill: it moved as it was booked. Its day is UTC's.
    pub fn unbilled(at: Instant) -> Self {
        Effective { at, bill_day: Day::at(at, 0) }
    }

    /// What a channel told by `booked_at` of money that cannot have moved before `begun_at`.
    pub fn of(channel: Channel, dated: Dated, begun_at: Instant, booked_at: Instant) -> (Self, Plausible) {
        let (at, plausible) = match dated.effective_at {
            None => (booked_at, Plausible::NotTold),
            Some(at) if at > booked_at.plus_ms(AHEAD_MAX_MS) || at < begun_at.plus_ms(-AHEAD_MAX_MS) => {
                (booked_at, Plausible::Impossible)
            }
            Some(at) => (at, Plausible::Told),
        };
        // A bill's day lies within a month of the instant, or it is no day of this movement.
        let is_near = |day: &Day| {
            let apart = (day.0 - channel.day_of(at).0).whole_days().abs();
            apart * DAY_MS <= 31 * DAY_MS
        };
        let bill_day = dated.bill_day.filter(is_near).unwrap_or_else(|| channel.day_of(at));
        (Effective { at, bill_day }, plausible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Day::parse(text).unwrap()
    }

    #[test]
    fn days_are_written_as_they_are_read() {
        assert_eq!(day("2026-11-30").to_string(), "2026-11-30");
        assert_eq!(serde_json::to_string(&day("2026-01-02")).unwrap(), "\"2026-01-02\"");
        for text in ["2026-1-2", "2026-02-30", "20260102", "", "+2026-01-02"] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_chinese_bill_changes_its_day_at_beijings_midnight() {
        let before = Instant::parse_rfc3339("2026-11-30T15:59:59.999Z").unwrap();
        assert_eq!(Channel::Wechat.day_of(before), day("2026-11-30"));
        assert_eq!(Channel::Wechat.day_of(before.plus_ms(1)), day("2026-12-01"));
        assert_eq!(Channel::Stripe.day_of(before.plus_ms(1)), day("2026-11-30"));
    }

    #[test]
    fn a_shorter_month_ends_on_its_last_day() {
        assert_eq!(day("2026-03-31").plus_months(11), day("2027-02-28"));
        assert_eq!(day("2027-03-31").plus_months(11), day("2028-02-29"));
        assert_eq!(day("2026-11-30").plus_months(12), day("2027-11-30"));
        assert_eq!(day("2026-12-31").plus_days(1), day("2027-01-01"));
    }

    #[test]
    fn what_cannot_be_is_stamped_by_when_it_was_booked() {
        let booked_at = Instant::parse_rfc3339("2026-11-30T12:00:00Z").unwrap();
        let begun_at = booked_at.plus_ms(-60_000);
        let of = |ahead_ms| {
            let dated = Dated::at(booked_at.plus_ms(ahead_ms));
            let (effective, plausible) = Effective::of(Channel::Wechat, dated, begun_at, booked_at);
            (effective.at.since_ms(booked_at), plausible)
        };
        assert_eq!(of(-1_000), (-1_000, Plausible::Told));
        assert_eq!(of(300_000), (300_000, Plausible::Told));
        assert_eq!(of(300_001), (0, Plausible::Impossible));
        assert_eq!(of(-360_001), (0, Plausible::Impossible));
        let (effective, plausible) = Effective::of(Channel::Wechat, Dated::NOT_TOLD, begun_at, booked_at);
        assert_eq!((effective.at, plausible), (booked_at, Plausible::NotTold));
        assert_eq!(effective.bill_day, day("2026-11-30"));
        let told = Dated { effective_at: None, bill_day: Some(day("2026-12-01")) };
        assert_eq!(Effective::of(Channel::Unionpay, told, begun_at, booked_at).0.bill_day, day("2026-12-01"));
        let far = Dated { effective_at: None, bill_day: Some(day("2025-12-01")) };
        assert_eq!(Effective::of(Channel::Unionpay, far, begun_at, booked_at).0.bill_day, day("2026-11-30"));
    }
}
