//! `tongbao operator`: a thin client of a running server's operator routes. Only who is to be the first admins is said on
//! the server's own machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Table;
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::changer::{Absent, Changer};
use super::keys::{kept, new_key};
use super::output::{Lost, say};
use super::{Failure, sandbox};
use crate::channels::sender;
use crate::config::{Config, OPERATOR_KEY, secret_file};
use crate::domain::id::{OrderId, ProposalId};
use crate::domain::operator::{Key, Role};
use crate::domain::platform::is_name;
use crate::engine::changes::{Change, ChangeError};
use crate::engine::clock;

/// Admins without whom nobody could approve what another one proposes.
const ADMINS_MIN: i64 = 2;
/// The server did not answer, or could not: worth another try (`EX_TEMPFAIL` of sysexits.h).
const SERVER_AWAY: u8 = 75;
/// Longer than the server ever waits for its store.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Add a person, and make the first key, which is shown once: a proposal, but for the first two admins, who are added
    /// on the server's machine
    Add {
        /// 1 to 64 of 0-9, a-z and -
        name: String,
        /// viewer, support, finance, risk, operator or admin
        #[arg(long, value_name = "ROLE", value_parser = role)]
        role: Role,
        /// How long the key holds, such as 90d or 12h; without it until it is revoked
        #[arg(long, value_name = "SPAN", value_parser = span_ms)]
        expires: Option<i64>,
        /// Why, where it is a proposal; kept in the journal
        #[arg(long, value_name = "TEXT", default_value = "a new operator")]
        reason: String,
        #[command(flatten)]
        at: At,
    },
    /// Show all operators and their keys
    List {
        #[command(flatten)]
        at: At,
    },
    /// Make a further key of your own, which is shown once; the others go on until they are revoked
    AddKey {
        /// How long it holds, such as 90d or 12h; without it until it is revoked
        #[arg(long, value_name = "SPAN", value_parser = span_ms)]
        expires: Option<i64>,
        #[command(flatten)]
        at: At,
    },
    /// Revoke an operator's keys at once
    Revoke {
        name: String,
        /// Only this one, as `list` shows it
        #[arg(long, value_name = "HINT")]
        hint: Option<String>,
        #[command(flatten)]
        at: At,
    },
    /// Show what operators did and what was refused them, the newest first
    Acts {
        #[command(flatten)]
        part: Part,
        #[command(flatten)]
        at: At,
    },
    /// Propose another role for an operator
    Role {
        name: String,
        /// viewer, support, finance, risk, operator or admin
        #[arg(value_name = "ROLE", value_parser = role)]
        role: Role,
        /// Why; kept in the journal
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        at: At,
    },
    /// Propose what became of an attempt, by what was found out at its channel
    Resolve(ResolveArgs),
    /// Propose how a refund ended that its channel does not bring to an end
    ResolveRefund(ResolveRefundArgs),
    /// Show what was proposed, the newest first
    Proposals {
        /// Only those that are open, approved, done, refused, rejected or lapsed
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        #[command(flatten)]
        part: Part,
        #[command(flatten)]
        at: At,
    },
    /// Show a proposal: what it changes, and what it books
    Show {
        #[arg(value_name = "PROPOSAL")]
        proposal: ProposalId,
        #[command(flatten)]
        at: At,
    },
    /// Approve what another person proposed
    Approve {
        #[arg(value_name = "PROPOSAL")]
        proposal: ProposalId,
        #[command(flatten)]
        at: At,
    },
    /// Reject a proposal, or take your own back
    Reject {
        #[arg(value_name = "PROPOSAL")]
        proposal: ProposalId,
        #[command(flatten)]
        at: At,
    },
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
    /// At most this many, 1 to 100
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
    pub json: bool,
    /// Where your own key is, alone in the file; default: the variable TONGBAO_OPERATOR_KEY
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

fn role(text: &str) -> Result<Role, String> {
    let names = || Role::ALL.map(Role::name).join(", ");
    Role::parse(text).ok_or_else(|| format!("one of {}", names()))
}

