//! The ways into a database: a connection per lane that writes, a pool that reads.
//!
//! Every operation is a task of the runtime that opened the store, and the caller only waits for it. So a caller that
//! goes away cancels nothing, and no connection comes back half used.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::{Database, Pool};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;

use super::{Reply, StoreError};
use crate::domain::partition::LaneId;

/// How long a read waits for a connection.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the connection that writes may take to open.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long a write may take. Whoever has not answered by then has gone without a word; the connection is given up,
/// and what became of the write is read back.
pub const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// What a read is given beyond the time for a connection and the database's own time-out.
const READ_GRACE: Duration = Duration::from_secs(1);
/// Reads that fail one after the other before the pool is made anew: a peer that died without a word keeps its place
/// in the pool for ever.
const FAILURES_MAX: u32 = 8;

/// What differs between databases in opening, losing and understanding a connection.
pub trait Engine: Send + Sync + 'static {
    type Database: Database;

    /// A pool of connections that only read, opened when they are needed.
    fn readers(&self) -> Pool<Self::Database>;

    /// Opens the connection by which a lane writes.
    fn connect(&self, lane: LaneId) -> Reply<'_, Connection<Self>>;

    /// Ends the connection by which a lane writes after something went wrong on it.
    fn discard(&self, lane: LaneId, connection: Connection<Self>) -> Reply<'_, ()>;
}

pub type Connection<E> = <<E as Engine>::Database as Database>::Connection;

/// The connection by which a lane writes, once it is open.
type Writer<E> = Arc<Mutex<Option<Connection<E>>>>;

pub struct Lanes<E: Engine> {
    runtime: Handle,
    engine: Arc<E>,
    /// By lane, each made when it is first used.
    writers: std::sync::Mutex<BTreeMap<LaneId, Writer<E>>>,
    readers: RwLock<Pool<E::Database>>,
    read_patience: Duration,
    failures: AtomicU32,
    refusals: AtomicU64,
}

impl<E: Engine> Lanes<E> {
    /// # Panics
    /// Outside of a runtime: it is the one that drives the store.
    pub fn new(engine: E, statement_timeout: Duration) -> Self {
        Lanes {
            runtime: Handle::current(),
            writers: std::sync::Mutex::default(),
            readers: RwLock::new(engine.readers()),
            engine: Arc::new(engine),
            read_patience: ACQUIRE_TIMEOUT + statement_timeout + READ_GRACE,
            failures: AtomicU32::new(0),
            refusals: AtomicU64::new(0),
        }
    }

