//! Payouts: what platforms see of theirs, and what operators do about all of them.

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};

use super::App;
use super::auth::{Caller, Operator};
use super::json::{self, Fields};
use super::lists::{self, Page};
use super::operator::words;
use super::problem::{ApiError, Code};
use super::proposals::TIMES_AN_ORDER;
use super::query::Query;
use super::schema;
use crate::config::settlement::Mode;
use crate::domain::bank::BankName;
use crate::domain::bank_details::BankDetails;
use crate::domain::dated::Effective;
use crate::domain::id::PlatformId;
use crate::domain::money::{Currency, format_minor, parse_within};
use crate::domain::payee::{Fact, PayeeId, Refusal};
use crate::domain::payout::{BankAnswer, PayoutState};
use crate::domain::payout_id::PayoutId;
use crate::domain::time::Instant;
use crate::domain::view::PayoutView;
use crate::engine::letter::TellError;
use crate::engine::payout_desk::{File, PayoutError};
use crate::payout::answers::{self, Outcome};
use crate::payout::order::{Transfer, WriteError};
use crate::payout::pain001::{self, Initiation, Payment};
use crate::payout::sheet;
use crate::store::{PayoutFilter, PayoutRow};

const REASON_MAX: usize = 200;
const REFERENCE_MAX: usize = 64;

/// A payout as operators see it.
#[derive(Serialize)]
struct OperatorView {
    #[serde(flatten)]
    payout: PayoutView,
    #[serde(flatten)]
    inside: InsideView,
}

#[derive(Serialize)]
struct InsideView {
    bank: String,
    end_to_end_id: String,
    proposed_by: Box<str>,
    approved_by: Option<Box<str>>,
    file: Option<Box<str>>,
}

impl OperatorView {
    fn of(row: PayoutRow, platform: String) -> Self {
        let PayoutRow { payee, payout } = row;
        OperatorView {
            payout: PayoutView::of(payee, &payout, platform),
            inside: InsideView {
                bank: payout.bank.to_string(),
                end_to_end_id: PayoutId { payee, number: payout.number }.end_to_end(),
                proposed_by: payout.proposed_by,
                approved_by: payout.approved_by,
                file: payout.file,
            },
        }
    }
}

/// A payout of the platform's.
#[utoipa::path(
    get,
    path = "/v1/payouts/{id}",
    operation_id = "get_payout",
    tag = "balance",
    security(("platform_key" = [])),
    params(("id" = String, Path, description = "`po_…`")),
    responses((status = 200, description = "The payout.", body = schema::Payout))
)]
pub async fn get(app: Data<App>, Caller(platform): Caller, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let id = payout_id(&id)?;
    if id.payee.platform != platform.id {
        return Err(ApiError::not_found());
    }
    let row = app.payouts.payout(id).await?.ok_or_else(ApiError::not_found)?;
    Ok(HttpResponse::Ok().json(PayoutView::of(row.payee, &row.payout, platform.name.clone())))
}

/// A platform's payouts, by currency and number.
#[utoipa::path(
    get,
    path = "/v1/payouts",
    operation_id = "list_payouts",
    tag = "balance",
    security(("platform_key" = [])),
    params(
        ("state" = Option<String>, Query),
        ("currency" = Option<String>, Query),
        ("limit" = Option<u32>, Query, description = "1 to 100, default 20."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of payouts.", body = schema::Payouts))
)]
pub async fn list(app: Data<App>, Caller(platform): Caller, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let (rows, next_cursor) = app.payout_page(&request, Some(platform.id)).await?;
    let data = rows.iter().map(|row| PayoutView::of(row.payee, &row.payout, platform.name.clone())).collect();
    Page { data, next_cursor }.answer()
}

