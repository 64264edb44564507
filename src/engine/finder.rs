//! Finding what is due: after a restart all that was open, later what has left memory.
//!
//! Work is chosen by the stored `next_due_at`, not by state, and spread, so that new orders go first and channels are
//! not flooded. Nothing else remembers what is due: neither a timer nor a stub of a waiting order stays in memory.

use std::sync::Arc;
use std::time::{Duration, Instant as Monotonic};

use super::clock;
use super::inbox::Inbox;
use super::order::desk::Desk;
use crate::config;
use crate::domain::time::Instant;
use crate::store::{Due, Store};

/// Slices per second in which overdue orders are taken up.
const SLICES_PER_SECOND: u32 = 20;

/// How often the inbox is looked through.
const INBOX_EVERY: Duration = Duration::from_secs(30);

/// How often all that is due is looked through from the start, whatever was seen before: a row may have become due
/// behind the place that was reached.
const ANEW_EVERY: Duration = Duration::from_secs(30);

/// What an order waits for after its last instant, the rare waits excepted (a day): they are over by themselves.
const WAITS_MS: i64 = 3_600_000;

/// How far the store has been looked through.
pub struct Finder {
    store: Arc<dyn Store>,
    desk: Desk,
    inbox: Arc<Inbox>,
    settings: config::Orders,
    after: Option<Due>,
    began: Monotonic,
    /// What was seen of [`clock::behind_ms`].
    behind_ms: i64,
    /// By how much the pass under way looks beyond now.
    ahead_ms: i64,
}

impl Finder {
    pub fn new(store: Arc<dyn Store>, desk: Desk, inbox: Arc<Inbox>, settings: config::Orders) -> Self {
        Finder { store, desk, inbox, settings, after: None, began: Monotonic::now(), behind_ms: 0, ahead_ms: 0 }
    }

    /// Looks for due orders for as long as the process runs.
    pub async fn run(mut self) {
        let orders = self.settings.clone();
        let slice = (orders.takeup_per_second / SLICES_PER_SECOND).clamp(1, orders.scan_page);
        let gap = Duration::from_secs(1) / SLICES_PER_SECOND;
        let rest = Duration::from_millis(orders.scan_ms);
        let mut inbox_seen: Option<Monotonic> = None;
        loop {
            if inbox_seen.is_none_or(|seen| seen.elapsed() >= INBOX_EVERY) {
                inbox_seen = Some(Monotonic::now());
                self.inbox.look_through().await;
            }
            let pause = match self.slice(clock::now(), slice, orders.scan_page).await {
                Found::More => gap,
                Found::NoMore => rest,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Begins a pass anew where the place reached is no good any more.
    fn begin_anew(&mut self, now: Instant) {
        let behind_ms = clock::behind_ms();
        let is_ahead = self.after.is_some_and(|after| after.due_at > now.plus_ms(self.ahead_ms));
        if behind_ms > self.behind_ms {
            // What was stored before the clock was set back may be due by a clock that ran ahead.
            self.ahead_ms = behind_ms - self.behind_ms + WAITS_MS;
            self.behind_ms = behind_ms;
        } else if !is_ahead {
            return;
        }
        (self.after, self.began) = (None, Monotonic::now());
    }

    async fn slice(&mut self, now: Instant, limit: u32, page: u32) -> Found {
        self.begin_anew(now);
        let due = match self.store.due(self.after, now.plus_ms(self.ahead_ms), page).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "due orders cannot be read");
                return Found::NoMore;
            }
        };
        let mut taken = 0;
        for found in &due {
            if taken == limit {
                return Found::More;
            }
            // One in memory has its own timer, and does not leave before its row is due later than now.
            let directory = self.desk.directory();
            if let Some(order) = found.stream.order().filter(|order| !directory.is_active(order.as_u128())) {
                directory.take_up(order.as_u128());
                taken += 1;
            }
            self.after = Some(*found);
        }
        if due.len() == page as usize {
            return Found::More;
        }
        self.ahead_ms = 0;
        if self.began.elapsed() >= ANEW_EVERY {
            (self.after, self.began) = (None, Monotonic::now());
        }
        Found::NoMore
    }
}

enum Found {
    More,
    NoMore,
}
