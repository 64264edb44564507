//! What the tests with the real binary share.
#![allow(dead_code)] // Each test file is a crate of its own and uses a part of it.

pub mod accounts;
pub mod app;
pub mod beside;
pub mod books;
pub mod client;
pub mod door;
pub mod far_ends;
pub mod forger;
pub mod gateway;
pub mod keys;
pub mod meddler;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod receiver;
pub mod refunds;
pub mod ways;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static UNIQUE: AtomicU32 = AtomicU32::new(0);

/// A name that nobody else uses.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}-{}", std::process::id(), UNIQUE.fetch_add(1, Ordering::Relaxed))
}

/// How often something that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// Looks until there is something to see.
///
/// # Panics
/// When there is nothing after `within`; `what` says what was waited for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, within: Duration, look: impl Fn() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

pub const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// A folder that goes when its test ends well, and stays for a look when it does not.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(unique("tongbao-journey"));
        std::fs::create_dir_all(&path).expect("a temporary folder is made");
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what is left of it: {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
