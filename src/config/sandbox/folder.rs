//! Files that belong together and are made once, although several processes may start at the same time.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::config::{ConfigError, is_account_name, secret_file};

/// The files of one account, as name and content.
pub type Files = Vec<(&'static str, String)>;

/// A folder in which all files of an account are.
pub struct Folder(PathBuf);

pub fn path(data_dir: &Path, channel: &str, account: &str) -> PathBuf {
    data_dir.join("sandbox").join(format!("{channel}-{account}"))
}

/// The accounts of a channel that have keys here.
///
/// # Errors
/// The folder is there and cannot be read.
pub fn accounts(data_dir: &Path, channel: &str) -> Result<BTreeSet<String>, ConfigError> {
    let folder = data_dir.join("sandbox");
    let failed = |error: std::io::Error| failure(&folder, &error);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut accounts = BTreeSet::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let account = name.to_str().and_then(|name| name.strip_prefix(channel)?.strip_prefix('-'));
        // A simpay account is a file. What is being made has another ending, and so no name of an account.
        let account = account.map(|account| account.strip_suffix(".key").unwrap_or(account));
        accounts.extend(account.filter(|account| is_account_name(account)).map(str::to_owned));
    }
    Ok(accounts)
}

impl Folder {
    /// Opens the folder of an account, and makes it with all its files if it is not there. They are written beside
    /// it and renamed into place together: the first of two processes wins, and no reader ever sees half of them.
    pub fn open(
        data_dir: &Path,
        channel: &str,
        account: &str,
        make: impl FnOnce() -> Result<Files, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let folder = path(data_dir, channel, account);
        if folder.exists() {
            return Ok(Folder(folder));
        }
        let failed = |error: std::io::Error| failure(&folder, &error);
        tracing::info!(channel, account, "making the sandbox's keys, once");
        let files = make()?;
        let draft = draft_of(&folder);
        if draft.exists() {
            std::fs::remove_dir_all(&draft).map_err(failed)?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&draft).map_err(failed)?;
        for (name, content) in files {
            write(&draft.join(name), content.as_bytes()).map_err(failed)?;
        }
        match std::fs::rename(&draft, &folder) {
            Ok(()) => Ok(Folder(folder)),
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                std::fs::remove_dir_all(&draft).map_err(failed)?;
                Ok(Folder(folder))
            }
            Err(error) => Err(failed(error)),
        }
    }

    pub fn secret(&self, name: &str) -> Result<SecretString, ConfigError> {
        secret_file(&self.0.join(name))
    }

    pub fn text(&self, name: &str) -> Result<String, ConfigError> {
        let path = self.0.join(name);
        let text = std::fs::read_to_string(&path).map_err(|error| failure(&path, &error))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// Makes one file, if it is not there: the first of two processes wins.
pub fn write_once(path: &Path, content: &[u8]) -> Result<(), ConfigError> {
    let failed = |error: std::io::Error| failure(path, &error);
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    let draft = draft_of(path);
    write(&draft, content).map_err(failed)?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft).map_err(failed)?;
    match linked {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn draft_of(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.draft", std::process::id()))
}

fn failure(path: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError(format!("sandbox key {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    /// A folder of this test alone.
    fn data_dir(test: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("tongbao-folder-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn a_folder_is_made_once_and_kept() {
        let dir = data_dir("once");
        let files = |content: &str| Ok(vec![("one", content.to_owned()), ("two", "2\n".to_owned())]);
        let open = |content| Folder::open(&dir, "stripe", "default", || files(content)).unwrap();
        assert_eq!(open("first").secret("one").unwrap().expose_secret(), "first");
        assert_eq!(open("second").secret("one").unwrap().expose_secret(), "first");
        assert_eq!(open("second").text("two").unwrap(), "2");
        assert!(open("second").text("three").unwrap_err().to_string().contains("three"));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn of_two_that_make_a_folder_at_once_one_wins_whole() {
        let dir = data_dir("race");
        let other = path(&dir, "stripe", "default");
        let folder = Folder::open(&dir, "stripe", "default", || {
            std::fs::create_dir_all(&other).unwrap();
            std::fs::write(other.join("one"), "theirs").unwrap();
            Ok(vec![("one", "ours".to_owned())])
        });
        assert_eq!(folder.unwrap().text("one").unwrap(), "theirs");
        let left: Vec<_> = std::fs::read_dir(dir.join("sandbox")).unwrap().collect();
        assert_eq!(left.len(), 1, "no draft is left: {left:?}");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
