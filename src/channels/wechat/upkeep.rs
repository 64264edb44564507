//! WeChat Pay's signing keys as they come and go: public keys by configuration, platform certificates by asking.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use serde::Deserialize;

use super::SERIAL_MAX;
use super::keys::{Disbelief, Keys, PUBLIC_KEY_ID, PlatformKey, serial, verify};
use super::sealed::{Opener, Sealed};
use super::wire::parse;
use crate::channels::Answer;
use crate::domain::time::Instant;

const MINUTE_MS: i64 = 60_000;
/// Certificates must be asked for within every 12 hours.
const EVERY_MS: i64 = 30 * MINUTE_MS;
/// Whatever strangers write into a header, we ask no more often than this.
const GAP_MS: i64 = MINUTE_MS;
/// Serial numbers that are remembered as having been looked for. Beyond it the oldest is forgotten: strangers can write
/// any number of them into a header, and a true one must not be locked out by those.
const SOUGHT_MAX: usize = 16;
/// An account has one platform certificate, or two while they change.
const CERTIFICATES_MAX: usize = 32;

/// The keys, and what is known of their being up to date.
pub(super) struct Platform {
    keys: RwLock<Keys>,
    state: Mutex<State>,
    /// Whether certificates are asked for without a reason too.
    by_certificates: Certificates,
}

/// Whether this account's answers may be signed by platform certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certificates {
    InUse,
    /// A public key alone signs.
    OutOfUse,
}

#[derive(Default)]
struct State {
    asked_at: Option<Instant>,
    read_at: Option<Instant>,
    /// Serials that were not known, oldest first; each is a reason to ask once in [`EVERY_MS`].
    sought: VecDeque<(String, Instant)>,
    /// When the last of them came that no answer was read for.
    due_since: Option<Instant>,
}

#[derive(Deserialize)]
struct Listed {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    serial_no: String,
    encrypt_certificate: Sealed,
}

impl Platform {
    pub(super) fn new(keys: Keys, by_certificates: Certificates) -> Self {
        Platform { keys: RwLock::new(keys), state: Mutex::new(State::default()), by_certificates }
    }

    /// # Errors
    /// [`Disbelief`]; an unknown serial is remembered as a reason to ask for certificates.
    pub(super) fn verify(&self, headers: &[(String, String)], body: &[u8], now: Instant) -> Result<(), Disbelief> {
        let verdict = verify(&self.keys.read().unwrap_or_else(PoisonError::into_inner), headers, body, now);
        if let Err(Disbelief::UnknownSerial(serial)) = &verdict {
            self.state().seek(serial, now);
        }
        verdict
    }

    /// Whether it is time to ask for certificates; if so, this is the asking.
    pub(super) fn ask(&self, now: Instant) -> bool {
        let mut state = self.state();
        if state.asked_at.is_some_and(|at| now.since_ms(at) < GAP_MS) {
            return false;
        }
        let old = state.read_at.is_none_or(|at| now.since_ms(at) >= EVERY_MS);
        let is_due = state.due_since.is_some() || (old && self.by_certificates == Certificates::InUse);
        if is_due {
            state.asked_at = Some(now);
        }
        is_due
    }

    /// Takes over what a list of certificates holds, and lets go of certificates whose time is over.
    ///
    /// # Errors
    /// Why nothing of it was taken.
    pub(super) fn take(&self, answer: &Answer, opener: &Opener, now: Instant) -> Result<(), String> {
        self.state().answered();
        if answer.status != 200 {
            return Err(format!("certificates were refused with status {}", answer.status));
        }
        let fresh = read(&answer.body, opener)?;
        // The answer may be signed by a certificate that only the answer itself brings. That is no circle: it could be
        // decrypted, so it was made by who has the APIv3 key.
        {
            let known = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            match verify(&known, &answer.headers, &answer.body, now) {
                Err(Disbelief::UnknownSerial(_)) => verify(&fresh, &answer.headers, &answer.body, now),
                verdict => verdict,
            }
            .map_err(|disbelief| disbelief.why().to_owned())?;
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.extend(fresh);
        keys.retain(|_, key| key.has_future(now));
        self.state().read_at = Some(now);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn seek(&mut self, serial: &str, now: Instant) {
        let is_well_formed =
            (1..=SERIAL_MAX).contains(&serial.len()) && serial.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.sought.retain(|(_, at)| now.since_ms(*at) < EVERY_MS);
        if !is_well_formed || self.sought.iter().any(|(known, _)| known == serial) {
            return;
        }
        if self.sought.len() == SOUGHT_MAX {
            self.sought.pop_front();
        }
        self.sought.push_back((serial.to_owned(), now));
        self.due_since = Some(now);
    }

    /// Whatever it says, it was the answer: a serial that came before it was asked for, and that it does not explain, is
    /// refused for a while.
    fn answered(&mut self) {
        if self.asked_at >= self.due_since {
            self.due_since = None;
        }
    }
}

fn read(body: &[u8], opener: &Opener) -> Result<Keys, String> {
    let listed: Listed = parse(body).ok_or("the list of certificates cannot be read")?;
    if listed.data.len() > CERTIFICATES_MAX {
        return Err("the list of certificates is too long".into());
    }
    let mut keys = Keys::new();
    for entry in listed.data {
        let text = opener.open(&entry.encrypt_certificate).ok_or("a certificate cannot be decrypted")?;
        let pem = String::from_utf8(text).map_err(|_| "a certificate is no text")?;
        let (number, key) = PlatformKey::of_certificate(&pem).map_err(|why| format!("a certificate {why}"))?;
        if entry.serial_no.starts_with(PUBLIC_KEY_ID) || number != serial(&entry.serial_no) {
            return Err("a certificate has another serial number than its entry".into());
        }
        keys.insert(number, key);
    }
    Ok(keys)
}
