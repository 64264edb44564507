use super::*;

const UNKNOWN: &str = "unknown";

fn taken() -> Fields {
    fields(&[
        ("accessType", "0"),
        ("encoding", "UTF-8"),
        ("merId", MER_ID),
        ("orderId", &refund_ask().refund_number),
        ("origQryId", "782209081322060674028"),
        ("queryId", "052401051658427863998"),
        ("respCode", "00"),
        ("respMsg", "成功[0000000]"),
        ("signMethod", "01"),
        ("txnAmt", "20060"),
        ("txnSubType", "00"),
        ("txnTime", "20260921221420"),
        ("txnType", "04"),
        ("version", "5.1.0"),
    ])
}

fn name(outcome: &RefundOutcome) -> String {
    match outcome {
        RefundOutcome::Done => "done".into(),
        RefundOutcome::Rejected { code } => format!("rejected {code}"),
        RefundOutcome::Spent { code } => format!("spent {code}"),
        RefundOutcome::Dead { code } => format!("dead {code}"),
        RefundOutcome::Stuck { code } => format!("stuck {code}"),
        RefundOutcome::NotSent { .. } => "not sent".into(),
        RefundOutcome::NotExist => "not exist".into(),
        RefundOutcome::Unknown { .. } => UNKNOWN.into(),
    }
}

#[test]
fn a_refund_names_itself_the_same_in_every_try() {
    let unionpay = adapter();
    let late = Stamp { at: OPENED_AT.plus_ms(86_400_000), nonce: String::new() };
    let refund = unionpay.refund(&refund_ask(), &stamp());
    assert_eq!(refund.url, "https://gateway.95516.com/gateway/api/backTransReq.do");
    assert_eq!(unionpay.refund(&refund_ask(), &late), refund);
    let refund = sent(&refund);
    let number = refund["orderId"].as_str();
    assert!((8..=40).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(refund["txnTime"], "20260921221420");
    assert_eq!(refund["origQryId"], "782209081322060674028");
    assert_eq!((refund["txnType"].as_str(), refund["txnAmt"].as_str()), ("04", "20060"));
    assert_eq!(refund["backUrl"], refund_ask().notify_url);
    let query = sent(&unionpay.query_refund(&refund_ask(), &late));
    assert_eq!((&query["orderId"], &query["txnTime"]), (&refund["orderId"], &refund["txnTime"]));
}

#[test]
fn a_refund_that_was_taken_is_not_done() {
    let table = [
        ("00", UNKNOWN),
        ("03", UNKNOWN),
        ("05", UNKNOWN),
        ("06", UNKNOWN),
        ("12", UNKNOWN),
        ("45", UNKNOWN),
        ("98", UNKNOWN),
        ("", UNKNOWN),
        ("11", "spent 11"),
        ("34", "spent 34"),
        ("35", "spent 35"),
        ("36", "spent 36"),
        ("64", "spent 64"),
    ];
    for (code, expected) in table {
        let answer = answer(with(taken(), &[("respCode", code)]));
        assert_eq!(name(&adapter().read_refund(&refund_ask(), &stamp(), &answer)), expected, "{code}");
    }
    let unsigned = answer_of(&with(taken(), &[("respCode", "11")]));
    assert_eq!(name(&adapter().read_refund(&refund_ask(), &stamp(), &unsigned)), UNKNOWN, "an unsigned failure");
}

#[test]
fn a_query_tells_whether_a_refund_was_done() {
    let table: [(&[(&str, &str)], &str); 11] = [
        (&[("origRespCode", "00")], "done"),
        (&[("origRespCode", "A6")], "done"),
        (&[("origRespCode", "05")], UNKNOWN),
        (&[("origRespCode", "36")], "dead 36"),
        (&[("origRespCode", "00"), ("txnAmt", "20059")], UNKNOWN),
        (&[("origRespCode", "00"), ("txnType", "01")], UNKNOWN),
        (&[("origRespCode", "00"), ("txnTime", "20260921221421")], UNKNOWN),
        (&[("origRespCode", "00"), ("merId", "777290058110048")], UNKNOWN),
        (&[("respCode", "34"), ("txnType", "00")], "not exist"),
        (&[("respCode", "11")], UNKNOWN),
        (&[], UNKNOWN),
    ];
    for (changes, expected) in table {
        let outcome = adapter().read_refund_query(&refund_ask(), &stamp(), &answer(with(taken(), changes)));
        assert_eq!(name(&outcome), expected, "{changes:?}");
    }
    let unsigned = answer_of(&with(taken(), &[("origRespCode", "00")]));
    assert_eq!(name(&adapter().read_refund_query(&refund_ask(), &stamp(), &unsigned)), UNKNOWN);
}

/// A `txnTime` of yesterday is taken no more, so that what is not there by then never will be; what is older still may
/// have been forgotten.
#[test]
fn a_refund_that_is_not_there_is_dead_between_a_day_and_a_week_after_its_date() {
    let answer = answer(with(taken(), &[("respCode", "34"), ("txnType", "00")]));
    let hour_ms = 3_600_000;
    for (age_ms, expected) in [
        (12 * hour_ms, "not exist"),
        (12 * hour_ms + 1, UNKNOWN),
        (24 * hour_ms, UNKNOWN),
        (24 * hour_ms + 1, "dead 34"),
        (168 * hour_ms, "dead 34"),
        (168 * hour_ms + 1, "stuck 34"),
    ] {
        let late = Stamp { at: refund_ask().dated_at.plus_ms(age_ms), nonce: String::new() };
        assert_eq!(name(&adapter().read_refund_query(&refund_ask(), &late, &answer)), expected, "{age_ms}");
    }
}

/// Not found for days is dead only if days have passed at UnionPay as well.
#[test]
fn report_a_clock_days_ahead_gives_a_refund_no_second_number() {
    let dated_at = refund_ask().dated_at;
    let not_found = with(taken(), &[("respCode", "34")]);
    let asked = |ours_ms: i64, date: Option<&str>| {
        let mut answer = answer(not_found.clone());
        answer.headers.extend(date.map(|date| ("date".to_owned(), date.to_owned())));
        let stamp = Stamp { at: dated_at.plus_ms(ours_ms), nonce: String::new() };
        name(&adapter().read_refund_query(&refund_ask(), &stamp, &answer))
    };
    const DAY: i64 = 86_400_000;
    // The refund is of 2026-09-21T14:14:20Z.
    let (same_day, two_days_later) = ("Mon, 21 Sep 2026 14:20:00 GMT", "Wed, 23 Sep 2026 14:20:00 GMT");
    for ahead_ms in [2 * DAY, 6 * DAY, 30 * DAY] {
        assert_eq!(asked(ahead_ms, Some(same_day)), "not exist", "{ahead_ms} ms ahead: sent again under its number");
    }
    assert_eq!(asked(2 * DAY, Some(two_days_later)), "dead 34");
    assert_eq!(asked(60_000, Some(two_days_later)), "not exist", "nor by UnionPay's clock alone");
    assert_eq!(asked(2 * DAY, None), "dead 34");
}
