//! Who asks: a platform, known by the hash of its key, or an operator.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use actix_web::{FromRequest, HttpRequest, web};
use aws_lc_rs::constant_time;
use dashmap::DashMap;
use tokio::sync::Semaphore;

use super::App;
use super::limits::Sender;
use super::problem::{ApiError, Code};
use crate::config::Config;
use crate::domain;
use crate::store::StoredPlatform;

/// Longer ones are none of ours.
const KEY_MAX: usize = 256;

pub type KeyHash = [u8; 32];

/// Keys that were good a moment ago. Only keys that exist get in, so their number bounds it.
pub struct Keys {
    known: DashMap<KeyHash, (Arc<StoredPlatform>, Instant)>,
    keep: Duration,
    /// Places for looking up keys that were never seen: made-up ones must not take all of the store's readers.
    strangers: Semaphore,
}

/// One reader is left to strangers; the others are for those who are known.
const STRANGERS_AT_ONCE: usize = 1;

impl Keys {
    pub fn new(config: &Config) -> Self {
        Keys {
            known: DashMap::new(),
            keep: Duration::from_millis(config.limits.key_cache_ms),
            strangers: Semaphore::new(STRANGERS_AT_ONCE),
        }
    }

    fn fresh(&self, hash: &KeyHash) -> Option<Arc<StoredPlatform>> {
        let known = self.known.get(hash)?;
        let (platform, since) = known.value();
        (since.elapsed() < self.keep).then(|| Arc::clone(platform))
    }
}

/// A platform that has shown its key and is within its limit.
pub struct Caller(pub Arc<StoredPlatform>);

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let app = request.app_data::<web::Data<App>>().cloned();
        let hash = bearer(request).map(hash);
        let sender = app.as_ref().map(|app| app.limits.sender(request));
        Box::pin(async move {
            let app = app.ok_or_else(ApiError::internal)?;
            let platform = app.platform(hash, sender.unwrap_or(Sender::Unknown)).await?;
            app.limits.request(platform.id)?;
            Ok(Caller(platform))
        })
    }
}

/// Somebody who has shown the operators' key. Without such a key in the configuration there is nothing to be found.
pub struct Operator;

impl FromRequest for Operator {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(operator(request))
    }
}

fn operator(request: &HttpRequest) -> Result<Operator, ApiError> {
    let app = request.app_data::<web::Data<App>>().ok_or_else(ApiError::internal)?;
    let expected = app.operator.as_ref().ok_or_else(ApiError::not_found)?;
    let given = bearer(request).map(hash);
    match given.is_some_and(|given| constant_time::verify_slices_are_equal(&given, expected).is_ok()) {
        true => Ok(Operator),
        false => {
            let refusal = ApiError::new(Code::Unauthenticated, "Send `Authorization: Bearer` and the operators' key.");
            Err(app.limits.failure(app.limits.sender(request), refusal.with_text(WWW_AUTHENTICATE, "Bearer")))
        }
    }
}

fn bearer(request: &HttpRequest) -> Option<&str> {
    let given = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = given.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty() && key.len() <= KEY_MAX).then_some(key)
}

pub fn hash(key: &str) -> KeyHash {
    domain::platform::KeyHash::of(key).0
}

impl App {
    async fn platform(&self, hash: Option<KeyHash>, sender: Sender) -> Result<Arc<StoredPlatform>, ApiError> {
        let Some(hash) = hash else { return Err(self.limits.failure(sender, unauthenticated())) };
        if let Some(platform) = self.keys.fresh(&hash) {
            return Ok(platform);
        }
        let _place = match self.keys.known.contains_key(&hash) {
            true => None,
            false => self.keys.strangers.acquire().await.ok(),
        };
        match self.store.platform_by_key(&hash).await? {
            Some(platform) => {
                let platform = Arc::new(platform);
                self.keys.known.insert(hash, (Arc::clone(&platform), Instant::now()));
                Ok(platform)
            }
            None => {
                self.keys.known.remove(&hash);
                Err(self.limits.failure(sender, unauthenticated()))
            }
        }
    }
}

fn unauthenticated() -> ApiError {
    ApiError::new(Code::Unauthenticated, "Send `Authorization: Bearer` and a platform's valid key.")
        .with_text(WWW_AUTHENTICATE, "Bearer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn only_a_bearer_key_of_sane_length_is_looked_at() {
        let long = format!("Bearer {}", "k".repeat(KEY_MAX + 1));
        let table = [
            ("Bearer sk_1", Some("sk_1")),
            ("bearer  sk_1 ", Some("sk_1")),
            ("Basic sk_1", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("sk_1", None),
            (&long, None),
        ];
        for (given, key) in table {
            let request = TestRequest::default().insert_header((AUTHORIZATION, given)).to_http_request();
            assert_eq!(bearer(&request), key, "{given}");
        }
        assert_eq!(bearer(&TestRequest::default().to_http_request()), None);
    }

    #[test]
    fn a_key_is_remembered_for_its_time_and_no_longer() {
        let mut config = Config::load(&[]).unwrap();
        config.limits.key_cache_ms = 20;
        let keys = Keys::new(&config);
        let platform = Arc::new(StoredPlatform {
            id: crate::domain::id::PlatformId(1),
            name: "shop".into(),
            fee_bearer: crate::domain::order::FeeBearer::Payer,
            webhook_secret: String::new(),
            webhook_url: None,
        });
        let key = hash("sk_1");
        assert!(keys.fresh(&key).is_none());
        keys.known.insert(key, (platform, Instant::now()));
        assert!(keys.fresh(&key).is_some());
        std::thread::sleep(Duration::from_millis(25));
        assert!(keys.fresh(&key).is_none());
    }
}
