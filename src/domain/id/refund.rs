//! Names of refunds: the platform's, the channel's, and its place in its order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{AttemptNumber, Digits, INCARNATION_BITS, IdError, Incarnation, OrderId, value_of};

/// The prefix of a refund's id at the edge.
const PREFIX: &str = "re_";
/// The digits that hold nothing but bits of the order, 120 of them.
const ORDERS_DIGITS: usize = 24;
/// The order's last two bits, the ordinal and the incarnation.
const MIXED_DIGITS: usize = 5;
const ORDINAL_BITS: u32 = RefundOrdinal::COUNT.ilog2();

/// The place of a refund among those that a platform asked for of one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct RefundOrdinal(u8);

impl RefundOrdinal {
    /// How many there are.
    pub const COUNT: u8 = 64;

    /// The place after so many others; none where all are taken.
    pub fn after(others: usize) -> Option<Self> {
        u8::try_from(others).ok().and_then(|value| RefundOrdinal::try_from(value).ok())
    }
}

impl TryFrom<u8> for RefundOrdinal {
    type Error = IdError;

    fn try_from(value: u8) -> Result<Self, IdError> {
        if value < RefundOrdinal::COUNT { Ok(RefundOrdinal(value)) } else { Err(IdError) }
    }
}

impl From<RefundOrdinal> for u8 {
    fn from(ordinal: RefundOrdinal) -> Self {
        ordinal.0
    }
}

/// A refund that a platform asked for, as the platform knows it: `re_` and 29 digits of base 32, from which it finds its
/// order. Of its 142 bits 122 are the order's, 6 the ordinal and 14 the incarnation of the store when it was opened, so
/// that a store that was restored never gives an id a second time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefundId {
    pub order: OrderId,
    pub ordinal: RefundOrdinal,
    pub incarnation: Incarnation,
}

impl fmt::Display for RefundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.order.free_bits();
        let tail = (bits & 3) << ORDINAL_BITS | u128::from(self.ordinal.0);
        let mixed = tail << INCARNATION_BITS | u128::from(u16::from(self.incarnation));
        write!(f, "{PREFIX}{}{}", Digits::<ORDERS_DIGITS>::of(bits >> 2), Digits::<MIXED_DIGITS>::of(mixed))
    }
}

impl fmt::Debug for RefundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RefundId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.strip_prefix(PREFIX).ok_or(IdError)?.as_bytes();
        let (high, mixed) = digits.split_at_checked(ORDERS_DIGITS).ok_or(IdError)?;
        if mixed.len() != MIXED_DIGITS {
            return Err(IdError);
        }
        let (high, mixed) = (value_of(high)?, value_of(mixed)?);
        let (tail, incarnation) = (mixed >> INCARNATION_BITS, mixed & ((1 << INCARNATION_BITS) - 1));
        let (order, ordinal) = (tail >> ORDINAL_BITS, tail & ((1 << ORDINAL_BITS) - 1));
        if order > 3 {
            return Err(IdError);
        }
        Ok(RefundId {
            order: OrderId::from_free_bits(high << 2 | order),
            ordinal: u8::try_from(ordinal).map_err(|_| IdError)?.try_into()?,
            incarnation: u16::try_from(incarnation).map_err(|_| IdError)?.try_into()?,
        })
    }
}

impl Serialize for RefundId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RefundId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Which of a refund's numbers is meant. A channel may end a refund for good without paying it; its number is used up
/// then, and the next round has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Round(pub u8);

impl Round {
    pub const FIRST: Round = Round(0);

    pub const fn is_first(&self) -> bool {
        self.0 == 0
    }

    pub const fn next(self) -> Self {
        Round(self.0.saturating_add(1))
    }
}

/// What a refund is numbered by, within its attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefundSubject {
    /// The whole of a capture, by its place among those of the attempt.
    Suspense { place: u16 },
    /// What the platform asked for.
    Asked(RefundOrdinal),
}

/// The number under which a refund is known at its channel: the attempt's number; `R` for suspense, or `P` and two
/// digits of the ordinal for what a platform asked for; three digits of the incarnation that the refund was opened in;
/// of a further capture of the attempt also `C` and its place among them, and from the second round on `N` and the round.
/// That makes 32 of `[0-9A-Z]` for suspense as a rule, which is what the column of UnionPay's file holds, 34 for what was
/// asked for, and at most 40, the fewest that a channel takes (UnionPay's `orderId`: AN8..40; WeChat Pay's
/// `out_refund_no` and Alipay's `out_request_no`: 64; Stripe's keys: 255).
///
/// A suspense refund is numbered from its capture, so that no capture is ever given back twice: a round begins only when
/// the number of the one before is certainly dead. All rounds keep the refund's incarnation, so that two copies of a
/// store that know the same refund never send it under two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RefundNumber {
    pub attempt: AttemptNumber,
    pub subject: RefundSubject,
    pub incarnation: Incarnation,
    pub round: Round,
}

