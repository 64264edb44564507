//! The two demo operators of the sandbox, and their absence outside it.

use crate::cli::Failure;
use crate::domain::operator::{Key, Person, Role};
use crate::domain::platform::KeyHash;
use crate::engine::changes::{Changes, Staffing};
use crate::store::Store;

struct Demo {
    name: &'static str,
    role: Role,
    key: &'static str,
}

/// Two, because what moves money is proposed by one and approved by another.
const DEMOS: [Demo; 2] = [
    Demo { name: "demo-admin", role: Role::Admin, key: DEMO_KEY },
    Demo { name: "demo-finance", role: Role::Finance, key: "ok_sandbox_2" },
];

/// Whose key a command shows in the sandbox where none is named.
pub const DEMO_KEY: &str = "ok_sandbox";

/// Adds the demo operators, if they are not there. A key that was revoked stays so.
pub async fn open(store: &dyn Store, changes: &Changes) -> Result<(), Failure> {
    for demo in &DEMOS {
        if store.operator_by_name(demo.name).await?.is_none() {
            let key = Key { expires_at: None, hash: KeyHash::of(demo.key), hint: demo.key.into() };
            let person = Person { name: demo.name.into(), role: demo.role };
            changes.staff(Staffing::Add { person, key }).await?;
        }
    }
    Ok(())
}

/// Outside the sandbox everybody knows the demo keys, so they die.
pub async fn close(store: &dyn Store, changes: &Changes) -> Result<(), Failure> {
    for demo in &DEMOS {
        if let Some((operator, _)) = store.operator_by_key(&KeyHash::of(demo.key).0).await? {
            let (name, hint) = (operator.name, Some(demo.key.into()));
            changes.staff(Staffing::RevokeKeys { name, hint }).await?;
            tracing::warn!(operator = demo.name, "the demo key of the sandbox was revoked");
        }
    }
    Ok(())
}
