use std::io::Write;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;
use crate::channels::bill::UNPACKED_MAX;

const HEADER: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,\
对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,\
券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注";
const PAYMENT: &str = "2026010122001400000000000001\t,01J0000000000000000000000000\t,交易,茶\t,2026-01-01 10:00:00,\
2026-01-01 10:00:05,,,,,茶*客(159****0000)\t,200.60,200.60,0.00,0.00,0.00,0.00,0.00,,0.00,0.00,,-1.20,0.00,";
const REFUND: &str = "2026010122001400000000000001\t,01J0000000000000000000000000\t,退款,茶\t,2026-01-01 10:00:00,\
2026-01-01 11:00:00,,,,,茶*客(159****0000)\t,-0.60,-0.60,0.00,0.00,0.00,0.00,0.00,,0.00,0.00,\
01J0000000000000000000000000R00\t,0.00,0.00,";
const TOTALS: &str = "#交易合计：1笔，商家实收共200.60元，商家优惠共0.00元\r\n\
#退款合计：1笔，商家实收退款共-0.60元，商家优惠退款共0.00元";

fn table(header: &str, rows: &[&str], totals: &str) -> String {
    let head = "#支付宝业务明细查询\r\n#账号：[20880000000000000156]\r\n#起始日期：[2026年01月01日 00:00:00]   \
                终止日期：[2026年01月02日 00:00:00]\r\n";
    let rows: String = rows.iter().map(|row| format!("{row}\r\n")).collect();
    format!(
        "{head}#-----------------------------------------业务明细列表----------------------------------------\r\n\
         {header}\r\n{rows}\
         #-----------------------------------------业务明细列表结束------------------------------------\r\n\
         {totals}\r\n#导出时间：[2026年01月02日 06:27:10]\r\n"
    )
}

fn gbk(text: &str) -> Vec<u8> {
    let (bytes, _, lossy) = GBK.encode(text);
    assert!(!lossy);
    bytes.into_owned()
}

/// A zip whose names are GBK without the flag of UTF-8, as Alipay's are: the writer takes ASCII names alone, so the
/// bytes are put in afterwards.
fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let mut names = Vec::new();
    for (place, (name, bytes)) in entries.iter().enumerate() {
        let name = gbk(name);
        let stand_in = format!("{place}{}", "x".repeat(name.len() - 1));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        writer.start_file(stand_in.as_str(), options).unwrap();
        writer.write_all(bytes).unwrap();
        names.push((stand_in.into_bytes(), name));
    }
    let mut file = writer.finish().unwrap().into_inner();
    for (stand_in, name) in names {
        let places: Vec<usize> =
            (0..=file.len() - name.len()).filter(|at| file[*at..*at + name.len()] == stand_in[..]).collect();
        assert_eq!(places.len(), 2, "a name stands before its bytes and in the directory");
        for at in places {
            file[at..at + name.len()].copy_from_slice(&name);
        }
    }
    file
}

fn bill(table: &[u8]) -> Vec<u8> {
    zipped(&[
        ("20880000000000000156_20260101_业务明细(汇总).csv", &gbk("#汇总")),
        ("20880000000000000156_20260101_业务明细.csv", table),
    ])
}

