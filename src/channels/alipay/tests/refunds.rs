use super::*;
use crate::domain::event::Rejection;

fn refunded(answer: &Answer) -> RefundOutcome {
    alipay().read_refund(&refund_ask(), &stamp(), answer)
}

fn found(answer: &Answer) -> RefundOutcome {
    alipay().read_refund_query(&refund_ask(), &stamp(), answer)
}

fn is_unknown(outcome: &RefundOutcome) -> bool {
    matches!(outcome, RefundOutcome::Unknown { .. })
}

fn done_at(text: &str) -> RefundOutcome {
    RefundOutcome::Done { reference: None, dated: Dated::at(Instant::parse_rfc3339(text).unwrap()) }
}

const NOT_DATED: RefundOutcome = RefundOutcome::Done { reference: None, dated: Dated::NOT_TOLD };

/// `refund_fee` is of all refunds of the trade: here two of 0.60 were made.
fn done() -> String {
    format!(
        r#"{{"code":"10000","msg":"Success","buyer_logon_id":"159****5620","fund_change":"Y","gmt_refund_pay":"2026-01-01 10:00:03","out_trade_no":"{}","refund_fee":"1.20","trade_no":"2026010122001"}}"#,
        number()
    )
}

#[test]
fn a_refund_says_what_is_asked_and_why_the_same_in_every_try() {
    let (alipay, ask) = (alipay(), refund_ask());
    let first = alipay.refund(&ask, &stamp());
    let number = "0000000000000000000000008000P00000";
    assert_eq!(
        called(&first)["biz_content"],
        format!(
            r#"{{"out_request_no":"{number}","refund_amount":"0.60","refund_reason":"货不对板， sold out","trade_no":"2026010122001"}}"#
        )
    );
    let later = Stamp { at: NOW.plus_ms(61_000), ..stamp() };
    assert_eq!(alipay.refund(&ask, &later).body, first.body);
    let silent = RefundAsk { reason: None, ..refund_ask() };
    assert!(!called(&alipay.refund(&silent, &stamp()))["biz_content"].contains("reason"));
    let long = RefundAsk { reason: Some("长".repeat(300).into()), ..refund_ask() };
    assert_eq!(called(&alipay.refund(&long, &stamp()))["biz_content"].matches('长').count(), 256);

    let query = called(&alipay.query_refund(&ask, &stamp()));
    assert_eq!(query["method"], "alipay.trade.fastpay.refund.query");
    assert_eq!(
        query["biz_content"],
        format!(r#"{{"out_request_no":"{number}","query_options":["gmt_refund_pay"],"trade_no":"2026010122001"}}"#)
    );
}

#[test]
fn a_refund_is_done_only_if_money_moved() {
    assert_eq!(refunded(&signed(requests::REFUND, &done())), done_at("2026-01-01T10:00:03+08:00"));
    for undated in ["", "2026-01-01T10:00:03+08:00", "2026-02-30 10:00:03"] {
        let answer = signed(requests::REFUND, &done().replace("2026-01-01 10:00:03", undated));
        assert_eq!(refunded(&answer), NOT_DATED, "{undated}");
    }
    for answer in [
        unsigned(requests::REFUND, &done()),
        signed(requests::REFUND, &done().replace("\"Y\"", "\"N\"")),
        signed(requests::REFUND, &done().replace("\"fund_change\":\"Y\",", "")),
        signed(requests::REFUND, &done().replace("2026010122001", "2026010122002")),
        signed(requests::REFUND, &done().replace(&number().to_string(), "other")),
        signed(requests::REFUND, &done().replace("1.20", "0.59")),
        signed(requests::REFUND, &done().replace("{", r#"{"refund_currency":"USD","#)),
        signed(requests::REFUND, &refusal("40004", "ACQ.SYSTEM_ERROR")),
        signed(requests::REFUND, &refusal("40004", "ACQ.DISCORDANT_REPEAT_REQUEST")),
        signed(requests::REFUND, &refusal("40004", "ACQ.NEVER_SEEN_BEFORE")),
        signed(requests::REFUND, &refusal("20000", "isp.unknow-error")),
        unsigned(requests::REFUND, &refusal("40004", "ACQ.TRADE_NOT_ALLOW_REFUND")),
    ] {
        assert!(is_unknown(&refunded(&answer)), "{}", String::from_utf8_lossy(&answer.body));
    }
}

#[test]
fn each_refusal_of_a_refund_has_its_class() {
    let table = [
        ("ACQ.SELLER_BALANCE_NOT_ENOUGH", Rejection::Poor),
        ("ACQ.NOT_ALLOW_PARTIAL_REFUND", Rejection::Refused),
        ("ACQ.ONLINE_TRADE_VOUCHER_NOT_ALLOW_REFUND", Rejection::Refused),
        ("ACQ.REASON_TRADE_REFUND_FEE_ERR", Rejection::Refused),
        ("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", Rejection::Refused),
        ("ACQ.REFUND_FEE_ERROR", Rejection::Refused),
        ("ACQ.BUYER_NOT_EXIST", Rejection::Refused),
        ("ACQ.REFUND_ACCOUNT_NOT_EXIST", Rejection::Refused),
        ("ACQ.TRADE_HAS_CLOSE", Rejection::Refused),
        ("ACQ.TRADE_HAS_FINISHED", Rejection::Refused),
        ("ACQ.TRADE_NOT_ALLOW_REFUND", Rejection::Refused),
        ("ACQ.CURRENCY_NOT_SUPPORT", Rejection::Ours),
        ("ACQ.INVALID_PARAMETER", Rejection::Ours),
        ("ACQ.REASON_TRADE_BEEN_FREEZEN", Rejection::Ours),
        ("ACQ.TRADE_SETTLE_ERROR", Rejection::Ours),
        // Of the account, of other calls, and that there is no such trade.
        ("ACQ.ACCESS_FORBIDDEN", Rejection::Ours),
        ("ACQ.SELLER_BEEN_BLOCKED", Rejection::Ours),
        ("ACQ.TOTAL_FEE_EXCEED", Rejection::Ours),
        ("ACQ.TRADE_NOT_EXIST", Rejection::Ours),
    ];
    for (code, class) in table {
        let outcome = refunded(&signed(requests::REFUND, &refusal("40004", code)));
        assert_eq!(outcome, RefundOutcome::Rejected { class, code: code.into() });
        let asked = found(&signed(requests::REFUND_QUERY, &refusal("40004", code)));
        assert!(code == "ACQ.TRADE_NOT_EXIST" || is_unknown(&asked), "{code}: a refused question tells nothing");
    }
    let door = plain(format!(r#"{{"error_response":{}}}"#, refusal("40002", "isv.invalid-app-id")));
    let expected = RefundOutcome::Rejected { class: Rejection::Ours, code: "isv.invalid-app-id".into() };
    assert_eq!(refunded(&door), expected);
    let busy = refunded(&signed(requests::REFUND, &refusal("40005", "isv.app-call-limited")));
    assert_eq!(busy, RefundOutcome::NotSent { why: "isv.app-call-limited".into() });
}

#[test]
fn a_refund_is_found_by_its_number_and_amount() {
    let done = format!(
        r#"{{"code":"10000","msg":"Success","gmt_refund_pay":"2026-01-01 10:00:03","out_request_no":"{}","out_trade_no":"{}","refund_amount":"0.60","refund_status":"REFUND_SUCCESS","total_amount":"200.60","trade_no":"2026010122001"}}"#,
        refund_ask().refund_number,
        number()
    );
    assert_eq!(found(&signed(requests::REFUND_QUERY, &done)), done_at("2026-01-01T10:00:03+08:00"));
    let undated = done.replace(r#""gmt_refund_pay":"2026-01-01 10:00:03","#, "");
    assert_eq!(found(&signed(requests::REFUND_QUERY, &undated)), NOT_DATED);
    let absent = r#"{"code":"10000","msg":"Success"}"#;
    assert_eq!(found(&signed(requests::REFUND_QUERY, absent)), RefundOutcome::NotExist);
    for answer in [
        unsigned(requests::REFUND_QUERY, absent),
        unsigned(requests::REFUND_QUERY, &done),
        signed(requests::REFUND_QUERY, &done.replace("0.60", "0.61")),
        signed(requests::REFUND_QUERY, &done.replace("P00", "P01")),
        signed(requests::REFUND_QUERY, &done.replace("2026010122001", "2026010122002")),
        signed(requests::REFUND_QUERY, &done.replace("REFUND_SUCCESS", "REFUND_WAIT")),
        signed(requests::REFUND_QUERY, &refusal("40004", "ACQ.SYSTEM_ERROR")),
    ] {
        assert!(is_unknown(&found(&answer)), "{}", String::from_utf8_lossy(&answer.body));
    }
}
