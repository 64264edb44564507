//! What people and banks call a payout.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::id::PlatformId;
use super::money::Currency;
use super::payee::PayeeId;

/// A payout: its payee, and its number there. Written `po_` and 22 hexadecimal digits: the platform (8), the currency's
/// letters (6) and the number (8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PayoutId {
    pub payee: PayeeId,
    pub number: u32,
}

impl PayoutId {
    /// As banks get it and name it in their answers: `PO-7-CNY-12`, at most 28 of the 35 characters that ISO 20022 has.
    pub fn end_to_end(self) -> String {
        format!("PO-{}-{}-{}", self.payee.platform.0, self.payee.currency.code(), self.number)
    }

    pub fn parse_end_to_end(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("PO-")?.split('-');
        let platform = parts.next()?.parse().ok().map(PlatformId)?;
        let currency = Currency::parse(parts.next()?)?;
        let number = parts.next()?.parse().ok()?;
        let id = PayoutId { payee: PayeeId { currency, platform }, number };
        // One text for each payout.
        (parts.next().is_none() && id.end_to_end() == text).then_some(id)
    }
}

impl fmt::Display for PayoutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "po_{:014x}{:08x}", self.payee.as_u128(), self.number)
    }
}

impl FromStr for PayoutId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix("po_").filter(|digits| digits.len() == 22 && digits.is_ascii()).ok_or(())?;
        let (payee, number) = digits.split_at(14);
        let payee = u128::from_str_radix(payee, 16).ok().and_then(PayeeId::from_u128).ok_or(())?;
        let number = u32::from_str_radix(number, 16).map_err(|_| ())?;
        let id = PayoutId { payee, number };
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}

impl Serialize for PayoutId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payout_has_one_text_for_people_and_one_for_banks() {
        let payee = PayeeId { currency: Currency::parse("CNY").unwrap(), platform: PlatformId(7) };
        let id = PayoutId { payee, number: 12 };
        assert_eq!(id.to_string(), "po_00000007434e590000000c");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.end_to_end(), "PO-7-CNY-12");
        assert_eq!(PayoutId::parse_end_to_end("PO-7-CNY-12"), Some(id));
        let longest = PayoutId { payee: PayeeId { platform: PlatformId(u32::MAX), ..payee }, number: u32::MAX };
        assert_eq!(longest.to_string().parse(), Ok(longest));
        assert!(longest.end_to_end().len() <= 35);
        for text in ["", "po_", "po_00000007434e590000000C", "po_00000007434e59000000c", "po_000000074343430000000c"] {
            assert_eq!(text.parse::<PayoutId>(), Err(()), "{text}");
        }
        for text in ["PO-7-CNY", "PO-07-CNY-12", "PO-7-XXX-12", "PO-7-CNY-12-1", "po-7-CNY-12", "PO-7-CNY-+1"] {
            assert_eq!(PayoutId::parse_end_to_end(text), None, "{text}");
        }
    }
}
