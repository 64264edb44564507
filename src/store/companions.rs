//! What goes along with a lane and must say what its journal says: the balances of its accounts, and by which cycles it
//! stamps the lines of platforms. Both are made anew for each try of a group, from how the last committed one left them; a
//! try that fails leaves nothing behind.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Cut, StoreError};
use crate::domain::calendar::Schedule;
use crate::domain::cycle::{CalendarId, CycleId};
use crate::domain::id::PlatformId;
use crate::domain::ledger::{Entry, Heading, Line};
use crate::domain::money::Currency;
use crate::domain::time::Instant;

/// What a sum is kept of: a ledger account in one currency and one cycle; of a platform's also by the total of a
/// settlement that its lines add to, and of its positions by the other platform.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purse {
    pub account: Arc<str>,
    pub currency: Arc<str>,
    /// 0 where the account is of no cycles.
    pub cycle: i64,
    /// Empty where there is none.
    pub heading: &'static str,
    /// 0 where there is none.
    pub counterparty: i64,
}

/// What a line's sum is kept of, as far as that is known before the line is booked.
#[derive(Debug, Clone)]
pub struct Stub {
    pub account: Arc<str>,
    pub currency: Currency,
    pub heading: Option<Heading>,
    /// Of a position only.
    pub counterparty: Option<PlatformId>,
    pub cycle: StubCycle,
}

/// How a line comes to its cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StubCycle {
    /// Its account is of no cycles.
    None,
    /// That in which the money moved, if it is still open: when it moved, or when that was booked, whichever was first.
    Open { platform: PlatformId, moved_at: Instant },
    /// It closes this one.
    Closes(CycleId),
}

impl Stub {
    /// Of an entry's line, in a step at `booked_at`.
    pub fn of(entry: &Entry, line: &Line, booked_at: Instant) -> Self {
        let heading = line.heading();
        let counterparty = heading.zip(line.transaction).and_then(|(heading, of)| heading.counterparty(of));
        let platform = line.account.platform().filter(|_| line.account.is_of_cycles());
        let cycle = match (platform, entry.closes()) {
            (None, _) => StubCycle::None,
            (Some(_), Some(closed)) => StubCycle::Closes(closed),
            (Some(platform), None) => StubCycle::Open { platform, moved_at: entry.effective().at.min(booked_at) },
        };
        let account = line.account.to_string().into();
        Stub { account, currency: entry.currency(), heading, counterparty, cycle }
    }
}

/// How the last committed group of a lane left what goes along with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Companions {
    /// The place that the lane's next journal row has. Whoever begins at another one has not seen what these have.
    pub next_place: i64,
    /// Of the lane's own stream.
    version: u32,
    balances: HashMap<Purse, i64>,
    calendars: Calendars,
}

/// What a lane stamps the lines of platforms by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calendars {
    /// How each calendar was cut last.
    pub cuts: HashMap<CalendarId, LaneCut>,
    /// The calendars of platforms that have another one than their currency's own.
    pub members: HashMap<(PlatformId, Currency), CalendarId>,
}

/// Where a lane last cut a calendar, and when the cycle that is open since then ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneCut {
    /// The cycle that ended; 0 where none has yet.
    pub number: u32,
    pub ends_at: Instant,
    pub schedule: Schedule,
}

/// What is new in a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The cycle was not cut before.
    Cut,
    /// Only who belongs to which calendar.
    Joins,
}

/// Where a cut stands in the lane's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedCut {
    pub place: i64,
    pub version: u32,
    pub news: News,
}

/// Cycles that a line may be stamped ahead of the open one: where a closing comes late, money that moved since the cycle's
/// end belongs to those after it.
const AHEAD_MAX: u32 = 400;

impl Calendars {
    /// The cycle of a platform's line: that in which its money moved, or the one that is open where that was cut.
    pub fn cycle_of(&self, platform: PlatformId, currency: Currency, moved_at: Instant) -> CycleId {
        let own = self.members.get(&(platform, currency)).copied();
        let calendar = own.unwrap_or_else(|| CalendarId::of_currency(currency));
        let Some(cut) = self.cuts.get(&calendar) else { return CycleId { calendar, number: 1 } };
        let (mut number, mut ends_at) = (cut.number + 1, cut.ends_at);
        while moved_at >= ends_at && number - cut.number < AHEAD_MAX {
            (number, ends_at) = (number + 1, cut.schedule.next_after(ends_at));
        }
        CycleId { calendar, number }
    }

