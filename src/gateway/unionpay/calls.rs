//! The calls of UnionPay: what they change in the books, and what is answered.

use aws_lc_rs::digest::{SHA256, digest};

use super::clock;
use super::failure::Failure;
use super::fields::{
    DUPLICATE, FAILED, Kept, MALFORMED, NO_BALANCE, NO_ORIGINAL, NOT_FOUND, PENDING, Refused, Request, SUCCESS,
};
use super::form::{self, Fields};
use super::wire::{UnionpayWire, moved, paid, query_id, said};
use super::{Unionpay, file};
use crate::domain::money::Currency;
use crate::gateway::Gateway;
use crate::gateway::accounts::AccountId;
use crate::gateway::books::{Asked, Refund, RefundLimits, Refunding, State, Taken, View};
use crate::gateway::faults::Fault;
use crate::gateway::payer::{Conduct, Script};
use crate::gateway::refund_script::RefundScript;

/// How long a payer has where the merchant gives no `payTimeout`.
const PAY_TIMEOUT_MS: i64 = 15 * 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// By the payer's browser.
    Front,
    Query,
    Back,
    File,
}

/// What a call comes to.
pub enum Outcome {
    /// A signed answer, which the fault may keep from the caller.
    Answer {
        body: Vec<u8>,
        fault: Fault,
    },
    Page(Page),
    /// Nobody whom UnionPay knows: what is answered is not signed.
    Stranger,
    Broken,
}

/// What a payer's browser shows.
pub struct Page {
    pub order_id: String,
    pub front_url: Option<String>,
    pub shown: Shown,
}

pub enum Shown {
    Cashier { amount_minor: i64 },
    Refused(Refused),
}

/// Carries out whatever a form asks for.
pub fn answer(gateway: &Gateway, unionpay: &Unionpay, call: Call, body: &[u8], now: i64) -> Outcome {
    let Some(fields) = form::parse(body) else { return Outcome::Stranger };
    let mer_id = fields.get("merId").map(String::as_str).unwrap_or_default();
    let Some((account, wire)) = unionpay.wire(mer_id) else { return Outcome::Stranger };
    let order_id = fields.get("orderId").cloned().unwrap_or_default();
    let request = match Request::verify(fields, &wire.merchant) {
        Ok(request) => request,
        Err(refused) => {
            return match call {
                Call::Front => Outcome::Page(Page { order_id, front_url: None, shown: Shown::Refused(refused) }),
                Call::Query | Call::Back | Call::File => signed(wire, Fields::new(), refused, Fault::NONE),
            };
        }
    };
    let repeated = request.repeated();
    let done = match call {
        Call::Front => {
            let front_url = request.address("frontUrl").ok().map(str::to_owned);
            return match front(gateway, account, &request, now) {
                Ok(amount_minor) => Outcome::Page(Page { order_id, front_url, shown: Shown::Cashier { amount_minor } }),
                Err(Failure::Refused(refused)) => {
                    Outcome::Page(Page { order_id, front_url, shown: Shown::Refused(refused) })
                }
                Err(Failure::Broken) => Outcome::Broken,
            };
        }
        Call::Query => query(gateway, account, &request, now),
        Call::Back => refund(gateway, account, &request, now),
        Call::File => file::answer(gateway, account, &wire.merchant.mer_id, &request, now),
    };
    match done {
        Ok((said, fault)) => {
            let mut fields = repeated;
            fields.extend(said);
            signed(wire, fields, SUCCESS, fault)
        }
        Err(Failure::Refused(refused)) => signed(wire, repeated, refused, Fault::NONE),
        Err(Failure::Broken) => Outcome::Broken,
    }
}

fn signed(wire: &UnionpayWire, mut fields: Fields, said: Refused, fault: Fault) -> Outcome {
    for (name, value) in [("version", "5.1.0"), ("respCode", said.code), ("respMsg", said.message)] {
        fields.insert(name.into(), value.into());
    }
    fields.entry("encoding".into()).or_insert_with(|| "UTF-8".into());
    Outcome::Answer { body: form::answer(&wire.signer.sign(fields)), fault }
}

/// The payer's browser arrives with a purchase; this makes the trade.
fn front(gateway: &Gateway, account: AccountId, request: &Request, now: i64) -> Result<i64, Failure> {
    for (name, allowed) in [
        ("txnType", ["01"].as_slice()),
        ("txnSubType", &["01"]),
        ("bizType", &["000201"]),
        ("channelType", &["07", "08"]),
        ("currencyCode", &["156"]),
    ] {
        request.exact(name, allowed)?;
    }
    request.address("frontUrl")?;
    let amount_minor = request.amount()?;
    let expires_at = match request.get("payTimeout") {
        Some(text) => clock::parse(text).ok_or(MALFORMED)?,
        None => now.saturating_add(gateway.time_scale.of(PAY_TIMEOUT_MS)),
    };
    let reserved = request.reserved()?;
    let script = Script::of(reserved.unwrap_or_default());
    let kept = Kept { txn_time: request.fresh_txn_time(now)?.to_owned(), reserved: reserved.map(str::to_owned) };
    let hash = digest(&SHA256, request.meaning().as_bytes());
    let asked = Asked {
        number: request.order_id()?,
        fingerprint: hash.as_ref().try_into().expect("SHA-256 has 32 bytes"),
        amount_minor,
        currency: cny(),
        script,
        notify_url: Some(request.address("backUrl")?),
        expires_at,
        reference: None,
        data: Some(&kept.text()),
    };
    match gateway.books.create(account, &asked, now)? {
        Taken::New(payment) => {
            gateway.arrange_payment(payment.clone(), script, amount_minor, now);
            gateway.arrange_end(payment, script, amount_minor, expires_at);
            Ok(amount_minor)
        }
        // The same form once more: the payer has reloaded the page.
        Taken::Again => Ok(amount_minor),
        Taken::Paid(_) => Err(DUPLICATE.into()),
    }
}

