use super::*;
use crate::channels::RefundNotice;

fn fields() -> Vec<(&'static str, String)> {
    [
        ("notify_id", "2026010100222100000000000000000001"),
        ("notify_time", "2026-01-01 10:00:05"),
        ("notify_type", "trade_status_sync"),
        ("app_id", APP_ID),
        ("auth_app_id", APP_ID),
        ("seller_id", SELLER_ID),
        ("out_trade_no", "0000000000000000000000008000"),
        ("trade_no", "2026010122001"),
        ("trade_status", "TRADE_SUCCESS"),
        ("total_amount", "200.60"),
        ("gmt_payment", "2026-01-01 10:00:04"),
        ("subject", "Tea + cake, 100%"),
        ("fund_bill_list", r#"[{"amount":"200.60","fundChannel":"ALIPAYACCOUNT"}]"#),
        ("empty", ""),
        ("charset", "utf-8"),
        ("version", "1.0"),
        ("sign_type", "RSA2"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}

fn with(name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    let mut fields = fields();
    fields.retain(|(known, _)| *known != name);
    fields.push((name, value.to_owned()));
    fields
}

fn without(name: &str) -> Vec<(&'static str, String)> {
    fields().into_iter().filter(|(known, _)| *known != name).collect()
}

/// The text that Alipay signs, made here by hand: sorted, joined, not encoded.
fn text(fields: &[(&str, String)], left_out: &[&str]) -> String {
    let mut kept: Vec<_> = fields.iter().filter(|(name, _)| !left_out.contains(name)).collect();
    kept.sort();
    kept.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn form(fields: &[(&str, String)], sign: &str) -> String {
    let pairs = fields.iter().map(|(name, value)| (*name, value.as_str())).chain([("sign", sign)]);
    wire::encoded(pairs)
}

fn sent(fields: &[(&str, String)]) -> String {
    form(fields, &theirs().sign(&text(fields, &["sign_type"])))
}

fn heard_at(body: &str, now: Instant) -> Result<Heard, CallbackError> {
    alipay().callback(&Received { headers: &[], body: body.as_bytes() }, now)
}

fn heard(body: &str) -> Result<Heard, CallbackError> {
    heard_at(body, NOW.plus_ms(6_000))
}

fn capture() -> Heard {
    Heard::Capture(super::super::super::Notice {
        number: "0000000000000000000000008000".into(),
        reference: "2026010122001".into(),
        amount_minor: 20060,
        currency: "CNY".into(),
        dated: Dated::at(NOW.plus_ms(4_000)),
    })
}

#[test]
fn a_payment_is_heard() {
    assert_eq!(heard(&sent(&fields())), Ok(capture()));
    assert_eq!(heard(&sent(&with("trade_status", "TRADE_FINISHED"))), Ok(capture()));
    // Fields in another order are the same notification.
    let mut turned = fields();
    turned.reverse();
    assert_eq!(heard(&sent(&turned)), Ok(capture()));
}

#[test]
fn trap_03_sign_type_is_not_signed_but_for_messages_with_a_method() {
    let fields = fields();
    let kept = form(&fields, &theirs().sign(&text(&fields, &[])));
    assert_eq!(heard(&kept), Err(CallbackError::Forged));
    let message = with("method", "alipay.open.servicemarket.order.notify");
    assert_eq!(heard(&sent(&message)), Err(CallbackError::Forged));
    let mut message = message;
    message.retain(|(name, _)| *name != "notify_type");
    let kept = form(&message, &theirs().sign(&text(&message, &[])));
    assert_eq!(heard(&kept), Ok(Heard::Nothing));
}

#[test]
fn empty_values_are_signed_or_left_out() {
    let fields = fields();
    let dropped = form(&fields, &theirs().sign(&text(&fields, &["sign_type", "empty"])));
    assert_eq!(heard(&dropped), Ok(capture()));
}

#[test]
fn trap_04_a_plus_is_a_blank_before_decoding_and_itself_after() {
    let body = sent(&fields());
    assert!(body.contains("subject=Tea+%2B+cake%2C+100%25"), "{body}");
    assert_eq!(heard(&body.replace("Tea+%2B+cake", "Tea%20%2B%20cake")), Ok(capture()));
    assert_eq!(heard(&body.replace("Tea+%2B+cake", "Tea+++cake")), Err(CallbackError::Forged));
    assert_eq!(heard(&body.replace("100%25", "100%2525")), Err(CallbackError::Forged));
}

#[test]
fn what_is_forged_is_not_heard() {
    let (fields, body) = (fields(), sent(&fields()));
    assert_eq!(heard(&form(&fields, &app().sign(&text(&fields, &["sign_type"])))), Err(CallbackError::Forged));
    assert_eq!(heard(&body.replace("200.60&", "200.61&")), Err(CallbackError::Forged));
    assert_eq!(heard(&format!("{body}&extra=1")), Err(CallbackError::Forged));
    let plain: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(heard(&wire::encoded(plain)), Err(CallbackError::Forged));
    for wrong in ["", "!", "QUJD"] {
        assert_eq!(heard(&form(&fields, wrong)), Err(CallbackError::Forged));
    }
    assert_eq!(heard(&sent(&with("sign_type", "RSA"))), Err(CallbackError::Forged));
}

#[test]
fn trap_09_what_is_malformed_is_not_heard() {
    let body = sent(&fields());
    for wrong in [
        String::new(),
        "x".repeat(300_000),
        body[..body.len() / 2].replace('=', ""),
        format!("{body}&total_amount=200.60"),
        format!("{body}&%74otal_amount=200.60"),
        body.replace("Tea", "%B2%E8"),
        body.replace("Tea", "%zz"),
    ] {
        assert_eq!(heard(&wrong), Err(CallbackError::Unreadable), "{}", &wrong[..wrong.len().min(60)]);
    }
}

#[test]
fn another_merchants_payment_is_not_heard() {
    for fields in [
        with("app_id", "2021000000000002"),
        with("seller_id", "2088000000000002"),
        without("app_id"),
        without("seller_id"),
    ] {
        assert_eq!(heard(&sent(&fields)), Err(CallbackError::Unreadable));
    }
}

#[test]
fn a_payment_without_its_facts_is_not_heard() {
    for fields in [
        without("total_amount"),
        without("trade_no"),
        without("out_trade_no"),
        without("trade_status"),
        without("notify_time"),
        with("total_amount", "0.00"),
        with("total_amount", "1e2"),
        with("total_amount", "-200.60"),
        with("total_amount", "200.601"),
        with("trade_no", &"2".repeat(256)),
        with("out_trade_no", &"2".repeat(256)),
        with("trade_status", "TRADE_SOMETHING"),
        with("notify_time", "yesterday"),
    ] {
        assert_eq!(heard(&sent(&fields)), Err(CallbackError::Unreadable), "{fields:?}");
    }
}

#[test]
fn trap_08_a_close_undoes_nothing() {
    for status in ["TRADE_CLOSED", "WAIT_BUYER_PAY"] {
        assert_eq!(heard(&sent(&with("trade_status", status))), Ok(Heard::Nothing));
    }
}

#[test]
fn a_refund_is_heard_by_its_number_and_takes_no_payment_along() {
    let refund = |number: &str, status: &str| {
        let mut refunded = with("trade_status", status);
        refunded.extend([
            ("refund_fee", "0.60".to_owned()),
            ("gmt_refund", "2026-01-01 10:00:04.107".to_owned()),
            ("out_biz_no", number.to_owned()),
        ]);
        heard(&sent(&refunded))
    };
    let told = |number: &str| Ok(Heard::Refund(RefundNotice { number: number.into(), word: None }));
    let ours = refund_ask().refund_number;
    for status in ["TRADE_SUCCESS", "TRADE_FINISHED", "TRADE_CLOSED"] {
        assert_eq!(refund(&ours, status), told(&ours), "{status}");
    }
    // Somebody refunded at Alipay's console: the payment may be news, and what it was closed by has a name.
    assert_eq!(refund("2026010110000001", "TRADE_SUCCESS"), Ok(capture()));
    assert_eq!(refund("2026010110000001", "TRADE_CLOSED"), told("2026010110000001"));
    let another = ours.replacen('8', "7", 1);
    assert_eq!(refund(&another, "TRADE_SUCCESS"), Ok(capture()), "a refund of another payment");
    // No number, or none that is kept.
    assert_eq!(refund("", "TRADE_SUCCESS"), Ok(capture()));
    assert_eq!(refund("", "TRADE_CLOSED"), Ok(Heard::Nothing));
    assert_eq!(refund(&"2".repeat(256), "TRADE_CLOSED"), Err(CallbackError::Unreadable));
    assert_eq!(refund(&ours, "TRADE_SOMETHING"), Err(CallbackError::Unreadable));
    // A number beside a payment that nothing was given back of.
    assert_eq!(heard(&sent(&with("out_biz_no", &ours))), Ok(capture()));
    let mut forged = sent(&with("trade_status", "TRADE_CLOSED"));
    forged.push_str(&format!("&refund_fee=0.60&out_biz_no={ours}"));
    assert_eq!(heard(&forged), Err(CallbackError::Forged));
}

#[test]
fn when_it_was_paid_is_told_as_far_as_it_can_be_read() {
    for unreadable in ["", "2026-01-01 10:00", "2026-13-01 10:00:04", "now"] {
        let Ok(Heard::Capture(notice)) = heard(&sent(&with("gmt_payment", unreadable))) else { panic!("{unreadable}") };
        assert_eq!(notice.dated, Dated::NOT_TOLD, "{unreadable}");
    }
}

#[test]
fn a_stale_notification_is_not_heard() {
    let body = sent(&fields());
    let day = 24 * 60 * 60 * 1_000;
    assert_eq!(heard_at(&body, NOW.plus_ms(day + day / 24)), Ok(capture()));
    assert_eq!(heard_at(&body, NOW.plus_ms(2 * day + 60_000)), Err(CallbackError::Stale));
    assert_eq!(heard_at(&body, NOW.plus_ms(-3_600_000)), Err(CallbackError::Stale));
}

/// A true notification of 2019 and the key that verifies it, as Alipay's Node SDK publishes them for its own tests
/// (`alipay-sdk-nodejs-all`, `test/alipay.test.ts`, `checkNotifySign`, "with sign_type arguments verify success").
#[test]
fn a_true_notification_is_heard() {
    let key = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAqObrdC7hrgAVM98tK0nv3hSQRGGKT4lBsQjHiGjeYZjOPIPHR5knm2jnnz/YGI\
               XIofVHkA/tAlBAd5DrY7YpvI4tP5EONLtZKC2ghBMx7McI2wRD0xiqzxOQr1FuhZGJ8/AUokBzJrzY+aGX2xcOrxFYRlFilvVLTXg4LWjR\
               1tdPkO6+i7wQZAIVMClPkwVRZEbaERRHlKqTzv2gGv5rDU8gRoe1LeaN+6BlbTqHWkQcNCUNrA8C6l17XAXGKDsm/9TFWwO8EPHHHCaQdj\
               tV5/FdcWIt+L8SR1ss7EXTjYDFtxcKVv9rEoY1lX8T4mX+GbXfZHraG5NCF1+XioL5JwIDAQAB";
    let sign = "QfTb8tqE1BMhS5qAnXtvsF3/jBkEvu9q9en0pdbBUDDjvKycZhQb7h8GDs4FKfi049PynaNuatxSgLb/nLWZpXyyh0LEWdK2S6Ri7nPwrV\
                gOs08zugLO20vOQz44y3ti2Ncm8/wZts1Fr2gZ7pShnVX3d1B50hbsXnObT1r/U8ONNQjWXd0HIul4TG+Q3fm3svmSvFEy0WnzuhcyHPX5G\
                m4ELNctL6Qd5YniGJFNcc7kopHYtI/XD9YCKCH6Ct02rzUs9i11C9CsadtZn+WhxF26Dqt9sGEFajkJ8cxUTLi8+VCpLHsgPE8P0y095uQc\
                DdK0YjCh4x7wVSov+lrmOQ==";
    let fields = [
        ("gmt_create", "2019-08-15 15:56:22"),
        ("charset", "utf-8"),
        ("seller_email", "z97-yuquerevenue@service.aliyun.com"),
        ("subject", "语雀空间 500人规模"),
        ("buyer_id", "2088102534368455"),
        ("invoice_amount", "0.10"),
        ("notify_id", "2019081500222155624068450559358070"),
        ("fund_bill_list", r#"[{"amount":"0.10","fundChannel":"ALIPAYACCOUNT"}]"#),
        ("notify_type", "trade_status_sync"),
        ("trade_status", "TRADE_SUCCESS"),
        ("receipt_amount", "0.10"),
        ("buyer_pay_amount", "0.10"),
        ("sign_type", "RSA2"),
        ("app_id", "2019073166072302"),
        ("seller_id", "2088531891668739"),
        ("gmt_payment", "2019-08-15 15:56:24"),
        ("notify_time", "2019-08-15 15:56:25"),
        ("version", "1.0"),
        ("out_trade_no", "20190815155618536-564-57"),
        ("total_amount", "0.10"),
        ("trade_no", "2019081522001468450512505578"),
        ("auth_app_id", "2019073166072302"),
        ("buyer_logon_id", "xud***@126.com"),
        ("point_amount", "0.00"),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let credentials = Credentials {
        app_id: "2019073166072302".into(),
        seller_id: Some("2088531891668739".into()),
        ..credentials(Trust::PublicKey { pem: key.into() })
    };
    let alipay = Alipay::new(account(), "https://x.example", credentials).unwrap();
    let body = form(&fields, sign);
    let now = Instant::parse_rfc3339("2019-08-15T15:56:26+08:00").unwrap();
    let Ok(Heard::Capture(notice)) = alipay.callback(&Received { headers: &[], body: body.as_bytes() }, now) else {
        panic!("a true notification")
    };
    assert_eq!((notice.number.as_str(), notice.amount_minor), ("20190815155618536-564-57", 10));
    assert_eq!(notice.reference, "2019081522001468450512505578");
    assert_eq!(notice.dated.effective_at, Instant::parse_rfc3339("2019-08-15T15:56:24+08:00"));
}

#[test]
fn it_is_acknowledged_by_the_very_word() {
    let acknowledgement = alipay().acknowledgement();
    assert_eq!((acknowledgement.status, acknowledgement.body), (200, "success"));
}
