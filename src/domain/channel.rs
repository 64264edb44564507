//! What the order machine must know of each channel: facts as data, sources in `channels/`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::money::Currency;
use super::time::{Instant, TimeScale};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// A payment network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Simpay,
    Wechat,
    Alipay,
    Unionpay,
    Stripe,
}

/// The channel's way to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    Qr,
    Native,
    Jsapi,
    H5,
    App,
    Page,
    Wap,
    Card,
}

/// Whether an open attempt can be ended by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// The answer `closed` is certain.
    Certain,
    /// The answer must be confirmed by a query after it.
    Confirmed,
    /// There is no such call: only time ends an attempt.
    Impossible,
}

/// What proves a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A verified callback with matching account, number and amount.
    Callback,
    /// Only a query; a callback is a reason to ask.
    Query,
}

/// Which answers are certain once the attempt's own expiry and the grace have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lapse {
    Never,
    NotExist,
    NotExistOrPending,
}

/// What becomes of an attempt that its channel knows and that nobody closes, once its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unclosed {
    /// The channel ends it.
    Ends,
    /// It can be paid until it is closed.
    Lives,
}

/// What a channel takes in one payment in one currency: bounds of the payable, in minor units, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub currency: &'static str,
    pub min_minor: i64,
    /// None where the channel publishes none: the contract's own bound stands.
    pub max_minor: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Currencies {
    /// Within the contract's own bounds.
    All,
    Only(&'static [Limit]),
}

impl Limit {
    const fn at_least(currency: &'static str, min_minor: i64) -> Self {
        Limit { currency, min_minor, max_minor: None }
    }

    const fn at_most(self, max_minor: i64) -> Self {
        Limit { max_minor: Some(max_minor), ..self }
    }

    pub fn is_reached(self, payable_minor: i64) -> bool {
        payable_minor >= self.min_minor
    }

    pub fn is_passed(self, payable_minor: i64) -> bool {
        self.max_minor.is_some_and(|max_minor| payable_minor > max_minor)
    }

    /// Stripe's `amount` has at most eight digits, in every currency.
    const fn stripe(currency: &'static str, min_minor: i64) -> Self {
        Limit::at_least(currency, min_minor).at_most(99_999_999)
    }
}

/// How long after a payment its channel refunds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    Always,
    /// Days of the channel's own calendar.
    Days(u16),
    /// Months of the channel's own calendar.
    Months(u8),
}

/// What it says that a query finds no refund under a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// Nothing was taken, once whatever was sent has had the time to arrive.
    Certain,
    /// Nothing: what failed and what is under way are not found either.
    Nothing,
}

/// By what its bills date a refund, where the channel does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BilledBy {
    /// When it was asked for.
    Acceptance,
    /// When it was paid.
    Payment,
}

/// How a channel gives money back.
#[derive(Debug, Clone, Copy)]
pub struct Refunding {
    /// How many numbers it takes for one payment.
    pub most: u8,
    /// What it wants between two refunds of one payment.
    pub pause_ms: i64,
    pub window: Window,
    pub absence: Absence,
    pub billed_by: BilledBy,
    /// How long a send may take to arrive there.
    pub arrives_ms: i64,
    /// When it is asked again whether the money of a refund came back, counted from when it was paid.
    pub looks_ms: &'static [i64],
}

