//! The payee: a platform as one to be paid, in one currency. Its cycles are settled here, one after the other, and its
//! payouts are made here, so that they never exceed what is settled.

use serde::{Deserialize, Serialize};

use super::bank::BankName;
use super::closing::{Cover, Cycle};
use super::cycle::{CalendarId, CycleId};
use super::event::WebhookKind;
use super::id::PlatformId;
use super::ledger::Entry;
use super::machine::{self, Machine};
use super::money::Currency;
use super::payout::{BankAnswer, Payout, PayoutState};
use super::platform::KeyHash;
use super::settlement::{CycleTotals, SettlementState, Totals};
use super::stream::{Kind, StreamId};
use super::time::Instant;

/// Settlements that wait to be paid out and are known here; older ones stay carried, and their money is brought forward.
pub const UNPAID_MAX: usize = 64;
/// Payouts that were paid and are known here, because their money may come back: banks send it within days.
pub const PAID_MAX: usize = 64;
/// Payouts that have not come to their end: one for each closing of more than a year.
pub const PAYOUTS_MAX: usize = 400;
/// A payout or bank details that nobody approves lapse after this.
pub const PROPOSAL_LAPSES_MS: i64 = 24 * 60 * 60 * 1_000;
/// Changed bank details wait so long before anything is paid by them: time to notice that they are a thief's.
pub const DETAILS_WAIT_MS: i64 = 24 * 60 * 60 * 1_000;

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
    /// Bank details in force, and those that will be. The details themselves lie apart, where they can be erased.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Details>,
    pub details_made: u32,
    pub id: PayeeId,
    pub last_at: Instant,
    /// Payouts that have not come to their end, and the last ones that were paid, by number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub payouts: Vec<Payout>,
    pub payouts_made: u32,
    /// Bank details that somebody proposes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed: Option<ProposedDetails>,
    /// Of its webhooks: the last one's.
    pub sequence: u32,
    /// What is settled and in no payout that was approved: the platform's own, or, negative, its debt.
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

/// Bank details that another person is to approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposedDetails {
    pub at: Instant,
    pub number: u32,
    pub operator: Box<str>,
}

/// Bank details by their number among the payee's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Details {
    pub in_force_at: Instant,
    pub number: u32,
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
    /// Somebody says where it is to be paid to. The details lie apart; their hash says which ones are meant.
    DetailsProposed {
        hash: KeyHash,
        operator: Box<str>,
    },
    /// It is paid there from now on, or in a day where there were others before.
    DetailsApproved {
        number: u32,
        operator: Box<str>,
    },
    /// All that is settled is to be paid out.
    PayoutCreated {
        operator: Box<str>,
        bank: BankName,
        payout_min_minor: i64,
    },
    PayoutApproved {
        number: u32,
        operator: Box<str>,
    },
    PayoutCancelled {
        number: u32,
        operator: Box<str>,
        reason: Box<str>,
    },
    PayoutExported {
        number: u32,
        file: Box<str>,
    },
    /// What the bank says. The amount is what it says too, where it says one.
    PayoutAnswered {
        number: u32,
        answer: BankAnswer,
        amount_minor: Option<i64>,
        reference: Option<Box<str>>,
        reason: Option<Box<str>>,
        operator: Box<str>,
    },
    /// It has paid what it owed us.
    PaymentReceived {
        amount_minor: i64,
        bank: BankName,
        reference: Box<str>,
        operator: Box<str>,
    },
    /// What it owes us is given up. Both persons who agreed stand here.
    WrittenOff {
        amount_minor: i64,
        reason: Box<str>,
        operator: Box<str>,
        approved_by: Box<str>,
    },
    TimerFired,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The cycle was settled before.
    IsClosed,
    /// The sums contradict themselves, or are no numbers: the books are wrong, and nothing may be settled by them.
    SumsWrong,
    /// Too little is settled to be paid out.
    NothingToPay {
        free_minor: i64,
    },
    TooManyPayouts,
    PayoutUnknown,
    /// Nobody has proposed these details, or others since, or it is too long ago.
    DetailsUnknown,
    /// Whoever proposed it cannot approve it.
    SecondOperatorRequired,
    /// Nobody has said where it is to be paid to, or what was said is not in force yet.
    NoDetails {
        in_force_at: Option<Instant>,
    },
    /// It is in a state in which this cannot become of it.
    PayoutState(PayoutState),
    /// The bank names another amount.
    AmountDiffers {
        amount_minor: i64,
    },
    /// It owes us less than that.
    NoSuchDebt {
        owed_minor: i64,
    },
}

