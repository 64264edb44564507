//! Payments by page and by code: how they begin, what becomes of them, and how they are closed.

use serde_json::json;

use super::super::wire::Origin;
use super::*;
use crate::gateway::fate::RefundState;
use crate::gateway::payer::Conduct;

#[actix_web::test]
async fn a_page_is_a_trade_from_when_the_browser_opened_it() {
    let sandbox = Sandbox::open();
    assert_eq!(sub_code(&sandbox.query("A1").await), "ACQ.TRADE_NOT_EXIST");
    let opened = sandbox.browse(&page("A1", "Tea <b>")).await;
    assert!(opened.text.contains("200.60 元") && opened.text.contains("Tea &lt;b&gt;"), "{}", opened.text);
    let waiting = sandbox.query("A1").await;
    assert_eq!((&waiting["code"], &waiting["trade_status"]), (&json!("10000"), &json!("WAIT_BUYER_PAY")));
    assert_eq!(waiting["send_pay_date"], json!(null));

    sandbox.payer_acts("A1");
    let paid = sandbox.query("A1").await;
    assert_eq!(paid["trade_status"], "TRADE_SUCCESS");
    assert_eq!((&paid["total_amount"], &paid["receipt_amount"]), (&json!("200.60"), &json!("200.60")));
    let trade_no = paid["trade_no"].as_str().unwrap();
    assert!(trade_no.len() == 28 && trade_no.bytes().all(|byte| byte.is_ascii_digit()), "{trade_no}");
    assert!(units::instant(paid["send_pay_date"].as_str().unwrap()).is_some());
    // `trade_no` wins over a number that is not there.
    let both = json!({ "out_trade_no": "A9", "trade_no": trade_no });
    assert_eq!(sandbox.call("alipay.trade.query", both).await["out_trade_no"], "A1");
    let again = sandbox.browse(&page("A1", "Tea <b>")).await;
    assert!(again.text.contains("ACQ."), "{}", again.text);
}

#[actix_web::test]
async fn a_page_may_come_by_get_and_an_old_signature_still_opens_it() {
    let sandbox = Sandbox::open();
    let mut parameters = sandbox.common("alipay.trade.page.pay");
    parameters.insert("timestamp".into(), units::beijing(now_ms() - 3_600_000));
    parameters.insert("biz_content".into(), page("A1", "Tea").to_string());
    let query = form::write(&sandbox.signed(parameters));
    let opened = sandbox.fetch(test::TestRequest::get(), &query, String::new()).await;
    assert!(opened.text.contains("收银台"), "{}", opened.text);
    assert_eq!(sandbox.query("A1").await["trade_status"], "WAIT_BUYER_PAY");
}

#[actix_web::test]
async fn what_a_browser_brings_wrongly_is_told_in_gbk_and_changes_nothing() {
    let sandbox = Sandbox::open();
    let mut changed = sandbox.request("alipay.trade.page.pay", &page("A1", "Tea"));
    changed.insert("biz_content".into(), page("A1", "Coffee").to_string());
    let mut wrong = page("A1", "Tea");
    wrong["product_code"] = json!("QR_CODE_OFFLINE");
    for answer in [sandbox.send(changed).await, sandbox.browse(&wrong).await] {
        assert_eq!(answer.content_type, "text/html;charset=GBK");
        assert!(answer.text.contains("抱歉"), "{}", answer.text);
    }
    assert_eq!(sub_code(&sandbox.query("A1").await), "ACQ.TRADE_NOT_EXIST");
}

#[actix_web::test]
async fn trap_11_a_code_is_given_again_for_the_same_request_only() {
    let sandbox = Sandbox::open();
    let first = sandbox.call("alipay.trade.precreate", code("A1", "Tea")).await;
    assert!(first["qr_code"].as_str().unwrap().starts_with("https://qr.alipay.com/"), "{first}");
    let again = sandbox.call("alipay.trade.precreate", code("A1", "Tea")).await;
    assert_eq!((&again["code"], &again["out_trade_no"]), (&json!("10000"), &json!("A1")));
    let changed = sandbox.call("alipay.trade.precreate", code("A1", "Coffee")).await;
    assert_eq!(sub_code(&changed), "ACQ.CONTEXT_INCONSISTENT");
    sandbox.payer_acts("A1");
    let paid = sandbox.call("alipay.trade.precreate", code("A1", "Tea")).await;
    assert_eq!(sub_code(&paid), "ACQ.TRADE_HAS_SUCCESS");
    let refused = sandbox.call("alipay.trade.precreate", code("A2", "sim:refuse")).await;
    assert_eq!(sub_code(&refused), "ACQ.TOTAL_FEE_EXCEED");
}

