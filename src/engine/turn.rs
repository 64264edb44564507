//! The loop of every aggregate, written once: decide, commit, adopt, act.
//!
//! It must never act on, or let anybody read, what is not durable.

use crate::domain::machine::{Machine, Step};
use crate::domain::time::Instant;

/// Why nothing came of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnError<R, E> {
    /// Business says no; the aggregate is as it was.
    Refused(R),
    /// The step did not become durable, as far as anybody knows: whoever holds this aggregate must let it go and load it
    /// again before its next event.
    Lost(E),
}

/// What surrounds the loop.
pub trait Shell<M: Machine> {
    type Lost;

    /// Makes the step durable; returns once it is.
    fn commit(&mut self, step: &Step<M>, events: &[M::Event]) -> impl Future<Output = Result<(), Self::Lost>>;
    /// Hears what happened in a step that is durable, or that needed no commit.
    fn note(&mut self, machine: &M, notes: &[M::Note]);
    /// Performs an effect of a durable step. Calls come back as events.
    fn act(&mut self, machine: &M, effect: M::Effect);
    /// Takes back a call that has not left yet; its answer comes all the same.
    fn take_back(&mut self, machine: &M, pending: M::Effect);
}

/// An aggregate in the hands of whoever drives it.
#[derive(Debug)]
pub struct Turn<M: Machine> {
    machine: M,
    /// One call in flight per target: what is proposed meanwhile is proposed again when its answer has been taken.
    in_flight: Vec<(M::Target, M::Effect)>,
}

impl<M: Machine> Turn<M> {
    pub fn new(machine: M) -> Self {
        Turn { machine, in_flight: Vec::new() }
    }

    /// The aggregate, every bit of it durable (or not yet created, at version 0).
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Whether an answer is still to come.
    pub fn is_calling(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Takes events as one step.
    ///
    /// # Errors
    /// A refusal, or a commit that was lost.
    pub async fn take<S: Shell<M>>(
        &mut self,
        events: &[M::Event],
        shell: &mut S,
    ) -> Result<(), TurnError<M::Refusal, S::Lost>> {
        for target in events.iter().filter_map(M::answered) {
            self.in_flight.retain(|(busy, _)| *busy != target);
        }
        let step = self.machine.decide(events).map_err(TurnError::Refused)?;
        if step.after.version() != self.machine.version() {
            shell.commit(&step, events).await.map_err(TurnError::Lost)?;
        }
        self.machine = step.after;
        shell.note(&self.machine, &step.notes);
        self.act(step.effects, shell);
        Ok(())
    }

    /// Does what the aggregate owes the world, where nobody knows what happened to its calls before.
    pub fn resume<S: Shell<M>>(&mut self, now: Instant, shell: &mut S) {
        self.act(self.machine.resume(now), shell);
    }

    /// A call came to nothing before it could be made: the next timer proposes it again.
    pub fn give_up(&mut self, target: M::Target) {
        self.in_flight.retain(|(busy, _)| *busy != target);
    }

    fn act<S: Shell<M>>(&mut self, effects: Vec<M::Effect>, shell: &mut S) {
        for effect in effects {
            let Some(target) = M::target(effect) else {
                shell.act(&self.machine, effect);
                continue;
            };
            match self.in_flight.iter().find(|(busy, _)| *busy == target) {
                None => {
                    self.in_flight.push((target, effect));
                    shell.act(&self.machine, effect);
                }
                Some((_, pending)) if M::takes_back(effect, *pending) => shell.take_back(&self.machine, *pending),
                Some(_) => {}
            }
        }
    }
}