/// A row beside the payee's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Settlement(Box<Settlement>),
    SettlementMoved {
        cycle: CycleId,
        state: SettlementState,
        payout: Option<u32>,
    },
    /// A payout as it is now.
    Payout(Box<Payout>),
    /// The details themselves travel beside the step.
    DetailsProposed {
        number: u32,
    },
    DetailsInForce(Details),
    Entry(Box<Entry>),
    /// The platform is told, where it wants to be. The sequence is the webhook's among the payee's.
    Webhook {
        sequence: u32,
        news: News,
    },
}

/// What a platform is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    Settled(Box<Settlement>),
    /// A payout as it is now.
    PayoutEnded(WebhookKind, Box<Payout>),
}

impl News {
    fn of(write: &Write) -> Option<Self> {
        match write {
            Write::Settlement(settlement) => Some(News::Settled(settlement.clone())),
            Write::Payout(payout) => {
                let kind = match payout.state {
                    PayoutState::Paid => WebhookKind::PayoutPaid,
                    PayoutState::Failed => WebhookKind::PayoutFailed,
                    PayoutState::Returned => WebhookKind::PayoutReturned,
                    PayoutState::Created
                    | PayoutState::Approved
                    | PayoutState::Exported
                    | PayoutState::Unknown
                    | PayoutState::Cancelled => return None,
                };
                Some(News::PayoutEnded(kind, payout.clone()))
            }
            Write::SettlementMoved { .. }
            | Write::DetailsProposed { .. }
            | Write::DetailsInForce(_)
            | Write::Entry(_)
            | Write::Webhook { .. } => None,
        }
    }

    pub const fn kind(&self) -> WebhookKind {
        match self {
            News::Settled(_) => WebhookKind::SettlementClosed,
            News::PayoutEnded(kind, _) => *kind,
        }
    }
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
    PayoutMoved(PayoutState),
}

/// What is to be done: it is to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake(pub Instant);

pub type Step = machine::Step<Payee>;

