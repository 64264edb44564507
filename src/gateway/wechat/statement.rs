//! Where a day's bill is: an address that is good for five minutes, and the file behind it, signed by nobody.
//!
//! The true gateway has a bill on the next day from ten, and answers `STATEMENT_CREATING` until then. Nobody waits for
//! that in a sandbox: here a day can be asked for as soon as it has begun, and holds what moved before the address was
//! made.

use std::collections::BTreeMap;
use std::io::Write;

use actix_web::http::StatusCode;
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::bill::{self, Contents, Holder, Kind};
use super::calls::{Caller, Done};
use super::failure::Failure;
use crate::gateway::Gateway;
use crate::gateway::accounts::Channel;
use crate::gateway::books::Moment;
use crate::gateway::faults::Fault;

const LIVES_MS: i64 = 5 * 60 * 1_000;

/// What an address stands for.
struct Ticket<'a> {
    day: &'a str,
    kind: Kind,
    form: Form,
    made_at: i64,
}

/// `tar_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Gzip,
}

impl Form {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "" => Some(Form::Plain),
            "GZIP" => Some(Form::Gzip),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Form::Plain => "",
            Form::Gzip => "GZIP",
        }
    }
}

impl Ticket<'_> {
    fn text(&self, mchid: &str) -> String {
        format!("{mchid}.{}.{}.{}.{}", self.day, self.kind.name(), self.form.name(), self.made_at)
    }
}

/// The answer with the address. `home` is this gateway as the caller names it.
pub fn address(gateway: &Gateway, caller: Caller<'_>, query: &str, home: &str, now: i64) -> Result<Done, Failure> {
    let parameters = parameters(query)?;
    let day = parameters.get("bill_date").ok_or_else(|| Failure::param("`bill_date` is missing"))?;
    let kind = Kind::parse(parameters.get("bill_type").map_or("ALL", String::as_str));
    let kind = kind.ok_or_else(|| Failure::param("`bill_type` must be ALL, SUCCESS or REFUND"))?;
    let form = Form::parse(parameters.get("tar_type").map_or("", String::as_str));
    let form = form.ok_or_else(|| Failure::param("`tar_type` must be GZIP"))?;
    let ticket = Ticket { day, kind, form, made_at: now };
    let file = file(gateway, caller, &ticket)?;
    // Of the plain file, however it travels.
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, file.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let text = ticket.text(&caller.wire.merchant.mchid);
    let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&gateway.wechat.bill_key, text.as_bytes()));
    let url = format!("{home}/wechat/v3/billdownload/file?token={text}.{tag}");
    Ok(Done::ok(&json!({ "hash_type": "SHA1", "hash_value": hash, "download_url": url }), Fault::NONE))
}

/// The file behind an address.
pub fn download(gateway: &Gateway, caller: Caller<'_>, query: &str, now: i64) -> Result<Vec<u8>, Failure> {
    let parameters = parameters(query)?;
    let token = parameters.get("token").ok_or_else(|| Failure::param("`token` is missing"))?;
    let (text, tag) = token.rsplit_once('.').ok_or_else(Failure::resource_not_exists)?;
    let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| Failure::resource_not_exists())?;
    hmac::verify(&gateway.wechat.bill_key, text.as_bytes(), &tag).map_err(|_| Failure::resource_not_exists())?;
    let parts: Vec<&str> = text.split('.').collect();
    let [mchid, day, kind, form, made_at] = parts[..] else { return Err(Failure::resource_not_exists()) };
    let (Some(kind), Some(form), Ok(made_at)) = (Kind::parse(kind), Form::parse(form), made_at.parse::<i64>()) else {
        return Err(Failure::resource_not_exists());
    };
    if mchid != caller.wire.merchant.mchid {
        return Err(Failure::new(StatusCode::FORBIDDEN, "NO_AUTH", "the bill is another merchant's"));
    }
    if now.saturating_sub(made_at) > LIVES_MS {
        return Err(Failure::resource_not_exists());
    }
    let file = file(gateway, caller, &Ticket { day, kind, form, made_at })?;
    match form {
        Form::Plain => Ok(file.into_bytes()),
        Form::Gzip => gzipped(file.as_bytes()).map_err(|_| Failure::broken()),
    }
}

fn gzipped(file: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(file)?;
    encoder.finish()
}

fn file(gateway: &Gateway, caller: Caller<'_>, ticket: &Ticket<'_>) -> Result<String, Failure> {
    let (from, until) = bill::span(ticket.day).ok_or_else(|| Failure::param("`bill_date` must be yyyy-MM-dd"))?;
    if from > ticket.made_at {
        return Err(Failure::invalid("`bill_date` has not come yet"));
    }
    let until = until.min(ticket.made_at);
    let merchant = &caller.wire.merchant;
    let appid = merchant.appids.first().map_or("", String::as_str);
    let holder = Holder { appid, mchid: &merchant.mchid };
    let captures = gateway.books.captured_between(caller.account, from, until);
    // By when they were asked for, whatever became of them.
    let refunds = gateway.books.refunds_between(caller.account, Moment::Taken, from, until);
    let contents = Contents { captures: &captures, refunds: &refunds, cost: gateway.costs.of(Channel::Wechat) };
    bill::file(ticket.kind, holder, contents, ticket.made_at)
        .ok_or_else(|| Failure::new(StatusCode::BAD_REQUEST, "NO_STATEMENT_EXIST", "nothing moved on that day"))
}

/// The parameters of an address, each once.
pub fn parameters(query: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut parameters = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
            return Err(Failure::param("a parameter comes twice"));
        }
    }
    Ok(parameters)
}
