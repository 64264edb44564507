//! `tongbao operator`: a thin client of a running server's operator routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Table;
use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::Failure;
use super::output::{Lost, say};
use crate::channels::sender;
use crate::config::Config;
use crate::domain::id::OrderId;

/// Longer than the server ever waits for its store.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Record what became of an attempt, by what was found out at its channel
    Resolve(ResolveArgs),
    /// End a refund that its channel does not bring to an end
    ResolveRefund(ResolveRefundArgs),
    /// Show refunds that wait for money or a person, or that their channel does not bring to an end
    StuckRefunds {
        #[command(flatten)]
        part: Part,
        #[command(flatten)]
        at: At,
    },
    /// Show orders that cannot be worked on, and why
    Quarantine {
        #[command(flatten)]
        part: Part,
        #[command(flatten)]
        at: At,
    },
    /// Show stored rows that cannot be read and are passed over
    Unreadable {
        #[command(flatten)]
        at: At,
    },
    /// Try a quarantined order again at once
    Retry {
        #[arg(value_name = "ORDER")]
        order: OrderId,
        #[command(flatten)]
        at: At,
    },
}

/// Which part of a list is shown.
#[derive(Debug, Args)]
pub struct Part {
    /// At most this many orders, 1 to 100
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Where the page before ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

#[derive(Debug, Args)]
pub struct ResolveArgs {
    #[arg(value_name = "ORDER")]
    order: OrderId,
    /// The attempt's number
    #[arg(long, value_name = "N")]
    attempt: u8,
    #[arg(long, value_enum)]
    finding: Finding,
    /// The channel's reference of the payment
    #[arg(long, value_name = "R", required_if_eq("finding", "paid"))]
    reference: Option<String>,
    /// What the channel took, such as 200.60
    #[arg(long, value_name = "A", required_if_eq("finding", "paid"))]
    amount: Option<String>,
    /// What shows it; kept in the journal, so nothing personal
    #[arg(long, value_name = "TEXT")]
    evidence: String,
    /// Who found it out, by an id of the staff
    #[arg(long, value_name = "NAME")]
    operator: String,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Args)]