impl Refunding {
    /// Whether a payment of that instant is refunded no more.
    pub fn is_over(&self, channel: Channel, paid_at: Instant, now: Instant) -> bool {
        let last = match self.window {
            Window::Always => return false,
            Window::Days(days) => channel.day_of(paid_at).plus_days(days),
            Window::Months(months) => channel.day_of(paid_at).plus_months(months),
        };
        channel.day_of(now) > last
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The first one is the default.
    pub methods: &'static [Method],
    pub currencies: Currencies,
    pub closing: Closing,
    pub proof: Proof,
    pub lapse: Lapse,
    pub unclosed: Unclosed,
    /// How long after an attempt's expiry its channel may still be changing its mind.
    pub grace_ms: i64,
    /// The channel's own time to live of an attempt.
    pub live_max_ms: i64,
    /// An order with less time left does not take this channel.
    pub live_min_ms: i64,
    pub refunding: Refunding,
}

/// Ordinals of refunds suffice for as many; no channel but WeChat Pay publishes a bound.
const REFUNDS_MAX: u8 = 50;
/// A call is given up after 30 s, and what it left in the kernel's hands after 924.6 s, which is what 15 retransmissions
/// take (Linux, `tcp_retries2`).
const REFUND_ARRIVES_MS: i64 = 20 * MINUTE;

static SIMPAY: Rules = Rules {
    methods: &[Method::Qr],
    currencies: Currencies::All,
    closing: Closing::Certain,
    proof: Proof::Callback,
    lapse: Lapse::Never,
    unclosed: Unclosed::Lives,
    grace_ms: 0,
    live_max_ms: 7 * 24 * HOUR,
    live_min_ms: SECOND,
    refunding: Refunding {
        most: REFUNDS_MAX,
        pause_ms: 0,
        window: Window::Always,
        absence: Absence::Certain,
        billed_by: BilledBy::Payment,
        arrives_ms: REFUND_ARRIVES_MS,
        looks_ms: &[],
    },
};
static WECHAT: Rules = Rules {
    methods: &[Method::Native, Method::Jsapi, Method::H5, Method::App],
    // `amount.total` is a whole number of fen, at least 1; no ceiling is published.
    currencies: Currencies::Only(&[Limit::at_least("CNY", 1)]),
    closing: Closing::Confirmed,
    proof: Proof::Callback,
    lapse: Lapse::NotExistOrPending,
    unclosed: Unclosed::Ends,
    grace_ms: 5 * MINUTE,
    live_max_ms: 2 * HOUR,
    // `time_expire` must lie a minute ahead of us when the request arrives (pay.weixin.qq.com, "time_expire"). It is
    // written without its fraction of a second, and the request waits for its commit and its place, takes its time on
    // the way, and meets a clock that is not ours: all of that comes out of these ten seconds.
    live_min_ms: MINUTE + 10 * SECOND,
    // Within 365 days, at most 50 parts, a minute apart (pay.weixin.qq.com, merchant document 4013071036). Its trade bill
    // dates a refund by when it was asked for. It counts the minute by its own clock and from arrival to arrival, and each
    // request of ours waits for its commit and its place and takes its way before: one that was slow may be followed by
    // one that is not, and five seconds make up for that.
    refunding: Refunding {
        most: 50,
        pause_ms: MINUTE + 5 * SECOND,
        window: Window::Days(365),
        absence: Absence::Certain,
        billed_by: BilledBy::Acceptance,
        arrives_ms: REFUND_ARRIVES_MS,
        looks_ms: &[],
    },
};
static ALIPAY: Rules = Rules {
    methods: &[Method::Page, Method::Qr, Method::Wap],
    // `total_amount`: 0.01 to 100000000.00.
    currencies: Currencies::Only(&[Limit::at_least("CNY", 1).at_most(10_000_000_000)]),
    closing: Closing::Confirmed,
    proof: Proof::Callback,
    lapse: Lapse::NotExist,
    unclosed: Unclosed::Ends,
    grace_ms: 5 * MINUTE,
    live_max_ms: 2 * HOUR,
    live_min_ms: MINUTE,
    // Within twelve months, at least 3 s apart. A refund that is not found has not arrived, has failed, or was asked for
    // under another number (opendocs.alipay.com, `alipay.trade.fastpay.refund.query`).
    refunding: Refunding {
        most: REFUNDS_MAX,
        pause_ms: 3 * SECOND,
        window: Window::Months(12),
        absence: Absence::Nothing,
        billed_by: BilledBy::Payment,
        arrives_ms: REFUND_ARRIVES_MS,
        looks_ms: &[],
    },
};
static UNIONPAY: Rules = Rules {
    methods: &[Method::Page, Method::Wap],
    // `txnAmt` is in fen; no ceiling is published.
    currencies: Currencies::Only(&[Limit::at_least("CNY", 1)]),
    closing: Closing::Impossible,
    proof: Proof::Query,
    lapse: Lapse::NotExistOrPending,
    unclosed: Unclosed::Ends,
    grace_ms: 10 * MINUTE,
    live_max_ms: 15 * MINUTE,
    live_min_ms: MINUTE,
    // Within eleven months, any number of parts (open.unionpay.com, 退货交易).
    refunding: Refunding {
        most: REFUNDS_MAX,
        pause_ms: 0,
        window: Window::Months(11),
        absence: Absence::Certain,
        billed_by: BilledBy::Payment,
        arrives_ms: REFUND_ARRIVES_MS,
        looks_ms: &[],
    },
};
static STRIPE: Rules = Rules {
    methods: &[Method::Card],
    // The least is 0.50 USD or its equivalent, which Stripe publishes by currency (docs.stripe.com/currencies). For CNY
    // it publishes none, and 4.00 lies safely above the equivalent.
    currencies: Currencies::Only(&[
        Limit::stripe("USD", 50),
        Limit::stripe("EUR", 50),
        Limit::stripe("GBP", 30),
        Limit::stripe("CNY", 400),
        Limit::stripe("HKD", 400),
        Limit::stripe("JPY", 50),
        Limit::stripe("SGD", 50),
        Limit::stripe("AUD", 50),
        Limit::stripe("CAD", 50),
    ]),
    closing: Closing::Certain,
    proof: Proof::Query,
    // A PaymentIntent has no end of its own: it is cancelled. But one whose create nobody answered, and that is in no
    // list of what was created since, is not there and never will be:
    // - no create leaves after the attempt's end, and the answer counts only if it was asked for after the grace;
    // - a request that left gets there within the grace or never: a call is given up after 30 s
    //   (`channels.stripe.call_timeout_ms`), and what it left in the kernel's hands after 924.6 s, which is what 15
    //   retransmissions take (Linux, `tcp_retries2`; RFC 1122 asks for 100 s at least);
    // - the list is by `created` over all of that time, clocks that differ included, to its last page; unlike search it
    //   does not lag (docs.stripe.com/search), and a replica has the whole grace to catch up;
    // - and nobody could pay it: its `client_secret` was in the answer that nobody got.
    lapse: Lapse::NotExist,
    unclosed: Unclosed::Lives,
    grace_ms: 20 * MINUTE,
    // A key may be forgotten after 24 h, and a create that comes again then makes a second payment: an hour is left for
    // the last one to arrive.
    live_max_ms: 23 * HOUR,
    live_min_ms: MINUTE,
    // A refund that succeeded can fail weeks later, where the card was closed (docs.stripe.com/refunds, failed refunds).
    refunding: Refunding {
        most: REFUNDS_MAX,
        pause_ms: 0,
        window: Window::Always,
        absence: Absence::Certain,
        billed_by: BilledBy::Payment,
        arrives_ms: REFUND_ARRIVES_MS,
        looks_ms: &[24 * HOUR, 7 * 24 * HOUR, 30 * 24 * HOUR],
    },
};

/// Version 1 of the channels' rules, see [`super::rules`].
pub(super) fn rules_1(channel: Channel) -> &'static Rules {
    match channel {
        Channel::Simpay => &SIMPAY,
        Channel::Wechat => &WECHAT,
        Channel::Alipay => &ALIPAY,
        Channel::Unionpay => &UNIONPAY,
        Channel::Stripe => &STRIPE,
    }
}

