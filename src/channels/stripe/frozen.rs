//! The business fields of an attempt, as they are stored and repeated.

use serde::{Deserialize, Serialize};

use super::super::Ask;
use super::money::{self, Unfit};
use crate::domain::channel::Method;
use crate::domain::time::Instant;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Frozen {
    Wanted(Wanted),
    /// What Stripe need not be asked: it is refused for certain.
    Refused {
        code: String,
    },
}

/// Fields in the order of their names, so that the text is canonical.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// As it stands on the wire.
    pub amount: i64,
    pub currency: String,
    pub description: String,
    pub expires_at: Instant,
    pub number: String,
    pub return_url: Option<String>,
}

impl Frozen {
    pub fn of(ask: &Ask<'_>) -> Self {
        let refused = |code: &str| Frozen::Refused { code: code.to_owned() };
        match ask.method {
            Method::Card => {}
            Method::Qr | Method::Native | Method::Jsapi | Method::H5 | Method::App | Method::Page | Method::Wap => {
                return refused("method_unsupported");
            }
        }
        match money::to_wire(ask.payable_minor, ask.currency) {
            Ok(amount) => Frozen::Wanted(Wanted {
                amount,
                currency: ask.currency.code().to_ascii_lowercase(),
                description: ask.description.to_owned(),
                expires_at: ask.expires_at,
                number: ask.number.to_string(),
                return_url: ask.return_url.map(str::to_owned),
            }),
            Err(Unfit::Currency) => refused("currency_unsupported"),
            Err(Unfit::Amount) => refused("amount_unsupported"),
        }
    }

    pub fn to_text(&self) -> Box<str> {
        serde_json::to_string(self).expect("plain structs always serialise").into()
    }

    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}
