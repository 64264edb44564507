//! Proposals: what one person wants done by hand, and another one approves.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::App;
use super::auth::Operator;
use super::draft;
use super::json::{self, Fields, Json};
use super::lists::{self, Page};
use super::operator::{self, words};
use super::problem::{ApiError, Code};
use super::query::Query;
use super::schema;
use crate::domain::id::{PlatformId, ProposalId};
use crate::domain::ledger::LedgerAccount;
use crate::domain::money::{Currency, format_minor, parse_within};
use crate::domain::operator::{Key, Role};
use crate::domain::platform::is_name;
use crate::domain::proposal::{Act, LINES_MAX, OUTDATED, Proposal, Refusal, State};
use crate::domain::stream::Kind;
use crate::domain::time::Instant;
use crate::domain::view;
use crate::engine::ask::AskError;
use crate::engine::letter::TellError;
use crate::engine::proposal::{ProposalError, Unfit, finding_name, read};

const REASON_MAX: usize = 500;
/// How much larger an amount by hand may be than an order's: a day's money of a channel in one line.
pub(super) const TIMES_AN_ORDER: i64 = 1_000;

/// Proposes an act.
#[utoipa::path(
    post,
    path = "/v1/operator/proposals",
    operation_id = "create_proposal",
    tag = "operators",
    security(("operator_key" = [])),
    request_body = schema::NewProposal,
    responses((status = 201, description = "The proposal, which another person approves.", body = schema::Proposal))
)]
pub async fn create(
    app: Data<App>,
    person: Operator,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let mut fields = json::object(&body, &["act", "reason"])?;
    let act = app.read_act(fields.take("act")).await?;
    let reason = words(fields.take("reason"), Code::ReasonInvalid, "reason", REASON_MAX)?;
    app.propose(&person, act, reason, StatusCode::CREATED).await
}

/// Proposals, the newest first.
#[utoipa::path(
    get,
    path = "/v1/operator/proposals",
    operation_id = "list_proposals",
    tag = "operators",
    security(("operator_key" = [])),
    params(
        ("state" = Option<schema::ProposalState>, Query),
        ("limit" = Option<u32>, Query, description = "1 to 100, default 20."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of proposals.", body = schema::Proposals))
)]
pub async fn list(app: Data<App>, _: Operator, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["state", "limit", "cursor"])?;
    let limit = lists::read_limit(&query)?;
    let known = |text: &str| State::NAMES.into_iter().find(|name| *name == text);
    let state = query.parse(Code::StateUnknown, "state", "open, approved, done, refused, rejected or lapsed", known)?;
    let before = lists::read_place(&query, |cursor| cursor.parse::<ProposalId>().ok())?;
    let mut heads = app.store.heads(Kind::PROPOSAL, state, before.map(|id| id.0), limit.and_one()).await?;
    let more = limit.cut(&mut heads);
    let next_cursor = heads.last().filter(|_| more).map(|(last, _)| ProposalId(last.id).to_string());
    let proposals = heads.iter().map(|(stream, snapshot)| read(ProposalId(stream.id), snapshot));
    let proposals = proposals.collect::<Result<Vec<_>, _>>()?;
    let mut data = Vec::with_capacity(proposals.len());
    for proposal in &proposals {
        data.push(app.show_proposal(proposal).await?);
    }
    Page { data, next_cursor }.answer()
}

/// One proposal.
#[utoipa::path(
    get,
    path = "/v1/operator/proposals/{id}",
    operation_id = "get_proposal",
    tag = "operators",
    security(("operator_key" = [])),
    params(("id" = String, Path, description = "The proposal's id, `prp_…`.")),
    responses((status = 200, description = "The proposal.", body = schema::Proposal))
)]
pub async fn get(app: Data<App>, _: Operator, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let proposal = app.proposal(&id).await?;
    Ok(HttpResponse::Ok().json(app.show_proposal(&proposal).await?))
}

