//! `Idempotency-Key`: the same answer to the same request, for as long as answers are kept.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName};
use aws_lc_rs::digest::{Context, SHA256};

use super::App;
use super::problem::{ApiError, Code};
use crate::actors::clock;
use crate::domain::id::PlatformId;
use crate::store::KeptAnswer;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const KEY_MAX: usize = 255;

pub type Fingerprint = [u8; 32];

/// What is on record under a key.
pub enum Kept {
    Nothing,
    Same { status: StatusCode, body: String },
}

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

pub fn in_progress() -> ApiError {
    ApiError::new(Code::RequestInProgress, "Wait for its answer, then ask again.").retry_after(1)
}

impl App {
    pub(super) async fn kept(
        &self,
        platform: PlatformId,
        key: &str,
        fingerprint: &Fingerprint,
    ) -> Result<Kept, ApiError> {
        match self.store.answer(platform, key).await? {
            None => Ok(Kept::Nothing),
            Some(answer) if answer.fingerprint == *fingerprint => {
                let status = StatusCode::from_u16(answer.status).map_err(|_| ApiError::internal())?;
                Ok(Kept::Same { status, body: answer.body.into() })
            }
            Some(_) => {
                Err(ApiError::new(Code::IdempotencyKeyReused, "This key was used with another method, path or body."))
            }
        }
    }

    /// Makes a 2xx answer durable before it is given. If that fails, what was asked for has happened all the same.
    pub(super) async fn keep(
        &self,
        platform: PlatformId,
        key: &str,
        fingerprint: Fingerprint,
        status: StatusCode,
        body: &str,
    ) -> Result<(), ApiError> {
        let answer = KeptAnswer {
            platform,
            key: key.into(),
            fingerprint,
            status: status.as_u16(),
            body: body.into(),
            at: clock::now(),
        };
        self.registry.keep_answer(answer).await.map_err(|_| ApiError::outcome_unknown())
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
