//! Taking a store: one process owns it, and a second one is refused, saying who holds it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::store::{Owner, Store, StoreError};

#[derive(Debug)]
pub enum LeaseError {
    /// Its holder is alive.
    Held(String),
    Store(StoreError),
}

impl std::fmt::Display for LeaseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LeaseError::Held(holder) => write!(f, "the store is held by {holder}"),
            LeaseError::Store(error) => write!(f, "the store cannot be taken: {error}"),
        }
    }
}

impl std::error::Error for LeaseError {}

impl From<StoreError> for LeaseError {
    fn from(error: StoreError) -> Self {
        LeaseError::Store(error)
    }
}

/// A holder that was killed may have had one write of each lane under way, which the database finishes without it; there
/// is never more than one. So a row that moves this often may be a dead holder's, and one that moves oftener is a living
/// one's.
const LAST_WRITES: u32 = 1;

/// Takes the store over from nobody, or from a holder that misses `missed` beats in a row. Beats are counted, clocks
/// are not compared.
///
/// # Errors
/// The holder is alive, another process was faster, or the store fails.
pub async fn acquire(store: &dyn Store, holder: &str, beat: Duration, missed: u32) -> Result<Owner, LeaseError> {
    let mut seen = store.owner().await?;
    let mut movements = BTreeMap::new();
    loop {
        if is_silent(store, &seen, beat, missed).await?
            && let Some(owner) = store.take_over(&seen, holder).await?
        {
            return Ok(owner);
        }
        let now = store.owner().await?;
        for (row, before) in now.lanes.iter().zip(&seen.lanes) {
            if row != before {
                *movements.entry(row.lane).or_insert(0) += 1;
            }
        }
        let is_alive = movements.values().any(|count| *count > LAST_WRITES) && !now.holder.is_empty();
        if is_alive || now.epoch != seen.epoch {
            return Err(LeaseError::Held(now.holder));
        }
        seen = now;
    }
}

/// Whether nothing is heard of the holder for `missed` beats; of nobody nothing is expected.
async fn is_silent(store: &dyn Store, seen: &Owner, beat: Duration, missed: u32) -> Result<bool, StoreError> {
    if seen.holder.is_empty() {
        return Ok(true);
    }
    tracing::info!(holder = seen.holder, "the store has a holder; listening for its beats");
    for _ in 0..missed {
        tokio::time::sleep(beat).await;
        if store.owner().await? != *seen {
            return Ok(false);
        }
    }
    tracing::warn!(holder = seen.holder, "its holder is gone; taking the store over");
    Ok(true)
}

/// What a process holds a store for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Server,
    /// It gives the store back within moments.
    Command,
}

impl Role {
    const fn of_process(self) -> &'static str {
        match self {
            Role::Server => "process",
            Role::Command => "the command of process",
        }
    }

    /// This process, for people.
    pub fn holder_name(self) -> String {
        let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
        let host = host.trim();
        let host = if host.is_empty() { "this host" } else { host };
        format!("{} {} on {host}", self.of_process(), std::process::id())
    }

    /// Whether a holder of this name has this role.
    pub fn is_of(self, holder: &str) -> bool {
        holder.starts_with(self.of_process())
    }
}
