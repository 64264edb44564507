//! Refunds: what each script comes to, what is told of it, and how many there may be.

use super::*;
use crate::gateway::books::Refusal;
use crate::gateway::fate::RefundState;
use crate::gateway::payer::Conduct;
use crate::gateway::wechat::calls::{Caller, Done};
use crate::gateway::wechat::failure::Failure;
use crate::gateway::wechat::refunds;

const REFUNDS: &str = "/wechat/v3/refund/domestic/refunds";

fn body(number: &str, refund: &str, amount: i64, reason: &str) -> Value {
    let amount = json!({ "refund": amount, "total": 20060, "currency": "CNY" });
    let mut body = json!({
        "out_trade_no": number, "out_refund_no": format!("{number}{refund}"), "amount": amount,
        "notify_url": "http://127.0.0.1:9/n",
    });
    if !reason.is_empty() {
        body["reason"] = json!(reason);
    }
    body
}

fn caller() -> Caller<'static> {
    let (account, wire) = world().gateway.wechat.wire(&world().account.mchid).unwrap();
    Caller { account, wire, telling: wire.telling(None) }
}

/// What a call at this instant comes to, and how it is answered.
fn read(done: Result<Done, Failure>) -> Result<(Value, Conduct), (u16, &'static str)> {
    match done {
        Ok(done) => Ok((serde_json::from_slice(&done.body).unwrap(), done.fault.conduct)),
        Err(failure) => Err((failure.status.as_u16(), failure.code)),
    }
}

fn refund(body: &Value, now: i64) -> Result<(Value, Conduct), (u16, &'static str)> {
    read(refunds::refund(&world().gateway, caller(), body.to_string().as_bytes(), now))
}

fn found(number: &str, refund: &str, now: i64) -> Value {
    read(refunds::query(&world().gateway, caller(), &format!("{number}{refund}"), now)).unwrap().0
}

/// The event and the content of the notification of a refund that got into this state.
fn told(number: &str, refund: &str, state: RefundState) -> Option<(String, Value)> {
    let refund_number = format!("{number}{refund}").into();
    let notice = world().gateway.books.refund_notice(caller().account, &refund_number, state, now_ms())?;
    let callback = caller().wire.refund_callback(&notice, now_ms())?;
    assert!(is_genuine(&callback.headers, &callback.body));
    let body: Value = serde_json::from_slice(&callback.body).unwrap();
    let again = caller().wire.refund_callback(&notice, now_ms() + 5_000)?;
    assert_eq!(serde_json::from_slice::<Value>(&again.body).unwrap()["id"], body["id"], "the same in every try");
    assert_eq!(body["resource"]["original_type"], "refund");
    let content = serde_json::from_slice(&unsealed(&body["resource"])).unwrap();
    Some((body["event_type"].as_str().unwrap().to_owned(), content))
}

#[actix_web::test]
async fn a_refund_is_accepted_once_and_done_later() {
    let number = number("refund");
    paid(&number).await;
    let refund = |no: &str, amount: i64, total: i64| {
        let mut body = body(&number, no, amount, "");
        body["amount"]["total"] = json!(total);
        Sent::post(REFUNDS, &body)
    };
    let first = refund("R0", 60, 20060).go().await.good();
    assert_eq!((&first["status"], &first["amount"]["refund"]), (&json!("PROCESSING"), &json!(60)));
    assert_eq!(first.get("success_time"), None);
    assert_eq!(refund("R0", 60, 20060).go().await.good()["refund_id"], first["refund_id"]);
    for wrong in [refund("R0", 61, 20060), refund("R1", 20001, 20060), refund("R1", 60, 20061)] {
        assert_eq!(wrong.go().await.refusal(), (400, "INVALID_REQUEST".into()));
    }
    assert_eq!(refund("R1", 0, 20060).go().await.refusal(), (400, "PARAM_ERROR".into()));
    assert_eq!(queried(&number).await["trade_state"], "REFUND");
    let query = |no: &str| Sent::get(&format!("{REFUNDS}/{number}{no}"));
    assert_eq!(query("R9").go().await.refusal(), (404, "RESOURCE_NOT_EXISTS".into()));
    std::thread::sleep(std::time::Duration::from_millis(350));
    let done = query("R0").go().await.good();
    assert_eq!(done["status"], "SUCCESS");
    assert!(done["success_time"].as_str().unwrap().ends_with("+08:00"));
    for (name, value) in [("reason", json!("x".repeat(81))), ("notify_url", json!("http://127.0.0.1/?x"))] {
        let mut wrong = body(&number, "R2", 1, "");
        wrong[name] = value;
        assert_eq!(Sent::post(REFUNDS, &wrong).go().await.refusal(), (400, "PARAM_ERROR".into()), "{name}");
    }
}

