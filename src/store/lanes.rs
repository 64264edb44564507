//! The two ways into a database: one connection that writes, a pool that reads.
//!
//! Every operation is a task of the runtime that opened the store, and the caller only waits for it. So a caller that
//! goes away cancels nothing, and no connection comes back half used.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Database, Pool};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::{Reply, StoreError};

/// How long a read waits for a connection.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// What differs between databases in opening, losing and understanding a connection.
pub trait Engine: Send + Sync + 'static {
    type Database: Database;

    /// Opens the connection that writes.
    fn connect(&self) -> Reply<'_, Connection<Self>>;

    /// Ends the connection that writes after something went wrong on it.
    fn discard(&self, connection: Connection<Self>) -> Reply<'_, ()>;
}

pub type Connection<E> = <<E as Engine>::Database as Database>::Connection;

pub struct Lanes<E: Engine> {
    runtime: Handle,
    engine: Arc<E>,
    readers: Pool<E::Database>,
    writer: Arc<Mutex<Option<Connection<E>>>>,
}

impl<E: Engine> Lanes<E> {
    /// To be called on the runtime that is to drive the store.
    pub fn new(engine: E, readers: Pool<E::Database>) -> Self {
        Lanes { runtime: Handle::current(), engine: Arc::new(engine), readers, writer: Arc::default() }
    }

    pub async fn read<T, F>(&self, work: impl FnOnce(Pool<E::Database>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        match self.runtime.spawn(work(self.readers.clone())).await {
            Ok(result) => result,
            Err(end) if end.is_panic() => std::panic::resume_unwind(end.into_panic()),
            Err(_) => Err(StoreError::Unavailable("the runtime is shutting down".to_owned())),
        }
    }

    /// Runs `work` on the connection that writes, alone. The connection is kept only if nothing is wrong with it.
    pub async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection<E>) -> Reply<'c, T> + Send + 'static,
    {
        let (engine, writer) = (Arc::clone(&self.engine), Arc::clone(&self.writer));
        let task = self.runtime.spawn(async move {
            let mut lane = writer.lock().await;
            let mut connection = match lane.take() {
                Some(connection) => connection,
                None => engine.connect().await?,
            };
            let result = work(&mut connection).await;
            match &result {
                Ok(_) | Err(StoreError::Conflict(_) | StoreError::Corrupt(_) | StoreError::Fenced) => {
                    *lane = Some(connection);
                }
                // What it ended with is told by `result`.
                Err(StoreError::Unavailable(_) | StoreError::InDoubt(_)) => drop(engine.discard(connection).await),
            }
            result
        });
        match task.await {
            Ok(result) => result,
            Err(end) if end.is_panic() => std::panic::resume_unwind(end.into_panic()),
            Err(_) => Err(StoreError::InDoubt("the runtime went away during a write".to_owned())),
        }
    }
}