/// Approves what another person proposed, and waits a moment until it is carried out.
#[utoipa::path(
    post,
    path = "/v1/operator/proposals/{id}/approve",
    operation_id = "approve_proposal",
    tag = "operators",
    security(("operator_key" = [])),
    params(("id" = String, Path, description = "The proposal's id, `prp_…`.")),
    responses((status = 200, description = "`done`, or `approved` while it is carried out.", body = schema::Proposal))
)]
pub async fn approve(app: Data<App>, person: Operator, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let proposal = app.proposal(&id).await?;
    let approved = app.approve(&person, &proposal).await;
    let approved = app.noted(&person, "proposal_approved", &named(&proposal), approved).await?;
    Ok(HttpResponse::Ok().json(app.show_proposal(&approved).await?))
}

/// Rejects a proposal, or takes one's own back.
#[utoipa::path(
    post,
    path = "/v1/operator/proposals/{id}/reject",
    operation_id = "reject_proposal",
    tag = "operators",
    security(("operator_key" = [])),
    params(("id" = String, Path, description = "The proposal's id, `prp_…`.")),
    responses((status = 200, description = "The proposal as it is then.", body = schema::Proposal))
)]
pub async fn reject(app: Data<App>, person: Operator, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let proposal = app.proposal(&id).await?;
    let rejected = app.reject(&person, &proposal).await;
    let rejected = app.noted(&person, "proposal_rejected", &named(&proposal), rejected).await?;
    Ok(HttpResponse::Ok().json(app.show_proposal(&rejected).await?))
}

/// A proposal in an act's row.
fn named(proposal: &Proposal) -> String {
    let act = proposal.proposed.as_ref().map_or("", |proposed| proposed.act.name());
    format!("{} {act}", proposal.id)
}

#[derive(Serialize)]
struct ProposalView<'a> {
    id: ProposalId,
    state: &'static str,
    act: Value,
    reason: &'a str,
    proposed_by: &'a str,
    #[serde(serialize_with = "view::rfc3339")]
    proposed_at: Instant,
    #[serde(serialize_with = "view::rfc3339")]
    lapses_at: Instant,
    decided_by: Option<&'a str>,
    why: Option<&'a str>,
    before: &'a RawValue,
    after: &'a RawValue,
    books: Vec<BookedView>,
}

#[derive(Serialize)]
struct BookedView {
    kind: &'static str,
    currency: Currency,
    lines: Vec<LineView>,
}

#[derive(Serialize)]
struct LineView {
    account: String,
    amount: String,
}

impl App {
    /// Proposes an act for a person whose role may, and answers with the proposal.
    pub(super) async fn propose(
        &self,
        person: &Operator,
        act: Act,
        reason: Box<str>,
        status: StatusCode,
    ) -> Result<HttpResponse, ApiError> {
        let name = act.name();
        let proposed = match person.allowed(act.to_propose()) {
            Ok(()) => {
                let proposed = self.proposals.propose(act, person.name(), reason).await;
                proposed.map_err(|error| not_proposed(name, error))
            }
            Err(refusal) => Err(refusal),
        };
        let subject = proposed.as_ref().map_or_else(|_| name.to_owned(), named);
        let proposed = self.noted(person, "proposed", &subject, proposed).await?;
        Ok(HttpResponse::build(status).json(self.show_proposal(&proposed).await?))
    }

    async fn approve(&self, person: &Operator, proposal: &Proposal) -> Result<Proposal, ApiError> {
        let proposed = proposal.proposed.as_ref().ok_or_else(ApiError::not_found)?;
        person.allowed(proposed.act.to_approve())?;
        let approved = self.proposals.approve(proposal.id, &proposed.act, person.name()).await;
        let approved = approved.map_err(|error| not_proposed(proposed.act.name(), error))?;
        match &approved.state {
            State::Refused { why, .. } if **why == *OUTDATED => Err(ApiError::new(
                Code::ProposalOutdated,
                "Something else has changed it since: look at it, and propose anew.",
            )),
            State::Refused { why, .. } => {
                Err(ApiError::new(Code::ProposalRefused, format!("It was approved, and then refused: {why}.")))
            }
            State::Open | State::Approved { .. } | State::Done { .. } | State::Rejected { .. } | State::Lapsed => {
                Ok(approved)
            }
        }
    }

    async fn reject(&self, person: &Operator, proposal: &Proposal) -> Result<Proposal, ApiError> {
        let proposed = proposal.proposed.as_ref().ok_or_else(ApiError::not_found)?;
        if *proposed.by != *person.name() {
            person.allowed(proposed.act.to_approve())?;
        }
        let rejected = self.proposals.reject(proposal.id, person.name()).await;
        rejected.map_err(|error| not_proposed(proposed.act.name(), error))
    }

