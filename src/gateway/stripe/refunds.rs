//! Refunds: all of a charge, or parts of it.

use serde_json::Value;

use super::failure::Failure;
use super::form::Params;
use super::listing::Page;
use super::objects::{self, Intent, MadeBy, RefundData, related};
use super::{Done, id, intents};
use crate::gateway::Gateway;
use crate::gateway::accounts::AccountId;
use crate::gateway::books::{BookedRefund, Moment, Refund, RefundLimits, Refusal};
use crate::gateway::refund_script::RefundScript;

const EXPANDABLE: [&str; 2] = ["charge", "payment_intent"];
const REASONS: [&str; 3] = ["duplicate", "fraudulent", "requested_by_customer"];

pub fn create(
    gateway: &Gateway,
    account: AccountId,
    mut params: Params,
    made_by: Option<MadeBy>,
    now: i64,
) -> Result<Done, Failure> {
    let intent_id = match (params.text("payment_intent"), params.text("charge")) {
        (Some(intent), None) => intent,
        (None, Some(charge)) => related(&charge, "pi"),
        (None, None) => {
            return Err(Failure::invalid("One of the following params should be provided: payment_intent or charge."));
        }
        (Some(_), Some(_)) => {
            return Err(Failure::invalid("You may only specify one of these parameters: payment_intent, charge."));
        }
    };
    let amount = params.amount("amount")?;
    let reason = params.one_of("reason", &REASONS)?;
    let metadata = params.metadata()?;
    // Stripe's own reasons are few; the merchant's stands in a name of its own.
    let script = RefundScript::of(metadata.get("reason").map(String::as_str));
    let data = RefundData { metadata, reason, made_by };
    let expand = params.expand(&EXPANDABLE)?;
    params.finish()?;
    let (number, intent) = intents::find(gateway, account, &intent_id, now)?;
    let left = left(&intent)?;
    let id = id("re");
    let refund = Refund {
        refund_number: &id,
        number: &number,
        amount_minor: amount.unwrap_or(left),
        currency: intent.currency,
        script,
        limits: RefundLimits::NONE,
        reference: Some(&id),
        notify_url: Some(gateway.stripe.endpoint(account)),
        data: Some(&data.text()),
    };
    let refunding = match gateway.books.refund(account, &refund, now) {
        Ok(refunding) => refunding,
        Err(Refusal::RefundRefused) => return Err(Failure::disputed()),
        Err(Refusal::RefundExceeds) => {
            let message =
                format!("Refund amount ({}) is greater than unrefunded amount ({left}).", refund.amount_minor);
            return Err(Failure::conflict(message));
        }
        Err(refusal) => return Err(Failure::of_books(refusal)),
    };
    gateway.arrange_refund(account, &id, refunding.booked());
    let (_, intent) = intents::find(gateway, account, &intent_id, now)?;
    let body = shown(&id, &intent, refunding.booked(), &expand, now);
    Ok(Done { conduct: refunding.conduct(), ..Done::of(&number, body) })
}

fn shown(id: &str, intent: &Intent, refund: &BookedRefund, expand: &[String], now: i64) -> Value {
    let mut shown = objects::refund(id, &intent.data.id, refund, now);
    for path in expand {
        shown[path] = match path.as_str() {
            "charge" => intent.charge().unwrap_or_default(),
            _ => intent.json(),
        };
    }
    shown
}

/// What can be given back of an intent.
fn left(intent: &Intent) -> Result<i64, Failure> {
    let Some(capture) = &intent.capture else {
        let message = "This PaymentIntent does not have a successful charge to refund.";
        return Err(Failure::conflict(message));
    };
    match capture.amount_minor.saturating_sub(intent.refunded) {
        0 => Err(Failure::already_refunded()),
        left => Ok(left),
    }
}

pub fn retrieve(
    gateway: &Gateway,
    account: AccountId,
    id: &str,
    mut params: Params,
    now: i64,
) -> Result<Done, Failure> {
    let expand = params.expand(&EXPANDABLE)?;
    params.finish()?;
    let missing = || Failure::no_such("refund", "refund", id);
    let refund = gateway.books.refund_of(account, id).ok_or_else(missing)?;
    let view = gateway.books.view(account, &refund.number, now).ok_or_else(missing)?;
    let intent = Intent::of(&view).ok_or_else(missing)?;
    Ok(Done::of(&refund.number, shown(id, &intent, &refund, &expand, now)))
}

pub fn list(gateway: &Gateway, account: AccountId, mut params: Params, now: i64) -> Result<Done, Failure> {
    let page = Page::read(&mut params)?;
    let span = params.span("created")?;
    let intent_id = params.text("payment_intent");
    let charge = params.text("charge").map(|charge| related(&charge, "pi"));
    params.finish()?;
    let lines = gateway.books.refunds_between(account, Moment::Taken, span.from, span.until);
    let objects = lines.iter().filter_map(|line| {
        let of = line.payment_reference.as_deref()?;
        let wanted = |id: &Option<String>| id.as_deref().is_none_or(|id| id == of);
        (wanted(&intent_id) && wanted(&charge)).then(|| objects::refund(&line.refund_number, of, &line.refund, now))
    });
    Ok(Done::listing(page.of("/v1/refunds", objects.collect())?))
}
