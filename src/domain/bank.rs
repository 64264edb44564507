//! Our own accounts at banks.

use std::fmt;

use super::platform::is_name;

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
