use std::io::{Cursor, Write};

use time::Date;
use time::macros::date;

use super::*;
use crate::channels::bill::{BillError, BillKind, BillLine, Content, UNPACKED_MAX};

/// The first two lines of `INN15090588ZM_802310048993424` in the kit's sample.
const DETAILS: &[u8] = include_bytes!("../vectors/details.txt");
const SAMPLE_MER_ID: &str = "802310048993424";
const SETTLED_ON: Date = date!(2015 - 09 - 05);

fn packed(entries: &[(&str, &[u8])]) -> String {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).expect("an entry");
        archive.write_all(content).expect("its content");
    }
    zlib(&archive.finish().expect("a zip").into_inner())
}

fn zlib(bytes: &[u8]) -> String {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("it is compressed");
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, encoder.finish().expect("it is compressed"))
}

fn read(details: &[u8]) -> Result<Vec<BillLine>, BillError> {
    let summary: &[u8] = &[0xd6, 0xd0, 0xb9, 0xfa];
    let content = packed(&[
        ("INN15090588ZM_802310048993424", details),
        ("INN15090588ZME_802310048993424", b"disputes"),
        ("RD201015090501_802310048993424", summary),
    ]);
    bill::read(&content, SAMPLE_MER_ID, SETTLED_ON)
}

/// The first line with another text in some columns, at the widths that the file has.
fn line(changes: &[(usize, &str)]) -> Vec<u8> {
    let mut line = DETAILS[..607].to_vec();
    for (at, text) in changes {
        line[*at..*at + text.len()].copy_from_slice(text.as_bytes());
    }
    line.extend_from_slice(b"\r\n");
    line
}

const AMOUNT_AT: usize = 66;
const QUERY_ID_AT: usize = 87;
const ORDER_ID_AT: usize = 112;
const FEE_AT: usize = 166;
const TXN_TYPE_AT: usize = 215;
const MER_ID_AT: usize = 293;
const ORIGINAL_QUERY_ID_AT: usize = 271;

fn unreadable(result: Result<Vec<BillLine>, BillError>) -> (usize, String) {
    match result {
        Err(BillError::Unreadable { line, why }) => (line, why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_samples_lines_are_read() {
    let lines = read(DETAILS).expect("a bill");
    let first = BillLine {
        kind: BillKind::Payment,
        number: "10078087".into(),
        refund_number: None,
        reference: "201509061122031906248".into(),
        amount_minor: 476_800,
        fee_minor: Some(2_861),
        currency: cny(),
        at: Instant::parse_rfc3339("2015-09-06T11:22:03+08:00"),
    };
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], first);
    assert_eq!((lines[1].amount_minor, lines[1].fee_minor), (83_800, Some(503)));
}

#[test]
fn a_refund_names_its_attempt_and_its_capture() {
    // The column has 32 characters, and what a platform asks for has more.
    let number = &crate::channels::properties::first_refund(number())[..32];
    let refund = line(&[
        (0, "S30"),
        (ORDER_ID_AT, number),
        (FEE_AT, "C000000000120"),
        (TXN_TYPE_AT, "04"),
        (ORIGINAL_QUERY_ID_AT, "782209081322060674028"),
    ]);
    let lines = read(&refund).expect("a bill");
    assert_eq!(lines[0].kind, BillKind::Refund);
    assert_eq!(lines[0].number, super::number().to_string());
    assert_eq!(lines[0].refund_number.as_deref(), Some(number));
    assert_eq!(lines[0].reference, "782209081322060674028");
    assert_eq!(lines[0].fee_minor, Some(120));
    let undone = read(&line(&[(TXN_TYPE_AT, "31")])).expect("a bill");
    assert_eq!(undone[0].kind, BillKind::Other);
}

#[test]
fn a_line_that_is_not_as_it_should_be_spoils_the_bill() {
    let table: [(Vec<u8>, &str); 9] = [
        (line(&[(AMOUNT_AT, "00000047680x")]), "amount"),
        (line(&[(AMOUNT_AT, "000000000000")]), "amount"),
        (line(&[(FEE_AT, "X")]), "fee"),
        (line(&[(TXN_TYPE_AT, "  ")]), "type"),
        (line(&[(QUERY_ID_AT, "                     ")]), "no transaction"),
        (line(&[(FEE_AT - 1, "x")]), "parted"),
        ([&DETAILS[..606], b"\r\n"].concat(), "short"),
        ([&DETAILS[..607], b"x\r\n"].concat(), "long"),
        (line(&[(MER_ID_AT, "802310048993425")]), "another merchant's"),
    ];
    for (text, expected) in table {
        let (line, why) = unreadable(read(&text));
        assert_eq!(line, 1);
        assert!(why.contains(expected), "{why}, not {expected}");
    }
    let (line, _) = unreadable(read(&[DETAILS, b"S56\r\n"].concat()));
    assert_eq!(line, 3);
    assert!(unreadable(read(&DETAILS[..900])).1.contains("cut off"));
}

#[test]
fn a_file_that_is_not_as_it_should_be_is_refused() {
    assert_eq!(read(b""), Ok(Vec::new()));
    let names = |names: &[&str]| {
        let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, DETAILS)).collect();
        bill::read(&packed(&entries), SAMPLE_MER_ID, SETTLED_ON)
    };
    assert!(unreadable(names(&["INN15090588ZM_802310048993425"])).1.contains("no entry"));
    assert!(
        unreadable(names(&["INN15090588ZM_802310048993424", "INN15090688ZM_802310048993424"])).1.contains("several")
    );
    let good = packed(&[("INN15090588ZM_802310048993424", DETAILS)]);
    let packed = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &good).expect("base64");
    let cut = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &packed[..packed.len() / 2]);
    for content in ["", "#", &cut, &zlib(b"PK no zip"), &zlib(&[0x50, 0x4b, 3, 4])] {
        assert_eq!(unreadable(bill::read(content, SAMPLE_MER_ID, SETTLED_ON)).0, 0, "{content}");
    }
}

