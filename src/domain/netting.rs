//! A netting run: what the platforms of a closed cycle owe each other for money that they took themselves becomes one
//! position each, and few transfers bring all positions to nothing. Money that the operator holds is no part of it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::convert::Infallible;

use serde::{Deserialize, Serialize};

use super::cycle::CycleId;
use super::id::PlatformId;
use super::ledger::Entry;
use super::machine::{self, Machine};
use super::money::Currency;
use super::settlement::Overflow;
use super::stream::{Kind, StreamId};
use super::time::Instant;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NettingRun {
    pub id: CycleId,
    pub last_at: Instant,
    /// None before it was made.
    pub made: Option<Made>,
    pub made_at: Instant,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<Transfer>,
    pub version: u32,
}

/// What a run nets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    pub currency: Currency,
    /// What the run leaves to people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<Outside>,
    /// What each platform gets from all others together, by platform; negative: what it pays. They sum to zero.
    pub positions: Vec<(PlatformId, i64)>,
}

/// A position whose other side the cycle does not have in the same amount, because the counterparty belongs to another
/// calendar or did so for a part of the cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outside {
    /// What the platform gets.
    pub amount_minor: i64,
    pub counterparty: PlatformId,
    pub platform: PlatformId,
}

/// What one platform pays another one. It is booked once both say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    pub amount_minor: i64,
    /// Among the run's, from 1.
    pub number: u32,
    /// When the payer said that it has paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<Instant>,
    pub payee: PlatformId,
    pub payer: PlatformId,
    /// When the payee said that it has got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Instant>,
}

/// How far a transfer has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferState {
    /// Nobody has confirmed it.
    Open,
    /// Its payer has.
    Paid,
    /// Its payee has.
    Received,
    /// Both have, and it is booked.
    Done,
}

impl TransferState {
    pub const fn name(self) -> &'static str {
        match self {
            TransferState::Open => "open",
            TransferState::Paid => "paid",
            TransferState::Received => "received",
            TransferState::Done => "done",
        }
    }
}

impl Transfer {
    pub const fn state(&self) -> TransferState {
        match (self.paid_at, self.received_at) {
            (None, None) => TransferState::Open,
            (Some(_), None) => TransferState::Paid,
            (None, Some(_)) => TransferState::Received,
            (Some(_), Some(_)) => TransferState::Done,
        }
    }

    pub fn is_done(&self) -> bool {
        self.state() == TransferState::Done
    }

    pub fn is_of(&self, platform: PlatformId) -> bool {
        [self.payer, self.payee].contains(&platform)
    }
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
    Made(Made),
    /// The payer says that it has paid a transfer, or the payee that it has got it: which one follows from who it is.
    Confirmed {
        number: u32,
        platform: PlatformId,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It was made with other positions, or is not made yet.
    OutOfPlace,
    /// The positions do not sum to zero, or are no numbers of ours.
    Unbalanced,
    TransferUnknown,
    /// The transfer is between two other platforms.
    NotAParty,
}

/// A row beside the run's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A platform pays or gets this transfer.
    Party {
        platform: PlatformId,
        number: u32,
    },
    /// All that the platform had to pay and to get in the run is booked.
    Netted(PlatformId),
    Entry(Entry),
}

pub type Step = machine::Step<NettingRun>;

impl Made {
    /// Nets what each platform of a cycle gets from each other one: a pair is netted where both sides say the same of it.
    ///
    /// # Errors
    /// [`Overflow`].
    pub fn of(currency: Currency, bilateral: &[(PlatformId, Vec<(PlatformId, i64)>)]) -> Result<Self, Overflow> {
        let pairs: BTreeMap<(PlatformId, PlatformId), i64> = bilateral
            .iter()
            .flat_map(|(platform, others)| others.iter().map(|(other, amount)| ((*platform, *other), *amount)))
            .filter(|(_, amount)| *amount != 0)
            .collect();
        let mut nets: BTreeMap<PlatformId, i64> = BTreeMap::new();
        let mut outside = Vec::new();
        for ((platform, counterparty), amount_minor) in &pairs {
            let (platform, counterparty, amount_minor) = (*platform, *counterparty, *amount_minor);
            let theirs = pairs.get(&(counterparty, platform)).and_then(|amount| amount.checked_neg());
            if theirs == Some(amount_minor) {
                let net = nets.entry(platform).or_default();
                *net = net.checked_add(amount_minor).ok_or(Overflow)?;
            } else {
                outside.push(Outside { amount_minor, counterparty, platform });
            }
        }
        Ok(Made { currency, outside, positions: nets.into_iter().collect() })
    }

