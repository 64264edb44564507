//! Somebody between a server and the simulated gateway, who lets requests pass, answers them himself, packs the answers
//! or cuts the connection off.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::client::http;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Which one of its connection, the first being 1.
    pub place: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether it asks a channel to make a payment.
    pub fn is_create(&self) -> bool {
        let path = self.target.split('?').next().unwrap_or_default();
        self.method == "POST"
            && (path.ends_with("/simpay/v1/payments")
                || path.ends_with("/v3/pay/transactions/native")
                || path.ends_with("/v1/payment_intents")
                || self.target.contains("alipay.trade.precreate"))
    }
}

/// What is done with a request.
#[derive(Debug, Clone)]
pub enum Deed {
    Pass,
    /// The gateway gets it, and its answer comes packed though nobody asked for that.
    Pack,
    /// The gateway never gets it, and the connection ends without an answer.
    Cut,
    /// The gateway never gets it.
    Answer(u16, String),
}

pub struct Meddler {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<(Seen, Deed)>>>,
}

impl Meddler {
    /// Before the gateway at `gateway`; `decide` is told of each request and of how many creates came before it.
    pub async fn start(gateway: SocketAddr, decide: impl Fn(&Seen, usize) -> Deed + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the meddler listens");
        let address = listener.local_addr().expect("it has an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (decide, notes) = (Arc::new(decide), seen.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (decide, notes) = (decide.clone(), notes.clone());
                tokio::spawn(async move { serve(stream, gateway, &*decide, &notes).await });
            }
        });
        Meddler { address, seen }
    }

    pub fn seen(&self) -> Vec<(Seen, Deed)> {
        self.seen.lock().expect("nobody panics with the notes").clone()
    }

    pub fn creates(&self) -> Vec<(Seen, Deed)> {
        self.seen().into_iter().filter(|(seen, _)| seen.is_create()).collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    gateway: SocketAddr,
    decide: &(impl Fn(&Seen, usize) -> Deed + Sync),
    notes: &Mutex<Vec<(Seen, Deed)>>,
) {
    let mut buffer = Vec::new();
    for place in 1.. {
        let Some(seen) = read(&mut stream, &mut buffer, place).await else { return };
        let deed = {
            let mut notes = notes.lock().expect("nobody panics with the notes");
            let creates = notes.iter().filter(|(seen, _)| seen.is_create()).count();
            let deed = decide(&seen, creates);
            notes.push((seen.clone(), deed.clone()));
            deed
        };
        let answer = match deed {
            Deed::Cut => return,
            Deed::Answer(status, body) => written(status, &[], body.as_bytes()),
            Deed::Pass => passed(gateway, &seen, |body| (None, body)).await,
            Deed::Pack => passed(gateway, &seen, |body| (Some("gzip"), packed(&body))).await,
        };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>, place: usize) -> Option<Seen> {
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(buffer[..head].to_vec()).expect("a head of text");
    let mut lines = text.lines();
    let mut first = lines.next().expect("a request line").split(' ');
    let (method, target) = (first.next().expect("a method"), first.next().expect("a target"));
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut seen = Seen { method: method.to_owned(), target: target.to_owned(), headers, body: Vec::new(), place };
    let length = seen.header("content-length").map_or(0, |length| length.parse().expect("a length"));
    while buffer.len() < head + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    seen.body = buffer[head..head + length].to_vec();
    buffer.drain(..head + length);
    Some(seen)
}

async fn passed(
    gateway: SocketAddr,
    seen: &Seen,
    pack: impl Fn(Vec<u8>) -> (Option<&'static str>, Vec<u8>),
) -> Vec<u8> {
    let method = seen.method.parse().expect("a method");
    let mut request = http().request(method, format!("http://{gateway}{}", seen.target));
    for (name, value) in &seen.headers {
        if !["host", "content-length", "connection"].contains(&name.to_ascii_lowercase().as_str()) {
            request = request.header(name, value);
        }
    }
    let answer = request.body(seen.body.clone()).send().await.expect("the gateway answers");
    let status = answer.status().as_u16();
    let mut headers: Vec<(String, String)> = answer
        .headers()
        .iter()
        .filter(|(name, _)| !["content-length", "connection", "transfer-encoding"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().expect("a header of text").to_owned()))
        .collect();
    let (encoding, body) = pack(answer.bytes().await.expect("a body").to_vec());
    headers.extend(encoding.map(|encoding| ("content-encoding".to_owned(), encoding.to_owned())));
    written(status, &headers, &body)
}

fn written(status: u16, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status} Told\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    answer.push_str("\r\n");
    let mut answer = answer.into_bytes();
    // 204 has no body.
    if status != 204 {
        answer.extend_from_slice(body);
    }
    answer
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}
