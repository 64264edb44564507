//! An in-memory store that holds what was committed and nothing else: a group of a lane is atomic and fenced, versions
//! are checked, and two keys are unique (what a platform calls an order, and a capture).

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tongbao::channels::Notice;
use tongbao::domain::event::{Event, Fact, WebhookKind};
use tongbao::domain::id::{Account, AttemptNumber, Incarnation, OrderId};
use tongbao::domain::journal::Title;
use tongbao::domain::ledger::Entry;
use tongbao::domain::order::Order;
use tongbao::domain::partition::LaneId;
use tongbao::domain::step;
use tongbao::domain::stream::StreamId;
use tongbao::domain::time::Instant;
use tongbao::store::{
    Committed, Delivery, Due, Frozen, InboxReason, InboxRow, LaneRow, NextActionChange, OutboxRow, Row as UnitRow,
    Service, StepUnit, StoreError, StoredInboxRow, StoredOrder, UniqueName, Unit,
};

use crate::gateways::Shown;

#[derive(Debug, Clone)]
pub struct Row {
    pub order: Order,
    pub name: UniqueName,
    request: tongbao::domain::request::Request,
    journal: Vec<(Title, Vec<u8>)>,
    /// The version that the journal was last seen to lead to.
    proven: Cell<u32>,
    pub next_due_at: Option<Instant>,
    pub next_action: Option<Box<str>>,
    frozen: BTreeMap<u8, Box<str>>,
    /// Every webhook that its steps wrote.
    pub webhooks: Vec<(WebhookKind, u32)>,
    /// Of the owner that last had it in hand.
    pub epoch: i64,
}

/// A webhook that lies in the outbox.
#[derive(Debug, Clone)]
pub struct Posted {
    pub row: OutboxRow,
    pub tries: u32,
    pub next_at: Instant,
}

#[derive(Debug)]
pub struct Store {
    rows: BTreeMap<OrderId, Row>,
    names: BTreeMap<UniqueName, OrderId>,
    captures: BTreeSet<(Account, Box<str>)>,
    pub entries: Vec<Entry>,
    pub outbox: BTreeMap<(OrderId, u32), Posted>,
    inbox: BTreeMap<i64, InboxRow>,
    parked: i64,
    /// One for each lane.
    owners: Vec<LaneRow>,
    /// Rows that can neither be read nor written.
    pub damaged: BTreeSet<OrderId>,
}

impl Store {
    pub fn new(lanes: usize, at: Instant) -> Self {
        let owner = |lane| LaneRow {
            lane: LaneId(lane),
            epoch: 0,
            beat: 0,
            group: 0,
            incarnation: Incarnation::default(),
            holder: String::new(),
            at,
            next_place: 1,
            service: Service::Active,
        };
        Store {
            rows: BTreeMap::new(),
            names: BTreeMap::new(),
            captures: BTreeSet::new(),
            entries: Vec::new(),
            outbox: BTreeMap::new(),
            inbox: BTreeMap::new(),
            parked: 0,
            owners: (1..).map(owner).take(lanes).collect(),
            damaged: BTreeSet::new(),
        }
    }

    pub fn row(&self, id: OrderId) -> Option<&Row> {
        self.rows.get(&id)
    }

    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    pub fn by_name(&self, name: &UniqueName) -> Option<OrderId> {
        self.names.get(name).copied()
    }

    // --- owners ----------------------------------------------------------------------------------------------------

    /// All lanes at once: whoever had them is fenced out.
    pub fn take_over(&mut self, incarnation: Incarnation) -> Vec<LaneRow> {
        for owner in &mut self.owners {
            owner.epoch += 1;
            owner.beat += 1;
            owner.incarnation = incarnation;
        }
        self.owners.clone()
    }

    pub fn beat(&mut self, lane: usize, epoch: i64) -> Result<LaneRow, StoreError> {
        let owner = &mut self.owners[lane];
        if owner.epoch != epoch {
            return Err(StoreError::Fenced);
        }
        owner.beat += 1;
        Ok(owner.clone())
    }

    // --- groups ----------------------------------------------------------------------------------------------------

    /// Commits all units or none. New orders whose name is taken are left out; their places come back.
    pub fn commit(
        &mut self,
        (lane, epoch, number, first_place): (usize, i64, i64, i64),
        units: &[Unit],
    ) -> Result<Committed, StoreError> {
        let owner = &self.owners[lane];
        if (owner.epoch, owner.group + 1, owner.next_place) != (epoch, number, first_place) {
            return Err(StoreError::Fenced);
        }
        let duplicates = self.check(units)?;
        self.owners[lane].group += 1;
        for (place, unit) in units.iter().enumerate() {
            if !duplicates.contains(&place) {
                self.write(unit, epoch);
            }
        }
        let placed = |(place, unit): &(usize, &Unit)| matches!(unit, Unit::Step(_)) && !duplicates.contains(place);
        let next_place = first_place + units.iter().enumerate().filter(placed).count() as i64;
        self.owners[lane].next_place = next_place;
        Ok(Committed { duplicates, next_place })
    }

