//! A proposal: what moves money by hand is proposed by one person and approved by another.
//!
//! A further act takes one variant of [`Act`] with an arm in [`Act::name`] and the two rights beside it, one in
//! `Proposal::entry` (what the approval itself books), one each in `engine::proposal` (what it looks like before and
//! after, and how it is carried out), and one in `http::proposals` (how it is posted and shown).

use std::convert::Infallible;

use serde::{Deserialize, Serialize};

use super::event::{Finding, RefundResolution};
use super::id::{OrderId, PlatformId, ProposalId};
use super::ledger::{Entry, EntryKind, LedgerAccount, Unbalanced};
use super::machine::{self, Machine};
use super::money::Currency;
use super::operator::{Key, Right, Role};
use super::stream::{Kind, StreamId};
use super::time::Instant;

/// Lines of one adjustment: what a person can look over.
pub const LINES_MAX: usize = 20;

/// When an act that was approved is tried again, because what it acts on did not answer.
const AGAIN_MS: i64 = 5_000;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    /// What became of an attempt.
    ResolveAttempt {
        order: OrderId,
        ordinal: u8,
        finding: Finding,
    },
    /// How a refund ended, by its place among the order's.
    ResolveRefund {
        order: OrderId,
        refund: u16,
        resolution: RefundResolution,
    },
    /// An entry by hand.
    Adjust {
        currency: Currency,
        lines: Vec<(LedgerAccount, i64)>,
    },
    /// What a platform may owe after refunds; none: any debt.
    BoundDebt {
        platform: PlatformId,
        currency: Currency,
        most_minor: Option<i64>,
    },
    AddOperator {
        name: Box<str>,
        role: Role,
        key: Key,
    },
    ChangeRole {
        name: Box<str>,
        role: Role,
    },
}

impl Act {
    pub const fn name(&self) -> &'static str {
        match self {
            Act::ResolveAttempt { .. } => "resolve_attempt",
            Act::ResolveRefund { .. } => "resolve_refund",
            Act::Adjust { .. } => "adjust",
            Act::BoundDebt { .. } => "bound_debt",
            Act::AddOperator { .. } => "add_operator",
            Act::ChangeRole { .. } => "change_role",
        }
    }

    /// What whoever proposes it must have.
    pub const fn to_propose(&self) -> Right {
        match self {
            Act::ResolveAttempt { .. } | Act::ResolveRefund { .. } => Right::ProposeOutcome,
            Act::Adjust { .. } => Right::ProposeEntry,
            Act::BoundDebt { .. } => Right::ProposeDebt,
            Act::AddOperator { .. } | Act::ChangeRole { .. } => Right::ProposeOperator,
        }
    }

    /// What whoever approves it must have.
    pub const fn to_approve(&self) -> Right {
        match self {
            Act::ResolveAttempt { .. } | Act::ResolveRefund { .. } | Act::Adjust { .. } | Act::BoundDebt { .. } => {
                Right::Approve
            }
            Act::AddOperator { .. } | Act::ChangeRole { .. } => Right::ApproveOperator,
        }
    }
}

/// What was proposed, by whom, and what it was like then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposed {
    pub act: Act,
    /// What it would be like then: canonical JSON.
    pub after: Box<str>,
    /// What the act would change, as it was read: canonical JSON.
    pub before: Box<str>,
    /// What would be booked.
    pub books: Vec<Booked>,
    /// The person's name, which is nobody else's, ever.
    pub by: Box<str>,
    pub lapses_at: Instant,
    /// Why, and what shows it: nothing personal.
    pub reason: Box<str>,
}

/// An entry that an act would book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Booked {
    pub currency: Currency,
    pub kind: EntryKind,
    pub lines: Vec<(LedgerAccount, i64)>,
}

impl From<&Entry> for Booked {
    fn from(entry: &Entry) -> Self {
        let lines = entry.lines().iter().map(|line| (line.account.clone(), line.amount_minor)).collect();
        Booked { currency: entry.currency(), kind: entry.kind(), lines }
    }
}

/// How far it has got. Only `Open` and `Approved` are not the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum State {
    Open,
    /// It is being carried out.
    Approved {
        by: Box<str>,
    },
    Done {
        by: Box<str>,
    },
    /// It was approved, and did nothing.
    Refused {
        by: Box<str>,
        why: Box<str>,
    },
    Rejected {
        by: Box<str>,
    },
    Lapsed,
}

impl State {
    pub const NAMES: [&str; 6] = ["open", "approved", "done", "refused", "rejected", "lapsed"];

    pub const fn name(&self) -> &'static str {
        match self {
            State::Open => "open",
            State::Approved { .. } => "approved",
            State::Done { .. } => "done",
            State::Refused { .. } => "refused",
            State::Rejected { .. } => "rejected",
            State::Lapsed => "lapsed",
        }
    }
}

