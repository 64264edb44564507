//! An answer that Alipay's sandbox once gave, as the Node SDK publishes it for its own tests
//! (`alipay-sdk-nodejs-all`, `test/alipay.test.ts`, `checkResponseSign`, "should work"), with the key that was
//! beside it then (`test/fixtures/alipay-public-key.pem`, commit bf1c026).

use super::certificates::{Papers, papers, with};
use super::*;

const KEY: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAk7LzhmMa2c4qQd4fqAqenfbuFoA7stPKvoS1LrZEsVnOOGUUjwoa1oU9xsSPjcOW\
    hIerU/VAN4J95GIAXx59ipcleIyfLn2FhHXPgLJpvo+b2jJFyn/1/DbeJDh+0yDVAOf50Z7HhI0mdUhFMkXlT7BU0ZMtJf/TmISFEfhDU/w6\
    qFd6D42L97byAkq0K6LroglSVF24GqJEa7hSeUIkZWj7RasykXrc2uVJ1+ejkXE0LyPxa2AHykMGbJLf5SiZvaNzUZgnKIR36mLOHpQ/2JCX\
    xhXZYUWHzy0kMH54JcUEeksFWBYLGvLjV1phbcUIc3Q76tIuqApY6E222OoZZQIDAQAB";
const SIGN: &str = "F+LDzpTNiavn7xVZPGuPCSSVRSmWzJGgtuji6tVELGEaqMaNj0jRKXUEr5nloZJBBmwEnddOyCjjepMmrTKTvoOqQ0Efxpr/R1iE\
    eHTHVbb/Q8TTh6Up5gHJDkILdaWS2q1cWeQ6VT+HQY9P3WRXS7uhILHuDODIhpAyCu5KhWGt0rMCIG+Im6NODJP2oohtSCtmTFXg58HH587Z2y2b\
    dbjzOxLvzD9IrU1imghXQ2S/Q+wMIvRk9on6cWnBLkrNvJKapA2ReNGWOwyuASvB9zDVzhMPbR+3mfRGkVDxsq5HYLjBKGskJMXHw0HuugZij6Sc\
    RuaLPODhmHwr/pJ9yw==";

#[test]
fn a_true_answer_is_believed_and_a_changed_one_is_not() {
    let alipay =
        Alipay::new(account(), "https://x.example", credentials(Trust::PublicKey { pem: KEY.into() })).unwrap();
    let body = format!(
        r#"{{"alipay_open_file_upload_response":{{"code":"10000","msg":"Success","file_id":"CAxAToWB1JsAAAAAAAAAAAAADgSLAQBr"}},"sign":"{SIGN}"}}"#
    );
    let told = |body: &str| alipay.told("alipay.open.file.upload", &stamp(), &plain(body.to_owned()));
    let Ok(Told::Fine(fields)) = told(&body) else { panic!("a true answer") };
    assert_eq!(fields["file_id"], "CAxAToWB1JsAAAAAAAAAAAAADgSLAQBr");
    assert!(told(&body.replace("AQBr", "AQBs")).is_err());
}

/// The root file that Alipay hands out, to its sandbox's merchants as well: four roots, one of them with SM2 and one
/// with ECDSA (`yansongda/pay`, `tests/Cert/alipayRootCert.crt`).
const ROOTS: &str = include_str!("../vectors/alipayRootCert.crt");
/// What Alipay's sandbox handed out in 2023: its own certificate and the authority above it, whose own root `Ant
/// Financial Certification Authority R1 test` is in no file and which has no basic constraints (`yansongda/pay`,
/// `tests/Cert/alipayPublicCert.crt`).
const OF_SANDBOX: &str = include_str!("../vectors/alipayPublicCert.crt");

#[test]
fn report_the_very_files_of_alipays_sandbox_are_taken() {
    let taken = with(Papers { alipay: OF_SANDBOX.into(), root: ROOTS.into(), ..papers() }).unwrap();
    let parameters = called(&taken.query(&attempted(), &stamp()));
    // The one that all SDKs come to; with the ECDSA root in it Alipay answers `invalid-alipay-root-cert-sn`.
    let sn = "687b59193f3f462dd5336e5abf83c5d8_02941eef3187dddf3d3b83462e1dfcf6";
    assert_eq!(parameters["alipay_root_cert_sn"], sn);
}

/// The authority of the sandbox says of itself what a leaf says, and signs no messages all the same.
#[test]
fn an_authority_without_basic_constraints_is_known_by_what_it_issued() {
    let trust = Trust::Certificates { app: papers().app, alipay: OF_SANDBOX.into(), root: ROOTS.into() };
    let keys = Keys::new(&credentials(trust)).unwrap();
    assert_eq!((keys.signers(), keys.vouched()), (1, Some(Vouched::ByConfiguration)));
}

/// Applications in production and in the sandbox (published ones), and a seller.
#[test]
fn report_credentials_are_taken_in_their_production_form() {
    for app_id in ["2021001161683774", "9021000138690920", "2016082000295641"] {
        let trust = Trust::PublicKey { pem: KEY.into() };
        let taken =
            Credentials { app_id: app_id.into(), seller_id: Some("2088102172237210".into()), ..credentials(trust) };
        assert!(Alipay::new(account(), "https://openapi.alipay.com", taken).is_ok(), "{app_id}");
    }
}
