//! The command line. Each command is a file of its own.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use nix::sys::stat::Mode;

use self::output::Lost;
use crate::config::Config;
use crate::telemetry;

mod accounts;
mod adjust;
mod audit;
mod bill;
mod changer;
mod expiry;
mod keys;
mod ledger;
mod netting;
mod opening;
mod operator;
mod output;
mod payout;
mod platform;
mod process;
#[cfg_attr(not(feature = "sandbox"), path = "cli/no_sandbox.rs")]
mod sandbox;
mod serve;
mod settle;
mod webhook;

/// Payments and settlement across platforms and channels.
#[derive(Debug, Parser)]
#[command(name = "tongbao", version, about, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Args)]
struct Common {
    /// A configuration file laid over the defaults; may be repeated. Variables such as
    /// TONGBAO_SERVER__LISTEN=0.0.0.0:8080 come last. Every key is explained in config/default.toml.
    #[arg(long, value_name = "FILE", global = true)]
    config: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server; in the sandbox with the simulated gateway beside it
    Serve,
    #[command(flatten)]
    Sandbox(sandbox::SandboxCommand),
    /// Create and list platforms, rotate and revoke their keys
    #[command(subcommand)]
    Platform(platform::PlatformCommand),
    /// List webhooks that were given up, and send them again
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// Add people who work here, and do what they do, at a running server
    #[command(subcommand)]
    Operator(operator::OperatorCommand),
    /// Check the books against themselves and against the simulated gateway's
    Audit(audit::AuditArgs),
    /// Propose an entry by hand, at a running server
    Adjust(adjust::AdjustArgs),
    /// Close cycles, and see what platforms are settled for
    Settle(settle::SettleArgs),
    /// Pay platforms what they are settled for
    Payout(payout::PayoutArgs),
    /// Show the trial balance, or an account's lines
    Ledger(ledger::LedgerArgs),
    /// Show what platforms pay each other, at a running server
    #[command(subcommand)]
    Netting(netting::NettingCommand),
    /// Fetch a channel's statement of a day, check it, and show or write its lines
    Bill(bill::BillArgs),
}

/// Why a command failed, for the person who called it.
type Failure = Box<dyn std::error::Error>;

impl Cli {
    /// Runs the command; what fails is said on standard error.
    pub fn run(self) -> ExitCode {
        // What is written here is ours alone: stores hold webhook secrets and payers, the sandbox's folder holds keys.
        nix::sys::stat::umask(Mode::S_IRWXG | Mode::S_IRWXO);
        match self.execute() {
            Ok(code) => code,
            // As a shell shows the end of a program whose reader has gone.
            Err(error) if error.downcast_ref::<Lost>().is_some_and(Lost::reader_is_gone) => ExitCode::from(128 + 13),
            Err(error) => {
                // Nobody may be reading this either.
                let _ = writeln!(std::io::stderr(), "tongbao: {error}");
                ExitCode::FAILURE
            }
        }
    }

    fn execute(self) -> Result<ExitCode, Failure> {
        let config = Config::load(&self.common.config)?;
        let _logs = telemetry::start_logs(&config.log)?;
        for name in &config.ignored_variables {
            tracing::info!(name, "an environment variable of a Kubernetes service was ignored");
        }
        let system = actix::System::new();
        match self.command {
            Command::Serve => system.block_on(serve::run(config, &self.common.config)),
            Command::Sandbox(command) => system.block_on(sandbox::run(command, config, &self.common.config)),
            Command::Platform(command) => system.block_on(platform::run(config, command)),
            Command::Webhook(command) => system.block_on(webhook::run(config, command)),
            Command::Operator(command) => system.block_on(operator::run(config, command)),
            Command::Audit(args) => system.block_on(audit::run(config, args)),
            Command::Adjust(args) => system.block_on(adjust::run(config, args)),
            Command::Settle(args) => system.block_on(settle::run(config, args)),
            Command::Payout(args) => system.block_on(payout::run(config, args)),
            Command::Ledger(args) => system.block_on(ledger::run(config, args)),
            Command::Netting(command) => system.block_on(netting::run(config, command)),
            Command::Bill(args) => system.block_on(bill::run(config, args)),
        }
    }
}
