//! Refunds, what is told of money, and the bill.

use std::io::{Cursor, Read};

use serde_json::json;

use super::*;
use crate::gateway::alipay::calls;
use crate::gateway::books::{Capture, Notice};
use crate::gateway::fate::RefundState;
use crate::gateway::payer::Conduct;
use crate::gateway::wire::{Callback, Wire};

async fn paid(sandbox: &Sandbox) {
    sandbox.browse(&page("A1", "Tea, green")).await;
    sandbox.payer_acts("A1");
}

async fn refund(sandbox: &Sandbox, amount: &str, number: &str) -> Value {
    let content = json!({ "out_trade_no": "A1", "refund_amount": amount, "out_request_no": number });
    sandbox.call("alipay.trade.refund", content).await
}

#[actix_web::test]
async fn a_refund_changes_funds_once_and_tells_the_sum_of_all() {
    let sandbox = Sandbox::open();
    paid(&sandbox).await;
    let first = refund(&sandbox, "0.60", "A1R00").await;
    assert_eq!((&first["fund_change"], &first["refund_fee"]), (&json!("Y"), &json!("0.60")));
    let again = refund(&sandbox, "0.60", "A1R00").await;
    assert_eq!((&again["fund_change"], &again["refund_fee"]), (&json!("N"), &json!("0.60")));
    assert_eq!(sub_code(&refund(&sandbox, "0.61", "A1R00").await), "ACQ.DISCORDANT_REPEAT_REQUEST");
    assert_eq!(sub_code(&refund(&sandbox, "200.01", "A1R01").await), "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL");
    assert_eq!(sub_code(&refund(&sandbox, "0.001", "A1R01").await), "ACQ.REASON_TRADE_REFUND_FEE_ERR");
    assert_eq!(sandbox.query("A1").await["trade_status"], "TRADE_SUCCESS");

    let rest = refund(&sandbox, "200.00", "A1R01").await;
    assert_eq!((&rest["fund_change"], &rest["refund_fee"]), (&json!("Y"), &json!("200.60")));
    // Closed, but it was paid.
    let closed = sandbox.query("A1").await;
    assert_eq!(closed["trade_status"], "TRADE_CLOSED");
    assert!(closed["send_pay_date"].is_string());
    assert_eq!(sub_code(&refund(&sandbox, "0.01", "A1R02").await), "ACQ.TRADE_HAS_FINISHED");
    assert_eq!(refund(&sandbox, "200.00", "A1R01").await["fund_change"], "N");
}

#[actix_web::test]
async fn a_refund_that_is_not_there_is_told_of_by_silence() {
    let sandbox = Sandbox::open();
    paid(&sandbox).await;
    refund(&sandbox, "0.60", "A1R00").await;
    let ask = |number: &'static str| {
        sandbox.call("alipay.trade.fastpay.refund.query", json!({ "out_trade_no": "A1", "out_request_no": number }))
    };
    let found = ask("A1R00").await;
    assert_eq!((&found["refund_status"], &found["refund_amount"]), (&json!("REFUND_SUCCESS"), &json!("0.60")));
    let silent = ask("A1R01").await;
    assert_eq!((&silent["code"], &silent["refund_status"]), (&json!("10000"), &json!(null)));
    let unpaid = sandbox.call(
        "alipay.trade.refund",
        json!({ "out_trade_no": "A9", "refund_amount": "1.00", "out_request_no": "A9R00" }),
    );
    assert_eq!(sub_code(&unpaid.await), "ACQ.TRADE_NOT_EXIST");
    sandbox.browse(&page("A2", "Tea")).await;
    let waiting = sandbox.call(
        "alipay.trade.refund",
        json!({ "out_trade_no": "A2", "refund_amount": "1.00", "out_request_no": "A2R00" }),
    );
    assert_eq!(sub_code(&waiting.await), "ACQ.TRADE_NOT_ALLOW_REFUND");
}

fn fields(callback: &Callback) -> Parameters {
    form::read("", &callback.body).unwrap()
}

fn notice(sandbox: &Sandbox) -> Notice {
    let account = sandbox.gateway.alipay.wires[0].0;
    let standing = sandbox.gateway.books.standing(&PaymentId { account, number: "A1".into() }).unwrap();
    Notice {
        number: "A1".into(),
        address: standing.address,
        asked_minor: standing.asked_minor,
        currency: standing.currency,
        capture: standing.capture.unwrap_or(Capture { reference: "1".into(), amount_minor: 1, at: 0 }),
        data: standing.data,
    }
}

