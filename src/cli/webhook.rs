//! `tongbao webhook`: dead letters.

use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::Table;

use super::changer::{Absent, Changer};
use super::output::say;
use super::{Failure, opening};
use crate::config::Config;
use crate::domain::id::OrderId;
use crate::domain::stream::StreamId;
use crate::domain::time::Instant;
use crate::engine::changes::{Change, Choice};

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
    /// Erase webhooks that were given up; without an option all of them, which is asked first
    Erase {
        /// Only those of this order
        #[arg(long, value_name = "ID")]
        order: Option<String>,
        /// Only those that tell of facts before this instant (RFC 3339)
        #[arg(long, value_name = "TIME")]
        before: Option<String>,
    },
}

/// The stream of the order of this id, where one was given.
fn stream_of(text: Option<String>) -> Result<Option<StreamId>, Failure> {
    let stream = |text: String| match text.parse::<OrderId>() {
        Ok(order) => Ok(order.into()),
        Err(_) => Err(format!("{text} is no order id").into()),
    };
    text.map(stream).transpose()
}

/// Asks before what cannot be undone.
fn is_confirmed() -> Result<bool, Failure> {
    eprint!("Every webhook that was given up will be erased and can never be sent. Write yes to go on: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

pub async fn run(config: Config, command: WebhookCommand) -> Result<ExitCode, Failure> {
    match command {
        WebhookCommand::Dead { limit } => {
            let store = opening::open(&config).await?;
            let mut table = Table::new();
            table.set_header(["of", "sequence", "type", "at", "tries", "last answer"]);
            for letter in store.dead_letters(None, limit).await? {
                let letter = match (letter.value, letter.key) {
                    (Ok(letter), _) => letter,
                    (Err(error), Some((stream, sequence))) => {
                        eprintln!("passed over: webhook {sequence} of {stream}: {error}");
                        continue;
                    }
                    (Err(error), None) => {
                        eprintln!("passed over: {error}");
                        continue;
                    }
                };
                table.add_row([
                    letter.stream.to_string(),
                    letter.sequence.to_string(),
                    letter.kind.name().to_owned(),
                    letter.at.rfc3339(),
                    letter.tries.to_string(),
                    letter.why,
                ]);
            }
            say!("{table}")?;
            store.close().await?;
        }
        WebhookCommand::Replay { order } => {
            let choice = Choice { stream: stream_of(order)?, before: None, after: None };
            let count = each(&config, choice, Change::ReplayDeadLetters).await?;
            say!("{count} webhooks are due again")?;
        }
        WebhookCommand::Erase { order, before } => {
            let stream = stream_of(order)?;
            let before = match before {
                Some(text) => {
                    Some(Instant::parse_rfc3339(&text).ok_or_else(|| format!("{text} is no instant of RFC 3339"))?)
                }
                None => None,
            };
            if stream.is_none() && before.is_none() && !is_confirmed()? {
                return Err("nothing was erased".into());
            }
            let count = each(&config, Choice { stream, before, after: None }, Change::EraseDeadLetters).await?;
            say!("{count} webhooks are erased")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Has a change made of all dead letters that are meant, a page at a time; how many there were.
async fn each(config: &Config, choice: Choice, change: fn(Choice) -> Change) -> Result<u64, Failure> {
    let changer = Changer::reach(config, Absent::Refuse).await?;
    let counted = count(&changer, choice, change).await;
    let left = changer.leave().await;
    let count = counted?;
    left.map(|()| count)
}

async fn count(changer: &Changer, mut choice: Choice, change: fn(Choice) -> Change) -> Result<u64, Failure> {
    let (mut count, mut unreadable) = (0, 0);
    loop {
        let done = match changer.make(change(choice.clone())).await {
            Ok(done) => done,
            Err(error) if count == 0 => return Err(error.into()),
            Err(error) => return Err(format!("{count} webhooks before this, then: {error}").into()),
        };
        count += done.count;
        unreadable += done.unreadable;
        match done.next {
            Some(next) => choice.after = Some(next),
            None => break,
        }
    }
    if unreadable > 0 {
        eprintln!("{unreadable} webhooks cannot be read and were left as they are");
    }
    Ok(count)
}
