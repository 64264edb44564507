//! One aggregate in memory: it takes letters one at a time, and never keeps an aggregate whose commit was lost.
//!
//! A cell is a plain value. Whoever carries it calls it with a letter, waits until it has taken it, and follows what it
//! wants done.

use tokio::sync::oneshot;

use super::host::{Act, EffectOf, Errand, EventOf, Hands, Hearing, Host, Loaded, NoteOf, Stored};
use super::lane::{Admission, WriteError};
use super::letter::{End, Letter, TellError};
use super::quarantine::Standing;
use super::turn::{Shell, Turn, TurnError};
use crate::domain::machine::{Machine, Step};
use crate::domain::time::Instant;
use crate::store::{PutOff, StoreError, Unit};

/// What a cell wants done.
pub struct Wants<T> {
    pub timer: Timer,
    /// What it is to be told next.
    pub tell: Vec<T>,
    pub errands: Vec<Errand<T>>,
    /// It has shown that nothing is wrong with it any more.
    pub release: Release,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    Keep,
    Off,
    At(Instant),
}

/// Whether a quarantined aggregate has stood its trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    No,
    Yes,
}

impl<T> Wants<T> {
    fn nothing() -> Self {
        Wants { timer: Timer::Keep, tell: Vec::new(), errands: Vec::new(), release: Release::No }
    }
}

/// A commit that was lost: the cell must go.
#[derive(Debug)]
pub struct Lost {
    /// Of the aggregate as it was before the step.
    pub version: u32,
    pub error: WriteError,
}

/// Whether a cell may leave memory.
pub enum Leaving {
    Stays,
    Goes,
    /// Once this is durable: the store's due time lags behind.
    After(PutOff, Stored),
}

/// Why a cell would leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nothing waits for it.
    NothingWaits,
    /// And nothing has for long.
    Idle,
}

pub struct Cell<H: Host> {
    id: u128,
    held: Held<H>,
    standing: Standing,
    stored: Stored,
    /// Errands that have not come back.
    away: usize,
}

/// What the cell holds of its aggregate.
enum Held<H: Host> {
    Unread,
    /// There is no such aggregate.
    Absent,
    Ready(Turn<H::Machine>, H::Memory),
}

impl<H: Host> Cell<H> {
    /// The cell of an aggregate that is about to be made by its first letter.
    pub fn fresh(machine: H::Machine, memory: H::Memory) -> Self {
        let stored = Stored { due_at: None, hands: Hands::Ours };
        let id = machine.id();
        Cell { id, held: Held::Ready(Turn::new(machine), memory), standing: Standing::Good, stored, away: 0 }
    }

    /// The cell of an aggregate that lies in the store.
    pub fn unread(id: u128, standing: Standing) -> Self {
        let stored = Stored { due_at: None, hands: Hands::Ours };
        Cell { id, held: Held::Unread, standing, stored, away: 0 }
    }

    pub fn is_unread(&self) -> bool {
        match self.held {
            Held::Unread => true,
            Held::Absent | Held::Ready(..) => false,
        }
    }

    /// The aggregate, every bit of it durable; none before it was read.
    pub fn machine(&self) -> Option<&H::Machine> {
        match &self.held {
            Held::Unread | Held::Absent => None,
            Held::Ready(turn, _) => Some(turn.machine()),
        }
    }