/// All payouts, by platform, currency and number.
#[utoipa::path(
    get,
    path = "/v1/operator/payouts",
    operation_id = "list_all_payouts",
    tag = "operators",
    security(("operator_key" = [])),
    params(
        ("state" = Option<String>, Query),
        ("currency" = Option<String>, Query),
        ("limit" = Option<u32>, Query, description = "1 to 100, default 20."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of payouts.", body = schema::Payouts))
)]
pub async fn all(app: Data<App>, _: Operator, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let (rows, next_cursor) = app.payout_page(&request, None).await?;
    let data = app.show_payouts(rows).await?;
    Page { data, next_cursor }.answer()
}

/// Proposes to pay out all that is settled in a currency, to one platform or to all that have enough.
#[utoipa::path(
    post,
    path = "/v1/operator/payouts",
    operation_id = "create_payouts",
    tag = "operators",
    security(("operator_key" = [])),
    request_body = schema::NewPayouts,
    responses((status = 201, description = "The payouts, at most 500; another person approves each.", body = schema::Payouts))
)]
pub async fn create(
    app: Data<App>,
    person: Operator,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let mut fields = json::object(&body, &["currency", "platform", "bank"])?;
    app.payouts_permitted()?;
    let currency = currency(&mut fields)?;
    let bank = bank(&mut fields)?;
    let only = match fields.take("platform").text() {
        None => None,
        Some(name) => Some(app.platform_named(&name, "platform").await?),
    };
    let least = (currency, app.config.settlement.payout_min_minor(currency));
    let made = app.payouts.create(only, least, &bank, person.name()).await;
    let made = made.map_err(|error| refused(error, currency));
    let made = app.noted(&person, "proposed", &format!("payouts in {}", currency.code()), made).await?;
    let data = app.show_payouts(made).await?;
    Ok(HttpResponse::Created().json(Page::whole(data)))
}

/// Approves a payout that another person proposed: it is booked, and its bank details are frozen.
#[utoipa::path(
    post,
    path = "/v1/operator/payouts/{id}/approve",
    operation_id = "approve_payout",
    tag = "operators",
    security(("operator_key" = [])),
    params(("id" = String, Path, description = "`po_…`")),
    responses((status = 200, description = "The payout.", body = schema::Payout))
)]
pub async fn approve(app: Data<App>, person: Operator, id: Path<String>) -> Result<HttpResponse, ApiError> {
    app.payouts_permitted()?;
    let id = payout_id(&id)?;
    let fact = Fact::PayoutApproved { number: id.number, operator: person.name().into() };
    app.change_payout(&person, "approved", id, fact).await
}

/// Takes a payout back that has not left yet.
#[utoipa::path(
    post,
    path = "/v1/operator/payouts/{id}/cancel",
    operation_id = "cancel_payout",
    tag = "operators",
    security(("operator_key" = [])),
    params(("id" = String, Path, description = "`po_…`")),
    request_body = schema::PayoutCancellation,
    responses((status = 200, description = "The payout.", body = schema::Payout))
)]
pub async fn cancel(
    app: Data<App>,
    person: Operator,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let id = payout_id(&id)?;
    let mut fields = json::object(&body, &["reason"])?;
    let reason = words(fields.take("reason"), Code::ReasonInvalid, "reason", REASON_MAX)?;
    let fact = Fact::PayoutCancelled { number: id.number, operator: person.name().into(), reason };
    app.change_payout(&person, "cancelled", id, fact).await
}

/// Records what the bank says of a payout. The same again changes nothing.
#[utoipa::path(
    post,
    path = "/v1/operator/payouts/{id}/answer",
    operation_id = "answer_payout",
    tag = "operators",
    security(("operator_key" = [])),
    params(("id" = String, Path, description = "`po_…`")),
    request_body = schema::PayoutAnswer,
    responses((status = 200, description = "The payout.", body = schema::Payout))
)]
pub async fn answer(
    app: Data<App>,
    person: Operator,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let id = payout_id(&id)?;
    let mut fields = json::object(&body, &["answer", "amount", "reference", "reason"])?;
    let answer = match fields.take("answer").text().as_deref() {
        Some("paid") => BankAnswer::Paid,
        Some("failed") => BankAnswer::Failed,
        Some("returned") => BankAnswer::Returned,
        Some("unknown") => BankAnswer::Unknown,
        Some(_) | None => {
            return Err(ApiError::field(Code::FieldInvalid, "answer", "paid, failed, returned or unknown is required"));
        }
    };
    let amount_minor = match fields.take("amount").text() {
        None => None,
        Some(text) => Some(amount(Some(&text), id.payee.currency)?),
    };
    let reference = optional(&mut fields, "reference", REFERENCE_MAX)?;
    let reason = optional(&mut fields, "reason", REASON_MAX)?;
    let operator = person.name().into();
    let fact = Fact::PayoutAnswered { number: id.number, answer, amount_minor, reference, reason, operator };
    app.change_payout(&person, "answered", id, fact).await
}

