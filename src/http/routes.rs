//! All routes, on one screen.

use std::rc::Rc;

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{Resource, Route};

use super::auth::Rights;
use super::meter::{Meter, UNMATCHED};
use super::problem::ApiError;
use super::{
    App, balance, calendars, callbacks, channels, debtors, docs, edge, lists, nettings, operator, operators, ops,
    orders, pay_page, payouts, proposals, refunds, settlements, statement,
};
use crate::domain::operator::Right;

/// A method at a path.
pub struct Entry {
    pub method: &'static str,
    pub path: &'static str,
    /// What an operator must have; none where none comes.
    right: Option<Right>,
    route: fn() -> Route,
}

const fn get(path: &'static str, route: fn() -> Route) -> Entry {
    Entry { method: "GET", path, right: None, route }
}

const fn post(path: &'static str, route: fn() -> Route) -> Entry {
    Entry { method: "POST", path, right: None, route }
}

/// For operators who have this right.
const fn of_operators(right: Right, entry: Entry) -> Entry {
    Entry { right: Some(right), ..entry }
}

const HEALTH: &str = "/healthz";
const READINESS: &str = "/readyz";
const METRICS: &str = "/metrics";

/// Entries of one path stand together; paths are tried in this order, so what comes most often comes first.
#[rustfmt::skip]
pub const TABLE: &[Entry] = &[
    post("/v1/orders",                         || web::post().to(orders::create)),
    get ("/v1/orders",                         || web::get().to(lists::orders)),
    post("/v1/callbacks/{channel}",            || web::post().to(callbacks::default_account)),
    post("/v1/callbacks/{channel}/{account}",  || web::post().to(callbacks::named_account)),
    get ("/v1/orders/{id}",                    || web::get().to(orders::get)),
    post("/v1/orders/{id}/pay",                || web::post().to(orders::pay)),
    post("/v1/orders/{id}/cancel",             || web::post().to(orders::cancel)),
    post("/v1/orders/{id}/refunds",            || web::post().to(refunds::create)),
    get ("/v1/orders/{id}/refunds",            || web::get().to(refunds::of_order)),
    get ("/v1/refunds",                        || web::get().to(refunds::list)),
    get ("/v1/refunds/{id}",                   || web::get().to(refunds::get)),
    get ("/v1/balance",                        || web::get().to(balance::balance)),
    get ("/v1/balance_transactions",           || web::get().to(balance::transactions)),
    get ("/v1/payouts",                        || web::get().to(payouts::list)),
    get ("/v1/payouts/{id}",                   || web::get().to(payouts::get)),
    get ("/v1/settlements",                    || web::get().to(settlements::list)),
    get ("/v1/settlements/{id}",               || web::get().to(settlements::get)),
    get ("/v1/settlements/{id}/statement",     || web::get().to(statement::get)),
    get ("/v1/orders/{id}/events",             || web::get().to(lists::events)),
    get ("/v1/channels",                       || web::get().to(channels::channels)),
    get ("/v1/quote",                          || web::get().to(channels::quote)),
    of_operators(Right::Propose,    post("/v1/operator/orders/{id}/refunds/resolve", || web::post().to(operator::resolve_refund))),
    of_operators(Right::Propose,    post("/v1/operator/orders/{id}/resolve",   || web::post().to(operator::resolve))),
    of_operators(Right::Read,       get ("/v1/operator/quarantine",            || web::get().to(operator::quarantine))),
    of_operators(Right::Read,       get ("/v1/operator/stuck_refunds",         || web::get().to(operator::stuck_refunds))),
    of_operators(Right::Read,       get ("/v1/operator/unreadable",            || web::get().to(operator::unreadable))),
    of_operators(Right::Retry,      post("/v1/operator/quarantine/{id}/retry", || web::post().to(operator::retry))),
    of_operators(Right::Propose,    post("/v1/operator/proposals",             || web::post().to(proposals::create))),
    of_operators(Right::Read,       get ("/v1/operator/proposals",             || web::get().to(proposals::list))),
    of_operators(Right::Read,       get ("/v1/operator/proposals/{id}",        || web::get().to(proposals::get))),
    of_operators(Right::Approve,    post("/v1/operator/proposals/{id}/approve", || web::post().to(proposals::approve))),
    of_operators(Right::Propose,    post("/v1/operator/proposals/{id}/reject", || web::post().to(proposals::reject))),
    of_operators(Right::Read,       get ("/v1/operator/operators",             || web::get().to(operators::list))),
    of_operators(Right::RevokeKeys, post("/v1/operator/operators/{name}/revoke", || web::post().to(operators::revoke))),
    of_operators(Right::KeepKeys,   post("/v1/operator/keys",                  || web::post().to(operators::add_key))),
    of_operators(Right::Read,       get ("/v1/operator/acts",                  || web::get().to(operators::acts))),
    of_operators(Right::ProposePayout, post("/v1/operator/payouts",            || web::post().to(payouts::create))),
    of_operators(Right::Read,       get ("/v1/operator/payouts",               || web::get().to(payouts::all))),
    of_operators(Right::RecordBank, post("/v1/operator/payouts/answers",       || web::post().to(payouts::import))),
    of_operators(Right::Approve,    post("/v1/operator/payouts/{id}/approve",  || web::post().to(payouts::approve))),
    of_operators(Right::ProposePayout, post("/v1/operator/payouts/{id}/cancel", || web::post().to(payouts::cancel))),
    of_operators(Right::RecordBank, post("/v1/operator/payouts/{id}/answer",   || web::post().to(payouts::answer))),
    of_operators(Right::Approve,    post("/v1/operator/payout_files",          || web::post().to(payouts::export))),
    of_operators(Right::Approve,    get ("/v1/operator/payout_files/{id}",     || web::get().to(payouts::file))),
    of_operators(Right::ProposePayout, post("/v1/operator/bank_details",       || web::post().to(payouts::propose_details))),
    of_operators(Right::Approve,    post("/v1/operator/bank_details/approve",  || web::post().to(payouts::approve_details))),
    of_operators(Right::RecordBank, post("/v1/operator/payments_received",     || web::post().to(payouts::payment_received))),
    of_operators(Right::Read,       get ("/v1/operator/debtors",               || web::get().to(debtors::list))),
    of_operators(Right::Read,       get ("/v1/operator/calendars",             || web::get().to(calendars::list))),
    of_operators(Right::Settle,     post("/v1/operator/calendars",             || web::post().to(calendars::create))),
    of_operators(Right::Settle,     post("/v1/operator/calendars/{id}/join",   || web::post().to(calendars::join))),
    of_operators(Right::Read,       get ("/v1/operator/settlements",           || web::get().to(calendars::settled))),
    of_operators(Right::Settle,     post("/v1/operator/calendars/{id}/close",  || web::post().to(calendars::close))),
    of_operators(Right::Settle,     post("/v1/operator/calendars/{id}/reschedule", || web::post().to(calendars::reschedule))),
    get ("/v1/nettings",                       || web::get().to(nettings::list)),
    post("/v1/nettings/{id}/confirm",          || web::post().to(nettings::confirm)),
    of_operators(Right::Read,       get ("/v1/operator/nettings",              || web::get().to(nettings::runs))),
    get ("/pay/{token}",                       || web::get().to(pay_page::show)),
    post("/pay/{token}",                       || web::post().to(pay_page::choose)),
    get (HEALTH,                               || web::get().to(ops::healthz)),
    get (READINESS,                            || web::get().to(ops::readyz)),
    get (METRICS,                              || web::get().to(ops::metrics)),
    get ("/openapi.json",                      || web::get().to(docs::openapi)),
    get ("/docs",                              || web::get().to(docs::page)),
    get ("/docs/{file:.*}",                    || web::get().to(docs::file)),
];

