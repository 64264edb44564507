//! The proposal in the engine: what an act looks like before and after, and how it is carried out once it is approved.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::ask::{AskError, RefundResolved, Resolution};
use super::cell::Cell;
use super::changes::{ChangeError, Changes, Staffing};
use super::clock::course::Certainty;
use super::directory::Directory;
use super::host::{Act as Performed, EventOf, Hands, Hearing, Host, Loaded, Stored};
use super::lane::{Admission, WriteError};
use super::letter::TellError;
use super::order::desk::Desk;
use super::ports::{ActReads, HeadReads, Lanes, Salts, Time};
use super::quiet::{Dates, unit_of};
use crate::domain::canonical;
use crate::domain::event::{self, Finding, RefundResolution};
use crate::domain::id::{OrderId, ProposalId};
use crate::domain::journal::Salt;
use crate::domain::ledger::{Entry, Unbalanced};
use crate::domain::machine::Machine;
use crate::domain::operator::Person;
use crate::domain::order::{Order, Purpose};
use crate::domain::proposal::{
    Act, Booked, Effect, Event, Fact, Proposal, Proposed, Refusal, State, Step, Target, Write,
};
use crate::domain::refund::{PaidFrom, RefundFailure, Stage};
use crate::domain::step;
use crate::domain::stream::StreamId;
use crate::domain::time::Instant;
use crate::store::{Reply, StepUnit, StoreError, StoredMessage, Unit};

/// How long whoever approves waits for the act: most are done at once.
const CARRIED_OUT_WITHIN: Duration = Duration::from_secs(5);

pub enum Told {
    /// The first letter of a new proposal.
    Propose(Box<Proposed>),
    Approve {
        by: Box<str>,
        before: Box<str>,
        /// Hears once the act is carried out, or was refused.
        follower: oneshot::Sender<Proposal>,
    },
    Reject {
        by: Box<str>,
    },
    Carried(Outcome),
    Timer,
}

/// What became of an act that was to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// For good.
    Refused(&'static str),
    /// What it acts on does not answer, or nobody knows what it did: it is done again, which changes nothing twice.
    NotNow,
}

/// Why an act cannot be proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// What it acts on is not there.
    NotFound,
    /// The order does not take it.
    Order(event::Refusal),
    Unbalanced,
    /// There is such an operator already, or such a key.
    Taken,
    Store(StoreError),
}

impl From<StoreError> for Unfit {
    fn from(error: StoreError) -> Self {
        Unfit::Store(error)
    }
}

/// What an act changes.
struct Preview {
    before: Box<str>,
    after: Box<str>,
    books: Vec<Booked>,
}

/// What acts are carried out by.
pub struct ByHand {
    pub desk: Desk,
    pub changes: Arc<Changes>,
    pub reads: Arc<dyn ActReads>,
    pub time: Arc<dyn Time>,
}

impl ByHand {
    /// What the act would change, as it is now; none where that is not there.
    async fn before(&self, act: &Act) -> Result<Option<Box<str>>, StoreError> {
        let before = match act {
            Act::ResolveAttempt { order, .. } | Act::ResolveRefund { order, .. } => {
                let Some(stored) = self.reads.order(*order).await? else { return Ok(None) };
                shown(&stored.order)
            }
            // Their balances move all the time.
            Act::Adjust { lines, .. } => {
                json!({ "accounts": lines.iter().map(|(account, _)| account.to_string()).collect::<Vec<_>>() })
            }
            Act::BoundDebt { platform, currency, .. } => {
                json!({ "most_minor": self.reads.debt_bound(*platform, *currency).await? })
            }
            Act::AddOperator { name, .. } | Act::ChangeRole { name, .. } => {
                let role = self.reads.operator(name).await?.map(|operator| operator.role);
                json!({ "role": role })
            }
        };
        text(&before).map(Some)
    }