#[derive(Serialize)]
struct TakenView {
    taken: usize,
    repeated: usize,
    refused: Vec<RefusedLine>,
}

#[derive(Serialize)]
struct RefusedLine {
    line: u64,
    payout: String,
    why: String,
}

/// Takes a file of a bank's answers (CSV). A file with a faulty line changes nothing.
#[utoipa::path(
    post,
    path = "/v1/operator/payouts/answers",
    operation_id = "import_payout_answers",
    tag = "operators",
    security(("operator_key" = [])),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 200, description = "What was taken, and which lines were refused.", body = schema::PayoutAnswersTaken))
)]
pub async fn import(
    app: Data<App>,
    person: Operator,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::bytes(&request, payload, &app.config.server).await?;
    let read = answers::read(&body[..], &app.config.settlement.bank_answers).map_err(|faults| {
        let told: Vec<String> =
            faults.iter().take(20).map(|fault| format!("line {}: {}", fault.line, fault.why)).collect();
        ApiError::new(Code::FileInvalid, told.join("; "))
    })?;
    let (mut taken, mut refused_lines) = (0, Vec::new());
    for line in read.answers {
        let refuse = |why: String| RefusedLine { line: line.line, payout: line.payout.clone(), why };
        let Some(id) = PayoutId::parse_end_to_end(&line.payout).filter(|id| id.payee.currency == line.currency) else {
            refused_lines.push(refuse("is no payout of ours".to_owned()));
            continue;
        };
        let answer = match line.outcome {
            Outcome::Paid => BankAnswer::Paid,
            Outcome::Failed => BankAnswer::Failed,
            Outcome::Returned => BankAnswer::Returned,
        };
        let fact = Fact::PayoutAnswered {
            number: id.number,
            answer,
            amount_minor: Some(line.amount_minor),
            reference: line.bank_reference.as_deref().map(Into::into),
            reason: line.reason.as_deref().map(Into::into),
            operator: person.name().into(),
        };
        match app.payouts.tell(id.payee, fact).await {
            Ok(_) => taken += 1,
            Err(PayoutError::Told(TellError::Refused(refusal))) => {
                refused_lines.push(refuse(why(&refusal, id.payee.currency)))
            }
            Err(error) => return Err(refused(error, id.payee.currency)),
        }
    }
    let view = TakenView { taken, repeated: read.repeated.len(), refused: refused_lines };
    app.noted(&person, "imported", "a bank's answers", Ok(())).await?;
    Ok(HttpResponse::Ok().json(view))
}

#[derive(Serialize)]
struct FileView {
    id: String,
    bank: String,
    currency: Currency,
    count: usize,
    amount: String,
}

impl FileView {
    fn of(file: &File) -> Self {
        let amount_minor = file.payouts.iter().map(|(row, _)| row.payout.amount_minor).fold(0, i64::saturating_add);
        FileView {
            id: file.id.clone(),
            bank: file.bank.to_string(),
            currency: file.currency,
            count: file.payouts.len(),
            amount: format_minor(amount_minor, file.currency),
        }
    }
}

