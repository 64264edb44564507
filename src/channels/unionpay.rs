//! `unionpay`, 银联全渠道 5.1.0: forms signed with RSA over the hex of their SHA-256 (method 01), certificates within.
//!
//! | what | where |
//! |---|---|
//! | purchase | a form that the payer's browser posts to `frontTransReq.do`; we make no call |
//! | query, of purchases and refunds | `queryTrans.do`, by `orderId` and `txnTime`, which name a transaction together |
//! | refund | `backTransReq.do`; 00 says that it was taken, only a query says that it was done |
//! | close | there is none: `payTimeout` ends a purchase |
//! | notification | a form, only of purchases that were paid, and of refunds; a reason to ask |
//! | reconciliation file | the file host, a POST to `/` |
//!
//! `txnTime` is the instant at which the attempt was opened, and for a refund the one at which it was first due under its
//! number: both are the same in every try.
//!
//! Sources: UnionPay's Java kit of 2018 (`com.unionpay.acp.sdk`, demo forms 6.2, 6.4, 6.5, 6.6 and `BackRcvResponse`);
//! messages of its test gateway of 2022 and 2024 in the tests of `yansongda/pay`.

mod amount;
mod beijing;
pub mod bill;
mod certificate;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod message;
mod refunds;
mod signature;
#[cfg(test)]
mod tests;
mod verdict;

use serde::{Deserialize, Serialize};
use time::Date;

use self::certificate::Chains;
use self::message::Fields;
use self::signature::Signer;
use self::verdict::{Meaning, is_later, meaning};
use super::{
    Acknowledgement, Adapter, Answer, Ask, Attempted, CallbackError, Heard, NextAction, Notice, Outgoing, Reading,
    Received, RefundAsk, RefundNotice, Stamp, Submission, Submitted, TOO_MANY_REQUESTS, Verb,
    bill::{Bill, Day},
};
pub use crate::config::credentials::Unionpay as Credentials;
use crate::domain::channel::{Channel, Method};
use crate::domain::dated::Dated;
use crate::domain::event::{CloseAnswer, Finding, RefundOutcome, SendOutcome};
use crate::domain::id::Account;
use crate::domain::time::Instant;

const VERSION: &str = "5.1.0";
/// RSA with certificates.
const SIGN_METHOD: &str = "01";
/// B2C gateway payment, in a browser of a computer or a phone.
const BIZ_TYPE: &str = "000201";
const PURCHASE: &str = "01";
const REFUND: &str = "04";
/// UnionPay's numbers of transactions have 21 digits; longer ones than this are not ours to keep.
const REFERENCE_MAX: usize = 64;
const URL_MAX: usize = 256;
const HOUR_MS: i64 = 60 * 60 * 1_000;
/// `reqReserved` comes back in raw answers, where these would be taken for something else.
const RESERVED: [char; 6] = ['&', '=', '{', '}', '[', ']'];

pub struct Unionpay {
    account: Account,
    base_url: String,
    file_url: String,
    mer_id: String,
    signer: Signer,
    chains: Chains,
}

/// What is stored of an attempt's first request.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Frozen {
    Purchase(Fields),
    Refused(String),
}