    async fn preview(&self, act: &Act, by: &str, reason: &str) -> Result<Preview, Unfit> {
        let before = self.before(act).await?.ok_or(Unfit::NotFound)?;
        let (operator, evidence): (Box<str>, Box<str>) = (by.into(), reason.into());
        let (after, books) = match act {
            Act::ResolveAttempt { order, ordinal, finding } => {
                let (ordinal, finding) = (*ordinal, finding.clone());
                let fact = event::Fact::OperatorResolved { ordinal, finding, operator, evidence };
                self.tried(*order, fact).await?
            }
            Act::ResolveRefund { order, refund, resolution } => {
                let (refund, resolution) = (*refund, *resolution);
                self.tried(*order, event::Fact::RefundResolved { refund, resolution, operator, evidence }).await?
            }
            Act::Adjust { currency, lines } => {
                let entry = Entry::adjustment(*currency, self.time.now(), lines);
                let entry = entry.map_err(|Unbalanced| Unfit::Unbalanced)?;
                (json!({ "entries": 1 }), vec![Booked::from(&entry)])
            }
            Act::BoundDebt { most_minor, .. } => (json!({ "most_minor": most_minor }), Vec::new()),
            Act::AddOperator { name, role, key } => {
                let is_there = self.reads.operator(name).await?.is_some();
                if is_there || self.reads.key_owner(key.hash).await?.is_some() {
                    return Err(Unfit::Taken);
                }
                (json!({ "role": role }), Vec::new())
            }
            Act::ChangeRole { name, role } => {
                self.reads.operator(name).await?.ok_or(Unfit::NotFound)?;
                (json!({ "role": role }), Vec::new())
            }
        };
        Ok(Preview { before, after: text(&after)?, books })
    }

    /// What an order would make of a fact: nothing is written.
    async fn tried(&self, order: OrderId, fact: event::Fact) -> Result<(Value, Vec<Booked>), Unfit> {
        let stored = self.reads.order(order).await?.ok_or(Unfit::NotFound)?;
        let event = event::Event { at: self.time.now(), incarnation: self.time.incarnation(), fact };
        let step = step::decide(&stored.order, &[event]).map_err(Unfit::Order)?;
        let entry = |write: &event::Write| match write {
            event::Write::Entry(entry) => Some(Booked::from(entry)),
            event::Write::OpenAttempt { .. }
            | event::Write::Capture { .. }
            | event::Write::Refund { .. }
            | event::Write::Webhook { .. }
            | event::Write::StoreNextAction
            | event::Write::WipeNextAction
            | event::Write::RefundsStuck
            | event::Write::RefundsMove => None,
        };
        Ok((shown(&step.after), step.writes.iter().filter_map(entry).collect()))
    }

    /// Carries an approved act out. What was carried out before changes nothing.
    async fn carry_out(&self, proposed: &Proposed, approver: &str) -> Outcome {
        // In the journal of what it acts on stand both.
        let operator: Box<str> = format!("{}, {approver}", proposed.by).into();
        let evidence = proposed.reason.clone();
        match &proposed.act {
            Act::ResolveAttempt { order, ordinal, finding } => {
                let resolution = Resolution { ordinal: *ordinal, finding: finding.clone(), operator, evidence };
                let outcome = of_order(self.desk.resolve(*order, resolution).await.map(drop));
                counted(outcome, finding_name(finding))
            }
            Act::ResolveRefund { order, refund, resolution } => {
                let (refund, resolution) = (*refund, *resolution);
                let resolved = RefundResolved { refund, resolution, operator, evidence };
                let outcome = match of_order(self.desk.resolve_refund(*order, resolved).await.map(drop)) {
                    Outcome::Refused(why) => match self.has_ended(*order, refund, resolution).await {
                        Ok(true) => Outcome::Done,
                        Ok(false) => Outcome::Refused(why),
                        Err(_) => Outcome::NotNow,
                    },
                    outcome @ (Outcome::Done | Outcome::NotNow) => outcome,
                };
                counted(outcome, "refund")
            }
            // Its approval has booked it.
            Act::Adjust { .. } => Outcome::Done,
            Act::BoundDebt { platform, currency, most_minor } => {
                of_change(self.changes.bound_debt(*platform, *currency, *most_minor).await.map(drop))
            }
            Act::AddOperator { name, role, key } => {
                let person = Person { name: name.clone(), role: *role };
                let added = self.changes.staff(Staffing::Add { person, key: key.clone() }).await;
                match of_change(added.map(drop)) {
                    Outcome::Refused(why) => {
                        let (there, owner) = (self.reads.operator(name).await, self.reads.key_owner(key.hash).await);
                        match (there, owner) {
                            (Ok(Some(there)), Ok(Some(owner))) if there.id == owner => Outcome::Done,
                            (Ok(_), Ok(_)) => Outcome::Refused(why),
                            (Err(_), _) | (_, Err(_)) => Outcome::NotNow,
                        }
                    }
                    outcome @ (Outcome::Done | Outcome::NotNow) => outcome,
                }
            }
            Act::ChangeRole { name, role } => {
                let staffing = Staffing::ChangeRole { name: name.clone(), role: *role };
                of_change(self.changes.staff(staffing).await.map(drop))
            }
        }
    }

