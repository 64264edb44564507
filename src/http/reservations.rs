//! Names that somebody is busy with: of two requests under one name, one goes first.

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::sync::watch;

use crate::domain::id::PlatformId;

type Name = (PlatformId, Box<str>);

/// Bounded by the requests under way.
#[derive(Default)]
pub struct Reservations {
    /// The sender exists only where somebody waits; its end is the signal.
    busy: DashMap<Name, Option<watch::Sender<()>>>,
}

pub enum Reserved<'a> {
    Mine(Reservation<'a>),
    Busy(Waiting),
}

/// Ends when it is dropped, also when its request is given up.
pub struct Reservation<'a> {
    all: &'a Reservations,
    name: Name,
}

pub struct Waiting(watch::Receiver<()>);

impl Reservations {
    pub fn reserve(&self, platform: PlatformId, name: &str) -> Reserved<'_> {
        match self.busy.entry((platform, name.into())) {
            Entry::Vacant(free) => {
                let name = free.key().clone();
                free.insert(None);
                Reserved::Mine(Reservation { all: self, name })
            }
            Entry::Occupied(mut busy) => {
                let end = busy.get_mut().get_or_insert_with(|| watch::channel(()).0);
                Reserved::Busy(Waiting(end.subscribe()))
            }
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.all.busy.remove(&self.name);
    }
}

impl Waiting {
    /// Returns once the other request is over.
    pub async fn over(mut self) {
        // Nothing is ever sent: the only change is the sender's end.
        while self.0.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    const PLATFORM: PlatformId = PlatformId(1);

    #[tokio::test]
    async fn the_second_waits_until_the_first_is_over() {
        let all = Reservations::default();
        let Reserved::Mine(first) = all.reserve(PLATFORM, "a") else { panic!("free") };
        let Reserved::Busy(second) = all.reserve(PLATFORM, "a") else { panic!("busy") };
        let Reserved::Busy(third) = all.reserve(PLATFORM, "a") else { panic!("busy") };
        assert!(matches!(all.reserve(PLATFORM, "b"), Reserved::Mine(_)), "another name is free");
        assert!(matches!(all.reserve(PlatformId(2), "a"), Reserved::Mine(_)), "another platform's is free");

        assert!(timeout(Duration::from_millis(10), Waiting(second.0.clone()).over()).await.is_err());
        drop(first);
        timeout(Duration::from_secs(1), second.over()).await.unwrap();
        timeout(Duration::from_secs(1), third.over()).await.unwrap();
        assert!(matches!(all.reserve(PLATFORM, "a"), Reserved::Mine(_)));
        assert!(all.busy.is_empty());
    }
}
