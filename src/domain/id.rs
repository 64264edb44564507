//! Names of orders and attempts: opaque to others, ordered by time, and each attempt's number holds its order's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod proposal;
mod refund;

use super::channel::Channel;
use super::partition::Partition;

pub use proposal::ProposalId;
pub use refund::{RefundId, RefundNumber, RefundOrdinal, RefundSubject, Round};

/// Crockford's base 32: no I, L, O or U, and its order is the order of the numbers.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Digits of a 128-bit number in base 32.
const DIGITS: usize = 26;
/// The prefix of an order's id at the edge.
const ORDER_PREFIX: &str = "ord_";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdError;

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an id")
    }
}

impl std::error::Error for IdError {}

/// The bits that every version 7 UUID has: version and variant.
const FIXED: u128 = 0x7 << 76 | 0x2 << 62;
const FIXED_MASK: u128 = 0xF << 76 | 0x3 << 62;

/// An order's identity: a version 7 UUID, so that ids grow with time and pages of an index fill in order. Its last ten
/// bits are its partition; above them come 48 bits of time and a counter, by which ids grow, and random ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(u128);

impl OrderId {
    /// The id of these bits; those that every version 7 UUID has are set.
    pub const fn from_u128(value: u128) -> Self {
        OrderId(value & !FIXED_MASK | FIXED)
    }

    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// This id in a partition.
    pub const fn within(self, partition: Partition) -> Self {
        OrderId(self.0 >> Partition::BITS << Partition::BITS | partition.index() as u128)
    }

    pub const fn partition(self) -> Partition {
        Partition::from_low_bits(self.0)
    }

    /// The 122 bits that tell orders apart, in their order.
    const fn free_bits(self) -> u128 {
        (self.0 >> 80) << 74 | (self.0 >> 64 & 0xFFF) << 62 | self.0 & ((1 << 62) - 1)
    }

    const fn from_free_bits(bits: u128) -> Self {
        OrderId::from_u128((bits >> 74) << 80 | (bits >> 62 & 0xFFF) << 64 | bits & ((1 << 62) - 1))
    }
}

/// Digits of base 32, the first one first.
struct Digits<const N: usize>([u8; N]);

impl<const N: usize> Digits<N> {
    fn of(value: u128) -> Self {
        let mut digits = [0; N];
        let mut rest = value;
        for digit in digits.iter_mut().rev() {
            *digit = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        Digits(digits)
    }
}

impl<const N: usize> fmt::Display for Digits<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).map_err(|_| fmt::Error)?)
    }
}

/// The value of at most 26 digits of base 32, the first of 26 being at most 7.
fn value_of(digits: &[u8]) -> Result<u128, IdError> {
    let mut value: u128 = 0;
    for byte in digits {
        let digit = ALPHABET.iter().position(|known| known == byte).ok_or(IdError)?;
        value = value << 5 | digit as u128;
    }
    Ok(value)
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ORDER_PREFIX}{}", Digits::<DIGITS>::of(self.0))
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OrderId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.strip_prefix(ORDER_PREFIX).ok_or(IdError)?.as_bytes();
        if digits.len() != DIGITS || digits[0] > b'7' {
            return Err(IdError);
        }
        let value = value_of(digits)?;
        if value & FIXED_MASK == FIXED { Ok(OrderId(value)) } else { Err(IdError) }
    }
}

impl Serialize for OrderId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OrderId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Which take-over of its store a number was made in. A restored copy of a store is taken over anew, so what it opens
/// is numbered otherwise than what the store had opened after the copy was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Incarnation(u16);

impl Incarnation {
    /// How many there are.
    pub const COUNT: u16 = 1 << 14;

    /// Another one than this, by a number drawn below `COUNT - 1`.
    pub const fn another(self, drawn: u16) -> Self {
        let step = drawn % (Incarnation::COUNT - 1) + 1;
        Incarnation((self.0 + step) % Incarnation::COUNT)
    }
}

impl TryFrom<u16> for Incarnation {
    type Error = IdError;

    fn try_from(value: u16) -> Result<Self, IdError> {
        if value < Incarnation::COUNT { Ok(Incarnation(value)) } else { Err(IdError) }
    }
}

impl From<Incarnation> for u16 {
    fn from(incarnation: Incarnation) -> Self {
        incarnation.0
    }
}

/// The number under which an attempt is known at its channel: 28 of `[0-9A-Z]`, from which a callback finds its order
/// without an index. 28 digits of base 32 are 140 bits: 122 of the order's id, 4 of the ordinal, 14 of the incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptNumber {
    pub order: OrderId,
    /// 0 for the first attempt of the order, below [`AttemptNumber::ORDINALS`].
    pub ordinal: u8,
    /// Of the store when the attempt was opened, whoever owns it now.
    pub incarnation: Incarnation,
}

