//! The netting run in the engine: what it may be told, and what its steps write. It calls nobody and is never due: it
//! waits for what platforms confirm.

use super::lane::WriteError;
use super::quiet::{Dates, Quiet, Quietly, unit_of};
use crate::domain::cycle::CycleId;
use crate::domain::journal::Salt;
use crate::domain::netting::{Event, Fact, NettingRun, Step, Write, cycle_of};
use crate::domain::time::Instant;
use crate::store::{NettedRow, NettingPartyRow, Row, StepUnit, StoreError};

pub struct NettingKind;

pub type Nettings = Quietly<NettingKind>;

impl Quiet for NettingKind {
    type Machine = NettingRun;
    type Told = Fact;
    type Beside = ();

    fn unborn(id: u128) -> Option<NettingRun> {
        cycle_of(id).map(NettingRun::unborn)
    }

    fn hear(fact: Fact, at: Instant) -> (Vec<Event>, ()) {
        (vec![Event { at, fact }], ())
    }

    fn read(id: u128, snapshot: &str) -> Result<Option<NettingRun>, StoreError> {
        cycle_of(id).map(|cycle| read(cycle, snapshot)).transpose()
    }

    fn unit(step: &Step, events: &[Event], salt: Salt, (): &mut ()) -> Result<StepUnit, WriteError> {
        unit(step, events, salt)
    }
}

/// What makes a run's step durable.
///
/// # Errors
/// None that an event could cause.
pub fn unit(step: &Step, events: &[Event], salt: Salt) -> Result<StepUnit, WriteError> {
    let (after, at) = (&step.after, step.after.last_at);
    let decided_at = events.last().map_or(at, |event| event.at);
    let (mut rows, mut entries) = (Vec::new(), Vec::new());
    for write in &step.writes {
        match write {
            Write::Party { platform, number } => rows.push(Row::NettingParty(NettingPartyRow {
                platform: *platform,
                cycle: after.id,
                number: *number,
                made_at: after.made_at,
            })),
            Write::Netted(platform) => {
                rows.push(Row::Netted(NettedRow { platform: *platform, cycle: after.id, netted_at: at }));
            }
            Write::Entry(entry) => entries.push(entry.clone()),
        }
    }
    let mut unit = unit_of(step, events, salt, Dates { at, decided_at }, rows)?;
    unit.head.state = after.state_name();
    unit.entries = entries;
    Ok(unit)
}

/// Reads a run from its snapshot.
///
/// # Errors
/// [`StoreError::Corrupt`] where it is damaged, or another's.
pub fn read(cycle: CycleId, snapshot: &str) -> Result<NettingRun, StoreError> {
    let read = serde_json::from_str::<NettingRun>(snapshot).ok().filter(|run| run.id == cycle);
    read.ok_or_else(|| StoreError::Corrupt(format!("the stored netting of {cycle} cannot be read")))
}
