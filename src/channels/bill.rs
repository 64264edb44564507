//! What every channel's statement of a day comes to.

use crate::domain::money::Currency;
use crate::domain::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BillKind {
    Payment,
    Refund,
    /// Neither, or a refund that moved no money.
    Other,
}

/// One movement as the channel booked it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillLine {
    pub kind: BillKind,
    /// Our number of the attempt.
    pub number: String,
    pub refund_number: Option<String>,
    /// The channel's own name of the payment.
    pub reference: String,
    /// Always positive: the kind tells the direction.
    pub amount_minor: i64,
    pub fee_minor: Option<i64>,
    pub currency: Currency,
    pub at: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BillError {
    /// Nothing of the file may be used; line 0 is the file as a whole.
    Unreadable { line: usize, why: String },
    /// The channel has not made it yet.
    NotReady,
    /// The channel says that the day had no movements.
    Empty,
}