impl Payee {
    /// One of which nothing was settled yet.
    pub const fn unborn(id: PayeeId) -> Self {
        Payee {
            closed: Vec::new(),
            details: Vec::new(),
            details_made: 0,
            id,
            last_at: Instant(0),
            payouts: Vec::new(),
            payouts_made: 0,
            proposed: None,
            sequence: 0,
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
        let brought_forward_minor = self.free_minor();
        let own_minor = closed.totals.sums.own_minor().map_err(wrong)?;
        let net_minor = brought_forward_minor.checked_add(own_minor).ok_or(Refusal::SumsWrong)?;
        self.settled_minor = self.settled_minor.checked_add(own_minor).ok_or(Refusal::SumsWrong)?;
        self.settlements = self.settlements.checked_add(1).ok_or(Refusal::SumsWrong)?;
        let is_payable = net_minor > 0 && net_minor >= closed.payout_min_minor;
        let state = if is_payable { SettlementState::Closed } else { SettlementState::Carried };
        // What was to be paid out and was not is in this one's net.
        let mut writes: Vec<Write> =
            self.unpaid.iter().map(|cycle| moved(*cycle, SettlementState::Carried, None)).collect();
        self.wait(&[cycle]);
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
        writes.push(Write::Settlement(Box::new(settlement)));
        writes.push(Write::Entry(Box::new(entry)));
        Ok(writes)
    }

    /// What is settled and in no payout at all.
    pub fn free_minor(&self) -> i64 {
        let created = self.payouts.iter().filter(|payout| payout.state == PayoutState::Created);
        created.fold(self.settled_minor, |free, payout| free.saturating_sub(payout.amount_minor))
    }

    /// Settlements that are in no payout from now on, the oldest first.
    fn wait(&mut self, settlements: &[CycleId]) {
        self.unpaid.extend(settlements);
        let surplus = self.unpaid.len().saturating_sub(UNPAID_MAX);
        self.unpaid.drain(..surplus);
    }

    /// The details that are in force at an instant.
    pub fn details_at(&self, at: Instant) -> Option<u32> {
        self.details.iter().rev().find(|details| details.in_force_at <= at).map(|details| details.number)
    }

    pub fn payout(&self, number: u32) -> Option<&Payout> {
        self.payouts.iter().find(|payout| payout.number == number)
    }

    fn payout_mut(&mut self, number: u32) -> Result<&mut Payout, Refusal> {
        self.payouts.iter_mut().find(|payout| payout.number == number).ok_or(Refusal::PayoutUnknown)
    }

    fn propose_details(&mut self, at: Instant, operator: &str) -> Result<Vec<Write>, Refusal> {
        self.details_made = self.details_made.checked_add(1).ok_or(Refusal::DetailsUnknown)?;
        let number = self.details_made;
        self.proposed = Some(ProposedDetails { at, number, operator: operator.into() });
        Ok(vec![Write::DetailsProposed { number }])
    }

    fn approve_details(&mut self, at: Instant, number: u32, operator: &str) -> Result<Vec<Write>, Refusal> {
        if self.details.iter().any(|details| details.number == number) {
            return Ok(Vec::new());
        }
        let is_meant =
            |proposed: &&ProposedDetails| proposed.number == number && proposed.at.plus_ms(PROPOSAL_LAPSES_MS) > at;
        let proposed = self.proposed.as_ref().filter(is_meant).ok_or(Refusal::DetailsUnknown)?;
        if *proposed.operator == *operator {
            return Err(Refusal::SecondOperatorRequired);
        }
        self.proposed = None;
        let in_force_at = if self.details.is_empty() { at } else { at.plus_ms(DETAILS_WAIT_MS) };
        // Of those that are in force the last one is, and of those that will be.
        let in_force = self.details_at(at);
        self.details.retain(|details| Some(details.number) == in_force);
        let details = Details { in_force_at, number };
        self.details.push(details);
        Ok(vec![Write::DetailsInForce(details)])
    }

    fn create_payout(
        &mut self,
        at: Instant,
        operator: &str,
        bank: &BankName,
        payout_min_minor: i64,
    ) -> Result<Vec<Write>, Refusal> {
        let free_minor = self.free_minor();
        if free_minor <= 0 || free_minor < payout_min_minor {
            return Err(Refusal::NothingToPay { free_minor });
        }
        if self.payouts.iter().filter(|payout| payout.state != PayoutState::Paid).count() >= PAYOUTS_MAX {
            return Err(Refusal::TooManyPayouts);
        }
        self.payouts_made = self.payouts_made.checked_add(1).ok_or(Refusal::TooManyPayouts)?;
        let payout = Payout {
            amount_minor: free_minor,
            approved_by: None,
            bank: bank.clone(),
            created_at: at,
            details: None,
            file: None,
            number: self.payouts_made,
            proposed_by: operator.into(),
            reference: None,
            reason: None,
            settlements: std::mem::take(&mut self.unpaid),
            state: PayoutState::Created,
            state_at: at,
        };
        let number = Some(payout.number);
        let moves = payout.settlements.iter().map(|cycle| moved(*cycle, SettlementState::Closed, number));
        let mut writes: Vec<Write> = moves.collect();
        writes.push(Write::Payout(Box::new(payout.clone())));
        self.payouts.push(payout);
        Ok(writes)
    }

    fn approve_payout(&mut self, at: Instant, number: u32, operator: &str) -> Result<Vec<Write>, Refusal> {
        let (payee, details) = (self.id, self.details_at(at));
        let in_force_at = self.details.last().map(|details| details.in_force_at);
        let payout = self.payout_mut(number)?;
        if payout.state == PayoutState::Approved && payout.approved_by.as_deref() == Some(operator) {
            return Ok(Vec::new());
        }
        if payout.state != PayoutState::Created {
            return Err(Refusal::PayoutState(payout.state));
        }
        if *payout.proposed_by == *operator {
            return Err(Refusal::SecondOperatorRequired);
        }
        payout.details = Some(details.ok_or(Refusal::NoDetails { in_force_at })?);
        payout.approved_by = Some(operator.into());
        (payout.state, payout.state_at) = (PayoutState::Approved, at);
        let payout = payout.clone();
        self.settled_minor = self.settled_minor.checked_sub(payout.amount_minor).ok_or(Refusal::SumsWrong)?;
        let entry = Entry::payout(payee.platform, (payee.currency, at), &payout.bank, payout.amount_minor);
        Ok(vec![Write::Payout(Box::new(payout)), Write::Entry(Box::new(entry))])
    }

    /// A payout that was not carried out is over: what was booked for it is the payee's again.
    fn end_payout(
        &mut self,
        at: Instant,
        number: u32,
        state: PayoutState,
        reason: Option<&str>,
    ) -> Result<Vec<Write>, Refusal> {
        let (payee, place) = (self.id, self.payouts.iter().position(|payout| payout.number == number));
        let mut payout = self.payouts.remove(place.ok_or(Refusal::PayoutUnknown)?);
        let before = std::mem::replace(&mut payout.state, state);
        payout.state_at = at;
        payout.reason = reason.map(Into::into);
        let of = (payee.currency, at);
        let entry = match before {
            PayoutState::Created => None,
            PayoutState::Approved | PayoutState::Exported | PayoutState::Unknown => {
                Some(Entry::payout_failed(payee.platform, of, &payout.bank, payout.amount_minor))
            }
            PayoutState::Paid => Some(Entry::payout_returned(payee.platform, of, &payout.bank, payout.amount_minor)),
            PayoutState::Failed | PayoutState::Cancelled | PayoutState::Returned => {
                return Err(Refusal::PayoutState(before));
            }
        };
        if entry.is_some() {
            self.settled_minor = self.settled_minor.checked_add(payout.amount_minor).ok_or(Refusal::SumsWrong)?;
        }
        // What was settled since has not brought it forward: it is carried by the next one.
        let after = std::mem::take(&mut self.unpaid);
        self.wait(&payout.settlements);
        self.wait(&after);
        let state = if after.is_empty() { SettlementState::Closed } else { SettlementState::Carried };
        let mut writes: Vec<Write> = payout.settlements.iter().map(|cycle| moved(*cycle, state, None)).collect();
        writes.push(Write::Payout(Box::new(payout)));
        writes.extend(entry.map(|entry| Write::Entry(Box::new(entry))));
        Ok(writes)
    }

    fn pay(&mut self, at: Instant, number: u32, reference: Option<&str>) -> Result<Vec<Write>, Refusal> {
        let payee = self.id;
        let payout = self.payout_mut(number)?;
        (payout.state, payout.state_at) = (PayoutState::Paid, at);
        payout.reference = reference.map(Into::into);
        let payout = payout.clone();
        let entry = Entry::payout_paid((payee.currency, at), &payout.bank, payout.amount_minor);
        let moves = payout.settlements.iter().map(|cycle| moved(*cycle, SettlementState::PaidOut, Some(number)));
        let mut writes: Vec<Write> = moves.collect();
        writes.push(Write::Payout(Box::new(payout)));
        writes.push(Write::Entry(Box::new(entry)));
        let is_paid = |payout: &Payout| payout.state == PayoutState::Paid;
        while self.payouts.iter().filter(|payout| is_paid(payout)).count() > PAID_MAX {
            let oldest = self.payouts.iter().position(is_paid).unwrap_or_default();
            self.payouts.remove(oldest);
        }
        Ok(writes)
    }

    fn answer_payout(
        &mut self,
        at: Instant,
        number: u32,
        answer: BankAnswer,
        said: &Said<'_>,
    ) -> Result<Vec<Write>, Refusal> {
        let payout = self.payout_mut(number)?;
        if said.amount_minor.is_some_and(|amount| amount != payout.amount_minor) {
            return Err(Refusal::AmountDiffers { amount_minor: payout.amount_minor });
        }
        match (answer, payout.state) {
            (BankAnswer::Paid, PayoutState::Paid) | (BankAnswer::Unknown, PayoutState::Unknown) => Ok(Vec::new()),
            (BankAnswer::Paid, PayoutState::Exported | PayoutState::Unknown) => self.pay(at, number, said.reference),
            (BankAnswer::Failed, PayoutState::Exported | PayoutState::Unknown) => {
                self.end_payout(at, number, PayoutState::Failed, said.reason)
            }
            (BankAnswer::Returned, PayoutState::Paid) => {
                self.end_payout(at, number, PayoutState::Returned, said.reason)
            }
            (BankAnswer::Unknown, PayoutState::Exported) => {
                (payout.state, payout.state_at) = (PayoutState::Unknown, at);
                Ok(vec![Write::Payout(Box::new(payout.clone()))])
            }
            (
                BankAnswer::Paid | BankAnswer::Failed | BankAnswer::Returned | BankAnswer::Unknown,
                PayoutState::Created
                | PayoutState::Approved
                | PayoutState::Exported
                | PayoutState::Unknown
                | PayoutState::Paid
                | PayoutState::Failed
                | PayoutState::Cancelled
                | PayoutState::Returned,
            ) => Err(Refusal::PayoutState(payout.state)),
        }
    }

    /// It owes us so much less.
    fn reduce_debt(&mut self, amount_minor: i64) -> Result<(), Refusal> {
        let owed_minor = self.settled_minor.saturating_neg().max(0);
        if amount_minor <= 0 || amount_minor > owed_minor {
            return Err(Refusal::NoSuchDebt { owed_minor });
        }
        self.settled_minor = self.settled_minor.checked_add(amount_minor).ok_or(Refusal::SumsWrong)?;
        Ok(())
    }

    /// Payouts that nobody approved in time.
    fn lapse(&mut self, at: Instant) -> Result<Vec<Write>, Refusal> {
        let is_over = |payout: &&Payout| {
            payout.state == PayoutState::Created && payout.created_at.plus_ms(PROPOSAL_LAPSES_MS) <= at
        };
        let over: Vec<u32> = self.payouts.iter().filter(is_over).map(|payout| payout.number).collect();
        let mut writes = Vec::new();
        for number in over {
            writes.extend(self.end_payout(at, number, PayoutState::Cancelled, Some("nobody approved it in time"))?);
        }
        Ok(writes)
    }

    /// What the platform is told of these writes.
    fn tell(&mut self, writes: &[Write]) -> Result<Vec<Write>, Refusal> {
        let mut told = Vec::new();
        for news in writes.iter().filter_map(News::of) {
            self.sequence = self.sequence.checked_add(1).ok_or(Refusal::SumsWrong)?;
            told.push(Write::Webhook { sequence: self.sequence, news });
        }
        Ok(told)
    }

    fn lapses_at(&self) -> Option<Instant> {
        let created = self.payouts.iter().filter(|payout| payout.state == PayoutState::Created);
        created.map(|payout| payout.created_at.plus_ms(PROPOSAL_LAPSES_MS)).min()
    }

    fn take(&mut self, at: Instant, fact: &Fact) -> Result<Vec<Write>, Refusal> {
        let of = (self.id.currency, at);
        match fact {
            Fact::CycleClosed(closed) => self.close(at, closed),
            Fact::DetailsProposed { operator, .. } => self.propose_details(at, operator),
            Fact::DetailsApproved { number, operator } => self.approve_details(at, *number, operator),
            Fact::PayoutCreated { operator, bank, payout_min_minor } => {
                self.create_payout(at, operator, bank, *payout_min_minor)
            }
            Fact::PayoutApproved { number, operator } => self.approve_payout(at, *number, operator),
            Fact::PayoutCancelled { number, reason, .. } => match self.payout_mut(*number)?.state {
                PayoutState::Created | PayoutState::Approved => {
                    self.end_payout(at, *number, PayoutState::Cancelled, Some(reason))
                }
                state @ (PayoutState::Exported
                | PayoutState::Unknown
                | PayoutState::Paid
                | PayoutState::Failed
                | PayoutState::Cancelled
                | PayoutState::Returned) => Err(Refusal::PayoutState(state)),
            },
            Fact::PayoutExported { number, file } => {
                let payout = self.payout_mut(*number)?;
                match (payout.state, payout.file.as_deref() == Some(file)) {
                    (PayoutState::Approved, _) => {
                        (payout.state, payout.state_at, payout.file) = (PayoutState::Exported, at, Some(file.clone()));
                        Ok(vec![Write::Payout(Box::new(payout.clone()))])
                    }
                    (_, true) => Ok(Vec::new()),
                    (state, false) => Err(Refusal::PayoutState(state)),
                }
            }
            Fact::PayoutAnswered { number, answer, amount_minor, reference, reason, .. } => {
                let (reference, reason) = (reference.as_deref(), reason.as_deref());
                self.answer_payout(at, *number, *answer, &Said { amount_minor: *amount_minor, reference, reason })
            }
            Fact::PaymentReceived { amount_minor, bank, .. } => {
                self.reduce_debt(*amount_minor)?;
                let entry = Entry::payment_received(self.id.platform, of, bank, *amount_minor);
                Ok(vec![Write::Entry(Box::new(entry))])
            }
            Fact::WrittenOff { amount_minor, .. } => {
                self.reduce_debt(*amount_minor)?;
                Ok(vec![Write::Entry(Box::new(Entry::write_off(self.id.platform, of, *amount_minor)))])
            }
            Fact::TimerFired => self.lapse(at),
        }
    }
}

/// What a bank says besides its answer.
struct Said<'a> {
    amount_minor: Option<i64>,
    reference: Option<&'a str>,
    reason: Option<&'a str>,
}

