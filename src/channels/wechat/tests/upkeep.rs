//! Keys that come and go.

use super::*;
use crate::channels::Reading;
use crate::domain::event::Finding;

fn listed(certificates: &[(&str, &str)]) -> Value {
    let data: Vec<Value> = certificates
        .iter()
        .map(|(serial, pem)| {
            json!({
                "serial_no": serial, "effective_time": "2026-09-01T00:00:00+08:00",
                "expire_time": "2031-09-01T00:00:00+08:00", "encrypt_certificate": sealed(pem.as_bytes(), "certificate"),
            })
        })
        .collect();
    json!({ "data": data })
}

fn at(ms: i64) -> Stamp {
    Stamp { at: NOW.plus_ms(ms), ..stamp() }
}

fn finds(wechat: &Wechat, far: &Far<'_>) -> bool {
    let answer = far.answer(200, transaction());
    matches!(wechat.read_query(&attempt(), &stamp(), &answer), Reading::Told(Finding::Paid { .. }))
}

fn by_certificates() -> Wechat {
    adapter(Credentials { public_key: None, ..credentials() })
}

#[test]
fn an_account_without_keys_learns_them_from_an_answer_that_only_wechat_pay_could_encrypt() {
    let wechat = by_certificates();
    let (serial, pem) = certificate(&PLATFORM, 0x11, -1..365);
    let far = Far { serial: &serial, ..far() };
    assert!(!finds(&wechat, &far));
    let outgoing = wechat.upkeep(&at(0)).unwrap();
    assert_eq!(outgoing.url, format!("{BASE_URL}/v3/certificates"));
    assert!(outgoing.headers.iter().all(|(name, _)| *name != "wechatpay-serial"));
    assert_eq!(wechat.read_upkeep(&at(0), &far.answer(200, listed(&[(&serial, &pem)]))), Ok(()));
    assert!(finds(&wechat, &far));
}

#[test]
fn certificates_are_asked_for_at_first_and_then_every_half_hour() {
    let wechat = by_certificates();
    let (serial, pem) = certificate(&PLATFORM, 0x11, -1..365);
    let answer = |ms| Far { serial: &serial, at: NOW.plus_ms(ms), ..far() }.answer(200, listed(&[(&serial, &pem)]));
    assert!(wechat.upkeep(&at(0)).is_some());
    assert!(wechat.upkeep(&at(59_000)).is_none(), "the answer is still on its way");
    assert!(wechat.upkeep(&at(60_000)).is_some(), "it never came");
    wechat.read_upkeep(&at(61_000), &answer(61_000)).unwrap();
    assert!(wechat.upkeep(&at(1_800_000)).is_none());
    assert!(wechat.upkeep(&at(1_861_000)).is_some());
    assert!(wechat_with_a_public_key_alone_asks_nothing());
}

fn wechat_with_a_public_key_alone_asks_nothing() -> bool {
    wechat().upkeep(&at(0)).is_none()
}

#[test]
fn trap_06_an_unknown_serial_is_a_reason_to_ask_once_and_is_refused_from_then_on() {
    let wechat = wechat();
    let (serial, pem) = certificate(&STRANGER, 0x12, -1..365);
    let unknown = Far { key: &STRANGER, serial: &serial, at: NOW };
    assert!(!finds(&wechat, &unknown));
    assert!(wechat.upkeep(&at(0)).is_some());
    let nothing_new = far().answer(200, listed(&[]));
    assert_eq!(wechat.read_upkeep(&at(0), &nothing_new), Ok(()));
    assert!(!finds(&wechat, &unknown));
    assert!(wechat.upkeep(&at(1_799_000)).is_none(), "it was looked for once");

    let other = Far { serial: "4B4B", ..unknown };
    assert!(!finds(&wechat, &other));
    assert!(wechat.upkeep(&at(3_600_000)).is_some());
    let later = Far { at: NOW.plus_ms(3_600_000), ..far() };
    assert_eq!(wechat.read_upkeep(&at(3_600_000), &later.answer(200, listed(&[(&serial, &pem)]))), Ok(()));
    assert!(finds(&wechat, &unknown), "both kinds of keys hold beside each other");
    assert!(finds(&wechat, &far()));
}

/// Whoever posts a notification may write any serial into it.
#[test]
fn report_made_up_serials_do_not_hide_the_true_one() {
    let wechat = wechat();
    for number in 0..400 {
        finds(&wechat, &Far { serial: &format!("{number:040X}"), ..far() });
    }
    assert!(wechat.upkeep(&at(0)).is_some());
    wechat.read_upkeep(&at(0), &far().answer(200, listed(&[]))).unwrap();

    let (serial, pem) = certificate(&STRANGER, 0x17, -1..365);
    let true_one = Far { key: &STRANGER, serial: &serial, at: NOW };
    assert!(!finds(&wechat, &true_one));
    assert!(wechat.upkeep(&at(59_000)).is_none(), "strangers cannot make us ask more than once a minute");
    assert!(wechat.upkeep(&at(60_000)).is_some());
    let answer = Far { at: NOW.plus_ms(60_000), ..far() }.answer(200, listed(&[(&serial, &pem)]));
    wechat.read_upkeep(&at(60_000), &answer).unwrap();
    assert!(finds(&wechat, &true_one));
}

