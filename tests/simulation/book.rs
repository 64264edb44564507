//! What a lane has written: its journal by place, the lines of its entries, and the balances of its accounts. Places and
//! balances are stamped anew for each try of a group, by the store's own code.

use std::collections::{BTreeMap, BTreeSet};

use tongbao::domain::cycle::{CalendarId, CycleId};
use tongbao::domain::ledger::Heading;
use tongbao::domain::partition::LaneId;
use tongbao::domain::stream::{Kind, StreamId};
use tongbao::store::companions::{Calendars, Companions, Known, LaneCut, News, PlacedCut, Purse, Stamped, Stub};
use tongbao::store::{ClosedSum, Cut, StepUnit, StoreError};

/// A row of the journal at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Placed {
    place: i64,
    stream: StreamId,
    version: u32,
}

#[derive(Debug)]
pub struct Line {
    pub purse: Purse,
    pub amount_minor: i64,
    pub place: i64,
}

impl Line {
    /// Whether it brings a cycle to zero.
    pub fn is_closing(&self) -> bool {
        self.purse.cycle != 0 && self.purse.heading.is_empty()
    }
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
    calendars: Calendars,
    /// By cycle, the place at which it was cut.
    cuts: BTreeMap<CycleId, i64>,
    /// Rows of the lane's own stream.
    version: u32,
    /// Sums of closed cycles, which are kept no more.
    gone: BTreeSet<Purse>,
}

/// What a try of a group is made into before it is sent to the store.
#[derive(Debug)]
pub struct Draft {
    /// Places in the group of new orders whose name is taken.
    pub duplicates: Vec<usize>,
    rows: Vec<Placed>,
    lines: Vec<Line>,
    cuts: Vec<(Cut, PlacedCut)>,
    pub stamped: Stamped,
}

impl Draft {
    /// Of a group's steps, each with its place in the group.
    pub fn of<'u>(
        companions: &Companions,
        duplicates: Vec<usize>,
        cuts: impl Iterator<Item = &'u Cut>,
        steps: impl Iterator<Item = (usize, &'u StepUnit)>,
    ) -> Result<Self, StoreError> {
        let mut attempt = companions.attempt();
        let (mut rows, mut lines) = (Vec::new(), Vec::new());
        let placed = |cut: &Cut| Some((cut.clone(), attempt.cut(cut)?));
        let cuts: Vec<(Cut, PlacedCut)> = cuts.filter_map(placed).collect();
        rows.extend(cuts.iter().map(|(cut, placed)| Placed {
            place: placed.place,
            stream: lane_stream(cut.lane),
            version: placed.version,
        }));
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
        Ok(Draft { duplicates, rows, lines, cuts, stamped: attempt.end() })
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

fn lane_stream(lane: LaneId) -> StreamId {
    StreamId { kind: Kind::LANE, id: u128::from(lane.0) }
}

impl Book {
    /// The first row of a lane's journal is its birth.
    pub fn new(lane: LaneId) -> Self {
        let birth = Placed { place: 0, stream: lane_stream(lane), version: 1 };
        Book {
            rows: vec![birth],
            lines: Vec::new(),
            balances: BTreeMap::new(),
            calendars: Calendars::default(),
            cuts: BTreeMap::new(),
            version: 1,
            gone: BTreeSet::new(),
        }
    }

    /// What goes along with the lane, as the store has it.
    pub fn companions(&self, first_place: i64) -> Companions {
        let balances = self.balances.iter().map(|(purse, balance)| (purse.clone(), balance.amount_minor));
        // Nothing is booked in a cycle that was cut.
        let open = balances.filter(|(purse, _)| {
            CycleId::from_number(purse.cycle).is_none_or(|cycle| cycle.number > self.last_cut(cycle.calendar))
        });
        Companions::new(first_place, self.version, open.collect(), self.calendars.clone())
    }

    pub fn write(&mut self, draft: &Draft) {
        self.rows.extend(&draft.rows);
        let lines = draft.lines.iter();
        self.lines.extend(lines.map(|Line { purse, amount_minor, place }| Line {
            purse: purse.clone(),
            amount_minor: *amount_minor,
            place: *place,
        }));
        for (cut, placed) in &draft.cuts {
            self.version += 1;
            assert_eq!(placed.version, self.version, "a lane's own rows are numbered without a gap");
            let cycle = CycleId { calendar: cut.calendar, number: cut.number };
            for join in &cut.joins {
                self.calendars.members.insert((join.platform, join.currency), join.calendar);
            }
            match placed.news {
                News::Joins => {}
                News::Cut => {
                    let before = self.cuts.insert(cycle, placed.place);
                    assert_eq!(before, None, "a lane cuts a cycle once");
                    let (number, ends_at, schedule) = (cut.number, cut.ends_at, cut.schedule.clone());
                    self.calendars.cuts.insert(cut.calendar, LaneCut { number, ends_at, schedule });
                }
            }
        }
        for (purse, changed) in &draft.stamped.changed {
            if changed.account == Known::Last {
                continue;
            }
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
        let kept = self.lines.iter().filter(|line| !line.is_closing() && !self.gone.contains(&line.purse));
        for line in kept {
            let sum = sums.entry(line.purse.clone()).or_insert(Balance { amount_minor: 0, place: 0 });
            (sum.amount_minor, sum.place) = (sum.amount_minor + line.amount_minor, line.place);
        }
        assert_eq!(self.balances, sums, "a balance is the sum of its lines");
    }

    /// A sum of a closed cycle is kept no more.
    pub fn forget(&mut self, account: &str, cycle: CycleId, closed: &ClosedSum) {
        let is_it = |purse: &Purse| {
            (&*purse.account, purse.cycle) == (account, cycle.as_number())
                && (purse.heading, purse.counterparty) == (closed.heading, closed.counterparty)
        };
        let purse = self.balances.keys().find(|purse| is_it(purse)).expect("what is closed was kept").clone();
        self.balances.remove(&purse);
        self.gone.insert(purse);
    }

    /// Sums that are kept in a cycle.
    pub fn kept(&self, cycle: CycleId) -> impl Iterator<Item = (&Purse, i64)> {
        let of_cycle = self.balances.iter().filter(move |(purse, _)| purse.cycle == cycle.as_number());
        of_cycle.map(|(purse, balance)| (purse, balance.amount_minor))
    }

    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }

    pub fn place_of_cut(&self, cycle: CycleId) -> Option<i64> {
        self.cuts.get(&cycle).copied()
    }

    /// The last cycle of a calendar that was cut before that place.
    pub fn last_cut_before(&self, calendar: CalendarId, place: i64) -> u32 {
        let cuts = self.cuts.iter().filter(|(cycle, at)| cycle.calendar == calendar && **at < place);
        cuts.map(|(cycle, _)| cycle.number).max().unwrap_or(0)
    }

    fn last_cut(&self, calendar: CalendarId) -> u32 {
        self.last_cut_before(calendar, i64::MAX)
    }

    pub fn balances(&self) -> impl Iterator<Item = (&str, i64)> {
        self.balances.iter().map(|(purse, balance)| (&*purse.account, balance.amount_minor))
    }
}