/// A span as people write it, in milliseconds.
fn span_ms(text: &str) -> Result<i64, String> {
    let (number, unit_ms) = match (text.strip_suffix('d'), text.strip_suffix('h')) {
        (Some(days), _) => (days, 24 * 3_600_000),
        (None, Some(hours)) => (hours, 3_600_000),
        (None, None) => ("", 0),
    };
    let span = number.parse::<u32>().ok().filter(|number| *number > 0).map(|number| i64::from(number) * unit_ms);
    span.ok_or_else(|| "a number of days or hours, such as 90d or 12h".to_owned())
}

pub async fn run(config: Config, command: OperatorCommand) -> Result<ExitCode, Failure> {
    ended(perform(config, command).await)
}

/// How a command ends that asks the server: a server that is away is worth another try.
pub fn ended(done: Result<(), Failure>) -> Result<ExitCode, Failure> {
    match done {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is::<Away>() => {
            eprintln!("tongbao: {error}");
            Ok(ExitCode::from(SERVER_AWAY))
        }
        Err(error) => Err(error),
    }
}

async fn perform(config: Config, command: OperatorCommand) -> Result<(), Failure> {
    match command {
        OperatorCommand::Add { name, role, expires, reason, at } => {
            add(&config, (name, role), expires, &reason, &at).await?;
        }
        OperatorCommand::Role { name, role, reason, at } => {
            let act = json!({ "type": "change_role", "name": name, "role": role });
            propose(&config, &at, &act, &reason).await?;
        }
        OperatorCommand::Proposals { state, part, at } => {
            let state = state.map(|state| format!("state={state}&")).unwrap_or_default();
            turn(&config, &at, &format!("/v1/operator/proposals?{state}"), part, proposals_table).await?;
        }
        OperatorCommand::Show { proposal, at } => {
            let path = format!("/v1/operator/proposals/{proposal}");
            show_proposal(&at, &ask(request(&config, &at, Method::GET, &path)?).await?)?;
        }
        OperatorCommand::Approve { proposal, at } => {
            let path = format!("/v1/operator/proposals/{proposal}/approve");
            show_proposal(&at, &ask(request(&config, &at, Method::POST, &path)?).await?)?;
        }
        OperatorCommand::Reject { proposal, at } => {
            let path = format!("/v1/operator/proposals/{proposal}/reject");
            show_proposal(&at, &ask(request(&config, &at, Method::POST, &path)?).await?)?;
        }
        OperatorCommand::List { at } => {
            let operators = ask(request(&config, &at, Method::GET, "/v1/operator/operators")?).await?;
            show(&at, &operators, || operators_table(operators["data"].as_array().map_or(&[], Vec::as_slice)))?;
        }
        OperatorCommand::AddKey { expires, at } => {
            let (shown, key) = make_key(expires)?;
            let body = json!({ "key": key });
            ask(request(&config, &at, Method::POST, "/v1/operator/keys")?.json(&body)).await?;
            say!("key  {shown}")?;
            say!("The older keys still work: revoke them with `tongbao operator revoke NAME --hint HINT`.")?;
        }
        OperatorCommand::Revoke { name, hint, at } => {
            if !is_name(&name) {
                return Err("an operator's name is 1 to 64 of 0-9, a-z and -".into());
            }
            let path = format!("/v1/operator/operators/{name}/revoke");
            ask(request(&config, &at, Method::POST, &path)?.json(&json!({ "hint": hint }))).await?;
            say!("revoked")?;
        }
        OperatorCommand::Acts { part, at } => turn(&config, &at, "/v1/operator/acts", part, acts_table).await?,
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
                "evidence": args.evidence,
            });
            let path = format!("/v1/operator/orders/{}/resolve", args.order);
            let proposal = ask(request(&config, &args.at, Method::POST, &path)?.json(&body)).await?;
            show_proposed(&args.at, &proposal)?;
        }
        OperatorCommand::ResolveRefund(args) => {
            let resolution = match args.resolution {
                RefundEnd::Failed => "failed",
                RefundEnd::PaidOtherwise => "paid_otherwise",
            };
            let body = json!({
                "refund": args.refund,
                "resolution": resolution,
                "evidence": args.evidence,
            });
            let path = format!("/v1/operator/orders/{}/refunds/resolve", args.order);
            let proposal = ask(request(&config, &args.at, Method::POST, &path)?.json(&body)).await?;
            show_proposed(&args.at, &proposal)?;
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
    Ok(())
}