/// Who comes to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// There is only one listener.
    All,
    /// Platforms, gateways and payers, where operation has a listener of its own.
    Strangers,
    Operation,
}

impl Audience {
    fn is_served(self, path: &str) -> bool {
        match self {
            Audience::All => true,
            Audience::Strangers => path != METRICS,
            Audience::Operation => [HEALTH, READINESS, METRICS].contains(&path),
        }
    }
}

/// Everything that is served to these.
pub fn routes(app: Data<App>, audience: Audience) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        config.app_data(app).configure(|config| table(config, audience));
    }
}

/// The table with the layer around it.
pub(super) fn table(config: &mut ServiceConfig, audience: Audience) {
    config.app_data(Rc::new(Meter::new(UNMATCHED)));
    let mut scope = web::scope("").wrap(from_fn(edge::layer));
    let paths = TABLE.chunk_by(|one, next| one.path == next.path);
    for entries in paths.filter(|entries| audience.is_served(entries[0].path)) {
        scope = scope.service(resource(entries));
    }
    config.service(scope.default_service(web::to(|| async { Err::<String, _>(ApiError::not_found()) })));
}

/// One path with its methods; any other method is told which there are.
fn resource(entries: &[Entry]) -> Resource {
    let allowed = entries.iter().map(|entry| entry.method).collect::<Vec<_>>().join(", ");
    let refuse = move || std::future::ready(Err::<String, _>(ApiError::method_not_allowed(&allowed)));
    let path = entries[0].path;
    let rights = entries.iter().filter_map(|entry| Some((entry.method, entry.right?))).collect();
    let resource = web::resource(path).app_data(Rc::new(Meter::new(path))).app_data(Rc::new(Rights(rights)));
    let resource = resource.default_service(web::to(refuse));
    entries.iter().fold(resource, |resource, entry| resource.route((entry.route)()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::Method;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use serde_json::Value;

    #[test]
    fn entries_of_a_path_stand_together_and_once() {
        let chunks: Vec<_> = TABLE.chunk_by(|one, next| one.path == next.path).map(|entries| entries[0].path).collect();
        let mut paths = chunks.clone();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), chunks.len());
    }

    /// A route of operators that asks for nothing refuses everybody; any other that asks for a right would never be asked.
    #[test]
    fn every_route_of_operators_names_its_right() {
        for entry in TABLE {
            assert_eq!(entry.right.is_some(), entry.path.starts_with("/v1/operator/"), "{}", entry.path);
        }
    }

    #[actix_web::test]
    async fn what_is_not_served_is_a_problem_with_the_requests_id() {
        let service = init_service(actix_web::App::new().configure(|config| table(config, Audience::All))).await;
        let table = [
            (Method::GET, "/nowhere", 404, "not_found", None),
            (Method::POST, "/", 404, "not_found", None),
            (Method::DELETE, "/v1/orders", 405, "method_not_allowed", Some("POST, GET")),
            (Method::POST, "/v1/orders/ord_1", 405, "method_not_allowed", Some("GET")),
            (Method::POST, "/healthz", 405, "method_not_allowed", Some("GET")),
            (Method::GET, "/v1/callbacks/simpay", 405, "method_not_allowed", Some("POST")),
        ];
        for (method, path, status, code, allow) in table {
            let request = TestRequest::with_uri(path).method(method).insert_header(("x-request-id", "req-7"));
            let answer = call_service(&service, request.to_request()).await;
            assert_eq!(answer.status().as_u16(), status, "{path}");
            let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(header("content-type").as_deref(), Some("application/problem+json"), "{path}");
            assert_eq!(header("x-request-id").as_deref(), Some("req-7"), "{path}");
            assert_eq!(header("allow").as_deref(), allow, "{path}");
            let body: Value = serde_json::from_slice(&read_body(answer).await).unwrap();
            assert_eq!(body["code"], code, "{path}");
            assert_eq!(body["request_id"], "req-7", "{path}");
        }
    }

    #[actix_web::test]
    async fn every_answer_has_an_id_and_tells_browsers_to_do_nothing_with_it() {
        let service = init_service(actix_web::App::new().configure(|config| table(config, Audience::All))).await;
        let answer = call_service(&service, TestRequest::with_uri("/healthz").to_request()).await;
        assert_eq!(answer.status().as_u16(), 200);
        for name in ["x-request-id", "content-security-policy", "x-content-type-options", "referrer-policy"] {
            assert!(answer.headers().contains_key(name), "{name}");
        }
        assert_eq!(answer.headers().get("cache-control").unwrap(), "no-store");
    }

    #[test]
    fn every_route_is_in_the_document_and_nothing_else_is() {
        let document: Value = serde_json::from_str(&docs::DOCUMENT).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let routes = TABLE.iter().filter(|entry| !entry.path.starts_with("/docs"));
        let mut count = 0;
        for entry in routes {
            let operation = &document["paths"][entry.path][entry.method.to_lowercase()];
            assert!(operation.is_object(), "{} {}", entry.method, entry.path);
            count += 1;
        }
        let paths = document["paths"].as_object().unwrap();
        assert_eq!(paths.values().map(|item| item.as_object().unwrap().len()).sum::<usize>(), count);
    }

    #[actix_web::test]
    async fn the_reader_is_served_with_its_own_files_only() {
        let service = init_service(actix_web::App::new().configure(|config| table(config, Audience::All))).await;
        let get = async |path: &str| call_service(&service, TestRequest::with_uri(path).to_request()).await;
        assert_eq!(get("/docs").await.headers().get("location").unwrap(), "/docs/");
        for path in ["/docs/", "/docs/swagger-ui-bundle.js", "/docs/swagger-initializer.js"] {
            let answer = get(path).await;
            assert_eq!(answer.status().as_u16(), 200, "{path}");
            assert_eq!(answer.headers().get("content-security-policy"), Some(&docs::POLICY));
        }
        assert_eq!(get("/docs/../secret").await.status().as_u16(), 404);
        let answer = get("/openapi.json").await;
        assert_eq!(answer.headers().get("content-type").unwrap(), "application/json");
        assert_eq!(read_body(answer).await, docs::DOCUMENT.as_bytes());
    }
}
