//! The bodies of WeChat Pay's calls: what is asked, in the fields' published names, and what is read of the answers.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::offset;

use crate::channels::{Ask, Payer as Who};
use crate::domain::channel::{Channel, Method};
use crate::domain::dated::Dated;
use crate::domain::money::Currency;
use crate::domain::time::Instant;

/// The only currency of these calls.
pub(super) const CURRENCY: &str = "CNY";
/// The pages say 127 characters, and true refusals of long texts count bytes (`字节数 35，大于最大值 32`): what fits
/// both is sent.
const DESCRIPTION_MAX_BYTES: usize = 127;
/// WeChat Pay's own names of payments are 32 characters at most; ours fit in as many.
const TEXT_MAX: usize = 32;
/// The last second that Beijing writes with four digits of a year.
const YEAR_9999_END: i64 = 253_402_271_999;

/// The product under which an order is made; each has its own path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Product {
    Native,
    Jsapi,
    H5,
    App,
}

impl Product {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Product::Native => "native",
            Product::Jsapi => "jsapi",
            Product::H5 => "h5",
            Product::App => "app",
        }
    }

    fn of(method: Method) -> Option<Self> {
        match method {
            Method::Native => Some(Product::Native),
            Method::Jsapi => Some(Product::Jsapi),
            Method::H5 => Some(Product::H5),
            Method::App => Some(Product::App),
            Method::Qr | Method::Page | Method::Wap | Method::Card => None,
        }
    }
}

/// An attempt's request as it is stored: a repeat must be the first one byte for byte, or the number counts as used.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Frozen<'a> {
    Order {
        product: Product,
        /// Where the payer's browser goes after the H5 page; no part of the request.
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        return_url: Option<Cow<'a, str>>,
        expires_at: Instant,
        /// A JSON object; where it is stored, without what it tells of the payer.
        #[serde(borrow)]
        body: &'a RawValue,
    },
    /// What the method needs was not given: it is refused before anything is sent.
    Impossible { code: Cow<'a, str> },
}

#[derive(Serialize)]
struct Create<'a> {
    appid: &'a str,
    mchid: &'a str,
    description: String,
    out_trade_no: String,
    time_expire: String,
    notify_url: &'a str,
    amount: Total,
}

/// The fields of a create that tell of the payer. They follow all others.
#[derive(Serialize)]
#[serde(untagged)]
enum Personal<'a> {
    Jsapi { payer: Payer<'a> },
    H5 { scene_info: Scene<'a> },
}

/// What the payer's side needs to know of a create that was sent.
#[derive(Deserialize)]
pub(super) struct Asked<'a> {
    #[serde(borrow)]
    pub appid: Cow<'a, str>,
}

#[derive(Serialize)]
struct Total {
    total: i64,
    currency: &'static str,
}

#[derive(Serialize)]
struct Payer<'a> {
    openid: &'a str,
}

#[derive(Serialize)]
struct Scene<'a> {
    payer_client_ip: &'a str,
    h5_info: H5Info,
}

#[derive(Serialize)]
struct H5Info {
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
pub(super) struct Close<'a> {
    pub mchid: &'a str,
}

#[derive(Serialize)]
pub(super) struct Refund<'a> {
    pub transaction_id: &'a str,
    pub out_refund_no: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// Without one, a console's own setting would be told in the form of the API before this one.
    pub notify_url: &'a str,
    pub amount: RefundTotal,
}

#[derive(Serialize)]
pub(super) struct RefundTotal {
    pub refund: i64,
    /// Of the whole payment, whatever a coupon paid of it.
    pub total: i64,
    pub currency: &'static str,
}

/// What a create that was taken answers: each product has its own field.
#[derive(Deserialize)]
pub(super) struct Created<'a> {
    #[serde(borrow, default)]
    pub code_url: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub prepay_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub h5_url: Option<Cow<'a, str>>,
}

