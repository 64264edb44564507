//! Alipay's open API (the v2 gateway): parameters signed by RSA2, JSON answers signed over their inner object.
//!
//! Every call is `POST {base}/gateway.do?…` with the common parameters in the address and `biz_content`, a JSON text, in
//! the form body. A request signs all its parameters; an answer signs the bytes of its inner object; a notification
//! signs its fields without `sign` and `sign_type`. `page` and `wap` are no calls: the payer's browser carries the
//! signed form there, and the trade is not known to Alipay before the payer has opened it.
//!
//! Source: opendocs.alipay.com, common/057k53, 02mse7, 02km9f, 02kf5q, open/028r8t, 02ekfg to 02ekfu, and the official
//! SDKs for Java, Node and Python.

pub mod bill;
mod callback;
mod certificates;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod keys;
mod requests;
mod upkeep;
mod verdict;
mod wire;
mod yuan;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use time::Date;

use super::{
    Acknowledgement, Adapter, Answer, Ask, Attempted, CallbackError, Heard, NextAction, Outgoing, Reading, Received,
    RefundAsk, Stamp, Submission, Submitted, TOO_MANY_REQUESTS, Verb,
    bill::{Bill, Day},
    is_name, is_showable,
};
pub use crate::config::credentials::{Alipay as Credentials, AlipayTrust as Trust};
use crate::domain::channel::Channel;
use crate::domain::event::{CloseAnswer, Fault, Finding, RefundOutcome, SendOutcome};
use crate::domain::id::Account;
use crate::domain::time::Instant;
use keys::{Distrust, Keys, Vouched};
use requests::{Entrance, Frozen};
use upkeep::Sought;
use verdict::{Meaning, Refused, Signed};
use wire::{Parameters, Uncovered};

/// Codes are short; a longer text is not ours to keep.
const TEXT_MAX: usize = 64;
/// How long a precreated code can be scanned.
const QR_CODE_LIVES_MS: i64 = 2 * 60 * 60 * 1_000;

pub struct Alipay {
    account: Account,
    gateway: String,
    app_id: String,
    seller_id: Option<String>,
    keys: Keys,
    sought: Sought,
}

/// What a believed answer says.
enum Told {
    /// Signed, and the call went well.
    Fine(Parameters),
    Refused(Refused),
}

/// A call by its signed address, and what its body carries.
struct Signature {
    url: String,
    biz_content: String,
}

