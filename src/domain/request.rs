//! What a platform asked for, as it is stored beside its order. It is read strictly: what is damaged is never completed
//! by a default.

use std::fmt;
use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::channel::{Channel, Method};
use super::form::{Form, read_digits, stated, write_digits};
use super::id::OrderId;
use super::money::{self, Currency};
use super::payer::Payer;
use super::splits::AskedSplit;
use super::view::Metadata;

/// The trace that an order's calls and webhooks belong to (W3C trace context).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace(pub u128);

impl Serialize for Trace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_digits(self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Trace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match read_digits(deserializer)? {
            0 => Err(D::Error::custom("not a trace")),
            bits => Ok(Trace(bits)),
        }
    }
}

/// A request as it was first: what its repeats are compared with, and what its order's attempts and webhooks are made of.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    pub merchant_order_id: Box<str>,
    /// Where webhooks go: the address that was asked for, else the platform's own of that time.
    pub webhook_url: Option<Box<str>>,
    pub asked: Asked,
    /// Whom the order was created with. It lies in a table of its own and can be erased there.
    pub payer: Option<Arc<Payer>>,
}

/// Without the payer, who belongs in no log, and what was said of the order besides.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("merchant_order_id", &self.merchant_order_id).finish_non_exhaustive()
    }
}

/// What is stored of a request as JSON, complete with the defaults. Its fields are in the order of their names, so that
/// the text is canonical.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// In major units, with all decimals of the currency.
    pub amount: String,
    pub attempts_max: u8,
    #[serde(deserialize_with = "stated")]
    pub channel: Option<Channel>,
    pub currency: Currency,
    pub description: String,
    pub expires_in: u32,
    pub form: Form<1>,
    pub metadata: Metadata,
    #[serde(deserialize_with = "stated")]
    pub method: Option<Method>,
    #[serde(deserialize_with = "stated")]
    pub return_url: Option<String>,
    /// What goes to other platforms; absent where all is the seller's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub splits: Vec<AskedSplit>,
    /// The trace that the first request belonged to; no part of what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    #[serde(deserialize_with = "stated")]
    pub webhook_url: Option<String>,
}

impl Asked {
    /// Reads what [`Asked::written`] wrote; none where it is damaged or of another form.
    pub fn read(text: &str) -> Option<Self> {
        let asked: Asked = serde_json::from_str(text).ok()?;
        let amount_minor = money::parse_minor(&asked.amount, asked.currency).ok()?;
        let is_whole = asked.channel.is_some() == asked.method.is_some()
            && money::format_minor(amount_minor, asked.currency) == asked.amount
            && asked.splits.iter().all(|split| split.share(asked.currency).is_some());
        is_whole.then_some(asked)
    }

    /// As it is stored.
    pub fn written(&self) -> String {
        serde_json::to_string(self).expect("plain structs always serialise")
    }

    /// The way to pay, where it was to be paid for at once.
    pub fn choice(&self) -> Option<(Channel, Method)> {
        self.channel.zip(self.method)
    }

    /// The trace that the order was posted under, its own id where it had none.
    pub fn trace_of(&self, id: OrderId) -> Trace {
        self.trace.unwrap_or(Trace(id.as_u128()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Rate;
    use serde_json::{Value, json};

    fn asked() -> Asked {
        Asked {
            amount: "200.00".into(),
            attempts_max: 3,
            channel: Some(Channel::Wechat),
            currency: Currency::parse("CNY").unwrap(),
            description: "tea".into(),
            expires_in: 3_600,
            form: Form,
            metadata: Metadata::from([("cart".into(), "7".into())]),
            method: Some(Method::Native),
            return_url: None,
            splits: Vec::new(),
            trace: Some(Trace(7)),
            webhook_url: None,
        }
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let split = |amount: Option<&str>, rate: Option<&str>| AskedSplit {
            amount: amount.map(Into::into),
            rate: rate.map(|rate| Rate::new(rate.parse().unwrap()).unwrap()),
            to: "platform-b".into(),
        };
        let splits = vec![split(Some("5.00"), None), split(None, Some("0.1"))];
        for damaged in [split(None, None), split(Some("5.00"), Some("0.1")), split(Some("5"), None)] {
            let text = Asked { splits: vec![damaged.clone()], ..asked() }.written();
            assert_eq!(Asked::read(&text).is_some(), damaged.amount.as_deref() == Some("5"), "{text}");
        }
        for asked in
            [asked(), Asked { splits, ..asked() }, Asked { channel: None, method: None, trace: None, ..asked() }]
        {
            let text = asked.written();
            assert_eq!(Asked::read(&text), Some(asked), "{text}");
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap().to_string(), text, "its fields are sorted");
        }
    }

    #[test]
    fn a_damaged_request_is_not_completed() {
        let whole: Value = serde_json::from_str(&asked().written()).unwrap();
        for name in whole.as_object().unwrap().keys().filter(|name| *name != "trace") {
            let mut damaged = whole.clone();
            damaged.as_object_mut().unwrap().remove(name);
            assert_eq!(Asked::read(&damaged.to_string()), None, "without {name}");
        }
        for (name, value) in [
            ("form", json!(2)),
            ("form", json!("1")),
            ("amount", json!("200")),
            ("amount", json!("-1.00")),
            ("attempts_max", json!(300)),
            ("channel", Value::Null),
            ("channel", json!("paypal")),
            ("method", json!("qr-code")),
            ("currency", json!("cny")),
            ("description", Value::Null),
            ("metadata", json!({"cart": 7})),
            ("metadata", json!([])),
            ("return_url", json!(7)),
            ("trace", json!("7")),
            ("trace", json!("00000000000000000000000000000000")),
            ("trace", json!("+000000000000000000000000000000f")),
            ("webhook", json!("https://shop.example/hook")),
        ] {
            let mut damaged = whole.clone();
            damaged[name] = value.clone();
            assert_eq!(Asked::read(&damaged.to_string()), None, "{name}: {value}");
        }
        for text in ["", "{}", "[]", "null", "{\"form\":1"] {
            assert_eq!(Asked::read(text), None, "{text}");
        }
    }

    #[test]
    fn an_order_without_a_trace_is_traced_by_its_id() {
        let id = OrderId::from_u128(9);
        assert_eq!(asked().trace_of(id), Trace(7));
        assert_eq!(Asked { trace: None, ..asked() }.trace_of(id), Trace(id.as_u128()));
    }
}