    async fn proposal(&self, id: &str) -> Result<Proposal, ApiError> {
        let id: ProposalId = id.parse().map_err(|_| ApiError::not_found())?;
        let head = self.store.head(id.into()).await?.ok_or_else(ApiError::not_found)?;
        Ok(read(id, &head.snapshot)?)
    }

    async fn show_proposal<'a>(&self, proposal: &'a Proposal) -> Result<ProposalView<'a>, ApiError> {
        let proposed = proposal.proposed.as_ref().ok_or_else(ApiError::internal)?;
        let mut books = Vec::with_capacity(proposed.books.len());
        for booked in &proposed.books {
            let mut lines = Vec::with_capacity(booked.lines.len());
            for (account, amount) in &booked.lines {
                let amount = format_minor(*amount, booked.currency);
                lines.push(LineView { account: self.show_account(account).await?, amount });
            }
            books.push(BookedView { kind: booked.kind.name(), currency: booked.currency, lines });
        }
        let (decided_by, why) = match &proposal.state {
            State::Open | State::Lapsed => (None, None),
            State::Approved { by } | State::Done { by } | State::Rejected { by } => (Some(by.as_ref()), None),
            State::Refused { by, why } => (Some(by.as_ref()), Some(why.as_ref())),
        };
        let raw = |text: &'a str| serde_json::from_str::<&RawValue>(text).map_err(|_| ApiError::internal());
        Ok(ProposalView {
            id: proposal.id,
            state: proposal.state.name(),
            act: self.show_act(&proposed.act).await?,
            reason: &proposed.reason,
            proposed_by: &proposed.by,
            proposed_at: proposal.proposed_at,
            lapses_at: proposed.lapses_at,
            decided_by,
            why,
            before: raw(&proposed.before)?,
            after: raw(&proposed.after)?,
            books,
        })
    }

    async fn show_act(&self, act: &Act) -> Result<Value, ApiError> {
        let name = act.name();
        Ok(match act {
            Act::ResolveAttempt { order, ordinal, finding } => json!({
                "type": name,
                "order": order,
                "attempt": u16::from(*ordinal) + 1,
                "finding": finding_name(finding),
            }),
            Act::ResolveRefund { order, refund, resolution } => json!({
                "type": name,
                "order": order,
                "refund": u32::from(*refund) + 1,
                "resolution": resolution,
            }),
            Act::Adjust { currency, lines } => {
                let mut shown = Vec::with_capacity(lines.len());
                for (account, amount) in lines {
                    let amount = format_minor(*amount, *currency);
                    shown.push(json!({ "account": self.show_account(account).await?, "amount": amount }));
                }
                json!({ "type": name, "currency": currency, "lines": shown })
            }
            Act::BoundDebt { platform, currency, most_minor } => json!({
                "type": name,
                "platform": self.platform_name(*platform).await?,
                "currency": currency,
                "most": most_minor.map(|most| format_minor(most, *currency)),
            }),
            Act::AddOperator { name: person, role, key } => json!({
                "type": name,
                "name": person,
                "role": role,
                "key": key.hint,
            }),
            Act::ChangeRole { name: person, role } => json!({ "type": name, "name": person, "role": role }),
        })
    }

    pub(super) async fn platform_name(&self, id: PlatformId) -> Result<String, ApiError> {
        Ok(self.store.platform(id).await?.map_or_else(|| id.0.to_string(), |platform| platform.name))
    }

    /// An account as people know it.
    async fn show_account(&self, account: &LedgerAccount) -> Result<String, ApiError> {
        let text = account.to_string();
        match (account.platform(), text.split_once(':')) {
            (Some(platform), Some((kind, _))) => Ok(format!("{kind}:{}", self.platform_name(platform).await?)),
            (Some(_), None) | (None, _) => Ok(text),
        }
    }

    /// An account by its name, of platforms by theirs.
    async fn read_account(&self, text: &str) -> Result<LedgerAccount, ApiError> {
        let unknown = || {
            let account: String = text.chars().take(64).collect();
            ApiError::field(Code::LedgerAccountUnknown, "act.lines", format!("{account} is no account of the ledger"))
        };
        let by_number = text.split_once(':').filter(|(kind, _)| {
            LedgerAccount::parse(&format!("{kind}:1")).is_some_and(|account| account.platform().is_some())
        });
        let account = match by_number {
            Some((kind, name)) => {
                let platform = self.platform_named(name, "act.lines").await?;
                LedgerAccount::parse(&format!("{kind}:{}", platform.0)).ok_or_else(unknown)?
            }
            None => LedgerAccount::parse(text).ok_or_else(unknown)?,
        };
        if matches!(account, LedgerAccount::Settlement(_) | LedgerAccount::Payout(_)) {
            let why = format!("{text} is moved by closings and payouts, and never by hand");
            return Err(ApiError::field(Code::LedgerAccountFixed, "act.lines", why));
        }
        Ok(account)
    }

    pub(super) async fn platform_named(&self, name: &str, field: &'static str) -> Result<PlatformId, ApiError> {
        let platform = if is_name(name) { self.store.platform_by_name(name).await? } else { None };
        let unknown = || ApiError::field(Code::PlatformUnknown, field, "There is no platform of this name.");
        Ok(platform.ok_or_else(unknown)?.id)
    }

    async fn read_act(&self, given: Json<'_>) -> Result<Act, ApiError> {
        let unknown = || {
            let known = "resolve_attempt and resolve_refund have routes of their own; else adjust, bound_debt, \
                         add_operator or change_role is required";
            ApiError::field(Code::ActUnknown, "act.type", known)
        };
        let entries = given.entries().ok_or_else(unknown)?;
        let kind = entries.iter().find(|(name, _)| name == "type").and_then(|(_, value)| match value {
            Json::Text(text) => Some(text.to_string()),
            Json::Null | Json::Bool(_) | Json::Integer(_) | Json::OtherNumber | Json::List(_) | Json::Object(_) => None,
        });
        let fields = |known: &[&str]| Json::Object(entries).fields("act", known, unknown);
        match kind.as_deref() {
            Some("adjust") => self.read_adjustment(fields(&["type", "currency", "lines"])?).await,
            Some("bound_debt") => self.read_bound(fields(&["type", "platform", "currency", "most"])?).await,
            Some("add_operator") => {
                let mut fields = fields(&["type", "name", "role", "key"])?;
                let (name, role) = read_person(&mut fields)?;
                let invalid = || ApiError::field(Code::FieldInvalid, "act.key", "hash, hint and expires_at");
                let mut key = fields.take("key").fields("act.key", &["hash", "hint", "expires_at"], invalid)?;
                let hash = key.take("hash").text().and_then(|text| serde_json::from_value(json!(text)).ok());
                let hint = words(key.take("hint"), Code::FieldInvalid, "act.key.hint", 16)?;
                let expires_at = key.take("expires_at").integer().map(Instant);
                Ok(Act::AddOperator { name, role, key: Key { expires_at, hash: hash.ok_or_else(invalid)?, hint } })
            }
            Some("change_role") => {
                let mut fields = fields(&["type", "name", "role"])?;
                let (name, role) = read_person(&mut fields)?;
                if self.store.operator_by_name(&name).await?.is_none() {
                    return Err(ApiError::field(
                        Code::OperatorUnknown,
                        "act.name",
                        "There is no operator of this name.",
                    ));
                }
                Ok(Act::ChangeRole { name, role })
            }
            Some(_) | None => Err(unknown()),
        }
    }

    async fn read_adjustment(&self, mut fields: Fields<'_>) -> Result<Act, ApiError> {
        let currency = read_currency(&mut fields)?;
        let invalid =
            || ApiError::field(Code::FieldInvalid, "act.lines", format!("2 to {LINES_MAX} lines are required"));
        let given = match fields.take("lines") {
            Json::List(given) => given,
            Json::Null | Json::Bool(_) | Json::Integer(_) | Json::OtherNumber | Json::Text(_) | Json::Object(_) => {
                return Err(invalid());
            }
        };
        if given.len() > LINES_MAX {
            return Err(invalid());
        }
        let mut lines = Vec::with_capacity(given.len());
        for line in given {
            let mut line = line.fields("act.lines", &["account", "amount"], invalid)?;
            let (account, amount) = (line.take("account").text(), line.take("amount").text());
            let account = self.read_account(&account.ok_or_else(invalid)?).await?;
            let amount = amount.ok_or_else(invalid)?;
            let (sign, digits) = amount.strip_prefix('-').map_or((1, amount.as_ref()), |digits| (-1, digits));
            let most = currency.max_minor().saturating_mul(TIMES_AN_ORDER);
            let minor = parse_within(digits, currency, most);
            let minor = minor.map_err(|error| ApiError::field(Code::AmountInvalid, "act.lines", error.to_string()))?;
            lines.push((account, sign * minor));
        }
        Ok(Act::Adjust { currency, lines })
    }

    async fn read_bound(&self, mut fields: Fields<'_>) -> Result<Act, ApiError> {
        let currency = read_currency(&mut fields)?;
        let name = fields.take("platform").text().unwrap_or_default();
        let platform = self.platform_named(&name, "act.platform").await?;
        let most = fields.take("most");
        let most_minor = match (most.is_null(), most.text().as_deref()) {
            (true, _) => None,
            (false, Some("0")) => Some(0),
            (false, text) => Some(draft::amount(text, currency)?),
        };
        Ok(Act::BoundDebt { platform, currency, most_minor })
    }
}

