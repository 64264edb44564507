//! An in-memory store that holds what was committed and nothing else: a group of a lane is atomic and fenced, versions
//! are checked, and three keys are unique (what a platform calls an order and a refund, and a capture).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use tongbao::channels::Notice;
use tongbao::domain::closing::{Calendar, Cover};
use tongbao::domain::cycle::CycleId;
use tongbao::domain::event::{Event, Fact, WebhookKind};
use tongbao::domain::id::{Account, AttemptNumber, Incarnation, OrderId, PlatformId, RefundId, RefundOrdinal};
use tongbao::domain::journal::Title;
use tongbao::domain::machine::Machine;
use tongbao::domain::netting::NettingRun;
use tongbao::domain::order::Order;
use tongbao::domain::partition::LaneId;
use tongbao::domain::payee::Payee;
use tongbao::domain::step;
use tongbao::domain::stream::{Kind, StreamId};
use tongbao::domain::time::Instant;
use tongbao::engine::lane::Try;
use tongbao::store::companions::Companions;
use tongbao::store::{
    Committed, Cut, Delivery, Due, Frozen, InboxReason, InboxRow, LaneBalance, LaneRow, MessageKey, NextActionChange,
    OutboxRow, PutOff, RefundRow, Row as UnitRow, Service, SettlementRow, StepUnit, StoreError, StoredHead,
    StoredInboxRow, StoredMessage, StoredOrder, StoredRefund, TakenMessage, UniqueName, Unit,
};

use crate::book::{Book, Draft};
use crate::gateways::Shown;
use crate::people::CURRENCY;
use crate::reminder::Reminder;

#[derive(Debug)]
pub struct Row {
    pub order: Arc<Order>,
    pub name: UniqueName,
    request: tongbao::domain::request::Request,
    journal: Vec<(Title, Vec<u8>)>,
    /// The order that the journal was last seen to lead to.
    proven: RefCell<Option<Order>>,
    pub next_due_at: Option<Instant>,
    pub next_action: Option<Box<str>>,
    frozen: BTreeMap<u8, Box<str>>,
    /// Every webhook that its steps wrote.
    pub webhooks: Vec<(WebhookKind, u32)>,
    /// Of the owner that last had it in hand.
    pub epoch: i64,
}

/// A stream that is no order.
#[derive(Debug)]
pub struct Plain {
    pub head: StoredHead,
    pub journal: Vec<(Title, Vec<u8>)>,
}

/// A webhook that lies in the outbox.
#[derive(Debug, Clone)]
pub struct Posted {
    pub row: OutboxRow,
    pub tries: u32,
    pub next_at: Instant,
}

/// What a platform calls a refund.
type RefundKey = (PlatformId, Box<str>);

