//! `tongbao gateway`: the simulated gateway, alone or as the child of a server.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Failure;
use crate::cli::process::asked_to_stop;
use crate::config::Config;
use crate::gateway;

#[derive(Debug, Args)]
pub struct GatewayArgs {
    /// End when standard input does: how a server takes its gateway with it, however it ends
    #[arg(long, hide = true)]
    child: bool,
}

pub async fn run(config: Config, args: GatewayArgs) -> Result<ExitCode, Failure> {
    tracing::info!(listen = %config.gateway.listen, "simulated gateway");
    if args.child {
        gateway::run(&config, parent_gone()).await?;
    } else {
        gateway::run(&config, asked_to_stop()).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Resolves when the parent's end of the pipe closes. An interrupt at the terminal or its end reaches parent and child
/// alike, and is the parent's to answer, which still needs its gateway while it stops.
async fn parent_gone() {
    let signals = [signal(SignalKind::interrupt()), signal(SignalKind::hangup())];
    let mut input = tokio::io::stdin();
    let mut waste = [0u8; 64];
    while matches!(input.read(&mut waste).await, Ok(read) if read > 0) {}
    drop(signals);
}

/// How long an address may still be held: a gateway whose server was just killed needs a moment to leave it.
const FREE_WITHIN: Duration = Duration::from_secs(3);
/// How long a child may take to listen: it reads its books first.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Starts the simulated gateway as a child that ends with this process, and waits until it listens.
///
/// # Errors
/// Its address is taken, or it ends or does not listen in time.
pub async fn start_child(config: &Config, overlays: &[PathBuf]) -> Result<Child, Failure> {
    let address = config.gateway.listen;
    wait_until_free(address).await?;
    let mut child = spawn(overlays)?;
    let deadline = Instant::now() + LISTENS_WITHIN;
    loop {
        if let Some(status) = child.try_wait()? {
            return Err(format!("the simulated gateway ended with {status} before it listened at {address}").into());
        }
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return Ok(child);
        }
        if Instant::now() > deadline {
            return Err(format!("the simulated gateway does not listen at {address}").into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn wait_until_free(address: SocketAddr) -> Result<(), Failure> {
    let deadline = Instant::now() + FREE_WITHIN;
    loop {
        match TcpListener::bind(address) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(format!(
                    "`gateway.listen` {address} is taken by another program: end it, choose another address, or set \
                     `gateway.embedded = false` if it is a simulated gateway"
                )
                .into());
            }
            Err(error) => return Err(format!("`gateway.listen` {address}: {error}").into()),
        }
    }
}

/// Starts the child again whenever it ends by itself. Dropping this future ends the child.
pub async fn keep_child(mut child: Child, config: Arc<Config>, overlays: Vec<PathBuf>) {
    loop {
        // To wait for a child closes its input, which is what tells it to end: the pipe is held meanwhile.
        let pipe = child.stdin.take();
        let ended = child.wait().await;
        drop(pipe);
        tracing::error!(?ended, "the simulated gateway ended; starting it again");
        match start_child(&config, &overlays).await {
            Ok(started) => child = started,
            Err(error) => return tracing::error!(%error, "the simulated gateway is gone"),
        }
    }
}

fn spawn(overlays: &[PathBuf]) -> Result<Child, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    for overlay in overlays {
        command.arg("--config").arg(overlay);
    }
    Ok(command.args(["gateway", "--child"]).stdin(Stdio::piped()).kill_on_drop(true).spawn()?)
}
