//! A day's bill: a zip of two CSV files, names and contents in GBK, and the short-lived address that it is fetched from.

use std::io::{Cursor, Write};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use encoding_rs::GBK;
use serde::{Deserialize, Serialize};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::units::{beijing, compact_day, yuan};
use super::wire::{BUYER_LOGON_ID, Kept};
use crate::gateway::alphanumeric;
use crate::gateway::books::{BillCapture, BillRefund};
use crate::gateway::cost::Cost;

/// An address dies half a minute after it was given.
const LINK_LIVES_MS: i64 = 30_000;
const COLUMNS: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,\
对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,\
券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注";
const SUMMARY_COLUMNS: &str = "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,\
支付宝优惠（元）,商家优惠（元）,卡消费金额（元）,服务费（元）,分润（元）,实收净额（元）";

/// Which bill an address is of, and since when.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub app_id: String,
    /// When its day begins and when it ends.
    pub span: (i64, i64),
    pub issued_at: i64,
}

/// The addresses that this process gave out: each proves itself, so that none is kept.
pub struct Links(hmac::Key);

impl Links {
    pub fn new() -> Self {
        Links(hmac::Key::new(hmac::HMAC_SHA256, &alphanumeric::<32>()))
    }

    pub fn token(&self, link: &Link) -> String {
        let text = serde_json::to_vec(link).expect("our own structs are JSON");
        let tag = hmac::sign(&self.0, &text);
        format!("{}.{}", URL_SAFE_NO_PAD.encode(text), URL_SAFE_NO_PAD.encode(tag))
    }

    /// None if it is not ours or is too old.
    pub fn read(&self, token: &str, now: i64) -> Option<Link> {
        let (text, tag) = token.split_once('.')?;
        let (text, tag) = (URL_SAFE_NO_PAD.decode(text).ok()?, URL_SAFE_NO_PAD.decode(tag).ok()?);
        hmac::verify(&self.0, &text, &tag).ok()?;
        let link: Link = serde_json::from_slice(&text).ok()?;
        (now.abs_diff(link.issued_at) <= LINK_LIVES_MS.unsigned_abs()).then_some(link)
    }
}

/// What happened on a day.
pub struct Day<'a> {
    pub seller_id: &'a str,
    /// When it began and when it ended.
    pub span: (i64, i64),
    pub captures: Vec<BillCapture>,
    /// Each with what is kept of the payment that it gives back.
    pub refunds: Vec<(BillRefund, Option<Kept>)>,
    pub cost: Cost,
    pub now: i64,
}

