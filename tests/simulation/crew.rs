//! Whatever waits for something in one life of the server: cells at work, askers, look-ups. Which of those that can go
//! on goes on first is left to chance.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use tongbao::engine::carry::{Carrier, Done, Spot, Task, Way};

use crate::dice::Dice;
use crate::scene::lock;

/// Where a cell is worked on; a number in one life of the server.
pub type WayNumber = u64;

type Errand = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the engine has handed over to be run.
enum Handed {
    Cell(WayNumber, Box<dyn Task>),
    Errand(Errand),
}

/// Ways that cells are worked on, and what was handed over and not begun yet.
#[derive(Default)]
pub struct Yard {
    handed: Mutex<Vec<Handed>>,
    ways: AtomicU64,
    /// Ways that a cell still holds.
    alive: Mutex<BTreeMap<WayNumber, ()>>,
    left: Mutex<Vec<WayNumber>>,
}

impl Yard {
    pub fn alive(&self) -> usize {
        lock(&self.alive).len()
    }

    /// Ways whose cells have left memory since this was last asked.
    pub fn left(&self) -> Vec<WayNumber> {
        std::mem::take(&mut *lock(&self.left))
    }
}

/// The engine's carrier on virtual time.
pub struct Porter(pub Arc<Yard>);

struct Bench {
    yard: Arc<Yard>,
    number: WayNumber,
}

impl Carrier for Porter {
    fn settle(&self, _: Spot) -> Box<dyn Way> {
        let number = self.0.ways.fetch_add(1, Ordering::Relaxed);
        lock(&self.0.alive).insert(number, ());
        Box::new(Bench { yard: self.0.clone(), number })
    }

    fn spawn(&self, errand: Errand) {
        lock(&self.0.handed).push(Handed::Errand(errand));
    }
}

impl Way for Bench {
    fn carry(&self, task: Box<dyn Task>) {
        lock(&self.yard.handed).push(Handed::Cell(self.number, task));
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        lock(&self.yard.alive).remove(&self.number);
        lock(&self.yard.left).push(self.number);
    }
}

/// Those who can go on.
type Ready = Arc<Mutex<Vec<u64>>>;

struct Bell {
    number: u64,
    ready: Ready,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let mut ready = lock(&self.ready);
        if !ready.contains(&self.number) {
            ready.push(self.number);
        }
    }
}

/// Whose work somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Employer {
    Cell(WayNumber),
    /// A cell that does not wait for it standing still.
    Errand,
    Outside,
}

struct Hand {
    employer: Employer,
    work: Done,
    waker: Waker,
}

impl Hand {
    fn way(&self) -> Option<WayNumber> {
        match self.employer {
            Employer::Cell(way) => Some(way),
            Employer::Errand | Employer::Outside => None,
        }
    }
}

pub struct Crew {
    yard: Arc<Yard>,
    dice: Arc<Dice>,
    hands: BTreeMap<u64, Hand>,
    ready: Ready,
    next: u64,
}

impl Crew {
    pub fn new(yard: Arc<Yard>, dice: Arc<Dice>) -> Self {
        Crew { yard, dice, hands: BTreeMap::new(), ready: Ready::default(), next: 0 }
    }

    pub fn add(&mut self, work: Done) {
        self.employ(Employer::Outside, work);
    }

    fn employ(&mut self, employer: Employer, work: Done) {
        let number = self.next;
        self.next += 1;
        let waker = Waker::from(Arc::new(Bell { number, ready: self.ready.clone() }));
        self.hands.insert(number, Hand { employer, work, waker });
        lock(&self.ready).push(number);
    }

    /// Takes over what the engine has handed over.
    fn take_over(&mut self) {
        let handed = std::mem::take(&mut *lock(&self.yard.handed));
        for work in handed {
            match work {
                Handed::Errand(errand) => self.employ(Employer::Errand, errand),
                Handed::Cell(way, task) => {
                    assert!(!self.is_busy(way), "one task of a cell is under way at a time");
                    self.employ(Employer::Cell(way), task.run());
                }
            }
        }
    }

    /// Who goes on next, and on which cell's way.
    pub fn choose(&mut self) -> Option<(u64, Option<WayNumber>)> {
        self.take_over();
        let mut ready = lock(&self.ready);
        while !ready.is_empty() {
            let place = self.dice.place(ready.len());
            let number = ready.remove(place);
            if let Some(hand) = self.hands.get(&number) {
                return Some((number, hand.way()));
            }
        }
        None
    }

    pub fn go_on(&mut self, number: u64) {
        let Some(hand) = self.hands.get_mut(&number) else { return };
        match hand.work.as_mut().poll(&mut Context::from_waker(&hand.waker)) {
            Poll::Ready(()) => drop(self.hands.remove(&number)),
            Poll::Pending => {}
        }
    }

    /// Whether a cell is at work that waits for something.
    pub fn is_busy(&self, way: WayNumber) -> bool {
        self.hands.values().any(|hand| hand.employer == Employer::Cell(way))
    }

    /// Whether an errand has not come back: it keeps the way of its cell, though that was lost.
    pub fn is_on_errand(&self) -> bool {
        self.hands.values().any(|hand| hand.employer == Employer::Errand)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        drop(std::mem::take(&mut *lock(&self.yard.handed)));
    }
}