    /// Whether nobody owes anybody anything.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty() && self.outside.is_empty()
    }

    /// Whether the run has all that a platform gets and pays in the cycle.
    fn is_whole(&self, platform: PlatformId) -> bool {
        self.outside.iter().all(|outside| outside.platform != platform)
    }

    /// Who pays whom: whoever owes most pays whoever gets most, until nobody is left, so that each transfer brings at
    /// least one platform to nothing, and the last one two.
    fn transfers(&self) -> Result<Vec<Transfer>, Refusal> {
        let sum: i128 = self.positions.iter().map(|(_, amount)| i128::from(*amount)).sum();
        if sum != 0 {
            return Err(Refusal::Unbalanced);
        }
        let (mut debtors, mut creditors) = (Vec::new(), Vec::new());
        for (platform, amount) in &self.positions {
            if *amount < 0 {
                debtors.push((amount.checked_neg().ok_or(Refusal::Unbalanced)?, *platform));
            } else if *amount > 0 {
                creditors.push((*amount, *platform));
            }
        }
        debtors.sort_by_key(|(amount, platform)| (Reverse(*amount), *platform));
        creditors.sort_by_key(|(amount, platform)| (Reverse(*amount), *platform));
        let mut transfers = Vec::with_capacity(debtors.len() + creditors.len());
        let mut owed = creditors.into_iter();
        let mut creditor = owed.next();
        let mut number = 0;
        for (mut owes, payer) in debtors {
            while owes > 0 {
                let Some((gets, payee)) = creditor else { return Err(Refusal::Unbalanced) };
                let amount_minor = owes.min(gets);
                number += 1;
                transfers.push(Transfer { amount_minor, number, paid_at: None, payee, payer, received_at: None });
                owes -= amount_minor;
                creditor = if gets == amount_minor { owed.next() } else { Some((gets - amount_minor, payee)) };
            }
        }
        Ok(transfers)
    }
}

impl NettingRun {
    pub const STATES: [&str; 2] = ["open", "done"];

    /// One that is about to be made.
    pub const fn unborn(id: CycleId) -> Self {
        NettingRun { id, last_at: Instant(0), made: None, made_at: Instant(0), transfers: Vec::new(), version: 0 }
    }

    /// Whether all transfers are booked.
    pub fn is_done(&self) -> bool {
        self.transfers.iter().all(Transfer::is_done)
    }

