//! What must hold of every adapter whatever bytes come, and the questions that these bytes are taken to answer. For fuzz
//! targets and tests only.

use std::sync::LazyLock;

use super::bill::{BillError, BillKind, BillLine};
use super::{
    Adapter, Answer, Attempted, Heard, NextAction, Notice, Payer, Reading, Received, RefundAsk, RefundNotice, Stamp,
    Submitted,
};
use crate::domain::event::{CloseAnswer, Finding, RefundOutcome, SendOutcome};
use crate::domain::id::{AttemptNumber, Incarnation, OrderId, RefundNumber, RefundOrdinal, RefundSubject, Round};
use crate::domain::money::{Currency, format_minor, parse_minor};
use crate::domain::time::Instant;

pub(super) const NOW: Instant = Instant(1_790_000_000_000);
/// What a text may have that is kept as a channel's name of something.
const NAME_MAX: usize = 255;
/// An address that a payer is sent to, or a code to scan.
const SHOWN_MAX: usize = 2_048;

pub(super) fn stamp() -> Stamp {
    Stamp { at: NOW, nonce: "593BEC0C930BF1AFEB40B4A08C8FB242".into() }
}

pub(super) fn number() -> AttemptNumber {
    let order = OrderId::from_u128(0x0194_0000_1111_7222_8333_4444_5555_6666);
    AttemptNumber { order, ordinal: 0, incarnation: Incarnation::default() }
}

/// 200.60 in a currency.
pub(super) fn attempt(currency: &str) -> Attempted {
    Attempted {
        number: number(),
        opened_at: NOW.plus_ms(-60_000),
        expires_at: NOW.plus_ms(840_000),
        arrives_by: NOW.plus_ms(2_040_000),
        payable_minor: 20_060,
        currency: Currency::parse(currency).expect("a currency"),
        reference: None,
    }
}

/// The number of the first refund that a platform asks for.
pub(super) fn first_refund(attempt: AttemptNumber) -> String {
    let subject = RefundSubject::Asked(RefundOrdinal::after(0).expect("there is a first"));
    RefundNumber { attempt, subject, incarnation: Incarnation::default(), round: Round::FIRST }.to_string()
}

/// All of a capture goes back.
pub(super) fn refund_ask(currency: &str, reference: &str) -> RefundAsk {
    RefundAsk {
        refund_number: first_refund(number()),
        id: None,
        attempt: attempt(currency),
        reference: reference.into(),
        dated_at: NOW,
        captured_minor: 20_060,
        amount_minor: 20_060,
        reason: None,
        notify_url: "https://pay.example/v1/callbacks".into(),
    }
}

static PAYER: LazyLock<Payer> =
    LazyLock::new(|| Payer { openid: Some("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o".into()), ip: Some("192.0.2.7".into()) });

pub(super) fn ask(method: crate::domain::channel::Method, currency: &str) -> super::Ask<'static> {
    let attempt = attempt(currency);
    super::Ask {
        number: attempt.number,
        method,
        payable_minor: attempt.payable_minor,
        currency: attempt.currency,
        description: "Tea",
        notify_url: "https://pay.example/v1/callbacks".into(),
        return_url: Some("https://shop.example/thanks?a=1"),
        payer: &PAYER,
        opened_at: attempt.opened_at,
        expires_at: attempt.expires_at,
    }
}

