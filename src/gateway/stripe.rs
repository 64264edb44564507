//! The far end of the channel `stripe`: PaymentIntents, refunds, balance transactions and webhooks of API v1.
//!
//! A payment's number in the books is `metadata[attempt]` of the intent, so that it is found by the name that the
//! merchant gave it; an intent without one, or with one that another intent has, goes by its own id. Merchants name no
//! address in a request: webhooks go to the endpoint that was set up for the account.
//!
//! An intent never expires. A payer who is declined tries until Stripe cancels the intent. A confirmed intent waits in
//! `requires_action`, whatever the card: the simulated payer comes by a browser.
//!
//! Source: stripe-python's generated resources and docs.stripe.com (idempotent requests, errors, lifecycle of an
//! intent, webhooks).

mod balance;
mod failure;
mod form;
mod idempotency;
mod intents;
mod listing;
mod objects;
mod refunds;
mod reply;
pub mod routes;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::accounts::{AccountId, Channel};
use super::books::{Books, Moment};
use super::faults::Fault;
use super::payer::Conduct;
use super::roster::Roster;
use super::wire::TimeScale;
use super::{Gateway, GatewayError, alphanumeric};
use crate::config::{Config, sandbox};
use failure::Failure;
use form::Params;
use idempotency::{Claim, Keys};
use objects::MadeBy;
use reply::Reply;
use wire::StripeWire;

/// Longer keys are refused.
const KEY_MAX: usize = 255;
const ID_LENGTH: usize = 24;

/// What Stripe knows of its merchants.
pub struct Stripe {
    merchants: Vec<Merchant>,
    keys: Keys,
}

struct Merchant {
    account: AccountId,
    secret_key: SecretString,
    /// Where webhooks go.
    endpoint: String,
}

impl Stripe {
    /// # Errors
    /// A secret cannot be made or read.
    pub fn open(config: &Config, roster: &mut Roster) -> Result<Self, GatewayError> {
        let mut merchants = Vec::new();
        let scale = TimeScale::percent(config.gateway.time_scale_percent);
        for name in sandbox::accounts(config, Channel::Stripe.name()).map_err(GatewayError::Config)? {
            let made = sandbox::Stripe::open(&config.data.dir, &name).map_err(GatewayError::Config)?;
            let wire = Arc::new(StripeWire::new(&made.webhook_secret, scale));
            merchants.push(Merchant {
                account: roster.enlist(Channel::Stripe, &name, wire),
                secret_key: made.secret_key,
                endpoint: config.public_url(&format!("/v1/callbacks/stripe/{name}")),
            });
        }
        Ok(Stripe { merchants, keys: Keys::default() })
    }

    /// Recalls from the books which keys made what they hold.
    pub fn recall(&self, books: &Books, now: i64) {
        for Merchant { account, .. } in &self.merchants {
            let since = now.saturating_sub(idempotency::KEPT_MS);
            for (_, view) in books.created_between(*account, since..i64::MAX, now) {
                let Some(data) = objects::IntentData::read(view.data.as_ref()) else { continue };
                let Some((key, request)) = data.made_by.as_ref().and_then(made_by) else { continue };
                let reply = match view.script.conduct() {
                    Conduct::Fails => Failure::broken().reply(),
                    Conduct::Answers | Conduct::Hangs => {
                        // Only its own create names its key, and that answered before anybody confirmed or cancelled.
                        Reply::ok(&objects::Intent::fresh(data, view.asked_minor, view.currency).json())
                    }
                };
                self.keys.recall(*account, &key, request, view.created_at, reply);
            }
            for line in books.refunds_between(*account, Moment::Taken, since, i64::MAX) {
                let data = objects::RefundData::read(line.refund.data.as_ref());
                let Some((key, request)) = data.and_then(|data| data.made_by.as_ref().and_then(made_by)) else {
                    continue;
                };
                let intent = line.payment_reference.as_deref().unwrap_or_default();
                let reply = match line.refund.script.conduct() {
                    Conduct::Fails => Failure::broken().reply(),
                    Conduct::Answers | Conduct::Hangs => {
                        Reply::ok(&objects::refund(&line.refund_number, intent, &line.refund, line.at))
                    }
                };
                self.keys.recall(*account, &key, request, line.at, reply);
            }
        }
    }

