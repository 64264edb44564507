//! Stripe, API v1: forms over HTTPS, a bearer key, JSON answers that nobody signs.
//!
//! One PaymentIntent per attempt, created under the attempt's number as its idempotency key, so that every send of it
//! is the same intent. The number also stands in the intent's metadata: an intent whose creation was never answered is
//! found by listing what was created since and comparing it. An intent's id is the reference of its capture.
//!
//! | call | request | ends with |
//! |---|---|---|
//! | submit | `POST /v1/payment_intents` | an intent to be paid by the payer's browser, or a refusal |
//! | query | `GET /v1/payment_intents/{id}`, or the list where no id is known | the intent's status |
//! | close | `POST …/{id}/cancel`; the list before it where no id is known, `GET …/{id}` after a refusal | `canceled` |
//! | refund | `POST /v1/refunds` under the refund's number | a refund's status |
//! | refund query | `GET /v1/refunds?payment_intent=` | the refund with our number in its metadata |

pub mod bill;
mod frozen;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod money;
mod objects;
mod readings;
#[cfg(test)]
mod tests;
mod verdict;
mod webhook;

use std::collections::HashSet;

use secrecy::{ExposeSecret, SecretString};
use time::Date;
use url::form_urlencoded::Serializer;

use super::{
    Acknowledgement, Adapter, Answer, Ask, Attempted, CallbackError, Heard, Outgoing, Reading, Received, RefundAsk,
    Stamp, Submission, Submitted, Verb,
    bill::{Bill, Day},
    cut,
};
pub use crate::config::credentials::Stripe as Credentials;
use crate::domain::channel::Channel;
use crate::domain::event::{CloseAnswer, Fault, Finding, RefundOutcome, SendOutcome};
use crate::domain::id::Account;
use crate::domain::time::Instant;
use frozen::Frozen;
use objects::{Intent, IntentStatus, Page, Refund, Told};
use readings::{finding, refund_outcome, submitted};
use verdict::{OfRefund, Verdict};
use webhook::Secrets;

/// Clocks differ: an intent may be dated before the attempt that it belongs to. A clock that is further off than this
/// takes no webhook either.
const CLOCKS_DIFFER_S: i64 = 300;
/// Entries of one page of refunds: the most that a page can have. One takes some 1 KiB.
const REFUNDS_PAGE: &str = "100";
/// Entries of one page of intents. Stripe indents its JSON, so that an intent takes 2 to 3 KiB, and twice that with the
/// error and the payment method of its last try; an answer may have 256.
const INTENTS_PAGE: &str = "40";
const SECRETS_MAX: usize = 8;
/// Characters of a value in an object's metadata (docs.stripe.com/api/metadata).
const METADATA_MAX: usize = 500;

pub struct Stripe {
    account: Account,
    base_url: String,
    secret_key: SecretString,
    webhook_secrets: Secrets,
    version: String,
    livemode: bool,
}

impl Stripe {
    /// # Errors
    /// Names the credential that is malformed, and never shows it.
    pub fn new(name: &str, base_url: &str, credentials: Credentials) -> Result<Self, String> {
        let account = Account::new(Channel::Stripe, name);
        let malformed = |what: &str| format!("stripe account {name}: {what}");
        let key = credentials.secret_key.expose_secret();
        // docs.stripe.com/keys names the prefixes and no length: only what a header can hold is asked for.
        if !["sk_", "rk_"].iter().any(|prefix| key.starts_with(prefix)) || !is_plain(key) {
            return Err(malformed("secret_key is not one (`sk_…` or `rk_…`)"));
        }
        let livemode = ["sk_live_", "rk_live_"].iter().any(|prefix| key.starts_with(prefix));
        if credentials.webhook_secrets.is_empty() || credentials.webhook_secrets.len() > SECRETS_MAX {
            return Err(malformed("webhook_secrets must be one to eight, one a line"));
        }
        let is_secret = |secret: &SecretString| {
            secret.expose_secret().strip_prefix("whsec_").is_some_and(|rest| !rest.is_empty() && is_plain(rest))
        };
        if !credentials.webhook_secrets.iter().all(is_secret) {
            return Err(malformed("webhook_secrets has one that is none (`whsec_…`)"));
        }
        if credentials.version.is_empty() || !is_plain(&credentials.version) {
            return Err(malformed("version is not one (such as `2026-10-28.endive`)"));
        }
        Ok(Stripe {
            base_url: base_url.trim_end_matches('/').to_owned(),
            livemode,
            webhook_secrets: Secrets::new(&credentials.webhook_secrets),
            secret_key: credentials.secret_key,
            version: credentials.version,
            account,
        })
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        vec![
            ("authorization", format!("Bearer {}", self.secret_key.expose_secret())),
            ("stripe-version", self.version.clone()),
        ]
    }

    fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Outgoing {
        let question = if parameters.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{question}{}", self.base_url, form(parameters));
        Outgoing { verb: Verb::Get, url, headers: self.headers(), body: Vec::new() }
    }

    fn post(&self, path: &str, idempotency_key: &str, fields: &[(&str, &str)]) -> Outgoing {
        let mut headers = self.headers();
        headers.push(("content-type", "application/x-www-form-urlencoded".into()));
        headers.push(("idempotency-key", idempotency_key.to_owned()));
        Outgoing { verb: Verb::Post, url: format!("{}{path}", self.base_url), headers, body: form(fields).into_bytes() }
    }

    fn intent(&self, id: &str) -> Outgoing {
        // For the time of the charge. A page of intents would not take all that comes with it.
        self.get(&format!("/v1/payment_intents/{id}"), &[("expand[]", "latest_charge")])
    }

    /// What was created while a send of the attempt could get there, newest first. What is in none of its pages is not
    /// there, see the rules of [`Channel::Stripe`]. Search would find the number by itself, but lags by minutes.
    fn intents(&self, attempt: &Attempted, stamp: &Stamp, after: Option<&str>) -> Outgoing {
        let seconds = |at: Instant| at.0.div_euclid(1_000);
        let from = seconds(attempt.opened_at).saturating_sub(CLOCKS_DIFFER_S).to_string();
        let last = attempt.arrives_by.min(stamp.at);
        let until = seconds(last).saturating_add(CLOCKS_DIFFER_S).to_string();
        let mut parameters = vec![("created[gte]", from.as_str()), ("created[lte]", &until), ("limit", INTENTS_PAGE)];
        parameters.extend(after.map(|id| ("starting_after", id)));
        self.get("/v1/payment_intents", &parameters)
    }

    /// The key is fresh with every try: under one that is repeated Stripe would repeat a first refusal, too.
    fn cancel(&self, id: &str, stamp: &Stamp) -> Outgoing {
        let path = format!("/v1/payment_intents/{id}/cancel");
        self.post(&path, &stamp.nonce, &[("cancellation_reason", "abandoned")])
    }

    fn refunds(&self, reference: &str) -> Outgoing {
        self.get("/v1/refunds", &[("payment_intent", reference), ("limit", REFUNDS_PAGE)])
    }

    /// The attempt's intent among a page of all.
    fn look_through(&self, attempt: &Attempted, stamp: &Stamp, page: Page<Intent>) -> Looked {
        let number = attempt.number.to_string();
        let last = page.data.last().map(|intent| intent.id.clone());
        let ours = page.data.into_iter().filter(|intent| intent.metadata.attempt.as_deref() == Some(&number));
        match (ours.max_by_key(|intent| weight(intent.status)), page.has_more, last) {
            (Some(intent), _, _) => Looked::Found(Box::new(intent)),
            (None, true, Some(last)) => Looked::Further(self.intents(attempt, stamp, Some(&last))),
            (None, true, None) => Looked::Broken("the list says that it goes on, and does not say where"),
            (None, false, _) => Looked::Nowhere,
        }
    }
}

