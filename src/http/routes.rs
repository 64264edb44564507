//! All routes, on one screen.

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{Resource, Route};

use super::problem::ApiError;
use super::{App, callbacks, edge, ops, orders};

/// A method at a path.
pub struct Entry {
    pub method: &'static str,
    pub path: &'static str,
    route: fn() -> Route,
}

const fn get(path: &'static str, route: fn() -> Route) -> Entry {
    Entry { method: "GET", path, route }
}

const fn post(path: &'static str, route: fn() -> Route) -> Entry {
    Entry { method: "POST", path, route }
}

/// Entries of one path stand together.
#[rustfmt::skip]
pub const TABLE: &[Entry] = &[
    post("/v1/orders",                         || web::post().to(orders::create)),
    get ("/v1/orders/{id}",                    || web::get().to(orders::get)),
    post("/v1/orders/{id}/pay",                || web::post().to(orders::pay)),
    post("/v1/orders/{id}/cancel",             || web::post().to(orders::cancel)),
    post("/v1/callbacks/{channel}",            || web::post().to(callbacks::default_account)),
    post("/v1/callbacks/{channel}/{account}",  || web::post().to(callbacks::named_account)),
    get ("/healthz",                           || web::get().to(ops::healthz)),
    get ("/readyz",                            || web::get().to(ops::readyz)),
    get ("/metrics",                           || web::get().to(ops::metrics)),
];

/// Everything that is served, with the layer around it.
pub fn routes(app: Data<App>) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        let mut scope = web::scope("").app_data(app).wrap(from_fn(edge::layer));
        for entries in TABLE.chunk_by(|one, next| one.path == next.path) {
            scope = scope.service(resource(entries));
        }
        config.service(scope.default_service(web::to(|| async { Err::<String, _>(ApiError::not_found()) })));
    }
}

/// One path with its methods; any other method is told which there are.
fn resource(entries: &[Entry]) -> Resource {
    let allowed = entries.iter().map(|entry| entry.method).collect::<Vec<_>>().join(", ");
    let refuse = move || std::future::ready(Err::<String, _>(ApiError::method_not_allowed(&allowed)));
    let resource = web::resource(entries[0].path).default_service(web::to(refuse));
    entries.iter().fold(resource, |resource, entry| resource.route((entry.route)()))
}
