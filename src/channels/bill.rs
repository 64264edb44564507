//! Statement files: how one is asked for part by part, and what every channel's comes to: one line per money movement.

use std::fmt;
use std::io::Read;

use time::macros::offset;
use time::{Date, Time, UtcOffset};
use url::Url;

use super::{Answer, Outgoing, Stamp};
use crate::domain::money::Currency;
use crate::domain::time::Instant;

/// What a packed file may come to, in bytes; what unpacks to more is refused, whatever it says of itself. That is
/// 200,000 trades of UnionPay's or 300,000 of Alipay's on one day, and as much as a process should hold at once.
pub const UNPACKED_MAX: usize = 128 * 1024 * 1024;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BillKind {
    Payment,
    Refund,
    /// Neither: a person looks at it.
    Other,
}

impl BillKind {
    pub const fn name(self) -> &'static str {
        match self {
            BillKind::Payment => "payment",
            BillKind::Refund => "refund",
            BillKind::Other => "other",
        }
    }
}

/// One money movement of a channel's statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillLine {
    pub kind: BillKind,
    /// The number that we gave the payment.
    pub number: String,
    pub refund_number: Option<String>,
    /// The channel's own name of the payment.
    pub reference: String,
    /// Positive; `kind` tells the direction.
    pub amount_minor: i64,
    /// What the channel keeps of a payment, or gives back with a refund; negative where it is the other way round.
    pub fee_minor: Option<i64>,
    pub currency: Currency,
    pub at: Option<Instant>,
}

/// Why there are no lines. Nothing of a file that has a fault is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BillError {
    /// The line counts from 1; 0 is the file as a whole.
    Unreadable { line: usize, why: String },
    /// The channel has not made it yet, or not for us now: worth asking again from then on.
    NotReady { again_at: Instant, why: String },
}

impl fmt::Display for BillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BillError::Unreadable { line: 0, why } => write!(f, "the bill cannot be read: {why}"),
            BillError::Unreadable { line, why } => write!(f, "the bill cannot be read: line {line}: {why}"),
            BillError::NotReady { again_at, why } => {
                write!(f, "the bill is not there yet ({why}); come again at {}", again_at.rfc3339())
            }
        }
    }
}

impl std::error::Error for BillError {}

/// A day of a channel's calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    pub date: Date,
    pub begins: Instant,
    /// The first instant of the next day.
    pub ends: Instant,
}

impl Day {
    /// Beijing has known no summer time since 1991.
    pub fn in_beijing(date: Date) -> Self {
        Day::at(date, offset!(+8))
    }

    pub fn in_utc(date: Date) -> Self {
        Day::at(date, UtcOffset::UTC)
    }

    fn at(date: Date, offset: UtcOffset) -> Self {
        let begins = Instant(date.with_time(Time::MIDNIGHT).assume_offset(offset).unix_timestamp() * 1_000);
        Day { date, begins, ends: begins.plus_ms(DAY_MS) }
    }

    /// When to come again for what is made `after_ms` after the day's end, and `gap_ms` after a try at the earliest.
    pub fn again_at(&self, after_ms: i64, gap_ms: i64, now: Instant) -> Instant {
        self.ends.plus_ms(after_ms).max(now.plus_ms(gap_ms))
    }
}

/// An account's statement of one day, not fetched yet.
pub struct Bill<'a> {
    pub day: Day,
    pub first: Box<dyn BillRequest<'a> + 'a>,
}

/// One request of those that a bill takes, and the reading of its answer. Pure, like everything in an adapter.
pub trait BillRequest<'a>: Send {
    fn outgoing(&self, stamp: &Stamp) -> Outgoing;
    /// What its answer is for.
    fn content(&self) -> Content;
    /// # Errors
    /// There is no bill yet, or it is not as it should be: nothing of it may be used then, earlier parts neither.
    fn read(self: Box<Self>, stamp: &Stamp, answer: &Answer) -> Result<BillPart<'a>, BillError>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Where the file is: good for seconds or minutes, and not for others to know.
    Address,
    Lines,
}

/// What one answer brought.
pub struct BillPart<'a> {
    pub lines: Vec<BillLine>,
    /// None after the last part.
    pub next: Option<Box<dyn BillRequest<'a> + 'a>>,
}

impl<'a> BillPart<'a> {
    pub fn last(lines: Vec<BillLine>) -> Self {
        BillPart { lines, next: None }
    }

