//! Partitions: fixed shares of all streams. The store's map gives each partition its lane.

use aws_lc_rs::digest;

use super::id::PlatformId;

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

    /// Of an order: the first ten bits of SHA-256 over the platform's number (four bytes, the highest first) and the
    /// merchant order id as it came.
    pub fn of_name(platform: PlatformId, merchant_order_id: &str) -> Self {
        Partition::of_hash(&[&platform.0.to_be_bytes(), merchant_order_id.as_bytes()])
    }

    /// Of any other stream: the first ten bits of SHA-256 over its kind (one byte) and its id (16 bytes, the highest
    /// first).
    pub fn of_stream(kind: u8, id: u128) -> Self {
        Partition::of_hash(&[&[kind], &id.to_be_bytes()])
    }

    fn of_hash(parts: &[&[u8]]) -> Self {
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
    fn partitions_are_fixed_for_ever() {
        let names = [(1, "order-1", 536), (1, "order-2", 303), (2, "order-1", 404), (u32::MAX, "订单/7", 405)];
        for (platform, name, partition) in names {
            assert_eq!(Partition::of_name(PlatformId(platform), name).index(), partition, "{platform} {name}");
        }
        let streams = [(2, 7, 898), (2, 8, 973), (9, 0x1940000111172228333444455556666, 175)];
        for (kind, id, partition) in streams {
            assert_eq!(Partition::of_stream(kind, id).index(), partition, "{kind} {id}");
        }
    }

    #[test]
    fn names_spread_over_all_partitions() {
        let mut names = [0_u32; Partition::COUNT as usize];
        for number in 0..100_000 {
            names[usize::from(Partition::of_name(PlatformId(1), &format!("order-{number}")).index())] += 1;
        }
        let (least, most) = (names.iter().min(), names.iter().max());
        assert!(least > Some(&50) && most < Some(&150), "{least:?} to {most:?} of about 98");
    }
}
