//! Partitions: fixed shares of all streams. The store's map gives each partition its lane.

use std::fmt;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

/// A lane's number: one writer of the store's. It is given once and never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaneId(pub u32);

impl LaneId {
    /// The lane that every store is made with and keeps.
    pub const FIRST: LaneId = LaneId(1);
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One of 1,024 shares of all streams, fixed for ever: a stream never leaves its partition.
///
/// An order's partition follows from what must be unique about it, its platform and merchant order id, so that two
/// orders that want one name meet in one lane. It stands in the order's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u16);

impl Partition {
    pub const COUNT: u16 = 1 << Partition::BITS;
    pub const BITS: u32 = 10;

    /// Every partition, in order.
    pub fn all() -> impl Iterator<Item = Partition> {
        (0..Partition::COUNT).map(Partition)
    }

    /// The partition of the lowest [`Partition::BITS`] bits.
    pub const fn from_low_bits(bits: u128) -> Self {
        Partition((bits % Partition::COUNT as u128) as u16)
    }

    /// None from [`Partition::COUNT`] on.
    pub const fn from_index(index: u16) -> Option<Self> {
        if index < Partition::COUNT { Some(Partition(index)) } else { None }
    }

    pub const fn index(self) -> u16 {
        self.0
    }

    /// Of a stream that has no name: the first ten bits of SHA-256 over its kind (one byte) and its id (16 bytes, the
    /// highest first).
    pub fn of_stream(kind: u8, id: u128) -> Self {
        Partition::of_hash(&[&[kind], &id.to_be_bytes()])
    }

    /// The first ten bits of SHA-256 over these bytes.
    pub fn of_hash(parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(part);
        }
        let hash = context.finish();
        let first = hash.as_ref();
        Partition(u16::from(first[0]) << 2 | u16::from(first[1]) >> 6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By another program. They are stored in ids, so they never change.
    #[test]
    fn partitions_of_streams_are_fixed_for_ever() {
        let streams = [(2, 7, 898), (2, 8, 973), (9, 0x1940000111172228333444455556666, 175)];
        for (kind, id, partition) in streams {
            assert_eq!(Partition::of_stream(kind, id).index(), partition, "{kind} {id}");
        }
    }
}