/// What a look at a page of intents came to.
enum Looked {
    Found(Box<Intent>),
    Further(Outgoing),
    Nowhere,
    Broken(&'static str),
}

/// Of two intents with one number, which a forgotten idempotency key could leave, the one with money in it counts.
const fn weight(status: IntentStatus) -> u8 {
    match status {
        IntentStatus::Succeeded => 2,
        IntentStatus::RequiresPaymentMethod
        | IntentStatus::RequiresConfirmation
        | IntentStatus::RequiresAction
        | IntentStatus::Processing
        | IntentStatus::RequiresCapture
        | IntentStatus::Unheard => 1,
        IntentStatus::Canceled => 0,
    }
}

/// Visible ASCII, as it may stand in a header.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn form(fields: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// The id that the attempt is known by, if it is one that may stand in a path.
fn known_id(attempt: &Attempted) -> Option<&str> {
    attempt.reference.as_deref().filter(|id| objects::is_id(id, "pi_"))
}

impl Adapter for Stripe {
    fn account(&self) -> &Account {
        &self.account
    }

    fn freeze(&self, ask: &Ask<'_>) -> Box<str> {
        Frozen::of(ask).to_text()
    }

    /// Nothing leaves after the attempt's end: that what is not listed then is not there rests on it.
    fn submit(&self, frozen: &str, stamp: &Stamp) -> Submission {
        let settled = |outcome| Submission::Carried(Submitted { outcome, next_action: None });
        match Frozen::read(frozen) {
            Some(Frozen::Wanted(wanted)) if stamp.at >= wanted.expires_at => {
                settled(SendOutcome::HeldBack { why: "the attempt's time is over".into() })
            }
            Some(Frozen::Wanted(wanted)) => {
                let amount = wanted.amount.to_string();
                let fields = [
                    ("amount", amount.as_str()),
                    ("currency", &wanted.currency),
                    ("description", &wanted.description),
                    ("metadata[attempt]", &wanted.number),
                    // Cards and redirects as the account offers them. To name the types here would take another parameter
                    // by version: `payment_method_types` is refused from 2026-09-30.endive on (docs.stripe.com/changelog),
                    // and `allowed_payment_method_types` is unknown before 2026-07-29.dahlia.
                    ("automatic_payment_methods[enabled]", "true"),
                ];
                Submission::Call(self.post("/v1/payment_intents", &wanted.number, &fields))
            }
            Some(Frozen::Refused { code }) => settled(SendOutcome::Impossible { code: code.into() }),
            None => settled(SendOutcome::Unknown { why: "the stored request cannot be read".into() }),
        }
    }

    fn read_submit(&self, frozen: &str, _stamp: &Stamp, answer: &Answer) -> Submitted {
        let bare = |outcome| Submitted { outcome, next_action: None };
        let unknown = |why: &str| bare(SendOutcome::Unknown { why: why.into() });
        let Some(Frozen::Wanted(wanted)) = Frozen::read(frozen) else {
            return unknown("the stored request cannot be read");
        };
        match objects::told(answer) {
            Ok(Told::Intent(intent)) => submitted(&intent, &wanted),
            Ok(Told::Page(_)) => unknown("the answer is another object"),
            Ok(Told::Failure(failure)) => {
                let code = failure.name();
                bare(match verdict::of(answer, &failure) {
                    Verdict::Payment => SendOutcome::Rejected { fault: Fault::Payment, code },
                    Verdict::Ours => SendOutcome::Rejected { fault: Fault::Ours, code },
                    Verdict::NotSent => SendOutcome::Later { why: code },
                    Verdict::Unknown => SendOutcome::Unknown { why: code },
                })
            }
            Err(why) => unknown(why),
        }
    }

    fn says_later(&self, answer: &Answer) -> bool {
        verdict::is_later(answer)
    }

    fn query(&self, attempt: &Attempted, stamp: &Stamp) -> Outgoing {
        match known_id(attempt) {
            Some(id) => self.intent(id),
            None => self.intents(attempt, stamp, None),
        }
    }

