//! What carries cells: threads and actors in the server, virtual time in the simulation.

use std::pin::Pin;

/// Something that is done on the thread where it was begun.
pub type Done = Pin<Box<dyn Future<Output = ()>>>;

/// Work on a cell, on its way to where that cell is worked on.
pub trait Task: Send {
    fn run(self: Box<Self>) -> Done;
}

/// The way to where a cell is worked on. One task of a cell is under way at a time.
pub trait Way: Send + Sync {
    fn carry(&self, task: Box<dyn Task>);
}

/// Where a cell is to be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// On the thread that asks, which may hold cells.
    Here,
    Anywhere,
}

pub trait Carrier: Send + Sync + 'static {
    /// Finds a place for a new cell.
    fn settle(&self, at: Spot) -> Box<dyn Way>;
    /// Runs something that no cell waits for standing still.
    fn spawn(&self, errand: Pin<Box<dyn Future<Output = ()> + Send>>);
}
