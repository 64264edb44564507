//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand};

use crate::endpoint::Endpoint;
use crate::mix::Mix;
use crate::order::Ids;
use crate::way::{Channel, Channels, Method};

const LENGTH_MAX: Duration = Duration::from_secs(600);

/// Load tester of Tongbao.
///
/// Open loop (--rate): orders start by a schedule, whatever became of those before; latency counts from the intended
/// start. Closed loop (--connections): each slot asks again as soon as it is answered; this finds saturation.
/// The exit code is 1 when books differ, an audit fails, payments are lost, or (with --enforce) a target is missed.
#[derive(Parser)]
#[command(name = "tongbao-load", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Durable acceptance only: orders without a channel
    Accept(AcceptArgs),
    Checkout(CheckoutArgs),
    /// Alternates short closed-loop rounds of the baseline and of acceptance: ratios of one run
    Saturate(SaturateArgs),
    /// Finds saturation, then offers half of it (latency) and three times it (refusals)
    Overload(OverloadArgs),
    /// Puts orders in that stay open, and tells what the server's memory grows by for each
    Hold(HoldArgs),
    /// Runs only the baseline: a server that parses the order and answers
    Baseline(BaselineArgs),
}

#[derive(Args)]
pub struct Common {
    /// The server under test
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub target: Endpoint,
    /// The simulated gateway, whose books are compared after a checkout run
    #[arg(long, default_value = "http://127.0.0.1:8090")]
    pub gateway: Endpoint,
    /// The platform's key
    #[arg(long, env = "TONGBAO_LOAD_KEY", default_value = "sk_sandbox_a", hide_env_values = true)]
    pub key: String,
    /// Lets targets be other machines; never aim this at a service that is not yours
    #[arg(long)]
    pub allow_remote: bool,
    /// The server's process, for its processor time and memory [default: the one that listens at the target's port]
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// The server's database, for its processor time: the process above all its others (PostgreSQL's postmaster)
    #[arg(long, value_name = "PID")]
    pub database_pid: Option<u32>,
    /// How merchant order ids follow one another
    #[arg(long, value_enum, value_name = "ORDER", default_value = "random")]
    pub ids: Ids,
    /// Amount of each order
    #[arg(long, default_value = "200.00", value_parser = plain_text)]
    pub amount: String,
    /// Currency of each order
    #[arg(long, default_value = "CNY", value_parser = plain_text)]
    pub currency: String,
    /// How long one request may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = length)]
    pub patience: Duration,
    /// Threads of the generator: one is the cheapest per request, two find a higher ceiling
    /// [default: 1, for saturate and overload 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub threads: Option<u8>,
    /// Writes the report as JSON, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Leaves the baseline's round out
    #[arg(long)]
    pub no_baseline: bool,
    /// Leaves the look-up of a sample of the accepted orders out
    #[arg(long)]
    pub no_lookup: bool,
    /// Runs this shell command once all is quiet, shows its output, and fails if it does (e.g. 'tongbao audit --json')
    #[arg(long, value_name = "COMMAND")]
    pub audit: Option<String>,
    /// Fails when a target is missed
    #[arg(long)]
    pub enforce: bool,
}

#[derive(Args)]
pub struct Shape {
    /// Open loop: arrivals per second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
    /// Closed loop: connections (checkout: payments in flight; without --rate and this, as many as saturate two
    /// processors by the channel)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub connections: Option<u32>,
    /// How long, at most 10m
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = length)]
    pub length: Duration,
    /// How long the load is on before rates and latencies count; it precedes --for [default: closed loop 1s, open loop
    /// none]
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub warm_up: Option<Duration>,
    /// Open loop: arrivals beyond so many in flight are skipped and counted
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub in_flight_max: u32,
    /// Connections to the server; the closed loop of acceptance has as many as --connections
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub sockets: u32,
}

#[derive(Args)]
#[command(group = ArgGroup::new("loop").required(true).args(["rate", "connections"]))]
pub struct AcceptArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub shape: Shape,
}

