//! What Stripe's objects mean to the attempt or the refund that was asked about.

use secrecy::ExposeSecret;
use url::Url;

use super::super::{Attempted, NextAction, RefundAsk, Submitted, is_name, is_showable};
use super::frozen::Wanted;
use super::objects::{self, Intent, IntentStatus, Refund, RefundStatus};
use super::{known_id, money};
use crate::domain::event::{Finding, Hold, RefundOutcome, SendOutcome};

/// Why a refund is pending that waits for money of ours.
const NO_MONEY: &str = "insufficient_funds";

/// Whether an intent is the attempt's.
fn belongs(intent: &Intent, attempt: &Attempted) -> bool {
    intent.metadata.attempt.as_deref() == Some(attempt.number.to_string().as_str())
        && known_id(attempt).is_none_or(|id| id == intent.id)
}

/// What an intent says of the attempt that it belongs to.
pub fn finding(intent: &Intent, attempt: &Attempted) -> Finding {
    let unknown = |why: &str| Finding::Unknown { why: why.into() };
    if !belongs(intent, attempt) {
        return unknown("the answer speaks of another payment");
    }
    match intent.status {
        IntentStatus::RequiresPaymentMethod
        | IntentStatus::RequiresConfirmation
        | IntentStatus::RequiresAction
        | IntentStatus::Processing
        | IntentStatus::RequiresCapture => Finding::Pending,
        IntentStatus::Canceled if intent.amount_received != 0 => unknown("canceled, and money was received"),
        IntentStatus::Canceled if intent.last_payment_error.is_some() => Finding::Declined,
        IntentStatus::Canceled => Finding::Closed,
        IntentStatus::Succeeded => match money::from_wire(intent.amount_received, &intent.currency) {
            Some((amount_minor, currency)) if currency == attempt.currency => {
                Finding::Paid { reference: intent.id.as_str().into(), amount_minor, dated: intent.dated() }
            }
            Some(_) => unknown("paid in another currency"),
            None => unknown("the answer has no capture"),
        },
        IntentStatus::Unheard => unknown("the intent has an unknown status"),
    }
}

/// What a created intent asks of the payer.
pub fn submitted(intent: &Intent, wanted: &Wanted) -> Submitted {
    let bare = |outcome| Submitted { outcome, next_action: None };
    let unknown = |why: &str| bare(SendOutcome::Unknown { why: why.into() });
    let is_asked = intent.metadata.attempt.as_deref() == Some(wanted.number.as_str())
        && intent.amount == wanted.amount
        && intent.currency == wanted.currency;
    if !is_asked {
        return unknown("the answer speaks of another payment");
    }
    let accepted = |next_action| Submitted {
        outcome: SendOutcome::Accepted { reference: Some(intent.id.as_str().into()) },
        next_action,
    };
    match intent.status {
        IntentStatus::RequiresPaymentMethod | IntentStatus::RequiresConfirmation | IntentStatus::RequiresAction => {
            match next_action(intent, wanted) {
                Some(next_action) => accepted(Some(next_action)),
                None => unknown("the answer has nothing to pay by"),
            }
        }
        IntentStatus::Processing => accepted(None),
        IntentStatus::Succeeded => match money::from_wire(intent.amount_received, &intent.currency) {
            Some((amount_minor, _)) => {
                bare(SendOutcome::Paid { reference: intent.id.as_str().into(), amount_minor, dated: intent.dated() })
            }
            None => unknown("the answer has no capture"),
        },
        IntentStatus::RequiresCapture | IntentStatus::Canceled | IntentStatus::Unheard => {
            unknown("the answer has a status that a create cannot have")
        }
    }
}

/// Where Stripe names an address the payer goes there; otherwise its own software in the payer's browser goes on.
fn next_action(intent: &Intent, wanted: &Wanted) -> Option<NextAction> {
    let expires_at = wanted.expires_at;
    let redirect = intent.next_action.as_ref().and_then(|action| action.redirect_to_url.as_ref());
    if let Some(url) = redirect.and_then(|redirect| redirect.url.as_ref()) {
        let is_page = is_showable(url) && Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
        return is_page.then(|| NextAction::Redirect { url: url.clone(), expires_at });
    }
    let secret = intent.client_secret.as_ref().map(ExposeSecret::expose_secret).filter(|secret| is_showable(secret))?;
    let mut parameters = vec![("client_secret", secret.to_owned()), ("payment_intent", intent.id.clone())];
    parameters.extend(wanted.return_url.clone().map(|url| ("return_url", url)));
    let parameters = parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Some(NextAction::Client { parameters, expires_at })
}

/// What one refund of Stripe's means for the one that was asked for.
pub fn refund_outcome(refund: &Refund, ask: &RefundAsk) -> RefundOutcome {
    let unknown = |why: &str| RefundOutcome::Unknown { why: why.into() };
    let is_asked = refund.object == "refund"
        && refund.metadata.refund_number.as_deref() == Some(ask.refund_number.as_str())
        && refund.payment_intent.as_deref() == Some(&*ask.reference)
        && money::from_wire(refund.amount, &refund.currency) == Some((ask.amount_minor, ask.attempt.currency));
    if !is_asked {
        return unknown("the answer speaks of another refund");
    }
    let code = |otherwise: &str| {
        let reason = refund.failure_reason.as_deref().and_then(objects::plain_code);
        reason.unwrap_or(otherwise).into()
    };
    match refund.status {
        RefundStatus::Succeeded => {
            let reference = refund.id.as_deref().filter(|id| is_name(id)).map(Into::into);
            RefundOutcome::Done { reference, dated: refund.dated() }
        }
        RefundStatus::Pending if refund.pending_reason.as_deref() == Some(NO_MONEY) => {
            RefundOutcome::Pending { hold: Hold::Balance }
        }
        RefundStatus::Pending => RefundOutcome::Pending { hold: Hold::Processing },
        RefundStatus::RequiresAction => RefundOutcome::Stuck { code: "requires_action".into() },
        // Both are final (docs.stripe.com/refunds), and under the same idempotency key the same refund is told of again.
        // Whether the payer had it before only our own record tells: what is reversed was taken from our balance when the
        // refund was made.
        RefundStatus::Failed => RefundOutcome::Ended { code: code("failed") },
        RefundStatus::Canceled => RefundOutcome::Ended { code: code("canceled") },
        RefundStatus::Unheard => unknown("the refund has an unknown status"),
    }
}
