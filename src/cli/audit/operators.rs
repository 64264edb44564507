//! Every operator against the journal: name, role and keys follow from it.

use std::collections::{BTreeMap, BTreeSet};

use super::report::Report;
use crate::domain::machine::Machine;
use crate::domain::operator::{Fact, Key, Operator, OperatorId, Person};
use crate::domain::platform::KeyHash;
use crate::domain::time::Instant;
use crate::engine::operator;
use crate::store::{JournalRow, OperatorKeyRow, Store, StoreError, StoredOperator};

/// # Errors
/// The store is away.
pub async fn examine_operators(store: &dyn Store, report: &mut Report) -> Result<(), StoreError> {
    let mut known = BTreeSet::new();
    for row in store.operators().await? {
        known.extend(row.key);
        let number = row.key.map(|id| id.0.to_string());
        let examined = match row.value {
            Ok(stored) => examine(store, &stored).await,
            Err(error) => Err(error),
        };
        match examined {
            Ok(faults) => faults.into_iter().for_each(|fault| report.fault(fault)),
            Err(error @ StoreError::Corrupt(_)) => report.unreadable_row("operator", number, &error),
            Err(error) => return Err(error),
        }
    }
    // They are numbered one after the other.
    let mut id = OperatorId(1);
    loop {
        let is_there = known.contains(&id);
        if !is_there && store.head(id.into()).await?.is_none() {
            return Ok(());
        }
        // One that was added since has a row by now.
        if !is_there && !store.operators().await?.iter().any(|row| row.key == Some(id)) {
            report.fault(format!("operator {}: its row is gone", id.0));
        }
        id = OperatorId(id.0.saturating_add(1));
    }
}

/// Read before its journal and after: a change between the two is not mistaken for a fault.
async fn examine(store: &dyn Store, stored: &StoredOperator) -> Result<Vec<String>, StoreError> {
    let id = stored.id;
    let Some(head) = store.head(id.into()).await? else {
        return Ok(vec![format!("operator {}: it has no journal", id.0)]);
    };
    let keys = store.operator_keys(id).await?;
    let mut journal = store.journal(id.into()).await?;
    if store.head(id.into()).await?.is_some_and(|now| now.version != head.version) {
        return Ok(Vec::new());
    }
    journal.retain(|row| row.version <= head.version);
    let faults = compare(&operator::read(id, &head.snapshot)?, &journal, stored, &keys);
    Ok(faults.into_iter().map(|fault| format!("operator {}: {fault}", id.0)).collect())
}

fn compare(
    operator: &Operator,
    journal: &[JournalRow],
    stored: &StoredOperator,
    keys: &[OperatorKeyRow],
) -> Vec<String> {
    let (replayed, made) = match replay(operator.id, journal) {
        Ok(replayed) => replayed,
        Err(why) => return vec![why],
    };
    let mut faults = Vec::new();
    if replayed != *operator {
        faults.push("its journal gives another operator than is stored".to_owned());
    }
    if replayed.person.as_ref() != Some(&Person { name: stored.name.clone(), role: stored.role }) {
        faults.push("its journal gives another name or role than its row".to_owned());
    }
    let found: Keys =
        keys.iter().map(|row| (row.key.hash, (row.key.clone(), row.created_at, row.revoked_at))).collect();
    if made != found {
        faults.push("its journal gives other keys than their rows".to_owned());
    }
    faults
}

/// The key, when it was made and when revoked.
type Keys = BTreeMap<KeyHash, (Key, Instant, Option<Instant>)>;

fn replay(id: OperatorId, journal: &[JournalRow]) -> Result<(Operator, Keys), String> {
    let (mut operator, mut keys) = (Operator::unborn(id), Keys::new());
    for (row, version) in journal.iter().zip(1u32..) {
        if row.version != version {
            return Err(format!("version {version} of its journal is missing"));
        }
        let record = row.record::<Operator>();
        let events =
            record.map_err(|error| format!("version {version} of its journal cannot be read: {error}"))?.events;
        let step = operator.decide(&events);
        operator = step.map_err(|refusal| format!("version {version} of its journal is refused: {refusal:?}"))?.after;
        for event in events {
            match event.fact {
                Fact::Added { person: _, key } | Fact::KeyAdded(key) => {
                    keys.insert(key.hash, (key, operator.last_at, None));
                }
                // The operator itself keeps it.
                Fact::RoleChanged { .. } => {}
                Fact::KeyRevoked { hash } => {
                    keys.entry(hash).and_modify(|key| key.2 = Some(operator.last_at));
                }
            }
        }
    }
    Ok((operator, keys))
}
