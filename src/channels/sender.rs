//! The one place that speaks HTTP to channels. It judges only whether a byte may have left; what an answer means is its
//! channel's business. Redirects are never followed.

use std::io::Read;
use std::time::Duration;

use flate2::read::MultiGzDecoder;

use super::{Answer, Outgoing, Verb};

/// Answers to calls are small; anything longer is not read to its end. Bills have a bound of their own.
const CALL_ANSWER_MAX_BYTES: usize = 256 * 1024;
/// Connecting takes milliseconds where it works at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Gateways close idle connections after a minute or so; we close them first.
const IDLE: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undelivered {
    /// It was not sent, for a reason of our own.
    HeldBack(String),
    /// No byte of the request was written, because the channel could not be reached.
    NotSent(String),
    /// It may have arrived.
    Unknown(String),
}

/// What one request may take, from its first byte to the answer's last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    pub time: Duration,
    /// Of the answer's body.
    pub bytes: usize,
}

impl Allowance {
    pub const fn of_call(time: Duration) -> Self {
        Allowance { time, bytes: CALL_ANSWER_MAX_BYTES }
    }
}

/// How far the reading of an answer's body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    pub bytes: usize,
    /// As the answer says of itself, if it does.
    pub of: Option<u64>,
}

/// What every client of ours has in common: no redirects, our own roots.
pub fn client_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        // A proxy of the environment would resolve names in our stead.
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE)
        .tcp_nodelay(true)
        .tls_certs_only(trusted_roots())
        .user_agent(concat!("tongbao/", env!("CARGO_PKG_VERSION")))
}

/// A client for one runtime: its connections live and die with the runtime that made it.
///
/// # Errors
/// The TLS back end cannot be set up.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    client_builder().build()
}

/// A client that opens a connection for each request: a gateway that cuts the second request of a connection off cuts
/// every repeat off that follows a question on a kept one.
///
/// # Errors
/// As [`client`].
pub fn client_without_kept_connections() -> Result<reqwest::Client, reqwest::Error> {
    client_builder().pool_max_idle_per_host(0).build()
}

/// Mozilla's roots, built in, so that a machine without a certificate store works and none can add to it.
fn trusted_roots() -> Vec<reqwest::Certificate> {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().filter_map(|der| reqwest::Certificate::from_der(der).ok()).collect()
}

/// Sends one request and reads its whole answer.
///
/// # Errors
/// [`Undelivered`], which says whether a byte may have left.
pub async fn send(
    client: &reqwest::Client,
    outgoing: Outgoing,
    traceparent: &str,
    allowance: Allowance,
) -> Result<Answer, Undelivered> {
    send_watched(client, outgoing, traceparent, allowance, |_| {}).await
}

/// The same, telling of each piece of the answer's body as it comes.
///
/// # Errors
/// As [`send`].
pub async fn send_watched(
    client: &reqwest::Client,
    outgoing: Outgoing,
    traceparent: &str,
    allowance: Allowance,
    mut watch: impl FnMut(Transfer),
) -> Result<Answer, Undelivered> {
    let request = match outgoing.verb {
        Verb::Get => client.get(outgoing.url),
        Verb::Post => client.post(outgoing.url).body(outgoing.body),
    };
    // Without this header an answer may come in any encoding (RFC 9110, section 12.5.3).
    let mut request =
        request.timeout(allowance.time).header("traceparent", traceparent).header("accept-encoding", "identity");
    for (name, value) in outgoing.headers {
        request = request.header(name, value);
    }
    let mut response = request.send().await.map_err(judge)?;
    let status = response.status().as_u16();
    let headers: Vec<_> = response
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    let of = response.content_length();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(judge)? {
        if body.len() + chunk.len() > allowance.bytes {
            return Err(Undelivered::Unknown(format!("the answer is longer than {} bytes", allowance.bytes)));
        }
        body.extend_from_slice(&chunk);
        watch(Transfer { bytes: body.len(), of });
    }
    let body = plain(&headers, body, allowance.bytes).map_err(Undelivered::Unknown)?;
    Ok(Answer { status, headers, body })
}

/// The body as it was before the way's encoding, which is what signatures are made over.
fn plain(headers: &[(String, String)], body: Vec<u8>, bound: usize) -> Result<Vec<u8>, String> {
    let encodings = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
    let encodings: Vec<_> = encodings
        .flat_map(|(_, value)| value.split(','))
        .map(|encoding| encoding.trim().to_ascii_lowercase())
        .filter(|encoding| !encoding.is_empty() && encoding != "identity")
        .collect();
    match encodings.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Ok(body),
        _ if body.is_empty() => Ok(body),
        ["gzip" | "x-gzip"] => unpacked(&body, bound),
        _ => Err(format!("the answer's encoding cannot be read: {}", encodings.join(", "))),
    }
}

fn unpacked(packed: &[u8], bound: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    // One byte more than is allowed tells that there is more.
    let limit = u64::try_from(bound).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(packed)
        .take(limit)
        .read_to_end(&mut body)
        .map_err(|error| format!("the answer cannot be unpacked: {error}"))?;
    if body.len() > bound {
        return Err(format!("the answer unpacks to more than {bound} bytes"));
    }
    Ok(body)
}

fn judge(error: reqwest::Error) -> Undelivered {
    let error = error.without_url();
    // A request that cannot be built never leaves, and one whose connection was not made has not left.
    if error.is_connect() || error.is_builder() {
        Undelivered::NotSent(describe(&error))
    } else {
        Undelivered::Unknown(describe(&error))
    }
}

/// The error with its causes: the outermost one says little.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(encodings: &[&str], body: Vec<u8>) -> Result<Vec<u8>, String> {
        let headers: Vec<_> =
            encodings.iter().map(|encoding| ("content-encoding".to_owned(), (*encoding).to_owned())).collect();
        plain(&headers, body, 1_000)
    }

    #[test]
    fn report_a_packed_answer_is_read_within_the_bound_of_its_body() {
        let text = b"{\"code\":\"10000\"}".to_vec();
        for (encodings, body) in [
            (&["gzip"][..], packed(&text)),
            (&["GZIP"], packed(&text)),
            (&["x-gzip"], packed(&text)),
            (&["identity", "gzip"], packed(&text)),
            (&["identity"], text.clone()),
            (&[], text.clone()),
        ] {
            assert_eq!(read(encodings, body), Ok(text.clone()), "{encodings:?}");
        }
        assert_eq!(read(&["gzip"], packed(&[b'a'; 1_000])).map(|body| body.len()), Ok(1_000));
        assert!(read(&["gzip"], packed(&[b'a'; 1_001])).is_err(), "a small answer that unpacks to a large one");
        assert!(read(&["gzip"], packed(&text)[..20].to_vec()).is_err(), "cut off");
        assert!(read(&["gzip"], text.clone()).is_err(), "not packed at all");
        for encodings in [&["br"][..], &["gzip, gzip"], &["gzip", "deflate"]] {
            assert!(read(encodings, packed(&text)).is_err(), "{encodings:?}");
        }
    }
}