/// Proposes an act at the server, and shows how it is approved.
///
/// # Errors
/// It was refused, or the server is away.
pub async fn propose(config: &Config, at: &At, act: &Value, reason: &str) -> Result<(), Failure> {
    let body = json!({ "act": act, "reason": reason });
    let proposal = ask(request(config, at, Method::POST, "/v1/operator/proposals")?.json(&body)).await?;
    Ok(show_proposed(at, &proposal)?)
}

fn show_proposed(at: &At, proposal: &Value) -> Result<(), Lost> {
    show_proposal(at, proposal)?;
    if !at.json {
        say!("Another person approves it: tongbao operator approve {}", cell(&proposal["id"]))?;
    }
    Ok(())
}

fn show_proposal(at: &At, proposal: &Value) -> Result<(), Lost> {
    if at.json {
        return say!("{proposal}");
    }
    say!("{}", proposals_table(std::slice::from_ref(proposal)))?;
    let mut books = Table::new();
    books.set_header(["entry", "account", "amount", "currency"]);
    for entry in proposal["books"].as_array().into_iter().flatten() {
        for line in entry["lines"].as_array().into_iter().flatten() {
            books.add_row([&entry["kind"], &line["account"], &line["amount"], &entry["currency"]].map(cell));
        }
    }
    say!("before  {}\nafter   {}\n{books}", proposal["before"], proposal["after"])
}

pub fn request(config: &Config, at: &At, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
    let key = own_key(config, at)?;
    let base = at.url.clone().unwrap_or_else(|| listening_at(config));
    let client = sender::client_builder().timeout(PATIENCE).build()?;
    Ok(client.request(method, format!("{}{path}", base.trim_end_matches('/'))).bearer_auth(key.expose_secret()))
}

/// The key of whoever runs this command; in the sandbox a demo operator's where none is named.
fn own_key(config: &Config, at: &At) -> Result<SecretString, Failure> {
    if let Some(file) = &at.key_file {
        return Ok(secret_file(file)?);
    }
    match std::env::var(OPERATOR_KEY) {
        Ok(key) if !key.is_empty() => Ok(SecretString::from(key)),
        Ok(_) | Err(_) => {
            let demo = sandbox::operator_key().filter(|_| config.sandbox);
            Ok(demo.ok_or_else(|| format!("name your own key by --key-file or by {OPERATOR_KEY}"))?)
        }
    }
}

/// A new key and what is kept of it.
fn make_key(expires_ms: Option<i64>) -> Result<(String, Key), Failure> {
    let shown = new_key("ok_")?;
    let (hash, hint) = kept(&shown);
    let expires_at = expires_ms.map(|span| clock::to_store().plus_ms(span));
    Ok((shown, Key { expires_at, hash, hint }))
}

/// Adds one of the first two admins, whom nobody could approve, or proposes an operator.
async fn add(
    config: &Config,
    (name, role): (String, Role),
    expires_ms: Option<i64>,
    reason: &str,
    at: &At,
) -> Result<(), Failure> {
    if !is_name(&name) {
        return Err("an operator's name is 1 to 64 of 0-9, a-z and -".into());
    }
    if role == Role::Admin && at.url.is_none() {
        let changer = Changer::reach(config, Absent::Make).await?;
        let admins = changer.store.operators_in_force(Role::Admin, clock::to_store()).await;
        let is_first = admins.is_ok_and(|count| count < ADMINS_MIN);
        let made = if is_first { add_admin(&changer, name.clone(), expires_ms).await } else { Ok(()) };
        let left = changer.leave().await;
        if is_first {
            return made.and(left);
        }
    }
    let (shown, key) = make_key(expires_ms)?;
    let act = json!({ "type": "add_operator", "name": name, "role": role, "key": key });
    // The proposal is worth nothing without the key, so it is asked for first whether it can be made.
    own_key(config, at)?;
    say!("operator  {name}\nrole      {}\nkey       {shown}", role.name())?;
    say!("Keep the key now: it is not shown again. It is in force once another admin has approved.")?;
    propose(config, at, &act, reason).await
}

