//! What the payer does next: a code, an address, or the signed parameters of WeChat's own software.

use std::collections::BTreeMap;

use url::Url;
use url::form_urlencoded::byte_serialize;

use super::Wechat;
use super::wire::{Created, Product};
use crate::channels::{NextAction, Stamp};
use crate::domain::time::Instant;

const MINUTE_MS: i64 = 60_000;
/// How long a code or a prepay id can be paid by.
const PREPAY_LIVES_MS: i64 = 120 * MINUTE_MS;
/// How long an H5 page can be opened.
const H5_LIVES_MS: i64 = 5 * MINUTE_MS;
/// Longer ones are not WeChat Pay's.
const TEXT_MAX: usize = 1_024;

impl Wechat {
    /// None where the answer lacks what this product's payer needs.
    pub(super) fn next_action(
        &self,
        product: Product,
        created: &Created<'_>,
        return_url: Option<&str>,
        stamp: &Stamp,
        expires_at: Instant,
    ) -> Option<NextAction> {
        let lives_ms = match product {
            Product::Native | Product::Jsapi | Product::App => PREPAY_LIVES_MS,
            Product::H5 => H5_LIVES_MS,
        };
        let expires_at = expires_at.min(stamp.at.plus_ms(lives_ms));
        Some(match product {
            Product::Native => NextAction::QrCode { qr_code: visible(created.code_url.as_deref())?.into(), expires_at },
            Product::H5 => NextAction::Redirect { url: page(created.h5_url.as_deref(), return_url)?, expires_at },
            Product::Jsapi => {
                let parameters = self.jsapi(visible(created.prepay_id.as_deref())?, stamp);
                NextAction::Client { parameters, expires_at }
            }
            Product::App => {
                let parameters = self.app(visible(created.prepay_id.as_deref())?, stamp);
                NextAction::Client { parameters, expires_at }
            }
        })
    }

    /// For `WeixinJSBridge` and `wx.requestPayment`; `signType` is told and not signed.
    fn jsapi(&self, prepay_id: &str, stamp: &Stamp) -> BTreeMap<String, String> {
        let package = format!("prepay_id={prepay_id}");
        let timestamp = seconds(stamp);
        let lines = [self.appid.as_bytes(), timestamp.as_bytes(), stamp.nonce.as_bytes(), package.as_bytes()];
        let signature = self.signer.sign(&lines);
        parameters([
            ("appId", self.appid.clone()),
            ("timeStamp", timestamp),
            ("nonceStr", stamp.nonce.clone()),
            ("package", package),
            ("signType", "RSA".to_owned()),
            ("paySign", signature),
        ])
    }

    /// For the app's SDK, which signs the bare prepay id and spells its names otherwise.
    fn app(&self, prepay_id: &str, stamp: &Stamp) -> BTreeMap<String, String> {
        let timestamp = seconds(stamp);
        let lines = [self.appid.as_bytes(), timestamp.as_bytes(), stamp.nonce.as_bytes(), prepay_id.as_bytes()];
        let signature = self.signer.sign(&lines);
        parameters([
            ("appid", self.appid.clone()),
            ("partnerid", self.mchid.clone()),
            ("prepayid", prepay_id.to_owned()),
            ("package", "Sign=WXPay".to_owned()),
            ("noncestr", stamp.nonce.clone()),
            ("timestamp", timestamp),
            ("sign", signature),
        ])
    }
}

fn parameters<const N: usize>(fields: [(&str, String); N]) -> BTreeMap<String, String> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(super) fn seconds(stamp: &Stamp) -> String {
    stamp.at.0.div_euclid(1_000).to_string()
}

fn visible(text: Option<&str>) -> Option<&str> {
    text.filter(|text| (1..=TEXT_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// The H5 page's address, to which the page to go back to is appended.
fn page(h5_url: Option<&str>, return_url: Option<&str>) -> Option<String> {
    let page = visible(h5_url)?;
    let url = Url::parse(page).ok().filter(|url| matches!(url.scheme(), "https" | "http"))?;
    let Some(return_url) = return_url else { return Some(page.to_owned()) };
    let separator = if url.query().is_some() { '&' } else { '?' };
    Some(format!("{page}{separator}redirect_url={}", byte_serialize(return_url.as_bytes()).collect::<String>()))
}
