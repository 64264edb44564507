//! The servers: threads, bounds and time-outs.

use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_server::ServerBuilder;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::App as Service;
use actix_web::dev::{AppConfig, Server, fn_service};
use actix_web::web::{Data, ServiceConfig};
use tokio::net::TcpStream;

use super::App;
use super::connections::{Bounds, Guarded, Room};
use super::routes::{Audience, routes};

/// Connections that the kernel holds while all are busy.
const BACKLOG: u32 = 4_096;
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections per worker that are about to give way or have just come: the accepting thread never waits for room, since
/// whoever comes makes some.
const PASSING: usize = 256;

/// Probes and scrapes at once: some of each by several systems.
const OPS: Bounds = Bounds { all: 64, per_address: 64 };

/// Binds and returns the server, which runs once it is polled. Signals are the caller's business. The process may have
/// so many `descriptors`.
///
/// # Errors
/// The address cannot be bound.
pub fn serve(app: Data<App>, descriptors: usize) -> std::io::Result<Server> {
    let settings = &app.config.server;
    let workers = match settings.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let room = (descriptors / 2).max(1);
    if room < settings.connections_max {
        tracing::info!(key = "server.connections_max", descriptors, room, "the descriptors allow fewer connections");
    }
    let bounds = Bounds { all: settings.connections_max.min(room), per_address: settings.connections_per_address_max };
    let audience = match app.config.ops.listen {
        Some(_) => Audience::Strangers,
        None => Audience::All,
    };
    let listen = settings.listen;
    listener(&app.clone(), listen, workers, bounds, move |config| routes(app.clone(), audience)(config))
}

/// The same for probes and scrapes alone.
///
/// # Errors
/// The address cannot be bound.
pub fn serve_ops(app: Data<App>, listen: SocketAddr) -> std::io::Result<Server> {
    listener(&app.clone(), listen, 1, OPS, move |config| routes(app.clone(), Audience::Operation)(config))
}

fn listener(
    app: &App,
    listen: SocketAddr,
    workers: usize,
    bounds: Bounds,
    routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> std::io::Result<Server> {
    let settings = &app.config.server;
    let room = Arc::new(Room::new(bounds, settings));
    let spans = room.spans();
    // The server finishes what it has; the store still needs some of the time that there is.
    let shutdown_s = (settings.shutdown_ms / 1_000).saturating_sub(2).max(1);
    let builder = ServerBuilder::new()
        .workers(workers)
        .backlog(BACKLOG)
        .max_concurrent_connections(bounds.all.saturating_add(PASSING))
        .disable_signals()
        .shutdown_timeout(shutdown_s);
    let stopping = builder.graceful_shutdown_signal();
    let builder = builder.bind("http", listen, move || {
        let stopping = stopping.clone();
        let service = map_config(Service::new().configure(routes.clone()).into_factory(), |()| AppConfig::default());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(spans.idle)
            .client_request_timeout(spans.head)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .local_addr(listen)
            .on_connect_ext(|stream: &Guarded, data| {
                data.insert(Arc::clone(&stream.connection));
            })
            .h1(service);
        let room = Arc::clone(&room);
        let guard = move |stream: TcpStream| {
            let peer = stream.peer_addr().ok();
            ready(Ok::<_, DispatchError>((Guarded::new(stream, Arc::clone(&room)), peer)))
        };
        fn_service(guard).and_then(http)
    })?;
    Ok(builder.run())
}
