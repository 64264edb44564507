//! The trade bill of a day: the requests that fetch it, and the file.
//!
//! The file is UTF-8 text, perhaps with a byte order mark. Its header is plain; each field of every other row begins with
//! a backtick, so that a comma within a field parts nothing. A summary with its own header ends it. The file is unsigned:
//! what vouches for it is its SHA-1, which came in a signed answer, and here that the summary agrees with the rows.
//! Source: merchant documents 4013071227 and 4013071238.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde::Deserialize;
use time::PrimitiveDateTime;
use time::macros::{format_description, offset};
use url::Url;

use super::codes::{FREQUENCY_LIMITED, NO_STATEMENT_EXIST, RATELIMIT_EXCEEDED, STATEMENT_CREATING};
use super::wire::{is_name, parse};
use super::{Reply, Wechat};
use crate::channels::bill::{BillError, BillKind, BillLine, BillPart, BillRequest, Content, Day, is_home, whole};
use crate::channels::{Answer, Outgoing, Stamp, Verb};
use crate::domain::money::{AmountError, Currency, parse_minor};
use crate::domain::time::Instant;

/// The header of the summary begins so.
const SUMMARY: &str = "总交易单数";
const URL_MAX: usize = 2_048;
/// Our numbers, and others' in the same account.
const NUMBER_MAX: usize = 64;
/// Beside the host that calls go to: those of the merchant documents and of the official SDK.
const DOMAINS: &[&str] = &["mch.weixin.qq.com", "api2.wechatpay.cn"];
/// A day's bill is there from ten on the next one; while it is being made, the documents ask for half an hour between
/// two tries.
const READY_AFTER_MS: i64 = 10 * 60 * 60 * 1_000;
const GAP_MS: i64 = 30 * 60 * 1_000;
/// Who asks too often waits this long; how long is not published.
const BUSY_MS: i64 = 60 * 1_000;

/// Asks for the address of the bill of a day in Beijing.
pub(super) struct Address<'a> {
    pub wechat: &'a Wechat,
    pub day: Day,
}

/// Fetches the file: signed, at the address exactly as it was given.
struct File<'a> {
    wechat: &'a Wechat,
    ticket: Ticket,
}

/// Where a bill's file is, and what its plain bytes must hash to.
struct Ticket {
    url: String,
    sha1: [u8; 20],
}

#[derive(Deserialize)]
struct TicketAnswer {
    hash_type: String,
    hash_value: String,
    download_url: String,
}

impl<'a> BillRequest<'a> for Address<'a> {
    fn outgoing(&self, stamp: &Stamp) -> Outgoing {
        let (year, month, day) = self.day.date.to_calendar_date();
        let path = format!("/v3/bill/tradebill?bill_date={year:04}-{:02}-{day:02}&bill_type=ALL", u8::from(month));
        self.wechat.get(&path, stamp)
    }

    fn content(&self) -> Content {
        Content::Address
    }

    fn read(self: Box<Self>, stamp: &Stamp, answer: &Answer) -> Result<BillPart<'a>, BillError> {
        let later = |after_ms, gap_ms, why: &str| {
            let again_at = self.day.again_at(after_ms, gap_ms, stamp.at);
            Err(BillError::NotReady { again_at, why: why.to_owned() })
        };
        match self.wechat.reply(stamp, answer) {
            Reply::Signed(body) => {
                let ticket = ticket(body).ok_or_else(|| whole("the answer names no file that can be fetched"))?;
                if !Url::parse(&ticket.url).is_ok_and(|url| is_home(&url, &self.wechat.base_url, DOMAINS)) {
                    return Err(whole("the answer names a file that is not at WeChat Pay"));
                }
                Ok(BillPart::next(File { wechat: self.wechat, ticket }))
            }
            Reply::Unbelieved(why) => Err(whole(why)),
            // Unsigned, like every refusal of WeChat Pay's: that nothing moved rests on TLS alone.
            Reply::Refused { code, .. } if code == NO_STATEMENT_EXIST => Ok(BillPart::last(Vec::new())),
            Reply::Refused { code, .. } if code == STATEMENT_CREATING => later(READY_AFTER_MS, GAP_MS, &code),
            Reply::Refused { code, .. } if [FREQUENCY_LIMITED, RATELIMIT_EXCEEDED].contains(&code.as_str()) => {
                later(0, BUSY_MS, &code)
            }
            Reply::Refused { status, code } => Err(whole(&format!("refused with status {status}, code {code:?}"))),
        }
    }
}