impl Day<'_> {
    /// None if the archive cannot be written, which is a matter of memory.
    pub fn zip(&self) -> Option<Vec<u8>> {
        let stem = format!("{}0156_{}", self.seller_id, compact_day(self.span.0));
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in [("业务明细", self.details()), ("业务明细(汇总)", self.summary())] {
            let name = format!("{stem}_{name}.csv");
            // A name given as bytes has no UTF-8 flag.
            let name = GBK.encode(&name).0;
            archive.start_file_with_options(SimpleFileOptions::default().name(&name)).ok()?;
            archive.write_all(&GBK.encode(&text).0).ok()?;
        }
        Some(archive.finish().ok()?.into_inner())
    }

    fn head(&self, title: &str) -> Vec<String> {
        let day = |at: i64| {
            let text = beijing(at);
            format!("{}年{}月{}日 {}", &text[..4], &text[5..7], &text[8..10], &text[11..])
        };
        let (from, until) = self.span;
        vec![
            format!("#支付宝{title}查询"),
            format!("#账号：[{}0156]", self.seller_id),
            format!("#起始日期：[{}]   终止日期：[{}]", day(from), day(until)),
        ]
    }

    fn exported(&self) -> String {
        let text = beijing(self.now);
        format!("#导出时间：[{}年{}月{}日 {}]", &text[..4], &text[5..7], &text[8..10], &text[11..])
    }

    fn paid(&self) -> i64 {
        self.captures.iter().map(|line| line.capture.amount_minor).sum()
    }

    fn given_back(&self) -> i64 {
        self.refunds.iter().map(|(line, _)| line.refund.amount_minor).sum()
    }

    /// What was charged and not given back with refunds.
    fn fees(&self) -> i64 {
        let charged: i64 = self.captures.iter().map(|line| self.cost.fee_minor(line.capture.amount_minor)).sum();
        charged - self.refunds.iter().map(|(line, _)| self.fee_back(line)).sum::<i64>()
    }

    fn fee_back(&self, line: &BillRefund) -> i64 {
        self.cost.returned_minor(line.captured_minor, line.refund.amount_minor)
    }

    fn details(&self) -> String {
        let mut lines = self.head("业务明细");
        let rule = "-".repeat(41);
        lines.push(format!("#{rule}业务明细列表{rule}"));
        lines.push(COLUMNS.to_owned());
        for BillCapture { number, capture, data, .. } in &self.captures {
            let kept = Kept::read(data.as_deref());
            let created_at = kept.as_ref().map_or(capture.at, |kept| kept.created_at);
            lines.push(row(&Row {
                trade_no: &capture.reference,
                number,
                kind: "交易",
                kept: kept.as_ref(),
                times: (created_at, capture.at),
                amount: capture.amount_minor,
                fee: -self.cost.fee_minor(capture.amount_minor),
                request: "",
            }));
        }
        for (line, kept) in &self.refunds {
            let BillRefund { refund_number, refund, at, payment_reference, .. } = line;
            lines.push(row(&Row {
                trade_no: payment_reference.as_deref().unwrap_or_default(),
                number: &refund.number,
                kind: "退款",
                kept: kept.as_ref(),
                times: (refund.at, *at),
                amount: -refund.amount_minor,
                fee: self.fee_back(line),
                request: refund_number,
            }));
        }
        lines.push(format!("#{rule}业务明细列表结束{rule}"));
        lines.push(format!(
            "#交易合计：{}笔，商家实收共{}元，商家优惠共0.00元",
            self.captures.len(),
            yuan(self.paid())
        ));
        lines.push(format!(
            "#退款合计：{}笔，商家实收退款共{}元，商家优惠退款共0.00元",
            self.refunds.len(),
            yuan(-self.given_back())
        ));
        lines.push(self.exported());
        text(&lines)
    }

    fn summary(&self) -> String {
        let mut lines = self.head("业务汇总");
        let rule = "-".repeat(41);
        lines.push(format!("#{rule}业务汇总列表{rule}"));
        lines.push(SUMMARY_COLUMNS.to_owned());
        let received = self.paid() - self.given_back();
        let (fees, net) = (yuan(-self.fees()), yuan(received - self.fees()));
        let received = yuan(received);
        let (trades, refunds) = (self.captures.len(), self.refunds.len());
        lines.push(format!("合计\t,\t,{trades},{refunds},{received},{received},0.00,0.00,0.00,{fees},0.00,{net}"));
        lines.push(format!("#{rule}业务汇总列表结束{rule}"));
        lines.push(self.exported());
        text(&lines)
    }
}

struct Row<'a> {
    trade_no: &'a str,
    number: &'a str,
    kind: &'a str,
    kept: Option<&'a Kept>,
    /// When it was created and when it was finished.
    times: (i64, i64),
    amount: i64,
    /// Less than zero where it was charged.
    fee: i64,
    request: &'a str,
}

