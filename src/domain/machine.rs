//! What an aggregate is to the engine: it has a state, decides on events, resumes, and knows when it is next due.
//!
//! Pure, like everything in the domain. The order is the first; whatever else moves money is another.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::stream::{Kind, StreamId};
use super::time::Instant;

pub trait Machine: Clone + fmt::Debug + Send + Sync + 'static {
    const KIND: Kind;
    /// The kind's name in journal rows.
    const NAME: &'static str;

    /// A past fact, as the journal keeps it.
    type Event: Clone + fmt::Debug + Send + Sync + Serialize + DeserializeOwned + 'static;
    /// Business says no; nothing follows from it.
    type Refusal: Clone + fmt::Debug + Send + 'static;
    /// A row that a step adds beside the stream's own.
    type Write: fmt::Debug + Send + Sync;
    /// What is to be done once a step is durable.
    type Effect: Copy + fmt::Debug + Send + Sync;
    /// What happened in a step.
    type Note: fmt::Debug + Send + Sync;
    /// What a call is about: there is one call in flight for each.
    type Target: Copy + PartialEq + fmt::Debug + Send + Sync;

    fn id(&self) -> u128;

    fn stream(&self) -> StreamId {
        StreamId { kind: Self::KIND, id: self.id() }
    }

    /// Steps so far; 0 for one that is not durable yet.
    fn version(&self) -> u32;

    /// Decides several events as one step.
    ///
    /// # Errors
    /// The first refusal; then none of the events happened.
    fn decide(&self, events: &[Self::Event]) -> Result<Step<Self>, Self::Refusal>;

    /// What it owes the world, asked when nobody knows what happened to the calls before.
    fn resume(&self, now: Instant) -> Vec<Self::Effect>;

    /// When it next owes the world something, after `now`; none when it owes nothing.
    fn next_due_at(&self, now: Instant) -> Option<Instant>;

    /// Whether it has come to its end and nothing is to be done for it at `now`.
    fn is_at_rest(&self, now: Instant) -> bool;

    /// What a call is about; none for an effect that is no call.
    fn target(effect: Self::Effect) -> Option<Self::Target>;

    /// The call that an event answers.
    fn answered(event: &Self::Event) -> Option<Self::Target>;

    /// Whether `wanted` takes back `pending`, a call about the same, as long as that has not left.
    fn takes_back(wanted: Self::Effect, pending: Self::Effect) -> bool;
}

/// What one stream tells another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub to: StreamId,
    /// JSON, as the receiver's kind reads it.
    pub body: Box<str>,
}

/// How many messages a step may send: its numbers are made of the step's version and their places.
pub const MESSAGES_MAX: u32 = 16;

/// What a machine decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<M: Machine> {
    /// The aggregate as it is after the step.
    pub after: M,
    pub writes: Vec<M::Write>,
    pub effects: Vec<M::Effect>,
    pub notes: Vec<M::Note>,
    /// To other streams: each is taken once.
    pub messages: Vec<Message>,
}
