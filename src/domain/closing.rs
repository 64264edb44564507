//! The calendar: when its cycles end, and how each of them is closed.
//!
//! A cycle ends by a cut in every lane, each at a place of its own; what a lane books after its cut belongs to a later
//! cycle. Once all lanes have cut, the cycle is summed and settled, platform by platform. Every stage begins anew after a
//! crash, and none is done twice.

use serde::{Deserialize, Serialize};

use super::calendar::Schedule;
use super::cycle::{CalendarId, CycleId};
use super::id::PlatformId;
use super::journal::Join;
use super::machine::{self, Machine};
use super::money::Currency;
use super::partition::LaneId;
use super::stream::{Kind, StreamId};
use super::time::Instant;

/// A stage that came to nothing is tried again after this.
const AGAIN_MS: i64 = 1_000;

/// Platforms that wait to join a calendar: each cut carries them all.
pub const JOINS_MAX: usize = 1_000;

/// What never changes of a calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// After its end a cycle waits so long, in milliseconds, for what moved before it.
    pub close_after_ms: i64,
    pub currency: Currency,
    /// As operators call it.
    pub name: Box<str>,
}

/// A span of a calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cycle {
    pub from: Instant,
    pub number: u32,
    pub to: Instant,
}

/// Up to which place of a lane a cycle reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cover {
    pub lane: LaneId,
    /// Of the cut: what the lane booked before it is covered, as far as it belongs to the cycle.
    pub places: i64,
}

/// How far a closing has got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case", deny_unknown_fields)]
pub enum Stage {
    /// Lanes are being cut.
    Cutting,
    /// All are; platforms are being settled.
    Settling { covers: Vec<Cover> },
}

/// What lanes are cut for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The calendar begins: of the cycle before the first one, number 0, nothing is settled.
    Begin,
    /// The cycle is settled.
    Settle,
    /// Platforms join. The last cut is made once more, which says nothing new but that.
    Join,
}

