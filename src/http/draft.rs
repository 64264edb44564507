//! An order as a platform posted it: checked field by field, completed with the defaults, comparable with its repeat.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::json::{self, Json};
use super::problem::{ApiError, Code};
use crate::actors::ask::{Details, Trace};
use crate::domain::channel::{Channel, Method};
use crate::domain::money::{self, Currency};
use crate::domain::view::Metadata;
use crate::store::Request;

const FIELDS: [&str; 12] = [
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
];
const PAYER_FIELDS: [&str; 3] = ["id", "ip", "openid"];
const MERCHANT_ORDER_ID_MAX: usize = 64;
const DESCRIPTION_MAX: usize = 127;
const PAYER_TEXT_MAX: usize = 128;
const URL_MAX: usize = 512;
const METADATA_PAIRS_MAX: usize = 20;
const METADATA_KEY_MAX: usize = 40;
const METADATA_BYTES_MAX: usize = 4_096;
const EXPIRES_IN_DEFAULT_S: i64 = 7_200;
const ATTEMPTS_MAX_DEFAULT: i64 = 5;

#[derive(Debug)]
pub struct Draft {
    pub merchant_order_id: Box<str>,
    pub amount_minor: i64,
    pub payer: Option<Payer>,
    pub trace: Option<Trace>,
    pub body: Body,
}

/// What is stored of a request beside its name and its payer, in the order of its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    pub amount: String,
    pub attempts_max: u8,
    pub channel: Option<Channel>,
    pub currency: Currency,
    pub description: String,
    pub expires_in: u32,
    pub metadata: Metadata,
    pub method: Option<Method>,
    pub return_url: Option<String>,
    /// The trace that the first request belonged to; no part of what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    pub webhook_url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payer {
    pub id: String,
    pub ip: Option<IpAddr>,
    pub openid: Option<String>,
}

/// Where addresses may point to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// https, and no loopback.
    Public,
    /// http and loopback too.
    Sandbox,
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
        let payer = match fields.take("payer") {
            Json::Null => None,
            given => Some(payer(given)?),
        };
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
        let body = Body {
            amount: money::format_minor(amount_minor, currency),
            attempts_max,
            channel: choice.map(|(channel, _)| channel),
            currency,
            description,
            expires_in,
            metadata,
            method: choice.map(|(_, method)| method),
            return_url,
            trace: trace.map(|Trace(id)| format!("{id:032x}")),
            webhook_url,
        };
        Ok(Draft { merchant_order_id, amount_minor, payer, trace, body })
    }

    pub fn choice(&self) -> Option<(Channel, Method)> {
        self.body.channel.zip(self.body.method)
    }

    pub fn details(&self) -> Details {
        Details {
            description: self.body.description.clone(),
            return_url: self.body.return_url.clone(),
            payer_id: self.payer.as_ref().map(|payer| payer.id.clone()),
            payer_ip: self.payer.as_ref().and_then(|payer| payer.ip).map(|ip| ip.to_string()),
        }
    }

    /// What the store keeps of it.
    pub fn request(&self) -> Result<Request, ApiError> {
        let canonical =
            |value: Result<String, serde_json::Error>| value.map(Box::from).map_err(|_| ApiError::internal());
        Ok(Request {
            merchant_order_id: self.merchant_order_id.clone(),
            body: canonical(serde_json_canonicalizer::to_string(&self.body))?,
            webhook_url: self.body.webhook_url.as_deref().map(Box::from),
            payer: match &self.payer {
                Some(payer) => Some(canonical(serde_json_canonicalizer::to_string(payer))?),
                None => None,
            },
        })
    }

    /// The first field in which this request differs from the stored first one under its name.
    pub fn difference(&self, first: &Body, first_payer: Option<&Payer>) -> Option<&'static str> {
        let body = &self.body;
        let same = [
            ("amount", body.amount == first.amount),
            ("currency", body.currency == first.currency),
            ("channel", body.channel == first.channel),
            ("method", body.method == first.method),
            ("description", body.description == first.description),
            ("payer", self.payer.as_ref() == first_payer),
            ("return_url", body.return_url == first.return_url),
            ("webhook_url", body.webhook_url == first.webhook_url),
            ("expires_in", body.expires_in == first.expires_in),
            ("attempts_max", body.attempts_max == first.attempts_max),
            ("metadata", body.metadata == first.metadata),
        ];
        same.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
    }
}

impl Body {
    /// Reads what was stored of a request.
    pub fn stored(request: &Request) -> Result<Self, ApiError> {
        serde_json::from_str(&request.body).map_err(|error| unreadable(&error))
    }
}

impl Payer {
    pub fn stored(request: &Request) -> Result<Option<Self>, ApiError> {
        request.payer.as_deref().map(serde_json::from_str).transpose().map_err(|error| unreadable(&error))
    }
}

fn unreadable(error: &serde_json::Error) -> ApiError {
    tracing::error!(line = error.line(), column = error.column(), "a stored request cannot be read");
    ApiError::internal()
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
fn text(given: Json<'_>, max: usize) -> Option<String> {
    let text = given.text()?;
    // A character has at most four bytes: a longer text need not be counted.
    let fits = !text.is_empty() && text.len() <= 4 * max && text.chars().count() <= max;
    (fits && !text.chars().any(char::is_control)).then(|| text.into_owned())
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
    Ok(Payer { id, ip, openid })
}

/// Checks an address and keeps it as it was written.
fn address(given: Json<'_>, addresses: Addresses) -> Result<String, &'static str> {
    let text = text(given, URL_MAX).ok_or("a URL of at most 512 characters")?;
    let url = Url::parse(&text).map_err(|_| "not a URL")?;
    let scheme_fits = match addresses {
        Addresses::Public => url.scheme() == "https",
        Addresses::Sandbox => matches!(url.scheme(), "https" | "http"),
    };
    if !scheme_fits {
        return Err("the URL must be https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL must not hold credentials");
    }
    let host = url.host().ok_or("the URL names no host")?;
    match addresses {
        Addresses::Public if is_loopback(&host) => Err("the URL must not point to this machine"),
        Addresses::Public | Addresses::Sandbox => Ok(text),
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Host::Ipv4(ip) => ip.is_loopback() || ip.is_unspecified(),
        Host::Ipv6(ip) => match ip.to_canonical() {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_unspecified(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified(),
        },
    }
}

fn bounded(given: Json<'_>, default: i64, min: i64, max: i64) -> Option<i64> {
    match given {
        Json::Null => Some(default),
        given => given.integer().filter(|number| (min..=max).contains(number)),
    }
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
