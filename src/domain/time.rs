//! Instants as facts: the domain reads no clock, its events carry the time.

use serde::{Deserialize, Serialize};

/// The first and the last instant that RFC 3339 can write.
const YEAR_0: i64 = -62_167_219_200_000;
const YEAR_9999: i64 = 253_402_300_799_999;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instant(pub i64);

impl Instant {
    /// By this instant nothing has run out.
    pub const EPOCH: Instant = Instant(0);

    pub const fn plus_ms(self, span_ms: i64) -> Self {
        Instant(self.0.saturating_add(span_ms))
    }

    /// RFC 3339 in UTC with milliseconds, as the contract writes instants; clamped to the years that it can write.
    pub fn rfc3339(self) -> String {
        const FORMAT: &[time::format_description::FormatItem<'_>] =
            time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        let bounded = self.0.clamp(YEAR_0, YEAR_9999);
        time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(bounded) * 1_000_000)
            .ok()
            .and_then(|instant| instant.format(FORMAT).ok())
            .expect("a bounded instant can be written")
    }

    /// Reads RFC 3339 with any offset; finer than a millisecond is cut off.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let instant = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
        i64::try_from(instant.unix_timestamp_nanos().div_euclid(1_000_000)).ok().map(Instant)
    }

    /// Reads the `Date` of an HTTP answer.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        let instant = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc2822).ok()?;
        Some(Instant(instant.unix_timestamp().checked_mul(1_000)?))
    }

    /// Milliseconds from `earlier` to here; negative when `earlier` is later.
    pub const fn since_ms(self, earlier: Instant) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// How long the spans that a channel's protocol fixes take for an order, in percent of the true ones. A sandbox shrinks
/// them, since nobody waits there for a quarter of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimeScale(u8);

impl TimeScale {
    /// As the protocols have it.
    pub const TRUE: TimeScale = TimeScale(100);

    /// None outside 1..=100.
    pub fn percent(percent: u8) -> Option<Self> {
        (1..=100).contains(&percent).then_some(TimeScale(percent))
    }

    pub const fn of(self, span_ms: i64) -> i64 {
        span_ms.saturating_mul(self.0 as i64) / 100
    }

    pub fn is_true(&self) -> bool {
        *self == TimeScale::TRUE
    }
}

impl Default for TimeScale {
    fn default() -> Self {
        TimeScale::TRUE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_shrinks_spans_and_never_stretches_them() {
        let [none, tenth, most] = [0, 10, 101].map(TimeScale::percent);
        assert_eq!((none, most), (None, None));
        assert_eq!(tenth.map(|scale| [scale.of(900_000), scale.of(0), scale.of(9)]), Some([90_000, 0, 0]));
        assert_eq!(TimeScale::TRUE.of(900_000), 900_000);
    }

    #[test]
    fn instants_are_written_and_read_as_rfc_3339() {
        let instant = Instant(1_790_000_000_123);
        assert_eq!(instant.rfc3339(), "2026-09-21T14:13:20.123Z");
        assert_eq!(Instant::parse_rfc3339("2026-09-21T22:13:20.1239+08:00"), Some(instant));
        assert_eq!(Instant(i64::MAX).rfc3339(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Instant(i64::MIN).rfc3339(), "0000-01-01T00:00:00.000Z");
        assert_eq!(Instant::parse_rfc3339("yesterday"), None);
    }
}
