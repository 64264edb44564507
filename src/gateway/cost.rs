//! What a channel charges its merchants: the fees that its bills show.

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use super::accounts::Channel;
use crate::config::CostRates;

/// The rates of all channels.
pub struct Costs(CostRates);

impl Costs {
    pub fn new(rates: &CostRates) -> Self {
        Costs(rates.clone())
    }

    pub fn of(&self, channel: Channel) -> Cost {
        Cost(match channel {
            Channel::Simpay => self.0.simpay,
            Channel::Wechat => self.0.wechat,
            Channel::Alipay => self.0.alipay,
            Channel::Unionpay => self.0.unionpay,
            Channel::Stripe => self.0.stripe,
        })
    }
}

/// A channel's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost(pub Decimal);

impl Cost {
    /// The fee of a payment in minor units, half up.
    pub fn fee_minor(self, captured_minor: i64) -> i64 {
        let fee = Decimal::from(captured_minor).checked_mul(self.0);
        let fee = fee.map(|fee| fee.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero));
        fee.and_then(|fee| fee.to_i64()).unwrap_or_default()
    }

    /// What comes back of a payment's fee with a refund: the same part of it as of the payment, half up.
    pub fn returned_minor(self, captured_minor: i64, refunded_minor: i64) -> i64 {
        let (fee, captured) = (i128::from(self.fee_minor(captured_minor)), i128::from(captured_minor));
        let doubled = fee.saturating_mul(i128::from(refunded_minor)).saturating_mul(2).saturating_add(captured);
        doubled.checked_div(2 * captured).and_then(|returned| i64::try_from(returned).ok()).unwrap_or_default()
    }

    /// `0.60%`.
    pub fn percent(self) -> String {
        format!("{:.2}%", self.0.saturating_mul(Decimal::ONE_HUNDRED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_are_half_up_and_come_back_in_proportion() {
        let cost = Cost("0.006".parse().unwrap());
        for (captured, fee) in [(0, 0), (83, 0), (84, 1), (250, 2), (249, 1), (20_060, 120)] {
            assert_eq!(cost.fee_minor(captured), fee, "{captured}");
        }
        for (refunded, returned) in [(0, 0), (83, 0), (84, 1), (10_030, 60), (20_060, 120)] {
            assert_eq!(cost.returned_minor(20_060, refunded), returned, "{refunded}");
        }
        assert_eq!(cost.returned_minor(0, 0), 0);
        assert_eq!(cost.fee_minor(i64::MAX), 55_340_232_221_128_655);
        assert_eq!((cost.percent(), Cost("0.029".parse().unwrap()).percent()), ("0.60%".into(), "2.90%".into()));
        assert_eq!(Cost(Decimal::ZERO).fee_minor(20_060), 0);
    }
}