pub struct ResolveRefundArgs {
    #[arg(value_name = "ORDER")]
    order: OrderId,
    /// The refund's id, or its number at the channel
    #[arg(long, value_name = "R")]
    refund: String,
    #[arg(long, value_enum)]
    resolution: RefundEnd,
    /// What shows it; kept in the journal, so nothing personal
    #[arg(long, value_name = "TEXT")]
    evidence: String,
    /// Who did it, by an id of the staff
    #[arg(long, value_name = "NAME")]
    operator: String,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RefundEnd {
    /// The payer has nothing of it, and nothing will be paid
    Failed,
    /// The payer has got it by other means
    PaidOtherwise,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Finding {
    Paid,
    /// It was not paid and never will be
    NotPaid,
}

/// Where the server is, and how it is to be shown.
#[derive(Debug, Args)]
pub struct At {
    /// The server; default: where the configuration lets it listen
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Print the server's own answer
    #[arg(long)]
    json: bool,
}

pub async fn run(config: Config, command: OperatorCommand) -> Result<ExitCode, Failure> {
    match command {
        OperatorCommand::Resolve(args) => {
            let finding = match args.finding {
                Finding::Paid => "paid",
                Finding::NotPaid => "not_paid",
            };
            let body = json!({
                "attempt": args.attempt,
                "finding": finding,
                "reference": args.reference,
                "amount": args.amount,
                "operator": args.operator,
                "evidence": args.evidence,
            });
            let path = format!("/v1/operator/orders/{}/resolve", args.order);
            let order = ask(request(&config, &args.at, Method::POST, &path)?.json(&body)).await?;
            show(&args.at, &order, || order_table(&order))?;
        }
        OperatorCommand::ResolveRefund(args) => {
            let resolution = match args.resolution {
                RefundEnd::Failed => "failed",
                RefundEnd::PaidOtherwise => "paid_otherwise",
            };
            let body = json!({
                "refund": args.refund,
                "resolution": resolution,
                "operator": args.operator,
                "evidence": args.evidence,
            });
            let path = format!("/v1/operator/orders/{}/refunds/resolve", args.order);
            let order = ask(request(&config, &args.at, Method::POST, &path)?.json(&body)).await?;
            show(&args.at, &order, || order_table(&order))?;
        }
        OperatorCommand::StuckRefunds { part, at } => {
            turn(&config, &at, "/v1/operator/stuck_refunds", part, stuck_table).await?;
        }
        OperatorCommand::Quarantine { part, at } => {
            turn(&config, &at, "/v1/operator/quarantine", part, held_table).await?;
        }
        OperatorCommand::Unreadable { at } => {
            let rows = ask(request(&config, &at, Method::GET, "/v1/operator/unreadable")?).await?;
            show(&at, &rows, || unreadable_table(rows["data"].as_array().map_or(&[], Vec::as_slice)))?;
        }
        OperatorCommand::Retry { order, at } => {
            let path = format!("/v1/operator/quarantine/{order}/retry");
            let held = ask(request(&config, &at, Method::POST, &path)?).await?;
            show(&at, &held, || held_table(std::slice::from_ref(&held)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn request(config: &Config, at: &At, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
    let key = config.operator_key()?.ok_or("neither `operator.key` nor `operator.key_file` is configured")?;
    let base = at.url.clone().unwrap_or_else(|| listening_at(config));
    let client = sender::client_builder().timeout(PATIENCE).build()?;
    Ok(client.request(method, format!("{}{path}", base.trim_end_matches('/'))).bearer_auth(key.expose_secret()))
}

/// Shows a page of a list, and how to get the next one.
async fn turn(
    config: &Config,
    at: &At,
    path: &str,
    Part { limit, cursor }: Part,
    table: fn(&[Value]) -> Table,
) -> Result<(), Failure> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &limit.to_string()).append_pair("cursor", &cursor.unwrap_or_default());
    let page = ask(request(config, at, Method::GET, &format!("{path}?{}", query.finish()))?).await?;
    show(at, &page, || table(page["data"].as_array().map_or(&[], Vec::as_slice)))?;
    if let (false, Some(next)) = (at.json, page["next_cursor"].as_str()) {
        say!("more: --cursor {next}")?;
    }
    Ok(())
}

/// A server that listens at every address is reached at this machine's own.
fn listening_at(config: &Config) -> String {
    let mut address = config.server.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    format!("http://{address}")
}

async fn ask(request: RequestBuilder) -> Result<Value, Failure> {
    let answer = request.send().await.map_err(|error| sender::describe(&error))?;
    let status = answer.status();
    let body: Value = answer.json().await.map_err(|_| format!("the server answered {status} without JSON"))?;
    if status.is_success() {
        return Ok(body);
    }
    let told = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let field = body["field"].as_str().map(|field| format!(" ({field})")).unwrap_or_default();
    Err(format!("{}{field}: {} [{status}, request {}]", told("code"), told("detail"), told("request_id")).into())
}

fn show(at: &At, answer: &Value, table: impl FnOnce() -> Table) -> Result<(), Lost> {
    if at.json { say!("{answer}") } else { say!("{}", table()) }
}

/// A text as it is, anything else as JSON, nothing for null.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn order_table(order: &Value) -> Table {
    let mut table = Table::new();
    table.set_header(["order", "state", "attempt", "channel", "attempt's state", "payable", "reference"]);
    for attempt in order["attempts"].as_array().into_iter().flatten() {
        let of_order = [&order["id"], &order["state"]];
        let fields = ["number", "channel", "state", "payable", "channel_reference"].map(|name| &attempt[name]);
        table.add_row(of_order.into_iter().chain(fields).map(cell));
    }
    table
}

fn unreadable_table(rows: &[Value]) -> Table {
    const COLUMNS: [&str; 4] = ["table", "row", "why", "since"];
    let mut table = Table::new();
    table.set_header(COLUMNS);
    for row in rows {
        table.add_row(COLUMNS.map(|name| cell(&row[name])));
    }
    table
}

fn stuck_table(rows: &[Value]) -> Table {
    const COLUMNS: [&str; 10] =
        ["order", "refund", "cause", "account", "amount", "currency", "state", "attention", "tries", "since"];
    let mut table = Table::new();
    table.set_header(COLUMNS);
    for row in rows {
        table.add_row(COLUMNS.map(|name| cell(&row[name])));
    }
    table
}

fn held_table(held: &[Value]) -> Table {
    const COLUMNS: [&str; 7] = ["order", "why", "since", "tries", "retry_at", "held", "inbox"];
    let mut table = Table::new();
    table.set_header(COLUMNS);
    for order in held {
        table.add_row(COLUMNS.map(|name| cell(&order[name])));
    }
    table
}
