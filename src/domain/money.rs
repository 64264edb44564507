//! Money: i64 minor units inside, decimal strings at the edge, rates in `rust_decimal`.

use std::fmt;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The largest amount, in major units, that an order may have: 999999999999.99.
const MAX_MAJOR: i64 = 999_999_999_999;
/// What may stand behind the point at the largest amount, in hundredths.
const MAX_HUNDREDTHS: i64 = 99;
/// Longer texts are refused unread: twelve digits, a point and four decimals.
const TEXT_MAX: usize = 17;

/// An ISO 4217 currency that has a minor unit.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// The currency of an upper-case ISO 4217 code; none for metals, test codes and unknown ones.
    pub fn parse(code: &str) -> Option<Self> {
        let currency = iso_currency::Currency::from_code(code)?;
        currency.exponent().filter(|exponent| *exponent <= 4)?;
        Some(Currency(currency))
    }

    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Decimals of the minor unit: 2 for CNY, 0 for JPY, 3 for BHD.
    pub fn exponent(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }

    fn scale(self) -> i64 {
        10i64.pow(self.exponent())
    }

    /// The largest amount of this currency, in minor units.
    pub fn max_minor(self) -> i64 {
        let fraction = match self.exponent() {
            0 => 0,
            1 => MAX_HUNDREDTHS / 10,
            exponent => MAX_HUNDREDTHS * 10i64.pow(exponent - 2),
        };
        MAX_MAJOR * self.scale() + fraction
    }

    /// Whether a payment can have this amount: more than zero, and not more than [`Currency::max_minor`].
    pub fn can_be(self, amount_minor: i64) -> bool {
        (1..=self.max_minor()).contains(&amount_minor)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Currency::parse(&code).ok_or_else(|| serde::de::Error::custom("unknown currency"))
    }
}

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmountError {
    /// Not plain digits with at most one point between them.
    Malformed,
    /// More decimals than the currency has.
    TooPrecise,
    Zero,
    TooLarge,
}

impl fmt::Display for AmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AmountError::Malformed => {
                "must be plain decimal digits such as \"200.00\", without sign, exponent or blanks"
            }
            AmountError::TooPrecise => "has more decimals than its currency",
            AmountError::Zero => "must be more than zero",
            AmountError::TooLarge => "must be at most 999999999999.99",
        })
    }
}

/// Reads an amount in major units, as it stands in a request, into minor units (1..=[`Currency::max_minor`]).
///
/// # Errors
/// Anything but plain digits, more decimals than the currency has, zero, too much: never rounded.
pub fn parse_minor(text: &str, currency: Currency) -> Result<i64, AmountError> {
    parse_within(text, currency, currency.max_minor())
}

/// The same up to another bound.
///
/// # Errors
/// As [`parse_minor`].
pub fn parse_within(text: &str, currency: Currency, max_minor: i64) -> Result<i64, AmountError> {
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return Err(AmountError::Malformed),
        Some((whole, fraction)) => (whole, fraction),
        None => (text, ""),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || (whole.len() > 1 && whole.starts_with('0')) {
        return Err(AmountError::Malformed);
    }
    let exponent = currency.exponent() as usize;
    if fraction.len() > exponent {
        return Err(AmountError::TooPrecise);
    }
    if text.len() > TEXT_MAX {
        return Err(AmountError::TooLarge);
    }
    let major: i64 = whole.parse().map_err(|_| AmountError::TooLarge)?;
    let minor: i64 = format!("{fraction:0<exponent$}").parse().unwrap_or(0);
    let amount = major
        .checked_mul(currency.scale())
        .and_then(|amount| amount.checked_add(minor))
        .ok_or(AmountError::TooLarge)?;
    match amount {
        0 => Err(AmountError::Zero),
        amount if amount > max_minor => Err(AmountError::TooLarge),
        amount => Ok(amount),
    }
}

/// Writes minor units as the decimal text of the currency: 20060 CNY is `200.60`. Negative amounts keep their sign.
pub fn format_minor(amount_minor: i64, currency: Currency) -> String {
    let sign = if amount_minor < 0 { "-" } else { "" };
    let amount = amount_minor.unsigned_abs();
    let scale = currency.scale().unsigned_abs();
    match currency.exponent() as usize {
        0 => format!("{sign}{amount}"),
        exponent => format!("{sign}{}.{:0exponent$}", amount / scale, amount % scale),
    }
}

/// A share of an amount in billionths, at least 0 and below 1, such as a channel's fee rate. Stored as decimal text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(u32);

/// Decimals of a [`Rate`].
const RATE_SCALE: u32 = 9;

impl Rate {
    pub const ZERO: Rate = Rate(0);

    /// A rate, if it is at least 0, below 1 and has at most 9 decimals.
    pub fn new(rate: Decimal) -> Option<Self> {
        let billionths = rate.checked_mul(Decimal::from(10u32.pow(RATE_SCALE)))?;
        (rate < Decimal::ONE && billionths.fract().is_zero()).then_some(())?;
        billionths.to_u32().map(Rate)
    }

