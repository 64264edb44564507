//! HTTP/1.1 over a kept-alive connection, with as little work per request as the generator can do: it shares the
//! machine's processors with the server it measures. One write and one read per request, no allocation.

use std::ops::Range;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;

const HEADERS_MAX: usize = 64;
const INBOX_START: usize = 8 * 1024;
const INBOX_MAX: usize = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why an exchange gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    Connect,
    Closed,
    Timeout,
    Protocol,
}

impl Broken {
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    Keep,
    Close,
}

#[derive(Debug)]
pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
    pub reuse: Reuse,
}

/// Received bytes, of which the first `filled` are meaningful.
pub struct Inbox {
    bytes: Vec<u8>,
    filled: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { bytes: vec![0; INBOX_START], filled: 0 }
    }
}

impl Inbox {
    pub fn received(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    pub async fn read_from(&mut self, stream: &mut TcpStream) -> Result<(), Broken> {
        if self.filled == self.bytes.len() {
            if self.bytes.len() >= INBOX_MAX {
                return Err(Broken::Protocol);
            }
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        match stream.read(&mut self.bytes[self.filled..]).await {
            Ok(0) | Err(_) => Err(Broken::Closed),
            Ok(count) => {
                self.filled += count;
                Ok(())
            }
        }
    }

    /// Forgets the first `count` bytes; what follows them moves to the front.
    pub fn consume(&mut self, count: usize) {
        self.bytes.copy_within(count..self.filled, 0);
        self.filled -= count;
    }
}

pub struct Connection {
    stream: TcpStream,
    inbox: Inbox,
    used: Instant,
}

impl Connection {
    pub async fn open(endpoint: &Endpoint) -> Result<Self, Broken> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(endpoint.address()));
        let stream = connecting.await.map_err(|_| Broken::Connect)?.map_err(|_| Broken::Connect)?;
        stream.set_nodelay(true).map_err(|_| Broken::Connect)?;
        Ok(Self { stream, inbox: Inbox::default(), used: Instant::now() })
    }

    pub fn idle_for(&self) -> Duration {
        self.used.elapsed()
    }

    /// Sends one request and reads its answer. After an error the connection must not be used again.
    pub async fn exchange(&mut self, request: &[u8], patience: Duration) -> Result<Answer<'_>, Broken> {
        let shape = tokio::time::timeout(patience, self.exchange_unbounded(request));
        let shape = shape.await.map_err(|_| Broken::Timeout)??;
        self.used = Instant::now();
        Ok(Answer { status: shape.status, body: &self.inbox.received()[shape.body], reuse: shape.reuse })
    }

    async fn exchange_unbounded(&mut self, request: &[u8]) -> Result<Shape, Broken> {
        self.stream.write_all(request).await.map_err(|_| Broken::Closed)?;
        self.inbox.filled = 0;
        loop {
            self.inbox.read_from(&mut self.stream).await?;
            if let Some(shape) = shape(self.inbox.received())? {
                return Ok(shape);
            }
        }
    }
}

struct Shape {
    status: u16,
    body: Range<usize>,
    reuse: Reuse,
}

fn shape(received: &[u8]) -> Result<Option<Shape>, Broken> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(received).map_err(|_| Broken::Protocol)? {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.ok_or(Broken::Protocol)?;
    let framing = Framing::of(response.headers)?;
    let length = match (framing.length, status) {
        (Some(length), _) => length,
        (None, 204 | 304) => 0,
        (None, _) => return Err(Broken::Protocol),
    };
    let body = head..head + length;
    Ok((received.len() >= body.end).then_some(Shape { status, body, reuse: framing.reuse }))
}

/// What the headers say about where a message ends and whether another may follow.
pub struct Framing {
    pub length: Option<usize>,
    pub reuse: Reuse,
}

impl Framing {
    /// Chunked bodies are refused: nothing the generator talks to needs them for a short JSON document.
    pub fn of(headers: &[httparse::Header<'_>]) -> Result<Self, Broken> {
        let mut framing = Self { length: None, reuse: Reuse::Keep };
        for header in headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                let text = std::str::from_utf8(header.value).map_err(|_| Broken::Protocol)?;
                let length: usize = text.trim().parse().map_err(|_| Broken::Protocol)?;
                if length > INBOX_MAX {
                    return Err(Broken::Protocol);
                }
                framing.length = Some(length);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(Broken::Protocol);
            } else if header.name.eq_ignore_ascii_case("connection") && header.value.eq_ignore_ascii_case(b"close") {
                framing.reuse = Reuse::Close;
            }
        }
        Ok(framing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_only_with_its_body() {
        let whole = b"HTTP/1.1 201 Created\r\ncontent-length: 5\r\n\r\nhello";
        for cut in 0..whole.len() {
            assert!(shape(&whole[..cut]).unwrap().is_none(), "cut at {cut}");
        }
        let shape = shape(whole).unwrap().unwrap();
        assert_eq!((shape.status, &whole[shape.body]), (201, &b"hello"[..]));
        assert_eq!(shape.reuse, Reuse::Keep);
    }

    #[test]
    fn a_closing_answer_is_told() {
        let answer = b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(shape(answer).unwrap().unwrap().reuse, Reuse::Close);
    }

    #[test]
    fn what_has_no_known_end_is_refused() {
        assert!(shape(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(shape(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(shape(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n").is_err());
        assert!(shape(b"nonsense\r\n\r\n").is_err());
        assert_eq!(shape(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap().body.len(), 0);
    }
}
