//! `tongbao serve`: starts everything in order, and stops it in the other order.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};
use tokio::signal::unix::Signal;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::accounts::{self, Adapters, Running};
use super::opening::{self, Marker};
use super::{Failure, process, sandbox};
use crate::config::Config;
use crate::domain::pay_link::PayLinks;
use crate::domain::time;
use crate::engine::Engine;
use crate::engine::advice::RoutingStats;
use crate::engine::clock::{self, course::Certainty};
use crate::engine::lane::Lanes;
use crate::engine::lease::{LeaseError, Role};
use crate::http::{self, App, PAY_LINK_KEY, PAYER_KEY};
use crate::store::{Owner, STORE_ID, Store, StoreError};
use crate::telemetry;

/// What the store has of the time to stop: its last group and the lease.
const STORE_STOP: Duration = Duration::from_secs(2);
/// A command has the store for moments; many of them, one after the other, must not keep a server from starting for ever.
const COMMANDS_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How often histograms are folded together; without it their memory grows until somebody looks.
const UPKEEP: Duration = Duration::from_secs(5);
/// Kept answers that are forgotten at once, and how often: faster than they can be made by hand, and never long.
const FORGET_EVERY: Duration = Duration::from_secs(10);
const FORGET_AT_ONCE: u32 = 1_000;
/// Pages of what payers paid by that are forgotten in a row: 2,000 payers per second, more than new ones come.
const FORGET_PAGES: u32 = 20;

pub async fn run(config: Config, overlays: &[PathBuf]) -> Result<ExitCode, Failure> {
    let config = Arc::new(config);
    process::guard_memory(&config);
    clock::begin(clock::Settings { step_ms: config.clock.step_ms, offset_file: config.clock.offset_file.clone() });
    let stop_asked = process::asked_to_stop();
    let hangups = accounts::hangups();
    let prometheus = telemetry::start_metrics()?;
    let adapters = accounts::adapters(&config)?;
    accounts::tell_of_shrunk_spans(&config);
    accounts::tell_of_payers_fees(&config);

    let (store, owner) = take(&config).await?;
    clock::compare(store.as_ref(), owner.at).await;
    let marker = Arc::new(Mutex::new(Marker::check(store.as_ref(), &owner, &config).await?));
    let keys = Keys {
        links: kept_key(store.as_ref(), PAY_LINK_KEY).await?,
        payers: kept_key(store.as_ref(), PAYER_KEY).await?,
    };

    let lanes = opening::start_lanes(&config, store.clone(), &owner).await?;
    let taken = Taken { store, lanes: lanes.clone(), marker, keys, adapters };
    let signals = Signals { stop: stop_asked, hangups };
    let served = serve(&config, overlays, taken, prometheus, signals).await;
    if served.is_err() && tokio::time::timeout(STORE_STOP, lanes.stop()).await.is_err() {
        tracing::warn!("the store does not answer; its lease will be taken over");
    }
    served
}

