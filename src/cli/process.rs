//! What the system lets this process do, and others do with it.

use std::future::Future;

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;

/// Raises the number of descriptors to what the system allows; how many there may be.
pub fn descriptors() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    match limit {
        Ok(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
        Err(error) => {
            tracing::warn!(%error, "the bound of descriptors cannot be raised");
            getrlimit(Resource::RLIMIT_NOFILE)
                .map_or(usize::MAX, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX))
        }
    }
}

/// Keeps the memory, which holds keys, from core files and from others under the same user, as `ops.dumpable` says. The
/// sandbox has no secrets and stays as the system made it.
pub fn guard_memory(config: &Config) {
    if config.sandbox || config.ops.dumpable {
        return;
    }
    if let Err(error) = prctl::set_dumpable(false) {
        tracing::warn!(%error, key = "ops.dumpable", "others may read this process's memory");
    }
}

/// Resolves on SIGTERM or SIGINT.
pub fn asked_to_stop() -> impl Future<Output = ()> {
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    async move {
        match (terminate, interrupt) {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "signals cannot be heard");
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_in_production_the_process_is_not_dumpable_unless_a_key_says_otherwise() {
        let mut config = Config::load(&[]).unwrap();
        let cases = [(true, false), (true, true), (false, true), (false, false)];
        let seen = cases.map(|(sandbox, allowed)| {
            prctl::set_dumpable(true).unwrap();
            (config.sandbox, config.ops.dumpable) = (sandbox, allowed);
            guard_memory(&config);
            prctl::get_dumpable().unwrap()
        });
        prctl::set_dumpable(true).unwrap();
        assert_eq!(seen, [true, true, true, false]);
    }

    #[test]
    fn descriptors_are_raised_to_the_hard_bound() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(descriptors() as u64, hard);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
    }
}
