//! The platforms' receiver of webhooks: believes only what is signed as Standard Webhooks asks for.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tracing::subscriber::{NoSubscriber, with_default};

use super::ledger::{Ledger, News, Signature};
use crate::cli::Failure;
use crate::cli::sandbox::platforms;
use crate::engine::clock;

const TOLERANCE_S: u64 = 300;

struct Receiver {
    ledger: Arc<Ledger>,
    secrets: Vec<hmac::Key>,
}

#[derive(Deserialize)]
struct Webhook {
    #[serde(rename = "type")]
    kind: String,
    data: News,
}

/// Starts the receiver on a thread of its own, where it lives as long as the process; where it listens.
pub fn start(ledger: Arc<Ledger>) -> Result<SocketAddr, Failure> {
    let secrets = platforms::DEMOS.iter().map(|demo| secret(demo.webhook_secret)).collect::<Result<Vec<_>, _>>()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        // What it says of its workers would stand in the way of the progress.
        let served = with_default(NoSubscriber::default(), || serve(listener, Receiver { ledger, secrets }));
        if let Err(error) = served {
            tracing::error!(%error, "no webhooks can be received");
        }
    });
    Ok(address)
}

fn serve(listener: TcpListener, receiver: Receiver) -> io::Result<()> {
    let receiver = Data::new(receiver);
    let server = HttpServer::new(move || {
        App::new().app_data(receiver.clone()).route("/webhooks/{platform}", web::post().to(take))
    });
    actix::System::new().block_on(async { server.workers(1).disable_signals().listen(listener)?.run().await })
}

fn secret(text: &str) -> Result<hmac::Key, Failure> {
    let encoded = text.strip_prefix("whsec_").ok_or("a webhook secret begins with whsec_")?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(encoded)?))
}

async fn take(receiver: Data<Receiver>, platform: web::Path<usize>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let now_s = (clock::now().0 / 1_000).unsigned_abs();
    let signature = match receiver.secrets.get(*platform) {
        Some(key) => verify(key, id, timestamp, header("webhook-signature"), &body, now_s),
        None => Signature::Wrong,
    };
    let webhook = serde_json::from_slice::<Webhook>(&body).ok();
    let (kind, news) = webhook.map_or((String::new(), None), |webhook| (webhook.kind, Some(webhook.data)));
    receiver.ledger.webhook(id, signature, &kind, news.as_ref());
    match signature {
        Signature::Right => HttpResponse::NoContent().finish(),
        Signature::Wrong => HttpResponse::Unauthorized().finish(),
    }
}

fn verify(key: &hmac::Key, id: &str, timestamp: &str, signatures: &str, body: &[u8], now_s: u64) -> Signature {
    let fresh = timestamp.parse::<u64>().is_ok_and(|sent_s| sent_s.abs_diff(now_s) <= TOLERANCE_S);
    let signed = [id.as_bytes(), timestamp.as_bytes(), body].join(&b'.');
    let right = signatures
        .split(' ')
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
        .any(|tag| hmac::verify(key, &signed, &tag).is_ok());
    if fresh && right && !id.is_empty() { Signature::Right } else { Signature::Wrong }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's reference libraries.
    #[test]
    fn the_published_example_holds_and_nothing_else_does() {
        let key = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, timestamp, now_s) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", 1_614_265_330);
        let (body, signature) = (br#"{"test": 2432232314}"#, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let both = format!("v1,AAAA {signature}");
        let check = |id, timestamp, signature, body: &[u8], now_s| verify(&key, id, timestamp, signature, body, now_s);
        assert_eq!(check(id, timestamp, signature, body, now_s + 300), Signature::Right);
        assert_eq!(check(id, timestamp, &both, body, now_s), Signature::Right);
        assert_eq!(check(id, timestamp, signature, body, now_s + 301), Signature::Wrong);
        assert_eq!(check(id, timestamp, signature, b"{}", now_s), Signature::Wrong);
        assert_eq!(check("msg_other", timestamp, signature, body, now_s), Signature::Wrong);
        assert_eq!(check(id, "1614265331", signature, body, now_s), Signature::Wrong);
        assert_eq!(check(id, timestamp, "v1,", body, now_s), Signature::Wrong);
    }
}
