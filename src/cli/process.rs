//! What the system lets this process do, and others do with it.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

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

/// Keeps the memory, which holds keys, from core files and from others under the same user.
pub fn forbid_dumps() {
    if let Err(error) = prctl::set_dumpable(false) {
        tracing::warn!(%error, key = "ops.dumpable", "others may read this process's memory");
    }
}