/// Something that a platform may tell of who pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayerFact {
    /// The payer's name at the channel.
    Openid,
    /// Where the payer's browser is.
    Ip,
}

impl Channel {
    pub const COUNT: usize = 5;
    pub const ALL: [Channel; Channel::COUNT] =
        [Channel::Simpay, Channel::Wechat, Channel::Alipay, Channel::Unionpay, Channel::Stripe];

    pub const fn name(self) -> &'static str {
        match self {
            Channel::Simpay => "simpay",
            Channel::Wechat => "wechat",
            Channel::Alipay => "alipay",
            Channel::Unionpay => "unionpay",
            Channel::Stripe => "stripe",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Channel::ALL.into_iter().find(|channel| channel.name() == name)
    }

    /// What this way to pay cannot do without of who pays; nothing is asked of the channel without it.
    pub const fn needs(self, method: Method) -> Option<PayerFact> {
        match self {
            Channel::Wechat => match method {
                Method::Jsapi => Some(PayerFact::Openid),
                Method::H5 => Some(PayerFact::Ip),
                Method::Qr | Method::Native | Method::App | Method::Page | Method::Wap | Method::Card => None,
            },
            Channel::Simpay | Channel::Alipay | Channel::Unionpay | Channel::Stripe => None,
        }
    }

