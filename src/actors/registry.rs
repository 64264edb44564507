//! Stub of the registry.

use std::sync::Arc;

use super::ask::{AskError, Command, NewOrder, Patience, Placed, Taken};
use crate::channels::{Adapter, Notice};
use crate::domain::channel::Channel;
use crate::domain::id::OrderId;
use crate::domain::validation::Health;
use crate::store::{KeptAnswer, Store};

pub struct Registry {}

/// What `/readyz` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    NotReady(String),
}

impl Registry {
    pub fn store(&self) -> &Arc<dyn Store> {
        unimplemented!()
    }

    /// Makes an order durable and, if a channel was chosen, sets out to pay for it.
    pub async fn create(&self, _new: NewOrder, _patience: Patience) -> Result<Placed, AskError> {
        unimplemented!()
    }

    pub async fn ask(&self, _id: OrderId, _command: Command, _patience: Patience) -> Result<Placed, AskError> {
        unimplemented!()
    }

    /// Takes a verified callback to its order; returns once that is durable.
    pub async fn callback(&self, _channel: Channel, _adapter: &dyn Adapter, _notice: Notice, _raw: &[u8]) -> Result<Taken, AskError> {
        unimplemented!()
    }

    /// Makes the answer given under an `Idempotency-Key` durable.
    pub async fn keep_answer(&self, _answer: KeptAnswer) -> Result<(), AskError> {
        unimplemented!()
    }

    /// The adapter of an account; none when the channel or the account is not configured.
    pub fn adapter(&self, _channel: Channel, _account: &str) -> Option<Arc<dyn Adapter>> {
        unimplemented!()
    }

    /// None when the channel is not enabled.
    pub fn health(&self, _channel: Channel) -> Option<Health> {
        unimplemented!()
    }

    pub fn readiness(&self) -> Readiness {
        unimplemented!()
    }
}
