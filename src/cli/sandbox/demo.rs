//! `tongbao demo`: a fresh sandbox, a few thousand orders by two platforms, some of them split and refunded, and then the
//! books.

mod browser;
mod ledger;
mod mix;
mod progress;
mod receiver;
mod refunding;
mod server;
mod summary;
mod traffic;

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser};

use self::ledger::Ledger;
use self::mix::Mix;
use self::server::{Folder, Server};
use self::summary::Verdict;
use self::traffic::Traffic;
use crate::cli::audit::{Auditor, Progress, Sample};
use crate::cli::ledger::{self as general_ledger, LedgerArgs};
use crate::cli::output::say;
use crate::cli::process::asked_to_stop;
use crate::cli::{Failure, opening};
use crate::config::Config;
use crate::domain::money::Currency;
use crate::engine::clock;

/// How long orders and refunds may take to settle once the last one was posted. A refund that is ended under every number
/// takes half a minute.
const SETTLE_WITHIN: Duration = Duration::from_secs(90);
/// How long the books may take to come to rest once all is settled.
const REST_WITHIN: Duration = Duration::from_secs(10);
/// Orders that are compared with the gateway attempt by attempt.
const COMPARED: u64 = 500;

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many orders
    #[arg(long, value_name = "N", default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    orders: u32,
    /// How many orders a second
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    rate: u32,
    /// What happens to them: the sandbox's scripts and how often each is played, by simpay where no channel is named.
    ///
    /// `+split` gives a tenth of the order to platform-b. Of a paid order is asked back: all (`+refund`), a third (`+part`),
    /// a third and then the rest (`+parts`), or all by a script of the sandbox (`+poor`, `+refuse`, `+end`, `+return`), as
    /// far as the channel has words for it.
    #[arg(long, value_name = "[CHANNEL/]SCRIPT[+split][+REFUND]=SHARE,…", default_value = mix::DEFAULT)]
    mix: Mix,
}

/// `tongbao ledger` as it is called without arguments.
#[derive(Debug, Parser)]
struct Trial {
    #[command(flatten)]
    ledger: LedgerArgs,
}

/// How the traffic came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Settled,
    /// Some orders or refunds were still under way when the time was up.
    TimeUp,
    Interrupted,
    ServerEnded,
}

pub async fn run(config: Config, args: DemoArgs, overlays: &[PathBuf]) -> Result<ExitCode, Failure> {
    let mut stop_asked = pin!(asked_to_stop());
    let folder = Folder::open(config.data.dir.join("demo"))?;
    let config = server::configure(&config, &folder, &args.mix)?;
    // No certificates: everybody here speaks plain text.
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
    say!("Starting a sandbox in {} at {}", config.data.dir.display(), config.server.public_url)?;
    let mut server = tokio::select! {
        server = Server::start(&config, &folder, overlays, &client) => server?,
        () = &mut stop_asked => return Ok(ExitCode::FAILURE),
    };

    let kinds = args.mix.deal(usize::try_from(args.orders)?);
    let ledger = Arc::new(Ledger::new(format!("demo-{}", clock::now().0), &kinds)?);
    let webhooks = format!("http://{}/webhooks", receiver::start(ledger.clone())?);
    let currency = Currency::parse("CNY").ok_or("CNY is no currency")?;
    let traffic = Traffic::new(client, config.server.public_url.clone(), webhooks, currency, ledger.clone());
    say!("Posting {} orders, {} a second", args.orders, args.rate)?;
    let posting = async {
        Arc::new(traffic).run(&kinds, args.rate).await;
        tokio::time::sleep(SETTLE_WITHIN).await;
    };
    let end = tokio::select! {
        shown = progress::show_until_settled(&ledger) => { shown?; End::Settled }
        () = posting => End::TimeUp,
        () = &mut stop_asked => End::Interrupted,
        () = server.ended() => End::ServerEnded,
    };
    finish(&config, &ledger, end, server).await
}

/// The summary, the books, the trial balance, and the end of the server.
async fn finish(config: &Config, ledger: &Ledger, end: End, server: Server) -> Result<ExitCode, Failure> {
    summary::print(ledger)?;
    let store = opening::connect(config)?;
    let url = config.gateway_url();
    let auditor = Auditor::new(store.as_ref(), config, Some(&url), Sample::AtMost(COMPARED), Progress::Hidden)?;
    let patience = match end {
        End::Settled | End::TimeUp | End::Interrupted => REST_WITHIN,
        End::ServerEnded => Duration::ZERO,
    };
    let report = auditor.wait(patience).await;
    say!("{}", report.for_people())?;
    let trial = Trial::try_parse_from(["ledger"])?.ledger;
    let is_balanced = general_ledger::run(config.clone(), trial).await? == ExitCode::SUCCESS;
    let status = server.stop().await?;
    if !status.success() {
        say!("The server ended with {status}.")?;
    }
    match end {
        End::Settled => {}
        End::TimeUp => say!("Some orders or refunds were still under way after {} s.", SETTLE_WITHIN.as_secs())?,
        End::Interrupted => say!("Interrupted: this is how far it came.")?,
        End::ServerEnded => say!("The server ended too early; see {}.", config.data.dir.join(server::LOG).display())?,
    }
    let verdict = summary::verdict(ledger);
    if verdict == Verdict::Otherwise && end == End::Settled {
        say!("Not every order and refund ended as its script says.")?;
    }
    let right = report.ok && is_balanced && status.success() && end == End::Settled && verdict == Verdict::AsScripted;
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
