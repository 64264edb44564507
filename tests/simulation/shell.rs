//! What surrounds the shared loop in the simulation: steps wait for the simulated writer, effects go out at once.
//!
//! An effect leaves at the moment the loop performs it, not when its turn has ended: a loop that acted before its commit
//! would be seen by the gateways.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use tongbao::domain::event::{Effect, Event, Step, Write};
use tongbao::domain::note::Note;
use tongbao::domain::order::Order;
use tongbao::engine::lane::WriteError;
use tongbao::engine::turn::Shell;

use crate::gateways::Shown;
use crate::store::{ShownChange, Unit};

pub type Verdict = Result<(), WriteError>;

/// A unit in the writer's queue and the place where its waiter looks for the verdict.
pub struct Pending {
    pub unit: Unit,
    pub verdict: Rc<Cell<Option<Verdict>>>,
}

/// What a turn does to the world.
#[derive(Debug, Clone)]
pub enum Act {
    Perform(Effect),
    Withdraw {
        ordinal: u8,
    },
    /// Counts and alarms follow from here on.
    Note,
}

/// Where shells put what they want done; the process looks here after every poll.
#[derive(Default)]
pub struct Desk {
    pub pending: VecDeque<Pending>,
    pub acts: Vec<(Order, Act)>,
}

pub struct SimulatedShell {
    pub desk: Rc<RefCell<Desk>>,
    /// Of a new order.
    pub merchant: Option<u32>,
    /// The `next_action` that travels beside the event.
    pub shown: Option<Shown>,
}

impl SimulatedShell {
    fn unit(&self, step: &Step, events: &[Event]) -> Unit {
        let mut unit = Unit {
            expected_version: step.after.version - 1,
            order: step.after.clone(),
            events: events.to_vec(),
            merchant: self.merchant,
            shown: ShownChange::Keep,
            captures: Vec::new(),
            entries: Vec::new(),
            webhooks: Vec::new(),
        };
        for write in &step.writes {
            match write {
                Write::OpenAttempt { .. } => {}
                Write::Capture { index } => unit.captures.push(*index),
                Write::Entry(entry) => unit.entries.push(entry.clone()),
                Write::Webhook { kind, sequence } => unit.webhooks.push((*kind, *sequence)),
                Write::StoreNextAction => {
                    if let Some(shown) = self.shown {
                        unit.shown = ShownChange::Store(shown);
                    }
                }
                Write::WipeNextAction => unit.shown = ShownChange::Wipe,
            }
        }
        unit
    }
}

impl Shell<Order> for SimulatedShell {
    type Lost = WriteError;

    fn commit(&mut self, step: &Step, events: &[Event]) -> impl Future<Output = Verdict> {
        let verdict = Rc::new(Cell::new(None));
        let pending = Pending { unit: self.unit(step, events), verdict: verdict.clone() };
        self.desk.borrow_mut().pending.push_back(pending);
        poll_fn(move |_| verdict.take().map_or(Poll::Pending, Poll::Ready))
    }

    fn note(&mut self, order: &Order, notes: &[Note]) {
        if !notes.is_empty() {
            self.desk.borrow_mut().acts.push((order.clone(), Act::Note));
        }
    }

    fn act(&mut self, order: &Order, effect: Effect) {
        self.desk.borrow_mut().acts.push((order.clone(), Act::Perform(effect)));
    }

    fn take_back(&mut self, order: &Order, pending: Effect) {
        let Effect::Submit { ordinal, .. } = pending else { return };
        self.desk.borrow_mut().acts.push((order.clone(), Act::Withdraw { ordinal }));
    }
}