    /// Takes a cut up, as far as it says anything new.
    fn take(&mut self, cut: &Cut) -> Option<News> {
        let joins = cut.joins.iter().map(|join| ((join.platform, join.currency), join.calendar));
        let joined =
            joins.filter(|(member, calendar)| self.members.insert(*member, *calendar) != Some(*calendar)).count();
        if self.cuts.get(&cut.calendar).is_some_and(|last| last.number >= cut.number) {
            return (joined > 0).then_some(News::Joins);
        }
        let after = LaneCut { number: cut.number, ends_at: cut.ends_at, schedule: cut.schedule.clone() };
        self.cuts.insert(cut.calendar, after);
        Some(News::Cut)
    }

    fn is_cut(&self, cycle: i64) -> bool {
        let cut = CycleId::from_number(cycle).and_then(|cycle| Some((cycle, self.cuts.get(&cycle.calendar)?)));
        cut.is_some_and(|(cycle, cut)| cycle.number <= cut.number)
    }
}

/// A try of a group: what it changes, and nothing else.
#[derive(Debug)]
pub struct Trial<'c> {
    before: &'c Companions,
    next_place: i64,
    version: u32,
    changed: BTreeMap<Purse, Changed>,
    /// None where the group has no cut.
    calendars: Option<Calendars>,
}

/// A balance after the last line of a try that changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    pub amount_minor: i64,
    /// Of the journal row that this line belongs to.
    pub place: i64,
    pub account: Known,
}

/// What is known of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// A group before has booked on it.
    Before,
    /// None has.
    New,
    /// It is the last of a cycle that is closed by this: nothing is booked on it any more.
    Last,
}

/// What a try leaves once it is committed.
#[derive(Debug)]
pub struct Stamped {
    pub next_place: i64,
    version: u32,
    pub changed: BTreeMap<Purse, Changed>,
    calendars: Option<Calendars>,
}

impl Companions {
    pub fn new(next_place: i64, version: u32, balances: HashMap<Purse, i64>, calendars: Calendars) -> Self {
        Companions { next_place, version, balances, calendars }
    }

    /// Begins a try.
    pub fn attempt(&self) -> Trial<'_> {
        let (next_place, version) = (self.next_place, self.version);
        Trial { before: self, next_place, version, changed: BTreeMap::new(), calendars: None }
    }

    /// The try was committed.
    pub fn adopt(&mut self, stamped: Stamped) {
        self.next_place = stamped.next_place;
        self.version = stamped.version;
        let stay = stamped.changed.into_iter().filter(|(_, changed)| match changed.account {
            Known::Before | Known::New => true,
            Known::Last => false,
        });
        self.balances.extend(stay.map(|(purse, changed)| (purse, changed.amount_minor)));
        if let Some(calendars) = stamped.calendars {
            self.calendars = calendars;
            // Nothing is booked in a cycle that was cut, but what closes it.
            self.balances.retain(|purse, _| !self.calendars.is_cut(purse.cycle));
        }
    }
}

