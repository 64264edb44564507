//! Names of orders and attempts: opaque to others, ordered by time, and each attempt's number holds its order's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::channel::Channel;

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

/// An order's identity: a version 7 UUID, so that ids grow with time and pages of an index fill in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(u128);

impl OrderId {
    pub const fn from_u128(value: u128) -> Self {
        OrderId(value)
    }

    pub const fn as_u128(self) -> u128 {
        self.0
    }

    fn digits(self) -> [u8; DIGITS] {
        let mut digits = [0; DIGITS];
        let mut rest = self.0;
        for digit in digits.iter_mut().rev() {
            *digit = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        digits
    }

    fn from_digits(text: &[u8]) -> Result<Self, IdError> {
        if text.len() != DIGITS || text[0] > b'7' {
            return Err(IdError);
        }
        let mut value: u128 = 0;
        for byte in text {
            let digit = ALPHABET.iter().position(|known| known == byte).ok_or(IdError)?;
            value = value << 5 | digit as u128;
        }
        Ok(OrderId(value))
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits();
        write!(f, "{ORDER_PREFIX}{}", std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
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
        OrderId::from_digits(text.strip_prefix(ORDER_PREFIX).ok_or(IdError)?.as_bytes())
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

/// The number under which an attempt is known at its channel: 28 of `[0-9A-Z]`, the order's 26 digits and the
/// attempt's ordinal, so that a callback finds its order without an index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptNumber {
    pub order: OrderId,
    /// 0 for the first attempt of the order, at most 99.
    pub ordinal: u8,
}

impl fmt::Display for AttemptNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.order.digits();
        write!(f, "{}{:02}", std::str::from_utf8(&digits).map_err(|_| fmt::Error)?, self.ordinal)
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
        let bytes = text.as_bytes();
        if bytes.len() != DIGITS + 2 || !bytes[DIGITS..].iter().all(u8::is_ascii_digit) {
            return Err(IdError);
        }
        let order = OrderId::from_digits(&bytes[..DIGITS])?;
        let ordinal = (bytes[DIGITS] - b'0') * 10 + (bytes[DIGITS + 1] - b'0');
        Ok(AttemptNumber { order, ordinal })
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

/// The number under which the refund of a capture is known at its channel: the attempt's number, `R`, and the place
/// of the capture among the order's; from the second round on also `N` and the round. At most 36 of `[0-9A-Z]`, which
/// is fewer than any channel takes (UnionPay: 40). Numbered from the capture, so that no capture is ever refunded
/// twice: a round begins only when the number of the one before is certainly dead.
pub fn refund_number(attempt: AttemptNumber, capture: u8, round: Round) -> String {
    match round {
        Round::FIRST => format!("{attempt}R{capture:02}"),
        Round(further) => format!("{attempt}R{capture:02}N{further}"),
    }
}

/// A platform's row number in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlatformId(pub u32);

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

    #[test]
    fn an_attempts_number_tells_its_order() {
        let order = OrderId::from_u128(0x0194_0000_1111_7222_8333_4444_5555_6666);
        let number = AttemptNumber { order, ordinal: 7 };
        let text = number.to_string();
        assert_eq!(text.len(), 28);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!(text.parse(), Ok(number));
        assert_eq!(format!("ord_{}", &text[..26]).parse(), Ok(order));
        assert_eq!(refund_number(number, 1, Round::FIRST), format!("{text}R01"));
        assert_eq!(refund_number(number, 1, Round::FIRST.next()), format!("{text}R01N1"));
        assert_eq!(refund_number(number, u8::MAX, Round(u8::MAX)).len(), 36);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "ord_", "01J", "ord_8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "ord_0194000000000000000000000U", "ord_é"] {
            assert_eq!(text.parse::<OrderId>(), Err(IdError), "{text}");
        }
        assert_eq!("0000000000000000000000000000000".parse::<AttemptNumber>(), Err(IdError));
        assert_eq!("000000000000000000000000000x".parse::<AttemptNumber>(), Err(IdError));
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
            proptest::prop_assert_eq!(a.cmp(&b), first.to_string().cmp(&second.to_string()));
        }
    }
}
