//! Alipay's units: yuan with two decimals for fen, and Beijing's clock.

use time::format_description::FormatItem;
use time::macros::{format_description, offset};
use time::{Date, Duration, OffsetDateTime, PrimitiveDateTime};

use crate::domain::money::{Currency, format_minor, parse_minor};

/// 100000000.00 yuan.
const AMOUNT_MAX: i64 = 10_000_000_000;
const LIFETIME_MINUTES: std::ops::RangeInclusive<i64> = 1..=15 * 24 * 60;
const SECONDS: &[FormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const DAY: &[FormatItem<'_>] = format_description!("[year]-[month]-[day]");
const COMPACT_DAY: &[FormatItem<'_>] = format_description!("[year][month][day]");

pub fn yuan_currency() -> Currency {
    Currency::parse("CNY").expect("CNY is a currency")
}

/// Yuan from 0.01 to 100000000.00, with at most two decimals.
pub fn fen(yuan: &str) -> Option<i64> {
    parse_minor(yuan, yuan_currency()).ok().filter(|fen| *fen <= AMOUNT_MAX)
}

pub fn yuan(fen: i64) -> String {
    format_minor(fen, yuan_currency())
}

/// `yyyy-MM-dd HH:mm:ss` in Beijing, as unix milliseconds.
pub fn instant(text: &str) -> Option<i64> {
    unix_ms(PrimitiveDateTime::parse(text, SECONDS).ok()?)
}

/// How long after its creation a trade closes, as `timeout_express` says it: minutes, hours or days, from `1m` to `15d`.
/// `1c` is the end of the day.
pub fn lifetime(text: &str, now: i64) -> Option<i64> {
    if text == "1c" {
        let today = date(beijing(now).get(..10)?)?;
        return Some(bounds(today)?.1 - now);
    }
    let (count, minutes) = match text.split_at_checked(text.len().checked_sub(1)?)? {
        (count, "m") => (count, 1),
        (count, "h") => (count, 60),
        (count, "d") => (count, 24 * 60),
        (_, _) => return None,
    };
    let plain = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    let minutes = count.parse::<i64>().ok().filter(|_| plain)?.checked_mul(minutes)?;
    LIFETIME_MINUTES.contains(&minutes).then_some(minutes * 60_000)
}

pub fn date(text: &str) -> Option<Date> {
    Date::parse(text, DAY).ok()
}

/// When a day begins and ends in Beijing.
pub fn bounds(day: Date) -> Option<(i64, i64)> {
    let from = unix_ms(day.midnight())?;
    Some((from, from.checked_add(Duration::DAY.whole_milliseconds().try_into().ok()?)?))
}

fn unix_ms(beijing: PrimitiveDateTime) -> Option<i64> {
    i64::try_from(beijing.assume_offset(offset!(+8)).unix_timestamp_nanos() / 1_000_000).ok()
}

pub fn beijing(at: i64) -> String {
    format(at, SECONDS)
}

/// `yyyyMMdd` in Beijing.
pub fn compact_day(at: i64) -> String {
    format(at, COMPACT_DAY)
}

/// Instants of the books are this clock's; what no calendar has is shown as its beginning.
fn format(at: i64, form: &[FormatItem<'_>]) -> String {
    let instant = OffsetDateTime::from_unix_timestamp(at.div_euclid(1_000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let beijing = instant.checked_to_offset(offset!(+8)).unwrap_or(instant);
    beijing.format(form).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_01_amounts_are_yuan_with_at_most_two_decimals() {
        for (text, expected) in
            [("0.01", Some(1)), ("1", Some(100)), ("1.5", Some(150)), ("100000000.00", Some(AMOUNT_MAX))]
        {
            assert_eq!(fen(text), expected, "{text}");
        }
        for text in ["0.001", "0.00", "100000000.01", "1e2", "-1.00", " 1", "1,00", ""] {
            assert_eq!(fen(text), None, "{text}");
        }
        assert_eq!((yuan(1), yuan(20_060), yuan(-400)), ("0.01".into(), "200.60".into(), "-4.00".into()));
    }

    #[test]
    fn a_lifetime_is_a_minute_to_fifteen_days() {
        let now = 1_790_000_000_000;
        for (text, minutes) in [("1m", 1), ("90m", 90), ("2h", 120), ("15d", 21_600)] {
            assert_eq!(lifetime(text, now), Some(minutes * 60_000), "{text}");
        }
        assert_eq!(lifetime("1c", now).map(|span_ms| beijing(now + span_ms)), Some("2026-09-22 00:00:00".into()));
        for text in ["0m", "16d", "361h", "1.5h", "-1m", "+1m", "m", "", "90", "1M", "１m", "99999999999999999999d"] {
            assert_eq!(lifetime(text, now), None, "{text}");
        }
    }

    #[test]
    fn times_are_beijings() {
        assert_eq!(beijing(1_790_000_000_999), "2026-09-21 22:13:20");
        assert_eq!(instant("2026-09-21 22:13:20"), Some(1_790_000_000_000));
        assert_eq!(instant("2026-09-21T22:13:20"), None);
        assert_eq!(compact_day(1_790_006_400_000), "20260922");
        let (from, until) = bounds(date("2026-09-21").unwrap()).unwrap();
        assert_eq!((beijing(from), until - from), ("2026-09-21 00:00:00".into(), 86_400_000));
    }
}
