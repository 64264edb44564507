//! Names of proposals.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{DIGITS, Digits, IdError, value_of};

const PREFIX: &str = "prp_";

/// A proposal's identity: a version 7 UUID, so that the newest come last. People know it as `prp_` and 26 digits of base 32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId(pub u128);

impl fmt::Display for ProposalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", Digits::<DIGITS>::of(self.0))
    }
}

impl fmt::Debug for ProposalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ProposalId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.strip_prefix(PREFIX).ok_or(IdError)?.as_bytes();
        if digits.len() != DIGITS || digits[0] > b'7' {
            return Err(IdError);
        }
        value_of(digits).map(ProposalId)
    }
}

impl Serialize for ProposalId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProposalId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        for bits in [0, 1, u128::MAX, 0x0190_0000_0000_7000_8000_0000_0000_0007] {
            assert_eq!(ProposalId(bits).to_string().parse(), Ok(ProposalId(bits)));
        }
        for text in ["", "prp_", "prp_8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "ord_01K0000000000000000000000A"] {
            assert!(text.parse::<ProposalId>().is_err(), "{text}");
        }
    }
}
