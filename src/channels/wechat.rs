//! WeChat Pay, API v3, as an ordinary merchant: JSON over HTTPS, signed with RSA by both sides.
//!
//! A request signs its method, path with query, timestamp, nonce and body with the merchant's key. An answer of 2xx signs
//! its timestamp, nonce and body with a platform certificate or a WeChat Pay public key, named by `Wechatpay-Serial`;
//! errors are not signed, so they are read by their status and code and never as a success. Notifications are signed
//! like answers, and what they tell is encrypted besides.
//!
//! Sources: the official SDK wechatpay-apiv3/wechatpay-java and the merchant documents of pay.weixin.qq.com as they stood
//! in November 2026; each table names its page.

pub mod bill;
mod codes;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod keys;
mod notice;
mod pay;
mod sealed;
mod upkeep;
mod wire;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use time::Date;
use url::Url;

use self::codes::{
    ORDER_NOT_EXIST, REFUND_NOT_EXIST, RefundStatus, Trade, Verdict, is_later, of_create, of_refund, refund_status,
    trade,
};
use self::keys::{Keys, PlatformKey, SCHEME, Signer, is_public_key_id, serial};
use self::pay::{Order, seconds};
use self::sealed::Opener;
use self::upkeep::{Certificates, Platform};
use self::wire::{
    Asked, CURRENCY, Close, Created, Failure, Frozen, Refund, RefundTotal, Refunded, Transaction, json, parse,
};
use super::{
    Acknowledgement, Adapter, Answer, Ask, Attempted, CallbackError, Heard, Outgoing, Payer, Reading, Received,
    RefundAsk, Stamp, Submission, Submitted, Verb,
    bill::{Bill, Day},
};
pub use crate::config::credentials::{Wechat as Credentials, WechatPublicKey as PublicKey};
use crate::domain::channel::{Channel, Method};
use crate::domain::dated::Dated;
use crate::domain::event::{CloseAnswer, Fault, Finding, Hold, RefundOutcome, SendOutcome};
use crate::domain::id::Account;
use crate::domain::time::Instant;

const CERTIFICATES: &str = "/v3/certificates";
const REFUNDS: &str = "/v3/refund/domestic/refunds";
/// The longest mchid and appid (string[1,32], merchant document 4012791856). True ones are 10 digits, such as
/// `1900000001`, and `wx` with 16 hexadecimal digits, such as `wxd678efh567hg6787` in the documents.
const ID_MAX: usize = 32;
/// The longest serial number of a certificate: 20 bytes (RFC 5280, 4.1.2.2). WeChat Pay writes all 40 digits.
const SERIAL_MAX: usize = 40;
/// The page of refunds says string(80) (merchant document 4013071036), and WeChat Pay counts bytes: see `wire`.
const REASON_MAX_BYTES: usize = 80;
/// The longest error code that is kept.
const CODE_MAX: usize = 64;

pub struct Wechat {
    account: Account,
    base_url: String,
    /// What the base URL puts before every path; the signature covers it.
    prefix: String,
    mchid: String,
    appids: Appids,
    merchant_serial: String,
    signer: Signer,
    opener: Opener,
    platform: Platform,
    /// The key by which answers are wanted signed, where the account has a public key.
    public_key_id: Option<String>,
}

/// The merchant's appids: one for all methods, and those of methods that have their own.
struct Appids {
    default: String,
    of_methods: BTreeMap<Method, String>,
}

impl Appids {
    fn of(&self, method: Method) -> &str {
        self.of_methods.get(&method).unwrap_or(&self.default)
    }

    /// Whether one of them is meant: answers do not say by which method a payment was asked for.
    fn has(&self, appid: &str) -> bool {
        self.default == appid || self.of_methods.values().any(|known| known == appid)
    }
}