    /// `open` or `done`.
    pub fn state_name(&self) -> &'static str {
        let [open, done] = NettingRun::STATES;
        if self.is_done() { done } else { open }
    }

    pub fn transfer(&self, number: u32) -> Option<&Transfer> {
        self.transfers.iter().find(|transfer| transfer.number == number)
    }

    /// Whether all that a platform pays and gets in the cycle is booked.
    fn is_netted(&self, made: &Made, platform: PlatformId) -> bool {
        made.is_whole(platform) && self.transfers.iter().all(|transfer| !transfer.is_of(platform) || transfer.is_done())
    }

    fn take(&mut self, event: &Event, writes: &mut Vec<Write>) -> Result<(), Refusal> {
        match (&event.fact, self.made.clone()) {
            (Fact::Made(made), None) => {
                self.transfers = made.transfers()?;
                self.made = Some(made.clone());
                self.made_at = event.at;
                for Transfer { number, payer, payee, .. } in &self.transfers {
                    writes.extend([payer, payee].map(|platform| Write::Party { platform: *platform, number: *number }));
                }
                let parties = made.positions.iter().map(|(platform, _)| *platform);
                writes.extend(parties.filter(|platform| self.is_netted(made, *platform)).map(Write::Netted));
                Ok(())
            }
            // It was told before, and the answer was lost.
            (Fact::Made(again), Some(made)) if *again == made => Ok(()),
            (Fact::Made(_), Some(_)) | (Fact::Confirmed { .. }, None) => Err(Refusal::OutOfPlace),
            (Fact::Confirmed { number, platform }, Some(made)) => {
                let found = self.transfers.iter_mut().find(|transfer| transfer.number == *number);
                let transfer = found.ok_or(Refusal::TransferUnknown)?;
                let said_at = if *platform == transfer.payer {
                    &mut transfer.paid_at
                } else if *platform == transfer.payee {
                    &mut transfer.received_at
                } else {
                    return Err(Refusal::NotAParty);
                };
                if said_at.is_some() {
                    return Ok(());
                }
                *said_at = Some(event.at);
                let Transfer { payer, payee, amount_minor, .. } = *transfer;
                if transfer.is_done() {
                    let entry = Entry::netting((payer, payee), (made.currency, event.at), amount_minor);
                    writes.push(Write::Entry(entry));
                    let netted = [payer, payee].into_iter().filter(|platform| self.is_netted(&made, *platform));
                    writes.extend(netted.map(Write::Netted));
                }
                Ok(())
            }
        }
    }
}

/// A run is its cycle's.
impl From<CycleId> for StreamId {
    fn from(cycle: CycleId) -> Self {
        StreamId { kind: Kind::NETTING, id: stream_number(cycle) }
    }
}

/// The number of a cycle's run among netting streams.
pub fn stream_number(cycle: CycleId) -> u128 {
    u128::from(cycle.as_number().unsigned_abs())
}

/// The cycle of a netting stream.
pub fn cycle_of(id: u128) -> Option<CycleId> {
    i64::try_from(id).ok().and_then(CycleId::from_number)
}

impl Machine for NettingRun {
    const KIND: Kind = Kind::NETTING;
    const NAME: &'static str = "netting";

    type Event = Event;
    type Refusal = Refusal;
    type Write = Write;
    type Effect = Infallible;
    type Note = Infallible;
    type Target = Infallible;

