use super::*;

fn notification() -> Fields {
    fields(&[
        ("accNo", "ORRSXWY1kMr8+4soyAtiqB9Xw=="),
        ("bizType", "000201"),
        ("currencyCode", "156"),
        ("encoding", "UTF-8"),
        ("merId", MER_ID),
        ("orderId", &number().to_string()),
        ("queryId", "782209081322060674028"),
        ("respCode", "00"),
        ("respMsg", "success"),
        ("settleAmt", "20060"),
        ("settleDate", "0921"),
        ("signMethod", "01"),
        ("traceTime", "0921221325"),
        ("txnAmt", "20060"),
        ("txnSubType", "01"),
        ("txnTime", "20260921221320"),
        ("txnType", "01"),
        ("version", "5.1.0"),
    ])
}

fn heard(body: &[u8]) -> Result<Heard, CallbackError> {
    adapter().callback(&Received { headers: &[], body }, stamp().at)
}

fn heard_of(changes: &[(&str, &str)]) -> Result<Heard, CallbackError> {
    heard(&message::write_form(&signed_by(&WORLD.gateway, with(notification(), changes))))
}

fn capture(amount_minor: i64, currency: &str) -> Result<Heard, CallbackError> {
    Ok(Heard::Capture(Notice {
        number: number().to_string(),
        reference: "782209081322060674028".into(),
        amount_minor,
        currency: currency.into(),
        dated: Dated {
            effective_at: Instant::parse_rfc3339("2026-09-21T22:13:25+08:00"),
            bill_day: crate::domain::dated::Day::new(2026, 9, 21),
        },
    }))
}

#[test]
fn a_purchase_that_was_paid_is_a_capture() {
    assert_eq!(heard_of(&[]), capture(20_060, "CNY"));
    assert_eq!(heard_of(&[("respCode", "A6")]), capture(20_060, "CNY"));
    assert_eq!(heard_of(&[("txnAmt", "20059")]), capture(20_059, "CNY"), "the order judges the amount");
    assert_eq!(heard_of(&[("currencyCode", "840")]), capture(20_060, "840"), "and the currency");
}

#[test]
fn trap_08_other_movements_are_no_captures() {
    assert_eq!(heard_of(&[("txnType", "31")]), Ok(Heard::Nothing));
    assert_eq!(heard_of(&[("respCode", "05")]), Ok(Heard::Nothing));
    assert_eq!(heard_of(&[("respCode", "64")]), Ok(Heard::Nothing));
}

/// Back-end trades are told of whether they were carried out or not, and no notification of UnionPay's is proof.
#[test]
fn a_refund_is_heard_by_its_number_whatever_became_of_it() {
    let number = refund_ask().refund_number;
    let refund = |changes: &[(&str, &str)]| {
        let of_refund = [("txnType", "04"), ("txnSubType", "00"), ("orderId", number.as_str())];
        heard(&message::write_form(&signed_by(&WORLD.gateway, with(with(notification(), &of_refund), changes))))
    };
    let told = |number: &str| Ok(Heard::Refund(RefundNotice { number: number.into(), word: None }));
    for code in ["00", "A6", "01", "05", "38", "xyz"] {
        assert_eq!(refund(&[("respCode", code)]), told(&number), "{code}");
    }
    assert_eq!(refund(&[("orderId", "refundpay20240105165842")]), told("refundpay20240105165842"), "not ours");
    assert_eq!(refund(&[("orderId", "")]), Err(CallbackError::Unreadable));
    assert_eq!(refund(&[("orderId", &"A".repeat(256))]), Err(CallbackError::Unreadable));
    assert_eq!(refund(&[("merId", "777290058110048")]), Err(CallbackError::Unreadable));
}

#[test]
fn a_notification_of_another_merchant_is_believed_and_of_no_use() {
    assert_eq!(heard_of(&[("merId", "777290058110048")]), Err(CallbackError::Unreadable));
    for missing in ["queryId", "orderId", "txnAmt", "currencyCode"] {
        assert_eq!(heard_of(&[(missing, "")]), Err(CallbackError::Unreadable), "{missing}");
    }
    assert_eq!(heard_of(&[("orderId", &"A".repeat(256))]), Err(CallbackError::Unreadable));
}

#[test]
fn a_forged_notification_is_not_believed() {
    let signed = signed_by(&WORLD.gateway, notification());
    let forged = [
        with(signed.clone(), &[("txnAmt", "20061")]),
        with(signed.clone(), &[("signature", "")]),
        with(signed.clone(), &[("signPubKeyCert", "")]),
        with(signed.clone(), &[("traceTime", "")]),
        with(signed.clone(), &[("added", "1")]),
        signed_by(&WORLD.neighbour, notification()),
        signed_by(&WORLD.former, notification()),
        signed_by(&WORLD.merchant, notification()),
        with(signed.clone(), &[("signMethod", "11")]),
    ];
    for fields in forged {
        assert_eq!(heard(&message::write_form(&fields)), Err(CallbackError::Forged));
    }
    let body = message::write_form(&signed);
    assert_eq!(heard(&body[..body.len() / 2]), Err(CallbackError::Forged), "truncated");
    assert_eq!(heard(&[]), Err(CallbackError::Forged));
    assert_eq!(heard(b"\xb3\xc9=%B3%C9"), Err(CallbackError::Forged), "GBK");
}

#[test]
fn trap_09_a_field_that_comes_twice_spoils_a_notification() {
    let mut body = message::write_form(&signed_by(&WORLD.gateway, notification()));
    body.extend_from_slice(b"&txnAmt=20060");
    assert_eq!(heard(&body), Err(CallbackError::Unreadable));
    assert_eq!(heard(&vec![b'a'; 1 << 20]), Err(CallbackError::Unreadable), "huge");
}

#[test]
fn a_notification_may_come_in_any_order_and_with_empty_fields() {
    let signed = signed_by(&WORLD.gateway, notification());
    let mut pairs: Vec<_> = signed.iter().rev().collect();
    let (name, nothing) = ("reqReserved".to_owned(), String::new());
    pairs.insert(3, (&name, &nothing));
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    assert_eq!(heard(body.as_bytes()), capture(20_060, "CNY"));
}
