//! In place of `sandbox.rs` in a build without the feature `sandbox`.

use std::path::Path;

use super::ConfigError;

/// # Errors
/// The configuration asks for the sandbox.
pub fn check(wanted: bool) -> Result<(), ConfigError> {
    if wanted { Err(absent()) } else { Ok(()) }
}

/// Credentials that the sandbox would make for itself.
pub trait Made: Sized {
    /// # Errors
    /// Always: there is no sandbox.
    fn made(data_dir: &Path, account: &str) -> Result<Self, ConfigError>;
}

impl<C> Made for C {
    fn made(_: &Path, _: &str) -> Result<Self, ConfigError> {
        Err(absent())
    }
}

fn absent() -> ConfigError {
    ConfigError("`sandbox` must be false: this build has no sandbox (it was made without the feature `sandbox`)".into())
}
