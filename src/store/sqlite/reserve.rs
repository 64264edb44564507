//! Room on the disk that is kept for one moment: the log has filled the disk, and carrying it over into the file, which
//! empties it, needs a little more.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::posix_fallocate;
use rusqlite::ErrorCode;

/// What the file may grow by while the log is carried over: the log has a few MiB between two such moments, unless
/// somebody has been reading for long.
const BYTES: i64 = 16 << 20;

pub struct Reserve(PathBuf);

impl Reserve {
    /// Beside the database file.
    pub fn of(database: &Path) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push("-reserve");
        Reserve(PathBuf::from(path))
    }

    /// Takes the room, if the disk has it.
    pub fn keep(&self) {
        if self.0.exists() {
            return;
        }
        if let Err(error) = self.take() {
            tracing::warn!(file = %self.0.display(), %error, "no room is kept for a full disk");
            // What was taken of it is of no use.
            let _ = fs::remove_file(&self.0);
        }
    }

    fn take(&self) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).open(&self.0)?;
        posix_fallocate(&file, 0, BYTES).map_err(io::Error::from)
    }

    /// Carries the log over; where the disk is full, once more in the room that was kept.
    pub fn carry_over(&self, carry: impl Fn() -> rusqlite::Result<()>) -> rusqlite::Result<()> {
        match carry() {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) && self.0.exists() => {
                tracing::error!("the disk is full: the room that was kept for it is used");
                if let Err(error) = fs::remove_file(&self.0) {
                    tracing::error!(file = %self.0.display(), %error, "the room cannot be given free");
                }
                carry()
            }
            carried => carried,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn full() -> rusqlite::Result<()> {
        Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None))
    }

    #[test]
    fn report_a_disk_that_the_log_has_filled_does_not_refuse_the_restart() {
        let folder = std::env::temp_dir().join(format!("tongbao-reserve-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let reserve = Reserve::of(&folder.join("tongbao.db"));
        let file = folder.join("tongbao.db-reserve");
        assert!(reserve.carry_over(full).is_err(), "nothing was kept");

        reserve.keep();
        assert_eq!(fs::metadata(&file).unwrap().len(), 16 << 20);
        reserve.carry_over(|| Ok(())).unwrap();
        assert!(file.exists(), "it is kept for when it is needed");
        reserve.carry_over(|| if file.exists() { full() } else { Ok(()) }).unwrap();
        assert!(!file.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
