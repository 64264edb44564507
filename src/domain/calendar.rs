//! When cycles of settlement end: every day, week or month at a full hour of a zone's own clock.
//!
//! A boundary is the first instant at which the zone's clock shows its local time or a later one. So a local time that
//! daylight saving skips is the next instant that exists, and of a doubled one the first counts. The time zones are
//! compiled in: every machine draws the same boundaries, with or without a zone database of its own.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::time::Instant;

/// Such as `daily 02:00 Asia/Shanghai`, `weekly mon 00:00 Europe/Berlin` or `monthly 1 00:00 UTC`. A schedule is written
/// in one way only, so equal texts are equal schedules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    period: Period,
    zone: Zone,
    hour: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    Daily,
    Weekly(Weekday),
    /// On this day of each month, 1 to 28, which every month has.
    Monthly(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A zone of the IANA time zone database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduleError {
    /// Not of the form `daily HH:00 ZONE`, `weekly DAY HH:00 ZONE` or `monthly N HH:00 ZONE`.
    Form(String),
    Weekday(String),
    MonthDay(String),
    Hour(String),
    Zone(String),
    /// Means something, but is written as this.
    Spelling(String),
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScheduleError::Form(text) => write!(
                f,
                "{text:?} is no schedule: write `daily HH:00 ZONE`, `weekly DAY HH:00 ZONE` or `monthly N HH:00 ZONE`"
            ),
            ScheduleError::Weekday(text) => {
                write!(f, "{text:?} is no day of the week: write mon, tue, wed, thu, fri, sat or sun")
            }
            ScheduleError::MonthDay(text) => {
                write!(f, "{text:?} is no day of every month: write a number from 1 to 28")
            }
            ScheduleError::Hour(text) => write!(f, "{text:?} is no full hour: write 00:00 to 23:00"),
            ScheduleError::Zone(text) => {
                write!(f, "{text:?} is no time zone of the IANA database: write one such as Asia/Shanghai or UTC")
            }
            ScheduleError::Spelling(text) => write!(f, "write this schedule as {text:?}"),
        }
    }
}

impl std::error::Error for ScheduleError {}

impl Schedule {
    /// Refuses an hour past 23 and a day of the month that some month lacks.
    pub fn new(period: Period, zone: Zone, hour: u8) -> Result<Self, ScheduleError> {
        if hour > 23 {
            return Err(ScheduleError::Hour(format!("{hour:02}:00")));
        }
        match period {
            Period::Monthly(day) if !(1..=28).contains(&day) => Err(ScheduleError::MonthDay(day.to_string())),
            Period::Daily | Period::Weekly(_) | Period::Monthly(_) => Ok(Schedule { period, zone, hour }),
        }
    }

    /// Reads what `Display` writes, and nothing else.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (period, hour, zone) = match words[..] {
            ["daily", hour, zone] => (Period::Daily, hour, zone),
            ["weekly", day, hour, zone] => (Period::Weekly(Weekday::parse(day)?), hour, zone),
            ["monthly", day, hour, zone] => {
                let number = day.parse().map_err(|_| ScheduleError::MonthDay(day.to_owned()))?;
                (Period::Monthly(number), hour, zone)
            }
            _ => return Err(ScheduleError::Form(text.to_owned())),
        };
        let not_full = || ScheduleError::Hour(hour.to_owned());
        let number = hour.strip_suffix(":00").and_then(|number| number.parse().ok()).ok_or_else(not_full)?;
        let schedule = Schedule::new(period, Zone::named(zone)?, number)?;
        let canonical = schedule.to_string();
        if canonical == text { Ok(schedule) } else { Err(ScheduleError::Spelling(canonical)) }
    }

    pub const fn period(&self) -> Period {
        self.period
    }

    pub const fn zone(&self) -> &Zone {
        &self.zone
    }

    pub const fn hour(&self) -> u8 {
        self.hour
    }

    /// The first boundary after `instant`. The calendar runs from the year −9999 to 9999; after its end there is no
    /// boundary, which the last instant of all stands for.
    pub fn next_after(&self, instant: Instant) -> Instant {
        let after = within_calendar(instant);
        self.dates_from(self.zone.0.to_datetime(after).date())
            .filter_map(|date| self.boundary_on(date))
            .find(|boundary| *boundary > after)
            .map_or(Instant(i64::MAX), |boundary| Instant(boundary.as_millisecond()))
    }

    /// The dates of this schedule, not before `start`, to the end of the calendar.
    fn dates_from(&self, start: Date) -> impl Iterator<Item = Date> {
        let period = self.period;
        std::iter::successors(Some(start), |date| date.tomorrow().ok()).filter(move |date| match period {
            Period::Daily => true,
            Period::Weekly(day) => Weekday::of(*date) == day,
            Period::Monthly(day) => u8::try_from(date.day()) == Ok(day),
        })
    }

    /// None for a day that a zone left out altogether, of a daily schedule, and outside the calendar: the day before it
    /// just lasts until the day after. A week or a month whose first day is missing begins at the next instant instead.
    fn boundary_on(&self, date: Date) -> Option<Timestamp> {
        let local = date.at(i8::try_from(self.hour).ok()?, 0, 0, 0);
        let boundary = self.zone.first_at(local)?;
        match self.period {
            Period::Daily if self.zone.lacks(date, boundary) => None,
            Period::Daily | Period::Weekly(_) | Period::Monthly(_) => Some(boundary),
        }
    }
}

