//! An in-memory store that holds what was committed and nothing else: groups are atomic, versions are checked, and two
//! keys are unique (a platform's own number of an order, and a capture).

use std::collections::{BTreeMap, BTreeSet};

use tongbao::domain::event::{Event, Fact, WebhookKind};
use tongbao::domain::id::{Account, OrderId};
use tongbao::domain::ledger::Entry;
use tongbao::domain::order::Order;
use tongbao::domain::step;
use tongbao::domain::time::Instant;

use crate::gateways::Shown;

/// What an order's step makes durable.
#[derive(Debug, Clone)]
pub struct Unit {
    pub expected_version: u32,
    pub order: Order,
    pub events: Vec<Event>,
    /// The platform's own number, of a new order.
    pub merchant: Option<u32>,
    pub shown: ShownChange,
    pub captures: Vec<u16>,
    pub entries: Vec<Entry>,
    pub webhooks: Vec<(WebhookKind, u32)>,
}

/// What becomes of the stored `next_action`; the model keeps only whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShownChange {
    Keep,
    Store(Shown),
    Wipe,
}

#[derive(Debug, Clone)]
pub struct Row {
    pub order: Order,
    pub journal: Vec<Vec<Event>>,
    pub next_due_at: Option<Instant>,
    pub shown: Option<Shown>,
    pub webhooks: Vec<(WebhookKind, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Another version than the expected one is stored, or a unique key is taken.
    Conflict,
}

#[derive(Debug, Default)]
pub struct Store {
    rows: BTreeMap<OrderId, Row>,
    merchants: BTreeMap<u32, OrderId>,
    captures: BTreeSet<(Account, Box<str>)>,
    pub entries: Vec<Entry>,
}

impl Store {
    pub fn row(&self, id: OrderId) -> Option<&Row> {
        self.rows.get(&id)
    }

    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    pub fn by_merchant(&self, merchant: u32) -> Option<OrderId> {
        self.merchants.get(&merchant).copied()
    }

    /// Commits all units or none. New orders whose merchant's number is taken are left out; their places come back.
    pub fn commit(&mut self, units: &[Unit]) -> Result<Vec<usize>, Refused> {
        let mut duplicates = Vec::new();
        let mut merchants = self.merchants.clone();
        for (place, unit) in units.iter().enumerate() {
            let stored = self.rows.get(&unit.order.id).map_or(0, |row| row.order.version);
            if stored != unit.expected_version || unit.order.version != stored + 1 {
                return Err(Refused::Conflict);
            }
            if let Some(merchant) = unit.merchant
                && *merchants.entry(merchant).or_insert(unit.order.id) != unit.order.id
            {
                duplicates.push(place);
                continue;
            }
            if self.keys(unit).any(|key| self.captures.contains(&key)) {
                return Err(Refused::Conflict);
            }
        }
        self.merchants = merchants;
        for (place, unit) in units.iter().enumerate() {
            if !duplicates.contains(&place) {
                self.write(unit);
            }
        }
        Ok(duplicates)
    }

    fn keys<'a>(&self, unit: &'a Unit) -> impl Iterator<Item = (Account, Box<str>)> + use<'a> {
        unit.captures.iter().map(|index| {
            let capture = &unit.order.captures[usize::from(*index)];
            let attempt = unit.order.attempt(capture.ordinal).expect("a capture belongs to an attempt");
            (attempt.account.clone(), capture.reference.clone())
        })
    }

    fn write(&mut self, unit: &Unit) {
        let keys: Vec<_> = self.keys(unit).collect();
        self.captures.extend(keys);
        self.entries.extend(unit.entries.iter().cloned());
        let row = self.rows.entry(unit.order.id).or_insert_with(|| Row {
            order: unit.order.clone(),
            journal: Vec::new(),
            next_due_at: None,
            shown: None,
            webhooks: Vec::new(),
        });
        row.order = unit.order.clone();
        row.next_due_at = unit.order.next_due_at(unit.order.last_at);
        row.journal.push(unit.events.clone());
        row.webhooks.extend(unit.webhooks.iter().copied());
        match unit.shown {
            ShownChange::Keep => {}
            ShownChange::Store(shown) => row.shown = Some(shown),
            ShownChange::Wipe => row.shown = None,
        }
    }
}

impl Row {
    /// The order as a restart reads it, after proving that the journal's own bytes lead to it.
    pub fn load(&self) -> Order {
        let text = serde_json::to_string(&self.order).expect("an order can be written");
        let order: Order = serde_json::from_str(&text).expect("a written order can be read");
        assert_eq!(order, self.order, "a snapshot comes back as it was");
        assert_eq!(self.fold(), order, "the journal leads to the snapshot");
        order
    }

    fn fold(&self) -> Order {
        let mut order: Option<Order> = None;
        for events in &self.journal {
            let bytes = serde_json_canonicalizer::to_vec(events).expect("events can be written");
            let events: Vec<Event> = serde_json::from_slice(&bytes).expect("written events can be read");
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
