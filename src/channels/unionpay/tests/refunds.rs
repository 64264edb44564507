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
        RefundOutcome::Pending { hold } => format!("pending {hold:?}"),
        RefundOutcome::Done { .. } => "done".into(),
        RefundOutcome::Rejected { class, code } => format!("{class:?} {code}"),
        RefundOutcome::Ended { code } => format!("ended {code}"),
        RefundOutcome::Returned { code, .. } => format!("returned {code}"),
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
    // `echo -n '货不对板, sold out' | base64`
    assert_eq!(refund["reqReserved"], "6LSn5LiN5a+55p2/LCBzb2xkIG91dA==");
    let silent = sent(&unionpay.refund(&RefundAsk { reason: None, ..refund_ask() }, &stamp()));
    assert!(!silent.contains_key("reqReserved"));
    let long = RefundAsk { reason: Some("长".repeat(300).into()), ..refund_ask() };
    assert_eq!(sent(&unionpay.refund(&long, &stamp()))["reqReserved"].len(), 1_024);
    let query = sent(&unionpay.query_refund(&refund_ask(), &late));
    assert_eq!((&query["orderId"], &query["txnTime"]), (&refund["orderId"], &refund["txnTime"]));
}

#[test]
fn a_refund_that_was_taken_is_not_done() {
    let table = [
        ("00", "pending Processing"),
        ("A6", "pending Processing"),
        ("05", "pending Processing"),
        ("03", UNKNOWN),
        ("04", UNKNOWN),
        ("06", UNKNOWN),
        ("12", UNKNOWN),
        ("37", UNKNOWN),
        ("42", UNKNOWN),
        ("45", UNKNOWN),
        ("46", UNKNOWN),
        ("83", UNKNOWN),
        ("98", UNKNOWN),
        ("", UNKNOWN),
        ("01", "DeadNumber 01"),
        ("02", "DeadNumber 02"),
        ("10", "Ours 10"),
        ("11", "Ours 11"),
        ("13", "Ours 13"),
        ("31", "Ours 31"),
        ("32", "Ours 32"),
        ("33", "Ours 33"),
        ("34", "DeadNumber 34"),
        ("35", "DeadNumber 35"),
        ("36", "Refused 36"),
        ("38", "Refused 38"),
        ("39", "DeadNumber 39"),
        ("60", "DeadNumber 60"),
        ("64", "DeadNumber 64"),
        ("82", "DeadNumber 82"),
        ("84", "DeadNumber 84"),
        ("99", "DeadNumber 99"),
    ];
    for (code, expected) in table {
        let answer = answer(with(taken(), &[("respCode", code)]));
        assert_eq!(name(&adapter().read_refund(&refund_ask(), &stamp(), &answer)), expected, "{code}");
    }
    let unsigned = answer_of(&with(taken(), &[("respCode", "11")]));
    assert_eq!(name(&adapter().read_refund(&refund_ask(), &stamp(), &unsigned)), UNKNOWN, "an unsigned failure");
    for changes in
        [("txnAmt", "20059"), ("txnAmt", ""), ("currencyCode", "840"), ("origQryId", "782209081322060674029")]
    {
        let answer = answer(with(taken(), &[changes]));
        assert_eq!(name(&adapter().read_refund(&refund_ask(), &stamp(), &answer)), UNKNOWN, "{changes:?}");
    }
}

/// A request with a `txnTime` of yesterday is refused for that alone, whatever was mended meanwhile.
#[test]
fn what_is_ours_to_mend_takes_another_number_once_its_time_is_over() {
    let answer = answer(with(taken(), &[("respCode", "31")]));
    for (age_ms, expected) in [(12 * 3_600_000, "Ours 31"), (12 * 3_600_000 + 1, "DeadNumber 31")] {
        let late = Stamp { at: refund_ask().dated_at.plus_ms(age_ms), nonce: String::new() };
        assert_eq!(name(&adapter().read_refund(&refund_ask(), &late, &answer)), expected, "{age_ms}");
    }
}

#[test]
fn a_query_tells_whether_a_refund_was_done() {
    let table: [(&[(&str, &str)], &str); 14] = [
        (&[("origRespCode", "00")], "done"),
        (&[("origRespCode", "A6")], "done"),
        (&[("origRespCode", "05")], "pending Processing"),
        (&[("origRespCode", "04")], UNKNOWN),
        (&[("origRespCode", "36")], "ended 36"),
        (&[("origRespCode", "38")], "ended 38"),
        (&[("origRespCode", "00"), ("currencyCode", "840")], UNKNOWN),
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
    let dated = [("origRespCode", "00"), ("traceTime", "0921221421"), ("settleDate", "0922")];
    let found = adapter().read_refund_query(&refund_ask(), &stamp(), &answer(with(taken(), &dated)));
    let dated = Dated {
        effective_at: Instant::parse_rfc3339("2026-09-21T22:14:21+08:00"),
        bill_day: crate::domain::dated::Day::new(2026, 9, 22),
    };
    assert_eq!(found, RefundOutcome::Done { reference: Some("052401051658427863998".into()), dated });
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
        (24 * hour_ms + 1, "ended 34"),
        (168 * hour_ms, "ended 34"),
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
    assert_eq!(asked(2 * DAY, Some(two_days_later)), "ended 34");
    assert_eq!(asked(60_000, Some(two_days_later)), "not exist", "nor by UnionPay's clock alone");
    assert_eq!(asked(2 * DAY, None), "ended 34");
}