/// Whole payments: order, channel, callback, entries, webhook to this tool.
///
/// Forms that an order shows (Alipay and UnionPay, page and wap) are posted to the gateway as a payer's browser does, over
/// connections of its own; what that costs is the generator's time. The channels must be enabled at the server.
///
///   checkout                                   simpay at saturation
///   checkout --channel wechat --method h5      WeChat Pay's H5 at saturation
///   checkout --channel all --for 10s           every channel in turn, and a table of them at the end
///   checkout --rate 500 --mix plain=9,wechat/sim:hang=1
///   checkout --mix plain=8,plain+refund=1,plain+parts=1     a tenth is given back, a tenth in two parts
///   checkout --mix plain+refund=1 --refunds-after            payments, then their refunds: what each costs
///   checkout --mix plain+split=1                             platform-b gets a share of each
#[derive(Args)]
#[command(group = ArgGroup::new("loop").args(["rate", "connections"]), verbatim_doc_comment)]
pub struct CheckoutArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub shape: Shape,
    /// Kinds of orders by weight, WHAT=WEIGHT,…: WHAT is a script of the sandbox (plain, sim:decline, sim:hang, …), CHANNEL/
    /// before it for another channel than the first. After it, +split or +splitN: N platforms get a share of 1 % each; then
    /// +refund: given back once it is paid, or +parts: half of its amount, then the rest
    #[arg(long, default_value = "plain=1")]
    pub mix: Mix,
    /// The platforms that get shares, by turns; each must have agreed to get some of the selling platform's orders
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "platform-b")]
    pub split_to: Vec<String>,
    /// The platforms that sell, by turns: a file with a line KEY SECRET for each, in place of --key and --webhook-secret
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "webhook_secret"])]
    pub platforms: Option<PathBuf>,
    /// Asks for refunds once all payments have ended, in a round of their own, so that what each costs is told beside what
    /// a payment does; without it each is asked for as soon as its order is paid
    #[arg(long)]
    pub refunds_after: bool,
    /// The channel of kinds that name none; all: a run by each, one after the other
    #[arg(long, default_value = "simpay", value_parser = Channels::parser())]
    pub channel: Channels,
    /// The channel's method [default: its first]
    #[arg(long, value_enum)]
    pub method: Option<Method>,
    /// Asks for the answer as soon as the order is durable (Prefer: respond-async); it shows no form, so that orders that
    /// a browser must carry cannot be asked for so
    #[arg(long = "async")]
    pub respond_async: bool,
    /// Where this tool receives webhooks
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub receiver: SocketAddr,
    /// The platform's webhook secret
    #[arg(
        long,
        env = "TONGBAO_LOAD_WEBHOOK_SECRET",
        hide_env_values = true,
        default_value = "whsec_c2FuZGJveC1hLXdlYmhvb2stc2VjcmV0LTAwMDE="
    )]
    pub webhook_secret: String,
    /// Checks the signature of one webhook in so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub check_one_in: u64,
    /// How long to wait for what is outstanding once the load has ended
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = length)]
    pub settle: Duration,
    /// Leaves the comparison with the gateway's books out
    #[arg(long)]
    pub no_books: bool,
}

#[derive(Args)]
pub struct SaturateArgs {
    #[command(flatten)]
    pub common: Common,
    /// What the server stores in: the ratio's target depends on it (sqlite 0.50, postgres 0.40)
    #[arg(long, value_name = "STORE", default_value = "sqlite")]
    pub store_label: Store,
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub rounds: u32,
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub connections: u32,
    /// How long a round is measured
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = length)]
    pub round: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Store {
    Sqlite,
    Postgres,
}

#[derive(Args)]
pub struct OverloadArgs {
    #[command(flatten)]
    pub common: Common,
    /// Connections of the closed loop that finds saturation
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub connections: u32,
    /// Connections of the open loops; arrivals that find none free are skipped and counted
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub sockets: u32,
    /// How long each stage is measured
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = length)]
    pub length: Duration,
}

#[derive(Args)]
pub struct HoldArgs {
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub orders: u64,
    /// The channel the orders wait at; without one they wait for the payer's choice
    #[arg(long)]
    pub channel: Option<Channel>,
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub connections: u32,
    /// Seconds until the orders expire
    #[arg(long, value_name = "SECONDS", default_value_t = 7200, value_parser = clap::value_parser!(u32).range(60..=604_800))]
    pub expires_in: u32,
    /// How long the server may rest before its memory is read
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = length)]
    pub rest: Duration,
}

#[derive(Args)]
pub struct BaselineArgs {
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8099")]
    pub listen: SocketAddr,
    /// Ends when standard input does
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

/// `500ms`, `30s`, `2m`; at least a millisecond, at most ten minutes.
fn length(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u32 = digits.parse().map_err(|_| "expected a whole number with ms, s or m, like 30s")?;
    let length = match &text[digits.len()..] {
        "ms" => Duration::from_millis(number.into()),
        "s" => Duration::from_secs(number.into()),
        "m" => Duration::from_secs(u64::from(number) * 60),
        _ => return Err("expected a unit: ms, s or m".into()),
    };
    if length.is_zero() || length > LENGTH_MAX {
        return Err("expected more than nothing and at most 10m".into());
    }
    Ok(length)
}

fn plain_text(text: &str) -> Result<String, String> {
    let fine = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    if fine { Ok(text.to_owned()) } else { Err("expected letters, digits and a point".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(length("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(length("10m"), Ok(Duration::from_secs(600)));
        for text in ["", "5", "0s", "601s", "11m", "1h", "-1s", "1.5s", "s"] {
            assert!(length(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_run_is_either_open_or_closed() {
        assert!(Cli::try_parse_from(["tongbao-load", "accept"]).is_err());
        assert!(Cli::try_parse_from(["tongbao-load", "accept", "--rate", "1", "--connections", "1"]).is_err());
        assert!(Cli::try_parse_from(["tongbao-load", "accept", "--rate", "1", "--for", "30s"]).is_ok());
        assert!(Cli::try_parse_from(["tongbao-load", "checkout", "--rate", "1", "--connections", "1"]).is_err());
    }

    #[test]
    fn a_checkout_is_by_a_channel_that_there_is() {
        let checkout = |rest: &[&str]| Cli::try_parse_from([&["tongbao-load", "checkout"], rest].concat()).is_ok();
        assert!(
            checkout(&[]) && checkout(&["--channel", "all"]) && checkout(&["--channel", "wechat", "--method", "h5"])
        );
        assert!(!checkout(&["--channel", "paypal"]) && !checkout(&["--method", "cash"]));
        assert!(Cli::try_parse_from(["tongbao-load", "hold", "--channel", "all"]).is_err());
    }
}
