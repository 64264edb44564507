//! The thread that commits groups. It speaks to SQLite directly: a connection of sqlx is a thread of its own, and every
//! statement of a group would be a message there and back, which costs more than the statement.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::super::batch::Batch;
use super::super::companions::Companions;
use super::super::lanes::WRITE_PATIENCE;
use super::super::{Committed, StoreError};
use super::Lane;
use super::commit::commit;
use super::faults::changing_fault;

/// Pages that are kept in memory, in KiB, negative as SQLite wants it: the ends of all trees fit in, and not much more,
/// because a commit looks through all that is kept once it has split a page. The log is carried over by [`Log`]. One
/// that grew longer behind a long read is cut to 64 MiB once it was carried over, so that it does not keep a disk full.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
     PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192; PRAGMA wal_autocheckpoint = 0; \
     PRAGMA journal_size_limit = 67108864;";
/// The log is carried over once it is this much longer. Nothing is committed meanwhile: of 500 pages it takes some
/// milliseconds, of 16,000 more than a hundred, and the sum of all is hardly more, because most pages of a log are new.
const CARRIED_PAGES: i32 = 500;
/// Every table's statements, see `commit`.
const STATEMENTS: usize = 64;

enum Job {
    Commit {
        batch: Box<Batch>,
        /// The way to write, held until the commit has ended, whoever waits for it.
        lane: Lane,
        reply: oneshot::Sender<Result<Committed, StoreError>>,
    },
    /// Gives the connection up.
    Close(oneshot::Sender<()>),
}

pub struct Committer {
    jobs: mpsc::Sender<Job>,
}

impl Committer {
    /// # Errors
    /// The thread cannot be started.
    pub fn start(file: PathBuf, busy_timeout: Duration) -> Result<Self, StoreError> {
        let (jobs, todo) = mpsc::channel();
        let file = File { file, busy_timeout };
        std::thread::Builder::new()
            .name("sqlite-commits".to_owned())
            .spawn(move || file.serve(&todo))
            .map_err(|error| StoreError::Unavailable(format!("no thread for the store: {error}")))?;
        Ok(Committer { jobs })
    }

    /// Commits a group. A caller that goes away cancels nothing.
    pub async fn commit(&self, batch: Batch, lane: Lane) -> Result<Committed, StoreError> {
        let gone = || StoreError::InDoubt("the thread that commits is gone".to_owned());
        let (reply, committed) = oneshot::channel();
        self.jobs.send(Job::Commit { batch: Box::new(batch), lane, reply }).map_err(|_| gone())?;
        match timeout(WRITE_PATIENCE, committed).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(gone()),
            Err(_) => Err(StoreError::InDoubt("a commit was not answered".to_owned())),
        }
    }

    /// Closes the connection; the next commit opens another one.
    pub async fn close(&self) {
        let (closed, done) = oneshot::channel();
        if self.jobs.send(Job::Close(closed)).is_ok() {
            // The thread answers, or is gone with its connection.
            drop(done.await);
        }
    }
}

thread_local! {
    /// How many pages the log has after this thread's last commit.
    static LOGGED: Cell<i32> = const { Cell::new(0) };
}

/// The log as the thread carries it over into the file: between two groups, so that whoever waits for the first one is
/// told before, and in small pieces, so that the second one waits little.
#[derive(Default)]
struct Log {
    /// How long it was when it was last carried over. It begins anew unless somebody was still reading in it.
    carried: i32,
}

impl Log {
    fn carry_over(&mut self, connection: &Connection) {
        let logged = LOGGED.get();
        if logged < self.carried {
            self.carried = 0;
        }
        if logged - self.carried < CARRIED_PAGES {
            return;
        }
        self.carried = logged;
        // What was committed stands in the log, and the next try carries it over too.
        if let Err(error) = carry(connection) {
            tracing::warn!(%error, pages = logged, "the store's log cannot be carried over");
        }
    }
}

/// Without making anybody wait who uses the file too.
fn carry(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// The file, as the thread opens it.
struct File {
    file: PathBuf,
    busy_timeout: Duration,
}

impl File {
    fn serve(&self, todo: &mpsc::Receiver<Job>) {
        let (mut kept, mut companions, mut log) = (None, None, Log::default());
        for job in todo {
            match job {
                Job::Commit { batch, lane, reply } => {
                    let result = self.commit(&mut kept, *batch, &mut companions);
                    drop(lane);
                    // Whoever does not wait any more has given the store up.
                    drop(reply.send(result));
                    if let Some(connection) = &kept {
                        log.carry_over(connection);
                    }
                }
                Job::Close(closed) => {
                    kept = None;
                    // Whoever asked may be gone; the connection is closed all the same.
                    let _ = closed.send(());
                }
            }
        }
    }

    /// The connection is kept only if nothing is wrong with it.
    fn commit(
        &self,
        kept: &mut Option<Connection>,
        batch: Batch,
        companions: &mut Option<Companions>,
    ) -> Result<Committed, StoreError> {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => open(&self.file, self.busy_timeout).map_err(changing_fault)?,
        };
        let result = commit(&mut connection, batch, companions);
        match &result {
            Ok(_)
            | Err(
                StoreError::Conflict(_)
                | StoreError::ReferenceTaken(_)
                | StoreError::NameTaken(_)
                | StoreError::Corrupt(_)
                | StoreError::Fenced,
            ) => {
                *kept = Some(connection);
            }
            // What it ended with is told by `result`.
            Err(StoreError::Unavailable(_) | StoreError::InDoubt(_) | StoreError::Broken(_)) => drop(connection),
        }
        result
    }
}

pub(super) fn open(file: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(busy_timeout)?;
    connection.execute_batch(PRAGMAS)?;
    connection.wal_hook(Some(|_, pages| {
        LOGGED.set(pages);
        Ok(())
    }));
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Carries the log over into the file. The last one that closes it removes the log.
pub(super) fn carry_over(file: &Path, busy_timeout: Duration) -> rusqlite::Result<()> {
    carry(&open(file, busy_timeout)?)
}
