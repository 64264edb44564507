//! Our own accounts at banks.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name::is_name;

/// What we call an account of ours at a bank: 1 to 64 of `0-9`, `a-z` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BankName(Box<str>);

impl BankName {
    /// The account that money leaves and reaches where nobody names another one.
    pub fn main() -> Self {
        BankName("main".into())
    }

    pub fn parse(text: &str) -> Option<Self> {
        is_name(text).then(|| BankName(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BankName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for BankName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BankName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        BankName::parse(&text).ok_or_else(|| serde::de::Error::custom("not the name of a bank account"))
    }
}