    fn read_query(&self, attempt: &Attempted, stamp: &Stamp, answer: &Answer) -> Reading<Finding> {
        let unknown = |why: &str| Finding::Unknown { why: why.into() };
        Reading::Told(match objects::told(answer) {
            Ok(Told::Intent(intent)) => finding(&intent, attempt),
            Ok(Told::Page(page)) => match self.look_through(attempt, stamp, page) {
                Looked::Found(intent) => match finding(&intent, attempt) {
                    // A page does not say when it was paid.
                    Finding::Paid { dated, .. } if dated.is_not_told() => {
                        return Reading::Ask(self.intent(&intent.id));
                    }
                    found @ (Finding::Paid { .. }
                    | Finding::Pending
                    | Finding::NotExist
                    | Finding::Declined
                    | Finding::Closed
                    | Finding::Unknown { .. }) => found,
                },
                // While its key lives, the create that is sent again finds its intent faster than a search through all.
                Looked::Further(_) if stamp.at < attempt.expires_at => Finding::NotExist,
                Looked::Further(outgoing) => return Reading::Ask(outgoing),
                Looked::Nowhere => Finding::NotExist,
                Looked::Broken(why) => unknown(why),
            },
            Ok(Told::Failure(failure)) => Finding::Unknown { why: failure.name() },
            Err(why) => unknown(why),
        })
    }

    fn close(&self, attempt: &Attempted, stamp: &Stamp) -> Option<Outgoing> {
        Some(match known_id(attempt) {
            Some(id) => self.cancel(id, stamp),
            None => self.intents(attempt, stamp, None),
        })
    }

    fn read_close(&self, attempt: &Attempted, stamp: &Stamp, answer: &Answer) -> Reading<CloseAnswer> {
        let unknown = |why: &str| CloseAnswer::Unknown { why: why.into() };
        let ended = |finding: Finding| match finding {
            Finding::Closed | Finding::Declined => CloseAnswer::Closed,
            Finding::Paid { .. } => CloseAnswer::AlreadyPaid,
            Finding::Pending => unknown("the intent is still open"),
            Finding::NotExist => CloseAnswer::NotExist,
            Finding::Unknown { why } => CloseAnswer::Unknown { why },
        };
        Reading::Told(match objects::told(answer) {
            Ok(Told::Intent(intent)) => ended(finding(&intent, attempt)),
            Ok(Told::Page(page)) => match self.look_through(attempt, stamp, page) {
                Looked::Found(intent) => match finding(&intent, attempt) {
                    Finding::Pending => return Reading::Ask(self.cancel(&intent.id, stamp)),
                    found @ (Finding::Paid { .. }
                    | Finding::NotExist
                    | Finding::Declined
                    | Finding::Closed
                    | Finding::Unknown { .. }) => ended(found),
                },
                Looked::Further(outgoing) => return Reading::Ask(outgoing),
                Looked::Nowhere => ended(Finding::NotExist),
                Looked::Broken(why) => unknown(why),
            },
            // Paid or canceled before: the intent itself says which.
            Ok(Told::Failure(failure)) if failure.code.as_deref() == Some("payment_intent_unexpected_state") => {
                let named = failure.payment_intent.as_ref().map(|intent| intent.id.as_str());
                match known_id(attempt).or(named).filter(|id| objects::is_id(id, "pi_")) {
                    Some(id) => return Reading::Ask(self.intent(id)),
                    None => unknown("the refusal names no intent"),
                }
            }
            Ok(Told::Failure(failure)) => CloseAnswer::Unknown { why: failure.name() },
            Err(why) => unknown(why),
        })
    }