impl AttemptNumber {
    /// How many attempts of an order can be told apart.
    pub const ORDINALS: u8 = 16;
}

/// The digits that hold nothing but bits of the order, 120 of them; the others are the order's last two bits, the
/// ordinal and the incarnation.
const ORDERS_DIGITS: usize = 24;
const MIXED_DIGITS: usize = 4;
const INCARNATION_BITS: u32 = Incarnation::COUNT.ilog2();
const ORDINAL_BITS: u32 = AttemptNumber::ORDINALS.ilog2();

impl fmt::Display for AttemptNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_assert!(self.ordinal < AttemptNumber::ORDINALS, "ordinals are bounded");
        let bits = self.order.free_bits();
        let tail = (bits & 3) << ORDINAL_BITS | u128::from(self.ordinal);
        let mixed = tail << INCARNATION_BITS | u128::from(self.incarnation.0);
        write!(f, "{}{}", Digits::<ORDERS_DIGITS>::of(bits >> 2), Digits::<MIXED_DIGITS>::of(mixed))
    }
}

impl fmt::Debug for AttemptNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AttemptNumber {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() != ORDERS_DIGITS + MIXED_DIGITS {
            return Err(IdError);
        }
        let (high, mixed) = text.as_bytes().split_at(ORDERS_DIGITS);
        let (high, mixed) = (value_of(high)?, value_of(mixed)?);
        let (tail, incarnation) = (mixed >> INCARNATION_BITS, mixed % u128::from(Incarnation::COUNT));
        Ok(AttemptNumber {
            order: OrderId::from_free_bits(high << 2 | tail >> ORDINAL_BITS),
            ordinal: (tail % u128::from(AttemptNumber::ORDINALS)) as u8,
            incarnation: Incarnation(incarnation as u16),
        })
    }
}

/// A platform's row number in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlatformId(pub u32);

impl PlatformId {
    /// Of the order that this platform calls so: the first ten bits of SHA-256 over the platform's number (four bytes,
    /// the highest first) and the merchant order id as it came.
    pub fn partition_of(self, merchant_order_id: &str) -> Partition {
        Partition::of_hash(&[&self.0.to_be_bytes(), merchant_order_id.as_bytes()])
    }
}

/// Our account at a channel: the channel and the account's name there, such as `default`: 1 to 32 of `[0-9a-z-]`. One
/// value, because every channel may have an account of the same name, and only both together say whose key verified,
/// where a reference was given and who holds the money. It is written `wechat:default`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    channel: Channel,
    name: Box<str>,
}

impl Account {
    pub fn new(channel: Channel, name: &str) -> Self {
        Account { channel, name: name.into() }
    }

    pub const fn channel(&self) -> Channel {
        self.channel
    }

    /// The name among the accounts of its channel, for people, addresses and signatures: never to compare by.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.channel, self.name)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Account {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (channel, name) = text.split_once(':').ok_or(IdError)?;
        let channel = Channel::parse(channel).ok_or(IdError)?;
        if name.is_empty() { Err(IdError) } else { Ok(Account::new(channel, name)) }
    }
}

impl Serialize for Account {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: OrderId = OrderId::from_u128(0x0194_0000_1111_7222_8333_4444_5555_6666);

    fn incarnation(value: u16) -> Incarnation {
        value.try_into().unwrap()
    }

    #[test]
    fn report_numbers_repeat_after_a_restore_an_attempts_number_holds_order_ordinal_and_incarnation() {
        let number = AttemptNumber { order: ORDER, ordinal: 7, incarnation: incarnation(0x2A5C) };
        let text = number.to_string();
        // 0x0194_0000_1111 (48 bits), 0x222 (12), 0x0333_4444_5555_6666 (62), 7 (4) and 0x2A5C (14), by another program.
        assert_eq!(text, "06A0000H24H21K6H24ANAPCSKTJW");
        assert_eq!(text.parse(), Ok(number));
        let others = [
            AttemptNumber { ordinal: 8, ..number },
            AttemptNumber { incarnation: incarnation(0x2A5D), ..number },
            AttemptNumber { order: OrderId::from_u128(ORDER.as_u128() + 1), ..number },
        ];
        for other in others {
            assert_ne!(other.to_string(), text);
        }
    }

    /// Numbers of 26 digits of the order and two decimals of the ordinal, as they once were, name no order of theirs.
    #[test]
    fn a_number_of_the_older_form_is_not_taken_for_one_of_its_order() {
        let digits = ORDER.to_string().replace(ORDER_PREFIX, "");
        for ordinal in ["00", "01", "09"] {
            let read: AttemptNumber = format!("{digits}{ordinal}").parse().unwrap();
            assert_ne!(read.order, ORDER);
        }
    }