#[actix_web::test]
async fn a_code_is_no_trade_until_it_is_scanned() {
    let sandbox = Sandbox::with_delay(600_000);
    sandbox.call("alipay.trade.precreate", code("A1", "Tea")).await;
    assert_eq!(sub_code(&sandbox.query("A1").await), "ACQ.TRADE_NOT_EXIST");
    let close = sandbox.call("alipay.trade.close", json!({ "out_trade_no": "A1" })).await;
    assert_eq!(sub_code(&close), "ACQ.TRADE_NOT_EXIST");
}

#[actix_web::test]
async fn only_a_waiting_trade_is_closed_and_a_closed_one_was_never_paid() {
    let sandbox = Sandbox::open();
    sandbox.browse(&page("A1", "Tea")).await;
    let close = || sandbox.call("alipay.trade.close", json!({ "out_trade_no": "A1" }));
    assert_eq!(close().await["code"], "10000");
    let closed = sandbox.query("A1").await;
    assert_eq!((&closed["trade_status"], &closed["send_pay_date"]), (&json!("TRADE_CLOSED"), &json!(null)));
    assert_eq!(sub_code(&close().await), "ACQ.TRADE_STATUS_ERROR");
    assert!(sandbox.browse(&page("A1", "Tea")).await.text.contains("ACQ.TRADE_HAS_CLOSE"));

    sandbox.browse(&page("A2", "Tea")).await;
    sandbox.payer_acts("A2");
    let paid = sandbox.call("alipay.trade.close", json!({ "out_trade_no": "A2" })).await;
    assert_eq!(sub_code(&paid), "ACQ.TRADE_STATUS_ERROR");
}

#[actix_web::test]
async fn scripts_do_what_they_say() {
    let sandbox = Sandbox::open();
    for (number, subject, status, total) in [
        ("A1", "sim:decline", "TRADE_CLOSED", "200.60"),
        ("A2", "sim:refuse", "TRADE_CLOSED", "200.60"),
        ("A3", "sim:never", "WAIT_BUYER_PAY", "200.60"),
        ("A4", "sim:underpay", "TRADE_SUCCESS", "200.59"),
        ("A5", "sim:late", "WAIT_BUYER_PAY", "200.60"),
    ] {
        sandbox.browse(&page(number, subject)).await;
        sandbox.payer_acts(number);
        let found = sandbox.query(number).await;
        assert_eq!((&found["trade_status"], &found["total_amount"]), (&json!(status), &json!(total)), "{subject}");
    }
    // The close of a late one is answered as done, and the money comes nevertheless.
    assert_eq!(sandbox.call("alipay.trade.close", json!({ "out_trade_no": "A5" })).await["code"], "10000");
    sandbox.payer_acts("A5");
    assert_eq!(sandbox.query("A5").await["trade_status"], "TRADE_SUCCESS");
}

#[actix_web::test]
async fn a_trade_whose_time_is_over_is_closed_and_only_late_money_still_comes() {
    let sandbox = Sandbox::open();
    let place = |number: &str, subject: &str| {
        let mut content = page(number, subject);
        content["time_expire"] = json!(units::beijing(now_ms() - 60_000));
        let parameters = sandbox.request("alipay.trade.page.pay", &content);
        let request = sandbox.gateway.alipay.verify(&parameters, now_ms()).ok().unwrap();
        // As it was opened two minutes ago.
        assert!(super::super::calls::place(&sandbox.gateway, &request, Origin::Browser, now_ms() - 120_000).is_ok());
    };
    place("A1", "Tea");
    place("A2", "sim:late");
    assert_eq!(sandbox.query("A1").await["trade_status"], "TRADE_CLOSED");
    let close = |number: &'static str| sandbox.call("alipay.trade.close", json!({ "out_trade_no": number }));
    assert_eq!(sub_code(&close("A1").await), "ACQ.TRADE_STATUS_ERROR");
    assert_eq!(close("A2").await["code"], "10000");
    assert_eq!(sub_code(&close("A2").await), "ACQ.TRADE_STATUS_ERROR");
    sandbox.payer_acts("A1");
    sandbox.payer_acts("A2");
    assert_eq!(sandbox.query("A1").await["trade_status"], "TRADE_CLOSED");
    assert_eq!(sandbox.query("A2").await["trade_status"], "TRADE_SUCCESS");
}

