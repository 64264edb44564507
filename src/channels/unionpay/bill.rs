//! The reconciliation file of a settlement day: `fileContent` is base64 of zlib of a zip, in which the entry
//! `INN…ZM_<merId>` has a line for each transaction.
//!
//! Lines have fixed columns with one blank between; widths and columns as UnionPay's sample of 2015 and the reader in
//! its kit (`DemoBase.parseZMFile`) have them. The entries beside it are left alone: `RD…` is a summary for people,
//! in GBK, and `…ZME_…` lists disputes, whose columns are different ones.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use time::Date;
use url::Url;
use zip::ZipArchive;

use super::{Unionpay, amount, beijing, code};
use crate::channels::bill::{BillError, BillKind, BillLine, BillPart, BillRequest, Content, Day, unpack, whole};
use crate::channels::{Answer, Outgoing, Stamp, is_name};
use crate::domain::id::RefundNumber;
use crate::domain::money::Currency;

/// When a file is made is not published: ten on the next day is when WeChat Pay's are, and an hour between two tries
/// asks nothing of anybody.
const READY_AFTER_MS: i64 = 10 * 60 * 60 * 1_000;
const GAP_MS: i64 = 60 * 60 * 1_000;
/// Days are asked for without their year: an older one would be taken for this year's.
const KEPT_MS: i64 = 360 * 24 * 60 * 60 * 1_000;
const ENTRIES_MAX: usize = 64;

const WIDTHS: [usize; 42] = [
    3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1, 21, 15, 1, 15, 32, 13,
    13, 8, 32, 13, 13, 12, 2, 1, 32, 98,
];
/// Columns that are read, counted from 1 as the specification does.
const TRACE_TIME: usize = 5;
const AMOUNT: usize = 7;
const QUERY_ID: usize = 10;
const ORDER_ID: usize = 12;
const FEE: usize = 16;
const TXN_TYPE: usize = 20;
const ORIGINAL_QUERY_ID: usize = 27;
const MER_ID: usize = 28;

/// Asks for the reconciliation file of a settlement day, which comes within the signed answer.
pub(super) struct File<'a> {
    pub unionpay: &'a Unionpay,
    pub day: Day,
}

impl<'a> BillRequest<'a> for File<'a> {
    fn outgoing(&self, stamp: &Stamp) -> Outgoing {
        let mut fields = self.unionpay.fields("76", "01", "000000", &beijing::moment(stamp.at));
        fields.insert("settleDate".into(), beijing::day(self.day.date));
        fields.insert("fileType".into(), "00".into());
        self.unionpay.outgoing(self.unionpay.file_url.clone(), fields)
    }

    fn content(&self) -> Content {
        Content::Lines
    }

    fn read(self: Box<Self>, stamp: &Stamp, answer: &Answer) -> Result<BillPart<'a>, BillError> {
        if stamp.at.since_ms(self.day.begins) > KEPT_MS {
            return Err(whole(
                "UnionPay is asked for days without their year, so that only those of 360 days are certain",
            ));
        }
        let fields = self.unionpay.told(stamp, answer).map_err(whole)?;
        let settled_on = self.day.date;
        if fields.get("settleDate").is_some_and(|day| *day != beijing::day(settled_on)) {
            return Err(whole("the answer speaks of another day"));
        }
        match code(&fields, "respCode") {
            "00" => match fields.get("fileContent") {
                Some(content) => read(content, &self.unionpay.mer_id, settled_on).map(BillPart::last),
                None => Err(whole("the answer has no file")),
            },
            "98" => Err(BillError::NotReady {
                again_at: self.day.again_at(READY_AFTER_MS, GAP_MS, stamp.at),
                why: "98: there is no file, as none was made yet or nothing was settled on that day".into(),
            }),
            refused => Err(whole(&format!("the file was refused: {refused}"))),
        }
    }
}