impl<'a> BillRequest<'a> for File<'a> {
    fn outgoing(&self, stamp: &Stamp) -> Outgoing {
        // The path and query are what the URL has behind its host, byte for byte.
        let url = &self.ticket.url;
        let after_scheme = url.find("://").map_or(0, |at| at + 3);
        let path = url[after_scheme..].find('/').map_or("/", |at| &url[after_scheme + at..]);
        self.wechat.signed(Verb::Get, url.clone(), path, Vec::new(), stamp)
    }

    fn content(&self) -> Content {
        Content::Lines
    }

    fn read(self: Box<Self>, _stamp: &Stamp, answer: &Answer) -> Result<BillPart<'a>, BillError> {
        if answer.status != 200 {
            return Err(whole(&format!("the file was refused with status {}", answer.status)));
        }
        if digest(&SHA1_FOR_LEGACY_USE_ONLY, &answer.body).as_ref() != self.ticket.sha1 {
            return Err(whole("the file's SHA-1 is another one than was promised"));
        }
        read(&answer.body, &self.wechat.mchid).map(BillPart::last)
    }
}

fn ticket(body: &[u8]) -> Option<Ticket> {
    let answer: TicketAnswer = parse(body)?;
    let is_address =
        answer.download_url.len() <= URL_MAX && answer.download_url.bytes().all(|byte| byte.is_ascii_graphic());
    let is_hash = answer.hash_type == "SHA1" && answer.hash_value.len() == 40 && answer.hash_value.is_ascii();
    if !is_address || !is_hash {
        return None;
    }
    let mut sha1 = [0; 20];
    for (byte, digits) in sha1.iter_mut().zip(answer.hash_value.as_bytes().chunks_exact(2)) {
        let digits =
            std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(Ticket { url: answer.download_url, sha1 })
}

/// Where the columns stand that are read; their order differs between the kinds of bills.
struct Columns {
    count: usize,
    at: usize,
    mchid: usize,
    reference: usize,
    number: usize,
    state: usize,
    currency: usize,
    amount: usize,
    fee: usize,
    refund: Option<RefundColumns>,
}

/// What a bill of payments alone leaves out.
struct RefundColumns {
    refund_number: usize,
    amount: usize,
    state: usize,
}

impl Columns {
    fn of(header: &str) -> Result<Self, String> {
        let names: Vec<&str> = header.split(',').collect();
        let place = |name: &str| {
            let mut places = names.iter().enumerate().filter(|(_, known)| **known == name).map(|(place, _)| place);
            match (places.next(), places.next()) {
                (Some(place), None) => Ok(place),
                (None, _) => Err(format!("the column {name} is missing")),
                (Some(_), Some(_)) => Err(format!("the column {name} stands there twice")),
            }
        };
        let refund = if names.contains(&"商户退款单号") {
            Some(RefundColumns {
                refund_number: place("商户退款单号")?,
                amount: place("申请退款金额")?,
                state: place("退款状态")?,
            })
        } else {
            None
        };
        Ok(Columns {
            count: names.len(),
            at: place("交易时间")?,
            mchid: place("商户号")?,
            reference: place("微信订单号")?,
            number: place("商户订单号")?,
            state: place("交易状态")?,
            currency: place("货币种类")?,
            amount: place("订单金额")?,
            fee: place("手续费")?,
            refund,
        })
    }
}

/// What the rows come to, to be compared with the file's own summary.
#[derive(Default)]
struct Sums {
    rows: i64,
    paid_minor: i64,
    refunded_minor: i64,
}

/// Reads a whole bill of the merchant `mchid`.
///
/// # Errors
/// Anything that is not as it should be, with its line: of such a file nothing may be used.
pub fn read(file: &[u8], mchid: &str) -> Result<Vec<BillLine>, BillError> {
    let file = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
    let text = std::str::from_utf8(file).map_err(|_| whole("the file is not UTF-8"))?;
    let mut rows = text.lines().enumerate().map(|(place, row)| (place + 1, row));
    let (_, header) = rows.next().ok_or_else(|| whole("the file is empty"))?;
    let columns = Columns::of(header).map_err(|why| BillError::Unreadable { line: 1, why })?;
    let mut lines = Vec::new();
    let mut sums = Sums::default();
    for (line, row) in rows.by_ref() {
        if row.starts_with(SUMMARY) {
            let (last, values) = rows.next().ok_or_else(|| whole("the summary is missing"))?;
            compare(row, values, &sums).map_err(|why| BillError::Unreadable { line: last, why })?;
            return match rows.next() {
                None => Ok(lines),
                Some((line, _)) => Err(BillError::Unreadable { line, why: "something follows the summary".into() }),
            };
        }
        lines.push(entry(row, &columns, mchid, &mut sums).map_err(|why| BillError::Unreadable { line, why })?);
    }
    Err(whole("the file ends before its summary"))
}

fn entry(row: &str, columns: &Columns, mchid: &str, sums: &mut Sums) -> Result<BillLine, String> {
    let fields = fields(row)?;
    if fields.len() != columns.count {
        return Err(format!("{} fields stand where there are {} columns", fields.len(), columns.count));
    }
    if fields[columns.mchid] != mchid {
        return Err("the row is another merchant's".into());
    }
    let currency = Currency::parse(fields[columns.currency]).ok_or("the currency is not known")?;
    let ordered_minor = amount(fields[columns.amount], currency)?;
    let (kind, refund_number, amount_minor) = match (fields[columns.state], &columns.refund) {
        ("SUCCESS", _) => (BillKind::Payment, None, ordered_minor),
        ("REVOKED", _) => (BillKind::Other, None, ordered_minor),
        ("REFUND", Some(refund)) => {
            let kind = match fields[refund.state] {
                "SUCCESS" | "PROCESSING" => BillKind::Refund,
                // It came back, or waits for a person: neither is money with the payer.
                "FAIL" | "CHANGE" => BillKind::Other,
                _ => return Err("the refund's state is not known".into()),
            };
            (kind, Some(name(fields[refund.refund_number])?), amount(fields[refund.amount], currency)?)
        }
        ("REFUND", None) | (_, _) => return Err("the state is not known".into()),
    };
    if amount_minor == 0 {
        return Err("the amount is zero".into());
    }
    let reference = fields[columns.reference];
    if !is_name(reference) {
        return Err("WeChat Pay's number is malformed".into());
    }
    let refunded_minor = if refund_number.is_some() { amount_minor } else { 0 };
    sums.add(ordered_minor, refunded_minor).ok_or("the sum is too large")?;
    Ok(BillLine {
        kind,
        number: name(fields[columns.number])?,
        refund_number,
        reference: reference.to_owned(),
        amount_minor,
        fee_minor: fee(fields[columns.fee], kind)?,
        currency,
        at: Some(instant(fields[columns.at])?),
    })
}

impl Sums {
    fn add(&mut self, paid_minor: i64, refunded_minor: i64) -> Option<()> {
        self.rows = self.rows.checked_add(1)?;
        self.paid_minor = self.paid_minor.checked_add(paid_minor)?;
        self.refunded_minor = self.refunded_minor.checked_add(refunded_minor)?;
        Some(())
    }
}

/// A row that was lost or added on the way shows here.
fn compare(header: &str, values: &str, sums: &Sums) -> Result<(), String> {
    let names: Vec<&str> = header.split(',').collect();
    let values = fields(values)?;
    if names.len() != values.len() {
        return Err("the summary has not a value for each of its columns".into());
    }
    let value = |name: &str| names.iter().position(|known| *known == name).map(|place| values[place]);
    let cny = Currency::parse("CNY").ok_or("the currency is not known")?;
    let count = value(SUMMARY).and_then(|text| text.parse::<i64>().ok());
    if count != Some(sums.rows) {
        return Err("the summary counts other rows".into());
    }
    for (name, sum_minor) in [("订单总金额", sums.paid_minor), ("申请退款总金额", sums.refunded_minor)] {
        match value(name) {
            Some(text) if amount(text, cny)? != sum_minor => {
                return Err(format!("the summary's {name} is another one"));
            }
            // A bill of payments alone has no sum of refunds.
            Some(_) | None => {}
        }
    }
    Ok(())
}

fn fields(row: &str) -> Result<Vec<&str>, String> {
    let row = row.strip_prefix('`').ok_or("the row does not begin with a backtick")?;
    Ok(row.split(",`").collect())
}

/// Yuan with two decimals at most; zero stands in the columns that do not apply.
fn amount(text: &str, currency: Currency) -> Result<i64, String> {
    match parse_minor(text, currency) {
        Ok(minor) => Ok(minor),
        Err(AmountError::Zero) => Ok(0),
        Err(error) => Err(format!("an amount {error}")),
    }
}

/// The fee in yuan with five decimals, written negative where a refund gives it back; none where it is finer than a fen.
fn fee(text: &str, kind: BillKind) -> Result<Option<i64>, String> {
    let digits = match kind {
        BillKind::Payment => text,
        BillKind::Refund | BillKind::Other => text.strip_prefix('-').unwrap_or(text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 12 || fraction.len() > 8 || !is_plain(whole) || !is_plain(fraction) {
        return Err("the fee is malformed".into());
    }
    let (fen, finer) = fraction.split_at(fraction.len().min(2));
    if finer.bytes().any(|digit| digit != b'0') {
        return Ok(None);
    }
    format!("{whole}{fen:0<2}").parse().map(Some).map_err(|_| "the fee is malformed".into())
}

fn name(text: &str) -> Result<String, String> {
    let is_name = (1..=NUMBER_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_name { Ok(text.to_owned()) } else { Err("a number is malformed".into()) }
}

/// Beijing's time of the clock.
fn instant(text: &str) -> Result<Instant, String> {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let local = PrimitiveDateTime::parse(text, &form).map_err(|_| "the time is malformed")?;
    Ok(Instant(local.assume_offset(offset!(+8)).unix_timestamp() * 1_000))
}
