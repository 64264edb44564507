//! Notifications.

use super::*;
use crate::channels::reversed::reversed;
use crate::channels::{CallbackError, Heard, NextAction, Notice, Reading};
use crate::domain::event::Finding;

pub(super) fn envelope(event_type: &str, resource: Value) -> Value {
    json!({
        "id": "EV-2018022511223320873", "create_time": "2026-09-21T22:13:02+08:00", "resource_type": "encrypt-resource",
        "event_type": event_type, "summary": "支付成功", "resource": resource,
    })
}

fn paid(transaction: &Value) -> Vec<u8> {
    let resource = sealed(transaction.to_string().as_bytes(), "transaction");
    envelope("TRANSACTION.SUCCESS", resource).to_string().into_bytes()
}

pub(super) fn heard(headers: &[(String, String)], body: &[u8]) -> Result<Heard, CallbackError> {
    wechat().callback(&Received { headers, body }, NOW)
}

pub(super) fn hear(body: &[u8]) -> Result<Heard, CallbackError> {
    heard(&far().headers(body), body)
}

fn capture() -> Heard {
    Heard::Capture(Notice {
        number: attempt().number.to_string(),
        reference: REFERENCE.into(),
        amount_minor: 20_060,
        currency: "CNY".into(),
        dated: paid_at(),
    })
}

#[test]
fn a_payment_is_heard_and_acknowledged_without_a_body() {
    assert_eq!(hear(&paid(&transaction())), Ok(capture()));
    let acknowledgement = wechat().acknowledgement();
    assert_eq!((acknowledgement.status, acknowledgement.body), (204, ""));
}

#[test]
fn the_order_of_a_notifications_fields_does_not_matter() {
    let transaction = transaction();
    let inner = reversed(&transaction);
    assert_ne!(inner, transaction.to_string());
    let body = envelope("TRANSACTION.SUCCESS", sealed(inner.as_bytes(), "transaction"));
    assert_ne!(reversed(&body), body.to_string());
    assert_eq!(hear(reversed(&body).as_bytes()), Ok(capture()));
}

#[test]
fn trap_02_a_notification_is_verified_over_the_bytes_that_came() {
    let text = String::from_utf8(paid(&transaction())).unwrap();
    let spaced = text.replace("\":", "\" :\r\n\t").replace('/', "\\/");
    assert_eq!(hear(spaced.as_bytes()), Ok(capture()));
    let headers = far().headers(text.as_bytes());
    assert_eq!(heard(&headers, spaced.as_bytes()), Err(CallbackError::Forged));
    assert_eq!(heard(&headers, &text.as_bytes()[..text.len() - 1]), Err(CallbackError::Forged));
}

#[test]
fn a_notification_of_somebody_else_or_of_another_time_is_refused() {
    let body = paid(&transaction());
    let stranger = Far { key: &STRANGER, ..far() };
    let other = Far { serial: "PUB_KEY_ID_9", ..far() };
    let stale = Far { at: NOW.plus_ms(-300_000), ..far() };
    assert_eq!(heard(&stranger.headers(&body), &body), Err(CallbackError::Forged));
    assert_eq!(heard(&other.headers(&body), &body), Err(CallbackError::Forged));
    assert_eq!(heard(&stale.headers(&body), &body), Err(CallbackError::Stale));
    assert_eq!(heard(&[], &body), Err(CallbackError::Forged));
    let mut probe = far().headers(&body);
    probe.retain(|(name, _)| name != "Wechatpay-Signature");
    probe.push(("Wechatpay-Signature".into(), "WECHATPAY/SIGNTEST/c2lnbmF0dXJl".into()));
    assert_eq!(heard(&probe, &body), Err(CallbackError::Forged));
}

#[test]
fn trap_07_associated_data_may_be_empty_or_absent_and_the_nonce_is_text() {
    let text = transaction().to_string();
    let empty = sealed(text.as_bytes(), "");
    assert_eq!(hear(envelope("TRANSACTION.SUCCESS", empty.clone()).to_string().as_bytes()), Ok(capture()));
    let mut absent = empty.clone();
    absent.as_object_mut().unwrap().remove("associated_data");
    assert_eq!(hear(envelope("TRANSACTION.SUCCESS", absent).to_string().as_bytes()), Ok(capture()));
    for (path, value) in [
        ("associated_data", json!("transaction")),
        ("nonce", json!(STANDARD.encode("fdasflkja484"))),
        ("nonce", json!("")),
        ("algorithm", json!("AEAD_SM4_GCM")),
        ("ciphertext", json!("AAAA")),
        ("ciphertext", json!("not base64")),
    ] {
        let resource = changed(empty.clone(), path, value);
        let heard = hear(envelope("TRANSACTION.SUCCESS", resource).to_string().as_bytes());
        assert_eq!(heard, Err(CallbackError::Unreadable), "{path}");
    }
}

