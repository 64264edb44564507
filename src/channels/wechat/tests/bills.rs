//! Bills, and the requests that fetch them.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use time::macros::date;

use super::*;
use crate::channels::bill::{BillError, BillKind, BillLine, BillRequest, Content};
use crate::channels::wechat::bill::read;
use crate::domain::event::Finding;

const HEADER: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,\
    应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,\
    申请退款金额,费率备注";
const SUMMARY: &str = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";

/// The fields of a payment's row, in the header's order.
fn payment() -> Vec<&'static str> {
    vec![
        "2026-01-01 10:00:00",
        APPID,
        MCHID,
        "0",
        "",
        "4200000925202101284997714292",
        "01J0",
        "oUpF8",
        "NATIVE",
        "SUCCESS",
        "OTHERS",
        "CNY",
        "200.50",
        "0.10",
        "0",
        "0",
        "0.00",
        "0.00",
        "",
        "",
        "Tea, green, 100%",
        "",
        "1.20000",
        "0.60%",
        "200.60",
        "0.00",
        "",
    ]
}

fn refund(state: &'static str) -> Vec<&'static str> {
    let mut row = payment();
    for (name, value) in [
        ("交易状态", "REFUND"),
        ("应结订单金额", "0.00"),
        ("微信退款单号", "50300807092021020105990201735"),
        ("商户退款单号", "01J0R00"),
        ("退款金额", "100.20"),
        ("退款类型", "ORIGINAL"),
        ("退款状态", state),
        ("手续费", "-0.60000"),
        ("订单金额", "0.00"),
        ("申请退款金额", "100.30"),
    ] {
        row[place(name)] = value;
    }
    row
}

fn place(name: &str) -> usize {
    HEADER.split(',').position(|known| known == name).unwrap()
}

fn row(fields: &[&str]) -> String {
    format!("`{}", fields.join(",`"))
}

fn file(header: &str, rows: &[String], summary: &str) -> String {
    let mut lines = vec![header.to_owned()];
    lines.extend_from_slice(rows);
    lines.push(SUMMARY.to_owned());
    lines.push(row(&summary.split(' ').collect::<Vec<_>>()));
    lines.join("\r\n") + "\r\n"
}

fn good() -> String {
    let rows = [row(&payment()), row(&refund("SUCCESS"))];
    file(HEADER, &rows, "2 200.50 100.20 0.00 0.60000 200.60 100.30")
}

fn why(file: &str) -> (usize, String) {
    match read(file.as_bytes(), MCHID) {
        Err(BillError::Unreadable { line, why }) => (line, why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn payments_and_refunds_are_matched_on_what_was_ordered_and_asked_back() {
    for file in [good(), good().replace("\r\n", "\n"), format!("\u{feff}{}", good())] {
        let lines = read(file.as_bytes(), MCHID).unwrap();
        let [paid, refunded] = &lines[..] else { panic!("two rows") };
        assert_eq!((paid.kind, paid.amount_minor, paid.fee_minor), (BillKind::Payment, 20_060, Some(120)));
        assert_eq!((paid.number.as_str(), paid.refund_number.as_deref()), ("01J0", None));
        assert_eq!(paid.at, Instant::parse_rfc3339("2026-01-01T10:00:00+08:00"));
        assert_eq!((refunded.kind, refunded.amount_minor, refunded.fee_minor), (BillKind::Refund, 10_030, Some(60)));
        assert_eq!(refunded.refund_number.as_deref(), Some("01J0R00"));
        assert_eq!(refunded.reference, paid.reference);
    }
}

#[test]
fn a_refund_that_moved_no_money_is_neither_payment_nor_refund() {
    for (state, kind) in [
        ("SUCCESS", BillKind::Refund),
        ("PROCESSING", BillKind::Refund),
        ("FAIL", BillKind::Other),
        ("CHANGE", BillKind::Other),
    ] {
        let file = file(HEADER, &[row(&refund(state))], "1 0.00 100.20 0.00 -0.60000 0.00 100.30");
        assert_eq!(read(file.as_bytes(), MCHID).unwrap()[0].kind, kind, "{state}");
    }
    let file = file(HEADER, &[row(&refund("UNHEARD_OF"))], "1 0.00 100.20 0.00 0.00000 0.00 100.30");
    assert_eq!(why(&file), (2, "the refund's state is not known".into()));
}

#[test]
fn columns_are_found_by_their_names_wherever_they_stand() {
    let names: Vec<&str> = HEADER.split(',').rev().collect();
    let reversed = |fields: &[&str]| row(&fields.iter().rev().copied().collect::<Vec<_>>());
    let rows = [reversed(&payment()), reversed(&refund("SUCCESS"))];
    let file = file(&names.join(","), &rows, "2 200.50 100.20 0.00 0.60000 200.60 100.30");
    assert_eq!(read(file.as_bytes(), MCHID), read(good().as_bytes(), MCHID));
}

#[test]
fn a_bill_of_payments_alone_has_no_columns_of_refunds() {
    let refunds =
        ["微信退款单号", "商户退款单号", "退款金额", "充值券退款金额", "退款类型", "退款状态", "申请退款金额"];
    let kept: Vec<usize> = (0..27).filter(|place| !refunds.contains(&HEADER.split(',').nth(*place).unwrap())).collect();
    let keep = |fields: &[&'static str]| kept.iter().map(|place| fields[*place]).collect::<Vec<_>>();
    let header = kept.iter().map(|place| HEADER.split(',').nth(*place).unwrap()).collect::<Vec<_>>().join(",");
    let text = [header, row(&keep(&payment())), "总交易单数,订单总金额".into(), "`1,`200.60".into()].join("\n");
    assert_eq!(read(text.as_bytes(), MCHID).unwrap()[0].amount_minor, 20_060);
    let unexpected = text.replace("`SUCCESS", "`REFUND");
    assert_eq!(why(&unexpected), (2, "the state is not known".into()));
}

#[test]
fn a_file_that_is_not_whole_or_does_not_add_up_is_refused_loudly() {
    let lines: Vec<&str> = HEADER.split(',').collect();
    let without = |name: &str| lines.iter().filter(|known| **known != name).copied().collect::<Vec<_>>().join(",");
    for name in
        ["交易时间", "商户号", "微信订单号", "商户订单号", "交易状态", "货币种类", "订单金额", "手续费", "申请退款金额"]
    {
        assert_eq!(why(&good().replace(HEADER, &without(name))), (1, format!("the column {name} is missing")));
    }
    assert_eq!(why(&good().replace("设备号", "商户号")), (1, "the column 商户号 stands there twice".into()));
    let good = good();
    let cut = |lines: usize| good.lines().take(lines).collect::<Vec<_>>().join("\n");
    assert_eq!(why(&cut(0)), (0, "the file is empty".into()));
    assert_eq!(why(&cut(3)), (0, "the file ends before its summary".into()));
    assert_eq!(why(&cut(4)), (0, "the summary is missing".into()));
    for (what, from, to, line) in [
        ("a row was lost", "`2,`200.50", "`3,`200.50", 5),
        ("another sum", "`200.60,`100.30", "`200.61,`100.30", 5),
        ("another sum of refunds", "`200.60,`100.30", "`200.60,`100.31", 5),
        ("another merchant", MCHID, "1900000002", 2),
        ("another state", "`NATIVE,`SUCCESS", "`NATIVE,`PAID", 2),
        ("another currency", "`CNY", "`ABC", 2),
        ("three decimals", "0.60%,`200.60", "0.60%,`200.601", 2),
        ("a float", "0.60%,`200.60", "0.60%,`2.006e2", 2),
        ("no amount", "0.60%,`200.60", "0.60%,`0.00", 2),
        ("a minus", "0.60%,`200.60", "0.60%,`-200.60", 2),
        ("a fee in words", "1.20000", "free", 2),
        ("no time", "2026-01-01 10:00:00", "2026-01-01T10:00:00", 2),
        ("no number", "`01J0,", "`,", 2),
        ("a field too many", "Tea, green", "Tea,`green", 2),
        ("no backtick", "`2026", "2026", 2),
    ] {
        assert!(good.contains(from), "{what}");
        assert_eq!(why(&good.replacen(from, to, 1)).0, line, "{what}");
    }
    assert_eq!(why(&format!("{good}x")), (6, "something follows the summary".into()));
    assert!(matches!(read(b"\xff\xfe\xbd\xbb", MCHID), Err(BillError::Unreadable { line: 0, .. })));
    let html = "<html>503</html>";
    assert_eq!(why(html).0, 1);
}

#[test]
fn a_fee_finer_than_a_fen_is_not_rounded() {
    let file = good().replace("1.20000", "1.20360");
    assert_eq!(read(file.as_bytes(), MCHID).unwrap()[0].fee_minor, None);
}

fn promised(file: &[u8]) -> Value {
    let sha1: String =
        digest(&SHA1_FOR_LEGACY_USE_ONLY, file).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let url = "https://api.mch.weixin.qq.com/v3/billdownload/file?token=6XIv5TUPto7pByrTQKhd6kwvyKLG2uY2&tartype=gzip";
    json!({"hash_type": "SHA1", "hash_value": sha1, "download_url": url})
}

pub fn text(body: impl Into<Vec<u8>>) -> Answer {
    Answer { status: 200, headers: Vec::new(), body: body.into() }
}

fn first(wechat: &Wechat) -> Box<dyn BillRequest<'_> + '_> {
    wechat.bill(date!(2026 - 01 - 02)).unwrap().first
}

/// The request for the file that was promised.
pub fn second<'a>(wechat: &'a Wechat, promised: &Value) -> Result<Box<dyn BillRequest<'a> + 'a>, BillError> {
    let part = first(wechat).read(&stamp(), &far().answer(200, promised))?;
    assert_eq!(part.lines, []);
    Ok(part.next.expect("the file comes next"))
}

pub fn lines(request: Box<dyn BillRequest<'_> + '_>, answer: &Answer) -> Result<Vec<BillLine>, BillError> {
    let part = request.read(&stamp(), answer)?;
    assert!(part.next.is_none());
    Ok(part.lines)
}

#[test]
fn a_bill_is_asked_for_promised_fetched_and_compared() {
    let wechat = wechat();
    let asked = first(&wechat);
    assert_eq!(asked.content(), Content::Address);
    assert_eq!(
        asked.outgoing(&stamp()).url,
        format!("{BASE_URL}/v3/bill/tradebill?bill_date=2026-01-02&bill_type=ALL")
    );
    let promised = promised(good().as_bytes());
    let fetch = second(&wechat, &promised).unwrap();
    assert_eq!(fetch.content(), Content::Lines);
    let outgoing = fetch.outgoing(&stamp());
    assert_eq!(outgoing.url, promised["download_url"]);
    assert!(outgoing.headers.iter().any(|(name, _)| *name == "authorization"));
    assert_eq!(lines(fetch, &text(good())).map(|lines| lines.len()), Ok(2));
    let file = |answer: Answer| lines(second(&wechat, &promised).unwrap(), &answer);
    assert!(file(text(good() + " ")).unwrap_err().to_string().contains("SHA-1"), "other bytes than promised");
    assert!(file(text("")).is_err());
    assert!(file(unsigned(404, "")).is_err());

    let whole = |answer: Answer| lines(first(&wechat), &answer);
    assert_eq!(whole(failure(400, "NO_STATEMENT_EXIST")), Ok(Vec::new()));
    let again = |code: &str, status: u16| match whole(failure(status, code)) {
        Err(BillError::NotReady { again_at, why }) => (again_at.since_ms(NOW) / 60_000, why == code),
        other => panic!("{other:?}"),
    };
    assert_eq!(again("STATEMENT_CREATING", 400), (30, true));
    assert_eq!(again("FREQUENCY_LIMITED", 429), (1, true));
    for answer in [
        unsigned(200, &promised),
        failure(500, "SYSTEM_ERROR"),
        failure(401, "SIGN_ERROR"),
        unsigned(202, &promised),
        far().answer(200, changed(promised.clone(), "hash_type", json!("MD5"))),
        far().answer(200, changed(promised.clone(), "hash_value", json!("xyz"))),
        far().answer(200, changed(promised.clone(), "hash_value", json!("+f".repeat(20)))),
    ] {
        assert!(matches!(whole(answer.clone()), Err(BillError::Unreadable { .. })), "{answer:?}");
    }
}

#[test]
fn a_day_that_is_still_going_on_is_to_be_asked_for_on_the_next_one_at_ten() {
    let wechat = wechat();
    let today = wechat.bill(date!(2026 - 09 - 21)).unwrap();
    let answer = failure(400, "STATEMENT_CREATING");
    let Err(BillError::NotReady { again_at, .. }) = today.first.read(&stamp(), &answer) else { panic!("it is ready") };
    assert_eq!(Some(again_at), Instant::parse_rfc3339("2026-09-22T10:00:00+08:00"));
}

#[test]
fn a_file_is_fetched_from_wechat_pay_alone() {
    let wechat = wechat();
    let promised = promised(good().as_bytes());
    let at = |url: &str| second(&wechat, &changed(promised.clone(), "download_url", json!(url))).is_ok();
    assert!(at("https://api.mch.weixin.qq.com/v3/billdownload/file?token=1"));
    assert!(at("https://api2.wechatpay.cn/v3/billdownload/file?token=1"));
    assert!(at("http://127.0.0.1:8090/wechat/v3/billdownload/file?token=1"), "where calls go, too");
    for url in [
        "https://evil.example/v3/billdownload/file?token=1",
        "https://api.mch.weixin.qq.com.evil.example/f",
        "https://api.mch.weixin.qq.com@evil.example/f",
        "https://wechatpay.cn/f",
        "http://api.mch.weixin.qq.com/f",
        "http://127.0.0.1:8091/f",
        "file:///etc/passwd",
        "https:\n//api.mch.weixin.qq.com/",
        "",
    ] {
        assert!(!at(url), "{url}");
    }
}

#[test]
fn what_no_bill_can_be_is_refused() {
    assert!(read(b"", MCHID).is_err());
    assert!(read(&[0xff; 64], MCHID).is_err());
    // GBK, where UTF-8 is meant.
    let (gbk, _, _) = encoding_rs::GBK.encode(HEADER);
    assert_eq!(read(&gbk, MCHID), Err(BillError::Unreadable { line: 0, why: "the file is not UTF-8".into() }));
    // A second mark of byte order, or one within.
    assert_eq!(why(&format!("\u{feff}\u{feff}{}", good())).0, 1);
    assert_eq!(why(&good().replacen("`200.60", "`\u{feff}200.60", 1)).0, 2);
    // A lost line end makes one row of two, which has too many fields.
    assert_eq!(why(&good().replacen("\r\n", "\r", 1)).0, 2);
    assert_eq!(why(&good().replace("`200.60,`0.00", "`99999999999999999999.00,`0.00")).0, 2);
    let comma = good().replacen("Tea, green", "Tea,`,green", 1);
    assert_eq!(why(&comma), (2, "28 fields stand where there are 27 columns".into()));
}

#[test]
fn no_description_of_ours_can_spoil_a_bill() {
    let asked = Ask { description: "`tea`,`green`", ..ask(Method::Native) };
    let frozen = wechat().freeze(&asked);
    assert!(frozen.contains("'tea','green'") && !frozen.contains('`'), "{frozen}");
}

/// The wire counts fen, the bill writes yuan: what a notification, a query and the bill tell of one payment is one amount.
#[test]
fn trap_01_fen_on_the_wire_and_yuan_in_the_bill_are_one_amount() {
    let transaction = transaction();
    assert_eq!(transaction["amount"]["total"], 20_060);
    let query = wechat().find(&attempt(), transaction.to_string().as_bytes());
    assert_eq!(query, Finding::Paid { reference: REFERENCE.into(), amount_minor: 20_060, dated: paid_at() });
    assert_eq!(read(good().as_bytes(), MCHID).unwrap()[0].amount_minor, 20_060);
    for (yuan, fen) in [("0.01", 1), ("0.1", 10), ("200.6", 20_060), ("200", 20_000), ("100000000.00", 10_000_000_000)]
    {
        let file = good().replace("200.60", yuan).replace("0.10", "0.00");
        assert_eq!(read(file.as_bytes(), MCHID).map(|lines| lines[0].amount_minor), Ok(fen), "{yuan}");
    }
    for wrong in ["200.601", "2006e-1", "200,60", "+200.60", " 200.60", "200.", ".60", "２00.60"] {
        assert!(read(good().replace("200.60", wrong).as_bytes(), MCHID).is_err(), "{wrong}");
    }
}

/// The file alone may be unsigned: its hash came in an answer that was signed.
#[test]
fn trap_06_a_bill_file_is_unsigned_and_believed_by_the_hash_that_was_signed() {
    let wechat = wechat();
    let promised = promised(good().as_bytes());
    let promise = |answer: &Answer| first(&wechat).read(&stamp(), answer).map(|part| part.next.expect("the file"));
    assert!(promise(&unsigned(200, &promised)).is_err(), "an unsigned promise");
    let file = |bytes: String| lines(promise(&far().answer(200, &promised)).unwrap(), &unsigned(200, bytes));
    assert!(file(good()).is_ok());
    assert!(file(good().replace("200.60", "200.61")).is_err());
}
