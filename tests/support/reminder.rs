//! A kind of stream that the engine has never heard of: a reminder falls due, and tells an order so. It goes through the
//! loop, the store, the finder, the courier and a take-over without a line of the engine for it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tongbao::domain::id::OrderId;
use tongbao::domain::journal::Title;
use tongbao::domain::machine::{Machine, Message, Step};
use tongbao::domain::stream::{Kind, StreamId};
use tongbao::domain::time::Instant;
use tongbao::engine::host::{Act, Hands, Hearing, Host, Loaded, Stored, message_rows};
use tongbao::engine::lane::{Admission, WriteError};
use tongbao::engine::ports::{Lanes, Salts, StreamReads, Time};
use tongbao::store::{Head, NextActionChange, Reply, StepUnit, StoreError, StoredHead, StoredMessage, Unit};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Set,
    Rung,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reminder {
    id: u128,
    version: u32,
    pub state: State,
    pub order: OrderId,
    due_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    Set,
    Rang,
}

/// It is to be woken then.
#[derive(Debug, Clone, Copy)]
pub struct Wake(Instant);

impl Reminder {
    /// One that its first event is about to set.
    pub fn new(id: u128, order: OrderId, due_at: Instant) -> Self {
        Reminder { id, version: 0, state: State::Set, order, due_at }
    }

    /// As its head has it.
    ///
    /// # Errors
    /// The head is damaged.
    pub fn read(head: &StoredHead) -> Result<Self, StoreError> {
        serde_json::from_str(&head.snapshot).map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    fn wakes(&self) -> Vec<Wake> {
        match self.state {
            State::Set => vec![Wake(self.due_at)],
            State::Rung => Vec::new(),
        }
    }
}

impl Machine for Reminder {
    const KIND: Kind = Kind(250);
    const NAME: &'static str = "reminder";

    type Event = Event;
    type Refusal = ();
    type Write = ();
    type Effect = Wake;
    type Note = ();
    type Target = ();

    fn id(&self) -> u128 {
        self.id
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn decide(&self, events: &[Event]) -> Result<Step<Self>, ()> {
        let (mut after, mut messages) = (self.clone(), Vec::new());
        for event in events {
            match (event, after.state) {
                (Event::Set, State::Set) => {}
                (Event::Rang, State::Set) => {
                    after.state = State::Rung;
                    messages.push(Message { to: self.order.into(), body: r#"{"reminder":"tea"}"#.into() });
                }
                (Event::Set | Event::Rang, State::Rung) => return Err(()),
            }
        }
        after.version += 1;
        let effects = after.wakes();
        Ok(Step { after, writes: Vec::new(), effects, notes: Vec::new(), messages })
    }

    fn resume(&self, _: Instant) -> Vec<Wake> {
        self.wakes()
    }

    fn next_due_at(&self, _: Instant) -> Option<Instant> {
        (self.state == State::Set).then_some(self.due_at)
    }

    fn is_at_rest(&self, _: Instant) -> bool {
        self.state == State::Rung
    }

    fn target(_: Wake) -> Option<()> {
        None
    }

    fn answered(_: &Event) -> Option<()> {
        None
    }

    fn takes_back(_: Wake, _: Wake) -> bool {
        false
    }
}

pub struct Reminders {
    pub time: Arc<dyn Time>,
    pub salts: Arc<dyn Salts>,
    pub heads: Arc<dyn StreamReads>,
    pub lanes: Arc<dyn Lanes>,
}

impl Host for Reminders {
    type Machine = Reminder;
    type Told = Event;
    type Beside = ();
    type Memory = ();

    fn now(&self) -> Instant {
        self.time.now()
    }

    fn load(&self, id: u128) -> Reply<'_, Option<Loaded<Self>>> {
        Box::pin(async move {
            let stream = StreamId { kind: Reminder::KIND, id };
            let Some(head) = self.heads.head(stream).await? else { return Ok(None) };
            let machine = Reminder::read(&head)?;
            let hands = if self.lanes.is_ours(stream, head.epoch) { Hands::Ours } else { Hands::Others };
            Ok(Some(Loaded { machine, memory: (), stored: Stored { due_at: head.next_due_at, hands } }))
        })
    }

    fn woken(&self) -> Event {
        Event::Rang
    }

    fn activated(&self, _: u128) {}

    fn received(&self, _: &StoredMessage) -> Option<Event> {
        None
    }

    fn hear(&self, reminder: &Reminder, (): &mut (), event: Event) -> Hearing<Self> {
        match event {
            Event::Rang if reminder.due_at > self.time.now() => Hearing::Nothing { over: None },
            Event::Rang | Event::Set => Hearing::Turn { events: vec![event], beside: () },
        }
    }

    async fn unit(
        &self,
        step: &Step<Reminder>,
        events: &[Event],
        (): &(),
        (): &mut (),
    ) -> Result<StepUnit, WriteError> {
        let (after, at) = (&step.after, self.time.now());
        Ok(StepUnit {
            stream: after.stream(),
            expected_version: after.version - 1,
            version: after.version,
            at,
            decided_at: at,
            head: Head {
                state: "reminder",
                facet: None,
                next_due_at: after.next_due_at(at),
                next_action: NextActionChange::Keep,
                snapshot: serde_json::to_string(after).expect("a reminder is JSON").into(),
            },
            journal: Title::of::<Reminder>(after.id, after.version, at)
                .write(self.salts.salt(), events)
                .expect("events are JSON"),
            name: None,
            rows: Vec::new(),
            entries: Vec::new(),
            webhooks: Vec::new(),
            messages: message_rows(step, at)?,
            taken: None,
            claim: None,
        })
    }

    async fn write(&self, admission: Admission, unit: Unit) -> Result<(), WriteError> {
        self.lanes.write(admission, unit).await
    }

    fn act(&self, _: &Reminder, (): &mut (), (): &(), Wake(at): Wake) -> Act<Event> {
        Act::Wake(at)
    }

    fn take_back(&self, (): &mut (), _: Wake) {}

    fn noted(&self, _: &Reminder, _: &[()]) {}

    fn ended(&self, _: &Reminder, (): &mut (), (): ()) {}

    fn refused_by_store(&self, _: u128) -> Option<()> {
        None
    }

    fn is_followed(&self, (): &()) -> bool {
        false
    }
}