/// A payment that was refunded since is told as REFUND, and was a success all the same.
#[test]
fn trap_08_a_refund_undoes_no_success() {
    assert_eq!(hear(&paid(&changed(transaction(), "trade_state", json!("REFUND")))), Ok(capture()));
}

#[test]
fn a_well_signed_notification_that_says_something_else_is_unreadable() {
    for (path, value) in [
        ("mchid", json!("1900000002")),
        ("appid", json!("wx0000000000000000")),
        ("trade_state", json!("NOTPAY")),
        ("trade_state", json!("CLOSED")),
        ("transaction_id", json!("")),
        ("amount.total", json!(0)),
        ("amount.total", json!("20060")),
        ("amount", Value::Null),
    ] {
        assert_eq!(hear(&paid(&changed(transaction(), path, value))), Err(CallbackError::Unreadable), "{path}");
    }
    let resource = sealed(transaction().to_string().as_bytes(), "transaction");
    let another = envelope("PAYSCORE.USER_PAID", resource.clone()).to_string();
    assert_eq!(hear(another.as_bytes()), Err(CallbackError::Unreadable));
    let plain = changed(envelope("TRANSACTION.SUCCESS", resource), "resource_type", json!("plain"));
    assert_eq!(hear(plain.to_string().as_bytes()), Err(CallbackError::Unreadable));
    for body in ["", "[]", "{}", "<xml><return_code>SUCCESS</return_code></xml>"] {
        assert_eq!(hear(body.as_bytes()), Err(CallbackError::Unreadable), "{body}");
    }
}

#[test]
fn trap_09_repeated_keys_exponents_and_huge_bodies_are_refused() {
    let text = transaction().to_string();
    for text in [
        text.replacen('{', r#"{"out_trade_no":"01","#, 1),
        text.replacen(r#""total""#, r#""total":1,"total""#, 1),
        text.replace("20060", "2006e1"),
    ] {
        let body = envelope("TRANSACTION.SUCCESS", sealed(text.as_bytes(), "transaction")).to_string();
        assert_eq!(hear(body.as_bytes()), Err(CallbackError::Unreadable), "{text}");
    }
    let mut huge = paid(&transaction());
    huge.resize(65 * 1024, b' ');
    assert_eq!(hear(&huge), Err(CallbackError::Unreadable));
}

#[test]
fn report_each_method_has_the_appid_of_its_own_software() {
    const OF_APP: &str = "wx8888888888888888";
    let appids = || BTreeMap::from([(Method::App, OF_APP.to_owned())]);
    let wechat = adapter(Credentials { appids: appids(), ..credentials() });
    for (method, appid) in [(Method::App, OF_APP), (Method::Jsapi, APPID), (Method::Native, APPID), (Method::H5, APPID)]
    {
        let frozen = wechat.complete(&wechat.freeze(&ask(method)), &PAYER).unwrap().into_owned();
        let Submission::Call(outgoing) = wechat.submit(&frozen, &stamp()) else { panic!("it is sent") };
        let body: Value = serde_json::from_slice(&outgoing.body).unwrap();
        assert_eq!(body["appid"], appid, "{method:?}");
        // What the payer's software is told has the appid of the request, whatever is configured by then.
        let later = adapter(Credentials { appid: "wx9".into(), ..credentials() });
        let answer = far().answer(200, json!({ "prepay_id": "wx201410272009395522657a690389285100" }));
        match later.read_submit(&frozen, &stamp(), &answer).next_action {
            Some(NextAction::Client { parameters, .. }) => {
                let told = parameters.get("appId").or(parameters.get("appid"));
                assert_eq!(told.map(String::as_str), Some(appid), "{method:?}");
            }
            other => assert!(other.is_none() && !matches!(method, Method::App | Method::Jsapi), "{method:?}"),
        }
    }
    for (appid, is_ours) in [(APPID, true), (OF_APP, true), ("wx0000000000000000", false)] {
        let told = changed(transaction(), "appid", json!(appid));
        let found = wechat.read_query(&attempt(), &stamp(), &far().answer(200, &told));
        assert_eq!(matches!(found, Reading::Told(Finding::Paid { .. })), is_ours, "{appid}");
        let body = paid(&told);
        let received = Received { headers: &far().headers(&body), body: &body };
        assert_eq!(wechat.callback(&received, NOW).is_ok(), is_ours, "{appid}");
    }
    let malformed = Credentials { appids: BTreeMap::from([(Method::H5, "wx 1".to_owned())]), ..credentials() };
    let refused = Wechat::new("default", BASE_URL, malformed).err().unwrap();
    assert!(refused.contains("appids must be 1 to 32"), "{refused}");
}
