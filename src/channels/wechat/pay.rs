//! What the payer does next: a code, an address, or the signed parameters of WeChat's own software.

use std::collections::BTreeMap;

use url::Url;
use url::form_urlencoded::byte_serialize;

use super::Wechat;
use super::wire::{Asked, Created, Product};
use crate::channels::{NextAction, Stamp};
use crate::domain::time::Instant;

const MINUTE_MS: i64 = 60_000;
/// How long a code or a prepay id can be paid by.
const PREPAY_LIVES_MS: i64 = 120 * MINUTE_MS;
/// How long an H5 page can be opened.
const H5_LIVES_MS: i64 = 5 * MINUTE_MS;
/// Longer ones are not WeChat Pay's.
const TEXT_MAX: usize = 1_024;

/// What was asked for, as it was frozen. The appid is that of the request, whatever the configuration says by now.
pub(super) struct Order<'a> {
    pub product: Product,
    pub asked: Asked<'a>,
    pub return_url: Option<&'a str>,
    pub expires_at: Instant,
}

impl Wechat {
    /// None where the answer lacks what this product's payer needs.
    pub(super) fn next_action(&self, order: &Order<'_>, created: &Created<'_>, stamp: &Stamp) -> Option<NextAction> {
        let Order { product, asked: Asked { appid }, return_url, expires_at } = order;
        let lives_ms = match product {
            Product::Native | Product::Jsapi | Product::App => PREPAY_LIVES_MS,
            Product::H5 => H5_LIVES_MS,
        };
        let expires_at = (*expires_at).min(stamp.at.plus_ms(lives_ms));
        Some(match product {
            Product::Native => NextAction::QrCode { qr_code: visible(created.code_url.as_deref())?.into(), expires_at },
            Product::H5 => NextAction::Redirect { url: page(created.h5_url.as_deref(), *return_url)?, expires_at },
            Product::Jsapi => {
                let parameters = self.jsapi(appid, visible(created.prepay_id.as_deref())?, stamp);
                NextAction::Client { parameters, expires_at }
            }
            Product::App => {
                let parameters = self.app(appid, visible(created.prepay_id.as_deref())?, stamp);
                NextAction::Client { parameters, expires_at }
            }
        })
    }

    /// For `WeixinJSBridge` and `wx.requestPayment`; `signType` is told and not signed.
    fn jsapi(&self, appid: &str, prepay_id: &str, stamp: &Stamp) -> BTreeMap<String, String> {
        let package = format!("prepay_id={prepay_id}");
        let timestamp = seconds(stamp);
        let lines = [appid.as_bytes(), timestamp.as_bytes(), stamp.nonce.as_bytes(), package.as_bytes()];
        let signature = self.signer.sign(&lines);
        parameters([
            ("appId", appid.to_owned()),
            ("timeStamp", timestamp),
            ("nonceStr", stamp.nonce.clone()),
            ("package", package),
            ("signType", "RSA".to_owned()),
            ("paySign", signature),
        ])
    }

    /// For the app's SDK, which signs the bare prepay id and spells its names otherwise.
    fn app(&self, appid: &str, prepay_id: &str, stamp: &Stamp) -> BTreeMap<String, String> {
        let timestamp = seconds(stamp);
        let lines = [appid.as_bytes(), timestamp.as_bytes(), stamp.nonce.as_bytes(), prepay_id.as_bytes()];
        let signature = self.signer.sign(&lines);
        parameters([
            ("appid", appid.to_owned()),
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
