//! Amounts are in fen on the wire and in files, and there is one currency.

use crate::domain::money::Currency;

/// As ISO 4217 counts it and as it names it.
pub const CURRENCY_NUMBER: &str = "156";
pub const CURRENCY: &str = "CNY";
const DIGITS_MAX: usize = 12;

/// An amount as UnionPay is told it; none in another currency.
pub fn write(amount_minor: i64, currency: Currency) -> Option<String> {
    let text = amount_minor.to_string();
    (currency.code() == CURRENCY && amount_minor > 0 && text.len() <= DIGITS_MAX).then_some(text)
}

/// An amount of money that moved: up to twelve digits, and more than nothing.
pub fn read(text: &str) -> Option<i64> {
    let is_plain = (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok())?.filter(|fen| *fen > 0)
}

/// An amount in a file: twelve digits with zeros in front, and perhaps nothing.
pub fn read_padded(text: &str) -> Option<i64> {
    (text.len() == DIGITS_MAX && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_09_amounts_are_plain_digits() {
        for text in ["", "1e3", "+1", " 1", "1.00", "0", "0000000000000", "9999999999999", "１"] {
            assert_eq!(read(text), None, "{text}");
            assert_eq!(read_padded(text), None, "{text}");
        }
        assert_eq!(read("000000476800"), Some(476_800));
        assert_eq!(read("999999999999"), Some(999_999_999_999));
        assert_eq!((read_padded("000000000000"), read_padded("476800")), (Some(0), None));
    }

    #[test]
    fn trap_01_fen_are_written_as_they_are() {
        let currency = |code| Currency::parse(code).expect("a currency");
        assert_eq!(write(20_060, currency("CNY")).as_deref(), Some("20060"));
        assert_eq!(write(20_060, currency("USD")), None);
        assert_eq!((write(0, currency("CNY")), write(-1, currency("CNY"))), (None, None));
        assert_eq!(write(1_000_000_000_000, currency("CNY")), None);
    }
}
