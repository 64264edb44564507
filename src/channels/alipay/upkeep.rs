//! Alipay's certificates as they change. In certificate mode an answer names the one that it was signed with; one that
//! we do not have is a reason to ask for it, by `alipay.open.app.alipaycert.download`.
//!
//! Nobody signs what is brought, and nobody needs to: a certificate is taken only if the configured roots vouch for it
//! and it has the same holder as the one that the account was set up with, which is Alipay for this very merchant. Only
//! answers to our own calls are such a reason: whoever posts a notification may write any serial into it.
//!
//! Source: docs.open.alipay.com api_9/alipay.open.app.alipaycert.download and 291/twngcd; `AbstractAlipayClient` of the
//! official SDK for Java.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Alipay, keys, requests, wire};
use crate::channels::{Answer, Outgoing, Stamp};
use crate::domain::time::Instant;

/// Whatever answers say, we ask no more often than this.
const GAP_MS: i64 = 60_000;
/// An MD5 in hexadecimal digits.
const SN_LENGTH: usize = 32;

/// The certificate that is asked for.
#[derive(Default)]
pub struct Sought(Mutex<State>);

#[derive(Default)]
struct State {
    /// The last unknown one that an answer named; the next answer names it again.
    wanted: Option<String>,
    asked: Option<String>,
    asked_at: Option<Instant>,
}

impl Sought {
    /// Remembers an unknown serial as a reason to ask.
    pub fn want(&self, sn: &str) {
        if sn.len() == SN_LENGTH && sn.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            self.state().wanted = Some(sn.to_owned());
        }
    }

    fn ask(&self, now: Instant) -> Option<String> {
        let mut state = self.state();
        if state.asked_at.is_some_and(|at| now.since_ms(at) < GAP_MS) {
            return None;
        }
        let sn = state.wanted.clone()?;
        (state.asked, state.asked_at) = (Some(sn.clone()), Some(now));
        Some(sn)
    }

    fn found(&self, sn: &str) {
        let mut state = self.state();
        if state.wanted.as_deref() == Some(sn) {
            state.wanted = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Alipay {
    pub(super) fn ask_for_certificate(&self, stamp: &Stamp) -> Option<Outgoing> {
        let sn = self.sought.ask(stamp.at)?;
        Some(self.outgoing(requests::CERTIFICATE, requests::certificate(&sn), &[], stamp))
    }

    /// # Errors
    /// Why no certificate was taken; it is asked for again after a while.
    pub(super) fn take_certificate(&self, answer: &Answer) -> Result<(), String> {
        let sn = self.sought.state().asked.take().ok_or("no certificate was asked for")?;
        if answer.status != 200 {
            return Err(format!("the certificate {sn} was refused with status {}", answer.status));
        }
        let envelope = wire::envelope(&answer.body, requests::CERTIFICATE)?;
        let fields = wire::texts(envelope.content)?;
        match fields.get("code").map(String::as_str) {
            Some("10000") => {}
            code => {
                let why = fields.get("sub_code").map(String::as_str).or(code).unwrap_or("no code");
                return Err(format!("the certificate {sn} was refused: {}", super::short(why)));
            }
        }
        let pem = fields.get("alipay_cert_content").and_then(|text| keys::bare(text));
        let pem = pem.and_then(|pem| String::from_utf8(pem).ok()).ok_or("the answer brings no certificate")?;
        self.keys.learn(&sn, &pem).map_err(|why| format!("the certificate {sn} {why}"))?;
        self.sought.found(&sn);
        Ok(())
    }
}
