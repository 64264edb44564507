//! The business contents of our requests.

use serde::{Deserialize, Serialize};

use super::yuan;
use crate::channels::{Ask, RefundAsk, cut};
use crate::domain::channel::Method;
use crate::domain::time::Instant;

pub const PAGE_PAY: &str = "alipay.trade.page.pay";
pub const WAP_PAY: &str = "alipay.trade.wap.pay";
pub const PRECREATE: &str = "alipay.trade.precreate";
pub const QUERY: &str = "alipay.trade.query";
pub const CLOSE: &str = "alipay.trade.close";
pub const REFUND: &str = "alipay.trade.refund";
pub const REFUND_QUERY: &str = "alipay.trade.fastpay.refund.query";
pub const BILL: &str = "alipay.data.dataservice.bill.downloadurl.query";
pub const CERTIFICATE: &str = "alipay.open.app.alipaycert.download";

/// 100000000.00, the most that a trade may have.
const TOTAL_MAX_MINOR: i64 = 10_000_000_000;
/// Characters of a refund's reason.
const REASON_MAX: usize = 256;

/// How an attempt gets to Alipay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entrance {
    /// By the payer's browser, at a desk.
    Page,
    /// By the payer's browser, on a phone.
    Wap,
    /// By our call, which brings a code to scan.
    Precreate,
}

impl Entrance {
    pub const fn method(self) -> &'static str {
        match self {
            Entrance::Page => PAGE_PAY,
            Entrance::Wap => WAP_PAY,
            Entrance::Precreate => PRECREATE,
        }
    }

    const fn product_code(self) -> &'static str {
        match self {
            Entrance::Page => "FAST_INSTANT_TRADE_PAY",
            Entrance::Wap => "QUICK_WAP_WAY",
            Entrance::Precreate => "QR_CODE_OFFLINE",
        }
    }

    const fn of(method: Method) -> Option<Self> {
        match method {
            Method::Page => Some(Entrance::Page),
            Method::Wap => Some(Entrance::Wap),
            Method::Qr => Some(Entrance::Precreate),
            Method::Native | Method::Jsapi | Method::H5 | Method::App | Method::Card => None,
        }
    }
}

/// What every send of an attempt repeats.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Frozen {
    Request {
        biz_content: String,
        entrance: Entrance,
        expires_at: Instant,
        notify_url: String,
        number: String,
        return_url: Option<String>,
    },
    /// It is never sent: the channel certainly cannot have it.
    Unsuitable { code: String },
}

/// Members in the order of their names, so that the text is canonical.
#[derive(Serialize)]
struct Create<'a> {
    out_trade_no: &'a str,
    product_code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    quit_url: Option<&'a str>,
    subject: &'a str,
    time_expire: &'a str,
    total_amount: &'a str,
}

#[derive(Serialize)]
struct Trade<'a> {
    out_trade_no: &'a str,
}

#[derive(Serialize)]
struct Refund<'a> {
    out_request_no: &'a str,
    refund_amount: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund_reason: Option<&'a str>,
    trade_no: &'a str,
}

#[derive(Serialize)]
struct RefundQuery<'a> {
    out_request_no: &'a str,
    /// What is answered besides only if it is wanted: here, when the refund was made.
    query_options: [&'a str; 1],
    trade_no: &'a str,
}

#[derive(Serialize)]
struct Bill<'a> {
    bill_date: &'a str,
    bill_type: &'a str,
}

#[derive(Serialize)]
struct Certificate<'a> {
    alipay_cert_sn: &'a str,
}

impl Frozen {
    pub fn of(ask: &Ask<'_>) -> Self {
        let unsuitable = |code: &str| Frozen::Unsuitable { code: code.into() };
        let Some(entrance) = Entrance::of(ask.method) else { return unsuitable("method_unsuitable") };
        if ask.currency != yuan::currency() {
            return unsuitable("currency_unsuitable");
        }
        if !(1..=TOTAL_MAX_MINOR).contains(&ask.payable_minor) {
            return unsuitable("amount_unsuitable");
        }
        let number = ask.number.to_string();
        let biz_content = json(&Create {
            out_trade_no: &number,
            product_code: entrance.product_code(),
            quit_url: match entrance {
                Entrance::Wap => ask.return_url,
                Entrance::Page | Entrance::Precreate => None,
            },
            subject: &subject(ask.description),
            time_expire: &yuan::clock(ask.expires_at),
            total_amount: &yuan::written(ask.payable_minor),
        });
        Frozen::Request {
            biz_content,
            entrance,
            expires_at: ask.expires_at,
            notify_url: ask.notify_url.clone(),
            number,
            return_url: ask.return_url.map(Into::into),
        }
    }

    pub fn written(&self) -> Box<str> {
        json(self).into()
    }

    pub fn read(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("the frozen request cannot be read: {error}"))
    }
}

/// Alipay refuses `/`, `=` and `&` in a subject; their wide forms read the same.
fn subject(description: &str) -> String {
    description
        .chars()
        .map(|character| match character {
            '/' => '／',
            '=' => '＝',
            '&' => '＆',
            // The day's bill does not quote it.
            ',' => '，',
            other => other,
        })
        .collect()
}

pub fn trade(number: &str) -> String {
    json(&Trade { out_trade_no: number })
}

/// By the capture's own reference: an attempt may have been paid twice.
pub fn refund(ask: &RefundAsk) -> String {
    // The day's bill may show it, and quotes no comma.
    let reason = ask.reason.as_deref().map(|reason| cut(reason, REASON_MAX).replace(',', "，"));
    json(&Refund {
        out_request_no: &ask.refund_number,
        refund_amount: &yuan::written(ask.amount_minor),
        refund_reason: reason.as_deref(),
        trade_no: &ask.reference,
    })
}

pub fn refund_query(ask: &RefundAsk) -> String {
    let query_options = ["gmt_refund_pay"];
    json(&RefundQuery { out_request_no: &ask.refund_number, query_options, trade_no: &ask.reference })
}

/// The trades of a day, `2026-01-01`.
pub fn bill(day: &str) -> String {
    json(&Bill { bill_date: day, bill_type: "trade" })
}

pub fn certificate(sn: &str) -> String {
    json(&Certificate { alipay_cert_sn: sn })
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain structs always serialise")
}
