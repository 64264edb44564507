//! The trade bill of a day: a table whose cells are marked by a backtick, behind a mark of UTF-8.
//!
//! Source: pay.weixin.qq.com merchant docs 4013071227, 4013071238, and `products/bill-download/format-trade` (25 Nov 2024),
//! by which a refund is in the bill of the day on which it was asked for, with the state that it then had. Here that is
//! the state that it has when the bill is made.

use std::fmt::Write;

use time::format_description::FormatItem;
use time::macros::{format_description, offset};
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};

use super::wire::{BANK, Kept};
use crate::gateway::books::{BillCapture, BillRefund};
use crate::gateway::cost::Cost;
use crate::gateway::fate::RefundState;

const DAY: &[FormatItem<'_>] = format_description!("[year]-[month]-[day]");
const CLOCK: &[FormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
const BYTE_ORDER_MARK: &str = "\u{feff}";
const SUMMARY: &str = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    All,
    Success,
    Refund,
}

impl Kind {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "ALL" => Some(Kind::All),
            "SUCCESS" => Some(Kind::Success),
            "REFUND" => Some(Kind::Refund),
            _ => None,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Kind::All => "ALL",
            Kind::Success => "SUCCESS",
            Kind::Refund => "REFUND",
        }
    }

    fn has(self, of: Of) -> bool {
        match (self, of) {
            (Kind::All, Of::Every | Of::Returned)
            | (Kind::Success, Of::Every)
            | (Kind::Refund, Of::Every | Of::Returned | Of::Dated) => true,
            (Kind::All, Of::Dated) | (Kind::Success, Of::Returned | Of::Dated) => false,
        }
    }
}

/// Which kinds of bill a column is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Every,
    /// All but those of successes.
    Returned,
    /// Those of refunds alone.
    Dated,
}

const COLUMNS: &[(&str, Of)] = &[
    ("交易时间", Of::Every),
    ("公众账号ID", Of::Every),
    ("商户号", Of::Every),
    ("特约商户号", Of::Every),
    ("设备号", Of::Every),
    ("微信订单号", Of::Every),
    ("商户订单号", Of::Every),
    ("用户标识", Of::Every),
    ("交易类型", Of::Every),
    ("交易状态", Of::Every),
    ("付款银行", Of::Every),
    ("货币种类", Of::Every),
    ("应结订单金额", Of::Every),
    ("代金券金额", Of::Every),
    ("退款申请时间", Of::Dated),
    ("退款成功时间", Of::Dated),
    ("微信退款单号", Of::Returned),
    ("商户退款单号", Of::Returned),
    ("退款金额", Of::Returned),
    ("充值券退款金额", Of::Returned),
    ("退款类型", Of::Returned),
    ("退款状态", Of::Returned),
    ("商品名称", Of::Every),
    ("商户数据包", Of::Every),
    ("手续费", Of::Every),
    ("费率", Of::Every),
    ("订单金额", Of::Every),
    ("申请退款金额", Of::Returned),
    ("费率备注", Of::Every),
];

/// Whose bill it is.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    pub appid: &'a str,
    pub mchid: &'a str,
}

/// What moved, and what WeChat Pay charges for it. Fees are whole fen, as money is, and are written with five decimals.
#[derive(Clone, Copy)]
pub struct Contents<'a> {
    pub captures: &'a [BillCapture],
    pub refunds: &'a [BillRefund],
    pub cost: Cost,
}

/// What the cells of a row are made of.
struct Row<'a> {
    holder: Holder<'a>,
    cost: Cost,
    /// When the bill is made.
    now: i64,
    at: i64,
    reference: &'a str,
    number: &'a str,
    kept: Option<&'a Kept>,
    paid_minor: i64,
    refund: Option<(&'a str, &'a BillRefund)>,
}

/// The span of a day in Beijing, in unix milliseconds; none if the text is no day.
pub fn span(day: &str) -> Option<(i64, i64)> {
    let day = Date::parse(day, DAY).ok().filter(|_| day.len() == 10)?;
    let from = PrimitiveDateTime::new(day, Time::MIDNIGHT).assume_offset(offset!(+8)).unix_timestamp() * 1_000;
    Some((from, from + DAY_MS))
}

