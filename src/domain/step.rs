//! The order machine: what an event makes of an order. Pure.
//!
//! Effects are proposals: whoever performs them keeps one call in flight per attempt and drops the rest, because every
//! answer comes back as an event whose step proposes again what is still wanted.

mod answered;
mod asked;
mod ends;
mod money;
mod refunds;
mod time;
#[cfg(test)]
mod versions;

use super::dated::Dated;
use super::event::{Created, Effect, Event, Fact, Refusal, Step, WebhookKind, Write};
use super::id::Incarnation;
use super::ledger::Entry;
use super::machine::Machine;
use super::note::Note;
use super::order::{Attempt, Order, State, Webhooks, Wish};
use super::stream::Kind;
use super::time::Instant;

/// The least wait before something overdue is proposed again: its call may still be in flight.
const OVERDUE_GAP_MS: i64 = 1_000;

/// The order that a creation makes, at version 0: not durable yet.
pub fn create(facts: &Created, at: Instant) -> Order {
    Order {
        id: facts.id,
        platform: facts.platform,
        version: 0,
        state: State::Created,
        currency: facts.currency,
        amount_minor: facts.amount_minor,
        rates: facts.rates.clone(),
        fee_bearer: facts.fee_bearer,
        rules: facts.rules,
        pace: facts.pace,
        time_scale: facts.time_scale,
        webhooks: facts.webhooks,
        attempts_max: facts.attempts_max,
        created_at: at,
        expires_at: facts.expires_at,
        finished_at: None,
        watched_from: None,
        last_at: at,
        failure: None,
        last_failure: None,
        wish: None,
        sequence: 0,
        attempts: Vec::new(),
        captures: Vec::new(),
        refunds: Vec::new(),
        splits: facts.splits.clone(),
        messages_taken: 0,
    }
}

/// Decides what `event` makes of `order`. A step that changes nothing returns the order as it was; it may still
/// propose effects and carry notes.
///
/// # Errors
/// A [`Refusal`] when the event is not allowed; nothing follows from it.
pub fn step(order: &Order, event: &Event) -> Result<Step, Refusal> {
    let mut draft = Draft::of(order.clone(), event.at);
    draft.hear(event)?;
    Ok(draft.finish(order))
}

/// Decides several events as one commit: the order's version grows by one, if anything changed.
///
/// # Errors
/// The first refusal; then none of the events happened.
pub fn decide(order: &Order, events: &[Event]) -> Result<Step, Refusal> {
    let mut draft = Draft::of(order.clone(), order.last_at);
    for event in events {
        draft.hear(event)?;
    }
    let mut step = draft.finish(order);
    if step.after != *order || order.version == 0 {
        step.after.version = order.version + 1;
    }
    Ok(step)
}

impl Machine for Order {
    const KIND: Kind = Kind::ORDER;
    const NAME: &'static str = "order";

    type Event = Event;
    type Refusal = Refusal;
    type Write = Write;
    type Effect = Effect;
    type Note = Note;
    type Target = Target;

    fn id(&self) -> u128 {
        self.id.as_u128()
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn decide(&self, events: &[Event]) -> Result<Step, Refusal> {
        decide(self, events)
    }

    fn resume(&self, now: Instant) -> Vec<Effect> {
        resume(self, now)
    }

    fn next_due_at(&self, now: Instant) -> Option<Instant> {
        Order::next_due_at(self, now)
    }

    fn is_at_rest(&self, now: Instant) -> bool {
        self.may_leave(now)
    }

    fn target(effect: Effect) -> Option<Target> {
        match effect {
            Effect::ArmTimer { .. } => None,
            Effect::Submit { ordinal, .. } | Effect::Query { ordinal } | Effect::Close { ordinal } => {
                Some(Target::Attempt(ordinal))
            }
            Effect::Refund { refund } | Effect::QueryRefund { refund } => Some(Target::Refund(refund)),
            Effect::Choose { .. } => Some(Target::Choice),
        }
    }

    fn answered(event: &Event) -> Option<Target> {
        match &event.fact {
            Fact::SendAnswered { ordinal, .. }
            | Fact::QueryAnswered { ordinal, .. }
            | Fact::CloseAnswered { ordinal, .. } => Some(Target::Attempt(*ordinal)),
            Fact::RefundAnswered { refund, .. } => Some(Target::Refund(*refund)),
            Fact::ChannelChosen { .. } => Some(Target::Choice),
            Fact::Created(_)
            | Fact::Validated { .. }
            | Fact::CallbackVerified { .. }
            | Fact::RefundAsked { .. }
            | Fact::RefundNoticed { .. }
            | Fact::RefundResolved { .. }
            | Fact::CancelAsked
            | Fact::DeadlinePassed
            | Fact::TimerFired
            | Fact::OperatorResolved { .. }
            | Fact::MessageTaken { .. } => None,
        }
    }

    /// A close cancels a submit that has not left yet.
    fn takes_back(wanted: Effect, pending: Effect) -> bool {
        matches!((wanted, pending), (Effect::Close { .. }, Effect::Submit { .. }))
    }
}

/// What a call is about: there is one in flight for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Attempt(u8),
    Refund(u16),
    Choice,
}

/// What a resting order still owes the world; asked after a restart. What may have happened is queried first.
pub fn resume(order: &Order, now: Instant) -> Vec<Effect> {
    let mut draft = Draft::of(order.clone(), now);
    draft.order.bring_back(now);
    draft.propose_overdue(Asking::Everything);
    draft.arm();
    draft.effects
}

/// The event that a timer stands for at `now`.
pub fn wake(order: &Order, now: Instant) -> Fact {
    let wanted = order.wish.is_none_or(|wish| wish.gives_way_to(Wish::Expiry));
    if !order.state.is_final() && now >= order.expires_at && wanted { Fact::DeadlinePassed } else { Fact::TimerFired }
}

