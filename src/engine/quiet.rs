//! The host of kinds that wait for nobody and call nobody: such a stream is in memory only while it takes a letter. What
//! differs between them is what they may be told, and what their steps write.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use super::host::{Act, EventOf, Hands, Hearing, Host, Loaded, RefusalOf, Stored};
use super::lane::{Admission, WriteError};
use super::ports::{HeadReads, Lanes, Salts, Time};
use crate::domain::journal::{Salt, Title};
use crate::domain::machine::{Machine, Step};
use crate::domain::stream::StreamId;
use crate::domain::time::Instant;
use crate::store::{Head, NextActionChange, Reply, Row, StepUnit, StoreError, StoredMessage, Unit};

pub trait Quiet: Send + Sync + 'static {
    type Machine: Machine<Effect = Infallible, Note = Infallible, Target = Infallible>;
    /// What a stream may be told.
    type Told: Send + 'static;
    /// What travels beside the events of a turn: no secret enters a journal.
    type Beside: Default + Send;

    /// One that nobody has written yet, where its first letter may come like any other; none where it is made apart.
    fn unborn(_: u128) -> Option<Self::Machine> {
        None
    }

    /// What happens by what is told, and what travels beside it.
    fn hear(told: Self::Told, at: Instant) -> (Vec<<Self::Machine as Machine>::Event>, Self::Beside);

    /// Reads a stream from its snapshot; none where the id is none of this kind.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where it is damaged, or another's.
    fn read(id: u128, snapshot: &str) -> Result<Option<Self::Machine>, StoreError>;

    /// What makes a step durable.
    ///
    /// # Errors
    /// The step can never be written.
    fn unit(
        step: &Step<Self::Machine>,
        events: &[<Self::Machine as Machine>::Event],
        salt: Salt,
        beside: &mut Self::Beside,
    ) -> Result<StepUnit, WriteError>;
}

/// What a quiet kind needs of the rest of the engine.
pub struct Quietly<K> {
    pub time: Arc<dyn Time>,
    pub salts: Arc<dyn Salts>,
    pub heads: Arc<dyn HeadReads>,
    pub lanes: Arc<dyn Lanes>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Quietly<K> {
    pub fn new(time: Arc<dyn Time>, salts: Arc<dyn Salts>, heads: Arc<dyn HeadReads>, lanes: Arc<dyn Lanes>) -> Self {
        Quietly { time, salts, heads, lanes, kind: PhantomData }
    }
}

/// What a turn of a quiet stream is told; it is never due.
pub enum Word<T> {
    Told(T),
    Due,
}

/// The instants of a step, which its machine keeps.
#[derive(Debug, Clone, Copy)]
pub struct Dates {
    /// The stream's last instant.
    pub at: Instant,
    pub decided_at: Instant,
}

/// The unit of a quiet stream's step, with these rows of its own.
///
/// # Errors
/// None that an event could cause.
pub fn unit_of<M: Machine + serde::Serialize>(
    step: &Step<M>,
    events: &[M::Event],
    salt: Salt,
    Dates { at, decided_at }: Dates,
    rows: Vec<Row>,
) -> Result<StepUnit, WriteError> {
    let culprit =
        |error: serde_json::Error| WriteError::Culprit(format!("a step of {} cannot be written: {error}", M::NAME));
    let after = &step.after;
    Ok(StepUnit {
        stream: after.stream(),
        expected_version: after.version() - 1,
        version: after.version(),
        at,
        decided_at,
        head: Head {
            state: "active",
            facet: None,
            next_due_at: None,
            next_action: NextActionChange::Keep,
            snapshot: serde_json::to_string(after).map_err(culprit)?.into(),
        },
        journal: Title::of::<M>(after.id(), after.version(), at).write(salt, events).map_err(culprit)?,
        name: None,
        rows,
        entries: Vec::new(),
        webhooks: Vec::new(),
        messages: super::host::message_rows(step, at)?,
        taken: None,
        claim: None,
    })
}

impl<K: Quiet> Host for Quietly<K> {
    type Machine = K::Machine;
    type Told = Word<K::Told>;
    type Beside = K::Beside;
    type Memory = ();

    fn now(&self) -> Instant {
        self.time.now()
    }

    fn load(&self, id: u128) -> Reply<'_, Option<Loaded<Self>>> {
        Box::pin(async move {
            let stream = StreamId { kind: K::Machine::KIND, id };
            let Some(head) = self.heads.head(stream).await? else {
                let stored = Stored { due_at: None, hands: Hands::Ours };
                return Ok(K::unborn(id).map(|machine| Loaded { machine, memory: (), stored }));
            };
            let Some(machine) = K::read(id, &head.snapshot)? else { return Ok(None) };
            let hands = if self.lanes.is_ours(stream, head.epoch) { Hands::Ours } else { Hands::Others };
            Ok(Some(Loaded { machine, memory: (), stored: Stored { due_at: head.next_due_at, hands } }))
        })
    }

    fn woken(&self) -> Self::Told {
        Word::Due
    }

    fn activated(&self, _: u128) {}

    fn received(&self, _: &StoredMessage) -> Option<Self::Told> {
        None
    }

    fn hear(&self, _: &K::Machine, (): &mut (), told: Self::Told) -> Hearing<Self> {
        match told {
            Word::Told(told) => {
                let (events, beside) = K::hear(told, self.time.now());
                Hearing::Turn { events, beside }
            }
            Word::Due => Hearing::Nothing { over: None },
        }
    }

    async fn unit(
        &self,
        step: &Step<K::Machine>,
        events: &[EventOf<Self>],
        (): &(),
        beside: &mut K::Beside,
    ) -> Result<StepUnit, WriteError> {
        K::unit(step, events, self.salts.salt(), beside)
    }

    async fn write(&self, admission: Admission, unit: Unit) -> Result<(), WriteError> {
        self.lanes.write(admission, unit).await
    }

    fn act(&self, _: &K::Machine, (): &mut (), _: &K::Beside, effect: Infallible) -> Act<Self::Told> {
        match effect {}
    }

    fn take_back(&self, (): &mut (), pending: Infallible) {
        match pending {}
    }

    fn noted(&self, _: &K::Machine, _: &[Infallible]) {}

    fn ended(&self, _: &K::Machine, (): &mut (), _: K::Beside) {}

    fn refused_by_store(&self, _: u128) -> Option<RefusalOf<Self>> {
        None
    }

    fn is_followed(&self, (): &()) -> bool {
        false
    }
}
