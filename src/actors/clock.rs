//! The one place that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::domain::time::Instant;

/// Now, in milliseconds since the epoch.
pub fn now() -> Instant {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Instant(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
