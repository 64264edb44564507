//! How partitions are divided among lanes, and what that changes.

use std::ops::Range;

use super::Owner;
use crate::domain::partition::{LaneId, Partition};

#[derive(Debug, PartialEq, Eq)]
pub struct Division {
    pub retired: Vec<LaneId>,
    pub made: Vec<LaneId>,
    /// The partitions of each lane, by number.
    pub shares: Vec<(LaneId, Range<u16>)>,
}

impl Division {
    /// Among `count` lanes: the oldest ones stay, and a number is never given twice.
    pub fn of(owner: &Owner, count: u16) -> Self {
        let active: Vec<LaneId> = owner.active().map(|row| row.lane).collect();
        let next = owner.lanes.iter().map(|row| row.lane.0 + 1).max().unwrap_or(LaneId::FIRST.0);
        let kept = active.len().min(usize::from(count));
        let missing = u32::from(count).saturating_sub(u32::try_from(kept).unwrap_or(u32::MAX));
        let made: Vec<LaneId> = (next..next + missing).map(LaneId).collect();
        let lanes = active[..kept].iter().chain(&made).copied();
        let start =
            |index: u32| u16::try_from(u32::from(Partition::COUNT) * index / u32::from(count)).unwrap_or(u16::MAX);
        let shares = lanes.zip(0..).map(|(lane, index)| (lane, start(index)..start(index + 1))).collect();
        Division { retired: active[kept..].to_vec(), made, shares }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LaneRow, Service};
    use super::*;
    use crate::domain::id::Incarnation;
    use crate::domain::time::Instant;

    fn owner(lanes: &[(u32, Service)]) -> Owner {
        let row = |(lane, service): &(u32, Service)| LaneRow {
            lane: LaneId(*lane),
            epoch: 3,
            beat: 0,
            group: 0,
            incarnation: Incarnation::default(),
            holder: String::new(),
            at: Instant(0),
            next_place: 1,
            service: *service,
        };
        Owner::of(lanes.iter().map(row).collect()).unwrap()
    }

    #[test]
    fn the_oldest_lanes_stay_and_numbers_are_given_once() {
        let (active, retired) = (Service::Active, Service::Retired);
        let one = Division::of(&owner(&[(1, active)]), 4);
        assert_eq!((one.retired, one.made), (vec![], vec![LaneId(2), LaneId(3), LaneId(4)]));
        assert_eq!(one.shares[0], (LaneId(1), 0..256));
        assert_eq!(one.shares[3], (LaneId(4), 768..1_024));
        let fewer = Division::of(&owner(&[(1, active), (2, active), (3, active), (4, active)]), 1);
        assert_eq!((fewer.retired, fewer.made), (vec![LaneId(2), LaneId(3), LaneId(4)], vec![]));
        assert_eq!(fewer.shares, [(LaneId(1), 0..1_024)]);
        let more = Division::of(&owner(&[(1, active), (2, retired), (3, retired)]), 3);
        assert_eq!((more.retired, more.made), (vec![], vec![LaneId(4), LaneId(5)]));
        assert_eq!(more.shares[1], (LaneId(4), 341..682));
    }

    #[test]
    fn every_partition_has_one_lane() {
        for count in 1..=16 {
            let shares = Division::of(&owner(&[(1, Service::Active)]), count).shares;
            let all: Vec<u16> = shares.into_iter().flat_map(|(_, share)| share).collect();
            assert_eq!(all, (0..Partition::COUNT).collect::<Vec<_>>(), "{count} lanes");
        }
    }
}
