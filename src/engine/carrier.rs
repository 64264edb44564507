//! Actors as the carriers of cells: one for each aggregate in memory. The only file of the engine's core that knows of
//! them.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::prelude::*;

use super::carry::{Carrier, Spot, Task, Way};

/// Threads that hold actors.
pub struct Threads {
    arbiters: Vec<ArbiterHandle>,
    next: AtomicUsize,
}

impl Threads {
    /// # Panics
    /// Without a thread.
    pub fn new(arbiters: Vec<ArbiterHandle>) -> Self {
        assert!(!arbiters.is_empty(), "cells need a thread to live on");
        Threads { arbiters, next: AtomicUsize::new(0) }
    }
}

/// The actor that works on one cell while it is in memory. It lives as long as somebody holds the way to it.
struct CellActor;

impl Actor for CellActor {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Carry(Box<dyn Task>);

impl Handler<Carry> for CellActor {
    type Result = ();

    fn handle(&mut self, Carry(task): Carry, context: &mut Self::Context) {
        context.wait(task.run().into_actor(self));
    }
}

impl Way for Addr<CellActor> {
    fn carry(&self, task: Box<dyn Task>) {
        self.do_send(Carry(task));
    }
}

impl Carrier for Threads {
    fn settle(&self, at: Spot) -> Box<dyn Way> {
        Box::new(match at {
            Spot::Here => CellActor.start(),
            Spot::Anywhere => {
                let place = self.next.fetch_add(1, Ordering::Relaxed) % self.arbiters.len();
                CellActor::start_in_arbiter(&self.arbiters[place], |_| CellActor)
            }
        })
    }

    fn spawn(&self, errand: Pin<Box<dyn Future<Output = ()> + Send>>) {
        actix::spawn(errand);
    }
}
