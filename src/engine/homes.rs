//! The kinds of streams that live here, for whoever knows streams and not what they are.

use std::pin::Pin;
use std::sync::Arc;

use crate::domain::stream::{Kind, StreamId};
use crate::domain::time::Instant;
use crate::store::StoredMessage;

/// Where the streams of one kind are.
pub trait Home: Send + Sync + 'static {
    fn kind(&self) -> Kind;
    fn is_active(&self, id: u128) -> bool;
    /// Takes a stream up from the store, so that it does what it owes.
    fn take_up(self: Arc<Self>, id: u128);
    /// Gives a stream a message of another one's; what became of it is known once that is durable.
    fn receive(self: Arc<Self>, message: StoredMessage) -> Receipt;
    /// Wakes whoever is due.
    fn tick(self: Arc<Self>, now: Instant);
    /// Finds who is idle.
    fn sweep(&self);
    /// Lets the next ones of them go.
    fn let_go(self: Arc<Self>);
    /// The clock was set back: nobody waits longer for that.
    fn set_back(&self, by_ms: i64);
}

pub type Receipt = Pin<Box<dyn Future<Output = Taken> + Send>>;

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Its receiver has journaled it, and the message is gone.
    Yes,
    /// Not now; it is delivered again.
    Later,
    /// Its receiver does not want it, and never will: a person must look.
    Never(String),
}

/// The homes of this process.
pub struct Homes(Vec<Arc<dyn Home>>);

impl Homes {
    pub fn new(homes: Vec<Arc<dyn Home>>) -> Arc<Self> {
        Arc::new(Homes(homes))
    }

    /// Where a stream is at home; none where its kind is not known here.
    pub fn of(&self, stream: StreamId) -> Option<Arc<dyn Home>> {
        self.0.iter().find(|home| home.kind() == stream.kind).cloned()
    }

    pub fn all(&self) -> impl Iterator<Item = Arc<dyn Home>> {
        self.0.iter().cloned()
    }
}
