//! The server: threads, bounds and time-outs.

use std::time::Duration;

use actix_web::dev::Server;
use actix_web::web::Data;
use actix_web::{App as Service, HttpServer};

use super::App;
use super::routes::routes;

/// Connections that the kernel holds while all are busy.
const BACKLOG: u32 = 4_096;
/// A client that does not get its head across in this time is let go.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than load balancers keep an idle connection: they close first, so that no request meets a closed one.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Binds and returns the server, which runs once it is polled. Signals are the caller's business.
///
/// # Errors
/// The address cannot be bound.
pub fn serve(app: Data<App>) -> std::io::Result<Server> {
    let settings = &app.config.server;
    let workers = match settings.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    // The server finishes what it has; the store still needs some of the time that there is.
    let shutdown_s = (settings.shutdown_ms / 1_000).saturating_sub(2).max(1);
    let (listen, connections_max) = (settings.listen, settings.connections_max);
    let server = HttpServer::new(move || Service::new().configure(routes(app.clone())))
        .workers(workers)
        .backlog(BACKLOG)
        .max_connections(connections_max)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .disable_signals()
        .shutdown_timeout(shutdown_s)
        .bind(listen)?;
    Ok(server.run())
}
