//! How much is let in: requests per platform, presses of pay links, failed verifications per address.

mod failures;
mod sender;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::HttpRequest;

use actix_web::http::header::HeaderName;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use self::failures::{Failures, Verdict};
pub use self::sender::{Sender, is_exempt, network};
use super::problem::{ApiError, Code};
use crate::config::{Config, Network};
use crate::domain::id::{OrderId, PlatformId};

const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Orders whose pay links were pressed are forgotten once they are quiet. They are looked through whenever so many more
/// are known, so that a look costs each of them little.
const LINKS_STEP: usize = 20_000;

pub struct Limits {
    platforms: Limit<PlatformId>,
    presses: Limit<OrderId>,
    platforms_presses: Limit<PlatformId>,
    /// How many orders are known when they are looked through next.
    links_looked_at: AtomicUsize,
    failures: Failures,
    trusted: Vec<Network>,
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

    /// Counts one; the refusal tells how long to wait.
    fn count(&self, subject: &K, detail: &'static str) -> Result<(), ApiError> {
        let Err(until) = self.limiter.check_key(subject) else { return Ok(()) };
        let policy = Policy {
            name: self.name,
            burst: self.quota.burst_size().get(),
            window: self.quota.burst_size_replenished_in(),
        };
        Err(policy.refusal(until.wait_time_from(self.clock.now()), detail))
    }
}

/// A limit as it is told, in the words of the IETF's draft 10.
struct Policy {
    name: &'static str,
    burst: u32,
    window: Duration,
}

impl Policy {
    fn refusal(&self, wait: Duration, detail: &'static str) -> ApiError {
        let Policy { name, burst, window } = self;
        let (wait_s, window_s) = (ceil_s(wait), ceil_s(*window));
        ApiError::new(Code::RateLimited, detail)
            .with_text(RATE_LIMIT_POLICY, &format!("\"{name}\";q={burst};w={window_s}"))
            .with_text(RATE_LIMIT, &format!("\"{name}\";r=0;t={wait_s}"))
            .retry_after(wait_s)
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
        let per_second = match config.sandbox {
            true => limits.sandbox_platform_per_second,
            false => limits.platform_pay_presses_per_second,
        };
        let platforms_presses = Quota::per_second(at_least_one(per_second));
        Limits {
            platforms: Limit::new("platform", platforms),
            presses: Limit::new("pay_link", Quota::per_minute(at_least_one(limits.pay_presses_per_minute))),
            platforms_presses: Limit::new("pay_links", platforms_presses),
            links_looked_at: AtomicUsize::new(LINKS_STEP),
            failures: Failures::new(at_least_one(limits.failed_verifications_per_minute)),
            trusted: config.server.trusted_proxies.clone(),
        }
    }

    /// Counts a platform's request.
    pub fn request(&self, platform: PlatformId) -> Result<(), ApiError> {
        self.platforms.count(&platform, "This platform has sent more requests than its limit.")
    }

    /// Counts a press of an order's pay link. Links are counted by platform too, not all together: whoever presses those
    /// of one platform keeps no payer of another one waiting.
    pub fn press(&self, platform: PlatformId, order: OrderId) -> Result<(), ApiError> {
        let known = self.presses.limiter.len();
        if known > self.links_looked_at.load(Ordering::Relaxed) {
            self.presses.limiter.retain_recent();
            self.links_looked_at.store(self.presses.limiter.len() + LINKS_STEP, Ordering::Relaxed);
        }
        self.presses.count(&order, "This link has been pressed too often.")?;
        self.platforms_presses.count(&platform, "Links of this platform have been pressed too often.")
    }

    /// Who sent a request, as far as failures are counted.
    pub fn sender(&self, request: &HttpRequest) -> Sender {
        Sender::of(request, &self.trusted)
    }

    /// Decides whether something costly is verified at all. Whoever has failed too often is verified ten times a second
    /// at most: a gateway that shares its address with a forger gets through with its repeats.
    pub fn may_verify(&self, sender: Sender) -> Result<(), ApiError> {
        match sender {
            Sender::One(address) => self.told(self.failures.may_verify(address)),
            Sender::Many(_) | Sender::Unknown => Ok(()),
        }
    }

    /// Counts a failed verification and returns what the sender is told: `refusal`, or that it failed too often.
    pub fn failure(&self, sender: Sender, refusal: ApiError) -> ApiError {
        let verdict = match sender {
            Sender::One(address) | Sender::Many(address) => self.failures.count(address),
            Sender::Unknown => Verdict::Within,
        };
        self.told(verdict).err().unwrap_or(refusal)
    }

    fn told(&self, verdict: Verdict) -> Result<(), ApiError> {
        match verdict {
            Verdict::Within => Ok(()),
            Verdict::Beyond { wait } => {
                let policy = Policy { name: "failures", burst: self.failures.burst(), window: failures::WINDOW };
                Err(policy.refusal(wait, "Too many failed verifications came from this address."))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use actix_web::test::TestRequest;

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
    fn a_link_is_pressed_ten_times_a_minute_and_those_of_one_platform_leave_room_for_others() {
        let limits = limits(60);
        let (one, other) = (PlatformId(1), PlatformId(2));
        let order = |number: u128| OrderId::from_u128(number);
        let refused: Vec<ApiError> = (0..12).filter_map(|_| limits.press(one, order(1)).err()).collect();
        assert_eq!(refused.len(), 2);
        assert_eq!(header(&refused[0], "ratelimit-policy"), "\"pay_link\";q=10;w=60");
        assert_eq!(header(&refused[0], "retry-after"), "6");
        let refused: Vec<ApiError> = (2..200).filter_map(|number| limits.press(one, order(number)).err()).collect();
        assert_eq!(header(&refused[0], "ratelimit-policy"), "\"pay_links\";q=50;w=1");
        assert!(limits.press(other, order(1_000)).is_ok());
    }

    #[test]
    fn failures_count_per_network() {
        let limits = limits(2);
        let fail = |address: &str| {
            let refusal = ApiError::new(Code::CallbackUnverified, "");
            let request =
                TestRequest::default().peer_addr(SocketAddr::new(address.parse().unwrap(), 1)).to_http_request();
            limits.failure(limits.sender(&request), refusal)
        };
        assert_eq!(fail("192.0.2.1").code, Code::CallbackUnverified);
        assert_eq!(fail("::ffff:192.0.2.1").code, Code::CallbackUnverified);
        let refused = fail("192.0.2.1");
        assert_eq!(refused.code, Code::RateLimited);
        assert_eq!(header(&refused, "ratelimit-policy"), "\"failures\";q=2;w=60");
        assert_eq!(header(&refused, "ratelimit"), "\"failures\";r=0;t=30");
        assert_eq!(fail("192.0.2.2").code, Code::CallbackUnverified);
        assert_eq!(fail("2001:db8::1").code, Code::CallbackUnverified);
        assert_eq!(fail("2001:db8::2").code, Code::CallbackUnverified);
        assert_eq!(fail("2001:db8::3").code, Code::RateLimited);
    }
}
