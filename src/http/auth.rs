//! Who asks: a platform or an operator, known by the hash of a key.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use actix_web::{FromRequest, HttpRequest, web};
use dashmap::DashMap;
use tokio::sync::Semaphore;

use super::App;
use super::limits::Sender;
use super::problem::{ApiError, Code};
use crate::config::Config;
use crate::domain;
use crate::domain::operator::{self, Right, Role};
use crate::engine::clock;
use crate::store::{StoreError, StoredOperator, StoredPlatform};

/// Longer ones are none of ours.
const KEY_MAX: usize = 256;

/// How operators' keys begin.
pub const OPERATOR_PREFIX: &str = "ok_";

pub type KeyHash = [u8; 32];

/// Keys that were good a moment ago, and whose they are. Only keys that exist get in, so their number bounds it.
pub struct Keys<P> {
    known: DashMap<KeyHash, (Arc<P>, Instant)>,
    keep: Duration,
    /// Places for looking up keys that were never seen: made-up ones must not take all of the store's readers.
    strangers: Arc<Semaphore>,
}

/// One reader is left to strangers; the others are for those who are known.
const STRANGERS_AT_ONCE: usize = 1;

/// The places of strangers, whoever they say they are.
pub fn strangers() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(STRANGERS_AT_ONCE))
}

impl<P> Keys<P> {
    pub fn new(config: &Config, strangers: Arc<Semaphore>) -> Self {
        Keys { known: DashMap::new(), keep: Duration::from_millis(config.limits.key_cache_ms), strangers }
    }

    /// Whoever is known is looked up again.
    pub fn forget(&self) {
        self.known.clear();
    }

    fn fresh(&self, hash: &KeyHash) -> Option<Arc<P>> {
        let known = self.known.get(hash)?;
        let (owner, since) = known.value();
        (since.elapsed() < self.keep).then(|| Arc::clone(owner))
    }

    /// Whose key it is, looked up by `look` where that was not done a moment ago.
    async fn owner<L>(&self, hash: KeyHash, look: L) -> Result<Option<Arc<P>>, ApiError>
    where
        L: Future<Output = Result<Option<P>, StoreError>>,
    {
        if let Some(owner) = self.fresh(&hash) {
            return Ok(Some(owner));
        }
        let _place = match self.known.contains_key(&hash) {
            true => None,
            false => self.strangers.acquire().await.ok(),
        };
        match look.await? {
            Some(owner) => {
                let owner = Arc::new(owner);
                self.known.insert(hash, (Arc::clone(&owner), Instant::now()));
                Ok(Some(owner))
            }
            None => {
                self.known.remove(&hash);
                Ok(None)
            }
        }
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

/// What the routes at a path ask of operators, by method.
pub struct Rights(pub Vec<(&'static str, Right)>);

/// An operator and the key that was shown.
pub struct Person {
    pub operator: StoredOperator,
    key: operator::Key,
}

/// Somebody who has shown an operator's key that is in force, and whose role may what the route asks.
pub struct Operator(pub Arc<Person>);

impl Operator {
    pub fn name(&self) -> &str {
        &self.0.operator.name
    }

    /// # Errors
    /// The person's role may not.
    pub fn allowed(&self, right: Right) -> Result<(), ApiError> {
        allowed(self.0.operator.role, right)
    }

    /// By what the person is known in this request.
    pub fn key_hint(&self) -> &str {
        &self.0.key.hint
    }
}

impl FromRequest for Operator {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let app = request.app_data::<web::Data<App>>().cloned();
        let key = bearer(request).map(|key| (hash(key), key.starts_with(OPERATOR_PREFIX)));
        let sender = app.as_ref().map(|app| app.limits.sender(request));
        let rights = request.app_data::<Rc<Rights>>().cloned();
        let method = request.method().clone();
        let path = request.path().to_owned();
        Box::pin(async move {
            let app = app.ok_or_else(ApiError::internal)?;
            let wanted = rights.and_then(|rights| {
                rights.0.iter().find(|(known, _)| *known == method.as_str()).map(|(_, right)| *right)
            });
            let right = wanted.ok_or_else(ApiError::internal)?;
            let did = format!("{method} {path}");
            let person = match key {
                Some((hash, _)) => app.person(hash).await?,
                None => None,
            };
            let Some(person) = person else {
                if key.is_some_and(|(_, is_operators)| is_operators) {
                    app.note_refusal("unknown", "request", &did, Code::Unauthenticated);
                }
                return Err(app.limits.failure(sender.unwrap_or(Sender::Unknown), nobody()));
            };
            if let Err(refusal) = allowed(person.operator.role, right) {
                app.note_refusal(&person.operator.name, "request", &did, refusal.code);
                return Err(refusal);
            }
            Ok(Operator(person))
        })
    }
}

fn bearer(request: &HttpRequest) -> Option<&str> {
    let given = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = given.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty() && key.len() <= KEY_MAX).then_some(key)
}

fn hash(key: &str) -> KeyHash {
    domain::platform::KeyHash::of(key).0
}

impl App {
    async fn platform(&self, hash: Option<KeyHash>, sender: Sender) -> Result<Arc<StoredPlatform>, ApiError> {
        let Some(hash) = hash else { return Err(self.limits.failure(sender, unauthenticated())) };
        let found = self.keys.owner(hash, self.store.platform_by_key(&hash)).await?;
        found.ok_or_else(|| self.limits.failure(sender, unauthenticated()))
    }

    /// Whose key it is, where it is in force.
    async fn person(&self, hash: KeyHash) -> Result<Option<Arc<Person>>, ApiError> {
        let look = async {
            let found = self.store.operator_by_key(&hash).await?;
            Ok(found.map(|(operator, key)| Person { operator, key }))
        };
        let found = self.operators.owner(hash, look).await?;
        Ok(found.filter(|person| person.key.is_in_force(clock::now())))
    }
}

fn allowed(role: Role, right: Right) -> Result<(), ApiError> {
    match role.may(right) {
        true => Ok(()),
        false => {
            let (role, roles) = (role.name(), right.roles());
            Err(ApiError::new(Code::ForbiddenRole, format!("The role {role} may not; who may: {roles}.")))
        }
    }
}

fn nobody() -> ApiError {
    ApiError::new(Code::Unauthenticated, "Send `Authorization: Bearer` and an operator's key that is in force.")
        .with_text(WWW_AUTHENTICATE, "Bearer")
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
        let keys = Keys::new(&config, strangers());
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