#[test]
fn bombs_within_the_zip_and_around_it_are_not_unpacked() {
    let bomb = vec![b' '; UNPACKED_MAX + 1];
    let around = zlib(&bomb);
    let within = packed(&[("INN15090588ZM_802310048993424", &bomb)]);
    drop(bomb);
    for content in [around, within] {
        assert!(content.len() < 1024 * 1024);
        let (line, why) = unreadable(bill::read(&content, SAMPLE_MER_ID, SETTLED_ON));
        assert!(line == 0 && why.contains("it unpacks to more than"), "{why}");
    }
}

#[test]
fn lines_end_as_in_the_sample_and_hold_what_it_holds() {
    let unix: Vec<u8> = DETAILS.iter().copied().filter(|byte| *byte != b'\r').collect();
    assert!(unreadable(read(&unix)).1.contains("cut off"));
    let marked = [b"\xef\xbb\xbf", DETAILS].concat();
    assert_eq!(unreadable(read(&marked)).0, 1);
    assert_eq!(unreadable(read(&[DETAILS, b"\r\n"].concat())).0, 3);
    for amount in ["00000047.800", "-00000476800", "0000004768e2", " 00000476800", "９476800  "] {
        assert_eq!(unreadable(read(&line(&[(AMOUNT_AT, amount)]))), (1, "the amount is malformed".into()), "{amount}");
    }
    // GBK in a column that is read.
    let mut gbk = line(&[]);
    gbk[ORDER_ID_AT..ORDER_ID_AT + 32].fill(0xd6);
    assert_eq!(unreadable(read(&gbk)).0, 1);
}

/// The answer to a question for the sample's day, asked on the next one.
fn judged(unionpay: &Unionpay, answer: &Answer) -> Result<Vec<BillLine>, BillError> {
    let at = Instant::parse_rfc3339("2015-09-06T08:00:00+08:00").expect("an instant");
    asked_at(unionpay, answer, at)
}

fn asked_at(unionpay: &Unionpay, answer: &Answer, at: Instant) -> Result<Vec<BillLine>, BillError> {
    let asked = unionpay.bill(SETTLED_ON).expect("a bill").first;
    let part = asked.read(&Stamp { at, ..stamp() }, answer)?;
    assert!(part.next.is_none());
    Ok(part.lines)
}

#[test]
fn a_bill_is_asked_for_and_its_answer_is_judged() {
    // The certificates of these tests are valid from 1975 on.
    let unionpay = adapter();
    let asked = unionpay.bill(SETTLED_ON).expect("a bill").first;
    assert_eq!(asked.content(), Content::Lines);
    let request = asked.outgoing(&stamp());
    assert_eq!(request.url, "https://filedownload.95516.com/");
    let request = sent(&request);
    assert_eq!((request["settleDate"].as_str(), request["fileType"].as_str()), ("0905", "00"));
    assert_eq!((request["txnType"].as_str(), request["bizType"].as_str()), ("76", "000000"));
    let details = String::from_utf8(DETAILS.to_vec()).expect("ASCII").replace(SAMPLE_MER_ID, MER_ID);
    let content = packed(&[("INN15090588ZM_777290058167151", details.as_bytes())]);
    let told = fields(&[
        ("fileContent", &content),
        ("merId", MER_ID),
        ("respCode", "00"),
        ("settleDate", "0905"),
        ("signMethod", "01"),
        ("version", "5.1.0"),
    ]);
    let judge = |changes: &[(&str, &str)]| judged(&unionpay, &answer(with(told.clone(), changes)));
    assert_eq!(judge(&[]).map(|lines| lines.len()), Ok(2));
    let Err(BillError::NotReady { again_at, why }) = judge(&[("respCode", "98"), ("fileContent", "")]) else {
        panic!("98 is no file")
    };
    assert_eq!(Some(again_at), Instant::parse_rfc3339("2015-09-06T10:00:00+08:00"));
    assert!(why.contains("nothing was settled"), "{why}");
    assert!(unreadable(judge(&[("respCode", "11")])).1.contains("11"));
    assert!(unreadable(judge(&[("fileContent", "")])).1.contains("no file"));
    assert!(unreadable(judge(&[("settleDate", "0906")])).1.contains("another day"));
    assert!(unreadable(judge(&[("merId", "777290058167152")])).1.contains("another merchant's"));
    assert!(matches!(judged(&unionpay, &answer_of(&told)), Err(BillError::Unreadable { .. })), "unsigned");
    let neighbours = answer_of(&signed_by(&WORLD.neighbour, told.clone()));
    assert!(matches!(judged(&unionpay, &neighbours), Err(BillError::Unreadable { .. })), "somebody else's signature");
    // `0905` of this year would be taken for that of 2015.
    let late = asked_at(&unionpay, &answer(told), stamp().at);
    assert!(unreadable(late).1.contains("without their year"));
}
