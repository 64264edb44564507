//! The lanes' carrier on virtual time: it does what the true lanes say, and the ways in which a store can fail.

use std::time::Duration;

use tongbao::domain::time::Instant;
use tongbao::engine::lane::{Act, Try};
use tongbao::store::{Committed, NextActionChange, StoreError, Unit};

use crate::auditor;
use crate::life::Asked;
use crate::people;
use crate::ports::ShipLane;
use crate::scene::lock;
use crate::sights::{self, Sight};
use crate::store::{self, order_of};
use crate::trace;
use crate::world::{INBOX_EVERY_MS, SECOND, START, What, World};

/// A group whose commit was told as lost and that may still be written, and its lane.
pub type LateGroup = (usize, Try<Unit>);

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
            Act::Commit(group) => (Asked::Commit(group), self.weather.commit_ms),
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
        if let Some(life) = &mut self.life {
            let before = life.asked.insert(lane, asked);
            assert!(before.is_none(), "one call of the store is under way at a time");
        }
        self.later(takes_ms, |life| What::StoreAnswers { life, lane });
    }

    pub fn store_answers(&mut self, lane: usize) {
        let Some(asked) = self.life.as_mut().and_then(|life| life.asked.remove(&lane)) else { return };
        let now = since_start(self.now());
        let ship = self.life.as_ref().map(|life| life.ship.clone()).expect("it has asked");
        match asked {
            Asked::Commit(group) => {
                let result = self.commit(lane, group);
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

    fn commit(&mut self, lane: usize, group: Try<Unit>) -> Result<Committed, StoreError> {
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
                Fate::Written => self.write_late(lane, &group),
                Fate::WrittenLater => {
                    self.late_groups.push((lane, group));
                    let later_ms = self.dice.between((0, 20 * SECOND));
                    self.agenda.after(later_ms, What::Land);
                }
            }
            self.store_goes_away();
            return Err(StoreError::InDoubt("the connection was lost".into()));
        }
        let result = self.write(lane, &group);
        if let Err(StoreError::Conflict(why)) = &result {
            panic!("what this process decides on is what is stored: {why}");
        }
        result
    }

    fn store_goes_away(&mut self) {
        let away_ms = self.dice.between(self.weather.away_ms);
        self.scene.end_outage_at(self.now().plus_ms(away_ms));
    }

    pub fn land(&mut self) {
        for (lane, group) in std::mem::take(&mut self.late_groups) {
            self.write_late(lane, &group);
        }
    }

    pub fn write_late(&mut self, lane: usize, group: &Try<Unit>) {
        let written = self.write(lane, group);
        trace::note(|| format!("         a group that was told as lost: {written:?}"));
    }

    fn write(&mut self, lane: usize, group: &Try<Unit>) -> Result<Committed, StoreError> {
        let units = group.units();
        let before: Vec<_> = units.iter().map(|unit| auditor::Before::of(&self.scene.store(), unit)).collect();
        let committed = self.scene.store().commit((lane, group.epoch, group.number, group.first_place), units)?;
        trace::note(|| format!("         lane {lane} commits {} units", units.len()));
        for (place, (unit, before)) in units.iter().zip(&before).enumerate() {
            if committed.duplicates.contains(&place) {
                continue;
            }
            auditor::committed(self, unit, before);
            match unit {
                Unit::Step(step) => {
                    let id = order_of(step);
                    if let NextActionChange::Store(action) = &step.head.next_action {
                        people::shown(self, id, store::shown(action));
                    }
                    if !step.webhooks.is_empty() {
                        self.plan_outbox(10 * SECOND);
                    }
                    self.look_when_due(id);
                }
                Unit::PutOff(put_off) => {
                    sights::note(Sight::PutOff);
                    self.look_when_due(put_off.stream.order().expect("all streams are orders"));
                }
                Unit::Inbox(_) => self.plan_inbox(INBOX_EVERY_MS),
                Unit::Answer(_) | Unit::InboxDone { .. } | Unit::Delivery(_) | Unit::DeadLetter(_) => {}
            }
        }
        Ok(committed)
    }

    fn look_when_due(&mut self, id: tongbao::domain::id::OrderId) {
        let due_at = self.scene.store().row(id).and_then(|row| row.next_due_at);
        if let Some(due_at) = due_at {
            let wait_ms = due_at.since_ms(self.now()).max(0) + SECOND;
            self.later(wait_ms, |life| What::Scan { life });
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
