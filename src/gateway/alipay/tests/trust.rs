//! Who is believed, and whose refusals are signed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;

const QUERY: &str = "alipay.trade.query";

#[actix_web::test]
async fn a_refusal_is_signed_only_for_whom_there_is_a_key() {
    let sandbox = Sandbox::open();
    let content = json!({ "out_trade_no": "A1" });
    let mut stranger = sandbox.common(QUERY);
    stranger.insert("app_id".into(), "2021000000000000".into());
    stranger.insert("biz_content".into(), content.to_string());
    let answer = sandbox.send(sandbox.signed(stranger)).await;
    assert_eq!(answer.content_type, "text/html;charset=utf-8");
    assert!(answer.text.contains("isv.invalid-app-id") && !answer.text.contains("\"sign\""), "{}", answer.text);

    let mut forged = sandbox.request(QUERY, &content);
    forged.insert("biz_content".into(), json!({ "out_trade_no": "A2" }).to_string());
    let answer = sandbox.send(forged).await;
    assert_eq!(sub_code(&sandbox.believed(QUERY, &answer.text)), "isv.invalid-signature");
}

#[actix_web::test]
async fn what_is_missing_or_wrong_is_named() {
    let sandbox = Sandbox::open();
    let stale = units::beijing(now_ms() - 25 * 3_600_000);
    let ahead = units::beijing(now_ms() + 25 * 3_600_000);
    for (name, value, expected) in [
        ("method", "", "isv.missing-method"),
        ("method", "alipay.trade.cancel", "isv.invalid-method"),
        ("app_id", "", "isv.missing-app-id"),
        ("sign_type", "RSA", "isv.invalid-signature-type"),
        ("charset", "GBK", "isv.invalid-charset"),
        ("version", "2.0", "isv.invalid-version"),
        ("format", "XML", "isv.invalid-format"),
        ("timestamp", "", "isv.invalid-timestamp"),
        ("timestamp", "2026-01-01T00:00:00Z", "isv.invalid-timestamp"),
        ("timestamp", &stale, "isv.invalid-timestamp"),
        ("timestamp", &ahead, "isv.invalid-timestamp"),
        ("biz_content", "", "isv.invalid-parameter"),
        ("app_cert_sn", "0123", "isv.invalid-parameter"),
    ] {
        let mut parameters = sandbox.common(QUERY);
        parameters.insert("biz_content".into(), json!({ "out_trade_no": "A1" }).to_string());
        parameters.insert(name.into(), value.into());
        let answer = sandbox.send(sandbox.signed(parameters)).await;
        assert!(answer.text.contains(expected), "{name}={value}: {}", answer.text);
    }
    let mut unsigned = sandbox.common(QUERY);
    unsigned.insert("biz_content".into(), "{}".into());
    assert!(sandbox.send(unsigned).await.text.contains("isv.missing-signature"));
}

#[actix_web::test]
async fn trap_09_a_doubled_parameter_or_a_broken_form_is_not_looked_at() {
    let sandbox = Sandbox::open();
    let parameters = sandbox.request(QUERY, &json!({ "out_trade_no": "A1" }));
    let query = form::write(&parameters);
    for query in [format!("{query}&app_id=1"), format!("{query}&x"), format!("{query}&x=%zz")] {
        let answer = sandbox.fetch(test::TestRequest::post(), &query, String::new()).await;
        assert!(
            answer.text.starts_with("{\"error_response\":") && !answer.text.contains("\"sign\""),
            "{}",
            answer.text
        );
    }
    let mut odd = sandbox.common("x\":1,\"y");
    odd.insert("biz_content".into(), "{}".into());
    let answer = sandbox.send(sandbox.signed(odd)).await;
    assert!(serde_json::from_str::<Value>(&answer.text).is_ok() && answer.text.starts_with("{\"error_response\":"));
}

#[actix_web::test]
async fn whoever_names_certificates_must_name_the_right_ones_and_is_named_ours() {
    let sandbox = Sandbox::open();
    let names = &sandbox.gateway.alipay.wires[0].1.certificates;
    let mut parameters = sandbox.common(QUERY);
    parameters.insert("biz_content".into(), json!({ "out_trade_no": "A1" }).to_string());
    parameters.insert("app_cert_sn".into(), names.app_sn.clone());
    parameters.insert("alipay_root_cert_sn".into(), names.root_sn.clone());
    let answer = sandbox.send(sandbox.signed(parameters.clone())).await;
    assert_eq!(sub_code(&sandbox.believed(QUERY, &answer.text)), "ACQ.TRADE_NOT_EXIST");
    let whole: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(whole["alipay_cert_sn"], names.alipay_sn);
    assert_eq!(names.alipay_sn.len(), 32);
    parameters.insert("alipay_root_cert_sn".into(), names.app_sn.clone());
    assert!(sandbox.send(sandbox.signed(parameters)).await.text.contains("isv.invalid-parameter"));
}

/// As the official SDK for Java fetches and reads it.
#[actix_web::test]
async fn the_certificate_that_answers_name_can_be_fetched() {
    const DOWNLOAD: &str = "alipay.open.app.alipaycert.download";
    let sandbox = Sandbox::open();
    let sn = sandbox.gateway.alipay.wires[0].1.certificates.alipay_sn.clone();
    let answer = sandbox.send(sandbox.request(DOWNLOAD, &json!({ "alipay_cert_sn": sn }))).await;
    let whole: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(whole.get("sign"), None, "the certificate proves itself");
    let content = whole["alipay_open_app_alipaycert_download_response"]["alipay_cert_content"].as_str().unwrap();
    assert_eq!(STANDARD.decode(content).unwrap(), sandbox.account.alipay_certificate.as_bytes());
    let answer = sandbox.send(sandbox.request(DOWNLOAD, &json!({ "alipay_cert_sn": "0".repeat(32) }))).await;
    assert!(answer.text.contains("40004"), "{}", answer.text);
}