/// The file as it is made now; none if nothing moved.
pub fn file(kind: Kind, holder: Holder<'_>, contents: Contents<'_>, now: i64) -> Option<String> {
    let Contents { captures, refunds, cost } = contents;
    let (captures, refunds) = match kind {
        Kind::All => (captures, refunds),
        Kind::Success => (captures, &[][..]),
        Kind::Refund => (&[][..], refunds),
    };
    if captures.is_empty() && refunds.is_empty() {
        return None;
    }
    let names: Vec<&str> = COLUMNS.iter().filter(|(_, of)| kind.has(*of)).map(|(name, _)| *name).collect();
    let mut text = format!("{BYTE_ORDER_MARK}{}\r\n", names.join(","));
    let (mut paid_minor, mut refunded_minor, mut fees_minor) = (0i64, 0i64, 0i64);
    for line in captures {
        let kept = Kept::read(line.data.as_deref());
        let row = Row {
            holder,
            cost,
            now,
            at: line.capture.at,
            reference: &line.capture.reference,
            number: &line.number,
            kept: kept.as_ref(),
            paid_minor: line.capture.amount_minor,
            refund: None,
        };
        paid_minor = paid_minor.saturating_add(row.paid_minor);
        fees_minor = fees_minor.saturating_add(row.fee_minor());
        write(&mut text, names.iter().map(|name| row.cell(name)));
    }
    for line in refunds {
        let row = Row {
            holder,
            cost,
            now,
            at: line.at,
            reference: line.payment_reference.as_deref().unwrap_or_default(),
            number: &line.refund.number,
            kept: None,
            paid_minor: 0,
            refund: Some((&line.refund_number, line)),
        };
        refunded_minor = refunded_minor.saturating_add(line.refund.amount_minor);
        fees_minor = fees_minor.saturating_add(row.fee_minor());
        write(&mut text, names.iter().map(|name| row.cell(name)));
    }
    text.push_str(SUMMARY);
    text.push_str("\r\n");
    let count = captures.len() + refunds.len();
    let (paid, refunded) = (yuan(paid_minor), yuan(refunded_minor));
    let totals = [count.to_string(), paid.clone(), refunded.clone(), yuan(0), fee(fees_minor), paid, refunded];
    write(&mut text, totals.into_iter());
    Some(text)
}

fn write(text: &mut String, cells: impl Iterator<Item = String>) {
    let row: Vec<String> = cells.map(|cell| format!("`{cell}")).collect();
    let _ = write!(text, "{}\r\n", row.join(","));
}

impl Row<'_> {
    /// What a payment costs. With a refund that part of it comes back, unless it ended or waits for a person.
    fn fee_minor(&self) -> i64 {
        let Some((_, line)) = self.refund else { return self.cost.fee_minor(self.paid_minor) };
        match line.refund.state_at(self.now) {
            RefundState::Pending | RefundState::Refunded | RefundState::Returned => {
                -self.cost.returned_minor(line.captured_minor, line.refund.amount_minor)
            }
            RefundState::Ended | RefundState::Stuck => 0,
        }
    }

    fn cell(&self, column: &str) -> String {
        let refunded_minor = self.refund.map_or(0, |(_, line)| line.refund.amount_minor);
        let of_refund = |text: &str| if self.refund.is_some() { text.to_owned() } else { String::new() };
        match column {
            "交易时间" => clock(self.at),
            "公众账号ID" => {
                self.kept.and_then(|kept| kept.appid.as_deref()).unwrap_or(self.holder.appid).to_owned()
            }
            "商户号" => self.holder.mchid.to_owned(),
            "特约商户号" => "0".to_owned(),
            "微信订单号" => self.reference.to_owned(),
            "商户订单号" => self.number.to_owned(),
            "用户标识" => self.kept.and_then(|kept| kept.openid.clone()).unwrap_or_default(),
            "交易类型" => self.kept.map_or_else(String::new, |kept| kept.product.name().to_owned()),
            "交易状态" => if self.refund.is_some() { "REFUND" } else { "SUCCESS" }.to_owned(),
            "付款银行" => BANK.to_owned(),
            "货币种类" => "CNY".to_owned(),
            "应结订单金额" | "订单金额" => yuan(self.paid_minor),
            "代金券金额" | "充值券退款金额" => yuan(0),
            "退款申请时间" => clock(self.at),
            "退款成功时间" => self.refunded_at().map_or_else(String::new, clock),
            "微信退款单号" => self
                .refund
                .map_or("0".to_owned(), |(_, line)| line.refund.reference.as_deref().unwrap_or("0").to_owned()),
            "商户退款单号" => self.refund.map_or("0", |(number, _)| number).to_owned(),
            "退款金额" | "申请退款金额" => yuan(refunded_minor),
            "退款类型" => of_refund("ORIGINAL"),
            "退款状态" => self.refund.map_or("", |(_, line)| status(line.refund.state_at(self.now))).to_owned(),
            "商品名称" => self.kept.map_or_else(String::new, |kept| kept.description.clone()),
            "商户数据包" => self.kept.and_then(|kept| kept.attach.clone()).unwrap_or_default(),
            "手续费" => fee(self.fee_minor()),
            "费率" => self.cost.percent(),
            // 设备号 and 费率备注, of which nothing is known here.
            _ => String::new(),
        }
    }

    fn refunded_at(&self) -> Option<i64> {
        self.refund.and_then(|(_, line)| line.refund.fate.refunded_at()).filter(|at| *at <= self.now)
    }
}

/// In the bill's own words.
const fn status(state: RefundState) -> &'static str {
    match state {
        RefundState::Pending => "PROCESSING",
        RefundState::Refunded | RefundState::Returned => "SUCCESS",
        RefundState::Ended => "FAIL",
        RefundState::Stuck => "CHANGE",
    }
}

fn yuan(amount_minor: i64) -> String {
    let sign = if amount_minor < 0 { "-" } else { "" };
    let fen = amount_minor.unsigned_abs();
    format!("{sign}{}.{:02}", fen / 100, fen % 100)
}

fn fee(fee_minor: i64) -> String {
    format!("{}000", yuan(fee_minor))
}

fn clock(at_ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp(at_ms.div_euclid(1_000))
        .ok()
        .and_then(|at| at.to_offset(offset!(+8)).format(CLOCK).ok())
        .unwrap_or_default()
}
