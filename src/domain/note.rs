//! What happened in a step, noted where it is decided. Metrics, alarms and routing statistics follow from notes; nobody
//! compares an order before a step with the order after it.
//!
//! A step that changes nothing may still carry notes. Like effects, notes count once their step is durable, or at once
//! where there is nothing to commit.

use super::id::Account;
use super::ledger::EntryKind;
use super::order::{OrderFailure, State};
use super::success::Ending;

/// One thing that happened. A step has a note for each, in the order in which they happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The order came to be, in [`State::Created`].
    OrderCreated,
    /// The order entered a state that it can rest in. The look at a chosen channel is none: entering
    /// [`State::Validating`] is not noted, and neither is going back from there to [`State::Created`].
    StateReached {
        state: State,
        /// Why, if it failed.
        failure: Option<OrderFailure>,
    },
    AttemptOpened {
        ordinal: u8,
    },
    /// An attempt may end twice: money can still arrive for a dead one.
    AttemptEnded {
        ordinal: u8,
        account: Account,
        end: AttemptEnd,
    },
    /// A channel's answer tells of a capture otherwise than it is on record. What is booked stands; a person must look.
    /// A callback that does the same is refused instead.
    CaptureContradicted {
        /// The capture on record.
        capture: u16,
        /// The attempt that the channel was asked about.
        ordinal: u8,
    },
    /// A refund gets no further without a person. Noted again with every answer that says so.
    RefundStuck {
        refund: u16,
    },
    /// The channel does not let us refund: key, permission or a limit of ours.
    RefundNotPermitted {
        refund: u16,
    },
    /// The channel has paid what is over by our books: a refund, or a number of one that it had ended or that another
    /// was paid instead of. What is booked stands; a person must look.
    RefundContradicted {
        refund: u16,
    },
    /// A channel told of an instant that cannot be; what it dates is booked by our clock.
    InstantImplausible,
    EntryBooked {
        kind: EntryKind,
    },
}

impl Note {
    /// The state that these notes of one step leave their order in, and why if it failed. None if the step reached none.
    pub fn state_left_in(notes: &[Note]) -> Option<(State, Option<OrderFailure>)> {
        notes.iter().rev().find_map(|note| match note {
            Note::OrderCreated => Some((State::Created, None)),
            Note::StateReached { state, failure } => Some((*state, *failure)),
            Note::AttemptOpened { .. }
            | Note::AttemptEnded { .. }
            | Note::CaptureContradicted { .. }
            | Note::RefundStuck { .. }
            | Note::RefundNotPermitted { .. }
            | Note::RefundContradicted { .. }
            | Note::InstantImplausible
            | Note::EntryBooked { .. } => None,
        })
    }
}

/// How an attempt ended, and by whose doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The order was paid by it.
    Paid,
    /// Its channel certainly would not or could not take the payment.
    FailedByChannel,
    /// We did not send it, or could not.
    Withheld,
    /// The payer left it for another channel.
    Switched,
    /// The order was cancelled.
    Cancelled,
    /// Nobody paid it in time.
    RanOut,
    /// Another amount was paid than it asked for.
    WrongAmount,
    /// The order was paid by another attempt.
    Superseded,
}

impl AttemptEnd {
    /// What this says about the channel: nothing, where payer, platform, time or we ended it.
    pub const fn ending(self) -> Option<Ending> {
        match self {
            AttemptEnd::Paid => Some(Ending::Succeeded),
            AttemptEnd::FailedByChannel => Some(Ending::Failed),
            AttemptEnd::Withheld
            | AttemptEnd::Switched
            | AttemptEnd::Cancelled
            | AttemptEnd::RanOut
            | AttemptEnd::WrongAmount
            | AttemptEnd::Superseded => None,
        }
    }
}
