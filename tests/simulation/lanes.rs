//! The lanes' carrier on virtual time: it does what the true lanes say, and the ways in which a store can fail.

use std::time::Duration;

use tongbao::domain::stream::StreamId;
use tongbao::domain::time::Instant;
use tongbao::engine::lane::{Act, Try};
use tongbao::store::{Committed, NextActionChange, StoreError, Unit};

use crate::auditor;
use crate::book::Draft;
use crate::life::Asked;
use crate::people;
use crate::ports::ShipLane;
use crate::scene::lock;
use crate::sights::{self, Sight};
use crate::store::{self, step_of};
use crate::trace;
use crate::what::What;
use crate::world::{INBOX_EVERY_MS, SECOND, START, World};

/// A group whose commit was told as lost and that may still be written, as it was sent.
pub struct LateGroup {
    pub lane: usize,
    pub group: Try<Unit>,
    pub draft: Draft,
}

fn since_start(now: Instant) -> Duration {
    Duration::from_millis(u64::try_from(now.since_ms(START)).expect("time goes on"))
}

/// When a lane that has anything to wait for looks up next. One that rests and is well is left alone: it beats before
/// its next unit instead.
pub fn wakes_at(lane: &ShipLane) -> Option<Instant> {
    let waits = !lane.is_idle() || lane.standing().is_away();
    let at_ms = i64::try_from(lane.wakes_at().as_millis()).expect("a short run");
    (waits && !lane.standing().is_stopped()).then(|| START.plus_ms(at_ms))
}

impl World {
    /// Lets every lane look at what has come for it.
    pub fn lanes_proceed(&mut self) -> bool {
        let Some(life) = &self.life else { return false };
        let (ship, now) = (life.ship.clone(), since_start(self.now()));
        let mut moved = false;
        for (place, lane) in ship.lanes.iter().enumerate() {
            let mut acts = Vec::new();
            {
                let mut lane = lock(lane);
                if lane.standing().pending() > 0 && lane.wakes_at() <= now && self.dice.happens(500) {
                    lane.tick(0, now);
                } else {
                    lane.proceed(now);
                }
                acts.extend(std::iter::from_fn(|| lane.next_act()));
            }
            moved |= !acts.is_empty();
            self.moves += acts.len() as u64;
            for act in acts {
                self.lane_acts(place, act);
            }
        }
        moved
    }

    /// Time has passed for the lanes that wait.
    pub fn lanes_tick(&mut self) {
        let Some(life) = &self.life else { return };
        let now = self.now();
        for lane in &life.ship.lanes {
            let mut lane = lock(lane);
            if wakes_at(&lane).is_some_and(|at| at <= now) {
                lane.tick(0, since_start(now));
            }
        }
    }

    fn lane_acts(&mut self, lane: usize, act: Act<Unit, tokio::sync::oneshot::Sender<crate::ports::Verdict>>) {
        let (asked, takes) = match act {
            Act::Commit(group) => match self.draft(lane, &group) {
                Some(draft) => (Asked::Commit(group, Box::new(draft)), self.weather.commit_ms),
                None => return,
            },
            Act::Beat { lane: _, epoch } => (Asked::Beat { epoch }, (1, 20)),
            Act::FindLosers(group) => (Asked::FindLosers(group), (1, 20)),
            Act::Tell(waiter, verdict) => {
                trace::note(|| format!("         lane {lane} tells {verdict:?}"));
                return drop(waiter.send(verdict));
            }
            Act::Stop(why) => {
                trace::note(|| format!("         lane {lane} stops the process: {why}"));
                self.is_stopping = true;
                return;
            }
            Act::Left => unreachable!("no lane is told to leave"),
        };
        let takes_ms = self.dice.between(takes);
        let answered_at = self.now().plus_ms(takes_ms);
        if let Some(life) = &mut self.life {
            let before = life.asked.insert(lane, (asked, answered_at));
            assert!(before.is_none(), "one call of the store is under way at a time");
        }
        self.later(takes_ms, |life| What::StoreAnswers { life, lane });
    }

    fn draft(&mut self, lane: usize, group: &Try<Unit>) -> Option<Draft> {
        let kept = &mut self.life.as_mut()?.companions[lane];
        Some(self.scene.store().draft(lane, group, kept).expect("no balance overflows"))
    }

    pub fn store_answers(&mut self, lane: usize) {
        let Some((asked, _)) = self.life.as_mut().and_then(|life| life.asked.remove(&lane)) else { return };
        let now = since_start(self.now());
        let ship = self.life.as_ref().map(|life| life.ship.clone()).expect("it has asked");
        match asked {
            Asked::Commit(group, draft) => {
                let result = self.commit(lane, group, *draft);
                lock(&ship.lanes[lane]).committed(result, now);
            }
            Asked::Beat { epoch } => {
                let result = self.reach().and_then(|()| {
                    // What was under way when a connection was lost holds the owner's row: a beat waits for it.
                    self.land();
                    self.scene.store().beat(lane, epoch)
                });
                lock(&ship.lanes[lane]).beaten(result, now);
            }
            Asked::FindLosers(group) => {
                sights::note(Sight::ReadBackAsWritten);
                let result = self.reach().map(|()| self.scene.store().losers(group.units()));
                lock(&ship.lanes[lane]).losers_found(result, now);
            }
        }
    }

