//! Stripe's objects, as far as they are read. Every field that is read is named here, so that a second one of the
//! same name is refused and a number that is a text or has an exponent is not taken.

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::Answer;
use crate::domain::dated::Dated;
use crate::domain::time::Instant;

/// Ids have some 27 characters today, and Stripe promises no more than that they will never exceed these
/// (docs.stripe.com/upgrades, "What changes does Stripe consider to be backwards-compatible?").
const ID_MAX: usize = 255;
const CODE_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntentStatus {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    Processing,
    RequiresCapture,
    Succeeded,
    Canceled,
    /// One that these documents do not know.
    #[serde(other)]
    Unheard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundStatus {
    Pending,
    RequiresAction,
    Succeeded,
    Failed,
    Canceled,
    #[serde(other)]
    Unheard,
}

#[derive(Debug, Deserialize)]
pub struct Intent {
    pub id: String,
    pub object: String,
    pub status: IntentStatus,
    pub amount: i64,
    #[serde(default)]
    pub amount_received: i64,
    pub currency: String,
    #[serde(default)]
    pub client_secret: Option<SecretString>,
    #[serde(default)]
    pub next_action: Option<IntentAction>,
    #[serde(default)]
    pub last_payment_error: Option<IgnoredAny>,
    #[serde(default)]
    pub latest_charge: Option<LatestCharge>,
    #[serde(default)]
    pub metadata: Metadata,
}

/// The whole of it where it was asked to be expanded, and else its id.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum LatestCharge {
    Whole { created: i64 },
    Other(IgnoredAny),
}

impl Intent {
    /// When the charge was made by which it was paid. The intent is as old as its attempt.
    pub fn dated(&self) -> Dated {
        match self.latest_charge {
            Some(LatestCharge::Whole { created }) => dated(Some(created)),
            Some(LatestCharge::Other(_)) | None => Dated::NOT_TOLD,
        }
    }
}

/// What a time in seconds tells.
fn dated(seconds: Option<i64>) -> Dated {
    let at = seconds.and_then(|seconds| seconds.checked_mul(1_000)).map(Instant);
    at.map_or(Dated::NOT_TOLD, Dated::at)
}

#[derive(Debug, Deserialize)]
pub struct IntentAction {
    #[serde(default)]
    pub redirect_to_url: Option<RedirectToUrl>,
}

#[derive(Debug, Deserialize)]
pub struct RedirectToUrl {
    #[serde(default)]
    pub url: Option<String>,
}

/// What we wrote on an object, and what others may have written there.
#[derive(Debug, Default, Deserialize)]
pub struct Metadata {
    #[serde(default)]
    pub attempt: Option<String>,
    #[serde(default)]
    pub refund_number: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Refund {
    #[serde(default)]
    pub id: Option<String>,
    pub object: String,
    pub status: RefundStatus,
    pub amount: i64,
    pub currency: String,
    #[serde(default)]
    pub payment_intent: Option<String>,
    #[serde(default)]
    pub created: Option<i64>,
    /// Of one that is pending: `processing`, `insufficient_funds` or `charge_pending` (docs.stripe.com/changelog,
    /// 2025-04-30.basil, "Adds a field explaining why refunds are pending").
    #[serde(default)]
    pub pending_reason: Option<String>,
    #[serde(default)]
    pub failure_reason: Option<String>,
    #[serde(default)]
    pub metadata: Metadata,
}

impl Refund {
    pub fn dated(&self) -> Dated {
        dated(self.created)
    }
}

/// Whose refund an event tells of. The rest of it may have changed since: an event is a reason to ask.
#[derive(Debug, Deserialize)]
pub struct NamedRefund {
    pub object: String,
    #[serde(default)]
    pub metadata: Metadata,
}

#[derive(Debug, Deserialize)]
pub struct Page<T> {
    pub object: String,
    pub data: Vec<T>,
    pub has_more: bool,
}

#[derive(Debug, Deserialize)]
struct Envelope {
    error: Failure,
}

/// Why a request failed. Its message is not read: it may quote what was sent.
#[derive(Debug, Deserialize)]
pub struct Failure {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub decline_code: Option<String>,
    /// In no document, and the only code of some refusals: see `verdict`.
    #[serde(default)]
    pub message_code: Option<String>,
    #[serde(default)]
    pub payment_intent: Option<Box<Intent>>,
}

#[derive(Deserialize)]
struct Kind {
    object: String,
}

/// An answer about PaymentIntents.
#[derive(Debug)]
pub enum Told {
    Intent(Box<Intent>),
    Page(Page<Intent>),
    Failure(Failure),
}

/// Reads one JSON object. Without the look at its first byte an array of its values would pass too.
///
/// # Errors
/// Anything else, in words that quote nothing of it.
pub fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, &'static str> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err("the answer is not a JSON object");
    }
    // Read as bytes, a field that is not looked at could hold anything.
    let text = std::str::from_utf8(body).map_err(|_| "the answer is not UTF-8")?;
    serde_json::from_str(text).map_err(|_| "the answer cannot be read")
}

/// # Errors
/// Neither 200 with one of the objects nor an error as Stripe writes it: nothing is known then.
pub fn told(answer: &Answer) -> Result<Told, &'static str> {
    if answer.status != 200 {
        return failure(answer).map(Told::Failure);
    }
    match read::<Kind>(&answer.body)?.object.as_str() {
        "payment_intent" => {
            let intent: Intent = read(&answer.body)?;
            is_id(&intent.id, "pi_").then(|| Told::Intent(Box::new(intent))).ok_or("the answer has no id")
        }
        "list" => {
            let page: Page<Intent> = read(&answer.body)?;
            let whole = page.data.iter().all(|intent| intent.object == "payment_intent" && is_id(&intent.id, "pi_"));
            whole.then_some(Told::Page(page)).ok_or("the list holds something else")
        }
        _ => Err("the answer is another object"),
    }
}

/// # Errors
/// It is not an error as Stripe writes it.
pub fn failure(answer: &Answer) -> Result<Failure, &'static str> {
    if !(400..600).contains(&answer.status) {
        return Err("the answer has a status that the API does not have");
    }
    read::<Envelope>(&answer.body).map(|envelope| envelope.error)
}

/// Whether a text is an id with this prefix, fit to stand in a path.
pub fn is_id(text: &str, prefix: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= ID_MAX && text.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(plain))
}

impl Failure {
    /// The most telling of its codes.
    pub fn name(&self) -> Box<str> {
        let codes = [&self.decline_code, &self.code, &self.message_code];
        let code = codes.into_iter().find_map(Option::as_deref).unwrap_or(&self.kind);
        plain_code(code).unwrap_or("unreadable_code").into()
    }
}

/// A code as it may be stored and shown: short and plain.
pub fn plain_code(code: &str) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (!code.is_empty() && code.len() <= CODE_MAX && code.bytes().all(plain)).then_some(code)
}
