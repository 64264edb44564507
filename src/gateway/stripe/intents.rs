//! PaymentIntents.

use std::sync::Arc;

use super::failure::Failure;
use super::form::{Params, Switch};
use super::listing::Page;
use super::objects::{Confirmation, Intent, IntentData, MadeBy, related, seconds};
use super::{Done, Fingerprint, id};
use crate::gateway::accounts::AccountId;
use crate::gateway::books::{Asked, CloseRule, Refusal, State, Taken};
use crate::gateway::payer::Script;
use crate::gateway::{Gateway, alphanumeric};

const SECRET_LENGTH: usize = 25;
const DESCRIPTION_MAX: usize = 1_000;
const TYPES_MAX: usize = 20;
/// The smallest charge in US dollars; what other currencies have as equivalents is not known here.
const USD_MIN: i64 = 50;
const EXPANDABLE: [&str; 1] = ["latest_charge"];
const CANCELLATION_REASONS: [&str; 4] = ["duplicate", "fraudulent", "requested_by_customer", "abandoned"];

pub fn create(
    gateway: &Gateway,
    account: AccountId,
    mut params: Params,
    fingerprint: Fingerprint,
    made_by: Option<MadeBy>,
    now: i64,
) -> Result<Done, Failure> {
    let amount = params.required_amount("amount")?;
    let (code, currency) = params.currency()?;
    if code == "usd" && amount < USD_MIN {
        return Err(Failure::parameter("amount_too_small", "amount", "Amount must be at least $0.50 usd"));
    }
    let description = params.text("description");
    if description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_MAX) {
        return Err(Failure::parameter("parameter_invalid", "description", "The description is too long."));
    }
    let confirm = params.switch("confirm")?;
    let confirmation = match (confirm, confirmation(&mut params)?) {
        (Some(Switch::On), Some(confirmation)) => Some(confirmation),
        (Some(Switch::On), None) => return Err(without_payment_method()),
        (Some(Switch::Off) | None, Some(Confirmation { return_url: Some(_), .. })) => {
            return Err(Failure::invalid("`return_url` can only be given together with `confirm`."));
        }
        (Some(Switch::Off) | None, Some(_) | None) => None,
    };
    params.one_of("capture_method", &["automatic", "automatic_async"])?;
    let (types, allow_redirects) = payment_method_types(&mut params)?;
    let expand = params.expand(&EXPANDABLE)?;
    let data = IntentData {
        id: id("pi"),
        created: seconds(now),
        client_secret: String::new(),
        description,
        metadata: params.metadata()?,
        payment_method_types: types,
        allow_redirects,
        confirmation,
        cancellation_reason: None,
        made_by,
    };
    params.finish()?;
    let secret = String::from_utf8_lossy(&alphanumeric::<SECRET_LENGTH>()).into_owned();
    let data = IntentData { client_secret: format!("{}_secret_{secret}", data.id), ..data };

    let script = Script::of(data.description.as_deref().unwrap_or_default());
    // A second intent for the same attempt is a payment of its own, as it is at Stripe.
    let named = data.metadata.get("attempt").filter(|attempt| is_name(attempt));
    let number =
        named.filter(|attempt| gateway.books.view(account, attempt, now).is_none()).unwrap_or(&data.id).clone();
    let asked = Asked {
        number: &number,
        fingerprint,
        amount_minor: amount,
        currency,
        script,
        notify_url: Some(gateway.stripe.endpoint(account)),
        expires_at: i64::MAX,
        reference: Some(&data.id),
        data: Some(&data.text()),
    };
    match gateway.books.create(account, &asked, now).map_err(Failure::of_books)? {
        Taken::New(payment) => gateway.arrange_payment(payment, script, amount, now),
        // The same request without a key, at the same time: whoever came first has the name.
        Taken::Again | Taken::Paid(_) => return Err(Failure::broken()),
    }
    let body = Intent::fresh(data, amount, currency).shown(&expand);
    Ok(Done { conduct: script.conduct(), ..Done::of(&Arc::from(number), body) })
}

pub fn retrieve(
    gateway: &Gateway,
    account: AccountId,
    id: &str,
    mut params: Params,
    now: i64,
) -> Result<Done, Failure> {
    // A browser proves by it that the intent is its own; whoever has the secret key needs none.
    params.text("client_secret");
    let expand = params.expand(&EXPANDABLE)?;
    params.finish()?;
    let (number, intent) = find(gateway, account, id, now)?;
    Ok(Done::of(&number, intent.shown(&expand)))
}

pub fn list(gateway: &Gateway, account: AccountId, mut params: Params, now: i64) -> Result<Done, Failure> {
    let page = Page::read(&mut params)?;
    let span = params.span("created")?;
    let expand = params.expand(&["data.latest_charge"])?;
    params.finish()?;
    let found = gateway.books.created_between(account, span.from..span.until, now);
    let objects = found.iter().filter_map(|(_, view)| Some(Intent::of(view)?.shown(&expand))).collect();
    Ok(Done::listing(page.of("/v1/payment_intents", objects)?))
}

