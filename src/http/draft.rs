//! An order as a platform posted it: checked field by field, completed with the defaults, comparable with its repeat.

use std::sync::Arc;

use super::address::{Addresses, URL_MAX};
use super::json::{self, Fields, Json};
use super::problem::{ApiError, Code};
use crate::domain::channel::{Channel, Method, PayerFact};
use crate::domain::form::Form;
use crate::domain::id::PlatformId;
use crate::domain::money::{self, Currency, Rate};
use crate::domain::payer::Payer;
use crate::domain::platform;
use crate::domain::request::{Asked, Request, Trace};
use crate::domain::splits::{self, AskedSplit, SPLITS_MAX, Split};
use crate::domain::view::Metadata;

pub const FIELDS: [&str; 13] = [
    "merchant_order_id",
    "amount",
    "currency",
    "channel",
    "method",
    "description",
    "payer",
    "return_url",
    "webhook_url",
    "expires_in",
    "attempts_max",
    "metadata",
    "splits",
];
const SPLIT_FIELDS: [&str; 3] = ["to", "amount", "rate"];
const RATE_DECIMALS_MAX: usize = 6;
const PAYER_FIELDS: [&str; 3] = ["id", "ip", "openid"];
const MERCHANT_ORDER_ID_MAX: usize = 64;
const DESCRIPTION_MAX: usize = 127;
const PAYER_TEXT_MAX: usize = 128;
const METADATA_PAIRS_MAX: usize = 20;
const METADATA_KEY_MAX: usize = 40;
const METADATA_BYTES_MAX: usize = 4_096;
const EXPIRES_IN_DEFAULT_S: i64 = 7_200;
const ATTEMPTS_MAX_DEFAULT: i64 = 5;

#[derive(Debug)]
pub struct Draft {
    pub merchant_order_id: Box<str>,
    pub amount_minor: i64,
    pub payer: Option<Arc<Payer>>,
    pub asked: Asked,
}

impl Draft {
    /// # Errors
    /// What is not as the contract has it, naming the field.
    pub fn read(body: &[u8], addresses: Addresses, trace: Option<Trace>) -> Result<Self, ApiError> {
        let mut fields = json::object(body, &FIELDS)?;
        let currency = currency(fields.take("currency").text().as_deref())?;
        let amount_minor = amount(fields.take("amount").text().as_deref(), currency)?;
        let merchant_order_id = merchant_order_id(fields.take("merchant_order_id"))?;
        let choice = optional_choice(fields.take("channel"), fields.take("method"))?;
        let description = match fields.take("description") {
            Json::Null => merchant_order_id.to_string(),
            given => text(given, DESCRIPTION_MAX).ok_or_else(|| {
                ApiError::field(Code::DescriptionInvalid, "description", "1 to 127 characters, no control characters")
            })?,
        };
        let payer = optional_payer(fields.take("payer"))?.map(Arc::new);
        let mut address = |name: &'static str, code| match fields.take(name) {
            Json::Null => Ok(None),
            given => address(given, addresses).map(Some).map_err(|why| ApiError::field(code, name, why)),
        };
        let return_url = address("return_url", Code::ReturnUrlInvalid)?;
        let webhook_url = address("webhook_url", Code::WebhookUrlInvalid)?;
        let expires_in = bounded(fields.take("expires_in"), EXPIRES_IN_DEFAULT_S, 60, 604_800)
            .and_then(|seconds| u32::try_from(seconds).ok())
            .ok_or_else(|| ApiError::field(Code::ExpiresInInvalid, "expires_in", "whole seconds, 60 to 604800"))?;
        let attempts_max = bounded(fields.take("attempts_max"), ATTEMPTS_MAX_DEFAULT, 1, 10)
            .and_then(|attempts| u8::try_from(attempts).ok())
            .ok_or_else(|| ApiError::field(Code::AttemptsMaxInvalid, "attempts_max", "a whole number, 1 to 10"))?;
        let metadata = match fields.take("metadata") {
            Json::Null => Metadata::new(),
            given => metadata(given)?,
        };
        let splits = match fields.take("splits") {
            Json::Null => Vec::new(),
            given => splits(given, (amount_minor, currency))?,
        };
        if let Some((channel, method)) = choice {
            require(channel, method, payer.as_deref())?;
        }
        let asked = Asked {
            amount: money::format_minor(amount_minor, currency),
            attempts_max,
            channel: choice.map(|(channel, _)| channel),
            currency,
            description,
            expires_in,
            form: Form,
            metadata,
            method: choice.map(|(_, method)| method),
            return_url,
            splits,
            trace,
            webhook_url,
        };
        Ok(Draft { merchant_order_id, amount_minor, payer, asked })
    }

    /// What the store keeps of it. Where no address was given, webhooks go to the platform's own of that time.
    pub fn request(&self, platform_webhook_url: Option<&str>) -> Request {
        Request {
            merchant_order_id: self.merchant_order_id.clone(),
            webhook_url: self.asked.webhook_url.as_deref().or(platform_webhook_url).map(Box::from),
            asked: self.asked.clone(),
            payer: self.payer.clone(),
        }
    }

    /// The first field in which this request differs from the stored first one under its name.
    pub fn difference(&self, stored: &Request) -> Option<&'static str> {
        let (asked, first) = (&self.asked, &stored.asked);
        let same = [
            ("amount", asked.amount == first.amount),
            ("currency", asked.currency == first.currency),
            ("channel", asked.channel == first.channel),
            ("method", asked.method == first.method),
            ("description", asked.description == first.description),
            ("payer", self.payer == stored.payer),
            ("return_url", asked.return_url == first.return_url),
            ("webhook_url", asked.webhook_url == first.webhook_url),
            ("expires_in", asked.expires_in == first.expires_in),
            ("attempts_max", asked.attempts_max == first.attempts_max),
            ("metadata", asked.metadata == first.metadata),
            ("splits", asked.splits == first.splits),
        ];
        same.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
    }
}

