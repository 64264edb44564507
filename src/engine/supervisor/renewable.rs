//! The adapter of an account, whose credentials may be renewed while it is in use.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Notify;

use crate::channels::{Adapter, CallbackError, Heard, Received};
use crate::domain::id::Account;
use crate::domain::time::Instant;

pub struct Renewable {
    account: Account,
    adapters: RwLock<Adapters>,
    renewed: Notify,
}

struct Adapters {
    current: Arc<dyn Adapter>,
    /// What was current before: a gateway goes on signing with the old key for a while.
    previous: Option<Arc<dyn Adapter>>,
}

impl Renewable {
    pub fn new(adapter: Arc<dyn Adapter>) -> Self {
        let account = adapter.account().clone();
        let adapters = RwLock::new(Adapters { current: adapter, previous: None });
        Renewable { account, adapters, renewed: Notify::new() }
    }

    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Whoever builds a request with it must read the answer with it too.
    pub fn current(&self) -> Arc<dyn Adapter> {
        self.adapters.read().unwrap_or_else(PoisonError::into_inner).current.clone()
    }

    /// Puts an adapter with other credentials of the same account in its place. What was current is believed in
    /// callbacks until the next renewal, so that a second one ends the trust in a key that was lost.
    pub fn renew(&self, adapter: Arc<dyn Adapter>) {
        let mut adapters = self.adapters.write().unwrap_or_else(PoisonError::into_inner);
        adapters.previous = Some(std::mem::replace(&mut adapters.current, adapter));
        drop(adapters);
        self.renewed.notify_one();
    }

    pub async fn renewed(&self) {
        self.renewed.notified().await;
    }

    /// Verifies and reads a callback, with the previous credentials if the current ones do not make it believable.
    ///
    /// # Errors
    /// Why the current credentials do not.
    pub fn callback(&self, received: &Received<'_>, now: Instant) -> Result<Heard, CallbackError> {
        let (current, previous) = {
            let adapters = self.adapters.read().unwrap_or_else(PoisonError::into_inner);
            (adapters.current.clone(), adapters.previous.clone())
        };
        let error = match current.callback(received, now) {
            Ok(heard) => return Ok(heard),
            Err(error) => error,
        };
        match previous.map(|previous| previous.callback(received, now)) {
            Some(Ok(heard)) => Ok(heard),
            Some(Err(_)) | None => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use secrecy::SecretString;

    use super::*;
    use crate::channels::simpay::Simpay;

    const NOW: Instant = Instant(1_800_000_000_000);
    const BODY: &str = r#"{"event":"payment.succeeded","id":"cb_1","number":"01J0000000000000000000000000","account":"default","reference":"SP1","amount_minor":1,"currency":"CNY","paid_at":1}"#;

    fn adapter(key: &str) -> Arc<dyn Adapter> {
        let key = SecretString::from(STANDARD.encode(key));
        Arc::new(Simpay::new("default", "http://gateway", &key).unwrap())
    }

    /// The headers of [`BODY`] as a gateway with this key sends it.
    fn headers(key: &str) -> Vec<(String, String)> {
        let (timestamp, nonce) = ("1800000000", "0123456789abcdef");
        let text = format!("CALLBACK\ndefault\n{timestamp}\n{nonce}\n{BODY}\n");
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text.as_bytes());
        let signature = STANDARD.encode(signature);
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            header("simpay-account", "default"),
            header("simpay-timestamp", timestamp),
            header("simpay-nonce", nonce),
            header("simpay-signature", &signature),
        ]
    }

    #[test]
    fn the_key_before_the_last_renewal_is_still_believed_and_the_one_before_that_is_not() {
        let [first, second, third] = ["1".repeat(32), "2".repeat(32), "3".repeat(32)];
        let renewable = Renewable::new(adapter(&first));
        let believed = |key: &str| {
            let headers = headers(key);
            renewable.callback(&Received { headers: &headers, body: BODY.as_bytes() }, NOW).is_ok()
        };
        assert_eq!([believed(&first), believed(&second), believed(&third)], [true, false, false]);
        renewable.renew(adapter(&second));
        assert_eq!([believed(&first), believed(&second), believed(&third)], [true, true, false]);
        renewable.renew(adapter(&third));
        assert_eq!([believed(&first), believed(&second), believed(&third)], [false, true, true]);
    }
}