/// What an answer is before its meaning is looked at.
enum Reply<'a> {
    /// 200 or 204, and signed by WeChat Pay.
    Signed(&'a [u8]),
    /// Another status; its code is empty where the body has none.
    Refused {
        status: u16,
        code: String,
    },
    Unbelieved(&'static str),
}

impl Wechat {
    /// # Errors
    /// Which piece of the credentials is malformed; the piece itself is never shown.
    pub fn new(name: &str, base_url: &str, credentials: Credentials) -> Result<Self, String> {
        let account = Account::new(Channel::Wechat, name);
        let malformed = |piece: &str, why: &str| format!("wechat account {name}: {piece} {why}");
        let is_id =
            |text: &str| (1..=ID_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let appids = credentials.appids.values().map(|appid| ("appids", appid));
        for (piece, text) in [("mchid", &credentials.mchid), ("appid", &credentials.appid)].into_iter().chain(appids) {
            if !is_id(text) {
                return Err(malformed(piece, "must be 1 to 32 of 0-9, A-Z, a-z"));
            }
        }
        let merchant_serial = credentials.merchant_serial;
        let is_hex = merchant_serial.bytes().all(|byte| byte.is_ascii_hexdigit());
        if merchant_serial.is_empty() || merchant_serial.len() > SERIAL_MAX || !is_hex {
            return Err(malformed("merchant_serial", "must be 1 to 40 hexadecimal digits"));
        }
        let base_url = base_url.trim_end_matches('/').to_owned();
        let prefix = Url::parse(&base_url)
            .ok()
            .filter(|url| matches!(url.scheme(), "https" | "http") && url.query().is_none() && url.fragment().is_none())
            .map(|url| url.path().trim_end_matches('/').to_owned())
            .ok_or_else(|| malformed("base_url", "must be an http or https address without a query"))?;
        let signer = Signer::new(&credentials.merchant_key).map_err(|why| malformed("merchant_key", &why))?;
        let opener = Opener::new(&credentials.api_v3_key).map_err(|why| malformed("api_v3_key", &why))?;
        let mut keys = Keys::new();
        for pem in &credentials.platform_certificates {
            let (number, key) =
                PlatformKey::of_certificate(pem).map_err(|why| malformed("platform_certificates", &why))?;
            keys.insert(number, key);
        }
        let certificates = if keys.is_empty() && credentials.public_key.is_some() {
            Certificates::OutOfUse
        } else {
            Certificates::InUse
        };
        let mut public_key_id = None;
        if let Some(PublicKey { id, pem }) = credentials.public_key {
            if !is_public_key_id(&id) {
                return Err(malformed("public_key_id", "must be PUB_KEY_ID_ and its number"));
            }
            let key = PlatformKey::of_public_key(&pem).map_err(|why| malformed("public_key", &why))?;
            keys.insert(serial(&id), key);
            public_key_id = Some(id);
        }
        let mchid = credentials.mchid;
        let appids = Appids { default: credentials.appid, of_methods: credentials.appids };
        let platform = Platform::new(keys, certificates);
        Ok(Wechat {
            account,
            base_url,
            prefix,
            mchid,
            appids,
            merchant_serial,
            signer,
            opener,
            platform,
            public_key_id,
        })
    }

    fn get(&self, path: &str, stamp: &Stamp) -> Outgoing {
        let url = format!("{}{path}", self.base_url);
        self.signed(Verb::Get, url, &format!("{}{path}", self.prefix), Vec::new(), stamp)
    }

    fn post(&self, path: &str, body: Vec<u8>, stamp: &Stamp) -> Outgoing {
        let url = format!("{}{path}", self.base_url);
        self.signed(Verb::Post, url, &format!("{}{path}", self.prefix), body, stamp)
    }

    /// A request whose signature covers `path`, which is the URL's path and query exactly as they are sent.
    fn signed(&self, verb: Verb, url: String, path: &str, body: Vec<u8>, stamp: &Stamp) -> Outgoing {
        let method = match verb {
            Verb::Get => "GET",
            Verb::Post => "POST",
        };
        let (timestamp, nonce) = (seconds(stamp), &stamp.nonce);
        let lines = [method.as_bytes(), path.as_bytes(), timestamp.as_bytes(), nonce.as_bytes(), &body];
        let signature = self.signer.sign(&lines);
        let authorization = format!(
            "{SCHEME} mchid=\"{}\",nonce_str=\"{nonce}\",timestamp=\"{timestamp}\",serial_no=\"{}\",signature=\"{signature}\"",
            self.mchid, self.merchant_serial
        );
        let mut headers = vec![
            ("authorization", authorization),
            ("accept", "application/json".into()),
            ("content-type", "application/json".into()),
        ];
        headers.extend(self.public_key_id.clone().map(|id| ("wechatpay-serial", id)));
        Outgoing { verb, url, headers, body }
    }

    fn reply<'a>(&self, stamp: &Stamp, answer: &'a Answer) -> Reply<'a> {
        match answer.status {
            200 | 204 => match self.platform.verify(&answer.headers, &answer.body, stamp.at) {
                Ok(()) => Reply::Signed(&answer.body),
                Err(disbelief) => Reply::Unbelieved(disbelief.why()),
            },
            400.. => {
                let code = parse::<Failure<'_>>(&answer.body).map(|failure| failure.code);
                let code = code.filter(|code| code.len() <= CODE_MAX).unwrap_or_default().into_owned();
                Reply::Refused { status: answer.status, code }
            }
            // 202 among them: what it says is not said yet.
            0..400 => Reply::Unbelieved("the answer's status says nothing"),
        }
    }

    fn read_created(&self, frozen: &str, stamp: &Stamp, answer: &Answer) -> Submitted {
        let outcome = match self.reply(stamp, answer) {
            Reply::Signed(body) => {
                let next_action = match (serde_json::from_str(frozen), parse::<Created<'_>>(body)) {
                    (Ok(Frozen::Order { product, return_url, expires_at, body }), Some(created)) => {
                        parse::<Asked<'_>>(body.get().as_bytes()).and_then(|asked| {
                            let order = Order { product, asked, return_url: return_url.as_deref(), expires_at };
                            self.next_action(&order, &created, stamp)
                        })
                    }
                    (Ok(Frozen::Impossible { .. }) | Err(_), _) | (Ok(Frozen::Order { .. }), None) => None,
                };
                if next_action.is_some() {
                    return Submitted { outcome: SendOutcome::Accepted { reference: None }, next_action };
                }
                SendOutcome::Unknown { why: "the answer has nothing to pay by".into() }
            }
            Reply::Unbelieved(why) => SendOutcome::Unknown { why: why.into() },
            Reply::Refused { status, code } => match of_create(status, &code) {
                Verdict::Declined => SendOutcome::Rejected { fault: Fault::Payment, code: told(status, code) },
                Verdict::OurFault => SendOutcome::Rejected { fault: Fault::Ours, code: told(status, code) },
                Verdict::Later => SendOutcome::Later { why: told(status, code) },
                Verdict::Open => SendOutcome::Unknown { why: told(status, code) },
            },
        };
        Submitted { outcome, next_action: None }
    }

    fn find(&self, attempt: &Attempted, body: &[u8]) -> Finding {
        let unknown = |why: &str| Finding::Unknown { why: why.into() };
        let Some(transaction) = parse::<Transaction<'_>>(body) else { return unknown("unreadable answer") };
        let is_ours =
            transaction.mchid == self.mchid && transaction.appid.as_deref().is_none_or(|appid| self.appids.has(appid));
        if !is_ours || transaction.out_trade_no != attempt.number.to_string() {
            return unknown("the answer speaks of another payment");
        }
        match trade(&transaction.trade_state) {
            None => unknown("the answer has an unknown state"),
            Some(Trade::Waiting) => Finding::Pending,
            Some(Trade::Closed) => Finding::Closed,
            Some(Trade::Declined) => Finding::Declined,
            Some(Trade::Paid) => match transaction.capture() {
                Some((reference, amount_minor, currency)) if wire::is_in(currency, attempt.currency) => {
                    Finding::Paid { reference: reference.into(), amount_minor, dated: transaction.dated() }
                }
                Some(_) => unknown("the answer has a capture in another currency"),
                None => unknown("the answer has no capture"),
            },
        }
    }

    fn refund_state(&self, ask: &RefundAsk, body: &[u8]) -> RefundOutcome {
        let unknown = |why: &str| RefundOutcome::Unknown { why: why.into() };
        let Some(refund) = parse::<Refunded<'_>>(body) else { return unknown("unreadable answer") };
        let is_asked = refund.out_refund_no == ask.refund_number
            && *refund.transaction_id == *ask.reference
            && refund.out_trade_no == ask.attempt.number.to_string()
            && refund.amount.refund == ask.amount_minor
            && wire::is_in(&refund.amount.currency, ask.attempt.currency);
        if !is_asked {
            return unknown("the answer speaks of another refund");
        }
        let reference = refund.refund_id.as_deref().filter(|text| wire::is_name(text)).map(Into::into);
        match refund_status(&refund.status) {
            Some(status) => refund_outcome(status, reference, refund.dated()),
            None => unknown("the answer has an unknown state"),
        }
    }
}