pub fn currency(code: Option<&str>) -> Result<Currency, ApiError> {
    code.and_then(Currency::parse).ok_or_else(|| {
        ApiError::field(Code::CurrencyUnknown, "currency", "an upper-case ISO 4217 code such as \"CNY\" is required")
    })
}

pub fn amount(text: Option<&str>, currency: Currency) -> Result<i64, ApiError> {
    let invalid = |why: String| ApiError::field(Code::AmountInvalid, "amount", why);
    let text = text.ok_or_else(|| invalid("a string such as \"200.00\" is required".into()))?;
    money::parse_minor(text, currency).map_err(|error| invalid(error.to_string()))
}

fn merchant_order_id(given: Json<'_>) -> Result<Box<str>, ApiError> {
    given.text().filter(|text| is_merchant_order_id(text)).map(|text| Box::from(text.as_ref())).ok_or_else(|| {
        ApiError::field(
            Code::MerchantOrderIdInvalid,
            "merchant_order_id",
            "1 to 64 of 0-9 A-Z a-z _ . : - are required",
        )
    })
}

pub fn is_merchant_order_id(text: &str) -> bool {
    (1..=MERCHANT_ORDER_ID_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
}

/// The channel and the way to pay by it; without a method, the channel's default.
pub fn choice(channel: Json<'_>, method: Json<'_>) -> Result<(Channel, Method), ApiError> {
    let channel = channel.text().as_deref().and_then(Channel::parse).ok_or_else(|| {
        ApiError::field(Code::ChannelUnknown, "channel", "simpay, wechat, alipay, unionpay or stripe is required")
    })?;
    let methods = channel.rules().methods;
    let given = match method {
        Json::Null => methods.first().copied(),
        given => given.text().as_deref().and_then(Method::parse).filter(|method| methods.contains(method)),
    };
    let method = given.ok_or_else(|| {
        let names: Vec<&str> = methods.iter().map(|method| method.name()).collect();
        ApiError::field(Code::MethodUnknown, "method", format!("{channel} has {}", names.join(", ")))
    })?;
    Ok((channel, method))
}

fn optional_choice(channel: Json<'_>, method: Json<'_>) -> Result<Option<(Channel, Method)>, ApiError> {
    match (channel.is_null(), method.is_null()) {
        (true, true) => Ok(None),
        (true, false) => Err(ApiError::field(Code::MethodUnknown, "method", "a method needs a channel")),
        (false, _) => choice(channel, method).map(Some),
    }
}

/// A text of 1 to `max` characters without control characters.
pub fn text(given: Json<'_>, max: usize) -> Option<String> {
    let text = given.text()?;
    // A character has at most four bytes: a longer text need not be counted.
    let fits = !text.is_empty() && text.len() <= 4 * max && text.chars().count() <= max;
    (fits && !text.chars().any(char::is_control)).then(|| text.into_owned())
}

/// Checks that what this way to pay cannot do without is told of who pays.
///
/// # Errors
/// The field that is missing.
pub fn require(channel: Channel, method: Method, payer: Option<&Payer>) -> Result<(), ApiError> {
    let Some(fact) = channel.needs(method) else { return Ok(()) };
    match payer.and_then(|payer| payer.told(fact)) {
        Some(_) => Ok(()),
        None => {
            let detail = format!("{channel} cannot be paid by {} without it", method.name());
            Err(ApiError::field(Code::PayerInvalid, field_of(fact), detail))
        }
    }
}

pub const fn field_of(fact: PayerFact) -> &'static str {
    match fact {
        PayerFact::Openid => "payer.openid",
        PayerFact::Ip => "payer.ip",
    }
}

