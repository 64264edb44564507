//! The payee: a platform as one to be paid, in one currency. Its cycles are settled here, one after the other, and its
//! payouts are made here, so that they never exceed what is settled.

use serde::{Deserialize, Serialize};

use super::closing::{Cover, Cycle};
use super::cycle::{CalendarId, CycleId};
use super::id::PlatformId;
use super::ledger::Entry;
use super::machine::{self, Machine};
use super::money::Currency;
use super::settlement::{CycleTotals, SettlementState, Totals};
use super::stream::{Kind, StreamId};
use super::time::Instant;

/// Settlements that wait to be paid out and are known here; older ones stay carried, and their money is brought forward.
pub const UNPAID_MAX: usize = 64;

/// Whom a payee is: a platform, in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayeeId {
    pub currency: Currency,
    pub platform: PlatformId,
}

impl PayeeId {
    /// The platform's number, and the three letters of the currency below it.
    pub fn as_u128(self) -> u128 {
        let letters = self.currency.code().bytes().fold(0, |letters, byte| letters << 8 | u128::from(byte));
        u128::from(self.platform.0) << 24 | letters
    }

    pub fn from_u128(id: u128) -> Option<Self> {
        let platform = u32::try_from(id >> 24).map(PlatformId).ok()?;
        let [.., a, b, c] = id.to_be_bytes();
        let currency = Currency::parse(std::str::from_utf8(&[a, b, c]).ok()?)?;
        Some(PayeeId { currency, platform })
    }
}

impl From<PayeeId> for StreamId {
    fn from(payee: PayeeId) -> Self {
        StreamId { kind: Kind::PAYEE, id: payee.as_u128() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payee {
    /// The last cycle of each calendar that was settled.
    pub closed: Vec<CycleId>,
    pub id: PayeeId,
    pub last_at: Instant,
    /// What is settled and not paid out: the platform's own, or, negative, its debt.
    pub settled_minor: i64,
    /// How many cycles were settled.
    pub settlements: u32,
    /// Those that are in no payout, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unpaid: Vec<CycleId>,
    pub version: u32,
}

/// A cycle as it is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedCycle {
    pub calendar: CalendarId,
    pub covers: Vec<Cover>,
    pub cycle: Cycle,
    /// Less is not paid out.
    pub payout_min_minor: i64,
    pub totals: CycleTotals,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: Instant,
    #[serde(flatten)]
    pub fact: Fact,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Fact {
    CycleClosed(ClosedCycle),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The cycle was settled before.
    IsClosed,
    /// The sums contradict themselves, or are no numbers: the books are wrong, and nothing may be settled by them.
    SumsWrong,
}

/// A row beside the payee's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Settlement(Box<Settlement>),
    Entry(Box<Entry>),
}

/// A settlement as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    pub cycle: CycleId,
    pub from: Instant,
    pub to: Instant,
    /// Among the payee's, from 1.
    pub number: u32,
    pub totals: Totals,
    pub state: SettlementState,
}

/// What happened that others want to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    Settled(SettlementState),
}

pub type Step = machine::Step<Payee>;

impl Payee {
    /// One of which nothing was settled yet.
    pub const fn unborn(id: PayeeId) -> Self {
        Payee {
            closed: Vec::new(),
            id,
            last_at: Instant(0),
            settled_minor: 0,
            settlements: 0,
            unpaid: Vec::new(),
            version: 0,
        }
    }

    fn close(&mut self, at: Instant, closed: &ClosedCycle) -> Result<Vec<Write>, Refusal> {
        let cycle = CycleId { calendar: closed.calendar, number: closed.cycle.number };
        let last = self.closed.iter_mut().find(|last| last.calendar == closed.calendar);
        match last {
            Some(last) if last.number >= cycle.number => return Err(Refusal::IsClosed),
            Some(last) => *last = cycle,
            None => self.closed.push(cycle),
        }
        let wrong = |_| Refusal::SumsWrong;
        if !closed.totals.agree() {
            return Err(Refusal::SumsWrong);
        }
        let brought_forward_minor = self.settled_minor;
        let own_minor = closed.totals.sums.own_minor().map_err(wrong)?;
        let net_minor = brought_forward_minor.checked_add(own_minor).ok_or(Refusal::SumsWrong)?;
        self.settled_minor = net_minor;
        self.settlements = self.settlements.checked_add(1).ok_or(Refusal::SumsWrong)?;
        let is_payable = net_minor > 0 && net_minor >= closed.payout_min_minor;
        let state = if is_payable { SettlementState::Closed } else { SettlementState::Carried };
        if self.unpaid.len() >= UNPAID_MAX {
            self.unpaid.remove(0);
        }
        self.unpaid.push(cycle);
        let settlement = Settlement {
            cycle,
            from: closed.cycle.from,
            to: closed.cycle.to,
            number: self.settlements,
            totals: Totals {
                brought_forward_minor,
                covers: closed.covers.clone(),
                net_minor,
                sums: closed.totals.sums.clone(),
            },
            state,
        };
        let entry = Entry::closing(cycle, self.id.platform, (self.id.currency, at), &closed.totals.accounts);
        Ok(vec![Write::Settlement(Box::new(settlement)), Write::Entry(Box::new(entry))])
    }
}

impl Machine for Payee {
    const KIND: Kind = Kind::PAYEE;
    const NAME: &'static str = "payee";

    type Event = Event;
    type Refusal = Refusal;
    type Write = Write;
    type Effect = std::convert::Infallible;
    type Note = Note;
    type Target = std::convert::Infallible;

    fn id(&self) -> u128 {
        self.id.as_u128()
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn decide(&self, events: &[Event]) -> Result<Step, Refusal> {
        let mut after = self.clone();
        let mut writes = Vec::new();
        for event in events {
            after.last_at = after.last_at.max(event.at);
            match &event.fact {
                Fact::CycleClosed(closed) => writes.extend(after.close(after.last_at, closed)?),
            }
        }
        if !writes.is_empty() {
            after.version += 1;
        }
        let note = |write: &Write| match write {
            Write::Settlement(settlement) => Some(Note::Settled(settlement.state)),
            Write::Entry(_) => None,
        };
        let notes = writes.iter().filter_map(note).collect();
        Ok(Step { after, writes, effects: Vec::new(), notes, messages: Vec::new() })
    }

    fn resume(&self, _: Instant) -> Vec<Self::Effect> {
        Vec::new()
    }

    fn next_due_at(&self, _: Instant) -> Option<Instant> {
        None
    }

    fn is_at_rest(&self, _: Instant) -> bool {
        true
    }

    fn target(effect: Self::Effect) -> Option<Self::Target> {
        Some(effect)
    }

    fn answered(_: &Event) -> Option<Self::Target> {
        None
    }

    fn takes_back(_: Self::Effect, pending: Self::Effect) -> bool {
        match pending {}
    }
}