/// Puts approved payouts of a currency into a file for a bank, if the bank account holds as much by our books.
#[utoipa::path(
    post,
    path = "/v1/operator/payout_files",
    operation_id = "export_payouts",
    tag = "operators",
    security(("operator_key" = [])),
    request_body = schema::NewPayoutFile,
    responses((status = 201, description = "The file, of at most 500 payouts.", body = schema::PayoutFile))
)]
pub async fn export(
    app: Data<App>,
    person: Operator,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let mut fields = json::object(&body, &["currency", "bank"])?;
    app.payouts_permitted()?;
    let (currency, bank) = (currency(&mut fields)?, bank(&mut fields)?);
    let exported = app.payouts.export(&bank, currency).await.map_err(|error| refused(error, currency));
    let file = app.noted(&person, "exported", &format!("payouts in {}", currency.code()), exported).await?;
    Ok(HttpResponse::Created().json(FileView::of(&file)))
}

/// The file as the bank gets it: the same bytes whenever it is asked for.
#[utoipa::path(
    get,
    path = "/v1/operator/payout_files/{id}",
    operation_id = "get_payout_file",
    tag = "operators",
    security(("operator_key" = [])),
    params(
        ("id" = String, Path, description = "`TB…`"),
        ("format" = Option<String>, Query, description = "`pain001` (default, ISO 20022 pain.001.001.09) or `csv`.")
    ),
    responses((status = 200, description = "XML or CSV."))
)]
pub async fn file(
    app: Data<App>,
    person: Operator,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["format"])?;
    let is_sheet = match query.get("format") {
        None | Some("pain001") => false,
        Some("csv") => true,
        Some(_) => return Err(ApiError::field(Code::FieldInvalid, "format", "pain001 or csv")),
    };
    let file = app.payouts.file(&id).await?.ok_or_else(ApiError::not_found)?;
    let transfers = file.payouts.iter().map(|(row, details)| transfer(row, details)).collect::<Vec<_>>();
    let mut bytes = Vec::new();
    let (written, kind, extension) = match is_sheet {
        true => {
            (sheet::write(&mut bytes, &app.config.settlement.payout_csv, &transfers), "text/csv; charset=utf-8", "csv")
        }
        false => {
            (pain001::write(&mut bytes, &app.initiation(&file, transfers)?), "application/xml; charset=utf-8", "xml")
        }
    };
    written.map_err(|error| match error {
        WriteError::Refused(refused) => ApiError::new(Code::FileInvalid, refused.to_string()),
        WriteError::Io(_) => ApiError::internal(),
    })?;
    app.noted(&person, "downloaded", &file.id, Ok(())).await?;
    let name = format!("attachment; filename=\"{}.{extension}\"", file.id);
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, kind)).insert_header((CONTENT_DISPOSITION, name)).body(bytes))
}

fn transfer(row: &PayoutRow, details: &BankDetails) -> Transfer {
    let id = PayoutId { payee: row.payee, number: row.payout.number };
    Transfer {
        end_to_end_id: id.end_to_end(),
        amount_minor: row.payout.amount_minor,
        currency: row.payee.currency,
        payee: details.clone(),
        remittance: format!("Settlement {}", id.end_to_end()),
    }
}

#[derive(Serialize)]
struct DetailsView {
    platform: String,
    currency: Currency,
    number: u32,
    /// Masked.
    details: String,
    in_force_at: Option<String>,
}

/// Proposes where a platform is to be paid to in a currency.
#[utoipa::path(
    post,
    path = "/v1/operator/bank_details",
    operation_id = "propose_bank_details",
    tag = "operators",
    security(("operator_key" = [])),
    request_body = schema::NewBankDetails,
    responses((status = 201, description = "Their number; another person approves them.", body = schema::BankDetails))
)]
pub async fn propose_details(
    app: Data<App>,
    person: Operator,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let details = draft_details(&body)?;
    let payee =
        PayeeId { currency: details.currency, platform: app.platform_named(&details.platform, "platform").await? };
    let proposed = app.payouts.propose_details(payee, &details.details, person.name()).await;
    let proposed = proposed.map_err(|error| refused(error, payee.currency));
    let subject = format!("bank details of {}", details.platform);
    let number = app.noted(&person, "proposed", &subject, proposed).await?;
    let (platform, currency) = (details.platform, details.currency);
    let view = DetailsView { platform, currency, number, details: details.details.to_string(), in_force_at: None };
    Ok(HttpResponse::Created().json(view))
}

