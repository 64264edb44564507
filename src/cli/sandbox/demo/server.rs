//! A fresh sandbox: a folder of its own, and `serve` as a child process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::mix::Mix;
use crate::cli::Failure;
use crate::config::Config;

/// Says that the folder is a demo's, and is locked by the demo that uses it.
const MARK: &str = ".tongbao-demo";
/// What the server says, in the folder.
pub const LOG: &str = "server.log";
const READY_WITHIN: Duration = Duration::from_secs(20);
const READY_GAP: Duration = Duration::from_millis(50);
/// A server stops within 10 s; one that does not is ended.
const STOP_WITHIN: Duration = Duration::from_secs(12);

/// The folder of the demo, held as long as this lives.
pub struct Folder {
    path: PathBuf,
    _mark: File,
}

impl Folder {
    /// Empties the folder, or makes it.
    ///
    /// # Errors
    /// It holds something and no demo made it, or a demo runs there.
    pub fn open(path: PathBuf) -> Result<Self, Failure> {
        let mark = path.join(MARK);
        if path.is_symlink() || (path.exists() && !mark.is_file() && fs::read_dir(&path)?.next().is_some()) {
            return Err(format!("{} was not made by a demo: it will not be emptied", path.display()).into());
        }
        fs::create_dir_all(&path)?;
        let held = OpenOptions::new().create(true).append(true).open(&mark)?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(format!("a demo runs in {}", path.display()).into()),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            match (entry.file_name() == MARK, entry.file_type()?.is_dir()) {
                (true, _) => {}
                (false, true) => fs::remove_dir_all(entry.path())?,
                (false, false) => fs::remove_file(entry.path())?,
            }
        }
        Ok(Folder { path, _mark: held })
    }

    pub fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }
}

/// The configuration of the server to be: the one given, in the folder, with the channels that the mix is paid by, on
/// free ports. Those given may be a running server's, which the demo must not speak to.
pub fn configure(given: &Config, folder: &Folder, mix: &Mix) -> Result<Config, Failure> {
    let mut config = given.clone();
    config.sandbox = true;
    for channel in mix.channels() {
        let settings = config.channels.get_mut(channel.name());
        settings.ok_or_else(|| format!("`channels.{channel}` is not configured"))?.enabled = true;
    }
    config.data.dir.clone_from(&folder.path);
    config.store.url = SecretString::from("");
    config.store.url = config.store_url();
    config.gateway.embedded = true;
    config.gateway.listen = free_address()?;
    config.server.listen = free_address()?;
    config.server.public_url = format!("http://{}", config.server.listen);
    Ok(config)
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// `serve`, running.
pub struct Server {
    child: Child,
}

impl Server {
    /// Starts it and waits until it is ready.
    pub async fn start(
        config: &Config,
        folder: &Folder,
        overlays: &[PathBuf],
        client: &reqwest::Client,
    ) -> Result<Self, Failure> {
        let child = spawn(config, &folder.log(), overlays)?;
        let mut server = Server { child };
        let deadline = Instant::now() + READY_WITHIN;
        let ready = format!("{}/readyz", config.server.public_url);
        loop {
            if client.get(&ready).send().await.is_ok_and(|response| response.status().is_success()) {
                return Ok(server);
            }
            let log = folder.log();
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("the server ended with {status}; see {}", log.display()).into());
            }
            if Instant::now() > deadline {
                return Err(format!("the server does not get ready; see {}", log.display()).into());
            }
            sleep(READY_GAP).await;
        }
    }

    /// Returns when it ends by itself.
    pub async fn ended(&mut self) {
        if let Err(error) = self.child.wait().await {
            tracing::warn!(%error, "the server cannot be waited for");
        }
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(mut self) -> Result<ExitStatus, Failure> {
        if let Some(id) = self.child.id() {
            // The standard library sends no signal but the one that cannot be heard; every shell does.
            Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id.to_string()]).status().await?;
        }
        match timeout(STOP_WITHIN, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => {
                self.child.kill().await?;
                Err("the server did not stop and was ended".into())
            }
        }
    }
}

fn spawn(config: &Config, log: &Path, overlays: &[PathBuf]) -> Result<Child, Failure> {
    let log = File::create(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    for overlay in overlays {
        command.arg("--config").arg(overlay);
    }
    command
        .arg("serve")
        .env("TONGBAO_SANDBOX", "true")
        .env("TONGBAO_DATA__DIR", &config.data.dir)
        .env("TONGBAO_STORE__URL", config.store.url.expose_secret())
        .env("TONGBAO_SERVER__LISTEN", config.server.listen.to_string())
        .env("TONGBAO_SERVER__PUBLIC_URL", &config.server.public_url)
        .env("TONGBAO_OPS__LISTEN", "")
        .env("TONGBAO_GATEWAY__LISTEN", config.gateway.listen.to_string())
        .env("TONGBAO_GATEWAY__EMBEDDED", "true")
        .envs(config.channels.iter().map(|(name, settings)| {
            (format!("TONGBAO_CHANNELS__{}__ENABLED", name.to_uppercase()), settings.enabled.to_string())
        }))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // An interrupt at the terminal is the demo's to answer, which still needs its server.
        .process_group(0)
        .kill_on_drop(true);
    Ok(command.spawn()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(PathBuf);

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn only_a_demos_folder_is_emptied() {
        let place = Place(std::env::temp_dir().join(format!("tongbao-demo-folder-{}", std::process::id())));
        let (strange, own) = (place.0.join("strange"), place.0.join("own"));
        fs::create_dir_all(&strange).unwrap();
        fs::write(strange.join("letter"), "dear").unwrap();
        assert!(Folder::open(strange.clone()).is_err());
        assert!(strange.join("letter").exists());

        let folder = Folder::open(own.clone()).unwrap();
        fs::write(folder.log(), "line").unwrap();
        fs::create_dir(own.join("gateway")).unwrap();
        assert!(Folder::open(own.clone()).is_err(), "a demo runs there");
        assert!(folder.log().exists());
        drop(folder);
        let folder = Folder::open(own.clone()).unwrap();
        assert!(!folder.log().exists() && !own.join("gateway").exists());
    }
}
