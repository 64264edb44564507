use super::*;

fn paid() -> Fields {
    fields(&[
        ("accNo", "cDg4jpD9tKxlI4si91lomXcSjQeOyOxE+Kb4mw=="),
        ("accessType", "0"),
        ("bizType", "000000"),
        ("currencyCode", "156"),
        ("encoding", "UTF-8"),
        ("merId", MER_ID),
        ("orderId", &number().to_string()),
        ("origRespCode", "00"),
        ("origRespMsg", "成功[0000000]"),
        ("queryId", "442401051450467846498"),
        ("respCode", "00"),
        ("respMsg", "成功[0000000]"),
        ("settleAmt", "20060"),
        ("signMethod", "01"),
        ("txnAmt", "20060"),
        ("txnSubType", "01"),
        ("txnTime", "20260921221320"),
        ("txnType", "01"),
        ("version", "5.1.0"),
    ])
}

fn found(answer: &Answer) -> Finding {
    match adapter().read_query(&attempt(), &stamp(), answer) {
        Reading::Told(finding) => finding,
        Reading::Ask(_) => panic!("one answer is enough"),
    }
}

fn assert_unknown(answer: &Answer, why: &str) {
    match found(answer) {
        Finding::Unknown { why: told } => assert!(told.contains(why), "{told}, not {why}"),
        other => panic!("{why}: {other:?}"),
    }
}

#[test]
fn a_paid_purchase_is_found_with_its_number_and_amount() {
    let expected =
        Finding::Paid { reference: "442401051450467846498".into(), amount_minor: 20_060, dated: Dated::NOT_TOLD };
    assert_eq!(found(&answer(paid())), expected);
    assert_eq!(found(&answer(with(paid(), &[("origRespCode", "A6")]))), expected);
    let short = found(&answer(with(paid(), &[("txnAmt", "20059")])));
    assert_eq!(
        short,
        Finding::Paid { reference: "442401051450467846498".into(), amount_minor: 20_059, dated: Dated::NOT_TOLD }
    );
}

/// The year is that of `txnTime`, or the one beside it at the turn of the year.
#[test]
fn a_purchase_is_dated_by_its_trace_and_by_the_day_of_its_settlement() {
    let dated = |changes: &[(&str, &str)]| match found(&answer(with(paid(), changes))) {
        Finding::Paid { dated, .. } => (dated.effective_at, dated.bill_day.map(|day| day.to_string())),
        other => panic!("{other:?}"),
    };
    let told = |at: &str, day: &str| (Instant::parse_rfc3339(at), Some(day.to_owned()));
    let changes = [("traceTime", "0921221325"), ("settleDate", "0921")];
    assert_eq!(dated(&changes), told("2026-09-21T22:13:25+08:00", "2026-09-21"));
    let settled_later = [("traceTime", "0921233001"), ("settleDate", "0922")];
    assert_eq!(dated(&settled_later), told("2026-09-21T23:30:01+08:00", "2026-09-22"));
    assert_eq!(dated(&[("traceTime", "yesterday"), ("settleDate", "0230")]), (None, None));
}

#[test]
fn each_code_says_what_it_says() {
    for code in ["12", "34", "37", "42", "45", "46", "83", "98", "07", "xyz12", ""] {
        let answer = answer(with(paid(), &[("origRespCode", code)]));
        assert!(matches!(found(&answer), Finding::Unknown { .. }), "origRespCode {code}");
    }
    for code in ["01", "03", "04", "05", "06", "11", "36", "38", "60", "64", "89", "99"] {
        assert_eq!(found(&answer(with(paid(), &[("origRespCode", code)]))), Finding::Pending, "origRespCode {code}");
    }
    let bare = [("origRespCode", ""), ("queryId", ""), ("txnType", "00"), ("txnAmt", "")];
    for code in ["01", "02", "03", "05", "06", "10", "11", "37", "99", "A5", ""] {
        let answer = answer(with(with(paid(), &bare), &[("respCode", code)]));
        assert!(matches!(found(&answer), Finding::Unknown { .. }), "respCode {code}");
    }
    assert_eq!(found(&answer(with(with(paid(), &bare), &[("respCode", "34")]))), Finding::NotExist);
}

#[test]
fn what_is_not_whole_or_not_ours_is_unknown() {
    let number = number().to_string();
    let table: [(&[(&str, &str)], &str); 11] = [
        (&[("merId", "777290058110048")], "another merchant's"),
        (&[("orderId", &number[1..])], "another transaction"),
        (&[("txnTime", "20260921221321")], "another transaction"),
        (&[("txnType", "04")], "no purchase"),
        (&[("currencyCode", "840")], "no capture"),
        (&[("currencyCode", "")], "no capture"),
        (&[("queryId", "")], "no capture"),
        (&[("txnAmt", "")], "no capture"),
        (&[("txnAmt", "200.60")], "no capture"),
        (&[("txnAmt", "-20060")], "no capture"),
        (&[("version", "5.0.0")], "5.1.0"),
    ];
    for (changes, why) in table {
        assert_unknown(&answer(with(paid(), changes)), why);
    }
}

