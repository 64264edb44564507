//! What surrounds the loop in the server: it makes a step one unit of the writer, and keeps the effects for the actor.

use std::sync::Arc;

use super::Beside;
use crate::actors::clock;
use crate::actors::registry::Registry;
use crate::actors::request::Original;
use crate::actors::turn::Shell;
use crate::actors::writer::{Lane, WriteError};
use crate::channels::Ask;
use crate::domain::event::{Effect, Event, Step, Write, journal};
use crate::domain::order::{AttemptState, Order, Purpose, State};
use crate::domain::payer::PayerMark;
use crate::store::{AttemptRow, LastChannel, NamedPayer, NextActionChange, OrderUnit, OutboxRow, Unit};

/// The loop's surroundings in the server: commits through the writer, and keeps the effects for the actor.
pub struct ActorShell {
    pub(super) registry: Arc<Registry>,
    pub(super) before: Before,
    pub(super) payer: Arc<[PayerMark]>,
    pub(super) beside: Beside,
    pub(super) effects: Vec<Effect>,
    pub(super) withdrawn: Vec<u8>,
    pub(super) opened: Option<Opened>,
    pub(super) webhooks: Vec<OutboxRow>,
    /// The state that this turn brought the order to, if it is another one.
    pub(super) reached: Option<State>,
    pub(super) committed: Committed,
}

/// The attempt that a turn opened.
pub struct Opened {
    pub(super) ordinal: u8,
    pub(super) original: Arc<Original>,
}

/// How the order stood before a turn.
pub struct Before {
    /// None where it was not created yet.
    pub(super) state: Option<State>,
    pub(super) attempts: Vec<AttemptState>,
}

impl Before {
    fn of(order: &Order) -> Self {
        Before {
            state: (order.version > 0).then_some(order.state),
            attempts: order.attempts.iter().map(|attempt| attempt.state).collect(),
        }
    }

    fn lane(&self) -> Lane {
        match self.state {
            None => Lane::NewOrders,
            Some(_) => Lane::Existing,
        }
    }
}

/// Whether a turn wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    Nothing,
    Something,
}

impl ActorShell {
    pub fn new(registry: Arc<Registry>, order: &Order, payer: Arc<[PayerMark]>, beside: Beside) -> Self {
        ActorShell {
            registry,
            before: Before::of(order),
            payer,
            beside,
            effects: Vec::new(),
            withdrawn: Vec::new(),
            opened: None,
            webhooks: Vec::new(),
            reached: None,
            committed: Committed::Nothing,
        }
    }

    fn freeze(&mut self, order: &Order, ordinal: u8) -> Option<AttemptRow> {
        let attempt = order.attempt(ordinal)?;
        let details = self.beside.details.as_ref()?;
        let adapter = self.registry.adapter(&attempt.account)?;
        let frozen = adapter.freeze(&Ask {
            number: order.number(attempt),
            method: attempt.method,
            payable_minor: attempt.payable_minor,
            currency: order.currency,
            description: &details.description,
            notify_url: self.registry.notify_url(&attempt.account),
            return_url: details.return_url.as_deref(),
            payer: &details.payer,
            opened_at: attempt.opened_at,
            expires_at: attempt.expires_at,
        });
        let original = Original { frozen: frozen.clone(), payer: details.payer.clone() };
        self.opened = Some(Opened { ordinal, original: Arc::new(original) });
        Some(AttemptRow { ordinal, frozen })
    }

    /// What the payer is offered first from now on, if this capture is what the order was paid by.
    fn paid_by(&self, order: &Order, capture: u16) -> Vec<LastChannel> {
        let capture = order.captures.get(usize::from(capture)).filter(|capture| capture.purpose == Purpose::Payment);
        let paid =
            capture.and_then(|capture| Some((order.attempt(capture.ordinal)?.channel(), capture.at.min(clock::now()))));
        let Some((channel, at)) = paid else { return Vec::new() };
        self.payer.iter().map(|payer| LastChannel { payer: *payer, channel, at }).collect()
    }

    /// Who pays by the attempt that this step opens; else who was named to pay by the next one to be opened.
    fn named(&mut self, step: &Step) -> Option<NamedPayer> {
        let opened = step.writes.iter().find_map(|write| match write {
            Write::OpenAttempt { ordinal } => Some(*ordinal),
            Write::Capture { .. }
            | Write::Entry(_)
            | Write::Webhook { .. }
            | Write::StoreNextAction
            | Write::WipeNextAction => None,
        });
        let named = self.beside.payer.take();
        let (ordinal, payer) = match opened {
            Some(ordinal) => (ordinal, named.or_else(|| self.beside.details.as_ref()?.named.clone())?),
            None => (u8::try_from(step.order.attempts.len()).ok()?, named?),
        };
        Some(NamedPayer { ordinal, payer: payer.as_ref().into() })
    }

    fn unit(&mut self, step: &Step, events: &[Event]) -> Result<OrderUnit, WriteError> {
        let journal =
            journal(events).map_err(|error| WriteError::Culprit(format!("events cannot be written: {error}")))?;
        let mut unit = OrderUnit {
            id: step.order.id,
            decided_at: events.last().map_or(step.order.last_at, |event| event.at),
            expected_version: step.order.version - 1,
            order: step.order.clone(),
            journal,
            request: self.beside.request.take(),
            next_action: NextActionChange::Keep,
            payer: self.named(step),
            attempts: Vec::new(),
            captures: Vec::new(),
            entries: Vec::new(),
            webhooks: Vec::new(),
            paid_by: Vec::new(),
            claim: self.beside.claim.take(),
        };
        for write in &step.writes {
            match write {
                Write::OpenAttempt { ordinal } => {
                    let row = self
                        .freeze(&step.order, *ordinal)
                        .ok_or_else(|| WriteError::Culprit("an attempt cannot be frozen".into()))?;
                    unit.attempts.push(row);
                }
                Write::Capture { index } => {
                    unit.captures.push(*index);
                    unit.paid_by.extend(self.paid_by(&step.order, *index));
                }
                Write::Entry(entry) => {
                    metrics::counter!("tongbao_entries_total", "kind" => entry.kind().name()).increment(1);
                    unit.entries.push(entry.clone());
                }
                Write::Webhook { kind, sequence } => {
                    unit.webhooks.push(OutboxRow { kind: *kind, sequence: *sequence, at: step.order.last_at });
                }
                Write::StoreNextAction => {
                    if let Some(action) = &self.beside.next_action {
                        unit.next_action = NextActionChange::Store(action.as_ref().into());
                    }
                }
                Write::WipeNextAction => {
                    unit.next_action = NextActionChange::Wipe;
                    self.beside.next_action = None;
                }
            }
        }
        Ok(unit)
    }
}

impl Shell for ActorShell {
    type Lost = WriteError;

    async fn commit(&mut self, step: &Step, events: &[Event]) -> Result<(), WriteError> {
        let unit = self.unit(step, events)?;
        self.webhooks = unit.webhooks.clone();
        let writer = self.registry.writer().clone();
        writer.write(self.before.lane(), Unit::Order(Box::new(unit))).await?;
        self.committed = Committed::Something;
        self.reached = (self.before.state != Some(step.order.state)).then_some(step.order.state);
        Ok(())
    }

    fn act(&mut self, _: &Order, effect: Effect) {
        self.effects.push(effect);
    }

    fn withdraw(&mut self, _: &Order, ordinal: u8) {
        self.withdrawn.push(ordinal);
    }
}
