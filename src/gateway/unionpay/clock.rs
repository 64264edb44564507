//! Beijing's clock, as UnionPay's messages write it.

use time::format_description::FormatItem;
use time::macros::{format_description, offset};
use time::{Date, Duration, OffsetDateTime, PrimitiveDateTime};

const SECOND: &[FormatItem<'_>] = format_description!("[year][month][day][hour][minute][second]");
const WITHIN_YEAR: &[FormatItem<'_>] = format_description!("[month][day][hour][minute][second]");
const DAY: &[FormatItem<'_>] = format_description!("[month][day]");
const QUERY_ID: &[FormatItem<'_>] = format_description!("[year repr:last_two][month][day][hour][minute][second]");
const FILE_DAY: &[FormatItem<'_>] = format_description!("[year repr:last_two][month][day]");

/// Reads `yyyyMMddHHmmss`.
pub fn parse(text: &str) -> Option<i64> {
    let local = PrimitiveDateTime::parse(text, SECOND).ok()?;
    Some(local.assume_offset(offset!(+8)).unix_timestamp() * 1_000)
}

/// The span of a day without its year, `MMDD`: the last one that has begun by now.
pub fn day(text: &str, now: i64) -> Option<(i64, i64)> {
    let today = local(now).date();
    let day = [today.year(), today.year() - 1]
        .into_iter()
        .filter_map(|year| PrimitiveDateTime::parse(&format!("{year:04}{text}000000"), SECOND).ok())
        .map(PrimitiveDateTime::date)
        .find(|day| *day <= today)?;
    let start = |day: Date| day.midnight().assume_offset(offset!(+8)).unix_timestamp() * 1_000;
    Some((start(day), start(day.checked_add(Duration::DAY)?)))
}

/// `MMDDhhmmss`.
pub fn within_year(at: i64) -> String {
    written(at, WITHIN_YEAR)
}

/// `MMDD`.
pub fn day_of(at: i64) -> String {
    written(at, DAY)
}

/// `yyMMddHHmmss`.
pub fn query_id(at: i64) -> String {
    written(at, QUERY_ID)
}

/// `yyMMdd`.
pub fn file_day(at: i64) -> String {
    written(at, FILE_DAY)
}

fn written(at: i64, form: &[FormatItem<'_>]) -> String {
    local(at).format(form).expect("an instant has all these parts")
}

fn local(at: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.div_euclid(1_000))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .to_offset(offset!(+8))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    #[test]
    fn times_are_beijings() {
        assert_eq!(parse("20260921221320"), Some(NOW));
        assert_eq!(within_year(NOW), "0921221320");
        assert_eq!(day_of(NOW + 2 * 3_600_000), "0922");
        assert_eq!((query_id(NOW), file_day(NOW)), ("260921221320".into(), "260921".into()));
        for text in ["", "2026092122132", "20260931221320", "20260921246320", "2026-09-21 22:13", "20260921221320Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_day_without_a_year_is_the_last_one() {
        let midnight = parse("20260921000000").unwrap();
        assert_eq!(day("0921", NOW), Some((midnight, midnight + 86_400_000)));
        assert_eq!(day("0922", NOW).map(|(from, _)| from), parse("20250922000000"));
        assert_eq!(day("0230", NOW), None);
        assert_eq!(day("921", NOW), None);
    }
}
