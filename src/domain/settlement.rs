//! What a platform had of a closed cycle.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use super::closing::Cover;
use super::cycle::{CalendarId, CycleId};
use super::id::PlatformId;
use super::ledger::{CycleSums, Heading, LedgerAccount};

/// Which settlement it is: whose, and of which cycle. `set_` and the platform's, the calendar's and the cycle's number,
/// eight hexadecimal digits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettlementId {
    pub platform: PlatformId,
    pub cycle: CycleId,
}

impl fmt::Display for SettlementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "set_{:08x}{:08x}{:08x}", self.platform.0, self.cycle.calendar.0, self.cycle.number)
    }
}

impl FromStr for SettlementId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix("set_").filter(|digits| digits.len() == 24).ok_or(())?;
        let part = |at: usize| digits.get(at..at + 8).and_then(|part| u32::from_str_radix(part, 16).ok()).ok_or(());
        let cycle = CycleId { calendar: CalendarId(part(8)?), number: part(16)? };
        let id = SettlementId { platform: PlatformId(part(0)?), cycle };
        // One spelling only, and a cycle that there may be.
        if id.to_string() == text && CycleId::from_number(cycle.as_number()) == Some(cycle) { Ok(id) } else { Err(()) }
    }
}

impl Serialize for SettlementId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How far a settlement has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettlementState {
    /// Its net is to be paid out.
    Closed,
    /// Its net is nothing, a debt, or too little to be paid out: the next settlement brings it forward.
    Carried,
    /// Its net has been paid out.
    PaidOut,
}

impl SettlementState {
    pub const ALL: [SettlementState; 3] = [SettlementState::Closed, SettlementState::Carried, SettlementState::PaidOut];

    pub const fn name(self) -> &'static str {
        match self {
            SettlementState::Closed => "closed",
            SettlementState::Carried => "carried",
            SettlementState::PaidOut => "paid_out",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        SettlementState::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What a platform's lines of a cycle sum to, in minor units. Positive is the platform's own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    pub adjustments_minor: i64,
    pub fees_minor: i64,
    pub gross_minor: i64,
    /// What other platforms owe it of money that they took themselves, less what it owes them; it is in no net.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positions: Vec<(PlatformId, i64)>,
    pub refunds_minor: i64,
    pub shares_in_minor: i64,
    pub shares_out_minor: i64,
}

/// A sum that is no number of ours: the books are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

impl Sums {
    /// Adds what the ledger has of a heading, where owed to us is positive. `counterparty` is a position's.
    ///
    /// # Errors
    /// [`Overflow`].
    pub fn add(
        &mut self,
        heading: Heading,
        counterparty: Option<PlatformId>,
        ledger_minor: i64,
    ) -> Result<(), Overflow> {
        let own_minor = ledger_minor.checked_neg().ok_or(Overflow)?;
        let sum = match heading {
            Heading::Gross => &mut self.gross_minor,
            Heading::Refunds => &mut self.refunds_minor,
            Heading::Fees => &mut self.fees_minor,
            Heading::SharesIn => &mut self.shares_in_minor,
            Heading::SharesOut => &mut self.shares_out_minor,
            Heading::Adjustments => &mut self.adjustments_minor,
            Heading::Positions => {
                let other = counterparty.ok_or(Overflow)?;
                let place = self.positions.partition_point(|(known, _)| *known < other);
                if self.positions.get(place).is_none_or(|(known, _)| *known != other) {
                    self.positions.insert(place, (other, 0));
                }
                &mut self.positions[place].1
            }
        };
        *sum = sum.checked_add(own_minor).ok_or(Overflow)?;
        Ok(())
    }

    /// What of the cycle is the platform's: negative is a debt.
    ///
    /// # Errors
    /// [`Overflow`].
    pub fn own_minor(&self) -> Result<i64, Overflow> {
        let parts = [
            self.gross_minor,
            self.refunds_minor,
            self.fees_minor,
            self.shares_in_minor,
            self.shares_out_minor,
            self.adjustments_minor,
        ];
        parts.into_iter().try_fold(0i64, i64::checked_add).ok_or(Overflow)
    }

