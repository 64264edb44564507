//! Every platform against its own journal: what it is known by, on what terms it orders, and where its webhooks go.

use std::collections::{BTreeMap, BTreeSet};

use super::report::Report;
use crate::domain::id::PlatformId;
use crate::domain::machine::Machine;
use crate::domain::money::Currency;
use crate::domain::platform::{Fact, KeyHash, Platform, Terms};
use crate::domain::time::Instant;
use crate::engine::platform;
use crate::store::{JournalRow, KeyRow, Store, StoreError, StoredPlatform};

/// # Errors
/// The store is away.
pub async fn examine_platforms(store: &dyn Store, report: &mut Report) -> Result<(), StoreError> {
    let mut known = BTreeSet::new();
    for row in store.platforms().await? {
        known.extend(row.key);
        let number = row.key.map(|id| id.0.to_string());
        let examined = match row.value {
            Ok(stored) => examine_platform(store, &stored).await,
            Err(error) => Err(error),
        };
        match examined {
            Ok(faults) => faults.into_iter().for_each(|fault| report.fault(fault)),
            Err(error @ StoreError::Corrupt(_)) => report.unreadable_row("platform", number, &error),
            Err(error) => return Err(error),
        }
    }
    // They are numbered one after the other.
    let mut id = PlatformId(1);
    while known.contains(&id) || examine_missing(store, id, report).await? {
        id = PlatformId(id.0.saturating_add(1));
    }
    Ok(())
}

/// A platform that had no row; whether it has a journal. One that was made since has a row by now.
async fn examine_missing(store: &dyn Store, id: PlatformId, report: &mut Report) -> Result<bool, StoreError> {
    if store.head(id.into()).await?.is_none() {
        return Ok(false);
    }
    if !store.platforms().await?.iter().any(|row| row.key == Some(id)) {
        report.fault(format!("platform {}: its row is gone", id.0));
    }
    Ok(true)
}

/// Read before its journal and after: a change between the two is not mistaken for a fault.
async fn examine_platform(store: &dyn Store, stored: &StoredPlatform) -> Result<Vec<String>, StoreError> {
    let id = stored.id;
    let Some(head) = store.head(id.into()).await? else {
        return Ok(vec![format!("platform {}: it has no journal", id.0)]);
    };
    let keys = store.keys(id).await?;
    let consents = store.share_consents().await?.into_iter().filter(|(platform, _)| *platform == id);
    let consents: BTreeSet<PlatformId> = consents.map(|(_, from)| from).collect();
    let mut journal = store.journal(id.into()).await?;
    let moved = store.head(id.into()).await?.is_some_and(|now| now.version != head.version);
    if moved {
        return Ok(Vec::new());
    }
    journal.retain(|row| row.version <= head.version);
    let platform = platform::read(id, &head.snapshot)?;
    let mut faults = compare(&platform, &journal, stored, &keys);
    if platform.accepts.iter().copied().collect::<BTreeSet<_>>() != consents {
        faults.push("it gets shares from other platforms than its rows say".to_owned());
    }
    for (code, most_minor) in &platform.debt_max {
        let Some(currency) = Currency::parse(code) else { continue };
        if store.debt_bound(id, currency).await? != Some(*most_minor) {
            faults.push(format!("it may owe another amount of {code} than its row says"));
        }
    }
    Ok(faults.into_iter().map(|fault| format!("platform {}: {fault}", id.0)).collect())
}

fn compare(platform: &Platform, journal: &[JournalRow], stored: &StoredPlatform, keys: &[KeyRow]) -> Vec<String> {
    let replayed = match replay(platform.id, journal) {
        Ok(replayed) => replayed,
        Err(why) => return vec![why],
    };
    let mut faults = Vec::new();
    if replayed.platform != *platform {
        faults.push("its journal gives another platform than is stored".to_owned());
    }
    let terms = Terms {
        fee_bearer: stored.fee_bearer,
        name: stored.name.as_str().into(),
        webhook_url: stored.webhook_url.as_deref().map(Into::into),
    };
    if replayed.platform.terms.as_ref() != Some(&terms) {
        faults.push("its journal gives other terms than its row".to_owned());
    }
    let found: Keys = keys.iter().map(|key| (key.hash, (key.hint.clone(), key.created_at, key.revoked_at))).collect();
    if replayed.keys != found {
        faults.push("its journal gives other keys than their rows".to_owned());
    }
    faults
}

/// Hint, when it was made and when revoked.
type Keys = BTreeMap<KeyHash, (String, Instant, Option<Instant>)>;

struct Replayed {
    platform: Platform,
    keys: Keys,
}

fn replay(id: PlatformId, journal: &[JournalRow]) -> Result<Replayed, String> {
    let (mut platform, mut keys) = (Platform::unborn(id), Keys::new());
    for (row, version) in journal.iter().zip(1u32..) {
        if row.version != version {
            return Err(format!("version {version} of its journal is missing"));
        }
        let record = row.record::<Platform>();
        let events =
            record.map_err(|error| format!("version {version} of its journal cannot be read: {error}"))?.events;
        let step = platform.decide(&events);
        platform = step.map_err(|refusal| format!("version {version} of its journal is refused: {refusal:?}"))?.after;
        for event in events {
            match event.fact {
                Fact::Created(_) => {}
                Fact::KeyAdded(key) => {
                    keys.insert(key.hash, (key.hint.into(), platform.last_at, None));
                }
                // The platform itself keeps them.
                Fact::SharesAccepted { .. } | Fact::SharesRefused { .. } | Fact::DebtBounded { .. } => {}
                Fact::KeyRevoked { hash } => {
                    keys.entry(hash).and_modify(|key| key.2 = Some(platform.last_at));
                }
            }
        }
    }
    Ok(Replayed { platform, keys })
}
