//! Alipay writes money as decimal yuan and time as Beijing's clock; both are converted here and nowhere else.

use time::format_description::FormatItem;
use time::macros::{format_description, offset};
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::domain::dated::Dated;
use crate::domain::money::{self, Currency};
use crate::domain::time::Instant;

const CODE: &str = "CNY";
const CLOCK: &[FormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// The one currency of these calls.
pub fn currency() -> Currency {
    Currency::parse(CODE).expect("CNY is a currency")
}

/// 20060 fen are `200.60`.
pub fn written(amount_minor: i64) -> String {
    money::format_minor(amount_minor, currency())
}

/// An amount of more than zero, exactly as it is meant: never rounded.
pub fn read(text: &str) -> Option<i64> {
    money::parse_minor(text, currency()).ok()
}

/// An amount that may be zero or negative, as bills have them.
pub fn read_signed(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    match money::parse_minor(digits, currency()) {
        Ok(amount_minor) => Some(sign * amount_minor),
        Err(money::AmountError::Zero) => Some(0),
        Err(money::AmountError::Malformed | money::AmountError::TooPrecise | money::AmountError::TooLarge) => None,
    }
}

/// `2026-01-01 10:00:00`, in Beijing; what is finer than a second is cut off.
pub fn clock(instant: Instant) -> String {
    OffsetDateTime::from_unix_timestamp(instant.0.div_euclid(1_000))
        .ok()
        .and_then(|at| at.to_offset(offset!(+8)).format(CLOCK).ok())
        .unwrap_or_default()
}

pub fn read_clock(text: &str) -> Option<Instant> {
    let at = PrimitiveDateTime::parse(text, CLOCK).ok()?.assume_offset(offset!(+8));
    at.unix_timestamp().checked_mul(1_000).map(Instant)
}

/// When money moved, where a field of an answer or a notification tells it.
pub fn dated(text: Option<&String>) -> Dated {
    text.and_then(|text| read_clock(text)).map_or(Dated::NOT_TOLD, Dated::at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_01_fen_become_yuan_and_yuan_fen_exactly() {
        for (fen, yuan) in [(1, "0.01"), (10, "0.10"), (20060, "200.60"), (10_000_000_000, "100000000.00")] {
            assert_eq!(written(fen), yuan);
            assert_eq!(read(yuan), Some(fen));
        }
        for wrong in ["0.001", "0.00", "-0.01", "1e2", " 1.00", "1,000.00", "", "0.1.0", "１.00", "NaN"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        for (text, fen) in [("-0.01", Some(-1)), ("0.00", Some(0)), ("0.06", Some(6)), ("--1", None), ("-", None)] {
            assert_eq!(read_signed(text), fen, "{text}");
        }
    }

    #[test]
    fn clocks_are_beijings() {
        let instant = Instant::parse_rfc3339("2026-01-01T02:00:00.999Z").unwrap();
        assert_eq!(clock(instant), "2026-01-01 10:00:00");
        assert_eq!(read_clock("2026-01-01 10:00:00"), Instant::parse_rfc3339("2026-01-01T02:00:00Z"));
        for wrong in ["2026-01-01T10:00:00", "2026-02-30 10:00:00", "2026-01-01 10:00", "2026-01-01 10:00:00Z", ""] {
            assert_eq!(read_clock(wrong), None, "{wrong}");
        }
    }
}
