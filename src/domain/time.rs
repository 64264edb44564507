//! Instants as facts: the domain reads no clock, its events carry the time.

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instant(pub i64);

impl Instant {
    pub const fn plus_ms(self, span_ms: i64) -> Self {
        Instant(self.0.saturating_add(span_ms))
    }

    /// Milliseconds from `earlier` to here; negative when `earlier` is later.
    pub const fn since_ms(self, earlier: Instant) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}