/// What a refund's state means, whether an answer or a notification tells it.
fn refund_outcome(status: RefundStatus, reference: Option<Box<str>>, dated: Dated) -> RefundOutcome {
    match status {
        RefundStatus::Processing => RefundOutcome::Pending { hold: Hold::Processing },
        RefundStatus::Success => RefundOutcome::Done { reference, dated },
        RefundStatus::Closed => RefundOutcome::Ended { code: "CLOSED".into() },
        RefundStatus::Abnormal => RefundOutcome::Stuck { code: "ABNORMAL".into() },
    }
}

/// The code of a refusal, or its status where it has none.
fn told(status: u16, code: String) -> Box<str> {
    if code.is_empty() { status.to_string().into() } else { code.into() }
}

impl Adapter for Wechat {
    fn account(&self) -> &Account {
        &self.account
    }

    fn freeze(&self, ask: &Ask<'_>) -> Box<str> {
        wire::freeze(self.appids.of(ask.method), &self.mchid, ask)
    }

    fn complete<'a>(&self, frozen: &'a str, payer: &Payer) -> Option<Cow<'a, str>> {
        wire::complete(frozen, payer)
    }

    fn submit(&self, frozen: &str, stamp: &Stamp) -> Submission {
        let outcome = match serde_json::from_str(frozen) {
            Ok(Frozen::Order { product, body, .. }) => {
                let path = format!("/v3/pay/transactions/{}", product.name());
                return Submission::Call(self.post(&path, body.get().as_bytes().to_vec(), stamp));
            }
            Ok(Frozen::Impossible { code }) => SendOutcome::Impossible { code: code.into() },
            Err(_) => SendOutcome::HeldBack { why: "the stored request cannot be read".into() },
        };
        Submission::Carried(Submitted { outcome, next_action: None })
    }

    fn read_submit(&self, frozen: &str, stamp: &Stamp, answer: &Answer) -> Submitted {
        self.read_created(frozen, stamp, answer)
    }

    fn says_later(&self, answer: &Answer) -> bool {
        let code = parse::<Failure<'_>>(&answer.body).map(|failure| failure.code);
        is_later(answer.status, code.as_deref().unwrap_or_default())
    }

    fn query(&self, attempt: &Attempted, stamp: &Stamp) -> Outgoing {
        let path = format!("/v3/pay/transactions/out-trade-no/{}?mchid={}", attempt.number, self.mchid);
        self.get(&path, stamp)
    }

    fn read_query(&self, attempt: &Attempted, stamp: &Stamp, answer: &Answer) -> Reading<Finding> {
        Reading::Told(match self.reply(stamp, answer) {
            Reply::Signed(body) => self.find(attempt, body),
            Reply::Refused { status: 404, code } if code == ORDER_NOT_EXIST => Finding::NotExist,
            Reply::Refused { status, code } => Finding::Unknown { why: told(status, code) },
            Reply::Unbelieved(why) => Finding::Unknown { why: why.into() },
        })
    }

    fn close(&self, attempt: &Attempted, stamp: &Stamp) -> Option<Outgoing> {
        let path = format!("/v3/pay/transactions/out-trade-no/{}/close", attempt.number);
        Some(self.post(&path, json(&Close { mchid: &self.mchid }), stamp))
    }

    fn read_close(&self, _attempt: &Attempted, stamp: &Stamp, answer: &Answer) -> Reading<CloseAnswer> {
        Reading::Told(match self.reply(stamp, answer) {
            Reply::Signed(_) if answer.status == 204 => CloseAnswer::Closed,
            Reply::Signed(_) => CloseAnswer::Unknown { why: "a close is answered by 204 alone".into() },
            // That it was paid, or is being paid, is for a query to tell.
            Reply::Refused { status, code } => CloseAnswer::Unknown { why: told(status, code) },
            Reply::Unbelieved(why) => CloseAnswer::Unknown { why: why.into() },
        })
    }

    fn refund(&self, ask: &RefundAsk, stamp: &Stamp) -> Outgoing {
        let refund = Refund {
            transaction_id: &ask.reference,
            out_refund_no: &ask.refund_number,
            reason: ask.reason.as_deref().map(|reason| &reason[..reason.floor_char_boundary(REASON_MAX_BYTES)]),
            notify_url: &ask.notify_url,
            amount: RefundTotal { refund: ask.amount_minor, total: ask.captured_minor, currency: CURRENCY },
        };
        self.post(REFUNDS, json(&refund), stamp)
    }

    fn read_refund(&self, ask: &RefundAsk, stamp: &Stamp, answer: &Answer) -> RefundOutcome {
        match self.reply(stamp, answer) {
            Reply::Signed(body) => self.refund_state(ask, body),
            Reply::Unbelieved(why) => RefundOutcome::Unknown { why: why.into() },
            // A query tells of the sends before it.
            Reply::Refused { status, code } if is_later(status, &code) => {
                RefundOutcome::NotSent { why: told(status, code) }
            }
            Reply::Refused { status, code } => match of_refund(status, &code) {
                Some(class) => RefundOutcome::Rejected { class, code: told(status, code) },
                None => RefundOutcome::Unknown { why: told(status, code) },
            },
        }
    }

    fn query_refund(&self, ask: &RefundAsk, stamp: &Stamp) -> Outgoing {
        self.get(&format!("{REFUNDS}/{}", ask.refund_number), stamp)
    }

    fn read_refund_query(&self, ask: &RefundAsk, stamp: &Stamp, answer: &Answer) -> RefundOutcome {
        match self.reply(stamp, answer) {
            Reply::Signed(body) => self.refund_state(ask, body),
            Reply::Unbelieved(why) => RefundOutcome::Unknown { why: why.into() },
            Reply::Refused { status: 404, code } if code == REFUND_NOT_EXIST => RefundOutcome::NotExist,
            Reply::Refused { status, code } => RefundOutcome::Unknown { why: told(status, code) },
        }
    }

    fn callback(&self, received: &Received<'_>, now: Instant) -> Result<Heard, CallbackError> {
        self.hear(received, now)
    }

    fn acknowledgement(&self) -> Acknowledgement {
        Acknowledgement { status: 204, content_type: "application/json", body: "" }
    }

    fn bill(&self, date: Date) -> Option<Bill<'_>> {
        let day = Day::in_beijing(date);
        Some(Bill { day, first: Box::new(bill::Address { wechat: self, day }) })
    }

    fn upkeep(&self, stamp: &Stamp) -> Option<Outgoing> {
        self.platform.ask(stamp.at).then(|| self.get(CERTIFICATES, stamp))
    }

    fn read_upkeep(&self, stamp: &Stamp, answer: &Answer) -> Result<(), String> {
        self.platform.take(answer, &self.opener, stamp.at)
    }
}