impl Unionpay {
    /// # Errors
    /// The piece that is malformed, never what it holds.
    pub fn new(name: &str, base_url: &str, credentials: Credentials) -> Result<Self, String> {
        let account = Account::new(Channel::Unionpay, name);
        let place = |why: String| format!("unionpay account {name}: {why}");
        let mer_id = credentials.mer_id;
        // AN15 of the kit's field list; true ones are 15 digits, such as the test gateway's 777290058110048.
        if mer_id.len() != 15 || !mer_id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(place("mer_id is not 15 digits or letters".into()));
        }
        let base_url = base_url.trim_end_matches('/').to_owned();
        let file_url = bill::file_url(&base_url).ok_or_else(|| place("the base url is none".into()))?;
        let signer = Signer::new(&credentials.signing_key, &credentials.signing_certificate).map_err(place)?;
        let chains = Chains::new(&credentials.root, &credentials.middle, &credentials.signer_name).map_err(place)?;
        Ok(Unionpay { account, base_url, file_url, mer_id, signer, chains })
    }

    /// What every request has.
    fn fields(&self, txn_type: &str, txn_sub_type: &str, biz_type: &str, txn_time: &str) -> Fields {
        [
            ("version", VERSION),
            ("encoding", "UTF-8"),
            ("signMethod", SIGN_METHOD),
            ("txnType", txn_type),
            ("txnSubType", txn_sub_type),
            ("bizType", biz_type),
            ("accessType", "0"),
            ("merId", &self.mer_id),
            ("txnTime", txn_time),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    }

    /// The business fields of a purchase, or why UnionPay cannot be asked for it.
    fn purchase(&self, ask: &Ask<'_>) -> Result<Fields, &'static str> {
        let channel_type = match ask.method {
            Method::Page => "07",
            Method::Wap => "08",
            Method::Qr | Method::Native | Method::Jsapi | Method::H5 | Method::App | Method::Card => {
                return Err("method_unsuitable");
            }
        };
        let front_url = ask.return_url.unwrap_or(&ask.notify_url);
        if ask.notify_url.len() > URL_MAX || front_url.len() > URL_MAX {
            return Err("url_too_long");
        }
        let mut fields = self.fields(PURCHASE, "01", BIZ_TYPE, &beijing::moment(ask.opened_at));
        fields.extend([
            ("channelType".into(), channel_type.into()),
            ("orderId".into(), ask.number.to_string()),
            ("currencyCode".into(), amount::CURRENCY_NUMBER.into()),
            ("txnAmt".into(), amount::write(ask.payable_minor, ask.currency).ok_or("amount_unsuitable")?),
            // UnionPay posts the result to this address when the payer returns. Where the platform has none, ours is
            // as good a place: it takes a result like any notification.
            ("frontUrl".into(), front_url.into()),
            ("backUrl".into(), ask.notify_url.clone()),
            ("payTimeout".into(), beijing::moment(ask.expires_at)),
            ("reqReserved".into(), ask.description.replace(RESERVED, " ").trim().to_owned()),
        ]);
        Ok(fields)
    }

    fn outgoing(&self, url: String, fields: Fields) -> Outgoing {
        Outgoing {
            verb: Verb::Post,
            url,
            headers: vec![("content-type", "application/x-www-form-urlencoded;charset=UTF-8".into())],
            body: message::write_form(&self.signer.sign(fields)),
        }
    }

    fn query_by(&self, number: String, txn_time: &str) -> Outgoing {
        let mut fields = self.fields("00", "00", BIZ_TYPE, txn_time);
        fields.insert("orderId".into(), number);
        self.outgoing(format!("{}/gateway/api/queryTrans.do", self.base_url), fields)
    }

    /// The fields of an answer that is UnionPay's own and ours.
    fn told(&self, stamp: &Stamp, answer: &Answer) -> Result<Fields, &'static str> {
        if answer.status != 200 {
            return Err("the answer's status is not 200");
        }
        let fields = message::read_answer(&answer.body)?;
        self.believed(&fields, stamp.at)?;
        if fields.get("merId") != Some(&self.mer_id) {
            return Err("the answer is another merchant's");
        }
        Ok(fields)
    }

    fn believed(&self, fields: &Fields, now: Instant) -> Result<(), &'static str> {
        let is = |name: &str, value: &str| fields.get(name).is_some_and(|known| known == value);
        if !is("version", VERSION) || !is("signMethod", SIGN_METHOD) {
            return Err("the message is not signed as version 5.1.0 does");
        }
        let certificate = fields.get("signPubKeyCert").ok_or("the message has no certificate")?;
        let key = self.chains.key_of(certificate, now)?;
        if !signature::is_signed(fields, &key) {
            return Err("the message's signature does not verify");
        }
        Ok(())
    }

    /// What the gateway says of one transaction.
    fn told_of(&self, number: &str, txn_time: &str, stamp: &Stamp, answer: &Answer) -> Result<Fields, &'static str> {
        let fields = self.told(stamp, answer)?;
        let is = |name: &str, value: &str| fields.get(name).is_some_and(|known| known == value);
        if !is("orderId", number) || !is("txnTime", txn_time) {
            return Err("the answer speaks of another transaction");
        }
        Ok(fields)
    }
}

