//! `tongbao webhook`: dead letters.

use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::Table;

use super::output::say;
use super::{Failure, opening};
use crate::actors::clock;
use crate::config::Config;
use crate::domain::id::OrderId;

#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// Show webhooks that were given up
    Dead {
        /// At most this many
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Make webhooks that were given up due again; a running server sends them within seconds
    Replay {
        /// Only those of this order
        #[arg(long, value_name = "ID")]
        order: Option<String>,
    },
}

pub async fn run(config: Config, command: WebhookCommand) -> Result<ExitCode, Failure> {
    let store = opening::open(&config).await?;
    match command {
        WebhookCommand::Dead { limit } => {
            let mut table = Table::new();
            table.set_header(["order", "sequence", "type", "at", "tries", "last answer"]);
            for letter in store.dead_letters(None, limit).await? {
                let letter = match (letter.value, letter.key) {
                    (Ok(letter), _) => letter,
                    (Err(error), Some((order, sequence))) => {
                        eprintln!("passed over: webhook {sequence} of {order}: {error}");
                        continue;
                    }
                    (Err(error), None) => {
                        eprintln!("passed over: {error}");
                        continue;
                    }
                };
                table.add_row([
                    letter.order.to_string(),
                    letter.sequence.to_string(),
                    letter.kind.name().to_owned(),
                    letter.at.rfc3339(),
                    letter.tries.to_string(),
                    letter.why,
                ]);
            }
            say!("{table}")?;
        }
        WebhookCommand::Replay { order } => {
            let order = match order {
                Some(text) => Some(text.parse::<OrderId>().map_err(|_| format!("{text} is no order id"))?),
                None => None,
            };
            say!("{} webhooks are due again", store.replay(order, clock::now()).await?)?;
        }
    }
    store.close().await?;
    Ok(ExitCode::SUCCESS)
}
