//! A TCP proxy before PostgreSQL, which can cut the connection of a commit off: before the server hears of it, or
//! between the commit and its answer.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What ends every answer of the server when no transaction is left open.
const READY_FOR_QUERY: &[u8] = b"Z\0\0\0\x05I";
const BUFFER_BYTES: usize = 1 << 16;
/// How long a cut may be waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which way of a commit is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The server never gets all of it, so it does nothing.
    Request,
    /// The server has committed; its answer is lost.
    Answer,
}

/// What is cut off next: the request that holds these bytes.
struct Trap {
    marker: String,
    cut: Cut,
}

pub struct Proxy {
    pub address: SocketAddr,
    gate: Arc<Gate>,
}

struct Gate {
    server: SocketAddr,
    trap: Mutex<Option<Trap>>,
    /// Nobody is let in after a cut until the test says so.
    closed: AtomicBool,
}

impl Proxy {
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the proxy listens");
        let address = listener.local_addr().expect("it has an address");
        let gate = Arc::new(Gate { server, trap: Mutex::default(), closed: AtomicBool::new(false) });
        let entry = gate.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !entry.closed.load(Ordering::SeqCst) {
                    tokio::spawn(relay(client, entry.clone()));
                }
            }
        });
        Proxy { address, gate }
    }

    /// Cuts the next request off that holds `marker`, once.
    pub fn cut(&self, cut: Cut, marker: &str) {
        *self.trap() = Some(Trap { marker: marker.to_owned(), cut });
    }

    /// Waits until the connection was cut. From then on nobody gets through.
    pub async fn was_cut(&self) {
        let closed = async {
            while !self.gate.closed.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, closed).await.expect("what was to be cut off came");
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.gate.closed.store(false, Ordering::SeqCst);
    }

    fn trap(&self) -> std::sync::MutexGuard<'_, Option<Trap>> {
        self.gate.trap.lock().expect("nothing panics while it holds the trap")
    }
}

impl Gate {
    /// How this request is to be cut off, if it is.
    fn springs(&self, request: &[u8]) -> Option<Cut> {
        let mut trap = self.trap.lock().expect("nothing panics while it holds the trap");
        let holds = |marker: &str| request.windows(marker.len()).any(|bytes| bytes == marker.as_bytes());
        trap.take_if(|trap| holds(&trap.marker)).map(|trap| trap.cut)
    }
}

/// Carries bytes both ways until one side ends, or until the connection is to be cut, which dropping both sides does.
async fn relay(mut client: TcpStream, gate: Arc<Gate>) -> io::Result<()> {
    let mut server = TcpStream::connect(gate.server).await?;
    let (mut from_client, mut from_server) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    let mut request = Vec::new();
    // What the server answered to a request whose answer is to be lost.
    let mut swallowed: Option<Vec<u8>> = None;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let bytes = &from_client[..read?];
                request.extend_from_slice(bytes);
                match gate.springs(&request) {
                    None => {}
                    Some(Cut::Answer) => swallowed = Some(Vec::new()),
                    Some(Cut::Request) => break,
                }
                if bytes.is_empty() {
                    return Ok(());
                }
                server.write_all(bytes).await?;
            }
            read = server.read(&mut from_server) => {
                let bytes = &from_server[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                request.clear();
                match &mut swallowed {
                    None => client.write_all(bytes).await?,
                    Some(answer) => {
                        answer.extend_from_slice(bytes);
                        if answer.ends_with(READY_FOR_QUERY) {
                            break;
                        }
                    }
                }
            }
        }
    }
    gate.closed.store(true, Ordering::SeqCst);
    Ok(())
}