impl Zone {
    /// By its name in the database; the case of its letters does not matter.
    pub fn named(name: &str) -> Result<Self, ScheduleError> {
        let zone = TimeZoneDatabase::bundled().get(name).map(Zone).ok();
        // `Etc/Unknown` is what the library calls a zone that it could not find out.
        zone.filter(|zone| !zone.0.is_unknown() && zone.0.iana_name().is_some())
            .ok_or_else(|| ScheduleError::Zone(name.to_owned()))
    }

    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or_default()
    }

    /// The first instant at which the clock shows `local` or later.
    fn first_at(&self, local: DateTime) -> Option<Timestamp> {
        let ambiguous = self.0.to_ambiguous_timestamp(local);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok(),
            AmbiguousOffset::Gap { .. } => {
                // As if the clock had not been put forward yet: not before that moment, and hardly after it.
                let not_before = ambiguous.later().ok()?;
                let second = jiff::SignedDuration::from_secs(1);
                let mut changes = self.0.preceding(not_before.checked_add(second).ok()?);
                changes
                    .find(|change| {
                        let before = change.timestamp().checked_sub(second);
                        before.is_ok_and(|before| self.0.to_offset(before) != change.offset())
                    })
                    .map(|change| change.timestamp())
            }
        }
    }

    /// Whether the clock went from before `date` to after it, at the boundary that was found for it.
    fn lacks(&self, date: Date, boundary: Timestamp) -> bool {
        let before = boundary.checked_sub(jiff::SignedDuration::from_secs(1)).unwrap_or(boundary);
        self.0.to_datetime(before).date() < date && self.0.to_datetime(boundary).date() > date
    }
}

impl Weekday {
    pub const ALL: [Weekday; 7] =
        [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

    pub const fn name(self) -> &'static str {
        match self {
            Weekday::Mon => "mon",
            Weekday::Tue => "tue",
            Weekday::Wed => "wed",
            Weekday::Thu => "thu",
            Weekday::Fri => "fri",
            Weekday::Sat => "sat",
            Weekday::Sun => "sun",
        }
    }

    fn parse(text: &str) -> Result<Self, ScheduleError> {
        let day = Weekday::ALL.into_iter().find(|day| day.name() == text);
        day.ok_or_else(|| ScheduleError::Weekday(text.to_owned()))
    }

    fn of(date: Date) -> Self {
        match date.weekday() {
            jiff::civil::Weekday::Monday => Weekday::Mon,
            jiff::civil::Weekday::Tuesday => Weekday::Tue,
            jiff::civil::Weekday::Wednesday => Weekday::Wed,
            jiff::civil::Weekday::Thursday => Weekday::Thu,
            jiff::civil::Weekday::Friday => Weekday::Fri,
            jiff::civil::Weekday::Saturday => Weekday::Sat,
            jiff::civil::Weekday::Sunday => Weekday::Sun,
        }
    }
}

/// The instant, or the end of the calendar that is nearest to it. Boundaries are whole seconds, so no fraction of the
/// calendar's first and last millisecond matters.
fn within_calendar(instant: Instant) -> Timestamp {
    let end = if instant < Instant::EPOCH { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(instant.0).unwrap_or(end)
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.period {
            Period::Daily => write!(f, "daily")?,
            Period::Weekly(day) => write!(f, "weekly {}", day.name())?,
            Period::Monthly(day) => write!(f, "monthly {day}")?,
        }
        write!(f, " {:02}:00 {}", self.hour, self.zone.name())
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        Schedule::parse(text)
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Schedule::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
