//! The merchant of record of an account at a channel: whose the money is that the account takes.

use serde::{Deserialize, Serialize};

/// Only the orders of its own platform may use an account whose merchant is the seller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Merchant {
    /// The operator takes the money and owes it to the platforms.
    #[default]
    Operator,
    /// The platform that sells takes the money itself: it owes shares to other platforms, and fees to the operator.
    Seller,
}

impl Merchant {
    pub const fn is_operator(&self) -> bool {
        match self {
            Merchant::Operator => true,
            Merchant::Seller => false,
        }
    }
}
