//! What a kind of aggregate adds to the engine: how it is loaded, what it is told, what its steps write, how its effects
//! are performed.

use std::pin::Pin;

use super::lane::{Admission, WriteError};
use crate::domain::machine::{MESSAGES_MAX, Machine, Message, Step};
use crate::domain::time::Instant;
use crate::store::{MessageRow, Reply, StepUnit, StoredMessage, Unit};

/// A look-up that a cell waits for without standing still: what it is told once that has ended.
pub type Errand<T> = Pin<Box<dyn Future<Output = Vec<T>> + Send>>;

pub trait Host: Send + Sync + Sized + 'static {
    type Machine: Machine;
    /// What a cell may be told.
    type Told: Send + 'static;
    /// What travels beside the events of a turn and never enters the journal.
    type Beside: Default + Send;
    /// What a cell keeps in memory beside its machine.
    type Memory: Send + 'static;

    fn now(&self) -> Instant;

    /// Reads an aggregate from the store.
    fn load(&self, id: u128) -> Reply<'_, Option<Loaded<Self>>>;

    /// That something has come due.
    fn woken(&self) -> Self::Told;

    /// An aggregate is in memory again.
    fn activated(&self, id: u128);

    /// What a message of another stream's is to be told as; none where this kind cannot read it.
    fn received(&self, message: &StoredMessage) -> Option<Self::Told>;

    /// What a cell makes of what it is told.
    fn hear(&self, machine: &Self::Machine, memory: &mut Self::Memory, told: Self::Told) -> Hearing<Self>;

    /// The unit that makes a step durable.
    ///
    /// # Errors
    /// The step can never be written.
    fn unit(
        &self,
        step: &Step<Self::Machine>,
        events: &[EventOf<Self>],
        memory: &Self::Memory,
        beside: &mut Self::Beside,
    ) -> impl Future<Output = Result<StepUnit, WriteError>>;

    /// Makes a unit durable.
    fn write(&self, admission: Admission, unit: Unit) -> impl Future<Output = Result<(), WriteError>>;

    /// Performs an effect of a durable step.
    fn act(
        &self,
        machine: &Self::Machine,
        memory: &mut Self::Memory,
        beside: &Self::Beside,
        effect: EffectOf<Self>,
    ) -> Act<Self::Told>;

    /// Takes back a call that has not left yet.
    fn take_back(&self, memory: &mut Self::Memory, pending: EffectOf<Self>);

    /// What happened in a step that is durable, or that needed no commit.
    fn noted(&self, machine: &Self::Machine, notes: &[NoteOf<Self>]);

    /// A turn has ended well: whoever waits for it is told.
    fn ended(&self, machine: &Self::Machine, memory: &mut Self::Memory, beside: Self::Beside);

    /// A step was refused by the store, and nothing is wrong with the aggregate: what its teller hears.
    fn refused_by_store(&self, id: u128) -> Option<RefusalOf<Self>>;

    /// Whether somebody waits for what becomes of it.
    fn is_followed(&self, memory: &Self::Memory) -> bool;
}

pub type EventOf<H> = <<H as Host>::Machine as Machine>::Event;
pub type EffectOf<H> = <<H as Host>::Machine as Machine>::Effect;
pub type NoteOf<H> = <<H as Host>::Machine as Machine>::Note;
pub type RefusalOf<H> = <<H as Host>::Machine as Machine>::Refusal;
pub type TargetOf<H> = <<H as Host>::Machine as Machine>::Target;

/// An aggregate as the store has it.
pub struct Loaded<H: Host> {
    pub machine: H::Machine,
    pub memory: H::Memory,
    pub stored: Stored,
}

/// What the store knows of when a stream is due, and of who last had it in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub due_at: Option<Instant>,
    pub hands: Hands,
}

/// Whose hands a stored stream was in last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hands {
    /// This ownership's: nothing is unknown of its calls.
    Ours,
    /// Another one's, or a commit was lost: what happened to its calls is to be asked.
    Others,
}

/// What a cell makes of what it was told.
pub enum Hearing<H: Host> {
    Turn {
        events: Vec<EventOf<H>>,
        beside: H::Beside,
    },
    /// Nothing is to be decided. A call that is `over` without an event is proposed again when it is next due.
    Nothing {
        over: Option<TargetOf<H>>,
    },
    Refused(RefusalOf<H>),
}

/// What performing an effect leaves for the cell.
pub enum Act<T> {
    /// A call has been handed over: its answer comes as something that is told.
    Called,
    /// It is to be woken then.
    Wake(Instant),
    /// It is to be told this next.
    Tell(T),
    Errand(Errand<T>),
}

/// The rows of a step's messages. A message's number is made of its step and its place there, so it is never used again.
///
/// # Errors
/// More messages than a step may send.
pub fn message_rows<M: Machine>(step: &Step<M>, at: Instant) -> Result<Vec<MessageRow>, WriteError> {
    let row = |(message, place): (&Message, u32)| {
        let number = step.after.version().checked_mul(MESSAGES_MAX)?.checked_add(place)?;
        (place < MESSAGES_MAX).then(|| MessageRow { number, to: message.to, at, body: message.body.as_bytes().into() })
    };
    let rows: Option<Vec<MessageRow>> = step.messages.iter().zip(0..).map(row).collect();
    rows.ok_or_else(|| WriteError::Culprit("a step sends more messages than it may".to_owned()))
}
