use std::sync::OnceLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::encoding::{Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::channels::Payer;
use crate::domain::channel::Method;
use crate::domain::dated::Dated;
use crate::domain::id::{AttemptNumber, Incarnation, OrderId};
use crate::domain::money::Currency;

mod bills;
mod certificates;
mod notifications;
mod published;
mod refunds;
mod upkeep;

pub const APP_ID: &str = "2021000000000001";
pub const SELLER_ID: &str = "2088000000000001";
const NOTIFY_URL: &str = "https://pay.example/v1/callbacks/alipay";
const NOW: Instant = Instant(1_767_232_800_000);

/// A throwaway key pair.
pub struct Pair {
    pub key: KeyPair,
    pub private_der: Vec<u8>,
    pub public_der: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let private_der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap().as_ref().to_vec();
        let public_der = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).unwrap().as_ref().to_vec();
        Pair { key, private_der, public_der }
    }

    pub fn sign(&self, text: &str) -> String {
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        self.key.sign(&aws_lc_rs::signature::RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
        STANDARD.encode(signature)
    }
}

pub fn app() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(Pair::new)
}

pub fn theirs() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(Pair::new)
}

pub fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

pub fn credentials(trust: Trust) -> Credentials {
    Credentials {
        app_id: APP_ID.into(),
        seller_id: Some(SELLER_ID.into()),
        app_key: pem("PRIVATE KEY", &app().private_der).into(),
        trust,
    }
}

pub fn account() -> &'static str {
    "default"
}

pub fn alipay() -> Alipay {
    let trust = Trust::PublicKey { pem: pem("PUBLIC KEY", &theirs().public_der) };
    Alipay::new(account(), "https://openapi.example/", credentials(trust)).unwrap()
}

fn stamp() -> Stamp {
    Stamp { at: NOW, nonce: "n".repeat(32) }
}

fn number() -> AttemptNumber {
    AttemptNumber { order: OrderId::from_u128(1), ordinal: 0, incarnation: Incarnation::default() }
}

static NOBODY: Payer = Payer { openid: None, ip: None };

fn ask(method: Method) -> Ask<'static> {
    Ask {
        number: number(),
        method,
        payable_minor: 20060,
        currency: yuan::currency(),
        description: "Tea & cake = 1/2",
        notify_url: NOTIFY_URL.into(),
        return_url: Some("https://shop.example/back"),
        payer: &NOBODY,
        opened_at: NOW,
        expires_at: NOW.plus_ms(3_600_000),
    }
}

fn attempted() -> Attempted {
    Attempted {
        number: number(),
        opened_at: NOW,
        expires_at: NOW.plus_ms(3_600_000),
        arrives_by: NOW.plus_ms(3_900_000),
        payable_minor: 20060,
        currency: yuan::currency(),
        reference: None,
    }
}

fn refund_ask() -> RefundAsk {
    RefundAsk {
        refund_number: crate::channels::properties::first_refund(number()),
        id: None,
        attempt: attempted(),
        reference: "2026010122001".into(),
        dated_at: NOW,
        captured_minor: 20060,
        amount_minor: 60,
        reason: Some("货不对板, sold out".into()),
        notify_url: NOTIFY_URL.into(),
    }
}

fn plain(body: String) -> Answer {
    Answer { status: 200, headers: Vec::new(), body: body.into_bytes() }
}

fn member(method: &str) -> String {
    format!("{}_response", method.replace('.', "_"))
}