/// A cut that is under way, and what comes after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    pub cycle: Cycle,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joins: Vec<Join>,
    pub purpose: Purpose,
    pub stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<Closing>,
    pub id: CalendarId,
    /// Platforms that join another calendar with the next cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joins: Vec<Join>,
    pub last_at: Instant,
    /// The cycle that lines are booked in.
    pub open: Option<Cycle>,
    /// Of the cycles after the open one.
    pub schedule: Option<Schedule>,
    pub terms: Option<Terms>,
    pub version: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: Instant,
    #[serde(flatten)]
    pub fact: Fact,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Fact {
    Created {
        terms: Terms,
        schedule: Schedule,
    },
    /// Time has passed: a cycle may have to be closed, or a stage to be tried again.
    TimerFired,
    /// Time has passed, but nobody knows how much: nothing is closed by it.
    TimeInDoubt,
    /// Somebody closes the open cycle before its end.
    ClosedEarly {
        number: u32,
        operator: Box<str>,
    },
    /// All lanes have cut.
    Cut {
        number: u32,
        covers: Vec<Cover>,
    },
    /// All platforms are settled.
    Settled {
        number: u32,
        platforms: u32,
    },
    /// Another schedule from the end of the open cycle on.
    Rescheduled {
        schedule: Schedule,
        operator: Box<str>,
    },
    /// A platform belongs to another calendar of this currency from the end of this one's open cycle on.
    Leaves {
        platform: PlatformId,
        calendar: CalendarId,
    },
    /// A platform that nothing is booked of yet belongs to this calendar at once.
    Joins {
        platform: PlatformId,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The event does not belong to the state.
    OutOfPlace,
    /// A cycle of this calendar is being closed.
    IsClosing,
    /// It is closed already.
    IsClosed,
    /// A cycle before it is open.
    OutOfOrder,
    TooManyJoins,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Cut,
    Settle,
    Wake(Instant),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Cut,
    Settle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    Closed(CycleId),
}

pub type Step = machine::Step<Calendar>;

impl Calendar {
    /// One that is about to be created.
    pub const fn unborn(id: CalendarId) -> Self {
        Calendar {
            closing: None,
            id,
            joins: Vec::new(),
            last_at: Instant(0),
            open: None,
            schedule: None,
            terms: None,
            version: 0,
        }
    }

    pub const fn cycle(&self, number: u32) -> CycleId {
        CycleId { calendar: self.id, number }
    }

    /// When the open cycle is to be closed; none while another one is.
    fn closes_at(&self) -> Option<Instant> {
        match (&self.closing, &self.open, &self.terms) {
            (None, Some(open), Some(terms)) => Some(open.to.plus_ms(terms.close_after_ms)),
            (Some(_), _, _) | (None, None, _) | (None, _, None) => None,
        }
    }

    /// Ends the open cycle at `to`; the one after it begins there.
    fn close(&mut self, to: Instant) -> Result<(), Refusal> {
        let (Some(open), Some(schedule), None) = (self.open, &self.schedule, &self.closing) else {
            return Err(Refusal::OutOfPlace);
        };
        let ends_at = if to < open.to { open.to } else { schedule.next_after(to) };
        self.open = Some(Cycle { from: to, number: open.number + 1, to: ends_at });
        let joins = std::mem::take(&mut self.joins);
        self.closing =
            Some(Closing { cycle: Cycle { to, ..open }, joins, purpose: Purpose::Settle, stage: Stage::Cutting });
        Ok(())
    }

    /// Whether anything changed.
    fn take(&mut self, event: &Event) -> Result<bool, Refusal> {
        let is_made = self.terms.is_some();
        match &event.fact {
            Fact::Created { terms, schedule } if !is_made => {
                self.terms = Some(terms.clone());
                let to = schedule.next_after(event.at);
                self.open = Some(Cycle { from: event.at, number: 1, to });
                self.schedule = Some(schedule.clone());
                let cycle = Cycle { from: event.at, number: 0, to: event.at };
                let (joins, purpose, stage) = (Vec::new(), Purpose::Begin, Stage::Cutting);
                self.closing = Some(Closing { cycle, joins, purpose, stage });
                Ok(true)
            }
            Fact::Created { .. } => Err(Refusal::OutOfPlace),
            Fact::TimerFired
            | Fact::TimeInDoubt
            | Fact::ClosedEarly { .. }
            | Fact::Cut { .. }
            | Fact::Settled { .. }
            | Fact::Rescheduled { .. }
            | Fact::Leaves { .. }
            | Fact::Joins { .. }
                if !is_made =>
            {
                Err(Refusal::OutOfPlace)
            }
            Fact::TimerFired => match (self.closes_at(), self.open) {
                (Some(closes_at), Some(open)) if closes_at <= event.at => self.close(open.to).map(|()| true),
                (Some(_) | None, _) => Ok(false),
            },
            Fact::TimeInDoubt => Ok(false),
            Fact::ClosedEarly { number, .. } => {
                let open = self.open.ok_or(Refusal::OutOfPlace)?;
                let is_it = |closing: &Closing| closing.cycle.number == *number && closing.purpose == Purpose::Settle;
                match self.closing.as_ref() {
                    Some(closing) if is_it(closing) => return Err(Refusal::IsClosing),
                    Some(_) | None if *number < open.number => return Err(Refusal::IsClosed),
                    Some(_) | None if *number > open.number => return Err(Refusal::OutOfOrder),
                    Some(_) => return Err(Refusal::IsClosing),
                    None => {}
                }
                self.close(event.at.min(open.to).max(open.from)).map(|()| true)
            }
            Fact::Cut { number, covers } => match &mut self.closing {
                Some(closing) if closing.cycle.number == *number && closing.stage == Stage::Cutting => {
                    match closing.purpose {
                        Purpose::Begin | Purpose::Join => self.closing = None,
                        Purpose::Settle => closing.stage = Stage::Settling { covers: covers.clone() },
                    }
                    Ok(true)
                }
                Some(_) | None => Ok(false),
            },
            Fact::Settled { number, .. } => match &self.closing {
                Some(Closing { cycle, stage: Stage::Settling { .. }, .. }) if cycle.number == *number => {
                    self.closing = None;
                    Ok(true)
                }
                Some(_) | None => Ok(false),
            },
            Fact::Rescheduled { schedule, .. } => {
                if self.closing.is_some() {
                    return Err(Refusal::IsClosing);
                }
                Ok(self.schedule.replace(schedule.clone()).as_ref() != Some(schedule))
            }
            Fact::Leaves { platform, calendar } => {
                let currency = self.currency().ok_or(Refusal::OutOfPlace)?;
                self.joins.retain(|join| join.platform != *platform);
                if self.joins.len() >= JOINS_MAX {
                    return Err(Refusal::TooManyJoins);
                }
                self.joins.push(Join { calendar: *calendar, currency, platform: *platform });
                Ok(true)
            }
            Fact::Joins { platform } => {
                if self.closing.is_some() {
                    return Err(Refusal::IsClosing);
                }
                let (Some(currency), Some(open)) = (self.currency(), self.open) else {
                    return Err(Refusal::OutOfPlace);
                };
                let joins = vec![Join { calendar: self.id, currency, platform: *platform }];
                let cycle = Cycle { from: open.from, number: open.number - 1, to: open.from };
                self.closing = Some(Closing { cycle, joins, purpose: Purpose::Join, stage: Stage::Cutting });
                Ok(true)
            }
        }
    }

    pub fn currency(&self) -> Option<Currency> {
        self.terms.as_ref().map(|terms| terms.currency)
    }

    fn owed(&self, now: Instant) -> Vec<Effect> {
        match (&self.closing, self.closes_at()) {
            (Some(Closing { stage: Stage::Cutting, .. }), _) => {
                vec![Effect::Cut, Effect::Wake(now.plus_ms(AGAIN_MS))]
            }
            (Some(Closing { stage: Stage::Settling { .. }, .. }), _) => {
                vec![Effect::Settle, Effect::Wake(now.plus_ms(AGAIN_MS))]
            }
            (None, Some(closes_at)) if closes_at <= now => vec![Effect::Wake(now.plus_ms(AGAIN_MS))],
            (None, Some(closes_at)) => vec![Effect::Wake(closes_at)],
            (None, None) => Vec::new(),
        }
    }
}

impl From<CalendarId> for StreamId {
    fn from(calendar: CalendarId) -> Self {
        StreamId { kind: Kind::CALENDAR, id: u128::from(calendar.0) }
    }
}

impl Machine for Calendar {
    const KIND: Kind = Kind::CALENDAR;
    const NAME: &'static str = "calendar";

    type Event = Event;
    type Refusal = Refusal;
    type Write = std::convert::Infallible;
    type Effect = Effect;
    type Note = Note;
    type Target = Target;

    fn id(&self) -> u128 {
        u128::from(self.id.0)
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn decide(&self, events: &[Event]) -> Result<Step, Refusal> {
        let mut after = self.clone();
        let mut is_changed = false;
        let mut now = self.last_at;
        for event in events {
            if after.take(event)? {
                is_changed = true;
                // A clock that was set back makes no step older than the one before.
                after.last_at = after.last_at.max(event.at);
            }
            now = now.max(event.at);
        }
        if is_changed {
            after.version += 1;
        }
        let closed = match (&self.closing, &after.closing) {
            (Some(Closing { cycle, purpose: Purpose::Settle, .. }), None) => {
                vec![Note::Closed(self.cycle(cycle.number))]
            }
            (Some(_) | None, _) => Vec::new(),
        };
        let effects = after.owed(now);
        Ok(Step { after, writes: Vec::new(), effects, notes: closed, messages: Vec::new() })
    }

    fn resume(&self, now: Instant) -> Vec<Effect> {
        self.owed(now)
    }

    fn next_due_at(&self, now: Instant) -> Option<Instant> {
        match &self.closing {
            Some(_) => Some(now.plus_ms(AGAIN_MS)),
            None => self.closes_at(),
        }
    }

    fn is_at_rest(&self, now: Instant) -> bool {
        self.closing.is_none() && self.closes_at().is_none_or(|at| at > now)
    }

    fn target(effect: Effect) -> Option<Target> {
        match effect {
            Effect::Cut => Some(Target::Cut),
            Effect::Settle => Some(Target::Settle),
            Effect::Wake(_) => None,
        }
    }

    fn answered(event: &Event) -> Option<Target> {
        match event.fact {
            Fact::Cut { .. } => Some(Target::Cut),
            Fact::Settled { .. } => Some(Target::Settle),
            Fact::Created { .. }
            | Fact::TimerFired
            | Fact::TimeInDoubt
            | Fact::ClosedEarly { .. }
            | Fact::Rescheduled { .. }
            | Fact::Leaves { .. }
            | Fact::Joins { .. } => None,
        }
    }

    fn takes_back(_: Effect, _: Effect) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    const GRACE: i64 = 60_000;

    fn at(at: i64, fact: Fact) -> Event {
        Event { at: Instant(at), fact }
    }

    fn take(calendar: &Calendar, at_ms: i64, fact: Fact) -> Calendar {
        calendar.decide(&[at(at_ms, fact)]).unwrap().after
    }

    fn begun() -> Calendar {
        let currency = Currency::parse("CNY").unwrap();
        let terms = Terms { close_after_ms: GRACE, currency, name: "daily".into() };
        let schedule = Schedule::parse("daily 00:00 UTC").unwrap();
        let calendar = Calendar::unborn(CalendarId::of_currency(currency));
        let created = take(&calendar, 5, Fact::Created { terms, schedule });
        assert_eq!(created.owed(Instant(5))[0], Effect::Cut, "a calendar begins by a cut");
        take(&created, 6, cut(0))
    }

    fn cut(number: u32) -> Fact {
        Fact::Cut { number, covers: vec![Cover { lane: LaneId(1), places: 7 }] }
    }

    fn settled(number: u32) -> Fact {
        Fact::Settled { number, platforms: 1 }
    }

    fn early(number: u32) -> Fact {
        Fact::ClosedEarly { number, operator: "li".into() }
    }

    #[test]
    fn a_cycle_ends_by_itself_a_while_after_its_end() {
        let calendar = begun();
        assert_eq!(calendar.open, Some(Cycle { from: Instant(5), number: 1, to: Instant(DAY) }));
        assert_eq!(calendar.next_due_at(Instant(6)), Some(Instant(DAY + GRACE)));
        let early = calendar.decide(&[at(DAY + GRACE - 1, Fact::TimerFired)]).unwrap();
        assert_eq!((early.after.version, early.effects.len()), (calendar.version, 1));
        let closing = take(&calendar, DAY + GRACE, Fact::TimerFired);
        assert_eq!(closing.open, Some(Cycle { from: Instant(DAY), number: 2, to: Instant(2 * DAY) }));
        assert_eq!(closing.owed(Instant(0))[0], Effect::Cut);
        let again = closing.decide(&[at(3 * DAY, Fact::TimerFired)]).unwrap();
        assert_eq!(again.after.version, closing.version, "one closing at a time");
        assert_eq!(again.effects[0], Effect::Cut, "a stage is tried again");

        let settling = take(&closing, DAY + GRACE, cut(1));
        assert_eq!(settling.owed(Instant(0))[0], Effect::Settle);
        let done = settling.decide(&[at(3 * DAY, settled(1))]).unwrap();
        assert_eq!(done.notes, [Note::Closed(calendar.cycle(1))]);
        let caught_up = take(&done.after, 3 * DAY, Fact::TimerFired);
        assert_eq!(caught_up.closing.unwrap().cycle.number, 2, "after an outage one cycle follows the other");
    }

    #[test]
    fn what_was_answered_before_changes_nothing() {
        let calendar = begun();
        let closing = take(&calendar, DAY + GRACE, Fact::TimerFired);
        for late in [cut(0), settled(1), cut(2)] {
            assert_eq!(take(&closing, DAY + GRACE, late.clone()), closing, "{late:?}");
        }
        let settling = take(&closing, DAY + GRACE, cut(1));
        for late in [cut(1), settled(0), settled(2)] {
            assert_eq!(take(&settling, DAY + GRACE, late.clone()), settling, "{late:?}");
        }
    }

    #[test]
    fn a_cycle_that_is_closed_early_ends_then_and_the_next_one_at_its_end() {
        let calendar = begun();
        let refused = |calendar: &Calendar, number| calendar.decide(&[at(100, early(number))]).unwrap_err();
        assert_eq!(refused(&calendar, 0), Refusal::IsClosed);
        assert_eq!(refused(&calendar, 2), Refusal::OutOfOrder);
        let closing = take(&calendar, 100, early(1));
        assert_eq!(closing.closing.as_ref().unwrap().cycle, Cycle { from: Instant(5), number: 1, to: Instant(100) });
        assert_eq!(closing.open, Some(Cycle { from: Instant(100), number: 2, to: Instant(DAY) }));
        assert_eq!(refused(&closing, 1), Refusal::IsClosing);
        assert_eq!(refused(&closing, 2), Refusal::IsClosing);
        let done = take(&take(&closing, 101, cut(1)), 102, settled(1));
        assert_eq!(refused(&done, 1), Refusal::IsClosed);
        // One that is late ends where it should have.
        let late = take(&done, DAY + 5, early(2));
        assert_eq!(late.closing.unwrap().cycle.to, Instant(DAY));
    }

    #[test]
    fn another_schedule_holds_from_the_next_boundary_on() {
        let calendar = begun();
        let schedule = Schedule::parse("weekly mon 00:00 UTC").unwrap();
        let other = take(&calendar, 100, Fact::Rescheduled { schedule: schedule.clone(), operator: "li".into() });
        assert_eq!(other.open, calendar.open, "the open cycle keeps its end");
        let closing = take(&other, DAY + GRACE, Fact::TimerFired);
        assert_eq!(closing.open.unwrap().to, schedule.next_after(Instant(DAY)));
        let refused = closing.decide(&[at(0, Fact::Rescheduled { schedule, operator: "li".into() })]);
        assert_eq!(refused.unwrap_err(), Refusal::IsClosing);
    }

    #[test]
    fn a_platform_joins_at_once_or_with_the_next_cut() {
        let calendar = begun();
        let joining = take(&calendar, 100, Fact::Joins { platform: PlatformId(7) });
        let closing = joining.closing.as_ref().unwrap();
        assert_eq!((closing.cycle.number, closing.purpose, closing.joins[0].calendar), (0, Purpose::Join, calendar.id));
        assert_eq!(take(&joining, 101, cut(0)).closing, None, "nothing is settled by it");
        let other = CalendarId::FIRST_MADE;
        let leaving = take(&calendar, 100, Fact::Leaves { platform: PlatformId(7), calendar: other });
        assert_eq!(leaving.closing, None);
        let cutting = take(&leaving, DAY + GRACE, Fact::TimerFired);
        assert_eq!(cutting.closing.unwrap().joins[0].calendar, other);
        assert_eq!(cutting.joins, []);
    }

    #[test]
    fn a_calendar_is_written_as_it_is_read() {
        let closing = take(&begun(), DAY + GRACE, Fact::TimerFired);
        let text = serde_json::to_string(&closing).unwrap();
        assert_eq!(serde_json::from_str::<Calendar>(&text).unwrap(), closing);
    }
}