/// A payment as queries and notifications tell it. A query need not say the `appid`, nor anything of the amount
/// (merchant document 4012556352).
#[derive(Deserialize)]
pub(super) struct Transaction<'a> {
    #[serde(borrow, default)]
    pub appid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub mchid: Cow<'a, str>,
    #[serde(borrow)]
    pub out_trade_no: Cow<'a, str>,
    #[serde(borrow)]
    pub trade_state: Cow<'a, str>,
    #[serde(borrow, default)]
    pub transaction_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub amount: Option<Paid<'a>>,
    #[serde(borrow, default)]
    pub success_time: Option<Time<'a>>,
}

/// An instant as WeChat Pay writes it, `2018-06-08T10:34:56+08:00`; whatever else stands there tells nothing.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Time<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Other(IgnoredAny),
}

impl Time<'_> {
    pub(super) fn instant(time: Option<&Self>) -> Option<Instant> {
        match time? {
            Time::Text(text) => Instant::parse_rfc3339(text),
            Time::Other(_) => None,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Paid<'a> {
    /// What the order asked; `payer_total` beside it is less where a coupon paid some of it.
    #[serde(default)]
    pub total: Option<i64>,
    #[serde(borrow, default)]
    pub currency: Option<Cow<'a, str>>,
}

impl Transaction<'_> {
    /// The capture's name, amount and currency, if they are such as can be kept.
    pub(super) fn capture(&self) -> Option<(&str, i64, &str)> {
        let reference = self.transaction_id.as_deref().filter(|text| is_name(text))?;
        let amount = self.amount.as_ref()?;
        // Left out, it is the only one that there is.
        let currency = amount.currency.as_deref().unwrap_or(CURRENCY);
        let total = amount.total.filter(|total| *total > 0)?;
        Currency::parse(CURRENCY).filter(|currency| currency.can_be(total))?;
        Some((reference, total, currency))
    }

    pub(super) fn dated(&self) -> Dated {
        Time::instant(self.success_time.as_ref()).map_or(Dated::NOT_TOLD, Dated::at)
    }
}

/// A refund as its calls answer.
#[derive(Deserialize)]
pub(super) struct Refunded<'a> {
    #[serde(borrow)]
    pub out_refund_no: Cow<'a, str>,
    #[serde(borrow)]
    pub transaction_id: Cow<'a, str>,
    #[serde(borrow)]
    pub out_trade_no: Cow<'a, str>,
    #[serde(borrow)]
    pub status: Cow<'a, str>,
    #[serde(borrow)]
    pub amount: RefundedAmount<'a>,
    #[serde(borrow, default)]
    pub refund_id: Option<Cow<'a, str>>,
    /// When it was taken.
    #[serde(borrow, default)]
    pub create_time: Option<Time<'a>>,
    #[serde(borrow, default)]
    pub success_time: Option<Time<'a>>,
}

impl Refunded<'_> {
    /// The trade bill has a refund on the day on which it was taken, and not on that of its success (the page
    /// of the trade bill).
    pub(super) fn dated(&self) -> Dated {
        Dated {
            effective_at: Time::instant(self.success_time.as_ref()),
            bill_day: Time::instant(self.create_time.as_ref()).map(|at| Channel::Wechat.day_of(at)),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct RefundedAmount<'a> {
    pub refund: i64,
    #[serde(borrow)]
    pub currency: Cow<'a, str>,
}

#[derive(Deserialize)]
pub(super) struct Failure<'a> {
    #[serde(borrow)]
    pub code: Cow<'a, str>,
}

/// What an attempt asks, as it is stored.
pub(super) fn freeze(appid: &str, mchid: &str, ask: &Ask<'_>) -> Box<str> {
    let frozen = match create(appid, mchid, ask) {
        Ok((product, create)) => {
            let body = serde_json::value::to_raw_value(&create).expect("plain structs always serialise");
            let return_url = ask.return_url.filter(|_| product == Product::H5).map(Cow::Borrowed);
            serde_json::to_string(&Frozen::Order { product, return_url, expires_at: ask.expires_at, body: &body })
        }
        Err(code) => serde_json::to_string(&Frozen::Impossible { code: code.into() }),
    };
    frozen.expect("plain structs always serialise").into()
}

