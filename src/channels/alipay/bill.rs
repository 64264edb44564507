//! The statement of a day: a zip with a GBK table of the trades (业务明细) and another one of totals, which is not read.
//!
//! Source: opendocs.alipay.com open/028r8t (address) and samples of the file that agree with each other. A comma in a
//! subject is not quoted there, so a row of more cells than its header is refused instead of guessed at.

use std::collections::HashMap;
use std::io::Cursor;

use encoding_rs::GBK;
use url::Url;
use zip::ZipArchive;

use super::verdict::{Refused, Signed};
use super::{Alipay, Told, requests, yuan};
use crate::channels::bill::{
    BillError, BillKind, BillLine, BillPart, BillRequest, Content, Day, is_home, is_within, unpack, whole,
};
use crate::channels::{Answer, Outgoing, Stamp, Verb, is_name};
use crate::domain::time::Instant;

const ENTRIES_MAX: usize = 16;
const DETAIL_NAME: &str = "业务明细.csv";
const URL_MAX: usize = 2048;
/// Beside the host that calls go to: files come from `dwbillcenter.alipay.com`.
const DOMAINS: &[&str] = &["alipay.com"];
/// Of Alipay's own sandbox, whose gateway is `openapi-sandbox.dl.alipaydev.com`. Its word counts for its own calls alone.
const SANDBOX_DOMAIN: &str = "alipaydev.com";

/// A day's bill is there from about nine on the next one. How long to wait between two tries is not published.
const READY_AFTER_MS: i64 = 9 * 60 * 60 * 1_000;
const GAP_MS: i64 = 30 * 60 * 1_000;
const BUSY_MS: i64 = 60 * 1_000;

/// Refusals that mean "not yet". Source: opendocs.alipay.com, the error table of the address's call.
const NOT_READY: &[&str] = &["BILL_NOT_EXIST", "isp.bill_not_exist"];
/// Refusals that mean "not so often".
const BUSY: &[&str] = &["SYSTEM_RATE_LIMIT", "USER_RATE_LIMIT"];
/// Refusals that mean "nothing moved".
const EMPTY: &[&str] = &["NO_BILL_DATA"];

/// Asks for the address of the bill of a day in Beijing. It is good for 30 seconds.
pub(super) struct Address<'a> {
    pub alipay: &'a Alipay,
    pub day: Day,
}

/// Fetches the file. Nobody signs it: that the answer with the address was signed, and where it leads, has to do.
struct File {
    url: String,
}

impl<'a> BillRequest<'a> for Address<'a> {
    fn outgoing(&self, stamp: &Stamp) -> Outgoing {
        let (year, month, day) = self.day.date.to_calendar_date();
        let date = format!("{year:04}-{:02}-{day:02}", u8::from(month));
        self.alipay.outgoing(requests::BILL, requests::bill(&date), &[], stamp)
    }

    fn content(&self) -> Content {
        Content::Address
    }

    fn read(self: Box<Self>, stamp: &Stamp, answer: &Answer) -> Result<BillPart<'a>, BillError> {
        match self.alipay.told(requests::BILL, stamp, answer).map_err(|why| whole(&why))? {
            Told::Fine(fields) => {
                let text = fields.get("bill_download_url").filter(|url| url.len() <= URL_MAX);
                let url =
                    text.and_then(|text| Url::parse(text).ok()).ok_or_else(|| whole("the answer has no address"))?;
                let url = secured(url, &self.alipay.gateway);
                if !is_alipays(&url, &self.alipay.gateway) {
                    return Err(whole("the answer names a file that is not at Alipay"));
                }
                Ok(BillPart::next(File { url: url.into() }))
            }
            Told::Refused(refused) => without_bill(&refused, self.day, stamp.at),
        }
    }
}

fn is_alipays(url: &Url, gateway: &str) -> bool {
    let is_sandbox = || {
        let gateway = Url::parse(gateway).ok();
        gateway.as_ref().and_then(Url::host_str).is_some_and(|host| is_within(host, SANDBOX_DOMAIN))
    };
    is_home(url, gateway, DOMAINS) || (is_sandbox() && is_home(url, gateway, &[SANDBOX_DOMAIN]))
}

/// Alipay's own examples of an address begin with `http:`. What nobody signs must not be fetched in the clear, so it is
/// fetched from the same place by TLS; only a gateway that is itself spoken to in the clear is taken at its word.
fn secured(mut url: Url, gateway: &str) -> Url {
    if url.scheme() == "http" && !gateway.starts_with("http:") {
        // Between these two schemes a change cannot fail.
        let _ = url.set_scheme("https");
    }
    url
}

impl<'a> BillRequest<'a> for File {
    fn outgoing(&self, _stamp: &Stamp) -> Outgoing {
        Outgoing { verb: Verb::Get, url: self.url.clone(), headers: Vec::new(), body: Vec::new() }
    }