/// Approves bank details that another person proposed. The first of a payee hold at once, changed ones in a day.
#[utoipa::path(
    post,
    path = "/v1/operator/bank_details/approve",
    operation_id = "approve_bank_details",
    tag = "operators",
    security(("operator_key" = [])),
    request_body = schema::BankDetailsApproval,
    responses((status = 200, description = "The details.", body = schema::BankDetails))
)]
pub async fn approve_details(
    app: Data<App>,
    person: Operator,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let mut fields = json::object(&body, &["platform", "currency", "number"])?;
    let currency = currency(&mut fields)?;
    let name = fields.take("platform").text().unwrap_or_default().into_owned();
    let payee = PayeeId { currency, platform: app.platform_named(&name, "platform").await? };
    let number = fields.take("number").integer().and_then(|number| u32::try_from(number).ok());
    let number = number.ok_or_else(|| ApiError::field(Code::FieldInvalid, "number", "the number of the details"))?;
    let fact = Fact::DetailsApproved { number, operator: person.name().into() };
    let approved = app.payouts.tell(payee, fact).await.map_err(|error| refused(error, currency));
    app.noted(&person, "approved", &format!("bank details of {name}"), approved).await?;
    let stored = app.store.bank_details(payee, number).await?.ok_or_else(ApiError::not_found)?;
    let in_force_at = stored.in_force_at.map(Instant::rfc3339);
    let view = DetailsView { platform: name, currency, number, details: stored.details.to_string(), in_force_at };
    Ok(HttpResponse::Ok().json(view))
}

/// Records that a platform has paid what it owed us.
#[utoipa::path(
    post,
    path = "/v1/operator/payments_received",
    operation_id = "record_payment_received",
    tag = "operators",
    security(("operator_key" = [])),
    request_body = schema::PaymentReceived,
    responses((status = 201, description = "What is settled of the platform then.", body = schema::Settled))
)]
pub async fn payment_received(
    app: Data<App>,
    person: Operator,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let mut fields = json::object(&body, &["platform", "currency", "amount", "bank", "reference"])?;
    let (currency, bank) = (currency(&mut fields)?, bank(&mut fields)?);
    let name = fields.take("platform").text().unwrap_or_default().into_owned();
    let payee = PayeeId { currency, platform: app.platform_named(&name, "platform").await? };
    let amount_minor = amount(fields.take("amount").text().as_deref(), currency)?;
    let reference = words(fields.take("reference"), Code::ReferenceInvalid, "reference", REFERENCE_MAX)?;
    let fact = Fact::PaymentReceived { amount_minor, bank, reference, operator: person.name().into() };
    let received = app.payouts.tell(payee, fact).await.map_err(|error| refused(error, currency));
    let after = app.noted(&person, "recorded", &format!("a payment of {name}"), received).await?;
    let settled = format_minor(after.settled_minor, currency);
    Ok(HttpResponse::Created().json(serde_json::json!({ "platform": name, "currency": currency, "settled": settled })))
}

struct DraftDetails {
    platform: String,
    currency: Currency,
    details: BankDetails,
}

#[derive(Deserialize)]
struct DetailsBody {
    details: BankDetails,
}

fn draft_details(body: &[u8]) -> Result<DraftDetails, ApiError> {
    // Strictly first, so that a key that stands twice is refused; then by the type's own rules.
    let mut fields = json::object(body, &["platform", "currency", "details"])?;
    let currency = currency(&mut fields)?;
    let platform = fields.take("platform").text().unwrap_or_default().into_owned();
    let read: DetailsBody = serde_json::from_slice(body)
        .map_err(|error| ApiError::field(Code::FieldInvalid, "details", error.to_string()))?;
    Ok(DraftDetails { platform, currency, details: read.details })
}