/// A code as it may be told on.
fn code<'a>(fields: &'a Fields, name: &str) -> &'a str {
    let code = fields.get(name).map_or("none", String::as_str);
    if code.len() <= 4 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()) { code } else { "malformed" }
}

/// The transaction's own number and its amount.
fn reference_and_amount(fields: &Fields) -> Option<(&str, i64)> {
    let reference = fields.get("queryId")?;
    let fits = (1..=REFERENCE_MAX).contains(&reference.len());
    let plain = reference.bytes().all(|byte| byte.is_ascii_alphanumeric());
    Some((reference.as_str(), amount::read(fields.get("txnAmt")?)?)).filter(|_| fits && plain)
}

/// When a transaction was made, and on which day it is settled, whose file it stands in. Both leave out the year, which
/// is that of `txnTime`, or the one beside it at the turn of the year.
fn dated(fields: &Fields) -> Dated {
    let Some(txn_time) = fields.get("txnTime").and_then(|text| beijing::read(text)) else { return Dated::NOT_TOLD };
    let known = beijing::date(txn_time);
    Dated {
        effective_at: fields.get("traceTime").and_then(|text| beijing::near(text, known)),
        bill_day: fields.get("settleDate").and_then(|text| beijing::near_day(text, known)).map(Into::into),
    }
}

fn is_of(fields: &Fields, txn_type: &str) -> bool {
    fields.get("txnType").is_some_and(|known| known == txn_type)
}

impl Adapter for Unionpay {
    fn account(&self) -> &Account {
        &self.account
    }

    fn freeze(&self, ask: &Ask<'_>) -> Box<str> {
        let frozen = match self.purchase(ask) {
            Ok(fields) => Frozen::Purchase(fields),
            Err(code) => Frozen::Refused(code.into()),
        };
        serde_json::to_string(&frozen).expect("plain structs always serialise").into()
    }

    fn submit(&self, frozen: &str, _stamp: &Stamp) -> Submission {
        let nothing_sent = |outcome| Submitted { outcome, next_action: None };
        let unreadable = || nothing_sent(SendOutcome::HeldBack { why: "the stored request cannot be read".into() });
        Submission::Carried(match serde_json::from_str(frozen) {
            Ok(Frozen::Purchase(fields)) => match fields.get("payTimeout").and_then(|text| beijing::read(text)) {
                Some(expires_at) => Submitted {
                    outcome: SendOutcome::Accepted { reference: None },
                    next_action: Some(NextAction::Form {
                        url: format!("{}/gateway/api/frontTransReq.do", self.base_url),
                        fields: self.signer.sign(fields),
                        expires_at,
                    }),
                },
                None => unreadable(),
            },
            Ok(Frozen::Refused(code)) => nothing_sent(SendOutcome::Impossible { code: code.into() }),
            Err(_) => unreadable(),
        })
    }

    fn read_submit(&self, _frozen: &str, _stamp: &Stamp, _answer: &Answer) -> Submitted {
        let outcome = SendOutcome::Unknown { why: "a browser carries this there, so that no answer is known".into() };
        Submitted { outcome, next_action: None }
    }

    /// Of questions alone: a refund that was put off may have been taken, which a query tells.
    fn says_later(&self, answer: &Answer) -> bool {
        answer.status == TOO_MANY_REQUESTS
            || answer.status == 200
                && message::read_answer(&answer.body)
                    .is_ok_and(|fields| !is_of(&fields, REFUND) && is_later(code(&fields, "respCode")))
    }

    fn query(&self, attempt: &Attempted, _stamp: &Stamp) -> Outgoing {
        self.query_by(attempt.number.to_string(), &beijing::moment(attempt.opened_at))
    }