    pub fn decimal(self) -> Decimal {
        Decimal::new(i64::from(self.0), RATE_SCALE).normalize()
    }

    /// The exact share of an amount, in billionths of a minor unit.
    pub const fn of_exactly(self, amount_minor: i64) -> i128 {
        amount_minor as i128 * self.0 as i128
    }

    /// The fee on an amount, half up to the minor unit; none where amount and fee together pass the currency's bound.
    pub fn fee(self, amount_minor: i64, currency: Currency) -> Option<i64> {
        let fee = (Decimal::from(amount_minor).checked_mul(self.decimal())?)
            .round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero)
            .to_i64()?;
        amount_minor.checked_add(fee).filter(|total| *total <= currency.max_minor())?;
        Some(fee)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.decimal().fmt(f)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    /// Only what would be written again with the same digits.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let rate = text.parse().ok().and_then(Rate::new).filter(|rate| rate.to_string() == text);
        rate.ok_or_else(|| serde::de::Error::custom("not a rate"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::parse(code).unwrap()
    }

    #[test]
    fn currencies_have_the_exponents_of_iso_4217() {
        let table = [("CNY", 2), ("USD", 2), ("EUR", 2), ("HKD", 2), ("JPY", 0), ("KRW", 0), ("BHD", 3), ("CLF", 4)];
        for (code, exponent) in table {
            assert_eq!(currency(code).exponent(), exponent, "{code}");
        }
        for code in ["cny", "XXX", "XAU", "XTS", "CN", "", "CNYY", "ZZZ"] {
            assert_eq!(Currency::parse(code), None, "{code}");
        }
    }

    #[test]
    fn amounts_are_read_exactly_or_refused() {
        let table = [
            ("200.00", "CNY", Ok(20000)),
            ("200", "CNY", Ok(20000)),
            ("200.5", "CNY", Ok(20050)),
            ("0.01", "CNY", Ok(1)),
            ("7", "JPY", Ok(7)),
            ("0.001", "BHD", Ok(1)),
            ("999999999999.99", "CNY", Ok(99_999_999_999_999)),
            ("999999999999.990", "BHD", Ok(999_999_999_999_990)),
            ("999999999999.991", "BHD", Err(AmountError::TooLarge)),
            ("1000000000000", "JPY", Err(AmountError::TooLarge)),
            ("10000000000000000", "CNY", Err(AmountError::TooLarge)),
            ("99999999999999999999999999", "CNY", Err(AmountError::TooLarge)),
            ("0.00", "CNY", Err(AmountError::Zero)),
            ("0", "JPY", Err(AmountError::Zero)),
            ("0.001", "CNY", Err(AmountError::TooPrecise)),
            ("1.0", "JPY", Err(AmountError::TooPrecise)),
            ("1e3", "CNY", Err(AmountError::Malformed)),
            ("-1.00", "CNY", Err(AmountError::Malformed)),
            ("+1.00", "CNY", Err(AmountError::Malformed)),
            (" 1.00", "CNY", Err(AmountError::Malformed)),
            ("1.", "CNY", Err(AmountError::Malformed)),
            (".5", "CNY", Err(AmountError::Malformed)),
            ("01.00", "CNY", Err(AmountError::Malformed)),
            ("1,000.00", "CNY", Err(AmountError::Malformed)),
            ("", "CNY", Err(AmountError::Malformed)),
            ("１.00", "CNY", Err(AmountError::Malformed)),
        ];
        for (text, code, expected) in table {
            assert_eq!(parse_minor(text, currency(code)), expected, "{text} {code}");
        }
    }

    #[test]
    fn amounts_are_written_with_the_decimals_of_their_currency() {
        for (amount, code, text) in
            [(20060, "CNY", "200.60"), (1, "CNY", "0.01"), (0, "CNY", "0.00"), (7, "JPY", "7"), (-105, "BHD", "-0.105")]
        {
            assert_eq!(format_minor(amount, currency(code)), text);
        }
    }

    #[test]
    fn fees_are_half_up_to_the_minor_unit() {
        let rate = |text: &str| Rate::new(text.parse().unwrap()).unwrap();
        let cny = currency("CNY");
        for (amount, fee_rate, fee) in [
            (20000, "0.003", 60),
            (1, "0.003", 0),
            (167, "0.003", 1),
            (166, "0.003", 0),
            (500, "0.005", 3),
            (100, "0.005", 1),
        ] {
            assert_eq!(rate(fee_rate).fee(amount, cny), Some(fee), "{amount} at {fee_rate}");
        }
        assert_eq!(rate("0.003").fee(cny.max_minor(), cny), None);
        assert!(Rate::new("1".parse().unwrap()).is_none());
        assert!(Rate::new("-0.1".parse().unwrap()).is_none());
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(amount in 1i64..=99_999_999_999_999) {
            for code in ["CNY", "JPY", "BHD"] {
                let currency = currency(code);
                if amount <= currency.max_minor() {
                    proptest::prop_assert_eq!(parse_minor(&format_minor(amount, currency), currency), Ok(amount));
                }
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,24}") {
            let _ = parse_minor(&text, currency("CNY"));
        }
    }
}
