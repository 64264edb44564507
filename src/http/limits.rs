//! How much is let in: requests per platform, failed verifications per address.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use actix_web::http::header::HeaderName;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::problem::{ApiError, Code};
use crate::config::Config;
use crate::domain::id::PlatformId;

const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// Addresses are forgotten once they are quiet, and looked through whenever this many are known.
const ADDRESSES_MAX: usize = 20_000;

pub struct Limits {
    platforms: Limit<PlatformId>,
    failures: Limit<IpAddr>,
}

/// One policy and how far each of its subjects has used it.
struct Limit<K: std::hash::Hash + Eq + Clone> {
    name: &'static str,
    quota: Quota,
    limiter: DefaultKeyedRateLimiter<K>,
    clock: DefaultClock,
}

impl<K: std::hash::Hash + Eq + Clone> Limit<K> {
    fn new(name: &'static str, quota: Quota) -> Self {
        Limit { name, quota, limiter: RateLimiter::dashmap(quota), clock: DefaultClock::default() }
    }

    /// Counts one; the refusal tells policy and wait in the words of the IETF's draft 10.
    fn count(&self, subject: &K, detail: &'static str) -> Result<(), ApiError> {
        let Err(until) = self.limiter.check_key(subject) else { return Ok(()) };
        let wait_s = ceil_s(until.wait_time_from(self.clock.now()));
        let burst = self.quota.burst_size().get();
        let window_s = ceil_s(self.quota.burst_size_replenished_in());
        Err(ApiError::new(Code::RateLimited, detail)
            .with_text(RATE_LIMIT_POLICY, &format!("\"{}\";q={burst};w={window_s}", self.name))
            .with_text(RATE_LIMIT, &format!("\"{}\";r=0;t={wait_s}", self.name))
            .retry_after(wait_s))
    }
}

/// Whole seconds, rounded up, never 0: a client that waits this long gets in.
fn ceil_s(span: Duration) -> u64 {
    u64::try_from(span.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).max(1)
}

impl Limits {
    pub fn new(config: &Config) -> Self {
        let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let limits = &config.limits;
        let platforms = if config.sandbox {
            Quota::per_second(at_least_one(limits.sandbox_platform_per_second))
        } else {
            Quota::per_second(at_least_one(limits.platform_per_second)).allow_burst(at_least_one(limits.platform_burst))
        };
        Limits {
            platforms: Limit::new("platform", platforms),
            failures: Limit::new("failures", Quota::per_minute(at_least_one(limits.failed_verifications_per_minute))),
        }
    }

    /// Counts a platform's request.
    pub fn request(&self, platform: PlatformId) -> Result<(), ApiError> {
        self.platforms.count(&platform, "This platform has sent more requests than its limit.")
    }

    /// Counts a failed verification and returns what the sender is told: `refusal`, or that it failed too often.
    pub fn failure(&self, address: Option<IpAddr>, refusal: ApiError) -> ApiError {
        let Some(address) = address else { return refusal };
        if self.failures.limiter.len() > ADDRESSES_MAX {
            self.failures.limiter.retain_recent();
        }
        match self.failures.count(&network(address), "Too many failed verifications came from this address.") {
            Ok(()) => refusal,
            Err(too_many) => too_many,
        }
    }
}

/// Whoever has one IPv6 address has its whole /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_minute: u32) -> Limits {
        let mut config = Config::load(&[]).unwrap();
        config.sandbox = false;
        config.limits.platform_per_second = 5;
        config.limits.platform_burst = 10;
        config.limits.failed_verifications_per_minute = per_minute;
        Limits::new(&config)
    }

    fn header(error: &ApiError, name: &str) -> String {
        error.render("").headers().get(name).unwrap().to_str().unwrap().into()
    }

    #[test]
    fn a_platform_beyond_its_burst_is_told_when_to_come_again() {
        let limits = limits(60);
        let refused = (0..50).filter_map(|_| limits.request(PlatformId(1)).err()).collect::<Vec<_>>();
        assert!((39..=40).contains(&refused.len()), "{}", refused.len());
        let error = &refused[0];
        assert_eq!(error.code, Code::RateLimited);
        assert_eq!(header(error, "retry-after"), "1");
        assert_eq!(header(error, "ratelimit-policy"), "\"platform\";q=10;w=2");
        assert_eq!(header(error, "ratelimit"), "\"platform\";r=0;t=1");
        assert!(limits.request(PlatformId(2)).is_ok(), "each platform has its own");
    }

    #[test]
    fn failures_count_per_network() {
        let limits = limits(2);
        let fail = |address: &str| {
            let refusal = ApiError::new(Code::CallbackUnverified, "");
            limits.failure(Some(address.parse().unwrap()), refusal).code
        };
        assert_eq!(fail("192.0.2.1"), Code::CallbackUnverified);
        assert_eq!(fail("::ffff:192.0.2.1"), Code::CallbackUnverified);
        assert_eq!(fail("192.0.2.1"), Code::RateLimited);
        assert_eq!(fail("192.0.2.2"), Code::CallbackUnverified);
        assert_eq!(fail("2001:db8::1"), Code::CallbackUnverified);
        assert_eq!(fail("2001:db8::2"), Code::CallbackUnverified);
        assert_eq!(fail("2001:db8::3"), Code::RateLimited);
    }
}