fn read_currency(fields: &mut Fields<'_>) -> Result<Currency, ApiError> {
    let currency = fields.take("currency").text().and_then(|code| Currency::parse(&code));
    currency.ok_or_else(|| ApiError::field(Code::CurrencyUnknown, "act.currency", "an ISO 4217 code such as CNY"))
}

fn read_person(fields: &mut Fields<'_>) -> Result<(Box<str>, Role), ApiError> {
    let name = fields.take("name").text().filter(|name| is_name(name));
    let name = name.ok_or_else(|| ApiError::field(Code::FieldInvalid, "act.name", "1 to 64 of 0-9, a-z and -"))?;
    let role = fields.take("role").text().and_then(|role| Role::parse(&role));
    let names = || Role::ALL.map(Role::name).join(", ");
    let role = role.ok_or_else(|| ApiError::field(Code::FieldInvalid, "act.role", format!("one of {}", names())))?;
    Ok((name.into(), role))
}

/// Why an act was not proposed, or a proposal not decided.
fn not_proposed(act: &str, error: ProposalError) -> ApiError {
    match error {
        ProposalError::Unfit(Unfit::NotFound) => ApiError::not_found(),
        ProposalError::Unfit(Unfit::Order(refusal)) if act == "resolve_attempt" => {
            operator::refused(AskError::Refused(refusal))
        }
        ProposalError::Unfit(Unfit::Order(refusal)) => AskError::Refused(refusal).into(),
        ProposalError::Unfit(Unfit::Unbalanced) | ProposalError::Told(TellError::Refused(Refusal::Unbalanced)) => {
            ApiError::field(Code::EntryUnbalanced, "act.lines", "The lines must sum to zero, and not all be zero.")
        }
        ProposalError::Unfit(Unfit::Taken) => {
            ApiError::new(Code::ChangeRefused, "There is such an operator already, or somebody has this key.")
        }
        ProposalError::Unfit(Unfit::Store(error)) => error.into(),
        ProposalError::Told(TellError::Refused(Refusal::SecondOperatorRequired)) => {
            ApiError::new(Code::SecondOperatorRequired, "Whoever proposed it cannot approve it.")
        }
        ProposalError::Told(TellError::Refused(Refusal::Lapsed)) => {
            ApiError::new(Code::ProposalLapsed, "Nobody approved it in time: propose it anew.")
        }
        ProposalError::Told(TellError::Refused(Refusal::Ended | Refusal::OutOfPlace)) => {
            ApiError::new(Code::ProposalEnded, "Somebody has decided it already.")
        }
        ProposalError::Told(TellError::NotFound) => ApiError::not_found(),
        ProposalError::Told(TellError::Duplicate | TellError::Overloaded) => AskError::Overloaded.into(),
        ProposalError::Told(TellError::StoreAway) => AskError::StoreAway.into(),
        ProposalError::Told(TellError::OutcomeUnknown) => AskError::OutcomeUnknown.into(),
        ProposalError::Told(TellError::Quarantined) => AskError::Quarantined.into(),
    }
}