    pub fn next(request: impl BillRequest<'a> + 'a) -> Self {
        BillPart { lines: Vec::new(), next: Some(Box::new(request)) }
    }
}

/// Whether a file's address is one that the channel's files come from: where its calls go too, or under https a host
/// in one of its domains. A signed answer vouches for the address, but not for whom we hand our signature or whose file
/// we read, if the signing key were ever stolen.
pub fn is_home(url: &Url, base_url: &str, domains: &[&str]) -> bool {
    let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let is_web = matches!(url.scheme(), "http" | "https");
    let is_base = Url::parse(base_url).is_ok_and(|base| base.origin() == url.origin());
    let in_domains = url.scheme() == "https"
        && url.port().is_none()
        && url.host_str().is_some_and(|host| domains.iter().any(|domain| is_within(host, domain)));
    is_bare && is_web && (is_base || in_domains)
}

/// Whether a host is a domain, or in it.
pub fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Unpacks to the end.
///
/// # Errors
/// It is damaged, or comes to more than [`UNPACKED_MAX`].
pub fn unpack(packed: impl Read) -> Result<Vec<u8>, BillError> {
    let mut unpacked = Vec::new();
    let most = u64::try_from(UNPACKED_MAX).unwrap_or(u64::MAX);
    packed
        .take(most.saturating_add(1))
        .read_to_end(&mut unpacked)
        .map_err(|error| whole(&format!("it cannot be unpacked: {error}")))?;
    if unpacked.len() > UNPACKED_MAX {
        return Err(whole(&format!("it unpacks to more than {UNPACKED_MAX} bytes")));
    }
    Ok(unpacked)
}

/// A fault of the file as a whole.
pub fn whole(why: &str) -> BillError {
    BillError::Unreadable { line: 0, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn days_are_the_channels_own() {
        let instant = |text| Instant::parse_rfc3339(text).unwrap();
        let day = Day::in_beijing(date!(2026 - 01 - 01));
        assert_eq!((day.begins, day.ends), (instant("2025-12-31T16:00:00Z"), instant("2026-01-01T16:00:00Z")));
        let utc = Day::in_utc(date!(2026 - 01 - 01));
        assert_eq!((utc.begins, utc.ends), (instant("2026-01-01T00:00:00Z"), instant("2026-01-02T00:00:00Z")));
        assert_eq!(day.again_at(3_600_000, 60_000, day.begins), instant("2026-01-01T17:00:00Z"));
        assert_eq!(day.again_at(3_600_000, 60_000, utc.ends), instant("2026-01-02T00:01:00Z"));
    }

    #[test]
    fn files_come_from_home_and_from_nowhere_else() {
        let base = "https://api.mch.weixin.qq.com/x";
        let is_home = |url: &str, base: &str| is_home(&Url::parse(url).unwrap(), base, &["mch.weixin.qq.com"]);
        for url in [
            "https://api.mch.weixin.qq.com/v3/billdownload/file?token=1",
            "https://API.mch.weixin.qq.com:443/f",
            "https://api2.mch.weixin.qq.com/f",
        ] {
            assert!(is_home(url, base), "{url}");
        }
        for url in [
            "https://evil.example/f",
            "https://evilmch.weixin.qq.com/f",
            "https://mch.weixin.qq.com.evil.example/f",
            "https://api.mch.weixin.qq.com@evil.example/f",
            "https://a:b@api.mch.weixin.qq.com/f",
            "https://api.mch.weixin.qq.com:8443/f",
            "http://api.mch.weixin.qq.com/f",
            "https://api.mch.weixin.qq.com/f#x",
            "ftp://api.mch.weixin.qq.com/f",
            "file:///etc/passwd",
            "https://169.254.169.254/",
        ] {
            assert!(!is_home(url, base), "{url}");
        }
        let sandbox = "http://127.0.0.1:8090/wechat";
        assert!(is_home("http://127.0.0.1:8090/wechat/file", sandbox));
        assert!(!is_home("http://127.0.0.1:8091/wechat/file", sandbox));
        assert!(!is_home("http://localhost:8090/wechat/file", sandbox));
        assert!(!is_home("file:///etc/passwd", "file:///etc"));
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused() {
        assert_eq!(unpack(std::io::repeat(0).take(3)), Ok(vec![0; 3]));
        let Err(BillError::Unreadable { line: 0, why }) = unpack(std::io::repeat(0)) else { panic!("endless") };
        assert!(why.contains("more than 134217728 bytes"), "{why}");
    }
}
