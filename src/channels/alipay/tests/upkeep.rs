//! Alipay changes its certificate, and we are told so by the serial that an answer names.

use rcgen::{IsCa, Issuer};

use super::certificates::{authority, key, papers, params, root_pair, sn, with};
use super::*;

/// The key that Alipay goes over to.
fn next() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(Pair::new)
}

fn issued(name: &str, serial: u64) -> String {
    issued_by(root_pair(), name, serial)
}

fn issued_by(root: &Pair, name: &str, serial: u64) -> String {
    let issuer = Issuer::new(authority("Root", 7), key(root));
    params(name, serial, IsCa::NoCa).signed_by(&key(next()), &issuer).unwrap().pem()
}

/// What an answer by the next certificate comes to.
fn found(alipay: &Alipay, cert_sn: &str) -> Finding {
    let content = trade("WAIT_BUYER_PAY", "");
    let sign = next().sign(&content);
    let answer =
        plain(format!(r#"{{"alipay_cert_sn":"{cert_sn}","alipay_trade_query_response":{content},"sign":"{sign}"}}"#));
    match alipay.read_query(&attempted(), &stamp(), &answer) {
        Reading::Told(finding) => finding,
        Reading::Ask(_) => panic!("one request is enough"),
    }
}

fn brought(pem: &str) -> Answer {
    let content = STANDARD.encode(pem);
    plain(format!(
        r#"{{"alipay_open_app_alipaycert_download_response":{{"code":"10000","msg":"Success","alipay_cert_content":"{content}"}}}}"#
    ))
}

fn at(offset_ms: i64) -> Stamp {
    Stamp { at: NOW.plus_ms(offset_ms), ..stamp() }
}

#[test]
fn an_unknown_certificate_is_asked_for_and_believed_once_it_is_here() {
    let alipay = with(papers()).unwrap();
    assert_eq!(alipay.upkeep(&at(0)), None, "nothing is due");
    assert!(matches!(found(&alipay, &sn(13)), Finding::Unknown { .. }));

    let asked = alipay.upkeep(&at(1)).expect("the certificate is asked for");
    let parameters = called(&asked);
    assert_eq!(parameters["method"], "alipay.open.app.alipaycert.download");
    assert_eq!(parameters["biz_content"], format!(r#"{{"alipay_cert_sn":"{}"}}"#, sn(13)));
    assert_eq!(parameters["app_cert_sn"], sn(11));
    assert_eq!(alipay.upkeep(&at(2)), None, "it was asked for just now");

    assert_eq!(alipay.read_upkeep(&at(3), &brought(&issued("Alipay", 13))), Ok(()));
    assert_eq!(found(&alipay, &sn(13)), Finding::Pending);
    assert!(matches!(found(&alipay, &sn(12)), Finding::Unknown { .. }), "under the old one's name it is forged");
    assert_eq!(alipay.upkeep(&at(600_000)), None);
}

#[test]
fn what_the_roots_do_not_vouch_for_or_somebody_else_holds_is_not_taken() {
    let alipay = with(papers()).unwrap();
    let refused = r#"{"alipay_open_app_alipaycert_download_response":{"code":"40004","msg":"x","sub_code":"Y"}}"#;
    let unreadable = r#"{"alipay_open_app_alipaycert_download_response":{"code":"10000","alipay_cert_content":"???"}}"#;
    for (place, (answer, why)) in (0i64..).zip([
        (brought(&issued_by(next(), "Alipay", 13)), "was issued by none of the roots"),
        (brought(&issued("App", 13)), "was issued to another holder"),
        (brought(&issued("Alipay", 14)), "is not what was brought"),
        (brought("no certificate"), "certificate"),
        (plain(refused.into()), "was refused: Y"),
        (plain(unreadable.into()), "brings no certificate"),
        (Answer { status: 500, ..plain(String::new()) }, "was refused with status 500"),
    ]) {
        assert!(matches!(found(&alipay, &sn(13)), Finding::Unknown { .. }));
        let stamp = at(place * 60_000);
        assert!(alipay.upkeep(&stamp).is_some(), "a minute later it is asked for again");
        let fault = alipay.read_upkeep(&stamp, &answer).expect_err(why);
        assert!(fault.contains(why), "{fault}");
        assert!(alipay.read_upkeep(&stamp, &brought(&issued("Alipay", 13))).is_err(), "nothing was asked for");
    }
    assert!(matches!(found(&alipay, &sn(13)), Finding::Unknown { .. }));
}

/// A stranger can post anything, and a serial that is none comes from no answer of Alipay's.
#[test]
fn only_answers_with_a_serial_are_a_reason_to_ask() {
    let alipay = with(papers()).unwrap();
    for odd in ["", "13", &"g".repeat(32), &"0".repeat(33)] {
        assert!(matches!(found(&alipay, odd), Finding::Unknown { .. }));
    }
    let body = format!("app_id={APP_ID}&alipay_cert_sn={}&sign=AAAA&sign_type=RSA2", sn(13));
    let received = Received { headers: &[], body: body.as_bytes() };
    assert_eq!(alipay.callback(&received, NOW), Err(CallbackError::Forged));
    assert_eq!(alipay.upkeep(&at(0)), None);
}