#[actix_web::test]
async fn scripts_do_what_the_protocol_can_express() {
    let now = now_ms();
    for (reason, first, at, last, news) in [
        ("", "PROCESSING", 300, "SUCCESS", Some((RefundState::Refunded, "REFUND.SUCCESS"))),
        ("sim:hang", "PROCESSING", 300, "SUCCESS", Some((RefundState::Refunded, "REFUND.SUCCESS"))),
        ("sim:error", "PROCESSING", 300, "SUCCESS", Some((RefundState::Refunded, "REFUND.SUCCESS"))),
        ("sim:end", "PROCESSING", 300, "CLOSED", Some((RefundState::Ended, "REFUND.CLOSED"))),
        ("sim:stuck", "PROCESSING", 300, "ABNORMAL", Some((RefundState::Stuck, "REFUND.ABNORMAL"))),
        ("sim:late", "PROCESSING", 20_000, "SUCCESS", None),
        ("sim:return", "PROCESSING", 300, "SUCCESS", Some((RefundState::Refunded, "REFUND.SUCCESS"))),
    ] {
        let number = number(&reason.replace(':', ""));
        paid(&number).await;
        let (taken, conduct) = refund(&body(&number, "R0", 60, reason), now).unwrap();
        let expected = match reason {
            "sim:hang" => Conduct::Hangs,
            "sim:error" => Conduct::Fails,
            _ => Conduct::Answers,
        };
        assert_eq!((&taken["status"], conduct), (&json!(first), expected), "{reason}");
        let (again, conduct) = refund(&body(&number, "R0", 60, reason), now).unwrap();
        assert_eq!((&again, conduct), (&taken, Conduct::Answers), "{reason}: whoever calls again is answered");
        assert_eq!(found(&number, "R0", now + at - 1)["status"], first, "{reason}");
        for later in [at, at + 9_999] {
            let found = found(&number, "R0", now + later);
            assert_eq!(found["status"], last, "{reason}");
            assert_eq!(found.get("success_time").is_some(), last == "SUCCESS", "{reason}");
        }
        assert!(told(&number, "R0", RefundState::Pending).is_none(), "{reason}");
        match news {
            None => assert!(told(&number, "R0", RefundState::Refunded).is_none(), "{reason}"),
            Some((state, event)) => {
                let (event_type, content) = told(&number, "R0", state).unwrap();
                assert_eq!((event_type.as_str(), &content["refund_status"]), (event, &json!(last)), "{reason}");
                assert_eq!(content.get("success_time").is_some(), last == "SUCCESS", "{reason}");
                assert_eq!(content["out_refund_no"], json!(format!("{number}R0")), "{reason}");
                assert_eq!((&content["refund_id"], &content["amount"]["refund"]), (&taken["refund_id"], &json!(60)));
            }
        }
        let free = if last == "CLOSED" { 20060 } else { 20000 };
        let rest =
            |amount| refund(&body(&number, "R1", amount, ""), now + 30_000).map(|(taken, _)| taken["status"].clone());
        assert_eq!(
            rest(free + 1).err(),
            Some(if free == 20060 { (400, "PARAM_ERROR") } else { (400, "INVALID_REQUEST") })
        );
        assert_eq!(rest(free), Ok(json!("PROCESSING")), "{reason}");
    }
    let number = number("refuse");
    paid(&number).await;
    for _ in 0..2 {
        assert_eq!(refund(&body(&number, "R0", 60, "sim:refuse"), now), Err((403, "USER_ACCOUNT_ABNORMAL")));
        assert_eq!(refund(&body(&number, "R1", 60, "sim:poor"), now + 4_999), Err((403, "NOT_ENOUGH")));
    }
    assert_eq!(read(refunds::query(&world().gateway, caller(), &format!("{number}R1"), now)).err().unwrap().0, 404);
    let (late, _) = refund(&body(&number, "R1", 60, "sim:poor"), now + 9_999).unwrap();
    assert_eq!(
        (&late["status"], &found(&number, "R1", now + 10_299)["status"]),
        (&json!("PROCESSING"), &json!("SUCCESS"))
    );
}

#[actix_web::test]
async fn a_payments_refunds_are_a_minute_apart_and_fifty() {
    let (number, now) = (number("limits"), now_ms());
    paid(&number).await;
    // A minute is three seconds in the sandbox.
    let at = |nth: i64| now + nth * 3_000;
    let send = |nth: i64, at: i64| refund(&body(&number, &format!("R{nth}"), 1, ""), at).map(|_| ());
    send(0, at(0)).unwrap();
    assert_eq!(send(1, at(1) - 1), Err((429, "FREQUENCY_LIMITED")));
    assert_eq!(send(0, at(1) - 1), Ok(()), "a number that is sent again is no other refund");
    for nth in 1..50 {
        send(nth, at(nth)).unwrap();
    }
    assert_eq!(send(50, at(99)), Err((400, "INVALID_REQUEST")));
    assert_eq!(send(49, at(99)), Ok(()));
    assert_eq!(Failure::of_refund(Refusal::TooManyRefunds).message, "a payment can be refunded 50 times at most");
}
