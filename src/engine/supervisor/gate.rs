//! Which request leaves next: the order of service, where each kind of call has a room of its own.
//!
//! Creates leave before refunds, refunds before closes, closes before queries, and none is passed over for ever. Each
//! kind has its own bound on calls under way and on calls that wait for a place, so that queries that wait never keep a
//! create from leaving; platforms that wait take turns (`places`). Queries thin out with age: where their room is full, the oldest attempt's is put off to its next
//! tick, and ticks lie the further apart the older an order is.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{Notify, oneshot};

use super::places::{Full, GivesWay, Place, Places};
use crate::domain::id::PlatformId;
use crate::domain::time::Instant;

/// A kind of call, in the order of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Creates,
    Refunds,
    Closes,
    Queries,
}

impl Room {
    const COUNT: usize = 4;
    const ALL: [Room; Room::COUNT] = [Room::Creates, Room::Refunds, Room::Closes, Room::Queries];

    const fn index(self) -> usize {
        self as usize
    }

    /// Its part of the calls under way.
    fn percent(self, queries_percent: usize) -> usize {
        let aside = (100 - queries_percent) / 4;
        match self {
            Room::Creates => 100 - queries_percent - 2 * aside,
            Room::Refunds | Room::Closes => aside,
            Room::Queries => queries_percent,
        }
    }

    const fn gives_way(self) -> GivesWay {
        match self {
            Room::Creates | Room::Refunds | Room::Closes => GivesWay::Last,
            Room::Queries => GivesWay::Oldest,
        }
    }
}

/// Whoever waits and was passed over so often is next, whatever its kind: one request in twenty.
const PASSED_OVER_MAX: u32 = 20;

#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub per_second: u32,
    pub queries_percent: u32,
    /// Calls under way, of all kinds.
    pub concurrent: usize,
    /// Calls that wait for a place, of each kind.
    pub waiting_max: usize,
    /// How long the last query of a full room waits while nothing else leaves.
    pub queries_wait_ms: u64,
}

impl Bounds {
    fn queries_per_second(&self) -> u32 {
        (self.per_second.saturating_mul(self.queries_percent) / 100).max(1)
    }

    fn waiting_max(&self, room: Room) -> usize {
        match room {
            Room::Creates | Room::Refunds | Room::Closes => self.waiting_max,
            Room::Queries => {
                let queries = u64::from(self.queries_per_second()).saturating_mul(self.queries_wait_ms) / 1_000;
                usize::try_from(queries).unwrap_or(usize::MAX).clamp(1, self.waiting_max.max(1))
            }
        }
    }
}

pub struct Gate {
    limiter: DefaultDirectRateLimiter,
    query_limiter: DefaultDirectRateLimiter,
    /// The query limiter's leave for one query that has not left yet.
    query_leave: Cell<bool>,
    places: [Places; Room::COUNT],
    lines: RefCell<[Line; Room::COUNT]>,
    arrived: Notify,
}

#[derive(Default)]
struct Line {
    /// Requests of calls that have a place, in the order of their arrival.
    turns: VecDeque<oneshot::Sender<()>>,
    passed_over: u32,
}

impl Gate {
    pub fn new(bounds: &Bounds) -> Self {
        let queries_percent = bounds.queries_percent.min(100) as usize;
        let places = |room: Room| (bounds.concurrent * room.percent(queries_percent) / 100).max(1);
        Gate {
            limiter: RateLimiter::direct(quota(bounds.per_second)),
            query_limiter: RateLimiter::direct(quota(bounds.queries_per_second())),
            query_leave: Cell::new(false),
            places: Room::ALL.map(|room| Places::new(places(room), bounds.waiting_max(room), room.gives_way())),
            lines: RefCell::default(),
            arrived: Notify::new(),
        }
    }

    /// Waits for a place among the calls under way. `since` tells how old is what is asked about.
    ///
    /// # Errors
    /// Too many of its kind wait: its platform has most of them, and of queries it is the oldest one's.
    pub async fn enter(&self, room: Room, whose: PlatformId, since: Instant) -> Result<Place, Full> {
        self.places[room.index()].enter(whose, since).await
    }

    /// Waits until a request may leave.
    pub async fn turn(&self, room: Room) {
        if self.nobody_waits() && self.has_leave(room) && self.limiter.check().is_ok() {
            self.took(room);
            return;
        }
        let (sender, turn) = oneshot::channel();
        self.lines.borrow_mut()[room.index()].turns.push_back(sender);
        self.arrived.notify_one();
        // The line lives as long as its account.
        let _ = turn.await;
    }

    /// Calls those who wait, for as long as the account is served.
    pub async fn serve(&self) {
        loop {
            if self.nobody_waits() {
                self.arrived.notified().await;
            } else if self.next().is_none() {
                // Queries alone wait, and they have no leave.
                tokio::select! {
                    () = self.query_limiter.until_ready() => self.query_leave.set(true),
                    () = self.arrived.notified() => {}
                }
            } else {
                self.limiter.until_ready().await;
                self.call_next();
            }
        }
    }

    fn call_next(&self) {
        while let Some(room) = self.next() {
            let turn = self.lines.borrow_mut()[room.index()].turns.pop_front();
            if turn.is_some_and(|turn| turn.send(()).is_ok()) {
                self.took(room);
                return;
            }
        }
    }

