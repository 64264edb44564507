//! The platform's side of webhooks: receives them, checks the signature of some, and tells the ledger.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::drive::Load;
use crate::ledger::{Event, Genuine, Ledger};
use crate::signature::{Secret, Signed};
use crate::wire::{Broken, Framing, Inbox, Reuse};

const HEADERS_MAX: usize = 64;

pub struct Receiver {
    pub ledger: Arc<Ledger>,
    pub load: Arc<Load>,
    pub secret: Secret,
    /// The signature of one webhook in so many is checked.
    pub check_one_in: u64,
    pub count: AtomicU64,
}

#[derive(Deserialize)]
struct Webhook<'a> {
    #[serde(borrow, rename = "type")]
    event: Cow<'a, str>,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    merchant_order_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payable: Option<Cow<'a, str>>,
}

#[derive(Clone, Copy)]
enum Reply {
    Taken,
    Refused,
}

impl Reply {
    fn bytes(self) -> &'static [u8] {
        match self {
            Self::Taken => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            Self::Refused => b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
        }
    }
}

/// Binds at once; webhooks wait in the listener until `run` takes them.
pub async fn bind(listen: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl Receiver {
    pub async fn run(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let receiver = self.clone();
                    tokio::spawn(async move {
                        // The sender closes when it has nothing more to say: the normal end of a connection.
                        let _ = receiver.converse(stream).await;
                    });
                }
                // Out of file descriptors, say: others may become free.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> Result<(), Broken> {
        stream.set_nodelay(true).map_err(|_| Broken::Closed)?;
        let mut inbox = Inbox::default();
        loop {
            let Some((used, reply, reuse)) = self.take(inbox.received())? else {
                inbox.read_from(&mut stream).await?;
                continue;
            };
            inbox.consume(used);
            stream.write_all(reply.bytes()).await.map_err(|_| Broken::Closed)?;
            match reuse {
                Reuse::Keep => {}
                Reuse::Close => return Ok(()),
            }
        }
    }

    /// Takes the first request of what was received, if it is whole.
    fn take(&self, received: &[u8]) -> Result<Option<(usize, Reply, Reuse)>, Broken> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let head = match request.parse(received).map_err(|_| Broken::Protocol)? {
            httparse::Status::Complete(head) => head,
            httparse::Status::Partial => return Ok(None),
        };
        let framing = Framing::of(request.headers)?;
        let end = head + framing.length.unwrap_or(0);
        if received.len() < end {
            return Ok(None);
        }
        let reply = self.webhook(request.headers, &received[head..end]);
        Ok(Some((end, reply, framing.reuse)))
    }

    fn webhook(&self, headers: &[httparse::Header<'_>], body: &[u8]) -> Reply {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        if number.is_multiple_of(self.check_one_in) {
            let genuine = match self.secret.signed(signed(headers), body, SystemTime::now()) {
                true => Genuine::Yes,
                false => Genuine::No,
            };
            self.ledger.checked(genuine);
            if genuine == Genuine::No {
                return Reply::Refused;
            }
        }
        let Ok(webhook) = serde_json::from_slice::<Webhook<'_>>(body) else {
            self.ledger.stranger();
            return Reply::Refused;
        };
        let serial = webhook.data.merchant_order_id.and_then(|id| self.load.orders().serial_of(&id));
        match (serial, Event::from_name(&webhook.event)) {
            (Some(serial), Some(event)) => {
                let payable = webhook.data.payable.and_then(|text| minor_units(&text)).unwrap_or_default();
                self.ledger.learn(serial, event, payable, Instant::now());
            }
            (None, _) | (_, None) => self.ledger.stranger(),
        }
        Reply::Taken
    }
}

fn signed<'a>(headers: &[httparse::Header<'a>]) -> Signed<'a> {
    let mut signed = Signed::default();
    for header in headers {
        if header.name.eq_ignore_ascii_case("webhook-id") {
            signed.id = header.value;
        } else if header.name.eq_ignore_ascii_case("webhook-timestamp") {
            signed.timestamp = header.value;
        } else if header.name.eq_ignore_ascii_case("webhook-signature") {
            signed.signatures = header.value;
        }
    }
    signed
}

/// Amounts carry exactly their currency's decimals, so that minor units are the digits without the point.
fn minor_units(amount: &str) -> Option<u64> {
    let digits: String = amount.chars().filter(|&c| c != '.').collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_units_are_the_digits() {
        assert_eq!(minor_units("200.60"), Some(20_060));
        assert_eq!(minor_units("200"), Some(200));
        assert_eq!(minor_units("0.01"), Some(1));
        assert_eq!(minor_units("-1.00"), None);
        assert_eq!(minor_units(""), None);
    }
}