    /// Whether a refund has ended as it was to be ended by hand.
    async fn has_ended(&self, order: OrderId, refund: u16, resolution: RefundResolution) -> Result<bool, StoreError> {
        let stored = self.reads.order(order).await?;
        let stage = stored.and_then(|stored| stored.order.refunds.get(usize::from(refund)).map(|refund| refund.stage));
        Ok(match resolution {
            RefundResolution::PaidOtherwise => {
                matches!(stage, Some(Stage::Succeeded { paid_from: PaidFrom::Bank, .. }))
            }
            RefundResolution::Failed => {
                matches!(stage, Some(Stage::Failed { failure: RefundFailure::GivenUp, .. }))
            }
        })
    }
}

fn counted(outcome: Outcome, finding: &'static str) -> Outcome {
    if outcome == Outcome::Done {
        metrics::counter!("tongbao_operator_resolutions_total", "finding" => finding).increment(1);
    }
    outcome
}

/// What a person found out, in one word.
pub fn finding_name(finding: &Finding) -> &'static str {
    match finding {
        Finding::Paid { .. } => "paid",
        Finding::Pending | Finding::NotExist | Finding::Declined | Finding::Closed | Finding::Unknown { .. } => {
            "not_paid"
        }
    }
}

fn of_order(done: Result<(), AskError>) -> Outcome {
    match done {
        Ok(()) => Outcome::Done,
        Err(AskError::Refused(event::Refusal::RefundFinal)) => Outcome::Refused("refund_final"),
        Err(AskError::Refused(_)) => Outcome::Refused("resolution_refused"),
        Err(AskError::NotFound) => Outcome::Refused("not_found"),
        Err(
            AskError::Duplicate
            | AskError::Overloaded
            | AskError::StoreAway
            | AskError::OutcomeUnknown
            | AskError::Quarantined,
        ) => Outcome::NotNow,
    }
}

fn of_change(done: Result<(), ChangeError>) -> Outcome {
    match done {
        Ok(()) => Outcome::Done,
        Err(ChangeError::Refused(_)) => Outcome::Refused("change_refused"),
        Err(ChangeError::StoreAway(_) | ChangeError::Partly { .. } | ChangeError::OutcomeUnknown) => Outcome::NotNow,
    }
}