/// Checks that an attempt's request is frozen as it always was, and that what was frozen so is still sent. The rows are
/// kept for ever, see `tests/fixtures`.
#[cfg(test)]
pub(super) fn frozen_is_kept(adapter: &dyn Adapter, method: crate::domain::channel::Method, currency: &str) {
    let name = format!("{}-{}.json", adapter.account().channel(), method.name());
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rows-1/frozen").join(name);
    let frozen = adapter.freeze(&ask(method, currency));
    if std::env::var_os("WRITE_ROWS").is_some() && !path.exists() {
        std::fs::write(&path, format!("{frozen}\n")).expect("the row is written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let kept = kept.trim_end();
    assert_eq!(&*frozen, kept, "{}", path.display());
    let completed = adapter.complete(kept, &PAYER).expect("the payer is told");
    match adapter.submit(&completed, &stamp()) {
        super::Submission::Call(_) => {}
        super::Submission::Carried(carried) => assert_eq!(carried.outcome, SendOutcome::Accepted { reference: None }),
    }
}

/// Headers as lines of `name: value` up to an empty one, and the body behind it.
pub(super) fn message(data: &[u8]) -> (Vec<(String, String)>, &[u8]) {
    let mut headers = Vec::new();
    let mut rest = data;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        match std::str::from_utf8(line).ok().and_then(|line| line.split_once(": ")) {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    (headers, rest)
}

/// Nobody but this process has the far end's key, so that no bytes from outside can bear its signature.
pub(super) fn never_heard(adapter: &impl Adapter, data: &[u8]) {
    let (headers, body) = message(data);
    for received in [Received { headers: &headers, body }, Received { headers: &[], body: data }] {
        assert!(adapter.callback(&received, NOW).is_err(), "a callback was believed that nobody signed");
    }
}

/// Whatever an answer says that the far end did not sign, nothing good is learnt from it.
pub(super) fn never_believed(adapter: &impl Adapter, frozen: &str, currency: &str, data: &[u8]) {
    let (headers, body) = message(data);
    for status in [200, 204, 302, 400, 401, 404, 429, 500] {
        let answer = Answer { status, headers: headers.clone(), body: body.to_vec() };
        let heard = read_all(adapter, frozen, currency, &answer);
        let taken = matches!(heard.submitted.outcome, SendOutcome::Accepted { .. } | SendOutcome::Paid { .. });
        assert!(!taken && heard.submitted.next_action.is_none(), "a create was believed that nobody signed");
        assert!(matches!(heard.finding, Some(Finding::Unknown { .. } | Finding::NotExist)), "{:?}", heard.finding);
        assert!(matches!(heard.closed, Some(CloseAnswer::Unknown { .. })), "{:?}", heard.closed);
        for outcome in [&heard.refund, &heard.refund_query] {
            assert!(!is_told(outcome), "a refund was believed that nobody signed: {outcome:?}");
        }
    }
}

/// Whether anything is said of the refund itself, which only its channel can say. That it was not taken, or is not there,
/// may be said at the door.
pub(super) fn is_told(outcome: &RefundOutcome) -> bool {
    match outcome {
        RefundOutcome::Pending { .. }
        | RefundOutcome::Done { .. }
        | RefundOutcome::Ended { .. }
        | RefundOutcome::Returned { .. }
        | RefundOutcome::Stuck { .. } => true,
        RefundOutcome::Rejected { .. }
        | RefundOutcome::NotSent { .. }
        | RefundOutcome::NotExist
        | RefundOutcome::Unknown { .. } => false,
    }
}

/// What one answer is to each question; none where the adapter asks on.
pub(super) struct All {
    pub submitted: Submitted,
    pub finding: Option<Finding>,
    pub closed: Option<CloseAnswer>,
    pub refund: RefundOutcome,
    pub refund_query: RefundOutcome,
}

pub(super) fn read_all(adapter: &impl Adapter, frozen: &str, currency: &str, answer: &Answer) -> All {
    let (attempt, ask, stamp) = (attempt(currency), refund_ask(currency, "REFERENCE1"), stamp());
    let all = All {
        submitted: adapter.read_submit(frozen, &stamp, answer),
        finding: told(adapter.read_query(&attempt, &stamp, answer)),
        closed: told(adapter.read_close(&attempt, &stamp, answer)),
        refund: adapter.read_refund(&ask, &stamp, answer),
        refund_query: adapter.read_refund_query(&ask, &stamp, answer),
    };
    is_sound_submitted(&all.submitted, attempt.currency);
    [&all.refund, &all.refund_query].into_iter().for_each(is_sound_refund);
    all.finding.iter().for_each(|finding| is_sound_finding(finding, attempt.currency));
    all
}

fn told<T>(reading: Reading<T>) -> Option<T> {
    match reading {
        Reading::Told(told) => Some(told),
        Reading::Ask(outgoing) => {
            assert!(url::Url::parse(&outgoing.url).is_ok(), "{}", outgoing.url);
            None
        }
    }
}

/// What may go into the journal and the books.
pub(super) fn is_sound_notice(heard: &Heard) -> Option<&Notice> {
    let notice = match heard {
        Heard::Capture(notice) => notice,
        Heard::Refund(notice) => {
            is_sound_refund_notice(notice);
            return None;
        }
        Heard::Nothing => return None,
    };
    [&notice.number, &notice.reference, &notice.currency].into_iter().for_each(|text| is_name(text));
    match Currency::parse(&notice.currency) {
        Some(currency) => is_money(notice.amount_minor, currency),
        None => assert!(notice.amount_minor > 0),
    }
    Some(notice)
}

fn is_sound_refund_notice(notice: &RefundNotice) {
    is_name(&notice.number);
    let Some(word) = &notice.word else { return };
    assert!(is_told(&word.outcome), "a word that tells nothing: {:?}", word.outcome);
    is_sound_refund(&word.outcome);
    is_money(word.amount_minor, Currency::parse(&word.currency).expect("a currency"));
}

pub(super) fn is_sound_refund(outcome: &RefundOutcome) {
    match outcome {
        RefundOutcome::Done { reference, .. } => reference.iter().for_each(|reference| is_name(reference)),
        RefundOutcome::Rejected { code, .. }
        | RefundOutcome::Ended { code }
        | RefundOutcome::Returned { code, .. }
        | RefundOutcome::Stuck { code } => assert!(!code.is_empty(), "{outcome:?}"),
        RefundOutcome::Pending { .. }
        | RefundOutcome::NotSent { .. }
        | RefundOutcome::NotExist
        | RefundOutcome::Unknown { .. } => {}
    }
}

pub(super) fn is_sound_finding(finding: &Finding, currency: Currency) {
    match finding {
        Finding::Paid { reference, amount_minor, dated: _ } => {
            is_name(reference);
            is_money(*amount_minor, currency);
        }
        Finding::Unknown { .. } | Finding::NotExist | Finding::Pending | Finding::Declined | Finding::Closed => {}
    }
}

pub(super) fn is_sound_submitted(submitted: &Submitted, currency: Currency) {
    match &submitted.outcome {
        SendOutcome::Paid { reference, amount_minor, dated: _ } => {
            is_name(reference);
            is_money(*amount_minor, currency);
        }
        SendOutcome::Accepted { reference } => reference.iter().for_each(|reference| is_name(reference)),
        SendOutcome::Rejected { .. }
        | SendOutcome::NotSent { .. }
        | SendOutcome::HeldBack { .. }
        | SendOutcome::Impossible { .. }
        | SendOutcome::Later { .. }
        | SendOutcome::Unknown { .. } => {}
    }
    match &submitted.next_action {
        Some(NextAction::QrCode { qr_code: shown, .. }) => is_shown(shown),
        Some(NextAction::Redirect { url: shown, .. }) => {
            is_shown(shown);
            let url = url::Url::parse(shown).expect("an address");
            assert!(matches!(url.scheme(), "http" | "https"), "{shown}");
        }
        Some(NextAction::Client { parameters: fields, .. } | NextAction::Form { fields, .. }) => {
            fields.values().for_each(|value| is_shown(value));
        }
        None => {}
    }
}

/// One bad line spoils a bill; of a good one each line can be booked.
pub(super) fn is_sound_bill(bill: &Result<Vec<BillLine>, BillError>, bytes: usize) {
    let Ok(lines) = bill else { return };
    assert!(lines.len() <= bytes, "more lines than bytes");
    for line in lines {
        match line.kind {
            BillKind::Payment | BillKind::Refund => {
                is_name(&line.reference);
                is_money(line.amount_minor, line.currency);
            }
            BillKind::Other => assert!((0..=line.currency.max_minor()).contains(&line.amount_minor), "{line:?}"),
        }
        assert!(line.number.len() <= NAME_MAX, "{line:?}");
        assert!(line.refund_number.as_ref().is_none_or(|number| number.len() <= NAME_MAX), "{line:?}");
        let fee_minor = line.fee_minor.unwrap_or(0);
        assert!(fee_minor.unsigned_abs() <= line.currency.max_minor().unsigned_abs(), "{line:?}");
    }
}

fn is_name(text: &str) {
    assert!((1..=NAME_MAX).contains(&text.len()), "a name of {} bytes", text.len());
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

fn is_shown(text: &str) {
    assert!((1..=SHOWN_MAX).contains(&text.len()), "{} bytes are shown to the payer", text.len());
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// An amount that a payment can have, and which survives being written.
fn is_money(amount_minor: i64, currency: Currency) {
    assert!((1..=currency.max_minor()).contains(&amount_minor), "{amount_minor} {currency}");
    assert_eq!(parse_minor(&format_minor(amount_minor, currency), currency), Ok(amount_minor));
}

/// What another reader makes of it; none where that one is stricter about nesting and half surrogates in what is not
/// looked at.
pub(super) fn value(json: &[u8]) -> Option<serde_json::Value> {
    assert!(std::str::from_utf8(json).is_ok(), "what was believed is no text");
    serde_json::from_slice(json).ok()
}

/// Fails where one of these names stands twice in a JSON object: of two values, neither may be believed.
pub(super) fn stand_once(json: &[u8], names: &[&str]) {
    struct Names(Vec<String>);
    impl<'de> serde::Deserialize<'de> for Names {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct All;
            impl<'de> serde::de::Visitor<'de> for All {
                type Value = Names;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                    let mut names = Vec::new();
                    while let Some((name, serde::de::IgnoredAny)) = map.next_entry::<String, _>()? {
                        names.push(name);
                    }
                    Ok(Names(names))
                }
            }
            deserializer.deserialize_map(All)
        }
    }
    let Ok(Names(all)) = serde_json::from_slice(json) else { return };
    for name in names {
        let count = all.iter().filter(|known| known == name).count();
        assert!(count <= 1, "{name} stands there {count} times");
    }
}