/// What became of a transaction, a purchase or a refund, which its number and its time name together.
fn query(gateway: &Gateway, account: AccountId, request: &Request, now: i64) -> Result<(Fields, Fault), Failure> {
    // Real requests of both kinds of business were answered.
    for (name, allowed) in [("txnType", ["00"].as_slice()), ("txnSubType", &["00"]), ("bizType", &["000201", "000000"])]
    {
        request.exact(name, allowed)?;
    }
    let (order_id, txn_time) = (request.order_id()?, request.txn_time()?);
    let is_named = |data: Option<&str>| Kept::read(data).is_some_and(|kept| kept.txn_time == txn_time);
    if let Some(view) = gateway.books.view(account, order_id, now) {
        if !is_named(view.data.as_deref()) {
            return Err(NOT_FOUND.into());
        }
        let fault = gateway.fault_after_browser(account, order_id, "query", view.script);
        return Ok((purchase(&view, reserved(view.data.as_deref())), fault));
    }
    let refund = gateway.books.refund_of(account, order_id).filter(|refund| is_named(refund.data.as_deref()));
    let refund = refund.ok_or(NOT_FOUND)?;
    let state = refund.state_at(now);
    let mut fields = moved(&refund, state).ok_or(NOT_FOUND)?;
    fields.extend(found(["04", "00"], said(state)));
    fields.extend(reserved(refund.data.as_deref()));
    let fault = gateway.fault(account, &refund.number, "query_refund", Conduct::Answers);
    Ok((fields, fault))
}

/// What the merchant wants to read again in every answer about a transaction of its own.
fn reserved(data: Option<&str>) -> Option<(String, String)> {
    Kept::read(data)?.reserved.map(|text| ("reqReserved".to_owned(), text))
}

fn purchase(view: &View, reserved: Option<(String, String)>) -> Fields {
    let mut fields = match &view.capture {
        Some(capture) => paid(capture),
        None => Fields::from([("txnAmt".to_owned(), view.asked_minor.to_string())]),
    };
    let said = match view.state {
        State::Waiting => PENDING,
        State::Paid => SUCCESS,
        State::Declined => NO_BALANCE,
        State::Closed => FAILED,
    };
    fields.extend(found(["01", "01"], said));
    fields.extend(reserved);
    fields
}

/// What was found: the answer takes the kind of the transaction in place of the query's, as UnionPay's own do.
fn found([txn_type, txn_sub_type]: [&str; 2], said: Refused) -> Fields {
    [("txnType", txn_type), ("txnSubType", txn_sub_type), ("origRespCode", said.code), ("origRespMsg", said.message)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// Gives back a part of a purchase. 00 says that it was taken; the notification and queries say that it was done.
fn refund(gateway: &Gateway, account: AccountId, request: &Request, now: i64) -> Result<(Fields, Fault), Failure> {
    for (name, allowed) in [
        ("txnType", ["04"].as_slice()),
        ("txnSubType", &["00"]),
        // Real requests of both kinds were answered.
        ("bizType", &["000201", "000000"]),
        ("channelType", &["07", "08"]),
    ] {
        request.exact(name, allowed)?;
    }
    if request.get("currencyCode").is_some_and(|code| code != "156") {
        return Err(MALFORMED.into());
    }
    let (order_id, amount_minor) = (request.order_id()?, request.amount()?);
    let reserved = request.reserved()?.map(str::to_owned);
    let kept = Kept { txn_time: request.fresh_txn_time(now)?.to_owned(), reserved };
    let notify_url = request.address("backUrl")?;
    let original = request.needed("origQryId")?;
    if gateway.books.view(account, order_id, now).is_some() {
        return Err(DUPLICATE.into());
    }
    let number = gateway.books.referred(account, original).ok_or(NO_ORIGINAL)?;
    let reference = query_id(now);
    let asked = Refund {
        refund_number: order_id,
        number: &number,
        amount_minor,
        currency: cny(),
        script: RefundScript::of(request.reason().as_deref()),
        limits: RefundLimits::NONE,
        reference: Some(&reference),
        notify_url: Some(notify_url),
        data: Some(&kept.text()),
    };
    match gateway.books.refund(account, &asked, now)? {
        refunding @ Refunding::New(_) => {
            gateway.arrange_refund(account, order_id, refunding.booked());
            let fault = gateway.fault_of_refund(account, &refunding);
            Ok((Fields::from([("queryId".to_owned(), reference)]), fault))
        }
        // Unlike elsewhere, a repeat is no question: its answer says nothing of the first.
        Refunding::Again(_) => Err(DUPLICATE.into()),
    }
}

fn cny() -> Currency {
    Currency::parse("CNY").expect("CNY is a currency")
}
