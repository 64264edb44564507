//! The platform: who posts orders, on what terms, and the keys that it is known by.
//!
//! Its webhook secret is no part of it: secrets lie in a cell of their own, and never in a journal.

use std::collections::BTreeMap;
use std::convert::Infallible;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::id::PlatformId;
use super::machine::{self, Machine};
use super::money::Currency;
pub use super::name::{NAME_MAX, is_name};
use super::order::FeeBearer;
use super::stream::{Kind, StreamId};
use super::time::Instant;

/// Keys in force at once: rotating takes two, and some platforms give each of their systems one. Every step writes them
/// all.
pub const KEYS_MAX: usize = 64;

/// Platforms that one gets shares from: every step writes them all.
pub const ACCEPTS_MAX: usize = 1_000;

/// SHA-256 of an API key, which is kept nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    pub fn of(key: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
        KeyHash(hash)
    }
}

impl Serialize for KeyHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(KeyHash).ok_or_else(|| D::Error::custom("not the hash of a key"))
    }
}

/// What was agreed with a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    pub fee_bearer: FeeBearer,
    /// No two platforms have one name: see [`is_name`].
    pub name: Box<str>,
    /// Where webhooks go when an order names no address.
    pub webhook_url: Option<Box<str>>,
}

/// A key in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    pub hash: KeyHash,
    /// The first characters of the key, by which people tell keys apart.
    pub hint: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// From whom it gets shares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepts: Vec<PlatformId>,
    /// What it may owe after refunds, in minor units by currency.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub debt_max: BTreeMap<Box<str>, i64>,
    pub id: PlatformId,
    /// Those in force, in the order in which they were added.
    pub keys: Vec<Key>,
    pub last_at: Instant,
    /// None before it was created.
    pub terms: Option<Terms>,
    pub version: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: Instant,
    #[serde(flatten)]
    pub fact: Fact,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Fact {
    Created(Terms),
    KeyAdded(Key),
    KeyRevoked {
        hash: KeyHash,
    },
    /// It gets shares from that platform from now on.
    SharesAccepted {
        from: PlatformId,
    },
    /// And no more.
    SharesRefused {
        from: PlatformId,
    },
    /// What it may owe after refunds, in a currency; without a bound any debt.
    DebtBounded {
        currency: Currency,
        most_minor: Option<i64>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The event does not belong to the state, such as a second creation.
    OutOfPlace,
    TooManyKeys,
    /// No such key is in force.
    KeyUnknown,
    /// The very key is in force already.
    KeyTaken,
    /// It gets shares from as many platforms as it may, or from none but itself.
    SharesUnacceptable,
}

/// A row beside the platform's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Terms,
    AddKey(Key),
    RevokeKey(KeyHash),
    AcceptShares(PlatformId),
    RefuseShares(PlatformId),
    BoundDebt(Currency, Option<i64>),
}

pub type Step = machine::Step<Platform>;

impl Platform {
    /// One that is about to be created.
    pub const fn unborn(id: PlatformId) -> Self {
        Platform {
            accepts: Vec::new(),
            debt_max: BTreeMap::new(),
            id,
            keys: Vec::new(),
            last_at: Instant(0),
            terms: None,
            version: 0,
        }
    }

    fn take(&mut self, fact: &Fact) -> Result<Option<Write>, Refusal> {
        match (fact, &self.terms) {
            (Fact::Created(terms), None) => {
                self.terms = Some(terms.clone());
                Ok(Some(Write::Terms))
            }
            (Fact::Created(_), Some(_))
            | (
                Fact::KeyAdded(_)
                | Fact::KeyRevoked { .. }
                | Fact::SharesAccepted { .. }
                | Fact::SharesRefused { .. }
                | Fact::DebtBounded { .. },
                None,
            ) => Err(Refusal::OutOfPlace),
            (Fact::DebtBounded { currency, most_minor }, Some(_)) => {
                let before = match most_minor {
                    Some(most_minor) => self.debt_max.insert(currency.code().into(), *most_minor),
                    None => self.debt_max.remove(currency.code()),
                };
                Ok((before != *most_minor).then_some(Write::BoundDebt(*currency, *most_minor)))
            }
            (Fact::SharesAccepted { from }, Some(_)) => {
                if self.accepts.contains(from) {
                    return Ok(None);
                }
                if self.accepts.len() >= ACCEPTS_MAX || *from == self.id {
                    return Err(Refusal::SharesUnacceptable);
                }
                self.accepts.push(*from);
                Ok(Some(Write::AcceptShares(*from)))
            }
            (Fact::SharesRefused { from }, Some(_)) => {
                let Some(place) = self.accepts.iter().position(|known| known == from) else { return Ok(None) };
                self.accepts.remove(place);
                Ok(Some(Write::RefuseShares(*from)))
            }
            (Fact::KeyAdded(key), Some(_)) => {
                if self.keys.len() >= KEYS_MAX {
                    return Err(Refusal::TooManyKeys);
                }
                if self.keys.iter().any(|known| known.hash == key.hash) {
                    return Err(Refusal::KeyTaken);
                }
                self.keys.push(key.clone());
                Ok(Some(Write::AddKey(key.clone())))
            }
            (Fact::KeyRevoked { hash }, Some(_)) => {
                let place = self.keys.iter().position(|key| key.hash == *hash).ok_or(Refusal::KeyUnknown)?;
                self.keys.remove(place);
                Ok(Some(Write::RevokeKey(*hash)))
            }
        }
    }
}

impl From<PlatformId> for StreamId {
    fn from(platform: PlatformId) -> Self {
        StreamId { kind: Kind::PLATFORM, id: u128::from(platform.0) }
    }
}

impl Machine for Platform {
    const KIND: Kind = Kind::PLATFORM;
    const NAME: &'static str = "platform";

    type Event = Event;
    type Refusal = Refusal;
    type Write = Write;
    type Effect = Infallible;
    type Note = Infallible;
    type Target = Infallible;

    fn id(&self) -> u128 {
        u128::from(self.id.0)
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn decide(&self, events: &[Event]) -> Result<Step, Refusal> {
        let mut after = self.clone();
        let mut writes = Vec::with_capacity(events.len());
        for event in events {
            let Some(write) = after.take(&event.fact)? else { continue };
            writes.push(write);
            // A clock that was set back makes no step older than the one before.
            after.last_at = after.last_at.max(event.at);
        }
        if !writes.is_empty() {
            after.version += 1;
        }
        Ok(Step { after, writes, effects: Vec::new(), notes: Vec::new(), messages: Vec::new() })
    }

    fn resume(&self, _: Instant) -> Vec<Infallible> {
        Vec::new()
    }

    fn next_due_at(&self, _: Instant) -> Option<Instant> {
        None
    }

    fn is_at_rest(&self, _: Instant) -> bool {
        true
    }

    fn target(effect: Infallible) -> Option<Infallible> {
        Some(effect)
    }

    fn answered(_: &Event) -> Option<Infallible> {
        None
    }

    fn takes_back(_: Infallible, pending: Infallible) -> bool {
        match pending {}
    }
}