#[actix_web::test]
async fn trap_03_a_notification_is_signed_without_its_sign_type() {
    let sandbox = Sandbox::open();
    paid(&sandbox).await;
    let wire = &sandbox.gateway.alipay.wires[0].1;
    let alipay = AppKey::from_pem(&sandbox.account.alipay_public_key).unwrap();
    let is_signed = |fields: &Parameters, left_out: &[&str]| {
        alipay.verify(signed_text(fields, left_out).as_bytes(), &fields["sign"])
    };
    let told = wire.callback(&notice(&sandbox), now_ms());
    let fields_told = fields(&told);
    assert!(is_signed(&fields_told, &["sign", "sign_type"]));
    assert!(!is_signed(&fields_told, &["sign"]));
    for (name, value) in [
        ("app_id", sandbox.account.app_id.as_str()),
        ("seller_id", &sandbox.account.seller_id),
        ("out_trade_no", "A1"),
        ("total_amount", "200.60"),
        ("trade_status", "TRADE_SUCCESS"),
        ("subject", "Tea, green"),
        ("notify_type", "trade_status_sync"),
    ] {
        assert_eq!(fields_told[name], value, "{name}");
    }
    // The id is the same in every try, the time is not.
    let later = fields(&wire.callback(&notice(&sandbox), now_ms() + 5_000));
    assert_eq!(later["notify_id"], fields_told["notify_id"]);
    assert_ne!(later["notify_time"], fields_told["notify_time"]);

    let forged = fields(&wire.forged(&notice(&sandbox), now_ms()));
    assert_eq!(forged["total_amount"], "200.60");
    assert!(!is_signed(&forged, &["sign", "sign_type"]));

    assert!(wire.is_acknowledgement(200, b"success"));
    for (status, body) in [(200, &b"fail"[..]), (200, b"success\n"), (200, b"SUCCESS"), (204, b""), (500, b"success")] {
        assert!(!wire.is_acknowledgement(status, body));
    }
}

#[actix_web::test]
async fn what_a_merchant_wants_to_read_again_comes_with_the_notification() {
    let sandbox = Sandbox::open();
    let mut content = page("A1", "Tea");
    (content["body"], content["passback_params"]) = (json!("Green & fine"), json!("a%3D1%26b"));
    sandbox.browse(&content).await;
    sandbox.payer_acts("A1");
    let told = fields(&sandbox.gateway.alipay.wires[0].1.callback(&notice(&sandbox), now_ms()));
    assert_eq!((told["body"].as_str(), told["passback_params"].as_str()), ("Green & fine", "a%3D1%26b"));
}

#[actix_web::test]
async fn trap_08_a_refund_is_told_of_without_undoing_the_payment() {
    let sandbox = Sandbox::open();
    paid(&sandbox).await;
    let (account, wire) = &sandbox.gateway.alipay.wires[0];
    let told = |number: &str| {
        let notice =
            sandbox.gateway.books.refund_notice(*account, &number.into(), RefundState::Refunded, now_ms()).unwrap();
        fields(&wire.refund_callback(&notice, now_ms()).unwrap())
    };
    refund(&sandbox, "0.60", "A1R00").await;
    let part = told("A1R00");
    assert_eq!((part["trade_status"].as_str(), part["refund_fee"].as_str()), ("TRADE_SUCCESS", "0.60"));
    assert!(part.contains_key("gmt_refund") && part["out_biz_no"] == "A1R00");
    refund(&sandbox, "200.00", "A1R01").await;
    let whole = told("A1R01");
    assert_eq!((whole["trade_status"].as_str(), whole["refund_fee"].as_str()), ("TRADE_CLOSED", "200.60"));
    assert_ne!(whole["notify_id"], part["notify_id"]);
}

/// What a call comes to at this instant, and how it is answered.
fn call_at(sandbox: &Sandbox, method: &str, content: &Value, now: i64) -> (Value, Conduct) {
    let parameters = sandbox.request(method, content);
    let Ok(request) = sandbox.gateway.alipay.verify(&parameters, now) else { panic!("it is signed") };
    let outcome = calls::answer(&sandbox.gateway, &request, "http://localhost", now);
    (outcome.content, outcome.fault.conduct)
}

