//! How commands come to the store: as it is, or as its owner.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::config::Config;
use crate::domain::retry::Pace;
use crate::engine::lane::{Bounds, Lanes, Stop};
use crate::engine::lease::Role;
use crate::engine::{clock, lease};
use crate::store::{self, Birth, MODE, Owner, STORE_ID, Schema, Store, StoreError};

/// Read and written by us alone: it holds webhook secrets and what payers are called.
const PRIVATE: u32 = 0o600;
/// The exit code of a process that must not write any more: a restart knows the truth.
const EXIT_STORE_LOST: i32 = 70;

/// The configured store, as its server keeps it. Nothing is made, and nothing is brought up to date.
///
/// # Errors
/// There is none, another version made it, or it was born in the other mode.
pub async fn open(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    let store = connect(config)?;
    match store.schema().await? {
        Schema::Current => {}
        Schema::Absent => return Err(absent(store.as_ref())),
        Schema::Older => return Err("the store was made by an earlier version: start `tongbao serve` once".into()),
        Schema::Newer => return Err(newer()),
    }
    check_mode(store.as_ref(), config).await?;
    Ok(store)
}

/// Whether the configured store was made already.
///
/// # Errors
/// The database does not answer.
pub async fn is_there(config: &Config) -> Result<bool, Failure> {
    match connect(config)?.schema().await? {
        Schema::Absent => Ok(false),
        Schema::Older | Schema::Current | Schema::Newer => Ok(true),
    }
}

/// The configured store, owned by this process: made if it is not there, and brought up to date.
///
/// # Errors
/// Another process owns it, a later version made it, or it was born in the other mode: then nothing was changed.
pub async fn take(config: &Config, role: Role) -> Result<(Arc<dyn Store>, Owner), Failure> {
    let store = connect(config)?;
    let schema = store.schema().await?;
    let birth = Birth { mode: mode(config.pace()), at: clock::to_store() };
    match schema {
        Schema::Absent => store.migrate(birth).await?,
        Schema::Newer => return Err(newer()),
        Schema::Older | Schema::Current => {}
    }
    check_mode(store.as_ref(), config).await?;
    store.make_room().await?;
    let beat = Duration::from_millis(config.store.beat_ms);
    let owner = lease::acquire(store.as_ref(), &role.holder_name(), beat, config.store.missed_beats).await?;
    match schema {
        Schema::Older => store.migrate(birth).await?,
        Schema::Absent | Schema::Current | Schema::Newer => {}
    }
    let owner = match owner.active().count() == usize::from(config.store.lanes) {
        true => owner,
        false => divide(store.as_ref(), &owner, config.store.lanes).await?,
    };
    // Whoever made the store at the same moment may have made it in the other mode.
    if let Err(error) = check_mode(store.as_ref(), config).await {
        store.release(owner.epoch).await?;
        return Err(error);
    }
    Ok((store, owner))
}

/// Starts the lanes of a store that this process has taken.
///
/// # Errors
/// The store does not answer, or its map of partitions is damaged.
pub async fn start_lanes(config: &Config, store: Arc<dyn Store>, owner: &Owner) -> Result<Lanes, StoreError> {
    let settings = &config.writer;
    let bounds = Bounds {
        group_max: settings.group_max,
        new_streams_max: settings.pending_max * settings.new_orders_percent / 100,
        beat: Duration::from_millis(config.store.beat_ms),
    };
    let stop: Stop = Arc::new(|why| {
        eprintln!("tongbao: {why}");
        std::process::exit(EXIT_STORE_LOST);
    });
    Lanes::start(store, owner, bounds, clock::to_store, stop).await
}

/// Brings the store to as many lanes as are configured.
async fn divide(store: &dyn Store, owner: &Owner, lanes: u16) -> Result<Owner, StoreError> {
    tracing::info!(before = owner.active().count(), lanes, "the store is divided among another number of lanes");
    store.divide(owner.epoch, lanes).await
}

/// The configured store, not looked at yet.
pub fn connect(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    let timeout = Duration::from_millis(config.store.statement_timeout_ms);
    let store = store::open(&config.store_url(), config.store.readers, timeout)?;
    if let Some(file) = store.file() {
        restrict(file)?;
    }
    Ok(store)
}