async fn add_admin(changer: &Changer, name: String, expires_ms: Option<i64>) -> Result<(), Failure> {
    let (shown, key) = make_key(expires_ms)?;
    // Shown before it is made: a key that nobody saw would be lost for good.
    say!("operator  {name}\nrole      {}\nkey       {shown}", Role::Admin.name())?;
    say!("Keep the key now: it is stored hashed and is not shown again.")?;
    changer.make(Change::AddAdmin { name: name.into(), key }).await.map(drop).map_err(not_made)
}

fn not_made(error: ChangeError) -> Failure {
    match error {
        ChangeError::Refused(_) | ChangeError::StoreAway(_) | ChangeError::Partly { .. } => {
            format!("the key shown above is not in force: {error}").into()
        }
        ChangeError::OutcomeUnknown => {
            format!("the key shown above may be in force ({error}): `tongbao operator list` tells").into()
        }
    }
}

/// Shows a page of a list, and how to get the next one.
pub async fn turn(
    config: &Config,
    at: &At,
    path: &str,
    Part { limit, cursor }: Part,
    table: fn(&[Value]) -> Table,
) -> Result<(), Failure> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &limit.to_string()).append_pair("cursor", &cursor.unwrap_or_default());
    let path =
        if path.contains('?') { format!("{path}{}", query.finish()) } else { format!("{path}?{}", query.finish()) };
    let page = ask(request(config, at, Method::GET, &path)?).await?;
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

/// The server is away.
#[derive(Debug)]
struct Away(String);

impl std::fmt::Display for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Away {}

pub async fn ask(request: RequestBuilder) -> Result<Value, Failure> {
    let answer = request.send().await.map_err(|error| Away(sender::describe(&error).to_string()))?;
    let status = answer.status();
    if status == StatusCode::NO_CONTENT {
        return Ok(Value::Null);
    }
    let body: Value = answer.json().await.map_err(|_| format!("the server answered {status} without JSON"))?;
    if status.is_success() {
        return Ok(body);
    }
    let told = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let field = body["field"].as_str().map(|field| format!(" ({field})")).unwrap_or_default();
    let why = format!("{}{field}: {} [{status}, request {}]", told("code"), told("detail"), told("request_id"));
    Err(if status == StatusCode::SERVICE_UNAVAILABLE { Away(why).into() } else { why.into() })
}

pub fn show(at: &At, answer: &Value, table: impl FnOnce() -> Table) -> Result<(), Lost> {
    if at.json { say!("{answer}") } else { say!("{}", table()) }
}

/// A text as it is, anything else as JSON, nothing for null.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn proposals_table(proposals: &[Value]) -> Table {
    let mut table = Table::new();
    table.set_header(["proposal", "state", "act", "reason", "proposed by", "decided by", "why", "lapses at"]);
    for proposal in proposals {
        let (id, state, act) = (cell(&proposal["id"]), cell(&proposal["state"]), cell(&proposal["act"]["type"]));
        let fields = ["reason", "proposed_by", "decided_by", "why", "lapses_at"].map(|name| cell(&proposal[name]));
        table.add_row([id, state, act].into_iter().chain(fields));
    }
    table
}

fn operators_table(operators: &[Value]) -> Table {
    let mut table = Table::new();
    table.set_header(["operator", "role", "key", "made", "expires", "revoked", "in force"]);
    for operator in operators {
        let person = [&operator["name"], &operator["role"]];
        for key in operator["keys"].as_array().into_iter().flatten() {
            let fields = ["hint", "created_at", "expires_at", "revoked_at", "in_force"].map(|name| &key[name]);
            table.add_row(person.into_iter().chain(fields).map(cell));
        }
    }
    table
}

fn acts_table(acts: &[Value]) -> Table {
    const COLUMNS: [&str; 5] = ["at", "operator", "act", "subject", "outcome"];
    let mut table = Table::new();
    table.set_header(COLUMNS);
    for act in acts {
        table.add_row(COLUMNS.map(|name| cell(&act[name])));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_of_days_or_hours() {
        let table = [
            ("90d", Some(90 * 24 * 3_600_000)),
            ("12h", Some(12 * 3_600_000)),
            ("0d", None),
            ("90", None),
            ("d", None),
            ("-1d", None),
            ("99999999999d", None),
        ];
        for (text, span) in table {
            assert_eq!(span_ms(text).ok(), span, "{text}");
        }
    }
}