    fn check(&self, units: &[Unit]) -> Result<Vec<usize>, StoreError> {
        let (mut duplicates, mut names) = (Vec::new(), BTreeMap::new());
        for (place, unit) in units.iter().enumerate() {
            let Unit::Step(step) = unit else { continue };
            let id = order_of(step);
            if self.damaged.contains(&id) {
                return Err(StoreError::Corrupt("the row is damaged".into()));
            }
            let stored = self.rows.get(&id).map_or(0, |row| row.order.version);
            if stored != step.expected_version || step.version != stored + 1 {
                return Err(StoreError::Conflict(format!("{id} is at version {stored}")));
            }
            if let Some(name) = &step.name {
                let taken_by = self.names.get(name).copied().unwrap_or_else(|| *names.entry(name).or_insert(id));
                if taken_by != id {
                    duplicates.push(place);
                    continue;
                }
            }
            if keys(step).any(|key| self.captures.contains(&key)) {
                return Err(StoreError::ReferenceTaken("a capture".into()));
            }
        }
        Ok(duplicates)
    }

    fn write(&mut self, unit: &Unit, epoch: i64) {
        match unit {
            Unit::Step(step) => self.step(step, epoch),
            Unit::PutOff(put_off) => {
                let row = put_off.stream.order().and_then(|id| self.rows.get_mut(&id));
                if let Some(row) = row.filter(|row| row.order.version == put_off.version) {
                    (row.next_due_at, row.epoch) = (Some(put_off.next_due_at), epoch);
                }
            }
            Unit::Answer(_) => {}
            Unit::Inbox(row) => {
                if !self.inbox.values().any(|known| known.digest == row.digest) {
                    self.parked += 1;
                    self.inbox.insert(self.parked, row.as_ref().clone());
                }
            }
            Unit::InboxDone { id } => drop(self.inbox.remove(id)),
            Unit::Delivery(delivery) => self.delivered(delivery),
            Unit::DeadLetter(_) => panic!("no webhook of this world is given up"),
        }
    }

    fn step(&mut self, step: &StepUnit, epoch: i64) {
        let id = order_of(step);
        self.captures.extend(keys(step));
        self.entries.extend(step.entries.iter().cloned());
        for row in &step.webhooks {
            let posted = Posted { row: row.clone(), tries: 0, next_at: row.at };
            self.outbox.insert((id, row.sequence), posted);
        }
        if let Some(row) = created(step) {
            self.names.insert(row.name.clone(), id);
            self.rows.insert(id, row);
        }
        let row = self.rows.get_mut(&id).expect("its version was checked");
        row.order = serde_json::from_str(&step.head.snapshot).expect("a written order can be read");
        row.next_due_at = step.head.next_due_at;
        row.journal.push((Title::of::<Order>(id.as_u128(), step.version, step.at), step.journal.clone()));
        row.epoch = epoch;
        row.webhooks.extend(step.webhooks.iter().map(|webhook| (webhook.kind, webhook.sequence)));
        for attempt in rows(step, |row| if let UnitRow::Attempt(attempt) = row { Some(attempt) } else { None }) {
            row.frozen.insert(attempt.ordinal, attempt.frozen.clone());
        }
        match &step.head.next_action {
            NextActionChange::Keep => {}
            NextActionChange::Store(action) => row.next_action = Some(action.clone()),
            NextActionChange::Wipe => row.next_action = None,
        }
    }

    fn delivered(&mut self, delivery: &Delivery) {
        let order = |stream: &StreamId| stream.order().expect("only orders tell their platforms something");
        match delivery {
            Delivery::Delivered { stream, sequence } => drop(self.outbox.remove(&(order(stream), *sequence))),
            Delivery::Failed { stream, sequence, tries, next_at, .. } => {
                if let Some(posted) = self.outbox.get_mut(&(order(stream), *sequence)) {
                    (posted.tries, posted.next_at) = (*tries, *next_at);
                }
            }
            Delivery::Dead { .. } => panic!("the receivers of this world come round in time"),
        }
    }

    /// Which new orders of a group are not there: their names were taken.
    pub fn losers(&self, units: &[Unit]) -> Vec<usize> {
        let is_missing = |unit: &Unit| match unit {
            Unit::Step(step) => !self.rows.contains_key(&order_of(step)),
            Unit::PutOff(_)
            | Unit::Answer(_)
            | Unit::Inbox(_)
            | Unit::InboxDone { .. }
            | Unit::Delivery(_)
            | Unit::DeadLetter(_) => false,
        };
        units.iter().enumerate().filter(|(_, unit)| is_missing(unit)).map(|(place, _)| place).collect()
    }

    // --- reads -----------------------------------------------------------------------------------------------------

    pub fn order(&self, id: OrderId) -> Result<Option<StoredOrder>, StoreError> {
        let Some(row) = self.rows.get(&id) else { return Ok(None) };
        self.readable(id)?;
        let (request, next_action) = (row.request.clone(), row.next_action.clone());
        let (next_due_at, epoch) = (row.next_due_at, row.epoch);
        Ok(Some(StoredOrder { order: row.load(), request, payer: None, next_action, next_due_at, epoch }))
    }