const fn mode(pace: Pace) -> &'static str {
    match pace {
        Pace::Sandbox => "sandbox",
        Pace::Production => "production",
    }
}

/// A store keeps the mode of its first start. In the other one its orders would be asked about at other gateways, which
/// know nothing of them, and keys that everybody knows would open it.
async fn check_mode(store: &dyn Store, config: &Config) -> Result<(), Failure> {
    let wanted = mode(config.pace());
    match store.kept_setting(MODE).await? {
        Some(born) if born != wanted => Err(format!(
            "the store is of the {born} and `sandbox` is {}: a store keeps the mode of its first start. Is an overlay \
             missing (--config), or is it another store (data.dir, store.url)?",
            config.sandbox
        )
        .into()),
        Some(_) | None => Ok(()),
    }
}

fn absent(store: &dyn Store) -> Failure {
    let place = match store.file() {
        Some(file) => format!("there is no store at {}", file.display()),
        None => "the database holds no store".to_owned(),
    };
    format!("{place}: `tongbao serve` makes it. Is `data.dir` or `store.url` as the server has it?").into()
}

fn newer() -> Failure {
    "the store was made by a later version of tongbao: use that one".into()
}

/// Takes from everybody else what an earlier version or a copy left them of an embedded store.
fn restrict(file: &Path) -> Result<(), Failure> {
    for suffix in ["", "-wal", "-shm"] {
        let mut path = file.as_os_str().to_owned();
        path.push(suffix);
        let path = PathBuf::from(path);
        let Ok(found) = fs::metadata(&path) else { continue };
        if found.is_file() && found.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(&path, fs::Permissions::from_mode(PRIVATE))
                .map_err(|error| format!("{} can be read by others: {error}", path.display()))?;
            tracing::warn!(file = %path.display(), "others could read or change the store; its file is ours alone now");
        }
    }
    Ok(())
}

/// What lies beside a store, so that an older copy of it is noticed: how far it has been written.
pub struct Marker {
    file: PathBuf,
    store_id: String,
    written: Option<Mark>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    store: String,
    epoch: i64,
    /// Of all lanes that there ever were, together.
    group: i64,
}

impl Marker {
    /// Compares a store, just taken over, with how far it was known to be written, and says an older copy aloud.
    ///
    /// # Errors
    /// The store is away.
    pub async fn check(store: &dyn Store, owner: &Owner, config: &Config) -> Result<Self, Failure> {
        let id = store.kept_setting(STORE_ID).await?.ok_or("the store has no id")?;
        let file = config.data.dir.join("last-group.json");
        let known = fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Mark>(&text).ok());
        // Taking it over moved it on by one.
        let found = Mark { store: id.clone(), epoch: owner.epoch - 1, group: owner.group };
        let is_older = known
            .as_ref()
            .is_some_and(|known| known.store == found.store && (found.epoch, found.group) < (known.epoch, known.group));
        metrics::gauge!("tongbao_store_is_older_copy").set(f64::from(u8::from(is_older)));
        if let (true, Some(known)) = (is_older, known) {
            tracing::error!(
                epoch = found.epoch,
                group = found.group,
                known_epoch = known.epoch,
                known_group = known.group,
                "THE STORE IS AN OLDER COPY: what was written after it is missing; compare the books with the channels'"
            );
        }
        Ok(Marker { file, store_id: id, written: None })
    }

    /// Writes how far the store is now, if it has moved.
    ///
    /// # Errors
    /// The store is away, or the file cannot be written.
    pub async fn note(&mut self, store: &dyn Store) -> Result<(), Failure> {
        let owner = store.owner().await?;
        let mark = Mark { store: self.store_id.clone(), epoch: owner.epoch, group: owner.group };
        if self.written.as_ref() == Some(&mark) {
            return Ok(());
        }
        let (path, text) = (self.file.clone(), serde_json::to_vec(&mark)?);
        // A disk may take its time, and this thread has timers to look at.
        tokio::task::spawn_blocking(move || replace(&path, &text)).await??;
        self.written = Some(mark);
        Ok(())
    }
}

/// Puts a file in the place of another one in one act.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("json.new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