impl Alipay {
    /// `base_url` is what stands before `/gateway.do`.
    ///
    /// # Errors
    /// Which credential is malformed; it is never shown.
    pub fn new(name: &str, base_url: &str, credentials: Credentials) -> Result<Self, String> {
        let account = Account::new(Channel::Alipay, name);
        let wrong = |why: &str| format!("alipay account {name}: {why}");
        // string[1,32] of common/02mse7. True ones have 16 digits: `2021…`, in the sandbox `9021…`, and sellers `2088…`.
        let digits = |text: &str| (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(&credentials.app_id) {
            return Err(wrong("app_id must be 1 to 32 digits"));
        }
        if !credentials.seller_id.as_deref().is_none_or(digits) {
            return Err(wrong("seller_id must be 1 to 32 digits"));
        }
        let keys = Keys::new(&credentials).map_err(|why| wrong(&why))?;
        if keys.vouched() == Some(Vouched::ByConfiguration) {
            tracing::warn!(
                account = name,
                "no certificate of root_certificate vouches for alipay_certificate: it is believed because it is configured. \
                 Alipay's sandbox hands out such files; those of production belong together"
            );
        }
        let gateway = format!("{}/gateway.do", base_url.trim_end_matches('/'));
        Ok(Alipay {
            account,
            gateway,
            app_id: credentials.app_id,
            seller_id: credentials.seller_id,
            keys,
            sought: Sought::default(),
        })
    }

    fn signature(&self, method: &str, biz_content: String, returns: &[(&str, &str)], stamp: &Stamp) -> Signature {
        let mut parameters: Parameters = [
            ("app_id", self.app_id.as_str()),
            ("biz_content", &biz_content),
            ("charset", "utf-8"),
            ("format", "JSON"),
            ("method", method),
            ("sign_type", "RSA2"),
            ("timestamp", &yuan::clock(stamp.at)),
            ("version", "1.0"),
        ]
        .iter()
        .chain(returns)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
        if let Some(serials) = self.keys.serials() {
            parameters.insert("app_cert_sn".into(), serials.app_cert_sn.clone());
            parameters.insert("alipay_root_cert_sn".into(), serials.alipay_root_cert_sn.clone());
        }
        let sign = self.keys.sign(&wire::signed_text_of_filled(&parameters, Uncovered::Sign));
        parameters.insert("sign".into(), sign);
        parameters.remove("biz_content");
        let query = wire::encoded(parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        Signature { url: format!("{}?{query}", self.gateway), biz_content }
    }

    fn outgoing(&self, method: &str, biz_content: String, returns: &[(&str, &str)], stamp: &Stamp) -> Outgoing {
        let Signature { url, biz_content } = self.signature(method, biz_content, returns, stamp);
        Outgoing {
            verb: Verb::Post,
            url,
            headers: vec![("content-type", "application/x-www-form-urlencoded;charset=utf-8".into())],
            body: wire::encoded([("biz_content", biz_content.as_str())]).into_bytes(),
        }
    }

    /// Reads an answer to `method`. An unsigned one can only be a refusal.
    fn told(&self, method: &str, stamp: &Stamp, answer: &Answer) -> Result<Told, String> {
        if answer.status != 200 {
            return Err(format!("status {}", answer.status));
        }
        let envelope = wire::envelope(&answer.body, method)?;
        let signed = match &envelope.sign {
            Some(sign) => {
                self.believed(envelope.content, sign, envelope.cert_sn.as_deref(), stamp.at)?;
                Signed::Yes
            }
            None => Signed::No,
        };
        let fields = wire::texts(envelope.content)?;
        let code = fields.get("code").ok_or("the answer has no code")?;
        match (code.as_str(), signed) {
            ("10000", Signed::Yes) => Ok(Told::Fine(fields)),
            ("10000", Signed::No) => Err("the answer is a success that nobody signed".into()),
            (code, signed) => {
                let sub_code = fields.get("sub_code").filter(|code| !code.is_empty()).map(|code| short(code));
                Ok(Told::Refused(Refused { code: short(code), sub_code, signed }))
            }
        }
    }

    /// The official SDKs look a second time with `\/` as `/`: some of Alipay's servers sign before they escape.
    fn believed(&self, content: &str, sign: &str, cert_sn: Option<&str>, now: Instant) -> Result<(), String> {
        let Err(distrust) = self.keys.verify(content, sign, cert_sn, now) else { return Ok(()) };
        if content.contains(r"\/") && self.keys.verify(&content.replace(r"\/", "/"), sign, cert_sn, now).is_ok() {
            return Ok(());
        }
        if let (Distrust::CertificateUnknown, Some(sn)) = (distrust, cert_sn) {
            self.sought.want(sn);
        }
        Err(distrust.to_string())
    }

    fn precreated(&self, frozen: &str, stamp: &Stamp, answer: &Answer) -> Result<Submitted, String> {
        let Frozen::Request { expires_at, number, .. } = Frozen::read(frozen)? else {
            return Err("an answer to what was never asked".into());
        };
        match self.told(requests::PRECREATE, stamp, answer)? {
            Told::Fine(fields) => {
                if fields.get("out_trade_no") != Some(&number) {
                    return Err("the answer speaks of another payment".into());
                }
                let qr_code =
                    fields.get("qr_code").filter(|code| is_showable(code)).ok_or("the answer has no code to pay by")?;
                let expires_at = expires_at.min(stamp.at.plus_ms(QR_CODE_LIVES_MS));
                Ok(Submitted {
                    outcome: SendOutcome::Accepted { reference: None },
                    next_action: Some(NextAction::QrCode { qr_code: qr_code.clone(), expires_at }),
                })
            }
            Told::Refused(refused) => Ok(Submitted { outcome: sent(&refused), next_action: None }),
        }
    }

    fn found(&self, attempt: &Attempted, stamp: &Stamp, answer: &Answer) -> Result<Finding, String> {
        let fields = match self.told(requests::QUERY, stamp, answer)? {
            Told::Fine(fields) => fields,
            Told::Refused(refused) => {
                return match refused.meaning() {
                    Meaning::Absent => Ok(Finding::NotExist),
                    Meaning::Unclear | Meaning::Busy | Meaning::Us | Meaning::This => Err(refused.name().to_owned()),
                };
            }
        };
        if fields.get("out_trade_no") != Some(&attempt.number.to_string()) {
            return Err("the answer speaks of another payment".into());
        }
        let paid = || {
            let (reference, amount_minor) = captured(&fields)?;
            let dated = yuan::dated(fields.get("send_pay_date"));
            let currency = fields.get("trans_currency").map_or(yuan::currency().code(), String::as_str);
            if currency != attempt.currency.code() {
                return Err("the answer is in another currency".to_owned());
            }
            Ok(Finding::Paid { reference, amount_minor, dated })
        };
        match fields.get("trade_status").map(String::as_str) {
            Some("WAIT_BUYER_PAY") => Ok(Finding::Pending),
            Some("TRADE_SUCCESS" | "TRADE_FINISHED") => paid(),
            // Also what a trade becomes that was paid and then refunded in full: the day of the payment tells them apart.
            Some("TRADE_CLOSED") => match fields.get("send_pay_date").filter(|date| !date.is_empty()) {
                Some(_) => paid(),
                None => Ok(Finding::Closed),
            },
            Some(_) | None => Err("the answer has an unknown state".into()),
        }
    }

    fn refunded(&self, ask: &RefundAsk, stamp: &Stamp, answer: &Answer) -> Result<RefundOutcome, String> {
        match self.told(requests::REFUND, stamp, answer)? {
            Told::Fine(fields) => {
                is_about(&fields, ask)?;
                // It is of all refunds of the trade, so that it can contradict this one and does not prove it.
                let total_minor = fields.get("refund_fee").and_then(|text| yuan::read(text));
                if total_minor.is_some_and(|total_minor| total_minor < ask.amount_minor) {
                    return Err("the answer has another amount".into());
                }
                match fields.get("fund_change").map(String::as_str) {
                    Some("Y") => Ok(done(&fields)),
                    // Not by this request: perhaps by an earlier one, perhaps not yet.
                    Some(_) | None => Err("no money was moved by this request".into()),
                }
            }
            Told::Refused(refused) => match refused.meaning() {
                Meaning::Unclear => Err(refused.name().to_owned()),
                Meaning::Busy => Ok(RefundOutcome::NotSent { why: refused.name().into() }),
                Meaning::Us | Meaning::This | Meaning::Absent => {
                    Ok(RefundOutcome::Rejected { class: refused.of_refund(), code: refused.name().into() })
                }
            },
        }
    }

    fn refund_found(&self, ask: &RefundAsk, stamp: &Stamp, answer: &Answer) -> Result<RefundOutcome, String> {
        let fields = match self.told(requests::REFUND_QUERY, stamp, answer)? {
            Told::Fine(fields) => fields,
            Told::Refused(refused) => {
                return match refused.meaning() {
                    Meaning::Absent => Ok(RefundOutcome::NotExist),
                    Meaning::Unclear | Meaning::Busy | Meaning::Us | Meaning::This => Err(refused.name().to_owned()),
                };
            }
        };
        match fields.get("refund_status").map(String::as_str) {
            Some("REFUND_SUCCESS") => {
                is_about(&fields, ask)?;
                let amount_minor = fields.get("refund_amount").and_then(|text| yuan::read(text));
                let ours = fields.get("out_request_no") == Some(&ask.refund_number);
                if !ours || amount_minor != Some(ask.amount_minor) {
                    return Err("the answer speaks of another refund".into());
                }
                Ok(done(&fields))
            }
            // Never received, or failed: either way the same number may be sent again.
            None => Ok(RefundOutcome::NotExist),
            Some(_) => Err("the answer has an unknown state".into()),
        }
    }
}

/// The addresses that a create adds to the common parameters.
fn returns<'a>(notify_url: &'a str, return_url: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
    let mut returns = vec![("notify_url", notify_url)];
    returns.extend(return_url.map(|url| ("return_url", url)));
    returns
}

/// A foreign text that goes into a record or a log.
fn short(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

/// What a paid trade's capture is.
fn captured(fields: &Parameters) -> Result<(Box<str>, i64), String> {
    let reference = fields.get("trade_no").filter(|text| is_name(text)).ok_or("the answer has no reference")?;
    let amount_minor =
        fields.get("total_amount").and_then(|text| yuan::read(text)).ok_or("the answer has no amount")?;
    Ok((reference.as_str().into(), amount_minor))
}

fn is_about(fields: &Parameters, ask: &RefundAsk) -> Result<(), String> {
    let ours = fields.get("trade_no").map(String::as_str) == Some(&*ask.reference)
        && fields.get("out_trade_no") == Some(&ask.attempt.number.to_string());
    let currency = fields.get("refund_currency").filter(|code| !code.is_empty());
    let in_currency = currency.map_or(yuan::currency().code(), String::as_str) == ask.attempt.currency.code();
    match (ours, in_currency) {
        (true, true) => Ok(()),
        (true, false) => Err("the answer is in another currency".into()),
        (false, _) => Err("the answer speaks of another payment".into()),
    }
}

/// A refund that was made. Alipay gives it no name of its own.
fn done(fields: &Parameters) -> RefundOutcome {
    RefundOutcome::Done { reference: None, dated: yuan::dated(fields.get("gmt_refund_pay")) }
}

/// What a refused create comes to.
fn sent(refused: &Refused) -> SendOutcome {
    let name: Box<str> = refused.name().into();
    match refused.meaning() {
        Meaning::Unclear | Meaning::Absent => SendOutcome::Unknown { why: name },
        Meaning::Busy => SendOutcome::Later { why: name },
        Meaning::Us => SendOutcome::Rejected { fault: Fault::Ours, code: name },
        Meaning::This => SendOutcome::Rejected { fault: Fault::Payment, code: name },
    }
}

impl Adapter for Alipay {
    fn account(&self) -> &Account {
        &self.account
    }

    fn freeze(&self, ask: &Ask<'_>) -> Box<str> {
        Frozen::of(ask).written()
    }

    fn submit(&self, frozen: &str, stamp: &Stamp) -> Submission {
        let nothing_sent = |outcome| Submission::Carried(Submitted { outcome, next_action: None });
        let (biz_content, entrance, expires_at, notify_url, return_url) = match Frozen::read(frozen) {
            Ok(Frozen::Request { biz_content, entrance, expires_at, notify_url, return_url, .. }) => {
                (biz_content, entrance, expires_at, notify_url, return_url)
            }
            Ok(Frozen::Unsuitable { code }) => {
                return nothing_sent(SendOutcome::Impossible { code: code.into() });
            }
            Err(why) => return nothing_sent(SendOutcome::HeldBack { why: why.into() }),
        };
        let returns = returns(&notify_url, return_url.as_deref());
        match entrance {
            Entrance::Precreate => Submission::Call(self.outgoing(requests::PRECREATE, biz_content, &returns, stamp)),
            Entrance::Page | Entrance::Wap => {
                let Signature { url, biz_content } = self.signature(entrance.method(), biz_content, &returns, stamp);
                let fields = BTreeMap::from([("biz_content".to_owned(), biz_content)]);
                Submission::Carried(Submitted {
                    outcome: SendOutcome::Accepted { reference: None },
                    next_action: Some(NextAction::Form { url, fields, expires_at }),
                })
            }
        }
    }

    fn read_submit(&self, frozen: &str, stamp: &Stamp, answer: &Answer) -> Submitted {
        self.precreated(frozen, stamp, answer)
            .unwrap_or_else(|why| Submitted { outcome: SendOutcome::Unknown { why: why.into() }, next_action: None })
    }

    fn says_later(&self, answer: &Answer) -> bool {
        answer.status == TOO_MANY_REQUESTS || wire::code(&answer.body).is_some_and(|code| verdict::is_later(&code))
    }

    fn query(&self, attempt: &Attempted, stamp: &Stamp) -> Outgoing {
        self.outgoing(requests::QUERY, requests::trade(&attempt.number.to_string()), &[], stamp)
    }

    fn read_query(&self, attempt: &Attempted, stamp: &Stamp, answer: &Answer) -> Reading<Finding> {
        let found = self.found(attempt, stamp, answer);
        Reading::Told(found.unwrap_or_else(|why| Finding::Unknown { why: why.into() }))
    }

    fn close(&self, attempt: &Attempted, stamp: &Stamp) -> Option<Outgoing> {
        Some(self.outgoing(requests::CLOSE, requests::trade(&attempt.number.to_string()), &[], stamp))
    }

    fn read_close(&self, attempt: &Attempted, stamp: &Stamp, answer: &Answer) -> Reading<CloseAnswer> {
        let unknown = |why: &str| CloseAnswer::Unknown { why: why.into() };
        Reading::Told(match self.told(requests::CLOSE, stamp, answer) {
            Ok(Told::Fine(fields)) => match fields.get("out_trade_no") {
                Some(number) if *number != attempt.number.to_string() => {
                    unknown("the answer speaks of another payment")
                }
                Some(_) | None => CloseAnswer::Closed,
            },
            Ok(Told::Refused(refused)) => match refused.meaning() {
                // A page that the payer has not opened yet cannot be closed, and may still be opened.
                Meaning::Absent => CloseAnswer::NotExist,
                Meaning::Unclear | Meaning::Busy | Meaning::Us | Meaning::This => unknown(refused.name()),
            },
            Err(why) => unknown(&why),
        })
    }

    fn refund(&self, ask: &RefundAsk, stamp: &Stamp) -> Outgoing {
        self.outgoing(requests::REFUND, requests::refund(ask), &[], stamp)
    }

    fn read_refund(&self, ask: &RefundAsk, stamp: &Stamp, answer: &Answer) -> RefundOutcome {
        self.refunded(ask, stamp, answer).unwrap_or_else(|why| RefundOutcome::Unknown { why: why.into() })
    }

    fn query_refund(&self, ask: &RefundAsk, stamp: &Stamp) -> Outgoing {
        self.outgoing(requests::REFUND_QUERY, requests::refund_query(ask), &[], stamp)
    }

    fn read_refund_query(&self, ask: &RefundAsk, stamp: &Stamp, answer: &Answer) -> RefundOutcome {
        self.refund_found(ask, stamp, answer).unwrap_or_else(|why| RefundOutcome::Unknown { why: why.into() })
    }

    fn callback(&self, received: &Received<'_>, now: Instant) -> Result<Heard, CallbackError> {
        callback::read(self, received, now)
    }

    fn acknowledgement(&self) -> Acknowledgement {
        Acknowledgement { status: 200, content_type: "text/plain", body: "success" }
    }

    fn bill(&self, date: Date) -> Option<Bill<'_>> {
        let day = Day::in_beijing(date);
        Some(Bill { day, first: Box::new(bill::Address { alipay: self, day }) })
    }

    fn upkeep(&self, stamp: &Stamp) -> Option<Outgoing> {
        self.ask_for_certificate(stamp)
    }

    fn read_upkeep(&self, _stamp: &Stamp, answer: &Answer) -> Result<(), String> {
        self.take_certificate(answer)
    }
}