/// An answer as Alipay signs it.
fn signed(method: &str, content: &str) -> Answer {
    plain(format!(r#"{{"{}":{content},"sign":"{}"}}"#, member(method), theirs().sign(content)))
}

fn unsigned(method: &str, content: &str) -> Answer {
    plain(format!(r#"{{"{}":{content}}}"#, member(method)))
}

fn refusal(code: &str, sub_code: &str) -> String {
    format!(r#"{{"code":"{code}","msg":"Business Failed","sub_code":"{sub_code}","sub_msg":"-"}}"#)
}

/// The parameters of a request's address and body together, its signature checked with our public key.
fn verified(outgoing_url: &str, biz_content: &str) -> Parameters {
    let (address, query) = outgoing_url.split_once('?').unwrap();
    assert_eq!(address, "https://openapi.example/gateway.do");
    let mut parameters = wire::read_form(query.as_bytes()).unwrap();
    parameters.insert("biz_content".into(), biz_content.into());
    let sign = parameters.remove("sign").unwrap();
    let text = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    assert!(text.contains("&sign_type=RSA2&"), "{text}");
    let key = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256,
        app().key.public_key().as_ref(),
    );
    key.verify(text.as_bytes(), &STANDARD.decode(sign).unwrap()).unwrap();
    parameters
}

fn called(outgoing: &Outgoing) -> Parameters {
    assert_eq!(outgoing.verb, Verb::Post);
    let body = wire::read_form(&outgoing.body).unwrap();
    assert_eq!(body.len(), 1);
    verified(&outgoing.url, &body["biz_content"])
}

/// Members of a create in the documented order, and the parameters that the documentation of the signature shows
/// (opendocs.alipay.com common/057k53): all but `sign`, sorted, not encoded.
#[test]
fn the_signed_text_is_the_documented_one() {
    let alipay = alipay();
    let frozen = alipay.freeze(&ask(Method::Qr));
    let Submission::Call(outgoing) = alipay.submit(&frozen, &stamp()) else { panic!("a precreate is a call") };
    let parameters = called(&outgoing);
    let text = wire::signed_text_of_filled(&parameters, Uncovered::Sign);
    assert_eq!(
        text,
        "app_id=2021000000000001&biz_content={\"out_trade_no\":\"0000000000000000000000008000\",\
         \"product_code\":\"QR_CODE_OFFLINE\",\"subject\":\"Tea ＆ cake ＝ 1／2\",\
         \"time_expire\":\"2026-01-01 11:00:00\",\"total_amount\":\"200.60\"}&charset=utf-8&format=JSON&\
         method=alipay.trade.precreate&notify_url=https://pay.example/v1/callbacks/alipay&\
         return_url=https://shop.example/back&sign_type=RSA2&timestamp=2026-01-01 10:00:00&version=1.0"
    );
}

#[test]
fn a_page_is_carried_by_the_payers_browser() {
    let alipay = alipay();
    for (method, call) in [(Method::Page, requests::PAGE_PAY), (Method::Wap, requests::WAP_PAY)] {
        let frozen = alipay.freeze(&ask(method));
        let Submission::Carried(submitted) = alipay.submit(&frozen, &stamp()) else { panic!("a page is no call") };
        assert_eq!(submitted.outcome, SendOutcome::Accepted { reference: None });
        let Some(NextAction::Form { url, fields, expires_at }) = submitted.next_action else { panic!("no form") };
        assert_eq!(expires_at, NOW.plus_ms(3_600_000));
        let parameters = verified(&url, &fields["biz_content"]);
        assert_eq!(parameters["method"], call);
        assert_eq!(parameters["return_url"], "https://shop.example/back");
        assert_eq!(fields.len(), 1);
    }
}

#[test]
fn trap_11_a_resend_repeats_the_business_fields_and_signs_anew() {
    let alipay = alipay();
    let frozen = alipay.freeze(&ask(Method::Qr));
    let later = Stamp { at: NOW.plus_ms(61_000), ..stamp() };
    let [first, second] = [stamp(), later].map(|stamp| match alipay.submit(&frozen, &stamp) {
        Submission::Call(outgoing) => outgoing,
        Submission::Carried(_) => panic!("a precreate is a call"),
    });
    assert_eq!(first.body, second.body);
    assert_ne!(first.url, second.url);
    assert_eq!(called(&second)["timestamp"], "2026-01-01 10:01:01");
    // What Alipay says to a number with other parameters ends this send, and the payment may still be asked for.
    let differing = submitted(&signed(requests::PRECREATE, &refusal("40004", "ACQ.CONTEXT_INCONSISTENT")));
    let code = "ACQ.CONTEXT_INCONSISTENT".into();
    assert_eq!(differing.outcome, SendOutcome::Rejected { fault: Fault::Payment, code });
}

#[test]
fn what_alipay_cannot_have_is_refused_for_certain() {
    let alipay = alipay();
    let usd = Currency::parse("USD").unwrap();
    let asks = [
        (Ask { method: Method::Jsapi, ..ask(Method::Qr) }, "method_unsuitable"),
        (Ask { currency: usd, ..ask(Method::Qr) }, "currency_unsuitable"),
        (Ask { payable_minor: 10_000_000_001, ..ask(Method::Page) }, "amount_unsuitable"),
    ];
    for (ask, code) in asks {
        let expected = SendOutcome::Impossible { code: code.into() };
        let submission = alipay.submit(&alipay.freeze(&ask), &stamp());
        assert_eq!(submission, Submission::Carried(Submitted { outcome: expected, next_action: None }));
    }
    let Submission::Carried(submitted) = alipay.submit("{", &stamp()) else { panic!("nothing can be sent") };
    assert!(matches!(submitted.outcome, SendOutcome::HeldBack { .. }));
}

fn submitted(answer: &Answer) -> Submitted {
    let alipay = alipay();
    alipay.read_submit(&alipay.freeze(&ask(Method::Qr)), &stamp(), answer)
}

fn created(code: &str) -> String {
    format!(
        r#"{{"code":"10000","msg":"Success","out_trade_no":"{}","qr_code":"https:\/\/qr.alipay.com\/{code}"}}"#,
        number()
    )
}

#[test]
fn a_precreate_brings_a_code_for_two_hours_at_most() {
    let expected = Submitted {
        outcome: SendOutcome::Accepted { reference: None },
        next_action: Some(NextAction::QrCode {
            qr_code: "https://qr.alipay.com/bax1".into(),
            expires_at: NOW.plus_ms(3_600_000),
        }),
    };
    assert_eq!(submitted(&signed(requests::PRECREATE, &created("bax1"))), expected);
    // Some of Alipay's servers sign before they escape.
    let content = created("bax1");
    let sign = theirs().sign(&content.replace(r"\/", "/"));
    let answer = plain(format!(r#"{{"alipay_trade_precreate_response":{content},"sign":"{sign}"}}"#));
    assert_eq!(submitted(&answer), expected);
}

fn is_unknown(answer: &Answer) -> bool {
    let submitted = submitted(answer);
    submitted.next_action.is_none() && matches!(submitted.outcome, SendOutcome::Unknown { .. })
}

#[test]
fn a_success_is_believed_only_if_it_is_signed_as_it_came() {
    let good = signed(requests::PRECREATE, &created("bax1"));
    let text = String::from_utf8(good.body.clone()).unwrap();
    assert!(is_unknown(&unsigned(requests::PRECREATE, &created("bax1"))), "an unsigned success");
    assert!(is_unknown(&plain(text.replace("bax1", "bax2"))), "the right signature over changed bytes");
    assert!(is_unknown(&plain(text.replace(":\"10000", ": \"10000"))), "the same meaning in other bytes");
    assert!(is_unknown(&plain(text.replace("\"sign\":\"", "\"sign\":\"AA"))), "a wrong signature");
    assert!(is_unknown(&plain(text.replace("\"sign\":\"", "\"sign\":\"!"))), "a signature that is none");
    assert!(is_unknown(&plain(text[..text.len() - 1].to_owned())), "a truncated answer");
    assert!(is_unknown(&plain(text.replace("alipay_trade_precreate", "alipay_trade_query"))), "another call's answer");
    assert!(is_unknown(&Answer { status: 502, ..good.clone() }));
    assert!(is_unknown(&Answer { status: 302, ..good.clone() }));
    assert!(is_unknown(&Answer { status: 200, headers: Vec::new(), body: b"\xce\xa2\xd0\xc5".to_vec() }));
    let other = created("bax1").replace(&number().to_string(), "0000000000000000000000000200");
    assert!(is_unknown(&signed(requests::PRECREATE, &other)), "another payment's answer");
    let none = created("").replace(r"https:\/\/qr.alipay.com\/", "");
    assert!(is_unknown(&signed(requests::PRECREATE, &none)), "no code");
    let huge = created(&"x".repeat(300_000));
    assert!(is_unknown(&signed(requests::PRECREATE, &huge)), "a huge answer");
    assert!(!is_unknown(&good));
    // Members in another order are the same answer.
    let content = created("bax1");
    let turned = format!(r#"{{"sign":"{}","alipay_trade_precreate_response":{content}}}"#, theirs().sign(&content));
    assert!(!is_unknown(&plain(turned)));
}

#[test]
fn every_refusal_of_a_create_is_one_of_certain_not_sent_and_unknown() {
    let outcome = |answer: Answer| submitted(&answer).outcome;
    let business = |sub_code: &str| outcome(signed(requests::PRECREATE, &refusal("40004", sub_code)));
    let rejected = |fault, code: &str| SendOutcome::Rejected { fault, code: code.into() };
    for code in ["ACQ.TRADE_HAS_CLOSE", "ACQ.CONTEXT_INCONSISTENT", "ACQ.TOTAL_FEE_EXCEED", "ACQ.INVALID_PARAMETER"] {
        assert_eq!(business(code), rejected(Fault::Payment, code));
    }
    assert_eq!(business("ACQ.ACCESS_FORBIDDEN"), rejected(Fault::Ours, "ACQ.ACCESS_FORBIDDEN"));
    for code in ["ACQ.SYSTEM_ERROR", "ACQ.TRADE_HAS_SUCCESS", "ACQ.NEVER_SEEN_BEFORE"] {
        assert_eq!(business(code), SendOutcome::Unknown { why: code.into() });
    }
    let busy = outcome(signed(requests::PRECREATE, &refusal("40005", "isv.app-call-limited")));
    assert_eq!(busy, SendOutcome::Later { why: "isv.app-call-limited".into() });
    let lost = outcome(signed(requests::PRECREATE, &refusal("20000", "isp.unknow-error")));
    assert_eq!(lost, SendOutcome::Unknown { why: "isp.unknow-error".into() });
    // The gateway's door does not sign; what it says of a trade would not be believed.
    let door = outcome(plain(format!(r#"{{"error_response":{}}}"#, refusal("40002", "isv.invalid-app-id"))));
    assert_eq!(door, rejected(Fault::Ours, "isv.invalid-app-id"));
    let unsigned = outcome(unsigned(requests::PRECREATE, &refusal("40004", "ACQ.TRADE_HAS_CLOSE")));
    assert_eq!(unsigned, SendOutcome::Unknown { why: "ACQ.TRADE_HAS_CLOSE".into() });
}

fn found(answer: &Answer) -> Finding {
    match alipay().read_query(&attempted(), &stamp(), answer) {
        Reading::Told(finding) => finding,
        Reading::Ask(_) => panic!("one request is enough"),
    }
}

fn trade(status: &str, more: &str) -> String {
    format!(
        r#"{{"code":"10000","msg":"Success","out_trade_no":"{}","trade_no":"2026010122001","total_amount":"200.60","trade_status":"{status}"{more}}}"#,
        number()
    )
}

fn paid() -> Finding {
    Finding::Paid { reference: "2026010122001".into(), amount_minor: 20060, dated: Dated::NOT_TOLD }
}

/// The same, and when.
fn paid_at(text: &str) -> Finding {
    let dated = Dated::at(Instant::parse_rfc3339(text).unwrap());
    Finding::Paid { reference: "2026010122001".into(), amount_minor: 20060, dated }
}

#[test]
fn every_state_of_a_trade_is_a_finding() {
    let alipay = alipay();
    assert_eq!(called(&alipay.query(&attempted(), &stamp()))["method"], "alipay.trade.query");
    let state = |status, more| found(&signed(requests::QUERY, &trade(status, more)));
    assert_eq!(state("WAIT_BUYER_PAY", ""), Finding::Pending);
    let paid_then = paid_at("2026-01-01T10:00:00+08:00");
    assert_eq!(state("TRADE_SUCCESS", r#","send_pay_date":"2026-01-01 10:00:00""#), paid_then);
    assert_eq!(state("TRADE_SUCCESS", r#","send_pay_date":"yesterday""#), paid(), "what is unreadable is not told");
    assert_eq!(state("TRADE_FINISHED", ""), paid());
    // The documents' samples have amounts without quotation marks too; no digit of them is lost.
    let bare = trade("TRADE_SUCCESS", "").replace("\"200.60\"", "200.60");
    assert_eq!(found(&signed(requests::QUERY, &bare)), paid());
    assert_eq!(state("TRADE_CLOSED", ""), Finding::Closed);
    assert_eq!(state("TRADE_CLOSED", r#","send_pay_date":"""#), Finding::Closed);
    assert!(matches!(state("TRADE_SOMETHING", ""), Finding::Unknown { .. }));
    assert_eq!(found(&signed(requests::QUERY, &refusal("40004", "ACQ.TRADE_NOT_EXIST"))), Finding::NotExist);
    for answer in [
        unsigned(requests::QUERY, &refusal("40004", "ACQ.TRADE_NOT_EXIST")),
        unsigned(requests::QUERY, &trade("TRADE_CLOSED", "")),
        unsigned(requests::QUERY, &trade("TRADE_SUCCESS", "")),
        signed(requests::QUERY, &refusal("40004", "ACQ.SYSTEM_ERROR")),
        signed(requests::QUERY, &refusal("40002", "isv.invalid-signature")),
        signed(requests::QUERY, &trade("TRADE_SUCCESS", "").replace(&number().to_string(), "other")),
        signed(requests::QUERY, &trade("TRADE_SUCCESS", "").replace("200.60\"", "200.600\"")),
        signed(requests::QUERY, &trade("TRADE_SUCCESS", "").replace("200.60", "2e2")),
        signed(requests::QUERY, &trade("TRADE_SUCCESS", "").replace("\"200.60\"", "2e2")),
        signed(requests::QUERY, &trade("TRADE_SUCCESS", "").replace("\"200.60\"", "200.600000000000001")),
        signed(requests::QUERY, &trade("TRADE_SUCCESS", "").replace("2026010122001", "")),
        signed(requests::QUERY, &trade("TRADE_SUCCESS", r#","trans_currency":"USD""#)),
        signed(requests::QUERY, &trade("TRADE_SUCCESS", r#","trade_status":"TRADE_CLOSED""#)),
    ] {
        assert!(matches!(found(&answer), Finding::Unknown { .. }), "{}", String::from_utf8_lossy(&answer.body));
    }
}

#[test]
fn trap_08_a_trade_that_was_refunded_in_full_was_paid() {
    let closed = trade("TRADE_CLOSED", r#","send_pay_date":"2026-01-01 10:00:00""#);
    assert_eq!(found(&signed(requests::QUERY, &closed)), paid_at("2026-01-01T10:00:00+08:00"));
}

#[test]
fn a_close_is_answered_by_closed_or_by_nothing_certain() {
    let alipay = alipay();
    assert_eq!(called(&alipay.close(&attempted(), &stamp()).unwrap())["method"], "alipay.trade.close");
    let closed = |answer: Answer| match alipay.read_close(&attempted(), &stamp(), &answer) {
        Reading::Told(answer) => answer,
        Reading::Ask(_) => panic!("one request is enough"),
    };
    let done = format!(r#"{{"code":"10000","msg":"Success","out_trade_no":"{}","trade_no":"2026"}}"#, number());
    assert_eq!(closed(signed(requests::CLOSE, &done)), CloseAnswer::Closed);
    let absent = refusal("40004", "ACQ.TRADE_NOT_EXIST");
    assert_eq!(closed(signed(requests::CLOSE, &absent)), CloseAnswer::NotExist);
    for answer in [
        unsigned(requests::CLOSE, &done),
        signed(requests::CLOSE, &done.replace(&number().to_string(), "other")),
        unsigned(requests::CLOSE, &refusal("40004", "ACQ.TRADE_NOT_EXIST")),
        signed(requests::CLOSE, &refusal("40004", "ACQ.REASON_TRADE_STATUS_INVALID")),
        signed(requests::CLOSE, &refusal("40004", "ACQ.SYSTEM_ERROR")),
    ] {
        assert!(matches!(closed(answer), CloseAnswer::Unknown { .. }));
    }
}

#[test]
fn keys_are_read_in_every_form_that_alipays_tools_save() {
    let trust = || Trust::PublicKey { pem: pem("PUBLIC KEY", &theirs().public_der) };
    let bare = Credentials {
        app_key: STANDARD.encode(&app().private_der).into(),
        trust: Trust::PublicKey { pem: STANDARD.encode(&theirs().public_der) },
        ..credentials(trust())
    };
    assert!(Alipay::new(account(), "https://x.example", bare).is_ok());
    let both = format!("{}{}", pem("PUBLIC KEY", &app().public_der), pem("PUBLIC KEY", &theirs().public_der));
    let changing = Alipay::new(account(), "https://x.example", credentials(Trust::PublicKey { pem: both })).unwrap();
    let text = trade("WAIT_BUYER_PAY", "");
    let answer = changing.read_query(&attempted(), &stamp(), &signed(requests::QUERY, &text));
    assert_eq!(answer, Reading::Told(Finding::Pending));

    let wrong = [
        (Credentials { app_id: "wx1".into(), ..credentials(trust()) }, "app_id must"),
        (Credentials { seller_id: Some(String::new()), ..credentials(trust()) }, "seller_id must"),
        (Credentials { app_key: "not a key".into(), ..credentials(trust()) }, "app_key is neither PEM nor base64"),
        (Credentials { app_key: pem("PRIVATE KEY", b"abc").into(), ..credentials(trust()) }, "app_key is not a sound"),
        (credentials(Trust::PublicKey { pem: pem("PUBLIC KEY", b"abc") }), "alipay_public_key is not an RSA key"),
        (credentials(Trust::PublicKey { pem: String::new() }), "alipay_public_key is neither"),
    ];
    for (credentials, expected) in wrong {
        let Err(error) = Alipay::new(account(), "https://x.example", credentials) else { panic!("{expected}") };
        assert!(error.starts_with("alipay account default: "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    assert!(!format!("{:?}", credentials(trust())).contains(&STANDARD.encode(&app().private_der)[..32]));
}

/// The row of the certainly dead table, as far as answers go. `alipay.trade.cancel` would refund a success, so that it is
/// never used as a close.
#[test]
fn dead_is_what_was_closed_by_trade_close_and_what_a_query_says_was_closed_unpaid() {
    let outgoing = alipay().close(&attempted(), &stamp()).unwrap();
    assert_eq!(called(&outgoing)["method"], "alipay.trade.close");
    let query = |status: &str, more: &str| found(&signed(requests::QUERY, &trade(status, more)));
    assert_eq!(query("TRADE_CLOSED", ""), Finding::Closed);
    assert!(matches!(query("TRADE_CLOSED", r#","send_pay_date":"2026-01-01 10:00:00""#), Finding::Paid { .. }));
    let absent = refusal("40004", "ACQ.TRADE_NOT_EXIST");
    assert_eq!(found(&signed(requests::QUERY, &absent)), Finding::NotExist);
    assert!(matches!(found(&unsigned(requests::QUERY, &absent)), Finding::Unknown { .. }));
}