#[actix_web::test]
async fn what_a_script_says_of_the_creation_befalls_the_first_call_after_a_browser() {
    let sandbox = Sandbox::open();
    sandbox.browse(&page("A1", "sim:error")).await;
    let failed = sandbox.send(sandbox.request("alipay.trade.query", &json!({ "out_trade_no": "A1" }))).await;
    assert!(!failed.text.contains("trade_status"), "{}", failed.text);
    assert_eq!(sandbox.query("A1").await["trade_status"], "WAIT_BUYER_PAY");
    // And the creation itself where a call makes it.
    let request =
        sandbox.gateway.alipay.verify(&sandbox.request("alipay.trade.precreate", &code("A2", "sim:hang")), now_ms());
    let outcome = super::super::calls::answer(&sandbox.gateway, &request.ok().unwrap(), "http://h", now_ms());
    assert_eq!(outcome.fault.conduct, Conduct::Hangs);
    assert_eq!(sandbox.query("A2").await["trade_status"], "WAIT_BUYER_PAY");
}

#[actix_web::test]
async fn fields_beyond_their_limits_are_refused() {
    let sandbox = Sandbox::open();
    let changed = |field: &str, value: Value| {
        let mut content = code("A1", "Tea");
        content[field] = value;
        content
    };
    for content in [
        changed("out_trade_no", json!("a-b")),
        changed("out_trade_no", json!("a".repeat(65))),
        changed("total_amount", json!("200.601")),
        changed("total_amount", json!("0.00")),
        changed("total_amount", json!("100000000.01")),
        changed("total_amount", json!(200.601)),
        changed("total_amount", json!(-1)),
        changed("total_amount", json!(true)),
        changed("total_amount", json!("2e2")),
        changed("subject", json!("a=b")),
        changed("subject", json!("a&b")),
        changed("subject", json!("a/b")),
        changed("subject", json!("茶".repeat(257))),
        changed("subject", json!("")),
        changed("time_expire", json!("2026-01-01T00:00:00+08:00")),
        changed("time_expire", json!("2020-01-01 00:00:00")),
        changed("product_code", json!("FAST_INSTANT_TRADE_PAY")),
        changed("seller_id", json!("2088000000000000")),
        changed("timeout_express", json!("16d")),
    ] {
        let answer = sandbox.call("alipay.trade.precreate", content.clone()).await;
        assert_eq!(sub_code(&answer), "ACQ.INVALID_PARAMETER", "{content}");
    }
    let mut doubled = sandbox.common("alipay.trade.precreate");
    let text = code("A1", "Tea").to_string().replacen('{', "{\"total_amount\":\"0.01\",", 1);
    doubled.insert("biz_content".into(), text);
    let answer = sandbox.send(sandbox.signed(doubled)).await;
    assert!(answer.text.contains("ACQ.INVALID_PARAMETER"), "{}", answer.text);
}

/// Official SDKs and their users write amounts as numbers too, name no address for notifications, and send members
/// that belong to other products.
#[actix_web::test]
async fn what_the_true_gateway_takes_is_taken() {
    let sandbox = Sandbox::open();
    let content = json!({
        "out_trade_no": "A1", "total_amount": 200.60, "subject": "Tea", "timeout_express": "90m",
        "goods_detail": [{ "goods_id": "tea", "quantity": 1, "price": 200.6 }], "business_params": {}
    });
    let mut parameters = sandbox.request("alipay.trade.precreate", &content);
    parameters.remove("notify_url");
    parameters.insert("format".into(), "json".into());
    parameters.insert("charset".into(), "UTF-8".into());
    parameters.insert("alipay_sdk".into(), "alipay-sdk-java-4.40.82.ALL".into());
    let answer = sandbox.send(sandbox.signed(parameters)).await;
    assert_eq!(sandbox.believed("alipay.trade.precreate", &answer.text)["code"], "10000");
    sandbox.payer_acts("A1");
    assert_eq!(sandbox.query("A1").await["total_amount"], "200.60");
    let account = sandbox.gateway.alipay.wires[0].0;
    let id = PaymentId { account, number: "A1".into() };
    assert!(sandbox.gateway.books.standing(&id).is_none(), "nobody wants to hear of it");
    let refund = json!({ "out_trade_no": "A1", "refund_amount": 0.6, "out_request_no": "R1" });
    assert_eq!(sandbox.call("alipay.trade.refund", refund).await["refund_fee"], "0.60");
    assert!(sandbox.gateway.books.refund_notice(account, &"R1".into(), RefundState::Refunded, now_ms()).is_none());
}
