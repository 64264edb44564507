//! The refund: money of a capture on its way back to the payer. Data only; `step::refunds` decides.
//!
//! There is one machine for both causes. What a platform asked for may fail; money that no order was paid by must go
//! back, so its refund never fails: a person ends it.

use serde::{Deserialize, Serialize};

use super::id::{Incarnation, RefundOrdinal, Round};
use super::time::Instant;

/// A refund within its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refund {
    /// Which of the order's captures goes back.
    pub capture: u16,
    pub cause: Cause,
    pub amount_minor: i64,
    /// Of the store when it was opened: a part of all its numbers.
    pub incarnation: Incarnation,
    /// The last number that it was given: each one before it was dead by its channel's word.
    #[serde(default, skip_serializing_if = "Round::is_first")]
    pub round: Round,
    /// Where its channel has paid a number before the last one all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_earlier: Option<PaidEarlier>,
    /// When it was first due under that number: the date that some channels know it by besides.
    pub dated_at: Instant,
    pub stage: Stage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<Attention>,
    /// The channel's own name of it, once an answer told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Box<str>>,
}

/// A channel has paid a number that it had ended. The last number is not sent any more, and may be paid too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaidEarlier {
    /// The number that was paid.
    pub round: Round,
    /// None once it is certain what became of the last number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<LastNumber>,
}

/// The last number of a refund that was paid by an earlier one: it is asked about until its channel's word is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastNumber {
    pub tries: u16,
    pub due_at: Instant,
    /// Until when a send of it may have left.
    pub sent_by: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The capture is not what its order was paid by.
    Suspense,
    /// The platform asked for it.
    Asked(Asked),
}

/// What a platform asked for, and who bears it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Its place among the refunds that were asked for of its order.
    pub ordinal: RefundOrdinal,
    pub fee_policy: FeePolicy,
    /// What each party gives back: the seller first, then those who were given a share, in the order of the splits.
    pub parts: Box<[i64]>,
    /// What of the fee is given back, whoever bears it.
    pub fee_minor: i64,
}

/// What becomes of the fee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeePolicy {
    /// It goes back in proportion to what is left of it.
    #[default]
    Proportional,
    /// It stays.
    Kept,
}

impl FeePolicy {
    pub const ALL: [FeePolicy; 2] = [FeePolicy::Proportional, FeePolicy::Kept];

    pub const fn name(self) -> &'static str {
        match self {
            FeePolicy::Proportional => "proportional",
            FeePolicy::Kept => "kept",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        FeePolicy::ALL.into_iter().find(|policy| policy.name() == name)
    }
}

/// How far it has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Of suspense: a callback told of the capture, and a query must confirm its amount before money goes back.
    Unconfirmed {
        since: Instant,
    },
    /// Nothing was sent yet: the channel wants a pause after the refund before.
    Waiting {
        due_at: Instant,
    },
    /// Nothing can have arrived under its number but what was refused for certain.
    Owed {
        tries: u16,
        due_at: Instant,
    },
    /// A send may have arrived, or a person must see to it: it is queried before it is sent again, if ever.
    Doubtful {
        tries: u16,
        due_at: Instant,
        /// When the last send went out of which nobody knows what became.
        sent_at: Instant,
        /// When it was sent again, while that send is not answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resent_at: Option<Instant>,
    },
    /// The payer has the money. The channel is still asked some times, because it may come back.
    Succeeded {
        at: Instant,
        /// How many of those looks were taken.
        #[serde(default, skip_serializing_if = "is_zero")]
        looks: u8,
        paid_from: PaidFrom,
    },
    Failed {
        at: Instant,
        failure: RefundFailure,
    },
    /// The payer had the money, and it came back.
    Returned {
        at: Instant,
    },
}

/// Where the money of a refund was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaidFrom {
    Channel,
    /// A person paid it by other means, with evidence.
    Bank,
}

fn is_zero(count: &u8) -> bool {
    *count == 0
}

/// Why a refund that was asked for came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundFailure {
    /// The channel refused it.
    Refused,
    /// The channel took it and ended it without paying, under each number that it takes.
    Ended,
    /// A person ended it, with evidence.
    GivenUp,
}

impl RefundFailure {
    pub const ALL: [RefundFailure; 3] = [RefundFailure::Refused, RefundFailure::Ended, RefundFailure::GivenUp];

    pub const fn name(self) -> &'static str {
        match self {
            RefundFailure::Refused => "refused",
            RefundFailure::Ended => "ended",
            RefundFailure::GivenUp => "given_up",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        RefundFailure::ALL.into_iter().find(|failure| failure.name() == name)
    }
}

/// What a refund waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attention {
    /// Money at the channel.
    ChannelBalance,
    /// A person: at the channel, or for what it does not let us do.
    Person,
}

impl Attention {
    pub const ALL: [Attention; 2] = [Attention::ChannelBalance, Attention::Person];

    pub const fn name(self) -> &'static str {
        match self {
            Attention::ChannelBalance => "channel_balance",
            Attention::Person => "person",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Attention::ALL.into_iter().find(|attention| attention.name() == name)
    }
}

/// The states of a refund, as platforms see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    /// Durable, and not sent yet.
    Created,
    /// The intent to send it is durable: from here money may move.
    Submitted,
    Succeeded,
    Failed,
    Returned,
}

