//! The platform in the engine: what it may be told, and what its steps write.

use super::lane::WriteError;
use super::quiet::{Dates, Quiet, Quietly, unit_of};
use crate::domain::id::PlatformId;
use crate::domain::journal::Salt;
use crate::domain::money::Currency;
use crate::domain::platform::{Event, Fact, Key, KeyHash, Platform, Step, Terms, Write};
use crate::domain::time::Instant;
use crate::store::{AddedKey, DebtBound, RevokedKey, Row, ShareConsent, StepUnit, StoreError, StoredPlatform};

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
}

/// What travels beside the events of a turn: no secret enters a journal.
#[derive(Default)]
pub struct Beside {
    webhook_secret: Option<Box<str>>,
}

pub struct PlatformKind;

pub type Platforms = Quietly<PlatformKind>;

impl Quiet for PlatformKind {
    type Machine = Platform;
    type Told = Told;
    type Beside = Beside;

    fn hear(told: Told, at: Instant) -> (Vec<Event>, Beside) {
        let mut beside = Beside::default();
        let facts = match told {
            Told::Create { terms, key, webhook_secret } => {
                beside.webhook_secret = Some(webhook_secret);
                vec![Fact::Created(terms), Fact::KeyAdded(key)]
            }
            Told::AddKey(key) => vec![Fact::KeyAdded(key)],
            Told::RevokeKeys(hashes) => hashes.into_iter().map(|hash| Fact::KeyRevoked { hash }).collect(),
            Told::AcceptShares(from) => vec![Fact::SharesAccepted { from }],
            Told::RefuseShares(from) => vec![Fact::SharesRefused { from }],
            Told::BoundDebt(currency, most_minor) => vec![Fact::DebtBounded { currency, most_minor }],
        };
        (facts.into_iter().map(|fact| Event { at, fact }).collect(), beside)
    }

    fn read(id: u128, snapshot: &str) -> Result<Option<Platform>, StoreError> {
        u32::try_from(id).ok().map(|id| read(PlatformId(id), snapshot)).transpose()
    }

    fn unit(step: &Step, events: &[Event], salt: Salt, beside: &mut Beside) -> Result<StepUnit, WriteError> {
        unit(step, events, salt, beside.webhook_secret.take())
    }
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
    let decided_at = events.last().map_or(at, |event| event.at);
    unit_of(step, events, salt, Dates { at, decided_at }, rows)
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

/// Reads a platform from its snapshot.
///
/// # Errors
/// [`StoreError::Corrupt`] where it is damaged, or another's.
pub fn read(id: PlatformId, snapshot: &str) -> Result<Platform, StoreError> {
    let read = serde_json::from_str::<Platform>(snapshot).ok().filter(|platform| platform.id == id);
    read.ok_or_else(|| StoreError::Corrupt(format!("the stored platform {} cannot be read", id.0)))
}