/// Why an approval came to nothing: something else had changed what the act would change.
pub const OUTDATED: &str = "proposal_outdated";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    pub id: ProposalId,
    pub last_at: Instant,
    /// When it was proposed.
    pub proposed_at: Instant,
    /// None before it was proposed.
    pub proposed: Option<Proposed>,
    pub state: State,
    pub version: u32,
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
    Proposed(Box<Proposed>),
    /// `before` is what the act would change, as it was read for the approval.
    ApprovalGiven {
        by: Box<str>,
        before: Box<str>,
    },
    Rejected {
        by: Box<str>,
    },
    /// The act was carried out.
    CarriedOut,
    /// It was refused by what it acts on, and never will be taken.
    ActRefused {
        why: Box<str>,
    },
    TimerFired,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The event does not belong to the state.
    OutOfPlace,
    /// The lines do not sum to zero, or are none.
    Unbalanced,
    /// Whoever proposed it does not approve it.
    SecondOperatorRequired,
    /// Its day is over.
    Lapsed,
    /// It has come to its end, or is being carried out.
    Ended,
}

/// A row beside the proposal's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Entry(Entry),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    CarryOut,
    WakeAt(Instant),
}

/// What a call is about: there is one for each proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target;

pub type Step = machine::Step<Proposal>;

impl Proposal {
    /// One that is about to be proposed.
    pub const fn unborn(id: ProposalId) -> Self {
        let at = Instant(0);
        Proposal { id, last_at: at, proposed_at: at, proposed: None, state: State::Open, version: 0 }
    }

    /// What its approval books itself; none where something else carries the act out.
    fn entry(act: &Act, at: Instant) -> Result<Option<Entry>, Unbalanced> {
        match act {
            Act::Adjust { currency, lines } => Entry::adjustment(*currency, at, lines).map(Some),
            Act::ResolveAttempt { .. }
            | Act::ResolveRefund { .. }
            | Act::BoundDebt { .. }
            | Act::AddOperator { .. }
            | Act::ChangeRole { .. } => Ok(None),
        }
    }

    fn take(&mut self, event: &Event, writes: &mut Vec<Write>) -> Result<(), Refusal> {
        let at = event.at;
        let Some(proposed) = &self.proposed else {
            return match &event.fact {
                Fact::Proposed(proposed) => {
                    Proposal::entry(&proposed.act, at).map_err(|Unbalanced| Refusal::Unbalanced)?;
                    self.proposed = Some(proposed.as_ref().clone());
                    self.proposed_at = at;
                    Ok(())
                }
                Fact::ApprovalGiven { .. }
                | Fact::Rejected { .. }
                | Fact::CarriedOut
                | Fact::ActRefused { .. }
                | Fact::TimerFired => Err(Refusal::OutOfPlace),
            };
        };
        let has_lapsed = at >= proposed.lapses_at;
        match (&event.fact, &self.state) {
            (Fact::Proposed(_), _) => Err(Refusal::OutOfPlace),
            (Fact::ApprovalGiven { .. } | Fact::Rejected { .. }, State::Lapsed) => Err(Refusal::Lapsed),
            (Fact::ApprovalGiven { .. } | Fact::Rejected { .. }, State::Open) if has_lapsed => Err(Refusal::Lapsed),
            (
                Fact::ApprovalGiven { .. } | Fact::Rejected { .. },
                State::Approved { .. } | State::Done { .. } | State::Refused { .. } | State::Rejected { .. },
            ) => Err(Refusal::Ended),
            (Fact::ApprovalGiven { by, .. }, State::Open) if *by == proposed.by => Err(Refusal::SecondOperatorRequired),
            (Fact::ApprovalGiven { by, before }, State::Open) => {
                let by = by.clone();
                if *before != proposed.before {
                    self.state = State::Refused { by, why: OUTDATED.into() };
                    return Ok(());
                }
                // It was balanced when it was proposed.
                let entry = Proposal::entry(&proposed.act, at).map_err(|Unbalanced| Refusal::Unbalanced)?;
                self.state = match entry {
                    Some(entry) => {
                        writes.push(Write::Entry(entry));
                        State::Done { by }
                    }
                    None => State::Approved { by },
                };
                Ok(())
            }
            (Fact::Rejected { by }, State::Open) => {
                self.state = State::Rejected { by: by.clone() };
                Ok(())
            }
            (Fact::CarriedOut, State::Approved { by }) => {
                self.state = State::Done { by: by.clone() };
                Ok(())
            }
            (Fact::ActRefused { why }, State::Approved { by }) => {
                self.state = State::Refused { by: by.clone(), why: why.clone() };
                Ok(())
            }
            (Fact::TimerFired, State::Open) if has_lapsed => {
                self.state = State::Lapsed;
                Ok(())
            }
            // An act that was carried out twice is answered twice.
            (
                Fact::CarriedOut | Fact::ActRefused { .. },
                State::Open | State::Done { .. } | State::Refused { .. } | State::Rejected { .. } | State::Lapsed,
            )
            | (
                Fact::TimerFired,
                State::Open
                | State::Approved { .. }
                | State::Done { .. }
                | State::Refused { .. }
                | State::Rejected { .. }
                | State::Lapsed,
            ) => Ok(()),
        }
    }

