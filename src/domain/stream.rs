//! The identity of a stream: whatever has a state, decides on events and keeps a journal of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::id::{IdError, OrderId};
use super::partition::Partition;

/// What sort of aggregate a stream is. Its number is stored and never given to another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kind(pub u8);

impl Kind {
    /// Lanes of the store: the first row of a lane's journal is its birth.
    pub const LANE: Kind = Kind(0);
    pub const ORDER: Kind = Kind(1);
    pub const PLATFORM: Kind = Kind(2);
    pub const OPERATOR: Kind = Kind(3);
    pub const PROPOSAL: Kind = Kind(4);
    pub const CALENDAR: Kind = Kind(5);
    pub const PAYEE: Kind = Kind(6);
    pub const NETTING: Kind = Kind(7);
}

/// A kind and 16 bytes: the key of its journal, its head and all that is due for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    pub kind: Kind,
    pub id: u128,
}

impl StreamId {
    /// The partition that the stream is in for ever.
    pub fn partition(self) -> Partition {
        match self.kind {
            Kind::ORDER => OrderId::from_u128(self.id).partition(),
            Kind(kind) => Partition::of_stream(kind, self.id),
        }
    }

    /// The order whose stream this is; none of another kind's.
    pub fn order(self) -> Option<OrderId> {
        (self.kind == Kind::ORDER).then(|| OrderId::from_u128(self.id))
    }
}

impl From<OrderId> for StreamId {
    fn from(order: OrderId) -> Self {
        StreamId { kind: Kind::ORDER, id: order.as_u128() }
    }
}

/// An order as people know it, any other stream by its kind's number and its id in hexadecimal.
impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::ORDER => write!(f, "{}", OrderId::from_u128(self.id)),
            Kind(kind) => write!(f, "{kind}:{:032x}", self.id),
        }
    }
}

impl FromStr for StreamId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if let Ok(order) = text.parse::<OrderId>() {
            return Ok(order.into());
        }
        let (kind, id) = text.split_once(':').ok_or(IdError)?;
        let kind = kind.parse().map(Kind).map_err(|_| IdError)?;
        let id = u128::from_str_radix(id, 16).map_err(|_| IdError)?;
        let stream = StreamId { kind, id };
        // One text for each stream.
        if stream.to_string() == text { Ok(stream) } else { Err(IdError) }
    }
}

impl Serialize for StreamId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StreamId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
