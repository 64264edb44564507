//! In place of `sandbox.rs` in a build without the feature `sandbox`. The configuration refuses `sandbox = true` there,
//! so that there is nothing to do.

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
pub enum SandboxCommand {}

pub async fn run(command: SandboxCommand, _: Config, _: &[PathBuf]) -> Result<ExitCode, Failure> {
    match command {}
}

/// A store keeps the mode of its first start: none that is opened here has a demo key in force.
pub async fn settle_demos(_: &Config, _: &dyn Store, _: &Changes) -> Result<(), Failure> {
    Ok(())
}

/// Nobody has a key that everybody knows.
pub fn operator_key() -> Option<SecretString> {
    None
}

pub async fn start_gateway(_: &Arc<Config>, _: &[PathBuf]) -> Result<Option<JoinHandle<()>>, Failure> {
    Ok(None)
}
