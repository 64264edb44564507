//! Refunds: what each script comes to, what is told of it, and what moves on the balance.

use serde_json::json;

use super::*;
use crate::gateway::fate::RefundState;

/// A gateway whose one intent was paid, and its id.
fn paid(folder: &Path) -> (Gateway, String) {
    let gateway = open(folder);
    let id = made(&gateway, "Tea");
    payer_acts(&gateway);
    (gateway, id)
}

fn with_reason(intent: &str, reason: &str) -> String {
    format!("payment_intent={intent}&amount=500&metadata[refund_number]=R1&metadata[reason]={reason}")
}

fn at(gateway: &Gateway, id: &str, after_ms: i64) -> Value {
    ask_at(gateway, Call::RetrieveRefund(id), "", NOW + after_ms).1
}

/// The event that tells of this state of a refund.
fn told(gateway: &Gateway, id: &str, state: RefundState) -> Option<Value> {
    let notice = gateway.books.refund_notice(account(gateway), &id.into(), state, LATER)?;
    let wire = gateway.wire(account(gateway));
    let (one, other) = (wire.refund_callback(&notice, LATER)?, wire.refund_callback(&notice, LATER + 5_000)?);
    assert_eq!(one.body, other.body, "the same in every try");
    assert_ne!(one.headers, other.headers, "each is signed anew");
    serde_json::from_slice(&one.body).ok()
}

#[test]
fn scripts_do_what_the_protocol_can_express() {
    let folder = Folder::new("refund-scripts");
    let (gateway, intent) = paid(&folder.0);
    let none = &Value::Null;
    for (place, (reason, first, why, done_ms, last, failure)) in [
        ("tea", "pending", "processing", 300, "succeeded", none),
        ("sim:hang", "pending", "processing", 300, "succeeded", none),
        ("sim:end", "pending", "processing", 300, "failed", &json!("declined")),
        ("sim:late", "pending", "processing", 20_000, "succeeded", none),
        ("sim:poor", "pending", "insufficient_funds", 5_000, "succeeded", none),
        ("sim:stuck", "requires_action", "", 0, "requires_action", none),
        ("sim:return", "pending", "processing", 300, "succeeded", none),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = folder.0.join(place.to_string());
        let (gateway, intent) = paid(&folder);
        let made = outcome(&gateway, Call::CreateRefund, &with_reason(&intent, reason), Some("r"));
        let conduct = if reason == "sim:hang" { Conduct::Hangs } else { Conduct::Answers };
        assert_eq!((made.reply.status, made.fault.conduct), (200, conduct), "{reason}");
        let again = outcome(&gateway, Call::CreateRefund, &with_reason(&intent, reason), Some("r"));
        assert_eq!((&again.reply, again.fault.conduct), (&made.reply, Conduct::Answers), "{reason}");
        let made: Value = serde_json::from_str(&made.reply.body).expect("JSON");
        let id = made["id"].as_str().expect("an id");
        let why = if why.is_empty() { Value::Null } else { json!(why) };
        assert_eq!((&made["status"], &made["pending_reason"]), (&json!(first), &why), "{reason}");
        assert_eq!((&made["balance_transaction"], &made["failure_reason"]), (none, none), "{reason}");
        assert_eq!(at(&gateway, id, (done_ms - 1).max(0)), made, "{reason}");
        let done = at(&gateway, id, done_ms);
        assert_eq!((&done["status"], &done["failure_reason"]), (&json!(last), failure), "{reason}");
        assert_eq!((&done["pending_reason"], &done["failure_balance_transaction"]), (none, none), "{reason}");
        assert_eq!(done["balance_transaction"].is_string(), last == "succeeded", "{reason}");
        let (_, list) = ask_at(&gateway, Call::ListRefunds, &format!("payment_intent={intent}"), NOW + done_ms);
        assert_eq!(list["data"], json!([done]), "{reason}");
    }
    for _ in 0..2 {
        let refused = ask(&gateway, Call::CreateRefund, &with_reason(&intent, "sim:refuse"), Some("no"));
        assert_eq!(error(&refused), (400, "refund_disputed_payment"));
    }
    assert_eq!(ask(&gateway, Call::ListRefunds, "", None).1["data"], json!([]));
    let failed = outcome(&gateway, Call::CreateRefund, &with_reason(&intent, "sim:error"), Some("error"));
    assert_eq!(failed.fault.conduct, Conduct::Fails);
    let (status, again) = ask(&gateway, Call::CreateRefund, &with_reason(&intent, "sim:error"), Some("error"));
    assert_eq!((status, &again["error"]["type"]), (500, &json!("api_error")), "a 500 is repeated under its key");
    let (_, list) = ask(&gateway, Call::ListRefunds, "", None);
    assert_eq!(list["data"][0]["metadata"]["refund_number"], "R1", "and yet it took effect");
}

