//! The real binary: where it listens, how it is started, stopped and killed.

use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use secrecy::SecretString;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::{Folder, keys, postgres, seconds};

const BINARY: &str = env!("CARGO_BIN_EXE_tongbao");
/// What the contract allows a server from SIGTERM to its exit.
const STOP_LIMIT: Duration = seconds(10);

/// Which store a server works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    /// A database of its own in the cluster that the tests of this process share.
    Postgres,
}

/// Everything that a server, its gateway and its commands have in common.
pub struct Site {
    pub folder: Folder,
    pub listen: SocketAddr,
    pub gateway: SocketAddr,
    pub store_url: String,
    /// What payers and channels are told; the server's own address in the sandbox.
    pub public_url: String,
    overlay: PathBuf,
}

impl Site {
    /// `settings` is TOML that is laid over the defaults.
    pub fn new(kind: Kind, settings: &str) -> Self {
        match kind {
            Kind::Sqlite => Site::at(None, settings),
            Kind::Postgres => Site::at(Some(postgres::shared().database()), settings),
        }
    }

    /// On a store that exists elsewhere; none: an embedded one in the site's folder.
    pub fn at(store_url: Option<String>, settings: &str) -> Self {
        let folder = Folder::new();
        let embedded = || format!("sqlite://{}", folder.path().join("tongbao.db").display());
        let store_url = store_url.unwrap_or_else(embedded);
        keys::copy_to(folder.path());
        let overlay = folder.path().join("overlay.toml");
        std::fs::write(&overlay, settings).expect("the overlay is written");
        let listen = free_address();
        let public_url = format!("http://{listen}");
        Site { listen, gateway: free_address(), store_url, public_url, overlay, folder }
    }

    /// Other settings, for what is started from now on.
    pub fn lay_over(&mut self, settings: &str) {
        std::fs::write(&self.overlay, settings).expect("the overlay is written");
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    pub fn store_url(&self) -> SecretString {
        SecretString::from(self.store_url.clone())
    }

    /// The file of an embedded store.
    pub fn store_file(&self) -> &Path {
        Path::new(self.store_url.strip_prefix("sqlite://").expect("the store is embedded"))
    }

    /// The binary with this site's configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.equip(Command::new(BINARY), arguments)
    }

    /// Variables of the person who runs the tests stay out of it.
    fn equip(&self, mut command: Command, arguments: &[&str]) -> Command {
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TONGBAO_")) {
            command.env_remove(name);
        }
        command
            .arg("--config")
            .arg(&self.overlay)
            .args(arguments)
            .env("TONGBAO_DATA__DIR", self.folder.path())
            .env("TONGBAO_STORE__URL", &self.store_url)
            .env("TONGBAO_SERVER__LISTEN", self.listen.to_string())
            .env("TONGBAO_SERVER__PUBLIC_URL", &self.public_url)
            .env("TONGBAO_GATEWAY__LISTEN", self.gateway.to_string())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.expect("the binary runs")
    }

    /// The same, with something written on its input.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let mut pipe = child.stdin.take().expect("an input");
        pipe.write_all(input.as_bytes()).await.expect("the input is taken");
        drop(pipe);
        child.wait_with_output().await.expect("the binary ends")
    }

    /// Starts a command that stays, its output in a log of the site.
    pub fn start(&self, arguments: &[&str]) -> Process {
        self.stay(self.command(arguments), arguments)
    }

    /// The same, where no file may grow beyond `bytes`: a write there fails as it does on a broken disk.
    pub fn start_with_files_of(&self, bytes: u32, arguments: &[&str]) -> Process {
        let mut shell = Command::new("sh");
        // The limit is in blocks of 512 bytes. Who ignores the signal is told by an error of the write.
        shell.args(["-c", r#"trap '' XFSZ; ulimit -f "$0"; exec "$@""#, &(bytes / 512).to_string(), BINARY]);
        self.stay(self.equip(shell, arguments), arguments)
    }

    /// The same, where the process may have no more than this many descriptors.
    pub fn start_with_descriptors(&self, descriptors: u32, arguments: &[&str]) -> Process {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"ulimit -n "$0"; exec "$@""#, &descriptors.to_string(), BINARY]);
        self.stay(self.equip(shell, arguments), arguments)
    }

    fn stay(&self, mut command: Command, arguments: &[&str]) -> Process {
        let name = arguments.first().expect("a command has a name");
        let log = self.folder.path().join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&log).expect("the log is opened");
        let copy = file.try_clone().expect("the log is shared");
        let child = command.stdout(file).stderr(copy).spawn().expect("the binary starts");
        Process { child, log }
    }
}

/// A running command.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the process is ours")
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    /// SIGKILL: no goodbye.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the process is killed");
    }

    pub async fn terminate(&mut self) {
        self.signal("-TERM").await;
    }

    /// Asks it to read its credentials again.
    pub async fn hang_up(&self) {
        self.signal("-HUP").await;
    }

    /// Halts it where it is.
    pub async fn pause(&mut self) {
        self.signal("-STOP").await;
    }

    pub async fn go_on(&mut self) {
        self.signal("-CONT").await;
    }

    async fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.id().to_string()]).status().await;
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for the end that was asked for.
    ///
    /// # Panics
    /// When it does not end in the time that the contract allows, or not well.
    pub async fn stops(&mut self) {
        let status = self.ends(STOP_LIMIT).await;
        assert!(status.success(), "it stops with {status}:\n{}", self.log_tail());
    }

    /// Waits for its end, whatever that is.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn ends(&mut self, within: Duration) -> ExitStatus {
        let ended = tokio::time::timeout(within, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it does not end within {within:?}:\n{}", self.log_tail()));
        status.expect("the process is ours")
    }

    /// SIGTERM, and an exit with 0 in time.
    pub async fn stop(&mut self) {
        self.terminate().await;
        self.stops().await;
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Process {
    /// The folder with the log goes with a failed test, so its end is shown.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of {}\n{}", self.log.display(), self.log_tail());
        }
    }
}

/// Below the ports that the system gives to outgoing connections, one of which could otherwise sit on the address of a
/// server that is just being started again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = u32::from(PORTS.end - PORTS.start);
    // Test processes that run side by side begin at places of their own.
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..span {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + u16::try_from(start.wrapping_add(step) % span).expect("a port");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
}
