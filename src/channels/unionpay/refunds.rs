//! Refunds: what is asked, and what is answered.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::message::Fields;
use super::verdict::{self, Meaning, meaning};
use super::{BIZ_TYPE, HOUR_MS, REFUND, Unionpay, amount, beijing, code, dated, is_of, reference_and_amount};
use crate::channels::{Answer, RefundAsk, Stamp};
use crate::domain::event::{Hold, RefundOutcome, Rejection};

/// A request is taken only while its `txnTime` is about now: the kit of 2018 knows the refusal "txnTime无效". How far it
/// may be off is not published, so there is ample room: what is older than this is not sent any more,
const SENT_UNTIL_MS: i64 = 12 * HOUR_MS;
/// what has not arrived by then never will be taken,
const ARRIVED_BY_MS: i64 = 24 * HOUR_MS;
/// and what was asked for so long ago may have been forgotten: how long a query still knows it is not published either.
const KNOWN_UNTIL_MS: i64 = 7 * 24 * HOUR_MS;
/// `reqReserved` has 1,024 characters, and base64 makes four of three bytes.
const REASON_MAX_BYTES: usize = 768;

impl Unionpay {
    pub(super) fn refund_fields(&self, ask: &RefundAsk) -> Fields {
        let mut fields = self.fields(REFUND, "00", BIZ_TYPE, &beijing::moment(ask.dated_at));
        fields.extend([
            ("channelType".into(), "07".into()),
            ("orderId".into(), ask.refund_number.clone()),
            ("origQryId".into(), ask.reference.to_string()),
            ("currencyCode".into(), amount::CURRENCY_NUMBER.into()),
            // What cannot be written is left out, and refused by UnionPay.
            ("txnAmt".into(), amount::write(ask.amount_minor, ask.attempt.currency).unwrap_or_default()),
            ("backUrl".into(), ask.notify_url.clone()),
        ]);
        // It comes back in raw answers, where some characters would be taken for something else; of base64 none would.
        fields.extend(ask.reason.as_deref().map(|reason| {
            let reason = &reason[..reason.floor_char_boundary(REASON_MAX_BYTES)];
            ("reqReserved".into(), STANDARD.encode(reason))
        }));
        fields
    }

    pub(super) fn refund_sent(&self, ask: &RefundAsk, stamp: &Stamp, answer: &Answer) -> RefundOutcome {
        let txn_time = beijing::moment(ask.dated_at);
        let fields = match self.told_of(&ask.refund_number, &txn_time, stamp, answer) {
            Ok(fields) => fields,
            Err(why) => return unknown(why),
        };
        let told = code(&fields, "respCode");
        match (meaning(told), verdict::of_refund(told)) {
            (Meaning::Failed | Meaning::NotFound, Some(class)) => RefundOutcome::Rejected {
                class: self::class(class, answer.not_after(stamp.at).since_ms(ask.dated_at)),
                code: told.into(),
            },
            (Meaning::Done, _) if !is_asked(&fields, ask) => unknown("the answer has another amount"),
            // Only a query tells that it was done.
            (Meaning::Done, _) => RefundOutcome::Pending { hold: Hold::Processing },
            (Meaning::UnderWay, _) if verdict::is_taken(told) => RefundOutcome::Pending { hold: Hold::Processing },
            (Meaning::Failed | Meaning::NotFound | Meaning::UnderWay | Meaning::Open, _) => unknown(told),
        }
    }

    pub(super) fn refund_found(&self, ask: &RefundAsk, stamp: &Stamp, answer: &Answer) -> RefundOutcome {
        let txn_time = beijing::moment(ask.dated_at);
        let fields = match self.told_of(&ask.refund_number, &txn_time, stamp, answer) {
            Ok(fields) => fields,
            Err(why) => return unknown(why),
        };
        let (asked, found) = (code(&fields, "respCode"), code(&fields, "origRespCode"));
        match (meaning(asked), meaning(found)) {
            // By UnionPay's clock too: by ours alone, one that runs days ahead would send a refund twice.
            (Meaning::NotFound, _) => match answer.not_after(stamp.at).since_ms(ask.dated_at) {
                age_ms if age_ms <= SENT_UNTIL_MS => RefundOutcome::NotExist,
                age_ms if age_ms <= ARRIVED_BY_MS => unknown("it is too old to be sent, and may still arrive"),
                age_ms if age_ms <= KNOWN_UNTIL_MS => RefundOutcome::Ended { code: asked.into() },
                _ => RefundOutcome::Stuck { code: asked.into() },
            },
            (Meaning::Failed | Meaning::UnderWay | Meaning::Open, _) => unknown(asked),
            (Meaning::Done, _) if !is_of(&fields, REFUND) => unknown("the answer speaks of no refund"),
            (Meaning::Done, Meaning::Done) => match reference_and_amount(&fields) {
                Some((reference, _)) if is_asked(&fields, ask) => {
                    RefundOutcome::Done { reference: Some(reference.into()), dated: dated(&fields) }
                }
                Some(_) | None => unknown("the answer has another amount"),
            },
            // Unlike a purchase, which may be paid until `payTimeout`, a refund that failed has failed, and its number
            // cannot be sent again: a repeat is answered by 12 (Form_6_5_Query and Form_6_4_Refund of the kit of 2018).
            (Meaning::Done, Meaning::Failed) => RefundOutcome::Ended { code: found.into() },
            (Meaning::Done, Meaning::UnderWay) if verdict::is_taken(found) => {
                RefundOutcome::Pending { hold: Hold::Processing }
            }
            (Meaning::Done, Meaning::UnderWay | Meaning::Open | Meaning::NotFound) => unknown(found),
        }
    }
}

/// Whether an answer is about the money that was asked back. The test gateway's own answer to a refund names no
/// currency (`vectors/refund_answer.txt`), and the purchase only by `origQryId`, which a query need not say.
fn is_asked(fields: &Fields, ask: &RefundAsk) -> bool {
    let amount_minor = fields.get("txnAmt").and_then(|text| amount::read(text));
    let is_in_currency = fields.get("currencyCode").is_none_or(|number| number == amount::CURRENCY_NUMBER);
    let is_of_purchase = fields.get("origQryId").is_none_or(|reference| **reference == *ask.reference);
    amount_minor == Some(ask.amount_minor) && is_in_currency && is_of_purchase
}

/// A request that is ours to mend may go again only while its `txnTime` is taken; later another number must.
fn class(class: Rejection, age_ms: i64) -> Rejection {
    match class {
        Rejection::Ours if age_ms > SENT_UNTIL_MS => Rejection::DeadNumber,
        Rejection::Ours | Rejection::Poor | Rejection::Refused | Rejection::DeadNumber => class,
    }
}

fn unknown(why: &str) -> RefundOutcome {
    RefundOutcome::Unknown { why: why.into() }
}