pub fn confirm(gateway: &Gateway, account: AccountId, id: &str, mut params: Params, now: i64) -> Result<Done, Failure> {
    let confirmation = confirmation(&mut params)?.ok_or_else(without_payment_method)?;
    let expand = params.expand(&EXPANDABLE)?;
    params.finish()?;
    let (number, mut intent) = find(gateway, account, id, now)?;
    if intent.state != State::Waiting {
        return Err(unexpected_state("confirm", &intent));
    }
    intent.data.confirmation = Some(confirmation);
    gateway.books.note(account, &number, &intent.data.text()).map_err(Failure::of_books)?;
    Ok(Done::of(&number, intent.shown(&expand)))
}

pub fn cancel(gateway: &Gateway, account: AccountId, id: &str, mut params: Params, now: i64) -> Result<Done, Failure> {
    let reason = params.one_of("cancellation_reason", &CANCELLATION_REASONS)?;
    let expand = params.expand(&EXPANDABLE)?;
    params.finish()?;
    let (number, mut intent) = find(gateway, account, id, now)?;
    if intent.state != State::Waiting {
        return Err(unexpected_state("cancel", &intent));
    }
    match gateway.close(account, &number, CloseRule::MustExist, now) {
        Ok(()) => {}
        Err(Refusal::AlreadyPaid) => {
            let (_, paid) = find(gateway, account, id, now)?;
            return Err(unexpected_state("cancel", &paid));
        }
        Err(refusal) => return Err(Failure::of_books(refusal)),
    }
    intent.data.cancellation_reason = reason;
    gateway.books.note(account, &number, &intent.data.text()).map_err(Failure::of_books)?;
    let (number, intent) = find(gateway, account, id, now)?;
    Ok(Done::of(&number, intent.shown(&expand)))
}

/// An intent by its id, and the number that the books have it under.
pub fn find(gateway: &Gateway, account: AccountId, id: &str, now: i64) -> Result<(Arc<str>, Intent), Failure> {
    let found = gateway.books.referred(account, id).and_then(|number| {
        let intent = Intent::of(&gateway.books.view(account, &number, now)?)?;
        Some((number, intent))
    });
    found.ok_or_else(|| Failure::no_such("payment_intent", "intent", id))
}

/// A charge by its id, which is its intent's but for the prefix.
pub fn charge(gateway: &Gateway, account: AccountId, id: &str, params: Params, now: i64) -> Result<Done, Failure> {
    params.finish()?;
    let missing = || Failure::no_such("charge", "id", id);
    let (number, intent) = find(gateway, account, &related(id, "pi"), now).map_err(|_| missing())?;
    let charge = intent.charge().filter(|charge| charge["id"] == id).ok_or_else(missing)?;
    Ok(Done::of(&number, charge))
}

fn confirmation(params: &mut Params) -> Result<Option<Confirmation>, Failure> {
    let return_url = params.text("return_url");
    match (params.text("payment_method"), return_url) {
        (Some(payment_method), return_url) => Ok(Some(Confirmation { payment_method, return_url })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(without_payment_method()),
    }
}

fn without_payment_method() -> Failure {
    let message = "You cannot confirm this PaymentIntent because it's missing a payment method.";
    Failure::parameter("parameter_missing", "payment_method", message)
}

/// The types, and whether redirects are allowed where Stripe is to choose them.
fn payment_method_types(params: &mut Params) -> Result<(Vec<String>, Option<String>), Failure> {
    let automatic = params.switch("automatic_payment_methods[enabled]")?;
    let allowed = params.one_of("automatic_payment_methods[allow_redirects]", &["always", "never"])?;
    // Newer versions have the first name alone, and older ones the second: both are taken of all.
    let (mut types, before) = (params.list("allowed_payment_method_types"), params.list("payment_method_types"));
    if !types.is_empty() && !before.is_empty() {
        return Err(Failure::invalid("Give either `allowed_payment_method_types` or `payment_method_types`."));
    }
    types.extend(before);
    match (automatic, types.is_empty()) {
        (Some(Switch::On), false) => {
            Err(Failure::invalid("Give either `automatic_payment_methods` or `payment_method_types`."))
        }
        (Some(Switch::Off) | None, false) if types.len() <= TYPES_MAX => Ok((types, None)),
        (Some(Switch::Off) | None, false) => Err(Failure::invalid("There are too many payment method types.")),
        (Some(Switch::On), true) => Ok((vec!["card".to_owned()], allowed.or_else(|| Some("always".to_owned())))),
        (Some(Switch::Off) | None, true) => Ok((vec!["card".to_owned()], None)),
    }
}

fn unexpected_state(act: &str, intent: &Intent) -> Failure {
    let message = format!("You cannot {act} this PaymentIntent because it has a status of {}.", intent.status());
    Failure::unexpected_state(message, intent.json())
}

/// A name that the books can show it under.
fn is_name(attempt: &str) -> bool {
    (6..=64).contains(&attempt.len()) && attempt.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