/// The day's bill begins each field with a backtick and does not quote one within: a description with a comma and a
/// backtick would make the whole day unreadable.
fn description(wanted: &str) -> String {
    wanted[..wanted.floor_char_boundary(DESCRIPTION_MAX_BYTES)].replace('`', "'")
}

fn create<'a>(appid: &'a str, mchid: &'a str, ask: &'a Ask<'_>) -> Result<(Product, Create<'a>), &'static str> {
    let product = Product::of(ask.method).ok_or("method_unsupported")?;
    if ask.currency.code() != CURRENCY {
        return Err("currency_unsupported");
    }
    personal(product, ask.payer)?;
    let create = Create {
        appid,
        mchid,
        description: description(ask.description),
        out_trade_no: ask.number.to_string(),
        time_expire: beijing(ask.expires_at),
        notify_url: &ask.notify_url,
        amount: Total { total: ask.payable_minor, currency: CURRENCY },
    };
    Ok((product, create))
}

/// What this product's create tells of the payer.
fn personal(product: Product, payer: &Who) -> Result<Option<Personal<'_>>, &'static str> {
    match product {
        Product::Jsapi => {
            let openid = payer.openid.as_deref().ok_or("openid_missing")?;
            Ok(Some(Personal::Jsapi { payer: Payer { openid } }))
        }
        Product::H5 => {
            let payer_client_ip = payer.ip.as_deref().ok_or("payer_ip_missing")?;
            let h5_info = H5Info { kind: "Wap" };
            Ok(Some(Personal::H5 { scene_info: Scene { payer_client_ip, h5_info } }))
        }
        Product::Native | Product::App => Ok(None),
    }
}

/// What is stored, with what its create tells of the payer; none where that is not known any more.
pub(super) fn complete<'a>(frozen: &'a str, payer: &Who) -> Option<Cow<'a, str>> {
    // What cannot be read, or asks for nothing, is for the submit to refuse.
    let Ok(Frozen::Order { product, return_url, expires_at, body }) = serde_json::from_str(frozen) else {
        return Some(Cow::Borrowed(frozen));
    };
    let Some(personal) = personal(product, payer).ok()? else { return Some(Cow::Borrowed(frozen)) };
    let personal = serde_json::to_string(&personal).expect("plain structs always serialise");
    let body = format!("{},{}", body.get().strip_suffix('}')?, personal.strip_prefix('{')?);
    let body = RawValue::from_string(body).ok()?;
    let completed = Frozen::Order { product, return_url, expires_at, body: &body };
    Some(Cow::Owned(serde_json::to_string(&completed).expect("plain structs always serialise")))
}

/// RFC 3339 in Beijing's time, to the second: WeChat Pay gives no fraction.
fn beijing(at: Instant) -> String {
    OffsetDateTime::from_unix_timestamp(at.0.div_euclid(1_000).clamp(0, YEAR_9999_END))
        .ok()
        .and_then(|instant| instant.to_offset(offset!(+8)).format(&Rfc3339).ok())
        .expect("a bounded instant can be written")
}

/// Whether a text may be kept as WeChat Pay's name of something.
pub(super) fn is_name(text: &str) -> bool {
    (1..=TEXT_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Fen are the minor unit: nothing is converted but in bills, and nothing but CNY is taken for it.
pub(super) fn is_in(currency: &str, expected: Currency) -> bool {
    currency == CURRENCY && expected.code() == CURRENCY
}

pub(super) fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("plain structs always serialise")
}

/// Reads an object of which every field that is looked at stands there once.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    // The reader would take an array for a struct too.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    // Read as bytes, a field that is not looked at could hold anything.
    serde_json::from_str(std::str::from_utf8(body).ok()?).ok()
}
