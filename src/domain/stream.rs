//! The identity of a stream: whatever has a state, decides on events and keeps a journal of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::OrderId;
use super::partition::Partition;

/// What sort of aggregate a stream is. Its number is stored and never given to another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kind(pub u8);

impl Kind {
    pub const ORDER: Kind = Kind(1);
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

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