    fn id(&self) -> u128 {
        stream_number(self.id)
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn decide(&self, events: &[Event]) -> Result<Step, Refusal> {
        let mut after = self.clone();
        let mut writes = Vec::new();
        for event in events {
            after.take(event, &mut writes)?;
        }
        if after != *self {
            // A clock that was set back makes no step older than the one before.
            after.last_at = events.last().map_or(self.last_at, |event| self.last_at.max(event.at));
            after.version += 1;
        }
        Ok(Step { after, writes, effects: Vec::new(), notes: Vec::new(), messages: Vec::new() })
    }

    fn resume(&self, _: Instant) -> Vec<Infallible> {
        Vec::new()
    }

    fn next_due_at(&self, _: Instant) -> Option<Instant> {
        None
    }

    fn is_at_rest(&self, _: Instant) -> bool {
        true
    }

    fn target(effect: Infallible) -> Option<Infallible> {
        Some(effect)
    }

    fn answered(_: &Event) -> Option<Infallible> {
        None
    }

    fn takes_back(_: Infallible, pending: Infallible) -> bool {
        match pending {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::cycle::CalendarId;

    const A: PlatformId = PlatformId(1);
    const B: PlatformId = PlatformId(2);
    const C: PlatformId = PlatformId(3);

    fn cny() -> Currency {
        Currency::parse("CNY").unwrap()
    }

    fn unborn() -> NettingRun {
        NettingRun::unborn(CycleId { calendar: CalendarId::of_currency(cny()), number: 7 })
    }

    fn made(positions: &[(PlatformId, i64)]) -> Made {
        Made { currency: cny(), outside: Vec::new(), positions: positions.to_vec() }
    }

    fn take(run: &NettingRun, at: i64, fact: Fact) -> Result<Step, Refusal> {
        run.decide(&[Event { at: Instant(at), fact }])
    }

    fn confirm(run: &NettingRun, at: i64, number: u32, platform: PlatformId) -> Result<Step, Refusal> {
        take(run, at, Fact::Confirmed { number, platform })
    }

    fn netted(step: &Step) -> Vec<PlatformId> {
        let netted = |write: &Write| match write {
            Write::Netted(platform) => Some(*platform),
            Write::Party { .. } | Write::Entry(_) => None,
        };
        step.writes.iter().filter_map(netted).collect()
    }

    fn booked(step: &Step) -> Vec<(String, i64)> {
        let entry = |write: &Write| match write {
            Write::Entry(entry) => Some(entry.clone()),
            Write::Party { .. } | Write::Netted(_) => None,
        };
        let entries: Vec<Entry> = step.writes.iter().filter_map(entry).collect();
        let lines = entries.iter().flat_map(|entry| entry.lines());
        lines.map(|line| (line.account.to_string(), line.amount_minor)).collect()
    }

    #[test]
    fn a_transfer_is_booked_once_both_sides_have_confirmed_it() {
        // What A took itself, half of it given back: B gets 10.00 and C 2.50.
        let bilateral = [(A, vec![(B, -1_000), (C, -250)]), (B, vec![(A, 1_000)]), (C, vec![(A, 250)])];
        let made = Made::of(cny(), &bilateral).unwrap();
        assert_eq!(
            (made.positions.as_slice(), made.outside.len()),
            ([(A, -1_250), (B, 1_000), (C, 250)].as_slice(), 0)
        );
        let step = take(&unborn(), 5, Fact::Made(made.clone())).unwrap();
        assert_eq!((step.after.state_name(), step.after.made_at, netted(&step)), ("open", Instant(5), vec![]));
        let run = step.after;
        let shown: Vec<_> =
            run.transfers.iter().map(|one| (one.number, one.payer, one.payee, one.amount_minor)).collect();
        assert_eq!(shown, [(1, A, B, 1_000), (2, A, C, 250)]);
        let again = take(&run, 6, Fact::Made(made)).unwrap();
        assert_eq!((again.after, again.writes.len()), (run.clone(), 0), "told again it is the same run");

        for (number, platform, refusal) in
            [(1, C, Refusal::NotAParty), (3, A, Refusal::TransferUnknown), (0, A, Refusal::TransferUnknown)]
        {
            assert_eq!(confirm(&run, 7, number, platform).unwrap_err(), refusal);
        }
        let paid = confirm(&run, 7, 1, A).unwrap();
        assert_eq!((booked(&paid), paid.after.transfers[0].state()), (vec![], TransferState::Paid));
        let twice = confirm(&paid.after, 8, 1, A).unwrap();
        assert_eq!((twice.after, twice.writes.len()), (paid.after.clone(), 0), "who says it again says nothing new");
        let both = confirm(&paid.after, 9, 1, B).unwrap();
        assert_eq!(booked(&both), [("netting:1".to_owned(), -1_000), ("netting:2".to_owned(), 1_000)]);
        assert_eq!(netted(&both), [B], "A has another one to pay");
        assert_eq!(booked(&confirm(&both.after, 10, 1, B).unwrap()), []);
        let received = confirm(&both.after, 11, 2, C).unwrap();
        assert_eq!((booked(&received), received.after.transfers[1].state()), (vec![], TransferState::Received));
        let last = confirm(&received.after, 12, 2, A).unwrap();
        assert_eq!((netted(&last), last.after.state_name()), (vec![A, C], "done"));
        let text = serde_json::to_string(&last.after).unwrap();
        assert_eq!(serde_json::from_str::<NettingRun>(&text).unwrap(), last.after);
        let event = Event { at: Instant(5), fact: Fact::Made(last.after.made.unwrap()) };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }

    #[test]
    fn positions_that_do_not_sum_to_zero_are_refused() {
        for positions in [&[(A, 1)][..], &[(A, 5), (B, -4)], &[(A, i64::MIN), (B, i64::MAX), (C, 1)]] {
            assert_eq!(take(&unborn(), 5, Fact::Made(made(positions))).unwrap_err(), Refusal::Unbalanced);
        }
        assert_eq!(confirm(&unborn(), 5, 1, A).unwrap_err(), Refusal::OutOfPlace);
        let run = take(&unborn(), 5, Fact::Made(made(&[(A, -5), (B, 5)]))).unwrap().after;
        let other = take(&run, 6, Fact::Made(made(&[(A, -6), (B, 6)])));
        assert_eq!(other.unwrap_err(), Refusal::OutOfPlace, "it is made once");
    }

    #[test]
    fn what_the_cycle_has_on_one_side_only_is_left_to_people() {
        // C belongs to another calendar; of what A and B owe each other, a part was booked while B did too.
        let bilateral = [(A, vec![(B, 300), (C, -70)]), (B, vec![(A, -200)])];
        let made = Made::of(cny(), &bilateral).unwrap();
        assert_eq!(made.positions, []);
        let outside: Vec<_> =
            made.outside.iter().map(|one| (one.platform, one.counterparty, one.amount_minor)).collect();
        assert_eq!(outside, [(A, B, 300), (A, C, -70), (B, A, -200)]);
        assert!(!made.is_empty());
        // A platform that nets to nothing is netted at once, and one with more than the run has is not.
        let bilateral =
            [(A, vec![(B, 5), (C, -5)]), (B, vec![(A, -5), (C, 5)]), (C, vec![(A, 5), (B, -5), (PlatformId(4), 9)])];
        let step = take(&unborn(), 5, Fact::Made(Made::of(cny(), &bilateral).unwrap())).unwrap();
        assert_eq!((netted(&step), step.after.state_name()), (vec![A, B], "done"));
        let nothing = Made::of(cny(), &[(A, vec![(B, 0)]), (B, vec![])]).unwrap();
        assert!(nothing.is_empty());
    }

    proptest! {
        #[test]
        fn transfers_bring_every_platform_to_nothing(debts in prop::collection::vec((1u32..12, 1u32..12, 1i64..1_000_000), 0..60)) {
            let mut pairs: BTreeMap<PlatformId, BTreeMap<PlatformId, i64>> = BTreeMap::new();
            for (debtor, creditor, amount) in debts.into_iter().filter(|(debtor, creditor, _)| debtor != creditor) {
                let (debtor, creditor) = (PlatformId(debtor), PlatformId(creditor));
                *pairs.entry(debtor).or_default().entry(creditor).or_default() -= amount;
                *pairs.entry(creditor).or_default().entry(debtor).or_default() += amount;
            }
            let bilateral: Vec<_> = pairs.into_iter().map(|(one, others)| (one, others.into_iter().collect())).collect();
            let made = Made::of(cny(), &bilateral).unwrap();
            prop_assert_eq!(made.outside.len(), 0);
            prop_assert_eq!(made.positions.iter().map(|(_, net)| net).sum::<i64>(), 0);
            let mut run = take(&unborn(), 5, Fact::Made(made.clone())).unwrap().after;
            let backwards: Vec<_> = bilateral.iter().rev().cloned().collect();
            let again = take(&unborn(), 5, Fact::Made(Made::of(cny(), &backwards).unwrap())).unwrap().after;
            prop_assert_eq!(&again, &run, "the order in which platforms are read changes nothing");
            prop_assert!(run.transfers.len() <= made.positions.len().saturating_sub(1));
            let mut left: BTreeMap<String, i64> =
                made.positions.iter().map(|(platform, net)| (format!("netting:{}", platform.0), -net)).collect();
            for transfer in run.transfers.clone() {
                prop_assert!(transfer.amount_minor > 0);
                run = confirm(&run, 6, transfer.number, transfer.payee).unwrap().after;
                let step = confirm(&run, 7, transfer.number, transfer.payer).unwrap();
                for (account, amount) in booked(&step) {
                    *left.get_mut(&account).unwrap() += amount;
                }
                run = step.after;
            }
            prop_assert!(left.values().all(|amount| *amount == 0), "{:?}", left);
            prop_assert_eq!(run.state_name(), "done");
        }
    }
}
