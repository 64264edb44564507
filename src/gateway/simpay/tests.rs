//! Calls at chosen instants; how they are signed and called back is tested from outside, in `tests/gateway.rs`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::gateway::agenda::PaymentId;
use crate::gateway::fate::RefundState;

const NUMBER: &str = "01JG00048HE8H86CT48HANASK600";
const REFUND: &str = "01JG00048HE8H86CT48HANASK600R00";

struct Far {
    gateway: Gateway,
    account: AccountId,
    folder: PathBuf,
    now: i64,
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A far end with a payment that was paid.
fn paid(test: &str) -> Far {
    let folder = std::env::temp_dir().join(format!("tongbao-simpay-{test}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let mut config = Config::load(&[]).unwrap();
    config.data.dir.clone_from(&folder);
    config.channels.retain(|name, _| name == "simpay");
    let gateway = Gateway::open(&config).unwrap();
    let account = gateway.simpay.wires[0].0;
    let far = Far { gateway, account, folder, now: crate::gateway::now_ms() };
    let payment = json!({
        "number": NUMBER, "amount_minor": 20060, "currency": "CNY", "method": "qr", "description": "Tea",
        "notify_url": "http://127.0.0.1:9/n", "expires_at": far.now + 600_000,
    });
    assert_eq!(far.call(Call::Create, &payment, 0).0, 200);
    far.gateway.payer_acts(PaymentId { account, number: NUMBER.into() });
    far
}

fn refund(reason: &str) -> Value {
    let mut body = json!({
        "refund_number": REFUND, "number": NUMBER, "amount_minor": 20060, "currency": "CNY",
        "notify_url": "http://127.0.0.1:9/r",
    });
    if !reason.is_empty() {
        body["reason"] = json!(reason);
    }
    body
}

impl Far {
    /// The status, the body and the conduct of an answer this long after the payment.
    fn call(&self, call: Call, body: &Value, after_ms: i64) -> (u16, Value, Conduct) {
        let outcome = answer(&self.gateway, self.account, call, body.to_string().as_bytes(), self.now + after_ms);
        (outcome.status.as_u16(), serde_json::from_slice(&outcome.body).unwrap(), outcome.fault.conduct)
    }

    fn refused(&self, body: &Value, after_ms: i64) -> (u16, String) {
        let (status, answer, _) = self.call(Call::Refund, body, after_ms);
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    }

    fn found(&self, after_ms: i64) -> Value {
        let (status, answer, conduct) = self.call(Call::QueryRefund, &json!({ "refund_number": REFUND }), after_ms);
        assert_eq!((status, conduct), (200, Conduct::Answers));
        answer
    }

    /// What is told when the refund gets into this state.
    fn told(&self, state: RefundState) -> Option<Value> {
        let now = self.now + 99_999;
        let notice = self.gateway.books.refund_notice(self.account, &REFUND.into(), state, now)?;
        let callback = self.gateway.wire(self.account).refund_callback(&notice, now)?;
        serde_json::from_slice(&callback.body).unwrap()
    }
}

#[test]
fn scripts_of_refunds_go_their_way() {
    for (reason, first, states, told) in [
        ("", "pending", &[(300, "refunded", true)][..], &[(RefundState::Refunded, 300)][..]),
        ("sim:hang", "pending", &[(300, "refunded", true)], &[(RefundState::Refunded, 300)]),
        ("sim:error", "pending", &[(300, "refunded", true)], &[(RefundState::Refunded, 300)]),
        ("sim:end", "pending", &[(300, "ended", true)], &[(RefundState::Ended, 300)]),
        ("sim:late", "pending", &[(20_000, "refunded", true)], &[]),
        ("sim:stuck", "stuck", &[(0, "stuck", false)], &[]),
        (
            "sim:return",
            "pending",
            &[(300, "refunded", true), (3_300, "returned", true)],
            &[(RefundState::Refunded, 300), (RefundState::Returned, 3_300)],
        ),
    ] {
        let far = paid(&format!("refund-{}", reason.replace(':', "-")));
        let expected = match reason {
            "sim:hang" => Conduct::Hangs,
            "sim:error" => Conduct::Fails,
            _ => Conduct::Answers,
        };
        let answer = |state: &str, finished_at: Option<i64>| json!({ "refund_number": REFUND, "state": state, "amount_minor": 20060, "finished_at": finished_at });
        assert_eq!(far.call(Call::Refund, &refund(reason), 0), (200, answer(first, None), expected), "{reason}");
        let again = far.call(Call::Refund, &refund(reason), 0);
        assert_eq!(again, (200, answer(first, None), Conduct::Answers), "{reason}: whoever calls again is answered");
        let mut before = answer(first, None);
        for (at, state, is_finished) in states {
            assert_eq!(far.found((at - 1).max(0)), before, "{reason} before {at}");
            before = answer(state, is_finished.then_some(far.now + at));
            assert_eq!(far.found(*at), before, "{reason} at {at}");
        }
        let all = [
            RefundState::Pending,
            RefundState::Refunded,
            RefundState::Ended,
            RefundState::Stuck,
            RefundState::Returned,
        ];
        for state in all {
            let expected = told.iter().find(|(known, _)| *known == state).map(|(_, at)| {
                json!({
                    "refund_number": REFUND, "number": NUMBER, "state": state, "amount_minor": 20060,
                    "currency": "CNY", "finished_at": far.now + at,
                })
            });
            assert_eq!(far.told(state), expected, "{reason} {state:?}");
        }
        // Another one can have the money if this one has it no more.
        let mut other = refund("");
        other["refund_number"] = json!("01JG00048HE8H86CT48HANASK600R01");
        let is_free = matches!(reason, "sim:end" | "sim:return");
        let expected = if is_free { (200, "") } else { (422, "refund_exceeds") };
        assert_eq!(far.refused(&other, 30_000), (expected.0, expected.1.to_owned()), "{reason}");
    }
}

#[test]
fn a_refund_is_refused_for_certain_or_for_now() {
    let far = paid("refund-refused");
    for _ in 0..2 {
        assert_eq!(far.refused(&refund("sim:refuse at once"), 0), (409, "refund_refused".into()));
        assert_eq!(far.refused(&refund("sim:poor"), 0), (409, "not_enough".into()));
    }
    assert_eq!(far.refused(&refund("sim:poor"), 4_999), (409, "not_enough".into()));
    assert_eq!(far.call(Call::QueryRefund, &json!({ "refund_number": REFUND }), 4_999).0, 404);
    assert_eq!(far.call(Call::Refund, &refund("sim:poor"), 5_000).1["state"], "pending");
    assert_eq!(far.found(5_300)["state"], "refunded");
}

#[test]
fn a_refund_without_an_address_is_told_to_nobody() {
    let far = paid("refund-silent");
    let mut body = refund("");
    body.as_object_mut().unwrap().remove("notify_url");
    assert_eq!(far.call(Call::Refund, &body, 0).0, 200);
    assert_eq!((far.told(RefundState::Refunded), far.found(300)["state"].as_str()), (None, Some("refunded")));
}

#[test]
fn fields_of_a_refund_are_held_to_their_forms() {
    let far = paid("refund-fields");
    for (name, value) in [
        ("reason", json!("x".repeat(81))),
        ("reason", json!("")),
        ("reason", json!("a\u{7}")),
        ("reason", json!(1)),
        ("notify_url", json!("ftp://127.0.0.1/")),
        ("notify_url", json!(format!("http://127.0.0.1/{}", "x".repeat(255)))),
        ("refund_number", json!("short")),
        ("refund_number", json!("with a blank")),
        ("amount_minor", json!(0)),
        ("amount_minor", json!("1")),
        ("event", json!("refund")),
    ] {
        let mut body = refund("");
        body[name] = value.clone();
        assert_eq!(far.refused(&body, 0), (400, "malformed".into()), "{name}={value}");
    }
    let mut body = refund(&"款".repeat(80));
    body["notify_url"] = json!(null);
    assert_eq!(far.call(Call::Refund, &body, 0).0, 200, "the very bound passes");
}