/// Files have a host of their own beside the gateway's; where the gateway's is not one of UnionPay's, so has a path.
pub fn file_url(base_url: &str) -> Option<String> {
    let mut url = Url::parse(base_url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    match url.host_str()?.strip_prefix("gateway.") {
        Some(rest) => {
            let host = format!("filedownload.{rest}");
            url.set_host(Some(&host)).ok()?;
            Some(url.to_string())
        }
        None => Some(format!("{base_url}/filedownload/")),
    }
}

/// Reads the field `fileContent`.
///
/// # Errors
/// [`BillError`]: one line that cannot be read spoils the whole.
pub fn read(file_content: &str, mer_id: &str, settled_on: Date) -> Result<Vec<BillLine>, BillError> {
    let packed = STANDARD.decode(file_content).map_err(|_| whole("the content is not base64"))?;
    let archive = unpack(ZlibDecoder::new(packed.as_slice()))?;
    let details = details(archive, mer_id)?;
    if details.is_empty() {
        return Ok(Vec::new());
    }
    details
        .strip_suffix(b"\r\n")
        .ok_or_else(|| whole("the file is cut off"))?
        .split(|byte| *byte == b'\n')
        .enumerate()
        .map(|(place, line)| {
            read_line(line.strip_suffix(b"\r").unwrap_or(line), mer_id, settled_on)
                .map_err(|why| BillError::Unreadable { line: place + 1, why: why.into() })
        })
        .collect()
}

/// The bytes of the one entry that lists this merchant's transactions.
fn details(archive: Vec<u8>, mer_id: &str) -> Result<Vec<u8>, BillError> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).map_err(|_| whole("the content is no zip"))?;
    if archive.len() > ENTRIES_MAX {
        return Err(whole("the zip has too many entries"));
    }
    let suffix = format!("ZM_{mer_id}");
    let mut names = Vec::new();
    for name in archive.file_names() {
        let name = name.map_err(|_| whole("an entry of the zip has no name"))?;
        if name.ends_with(&suffix) {
            names.push(name.into_owned());
        }
    }
    match names.as_slice() {
        [name] => unpack(archive.by_name(name).map_err(|_| whole("the entry cannot be unpacked"))?),
        [] => Err(whole("the zip has no entry with this merchant's transactions")),
        [_, ..] => Err(whole("the zip has several entries with this merchant's transactions")),
    }
}

fn read_line(line: &[u8], mer_id: &str, settled_on: Date) -> Result<BillLine, &'static str> {
    let columns = columns(line)?;
    let column = |number: usize| columns[number - 1];
    if column(MER_ID) != mer_id {
        return Err("the line is another merchant's");
    }
    let order_id = column(ORDER_ID).to_owned();
    let (kind, number, refund_number) = match column(TXN_TYPE) {
        "01" => (BillKind::Payment, order_id, None),
        "04" => (BillKind::Refund, attempt_of(&order_id), Some(order_id)),
        "" => return Err("the line has no transaction type"),
        _ => (BillKind::Other, order_id, None),
    };
    // What was refunded is named by the purchase's queryId, which is the capture's reference.
    let reference = column(if kind == BillKind::Refund { ORIGINAL_QUERY_ID } else { QUERY_ID });
    let is_kept = |text: &str| is_name(text) || (kind == BillKind::Other && text.is_empty());
    if !is_kept(&number) || !is_kept(reference) {
        return Err("the line names no order or no transaction");
    }
    Ok(BillLine {
        kind,
        number,
        refund_number,
        reference: reference.to_owned(),
        amount_minor: amount::read_padded(column(AMOUNT)).filter(|fen| *fen > 0).ok_or("the amount is malformed")?,
        fee_minor: Some(fee(column(FEE), kind).ok_or("the fee is malformed")?),
        currency: Currency::parse(amount::CURRENCY).ok_or("there is no CNY")?,
        at: Some(beijing::near(column(TRACE_TIME), settled_on).ok_or("the time is malformed")?),
    })
}

/// The columns, without the blanks that fill them up.
fn columns(line: &[u8]) -> Result<[&str; WIDTHS.len()], &'static str> {
    let mut columns = [""; WIDTHS.len()];
    let mut rest = line;
    for (place, width) in WIDTHS.into_iter().enumerate() {
        if place > 0 {
            rest = rest.strip_prefix(b" ").ok_or("two columns are not parted by a blank")?;
        }
        let (bytes, after) = rest.split_at_checked(width).ok_or("the line is too short")?;
        // Only columns for people may hold GBK; none of them is read.
        columns[place] = std::str::from_utf8(bytes).unwrap_or_default().trim_matches(' ');
        rest = after;
    }
    if rest.is_empty() { Ok(columns) } else { Err("the line is too long") }
}

/// `D` is taken from us and `C` is given to us: a payment costs a fee, and a refund brings it back. It counts the other
/// way where it goes the other way.
fn fee(text: &str, kind: BillKind) -> Option<i64> {
    let (direction, digits) = text.split_at_checked(1)?;
    let usual = match kind {
        BillKind::Payment | BillKind::Other => "D",
        BillKind::Refund => "C",
    };
    let fee = amount::read_padded(digits)?;
    match direction {
        "D" | "C" if direction == usual => Some(fee),
        "D" | "C" => fee.checked_neg(),
        _ => None,
    }
}

/// The attempt that a refund's number begins with, if it is one of ours. The column has 32 characters, and the number may
/// have more: what is cut off is none of the attempt's.
fn attempt_of(refund_number: &str) -> String {
    RefundNumber::attempt_of(refund_number).map_or_else(|| refund_number.to_owned(), |attempt| attempt.to_string())
}
