//! The loop of an order, written once: decide, commit, adopt, act. Actors drive it, and so does the simulation.
//!
//! It must never act on, or let anybody read, what is not durable.

use crate::domain::event::{Effect, Event, Fact, Refusal, Step};
use crate::domain::order::Order;
use crate::domain::step::decide;
use crate::domain::time::Instant;

/// Why nothing came of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnError<E> {
    /// Business says no; the order is as it was.
    Refused(Refusal),
    /// The step did not become durable, as far as anybody knows: whoever holds this order must let it go and load it
    /// again before its next event.
    Lost(E),
}

/// What surrounds the loop: the writer and the channels in the server, models of them in the simulation.
pub trait Shell {
    type Lost;

    /// Makes the step durable; returns once it is.
    fn commit(&mut self, step: &Step, events: &[Event]) -> impl Future<Output = Result<(), Self::Lost>>;
    /// Performs an effect of a durable step. Calls come back as events.
    fn act(&mut self, order: &Order, effect: Effect);
    /// Takes back a submit that has not left yet; its answer comes all the same.
    fn withdraw(&mut self, order: &Order, ordinal: u8);
}

/// What a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Attempt(u8),
    Capture(u16),
    Choice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Submit,
    Other,
}

/// An order in the hands of whoever drives it.
#[derive(Debug)]
pub struct Turn {
    order: Order,
    /// One call in flight per target: what is proposed meanwhile is proposed again when its answer has been taken.
    in_flight: Vec<(Target, Call)>,
}

impl Turn {
    pub fn new(order: Order) -> Self {
        Turn { order, in_flight: Vec::new() }
    }

    /// The order, every bit of it durable (or not yet created, at version 0).
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// Takes events as one step.
    ///
    /// # Errors
    /// A refusal, or a commit that was lost.
    pub async fn take<S: Shell>(&mut self, events: &[Event], shell: &mut S) -> Result<(), TurnError<S::Lost>> {
        for event in events {
            self.answered(&event.fact);
        }
        let step = decide(&self.order, events).map_err(TurnError::Refused)?;
        if step.order.version != self.order.version {
            shell.commit(&step, events).await.map_err(TurnError::Lost)?;
        }
        self.order = step.order;
        self.act(step.effects, shell);
        Ok(())
    }

    /// Does what a resting order owes the world, after it was loaded.
    pub fn resume<S: Shell>(&mut self, now: Instant, shell: &mut S) {
        self.act(crate::domain::step::resume(&self.order, now), shell);
    }

    /// What the look at a chosen channel needs could not be found out: the next timer proposes it again.
    pub fn choice_failed(&mut self) {
        self.in_flight.retain(|(busy, _)| *busy != Target::Choice);
    }

    fn act<S: Shell>(&mut self, effects: Vec<Effect>, shell: &mut S) {
        for effect in effects {
            if self.admit(effect, shell) {
                shell.act(&self.order, effect);
            }
        }
    }

    fn admit<S: Shell>(&mut self, effect: Effect, shell: &mut S) -> bool {
        let (target, call) = match effect {
            Effect::ArmTimer { .. } => return true,
            Effect::Submit { ordinal, .. } => (Target::Attempt(ordinal), Call::Submit),
            Effect::Query { ordinal } | Effect::Close { ordinal } => (Target::Attempt(ordinal), Call::Other),
            Effect::Refund { capture } | Effect::QueryRefund { capture } => (Target::Capture(capture), Call::Other),
            Effect::Choose { .. } => (Target::Choice, Call::Other),
        };
        match self.in_flight.iter().find(|(busy, _)| *busy == target) {
            None => {
                self.in_flight.push((target, call));
                true
            }
            Some((_, Call::Submit)) => {
                if let Effect::Close { ordinal } = effect {
                    shell.withdraw(&self.order, ordinal);
                }
                false
            }
            Some((_, Call::Other)) => false,
        }
    }

    fn answered(&mut self, fact: &Fact) {
        let target = match fact {
            Fact::SendAnswered { ordinal, .. }
            | Fact::QueryAnswered { ordinal, .. }
            | Fact::CloseAnswered { ordinal, .. } => Target::Attempt(*ordinal),
            Fact::RefundAnswered { capture, .. } => Target::Capture(*capture),
            Fact::ChannelChosen { .. } => Target::Choice,
            Fact::Created(_)
            | Fact::Validated { .. }
            | Fact::CallbackVerified { .. }
            | Fact::CancelAsked
            | Fact::DeadlinePassed
            | Fact::TimerFired
            | Fact::OperatorResolved { .. } => return,
        };
        self.in_flight.retain(|(busy, _)| *busy != target);
    }
}
