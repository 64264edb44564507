//! Beijing time, as UnionPay writes it; it has known no summer time since 1991.

use time::format_description::FormatItem;
use time::macros::{format_description, offset, time};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime};

use crate::domain::time::Instant;

const MOMENT: &[FormatItem<'_>] = format_description!("[year][month][day][hour][minute][second]");
const DAY: &[FormatItem<'_>] = format_description!("[month][day]");
/// The last second whose Beijing year has four digits.
const LAST_S: i64 = 253_402_271_999;

/// `yyyyMMddHHmmss`; instants before 1970 and after 9999 are written as those.
pub fn moment(at: Instant) -> String {
    let seconds = at.0.div_euclid(1_000).clamp(0, LAST_S);
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|at| at.to_offset(offset!(+8)).format(MOMENT).ok())
        .expect("a bounded instant can be written")
}

/// Reads `yyyyMMddHHmmss`.
pub fn read(text: &str) -> Option<Instant> {
    let at = PrimitiveDateTime::parse(text, MOMENT).ok()?.assume_offset(offset!(+8));
    Some(Instant(at.unix_timestamp() * 1_000))
}

/// `MMdd`.
pub fn day(day: Date) -> String {
    day.format(DAY).expect("a day can be written")
}

/// Reads `MMddHHmmss`. The year that it leaves out is the one in which it is nearest to a day that is known.
pub fn near(text: &str, known: Date) -> Option<Instant> {
    if text.len() != 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let two = |place: usize| text[place..place + 2].parse::<u8>().ok();
    let (month, day) = (Month::try_from(two(0)?).ok()?, two(2)?);
    let clock = time::Time::from_hms(two(4)?, two(6)?, two(8)?).ok()?;
    let noon = PrimitiveDateTime::new(known, time!(12:00));
    (known.year() - 1..=known.year() + 1)
        .filter_map(|year| Date::from_calendar_date(year, month, day).ok())
        .map(|date| PrimitiveDateTime::new(date, clock))
        .min_by_key(|at| (*at - noon).abs())
        .map(|at| Instant(at.assume_offset(offset!(+8)).unix_timestamp() * 1_000))
}

/// Reads `MMdd` in the same way.
pub fn near_day(text: &str, known: Date) -> Option<Date> {
    // Noon is as near as the day is.
    let noon = near(&format!("{text}120000"), known)?;
    Some(date(noon))
}

/// The day on which it is that instant there.
pub fn date(at: Instant) -> Date {
    let seconds = at.0.div_euclid(1_000).clamp(0, LAST_S);
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.to_offset(offset!(+8)).date()
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    fn instant(text: &str) -> Instant {
        Instant::parse_rfc3339(text).expect("an instant")
    }

    #[test]
    fn moments_are_written_in_beijing() {
        assert_eq!(moment(instant("2025-12-31T16:00:00.999Z")), "20260101000000");
        assert_eq!(read("20260101000000"), Some(instant("2025-12-31T16:00:00Z")));
        assert_eq!(read("2026010100000"), None);
        assert_eq!(moment(Instant(i64::MIN)), "19700101080000");
        assert_eq!(moment(Instant(i64::MAX)), "99991231235959");
        assert_eq!(day(date!(2026 - 01 - 09)), "0109");
    }

    #[test]
    fn a_moment_without_a_year_is_near_a_known_day() {
        let table = [
            ("0906112203", date!(2015 - 09 - 05), Some("2015-09-06T11:22:03+08:00")),
            ("1231235959", date!(2026 - 01 - 01), Some("2025-12-31T23:59:59+08:00")),
            ("0101000000", date!(2025 - 12 - 31), Some("2026-01-01T00:00:00+08:00")),
            ("0229120000", date!(2025 - 03 - 01), Some("2024-02-29T12:00:00+08:00")),
            ("1301000000", date!(2026 - 01 - 01), None),
            ("0230000000", date!(2026 - 01 - 01), None),
            ("0101240000", date!(2026 - 01 - 01), None),
            ("+101000000", date!(2026 - 01 - 01), None),
            ("010100000", date!(2026 - 01 - 01), None),
        ];
        for (text, known, expected) in table {
            assert_eq!(near(text, known), expected.map(instant), "{text}");
        }
    }

    #[test]
    fn a_day_without_a_year_is_that_of_the_new_year_too() {
        let known = date(instant("2026-12-31T23:50:00+08:00"));
        assert_eq!(known, date!(2026 - 12 - 31));
        assert_eq!(near_day("0101", known), Some(date!(2027 - 01 - 01)));
        assert_eq!(near_day("1231", date!(2027 - 01 - 01)), Some(date!(2026 - 12 - 31)));
        for text in ["", "1301", "0230", "101", "01011", "+101", "一日"] {
            assert_eq!(near_day(text, known), None, "{text}");
        }
    }
}