#[test]
fn a_serial_that_is_none_is_no_reason_to_ask() {
    let wechat = wechat();
    for odd in ["no serial at all", &"A".repeat(41), "PUB_KEY_ID_0117346559632025120500192382001802"] {
        finds(&wechat, &Far { serial: odd, ..far() });
    }
    assert!(wechat.upkeep(&at(0)).is_none());
}

#[test]
fn a_serial_that_comes_while_an_answer_is_on_its_way_or_whose_answer_failed_is_asked_for_later() {
    let wechat = wechat();
    let by = |serial| move |ms| Far { serial, at: NOW.plus_ms(ms), ..far() };
    let looks = |far: Far<'_>, ms| wechat.read_query(&attempt(), &at(ms), &far.answer(200, transaction()));
    looks(by("4B01")(0), 0);
    assert!(wechat.upkeep(&at(1)).is_some());
    looks(by("4B02")(2), 2);
    assert!(wechat.read_upkeep(&at(3), &failure(500, "SYSTEM_ERROR")).is_err());
    assert!(wechat.upkeep(&at(60_001)).is_some(), "of the second nobody has asked");
    assert!(wechat.read_upkeep(&at(60_002), &failure(500, "SYSTEM_ERROR")).is_err());
    looks(by("4B01")(120_000), 120_000);
    assert!(wechat.upkeep(&at(120_001)).is_none());
    looks(by("4B01")(1_900_000), 1_900_000);
    assert!(wechat.upkeep(&at(1_900_001)).is_some(), "half an hour later it is a reason again");
}

#[test]
fn a_list_that_is_not_wechat_pays_brings_nothing() {
    let (serial, pem) = certificate(&STRANGER, 0x13, -1..365);
    let good = listed(&[(&serial, &pem)]);
    let by_stranger = Far { key: &STRANGER, serial: &serial, at: NOW };
    let tampered = {
        let mut answer = far().answer(200, &good);
        answer.body.push(b' ');
        answer
    };
    let otherwise_sealed = changed(good.clone(), "data.0.encrypt_certificate.associated_data", json!("transaction"));
    let renamed = changed(good.clone(), "data.0.serial_no", json!("4A01"));
    for (what, answer) in [
        ("tampered", tampered),
        ("not signed", unsigned(200, &good)),
        ("refused", failure(404, "RESOURCE_NOT_EXISTS")),
        ("sealed otherwise", far().answer(200, otherwise_sealed)),
        ("renamed", far().answer(200, renamed)),
        ("no certificate", far().answer(200, listed(&[("4A13", "pem")]))),
        ("too many", far().answer(200, listed(&vec![(serial.as_str(), pem.as_str()); 33]))),
        ("stale", Far { at: NOW.plus_ms(-300_000), ..far() }.answer(200, &good)),
        ("no object", far().answer(200, "[]")),
    ] {
        let wechat = wechat();
        assert!(wechat.read_upkeep(&stamp(), &answer).is_err(), "{what}");
        assert!(!finds(&wechat, &by_stranger), "{what}");
    }
}

#[test]
fn an_authoritys_certificate_is_none_that_signs_messages() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&*STRANGER).unwrap().pem();
    let configured = Credentials { platform_certificates: vec![pem], ..credentials() };
    let refused = Wechat::new("default", BASE_URL, configured).err().unwrap();
    assert!(refused.contains("platform_certificates is an authority's"), "{refused}");
}

#[test]
fn a_certificate_counts_only_in_its_time_and_is_let_go_after_it() {
    let (old, old_pem) = certificate(&PLATFORM, 0x14, -365..-1);
    let (next, next_pem) = certificate(&PLATFORM, 0x15, 1..365);
    let (now, now_pem) = certificate(&PLATFORM, 0x16, -1..365);
    let platform_certificates = vec![old_pem.clone(), next_pem, now_pem];
    let wechat = adapter(Credentials { platform_certificates, ..credentials() });
    let by = |serial| Far { serial, ..far() };
    assert!(!finds(&wechat, &by(&old)), "expired");
    assert!(!finds(&wechat, &by(&next)), "not yet valid");
    assert!(finds(&wechat, &by(&now)));
    let respelled = now.to_lowercase();
    assert!(finds(&wechat, &by(&respelled)), "a serial is a number, however it is spelled");
    wechat.read_upkeep(&stamp(), &by(&now).answer(200, listed(&[(&old, &old_pem)]))).unwrap();
    assert!(!finds(&wechat, &by(&old)));
    assert!(finds(&wechat, &by(&now)) && finds(&wechat, &far()));
}