const fn moved(cycle: CycleId, state: SettlementState, payout: Option<u32>) -> Write {
    Write::SettlementMoved { cycle, state, payout }
}

impl Machine for Payee {
    const KIND: Kind = Kind::PAYEE;
    const NAME: &'static str = "payee";

    type Event = Event;
    type Refusal = Refusal;
    type Write = Write;
    type Effect = Wake;
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
        let (mut writes, mut is_changed) = (Vec::new(), false);
        for event in events {
            after.last_at = after.last_at.max(event.at);
            let taken = after.take(after.last_at, &event.fact)?;
            is_changed |= !taken.is_empty();
            let told = after.tell(&taken)?;
            writes.extend(taken);
            writes.extend(told);
        }
        if is_changed {
            after.version += 1;
        } else {
            after.last_at = self.last_at;
        }
        let note = |write: &Write| match write {
            Write::Settlement(settlement) => Some(Note::Settled(settlement.state)),
            Write::Payout(payout) => Some(Note::PayoutMoved(payout.state)),
            Write::SettlementMoved { .. }
            | Write::DetailsProposed { .. }
            | Write::DetailsInForce(_)
            | Write::Entry(_)
            | Write::Webhook { .. } => None,
        };
        let notes = writes.iter().filter_map(note).collect();
        let effects = after.lapses_at().map(Wake).into_iter().collect();
        Ok(Step { after, writes, effects, notes, messages: Vec::new() })
    }

    fn resume(&self, _: Instant) -> Vec<Wake> {
        self.lapses_at().map(Wake).into_iter().collect()
    }

    fn next_due_at(&self, _: Instant) -> Option<Instant> {
        self.lapses_at()
    }

    fn is_at_rest(&self, now: Instant) -> bool {
        self.lapses_at().is_none_or(|at| at > now)
    }

    fn target(_: Wake) -> Option<Self::Target> {
        None
    }

    fn answered(_: &Event) -> Option<Self::Target> {
        None
    }

    fn takes_back(_: Wake, _: Wake) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ledger::{Heading, LedgerAccount};

    const A: PlatformId = PlatformId(7);
    const DAY: i64 = 24 * 60 * 60 * 1_000;

    fn id() -> PayeeId {
        PayeeId { currency: Currency::parse("CNY").unwrap(), platform: A }
    }

    fn step(payee: &Payee, at: i64, fact: Fact) -> Result<Step, Refusal> {
        payee.decide(&[Event { at: Instant(at), fact }])
    }

    fn take(payee: &Payee, at: i64, fact: Fact) -> Payee {
        step(payee, at, fact).unwrap().after
    }

    fn closed(number: u32, own_minor: i64) -> Fact {
        let calendar = CalendarId::of_currency(id().currency);
        let mut totals = CycleTotals::default();
        totals.add(&LedgerAccount::Platform(A), Heading::Gross, None, -own_minor).unwrap();
        let cycle = Cycle { from: Instant(0), number, to: Instant(1) };
        Fact::CycleClosed(ClosedCycle { calendar, covers: Vec::new(), cycle, payout_min_minor: 5_000, totals })
    }

    fn create(operator: &str) -> Fact {
        Fact::PayoutCreated { operator: operator.into(), bank: BankName::main(), payout_min_minor: 5_000 }
    }

    fn approve(number: u32, operator: &str) -> Fact {
        Fact::PayoutApproved { number, operator: operator.into() }
    }

    fn export(number: u32) -> Fact {
        Fact::PayoutExported { number, file: "TB1".into() }
    }

    fn answer(number: u32, answer: BankAnswer, amount_minor: Option<i64>) -> Fact {
        let (reference, reason, operator) = (None, None, "li".into());
        Fact::PayoutAnswered { number, answer, amount_minor, reference, reason, operator }
    }

    fn with_details(payee: &Payee) -> Payee {
        let proposed = take(payee, 1, Fact::DetailsProposed { hash: KeyHash([7; 32]), operator: "li".into() });
        take(&proposed, 1, Fact::DetailsApproved { number: proposed.details_made, operator: "wang".into() })
    }

    fn balances(steps: &[Step]) -> i64 {
        let entries = steps.iter().flat_map(|step| &step.writes).filter_map(|write| match write {
            Write::Entry(entry) => Some(entry),
            Write::Settlement(_)
            | Write::SettlementMoved { .. }
            | Write::Payout(_)
            | Write::DetailsProposed { .. }
            | Write::DetailsInForce(_)
            | Write::Webhook { .. } => None,
        });
        let lines = entries.flat_map(|entry| entry.lines());
        lines.filter(|line| line.account == LedgerAccount::Settlement(A)).map(|line| line.amount_minor).sum()
    }

    fn states(step: &Step) -> Vec<(u32, SettlementState, Option<u32>)> {
        let moves = step.writes.iter().filter_map(|write| match write {
            Write::SettlementMoved { cycle, state, payout } => Some((cycle.number, *state, *payout)),
            Write::Settlement(settlement) => Some((settlement.cycle.number, settlement.state, None)),
            Write::Payout(_)
            | Write::DetailsProposed { .. }
            | Write::DetailsInForce(_)
            | Write::Entry(_)
            | Write::Webhook { .. } => None,
        });
        moves.collect()
    }

    #[test]
    fn what_is_too_little_is_carried_into_the_next_settlement() {
        let mut payee = Payee::unborn(id());
        let mut nets = Vec::new();
        for (number, own) in [(1, 4_999), (2, -10_000), (3, 10_001)] {
            let step = step(&payee, 1, closed(number, own)).unwrap();
            let Some(Write::Settlement(settlement)) =
                step.writes.iter().find(|write| matches!(write, Write::Settlement(_)))
            else {
                panic!("a cycle that is closed is settled")
            };
            assert_eq!(settlement.number, number);
            nets.push((settlement.totals.brought_forward_minor, settlement.totals.net_minor, settlement.state));
            payee = step.after;
        }
        let carried = SettlementState::Carried;
        assert_eq!(nets, [(0, 4_999, carried), (4_999, -5_001, carried), (-5_001, 5_000, SettlementState::Closed)]);
        assert_eq!(step(&payee, 1, closed(3, 1)).unwrap_err(), Refusal::IsClosed);
        assert_eq!(step(&payee, 1, closed(2, 1)).unwrap_err(), Refusal::IsClosed);
        let Fact::CycleClosed(mut wrong) = closed(4, 1) else { panic!("a closing") };
        wrong.totals.accounts.platform_minor += 1;
        assert_eq!(step(&payee, 1, Fact::CycleClosed(wrong)).unwrap_err(), Refusal::SumsWrong);
    }

    #[test]
    fn a_payout_is_of_two_persons_and_answered_once() {
        let settled = take(&Payee::unborn(id()), 1, closed(1, 12_083));
        let created = step(&settled, 2, create("li")).unwrap();
        assert_eq!(states(&created), [(1, SettlementState::Closed, Some(1))]);
        assert_eq!((balances(std::slice::from_ref(&created)), created.after.free_minor()), (0, 0));
        let created = created.after;
        assert_eq!(step(&created, 2, create("li")).unwrap_err(), Refusal::NothingToPay { free_minor: 0 });
        assert_eq!(step(&created, 2, approve(1, "wang")).unwrap_err(), Refusal::NoDetails { in_force_at: None });
        let created = with_details(&created);
        assert_eq!(step(&created, 2, approve(1, "li")).unwrap_err(), Refusal::SecondOperatorRequired);
        assert_eq!(step(&created, 2, export(1)).unwrap_err(), Refusal::PayoutState(PayoutState::Created));
        let approved = step(&created, 3, approve(1, "wang")).unwrap();
        assert_eq!((balances(std::slice::from_ref(&approved)), approved.after.settled_minor), (12_083, 0));
        let approved = approved.after;
        assert_eq!(take(&approved, 3, approve(1, "wang")), approved, "the same again changes nothing");
        let early = answer(1, BankAnswer::Paid, None);
        assert_eq!(step(&approved, 3, early).unwrap_err(), Refusal::PayoutState(PayoutState::Approved));
        let exported = take(&approved, 4, export(1));
        assert_eq!(take(&exported, 4, export(1)), exported);
        let other = answer(1, BankAnswer::Paid, Some(12_084));
        assert_eq!(step(&exported, 5, other).unwrap_err(), Refusal::AmountDiffers { amount_minor: 12_083 });
        let paid = step(&exported, 5, answer(1, BankAnswer::Paid, Some(12_083))).unwrap();
        assert_eq!(states(&paid), [(1, SettlementState::PaidOut, Some(1))]);
        let paid = paid.after;
        assert_eq!(take(&paid, 6, answer(1, BankAnswer::Paid, None)), paid, "told twice, paid once");
        let failed = answer(1, BankAnswer::Failed, None);
        assert_eq!(step(&paid, 6, failed).unwrap_err(), Refusal::PayoutState(PayoutState::Paid));
        let returned = step(&paid, 6, answer(1, BankAnswer::Returned, None)).unwrap();
        assert_eq!((balances(std::slice::from_ref(&returned)), returned.after.settled_minor), (-12_083, 12_083));
        assert_eq!(states(&returned), [(1, SettlementState::Closed, None)]);
        let again = take(&returned.after, 7, create("li"));
        assert_eq!(again.payouts_made, 2, "a new try is a new payout");
        let late = answer(1, BankAnswer::Paid, None);
        assert_eq!(step(&again, 8, late).unwrap_err(), Refusal::PayoutUnknown);
    }

    #[test]
    fn what_failed_after_a_closing_is_carried_by_the_next_one_and_never_twice() {
        let payee = with_details(&take(&Payee::unborn(id()), 1, closed(1, 10_000)));
        let exported = take(&take(&take(&payee, 2, create("li")), 3, approve(1, "wang")), 4, export(1));
        let closed_meanwhile = step(&exported, 5, closed(2, 7_000)).unwrap();
        assert_eq!(closed_meanwhile.after.settled_minor, 7_000, "what is on its way is not brought forward");
        let failed = step(&closed_meanwhile.after, 6, answer(1, BankAnswer::Failed, None)).unwrap();
        assert_eq!(states(&failed), [(1, SettlementState::Carried, None)]);
        assert_eq!(failed.after.unpaid.iter().map(|cycle| cycle.number).collect::<Vec<_>>(), [1, 2]);
        let created = take(&failed.after, 7, create("li"));
        assert_eq!(created.payout(2).unwrap().amount_minor, 17_000);
        let third = step(&created, 8, closed(3, 1)).unwrap();
        assert_eq!(third.after.free_minor(), 1, "what is in a payout is not carried too");
    }

    #[test]
    fn what_nobody_approves_lapses_after_a_day() {
        let created = take(&take(&Payee::unborn(id()), 1, closed(1, 10_000)), 2, create("li"));
        assert_eq!(created.next_due_at(Instant(3)), Some(Instant(2 + DAY)));
        assert_eq!(take(&created, 1 + DAY, Fact::TimerFired), created);
        let lapsed = step(&created, 2 + DAY, Fact::TimerFired).unwrap();
        assert_eq!(lapsed.notes, [Note::PayoutMoved(PayoutState::Cancelled)]);
        assert_eq!((lapsed.after.free_minor(), lapsed.after.next_due_at(Instant(0))), (10_000, None));
    }

    #[test]
    fn changed_bank_details_wait_a_day_and_are_frozen_at_approval() {
        let payee = with_details(&take(&Payee::unborn(id()), 1, closed(1, 10_000)));
        let own = Fact::DetailsApproved { number: 2, operator: "li".into() };
        let proposed = take(&payee, 2, Fact::DetailsProposed { hash: KeyHash([8; 32]), operator: "li".into() });
        assert_eq!(step(&proposed, 2, own).unwrap_err(), Refusal::SecondOperatorRequired);
        let by_wang = Fact::DetailsApproved { number: 2, operator: "wang".into() };
        assert_eq!(step(&proposed, 3 + DAY, by_wang.clone()).unwrap_err(), Refusal::DetailsUnknown);
        let changed = take(&proposed, 3, by_wang);
        assert_eq!((changed.details_at(Instant(2 + DAY)), changed.details_at(Instant(3 + DAY))), (Some(1), Some(2)));
        let approved = take(&take(&changed, 4, create("li")), 5, approve(1, "wang"));
        assert_eq!(approved.payout(1).unwrap().details, Some(1));
    }

    #[test]
    fn a_debt_is_paid_or_given_up_and_never_more() {
        let debtor = take(&Payee::unborn(id()), 1, closed(1, -9_083));
        assert_eq!(step(&debtor, 2, create("li")).unwrap_err(), Refusal::NothingToPay { free_minor: -9_083 });
        let pay = |amount_minor| {
            let (bank, reference, operator) = (BankName::main(), "slip 7".into(), "li".into());
            Fact::PaymentReceived { amount_minor, bank, reference, operator }
        };
        assert_eq!(step(&debtor, 2, pay(9_084)).unwrap_err(), Refusal::NoSuchDebt { owed_minor: 9_083 });
        let paid = take(&debtor, 2, pay(9_000));
        let (reason, operator, approved_by) = ("gone".into(), "li".into(), "wang".into());
        let given_up = take(&paid, 3, Fact::WrittenOff { amount_minor: 83, reason, operator, approved_by });
        assert_eq!((paid.settled_minor, given_up.settled_minor), (-83, 0));
    }
}
