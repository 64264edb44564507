//! The simulated writer: groups, and the ways in which a commit can fail.

use tongbao::engine::lane::WriteError;

use crate::auditor;
use crate::people;
use crate::process::Way;
use crate::store::{Refused, ShownChange, Unit};
use crate::trace;
use crate::world::{Motion, SECOND, What, World};

const GROUP_MAX: usize = 8;

impl World {
    /// Begins the next group, or turns away what waits while the store is away.
    pub fn begin_group(&mut self) -> Motion {
        let Some(process) = &mut self.process else { return Motion::Still };
        let mut desk = process.desk.borrow_mut();
        if process.committing.is_some() || desk.pending.is_empty() {
            return Motion::Still;
        }
        match process.way {
            Way::Open => {
                let size = desk.pending.len().min(GROUP_MAX);
                process.committing = Some(desk.pending.drain(..size).collect());
                drop(desk);
                let commit_ms = self.dice.between(self.weather.commit_ms);
                self.later(commit_ms, |life| What::GroupEnds { life });
                Motion::Still
            }
            Way::Away => {
                for pending in desk.pending.drain(..) {
                    pending.verdict.set(Some(Err(WriteError::Away)));
                }
                Motion::Moved
            }
        }
    }

    pub fn end_group(&mut self) {
        let Some(group) = self.process.as_mut().and_then(|process| process.committing.take()) else { return };
        // What was under way when a connection was lost holds the owner's row: it is there before any later group.
        self.land();
        let units: Vec<Unit> = group.iter().map(|pending| pending.unit.clone()).collect();
        if self.dice.happens(self.weather.group_unavailable) {
            for pending in group {
                pending.verdict.set(Some(Err(WriteError::Away)));
            }
            return self.store_goes_away();
        }
        if self.dice.happens(self.weather.group_in_doubt) {
            for pending in group {
                pending.verdict.set(Some(Err(WriteError::Unknown)));
            }
            match self.dice.pick(&[Fate::Lost, Fate::Written, Fate::WrittenLater]) {
                Fate::Lost => {}
                Fate::Written => self.write_late(&units),
                Fate::WrittenLater => {
                    self.late_groups.push(units);
                    let later_ms = self.dice.between((0, 20 * SECOND));
                    self.agenda.after(later_ms, What::Land);
                }
            }
            return self.store_goes_away();
        }
        let whole = self.write(&units);
        for (place, (pending, unit)) in group.iter().zip(&units).enumerate() {
            // One unit that is refused does not fail the others: the writer splits the group until it is alone.
            let alone = match &whole {
                Ok(duplicates) if duplicates.contains(&place) => Ok(vec![0]),
                Ok(_) => Ok(Vec::new()),
                Err(Refused::Conflict) => self.write(std::slice::from_ref(unit)),
            };
            pending.verdict.set(Some(match alone {
                Ok(duplicates) if duplicates.is_empty() => Ok(()),
                Ok(_) => Err(WriteError::Duplicate),
                Err(Refused::Conflict) => Err(WriteError::Conflict("another version".into())),
            }));
        }
    }

    fn store_goes_away(&mut self) {
        let away_ms = self.dice.between(self.weather.away_ms);
        self.outage_until = self.now().plus_ms(away_ms);
        if let Some(process) = &mut self.process {
            process.way = Way::Away;
        }
        self.later(away_ms, |life| What::StoreBack { life });
    }

    pub fn store_back(&mut self) {
        // The store is back once a write of the owner's row went through, and that write waits like any other.
        self.land();
        if let Some(process) = &mut self.process {
            process.way = Way::Open;
        }
    }

    pub fn land(&mut self) {
        for group in std::mem::take(&mut self.late_groups) {
            self.write_late(&group);
        }
    }

    pub fn write_late(&mut self, units: &[Unit]) {
        let written = self.write(units);
        trace::note(|| format!("         a group that was told as lost: {written:?}"));
    }

    fn write(&mut self, units: &[Unit]) -> Result<Vec<usize>, Refused> {
        let before: Vec<_> = units.iter().map(|unit| self.store.row(unit.order.id).cloned()).collect();
        let duplicates = self.store.commit(units)?;
        let now = self.now();
        for (place, (unit, before)) in units.iter().zip(&before).enumerate() {
            if duplicates.contains(&place) {
                continue;
            }
            auditor::committed(self, unit, before.as_ref());
            if let ShownChange::Store(shown) = unit.shown {
                people::shown(self, &unit.order, shown);
            }
            if let Some(due_at) = self.store.row(unit.order.id).and_then(|row| row.next_due_at) {
                self.later(due_at.since_ms(now).max(0) + SECOND, |life| What::Scan { life });
            }
        }
        Ok(duplicates)
    }
}

/// What becomes of a group whose outcome nobody could find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lost,
    Written,
    WrittenLater,
}
