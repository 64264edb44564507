//! Orders that cannot be worked on: why, since when, and when each is tried again. The list lives in memory; a restart
//! tries every order anew.

use dashmap::DashMap;

use crate::domain::time::Instant;

/// An order that is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    pub why: String,
    pub since: Instant,
    /// How often it was tried again in vain.
    pub tries: usize,
    /// When it is tried again by itself.
    pub retry_at: Instant,
    pub held: Held,
}

/// How an aggregate stands that is to be taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Good,
    /// It was quarantined and is tried again.
    OnTrial,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Nobody may speak to it.
    Back,
    /// It is being tried again.
    OnTrial,
}

pub struct Quarantine {
    orders: DashMap<u128, Quarantined>,
    /// Gaps between tries; the last one repeats.
    retry_ms: Vec<u64>,
}

impl Quarantine {
    /// # Panics
    /// Without a single gap.
    pub fn new(retry_ms: Vec<u64>) -> Self {
        assert!(!retry_ms.is_empty(), "a quarantined order is tried again after some gap");
        Quarantine { orders: DashMap::new(), retry_ms }
    }

    /// Holds an order back, perhaps once more.
    pub fn hold(&self, id: u128, why: &str, now: Instant) -> Quarantined {
        let (since, tries) = self.orders.get(&id).map_or((now, 0), |before| (before.since, before.tries + 1));
        let gap_ms = self.retry_ms[tries.min(self.retry_ms.len() - 1)];
        let retry_at = now.plus_ms(i64::try_from(gap_ms).unwrap_or(i64::MAX));
        let held = Quarantined { why: why.into(), since, tries, retry_at, held: Held::Back };
        self.orders.insert(id, held.clone());
        held
    }

    /// None: nobody may speak to it.
    pub fn standing(&self, id: u128) -> Option<Standing> {
        match self.orders.get(&id).map(|order| order.held) {
            Some(Held::Back) => None,
            Some(Held::OnTrial) => Some(Standing::OnTrial),
            None => Some(Standing::Good),
        }
    }

    /// Lets a held order be tried again; none when it is not held.
    pub fn try_again(&self, id: u128) -> Option<Quarantined> {
        let mut order = self.orders.get_mut(&id)?;
        order.held = Held::OnTrial;
        Some(order.clone())
    }

    /// Whether it was held until now.
    pub fn release(&self, id: u128) -> bool {
        self.orders.remove(&id).is_some()
    }

    pub fn holds(&self, id: u128) -> bool {
        self.orders.contains_key(&id)
    }

    pub fn count(&self) -> usize {
        self.orders.len()
    }

    /// The first `limit` held orders by id that come after `after`.
    pub fn list(&self, after: Option<u128>, limit: usize) -> Vec<(u128, Quarantined)> {
        let beyond = |id: u128| after.is_none_or(|after| id > after);
        let mut ids: Vec<u128> = self.orders.iter().map(|order| *order.key()).filter(|id| beyond(*id)).collect();
        ids.sort_unstable();
        ids.truncate(limit);
        ids.into_iter().filter_map(|id| Some((id, self.orders.get(&id)?.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(1_000);

    #[test]
    fn an_order_is_held_tried_and_released() {
        let quarantine = Quarantine::new(vec![10, 50]);
        let id = 7;
        assert_eq!(quarantine.standing(id), Some(Standing::Good));
        assert!(quarantine.try_again(id).is_none());
        let first = quarantine.hold(id, "unreadable", NOW);
        assert_eq!((first.since, first.tries, first.retry_at), (NOW, 0, NOW.plus_ms(10)));
        assert_eq!(quarantine.standing(id), None);
        assert_eq!(quarantine.try_again(id).unwrap().held, Held::OnTrial);
        assert_eq!(quarantine.standing(id), Some(Standing::OnTrial));
        for tries in 1..4 {
            let again = quarantine.hold(id, "still", NOW.plus_ms(100));
            assert_eq!((again.since, again.tries, again.retry_at), (NOW, tries, NOW.plus_ms(150)));
        }
        assert!(quarantine.release(id) && !quarantine.release(id));
        assert_eq!(quarantine.standing(id), Some(Standing::Good));
    }

    #[test]
    fn the_list_goes_on_after_any_order() {
        let quarantine = Quarantine::new(vec![10]);
        for id in [5, 1, 9, 3] {
            quarantine.hold(id, "why", NOW);
        }
        let ids = |after: Option<u128>, limit| {
            let list = quarantine.list(after, limit);
            list.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
        };
        assert_eq!(ids(None, 2), [1, 3]);
        assert_eq!(ids(Some(3), 2), [5, 9]);
        assert_eq!(ids(Some(9), 2), []);
    }
}
