//! The places among an account's calls under way, of one kind of call. Platforms that wait for places take turns: one that
//! asks for thousands of refunds at once holds up its own, and nobody else's.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use tokio::sync::oneshot;

use crate::domain::id::PlatformId;
use crate::domain::time::Instant;

/// There is no place to wait, or somebody else took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Which call of the platform with most of them gives way where too many wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivesWay {
    /// The one that came last.
    Last,
    /// The one that asks about what is oldest.
    Oldest,
}

pub struct Places(Rc<RefCell<Room>>);

struct Room {
    free: usize,
    waiting_max: usize,
    gives_way: GivesWay,
    /// Those who wait, by whose they are, each in the order in which they came. None is empty.
    waiting: BTreeMap<PlatformId, VecDeque<Waiting>>,
    /// The same platforms, the next one first.
    turns: VecDeque<PlatformId>,
    count: usize,
}

struct Waiting {
    since: Instant,
    /// Is dropped where it gives way.
    called: oneshot::Sender<Place>,
}

/// A place, until it is dropped.
pub struct Place(Option<Rc<RefCell<Room>>>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(room) = self.0.take() {
            pass_on(&room);
        }
    }
}

/// Gives a place that is left to whoever is next.
fn pass_on(room: &Rc<RefCell<Room>>) {
    loop {
        let next = {
            let mut room = room.borrow_mut();
            let next = room.next();
            room.free += usize::from(next.is_none());
            next
        };
        let Some(next) = next else { return };
        match next.called.send(Place(Some(room.clone()))) {
            Ok(()) => return,
            // Nobody waits there any more. The place is still ours to give.
            Err(mut place) => drop(place.0.take()),
        }
    }
}

impl Places {
    pub fn new(places: usize, waiting_max: usize, gives_way: GivesWay) -> Self {
        let (waiting, turns) = (BTreeMap::new(), VecDeque::new());
        Places(Rc::new(RefCell::new(Room { free: places, waiting_max, gives_way, waiting, turns, count: 0 })))
    }

    /// Waits for a place. `since` tells how old is what the call asks about.
    ///
    /// # Errors
    /// Too many wait, and this one gives way.
    pub async fn enter(&self, whose: PlatformId, since: Instant) -> Result<Place, Full> {
        let called = {
            let mut room = self.0.borrow_mut();
            // A place is free only while nobody waits.
            if room.free > 0 {
                room.free -= 1;
                return Ok(Place(Some(self.0.clone())));
            }
            room.line_up(whose, since)?
        };
        called.await.map_err(|_| Full)
    }
}

impl Room {
    fn line_up(&mut self, whose: PlatformId, since: Instant) -> Result<oneshot::Receiver<Place>, Full> {
        if self.count >= self.waiting_max {
            self.make_room(whose, since)?;
        }
        let (called, call) = oneshot::channel();
        let line = self.waiting.entry(whose).or_default();
        if line.is_empty() {
            self.turns.push_back(whose);
        }
        line.push_back(Waiting { since, called });
        self.count += 1;
        Ok(call)
    }

    /// Has somebody give way to a call: one of the platform that has most waiting, which may be the call's own.
    fn make_room(&mut self, whose: PlatformId, since: Instant) -> Result<(), Full> {
        let own = self.waiting.get(&whose).map_or(0, VecDeque::len);
        let most = self.waiting.iter().max_by_key(|(_, line)| line.len());
        let (from, most) = most.map(|(platform, line)| (*platform, line.len())).ok_or(Full)?;
        // Of two that have equally many neither takes the other's place.
        let is_anothers = most > own + 1;
        let from = if is_anothers { from } else { whose };
        let line = self.waiting.get(&from).ok_or(Full)?;
        let place = match self.gives_way {
            GivesWay::Last if is_anothers => line.len().checked_sub(1),
            // It is the last one itself.
            GivesWay::Last => None,
            GivesWay::Oldest => {
                let oldest = line.iter().enumerate().min_by_key(|(_, waiting)| waiting.since);
                oldest.filter(|(_, oldest)| is_anothers || oldest.since < since).map(|(place, _)| place)
            }
        };
        self.remove(from, place.ok_or(Full)?).map(drop).ok_or(Full)
    }

    fn next(&mut self) -> Option<Waiting> {
        let whose = *self.turns.front()?;
        let next = self.remove(whose, 0);
        // Whoever has more waiting is next after all others.
        if self.turns.front() == Some(&whose) {
            self.turns.rotate_left(1);
        }
        next
    }

    fn remove(&mut self, whose: PlatformId, place: usize) -> Option<Waiting> {
        let line = self.waiting.get_mut(&whose)?;
        let removed = line.remove(place)?;
        self.count -= 1;
        if line.is_empty() {
            self.waiting.remove(&whose);
            self.turns.retain(|platform| *platform != whose);
        }
        Some(removed)
    }
}

#[cfg(test)]
impl Places {
    pub fn free(&self) -> usize {
        self.0.borrow().free
    }

    pub fn waiting_max(&self) -> usize {
        self.0.borrow().waiting_max
    }

