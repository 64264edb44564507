//! Webhooks in memory, and how many of them each host may have.

use std::collections::{HashMap, HashSet};

use super::Key;

/// A host may have this part of what is left, so that dozens of dead hosts that come one after the other leave room
/// for one that lives, and as webhooks leave, all come to have the same.
const SHARE: usize = 8;

#[derive(Debug)]
pub struct Room {
    places: usize,
    inside: HashSet<Key>,
    by_host: HashMap<String, usize>,
}

/// Whether a webhook may be taken into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// It is inside now.
    Free,
    /// It was there already.
    Inside,
    /// Its host has its share; others may enter.
    HostFull,
    Full,
}

impl Room {
    pub fn new(places: usize) -> Self {
        Room { places, inside: HashSet::new(), by_host: HashMap::new() }
    }

    pub fn left(&self) -> usize {
        self.places.saturating_sub(self.inside.len())
    }

    pub fn enter(&mut self, key: Key, host: &str) -> Entrance {
        let left = self.left();
        if self.inside.contains(&key) {
            return Entrance::Inside;
        }
        if left == 0 {
            return Entrance::Full;
        }
        let share = (left / SHARE).max(1);
        match self.by_host.get_mut(host) {
            Some(inside) if *inside >= share => return Entrance::HostFull,
            Some(inside) => *inside += 1,
            None => {
                self.by_host.insert(host.to_owned(), 1);
            }
        }
        self.inside.insert(key);
        Entrance::Free
    }

    pub fn leave(&mut self, key: Key, host: &str) {
        self.inside.remove(&key);
        if let Some(inside) = self.by_host.get_mut(host) {
            *inside -= 1;
            if *inside == 0 {
                self.by_host.remove(host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ROOM;
    use super::*;
    use crate::domain::stream::{Kind, StreamId};

    fn key(host: usize, number: usize) -> Key {
        (StreamId { kind: Kind(200), id: (host * 1_000_000 + number) as u128 }, 1)
    }

    /// How many of 10,000 webhooks of a host get in.
    fn fill(room: &mut Room, host: usize) -> usize {
        (0..10_000).filter(|number| room.enter(key(host, *number), &host.to_string()) == Entrance::Free).count()
    }

    #[test]
    fn dozens_of_dead_hosts_leave_room_for_another() {
        let mut room = Room::new(ROOM);
        assert_eq!(fill(&mut room, 0), ROOM / (SHARE + 1));
        for host in 1..40 {
            assert!(fill(&mut room, host) > 0, "host {host}");
        }
        assert!(room.left() > 0 && room.inside.len() <= ROOM);
    }

    #[test]
    fn who_leaves_makes_room_for_its_host() {
        let mut room = Room::new(ROOM);
        fill(&mut room, 7);
        assert_eq!(room.enter(key(7, 20_000), "7"), Entrance::HostFull);
        assert_eq!(room.enter(key(7, 0), "7"), Entrance::Inside);
        room.leave(key(7, 0), "7");
        assert_eq!(room.enter(key(7, 20_000), "7"), Entrance::Free);
        for number in 0..20_001 {
            if room.inside.contains(&key(7, number)) {
                room.leave(key(7, number), "7");
            }
        }
        assert_eq!((room.left(), room.by_host.len()), (ROOM, 0));
    }

    #[test]
    fn a_full_room_is_told_from_a_host_that_has_its_share() {
        let mut room = Room::new(ROOM);
        for host in 0..ROOM {
            room.enter(key(host, 0), &host.to_string());
        }
        assert_eq!(room.left(), 0);
        assert_eq!(room.enter(key(ROOM, 0), "one more"), Entrance::Full);
    }
}
