//! The two demo platforms of the sandbox, and their absence outside it.

use crate::cli::Failure;
use crate::domain::order::FeeBearer;
use crate::domain::platform::{Key, KeyHash, Terms};
use crate::engine::changes::{Change, Changes};
use crate::store::Store;

pub struct Demo {
    name: &'static str,
    pub key: &'static str,
    pub webhook_secret: &'static str,
}

pub const DEMOS: [Demo; 2] = [
    Demo { name: "platform-a", key: "sk_sandbox_a", webhook_secret: "whsec_c2FuZGJveC1hLXdlYmhvb2stc2VjcmV0LTAwMDE=" },
    Demo { name: "platform-b", key: "sk_sandbox_b", webhook_secret: "whsec_c2FuZGJveC1iLXdlYmhvb2stc2VjcmV0LTAwMDI=" },
];

/// Makes the demo platforms, if they are not there. A key that was revoked stays so.
pub async fn open(store: &dyn Store, changes: &Changes) -> Result<(), Failure> {
    for demo in &DEMOS {
        if store.platform_by_name(demo.name).await?.is_none() {
            let terms = Terms { fee_bearer: FeeBearer::Payer, name: demo.name.into(), webhook_url: None };
            let key = Key { hash: KeyHash::of(demo.key), hint: demo.key.into() };
            changes.make(Change::CreatePlatform { terms, key, webhook_secret: demo.webhook_secret.into() }).await?;
        }
    }
    let [one, other] = DEMOS.each_ref().map(|demo| demo.name);
    let consents = store.share_consents().await?;
    if consents.is_empty() {
        for (platform, from) in [(one, other), (other, one)] {
            changes.make(Change::AcceptShares { platform: platform.into(), from: from.into() }).await?;
        }
    }
    Ok(())
}

/// Outside the sandbox everybody knows the demo keys, so they die.
pub async fn close(store: &dyn Store, changes: &Changes) -> Result<(), Failure> {
    for demo in &DEMOS {
        if let Some(platform) = store.platform_by_key(&KeyHash::of(demo.key).0).await? {
            let (platform, hint) = (platform.name.into(), Some(demo.key.into()));
            changes.make(Change::RevokeKeys { platform, hint }).await?;
            tracing::warn!(platform = demo.name, "the demo key of the sandbox was revoked");
        }
    }
    Ok(())
}
