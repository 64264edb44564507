//! A throwaway PostgreSQL: a cluster of its own in a temporary folder, from the installed server's programs.

use std::ffi::OsStr;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Folders are called this and the number of the process they belong to.
const FOLDER: &str = "tongbao-postgres-";
/// How long the server may take to answer after its start.
const START_LIMIT: Duration = Duration::from_secs(60);
const SUPERUSER: &str = "tongbao";

static CLUSTERS: AtomicU32 = AtomicU32::new(0);
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Ends the server that works in a folder, if it does, and removes the folder.
const CLEAR: &str = r#"
pid=$(head -n 1 "$0/data/postmaster.pid" 2>/dev/null)
[ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$0/data" ] && kill -QUIT "$pid"
rm -rf "$0" || { sleep 1; rm -rf "$0"; }
"#;

pub struct Cluster {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    /// Settings beyond those that every cluster has, `name=value`.
    settings: Vec<String>,
    server: Mutex<Option<Child>>,
    keeper: Mutex<Child>,
}

/// The cluster that the tests of this process share, each with a database of its own.
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(Cluster::start)
}

impl Cluster {
    /// A cluster as most tests want it.
    pub fn start() -> Self {
        Cluster::make(|_| Vec::new())
    }

    /// The same, offering TLS by these files in PEM.
    pub fn start_with_tls(certificate: &str, key: &str) -> Self {
        Cluster::make(|folder| {
            let mut settings = vec!["ssl=on".to_owned()];
            for (name, content) in [("ssl_cert_file", certificate), ("ssl_key_file", key)] {
                let file = folder.join(name);
                fs::write(&file, content).expect("a file of the server is written");
                fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is the server's alone");
                give_to_server(&file);
                settings.push(format!("{name}={}", file.display()));
            }
            settings
        })
    }

    /// Makes a cluster and starts it; `prepare` puts what it needs into its folder and returns its settings.
    ///
    /// # Panics
    /// When there is no server to be found, or when it does not start.
    fn make(prepare: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let programs = find_programs().expect(
            "initdb and postgres were found neither in PATH nor under /usr/lib/postgresql/*/bin: \
             install the package `postgresql`",
        );
        remove_stale_folders();
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("{FOLDER}{}-{number}", std::process::id()));
        fs::create_dir(&folder).expect("the cluster's folder is made");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("the folder is ours alone");
        give_to_server(&folder);
        let keeper = Mutex::new(keeper(&folder));
        let settings = prepare(&folder);
        let cluster = Cluster { programs, folder, port: free_port(), settings, server: Mutex::new(None), keeper };
        let made = cluster
            .program("initdb")
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--username", SUPERUSER, "--pgdata"])
            .arg(cluster.data())
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        cluster.restart();
        cluster
    }

    /// Ends the server at once, as a crash would.
    pub fn stop(&self) {
        if let Some(mut server) = self.server().take() {
            let killed = Command::new("kill").arg("-QUIT").arg(server.id().to_string()).status();
            assert!(killed.expect("kill runs").success());
            server.wait().expect("the server ends");
        }
    }

    /// Starts the server if it does not run, and waits until it answers.
    pub fn restart(&self) {
        let mut server = self.server();
        if server.is_some() {
            return;
        }
        let mut child = self
            .program("postgres")
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(&self.folder)
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-c", "fsync=on", "-c", "max_connections=200"])
            .args(self.settings.iter().flat_map(|setting| ["-c", setting]))
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.folder.join("log")).expect("the log is made"))
            .spawn()
            .expect("postgres runs");
        let limit = Instant::now() + START_LIMIT;
        while !self.answers() {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(child.try_wait().expect("the server is ours").is_none(), "postgres ended: {}", log());
            assert!(Instant::now() < limit, "postgres does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        *server = Some(child);
    }

    /// Makes a database; its URL, by the Unix socket.
    pub fn database(&self) -> String {
        self.database_with("")
    }

    /// The same, with `options` of `CREATE DATABASE`.
    pub fn database_with(&self, options: &str) -> String {
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let made = self.sql("postgres", &format!("CREATE DATABASE {name} {options}"));
        assert!(made, "the database {name} is made");
        let socket = self.folder.to_string_lossy().replace('/', "%2F");
        format!("postgres://{SUPERUSER}@{socket}:{}/{name}", self.port)
    }

    /// Where it listens beside its socket.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The URL of a database by the loopback port.
    pub fn over_tcp(&self, url: &str) -> String {
        self.by_way_of(self.address(), url)
    }

    /// The URL of a database by an address that leads to the server.
    pub fn by_way_of(&self, address: SocketAddr, url: &str) -> String {
        let name = url.rsplit('/').next().expect("a URL ends in the database's name");
        format!("postgres://{SUPERUSER}@{address}/{name}")
    }

    fn answers(&self) -> bool {
        self.sql("postgres", "SELECT 1")
    }

    fn sql(&self, database: &str, statement: &str) -> bool {
        self.program("psql")
            .arg("-h")
            .arg(&self.folder)
            .args(["-p", &self.port.to_string(), "-U", SUPERUSER, "-d", database, "-qc", statement])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("psql runs")
            .success()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// One of the server's programs, as a user that it agrees to run as.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(&self.folder).env("PGTZ", "UTC").stdin(Stdio::null());
        if let Some(user) = unprivileged() {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    fn server(&self) -> MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(keeper.stdin.take());
        let _ = keeper.wait();
    }
}

fn find_programs() -> Option<PathBuf> {
    let mut installed: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .collect();
    installed.sort_by_key(|bin| {
        let version = bin.parent().and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default();
        std::cmp::Reverse(version.parse::<u32>().unwrap_or_default())
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    installed.extend(std::env::split_paths(&path));
    installed.into_iter().find(|bin| ["initdb", "postgres", "psql"].iter().all(|name| bin.join(name).is_file()))
}

#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

/// PostgreSQL refuses to run as root; then it runs as `postgres`, or else as `nobody`.
fn unprivileged() -> Option<User> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    static USER: OnceLock<Option<User>> = OnceLock::new();
    *USER.get_or_init(|| {
        (id(&["-u"]) == Some(0)).then(|| {
            ["postgres", "nobody"]
                .iter()
                .find_map(|name| Some(User { uid: id(&["-u", name])?, gid: id(&["-g", name])? }))
                .expect("as root, PostgreSQL needs the user `postgres` or `nobody` to run as")
        })
    })
}

fn give_to_server(path: &Path) {
    if let Some(user) = unprivileged() {
        chown(path, Some(user.uid), Some(user.gid)).expect("it is given to the server's user");
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}

/// A shared cluster is never dropped, and a test may be killed. So a shell waits for the end of this process, which it
/// sees by the end of its input, and clears up then.
fn keeper(folder: &Path) -> Child {
    let keeper = Command::new("sh")
        .arg("-c")
        .arg(format!("cat >/dev/null; {CLEAR}"))
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    keeper.expect("sh runs")
}

/// Folders that processes left behind which were ended before they could clear up.
fn remove_stale_folders() {
    for folder in fs::read_dir(std::env::temp_dir()).into_iter().flatten().filter_map(Result::ok) {
        let name = folder.file_name();
        let Some(owner) = name.to_str().and_then(|name| name.strip_prefix(FOLDER)) else { continue };
        let owner = owner.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(owner).exists() {
            let cleared = Command::new("sh").arg("-c").arg(CLEAR).arg(folder.path()).stderr(Stdio::null()).status();
            cleared.expect("sh runs");
        }
    }
}