/// A payout may be of many orders.
fn amount(text: Option<&str>, currency: Currency) -> Result<i64, ApiError> {
    let invalid = |why: String| ApiError::field(Code::AmountInvalid, "amount", why);
    let text = text.ok_or_else(|| invalid("a string such as \"200.00\" is required".to_owned()))?;
    let most_minor = currency.max_minor().saturating_mul(TIMES_AN_ORDER);
    parse_within(text, currency, most_minor).map_err(|error| invalid(error.to_string()))
}

fn payout_id(text: &str) -> Result<PayoutId, ApiError> {
    text.parse().map_err(|()| ApiError::not_found())
}

fn currency(fields: &mut Fields<'_>) -> Result<Currency, ApiError> {
    let currency = fields.take("currency").text().and_then(|code| Currency::parse(&code));
    currency
        .ok_or_else(|| ApiError::field(Code::CurrencyUnknown, "currency", "an ISO 4217 code such as CNY is required"))
}

fn bank(fields: &mut Fields<'_>) -> Result<BankName, ApiError> {
    match fields.take("bank").text() {
        None => Ok(BankName::main()),
        Some(name) => BankName::parse(&name)
            .ok_or_else(|| ApiError::field(Code::FieldInvalid, "bank", "the name of a bank account of ours")),
    }
}

fn optional(fields: &mut Fields<'_>, field: &'static str, max: usize) -> Result<Option<Box<str>>, ApiError> {
    let given = fields.take(field);
    match given.is_null() {
        true => Ok(None),
        false => words(given, Code::FieldInvalid, field, max).map(Some),
    }
}

/// Why a payee does not take it, in words.
fn why(refusal: &Refusal, currency: Currency) -> String {
    let money = |amount_minor: i64| format_minor(amount_minor, currency);
    match refusal {
        Refusal::IsClosed | Refusal::SumsWrong => "the books of the payee are wrong".to_owned(),
        Refusal::NothingToPay { free_minor } => format!("{} is settled, too little to be paid out", money(*free_minor)),
        Refusal::TooManyPayouts => "it has as many payouts as it may".to_owned(),
        Refusal::PayoutUnknown => "there is no such payout, or it is long over".to_owned(),
        Refusal::DetailsUnknown => "nobody has proposed these details lately".to_owned(),
        Refusal::SecondOperatorRequired => "whoever proposed it cannot approve it".to_owned(),
        Refusal::NoDetails { in_force_at: None } => "nobody has said where it is to be paid to".to_owned(),
        Refusal::NoDetails { in_force_at: Some(at) } => format!("its bank details hold from {} on", at.rfc3339()),
        Refusal::PayoutState(state) => format!("it is {}", state.name()),
        Refusal::AmountDiffers { amount_minor } => format!("it is of {}", money(*amount_minor)),
        Refusal::NoSuchDebt { owed_minor } => format!("it owes {}", money(*owed_minor)),
    }
}

fn code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::IsClosed | Refusal::SumsWrong => Code::Internal,
        Refusal::NothingToPay { .. } => Code::NothingToPay,
        Refusal::TooManyPayouts | Refusal::PayoutState(_) => Code::PayoutState,
        Refusal::PayoutUnknown => Code::NotFound,
        Refusal::DetailsUnknown | Refusal::NoDetails { .. } => Code::BankDetailsMissing,
        Refusal::SecondOperatorRequired => Code::SecondOperatorRequired,
        Refusal::AmountDiffers { .. } => Code::PayoutAmountDiffers,
        Refusal::NoSuchDebt { .. } => Code::DebtExceeded,
    }
}

