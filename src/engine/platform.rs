//! The platform in the engine: what it may be told, and what its steps write. It waits for nobody and calls nobody, so
//! it is in memory only while it takes a letter.

use std::convert::Infallible;
use std::sync::Arc;

use super::host::{Act, Hands, Hearing, Host, Loaded, Stored, message_rows};
use super::lane::{Admission, WriteError};
use super::ports::{Lanes, PlatformReads, Salts, Time};
use crate::domain::id::PlatformId;
use crate::domain::journal::{Salt, Title};
use crate::domain::machine::Machine;
use crate::domain::money::Currency;
use crate::domain::platform::{Event, Fact, Key, KeyHash, Platform, Refusal, Step, Terms, Write};
use crate::domain::time::Instant;
use crate::store::{
    AddedKey, DebtBound, Head, NextActionChange, Reply, RevokedKey, Row, ShareConsent, StepUnit, StoreError,
    StoredMessage, StoredPlatform, Unit,
};

pub enum Told {
    /// The first letter of a new platform.
    Create {
        terms: Terms,
        key: Key,
        webhook_secret: Box<str>,
    },
    AddKey(Key),
    /// All of them or none.
    RevokeKeys(Vec<KeyHash>),
    AcceptShares(PlatformId),
    RefuseShares(PlatformId),
    BoundDebt(Currency, Option<i64>),
    /// A platform never is.
    Due,
}

/// What travels beside the events of a turn: no secret enters a journal.
#[derive(Default)]
pub struct Beside {
    webhook_secret: Option<Box<str>>,
}

/// What platforms need of the rest of the engine.
pub struct Platforms {
    pub time: Arc<dyn Time>,
    pub salts: Arc<dyn Salts>,
    pub reads: Arc<dyn PlatformReads>,
    pub lanes: Arc<dyn Lanes>,
}

/// What makes a platform's step durable. `webhook_secret` is a new platform's.
///
/// # Errors
/// [`WriteError::Culprit`] for a new platform without a secret.
pub fn unit(
    step: &Step,
    events: &[Event],
    salt: Salt,
    mut webhook_secret: Option<Box<str>>,
) -> Result<StepUnit, WriteError> {
    let (after, at) = (&step.after, step.after.last_at);
    let rows = step.writes.iter().map(|write| row(write, after, &mut webhook_secret)).collect::<Result<_, _>>()?;
    Ok(StepUnit {
        stream: after.stream(),
        expected_version: after.version - 1,
        version: after.version,
        at,
        decided_at: events.last().map_or(at, |event| event.at),
        head: Head {
            state: "active",
            facet: None,
            next_due_at: None,
            next_action: NextActionChange::Keep,
            snapshot: serde_json::to_string(after).map_err(|error| culprit(&error))?.into(),
        },
        journal: Title::of::<Platform>(after.id(), after.version, at)
            .write(salt, events)
            .map_err(|error| culprit(&error))?,
        name: None,
        rows,
        entries: Vec::new(),
        webhooks: Vec::new(),
        messages: message_rows(step, at)?,
        taken: None,
        claim: None,
    })
}

fn row(write: &Write, after: &Platform, webhook_secret: &mut Option<Box<str>>) -> Result<Row, WriteError> {
    let (platform, at) = (after.id, after.last_at);
    Ok(match write {
        Write::Terms => {
            let (Some(terms), Some(secret)) = (&after.terms, webhook_secret.take()) else {
                return Err(WriteError::Culprit("a platform is made without its terms or its secret".to_owned()));
            };
            Row::Platform(Box::new(StoredPlatform {
                id: platform,
                name: terms.name.to_string(),
                fee_bearer: terms.fee_bearer,
                webhook_secret: secret.into(),
                webhook_url: terms.webhook_url.as_deref().map(Into::into),
            }))
        }
        Write::AddKey(key) => Row::Key(AddedKey { platform, key: key.clone(), created_at: at }),
        Write::BoundDebt(currency, most_minor) => {
            Row::DebtBound(DebtBound { platform, currency: *currency, most_minor: *most_minor })
        }
        Write::AcceptShares(from) => Row::SharesAccepted(ShareConsent { platform, from: *from }),
        Write::RefuseShares(from) => Row::SharesRefused(ShareConsent { platform, from: *from }),
        Write::RevokeKey(hash) => Row::KeyRevoked(RevokedKey { platform, hash: *hash, revoked_at: at }),
    })
}

