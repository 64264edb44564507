//! What the sandbox makes for itself at first start: the keys that the server and the simulated gateway share.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

use super::{ConfigError, secret_file};

/// The accounts that the sandbox wires to the simulated gateway for `simpay`.
pub const SIMPAY_ACCOUNTS: [&str; 1] = ["default"];

/// The key of the sandbox's operators. Everybody knows it.
pub const OPERATOR_KEY: &str = "ok_sandbox";

/// Bytes of a simpay account key: the output size of SHA-256, beyond which HMAC gains nothing.
const SIMPAY_KEY_BYTES: usize = 32;

/// Where the sandbox keeps the key of a simpay account (base64 text).
pub fn simpay_key_file(data_dir: &Path, account: &str) -> PathBuf {
    data_dir.join("sandbox").join(format!("simpay-{account}.key"))
}

/// The key of a simpay account, made by whichever process asks first.
///
/// # Errors
/// The folder or the file cannot be made or read.
pub fn simpay_key(data_dir: &Path, account: &str) -> Result<SecretString, ConfigError> {
    let path = simpay_key_file(data_dir, account);
    if !path.exists() {
        make_key(&path)?;
    }
    secret_file(&path)
}

/// Writes the key under a name of its own and links it into place: the first of two processes wins, and no reader
/// ever sees half a key.
fn make_key(path: &Path) -> Result<(), ConfigError> {
    let failed = |error: std::io::Error| ConfigError(format!("sandbox key {}: {error}", path.display()));
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut key = [0u8; SIMPAY_KEY_BYTES];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| ConfigError("the system gives no randomness".into()))?;
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft).map_err(failed)?;
    file.write_all(STANDARD.encode(key).as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft).map_err(failed)?;
    match linked {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error)),
    }
}
