//! Shares of an order: what goes to other platforms than the one that sells.

use serde::{Deserialize, Serialize};

use super::allotment::{self, WHOLE};
use super::id::PlatformId;
use super::money::{self, Currency, Rate};

/// How many shares an order may have, by the contract.
pub const SPLITS_MAX: usize = 20;

/// A part of an order's amount that goes to another platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    pub to: PlatformId,
    pub share: Share,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    AmountMinor(i64),
    Rate(Rate),
}

impl Share {
    fn exactly(self, amount_minor: i64) -> i128 {
        match self {
            Share::AmountMinor(share) => i128::from(share) * WHOLE,
            Share::Rate(rate) => rate.of_exactly(amount_minor),
        }
    }
}

/// A share as it was asked for: a fixed amount or a rate of the order's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedSplit {
    /// In major units, with all decimals of the currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// The other platform's name.
    pub to: Box<str>,
}

impl AskedSplit {
    /// What it is a share of; none where it is damaged.
    pub fn share(&self, currency: Currency) -> Option<Share> {
        match (&self.amount, self.rate) {
            (Some(amount), None) => money::parse_minor(amount, currency).ok().map(Share::AmountMinor),
            (None, Some(rate)) => Some(Share::Rate(rate)),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }
}

/// What each party gets of an order's amount: the seller first, then each split, in their order. The seller holds the
/// exact rest; what is no whole minor unit is settled by the largest fractions, of equal ones by the first.
///
/// None where the shares are more than the amount.
pub fn divide(amount_minor: i64, splits: &[Split]) -> Option<Box<[i64]>> {
    let shares = splits.iter().map(|split| split.share.exactly(amount_minor));
    let given: i128 = shares.clone().sum();
    let exact: Vec<i128> = std::iter::once(i128::from(amount_minor) * WHOLE - given).chain(shares).collect();
    allotment::settle(&exact, amount_minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(amount_minor: i64, shares: &[Share]) -> Option<Vec<i64>> {
        let splits: Vec<Split> =
            shares.iter().zip(2..).map(|(share, to)| Split { to: PlatformId(to), share: *share }).collect();
        divide(amount_minor, &splits).map(<[i64]>::into_vec)
    }

    fn rate(text: &str) -> Share {
        Share::Rate(Rate::new(text.parse().unwrap()).unwrap())
    }

    #[test]
    fn the_seller_keeps_the_rest() {
        assert_eq!(of(20_000, &[rate("0.1"), Share::AmountMinor(500)]), Some(vec![17_500, 2_000, 500]));
        assert_eq!(of(9_999, &[rate("0.333333"), rate("0.333333")]), Some(vec![3_333, 3_333, 3_333]));
        assert_eq!(of(20_000, &[]), Some(vec![20_000]));
        assert_eq!(of(500, &[Share::AmountMinor(500)]), Some(vec![0, 500]));
    }

    #[test]
    fn shares_of_a_cent_go_to_whoever_has_the_larger_part() {
        assert_eq!(of(1, &[rate("0.4"), rate("0.3")]), Some(vec![0, 1, 0]));
        assert_eq!(of(1, &[rate("0.5")]), Some(vec![1, 0]));
        assert_eq!(of(2, &[Share::AmountMinor(1)]), Some(vec![1, 1]));
    }

    #[test]
    fn more_than_the_amount_is_not_divided() {
        assert_eq!(of(500, &[Share::AmountMinor(501)]), None);
        assert_eq!(of(100, &[Share::AmountMinor(60), rate("0.41")]), None);
        assert_eq!(of(100, &[rate("0.6"), rate("0.5")]), None);
    }
}