#[test]
fn each_turn_of_a_refund_has_an_event_of_its_own() {
    let folder = Folder::new("refund-events");
    for (reason, events) in [
        ("tea", &[(RefundState::Pending, "refund.created"), (RefundState::Refunded, "refund.updated")][..]),
        ("sim:poor", &[(RefundState::Pending, "refund.created"), (RefundState::Refunded, "refund.updated")]),
        ("sim:end", &[(RefundState::Pending, "refund.created"), (RefundState::Ended, "refund.failed")]),
        ("sim:stuck", &[(RefundState::Stuck, "refund.created")]),
        (
            "sim:return",
            &[
                (RefundState::Pending, "refund.created"),
                (RefundState::Refunded, "refund.updated"),
                (RefundState::Returned, "refund.failed"),
            ],
        ),
        ("sim:late", &[]),
    ] {
        let (gateway, intent) = paid(&folder.0.join(reason.replace(':', "")));
        let made = ask(&gateway, Call::CreateRefund, &with_reason(&intent, reason), Some("r")).1;
        let id = made["id"].as_str().expect("an id");
        let mut names = std::collections::BTreeSet::new();
        let all = [
            RefundState::Pending,
            RefundState::Refunded,
            RefundState::Ended,
            RefundState::Stuck,
            RefundState::Returned,
        ];
        for state in all {
            let kind = events.iter().find(|(known, _)| *known == state).map(|(_, kind)| *kind);
            let event = told(&gateway, id, state);
            assert_eq!(event.as_ref().and_then(|event| event["type"].as_str()), kind, "{reason} {state:?}");
            let Some(event) = event else { continue };
            let refund = gateway.books.refund_of(account(&gateway), id).expect("it is booked");
            let since = refund.history().find(|news| news.state == state).expect("it has this state").at;
            assert_eq!(event["data"]["object"], at(&gateway, id, since - NOW), "{reason}: as it stood then");
            assert_eq!(event["created"], objects::seconds(since), "{reason}");
            names.insert(event["id"].as_str().expect("an id").to_owned());
        }
        assert_eq!(names.len(), events.len(), "{reason}");
        assert!(names.iter().all(|name| name.starts_with("evt_")), "{names:?}");
    }
}

#[test]
fn money_that_comes_back_is_on_the_balance_again_and_can_be_refunded_anew() {
    let folder = Folder::new("refund-return");
    let (gateway, intent) = paid(&folder.0);
    let form = format!("payment_intent={intent}&metadata[reason]=sim:return");
    let made = ask(&gateway, Call::CreateRefund, &form, Some("r")).1;
    let id = made["id"].as_str().expect("an id");
    let lines = |after_ms: i64| -> Vec<(String, i64)> {
        let list = ask_at(&gateway, Call::ListBalance, "created[gte]=1&created[lt]=1790000100", NOW + after_ms).1;
        let line =
            |line: &Value| (line["type"].as_str().unwrap_or("").to_owned(), line["amount"].as_i64().unwrap_or(0));
        list["data"].as_array().expect("a list").iter().map(line).collect()
    };
    let (went, came) = (("refund".to_owned(), -2_000), ("refund_failure".to_owned(), 2_000));
    assert_eq!(lines(299), []);
    assert_eq!(lines(3_300), [came, went], "newest first");
    assert_eq!(lines(3_299), lines(300));
    assert_eq!(lines(300).len(), 1);
    let over = ask_at(&gateway, Call::CreateRefund, &form, NOW + 3_299);
    assert_eq!(error(&over), (400, "charge_already_refunded"));
    let returned = at(&gateway, id, 3_300);
    assert_eq!(
        (&returned["status"], &returned["failure_reason"]),
        (&json!("failed"), &json!("expired_or_canceled_card"))
    );
    for (name, kind, from) in
        [("balance_transaction", "refund", 300), ("failure_balance_transaction", "refund_failure", 3_300)]
    {
        let transaction = returned[name].as_str().expect("an id");
        let call = Call::RetrieveBalance(transaction);
        assert_eq!(ask_at(&gateway, call, "", NOW + from - 1).0, 404, "{name}");
        let (status, line) = ask_at(&gateway, call, "expand[]=source", NOW + from);
        assert_eq!((status, &line["type"], &line["id"]), (200, &json!(kind), &json!(transaction)), "{name}");
        assert_eq!((&line["source"]["id"], &line["fee"]), (&json!(id), &json!(0)), "{name}");
    }
    let charge = |after_ms| {
        let call = Call::RetrieveIntent(&intent);
        let intent = ask_at(&gateway, call, "expand[]=latest_charge", NOW + after_ms).1;
        (intent["latest_charge"]["amount_refunded"].clone(), intent["latest_charge"]["refunded"].clone())
    };
    assert_eq!([charge(0), charge(3_300)], [(json!(2_000), json!(true)), (json!(0), json!(false))]);
    assert_eq!(ask_at(&gateway, Call::CreateRefund, &form, NOW + 3_300).0, 200);
}

#[test]
fn the_first_answer_of_a_key_is_repeated_after_a_restart_too() {
    let folder = Folder::new("refund-restart");
    let (gateway, intent) = paid(&folder.0);
    let made = outcome(&gateway, Call::CreateRefund, &with_reason(&intent, "tea"), Some("tea")).reply;
    let failed = outcome(&gateway, Call::CreateRefund, &with_reason(&intent, "sim:error"), Some("error"));
    assert_eq!(failed.fault.conduct, Conduct::Fails);
    gateway.books.seal();
    drop(gateway);
    let gateway = open(&folder.0);
    gateway.stripe.recall(&gateway.books, NOW);
    let again = |reason: &str, key: &str| {
        outcome_at(&gateway, Call::CreateRefund, &with_reason(&intent, reason), Some(key), NOW + 9_000)
    };
    assert_eq!((again("tea", "tea").reply, again("tea", "tea").replayed), (made, true), "as it was, not as it is");
    assert_eq!(again("sim:error", "error").reply.status, 500);
}