pub fn optional_payer(given: Json<'_>) -> Result<Option<Payer>, ApiError> {
    if given.is_null() { Ok(None) } else { payer(given).map(Some) }
}

fn payer(given: Json<'_>) -> Result<Payer, ApiError> {
    let invalid = |field: &'static str, why: &'static str| ApiError::field(Code::PayerInvalid, field, why);
    let shape = || invalid("payer", "an object with \"id\" and perhaps \"ip\" and \"openid\"");
    let mut fields = given.fields("payer", &PAYER_FIELDS, shape)?;
    let id = text(fields.take("id"), PAYER_TEXT_MAX)
        .ok_or_else(|| invalid("payer.id", "1 to 128 characters are required"))?;
    let ip = match fields.take("ip") {
        Json::Null => None,
        given => Some(
            given
                .text()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| invalid("payer.ip", "an IPv4 or IPv6 address"))?,
        ),
    };
    let openid = match fields.take("openid") {
        Json::Null => None,
        given => Some(text(given, PAYER_TEXT_MAX).ok_or_else(|| invalid("payer.openid", "1 to 128 characters"))?),
    };
    Ok(Payer { form: Form, id, ip, openid })
}

/// Checks an address and keeps it as it was written.
fn address(given: Json<'_>, addresses: Addresses) -> Result<String, &'static str> {
    let text = text(given, URL_MAX).ok_or("a URL of at most 512 characters")?;
    addresses.check(&text)?;
    Ok(text)
}

fn bounded(given: Json<'_>, default: i64, min: i64, max: i64) -> Option<i64> {
    match given {
        Json::Null => Some(default),
        given => given.integer().filter(|number| (min..=max).contains(number)),
    }
}

/// Shares of an order of this amount. Who they go to is looked up later.
fn splits(given: Json<'_>, (amount_minor, currency): (i64, Currency)) -> Result<Vec<AskedSplit>, ApiError> {
    let invalid = |why: String| ApiError::field(Code::SplitInvalid, "splits", why);
    let Json::List(given) = given else {
        return Err(invalid("a list of {\"to\", \"amount\"} or {\"to\", \"rate\"}".into()));
    };
    if given.len() > SPLITS_MAX {
        return Err(invalid(format!("at most {SPLITS_MAX}")));
    }
    let mut splits: Vec<AskedSplit> = Vec::with_capacity(given.len());
    let mut shares = Vec::with_capacity(given.len());
    for (given, place) in given.into_iter().zip(0u32..) {
        let at = format!("splits[{place}]");
        let shape =
            || ApiError::field(Code::SplitInvalid, at.clone(), "an object with \"to\" and \"amount\" or \"rate\"");
        let mut fields = given.fields(&at, &SPLIT_FIELDS, shape)?;
        let split = split(&mut fields, &at, currency)?;
        if splits.iter().any(|other| other.to == split.to) {
            return Err(ApiError::field(Code::SplitInvalid, format!("{at}.to"), "one share for each platform"));
        }
        let share = split.share(currency).ok_or_else(shape)?;
        // Who gets it has no number yet, and divides nothing by it.
        shares.push(Split { to: PlatformId(0), share });
        splits.push(split);
    }
    match splits::divide(amount_minor, &shares) {
        Some(_) => Ok(splits),
        None => Err(ApiError::field(Code::SplitsExceedAmount, "splits", "together they are more than the amount")),
    }
}

fn split(fields: &mut Fields<'_>, at: &str, currency: Currency) -> Result<AskedSplit, ApiError> {
    let invalid = |field: &str, why: String| ApiError::field(Code::SplitInvalid, format!("{at}.{field}"), why);
    let to = fields.take("to").text().filter(|to| platform::is_name(to)).map(|to| Box::from(to.as_ref()));
    let to = to.ok_or_else(|| invalid("to", "the name of a platform is required".into()))?;
    match (fields.take("amount"), fields.take("rate")) {
        (Json::Null, Json::Null) => Err(invalid("amount", "an amount or a rate is required".into())),
        (given, Json::Null) => {
            let text = given.text().ok_or_else(|| invalid("amount", "a string such as \"5.00\"".into()))?;
            let share_minor =
                money::parse_minor(&text, currency).map_err(|error| invalid("amount", error.to_string()))?;
            Ok(AskedSplit { amount: Some(money::format_minor(share_minor, currency)), rate: None, to })
        }
        (Json::Null, given) => {
            let rate = given.text().as_deref().and_then(share_rate);
            let rate = rate.ok_or_else(|| {
                invalid("rate", "a string such as \"0.10\": more than 0, less than 1, at most 6 decimals".into())
            })?;
            Ok(AskedSplit { amount: None, rate: Some(rate), to })
        }
        (_, _) => Err(invalid("rate", "an amount or a rate, not both".into())),
    }
}

/// A rate of a share: plain decimal digits, more than 0 and less than 1.
fn share_rate(text: &str) -> Option<Rate> {
    let decimals = text.strip_prefix("0.")?;
    let is_plain =
        (1..=RATE_DECIMALS_MAX).contains(&decimals.len()) && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let rate = is_plain.then(|| text.parse().ok().and_then(Rate::new))??;
    (rate.of_exactly(1) > 0).then_some(rate)
}

fn metadata(given: Json<'_>) -> Result<Metadata, ApiError> {
    let invalid = |why: &'static str| ApiError::field(Code::MetadataInvalid, "metadata", why);
    let pairs = given.entries().ok_or_else(|| invalid("an object of strings"))?;
    if pairs.len() > METADATA_PAIRS_MAX {
        return Err(invalid("at most 20 pairs"));
    }
    let mut bytes = 0;
    let mut metadata = Metadata::new();
    for (key, value) in pairs {
        if !(1..=METADATA_KEY_MAX).contains(&key.chars().count()) {
            return Err(invalid("keys have 1 to 40 characters"));
        }
        let value = value.text().ok_or_else(|| invalid("all values are strings"))?;
        if key.chars().chain(value.chars()).any(char::is_control) {
            return Err(invalid("no control characters"));
        }
        bytes += key.len() + value.len();
        metadata.insert(key.into_owned(), value.into_owned());
    }
    if bytes > METADATA_BYTES_MAX {
        return Err(invalid("at most 4 KiB in all"));
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn full() -> Value {
        json!({
            "merchant_order_id": "shop-1:A_b.c",
            "amount": "200",
            "currency": "CNY",
            "channel": "wechat",
            "method": "native",
            "description": "一本书",
            "payer": {"id": "u-1", "ip": "192.0.2.7", "openid": null},
            "return_url": "https://shop.example/back?a=1",
            "webhook_url": "https://shop.example/hook",
            "expires_in": 3600,
            "attempts_max": 3,
            "metadata": {"cart": "7"},
        })
    }

    fn read(body: &Value) -> Result<Draft, ApiError> {
        Draft::read(&serde_json::to_vec(body).unwrap(), Addresses::Public, None)
    }

    fn with(field: &str, value: Value) -> Value {
        let mut body = full();
        body[field] = value;
        body
    }

    fn without(fields: &[&str]) -> Value {
        let mut body = full();
        for field in fields {
            body.as_object_mut().unwrap().remove(*field);
        }
        body
    }

    #[test]
    fn a_request_is_kept_in_its_canonical_form() {
        let draft = read(&full()).unwrap();
        assert_eq!((draft.amount_minor, draft.asked.choice()), (20_000, Some((Channel::Wechat, Method::Native))));
        let request = draft.request(None);
        assert_eq!(&*request.merchant_order_id, "shop-1:A_b.c");
        assert_eq!(
            request.asked.written(),
            concat!(
                r#"{"amount":"200.00","attempts_max":3,"channel":"wechat","currency":"CNY","description":"一本书","#,
                r#""expires_in":3600,"form":1,"metadata":{"cart":"7"},"method":"native","#,
                r#""return_url":"https://shop.example/back?a=1","webhook_url":"https://shop.example/hook"}"#
            )
        );
        let payer = request.payer.as_ref().map(|payer| payer.written());
        assert_eq!(payer.as_deref(), Some(r#"{"form":1,"id":"u-1","ip":"192.0.2.7","openid":null}"#));
        assert!(!request.asked.written().contains("u-1"), "the payer lies in a table of its own");
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let optional = [
            "channel",
            "method",
            "description",
            "payer",
            "return_url",
            "webhook_url",
            "expires_in",
            "attempts_max",
            "metadata",
        ];
        let draft = read(&without(&optional)).unwrap();
        assert_eq!(draft.asked.choice(), None);
        assert_eq!((draft.asked.expires_in, draft.asked.attempts_max), (7_200, 5));
        assert_eq!(draft.asked.description, "shop-1:A_b.c");
        assert_eq!(draft.payer, None);
        let own = draft.request(Some("https://platform.example/hook"));
        assert_eq!(own.webhook_url.as_deref(), Some("https://platform.example/hook"));
        assert_eq!(own.asked.webhook_url, None, "a repeat is compared with what was given");
        for field in optional {
            assert_eq!(read(&with(field, Value::Null)).is_ok(), field != "channel", "{field}: null is not given");
        }
        assert_eq!(read(&without(&["method"])).unwrap().asked.method, Some(Method::Native), "the channel's first");
    }

    #[test]
    fn a_field_out_of_its_bounds_is_named() {
        let pairs =
            |count: usize| (0..count).map(|key| (format!("k{key}"), json!("v"))).collect::<serde_json::Map<_, _>>();
        let table = [
            ("merchant_order_id", json!(""), "merchant_order_id_invalid", None),
            ("merchant_order_id", json!("x".repeat(65)), "merchant_order_id_invalid", None),
            ("merchant_order_id", json!("a b"), "merchant_order_id_invalid", None),
            ("merchant_order_id", json!("é"), "merchant_order_id_invalid", None),
            ("merchant_order_id", json!(7), "merchant_order_id_invalid", None),
            ("amount", json!(200), "amount_invalid", None),
            ("amount", json!(200.5), "amount_invalid", None),
            ("amount", json!("1e3"), "amount_invalid", None),
            ("amount", json!("-1"), "amount_invalid", None),
            ("amount", json!("1.001"), "amount_invalid", None),
            ("amount", json!("0.00"), "amount_invalid", None),
            ("amount", json!("1000000000000"), "amount_invalid", None),
            ("amount", Value::Null, "amount_invalid", None),
            ("currency", json!("cny"), "currency_unknown", None),
            ("currency", json!("XAU"), "currency_unknown", None),
            ("channel", json!("paypal"), "channel_unknown", None),
            ("channel", json!(["wechat"]), "channel_unknown", None),
            ("channel", Value::Null, "method_unknown", Some("method")),
            ("method", json!("qr"), "method_unknown", None),
            ("description", json!(""), "description_invalid", None),
            ("description", json!("x".repeat(128)), "description_invalid", None),
            ("description", json!("a\u{0}b"), "description_invalid", None),
            ("description", json!("a\nb"), "description_invalid", None),
            ("description", json!("a\u{85}b"), "description_invalid", None),
            ("payer", json!("u-1"), "payer_invalid", None),
            ("payer", json!({}), "payer_invalid", Some("payer.id")),
            ("payer", json!({"id": "u", "ip": "300.1.1.1"}), "payer_invalid", Some("payer.ip")),
            ("payer", json!({"id": "u", "name": "x"}), "field_unknown", Some("payer.name")),
            ("return_url", json!("http://shop.example/"), "return_url_invalid", None),
            ("return_url", json!("javascript:alert(1)"), "return_url_invalid", None),
            ("return_url", json!("https://u:p@shop.example/"), "return_url_invalid", None),
            ("webhook_url", json!("shop.example"), "webhook_url_invalid", None),
            ("webhook_url", json!("https://localhost/"), "webhook_url_invalid", None),
            ("webhook_url", json!("https://127.1/"), "webhook_url_invalid", None),
            ("webhook_url", json!("https://[::ffff:127.0.0.1]/"), "webhook_url_invalid", None),
            ("webhook_url", json!(format!("https://e.example/{}", "x".repeat(512))), "webhook_url_invalid", None),
            ("expires_in", json!(59), "expires_in_invalid", None),
            ("expires_in", json!(604_801), "expires_in_invalid", None),
            ("expires_in", json!(60.0), "expires_in_invalid", None),
            ("expires_in", json!("60"), "expires_in_invalid", None),
            ("attempts_max", json!(0), "attempts_max_invalid", None),
            ("attempts_max", json!(11), "attempts_max_invalid", None),
            ("metadata", json!([]), "metadata_invalid", None),
            ("metadata", json!({"k": 1}), "metadata_invalid", None),
            ("metadata", json!({"": "v"}), "metadata_invalid", None),
            ("metadata", json!({"x".repeat(41): "v"}), "metadata_invalid", None),
            ("metadata", json!({"k": "v\u{7}"}), "metadata_invalid", None),
            ("metadata", json!({"k": "v".repeat(4_096)}), "metadata_invalid", None),
            ("metadata", Value::Object(pairs(21)), "metadata_invalid", None),
            ("amuont", json!("1.00"), "field_unknown", None),
        ];
        for (field, value, code, at) in table {
            let error = read(&with(field, value.clone())).unwrap_err();
            assert_eq!(error.code.name(), code, "{field}: {value}");
            assert_eq!(error.at(), Some(at.unwrap_or(field)), "{field}: {value}");
        }
        for (field, value) in [
            ("description", json!("书".repeat(127))),
            ("metadata", Value::Object(pairs(20))),
            ("metadata", json!({"k": "v".repeat(4_095)})),
            ("expires_in", json!(604_800)),
            ("payer", json!({"id": "u", "ip": "2001:db8::1", "openid": "o"})),
        ] {
            assert!(read(&with(field, value.clone())).is_ok(), "{field}: {value}");
        }
    }

    #[test]
    fn the_sandbox_may_call_this_machine_and_nobody_else_may() {
        let body = serde_json::to_vec(&with("webhook_url", json!("http://127.0.0.1:9000/hook"))).unwrap();
        assert!(Draft::read(&body, Addresses::Sandbox, None).is_ok());
        assert!(Draft::read(&body, Addresses::Public, None).is_err());
        let body = serde_json::to_vec(&with("webhook_url", json!("ftp://127.0.0.1/hook"))).unwrap();
        assert!(Draft::read(&body, Addresses::Sandbox, None).is_err());
    }

    #[test]
    fn a_repeat_is_the_same_after_defaults_and_by_value() {
        let first = Draft::read(&serde_json::to_vec(&full()).unwrap(), Addresses::Public, Some(Trace(7))).unwrap();
        let stored = first.request(None);
        let difference = |repeat: &Value| read(repeat).unwrap().difference(&stored);

        assert_eq!(stored.asked.trace, Some(Trace(7)));
        assert_eq!(difference(&full()), None, "the trace is no part of what was asked for");
        assert_eq!(difference(&with("amount", json!("200.00"))), None);
        assert_eq!(difference(&without(&["method"])), None);
        assert_eq!(difference(&with("payer", json!({"ip": "192.0.2.7", "id": "u-1"}))), None);
        let table = [
            ("amount", json!("200.01")),
            ("currency", json!("USD")),
            ("channel", json!("alipay")),
            ("method", json!("h5")),
            ("description", json!("another")),
            ("payer", json!({"id": "u-2", "ip": "192.0.2.7"})),
            ("payer", Value::Null),
            ("return_url", Value::Null),
            ("webhook_url", json!("https://shop.example/other")),
            ("expires_in", Value::Null),
            ("attempts_max", json!(4)),
            ("metadata", json!({"cart": "8"})),
        ];
        for (field, value) in table {
            let mut repeat = with(field, value.clone());
            if field == "channel" {
                repeat["method"] = Value::Null;
            }
            assert_eq!(difference(&repeat), Some(field), "{value}");
        }
    }
}