impl Trial<'_> {
    /// The place of the next row.
    pub fn place(&mut self) -> i64 {
        let place = self.next_place;
        self.next_place += 1;
        place
    }

    /// Cuts a calendar before whatever is booked after this, by a row of its own; none where it says nothing new.
    pub fn cut(&mut self, cut: &Cut) -> Option<PlacedCut> {
        let calendars = self.calendars.get_or_insert_with(|| self.before.calendars.clone());
        let news = calendars.take(cut)?;
        self.version += 1;
        let version = self.version;
        Some(PlacedCut { place: self.place(), version, news })
    }

    /// Books a line of the row at `place`; the cycle that it belongs to, or 0.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where the sum is no number that the store holds.
    pub fn book(&mut self, stub: &Stub, amount_minor: i64, place: i64) -> Result<i64, StoreError> {
        let calendars = self.calendars.as_ref().unwrap_or(&self.before.calendars);
        let (cycle, unknown) = match stub.cycle {
            StubCycle::None => (0, Known::New),
            StubCycle::Open { platform, moved_at } => {
                (calendars.cycle_of(platform, stub.currency, moved_at).as_number(), Known::New)
            }
            StubCycle::Closes(cycle) => (cycle.as_number(), Known::Last),
        };
        let purse = Purse {
            account: stub.account.clone(),
            currency: stub.currency.code().into(),
            cycle,
            heading: stub.heading.map_or("", Heading::name),
            counterparty: stub.counterparty.map_or(0, |platform| i64::from(platform.0)),
        };
        let (before, account) = match (self.changed.get(&purse), self.before.balances.get(&purse)) {
            (Some(changed), _) => (changed.amount_minor, changed.account),
            (None, Some(before)) => (*before, Known::Before),
            (None, None) => (0, unknown),
        };
        let sum = before.checked_add(amount_minor);
        let amount_minor =
            sum.ok_or_else(|| StoreError::Corrupt(format!("the balance of {} overflows", purse.account)))?;
        self.changed.insert(purse, Changed { amount_minor, place, account });
        Ok(cycle)
    }

    pub fn end(self) -> Stamped {
        let Trial { next_place, version, changed, calendars, .. } = self;
        Stamped { next_place, version, changed, calendars }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::journal::{Join, Salt};

    const SHOP: PlatformId = PlatformId(7);

    fn cny() -> Currency {
        Currency::parse("CNY").unwrap()
    }

    fn of_calendar(number: u32) -> i64 {
        CycleId { calendar: CalendarId::of_currency(cny()), number }.as_number()
    }

    fn fees() -> Stub {
        Stub {
            account: "fees:simpay".into(),
            currency: cny(),
            heading: None,
            counterparty: None,
            cycle: StubCycle::None,
        }
    }

    fn gross(cycle: StubCycle) -> Stub {
        let heading = match cycle {
            StubCycle::Open { .. } => Some(Heading::Gross),
            StubCycle::None | StubCycle::Closes(_) => None,
        };
        Stub { account: "platform:7".into(), currency: cny(), heading, counterparty: None, cycle }
    }

    fn moved(at: i64) -> Stub {
        gross(StubCycle::Open { platform: SHOP, moved_at: Instant(at) })
    }

    fn purse(stub: &Stub, cycle: i64) -> Purse {
        Purse {
            account: stub.account.clone(),
            currency: "CNY".into(),
            cycle,
            heading: stub.heading.map_or("", Heading::name),
            counterparty: 0,
        }
    }

    fn cut(number: u32, ends_at: i64) -> Cut {
        Cut {
            lane: crate::domain::partition::LaneId::FIRST,
            calendar: CalendarId::of_currency(cny()),
            number,
            at: Instant(0),
            ends_at: Instant(ends_at),
            schedule: Schedule::parse("daily 00:00 UTC").unwrap(),
            joins: Vec::new(),
            salt: Salt([7; 16]),
        }
    }

    const DAY: i64 = 86_400_000;

    #[test]
    fn a_try_that_fails_leaves_nothing_behind() {
        let before = HashMap::from([(purse(&fees(), 0), -3)]);
        let mut companions = Companions::new(7, 1, before, Calendars::default());
        let before = companions.clone();
        let mut failed = companions.attempt();
        assert_eq!(failed.cut(&cut(0, DAY)), Some(PlacedCut { place: 7, version: 2, news: News::Cut }));
        let place = failed.place();
        failed.book(&fees(), -4, place).unwrap();
        drop(failed.end());
        assert_eq!(companions, before);

        let mut written = companions.attempt();
        for amount in [-1, -1] {
            let place = written.place();
            written.book(&fees(), amount, place).unwrap();
            assert_eq!(written.book(&moved(0), -amount, place), Ok(of_calendar(1)));
        }
        let stamped = written.end();
        assert_eq!(stamped.next_place, 9, "a place of a try that failed is given again");
        let changed = |amount_minor, account| Changed { amount_minor, place: 8, account };
        assert_eq!(stamped.changed[&purse(&fees(), 0)], changed(-5, Known::Before));
        assert_eq!(stamped.changed[&purse(&moved(0), of_calendar(1))], changed(2, Known::New));
        companions.adopt(stamped);
        let after = HashMap::from([(purse(&fees(), 0), -5), (purse(&moved(0), of_calendar(1)), 2)]);
        assert_eq!(companions, Companions::new(9, 1, after, Calendars::default()));
    }

    #[test]
    fn a_balance_that_overflows_is_refused() {
        let full = HashMap::from([(purse(&fees(), 0), i64::MIN)]);
        let companions = Companions::new(1, 1, full, Calendars::default());
        let mut attempt = companions.attempt();
        assert!(matches!(attempt.book(&fees(), -1, 1), Err(StoreError::Corrupt(_))));
    }

    #[test]
    fn what_is_booked_after_a_cut_is_of_a_later_cycle() {
        let mut companions = Companions::default();
        let mut first = companions.attempt();
        assert_eq!(first.book(&moved(5), -1, 0), Ok(of_calendar(1)), "nobody has begun the calendar");
        assert_eq!(first.cut(&cut(0, DAY)), Some(PlacedCut { place: 0, version: 1, news: News::Cut }));
        for (moved_at, number) in [(0, 1), (DAY - 1, 1), (DAY, 2), (2 * DAY - 1, 2), (2 * DAY, 3)] {
            assert_eq!(first.book(&moved(moved_at), -1, 0), Ok(of_calendar(number)), "{moved_at}");
        }
        companions.adopt(first.end());

        let mut second = companions.attempt();
        assert_eq!(second.cut(&cut(1, 2 * DAY)), Some(PlacedCut { place: 1, version: 2, news: News::Cut }));
        assert_eq!(second.cut(&cut(1, 3 * DAY)), None, "a cycle ends once");
        assert_eq!(second.cut(&cut(0, DAY)), None);
        for (moved_at, number) in [(0, 2), (DAY, 2), (2 * DAY, 3)] {
            assert_eq!(second.book(&moved(moved_at), -1, 1), Ok(of_calendar(number)), "{moved_at}");
        }
        let closing = gross(StubCycle::Closes(CycleId::from_number(of_calendar(1)).unwrap()));
        assert_eq!(second.book(&closing, 4, 1), Ok(of_calendar(1)));
        let stamped = second.end();
        assert_eq!(stamped.changed[&purse(&closing, of_calendar(1))].account, Known::Last);
        companions.adopt(stamped);
        let left: Vec<i64> = companions.balances.keys().map(|purse| purse.cycle).collect();
        assert!(!left.contains(&of_calendar(1)), "what is closed is kept in memory no more: {left:?}");
        assert_eq!(companions.balances[&purse(&moved(0), of_calendar(2))], -4);
    }

    #[test]
    fn a_platform_that_joins_another_calendar_is_stamped_by_it() {
        let (mut companions, other) = (Companions::default(), CalendarId::FIRST_MADE);
        let mut attempt = companions.attempt();
        let join = Join { platform: SHOP, currency: cny(), calendar: other };
        let joined = Cut { calendar: other, joins: vec![join], ..cut(0, DAY) };
        assert_eq!(attempt.cut(&joined).unwrap().news, News::Cut);
        assert_eq!(attempt.cut(&joined), None, "the same again says nothing new");
        companions.adopt(attempt.end());
        let mut after = companions.attempt();
        let of_other = CycleId { calendar: other, number: 1 }.as_number();
        assert_eq!(after.book(&moved(0), -1, 0), Ok(of_other));
        let stub = Stub { account: "platform:8".into(), ..moved(0) };
        let stranger = StubCycle::Open { platform: PlatformId(8), moved_at: Instant(0) };
        assert_eq!(after.book(&Stub { cycle: stranger, ..stub }, -1, 0), Ok(of_calendar(1)));
    }
}