    fn content(&self) -> Content {
        Content::Lines
    }

    fn read(self: Box<Self>, _stamp: &Stamp, answer: &Answer) -> Result<BillPart<'a>, BillError> {
        if answer.status != 200 {
            return Err(whole(&format!("the file was refused with status {}", answer.status)));
        }
        read(&answer.body).map(BillPart::last)
    }
}

fn without_bill<'a>(refused: &Refused, day: Day, now: Instant) -> Result<BillPart<'a>, BillError> {
    let names = |table: &[&str]| {
        // The business's codes come with and without its prefix.
        let name = refused.name();
        table.iter().any(|known| name == *known || name.strip_prefix("isv.") == Some(known))
    };
    let later = |after_ms, gap_ms| {
        Err(BillError::NotReady { again_at: day.again_at(after_ms, gap_ms, now), why: refused.name().to_owned() })
    };
    match refused.signed {
        Signed::Yes if names(NOT_READY) => later(READY_AFTER_MS, GAP_MS),
        Signed::Yes if names(BUSY) => later(0, BUSY_MS),
        Signed::Yes if names(EMPTY) => Ok(BillPart::last(Vec::new())),
        Signed::Yes | Signed::No => Err(whole(refused.name())),
    }
}

/// The columns that are read; others may come and go.
struct Columns {
    count: usize,
    reference: usize,
    number: usize,
    kind: usize,
    finished_at: usize,
    amount: usize,
    received: usize,
    request: usize,
    fee: usize,
}

impl Columns {
    fn of(header: &str) -> Result<Self, String> {
        let mut places = HashMap::new();
        let mut count = 0;
        for (place, name) in header.split(',').enumerate() {
            count = place + 1;
            if places.insert(name.trim(), place).is_some() {
                return Err(format!("the column {} comes twice", name.trim()));
            }
        }
        let place = |name: &str| places.get(name).copied().ok_or_else(|| format!("the column {name} is missing"));
        Ok(Columns {
            count,
            reference: place("支付宝交易号")?,
            number: place("商户订单号")?,
            kind: place("业务类型")?,
            finished_at: place("完成时间")?,
            amount: place("订单金额（元）")?,
            received: place("商家实收（元）")?,
            request: place("退款批次号/请求号")?,
            fee: place("服务费（元）")?,
        })
    }
}

/// What the lines after the table say that it holds.
#[derive(Default)]
struct Totals {
    payments: Total,
    refunds: Total,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Total {
    count: u64,
    received_minor: i64,
}

impl Total {
    fn add(&mut self, received_minor: i64) -> Option<()> {
        self.count += 1;
        self.received_minor = self.received_minor.checked_add(received_minor)?;
        Some(())
    }
}

/// How far the reading of the table has come.
enum Stage {
    Before,
    Header,
    Rows(Columns),
    After,
}

/// Reads a bill as it was downloaded.
///
/// # Errors
/// Anything that is not as it should be, with its line: nothing of the file is used then.
pub fn read(file: &[u8]) -> Result<Vec<BillLine>, BillError> {
    lines(&detail(file)?)
}

/// Reads the table of the trades.
///
/// # Errors
/// As [`read`].
pub(super) fn lines(table: &[u8]) -> Result<Vec<BillLine>, BillError> {
    let mut stage = Stage::Before;
    let mut lines = Vec::new();
    let (mut counted, mut told) = (Totals::default(), None);
    for (index, bytes) in table.split(|byte| *byte == b'\n').enumerate() {
        let at = |why: &str| unreadable(index + 1, why);
        let text = GBK.decode_without_bom_handling_and_without_replacement(bytes).ok_or_else(|| at("is not GBK"))?;
        let text = text.trim_end_matches('\r');
        stage = match stage {
            Stage::Before if is_mark(text, "业务明细列表") => Stage::Header,
            Stage::Before if text.is_empty() || text.starts_with('#') => Stage::Before,
            Stage::Before => return Err(at("stands before the table")),
            Stage::Header => Stage::Rows(Columns::of(text).map_err(|why| at(&why))?),
            Stage::Rows(_) if is_mark(text, "业务明细列表结束") => Stage::After,
            Stage::Rows(columns) => {
                lines.push(row(text, &columns, &mut counted).map_err(|why| at(&why))?);
                Stage::Rows(columns)
            }
            Stage::After => {
                told = total(text, told).map_err(|why| at(&why))?;
                Stage::After
            }
        };
    }
    match stage {
        Stage::After => {}
        Stage::Before | Stage::Header | Stage::Rows(_) => return Err(unreadable(0, "the table has no end")),
    }
    match told {
        Some(Totals { payments, refunds }) if payments == counted.payments && refunds == counted.refunds => Ok(lines),
        Some(_) => Err(unreadable(0, "the table is not what its totals say")),
        None if lines.is_empty() => Ok(lines),
        None => Err(unreadable(0, "the table has no totals")),
    }
}

/// The table of the trades out of the zip, still in GBK.
fn detail(file: &[u8]) -> Result<Vec<u8>, BillError> {
    let broken = |error: &dyn std::fmt::Display| unreadable(0, &format!("the zip cannot be read: {error}"));
    let mut archive = ZipArchive::new(Cursor::new(file)).map_err(|error| broken(&error))?;
    if archive.len() > ENTRIES_MAX {
        return Err(unreadable(0, "the zip has too many entries"));
    }
    let mut found = None;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|error| broken(&error))?;
        // The names are GBK without a flag that says so.
        let (name, _) = GBK.decode_without_bom_handling(entry.name_raw());
        if !name.ends_with(DETAIL_NAME) {
            continue;
        }
        if found.is_some() {
            return Err(unreadable(0, "the zip has two tables of trades"));
        }
        found = Some(unpack(entry)?);
    }
    found.ok_or_else(|| unreadable(0, "the zip has no table of trades"))
}