    /// Reads the aggregate. `hands` are others' where a commit of it was lost in this process.
    ///
    /// # Errors
    /// The store's; nothing was begun.
    pub async fn read(&mut self, host: &H, hands: Hands) -> Result<Wants<H::Told>, StoreError> {
        let mut wants = Wants::nothing();
        let Some(Loaded { machine, mut memory, stored }) = host.load(self.id).await? else {
            self.held = Held::Absent;
            wants.release = self.release();
            return Ok(wants);
        };
        let now = host.now();
        let mut turn = Turn::new(machine);
        self.stored = stored;
        match (stored.hands, hands) {
            (Hands::Ours, Hands::Ours) => match stored.due_at {
                Some(due_at) if due_at <= now => wants.tell.push(host.woken()),
                Some(due_at) => wants.timer = Timer::At(due_at),
                None => {}
            },
            (Hands::Others, Hands::Ours | Hands::Others) | (Hands::Ours, Hands::Others) => {
                self.stored.hands = Hands::Others;
                let mut beside = H::Beside::default();
                let mut shell = CellShell::new(host, &mut memory, &mut beside, &mut wants);
                turn.resume(now, &mut shell);
            }
        }
        // It could be read, and no step of it is to come that could show more.
        if turn.machine().is_at_rest(now) {
            wants.release = self.release();
        }
        self.held = Held::Ready(turn, memory);
        self.away += wants.errands.len();
        host.activated(self.id);
        Ok(wants)
    }

    /// Takes a letter to its end.
    ///
    /// # Errors
    /// A commit was lost; whoever told it has been answered.
    pub async fn take(&mut self, host: &H, letter: Letter<H>) -> Result<Wants<H::Told>, Lost> {
        match letter {
            Letter::Idle => Ok(Wants::nothing()),
            Letter::Errand(tell) => {
                self.away -= 1;
                Ok(Wants { tell, ..Wants::nothing() })
            }
            Letter::Told { told, answer } => self.hear(host, told, answer).await,
        }
    }

    async fn hear(
        &mut self,
        host: &H,
        told: H::Told,
        answer: Option<oneshot::Sender<End<H>>>,
    ) -> Result<Wants<H::Told>, Lost> {
        let mut wants = Wants::nothing();
        let (turn, memory) = match &mut self.held {
            Held::Ready(turn, memory) => (turn, memory),
            Held::Unread | Held::Absent => {
                reply::<H>(answer, || Err(TellError::NotFound));
                return Ok(wants);
            }
        };
        let (events, mut beside) = match host.hear(turn.machine(), memory, told) {
            Hearing::Turn { events, beside } => (events, beside),
            Hearing::Nothing { over } => {
                if let Some(target) = over {
                    turn.give_up(target);
                }
                reply::<H>(answer, || Ok(turn.machine().clone()));
                return Ok(wants);
            }
            Hearing::Refused(refusal) => {
                reply::<H>(answer, || Err(TellError::Refused(refusal)));
                return Ok(wants);
            }
        };
        let version = turn.machine().version();
        let mut shell = CellShell::new(host, memory, &mut beside, &mut wants);
        let end = turn.take(&events, &mut shell).await;
        let written = shell.written;
        match end {
            Ok(()) => {
                if let Some(due_at) = written {
                    self.stored = Stored { due_at, hands: Hands::Ours };
                }
                reply::<H>(answer, || Ok(turn.machine().clone()));
                host.ended(turn.machine(), memory, beside);
                self.away += wants.errands.len();
                if written.is_some() {
                    wants.release = self.release();
                }
                Ok(wants)
            }
            Err(TurnError::Refused(refusal)) => {
                reply::<H>(answer, || Err(TellError::Refused(refusal)));
                Ok(Wants::nothing())
            }
            // Nothing was written, and of this aggregate nothing is wrong: it stays as it was.
            Err(TurnError::Lost(WriteError::ReferenceTaken)) => {
                let refusal = host.refused_by_store(self.id);
                reply::<H>(answer, || Err(refusal.map_or(TellError::StoreAway, TellError::Refused)));
                Ok(Wants::nothing())
            }
            // Nor here: whoever told it looks for what has the name.
            Err(TurnError::Lost(error @ WriteError::NameTaken)) => {
                reply::<H>(answer, || Err(TellError::from(&error)));
                Ok(Wants::nothing())
            }
            Err(TurnError::Lost(error)) => {
                reply::<H>(answer, || Err(TellError::from(&error)));
                Err(Lost { version, error })
            }
        }
    }

