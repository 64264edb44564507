//! The ceiling: an actix server that parses an order and answers, and nothing else. It runs as a process of its own, so
//! that it does not share the generator's threads.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::endpoint::Endpoint;
use crate::process::Pid;

const START_TIMEOUT: Duration = Duration::from_secs(10);
const ANNOUNCEMENT: &str = "listening ";

#[derive(Deserialize)]
struct Order {
    merchant_order_id: String,
    amount: String,
    currency: String,
    channel: Option<String>,
    description: Option<String>,
    webhook_url: Option<String>,
    expires_in: Option<u32>,
}

#[derive(Serialize)]
struct Accepted {
    object: &'static str,
    state: &'static str,
    merchant_order_id: String,
    amount: String,
    currency: String,
    channel: Option<String>,
    description: Option<String>,
    webhook_url: Option<String>,
    expires_in: Option<u32>,
}

async fn accept(order: web::Json<Order>) -> HttpResponse {
    let order = order.into_inner();
    HttpResponse::Created().json(Accepted {
        object: "order",
        state: "created",
        merchant_order_id: order.merchant_order_id,
        amount: order.amount,
        currency: order.currency,
        channel: order.channel,
        description: order.description,
        webhook_url: order.webhook_url,
        expires_in: order.expires_in,
    })
}

/// How long the server runs.
#[derive(Clone, Copy)]
pub enum Lifetime {
    UntilSignalled,
    /// Standard input is held open by the process that started it.
    WithParent,
}

pub fn serve(listen: SocketAddr, lifetime: Lifetime) -> io::Result<()> {
    actix_web::rt::System::new().block_on(async move {
        let server = HttpServer::new(|| App::new().route("/v1/orders", web::post().to(accept))).bind(listen)?;
        let address = server.addrs().first().copied().unwrap_or(listen);
        let running = server.run();
        match lifetime {
            Lifetime::UntilSignalled => {}
            Lifetime::WithParent => {
                std::thread::spawn(|| {
                    let ended = io::stdin().read_to_end(&mut Vec::new());
                    std::process::exit(i32::from(ended.is_err()));
                });
            }
        }
        writeln!(io::stdout(), "{ANNOUNCEMENT}{address}")?;
        running.await
    })
}

/// The server as a child of the load tester; it ends when this is dropped.
pub struct Baseline {
    child: Child,
    endpoint: Endpoint,
}

impl Baseline {
    pub async fn start() -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["baseline", "--listen", "127.0.0.1:0", "--with-parent"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("the baseline has no output"))?;
        let mut line = String::new();
        let mut lines = BufReader::new(stdout);
        tokio::time::timeout(START_TIMEOUT, lines.read_line(&mut line)).await??;
        let address = line.trim().strip_prefix(ANNOUNCEMENT).and_then(|address| address.parse::<SocketAddr>().ok());
        let address = address.ok_or_else(|| io::Error::other("the baseline did not say where it listens"))?;
        Ok(Self { child, endpoint: address.into() })
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub fn pid(&self) -> Option<Pid> {
        self.child.id().map(Pid)
    }
}