#[actix_web::test]
async fn scripts_of_refunds_do_what_the_protocol_can_express() {
    for (reason, fund_change, done_ms, conduct, is_told) in [
        ("", "Y", 0, Conduct::Answers, true),
        ("sim:hang", "Y", 0, Conduct::Hangs, true),
        ("sim:error", "Y", 0, Conduct::Fails, true),
        ("sim:end", "Y", 0, Conduct::Answers, true),
        ("sim:stuck", "Y", 0, Conduct::Answers, true),
        ("sim:return", "Y", 0, Conduct::Answers, true),
        ("sim:late", "N", 20_000, Conduct::Answers, false),
    ] {
        let (sandbox, now) = (Sandbox::open(), now_ms() + 1_000);
        paid(&sandbox).await;
        let mut asked = json!({ "out_trade_no": "A1", "refund_amount": "200.60", "out_request_no": "A1R00" });
        asked["refund_reason"] = json!(reason);
        let refund = |now| call_at(&sandbox, "alipay.trade.refund", &asked, now);
        let (taken, answered) = refund(now);
        let fee = if fund_change == "Y" { "200.60" } else { "0.00" };
        let told = (taken["fund_change"].as_str().unwrap(), taken["refund_fee"].as_str().unwrap(), answered);
        assert_eq!(told, (fund_change, fee, conduct), "{reason}");
        let (again, answered) = refund(now + 1);
        assert_eq!((&again["fund_change"], answered), (&json!("N"), Conduct::Answers), "{reason}");
        let named = json!({ "out_trade_no": "A1", "out_request_no": "A1R00" });
        let query = |now| call_at(&sandbox, "alipay.trade.fastpay.refund.query", &named, now).0;
        let done = query(now + done_ms);
        assert_eq!((&done["code"], &done["refund_status"]), (&json!("10000"), &json!("REFUND_SUCCESS")), "{reason}");
        assert_eq!(done["gmt_refund_pay"], units::beijing(now + done_ms), "{reason}");
        let trade = |now| call_at(&sandbox, "alipay.trade.query", &named, now).0["trade_status"].clone();
        assert_eq!(trade(now + done_ms), "TRADE_CLOSED", "{reason}");
        if done_ms > 0 {
            let before = query(now + done_ms - 1);
            assert_eq!((&before["code"], &before["refund_status"]), (&json!("10000"), &json!(null)), "{reason}");
            assert_eq!(trade(now + done_ms - 1), "TRADE_SUCCESS", "{reason}");
        }
        let mut other = asked.clone();
        other["out_request_no"] = json!("A1R01");
        let taken_too = call_at(&sandbox, "alipay.trade.refund", &other, now + 1).0;
        assert_eq!(sub_code(&taken_too), "ACQ.TRADE_HAS_FINISHED", "{reason}: all of it is reserved");
        let account = sandbox.gateway.alipay.wires[0].0;
        let notice = sandbox.gateway.books.refund_notice(account, &"A1R00".into(), RefundState::Refunded, now);
        assert_eq!(notice.is_some(), is_told, "{reason}");
    }
    let (sandbox, now) = (Sandbox::open(), now_ms() + 1_000);
    paid(&sandbox).await;
    let refund = |reason: &str, now| {
        let asked = json!({
            "out_trade_no": "A1", "refund_amount": "0.60", "out_request_no": "A1R00", "refund_reason": reason
        });
        call_at(&sandbox, "alipay.trade.refund", &asked, now).0
    };
    assert_eq!(sub_code(&refund("sim:refuse", now)), "ACQ.TRADE_NOT_ALLOW_REFUND");
    assert_eq!(sub_code(&refund(&"x".repeat(257), now)), "ACQ.INVALID_PARAMETER");
    for after_ms in [0, 4_999] {
        assert_eq!(sub_code(&refund("sim:poor", now + after_ms)), "ACQ.SELLER_BALANCE_NOT_ENOUGH");
    }
    let taken = refund("sim:poor", now + 5_000);
    assert_eq!((&taken["fund_change"], &taken["refund_fee"]), (&json!("Y"), &json!("0.60")));
}

#[actix_web::test]
async fn a_bill_is_fetched_from_the_address_that_was_given() {
    let sandbox = Sandbox::open();
    paid(&sandbox).await;
    refund(&sandbox, "0.60", "A1R00").await;
    let late = json!({
        "out_trade_no": "A1", "refund_amount": "0.60", "out_request_no": "A1R01", "refund_reason": "sim:late"
    });
    sandbox.call("alipay.trade.refund", late).await;
    let today = &units::beijing(now_ms())[..10];
    let method = "alipay.data.dataservice.bill.downloadurl.query";
    let given = sandbox.call(method, json!({ "bill_type": "trade", "bill_date": today })).await;
    let address = given["bill_download_url"].as_str().unwrap();
    let path = address.strip_prefix("http://localhost:8080").unwrap_or_else(|| panic!("{address}"));
    let data = web::Data::from(Arc::clone(&sandbox.gateway));
    let app =
        test::init_service(App::new().app_data(data).service(web::scope("/alipay").configure(routes::routes))).await;
    let response = test::call_service(&app, test::TestRequest::get().uri(path).to_request()).await;
    let mut archive = zip::ZipArchive::new(Cursor::new(test::read_body(response).await.to_vec())).unwrap();
    let mut bytes = Vec::new();
    archive.by_index(0).unwrap().read_to_end(&mut bytes).unwrap();
    let text = encoding_rs::GBK.decode(&bytes).0.into_owned();
    assert!(text.contains("\tA1\t,交易\t,Tea, green\t,") || text.contains(",A1\t,交易\t,Tea, green\t,"), "{text}");
    assert!(text.contains(",A1R00\t,0.00,"), "{text}");
    assert!(!text.contains("A1R01"), "it is not done: {text}");
    assert!(text.contains("\t,-1.20,0.00,\t"), "the fee: {text}");

    let forged = test::TestRequest::get().uri("/alipay/bills/e30.e30").to_request();
    assert_eq!(test::call_service(&app, forged).await.status(), 404);
    for (content, expected) in [
        (json!({ "bill_type": "trade", "bill_date": "2099-01-01" }), "BILL_NOT_EXIST"),
        (json!({ "bill_type": "trade", "bill_date": "20260101" }), "INVAILID_ARGUMENTS"),
        (json!({ "bill_type": "merchant", "bill_date": today }), "INVAILID_ARGUMENTS"),
        (json!({ "bill_date": today }), "INVAILID_ARGUMENTS"),
    ] {
        assert_eq!(sub_code(&sandbox.call(method, content).await), expected);
    }
}