    /// The place of this channel in tables by channel.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Rules {
    /// How long an attempt may live in an order of this scale. Only where nothing but time ends an attempt does that
    /// time shrink: elsewhere a close ends it as soon as anybody wants.
    pub fn life_ms(&self, scale: TimeScale) -> i64 {
        match self.closing {
            Closing::Impossible => scale.of(self.live_max_ms),
            Closing::Certain | Closing::Confirmed => self.live_max_ms,
        }
    }

    pub fn grace_ms(&self, scale: TimeScale) -> i64 {
        scale.of(self.grace_ms)
    }

    /// What it takes of a currency in one payment; none where it does not take the currency.
    pub fn limit(&self, currency: Currency) -> Option<Limit> {
        match self.currencies {
            Currencies::All => Some(Limit::at_least(currency.code(), 1)),
            Currencies::Only(limits) => limits.iter().find(|limit| limit.currency == currency.code()).copied(),
        }
    }
}

impl Method {
    pub const ALL: [Method; 8] =
        [Method::Qr, Method::Native, Method::Jsapi, Method::H5, Method::App, Method::Page, Method::Wap, Method::Card];

    pub const fn name(self) -> &'static str {
        match self {
            Method::Qr => "qr",
            Method::Native => "native",
            Method::Jsapi => "jsapi",
            Method::H5 => "h5",
            Method::App => "app",
            Method::Page => "page",
            Method::Wap => "wap",
            Method::Card => "card",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_tables_hold_every_channel_once() {
        for (place, channel) in Channel::ALL.into_iter().enumerate() {
            assert_eq!(Channel::parse(channel.name()), Some(channel));
            assert_eq!(channel.index(), place);
            assert_eq!(serde_json::to_value(channel).unwrap(), channel.name());
            assert!(!channel.rules().methods.is_empty());
        }
        for method in Method::ALL {
            assert_eq!(Method::parse(method.name()), Some(method));
            assert_eq!(serde_json::to_value(method).unwrap(), method.name());
        }
    }

    #[test]
    fn a_channel_that_cannot_be_closed_ends_by_time() {
        for channel in Channel::ALL {
            let rules = channel.rules();
            assert!(rules.closing != Closing::Impossible || rules.lapse != Lapse::Never, "{channel}");
            assert!(rules.closing != Closing::Impossible || rules.unclosed == Unclosed::Ends, "{channel}");
            assert!(rules.unclosed == Unclosed::Ends || rules.lapse != Lapse::NotExistOrPending, "{channel}");
            assert!(rules.live_min_ms < rules.live_max_ms, "{channel}");
        }
    }

    #[test]
    fn every_limit_is_of_a_currency_and_leaves_room() {
        for channel in Channel::ALL {
            let limits = match channel.rules().currencies {
                Currencies::All => continue,
                Currencies::Only(limits) => limits,
            };
            for (place, limit) in limits.iter().enumerate() {
                let currency = Currency::parse(limit.currency).expect("an ISO 4217 code");
                assert_eq!(channel.rules().limit(currency), Some(*limit), "{channel} names it once");
                assert!(limit.min_minor > 0 && limits[..place].iter().all(|other| other.currency != limit.currency));
                let max_minor = limit.max_minor.unwrap_or(currency.max_minor());
                assert!(limit.min_minor < max_minor && max_minor <= currency.max_minor(), "{channel} {currency}");
            }
        }
    }
}
