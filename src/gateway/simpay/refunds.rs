//! Refunds of simpay: the call, its query, and how both are answered.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Done, Failure, NUMBER_LENGTHS, address_form, amount_form, json, number_form, parse};
use crate::domain::money::Currency;
use crate::gateway::Gateway;
use crate::gateway::accounts::AccountId;
use crate::gateway::books::{BookedRefund, Refund, RefundLimits, Refunding, Refusal};
use crate::gateway::fate::RefundState;
use crate::gateway::payer::Conduct;
use crate::gateway::refund_script::RefundScript;

const REASON_LENGTHS: std::ops::RangeInclusive<usize> = 1..=80;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundBody<'a> {
    #[serde(borrow)]
    refund_number: Cow<'a, str>,
    #[serde(borrow)]
    number: Cow<'a, str>,
    amount_minor: i64,
    currency: Currency,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    notify_url: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundNumberBody<'a> {
    #[serde(borrow)]
    refund_number: Cow<'a, str>,
}

#[derive(Serialize)]
struct RefundAnswer<'a> {
    refund_number: &'a str,
    state: RefundState,
    amount_minor: i64,
    finished_at: Option<i64>,
}

pub fn refund(gateway: &Gateway, account: AccountId, body: &[u8], now: i64) -> Result<Done, Failure> {
    let request: RefundBody<'_> = parse(body)?;
    refund_number_form(&request.refund_number)?;
    number_form(&request.number)?;
    amount_form(request.amount_minor, request.currency)?;
    request.reason.as_deref().map_or(Ok(()), reason_form)?;
    request.notify_url.as_deref().map_or(Ok(()), address_form)?;
    let refund = Refund {
        refund_number: &request.refund_number,
        number: &request.number,
        amount_minor: request.amount_minor,
        currency: request.currency,
        script: RefundScript::of(request.reason.as_deref()),
        limits: RefundLimits::NONE,
        reference: None,
        notify_url: request.notify_url.as_deref(),
        data: None,
    };
    let refunding = gateway.books.refund(account, &refund, now)?;
    if let Refunding::New(booked) = &refunding {
        gateway.arrange_refund(account, &request.refund_number, booked);
    }
    let fault = gateway.fault_of_refund(account, &refunding);
    Ok(Done { fault, body: shown(&request.refund_number, refunding.booked(), now) })
}

pub fn query(gateway: &Gateway, account: AccountId, body: &[u8], now: i64) -> Result<Done, Failure> {
    let RefundNumberBody { refund_number } = parse(body)?;
    refund_number_form(&refund_number)?;
    let refund = gateway.books.refund_of(account, &refund_number).ok_or(Refusal::NotExist)?;
    let fault = gateway.fault(account, &refund.number, "query_refund", Conduct::Answers);
    Ok(Done { fault, body: shown(&refund_number, &refund, now) })
}

fn shown(refund_number: &str, refund: &BookedRefund, now: i64) -> Vec<u8> {
    let state = refund.state_at(now);
    let since = refund.history().find(|news| news.state == state).map(|news| news.at);
    let finished_at = since.filter(|_| is_finished(state));
    json(&RefundAnswer { refund_number, state, amount_minor: refund.amount_minor, finished_at })
}

/// Whether nothing more is to be waited for; what was refunded may still come back.
pub fn is_finished(state: RefundState) -> bool {
    match state {
        RefundState::Refunded | RefundState::Ended | RefundState::Returned => true,
        RefundState::Pending | RefundState::Stuck => false,
    }
}

fn refund_number_form(number: &str) -> Result<(), Failure> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if NUMBER_LENGTHS.contains(&number.len()) && number.bytes().all(allowed) {
        return Ok(());
    }
    Err(Failure::Malformed("`refund_number` must be 6 to 64 of 0-9, A-Z, a-z, _ and -".into()))
}

fn reason_form(reason: &str) -> Result<(), Failure> {
    if REASON_LENGTHS.contains(&reason.chars().count()) && !reason.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Failure::Malformed("`reason` must be 1 to 80 characters, none of them control".into()))
}
