//! What every far end does with its callers whatever it says: it lets them wait, and sends browsers on.

use std::time::Duration;

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse};

use super::faults::Fault;
use super::payer::Conduct;

/// Callers that have not given up by then are let go.
const HANG_MAX: Duration = Duration::from_secs(60);

/// Keeps a caller waiting as its fault says. None: it may have its answer.
pub async fn befall(fault: &Fault) -> Option<HttpResponse> {
    if !fault.latency.is_zero() {
        tokio::time::sleep(fault.latency).await;
    }
    match fault.conduct {
        Conduct::Answers => None,
        Conduct::Hangs => {
            // A caller that gives up ends this wait: its connection closes and takes the request with it.
            tokio::time::sleep(HANG_MAX).await;
            Some(HttpResponse::GatewayTimeout().force_close().finish())
        }
        Conduct::Fails => Some(HttpResponse::InternalServerError().body("something went wrong here")),
    }
}

/// Sends a browser on to this listener under its other name. True gateways send whoever posts a form to them on to a
/// cashier of another origin, which the page that the form stood on must allow.
pub fn elsewhere(http: &HttpRequest, path: &str, query: &[(&str, &str)]) -> HttpResponse {
    let connection = http.connection_info();
    let host = match connection.host().rsplit_once(':') {
        Some(("127.0.0.1", port)) => format!("localhost:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        Some(_) | None => connection.host().to_owned(),
    };
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let address = format!("{}://{host}{path}?{query}", connection.scheme());
    HttpResponse::Found().insert_header((LOCATION, address)).finish()
}