    pub async fn read<T, F>(&self, work: impl FnOnce(Pool<E::Database>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let readers = self.readers.read().unwrap_or_else(PoisonError::into_inner).clone();
        let task = self.runtime.spawn(timeout(self.read_patience, work(readers)));
        let result = match ended(task).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::Unavailable("a read was not answered".to_owned())),
            Err(_) => Err(StoreError::Unavailable("the runtime is shutting down".to_owned())),
        };
        self.count_refusal(&result);
        match &result {
            Err(StoreError::Unavailable(_)) => self.count_failure(),
            Ok(_)
            | Err(
                StoreError::Conflict(_)
                | StoreError::ReferenceTaken(_)
                | StoreError::NameTaken(_)
                | StoreError::InDoubt(_)
                | StoreError::Corrupt(_)
                | StoreError::Broken(_)
                | StoreError::Fenced,
            ) => {
                self.failures.store(0, Ordering::Relaxed);
            }
        }
        result
    }

    /// The same for as long as it takes.
    pub async fn read_at_length<T, F>(&self, work: impl FnOnce(Pool<E::Database>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let readers = self.readers.read().unwrap_or_else(PoisonError::into_inner).clone();
        let gone = |_| StoreError::Unavailable("the runtime is shutting down".to_owned());
        ended(self.runtime.spawn(work(readers))).await.map_err(gone)?
    }

    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    fn count_refusal<T>(&self, result: &Result<T, StoreError>) {
        if let Err(StoreError::Broken(_)) = result {
            self.refusals.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count_failure(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 == FAILURES_MAX {
            // The runtime's, because a pool keeps house by tasks of its own.
            let _entered = self.runtime.enter();
            *self.readers.write().unwrap_or_else(PoisonError::into_inner) = self.engine.readers();
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    fn writer(&self, lane: LaneId) -> Writer<E> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner).entry(lane).or_default().clone()
    }

    /// The way to the connection by which a lane writes. It is taken before the task that uses it begins, so that
    /// writes happen in the order in which they were asked for, though nobody waits for them any more.
    pub async fn lane(&self, lane: LaneId) -> OwnedMutexGuard<Option<Connection<E>>> {
        self.writer(lane).lock_owned().await
    }

    /// Runs `work` on the connection by which this lane writes, alone; what is no lane's is written by the first one's.
    /// The connection is kept only if nothing is wrong with it.
    pub async fn write<T, W>(&self, by: LaneId, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection<E>) -> Reply<'c, T> + Send + 'static,
    {
        let (engine, mut lane) = (Arc::clone(&self.engine), self.lane(by).await);
        let task = self.runtime.spawn(async move {
            let mut connection = match lane.take() {
                Some(connection) => connection,
                None => connect(&*engine, by).await?,
            };
            let result = match timeout(WRITE_PATIENCE, work(&mut connection)).await {
                Ok(result) => result,
                Err(_) => Err(StoreError::InDoubt("a write was not answered".to_owned())),
            };
            match &result {
                Ok(_)
                | Err(
                    StoreError::Conflict(_)
                    | StoreError::ReferenceTaken(_)
                    | StoreError::NameTaken(_)
                    | StoreError::Corrupt(_)
                    | StoreError::Fenced,
                ) => {
                    *lane = Some(connection);
                }
                // What it ended with is told by `result`.
                Err(StoreError::Unavailable(_) | StoreError::InDoubt(_) | StoreError::Broken(_)) => {
                    drop(engine.discard(by, connection).await);
                }
            }
            result
        });
        let in_doubt = |_| StoreError::InDoubt("the runtime went away during a write".to_owned());
        let result = ended(task).await.map_err(in_doubt)?;
        self.count_refusal(&result);
        result
    }

    /// Closes the pool and the connections that write; they open again when they are needed.
    pub async fn close(&self) -> Result<(), StoreError> {
        let writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (by, writer) in writers {
            if let Some(connection) = writer.lock().await.take() {
                self.engine.discard(by, connection).await?;
            }
        }
        let fresh = {
            let _entered = self.runtime.enter();
            self.engine.readers()
        };
        let readers = std::mem::replace(&mut *self.readers.write().unwrap_or_else(PoisonError::into_inner), fresh);
        readers.close().await;
        Ok(())
    }

    /// Runs `work` on a connection of its own, for as long as it takes.
    pub async fn apart<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection<E>) -> Reply<'c, T> + Send + 'static,
    {
        let by = LaneId::FIRST;
        let (engine, mut lane) = (Arc::clone(&self.engine), self.lane(by).await);
        let task = self.runtime.spawn(async move {
            if let Some(connection) = lane.take() {
                engine.discard(by, connection).await?;
            }
            let mut connection = connect(&*engine, by).await?;
            let result = work(&mut connection).await;
            drop(engine.discard(by, connection).await);
            result
        });
        let in_doubt = |_| StoreError::InDoubt("the runtime went away during a write".to_owned());
        ended(task).await.map_err(in_doubt)?
    }
}

async fn connect<E: Engine>(engine: &E, by: LaneId) -> Result<Connection<E>, StoreError> {
    match timeout(CONNECT_PATIENCE, engine.connect(by)).await {
        Ok(connected) => connected,
        Err(_) => Err(StoreError::Unavailable("the database does not answer".to_owned())),
    }
}

/// What a task ended with; its panic is ours.
async fn ended<T>(task: JoinHandle<T>) -> Result<T, JoinError> {
    match task.await {
        Err(end) if end.is_panic() => std::panic::resume_unwind(end.into_panic()),
        result => result,
    }
}