    /// The account whose secret key this is; every known one is compared, each in constant time.
    fn account_of(&self, secret_key: &str) -> Option<AccountId> {
        self.merchants.iter().fold(None, |found, merchant| {
            let known = merchant.secret_key.expose_secret().as_bytes();
            let same = constant_time::verify_slices_are_equal(known, secret_key.as_bytes()).is_ok();
            if same { Some(merchant.account) } else { found }
        })
    }

    fn endpoint(&self, account: AccountId) -> &str {
        self.merchants.iter().find(|merchant| merchant.account == account).map_or("", |merchant| &merchant.endpoint)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Call<'a> {
    CreateIntent,
    ListIntents,
    RetrieveIntent(&'a str),
    ConfirmIntent(&'a str),
    CancelIntent(&'a str),
    CreateRefund,
    ListRefunds,
    RetrieveRefund(&'a str),
    RetrieveCharge(&'a str),
    ListBalance,
    RetrieveBalance(&'a str),
}

/// Whether a call changes something, so that its answer is kept under its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reads,
    Writes,
}

impl Call<'_> {
    fn name(self) -> &'static str {
        match self {
            Call::CreateIntent => "create_intent",
            Call::ListIntents => "list_intents",
            Call::RetrieveIntent(_) => "retrieve_intent",
            Call::ConfirmIntent(_) => "confirm_intent",
            Call::CancelIntent(_) => "cancel_intent",
            Call::CreateRefund => "create_refund",
            Call::ListRefunds => "list_refunds",
            Call::RetrieveRefund(_) => "retrieve_refund",
            Call::RetrieveCharge(_) => "retrieve_charge",
            Call::ListBalance => "list_balance",
            Call::RetrieveBalance(_) => "retrieve_balance",
        }
    }

    fn id(&self) -> &str {
        match self {
            Call::CreateIntent | Call::ListIntents | Call::CreateRefund | Call::ListRefunds | Call::ListBalance => "",
            Call::RetrieveIntent(id)
            | Call::ConfirmIntent(id)
            | Call::CancelIntent(id)
            | Call::RetrieveRefund(id)
            | Call::RetrieveCharge(id)
            | Call::RetrieveBalance(id) => id,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Call::CreateIntent | Call::ConfirmIntent(_) | Call::CancelIntent(_) | Call::CreateRefund => Kind::Writes,
            Call::ListIntents
            | Call::RetrieveIntent(_)
            | Call::ListRefunds
            | Call::RetrieveRefund(_)
            | Call::RetrieveCharge(_)
            | Call::ListBalance
            | Call::RetrieveBalance(_) => Kind::Reads,
        }
    }
}

/// A believed request.
pub struct Asking<'a> {
    pub account: AccountId,
    pub call: Call<'a>,
    /// The form of a POST, the query of a GET.
    pub form: &'a [u8],
    pub key: Option<&'a str>,
    pub now: i64,
}

/// What a call comes to: its answer, and whether and when the caller gets to see it.
pub struct Outcome {
    pub reply: Reply,
    pub fault: Fault,
    pub replayed: bool,
}

/// What a call that was carried out says, and of which payment.
struct Done {
    body: Value,
    number: Option<Arc<str>>,
    conduct: Conduct,
}

impl Done {
    fn of(number: &Arc<str>, body: Value) -> Self {
        Done { body, number: Some(Arc::clone(number)), conduct: Conduct::Answers }
    }

    fn listing(body: Value) -> Self {
        Done { body, number: None, conduct: Conduct::Answers }
    }
}

/// Carries out a call, or repeats the answer that its key is known for.
pub fn answer(gateway: &Gateway, asking: &Asking<'_>) -> Outcome {
    let plain = |failure: Failure| Outcome { reply: failure.reply(), fault: Fault::NONE, replayed: false };
    let params = match Params::read(asking.form) {
        Ok(params) => params,
        Err(failure) => return plain(failure),
    };
    let fingerprint = fingerprint(asking.call, &params);
    let Some(key) = asking.key.filter(|_| asking.call.kind() == Kind::Writes) else {
        return carry_out(gateway, asking, params, fingerprint).0;
    };
    if key.is_empty() || key.len() > KEY_MAX {
        return plain(Failure::invalid("Idempotency keys can be up to 255 characters long."));
    }
    let keys = &gateway.stripe.keys;
    match keys.claim(asking.account, key, fingerprint, asking.now) {
        Err(failure) => plain(failure),
        Ok(Claim::Known(reply)) => Outcome { reply, fault: Fault::NONE, replayed: true },
        Ok(Claim::First) => {
            let (outcome, began) = carry_out(gateway, asking, params, fingerprint);
            match began {
                Began::Executing => {
                    // What the caller is not shown is kept too: a 500 is repeated as faithfully as a success.
                    let kept = match outcome.fault.conduct {
                        Conduct::Fails => Failure::broken().reply(),
                        Conduct::Answers | Conduct::Hangs => outcome.reply.clone(),
                    };
                    keys.keep(asking.account, key, kept);
                }
                Began::Nothing => keys.release(asking.account, key),
            }
            outcome
        }
    }
}

/// How far a call came: only the answer of one that began to execute is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Began {
    Nothing,
    Executing,
}

fn carry_out(gateway: &Gateway, asking: &Asking<'_>, params: Params, asked: Fingerprint) -> (Outcome, Began) {
    let Asking { account, call, now, .. } = *asking;
    let made_by = asking.key.map(|key| MadeBy { key: key.to_owned(), fingerprint: STANDARD.encode(asked) });
    let done = match call {
        Call::CreateIntent => intents::create(gateway, account, params, asked, made_by, now),
        Call::ListIntents => intents::list(gateway, account, params, now),
        Call::RetrieveIntent(id) => intents::retrieve(gateway, account, id, params, now),
        Call::ConfirmIntent(id) => intents::confirm(gateway, account, id, params, now),
        Call::CancelIntent(id) => intents::cancel(gateway, account, id, params, now),
        Call::CreateRefund => refunds::create(gateway, account, params, made_by, now),
        Call::ListRefunds => refunds::list(gateway, account, params, now),
        Call::RetrieveRefund(id) => refunds::retrieve(gateway, account, id, params, now),
        Call::RetrieveCharge(id) => intents::charge(gateway, account, id, params, now),
        Call::ListBalance => balance::list(gateway, account, params, now),
        Call::RetrieveBalance(id) => balance::retrieve(gateway, account, id, params, now),
    };
    match done {
        Ok(done) => {
            let fault = match &done.number {
                Some(number) => gateway.fault(account, number, call.name(), done.conduct),
                None => Fault::NONE,
            };
            (Outcome { reply: Reply::ok(&done.body), fault, replayed: false }, Began::Executing)
        }
        Err(failure) => {
            let began = failure.began;
            (Outcome { reply: failure.reply(), fault: Fault::NONE, replayed: false }, began)
        }
    }
}

type Fingerprint = [u8; 32];

/// Two requests ask the same if their calls and parameters do, in whatever order these come.
fn fingerprint(call: Call<'_>, params: &Params) -> Fingerprint {
    let text = format!("{} {}\n{}", call.name(), call.id(), params.canonical());
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn id(prefix: &str) -> String {
    format!("{prefix}_{}", String::from_utf8_lossy(&alphanumeric::<ID_LENGTH>()))
}

fn made_by(made_by: &MadeBy) -> Option<(String, Fingerprint)> {
    let fingerprint = STANDARD.decode(&made_by.fingerprint).ok()?.try_into().ok()?;
    Some((made_by.key.clone(), fingerprint))
}