    /// What its position sums to over all other platforms.
    ///
    /// # Errors
    /// [`Overflow`].
    pub fn position_minor(&self) -> Result<i64, Overflow> {
        self.positions.iter().try_fold(0i64, |sum, (_, part)| sum.checked_add(*part)).ok_or(Overflow)
    }
}

/// A settlement's figures. Positive is the platform's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// What was settled before and neither paid out nor in a payout.
    pub brought_forward_minor: i64,
    pub covers: Vec<Cover>,
    pub net_minor: i64,
    pub sums: Sums,
}

/// What a cycle of a platform's comes to, as the ledger's sums have it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CycleTotals {
    /// By account: its closing brings these to zero.
    pub accounts: CycleSums,
    pub sums: Sums,
}

impl CycleTotals {
    /// Takes up a sum that a lane keeps.
    ///
    /// # Errors
    /// [`Overflow`], also of a sum that belongs to no cycle.
    pub fn add(
        &mut self,
        account: &LedgerAccount,
        heading: Heading,
        counterparty: Option<PlatformId>,
        ledger_minor: i64,
    ) -> Result<(), Overflow> {
        self.accounts.add(account, ledger_minor).ok_or(Overflow)?;
        self.sums.add(heading, counterparty, ledger_minor)
    }

    /// Whether the platform's figures say what its accounts do.
    pub fn agree(&self) -> bool {
        let own = self.sums.own_minor().ok().and_then(i64::checked_neg);
        let position = self.sums.position_minor().ok().and_then(i64::checked_neg);
        own == self.accounts.owed_to_us_minor() && position == Some(self.accounts.position_minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PlatformId = PlatformId(1);
    const B: PlatformId = PlatformId(2);

    #[test]
    fn a_cycles_figures_say_what_its_accounts_do() {
        let mut totals = CycleTotals::default();
        let (own, fees) = (LedgerAccount::Platform(A), LedgerAccount::FeesDue(A));
        let position = LedgerAccount::Position(A);
        for (account, heading, counterparty, amount) in [
            (&own, Heading::Gross, None, -20_000),
            (&own, Heading::SharesOut, None, 2_500),
            (&own, Heading::Refunds, None, 10_000),
            (&own, Heading::SharesOut, None, -1_250),
            (&fees, Heading::Fees, None, 60),
            (&position, Heading::Positions, Some(B), 2_000),
            (&position, Heading::Positions, Some(B), -500),
        ] {
            totals.add(account, heading, counterparty, amount).unwrap();
        }
        assert!(totals.agree());
        assert_eq!(totals.sums.gross_minor, 20_000);
        assert_eq!(totals.sums.shares_out_minor, -1_250);
        assert_eq!(totals.sums.positions, [(B, -1_500)]);
        assert_eq!(totals.sums.own_minor(), Ok(8_690));
        assert_eq!(totals.accounts.owed_to_us_minor(), Some(-8_690));
        totals.accounts.platform_minor += 1;
        assert!(!totals.agree());
        assert_eq!(totals.add(&LedgerAccount::Equity, Heading::Gross, None, 1), Err(Overflow));
        assert_eq!(totals.add(&position, Heading::Positions, None, 1), Err(Overflow));
    }

    #[test]
    fn an_id_has_one_spelling() {
        let cycle = CycleId { calendar: CalendarId(1_995), number: 7 };
        let id = SettlementId { platform: B, cycle };
        assert_eq!(id.to_string(), "set_00000002000007cb00000007");
        assert_eq!(id.to_string().parse(), Ok(id));
        for other in [
            "set_",
            "set_00000002000007CB00000007",
            "set_00000002000007cb0000000",
            "set_00000002000007cb000000070",
            "set_00000002000007cb00000000",
            "set_000000020000000000000007",
            "set_+0000002000007cb00000007",
            "po_00000002000007cb00000007",
        ] {
            assert_eq!(other.parse::<SettlementId>(), Err(()), "{other}");
        }
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in SettlementState::ALL {
            assert_eq!(SettlementState::parse(state.name()), Some(state));
        }
    }
}
