//! `Idempotency-Key`: the same answer to the same request, for as long as answers are kept.
//!
//! What a request changes is committed together with its claim to the key, and its answer is kept after that. Whoever
//! repeats a request whose answer was lost in between is shown what became of the order. No kept answer holds a
//! `next_action`: on its way out it gets the one that the order has now.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName};
use aws_lc_rs::digest::{Context, SHA256};

use super::App;
use super::problem::{ApiError, Code};
use super::reservations::{Reservation, Reserved};
use crate::domain::id::PlatformId;
use crate::engine::lane::Admission;
use crate::store::{Claim, GivenAnswer, KeptAnswer, Unit};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const KEY_MAX: usize = 255;

/// Where a body tells that nothing remains to be done. Quotes within texts are escaped and metadata are texts, so in
/// an order it stands at one place only.
const NO_NEXT_ACTION: &str = r#""next_action":null"#;

pub type Fingerprint = [u8; 32];

/// The request's key, if it has one.
///
/// # Errors
/// The key is empty, too long, not visible ASCII, or there are two.
pub fn key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY);
    let Some(first) = given.next() else { return Ok(None) };
    let key = first.to_str().ok().filter(|key| {
        (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) && given.next().is_none()
    });
    let invalid = || ApiError::new(Code::IdempotencyKeyInvalid, "One key of 1 to 255 visible ASCII characters.");
    key.map(Some).ok_or_else(invalid)
}

/// What makes a request the same: method, path and body, each ended so that none runs into the next.
pub fn fingerprint(method: &str, path: &str, body: &[u8]) -> Fingerprint {
    let mut context = Context::new(&SHA256);
    for part in [method.as_bytes(), b"\n", path.as_bytes(), b"\n", body] {
        context.update(part);
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

fn in_progress() -> ApiError {
    ApiError::new(Code::RequestInProgress, "Wait for its answer, then ask again.").retry_after(1)
}

/// The body of a kept answer with what remains to be done by now.
pub fn with_next_action(body: &str, next_action: Option<&str>) -> String {
    match next_action {
        Some(action) => body.replacen(NO_NEXT_ACTION, &format!("\"next_action\":{action}"), 1),
        None => body.to_owned(),
    }
}

impl App {
    /// Takes a key for a request, for as long as the reservation lives; with what was answered under it before.
    ///
    /// # Errors
    /// A request under the key is on its way, the key was used for another one, or the store is away.
    pub(super) async fn take_key(
        &self,
        platform: PlatformId,
        key: &str,
        fingerprint: &Fingerprint,
    ) -> Result<(Reservation<'_>, Option<KeptAnswer>), ApiError> {
        let reservation = match self.running.reserve(platform, key) {
            Reserved::Mine(reservation) => reservation,
            Reserved::Busy(_) => return Err(in_progress()),
        };
        // While a commit's outcome is open, a claim that can be read may still vanish with what it claims.
        if self.lanes.is_away() {
            return Err(ApiError::store_unavailable());
        }
        match self.store.answer(platform, key).await? {
            Some(kept) if kept.claim.fingerprint != *fingerprint => {
                Err(ApiError::new(Code::IdempotencyKeyReused, "This key was used with another method, path or body."))
            }
            kept => Ok((reservation, kept)),
        }
    }

    /// Makes a 2xx answer durable before it is given. If that fails, what was asked for has happened all the same.
    pub(super) async fn keep(&self, claim: Claim, status: StatusCode, body: String) -> Result<(), ApiError> {
        let given = GivenAnswer { status: status.as_u16(), body: body.into() };
        let kept = KeptAnswer { claim, given: Some(given) };
        let unit = Unit::Answer(Box::new(kept));
        self.lanes.write(Admission::Existing, unit).await.map_err(|_| ApiError::outcome_unknown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn headers(keys: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for key in keys {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_str(key).unwrap());
        }
        headers
    }

    #[test]
    fn a_key_is_one_of_1_to_255_visible_characters() {
        assert_eq!(key(&headers(&[])).unwrap(), None);
        assert_eq!(key(&headers(&["a-1!~"])).unwrap(), Some("a-1!~"));
        assert!(key(&headers(&[&"k".repeat(255)])).unwrap().is_some());
        for keys in [&[""][..], &[&"k".repeat(256)], &["a b"], &["a", "a"]] {
            assert_eq!(key(&headers(keys)).unwrap_err().code, Code::IdempotencyKeyInvalid, "{keys:?}");
        }
        let mut foreign = HeaderMap::new();
        foreign.insert(IDEMPOTENCY_KEY, HeaderValue::from_bytes("é".as_bytes()).unwrap());
        assert!(key(&foreign).is_err());
    }

    #[test]
    fn a_kept_answer_is_told_with_what_remains_to_be_done_now() {
        let metadata = r#""metadata":{"next_action":"null","n":"\"next_action\":null"}"#;
        let body = format!(r#"{{{metadata},"next_action":null,"state":"submitted"}}"#);
        let action = r#"{"type":"qr_code","qr_code":"x"}"#;
        let told = format!(r#"{{{metadata},"next_action":{action},"state":"submitted"}}"#);
        assert_eq!(with_next_action(&body, Some(action)), told);
        assert_eq!(with_next_action(&body, None), body);
    }

    #[test]
    fn another_method_path_or_body_is_another_request() {
        let one = fingerprint("POST", "/a", b"{}");
        assert_eq!(one, fingerprint("POST", "/a", b"{}"));
        for other in
            [fingerprint("PUT", "/a", b"{}"), fingerprint("POST", "/b", b"{}"), fingerprint("POST", "/a", b"{ }")]
        {
            assert_ne!(one, other);
        }
    }
}