    fn release(&mut self) -> Release {
        match std::mem::replace(&mut self.standing, Standing::Good) {
            Standing::Good => Release::No,
            Standing::OnTrial => Release::Yes,
        }
    }

    /// Whether it may leave memory. It never does with a call or a look-up under way or with somebody who waits for it,
    /// nor where the due finder might have passed what the store has of it.
    pub fn leaving(&self, host: &H, reason: Reason) -> Leaving {
        let (turn, memory) = match &self.held {
            Held::Unread | Held::Absent => return Leaving::Goes,
            Held::Ready(turn, memory) => (turn, memory),
        };
        let (machine, now) = (turn.machine(), host.now());
        if machine.version() == 0 {
            return Leaving::Goes;
        }
        if self.away > 0 || turn.is_calling() || host.is_followed(memory) {
            return Leaving::Stays;
        }
        if machine.is_at_rest(now) {
            return Leaving::Goes;
        }
        match reason {
            Reason::NothingWaits => Leaving::Stays,
            Reason::Idle => match self.stored {
                Stored { due_at: Some(due_at), hands: Hands::Ours } if due_at > now => Leaving::Goes,
                Stored { .. } => {
                    let due_at = machine.next_due_at(now);
                    let stored = Stored { due_at, hands: Hands::Ours };
                    // What is due at once is not put off.
                    match due_at {
                        Some(next_due_at) if next_due_at > now => {
                            let (stream, version) = (machine.stream(), machine.version());
                            Leaving::After(PutOff { stream, version, next_due_at }, stored)
                        }
                        Some(_) | None => Leaving::Stays,
                    }
                }
            },
        }
    }

    /// What the store has of it now.
    pub fn put_off(&mut self, stored: Stored) {
        self.stored = stored;
    }

    pub fn version(&self) -> u32 {
        self.machine().map_or(0, Machine::version)
    }
}

/// Nobody may be left who waits; where nobody does, nothing is made for them.
fn reply<H: Host>(answer: Option<oneshot::Sender<End<H>>>, with: impl FnOnce() -> End<H>) {
    if let Some(answer) = answer {
        let _ = answer.send(with());
    }
}

/// What surrounds a cell's turn.
struct CellShell<'a, H: Host> {
    host: &'a H,
    memory: &'a mut H::Memory,
    beside: &'a mut H::Beside,
    wants: &'a mut Wants<H::Told>,
    /// When the stream is next due, as this turn's commit has it.
    written: Option<Option<Instant>>,
}

impl<'a, H: Host> CellShell<'a, H> {
    fn new(host: &'a H, memory: &'a mut H::Memory, beside: &'a mut H::Beside, wants: &'a mut Wants<H::Told>) -> Self {
        wants.timer = Timer::Off;
        CellShell { host, memory, beside, wants, written: None }
    }
}

impl<H: Host> Shell<H::Machine> for CellShell<'_, H> {
    type Lost = WriteError;

    async fn commit(&mut self, step: &Step<H::Machine>, events: &[EventOf<H>]) -> Result<(), WriteError> {
        let admission = if step.after.version() == 1 { Admission::NewStream } else { Admission::Existing };
        let unit = self.host.unit(step, events, self.memory, self.beside).await?;
        let due_at = unit.head.next_due_at;
        self.host.write(admission, Unit::Step(Box::new(unit))).await?;
        self.written = Some(due_at);
        Ok(())
    }

    fn note(&mut self, machine: &H::Machine, notes: &[NoteOf<H>]) {
        self.host.noted(machine, notes);
    }

    fn act(&mut self, machine: &H::Machine, effect: EffectOf<H>) {
        match self.host.act(machine, self.memory, self.beside, effect) {
            Act::Called => {}
            Act::Wake(at) => self.wants.timer = Timer::At(at),
            Act::Tell(told) => self.wants.tell.push(told),
            Act::Errand(errand) => self.wants.errands.push(errand),
        }
    }

    fn take_back(&mut self, _: &H::Machine, pending: EffectOf<H>) {
        self.host.take_back(self.memory, pending);
    }
}
