//! Taking up what is due: after a restart all that was open, later what was left to the store.
//!
//! Work is chosen by the stored `next_due_at`, not by state, and spread, so that new orders go first and channels are
//! not flooded.

use std::sync::Arc;
use std::time::Duration;

use super::clock;
use super::registry::Registry;
use crate::domain::time::Instant;
use crate::store::DueOrder;

/// Slices per second in which overdue orders are taken up.
const SLICES_PER_SECOND: u32 = 20;

/// How often the inbox is looked through.
const INBOX_EVERY: Duration = Duration::from_secs(30);

/// How far the store has been looked through.
pub struct Takeup {
    registry: Arc<Registry>,
    after: Option<DueOrder>,
}

impl Takeup {
    pub fn new(registry: Arc<Registry>) -> Self {
        Takeup { registry, after: None }
    }

    /// Looks for due orders for as long as the process runs.
    pub async fn run(mut self) {
        let orders = self.registry.config().orders.clone();
        let slice = (orders.takeup_per_second / SLICES_PER_SECOND).clamp(1, orders.scan_page);
        let gap = Duration::from_secs(1) / SLICES_PER_SECOND;
        let rest = Duration::from_millis(orders.scan_ms);
        let mut inbox_seen: Option<Instant> = None;
        loop {
            let now = clock::now();
            let span_ms = i64::try_from(INBOX_EVERY.as_millis()).unwrap_or(i64::MAX);
            if inbox_seen.is_none_or(|seen| now.since_ms(seen) >= span_ms) {
                inbox_seen = Some(now);
                self.registry.look_through_inbox().await;
            }
            let pause = match self.slice(clock::now(), slice).await {
                Found::More => gap,
                Found::NoMore => rest,
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn slice(&mut self, now: Instant, limit: u32) -> Found {
        let due = match self.registry.store().due(self.after, now, limit).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "due orders cannot be read");
                return Found::NoMore;
            }
        };
        for order in &due {
            // An order in memory has its own timer, and its row may lag behind it.
            if !self.registry.is_active(order.id) {
                self.registry.take_up(order.id);
            }
        }
        self.after = due.last().copied().or(self.after);
        if due.len() == limit as usize { Found::More } else { Found::NoMore }
    }
}

enum Found {
    More,
    NoMore,
}