/// Texts end with a tab; a subject stands as it is, commas and all. Which sign the fee has is in no document that was
/// found: here it is what it does to the merchant's money, like every other amount of the row.
fn row(row: &Row<'_>) -> String {
    let subject = row.kept.map_or("", |kept| kept.subject.as_str());
    let (created, finished) = (beijing(row.times.0), beijing(row.times.1));
    let Row { trade_no, number, kind, amount, fee, request, .. } = row;
    let (amount, fee) = (yuan(*amount), yuan(*fee));
    format!(
        "{trade_no}\t,{number}\t,{kind}\t,{subject}\t,{created},{finished},\t,\t,\t,\t,{BUYER_LOGON_ID}\t,\
         {amount},{amount},0.00,0.00,0.00,0.00,0.00,\t,0.00,0.00,{request}\t,{fee},0.00,\t"
    )
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use zip::ZipArchive;

    use super::*;
    use crate::gateway::alipay::units::{bounds, date, yuan_currency};
    use crate::gateway::alipay::wire::Origin;
    use crate::gateway::books::{BookedRefund, Capture};
    use crate::gateway::fate::Fate;
    use crate::gateway::refund_script::RefundScript;

    fn kept() -> Kept {
        Kept {
            subject: "茶, 两盒".into(),
            created_at: 1_790_000_000_000,
            notify_url: None,
            body: None,
            passback_params: None,
            origin: Origin::Browser,
        }
    }

    fn day(captures: Vec<BillCapture>, refunds: Vec<(BillRefund, Option<Kept>)>) -> Day<'static> {
        let span = bounds(date("2026-09-21").unwrap()).unwrap();
        let cost = Cost("0.006".parse().unwrap());
        Day { seller_id: "2088123456789012", span, captures, refunds, cost, now: 1_790_050_000_000 }
    }

    /// The name and the text of the details (0) or of the summary (1).
    fn file(day: &Day<'_>, place: usize) -> (Vec<u8>, String) {
        let mut archive = ZipArchive::new(Cursor::new(day.zip().unwrap())).unwrap();
        assert_eq!(archive.len(), 2);
        let mut entry = archive.by_index(place).unwrap();
        let name = entry.name_raw().to_vec();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let (text, _, garbled) = GBK.decode(&bytes);
        assert!(!garbled);
        (name, text.into_owned())
    }

    #[test]
    fn a_bill_is_gbk_in_a_zip_whose_names_are_gbk_too() {
        let capture = BillCapture {
            number: Arc::from("A1"),
            currency: yuan_currency(),
            capture: Capture { reference: Arc::from("2026"), amount_minor: 20_060, at: 1_790_000_001_000 },
            data: Some(serde_json::to_string(&kept()).unwrap().into()),
        };
        let refund = BillRefund {
            refund_number: Arc::from("A1R00"),
            refund: BookedRefund {
                number: Arc::from("A1"),
                amount_minor: 10_030,
                currency: yuan_currency(),
                at: 1_790_000_002_000,
                script: RefundScript::Plain,
                fate: Fate::Refunded { at: 1_790_000_003_000 },
                reference: None,
                data: None,
                address: None,
                told: std::collections::BTreeMap::new(),
            },
            at: 1_790_000_003_000,
            captured_minor: 20_060,
            payment_reference: Some(Arc::from("2026")),
        };
        let day = day(vec![capture], vec![(refund, Some(kept()))]);
        let (name, text) = file(&day, 0);
        assert_eq!(GBK.decode(&name).0, "20881234567890120156_20260921_业务明细.csv");
        assert!(String::from_utf8(name).is_err());
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[2], "#起始日期：[2026年09月21日 00:00:00]   终止日期：[2026年09月22日 00:00:00]");
        assert_eq!(lines[4], COLUMNS);
        let cells: Vec<&str> = lines[5].split(',').collect();
        // One more than there are columns: the comma in the subject.
        assert_eq!((COLUMNS.split(',').count(), cells.len()), (25, 26));
        assert_eq!(cells[..5], ["2026\t", "A1\t", "交易\t", "茶", " 两盒\t"]);
        assert_eq!(cells[5..7], ["2026-09-21 22:13:20", "2026-09-21 22:13:21"]);
        assert_eq!((cells[12], cells[22], cells[23]), ("200.60", "\t", "-1.20"));
        assert!(lines[6].starts_with("2026\t,A1\t,退款\t,") && lines[6].contains(",-100.30,-100.30,"));
        assert!(lines[6].contains(",2026-09-21 22:13:22,2026-09-21 22:13:23,"), "{}", lines[6]);
        assert!(lines[6].contains(",A1R00\t,0.60,0.00,"));
        assert!(lines[7].contains("业务明细列表结束"));
        assert_eq!(lines[8], "#交易合计：1笔，商家实收共200.60元，商家优惠共0.00元");
        assert_eq!(lines[9], "#退款合计：1笔，商家实收退款共-100.30元，商家优惠退款共0.00元");
        assert!(lines[10].starts_with("#导出时间：["));
        let (_, summary) = file(&day, 1);
        assert!(summary.contains("合计\t,\t,1,1,100.30,100.30,0.00,0.00,0.00,-0.60,0.00,99.70\r\n"), "{summary}");
    }

    #[test]
    fn an_empty_day_has_a_header_and_an_end() {
        let (_, text) = file(&day(Vec::new(), Vec::new()), 0);
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[4], COLUMNS);
        assert!(lines[5].contains("业务明细列表结束"));
    }

    #[test]
    fn an_address_is_good_for_half_a_minute_and_for_one_bill() {
        let links = Links::new();
        let link = Link { app_id: "2021".into(), span: (0, 86_400_000), issued_at: 1_000_000 };
        let token = links.token(&link);
        assert_eq!(links.read(&token, 1_030_000), Some(link));
        assert_eq!(links.read(&token, 1_030_001), None);
        assert_eq!(Links::new().read(&token, 1_000_000), None);
        assert_eq!(links.read(&token[1..], 1_000_000), None);
        assert_eq!(links.read("x", 1_000_000), None);
    }
}