fn refused(error: PayoutError, currency: Currency) -> ApiError {
    let money = |amount_minor: i64| format_minor(amount_minor, currency);
    match error {
        PayoutError::Store(error) => error.into(),
        PayoutError::CoverMissing { held_minor, leaving_minor } => {
            let (held, leaving) = (money(held_minor), money(leaving_minor));
            let detail = format!("By our books the bank account holds {held}, and {leaving} would leave it.");
            ApiError::new(Code::CoverMissing, detail)
        }
        PayoutError::NothingToExport => ApiError::new(Code::NothingToPay, "No payout is approved and not exported."),
        PayoutError::Told(TellError::Refused(refusal)) => {
            ApiError::new(code(&refusal), format!("Not done: {}.", why(&refusal, currency)))
        }
        PayoutError::Told(TellError::OutcomeUnknown) => ApiError::outcome_unknown(),
        PayoutError::Told(
            TellError::NotFound
            | TellError::Duplicate
            | TellError::Overloaded
            | TellError::StoreAway
            | TellError::Quarantined,
        ) => ApiError::store_unavailable(),
    }
}

impl App {
    /// Outside the sandbox, whoever pays out others' money says that it may.
    fn payouts_permitted(&self) -> Result<(), ApiError> {
        match self.config.sandbox || self.config.settlement.payouts_permitted {
            true => Ok(()),
            false => Err(ApiError::new(
                Code::PayoutsNotPermitted,
                "`settlement.payouts_permitted` says that the operator may not hold and pay out others' money.",
            )),
        }
    }

    async fn change_payout(
        &self,
        person: &Operator,
        act: &'static str,
        id: PayoutId,
        fact: Fact,
    ) -> Result<HttpResponse, ApiError> {
        let changed = self.payouts.tell(id.payee, fact).await.map_err(|error| refused(error, id.payee.currency));
        self.noted(person, act, &id.to_string(), changed).await?;
        let row = self.payouts.payout(id).await?.ok_or_else(ApiError::not_found)?;
        let mut shown = self.show_payouts(vec![row]).await?;
        Ok(HttpResponse::Ok().json(shown.remove(0)))
    }

    async fn show_payouts(&self, rows: Vec<PayoutRow>) -> Result<Vec<OperatorView>, ApiError> {
        let mut shown = Vec::with_capacity(rows.len());
        for row in rows {
            let platform = self.store.platform(row.payee.platform).await?.ok_or_else(ApiError::internal)?;
            shown.push(OperatorView::of(row, platform.name));
        }
        Ok(shown)
    }

    async fn payout_page(
        &self,
        request: &HttpRequest,
        platform: Option<PlatformId>,
    ) -> Result<(Vec<PayoutRow>, Option<String>), ApiError> {
        let query = Query::read(request, &["state", "currency", "limit", "cursor"])?;
        let limit = lists::read_limit(&query)?;
        let after = lists::read_place(&query, |cursor| cursor.parse::<PayoutId>().ok())?;
        let filter = PayoutFilter {
            state: query.parse(Code::StateUnknown, "state", "a state of payouts", PayoutState::parse)?,
            platform,
            currency: query.parse(Code::CurrencyUnknown, "currency", "an ISO 4217 code", Currency::parse)?,
            file: None,
            after: after.map(|id| (id.payee, id.number)),
            limit: limit.and_one(),
        };
        let mut rows = self.store.payouts(&filter).await?;
        let more = limit.cut(&mut rows);
        let last = rows.last().map(|row| PayoutId { payee: row.payee, number: row.payout.number });
        Ok((rows, last.filter(|_| more).map(|id| id.to_string())))
    }

    fn initiation(&self, file: &File, transfers: Vec<Transfer>) -> Result<Initiation, ApiError> {
        let mode = if self.config.sandbox { Mode::Sandbox } else { Mode::Production };
        let debtor = self.config.settlement.bank(&file.bank, mode).ok_or_else(|| {
            ApiError::new(Code::FileInvalid, format!("`settlement.banks.{}` says nothing of that account.", file.bank))
        })?;
        let created_at = file.made_at().ok_or_else(ApiError::internal)?;
        let execution_date = Effective::unbilled(created_at).bill_day;
        let id = format!("{}-1", file.id);
        let initiating_party = debtor.holder().to_owned();
        let payments = vec![Payment { id, debtor, execution_date, transfers }];
        Ok(Initiation { message_id: file.id.clone(), created_at, initiating_party, payments })
    }
}