impl RefundState {
    pub const ALL: [RefundState; 5] = [
        RefundState::Created,
        RefundState::Submitted,
        RefundState::Succeeded,
        RefundState::Failed,
        RefundState::Returned,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            RefundState::Created => "created",
            RefundState::Submitted => "submitted",
            RefundState::Succeeded => "succeeded",
            RefundState::Failed => "failed",
            RefundState::Returned => "returned",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        RefundState::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl Stage {
    pub const fn state(self) -> RefundState {
        match self {
            Stage::Unconfirmed { .. } | Stage::Waiting { .. } => RefundState::Created,
            Stage::Owed { .. } | Stage::Doubtful { .. } => RefundState::Submitted,
            Stage::Succeeded { .. } => RefundState::Succeeded,
            Stage::Failed { .. } => RefundState::Failed,
            Stage::Returned { .. } => RefundState::Returned,
        }
    }

    /// When it came to what may be its end.
    pub const fn finished_at(self) -> Option<Instant> {
        match self {
            Stage::Unconfirmed { .. } | Stage::Waiting { .. } | Stage::Owed { .. } | Stage::Doubtful { .. } => None,
            Stage::Succeeded { at, .. } | Stage::Failed { at, .. } | Stage::Returned { at } => Some(at),
        }
    }

    /// Whether the channel is still to be made to pay it.
    pub const fn is_under_way(self) -> bool {
        match self {
            Stage::Unconfirmed { .. } | Stage::Waiting { .. } | Stage::Owed { .. } | Stage::Doubtful { .. } => true,
            Stage::Succeeded { .. } | Stage::Failed { .. } | Stage::Returned { .. } => false,
        }
    }

    /// Whether its amount is taken from what the payer paid: nothing of it can be refunded again.
    pub const fn reserves(self) -> bool {
        match self {
            Stage::Unconfirmed { .. }
            | Stage::Waiting { .. }
            | Stage::Owed { .. }
            | Stage::Doubtful { .. }
            | Stage::Succeeded { .. } => true,
            Stage::Failed { .. } | Stage::Returned { .. } => false,
        }
    }
}

impl Refund {
    pub const fn asked(&self) -> Option<&Asked> {
        match &self.cause {
            Cause::Suspense => None,
            Cause::Asked(asked) => Some(asked),
        }
    }

    pub const fn is_of_suspense(&self) -> bool {
        match self.cause {
            Cause::Suspense => true,
            Cause::Asked(_) => false,
        }
    }

    pub const fn state(&self) -> RefundState {
        self.stage.state()
    }

    /// Whether anything is to be done for it besides looks that are not due. Suspense that came back waits for a
    /// person, and nothing that we do helps it.
    pub fn is_quiet(&self) -> bool {
        !self.stage.is_under_way() && self.last_in_doubt().is_none()
    }

    /// What is to be found out of its last number, after an earlier one was paid.
    pub fn last_in_doubt(&self) -> Option<&LastNumber> {
        self.paid_earlier.as_ref()?.doubt.as_ref()
    }

    /// The number that it was paid under, or is to be.
    pub fn paying_round(&self) -> Round {
        self.paid_earlier.map_or(self.round, |paid| paid.round)
    }

    /// The number that its channel is asked about.
    pub fn asked_round(&self) -> Round {
        if self.last_in_doubt().is_some() { self.round } else { self.paying_round() }
    }

    /// Whether an operator should look at it: it waits for something, or has been asked for so often (11 minutes and
    /// more, by `retry::refunds`) that its channel may never end it.
    pub const fn is_stuck(&self) -> bool {
        const PATIENCE: u16 = 3;
        match self.stage {
            _ if self.attention.is_some() => true,
            Stage::Owed { tries, .. } | Stage::Doubtful { tries, .. } => tries > PATIENCE,
            Stage::Unconfirmed { .. }
            | Stage::Waiting { .. }
            | Stage::Succeeded { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. } => false,
        }
    }

    /// How often it was asked for or about under its number, while it is under way.
    pub const fn tries(&self) -> Option<u16> {
        match self.stage {
            Stage::Owed { tries, .. } | Stage::Doubtful { tries, .. } => Some(tries),
            Stage::Unconfirmed { .. }
            | Stage::Waiting { .. }
            | Stage::Succeeded { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. } => None,
        }
    }

    /// How many numbers of the channel's it has used.
    pub const fn numbers_used(&self) -> u32 {
        self.round.0 as u32 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for policy in FeePolicy::ALL {
            assert_eq!(FeePolicy::parse(policy.name()), Some(policy));
            assert_eq!(serde_json::to_value(policy).unwrap(), policy.name());
        }
        for state in RefundState::ALL {
            assert_eq!(RefundState::parse(state.name()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
        for attention in Attention::ALL {
            assert_eq!(Attention::parse(attention.name()), Some(attention));
            assert_eq!(serde_json::to_value(attention).unwrap(), attention.name());
        }
    }

    #[test]
    fn only_what_failed_or_came_back_may_be_refunded_again() {
        let at = Instant(1);
        let stages = [
            Stage::Unconfirmed { since: at },
            Stage::Waiting { due_at: at },
            Stage::Owed { tries: 0, due_at: at },
            Stage::Doubtful { tries: 1, due_at: at, sent_at: at, resent_at: None },
            Stage::Succeeded { at, looks: 0, paid_from: PaidFrom::Channel },
            Stage::Failed { at, failure: RefundFailure::Refused },
            Stage::Returned { at },
        ];
        assert_eq!(stages.map(Stage::reserves), [true, true, true, true, true, false, false]);
        assert_eq!(stages.map(Stage::is_under_way), [true, true, true, true, false, false, false]);
    }
}
