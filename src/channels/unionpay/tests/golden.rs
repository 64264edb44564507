use super::*;
use crate::domain::event::Hold;

const NOTIFICATION: &str = include_str!("../vectors/notification.txt");
const QUERY_ANSWER: &str = include_str!("../vectors/query_answer.txt");
const REFUND_ANSWER: &str = include_str!("../vectors/refund_answer.txt");
const REFUND_REQUEST: &str = include_str!("../vectors/refund_request.txt");
const TEST_ROOT: &str = include_str!("../vectors/test_root.pem");
const TEST_MIDDLE: &str = include_str!("../vectors/test_middle.pem");
const TEST_SIGNER: &str = include_str!("../vectors/test_signer.pem");
const TEST_MERCHANT: &str = include_str!("../vectors/test_merchant.pem");
const PRODUCTION_ROOT: &str = include_str!("../vectors/production_root.pem");
const PRODUCTION_MIDDLE: &str = include_str!("../vectors/production_middle.pem");
const PRODUCTION_SIGNER: &str = include_str!("../vectors/production_signer.pem");

/// Between the times of all vectors.
fn then() -> Instant {
    Instant::parse_rfc3339("2024-01-05T08:00:00Z").expect("an instant")
}

/// The vectors' account, with a key of ours: theirs is not needed to read.
fn at_the_test_gateway() -> Unionpay {
    let credentials = Credentials { root: TEST_ROOT.into(), middle: TEST_MIDDLE.into(), ..credentials() };
    Unionpay::new("default", "https://gateway.test.95516.com", credentials).expect("good credentials")
}

fn genuine(text: &str) -> Answer {
    let certificate = TEST_SIGNER.trim_end().replace('\n', "\r\n");
    Answer { status: 200, headers: Vec::new(), body: text.replace("{certificate}", &certificate).into_bytes() }
}

#[test]
fn a_genuine_notification_is_believed() {
    let received = Received { headers: &[], body: NOTIFICATION.as_bytes() };
    let notice = Notice {
        number: "yansongda20220908132206".into(),
        reference: "782209081322060674028".into(),
        amount_minor: 1,
        currency: "CNY".into(),
        dated: Dated {
            effective_at: Instant::parse_rfc3339("2022-09-08T13:22:06+08:00"),
            bill_day: crate::domain::dated::Day::new(2022, 9, 8),
        },
    };
    let unionpay = at_the_test_gateway();
    assert_eq!(unionpay.callback(&received, then()), Ok(Heard::Capture(notice)));
    let late = Instant::parse_rfc3339("2025-08-01T00:00:00Z").expect("an instant");
    assert_eq!(unionpay.callback(&received, late), Err(CallbackError::Forged), "its certificate ended in July 2025");
}

#[test]
fn genuine_answers_are_believed() {
    let stamp = Stamp { at: then(), nonce: String::new() };
    let unionpay = at_the_test_gateway();
    let query = unionpay.told_of("pay20240105145046", "20240105145046", &stamp, &genuine(QUERY_ANSWER));
    let query = query.expect("a query's answer");
    assert_eq!((code(&query, "respCode"), code(&query, "origRespCode")), ("00", "00"));
    assert_eq!(reference_and_amount(&query), Some(("442401051450467846498", 1)));
    let refund = unionpay.told_of("refundpay20240105165842", "20240105165842", &stamp, &genuine(REFUND_ANSWER));
    assert_eq!(code(&refund.expect("a refund's answer"), "respCode"), "00");
    let expected = Dated {
        effective_at: Instant::parse_rfc3339("2024-01-05T14:50:46+08:00"),
        bill_day: crate::domain::dated::Day::new(2024, 1, 5),
    };
    assert_eq!(dated(&query), expected);
}

/// It names no currency and the purchase by `origQryId`.
#[test]
fn a_genuine_answer_to_a_refund_says_that_it_was_taken() {
    let stamp = Stamp { at: then(), nonce: String::new() };
    let ask = RefundAsk {
        refund_number: "refundpay20240105165842".into(),
        reference: "052401051658427862748".into(),
        dated_at: Instant::parse_rfc3339("2024-01-05T16:58:42+08:00").expect("an instant"),
        amount_minor: 1,
        ..refund_ask()
    };
    let read = |ask: &RefundAsk| at_the_test_gateway().read_refund(ask, &stamp, &genuine(REFUND_ANSWER));
    assert_eq!(read(&ask), RefundOutcome::Pending { hold: Hold::Processing });
    let other = RefundAsk { reference: "052401051658427862749".into(), ..ask.clone() };
    assert!(matches!(read(&other), RefundOutcome::Unknown { .. }));
    assert!(matches!(read(&RefundAsk { amount_minor: 2, ..ask }), RefundOutcome::Unknown { .. }));
}

#[test]
fn trap_02_the_crlfs_of_the_certificate_are_signed() {
    let stamp = Stamp { at: then(), nonce: String::new() };
    let mut changed = genuine(QUERY_ANSWER);
    changed.body.retain(|byte| *byte != b'\r');
    assert!(at_the_test_gateway().told(&stamp, &changed).is_err());
}

#[test]
fn trap_05_a_direct_answer_that_is_decoded_as_a_form_does_not_verify() {
    let answer = genuine(QUERY_ANSWER);
    let decoded = message::read_form(&answer.body).expect("a form");
    assert!(at_the_test_gateway().believed(&decoded, then()).is_err());
}

#[test]
fn trap_05_the_hash_is_hashed_again_and_the_certificates_number_is_signed() {
    let (certificate_id, public_key) = certificate::identities(TEST_MERCHANT).expect("a certificate").remove(0);
    let request = message::read_form(REFUND_REQUEST.as_bytes()).expect("a form");
    assert_eq!(request["certId"], certificate_id, "decimal");
    assert!(signature::is_signed(&request, &public_key));
    assert!(!signature::is_signed(&with(request.clone(), &[("certId", "")]), &public_key));
    let once = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256,
        public_key.as_slice(),
    );
    let signature = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &request["signature"]);
    let signature = signature.expect("base64");
    assert!(once.verify(signature::signed_text(&request).as_bytes(), &signature).is_err(), "a single hash");
}

#[test]
fn the_signed_text_is_as_documented() {
    let request = fields(&[
        ("version", "5.1.0"),
        ("txnType", "01"),
        ("bizType", "000201"),
        ("signature", "x"),
        ("certId", "69026276696"),
        ("txnAmt", "1"),
    ]);
    assert_eq!(signature::signed_text(&request), "bizType=000201&certId=69026276696&txnAmt=1&txnType=01&version=5.1.0");
}

#[test]
fn the_production_chain_is_trusted_though_its_issuer_signs_with_sha_1() {
    let chain = Chains::new(PRODUCTION_ROOT, PRODUCTION_MIDDLE, SIGNER_NAME).expect("a chain");
    assert!(chain.key_of(PRODUCTION_SIGNER, then()).is_ok());
    assert!(chain.key_of(TEST_SIGNER, then()).is_err(), "the test gateway's signer is not the production one's");
    assert!(Chains::new(PRODUCTION_ROOT, TEST_MIDDLE, SIGNER_NAME).is_err());
    assert!(Chains::new(TEST_ROOT, PRODUCTION_MIDDLE, SIGNER_NAME).is_err());
}