    /// Whose turn it is: who was passed over too often, or else the first in the order of service.
    fn next(&self) -> Option<Room> {
        let lines = self.lines.borrow();
        let waits = |room: &Room| !lines[room.index()].turns.is_empty() && self.has_leave(*room);
        let waiting: Vec<Room> = Room::ALL.into_iter().filter(waits).collect();
        let starved = waiting.iter().find(|room| lines[room.index()].passed_over >= PASSED_OVER_MAX);
        starved.or(waiting.first()).copied()
    }

    fn took(&self, room: Room) {
        match room {
            Room::Queries => self.query_leave.set(false),
            Room::Creates | Room::Refunds | Room::Closes => {}
        }
        let lines = &mut *self.lines.borrow_mut();
        for other in lines.iter_mut().filter(|line| !line.turns.is_empty()) {
            other.passed_over = other.passed_over.saturating_add(1);
        }
        lines[room.index()].passed_over = 0;
    }

    fn has_leave(&self, room: Room) -> bool {
        match room {
            Room::Creates | Room::Refunds | Room::Closes => true,
            Room::Queries => {
                if !self.query_leave.get() && self.query_limiter.check().is_ok() {
                    self.query_leave.set(true);
                }
                self.query_leave.get()
            }
        }
    }

    fn nobody_waits(&self) -> bool {
        self.lines.borrow().iter().all(|line| line.turns.is_empty())
    }
}

/// Requests per second with a burst of a tenth of that: gateways count in short windows.
fn quota(per_second: u32) -> Quota {
    let per_second = std::num::NonZeroU32::new(per_second.max(1)).unwrap_or(std::num::NonZeroU32::MIN);
    let burst = std::num::NonZeroU32::new(per_second.get() / 10).unwrap_or(std::num::NonZeroU32::MIN);
    Quota::per_second(per_second).allow_burst(burst)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    const SHOP: PlatformId = PlatformId(1);

    const PRODUCTION: Bounds =
        Bounds { per_second: 100, queries_percent: 30, concurrent: 512, waiting_max: 20_000, queries_wait_ms: 30_000 };

    #[test]
    fn report_the_backlog_of_queries_is_bounded_at_production_s_figures() {
        let gate = Gate::new(&PRODUCTION);
        let places: Vec<usize> = gate.places.iter().map(Places::free).collect();
        assert_eq!(places, [184, 87, 87, 153], "creates, refunds, closes, queries");
        assert!(places.iter().sum::<usize>() <= 512);
        // 30 a second for 30 s wait for a place.
        assert_eq!(gate.places.each_ref().map(Places::waiting_max), [20_000, 20_000, 20_000, 900]);
    }

    #[actix_web::test]
    async fn report_a_full_room_puts_off_the_oldest_order_s_query_and_no_create() {
        let gate = Rc::new(Gate::new(&Bounds { concurrent: 1, queries_wait_ms: 100, ..PRODUCTION }));
        let under_way = gate.enter(Room::Queries, SHOP, Instant(0)).await.unwrap();
        let enter = |age: i64| {
            let gate = gate.clone();
            actix_web::rt::spawn(async move { gate.enter(Room::Queries, SHOP, Instant(age)).await.map(drop) })
        };
        let waiting = [enter(50), enter(10), enter(40)];
        tokio::task::yield_now().await;
        assert_eq!(gate.enter(Room::Queries, SHOP, Instant(5)).await.map(drop), Err(Full), "older than all that wait");
        let youngest = enter(60);
        tokio::task::yield_now().await;
        assert!(gate.enter(Room::Creates, SHOP, Instant(0)).await.is_ok(), "creates have their own room");
        drop(under_way);
        let [second, first, third] = waiting;
        assert_eq!(first.await.unwrap(), Err(Full));
        for served in [second, third, youngest] {
            assert_eq!(served.await.unwrap(), Ok(()));
        }
        assert!(gate.places.iter().all(|places| places.waiting() == 0));
    }

    #[test]
    fn report_calls_are_served_in_their_order_and_none_is_passed_over_for_ever() {
        let gate = Gate::new(&PRODUCTION);
        let mut turns: Vec<(Room, oneshot::Receiver<()>)> = Vec::new();
        for room in [Room::Queries, Room::Closes, Room::Refunds] {
            let (sender, turn) = oneshot::channel();
            gate.lines.borrow_mut()[room.index()].turns.push_back(sender);
            turns.push((room, turn));
        }
        let mut creates = Vec::new();
        for _ in 0..100 {
            let (sender, turn) = oneshot::channel();
            gate.lines.borrow_mut()[Room::Creates.index()].turns.push_back(sender);
            creates.push(turn);
        }
        let mut served = Vec::new();
        for place in 0..103 {
            gate.call_next();
            turns.retain_mut(|(room, turn)| match turn.try_recv() {
                Ok(()) => {
                    served.push((place, *room));
                    false
                }
                Err(_) => true,
            });
        }
        assert_eq!(served, [(20, Room::Refunds), (21, Room::Closes), (22, Room::Queries)]);
        assert!(creates.iter_mut().all(|turn| turn.try_recv().is_ok()));
        assert!(gate.nobody_waits());
    }
}
