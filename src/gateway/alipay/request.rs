//! Who asks, and for what: the common parameters of a request, and its signature.

use std::sync::Arc;

use super::Alipay;
use super::answers::{self, Failure};
use super::form::Parameters;
use super::signing::signed_text;
use super::units;
use super::wire::AlipayWire;
use crate::gateway::accounts::AccountId;

/// How far a merchant's clock may be from ours. Alipay publishes no figure, and its own SDKs for Node and Python write
/// their machine's local time, wherever that is: a day covers all time zones.
const SKEW_MAX_MS: i64 = 24 * 60 * 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    PagePay,
    WapPay,
    Precreate,
    Query,
    Close,
    Refund,
    RefundQuery,
    BillUrl,
    Certificate,
}

impl Method {
    const ALL: [Method; 9] = [
        Method::PagePay,
        Method::WapPay,
        Method::Precreate,
        Method::Query,
        Method::Close,
        Method::Refund,
        Method::RefundQuery,
        Method::BillUrl,
        Method::Certificate,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Method::PagePay => "alipay.trade.page.pay",
            Method::WapPay => "alipay.trade.wap.pay",
            Method::Precreate => "alipay.trade.precreate",
            Method::Query => "alipay.trade.query",
            Method::Close => "alipay.trade.close",
            Method::Refund => "alipay.trade.refund",
            Method::RefundQuery => "alipay.trade.fastpay.refund.query",
            Method::BillUrl => "alipay.data.dataservice.bill.downloadurl.query",
            Method::Certificate => "alipay.open.app.alipaycert.download",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Whether the payer's browser carries it.
    pub const fn carrier(self) -> Carrier {
        match self {
            Method::PagePay | Method::WapPay => Carrier::Browser,
            Method::Precreate
            | Method::Query
            | Method::Close
            | Method::Refund
            | Method::RefundQuery
            | Method::BillUrl
            | Method::Certificate => Carrier::Merchant,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    Merchant,
    Browser,
}

/// A believed request.
pub struct Request {
    pub account: AccountId,
    pub wire: Arc<AlipayWire>,
    pub method: Method,
    pub content: String,
    pub notify_url: Option<String>,
    pub return_url: Option<String>,
    pub trust: Trust,
}

/// How merchant and Alipay know each other's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    PublicKeys,
    Certificates,
}

/// A request that is not carried out.
pub struct Disbelief {
    pub failure: Failure,
    /// The account that the request names, if there is one: its key signs the refusal. Others get an unsigned one.
    pub wire: Option<Arc<AlipayWire>>,
}

impl Alipay {
    /// # Errors
    /// Anything missing or wrong. The signature comes before what it covers.
    pub fn verify(&self, parameters: &Parameters, now: i64) -> Result<Request, Disbelief> {
        let unsigned = |failure| Disbelief { failure, wire: None };
        let given = |name: &str| parameters.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let name = given("method").ok_or(unsigned(answers::MISSING_METHOD))?;
        let app_id = given("app_id").ok_or(unsigned(answers::MISSING_APP_ID))?;
        let mut wires = self.wires.iter();
        let (account, wire) = wires.find(|(_, wire)| wire.app_id == app_id).ok_or(unsigned(answers::INVALID_APP_ID))?;
        let refused = |failure| Disbelief { failure, wire: Some(Arc::clone(wire)) };

        if given("sign_type") != Some("RSA2") {
            return Err(refused(answers::INVALID_SIGNATURE_TYPE));
        }
        // What is encoded in another way cannot be verified as it was signed.
        if !given("charset").is_some_and(|charset| charset.eq_ignore_ascii_case("utf-8")) {
            return Err(refused(answers::INVALID_CHARSET));
        }
        let sign = given("sign").ok_or(refused(answers::MISSING_SIGNATURE))?;
        if !wire.app_key.verify(signed_text(parameters, &["sign"]).as_bytes(), sign) {
            return Err(refused(answers::INVALID_SIGNATURE));
        }
        let method = Method::parse(name).ok_or(refused(answers::INVALID_METHOD))?;
        if given("version") != Some("1.0") {
            return Err(refused(answers::INVALID_VERSION));
        }
        // The SDK for Java writes `json`, the documents `JSON`.
        if !given("format").is_none_or(|format| format.eq_ignore_ascii_case("json")) {
            return Err(refused(answers::INVALID_FORMAT));
        }
        let signed_at = given("timestamp").and_then(units::instant).ok_or(refused(answers::INVALID_TIMESTAMP))?;
        let is_fresh = match method.carrier() {
            Carrier::Merchant => now.abs_diff(signed_at) <= SKEW_MAX_MS.unsigned_abs(),
            // The payer may take as long as the payment lives to open the page.
            Carrier::Browser => signed_at <= now.saturating_add(SKEW_MAX_MS),
        };
        if !is_fresh {
            return Err(refused(answers::INVALID_TIMESTAMP));
        }
        let trust = match (given("app_cert_sn"), given("alipay_root_cert_sn")) {
            (None, None) => Trust::PublicKeys,
            (Some(app), Some(root)) if app == wire.certificates.app_sn && root == wire.certificates.root_sn => {
                Trust::Certificates
            }
            (Some(_), _) | (_, Some(_)) => return Err(refused(answers::INVALID_ARGUMENTS)),
        };
        Ok(Request {
            account: *account,
            wire: Arc::clone(wire),
            method,
            content: given("biz_content").ok_or(refused(answers::INVALID_ARGUMENTS))?.to_owned(),
            notify_url: given("notify_url").map(str::to_owned),
            return_url: given("return_url").map(str::to_owned),
            trust,
        })
    }
}
