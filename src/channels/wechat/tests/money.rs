//! Requests, and what their answers come to.

use super::*;
use crate::channels::{NextAction, Outgoing, Reading, Submitted, Verb};
use crate::domain::event::{CloseAnswer, Fault, Finding, SendOutcome};

fn sent(submission: Submission) -> Outgoing {
    match submission {
        Submission::Call(outgoing) => outgoing,
        Submission::Carried(submitted) => panic!("no call: {submitted:?}"),
    }
}

pub(super) fn body(outgoing: &Outgoing) -> Value {
    serde_json::from_slice(&outgoing.body).unwrap()
}

fn found(answer: &Answer) -> Finding {
    match wechat().read_query(&attempt(), &stamp(), answer) {
        Reading::Told(finding) => finding,
        Reading::Ask(_) => panic!("a query is one request"),
    }
}

fn closed(answer: &Answer) -> CloseAnswer {
    match wechat().read_close(&attempt(), &stamp(), answer) {
        Reading::Told(answer) => answer,
        Reading::Ask(_) => panic!("a close is one request"),
    }
}

fn read(method: Method, answer: &Answer) -> Submitted {
    let wechat = wechat();
    let frozen = wechat.freeze(&ask(method));
    wechat.read_submit(&frozen, &stamp(), answer)
}

fn is_unknown(outcome: &SendOutcome) -> bool {
    matches!(outcome, SendOutcome::Unknown { .. })
}