fn text(value: &Value) -> Result<Box<str>, StoreError> {
    let bytes = canonical::to_vec(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let text = bytes.ok_or_else(|| StoreError::Corrupt("what an act changes cannot be written".to_owned()))?;
    Ok(text.into())
}

/// What of an order an act by hand can change; not how often its channel was asked.
fn shown(order: &Order) -> Value {
    let attempts = order.attempts.iter().map(|attempt| {
        json!({
            "account": attempt.account.to_string(),
            "number": u16::from(attempt.ordinal) + 1,
            "payable_minor": attempt.payable_minor,
            "state": attempt.state,
        })
    });
    let captures = order.captures.iter().map(|capture| {
        json!({
            "amount_minor": capture.amount_minor,
            "attempt": u16::from(capture.ordinal) + 1,
            "is_payment": capture.purpose == Purpose::Payment,
            "reference": capture.reference,
        })
    });
    let refunds =
        order.refunds.iter().map(|refund| json!({ "amount_minor": refund.amount_minor, "state": refund.state() }));
    json!({
        "attempts": attempts.collect::<Vec<_>>(),
        "captures": captures.collect::<Vec<_>>(),
        "refunds": refunds.collect::<Vec<_>>(),
        "state": order.state.name(),
    })
}

/// What proposals need of the rest of the engine.
pub struct Proposals {
    pub time: Arc<dyn Time>,
    pub salts: Arc<dyn Salts>,
    pub heads: Arc<dyn HeadReads>,
    pub lanes: Arc<dyn Lanes>,
    pub by_hand: Arc<ByHand>,
}

impl Host for Proposals {
    type Machine = Proposal;
    type Told = Told;
    type Beside = ();
    /// Whoever waits for the act.
    type Memory = Vec<oneshot::Sender<Proposal>>;

    fn now(&self) -> Instant {
        self.time.now()
    }

    fn load(&self, id: u128) -> Reply<'_, Option<Loaded<Self>>> {
        Box::pin(async move {
            let stream = StreamId::from(ProposalId(id));
            let Some(head) = self.heads.head(stream).await? else { return Ok(None) };
            let machine = read(ProposalId(id), &head.snapshot)?;
            let hands = if self.lanes.is_ours(stream, head.epoch) { Hands::Ours } else { Hands::Others };
            let stored = Stored { due_at: head.next_due_at, hands };
            Ok(Some(Loaded { machine, memory: Vec::new(), stored }))
        })
    }

    fn woken(&self) -> Told {
        Told::Timer
    }

    fn activated(&self, _: u128) {}

    fn received(&self, _: &StoredMessage) -> Option<Told> {
        None
    }

    fn hear(&self, proposal: &Proposal, followers: &mut Self::Memory, told: Told) -> Hearing<Self> {
        let now = self.time.now();
        let (at, fact) = match told {
            Told::Propose(proposed) => (now, Fact::Proposed(proposed)),
            Told::Approve { by, before, follower } => {
                followers.push(follower);
                (now, Fact::ApprovalGiven { by, before })
            }
            Told::Reject { by } => (now, Fact::Rejected { by }),
            Told::Carried(Outcome::Done) => (now, Fact::CarriedOut),
            Told::Carried(Outcome::Refused(why)) => (now, Fact::ActRefused { why: why.into() }),
            Told::Carried(Outcome::NotNow) => return Hearing::Nothing { over: Some(Target) },
            // While time is in doubt no day is over.
            Told::Timer => match self.time.certainty() {
                Certainty::Sure => (now, Fact::TimerFired),
                Certainty::InDoubt => (proposal.last_at, Fact::TimerFired),
            },
        };
        Hearing::Turn { events: vec![Event { at, fact }], beside: () }
    }

    async fn unit(
        &self,
        step: &Step,
        events: &[EventOf<Self>],
        _: &Self::Memory,
        (): &mut (),
    ) -> Result<StepUnit, WriteError> {
        unit(step, events, self.salts.salt())
    }

    async fn write(&self, admission: Admission, unit: Unit) -> Result<(), WriteError> {
        self.lanes.write(admission, unit).await
    }

    fn act(&self, proposal: &Proposal, _: &mut Self::Memory, (): &(), effect: Effect) -> Performed<Told> {
        match (effect, &proposal.proposed, &proposal.state) {
            (Effect::WakeAt(at), _, _) => Performed::Wake(at),
            (Effect::CarryOut, Some(proposed), State::Approved { by }) => {
                let (by_hand, proposed, by) = (self.by_hand.clone(), proposed.clone(), by.clone());
                Performed::Errand(Box::pin(async move { vec![Told::Carried(by_hand.carry_out(&proposed, &by).await)] }))
            }
            (Effect::CarryOut, Some(_) | None, _) => Performed::Tell(Told::Carried(Outcome::NotNow)),
        }
    }

    fn take_back(&self, _: &mut Self::Memory, _: Effect) {}

    fn noted(&self, _: &Proposal, _: &[Infallible]) {}

    fn ended(&self, proposal: &Proposal, followers: &mut Self::Memory, (): ()) {
        match proposal.state {
            State::Open | State::Approved { .. } => {}
            State::Done { .. } | State::Refused { .. } | State::Rejected { .. } | State::Lapsed => {
                for follower in followers.drain(..) {
                    // Nobody may be left who waits.
                    let _ = follower.send(proposal.clone());
                }
            }
        }
    }

    fn refused_by_store(&self, _: u128) -> Option<Refusal> {
        None
    }

    fn is_followed(&self, followers: &Self::Memory) -> bool {
        followers.iter().any(|follower| !follower.is_closed())
    }
}

