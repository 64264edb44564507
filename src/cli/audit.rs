//! Stub.
use std::process::ExitCode;

use clap::Args;

use super::Failure;
use crate::config::Config;

#[derive(Debug, Args)]
pub struct AuditArgs {}

pub async fn run(_config: Config, _args: AuditArgs) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
