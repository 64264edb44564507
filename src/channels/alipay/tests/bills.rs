//! Where a bill is, and who says so.

use time::macros::date;

use super::*;
use crate::channels::bill::{BillError, BillLine, BillRequest, Content};

const ADDRESS: &str =
    r#"{"code":"10000","msg":"Success","bill_download_url":"http:\/\/dwbillcenter.alipay.com\/d?token=1"}"#;

fn first(alipay: &Alipay) -> Box<dyn BillRequest<'_> + '_> {
    alipay.bill(date!(2026 - 01 - 01)).unwrap().first
}

/// The request for the file that an answer names.
fn file(alipay: &Alipay, answer: &Answer) -> Result<Outgoing, BillError> {
    let next = first(alipay).read(&stamp(), answer)?.next.expect("the file comes next");
    assert_eq!(next.content(), Content::Lines);
    Ok(next.outgoing(&stamp()))
}

fn refused(answer: &Answer) -> Result<Vec<BillLine>, BillError> {
    first(&alipay()).read(&stamp(), answer).map(|part| {
        assert!(part.next.is_none());
        part.lines
    })
}

#[test]
fn a_bills_address_comes_signed_or_not_at_all() {
    let alipay = alipay();
    let asked = first(&alipay);
    assert_eq!(asked.content(), Content::Address);
    let request = called(&asked.outgoing(&stamp()));
    assert_eq!(request["biz_content"], r#"{"bill_date":"2026-01-01","bill_type":"trade"}"#);
    let fetch = file(&alipay, &signed(requests::BILL, ADDRESS)).unwrap();
    assert_eq!((fetch.verb, fetch.url.as_str()), (Verb::Get, "https://dwbillcenter.alipay.com/d?token=1"));
    assert_eq!((fetch.headers, fetch.body), (Vec::new(), Vec::new()), "it shows the file's host nothing of ours");
    for answer in [
        unsigned(requests::BILL, ADDRESS),
        signed(requests::QUERY, ADDRESS),
        signed(requests::BILL, r#"{"code":"10000","msg":"Success"}"#),
        unsigned(requests::BILL, &refusal("40004", "NO_BILL_DATA")),
        signed(requests::BILL, &refusal("40004", "INVAILID_ARGUMENTS")),
        Answer { status: 502, ..signed(requests::BILL, ADDRESS) },
    ] {
        assert!(matches!(refused(&answer), Err(BillError::Unreadable { line: 0, .. })));
    }
}

#[test]
fn a_day_without_trades_is_empty_and_one_that_is_not_made_yet_has_its_hour() {
    assert_eq!(refused(&signed(requests::BILL, &refusal("40004", "NO_BILL_DATA"))), Ok(Vec::new()));
    let again = |code: &str| match refused(&signed(requests::BILL, &refusal("40004", code))) {
        Err(BillError::NotReady { again_at, .. }) => again_at.rfc3339(),
        other => panic!("{other:?}"),
    };
    assert_eq!(again("isp.bill_not_exist"), "2026-01-02T01:00:00.000Z");
    assert_eq!(again("BILL_NOT_EXIST"), "2026-01-02T01:00:00.000Z");
    assert_eq!(again("USER_RATE_LIMIT"), "2026-01-01T16:00:00.000Z");
}

#[test]
fn a_file_is_fetched_from_alipay_alone() {
    let alipay = alipay();
    let at = |url: &str| {
        let content = ADDRESS.replace(r"http:\/\/dwbillcenter.alipay.com\/d?token=1", url);
        file(&alipay, &signed(requests::BILL, &content))
    };
    assert!(at("https://dwbillcenter.alipay.com/d?token=1").is_ok());
    assert!(at("https://openapi.example/d").is_ok(), "where calls go, too");
    for url in [
        "https://dwbillcenter.example/d?token=1",
        "https://notalipay.com/d",
        "https://alipay.com.evil.example/d",
        "https://dwbillcenter.alipay.com:8443/d",
        "https://dwbillcenter.alipay.com@evil.example/d",
        "file:///etc/passwd",
        "http://127.0.0.1/d",
        "",
    ] {
        assert!(matches!(at(url), Err(BillError::Unreadable { line: 0, .. })), "{url}");
    }
    let trust = Trust::PublicKey { pem: pem("PUBLIC KEY", &theirs().public_der) };
    let sandbox = Alipay::new(account(), "http://127.0.0.1:8090/alipay", credentials(trust)).unwrap();
    let content =
        ADDRESS.replace(r"http:\/\/dwbillcenter.alipay.com\/d?token=1", "http://127.0.0.1:8090/alipay/bills/1");
    let fetch = file(&sandbox, &signed(requests::BILL, &content)).unwrap();
    assert_eq!(fetch.url, "http://127.0.0.1:8090/alipay/bills/1");
}

#[test]
fn a_file_of_alipays_sandbox_is_fetched_for_calls_that_go_there_alone() {
    let fetched = |base_url: &str, url: &str| {
        let trust = Trust::PublicKey { pem: pem("PUBLIC KEY", &theirs().public_der) };
        let alipay = Alipay::new(account(), base_url, credentials(trust)).unwrap();
        let content = ADDRESS.replace(r"http:\/\/dwbillcenter.alipay.com\/d?token=1", url);
        file(&alipay, &signed(requests::BILL, &content)).map(|fetch| fetch.url)
    };
    const SANDBOX: &str = "https://openapi-sandbox.dl.alipaydev.com";
    let theirs = "https://dwbillcenter.dl.alipaydev.com/d?token=1";
    assert_eq!(fetched(SANDBOX, theirs).as_deref(), Ok(theirs));
    assert_eq!(fetched(SANDBOX, "http://dwbillcenter.dl.alipaydev.com/d?token=1").as_deref(), Ok(theirs));
    for (base_url, url) in [
        ("https://openapi.alipay.com", theirs),
        ("https://alipaydev.com.example", theirs),
        ("https://openapi.example/alipaydev.com", theirs),
        ("https://notalipaydev.com", theirs),
        (SANDBOX, "https://notalipaydev.com/d"),
        (SANDBOX, "https://dwbillcenter.dl.alipaydev.com:8443/d"),
    ] {
        assert!(fetched(base_url, url).is_err(), "{url} by {base_url}");
    }
}

#[test]
fn a_file_that_is_refused_is_no_bill() {
    let alipay = alipay();
    let fetch = || first(&alipay).read(&stamp(), &signed(requests::BILL, ADDRESS)).unwrap_or_else(|_| panic!()).next;
    for answer in [Answer { status: 404, ..plain("the address has expired".into()) }, plain("<html>".into())] {
        assert!(matches!(fetch().unwrap().read(&stamp(), &answer), Err(BillError::Unreadable { line: 0, .. })));
    }
}
