//! What merchants send, field by field, with the limits of the documents.
//!
//! Source: pay.weixin.qq.com merchant docs 4012791877 (native), 4012791856 (jsapi), 4012791834 (h5), 4013070347 (app),
//! 4012791860 (close), 4012791862 (refund).

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::failure::Failure;
use crate::gateway::address::Address;

pub const NUMBER_LENGTHS: RangeInclusive<usize> = 6..=32;
const REFUND_NUMBER_LENGTHS: RangeInclusive<usize> = 1..=64;
const DESCRIPTION_MAX: usize = 127;
const ATTACH_MAX: usize = 128;
const REASON_MAX: usize = 80;
const CURRENCY: &str = "CNY";
/// An end that is nearer, or farther, is put there (merchant doc 4012525171).
const LIVE_MIN_MS: i64 = 60_000;
const LIVE_MAX_MS: i64 = 90 * 24 * 60 * 60 * 1_000;
/// Without `time_expire` a payment ends by itself after a week.
const LIVE_DEFAULT_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// The products, by the last part of their path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Product {
    Native,
    Jsapi,
    #[serde(rename = "MWEB")]
    H5,
    App,
}

impl Product {
    pub fn parse(path: &str) -> Option<Self> {
        match path {
            "native" => Some(Product::Native),
            "jsapi" => Some(Product::Jsapi),
            "h5" => Some(Product::H5),
            "app" => Some(Product::App),
            _ => None,
        }
    }

    /// `trade_type`.
    pub const fn name(self) -> &'static str {
        match self {
            Product::Native => "NATIVE",
            Product::Jsapi => "JSAPI",
            Product::H5 => "MWEB",
            Product::App => "APP",
        }
    }
}

/// Fields of type [`Value`] change nothing here, and only count where a repeat is compared with the first request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    pub appid: String,
    pub mchid: String,
    pub description: String,
    pub out_trade_no: String,
    pub notify_url: String,
    pub amount: Amount,
    pub time_expire: Option<String>,
    pub attach: Option<String>,
    pub payer: Option<Payer>,
    pub scene_info: Option<Scene>,
    pub goods_tag: Option<String>,
    pub support_fapiao: Option<bool>,
    pub detail: Option<Value>,
    pub settle_info: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    pub total: i64,
    pub currency: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payer {
    pub openid: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    pub payer_client_ip: String,
    pub device_id: Option<String>,
    pub store_info: Option<Value>,
    pub h5_info: Option<H5Info>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct H5Info {
    #[serde(rename = "type")]
    pub kind: String,
    pub app_name: Option<String>,
    pub app_url: Option<String>,
    pub bundle_id: Option<String>,
    pub package_name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    pub mchid: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refund {
    pub transaction_id: Option<String>,
    pub out_trade_no: Option<String>,
    pub out_refund_no: String,
    pub reason: Option<String>,
    pub notify_url: Option<String>,
    pub funds_account: Option<String>,
    pub goods_detail: Option<Value>,
    pub amount: RefundAmount,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundAmount {
    pub refund: i64,
    pub total: i64,
    pub currency: String,
    pub from: Option<Value>,
}

/// Reads a body: one JSON object, nothing unknown or twice in it.
pub fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Failure::param("the body must be a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| Failure::param(&error.to_string()))
}

impl Create {
    pub fn check(&self, product: Product) -> Result<(), Failure> {
        number_form(&self.out_trade_no)?;
        text("description", &self.description, 1..=DESCRIPTION_MAX)?;
        notify_form(&self.notify_url)?;
        if let Some(attach) = &self.attach {
            text("attach", attach, 0..=ATTACH_MAX)?;
        }
        if self.amount.total < 1 {
            return Err(Failure::param("`amount.total` must be at least 1"));
        }
        if self.amount.currency.as_deref().is_some_and(|currency| currency != CURRENCY) {
            return Err(Failure::param("`amount.currency` must be CNY"));
        }
        match (product, &self.payer, &self.scene_info) {
            (Product::Jsapi, Some(payer), _) => text("payer.openid", &payer.openid, 1..=128),
            (Product::Jsapi, None, _) => Err(Failure::param("`payer.openid` is missing")),
            (Product::H5, _, Some(scene)) => scene.check(),
            (Product::H5, _, None) => Err(Failure::param("`scene_info` is missing")),
            (Product::Native | Product::App, _, _) => Ok(()),
        }
    }

    /// When the payment ends, in unix milliseconds.
    pub fn expires_at(&self, now: i64) -> Result<i64, Failure> {
        match &self.time_expire {
            None => Ok(now.saturating_add(LIVE_DEFAULT_MS)),
            Some(text) => match OffsetDateTime::parse(text, &Rfc3339) {
                Ok(at) => Ok(at.unix_timestamp().saturating_mul(1_000)),
                Err(_) => Err(Failure::param("`time_expire` must be RFC 3339 with an offset")),
            },
        }
    }
}

/// When a payment that is made now ends, if it asks for this end.
pub fn within_life(expires_at: i64, now: i64) -> i64 {
    expires_at.clamp(now.saturating_add(LIVE_MIN_MS), now.saturating_add(LIVE_MAX_MS))
}

impl Scene {
    fn check(&self) -> Result<(), Failure> {
        if self.payer_client_ip.parse::<std::net::IpAddr>().is_err() {
            return Err(Failure::param("`scene_info.payer_client_ip` must be an address"));
        }
        match self.h5_info.as_ref().map(|info| info.kind.as_str()) {
            Some("Wap" | "iOS" | "Android") => Ok(()),
            Some(_) | None => Err(Failure::param("`scene_info.h5_info.type` must be Wap, iOS or Android")),
        }
    }
}

impl Refund {
    pub fn check(&self) -> Result<(), Failure> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-|*@".contains(&byte);
        if !REFUND_NUMBER_LENGTHS.contains(&self.out_refund_no.len()) || !self.out_refund_no.bytes().all(allowed) {
            return Err(Failure::param("`out_refund_no` must be 1 to 64 of 0-9, A-Z, a-z and _-|*@"));
        }
        if let Some(reason) = &self.reason {
            text("reason", reason, 0..=REASON_MAX)?;
        }
        if let Some(url) = &self.notify_url {
            notify_form(url)?;
        }
        if self.amount.currency != CURRENCY {
            return Err(Failure::param("`amount.currency` must be CNY"));
        }
        if self.amount.refund < 1 || self.amount.refund > self.amount.total {
            return Err(Failure::param("`amount.refund` must be 1 to `amount.total`"));
        }
        Ok(())
    }
}

pub fn number_form(number: &str) -> Result<(), Failure> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-|*".contains(&byte);
    if NUMBER_LENGTHS.contains(&number.len()) && number.bytes().all(allowed) {
        return Ok(());
    }
    Err(Failure::param("`out_trade_no` must be 6 to 32 of 0-9, A-Z, a-z and _-|*"))
}

/// The true gateway wants https too, which a sandbox on loopback has not.
fn notify_form(url: &str) -> Result<(), Failure> {
    match Address::parse(url) {
        Some(address) if address.url.query().is_none() => Ok(()),
        Some(_) | None => Err(Failure::param("`notify_url` must be an address without a query, at most 255 bytes")),
    }
}

fn text(name: &str, text: &str, lengths: RangeInclusive<usize>) -> Result<(), Failure> {
    if lengths.contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Failure::param(&format!("`{name}` must be {} to {} characters", lengths.start(), lengths.end())))
}
