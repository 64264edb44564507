//! The two demo platforms of the sandbox, and their absence outside it.

use crate::cli::Failure;
use crate::cli::platform::key_hash;
use crate::domain::id::PlatformId;
use crate::domain::order::FeeBearer;
use crate::engine::clock;
use crate::store::{Platform, Store};

pub struct Demo {
    name: &'static str,
    pub key: &'static str,
    pub webhook_secret: &'static str,
}

pub const DEMOS: [Demo; 2] = [
    Demo { name: "platform-a", key: "sk_sandbox_a", webhook_secret: "whsec_c2FuZGJveC1hLXdlYmhvb2stc2VjcmV0LTAwMDE=" },
    Demo { name: "platform-b", key: "sk_sandbox_b", webhook_secret: "whsec_c2FuZGJveC1iLXdlYmhvb2stc2VjcmV0LTAwMDI=" },
];

/// Makes the demo platforms, if they are not there.
pub async fn open(store: &dyn Store) -> Result<(), Failure> {
    for demo in &DEMOS {
        let hash = key_hash(demo.key);
        let id = match store.platform_by_name(demo.name).await? {
            Some(platform) => platform.id,
            None => {
                let platform = Platform {
                    id: PlatformId(0),
                    name: demo.name.into(),
                    fee_bearer: FeeBearer::Payer,
                    webhook_secret: demo.webhook_secret.into(),
                    webhook_url: None,
                };
                store.add_platform(&platform).await?
            }
        };
        if store.platform_by_key(&hash).await?.is_none() && store.keys(id).await?.is_empty() {
            store.add_key(id, &hash, demo.key, clock::now()).await?;
        }
    }
    Ok(())
}

/// Outside the sandbox everybody knows the demo keys, so they die.
pub async fn close(store: &dyn Store) -> Result<(), Failure> {
    for demo in &DEMOS {
        if let Some(platform) = store.platform_by_key(&key_hash(demo.key)).await? {
            store.revoke_keys(platform.id, Some(demo.key), clock::now()).await?;
            tracing::warn!(platform = demo.name, "the demo key of the sandbox was revoked");
        }
    }
    Ok(())
}
