//! The reconciliation file of a day: fixed columns in a zip, which is deflated and written in base64 once more.
//!
//! The true gateway makes a day's file when the settlement day is over, and answers 98 until then. Nobody waits for that
//! in a sandbox: here a day has a file of what moved so far as soon as something did. Settlement days are Beijing's here.

use std::io::{Cursor, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::clock;
use super::failure::Failure;
use super::fields::{MALFORMED, NO_FILE, Request};
use super::form::Fields;
use super::wire::trace_no;
use crate::gateway::Gateway;
use crate::gateway::accounts::{AccountId, Channel};
use crate::gateway::books::{BillCapture, BillRefund, Moment};
use crate::gateway::cost::Cost;
use crate::gateway::faults::Fault;

/// The widths of the detail's columns, as they stand in UnionPay's own sample.
const WIDTHS: [usize; 42] = [
    3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1, 21, 15, 1, 15, 32, 13,
    13, 8, 32, 13, 13, 12, 2, 1, 32, 98,
];

const PURCHASE: &str = "S22";
const REFUND: &str = "S30";
const MASKED_CARD: &str = "621626******0018";
const AMOUNT_DIGITS: usize = 12;

/// What of a movement stands in its line; columns are counted from one.
struct Line<'a> {
    code: &'static str,
    txn_type: &'static str,
    query_id: &'a str,
    order_id: &'a str,
    original: &'a str,
    amount_minor: i64,
    /// Charged of a payment, given back with a refund.
    fee_minor: i64,
    at: i64,
    side: Side,
}

/// Which way money goes, from where the merchant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    In,
    Out,
}

impl Side {
    /// `C` where the merchant gets money, `D` where it gives some.
    const fn letter(self) -> char {
        match self {
            Side::In => 'C',
            Side::Out => 'D',
        }
    }

    const fn other(self) -> Self {
        match self {
            Side::In => Side::Out,
            Side::Out => Side::In,
        }
    }

    fn written(self, amount_minor: i64) -> String {
        format!("{}{amount_minor:0AMOUNT_DIGITS$}", self.letter())
    }
}

pub fn answer(
    gateway: &Gateway,
    account: AccountId,
    mer_id: &str,
    request: &Request,
    now: i64,
) -> Result<(Fields, Fault), Failure> {
    for (name, value) in [("txnType", "76"), ("txnSubType", "01"), ("bizType", "000000"), ("fileType", "00")] {
        request.exact(name, &[value])?;
    }
    request.txn_time()?;
    let (from, until) = clock::day(request.needed("settleDate")?, now).ok_or(MALFORMED)?;
    let captures = gateway.books.captured_between(account, from, until);
    // What is still on its way to the payer is not in it.
    let refunds = gateway.books.refunds_between(account, Moment::Refunded, from, until.min(now.saturating_add(1)));
    if captures.is_empty() && refunds.is_empty() {
        return Err(NO_FILE.into());
    }
    let day = clock::file_day(from);
    let detail = detail(&captures, &refunds, gateway.costs.of(Channel::Unionpay), mer_id);
    let content = packed(&format!("INN{day}88ZM_{mer_id}"), detail.as_bytes()).map_err(|_| Failure::Broken)?;
    let name = format!("{mer_id}_{day}.zip");
    Ok((Fields::from([("fileName".to_owned(), name), ("fileContent".to_owned(), content)]), Fault::NONE))
}

fn detail(captures: &[BillCapture], refunds: &[BillRefund], cost: Cost, mer_id: &str) -> String {
    let purchases = captures.iter().map(|line| Line {
        code: PURCHASE,
        txn_type: "01",
        query_id: &line.capture.reference,
        order_id: &line.number,
        original: "",
        amount_minor: line.capture.amount_minor,
        fee_minor: cost.fee_minor(line.capture.amount_minor),
        at: line.capture.at,
        side: Side::In,
    });
    let refunds = refunds.iter().map(|line| Line {
        code: REFUND,
        txn_type: "04",
        query_id: line.refund.reference.as_deref().unwrap_or_default(),
        order_id: &line.refund_number,
        original: line.payment_reference.as_deref().unwrap_or_default(),
        amount_minor: line.refund.amount_minor,
        fee_minor: cost.returned_minor(line.captured_minor, line.refund.amount_minor),
        at: line.at,
        side: Side::Out,
    });
    purchases.chain(refunds).map(|line| line.written(mer_id)).collect()
}

