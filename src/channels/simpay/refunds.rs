//! Refunds: what is asked, what is answered, and what a callback tells.

use serde::{Deserialize, Serialize};

use super::{Failure, dated, json, read};
use crate::channels::{Answer, RefundAsk, RefundNotice, cut, is_name};
use crate::domain::event::{Hold, RefundOutcome, RefundWord, Rejection};
use crate::domain::money::Currency;

/// Characters of the reason.
const REASON_MAX: usize = 80;

#[derive(Serialize)]
struct Refund<'a> {
    refund_number: &'a str,
    number: String,
    amount_minor: i64,
    currency: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    notify_url: &'a str,
}

#[derive(Serialize)]
struct RefundNumber<'a> {
    refund_number: &'a str,
}

#[derive(Deserialize)]
struct RefundAnswer {
    refund_number: String,
    state: String,
    amount_minor: i64,
    /// In milliseconds; none before its end.
    #[serde(default)]
    finished_at: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RefundCallback {
    refund_number: String,
    number: String,
    state: String,
    amount_minor: i64,
    currency: String,
    finished_at: Option<i64>,
}

/// What a refusal of a refund says, by status and code.
///
/// `number_used` is left out, so that nothing is certain of it: something else stands under the number, and what became
/// of that only a query tells.
const REFUSALS: &[(u16, &str, Rejection)] = &[
    (404, "not_exist", Rejection::Ours),
    (409, "not_enough", Rejection::Poor),
    (409, "refund_refused", Rejection::Refused),
    (422, "refund_exceeds", Rejection::Refused),
];
const NUMBER_USED: &str = "number_used";

pub(super) fn request(ask: &RefundAsk) -> Vec<u8> {
    json(&Refund {
        refund_number: &ask.refund_number,
        number: ask.attempt.number.to_string(),
        amount_minor: ask.amount_minor,
        currency: ask.attempt.currency.code(),
        reason: ask.reason.as_deref().map(|reason| cut(reason, REASON_MAX)),
        notify_url: &ask.notify_url,
    })
}

pub(super) fn question(ask: &RefundAsk) -> Vec<u8> {
    json(&RefundNumber { refund_number: &ask.refund_number })
}

/// What a believed answer to the request says.
pub(super) fn sent(ask: &RefundAsk, answer: &Answer) -> RefundOutcome {
    if answer.status == 200 {
        return told(ask, answer);
    }
    let failure = read::<Failure>(&answer.body).filter(|failure| is_name(&failure.code));
    let Some(Failure { code }) = failure else { return unknown("unreadable answer") };
    let known = REFUSALS.iter().find(|(status, known, _)| (*status, *known) == (answer.status, code.as_str()));
    match known {
        Some((_, _, class)) => RefundOutcome::Rejected { class: *class, code: code.into() },
        // The gateway signs its refusals and takes nothing with one; why, a person has to find out.
        None if (400..500).contains(&answer.status) && code != NUMBER_USED => {
            RefundOutcome::Rejected { class: Rejection::Ours, code: code.into() }
        }
        None => unknown(&code),
    }
}

/// What a believed answer to the question says.
pub(super) fn found(ask: &RefundAsk, answer: &Answer) -> RefundOutcome {
    if answer.status == 200 {
        return told(ask, answer);
    }
    match read(&answer.body) {
        Some(Failure { code }) if answer.status == 404 && code == "not_exist" => RefundOutcome::NotExist,
        Some(Failure { code }) => unknown(&code),
        None => unknown("unreadable answer"),
    }
}

fn told(ask: &RefundAsk, answer: &Answer) -> RefundOutcome {
    match read::<RefundAnswer>(&answer.body) {
        Some(refund) if refund.refund_number != ask.refund_number => unknown("the answer speaks of another refund"),
        Some(refund) if refund.amount_minor != ask.amount_minor => unknown("the answer has another amount"),
        Some(refund) => {
            outcome(&refund.state, refund.finished_at).unwrap_or_else(|| unknown("the answer has an unknown state"))
        }
        None => unknown("unreadable answer"),
    }
}

fn outcome(state: &str, finished_at: Option<i64>) -> Option<RefundOutcome> {
    let code = || state.into();
    Some(match state {
        "pending" => RefundOutcome::Pending { hold: Hold::Processing },
        "refunded" => RefundOutcome::Done { reference: None, dated: dated(finished_at) },
        "ended" => RefundOutcome::Ended { code: code() },
        "stuck" => RefundOutcome::Stuck { code: code() },
        "returned" => RefundOutcome::Returned { code: code(), dated: dated(finished_at) },
        _ => return None,
    })
}

impl RefundCallback {
    /// None where a part of it is nothing that may be kept, or its state is none that is called back.
    pub(super) fn heard(&self) -> Option<RefundNotice> {
        let currency = Currency::parse(&self.currency).filter(|currency| currency.can_be(self.amount_minor))?;
        let outcome = outcome(&self.state, self.finished_at)?;
        match &outcome {
            RefundOutcome::Done { .. } | RefundOutcome::Ended { .. } | RefundOutcome::Returned { .. } => {}
            RefundOutcome::Pending { .. }
            | RefundOutcome::Rejected { .. }
            | RefundOutcome::Stuck { .. }
            | RefundOutcome::NotSent { .. }
            | RefundOutcome::NotExist
            | RefundOutcome::Unknown { .. } => return None,
        }
        let word = RefundWord { amount_minor: self.amount_minor, currency: currency.code().into(), outcome };
        // The payment's number is no word of its own: a refund's number is of one payment alone.
        is_name(&self.number).then(|| RefundNotice::of(&self.refund_number, Some(word)))?
    }
}

fn unknown(why: &str) -> RefundOutcome {
    RefundOutcome::Unknown { why: why.into() }
}
