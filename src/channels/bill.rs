//! What a channel's statement of a day comes to, whatever its file looked like.

use std::fmt;

use crate::domain::money::Currency;
use crate::domain::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BillKind {
    Payment,
    Refund,
    /// Neither: fees, adjustments, payouts.
    Other,
}

/// One movement of money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillLine {
    pub kind: BillKind,
    /// Our number of the attempt; empty where the channel names none.
    pub number: String,
    pub refund_number: Option<String>,
    /// The channel's own name of the capture.
    pub reference: String,
    /// Always positive: the kind tells the direction.
    pub amount_minor: i64,
    pub fee_minor: Option<i64>,
    pub currency: Currency,
    pub at: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BillError {
    /// Counted from 1; 0 where it is the whole that cannot be read.
    Unreadable { line: usize, why: String },
    /// The channel has not made it yet.
    NotReady,
    /// The channel says that there were no movements.
    Empty,
}

impl fmt::Display for BillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BillError::Unreadable { line, why } => write!(f, "line {line}: {why}"),
            BillError::NotReady => f.write_str("the bill is not ready"),
            BillError::Empty => f.write_str("the bill is empty"),
        }
    }
}

impl std::error::Error for BillError {}