    fn reach(&self) -> Result<(), StoreError> {
        if self.scene.is_out() { Err(unavailable()) } else { Ok(()) }
    }

    fn commit(&mut self, lane: usize, group: Try<Unit>, draft: Draft) -> Result<Committed, StoreError> {
        self.reach()?;
        // What was under way when a connection was lost holds the owner's row: it is there before any later group.
        self.land();
        if self.dice.happens(self.weather.group_unavailable) {
            self.store_goes_away();
            return Err(unavailable());
        }
        if self.dice.happens(self.weather.group_in_doubt) {
            match self.dice.pick(&[Fate::Lost, Fate::Written, Fate::WrittenLater]) {
                Fate::Lost => {}
                Fate::Written => self.write_late(&LateGroup { lane, group, draft }),
                Fate::WrittenLater => {
                    self.late_groups.push(LateGroup { lane, group, draft });
                    let later_ms = self.dice.between((0, 20 * SECOND));
                    self.agenda.after(later_ms, What::Land);
                }
            }
            self.store_goes_away();
            return Err(StoreError::InDoubt("the connection was lost".into()));
        }
        let committed = self.write(lane, &group, &draft);
        if let Err(StoreError::Conflict(why)) = &committed {
            let store = self.scene.store();
            let is_told_twice = group.units().iter().filter_map(step_of).any(|step| store.lacks_message(step));
            assert!(is_told_twice, "what this process decides on is what is stored: {why}");
            sights::note(Sight::ToldTwice);
        }
        if committed.is_err() && group.units().len() > 1 {
            sights::note(Sight::GroupSplit);
        }
        let committed = committed?;
        if let Some(companions) = self.life.as_mut().and_then(|life| life.companions[lane].as_mut()) {
            companions.adopt(draft.stamped);
        }
        Ok(committed)
    }

    fn store_goes_away(&mut self) {
        let away_ms = self.dice.between(self.weather.away_ms);
        self.scene.end_outage_at(self.now().plus_ms(away_ms));
    }

    pub fn land(&mut self) {
        for late in std::mem::take(&mut self.late_groups) {
            self.write_late(&late);
        }
    }

    pub fn write_late(&mut self, late: &LateGroup) {
        let written = self.write(late.lane, &late.group, &late.draft);
        trace::note(|| format!("         a group that was told as lost: {written:?}"));
    }

    fn write(&mut self, lane: usize, group: &Try<Unit>, draft: &Draft) -> Result<Committed, StoreError> {
        let units = group.units();
        let before: Vec<_> = units.iter().map(|unit| auditor::Before::of(&self.scene.store(), unit)).collect();
        let committed = self.scene.store().commit(lane, group, draft)?;
        trace::note(|| format!("         lane {lane} commits {} units", units.len()));
        auditor::placed(&self.scene.store(), lane, draft);
        self.moves += 1;
        for (place, (unit, before)) in units.iter().zip(&before).enumerate() {
            if committed.duplicates.contains(&place) {
                continue;
            }
            auditor::committed(self, unit, before);
            match unit {
                Unit::Step(step) => {
                    if let (NextActionChange::Store(action), Some(id)) = (&step.head.next_action, step.stream.order()) {
                        people::shown(self, id, store::shown(action));
                    }
                    if !step.messages.is_empty() {
                        self.plan_messages(SECOND);
                    }
                    if !step.webhooks.is_empty() {
                        self.plan_outbox(10 * SECOND);
                    }
                    self.look_when_due(step.stream);
                }
                Unit::PutOff(put_off) => {
                    sights::note(Sight::PutOff);
                    self.look_when_due(put_off.stream);
                }
                Unit::Inbox(_) => self.plan_inbox(INBOX_EVERY_MS),
                Unit::Answer(_)
                | Unit::InboxDone { .. }
                | Unit::Delivery(_)
                | Unit::DeadLetter(_)
                | Unit::Cut(_)
                | Unit::OperatorAct(_) => {}
            }
        }
        Ok(committed)
    }

    fn look_when_due(&mut self, stream: StreamId) {
        let due_at = self.scene.store().next_due_at(stream);
        if let Some(due_at) = due_at {
            self.plan_scan(due_at);
        }
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("the store is away".into())
}

/// What becomes of a group whose outcome nobody could find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lost,
    Written,
    WrittenLater,
}