/// Takes the store, and waits for commands that have it for a moment.
async fn take(config: &Config) -> Result<(Arc<dyn Store>, Owner), Failure> {
    let deadline = Instant::now() + COMMANDS_WITHIN;
    loop {
        let taken = opening::take(config, Role::Server).await;
        match taken.as_ref().map_err(|error| error.downcast_ref()) {
            Err(Some(LeaseError::Held(holder))) if Role::Command.is_of(holder) && Instant::now() < deadline => {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Ok(_) | Err(_) => return taken,
        }
    }
}

/// A store that this process owns, and all that is ready to work by it.
struct Taken {
    store: Arc<dyn Store>,
    lanes: Lanes,
    marker: Arc<Mutex<Marker>>,
    keys: Keys,
    adapters: Adapters,
}

/// What the system tells a server.
struct Signals<S> {
    stop: S,
    hangups: Option<Signal>,
}

/// Starts everything that works by a store that is taken, and stops it in the other order.
async fn serve(
    config: &Arc<Config>,
    overlays: &[PathBuf],
    taken: Taken,
    prometheus: PrometheusHandle,
    signals: Signals<impl Future<Output = ()>>,
) -> Result<ExitCode, Failure> {
    let Taken { store, lanes, marker, keys, adapters } = taken;
    accounts::check_owing(store.as_ref(), &adapters).await?;
    let gateway = sandbox::start_gateway(config, overlays).await?;
    actix::spawn(clock::watch(store.clone()));
    let engine = start_engine(config, store.clone(), lanes.clone(), &keys)?;
    sandbox::settle_demos(config, store.as_ref(), &engine.changes).await?;
    let assignments = accounts::assignments(config, store.as_ref()).await?;
    for adapter in adapters {
        accounts::serve(config, &store, &engine, adapter);
    }
    engine.accounts.assign(assignments);
    // An order that comes back takes what is parked for it only where something is known to be parked.
    engine.inbox.measure().await?;
    engine.find(config);
    let engine = Arc::new(engine);
    actix::spawn(upkeep(prometheus.clone(), engine.clone(), store.clone(), marker.clone()));
    actix::spawn(forget(engine.clone(), store.clone(), config.limits.idempotency_keep_hours));
    let metrics = Box::new(move || prometheus.render());
    let app = Data::new(App::new(config.clone(), store.clone(), &engine, &keys.links, metrics)?);
    let main = http::server::serve(app.clone(), process::descriptors())
        .map_err(|error| format!("cannot listen at {}: {error}", config.server.listen))?;
    let beside = match config.ops.listen {
        Some(listen) => Some(
            http::server::serve_ops(app, listen)
                .map_err(|error| format!("cannot listen at {listen} (`ops.listen`): {error}"))?,
        ),
        None => None,
    };
    let beside = beside.map(|server| (server.handle(), actix::spawn(server)));
    let commands = serve_commands(config, store.as_ref(), &engine).await?;
    let handle = main.handle();
    let serving = actix::spawn(main);
    tracing::info!(listen = %config.server.listen, sandbox = config.sandbox, "serving");

    let running = Running { config, store: &store, engine: &engine };
    tokio::select! {
        () = signals.stop => {}
        () = accounts::renew_when_asked(signals.hangups, overlays, running) => {}
    }
    tracing::info!("stopping");
    engine.desk.drain();
    handle.stop(true).await;
    serving.await??;
    // Probes are told to the end that the server is stopping.
    if let Some((handle, serving)) = beside {
        handle.stop(false).await;
        serving.await??;
    }
    if let Some((handle, serving)) = commands {
        handle.stop(true).await;
        serving.await??;
    }
    if tokio::time::timeout(STORE_STOP, lanes.stop()).await.is_err() {
        tracing::warn!("the store does not answer; its lease will be taken over");
    } else if let Err(error) = put_away(store.as_ref(), &marker).await {
        tracing::warn!(error, "the store is not one whole file: copy its -wal file with it");
    }
    if let Some(gateway) = gateway {
        gateway.abort();
        // The child ends with its handle.
        let _ = gateway.await;
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Lets commands ask this server. Payments go on where it cannot be done.
async fn serve_commands(
    config: &Config,
    store: &dyn Store,
    engine: &Engine,
) -> Result<Option<(ServerHandle, JoinHandle<std::io::Result<()>>)>, Failure> {
    let id = store.kept_setting(STORE_ID).await?.ok_or("the store has no id")?;
    let socket = http::control::path(config, &id);
    match http::control::serve(config, id, engine.changes.clone()) {
        Ok(server) => Ok(Some((server.handle(), actix::spawn(server)))),
        Err(error) => {
            tracing::warn!(%error, socket = %socket.display(), "no command can change this store while this server runs");
            Ok(None)
        }
    }
}

/// Leaves the store as one whole file, with the mark of how far it is written beside it.
async fn put_away(store: &dyn Store, marker: &Mutex<Marker>) -> Result<(), Failure> {
    marker.lock().await.note(store).await?;
    tokio::time::timeout(STORE_STOP, store.close()).await??;
    Ok(())
}

/// Folds histograms together and measures what is counted by looking.
async fn upkeep(prometheus: PrometheusHandle, engine: Arc<Engine>, store: Arc<dyn Store>, marker: Arc<Mutex<Marker>>) {
    loop {
        if let Err(error) = engine.measure().await {
            tracing::debug!(%error, "what waits in the store cannot be counted");
        }
        if let Err(error) = marker.lock().await.note(store.as_ref()).await {
            tracing::warn!(error, "how far the store is written could not be noted");
        }
        prometheus.run_upkeep();
        tokio::time::sleep(UPKEEP).await;
    }
}

/// Forgets what was kept long enough, a few rows at a time: answers, and what payers paid by.
async fn forget(engine: Arc<Engine>, store: Arc<dyn Store>, keep_hours: u64) {
    let keep_ms = i64::try_from(keep_hours.saturating_mul(3_600_000)).unwrap_or(i64::MAX);
    let store = store.as_ref();
    loop {
        tokio::time::sleep(FORGET_EVERY).await;
        if clock::certainty() == Certainty::InDoubt {
            continue;
        }
        let now = clock::now();
        if let Err(error) = store.forget_answers(now.plus_ms(-keep_ms), FORGET_AT_ONCE).await {
            tracing::warn!(%error, "old answers cannot be forgotten");
        }
        if let Err(error) = forget_last_channels(store, engine.advice.stats().remembers_since(now)).await {
            tracing::warn!(%error, "what payers paid by long ago cannot be forgotten");
        }
    }
}

async fn forget_last_channels(store: &dyn Store, before: time::Instant) -> Result<(), StoreError> {
    for _ in 0..FORGET_PAGES {
        if store.forget_last_channels(before, FORGET_AT_ONCE).await? < u64::from(FORGET_AT_ONCE) {
            break;
        }
    }
    Ok(())
}

/// The keys that the store keeps.
struct Keys {
    links: SecretString,
    payers: SecretString,
}

/// The key under this name, made when the store has none yet.
async fn kept_key(store: &dyn Store, setting: &str) -> Result<SecretString, Failure> {
    let fresh = http::new_key()?;
    Ok(SecretString::from(store.setting(setting, fresh.expose_secret()).await?))
}

fn start_engine(config: &Arc<Config>, store: Arc<dyn Store>, lanes: Lanes, keys: &Keys) -> Result<Engine, Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (0..threads).map(|_| Arbiter::new().handle()).collect();
    let stats = RoutingStats::new(&config.routing, &http::read_key(PAYER_KEY, &keys.payers)?);
    let links = Arc::new(PayLinks::new(&config.server.public_url, &http::read_key(PAY_LINK_KEY, &keys.links)?));
    Ok(Engine::start(config, store, lanes, stats, links, threads))
}