    fn read_query(&self, attempt: &Attempted, stamp: &Stamp, answer: &Answer) -> Reading<Finding> {
        let unknown = |why: &str| Finding::Unknown { why: why.into() };
        let txn_time = beijing::moment(attempt.opened_at);
        let fields = match self.told_of(&attempt.number.to_string(), &txn_time, stamp, answer) {
            Ok(fields) => fields,
            Err(why) => return Reading::Told(unknown(why)),
        };
        let (asked, found) = (code(&fields, "respCode"), code(&fields, "origRespCode"));
        Reading::Told(match (meaning(asked), meaning(found)) {
            (Meaning::NotFound, _) => Finding::NotExist,
            (Meaning::Failed | Meaning::UnderWay | Meaning::Open, _) => unknown(asked),
            (Meaning::Done, _) if !is_of(&fields, PURCHASE) => unknown("the answer speaks of no purchase"),
            (Meaning::Done, Meaning::Done) => {
                let in_currency = fields.get("currencyCode").is_some_and(|number| number == amount::CURRENCY_NUMBER);
                match reference_and_amount(&fields).filter(|_| in_currency) {
                    Some((reference, amount_minor)) => {
                        Finding::Paid { reference: reference.into(), amount_minor, dated: dated(&fields) }
                    }
                    None => unknown("the answer has no capture"),
                }
            }
            // A failure is one try of the payer's; the purchase can be paid until its time is over. What is still under
            // way ten minutes later has failed too (Form_6_5_Query of the kit of 2018).
            (Meaning::Done, Meaning::Failed | Meaning::UnderWay) => Finding::Pending,
            (Meaning::Done, Meaning::Open | Meaning::NotFound) => unknown(found),
        })
    }

    fn close(&self, _attempt: &Attempted, _stamp: &Stamp) -> Option<Outgoing> {
        None
    }

    fn read_close(&self, _attempt: &Attempted, _stamp: &Stamp, _answer: &Answer) -> Reading<CloseAnswer> {
        Reading::Told(CloseAnswer::Unknown { why: "there is no such call".into() })
    }

    fn refund(&self, ask: &RefundAsk, _stamp: &Stamp) -> Outgoing {
        self.outgoing(format!("{}/gateway/api/backTransReq.do", self.base_url), self.refund_fields(ask))
    }

    fn read_refund(&self, ask: &RefundAsk, stamp: &Stamp, answer: &Answer) -> RefundOutcome {
        self.refund_sent(ask, stamp, answer)
    }

    fn query_refund(&self, ask: &RefundAsk, _stamp: &Stamp) -> Outgoing {
        self.query_by(ask.refund_number.clone(), &beijing::moment(ask.dated_at))
    }

    fn read_refund_query(&self, ask: &RefundAsk, stamp: &Stamp, answer: &Answer) -> RefundOutcome {
        self.refund_found(ask, stamp, answer)
    }

    fn callback(&self, received: &Received<'_>, now: Instant) -> Result<Heard, CallbackError> {
        let fields = message::read_form(received.body).map_err(|_| CallbackError::Unreadable)?;
        self.believed(&fields, now).map_err(|_| CallbackError::Forged)?;
        // UnionPay signs for all merchants with one key: what is not ours is believed and of no use.
        if fields.get("merId") != Some(&self.mer_id) {
            return Err(CallbackError::Unreadable);
        }
        if is_of(&fields, REFUND) {
            // A notification is a reason to ask, whatever it says of the refund.
            let number = fields.get("orderId").ok_or(CallbackError::Unreadable)?;
            return RefundNotice::of(number, None).map(Heard::Refund).ok_or(CallbackError::Unreadable);
        }
        if !is_of(&fields, PURCHASE) || meaning(code(&fields, "respCode")) != Meaning::Done {
            return Ok(Heard::Nothing);
        }
        let (Some((reference, amount_minor)), Some(number), Some(currency)) =
            (reference_and_amount(&fields), fields.get("orderId"), fields.get("currencyCode"))
        else {
            return Err(CallbackError::Unreadable);
        };
        let currency = if currency == amount::CURRENCY_NUMBER { amount::CURRENCY } else { currency };
        Notice::of(number, reference, amount_minor, currency)
            .map(|notice| Heard::Capture(notice.dated(dated(&fields))))
            .ok_or(CallbackError::Unreadable)
    }

    fn acknowledgement(&self) -> Acknowledgement {
        Acknowledgement { status: 200, content_type: "text/plain", body: "ok" }
    }

    /// Of a settlement day.
    fn bill(&self, date: Date) -> Option<Bill<'_>> {
        let day = Day::in_beijing(date);
        Some(Bill { day, first: Box::new(bill::File { unionpay: self, day }) })
    }
}