#[test]
fn what_is_not_rightly_signed_is_unknown() {
    let signed = signed_by(&WORLD.gateway, paid());
    let unsigned = |name: &str| answer_of(&with(signed.clone(), &[(name, "")]));
    assert_unknown(&unsigned("signature"), "does not verify");
    assert_unknown(&unsigned("signPubKeyCert"), "no certificate");
    assert_unknown(&answer_of(&with(signed.clone(), &[("txnAmt", "20061")])), "does not verify");
    assert_unknown(&answer_of(&with(signed.clone(), &[("signature", "AAAA")])), "does not verify");
    assert_unknown(&answer_of(&with(signed.clone(), &[("extra", "1")])), "does not verify");
    assert_unknown(&answer_of(&signed_by(&WORLD.neighbour, paid())), "somebody else's");
    assert_unknown(&answer_of(&signed_by(&WORLD.former, paid())), "out of date");
    assert_unknown(&answer_of(&signed_by(&WORLD.merchant, paid())), "somebody else's");
    // The certificate is UnionPay's, the key is not.
    let mut swapped = signed_by(&WORLD.neighbour, paid());
    swapped.insert("signPubKeyCert".into(), WORLD.gateway.certificate.replace('\n', "\r\n"));
    assert_unknown(&answer_of(&swapped), "does not verify");
}

#[test]
fn what_is_no_answer_is_unknown() {
    let good = answer(paid());
    let mut cut = good.clone();
    cut.body.truncate(cut.body.len() / 2);
    assert!(matches!(found(&cut), Finding::Unknown { .. }));
    let mut twice = good.clone();
    twice.body.extend_from_slice(b"&respCode=00");
    assert_unknown(&twice, "twice");
    for status in [204, 302, 401, 404, 500, 503] {
        assert_unknown(&Answer { status, ..good.clone() }, "status");
    }
    for body in ["", "Invalid request.", "<html></html>"] {
        let answer = Answer { status: 200, headers: Vec::new(), body: body.into() };
        assert!(matches!(found(&answer), Finding::Unknown { .. }), "{body}");
    }
    let gbk = Answer { body: vec![b'r', b'=', 0xb3, 0xc9, 0xb9, 0xa6], ..good.clone() };
    assert_unknown(&gbk, "UTF-8");
    let huge = Answer { body: vec![b'&'; 1 << 20], ..good };
    assert!(matches!(found(&huge), Finding::Unknown { .. }));
}

#[test]
fn the_order_of_an_answers_fields_does_not_matter() {
    let signed = signed_by(&WORLD.gateway, paid());
    let body = signed.iter().rev().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let answer = Answer { status: 200, headers: Vec::new(), body: body.into_bytes() };
    assert!(matches!(found(&answer), Finding::Paid { .. }));
}

/// Its line breaks are signed, the last one too.
#[test]
fn a_certificate_may_come_last_and_end_with_a_line() {
    let mut fields = paid();
    fields
        .insert("signPubKeyCert".into(), format!("{}\r\n", WORLD.gateway.certificate.trim_end().replace('\n', "\r\n")));
    let signer = Signer::new(&WORLD.gateway.key.clone().into(), &WORLD.gateway.certificate).expect("a signer");
    let mut fields = signer.sign(fields);
    let certificate = fields.remove("signPubKeyCert").expect("a certificate");
    let body = fields.iter().map(|(name, value)| format!("{name}={value}&")).collect::<String>();
    let answer = |end: &str| Answer {
        status: 200,
        headers: Vec::new(),
        body: format!("{body}signPubKeyCert={certificate}{end}").into_bytes(),
    };
    assert!(matches!(found(&answer("")), Finding::Paid { .. }));
    assert_unknown(&answer("\r\n"), "does not verify");
}

/// The row of the certainly dead table, as far as answers go: a failure or "not found" that only time makes certain.
#[test]
fn dead_is_only_what_time_ends_so_that_a_failure_is_pending_and_34_is_unheard_of() {
    assert!(adapter().close(&attempt(), &stamp()).is_none(), "there is no close");
    for code in ["05", "64"] {
        assert_eq!(found(&answer(with(paid(), &[("origRespCode", code)]))), Finding::Pending, "{code}");
    }
    assert_eq!(found(&answer(with(paid(), &[("respCode", "34"), ("origRespCode", "")]))), Finding::NotExist);
    for (respcode, code) in [("00", "12"), ("00", "42"), ("01", "01")] {
        let answer = answer(with(paid(), &[("respCode", respcode), ("origRespCode", code)]));
        assert!(matches!(found(&answer), Finding::Unknown { .. }), "{respcode} {code}");
    }
}