    fn effects(&self, now: Instant) -> Vec<Effect> {
        let wake = self.next_due_at(now).map(Effect::WakeAt);
        let act = match self.state {
            State::Approved { .. } => Some(Effect::CarryOut),
            State::Open | State::Done { .. } | State::Refused { .. } | State::Rejected { .. } | State::Lapsed => None,
        };
        act.into_iter().chain(wake).collect()
    }
}

impl From<ProposalId> for StreamId {
    fn from(proposal: ProposalId) -> Self {
        StreamId { kind: Kind::PROPOSAL, id: proposal.0 }
    }
}

impl Machine for Proposal {
    const KIND: Kind = Kind::PROPOSAL;
    const NAME: &'static str = "proposal";

    type Event = Event;
    type Refusal = Refusal;
    type Write = Write;
    type Effect = Effect;
    type Note = Infallible;
    type Target = Target;

    fn id(&self) -> u128 {
        self.id.0
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
        let now = events.last().map_or(self.last_at, |event| event.at);
        if after != *self {
            // A clock that was set back makes no step older than the one before.
            after.last_at = self.last_at.max(now);
            after.version += 1;
        }
        let effects = after.effects(now);
        Ok(Step { after, writes, effects, notes: Vec::new(), messages: Vec::new() })
    }

    fn resume(&self, now: Instant) -> Vec<Effect> {
        self.effects(now)
    }

    fn next_due_at(&self, now: Instant) -> Option<Instant> {
        match (&self.state, &self.proposed) {
            (State::Open, Some(proposed)) => Some(proposed.lapses_at),
            (State::Approved { .. }, Some(_)) => Some(now.plus_ms(AGAIN_MS)),
            (State::Done { .. } | State::Refused { .. } | State::Rejected { .. } | State::Lapsed, _) | (_, None) => {
                None
            }
        }
    }

    fn is_at_rest(&self, _: Instant) -> bool {
        match self.state {
            State::Open | State::Approved { .. } => false,
            State::Done { .. } | State::Refused { .. } | State::Rejected { .. } | State::Lapsed => true,
        }
    }

    fn target(effect: Effect) -> Option<Target> {
        match effect {
            Effect::CarryOut => Some(Target),
            Effect::WakeAt(_) => None,
        }
    }

    fn answered(event: &Event) -> Option<Target> {
        match event.fact {
            Fact::CarriedOut | Fact::ActRefused { .. } => Some(Target),
            Fact::Proposed(_) | Fact::ApprovalGiven { .. } | Fact::Rejected { .. } | Fact::TimerFired => None,
        }
    }

    fn takes_back(_: Effect, _: Effect) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Instant = Instant(1_800_000_000_000);
    const DAY_MS: i64 = 24 * 3_600_000;

    fn adjust(amounts: &[(&str, i64)]) -> Act {
        let line = |(account, amount): &(&str, i64)| (LedgerAccount::parse(account).unwrap(), *amount);
        Act::Adjust { currency: Currency::parse("CNY").unwrap(), lines: amounts.iter().map(line).collect() }
    }

    fn bound() -> Act {
        let currency = Currency::parse("CNY").unwrap();
        Act::BoundDebt { platform: PlatformId(1), currency, most_minor: Some(1) }
    }

    fn take(proposal: &Proposal, at: Instant, fact: Fact) -> Result<Step, Refusal> {
        proposal.decide(&[Event { at, fact }])
    }

    fn proposed(act: Act) -> Result<Proposal, Refusal> {
        let (before, after, by, reason) = ("{}".into(), "{}".into(), "li".into(), "slip 7".into());
        let proposed = Proposed { act, after, before, books: Vec::new(), by, lapses_at: AT.plus_ms(DAY_MS), reason };
        take(&Proposal::unborn(ProposalId(7)), AT, Fact::Proposed(Box::new(proposed))).map(|step| step.after)
    }

    fn approval(by: &str, before: &str) -> Fact {
        Fact::ApprovalGiven { by: by.into(), before: before.into() }
    }

