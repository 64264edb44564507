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
use crate::ledger::{Event, Genuine, Ledger, RefundEvent};
use crate::seller::Seller;
use crate::signature::Signed;
use crate::wire::{Broken, Framing, Inbox, Reuse};

const HEADERS_MAX: usize = 64;

pub struct Receiver {
    pub ledger: Arc<Ledger>,
    pub load: Arc<Load>,
    pub sellers: Vec<Seller>,
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
    #[serde(borrow)]
    merchant_refund_id: Option<Cow<'a, str>>,
    /// Of a refund, what the payer got back.
    #[serde(borrow)]
    amount: Option<Cow<'a, str>>,
}

/// What a webhook tells of, and the serial number of the order that it belongs to.
enum News {
    Order { serial: u64, event: Event, payable_minor: u64 },
    Refund { serial: u64, number: u8, event: RefundEvent, amount_minor: u64 },
}

impl News {
    fn serial(&self) -> u64 {
        match self {
            Self::Order { serial, .. } | Self::Refund { serial, .. } => *serial,
        }
    }
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
        let Ok(webhook) = serde_json::from_slice::<Webhook<'_>>(body) else {
            self.ledger.stranger();
            return Reply::Refused;
        };
        let Some(news) = self.news(&webhook) else {
            self.ledger.stranger();
            return Reply::Taken;
        };
        if number.is_multiple_of(self.check_one_in) {
            let seller = &self.sellers[self.load.orders().seller(news.serial())];
            let genuine = match seller.secret.signed(signed(headers), body, SystemTime::now()) {
                true => Genuine::Yes,
                false => Genuine::No,
            };
            self.ledger.checked(genuine);
            if genuine == Genuine::No {
                return Reply::Refused;
            }
        }
        match news {
            News::Order { serial, event, payable_minor } => {
                self.ledger.learn(serial, event, payable_minor, Instant::now());
            }
            News::Refund { serial, number, event, amount_minor } => {
                self.ledger.learn_refund((serial, number), event, amount_minor, Instant::now());
            }
        }
        Reply::Taken
    }

    /// None: it is of nothing that this run asked for.
    fn news(&self, webhook: &Webhook<'_>) -> Option<News> {
        let minor = |amount: &Option<Cow<'_, str>>| amount.as_deref().and_then(minor_units).unwrap_or_default();
        let (orders, data) = (self.load.orders(), &webhook.data);
        match &data.merchant_refund_id {
            Some(id) => {
                let ((serial, number), event) = (orders.refund_of(id)?, RefundEvent::from_name(&webhook.event)?);
                Some(News::Refund { serial, number, event, amount_minor: minor(&data.amount) })
            }
            None => {
                let serial = orders.serial_of(data.merchant_order_id.as_ref()?)?;
                let event = Event::from_name(&webhook.event)?;
                Some(News::Order { serial, event, payable_minor: minor(&data.payable) })
            }
        }
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
