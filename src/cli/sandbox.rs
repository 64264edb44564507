//! What the command line has for the sandbox alone: the simulated gateway, the demo and the demo platforms.
//!
//! A build without the feature `sandbox` has `no_sandbox.rs` in place of this module.

mod demo;
mod gateway;
mod operators;
mod platforms;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use secrecy::SecretString;
use tokio::task::JoinHandle;

use super::Failure;
use crate::config::Config;
use crate::engine::changes::Changes;
use crate::store::Store;

#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// Run the simulated gateway alone
    Gateway(gateway::GatewayArgs),
    /// Start a fresh sandbox, send it a few thousand orders and reconcile the books
    Demo(demo::DemoArgs),
}

pub async fn run(command: SandboxCommand, config: Config, overlays: &[PathBuf]) -> Result<ExitCode, Failure> {
    match command {
        SandboxCommand::Gateway(args) => gateway::run(config, args).await,
        SandboxCommand::Demo(args) => demo::run(config, args, overlays).await,
    }
}

/// Makes the demo platforms and operators in the sandbox. Elsewhere everybody knows their keys, so they die.
pub async fn settle_demos(config: &Config, store: &dyn Store, changes: &Changes) -> Result<(), Failure> {
    match config.sandbox {
        true => {
            platforms::open(store, changes).await?;
            operators::open(store, changes).await
        }
        false => {
            platforms::close(store, changes).await?;
            operators::close(store, changes).await
        }
    }
}

/// The key of a demo operator, who may do all that an admin may.
pub fn operator_key() -> Option<SecretString> {
    Some(SecretString::from(operators::DEMO_KEY))
}

/// Starts the simulated gateway beside the server, where the configuration says so, and keeps it running; it ends with
/// the task.
pub async fn start_gateway(config: &Arc<Config>, overlays: &[PathBuf]) -> Result<Option<JoinHandle<()>>, Failure> {
    if !(config.sandbox && config.gateway.embedded) {
        return Ok(None);
    }
    let child = gateway::start_child(config, overlays).await?;
    Ok(Some(actix::spawn(gateway::keep_child(child, config.clone(), overlays.to_vec()))))
}
