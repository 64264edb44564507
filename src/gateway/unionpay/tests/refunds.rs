//! Refunds: what each script comes to, and what is told of it.

use super::*;
use crate::gateway::fate::RefundState;

const REFUND: &str = "01JG00048HE8H86CT48HANASK600R00";

/// A far end where the purchase was paid, and its `queryId`.
fn paid(test: &str, description: &str) -> (Far, String) {
    let far = far(test);
    far.bring(far.purchase(description), NOW).unwrap();
    far.payer_acts(NOW + 300);
    let query_id = far.call(Call::Query, far.query(), NOW + 400)["queryId"].clone();
    (far, query_id)
}

fn with_reason(far: &Far, query_id: &str, reason: &str) -> Vec<u8> {
    let mut refund = far.refund(query_id, "20060");
    if !reason.is_empty() {
        refund.insert("reqReserved".into(), STANDARD.encode(reason));
    }
    far.signed(refund)
}

fn found(far: &Far, now: i64) -> Fields {
    far.call(Call::Query, far.head(&[("txnType", "00"), ("txnSubType", "00"), ("orderId", REFUND)]), now)
}

fn told(far: &Far, state: RefundState) -> Option<Fields> {
    let notice = far.gateway.books.refund_notice(far.account, &REFUND.into(), state, NOW + 99_999)?;
    let told = parse(&far.gateway.wire(far.account).refund_callback(&notice, NOW + 99_999)?.body).unwrap();
    assert!(far.is_unionpays(&told));
    Some(told)
}

#[test]
fn a_refund_is_taken_once_told_of_and_found_by_its_own_number() {
    let (far, query_id) = paid("refund", "sim:underpay");
    assert_eq!(far.call(Call::Back, far.refund("050000000000000000000", "100"), NOW)["respCode"], "35");
    assert_eq!(far.call(Call::Back, far.refund(&query_id, "20060"), NOW)["respCode"], "36", "one fen was never paid");
    let taken = far.call(Call::Back, far.refund(&query_id, "20059"), NOW + 500);
    assert_eq!((taken["respCode"].as_str(), taken["origQryId"].as_str()), ("00", query_id.as_str()));
    for amount in ["20059", "1"] {
        let again = far.call(Call::Back, far.refund(&query_id, amount), NOW + 501);
        assert_eq!(again["respCode"], "12", "never a second time");
    }
    let pending = found(&far, NOW + 799);
    assert_eq!((pending["respCode"].as_str(), pending["origRespCode"].as_str()), ("00", "05"));
    assert_eq!((pending.get("settleAmt"), pending.get("settleDate")), (None, None));
    let done = found(&far, NOW + 800);
    assert_eq!((done["origRespCode"].as_str(), done["settleAmt"].as_str()), ("00", "20059"));
    assert_eq!((&done["queryId"], &pending["queryId"]), (&taken["queryId"], &taken["queryId"]));
    assert_eq!((done["txnType"].as_str(), done["txnSubType"].as_str()), ("04", "00"), "the refund's own");

    let told = told(&far, RefundState::Refunded).unwrap();
    assert_eq!((told["txnType"].as_str(), told["orderId"].as_str()), ("04", REFUND));
    assert_eq!((told["origQryId"].as_str(), told["txnAmt"].as_str()), (query_id.as_str(), "20059"));
}

