//! Stub.
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Failure;
use crate::config::Config;

#[derive(Debug, Args)]
pub struct DemoArgs {}

pub async fn run(_config: Config, _args: DemoArgs, _overlays: &[PathBuf]) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
