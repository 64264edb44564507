//! A payout: money that a platform is settled for leaves for its bank.

use serde::{Deserialize, Serialize};

use super::bank::BankName;
use super::cycle::CycleId;
use super::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayoutState {
    /// Somebody proposes it. Its money is set aside; nothing is booked.
    Created,
    /// Another person has approved it: it is booked, and its bank details are frozen.
    Approved,
    /// It stands in a file for the bank.
    Exported,
    /// The bank has said that it does not know.
    Unknown,
    /// The bank has carried it out.
    Paid,
    /// The bank has refused it.
    Failed,
    /// It was taken back before it left, or nobody approved it in time.
    Cancelled,
    /// It was carried out, and the bank sent the money back.
    Returned,
}

impl PayoutState {
    pub const ALL: [PayoutState; 8] = [
        PayoutState::Created,
        PayoutState::Approved,
        PayoutState::Exported,
        PayoutState::Unknown,
        PayoutState::Paid,
        PayoutState::Failed,
        PayoutState::Cancelled,
        PayoutState::Returned,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            PayoutState::Created => "created",
            PayoutState::Approved => "approved",
            PayoutState::Exported => "exported",
            PayoutState::Unknown => "unknown",
            PayoutState::Paid => "paid",
            PayoutState::Failed => "failed",
            PayoutState::Cancelled => "cancelled",
            PayoutState::Returned => "returned",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        PayoutState::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether nothing can become of it any more. What was paid may still come back.
    pub const fn is_final(self) -> bool {
        match self {
            PayoutState::Failed | PayoutState::Cancelled | PayoutState::Returned => true,
            PayoutState::Created
            | PayoutState::Approved
            | PayoutState::Exported
            | PayoutState::Unknown
            | PayoutState::Paid => false,
        }
    }
}

/// What a bank says of a payout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BankAnswer {
    Paid,
    Failed,
    Returned,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payout {
    pub amount_minor: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<Box<str>>,
    /// Ours, that pays it.
    pub bank: BankName,
    pub created_at: Instant,
    /// The payee's bank details, by their number, as they were when it was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<u32>,
    /// The file that it was exported in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Box<str>>,
    /// Among the payee's, from 1. It is never used again: a new try is a new payout.
    pub number: u32,
    pub proposed_by: Box<str>,
    /// The bank's own reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Box<str>>,
    /// Why it failed, was cancelled or came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
    /// The settlements that it pays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settlements: Vec<CycleId>,
    pub state: PayoutState,
    /// Since when it is in its state.
    pub state_at: Instant,
}