#[test]
fn each_product_asks_at_its_path_with_its_fields() {
    let wechat = wechat();
    for (method, path) in
        [(Method::Native, "native"), (Method::Jsapi, "jsapi"), (Method::H5, "h5"), (Method::App, "app")]
    {
        let frozen = wechat.freeze(&ask(method));
        assert!(!["oUpF8u", "192.0.2.7"].iter().any(|personal| frozen.contains(personal)), "{frozen}");
        let outgoing = sent(wechat.submit(&wechat.complete(&frozen, &PAYER).unwrap(), &stamp()));
        assert_eq!(outgoing.url, format!("{BASE_URL}/v3/pay/transactions/{path}"));
        assert_eq!(outgoing.verb, Verb::Post);
        let mut expected = json!({
            "appid": APPID, "mchid": MCHID, "description": "茶 \"Tea\"", "out_trade_no": attempt().number.to_string(),
            "time_expire": "2026-09-22T00:13:20+08:00", "notify_url": "https://m.example/v1/callbacks/wechat",
            "amount": {"total": 20_060, "currency": "CNY"},
        });
        match method {
            Method::Jsapi => expected["payer"] = json!({"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}),
            Method::H5 => {
                expected["scene_info"] = json!({"payer_client_ip": "192.0.2.7", "h5_info": {"type": "Wap"}});
            }
            Method::Native | Method::App | Method::Qr | Method::Page | Method::Wap | Method::Card => {}
        }
        assert_eq!(body(&outgoing), expected, "{path}");
        let header = |name| outgoing.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        assert_eq!(header("wechatpay-serial"), Some(PUBLIC_KEY_ID));
        assert_eq!(header("accept"), Some("application/json"));
        assert_eq!(header("content-type"), Some("application/json"));
    }
}

#[test]
fn a_method_that_lacks_what_it_needs_is_refused_before_anything_is_sent() {
    let wechat = wechat();
    let usd = Currency::parse("USD").unwrap();
    let nobody = Payer::default();
    for (ask, code) in [
        (Ask { payer: &nobody, ..ask(Method::Jsapi) }, "openid_missing"),
        (Ask { payer: &nobody, ..ask(Method::H5) }, "payer_ip_missing"),
        (ask(Method::Card), "method_unsupported"),
        (Ask { currency: usd, ..ask(Method::Native) }, "currency_unsupported"),
    ] {
        let outcome = SendOutcome::Impossible { code: code.into() };
        let expected = Submission::Carried(Submitted { outcome, next_action: None });
        let frozen = wechat.freeze(&ask);
        assert_eq!(wechat.submit(&wechat.complete(&frozen, ask.payer).unwrap(), &stamp()), expected);
    }
    let Submission::Carried(submitted) = wechat.submit("{}", &stamp()) else { panic!("nothing can be sent") };
    assert!(matches!(submitted.outcome, SendOutcome::HeldBack { .. }));
}

/// The fields that tell of the payer follow all others, as in the documents' examples.
#[test]
fn what_is_told_of_the_payer_is_put_in_with_each_send_while_it_is_known() {
    let wechat = wechat();
    for (method, personal) in [
        (Method::Jsapi, r#","payer":{"openid":"oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}}"#),
        (Method::H5, r#","scene_info":{"payer_client_ip":"192.0.2.7","h5_info":{"type":"Wap"}}}"#),
    ] {
        let frozen = wechat.freeze(&ask(method));
        let outgoing = sent(wechat.submit(&wechat.complete(&frozen, &PAYER).unwrap(), &stamp()));
        assert!(outgoing.body.ends_with(personal.as_bytes()), "{}", String::from_utf8_lossy(&outgoing.body));
        let without = sent(wechat.submit(&frozen, &stamp()));
        assert_eq!(outgoing.body.len(), without.body.len() + personal.len() - 1, "nothing else differs");
        assert_eq!(wechat.complete(&frozen, &Payer::default()), None, "the payer was erased");
    }
    for method in [Method::Native, Method::App] {
        let frozen = wechat.freeze(&ask(method));
        assert_eq!(wechat.complete(&frozen, &Payer::default()).as_deref(), Some(&*frozen));
    }
}

#[test]
fn trap_11_a_repeat_is_the_first_request_byte_for_byte_and_signed_anew() {
    let wechat = wechat();
    let frozen = wechat.freeze(&ask(Method::H5));
    let frozen = wechat.complete(&frozen, &PAYER).unwrap();
    let first = sent(wechat.submit(&frozen, &stamp()));
    let later = Stamp { at: NOW.plus_ms(61_000), nonce: "ABCDEFGHIJKLMNOPABCDEFGHIJKLMNOP".into() };
    let again = sent(wechat.submit(&frozen, &later));
    assert_eq!((&first.body, &first.url), (&again.body, &again.url));
    assert_ne!(first.headers, again.headers);
    let used = read(Method::Native, &failure(403, "OUT_TRADE_NO_USED"));
    assert_eq!(used.outcome, SendOutcome::Rejected { fault: Fault::Payment, code: "OUT_TRADE_NO_USED".into() });
}

#[test]
fn each_product_shows_the_payer_its_own_way() {
    let accepted = SendOutcome::Accepted { reference: None };
    let native = read(Method::Native, &far().answer(200, json!({"code_url": "weixin://wxpay/bizpayurl?pr=1"})));
    let two_hours = NOW.plus_ms(7_200_000);
    let qr_code = NextAction::QrCode { qr_code: "weixin://wxpay/bizpayurl?pr=1".into(), expires_at: two_hours };
    assert_eq!(native, Submitted { outcome: accepted.clone(), next_action: Some(qr_code) });

    let h5 = read(Method::H5, &far().answer(200, json!({"h5_url": "https://wx.tenpay.com/checkmweb?prepay_id=wx1"})));
    let url = "https://wx.tenpay.com/checkmweb?prepay_id=wx1&redirect_url=https%3A%2F%2Fshop.example%2Fthanks%3Fa%3D1%26b%3D2";
    let page = NextAction::Redirect { url: url.into(), expires_at: NOW.plus_ms(300_000) };
    assert_eq!(h5, Submitted { outcome: accepted.clone(), next_action: Some(page) });

    for (method, package) in [(Method::Jsapi, "prepay_id=wx1"), (Method::App, "Sign=WXPay")] {
        let read = read(method, &far().answer(200, json!({"prepay_id": "wx1"})));
        let Some(NextAction::Client { parameters, expires_at }) = read.next_action else { panic!("{method:?}") };
        assert_eq!(parameters["package"], package);
        assert_eq!((read.outcome, expires_at), (accepted.clone(), two_hours));
    }
}

#[test]
fn an_answer_without_what_the_product_needs_is_unknown() {
    for answer in [json!({}), json!({"prepay_id": "wx1"}), json!({"code_url": ""}), json!({"code_url": 7}), json!([])] {
        let read = read(Method::Native, &far().answer(200, answer));
        assert!(is_unknown(&read.outcome) && read.next_action.is_none());
    }
    for url in ["javascript:alert(1)", "/checkmweb", "https://wx.tenpay.com/ with blanks"] {
        assert!(is_unknown(&read(Method::H5, &far().answer(200, json!({"h5_url": url}))).outcome), "{url}");
    }
    let repeated = far().answer(200, r#"{"code_url":"weixin://a","code_url":"weixin://b"}"#);
    assert!(is_unknown(&read(Method::Native, &repeated).outcome));
}

#[test]
fn every_refusal_of_a_create_is_certain_or_unknown_as_its_code_says() {
    let rejected = |fault, code: &str| SendOutcome::Rejected { fault, code: code.into() };
    for (status, code, expected) in [
        (400, "PARAM_ERROR", rejected(Fault::Payment, "PARAM_ERROR")),
        (400, "INVALID_REQUEST", rejected(Fault::Payment, "INVALID_REQUEST")),
        (400, "ORDER_CLOSED", rejected(Fault::Payment, "ORDER_CLOSED")),
        (403, "RULE_LIMIT", rejected(Fault::Payment, "RULE_LIMIT")),
        (400, "APPID_MCHID_NOT_MATCH", rejected(Fault::Ours, "APPID_MCHID_NOT_MATCH")),
        (403, "NO_AUTH", rejected(Fault::Ours, "NO_AUTH")),
        (401, "SIGN_ERROR", rejected(Fault::Ours, "SIGN_ERROR")),
        (429, "FREQUENCY_LIMITED", SendOutcome::Later { why: "FREQUENCY_LIMITED".into() }),
        (500, "SYSTEM_ERROR", SendOutcome::Unknown { why: "SYSTEM_ERROR".into() }),
        (503, "SERVICE_UNAVAILABLE", SendOutcome::Unknown { why: "SERVICE_UNAVAILABLE".into() }),
        (403, "ORDERPAID", SendOutcome::Unknown { why: "ORDERPAID".into() }),
        (418, "TEAPOT", SendOutcome::Unknown { why: "TEAPOT".into() }),
    ] {
        assert_eq!(read(Method::Native, &failure(status, code)).outcome, expected, "{status} {code}");
    }
}

#[test]
fn trap_06_an_unsigned_401_or_404_is_read_and_an_unsigned_200_is_refused() {
    let rejected = SendOutcome::Rejected { fault: Fault::Ours, code: "401".into() };
    assert_eq!(read(Method::Native, &unsigned(401, "")).outcome, rejected);
    assert!(is_unknown(&read(Method::Native, &unsigned(404, "")).outcome));
    assert!(is_unknown(&read(Method::Native, &unsigned(405, "<html>")).outcome));
    assert!(is_unknown(&read(Method::Native, &unsigned(200, json!({"code_url": "weixin://a"}))).outcome));
    assert!(is_unknown(&read(Method::Native, &far().answer(202, json!({"code_url": "weixin://a"}))).outcome));
    assert!(is_unknown(&read(Method::Native, &far().answer(302, "")).outcome));
    assert_eq!(found(&failure(404, "ORDER_NOT_EXIST")), Finding::NotExist);
    assert!(matches!(found(&unsigned(200, transaction())), Finding::Unknown { .. }));
    assert!(matches!(closed(&unsigned(204, "")), CloseAnswer::Unknown { .. }));
}

#[test]
fn an_answer_is_believed_only_as_it_was_signed_and_while_it_is_fresh() {
    let good = far().answer(200, transaction());
    assert!(matches!(found(&good), Finding::Paid { .. }));
    let without = |name: &str| {
        let mut answer = good.clone();
        answer.headers.retain(|(known, _)| known != name);
        answer
    };
    let with = |name: &str, value: &str| {
        let mut answer = without(name);
        answer.headers.push((name.to_owned(), value.to_owned()));
        answer
    };
    let twice = |name: &str| {
        let mut answer = good.clone();
        let value = answer.header(name).unwrap().to_owned();
        answer.headers.push((name.to_owned(), value));
        answer
    };
    let mut respelled = good.clone();
    respelled.body = serde_json::to_vec_pretty(&transaction()).unwrap();
    let mut truncated = good.clone();
    truncated.body.pop();
    let late = Far { at: NOW.plus_ms(-300_000), ..far() };
    let early = Far { at: NOW.plus_ms(301_000), ..far() };
    let stranger = Far { key: &STRANGER, ..far() };
    let other = Far { serial: "PUB_KEY_ID_9", ..far() };
    for (what, answer) in [
        ("changed bytes", respelled),
        ("truncated", truncated),
        ("no timestamp", without("Wechatpay-Timestamp")),
        ("no nonce", without("Wechatpay-Nonce")),
        ("no signature", without("Wechatpay-Signature")),
        ("no serial", without("Wechatpay-Serial")),
        ("no base64", with("Wechatpay-Signature", "%%%")),
        ("a probe", with("Wechatpay-Signature", "WECHATPAY/SIGNTEST/aGVsbG8=")),
        ("another scheme", with("Wechatpay-Signature-Type", "WECHATPAY2-SM2-WITH-SM3")),
        ("two signatures", twice("Wechatpay-Signature")),
        ("two serials", twice("Wechatpay-Serial")),
        ("signed time", with("Wechatpay-Timestamp", "+1790000000")),
        ("late", late.answer(200, transaction())),
        ("early", early.answer(200, transaction())),
        ("another's key", stranger.answer(200, transaction())),
        ("another serial", other.answer(200, transaction())),
    ] {
        assert!(matches!(found(&answer), Finding::Unknown { .. }), "{what}");
    }
    let in_time = Far { at: NOW.plus_ms(-299_000), ..far() };
    assert!(matches!(found(&in_time.answer(200, transaction())), Finding::Paid { .. }));
    assert!(matches!(found(&without("Wechatpay-Signature-Type")), Finding::Paid { .. }));
}

#[test]
fn when_it_was_paid_is_told_as_far_as_it_can_be_read() {
    for unreadable in [json!("2026-09-21T22:13:01"), json!("2026-09-21"), json!(""), json!(1_790_000_000), json!({})] {
        let answer = far().answer(200, changed(transaction(), "success_time", unreadable.clone()));
        let expected = Finding::Paid { reference: REFERENCE.into(), amount_minor: 20_060, dated: Dated::NOT_TOLD };
        assert_eq!(found(&answer), expected, "{unreadable}");
    }
}

#[test]
fn a_query_finds_what_the_trade_state_says() {
    let paid = Finding::Paid { reference: REFERENCE.into(), amount_minor: 20_060, dated: paid_at() };
    for (state, expected) in [
        ("SUCCESS", Some(paid.clone())),
        ("REFUND", Some(paid)),
        ("NOTPAY", Some(Finding::Pending)),
        ("USERPAYING", Some(Finding::Pending)),
        ("ACCEPT", Some(Finding::Pending)),
        ("CLOSED", Some(Finding::Closed)),
        ("REVOKED", Some(Finding::Closed)),
        ("PAYERROR", Some(Finding::Declined)),
        ("success", None),
        ("", None),
    ] {
        let finding = found(&far().answer(200, changed(transaction(), "trade_state", json!(state))));
        match expected {
            Some(expected) => assert_eq!(finding, expected, "{state}"),
            None => assert!(matches!(finding, Finding::Unknown { .. }), "{state}"),
        }
    }
}

/// What the page of the query calls optional may be left out, empty or null.
#[test]
fn a_query_is_read_without_what_it_need_not_say() {
    let number = attempt().number.to_string();
    let bare = |state: &str| json!({"mchid": MCHID, "out_trade_no": number, "trade_state": state});
    assert_eq!(found(&far().answer(200, bare("NOTPAY"))), Finding::Pending);
    assert_eq!(found(&far().answer(200, bare("CLOSED"))), Finding::Closed);
    for amount in [json!({}), Value::Null, json!({"total": 20_060}), json!({"payer_currency": "CNY"})] {
        let mut unpaid = bare("NOTPAY");
        (unpaid["amount"], unpaid["transaction_id"], unpaid["appid"]) = (amount.clone(), Value::Null, Value::Null);
        assert_eq!(found(&far().answer(200, unpaid)), Finding::Pending, "{amount}");
    }
    let mut paid = bare("SUCCESS");
    assert!(matches!(found(&far().answer(200, paid.clone())), Finding::Unknown { .. }));
    (paid["transaction_id"], paid["amount"]) = (json!(REFERENCE), json!({"total": 20_060}));
    let expected = Finding::Paid { reference: REFERENCE.into(), amount_minor: 20_060, dated: Dated::NOT_TOLD };
    assert_eq!(found(&far().answer(200, paid)), expected);
}

#[test]
fn a_long_description_is_cut_to_what_certainly_fits() {
    let cut = |description: &str| {
        let frozen = wechat().freeze(&Ask { description, ..ask(Method::Native) });
        body(&sent(wechat().submit(&frozen, &stamp())))["description"].as_str().unwrap().to_owned()
    };
    assert_eq!(cut(&"a".repeat(127)), "a".repeat(127));
    // Three bytes each: 42 of them are 126.
    assert_eq!(cut(&"茶".repeat(127)), "茶".repeat(42));
}

#[test]
fn a_query_that_speaks_of_another_payment_or_of_no_plain_amount_finds_nothing() {
    for (path, value) in [
        ("mchid", json!("1900000002")),
        ("appid", json!("wx0000000000000000")),
        ("out_trade_no", json!("0000000000000000000000000000")),
        ("transaction_id", json!("")),
        ("transaction_id", Value::Null),
        ("transaction_id", json!("42'; --")),
        ("amount.total", json!(0)),
        ("amount.total", json!(-1)),
        ("amount.total", json!("20060")),
        ("amount.total", json!(20060.0)),
        ("amount.currency", json!("USD")),
        ("amount", Value::Null),
    ] {
        let finding = found(&far().answer(200, changed(transaction(), path, value.clone())));
        assert!(matches!(finding, Finding::Unknown { .. }), "{path} {value}");
    }
    let exponent = transaction().to_string().replace("20060", "2e4");
    let repeated = transaction().to_string().replacen('{', r#"{"trade_state":"CLOSED","#, 1);
    for text in [exponent, repeated, "[]".into(), "null".into(), String::new()] {
        assert!(matches!(found(&far().answer(200, &text)), Finding::Unknown { .. }), "{text}");
    }
    for (status, code) in [(500, "SYSTEM_ERROR"), (401, "SIGN_ERROR"), (429, "FREQUENCY_LIMITED"), (404, "")] {
        assert!(matches!(found(&failure(status, code)), Finding::Unknown { .. }), "{status} {code}");
    }
}

#[test]
fn a_close_is_done_by_a_signed_204_and_by_nothing_else() {
    let outgoing = wechat().close(&attempt(), &stamp()).unwrap();
    let path = format!("/v3/pay/transactions/out-trade-no/{}/close", attempt().number);
    assert_eq!(outgoing.url, format!("{BASE_URL}{path}"));
    assert_eq!(body(&outgoing), json!({"mchid": MCHID}));
    assert_eq!(closed(&far().answer(204, "")), CloseAnswer::Closed);
    for answer in [
        far().answer(200, "{}"),
        failure(400, "ORDERPAID"),
        failure(400, "TRADE_ERROR"),
        failure(404, "ORDER_NOT_EXIST"),
        failure(429, "FREQUENCY_LIMITED"),
        failure(500, "SYSTEM_ERROR"),
    ] {
        assert!(matches!(closed(&answer), CloseAnswer::Unknown { .. }), "{answer:?}");
    }
}

#[test]
fn malformed_credentials_are_named_and_never_shown() {
    let secret = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----";
    let new = |credentials| Wechat::new("default", BASE_URL, credentials).err().unwrap_or_default();
    let elliptic = KeyPair::generate().unwrap();
    let public = |id: &str, pem: &str| Some(PublicKey { id: id.into(), pem: pem.into() });
    for (piece, broken) in [
        ("mchid", Credentials { mchid: "1900\"".into(), ..credentials() }),
        ("appid", Credentials { appid: String::new(), ..credentials() }),
        ("merchant_serial", Credentials { merchant_serial: "xyz".into(), ..credentials() }),
        ("merchant_key", Credentials { merchant_key: SecretString::from(secret), ..credentials() }),
        ("merchant_key", Credentials { merchant_key: SecretString::from(elliptic.serialize_pem()), ..credentials() }),
        ("api_v3_key", Credentials { api_v3_key: SecretString::from("secret"), ..credentials() }),
        ("public_key_id", Credentials { public_key: public("4A01", &PLATFORM.public_key_pem()), ..credentials() }),
        ("public_key", Credentials { public_key: public(PUBLIC_KEY_ID, "secret"), ..credentials() }),
        ("platform_certificates", Credentials { platform_certificates: vec!["secret".into()], ..credentials() }),
    ] {
        let error = new(broken);
        assert!(error.contains(&format!(": {piece} ")) && !error.contains("secret"), "{piece}: {error}");
    }
    assert!(Wechat::new("default", "ftp://x", credentials()).is_err());
}

/// The row of the certainly dead table, as far as answers go; what time ends is for the domain to judge.
#[test]
fn dead_is_what_a_signed_204_closed_and_what_a_query_says_has_ended() {
    assert_eq!(closed(&far().answer(204, "")), CloseAnswer::Closed);
    assert!(matches!(closed(&unsigned(204, "")), CloseAnswer::Unknown { .. }));
    let state = |state: &str| found(&far().answer(200, changed(transaction(), "trade_state", json!(state))));
    assert_eq!(
        [state("CLOSED"), state("REVOKED"), state("PAYERROR")],
        [Finding::Closed, Finding::Closed, Finding::Declined]
    );
    assert_eq!([state("NOTPAY"), found(&failure(404, "ORDER_NOT_EXIST"))], [Finding::Pending, Finding::NotExist]);
    assert!(matches!(state("REFUND"), Finding::Paid { .. }), "it was paid");
}

/// The id is a published one; the other forms are those of the documents.
#[test]
fn report_credentials_are_taken_in_their_production_form() {
    let id = "PUB_KEY_ID_0117346559632025120500192382001802";
    let taken = Credentials {
        mchid: "1734655963".into(),
        appid: "wxd678efh567hg6787".into(),
        appids: BTreeMap::from([(Method::App, "wx8888888888888888".to_owned())]),
        merchant_serial: "6CF729BC6F8B1596BB1C4CD9DB6338C9D02E1694".into(),
        public_key: Some(PublicKey { id: id.into(), pem: PLATFORM.public_key_pem() }),
        ..credentials()
    };
    let wechat = Wechat::new("default", "https://api.mch.weixin.qq.com", taken).unwrap();
    let outgoing = wechat.query(&attempt(), &stamp());
    assert!(outgoing.headers.contains(&("wechatpay-serial", id.to_owned())), "{id}");
    // Of a length that no page fixes, so that the next longer one does not stop a merchant again.
    for (number, is_taken) in [("1".repeat(64), true), ("1".repeat(65), false), (String::new(), false)] {
        let key = PublicKey { id: format!("PUB_KEY_ID_{number}"), pem: PLATFORM.public_key_pem() };
        let credentials = Credentials { public_key: Some(key), ..credentials() };
        assert_eq!(Wechat::new("default", BASE_URL, credentials).is_ok(), is_taken, "{number}");
    }
}