/// `#-----…name…-----`.
fn is_mark(text: &str, name: &str) -> bool {
    text.strip_prefix('#').is_some_and(|text| text.trim_matches('-') == name)
}

fn row(text: &str, columns: &Columns, counted: &mut Totals) -> Result<BillLine, String> {
    // Alipay ends text cells with a tab, against spreadsheets that make numbers of them.
    let cells: Vec<&str> = text.split(',').map(str::trim).collect();
    if cells.len() != columns.count {
        return Err(format!("has {} cells for {} columns", cells.len(), columns.count));
    }
    let amount = |place: usize, name: &str| yuan::read_signed(cells[place]).ok_or_else(|| format!("has no {name}"));
    let (amount_minor, received_minor) = (amount(columns.amount, "amount")?, amount(columns.received, "receipt")?);
    let kind = match cells[columns.kind] {
        "交易" => BillKind::Payment,
        "退款" => BillKind::Refund,
        _ => BillKind::Other,
    };
    let request = Some(cells[columns.request]).filter(|number| !number.is_empty()).map(str::to_owned);
    let refund_number = match kind {
        BillKind::Payment if amount_minor <= 0 => return Err("is a payment of nothing".into()),
        BillKind::Payment => {
            counted.payments.add(received_minor).ok_or("makes too much")?;
            None
        }
        BillKind::Refund if amount_minor >= 0 => return Err("is a refund of nothing".into()),
        BillKind::Refund => {
            counted.refunds.add(received_minor).ok_or("makes too much")?;
            request
        }
        BillKind::Other => request,
    };
    let reference = cells[columns.reference];
    let is_kept = |text: &str| text.is_empty() || is_name(text);
    if !is_name(reference) || !is_kept(cells[columns.number]) || !is_kept(cells[columns.request]) {
        return Err("has no reference, or a number that cannot be kept".into());
    }
    Ok(BillLine {
        kind,
        number: cells[columns.number].to_owned(),
        refund_number,
        reference: reference.to_owned(),
        amount_minor: amount_minor.abs(),
        fee_minor: Some(amount(columns.fee, "fee")?.abs()),
        currency: yuan::currency(),
        at: Some(yuan::read_clock(cells[columns.finished_at]).ok_or("has no time")?),
    })
}

/// Takes up a line after the table, such as `#交易合计：6笔，商家实收共0.06元，商家优惠共0.00元`.
fn total(text: &str, told: Option<Totals>) -> Result<Option<Totals>, String> {
    let parts = |name: &str, received: &str| -> Option<Result<Total, String>> {
        let rest = text.trim_start_matches('#').strip_prefix(name)?;
        let read = || {
            let (count, rest) = rest.split_once("笔，")?;
            let (yuan, _) = rest.strip_prefix(received)?.split_once('元')?;
            Some(Total { count: count.parse().ok()?, received_minor: yuan::read_signed(yuan)? })
        };
        Some(read().ok_or_else(|| "has totals that cannot be read".to_owned()))
    };
    if let Some(payments) = parts("交易合计：", "商家实收共") {
        return Ok(Some(Totals { payments: payments?, ..told.unwrap_or_default() }));
    }
    if let Some(refunds) = parts("退款合计：", "商家实收退款共") {
        return Ok(Some(Totals { refunds: refunds?, ..told.unwrap_or_default() }));
    }
    if text.is_empty() || text.starts_with('#') {
        return Ok(told);
    }
    Err("stands behind the table".into())
}

fn unreadable(line: usize, why: &str) -> BillError {
    BillError::Unreadable { line, why: why.to_owned() }
}

#[cfg(test)]
mod tests;
