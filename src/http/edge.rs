//! What every request goes through: its id, its problem document, the headers of every answer; and the headers that
//! requests bring along.

use std::borrow::Cow;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody, SizedStream};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY, TRANSFER_ENCODING,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use futures_util::stream;
use tracing::Instrument;
use uuid::Uuid;

use super::connections::{After, Body, Connection};
use super::meter::Meter;
use super::problem::{ApiError, Code};
use crate::domain::request::Trace;
use crate::engine::ask::Patience;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// An id given by the client is kept if it is no longer than this.
const REQUEST_ID_MAX: usize = 64;
/// As much as the dispatcher writes at once.
const PIECE: usize = 32 * 1_024;
/// What no answer goes without, unless its handler said otherwise.
const DEFAULTS: [(HeaderName, &str); 5] = [
    (CACHE_CONTROL, "no-store"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
];

/// The layer around all handlers.
pub async fn layer<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let begun = Instant::now();
    let connection = request.conn_data::<Arc<Connection>>().cloned();
    if let Some(connection) = &connection {
        let body = match request.parts_mut().1 {
            Payload::None => Body::Absent,
            Payload::H1 { .. } | Payload::Stream { .. } => Body::Outstanding,
        };
        connection.head_came(body);
    }
    let request_id = request_id(request.headers());
    let span = tracing::debug_span!("request", %request_id, method = %request.method(), path = request.path());
    let answer = next.call(request).instrument(span).await?.map_into_boxed_body();
    let mut answer = with_problem(answer, &request_id);
    let status = answer.status();
    // The innermost one that was met: the route's, or else the one for what has no route.
    if let Some(meter) = answer.request().app_data::<Rc<Meter>>() {
        meter.record(answer.request().method(), status, begun.elapsed());
    }
    tracing::debug!(request_id = %request_id, status = status.as_u16(), "answered");
    if let Some(connection) = connection {
        let is_chunked = || answer.request().headers().contains_key(TRANSFER_ENCODING);
        match connection.answered(is_chunked) {
            After::Reuse => {}
            After::Close => answer.response_mut().head_mut().set_connection_type(ConnectionType::Close),
        }
    }
    let headers = answer.headers_mut();
    for (name, value) in DEFAULTS {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, value);
    }
    Ok(answer.map_body(|_, body| in_pieces(body)))
}

/// A large body piece by piece: the dispatcher copies what it is given, and keeps it for as long as the client does not
/// take it.
fn in_pieces(body: BoxBody) -> BoxBody {
    match body.try_into_bytes() {
        Ok(bytes) if bytes.len() > PIECE => {
            let pieces = (0..bytes.len()).step_by(PIECE).map({
                let bytes = bytes.clone();
                move |at| Ok::<_, Infallible>(bytes.slice(at..bytes.len().min(at + PIECE)))
            });
            BoxBody::new(SizedStream::new(bytes.len() as u64, stream::iter(pieces)))
        }
        Ok(bytes) => BoxBody::new(bytes),
        Err(body) => body,
    }
}

/// Renders what went wrong with the request's id in it. Whatever is not ours says no more than its status does.
fn with_problem(answer: ServiceResponse<BoxBody>, request_id: &str) -> ServiceResponse<BoxBody> {
    let Some(error) = answer.response().error() else { return answer };
    let problem = match error.as_error::<ApiError>() {
        Some(problem) => problem.clone(),
        None => foreign(error.as_response_error().status_code()),
    };
    if problem.code.status().is_server_error() {
        tracing::warn!(request_id, code = problem.code.name(), %error, "a request failed");
    }
    let rendered = problem.render(request_id);
    let (request, _) = answer.into_parts();
    ServiceResponse::new(request, rendered)
}

fn foreign(status: StatusCode) -> ApiError {
    match status {
        StatusCode::NOT_FOUND => ApiError::not_found(),
        status if status.is_client_error() => ApiError::new(Code::RequestInvalid, "The request cannot be read."),
        _ => ApiError::internal(),
    }
}

/// The client's own id if it is a sane one, else a new one.
fn request_id(headers: &HeaderMap) -> Cow<'static, str> {
    let sane = |id: &&str| {
        (1..=REQUEST_ID_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
    };
    match headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(sane) {
        Some(id) => Cow::Owned(id.to_owned()),
        None => Cow::Owned(Uuid::now_v7().simple().to_string()),
    }
}

/// The trace that the client's request belongs to (W3C trace context, any version that begins like 00).
pub fn trace(headers: &HeaderMap) -> Option<Trace> {
    let given = headers.get(TRACEPARENT)?.to_str().ok()?;
    let mut parts = given.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let well_formed = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
    if !well_formed || (version == "00" && parts.next().is_some()) {
        return None;
    }
    u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0).map(Trace)
}

/// How long the client wants to wait (RFC 7240).
pub fn patience(headers: &HeaderMap) -> Patience {
    let preferences = headers.get_all(PREFER).filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    let mut names = preferences.map(|preference| preference.split(';').next().unwrap_or_default().trim());
    if names.any(|name| name.eq_ignore_ascii_case("respond-async")) { Patience::Durable } else { Patience::FirstAnswer }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_sane_request_id_is_kept_and_any_other_replaced() {
        assert_eq!(request_id(&headers(REQUEST_ID, &["req-1.a:B_2"])), "req-1.a:B_2");
        for given in ["", "a b", "x\"y", &"x".repeat(65)] {
            let made = request_id(&headers(REQUEST_ID, &[given]));
            assert!(made.len() == 32 && made != given, "{given}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    #[test]
    fn a_traceparent_is_taken_whole_or_not_at_all() {
        let of = |text: &str| trace(&headers(TRACEPARENT, &[text]));
        let id = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
        assert_eq!(of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), Some(Trace(id)));
        assert_eq!(of("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"), Some(Trace(id)));
        for broken in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(of(broken), None, "{broken}");
        }
    }

    #[test]
    fn respond_async_is_found_among_preferences() {
        for given in [&["respond-async"][..], &["wait=10, Respond-Async"], &["wait=1", "respond-async; x=y"]] {
            assert_eq!(patience(&headers(PREFER, given)), Patience::Durable, "{given:?}");
        }
        for given in [&[][..], &["wait=10"], &["no-respond-async"]] {
            assert_eq!(patience(&headers(PREFER, given)), Patience::FirstAnswer, "{given:?}");
        }
    }
}