/// How sure a capture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Witness {
    Callback,
    Query,
}

/// Money that somebody says was taken.
#[derive(Debug, Clone, Copy)]
struct Told<'a> {
    reference: &'a str,
    amount_minor: i64,
    dated: Dated,
}

/// What is proposed when time has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    /// What has come due.
    Due,
    /// All that is open, because nobody knows what happened before.
    Everything,
}

struct Draft {
    order: Order,
    /// By the clock: what is waited for is counted from here. The order's last instant may lie ahead of it.
    now: Instant,
    /// What goes on record: never earlier than what is there.
    at: Instant,
    /// What is opened now is numbered by it. Before an event is heard nothing is opened.
    incarnation: Incarnation,
    writes: Vec<Write>,
    effects: Vec<Effect>,
    notes: Vec<Note>,
}

impl Draft {
    fn of(order: Order, at: Instant) -> Self {
        let (now, at) = (at, at.max(order.last_at));
        Draft {
            order,
            now,
            at,
            incarnation: Incarnation::default(),
            writes: Vec::new(),
            effects: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn hear(&mut self, event: &Event) -> Result<(), Refusal> {
        self.now = event.at;
        self.at = event.at.max(self.at);
        self.incarnation = event.incarnation;
        self.take(&event.fact)
    }

    fn finish(mut self, before: &Order) -> Step {
        if self.order != *before {
            self.order.last_at = self.at;
        }
        match (before.has_stuck_refunds(), self.order.has_stuck_refunds()) {
            (false, true) => self.writes.push(Write::RefundsStuck),
            (true, false) => self.writes.push(Write::RefundsMove),
            (true, true) | (false, false) => {}
        }
        self.arm();
        Step { after: self.order, writes: self.writes, effects: self.effects, notes: self.notes, messages: Vec::new() }
    }

    fn arm(&mut self) {
        if let Some(due_at) = self.order.next_due_at(self.now) {
            let at = if due_at > self.now { due_at } else { self.now.plus_ms(OVERDUE_GAP_MS) };
            self.effects.push(Effect::ArmTimer { at });
        }
    }

    fn take(&mut self, fact: &Fact) -> Result<(), Refusal> {
        self.order.bring_back(self.now);
        match fact {
            // The first event of an order makes it; `create` has done that already.
            Fact::Created(_) if self.order.version == 0 => {
                self.notes.push(Note::OrderCreated);
                Ok(())
            }
            Fact::Created(_) => Err(Refusal::OutOfPlace),
            Fact::ChannelChosen { channel, method } => self.choose(*channel, *method),
            Fact::Validated { channel, method, verdict } => self.validated(*channel, *method, verdict),
            Fact::SendAnswered { ordinal, send, outcome } => self.send_answered(*ordinal, *send, outcome),
            Fact::QueryAnswered { ordinal, finding, asked_at } => self.found(*ordinal, finding, *asked_at),
            Fact::OperatorResolved { ordinal, finding, .. } => self.resolved(*ordinal, finding),
            // What it says is on record; nothing that an order does depends on one yet.
            Fact::MessageTaken { .. } => {
                self.order.messages_taken += 1;
                Ok(())
            }
            Fact::CloseAnswered { ordinal, answer } => self.close_answered(*ordinal, answer),
            Fact::CallbackVerified { ordinal, opened_in, account, reference, amount_minor, currency, dated } => {
                let told = Told { reference, amount_minor: *amount_minor, dated: *dated };
                self.callback((*ordinal, *opened_in), account, (told, currency))
            }
            Fact::RefundAsked { amount_minor, fee_policy } => self.refund_asked(*amount_minor, *fee_policy),
            Fact::RefundAnswered { refund, round, asked_at, outcome } => {
                self.refund_answered(*refund, *round, *asked_at, outcome)
            }
            Fact::RefundNoticed { number, account, word } => self.refund_noticed(number, account, word.as_ref()),
            Fact::RefundResolved { refund, resolution, .. } => self.refund_resolved(*refund, *resolution),
            Fact::CancelAsked => self.cancel(),
            Fact::DeadlinePassed => self.deadline(),
            Fact::TimerFired => {
                self.begin_refunds();
                self.propose_overdue(Asking::Due);
                Ok(())
            }
        }
    }

    fn attempt_mut(&mut self, ordinal: u8) -> Result<&mut Attempt, Refusal> {
        self.order.attempts.iter_mut().find(|attempt| attempt.ordinal == ordinal).ok_or(Refusal::AttemptUnknown)
    }

    /// Enters a state that the order can rest in.
    fn reach(&mut self, state: State) {
        self.order.state = state;
        self.notes.push(Note::StateReached { state, failure: self.order.failure });
    }

    fn book(&mut self, entry: Entry) {
        // Of money that a seller took itself there may be nothing to book.
        if entry.lines().is_empty() {
            return;
        }
        self.notes.push(Note::EntryBooked { kind: entry.kind() });
        self.writes.push(Write::Entry(entry));
    }

    fn webhook(&mut self, kind: WebhookKind) {
        self.tell(kind, None);
    }

    fn refund_webhook(&mut self, kind: WebhookKind, refund: u16) {
        self.tell(kind, Some(refund));
    }

    fn tell(&mut self, kind: WebhookKind, refund: Option<u16>) {
        self.order.sequence += 1;
        match self.order.webhooks {
            Webhooks::Wanted => self.writes.push(Write::Webhook { kind, sequence: self.order.sequence, refund }),
            Webhooks::NotWanted => {}
        }
    }
}