    fn readable(&self, id: OrderId) -> Result<(), StoreError> {
        match self.damaged.contains(&id) {
            true => Err(StoreError::Corrupt("the row is damaged".into())),
            false => Ok(()),
        }
    }

    pub fn due(&self, after: Option<Due>, until: Instant, limit: u32) -> Vec<Due> {
        let due = self.rows.values().filter_map(|row| Some((row.next_due_at?, row.order.id)));
        let place = after.map(|after| (after.due_at, after.stream.order().expect("all streams are orders")));
        let mut due: Vec<_> = due.filter(|due| due.0 <= until && place.is_none_or(|place| *due > place)).collect();
        due.sort_unstable();
        due.truncate(limit as usize);
        due.into_iter().map(|(due_at, id)| Due { due_at, stream: id.into() }).collect()
    }

    pub fn frozen(&self, number: AttemptNumber) -> Option<Frozen> {
        let request = self.rows.get(&number.order)?.frozen.get(&number.ordinal)?;
        Some(Frozen { request: request.clone(), payer: None })
    }

    pub fn inbox(&self) -> impl Iterator<Item = StoredInboxRow> {
        self.inbox.iter().map(|(id, row)| StoredInboxRow { id: *id, row: row.clone() })
    }

    pub fn inbox_row(&self, id: i64) -> Option<&InboxRow> {
        self.inbox.get(&id)
    }

    pub fn inbox_orders(&self, after: Option<OrderId>, limit: u32) -> Vec<OrderId> {
        let quarantined = self.inbox.values().filter(|row| row.reason == InboxReason::OrderQuarantined);
        let orders: BTreeSet<OrderId> = quarantined.filter_map(|row| row.order).collect();
        orders.into_iter().filter(|id| after.is_none_or(|after| *id > after)).take(limit as usize).collect()
    }
}

/// The order that a step is of.
pub fn order_of(step: &StepUnit) -> OrderId {
    step.stream.order().expect("all streams are orders")
}

/// What a row of the inbox tells of which attempt.
pub fn parked(row: &InboxRow) -> (AttemptNumber, Notice) {
    let notice = serde_json::from_slice(&row.body).expect("a parked callback can be read");
    (row.number.parse().expect("it names an attempt"), notice)
}

fn rows<'a, T: 'a>(step: &'a StepUnit, pick: fn(&'a UnitRow) -> Option<&'a T>) -> impl Iterator<Item = &'a T> {
    step.rows.iter().filter_map(pick)
}

fn keys(step: &StepUnit) -> impl Iterator<Item = (Account, Box<str>)> {
    let captures = rows(step, |row| if let UnitRow::Capture(capture) = row { Some(capture) } else { None });
    captures.map(|capture| (capture.account.clone(), capture.reference.clone()))
}

fn created(step: &StepUnit) -> Option<Row> {
    let fixed = rows(step, |row| if let UnitRow::Order(fixed) = row { Some(fixed) } else { None }).next()?;
    Some(Row {
        order: serde_json::from_str(&step.head.snapshot).expect("a written order can be read"),
        name: step.name.clone().expect("a new order has a name"),
        request: fixed.request.clone(),
        journal: Vec::new(),
        proven: Cell::new(0),
        next_due_at: None,
        next_action: None,
        frozen: BTreeMap::new(),
        webhooks: Vec::new(),
        epoch: 0,
    })
}

/// What a payer is shown by a next action: the models put it into its code.
pub fn shown(action: &str) -> Shown {
    let action: Value = serde_json::from_str(action).expect("a next action is JSON");
    let code = action["qr_code"].as_str().expect("a next action of the models is a code");
    let (number, code) = code.split_once('/').expect("it holds two parts");
    Shown { number: number.parse().expect("a number"), code: code.parse().expect("a code") }
}

impl Row {
    pub fn version(&self) -> u32 {
        u32::try_from(self.journal.len()).expect("few steps")
    }

    pub fn shown(&self) -> Option<Shown> {
        self.next_action.as_deref().map(shown)
    }

    /// The order as a reader finds it, after proving that the journal's own bytes lead to it.
    pub fn load(&self) -> Order {
        if self.proven.replace(self.order.version) < self.order.version {
            assert_eq!(self.fold(), self.order, "the journal leads to the snapshot");
        }
        self.order.clone()
    }

    /// All that was ever decided on.
    pub fn events(&self) -> Vec<Event> {
        self.journal.iter().flat_map(read).collect()
    }

    fn fold(&self) -> Order {
        let mut order: Option<Order> = None;
        for written in &self.journal {
            let events = read(written);
            let before = order.take().unwrap_or_else(|| match &events[0].fact {
                Fact::Created(facts) => step::create(facts, events[0].at),
                other => panic!("a journal begins with a creation, not with {other:?}"),
            });
            let decided = step::decide(&before, &events).expect("what was journaled is taken again");
            order = Some(decided.after);
        }
        order.expect("a row has a journal")
    }
}

fn read((title, body): &(Title, Vec<u8>)) -> Vec<Event> {
    title.read(body).expect("written events can be read").events
}