    pub fn waiting(&self) -> usize {
        let room = self.0.borrow();
        assert_eq!(room.count, room.waiting.values().map(VecDeque::len).sum::<usize>());
        assert_eq!(room.turns.len(), room.waiting.len());
        room.count
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::task::JoinHandle;

    use super::*;

    const BUSY: PlatformId = PlatformId(1);
    const OTHER: PlatformId = PlatformId(2);

    struct Line {
        places: Rc<Places>,
        served: Rc<RefCell<Vec<(PlatformId, i64)>>>,
    }

    impl Line {
        fn new(waiting_max: usize, gives_way: GivesWay) -> Self {
            Line { places: Rc::new(Places::new(1, waiting_max, gives_way)), served: Rc::default() }
        }

        /// Somebody waits from now on, and leaves again as soon as they have had their place.
        async fn waits(&self, whose: PlatformId, since: i64) -> JoinHandle<Result<(), Full>> {
            let (places, served) = (self.places.clone(), self.served.clone());
            let waits = actix_web::rt::spawn(async move {
                let place = places.enter(whose, Instant(since)).await?;
                served.borrow_mut().push((whose, since));
                drop(place);
                Ok(())
            });
            tokio::task::yield_now().await;
            waits
        }
    }

    #[actix_web::test]
    async fn platforms_take_turns() {
        let line = Line::new(100, GivesWay::Last);
        let under_way = line.places.enter(BUSY, Instant(0)).await.unwrap();
        let mut all = Vec::new();
        for number in 1..=4 {
            all.push(line.waits(BUSY, number).await);
        }
        for number in 5..=6 {
            all.push(line.waits(OTHER, number).await);
        }
        assert_eq!((line.places.free(), line.places.waiting()), (0, 6));
        drop(under_way);
        for served in all {
            assert_eq!(served.await.unwrap(), Ok(()));
        }
        let served = line.served.borrow().clone();
        assert_eq!(served, [(BUSY, 1), (OTHER, 5), (BUSY, 2), (OTHER, 6), (BUSY, 3), (BUSY, 4)]);
        assert_eq!((line.places.free(), line.places.waiting()), (1, 0));
    }

    #[actix_web::test]
    async fn who_has_most_waiting_gives_way_and_never_whoever_has_less() {
        let line = Line::new(3, GivesWay::Last);
        let under_way = line.places.enter(BUSY, Instant(0)).await.unwrap();
        let first = line.waits(BUSY, 1).await;
        let (second, third) = (line.waits(BUSY, 2).await, line.waits(BUSY, 3).await);
        assert_eq!(line.waits(BUSY, 4).await.await.unwrap(), Err(Full), "it has all the room there is");
        let other = line.waits(OTHER, 5).await;
        assert_eq!(third.await.unwrap(), Err(Full), "it came last of those who have most");
        assert_eq!(line.waits(OTHER, 6).await.await.unwrap(), Err(Full), "it would have as many as the other has");
        assert_eq!(line.waits(BUSY, 7).await.await.unwrap(), Err(Full));
        drop(under_way);
        for served in [first, second, other] {
            assert_eq!(served.await.unwrap(), Ok(()));
        }
        assert_eq!(line.places.free(), 1);
    }

    #[actix_web::test]
    async fn the_oldest_gives_way_where_age_counts() {
        let line = Line::new(3, GivesWay::Oldest);
        let under_way = line.places.enter(BUSY, Instant(0)).await.unwrap();
        let waiting = [line.waits(BUSY, 50).await, line.waits(BUSY, 10).await, line.waits(BUSY, 40).await];
        assert_eq!(line.waits(BUSY, 5).await.await.unwrap(), Err(Full), "older than all that wait");
        let other = line.waits(OTHER, 5).await;
        let younger = line.waits(BUSY, 60).await;
        let [youngest, oldest, old] = waiting;
        assert_eq!(oldest.await.unwrap(), Err(Full), "it gave way to the other platform");
        assert_eq!(old.await.unwrap(), Err(Full), "it gave way to a younger one of its own");
        drop(under_way);
        for served in [youngest, other, younger] {
            assert_eq!(served.await.unwrap(), Ok(()));
        }
    }

    #[actix_web::test]
    async fn a_place_is_not_lost_with_whoever_waited_for_it() {
        let line = Line::new(100, GivesWay::Last);
        let under_way = line.places.enter(BUSY, Instant(0)).await.unwrap();
        let gone = line.waits(BUSY, 1).await;
        let waits = line.waits(BUSY, 2).await;
        gone.abort();
        assert!(gone.await.is_err());
        drop(under_way);
        assert_eq!(waits.await.unwrap(), Ok(()));
        assert_eq!(line.places.free(), 1);
        // Called and gone before it could hear of it.
        let under_way = line.places.enter(BUSY, Instant(0)).await.unwrap();
        let heard = Rc::new(Cell::new(false));
        let (places, hears) = (line.places.clone(), heard.clone());
        let gone = actix_web::rt::spawn(async move {
            let place = places.enter(OTHER, Instant(0)).await;
            hears.set(true);
            drop(place);
        });
        tokio::task::yield_now().await;
        drop(under_way);
        gone.abort();
        assert!(gone.await.is_err() && !heard.get());
        assert_eq!(line.places.free(), 1);
    }
}
