//! Reads on the thread that asks. The pool's connections are threads of their own, and going there and back costs ten
//! times what such a read does.
//!
//! Nothing waits here: whatever is in the way, the answer is left to the pool, whose errors are judged. No statement
//! stays open, because an open one keeps the log from being carried over.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Params, Row};

use super::super::StoreError;
use super::super::rows::Readable;

/// Statements that are kept prepared.
const STATEMENTS: usize = 8;

pub struct Direct {
    file: PathBuf,
    /// As many as were ever used at once.
    idle: Mutex<Vec<Connection>>,
}

impl Direct {
    pub fn new(file: PathBuf) -> Self {
        Direct { file, idle: Mutex::default() }
    }

    /// The row that `statement` finds, if there is one; none at all where the pool is to be asked. Its parameters must
    /// stand in it in the order of their numbers: SQLite takes `$2` for the first one where it comes first.
    pub fn maybe<C: Readable>(
        &self,
        statement: &str,
        key: impl Params,
        columns: fn(&Row<'_>) -> rusqlite::Result<C>,
    ) -> Option<Result<Option<C::Value>, StoreError>> {
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.open().ok()?,
        };
        let found = connection.prepare_cached(statement).and_then(|mut ask| ask.query_row(key, columns).optional());
        // One that something went wrong on is given up.
        let found = found.ok()?;
        self.idle().push(connection);
        Some(found.map(C::read).transpose())
    }

    /// Gives all connections up.
    pub fn close(&self) {
        let idle = std::mem::take(&mut *self.idle());
        drop(idle);
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.file, flags)?;
        connection.busy_timeout(Duration::ZERO)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