impl fmt::Display for RefundNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opened_in = Digits::<3>::of(u128::from(u16::from(self.incarnation)));
        write!(f, "{}", self.attempt)?;
        match self.subject {
            RefundSubject::Suspense { place: 0 } => write!(f, "R{opened_in}")?,
            RefundSubject::Suspense { place } => write!(f, "R{opened_in}C{place}")?,
            RefundSubject::Asked(ordinal) => write!(f, "P{:02}{opened_in}", ordinal.0)?,
        }
        if self.round.is_first() { Ok(()) } else { write!(f, "N{}", self.round.0) }
    }
}

impl RefundNumber {
    /// The attempt that a refund of ours is of, by its number; none where the number is no refund's of ours.
    pub fn attempt_of(text: &str) -> Option<AttemptNumber> {
        let (attempt, rest) = text.split_at_checked(super::ORDERS_DIGITS + super::MIXED_DIGITS)?;
        if !matches!(rest.as_bytes().first(), Some(b'R' | b'P')) {
            return None;
        }
        attempt.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::retry::{self, Pace};

    const ORDER: OrderId = OrderId::from_u128(0x0194_0000_1111_7222_8333_4444_5555_6666);

    fn incarnation(value: u16) -> Incarnation {
        value.try_into().unwrap()
    }

    fn number(subject: RefundSubject, opened_in: u16, round: Round) -> String {
        let attempt = AttemptNumber { order: ORDER, ordinal: 7, incarnation: incarnation(1) };
        RefundNumber { attempt, subject, incarnation: incarnation(opened_in), round }.to_string()
    }

    #[test]
    fn report_numbers_repeat_after_a_restore_a_refunds_number_holds_its_incarnation_and_fits_every_channel() {
        let attempt = AttemptNumber { order: ORDER, ordinal: 7, incarnation: incarnation(1) };
        let (suspense, second) = (RefundSubject::Suspense { place: 0 }, Round::FIRST.next());
        let first = number(suspense, 0x2A5C, Round::FIRST);
        assert_eq!(first, format!("{attempt}RAJW"));
        assert_eq!(first.len(), 32);
        assert_eq!(number(suspense, 0x2A5C, second), format!("{first}N1"));
        assert_eq!(number(RefundSubject::Suspense { place: 1 }, 0x2A5C, Round::FIRST), format!("{first}C1"));
        assert_ne!(number(suspense, 0x2A5D, Round::FIRST), first);
        let asked = RefundSubject::Asked(RefundOrdinal(7));
        assert_eq!(number(asked, 0x2A5C, Round::FIRST), format!("{attempt}P07AJW"));
        assert_eq!(number(asked, 0x2A5C, second), format!("{attempt}P07AJWN1"));
        let rounds = [Pace::Production, Pace::Sandbox].map(|pace| retry::refund_rounds(pace).len());
        assert!(rounds.into_iter().all(|rounds| rounds < 10), "a round's number has one digit");
        let longest = number(RefundSubject::Suspense { place: u16::MAX }, Incarnation::COUNT - 1, Round(9));
        assert_eq!(longest.len(), 40);
        let last = number(RefundSubject::Asked(RefundOrdinal(63)), Incarnation::COUNT - 1, Round(9));
        assert_eq!(last.len(), 36);
        // UnionPay: 8 to 40 of [0-9A-Za-z]. WeChat Pay: 64 of [0-9A-Za-z_-|*@]. Alipay: 64 of [0-9A-Za-z_]. simpay: 6 to
        // 64 of [0-9A-Za-z_-]. Stripe: 255 of anything.
        for number in [attempt.to_string(), first, longest, last] {
            assert!((8..=40).contains(&number.len()), "{number}");
            assert!(number.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()), "{number}");
        }
        // WeChat Pay's out_trade_no is the shortest of an attempt's numbers: 6 to 32.
        assert_eq!(attempt.to_string().len(), 28);
    }

    #[test]
    fn a_refunds_number_leads_to_its_attempt() {
        let attempt = AttemptNumber { order: ORDER, ordinal: 7, incarnation: incarnation(1) };
        for subject in [RefundSubject::Suspense { place: 3 }, RefundSubject::Asked(RefundOrdinal(9))] {
            assert_eq!(RefundNumber::attempt_of(&number(subject, 5, Round(2))), Some(attempt));
        }
        for other in [attempt.to_string(), format!("{attempt}X00"), "R1".into(), format!("é{attempt}R"), String::new()]
        {
            assert_eq!(RefundNumber::attempt_of(&other), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_refunds_id_is_refused() {
        let id = RefundId { order: ORDER, ordinal: RefundOrdinal(63), incarnation: incarnation(0x3FFF) }.to_string();
        assert_eq!(id.len(), 32);
        let beyond = format!("re_{}ZZZZZ", "Z".repeat(24));
        for text in ["", "re_", &id[..31], &format!("{id}0"), &id.replace("re_", "ord_"), &id.to_lowercase(), &beyond] {
            assert_eq!(text.parse::<RefundId>(), Err(IdError), "{text}");
        }
        assert_eq!(RefundOrdinal::after(64), None);
    }

    proptest! {
        #[test]
        fn ids_come_back(order: u128, ordinal in 0..RefundOrdinal::COUNT, opened_in in 0..Incarnation::COUNT) {
            let id = RefundId {
                order: OrderId::from_u128(order),
                ordinal: RefundOrdinal(ordinal),
                incarnation: incarnation(opened_in),
            };
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