fn refused(table: &str) -> (usize, String) {
    match read(&bill(&gbk(table))) {
        Err(BillError::Unreadable { line, why }) => (line, why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bill_is_read_by_the_names_of_its_columns() {
    let lines = read(&bill(&gbk(&table(HEADER, &[PAYMENT, REFUND], TOTALS)))).unwrap();
    let payment = BillLine {
        kind: BillKind::Payment,
        number: "01J0000000000000000000000000".into(),
        refund_number: None,
        reference: "2026010122001400000000000001".into(),
        amount_minor: 20060,
        fee_minor: Some(120),
        currency: yuan::currency(),
        at: yuan::read_clock("2026-01-01 10:00:05"),
    };
    let refund = BillLine {
        kind: BillKind::Refund,
        refund_number: Some("01J0000000000000000000000000R00".into()),
        amount_minor: 60,
        fee_minor: Some(0),
        at: yuan::read_clock("2026-01-01 11:00:00"),
        ..payment.clone()
    };
    assert_eq!(lines, [payment, refund]);
}

#[test]
fn columns_may_stand_in_another_order() {
    let turned = |row: &str| row.split(',').rev().collect::<Vec<_>>().join(",");
    let plain = read(&bill(&gbk(&table(HEADER, &[PAYMENT, REFUND], TOTALS)))).unwrap();
    let (header, payment, refund) = (turned(HEADER), turned(PAYMENT), turned(REFUND));
    assert_eq!(read(&bill(&gbk(&table(&header, &[&payment, &refund], TOTALS)))), Ok(plain));
}

#[test]
fn an_empty_day_has_no_rows_and_no_totals() {
    assert_eq!(read(&bill(&gbk(&table(HEADER, &[], "")))), Ok(Vec::new()));
    assert_eq!(refused(&table(HEADER, &[PAYMENT], "")), (0, "the table has no totals".into()));
}

#[test]
fn a_comma_in_a_subject_is_refused_and_not_guessed_at() {
    let row = PAYMENT.replace("茶\t", "茶, 热\t");
    assert_eq!(refused(&table(HEADER, &[&row], TOTALS)), (6, "has 26 cells for 25 columns".into()));
}

#[test]
fn missing_and_doubled_columns_are_refused() {
    let missing = HEADER.replace("订单金额（元）,", "");
    assert_eq!(refused(&table(&missing, &[], "")), (5, "the column 订单金额（元） is missing".into()));
    let doubled = format!("{HEADER},业务类型");
    assert_eq!(refused(&table(&doubled, &[], "")), (5, "the column 业务类型 comes twice".into()));
}

#[test]
fn a_bill_that_is_cut_off_or_falsified_is_refused() {
    let whole = table(HEADER, &[PAYMENT, REFUND], TOTALS);
    let cut = &whole[..whole.find("业务明细列表结束").unwrap() - 60];
    assert!(read(&bill(&gbk(cut))).is_err());
    let ended = format!("{}\r\n", whole.split("\r\n").take(7).collect::<Vec<_>>().join("\r\n"));
    assert_eq!(refused(&ended).1, "has 1 cells for 25 columns");
    let ended = whole.split("\r\n").take(7).collect::<Vec<_>>().join("\r\n");
    assert_eq!(refused(&ended), (0, "the table has no end".into()));
    assert_eq!(refused(&whole.replace("共200.60", "共200.61")).1, "the table is not what its totals say");
    assert_eq!(refused(&table(HEADER, &[PAYMENT], TOTALS)).1, "the table is not what its totals say");
    assert_eq!(refused(&whole.replace("1笔", "x笔")).1, "has totals that cannot be read");
    assert_eq!(refused(&whole.replace(",200.60,200.60,", ",200.601,200.60,")).1, "has no amount");
    assert_eq!(refused(&whole.replace(",200.60,200.60,", ",-200.60,200.60,")).1, "is a payment of nothing");
    assert_eq!(refused(&whole.replace("2026-01-01 10:00:05", "2026-01-01")).1, "has no time");

    let file = bill(&gbk(&whole));
    for length in [0, 1, 30, file.len() / 2, file.len() - 1] {
        assert!(matches!(read(&file[..length]), Err(BillError::Unreadable { line: 0, .. })), "{length}");
    }
    let mut flipped = file.clone();
    flipped[200] ^= 1;
    assert!(read(&flipped).is_err());
}

#[test]
fn gbk_garbage_is_refused_with_its_line() {
    let mut bytes = gbk(&table(HEADER, &[PAYMENT, REFUND], TOTALS));
    let at = gbk(&table(HEADER, &[PAYMENT], "")).len() - gbk(&table("", &[], "")).len() + 160;
    let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    bytes[at] = 0xff;
    match read(&bill(&bytes)) {
        Err(BillError::Unreadable { line: found, why }) => assert_eq!((found, why.as_str()), (line, "is not GBK")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_zip_has_exactly_one_table_of_trades() {
    let table = gbk(&table(HEADER, &[], ""));
    for entries in [&[("汇总.csv", &table[..])][..], &[("1_业务明细.csv", &table[..]), ("2_业务明细.csv", &table[..])]]
    {
        assert!(matches!(read(&zipped(entries)), Err(BillError::Unreadable { line: 0, .. })));
    }
    assert!(read(b"").is_err());
}

/// 128 KiB that unpack to more than 128 MiB.
#[test]
fn a_zip_bomb_is_not_unpacked() {
    let bomb = vec![b'#'; UNPACKED_MAX + 1];
    let file = zipped(&[("业务明细.csv", &bomb)]);
    assert!(file.len() < 1024 * 1024);
    drop(bomb);
    let Err(BillError::Unreadable { line: 0, why }) = read(&file) else { panic!("it was read") };
    assert!(why.contains("it unpacks to more than"), "{why}");
}

#[test]
fn too_many_entries_are_refused() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for place in 0..17 {
        writer.start_file(format!("{place}.csv").as_str(), SimpleFileOptions::default()).unwrap();
    }
    let file = writer.finish().unwrap().into_inner();
    assert_eq!(read(&file), Err(whole("the zip has too many entries")));
}

#[test]
fn lines_may_end_as_on_either_system_and_nothing_may_stand_before_the_first() {
    let plain = table(HEADER, &[PAYMENT, REFUND], TOTALS);
    let lines = read(&bill(&gbk(&plain))).unwrap();
    assert_eq!(read(&bill(&gbk(&plain.replace("\r\n", "\n")))), Ok(lines));
    // Marks of byte order belong to other encodings.
    for mark in [&b"\xef\xbb\xbf"[..], b"\xff\xfe"] {
        let marked = [mark, &gbk(&plain)].concat();
        assert!(matches!(read(&bill(&marked)), Err(BillError::Unreadable { line: 1, .. })));
    }
    // UTF-8, where GBK is meant.
    assert!(read(&bill(plain.as_bytes())).is_err());
}

#[test]
fn amounts_that_are_none_are_refused() {
    let whole = table(HEADER, &[PAYMENT, REFUND], TOTALS);
    for amount in ["200.601", "2.006e2", "2006e-1", "+200.60", "200,60", "２００.60", "", "NaN", "0x10", "1 000.00"]
    {
        let text = whole.replace(",200.60,200.60,", &format!(",{amount},200.60,"));
        assert_eq!(refused(&text).0, 6, "{amount}");
    }
    assert_eq!(refused(&whole.replace(",-0.60,-0.60,", ",0.60,-0.60,")), (7, "is a refund of nothing".into()));
}
