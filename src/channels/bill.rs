//! What every channel's statement files come to: one line per money movement.

use std::fmt;

use crate::domain::money::Currency;
use crate::domain::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BillKind {
    Payment,
    Refund,
    /// Neither: a person looks at it.
    Other,
}

/// One money movement of a channel's statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillLine {
    pub kind: BillKind,
    /// The number that we gave the payment.
    pub number: String,
    pub refund_number: Option<String>,
    /// The channel's own name of the payment.
    pub reference: String,
    /// Positive; `kind` tells the direction.
    pub amount_minor: i64,
    /// Positive; what the channel keeps of a payment, or gives back with a refund.
    pub fee_minor: Option<i64>,
    pub currency: Currency,
    pub at: Option<Instant>,
}

/// Why there are no lines. Nothing of a file that has a fault is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BillError {
    /// The line counts from 1; 0 is the file as a whole.
    Unreadable { line: usize, why: String },
    /// The channel has not made it yet: ask again later.
    NotReady,
    /// Nothing moved that day.
    Empty,
}

impl fmt::Display for BillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BillError::Unreadable { line, why } => write!(f, "the bill cannot be read: line {line}: {why}"),
            BillError::NotReady => f.write_str("the bill is not there yet"),
            BillError::Empty => f.write_str("the bill is empty"),
        }
    }
}

impl std::error::Error for BillError {}