fn culprit(error: &serde_json::Error) -> WriteError {
    WriteError::Culprit(format!("a platform's step cannot be written: {error}"))
}

impl Host for Platforms {
    type Machine = Platform;
    type Told = Told;
    type Beside = Beside;
    type Memory = ();

    fn now(&self) -> Instant {
        self.time.now()
    }

    fn load(&self, id: u128) -> Reply<'_, Option<Loaded<Self>>> {
        Box::pin(async move {
            let Ok(id) = u32::try_from(id).map(PlatformId) else { return Ok(None) };
            let Some(head) = self.reads.head(id).await? else { return Ok(None) };
            let machine = read(id, &head.snapshot)?;
            let hands = if self.lanes.is_ours(id.into(), head.epoch) { Hands::Ours } else { Hands::Others };
            Ok(Some(Loaded { machine, memory: (), stored: Stored { due_at: head.next_due_at, hands } }))
        })
    }

    fn woken(&self) -> Told {
        Told::Due
    }

    fn activated(&self, _: u128) {}

    fn received(&self, _: &StoredMessage) -> Option<Told> {
        None
    }

    fn hear(&self, _: &Platform, (): &mut (), told: Told) -> Hearing<Self> {
        let at = self.time.now();
        let event = |fact| Event { at, fact };
        let (events, beside) = match told {
            Told::Create { terms, key, webhook_secret } => {
                let events = vec![event(Fact::Created(terms)), event(Fact::KeyAdded(key))];
                (events, Beside { webhook_secret: Some(webhook_secret) })
            }
            Told::AddKey(key) => (vec![event(Fact::KeyAdded(key))], Beside::default()),
            Told::RevokeKeys(hashes) => {
                let events = hashes.into_iter().map(|hash| event(Fact::KeyRevoked { hash })).collect();
                (events, Beside::default())
            }
            Told::AcceptShares(from) => (vec![event(Fact::SharesAccepted { from })], Beside::default()),
            Told::RefuseShares(from) => (vec![event(Fact::SharesRefused { from })], Beside::default()),
            Told::BoundDebt(currency, most_minor) => {
                (vec![event(Fact::DebtBounded { currency, most_minor })], Beside::default())
            }
            Told::Due => return Hearing::Nothing { over: None },
        };
        Hearing::Turn { events, beside }
    }

    async fn unit(&self, step: &Step, events: &[Event], (): &(), beside: &mut Beside) -> Result<StepUnit, WriteError> {
        unit(step, events, self.salts.salt(), beside.webhook_secret.take())
    }

    async fn write(&self, admission: Admission, unit: Unit) -> Result<(), WriteError> {
        self.lanes.write(admission, unit).await
    }

    fn act(&self, _: &Platform, (): &mut (), _: &Beside, effect: Infallible) -> Act<Told> {
        match effect {}
    }

    fn take_back(&self, (): &mut (), pending: Infallible) {
        match pending {}
    }

    fn noted(&self, _: &Platform, _: &[Infallible]) {}

    fn ended(&self, _: &Platform, (): &mut (), _: Beside) {}

    fn refused_by_store(&self, _: u128) -> Option<Refusal> {
        None
    }

    fn is_followed(&self, (): &()) -> bool {
        false
    }
}

/// Reads a platform from its snapshot.
///
/// # Errors
/// [`StoreError::Corrupt`] where it is damaged, or another's.
pub fn read(id: PlatformId, snapshot: &str) -> Result<Platform, StoreError> {
    let read = serde_json::from_str::<Platform>(snapshot).ok().filter(|platform| platform.id == id);
    read.ok_or_else(|| StoreError::Corrupt(format!("the stored platform {} cannot be read", id.0)))
}
