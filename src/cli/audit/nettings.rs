//! Every netting run against its journal: how far it has got, and what it booked, follow from it.

use super::replay::stored;
use super::report::Report;
use crate::domain::cycle::CycleId;
use crate::domain::machine::Machine;
use crate::domain::netting::{NettingRun, Write, cycle_of};
use crate::domain::stream::{Kind, StreamId};
use crate::engine::nettings;
use crate::store::{JournalRow, Store, StoreError, StoredEntry};

/// # Errors
/// The store is away.
pub async fn examine_nettings(store: &dyn Store, page: u32, report: &mut Report) -> Result<(), StoreError> {
    let mut before = None;
    loop {
        let heads = store.heads(Kind::NETTING, None, before, page).await?;
        let Some((last, _)) = heads.last() else { return Ok(()) };
        before = Some(last.id);
        for (stream, _) in heads {
            let Some(id) = cycle_of(stream.id) else {
                report.fault(format!("the netting {stream} is of no cycle"));
                continue;
            };
            match examine(store, id).await {
                Ok(faults) => faults.into_iter().for_each(|fault| report.fault(format!("netting of {id}: {fault}"))),
                Err(error @ StoreError::Corrupt(_)) => {
                    report.unreadable_row("netting", Some(id.to_string()), &error);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Read before its journal and after: a change between the two is not mistaken for a fault.
async fn examine(store: &dyn Store, id: CycleId) -> Result<Vec<String>, StoreError> {
    let stream = StreamId::from(id);
    let Some(head) = store.head(stream).await? else { return Ok(Vec::new()) };
    let entries = store.entries(stream).await?;
    let journal = store.journal(stream).await?;
    if store.head(stream).await?.is_some_and(|now| now.version != head.version) {
        return Ok(Vec::new());
    }
    let (replayed, booked) = match replay(id, &journal) {
        Ok(replayed) => replayed,
        Err(why) => return Ok(vec![why]),
    };
    let mut faults = Vec::new();
    if replayed != nettings::read(id, &head.snapshot)? || *replayed.state_name() != *head.state {
        faults.push("its journal gives another run than is stored".to_owned());
    }
    if booked != entries {
        faults.push("its journal gives other entries than are stored".to_owned());
    }
    Ok(faults)
}

fn replay(id: CycleId, journal: &[JournalRow]) -> Result<(NettingRun, Vec<StoredEntry>), String> {
    let (mut run, mut entries) = (NettingRun::unborn(id), Vec::new());
    for (row, version) in journal.iter().zip(1u32..) {
        if row.version != version {
            return Err(format!("version {version} of its journal is missing"));
        }
        let record = row.record::<NettingRun>();
        let events =
            record.map_err(|error| format!("version {version} of its journal cannot be read: {error}"))?.events;
        let step = run.decide(&events);
        let step = step.map_err(|refusal| format!("version {version} of its journal is refused: {refusal:?}"))?;
        entries.extend(step.writes.iter().filter_map(|write| match write {
            Write::Entry(entry) => Some(stored(entry)),
            Write::Party { .. } | Write::Netted(_) => None,
        }));
        run = step.after;
    }
    Ok((run, entries))
}
