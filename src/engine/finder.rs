//! Finding what is due: after a restart all that was open, later what has left memory.
//!
//! Work is chosen by the stored `next_due_at`, not by state, and spread, so that new orders go first and channels are
//! not flooded. Nothing else remembers what is due: neither a timer nor a stub of a waiting order stays in memory.

use std::sync::Arc;
use std::time::Duration;

use super::homes::Homes;
use super::inbox::Inbox;
use super::ports::{DueReads, Time};
use crate::config;
use crate::domain::time::Instant;
use crate::store::Due;

/// Slices per second in which overdue orders are taken up.
const SLICES_PER_SECOND: u32 = 20;

/// How often the inbox is looked through.
const INBOX_EVERY_MS: i64 = 30_000;

/// How often all that is due is looked through from the start, whatever was seen before: a row may have become due
/// behind the place that was reached.
const ANEW_EVERY_MS: i64 = 30_000;

/// What an order waits for after its last instant, the rare waits excepted (a day): they are over by themselves.
const WAITS_MS: i64 = 3_600_000;

/// How far the store has been looked through.
pub struct Finder {
    time: Arc<dyn Time>,
    reads: Arc<dyn DueReads>,
    homes: Arc<Homes>,
    /// Streams that are taken up at once, and rows of a page.
    slice: u32,
    page: u32,
    after: Option<Due>,
    began: Instant,
    /// What was seen of [`Time::behind_ms`].
    behind_ms: i64,
    /// By how much the pass under way looks beyond now.
    ahead_ms: i64,
}

impl Finder {
    pub fn new(time: Arc<dyn Time>, reads: Arc<dyn DueReads>, homes: Arc<Homes>, settings: &config::Orders) -> Self {
        let slice = (settings.takeup_per_second / SLICES_PER_SECOND).clamp(1, settings.scan_page);
        let (page, began) = (settings.scan_page, time.steady());
        Finder { time, reads, homes, slice, page, after: None, began, behind_ms: 0, ahead_ms: 0 }
    }

    /// Looks for due orders, every now and then for parked callbacks too, for as long as the process runs.
    pub async fn run(mut self, inbox: Arc<Inbox>, rest: Duration) {
        let gap = Duration::from_secs(1) / SLICES_PER_SECOND;
        let mut inbox_seen: Option<Instant> = None;
        loop {
            let steady = self.time.steady();
            if inbox_seen.is_none_or(|seen| steady.since_ms(seen) >= INBOX_EVERY_MS) {
                inbox_seen = Some(steady);
                inbox.look_through().await;
            }
            let pause = match self.slice().await {
                Found::More => gap,
                Found::NoMore => rest,
            };
            self.time.sleep(pause).await;
        }
    }

    /// The last due row that was looked at in the pass under way.
    pub fn place(&self) -> Option<Due> {
        self.after
    }

    /// Begins a pass anew where the place reached is no good any more.
    fn begin_anew(&mut self, now: Instant) {
        let behind_ms = self.time.behind_ms();
        let is_ahead = self.after.is_some_and(|after| after.due_at > now.plus_ms(self.ahead_ms));
        if behind_ms > self.behind_ms {
            // What was stored before the clock was set back may be due by a clock that ran ahead.
            self.ahead_ms = behind_ms - self.behind_ms + WAITS_MS;
            self.behind_ms = behind_ms;
        } else if !is_ahead {
            return;
        }
        (self.after, self.began) = (None, self.time.steady());
    }

    /// Looks at a page of due rows, and takes up as many of their streams as a slice has.
    pub async fn slice(&mut self) -> Found {
        let now = self.time.now();
        self.begin_anew(now);
        let due = match self.reads.due(self.after, now.plus_ms(self.ahead_ms), self.page).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "due orders cannot be read");
                return Found::NoMore;
            }
        };
        let mut taken = 0;
        for found in &due {
            if taken == self.slice {
                return Found::More;
            }
            // One in memory has its own timer, and does not leave before its row is due later than now.
            let id = found.stream.id;
            if let Some(home) = self.homes.of(found.stream).filter(|home| !home.is_active(id)) {
                home.take_up(id);
                taken += 1;
            }
            self.after = Some(*found);
        }
        if due.len() == self.page as usize {
            return Found::More;
        }
        self.ahead_ms = 0;
        if self.time.steady().since_ms(self.began) >= ANEW_EVERY_MS {
            (self.after, self.began) = (None, self.time.steady());
        }
        Found::NoMore
    }
}

/// What a slice left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    More,
    NoMore,
}