    fn refund(&self, ask: &RefundAsk, _stamp: &Stamp) -> Outgoing {
        let (amount, number) = (ask.amount_minor.to_string(), ask.attempt.number.to_string());
        let mut fields = vec![
            ("amount", amount.as_str()),
            ("metadata[attempt]", &number),
            ("metadata[refund_number]", &ask.refund_number),
            ("payment_intent", &ask.reference),
        ];
        // Stripe's own `reason` is one of three words.
        fields.extend(ask.reason.as_deref().map(|reason| ("metadata[reason]", cut(reason, METADATA_MAX))));
        self.post("/v1/refunds", &ask.refund_number, &fields)
    }

    fn read_refund(&self, ask: &RefundAsk, _stamp: &Stamp, answer: &Answer) -> RefundOutcome {
        let unknown = |why: &str| RefundOutcome::Unknown { why: why.into() };
        if answer.status == 200 {
            return match objects::read::<Refund>(&answer.body) {
                Ok(refund) => refund_outcome(&refund, ask),
                Err(why) => unknown(why),
            };
        }
        match objects::failure(answer) {
            Ok(failure) => {
                let code = failure.name();
                match verdict::of_refund(answer, &failure) {
                    OfRefund::Rejected(class) => RefundOutcome::Rejected { class, code },
                    OfRefund::NotSent => RefundOutcome::NotSent { why: code },
                    OfRefund::Unknown => RefundOutcome::Unknown { why: code },
                }
            }
            Err(why) => unknown(why),
        }
    }

    fn query_refund(&self, ask: &RefundAsk, _stamp: &Stamp) -> Outgoing {
        self.refunds(&ask.reference)
    }

    /// Of two refunds with one number, which a forgotten idempotency key could leave, the one that was made counts, and
    /// then the one that may yet be, and then what was made once: the number is dead only if all of them are, and no page
    /// is missing.
    fn read_refund_query(&self, ask: &RefundAsk, _stamp: &Stamp, answer: &Answer) -> RefundOutcome {
        let unknown = |why: &str| RefundOutcome::Unknown { why: why.into() };
        if answer.status != 200 {
            return match objects::failure(answer) {
                Ok(failure) => RefundOutcome::Unknown { why: failure.name() },
                Err(why) => unknown(why),
            };
        }
        let page: Page<Refund> = match objects::read(&answer.body) {
            Ok(page) => page,
            Err(why) => return unknown(why),
        };
        if page.object != "list" {
            return unknown("the answer is another object");
        }
        let is_ours = |refund: &&Refund| refund.metadata.refund_number.as_deref() == Some(&ask.refund_number);
        let mut outcomes: Vec<_> = page.data.iter().filter(is_ours).map(|refund| refund_outcome(refund, ask)).collect();
        outcomes.sort_by_key(|outcome| match outcome {
            RefundOutcome::Done { .. } => 0,
            RefundOutcome::Returned { .. } => 2,
            RefundOutcome::Ended { .. } => 3,
            RefundOutcome::Rejected { .. }
            | RefundOutcome::Pending { .. }
            | RefundOutcome::Stuck { .. }
            | RefundOutcome::NotSent { .. }
            | RefundOutcome::NotExist
            | RefundOutcome::Unknown { .. } => 1,
        });
        match (outcomes.into_iter().next(), page.has_more) {
            (Some(done @ RefundOutcome::Done { .. }), _) => done,
            (Some(_) | None, true) => unknown("more refunds than a page holds"),
            (Some(outcome), false) => outcome,
            (None, false) => RefundOutcome::NotExist,
        }
    }

    fn callback(&self, received: &Received<'_>, now: Instant) -> Result<Heard, CallbackError> {
        webhook::hear(&self.webhook_secrets, received, self.livemode, now)
    }

    /// Any 2xx acknowledges.
    fn acknowledgement(&self) -> Acknowledgement {
        Acknowledgement { status: 200, content_type: "text/plain", body: "" }
    }

    /// There at once, and growing until the day is over.
    fn bill(&self, date: Date) -> Option<Bill<'_>> {
        let day = Day::in_utc(date);
        Some(Bill { day, first: Box::new(bill::Movements { stripe: self, day, after: None, seen: HashSet::new() }) })
    }
}
