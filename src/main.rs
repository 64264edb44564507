//! The binary: one command line for all roles.

use std::process::ExitCode;

use clap::Parser;
use tongbao::cli::Cli;

/// Messages freed on another thread than the one that made them are the common case here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