/// What makes a proposal's step durable.
///
/// # Errors
/// None that an event could cause.
pub fn unit(step: &Step, events: &[Event], salt: Salt) -> Result<StepUnit, WriteError> {
    let after = &step.after;
    let decided_at = events.last().map_or(after.last_at, |event| event.at);
    let mut unit = unit_of(step, events, salt, Dates { at: after.last_at, decided_at }, Vec::new())?;
    unit.head.state = after.state.name();
    unit.head.next_due_at = after.next_due_at(decided_at);
    unit.entries = step.writes.iter().map(|Write::Entry(entry)| entry.clone()).collect();
    Ok(unit)
}

/// Reads a proposal from its snapshot.
///
/// # Errors
/// [`StoreError::Corrupt`] where it is damaged, or another's.
pub fn read(id: ProposalId, snapshot: &str) -> Result<Proposal, StoreError> {
    let read = serde_json::from_str::<Proposal>(snapshot).ok().filter(|proposal| proposal.id == id);
    read.ok_or_else(|| StoreError::Corrupt(format!("the stored proposal {id} cannot be read")))
}

/// The way to proposals.
pub struct ProposalDesk {
    directory: Arc<Directory<Proposals>>,
    lapses_ms: i64,
}

/// Why nothing came of what a proposal was asked.
#[derive(Debug)]
pub enum ProposalError {
    Unfit(Unfit),
    Told(TellError<Refusal>),
}

impl From<Unfit> for ProposalError {
    fn from(unfit: Unfit) -> Self {
        ProposalError::Unfit(unfit)
    }
}

impl From<TellError<Refusal>> for ProposalError {
    fn from(error: TellError<Refusal>) -> Self {
        ProposalError::Told(error)
    }
}

impl ProposalDesk {
    pub fn new(directory: Arc<Directory<Proposals>>, lapses_ms: i64) -> Self {
        ProposalDesk { directory, lapses_ms }
    }

    pub fn directory(&self) -> &Arc<Directory<Proposals>> {
        &self.directory
    }

    /// Proposes an act; returns once that is durable. Runs on a thread that may hold cells.
    ///
    /// # Errors
    /// [`ProposalError`].
    pub async fn propose(&self, act: Act, by: &str, reason: Box<str>) -> Result<Proposal, ProposalError> {
        let host = self.directory.host();
        let Preview { before, after, books } = host.by_hand.preview(&act, by, &reason).await?;
        let lapses_at = host.time.now().plus_ms(self.lapses_ms);
        let proposed = Proposed { act, after, before, books, by: by.into(), lapses_at, reason };
        let id = ProposalId(uuid::Uuid::now_v7().as_u128());
        let cell = Cell::fresh(Proposal::unborn(id), Vec::new());
        Ok(self.directory.create(cell, Told::Propose(Box::new(proposed))).await?)
    }

    /// Approves a proposal, and waits for a while until its act is carried out.
    ///
    /// # Errors
    /// [`ProposalError`].
    pub async fn approve(&self, id: ProposalId, act: &Act, by: &str) -> Result<Proposal, ProposalError> {
        let before = self.directory.host().by_hand.before(act).await.map_err(Unfit::Store)?;
        let (follower, followed) = oneshot::channel();
        let told = Told::Approve { by: by.into(), before: before.unwrap_or_default(), follower };
        let approved = self.directory.tell(id.0, told).await?;
        match approved.state {
            State::Approved { .. } => {
                let carried = tokio::time::timeout(CARRIED_OUT_WITHIN, followed).await;
                Ok(carried.ok().and_then(Result::ok).unwrap_or(approved))
            }
            State::Open | State::Done { .. } | State::Refused { .. } | State::Rejected { .. } | State::Lapsed => {
                Ok(approved)
            }
        }
    }

    /// # Errors
    /// [`ProposalError`].
    pub async fn reject(&self, id: ProposalId, by: &str) -> Result<Proposal, ProposalError> {
        Ok(self.directory.tell(id.0, Told::Reject { by: by.into() }).await?)
    }
}