    #[test]
    fn an_incarnation_is_followed_by_any_other_and_never_by_itself() {
        for seen in [0, 1, Incarnation::COUNT - 1].map(incarnation) {
            let drawn: std::collections::BTreeSet<_> =
                (0..Incarnation::COUNT - 1).map(|drawn| seen.another(drawn)).collect();
            assert_eq!(drawn.len(), usize::from(Incarnation::COUNT - 1));
            assert!(!drawn.contains(&seen));
        }
        assert_eq!(Incarnation::try_from(Incarnation::COUNT), Err(IdError));
    }

    #[test]
    fn an_id_holds_its_partition_and_so_does_its_attempts_number() {
        for partition in Partition::all() {
            let id = ORDER.within(partition);
            assert_eq!(id.partition(), partition);
            assert_eq!(id.as_u128() >> Partition::BITS, ORDER.as_u128() >> Partition::BITS);
            let number = AttemptNumber { order: id, ordinal: 7, incarnation: incarnation(0x2A5C) };
            assert_eq!(number.to_string().parse::<AttemptNumber>().unwrap().order.partition(), partition);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    /// By another program. They are stored in ids, so they never change.
    #[test]
    fn partitions_of_orders_are_fixed_for_ever() {
        let names = [(1, "order-1", 536), (1, "order-2", 303), (2, "order-1", 404), (u32::MAX, "订单/7", 405)];
        for (platform, name, partition) in names {
            assert_eq!(PlatformId(platform).partition_of(name).index(), partition, "{platform} {name}");
        }
    }

    #[test]
    fn names_spread_over_all_partitions() {
        let mut names = [0_u32; Partition::COUNT as usize];
        for number in 0..100_000 {
            names[usize::from(PlatformId(1).partition_of(&format!("order-{number}")).index())] += 1;
        }
        let (least, most) = (names.iter().min(), names.iter().max());
        assert!(least > Some(&50) && most < Some(&150), "{least:?} to {most:?} of about 98");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let version_4 = "ord_01JG00048H88H86CT48HANASK6";
        for text in
            ["", "ord_", "01J", "ord_8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "ord_0194000000000000000000000U", "ord_é", version_4]
        {
            assert_eq!(text.parse::<OrderId>(), Err(IdError), "{text}");
        }
        for text in ["0000000000000000000000000000000", "000000000000000000000000000x", "00000000000000000000000000é"]
        {
            assert_eq!(text.parse::<AttemptNumber>(), Err(IdError), "{text}");
        }
    }

    #[test]
    fn an_account_is_its_channel_and_its_name() {
        let named = |channel| Account::new(channel, "default");
        for channel in Channel::ALL {
            let text = serde_json::to_string(&named(channel)).unwrap();
            assert_eq!(text, format!("\"{channel}:default\""));
            assert_eq!(serde_json::from_str::<Account>(&text).unwrap(), named(channel));
            let same = Channel::ALL.into_iter().filter(|other| named(*other) == named(channel)).count();
            assert_eq!(same, 1, "{channel}");
        }
        for text in ["", "default", "wechat", "wechat:", "webchat:default", ":default"] {
            assert_eq!(text.parse::<Account>(), Err(IdError), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn ids_come_back_and_keep_their_order(a: u128, b: u128) {
            let (first, second) = (OrderId::from_u128(a), OrderId::from_u128(b));
            proptest::prop_assert_eq!(first.to_string().parse(), Ok(first));
            proptest::prop_assert_eq!(first.cmp(&second), first.to_string().cmp(&second.to_string()));
        }

        #[test]
        fn numbers_come_back_and_keep_their_order(
            a: u128, b: u128, ordinal in 0..AttemptNumber::ORDINALS, opened_in in 0..Incarnation::COUNT,
        ) {
            let number = |id, ordinal, opened_in| {
                AttemptNumber { order: OrderId::from_u128(id), ordinal, incarnation: incarnation(opened_in) }
            };
            let (first, second) = (number(a, ordinal, opened_in), number(b, 0, 0));
            proptest::prop_assert_eq!(first.to_string().parse(), Ok(first));
            proptest::prop_assert_eq!(first.cmp(&second), first.to_string().cmp(&second.to_string()));
        }

        #[test]
        fn every_28_digits_are_the_number_of_one_attempt(text in "[0-9A-HJKMNP-TV-Z]{28}") {
            proptest::prop_assert_eq!(text.parse::<AttemptNumber>().unwrap().to_string(), text);
        }
    }
}
