//! The way for commands on the server's own machine: a socket in the data folder, which only the server's own user can
//! open. What they want changed is changed by the server's lanes.

use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::error::{InternalError, JsonPayloadError};
use actix_web::web::{self, Data, Json, JsonConfig};
use actix_web::{App as Service, HttpResponse, HttpServer};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::engine::changes::{Change, ChangeError, Changes};

/// Where changes are asked for.
pub const CHANGES: &str = "/changes";
/// Digits of a store's id in the name of its socket: an address has room for some 100 bytes.
const ID_DIGITS: usize = 8;
/// The longest change holds a URL and a secret.
const BODY_MAX: usize = 16 * 1_024;
/// Commands at once, all of the server's own user.
const CONNECTIONS_MAX: usize = 16;
/// A change is asked for at once, or not at all.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// What a change that is under way has when the server stops.
const SHUTDOWN_S: u64 = 2;

/// A change, and the id of the store that is meant.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    pub store: String,
    pub change: Change,
}

/// Where the server of this store has its socket: of each store its own, so that servers may share a folder.
pub fn path(config: &Config, store: &str) -> PathBuf {
    let id = store.get(..ID_DIGITS).unwrap_or(store);
    config.data.dir.join(format!("control-{id}.sock"))
}

/// Binds the socket and returns the server, which runs once it is polled. The store must be this process's: whoever
/// served it before writes nothing any more, be it halted or dead, and its socket goes.
///
/// # Errors
/// The socket cannot be bound.
pub fn serve(config: &Config, store: String, changes: Arc<Changes>) -> io::Result<Server> {
    let path = path(config, &store);
    match fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir_all(&config.data.dir)?;
    // The umask leaves what is made to our own user alone.
    let listener = UnixListener::bind(&path)?;
    let state = Data::new(State { store, changes });
    let server = HttpServer::new(move || {
        Service::new()
            .app_data(state.clone())
            .app_data(JsonConfig::default().limit(BODY_MAX).error_handler(|error, _| unreadable(&error)))
            .route(CHANGES, web::post().to(change))
    });
    let server = server.workers(1).max_connections(CONNECTIONS_MAX).client_request_timeout(HEAD_TIMEOUT);
    Ok(server.shutdown_timeout(SHUTDOWN_S).disable_signals().listen_uds(listener)?.run())
}

struct State {
    store: String,
    changes: Arc<Changes>,
}

/// A command of another version wants what this one does not know.
fn unreadable(error: &JsonPayloadError) -> actix_web::Error {
    let why = format!("the server cannot read what is wanted; is it of another version? {error}");
    let answer = HttpResponse::BadRequest().json(ChangeError::Refused(why));
    InternalError::from_response(error.to_string(), answer).into()
}

async fn change(state: Data<State>, wanted: Json<Wanted>) -> HttpResponse {
    let Wanted { store, change } = wanted.into_inner();
    if store != state.store {
        let error = ChangeError::Refused("the server that runs here has another store".to_owned());
        return HttpResponse::Conflict().json(error);
    }
    // The change goes on though the command goes.
    let changes = state.changes.clone();
    let made = actix_web::rt::spawn(async move { changes.make(change).await }).await;
    match made.unwrap_or(Err(ChangeError::OutcomeUnknown)) {
        Ok(done) => HttpResponse::Ok().json(done),
        Err(error @ ChangeError::Refused(_)) => HttpResponse::Conflict().json(error),
        Err(error @ (ChangeError::StoreAway(_) | ChangeError::Partly { .. } | ChangeError::OutcomeUnknown)) => {
            HttpResponse::ServiceUnavailable().json(error)
        }
    }
}