impl Line<'_> {
    fn written(&self, mer_id: &str) -> String {
        let values = [
            (1, self.code.to_owned()),
            (2, "00010000".to_owned()),
            (3, "00010000".to_owned()),
            (4, trace_no(self.query_id).to_owned()),
            (5, clock::within_year(self.at)),
            (6, MASKED_CARD.to_owned()),
            (7, format!("{:0AMOUNT_DIGITS$}", self.amount_minor)),
            (10, self.query_id.to_owned()),
            (12, self.order_id.to_owned()),
            // A fee goes the other way than its movement.
            (16, self.side.other().written(self.fee_minor)),
            (17, self.side.written(self.amount_minor)),
            (20, self.txn_type.to_owned()),
            (21, if self.txn_type == "01" { "01" } else { "00" }.to_owned()),
            (22, "000201".to_owned()),
            (27, self.original.to_owned()),
            (28, mer_id.to_owned()),
            (33, self.side.written(self.amount_minor.saturating_sub(self.fee_minor))),
        ];
        let mut columns: [&str; WIDTHS.len()] = [""; WIDTHS.len()];
        for (column, value) in &values {
            columns[column - 1] = value;
        }
        let padded: Vec<String> = columns.iter().zip(WIDTHS).map(|(value, width)| format!("{value:<width$}")).collect();
        padded.join(" ") + "\r\n"
    }
}

fn packed(name: &str, detail: &[u8]) -> std::io::Result<String> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file(name, SimpleFileOptions::default())?;
    archive.write_all(detail)?;
    let mut deflated = ZlibEncoder::new(Vec::new(), Compression::default());
    deflated.write_all(archive.finish()?.get_ref())?;
    Ok(STANDARD.encode(deflated.finish()?))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::ZlibDecoder;
    use zip::ZipArchive;

    use super::*;

    #[test]
    fn a_line_has_its_columns_where_the_sample_has_them() {
        let line = Line {
            code: REFUND,
            txn_type: "04",
            query_id: "052609212213200000042",
            order_id: "01JG00048HE8H86CT48HANASK603R00",
            original: "052609212213190000041",
            amount_minor: 20_060,
            fee_minor: 120,
            at: 1_790_000_000_000,
            side: Side::Out,
        };
        let written = line.written("777290058110048");
        assert_eq!(written.len(), WIDTHS.iter().sum::<usize>() + WIDTHS.len() - 1 + 2);
        let column = |number: usize| {
            let start: usize = WIDTHS[..number - 1].iter().map(|width| width + 1).sum();
            written[start..start + WIDTHS[number - 1]].trim_end()
        };
        assert_eq!((column(1), column(4), column(5)), ("S30", "000004", "0921221320"));
        assert_eq!((column(7), column(10)), ("000000020060", "052609212213200000042"));
        assert_eq!((column(12), column(20), column(22)), ("01JG00048HE8H86CT48HANASK603R00", "04", "000201"));
        assert_eq!((column(16), column(17), column(33)), ("C000000000120", "D000000020060", "D000000019940"));
        assert_eq!((column(27), column(28)), ("052609212213190000041", "777290058110048"));
    }

    #[test]
    fn a_file_is_a_zip_in_zlib_in_base64() {
        let packed = packed("INN26092188ZM_777290058110048", b"detail\r\n").unwrap();
        let mut archive = Vec::new();
        ZlibDecoder::new(&STANDARD.decode(packed).unwrap()[..]).read_to_end(&mut archive).unwrap();
        let mut archive = ZipArchive::new(Cursor::new(archive)).unwrap();
        let mut text = String::new();
        archive.by_name("INN26092188ZM_777290058110048").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((archive.len(), text.as_str()), (1, "detail\r\n"));
    }
}