#[test]
fn scripts_do_what_the_protocol_can_express() {
    for (reason, done_ms, code, conduct, news) in [
        ("", 300, "00", Conduct::Answers, Some(RefundState::Refunded)),
        ("sim:hang", 300, "00", Conduct::Hangs, Some(RefundState::Refunded)),
        ("sim:error", 300, "00", Conduct::Fails, Some(RefundState::Refunded)),
        ("sim:end", 300, "01", Conduct::Answers, Some(RefundState::Ended)),
        ("sim:late", 20_000, "00", Conduct::Answers, None),
        ("sim:poor", 300, "00", Conduct::Answers, Some(RefundState::Refunded)),
        ("sim:stuck", 300, "00", Conduct::Answers, Some(RefundState::Refunded)),
        ("sim:return", 300, "00", Conduct::Answers, Some(RefundState::Refunded)),
    ] {
        let (far, query_id) = paid(&format!("refund-{}", reason.replace(':', "-")), "Tea");
        let asked = with_reason(&far, &query_id, reason);
        let (taken, answered) = far.call_raw(Call::Back, &asked, NOW + 500);
        assert_eq!((taken["respCode"].as_str(), answered), ("00", conduct), "{reason}");
        let (again, answered) = far.call_raw(Call::Back, &asked, NOW + 501);
        assert_eq!((again["respCode"].as_str(), answered), ("12", Conduct::Answers), "{reason}");
        assert_eq!(found(&far, NOW + 500 + done_ms - 1)["origRespCode"], "05", "{reason}");
        for later in [done_ms, done_ms + 9_999] {
            let found = found(&far, NOW + 500 + later);
            assert_eq!(found["origRespCode"], code, "{reason}");
            assert_eq!(found.contains_key("settleAmt"), code == "00", "{reason}");
            assert_eq!(found.get("reqReserved"), (!reason.is_empty()).then(|| STANDARD.encode(reason)).as_ref());
        }
        assert_eq!(told(&far, RefundState::Pending), None, "{reason}");
        match news {
            None => assert_eq!(told(&far, RefundState::Refunded), None, "{reason}"),
            Some(state) => {
                let told = told(&far, state).unwrap();
                assert_eq!((told["respCode"].as_str(), told["txnAmt"].as_str()), (code, "20060"), "{reason}");
                assert_eq!(told.contains_key("settleAmt"), code == "00", "{reason}");
            }
        }
        // What ended is free again, under another number.
        let mut other = far.refund(&query_id, "20060");
        other.insert("orderId".into(), "01JG00048HE8H86CT48HANASK600R01".into());
        let expected = if code == "01" { "00" } else { "36" };
        assert_eq!(far.call(Call::Back, other, NOW + 30_000)["respCode"], expected, "{reason}");
    }
    let (far, query_id) = paid("refund-refuse", "Tea");
    let (refused, _) = far.call_raw(Call::Back, &with_reason(&far, &query_id, "sim:refuse"), NOW + 500);
    assert_eq!((refused["respCode"].as_str(), found(&far, NOW + 600)["respCode"].as_str()), ("38", "34"));
}

#[test]
fn a_reason_is_base64_or_none() {
    let (far, query_id) = paid("refund-plain", "Tea");
    let mut refund = far.refund(&query_id, "20060");
    refund.insert("reqReserved".into(), "sim:refuse".into());
    assert_eq!(far.call(Call::Back, refund, NOW + 500)["respCode"], "00", "it is no base64, and so no reason");
}

#[test]
fn a_days_file_has_what_was_refunded_and_its_part_of_the_fee() {
    let (far, query_id) = paid("refund-file", "Tea");
    let mut part = far.refund(&query_id, "10030");
    far.call(Call::Back, part.clone(), NOW + 500);
    part.insert("orderId".into(), "01JG00048HE8H86CT48HANASK600R01".into());
    part.insert("reqReserved".into(), STANDARD.encode("sim:end"));
    far.call(Call::Back, part, NOW + 600);
    let mut asked = far.head(&[
        ("txnType", "76"),
        ("txnSubType", "01"),
        ("bizType", "000000"),
        ("fileType", "00"),
        ("settleDate", "0921"),
    ]);
    asked.remove("orderId");
    let lines = |now| unpacked(&far.call(Call::File, asked.clone(), now)["fileContent"]);
    assert_eq!(lines(NOW + 799).lines().count(), 1, "it is on its way");
    let detail = lines(NOW + 99_999);
    assert_eq!(detail.lines().count(), 2, "what ended moved nothing");
    let refund = detail.lines().nth(1).unwrap();
    assert!(refund.starts_with("S30 ") && refund.contains(" C000000000060 D000000010030 "), "{refund}");
    assert!(refund.contains(" D000000009970 "), "{refund}");
}
