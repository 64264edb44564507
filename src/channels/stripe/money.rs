//! Amounts as Stripe counts them: whole numbers of the unit that each currency has *at Stripe*, which is not always
//! the minor unit of ISO 4217.

use crate::domain::money::Currency;

/// Two-decimal currencies that are certain (docs.stripe.com/currencies).
const TWO_DECIMALS: &[&str] = &["AUD", "CAD", "CNY", "EUR", "GBP", "HKD", "SGD", "USD"];
/// Zero-decimal currencies, taken in whole units (docs.stripe.com/currencies#zero-decimal).
const ZERO_DECIMALS: &[&str] =
    &["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];
/// An amount has at most eight digits.
const AMOUNT_MAX: i64 = 99_999_999;

/// Why an amount cannot be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Three-decimal and special currencies: how Stripe counts them was not read at its source.
    Currency,
    Amount,
}

/// What stands on the wire for an amount in our minor units.
///
/// # Errors
/// The currency is not one whose unit at Stripe is certain, or the amount is none that Stripe takes.
pub fn to_wire(amount_minor: i64, currency: Currency) -> Result<i64, Unfit> {
    same_unit(currency).ok_or(Unfit::Currency)?;
    (1..=AMOUNT_MAX).contains(&amount_minor).then_some(amount_minor).ok_or(Unfit::Amount)
}

/// Our minor units of an amount on the wire; none where no payment can have it or its currency is not certain.
pub fn from_wire(amount: i64, code: &str) -> Option<(i64, Currency)> {
    let currency = read_currency(code)?;
    same_unit(currency)?;
    currency.can_be(amount).then_some((amount, currency))
}

/// Stripe writes codes in lower case; anything else is not Stripe's.
pub fn read_currency(code: &str) -> Option<Currency> {
    let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_lowercase());
    is_code.then(|| Currency::parse(&code.to_ascii_uppercase()))?
}

/// Only where both sides count in the same unit is an amount carried over as it is.
fn same_unit(currency: Currency) -> Option<()> {
    let decimals = match currency.code() {
        code if TWO_DECIMALS.contains(&code) => 2,
        code if ZERO_DECIMALS.contains(&code) => 0,
        _ => return None,
    };
    (currency.exponent() == decimals).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::channel::{Channel, Currencies};

    fn currency(code: &str) -> Currency {
        Currency::parse(code).unwrap()
    }

    #[test]
    fn trap_01_whole_units_and_hundredths_are_carried_over_and_the_rest_is_refused() {
        assert_eq!(to_wire(20_060, currency("USD")), Ok(20_060));
        assert_eq!(to_wire(500, currency("JPY")), Ok(500));
        for code in ["BHD", "JOD", "KWD", "OMR", "TND", "ISK", "HUF", "TWD", "UGX"] {
            assert_eq!(to_wire(1_000, currency(code)), Err(Unfit::Currency), "{code}");
        }
        assert_eq!(to_wire(99_999_999, currency("USD")), Ok(99_999_999));
        for amount in [100_000_000, 0, -1, i64::MAX, i64::MIN] {
            assert_eq!(to_wire(amount, currency("USD")), Err(Unfit::Amount), "{amount}");
        }
    }

    #[test]
    fn an_amount_is_read_in_its_own_currency_only() {
        assert_eq!(from_wire(500, "jpy"), Some((500, currency("JPY"))));
        for (amount, code) in [(0, "usd"), (-1, "usd"), (1, "USD"), (1, "bhd"), (1, "zzz"), (1, ""), (1, "usdt")] {
            assert_eq!(from_wire(amount, code), None, "{amount} {code}");
        }
    }

    #[test]
    fn every_currency_that_the_channel_takes_is_certain() {
        match Channel::Stripe.rules().currencies {
            Currencies::All => panic!("the channel takes currencies that are not certain"),
            Currencies::Only(limits) => {
                for limit in limits {
                    let carried = |amount_minor| to_wire(amount_minor, currency(limit.currency));
                    assert_eq!(carried(limit.min_minor), Ok(limit.min_minor), "{}", limit.currency);
                    assert_eq!(limit.max_minor, Some(AMOUNT_MAX), "{}", limit.currency);
                    assert_eq!(carried(AMOUNT_MAX), Ok(AMOUNT_MAX), "{}", limit.currency);
                }
            }
        }
    }
}