    #[test]
    fn an_adjustment_is_booked_by_the_step_that_approves_it() {
        let open = proposed(adjust(&[("bank:main", 200), ("equity", -200)])).unwrap();
        let step = take(&open, AT.plus_ms(1), approval("wang", "{}")).unwrap();
        assert_eq!(step.after.state, State::Done { by: "wang".into() });
        let [Write::Entry(entry)] = step.writes.as_slice() else { panic!("{:?}", step.writes) };
        assert_eq!((entry.effective().at, entry.lines().len()), (AT.plus_ms(1), 2));
        assert!(step.effects.is_empty() && step.after.is_at_rest(AT));
        for lines in [&[("bank:main", 200)][..], &[("bank:main", 200), ("equity", -199)], &[], &[("equity", 0)]] {
            assert_eq!(proposed(adjust(lines)).unwrap_err(), Refusal::Unbalanced, "{lines:?}");
        }
    }

    #[test]
    fn what_is_carried_out_elsewhere_is_approved_first_and_tried_until_it_is_answered() {
        let open = proposed(bound()).unwrap();
        assert_eq!(open.next_due_at(AT), Some(AT.plus_ms(DAY_MS)));
        let step = take(&open, AT, approval("wang", "{}")).unwrap();
        let approved = step.after;
        assert_eq!(step.effects, [Effect::CarryOut, Effect::WakeAt(AT.plus_ms(AGAIN_MS))]);
        assert_eq!(approved.resume(AT)[0], Effect::CarryOut, "nobody knows what became of it");
        let again = take(&approved, AT.plus_ms(2 * DAY_MS), Fact::TimerFired).unwrap();
        assert_eq!((again.after.version, again.effects[0]), (approved.version, Effect::CarryOut), "it does not lapse");
        let done = take(&approved, AT, Fact::CarriedOut).unwrap().after;
        assert_eq!(done.state, State::Done { by: "wang".into() });
        assert_eq!(take(&done, AT, Fact::CarriedOut).unwrap().after, done);
        let refused = take(&approved, AT, Fact::ActRefused { why: "not_found".into() }).unwrap().after;
        assert_eq!(refused.state, State::Refused { by: "wang".into(), why: "not_found".into() });
    }

    #[test]
    fn four_eyes_and_one_day() {
        let open = || proposed(bound()).unwrap();
        let approved = take(&open(), AT, approval("wang", "{}")).unwrap().after;
        let reject = || Fact::Rejected { by: "li".into() };
        let rejected = take(&open(), AT, reject()).unwrap().after;
        let late = AT.plus_ms(DAY_MS);
        let lapsed = take(&open(), late, Fact::TimerFired).unwrap().after;
        assert_eq!(lapsed.state, State::Lapsed);
        assert_eq!(take(&open(), late.plus_ms(-1), Fact::TimerFired).unwrap().after, open());
        let outdated = take(&open(), AT, approval("wang", r#"{"a":1}"#)).unwrap();
        assert_eq!(outdated.after.state, State::Refused { by: "wang".into(), why: OUTDATED.into() });
        assert!(outdated.writes.is_empty() && outdated.effects.is_empty());
        let table = [
            ("by its proposer", open(), AT, approval("li", "{}"), Refusal::SecondOperatorRequired),
            ("after its day", open(), late, approval("wang", "{}"), Refusal::Lapsed),
            ("rejected after its day", open(), late, reject(), Refusal::Lapsed),
            ("once it has lapsed", lapsed, AT, approval("wang", "{}"), Refusal::Lapsed),
            ("twice", approved.clone(), AT, approval("zhao", "{}"), Refusal::Ended),
            ("rejected while it is carried out", approved, AT, reject(), Refusal::Ended),
            ("once it is rejected", rejected, AT, approval("wang", "{}"), Refusal::Ended),
            ("before it is there", Proposal::unborn(ProposalId(7)), AT, approval("wang", "{}"), Refusal::OutOfPlace),
        ];
        for (what, before, at, fact, refusal) in table {
            assert_eq!(take(&before, at, fact).unwrap_err(), refusal, "{what}");
        }
    }

    #[test]
    fn proposals_and_their_events_are_read_back() {
        let acts = [
            adjust(&[("bank:main", 200), ("platform:1", -200)]),
            bound(),
            Act::ResolveAttempt { order: OrderId::from_u128(7), ordinal: 1, finding: Finding::Closed },
            Act::ResolveRefund { order: OrderId::from_u128(7), refund: 0, resolution: RefundResolution::Failed },
            Act::ChangeRole { name: "li".into(), role: Role::Risk },
        ];
        for act in acts {
            let proposal = proposed(act).unwrap();
            let text = serde_json::to_string(&proposal).unwrap();
            assert_eq!(serde_json::from_str::<Proposal>(&text).unwrap(), proposal, "{text}");
            let fact = Fact::Proposed(Box::new(proposal.proposed.unwrap()));
            let event = Event { at: AT, fact };
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event, "{text}");
        }
    }
}