#[derive(Debug)]
pub struct Store {
    rows: BTreeMap<OrderId, Row>,
    plain: BTreeMap<StreamId, Plain>,
    names: BTreeMap<UniqueName, OrderId>,
    captures: BTreeSet<(Account, Box<str>)>,
    refunds: BTreeMap<(OrderId, RefundOrdinal), StoredRefund>,
    /// By what their platforms call them.
    refund_names: BTreeMap<RefundKey, (OrderId, RefundOrdinal)>,
    settlements: BTreeMap<(PlatformId, CycleId), SettlementRow>,
    pub messages: BTreeMap<MessageKey, StoredMessage>,
    pub outbox: BTreeMap<(OrderId, u32), Posted>,
    inbox: BTreeMap<i64, InboxRow>,
    parked: i64,
    /// One for each lane.
    owners: Vec<LaneRow>,
    books: Vec<Book>,
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
            plain: BTreeMap::new(),
            names: BTreeMap::new(),
            captures: BTreeSet::new(),
            refunds: BTreeMap::new(),
            refund_names: BTreeMap::new(),
            settlements: BTreeMap::new(),
            messages: BTreeMap::new(),
            outbox: BTreeMap::new(),
            inbox: BTreeMap::new(),
            parked: 0,
            owners: (1..).map(owner).take(lanes).collect(),
            books: (1..).map(LaneId).map(Book::new).take(lanes).collect(),
            damaged: BTreeSet::new(),
        }
    }

    pub fn row(&self, id: OrderId) -> Option<&Row> {
        self.rows.get(&id)
    }

    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// Those of a kind.
    pub fn plain_of(&self, kind: Kind) -> impl Iterator<Item = (StreamId, &Plain)> {
        self.plain().filter(move |(stream, _)| stream.kind == kind)
    }

    pub fn settlements(&self) -> impl Iterator<Item = &SettlementRow> {
        self.settlements.values()
    }

    pub fn book_of(&self, lane: LaneId) -> &Book {
        &self.books[usize::try_from(lane.0).expect("few lanes") - 1]
    }

    pub fn currencies(&self) -> Vec<String> {
        let booked = self.books.iter().any(|book| book.lines().next().is_some());
        booked.then(|| CURRENCY.to_owned()).into_iter().collect()
    }

    /// Where each lane cut a cycle.
    pub fn cuts(&self, cycle: CycleId) -> Vec<Cover> {
        let books = (1..).map(LaneId).zip(&self.books);
        books.filter_map(|(lane, book)| Some(Cover { lane, places: book.place_of_cut(cycle)? })).collect()
    }

    /// Sums that are kept in a cycle, by lane.
    pub fn kept(&self, cycle: CycleId) -> impl Iterator<Item = LaneBalance> {
        (1..).zip(&self.books).flat_map(move |(lane, book)| {
            book.kept(cycle).map(move |(purse, amount_minor)| LaneBalance {
                lane,
                account: purse.account.to_string(),
                currency: purse.currency.to_string(),
                cycle: purse.cycle,
                heading: purse.heading.to_owned(),
                counterparty: purse.counterparty,
                amount_minor,
            })
        })
    }

    /// Streams that are no orders.
    pub fn plain(&self) -> impl Iterator<Item = (StreamId, &Plain)> {
        self.plain.iter().map(|(stream, plain)| (*stream, plain))
    }

    pub fn head(&self, stream: StreamId) -> Option<StoredHead> {
        self.plain.get(&stream).map(|plain| plain.head.clone())
    }

    /// What each lane has written, and the place that its next row gets.
    pub fn books(&self) -> impl Iterator<Item = (&Book, i64)> {
        self.books.iter().zip(&self.owners).map(|(book, owner)| (book, owner.next_place))
    }

    pub fn by_name(&self, name: &UniqueName) -> Option<OrderId> {
        self.names.get(name).copied()
    }

    pub fn refund(&self, id: RefundId) -> Option<&StoredRefund> {
        self.refunds.get(&(id.order, id.ordinal)).filter(|stored| stored.id() == id)
    }

    pub fn refund_named(&self, platform: PlatformId, name: &str) -> Option<&StoredRefund> {
        self.refunds.get(self.refund_names.get(&(platform, name.into()))?)
    }

    pub fn refunds_of(&self, order: OrderId) -> impl Iterator<Item = &RefundRow> {
        self.refunds.values().filter(move |stored| stored.order == order).map(|stored| &stored.row)
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

    /// What a try of a group is sent as; `kept` are how the last one left what goes along with the lane, where that is
    /// known.
    pub fn draft(&self, lane: usize, group: &Try<Unit>, kept: &mut Option<Companions>) -> Result<Draft, StoreError> {
        let known = kept.take_if(|companions| companions.next_place == group.first_place);
        let companions = kept.insert(known.unwrap_or_else(|| self.books[lane].companions(group.first_place)));
        let steps = group.units().iter().enumerate().filter_map(|(place, unit)| Some((place, step_of(unit)?)));
        let cuts = group.units().iter().filter_map(cut_of);
        Draft::of(companions, self.duplicates(group.units()), cuts, steps)
    }

    /// New orders whose name is taken, by one that is there or stands before them.
    fn duplicates(&self, units: &[Unit]) -> Vec<usize> {
        let (mut duplicates, mut names) = (Vec::new(), BTreeMap::new());
        for (place, step) in units.iter().enumerate().filter_map(|(place, unit)| Some((place, step_of(unit)?))) {
            let (Some(name), Some(id)) = (&step.name, step.stream.order()) else { continue };
            let taken_by = self.names.get(name).copied().unwrap_or_else(|| *names.entry(name).or_insert(id));
            if taken_by != id {
                duplicates.push(place);
            }
        }
        duplicates
    }

    /// Commits all units or none. New orders whose name is taken are left out; their places come back.
    pub fn commit(&mut self, lane: usize, group: &Try<Unit>, draft: &Draft) -> Result<Committed, StoreError> {
        let (owner, units) = (&self.owners[lane], group.units());
        if owner.epoch != group.epoch {
            return Err(StoreError::Fenced);
        }
        let goes_on = (owner.group + 1, owner.next_place) == (group.number, group.first_place);
        assert!(goes_on, "group {} at place {} comes after {owner:?}", group.number, group.first_place);
        self.check(units, draft)?;
        let next_place = draft.stamped.next_place;
        let owner = &mut self.owners[lane];
        (owner.group, owner.next_place) = (group.number, next_place);
        self.books[lane].write(draft);
        for (place, unit) in units.iter().enumerate() {
            if !draft.duplicates.contains(&place) {
                self.write(unit, group.epoch);
            }
        }
        Ok(Committed { duplicates: draft.duplicates.clone(), next_place })
    }

    fn check(&self, units: &[Unit], draft: &Draft) -> Result<(), StoreError> {
        let mut names = BTreeSet::new();
        for (place, step) in units.iter().enumerate().filter_map(|(place, unit)| Some((place, step_of(unit)?))) {
            let stream = step.stream;
            if stream.order().is_some_and(|id| self.damaged.contains(&id)) {
                return Err(StoreError::Corrupt("the row is damaged".into()));
            }
            let stored = self.version(stream);
            if stored != step.expected_version || step.version != stored + 1 {
                return Err(StoreError::Conflict(format!("{stream} is at version {stored}")));
            }
            if draft.duplicates.contains(&place) {
                continue;
            }
            if self.lacks_message(step) {
                return Err(StoreError::Conflict("a message that is taken is not there".into()));
            }
            if keys(step).any(|key| self.captures.contains(&key)) {
                return Err(StoreError::ReferenceTaken("a capture".into()));
            }
            for name in new_refunds(step).map(refund_key) {
                if self.refund_names.contains_key(&name) || !names.insert(name) {
                    return Err(StoreError::NameTaken("what a platform calls a refund".into()));
                }
            }
        }
        Ok(())
    }

    fn version(&self, stream: StreamId) -> u32 {
        match stream.order() {
            Some(id) => self.rows.get(&id).map_or(0, |row| row.order.version),
            None => self.plain.get(&stream).map_or(0, |plain| plain.head.version),
        }
    }

    /// Whether a step takes a message that was taken before.
    pub fn lacks_message(&self, step: &StepUnit) -> bool {
        message_taken(step).is_some_and(|key| !self.messages.contains_key(&key))
    }

    fn write(&mut self, unit: &Unit, epoch: i64) {
        match unit {
            Unit::Step(step) => self.step(step, epoch),
            Unit::PutOff(put_off) => {
                if self.version(put_off.stream) == put_off.version {
                    self.put_off(put_off, epoch);
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
            Unit::Cut(_) => {}
            Unit::OperatorAct(_) => panic!("this world has no operators"),
        }
    }

    fn put_off(&mut self, put_off: &PutOff, epoch: i64) {
        let due = Some(put_off.next_due_at);
        match put_off.stream.order() {
            Some(id) => {
                let row = self.rows.get_mut(&id).expect("its version was seen");
                (row.next_due_at, row.epoch) = (due, epoch);
            }
            None => {
                let plain = self.plain.get_mut(&put_off.stream).expect("its version was seen");
                (plain.head.next_due_at, plain.head.epoch) = (due, epoch);
            }
        }
    }

    fn step(&mut self, step: &StepUnit, epoch: i64) {
        self.captures.extend(keys(step));
        if let Some(key) = message_taken(step) {
            self.messages.remove(&key);
        }
        for message in &step.messages {
            let key = MessageKey { to: message.to, from: step.stream, number: message.number };
            let stored = StoredMessage { key, at: message.at, body: message.body.clone() };
            let before = self.messages.insert(key, stored);
            assert_eq!(before, None, "a message's number is given once");
        }
        match step.stream.order() {
            Some(id) => self.step_of_order(id, step, epoch),
            None => self.step_of_plain(step, epoch),
        }
    }

    fn step_of_plain(&mut self, step: &StepUnit, epoch: i64) {
        let head = StoredHead {
            version: step.version,
            epoch,
            state: step.head.state.into(),
            facet: None,
            next_due_at: step.head.next_due_at,
            next_action: None,
            snapshot: step.head.snapshot.clone(),
        };
        let plain = self.plain.entry(step.stream).or_insert_with(|| Plain { head: head.clone(), journal: Vec::new() });
        plain.head = head;
        let (id, version, at) = (step.stream.id, step.version, step.at);
        let title = match step.stream.kind {
            Calendar::KIND => Title::of::<Calendar>(id, version, at),
            Payee::KIND => Title::of::<Payee>(id, version, at),
            NettingRun::KIND => Title::of::<NettingRun>(id, version, at),
            _ => Title::of::<Reminder>(id, version, at),
        };
        for row in rows(step, |row| if let UnitRow::Settlement(row) = row { Some(&**row) } else { None }) {
            for closed in &row.closed {
                let lane = usize::try_from(closed.lane.0).expect("few lanes") - 1;
                self.books[lane].forget(&closed.account, row.cycle, closed);
            }
            let before = self.settlements.insert((row.platform, row.cycle), row.clone());
            assert!(before.is_none(), "a cycle is settled once: {row:?}");
        }
        plain.journal.push((title, step.journal.clone()));
    }

    fn step_of_order(&mut self, id: OrderId, step: &StepUnit, epoch: i64) {
        for row in &step.webhooks {
            let posted = Posted { row: row.clone(), tries: 0, next_at: row.at };
            self.outbox.insert((id, row.sequence), posted);
        }
        let order: Order = serde_json::from_str(&step.head.snapshot).expect("a written order can be read");
        let order = Arc::new(order);
        if let Some(row) = created(step, order.clone()) {
            self.names.insert(row.name.clone(), id);
            self.rows.insert(id, row);
        }
        let row = self.rows.get_mut(&id).expect("its version was checked");
        row.order = order;
        row.next_due_at = step.head.next_due_at;
        row.journal.push((Title::of::<Order>(id.as_u128(), step.version, step.at), step.journal.clone()));
        row.epoch = epoch;
        row.webhooks.extend(step.webhooks.iter().map(|webhook| (webhook.kind, webhook.sequence)));
        for refund in new_refunds(step) {
            let stored = StoredRefund { order: id, row: refund.clone() };
            self.refund_names.insert(refund_key(refund), (id, refund.ordinal));
            let before = self.refunds.insert((id, refund.ordinal), stored);
            assert_eq!(before, None, "a refund's ordinal is given once");
        }
        for moved in &step.rows {
            let UnitRow::RefundMoved { ordinal, standing } = moved else { continue };
            let stored = self.refunds.get_mut(&(id, *ordinal)).expect("what is moved is there");
            stored.row.standing = standing.clone();
        }
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
            Unit::Step(step) => self.version(step.stream) == 0,
            Unit::PutOff(_)
            | Unit::Answer(_)
            | Unit::Inbox(_)
            | Unit::InboxDone { .. }
            | Unit::Delivery(_)
            | Unit::DeadLetter(_)
            | Unit::Cut(_)
            | Unit::OperatorAct(_) => false,
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
        let place = after.map(|after| (after.due_at, after.stream));
        let mut due: Vec<_> =
            self.dues().filter(|due| due.0 <= until && place.is_none_or(|place| *due > place)).collect();
        due.sort_unstable();
        due.truncate(limit as usize);
        due.into_iter().map(|(due_at, stream)| Due { due_at, stream }).collect()
    }

    /// When whatever is due for anything is due.
    pub fn dues(&self) -> impl Iterator<Item = (Instant, StreamId)> {
        let orders = self.rows.values().filter_map(|row| Some((row.next_due_at?, row.order.id.into())));
        orders.chain(self.plain.iter().filter_map(|(stream, plain)| Some((plain.head.next_due_at?, *stream))))
    }

    pub fn next_due_at(&self, stream: StreamId) -> Option<Instant> {
        match stream.order() {
            Some(id) => self.rows.get(&id)?.next_due_at,
            None => self.plain.get(&stream)?.head.next_due_at,
        }
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

fn cut_of(unit: &Unit) -> Option<&Cut> {
    match unit {
        Unit::Cut(cut) => Some(cut),
        Unit::Step(_)
        | Unit::PutOff(_)
        | Unit::Answer(_)
        | Unit::Inbox(_)
        | Unit::InboxDone { .. }
        | Unit::Delivery(_)
        | Unit::DeadLetter(_)
        | Unit::OperatorAct(_) => None,
    }
}

pub fn step_of(unit: &Unit) -> Option<&StepUnit> {
    match unit {
        Unit::Step(step) => Some(step),
        Unit::PutOff(_)
        | Unit::Answer(_)
        | Unit::Inbox(_)
        | Unit::InboxDone { .. }
        | Unit::Delivery(_)
        | Unit::DeadLetter(_)
        | Unit::Cut(_)
        | Unit::OperatorAct(_) => None,
    }
}

fn message_taken(step: &StepUnit) -> Option<MessageKey> {
    step.taken.map(|TakenMessage { from, number }| MessageKey { to: step.stream, from, number })
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

pub fn new_refunds(step: &StepUnit) -> impl Iterator<Item = &RefundRow> {
    rows(step, |row| if let UnitRow::Refund(refund) = row { Some(&**refund) } else { None })
}

fn refund_key(row: &RefundRow) -> RefundKey {
    (row.platform, row.merchant_refund_id.clone())
}

fn created(step: &StepUnit, order: Arc<Order>) -> Option<Row> {
    let fixed = rows(step, |row| if let UnitRow::Order(fixed) = row { Some(fixed) } else { None }).next()?;
    Some(Row {
        order,
        name: step.name.clone().expect("a new order has a name"),
        request: fixed.request.clone(),
        journal: Vec::new(),
        proven: RefCell::new(None),
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
        let mut proven = self.proven.borrow_mut();
        let read_to = proven.as_ref().map_or(0, |order| order.version);
        if read_to < self.version() {
            let order = self
                .journal
                .iter()
                .skip(read_to as usize)
                .fold(proven.take(), |before, bytes| Some(led(before, bytes)));
            assert_eq!(order.as_ref(), Some(&*self.order), "the journal leads to the snapshot");
            *proven = order;
        }
        Order::clone(&self.order)
    }

    /// All that was ever decided on.
    pub fn events(&self) -> Vec<Event> {
        self.journal.iter().flat_map(read).collect()
    }
}

/// Where a row of the journal leads to.
fn led(before: Option<Order>, written: &(Title, Vec<u8>)) -> Order {
    let events = read(written);
    let before = before.unwrap_or_else(|| match &events[0].fact {
        Fact::Created(facts) => step::create(facts, events[0].at),
        other => panic!("a journal begins with a creation, not with {other:?}"),
    });
    step::decide(&before, &events).expect("what was journaled is taken again").after
}

fn read((title, body): &(Title, Vec<u8>)) -> Vec<Event> {
    title.read(body).expect("written events can be read").events
}
