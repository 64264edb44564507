use super::*;
use crate::channels::Payer;

static NOBODY: Payer = Payer { openid: None, ip: None };

fn ask<'a>(method: Method, description: &'a str) -> Ask<'a> {
    Ask {
        number: number(),
        method,
        payable_minor: 20_060,
        currency: cny(),
        description,
        notify_url: "https://pay.example/v1/callbacks/unionpay/default".into(),
        return_url: Some("https://shop.example/done?a=1"),
        payer: &NOBODY,
        opened_at: OPENED_AT,
        expires_at: OPENED_AT.plus_ms(900_000),
    }
}

fn form(submission: Submission) -> (String, Fields, Instant) {
    match submission {
        Submission::Carried(Submitted {
            outcome: SendOutcome::Accepted { reference: None },
            next_action: Some(NextAction::Form { url, fields, expires_at }),
        }) => (url, fields, expires_at),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_purchase_is_a_signed_form_for_the_browser() {
    let unionpay = adapter();
    let frozen = unionpay.freeze(&ask(Method::Page, "Tea & {cups}=2"));
    let (url, mut form, expires_at) = form(unionpay.submit(&frozen, &stamp()));
    assert_eq!(url, "https://gateway.95516.com/gateway/api/frontTransReq.do");
    assert_eq!(expires_at, Instant(1_790_000_900_000));
    let (_, public_key) = certificate::identities(&WORLD.merchant.certificate).expect("a certificate").remove(0);
    assert!(signature::is_signed(&form, &public_key));
    form.remove("signature");
    let expected = [
        ("accessType", "0"),
        ("backUrl", "https://pay.example/v1/callbacks/unionpay/default"),
        ("bizType", "000201"),
        ("certId", "69903319369"),
        ("channelType", "07"),
        ("currencyCode", "156"),
        ("encoding", "UTF-8"),
        ("frontUrl", "https://shop.example/done?a=1"),
        ("merId", MER_ID),
        ("orderId", &number().to_string()),
        ("payTimeout", "20260921222820"),
        ("reqReserved", "Tea    cups  2"),
        ("signMethod", "01"),
        ("txnAmt", "20060"),
        ("txnSubType", "01"),
        ("txnTime", "20260921221320"),
        ("txnType", "01"),
        ("version", "5.1.0"),
    ];
    assert_eq!(form, fields(&expected));
}

#[test]
fn trap_11_every_send_repeats_the_first_request() {
    // A number that was used before is a reason to ask, and decides nothing.
    assert!(verdict::meaning("12") == verdict::Meaning::Open);
    let unionpay = adapter();
    let frozen = unionpay.freeze(&ask(Method::Wap, "Tea"));
    let later = Stamp { at: OPENED_AT.plus_ms(600_000), nonce: "m".repeat(32) };
    let (_, first, _) = form(unionpay.submit(&frozen, &stamp()));
    assert_eq!(form(unionpay.submit(&frozen, &later)).1, first);
    assert_eq!(first["channelType"], "08");
}

#[test]
fn trap_05_a_query_names_the_purchases_time_whenever_it_is_asked() {
    let unionpay = adapter();
    let (_, form, _) = form(unionpay.submit(&unionpay.freeze(&ask(Method::Page, "Tea")), &stamp()));
    let query = unionpay.query(&attempt(), &Stamp { at: OPENED_AT.plus_ms(86_400_000), nonce: String::new() });
    assert_eq!(query.url, "https://gateway.95516.com/gateway/api/queryTrans.do");
    let query = sent(&query);
    assert_eq!((&query["orderId"], &query["txnTime"]), (&form["orderId"], &form["txnTime"]));
    assert_eq!((query["txnType"].as_str(), query["txnSubType"].as_str()), ("00", "00"));
}

#[test]
fn without_an_address_to_return_to_the_payer_comes_back_to_us() {
    let unionpay = adapter();
    let frozen = unionpay.freeze(&Ask { return_url: None, ..ask(Method::Page, "Tea") });
    let (_, form, _) = form(unionpay.submit(&frozen, &stamp()));
    assert_eq!(form["frontUrl"], form["backUrl"]);
}

#[test]
fn what_unionpay_cannot_be_asked_for_is_refused_for_certain() {
    let unionpay = adapter();
    let long = format!("https://shop.example/{}", "a".repeat(URL_MAX));
    let usd = Currency::parse("USD").expect("USD");
    let table = [
        (ask(Method::Native, "Tea"), "method_unsuitable"),
        (Ask { currency: usd, ..ask(Method::Page, "Tea") }, "amount_unsuitable"),
        (Ask { payable_minor: 0, ..ask(Method::Page, "Tea") }, "amount_unsuitable"),
        (Ask { return_url: Some(&long), ..ask(Method::Page, "Tea") }, "url_too_long"),
    ];
    let nothing_sent = |outcome| Submission::Carried(Submitted { outcome, next_action: None });
    for (ask, code) in table {
        assert_eq!(
            unionpay.submit(&unionpay.freeze(&ask), &stamp()),
            nothing_sent(SendOutcome::Impossible { code: code.into() })
        );
    }
    for frozen in ["", "{}", r#"{"purchase":{}}"#, r#"{"other":{}}"#] {
        assert_eq!(
            unionpay.submit(frozen, &stamp()),
            nothing_sent(SendOutcome::HeldBack { why: "the stored request cannot be read".into() }),
            "{frozen}"
        );
    }
}

#[test]
fn nothing_can_be_closed() {
    assert_eq!(adapter().close(&attempt(), &stamp()), None);
}

#[test]
fn files_come_from_the_file_host() {
    for (base_url, expected) in [
        ("https://gateway.95516.com", "https://filedownload.95516.com/"),
        ("https://gateway.test.95516.com", "https://filedownload.test.95516.com/"),
        ("http://127.0.0.1:8090/unionpay", "http://127.0.0.1:8090/unionpay/filedownload/"),
    ] {
        assert_eq!(bill::file_url(base_url).as_deref(), Some(expected));
    }
    assert_eq!(bill::file_url("ftp://gateway.95516.com"), None);
}
