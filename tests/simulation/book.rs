//! What a lane has written: its journal by place, the lines of its entries, and the balances of its accounts. Places and
//! balances are stamped anew for each try of a group, by the store's own code.

use std::collections::{BTreeMap, BTreeSet};

use tongbao::domain::ledger::Heading;
use tongbao::domain::partition::LaneId;
use tongbao::domain::stream::{Kind, StreamId};
use tongbao::store::companions::{Calendars, Companions, Known, Purse, Stamped, Stub};
use tongbao::store::{StepUnit, StoreError};

/// A row of the journal at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Placed {
    place: i64,
    stream: StreamId,
    version: u32,
}

#[derive(Debug)]
struct Line {
    purse: Purse,
    amount_minor: i64,
    place: i64,
}

/// A balance, and the place of the last row that changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Balance {
    amount_minor: i64,
    place: i64,
}

#[derive(Debug)]
pub struct Book {
    rows: Vec<Placed>,
    lines: Vec<Line>,
    balances: BTreeMap<Purse, Balance>,
}

/// What a try of a group is made into before it is sent to the store.
#[derive(Debug)]
pub struct Draft {
    /// Places in the group of new orders whose name is taken.
    pub duplicates: Vec<usize>,
    rows: Vec<Placed>,
    lines: Vec<Line>,
    pub stamped: Stamped,
}

impl Draft {
    /// Of a group's steps, each with its place in the group.
    pub fn of<'u>(
        companions: &Companions,
        duplicates: Vec<usize>,
        steps: impl Iterator<Item = (usize, &'u StepUnit)>,
    ) -> Result<Self, StoreError> {
        let mut attempt = companions.attempt();
        let (mut rows, mut lines) = (Vec::new(), Vec::new());
        for (_, step) in steps.filter(|(unit, _)| !duplicates.contains(unit)) {
            let place = attempt.place();
            rows.push(Placed { place, stream: step.stream, version: step.version });
            for entry in &step.entries {
                for line in entry.lines() {
                    let stub = Stub::of(entry, line, step.at);
                    let cycle = attempt.book(&stub, line.amount_minor, place)?;
                    lines.push(Line { purse: purse(&stub, cycle), amount_minor: line.amount_minor, place });
                }
            }
        }
        Ok(Draft { duplicates, rows, lines, stamped: attempt.end() })
    }
}

/// What a line's sum is kept of.
fn purse(stub: &Stub, cycle: i64) -> Purse {
    Purse {
        account: stub.account.clone(),
        currency: stub.currency.code().into(),
        cycle,
        heading: stub.heading.map_or("", Heading::name),
        counterparty: stub.counterparty.map_or(0, |platform| i64::from(platform.0)),
    }
}

impl Book {
    /// The first row of a lane's journal is its birth.
    pub fn new(lane: LaneId) -> Self {
        let stream = StreamId { kind: Kind::LANE, id: u128::from(lane.0) };
        let birth = Placed { place: 0, stream, version: 1 };
        Book { rows: vec![birth], lines: Vec::new(), balances: BTreeMap::new() }
    }

    /// What goes along with the lane, as the store has it.
    pub fn companions(&self, first_place: i64) -> Companions {
        let balances = self.balances.iter().map(|(purse, balance)| (purse.clone(), balance.amount_minor));
        Companions::new(first_place, 1, balances.collect(), Calendars::default())
    }

    pub fn write(&mut self, draft: &Draft) {
        self.rows.extend(&draft.rows);
        let lines = draft.lines.iter();
        self.lines.extend(lines.map(|Line { purse, amount_minor, place }| Line {
            purse: purse.clone(),
            amount_minor: *amount_minor,
            place: *place,
        }));
        for (purse, changed) in &draft.stamped.changed {
            let is_new = !self.balances.contains_key(purse);
            assert_eq!(changed.account == Known::New, is_new, "whether an account is new: {purse:?}");
            let balance = Balance { amount_minor: changed.amount_minor, place: changed.place };
            self.balances.insert(purse.clone(), balance);
        }
    }

    /// The rows of a draft are there now.
    pub fn has(&self, draft: &Draft, next_place: i64) {
        self.goes_on(draft.rows.len(), next_place);
    }

    /// The last rows have the places after the one before them, and the lane's next row has the one after them.
    fn goes_on(&self, written: usize, next_place: i64) {
        for (row, place) in self.rows.iter().zip(0..).skip(self.rows.len() - written) {
            assert_eq!(row.place, place, "places are dense and given once: {row:?}");
        }
        assert_eq!(self.rows.len() as i64, next_place, "the lane's next place is the one after its last row");
    }

    /// Every row that was ever written stands at its place, once, and every balance is the sum of its lines.
    pub fn adds_up(&self, next_place: i64, seen: &mut BTreeSet<(StreamId, u32)>) {
        self.goes_on(self.rows.len(), next_place);
        for row in &self.rows {
            assert!(seen.insert((row.stream, row.version)), "one place for each row of a journal: {row:?}");
        }
        let mut sums: BTreeMap<Purse, Balance> = BTreeMap::new();
        for line in &self.lines {
            let sum = sums.entry(line.purse.clone()).or_insert(Balance { amount_minor: 0, place: 0 });
            (sum.amount_minor, sum.place) = (sum.amount_minor + line.amount_minor, line.place);
        }
        assert_eq!(self.balances, sums, "a balance is the sum of its lines");
    }

    pub fn balances(&self) -> impl Iterator<Item = (&str, i64)> {
        self.balances.iter().map(|(purse, balance)| (&*purse.account, balance.amount_minor))
    }
}
