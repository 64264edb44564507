//! The OpenAPI document, and a page to read it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION};
use actix_web::web::{Bytes, Path};
use dashmap::DashMap;
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, PathItem, Ref, RefOr, Response, ResponseBuilder};
use utoipa_swagger_ui::Config as Reader;

use super::problem::{ApiError, Code};
use super::{
    balance, calendars, callbacks, channels, debtors, lists, nettings, operator, operators, ops, orders, pay_page,
    payouts, proposals, refunds, schema, settlements, statement,
};

/// The reader's own files, and nothing from anywhere else.
pub(super) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; frame-ancestors 'none'; base-uri 'none'",
);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tongbao",
        description = "Payments across platforms and channels. Money is a decimal string in major units; instants are \
                       RFC 3339 in UTC; errors are RFC 9457 problems with a stable `code`."
    ),
    paths(
        orders::create,
        lists::orders,
        orders::get,
        orders::pay,
        orders::cancel,
        refunds::create,
        refunds::of_order,
        refunds::list,
        refunds::get,
        balance::balance,
        balance::transactions,
        settlements::list,
        settlements::get,
        statement::get,
        lists::events,
        channels::channels,
        channels::quote,
        callbacks::default_account,
        callbacks::named_account,
        operator::resolve,
        operator::resolve_refund,
        operator::quarantine,
        operator::stuck_refunds,
        operator::unreadable,
        operator::retry,
        proposals::create,
        proposals::list,
        proposals::get,
        proposals::approve,
        proposals::reject,
        operators::list,
        operators::add_key,
        operators::revoke,
        operators::acts,
        payouts::list,
        payouts::get,
        payouts::all,
        payouts::create,
        payouts::approve,
        payouts::cancel,
        payouts::answer,
        payouts::import,
        payouts::export,
        payouts::file,
        payouts::propose_details,
        payouts::approve_details,
        payouts::payment_received,
        debtors::list,
        calendars::list,
        calendars::close,
        calendars::create,
        calendars::join,
        calendars::settled,
        calendars::reschedule,
        nettings::list,
        nettings::confirm,
        nettings::runs,
        pay_page::show,
        pay_page::choose,
        ops::healthz,
        ops::readyz,
        ops::metrics,
        openapi
    ),
    components(schemas(schema::Order, schema::NewOrder)),
    tags(
        (name = "orders", description = "What platforms want paid."),
        (name = "refunds", description = "Money on its way back to payers."),
        (name = "balance", description = "What we owe a platform, and what changed it."),
        (name = "settlements", description = "What a platform had of a cycle, and every line of it."),
        (name = "nettings", description = "What platforms pay each other."),
        (name = "channels", description = "Payment networks and their prices."),
        (name = "callbacks", description = "For gateways, each in its own format."),
        (name = "operators", description = "For people who settle what cannot be settled by asking."),
        (name = "payer", description = "Pages for the payer."),
        (name = "operation", description = "For those who run it.")
    )
)]
struct Described;

/// What any request of a platform may meet.
const PLATFORM: &[Code] = &[
    Code::RequestInvalid,
    Code::Unauthenticated,
    Code::MethodNotAllowed,
    Code::RateLimited,
    Code::Internal,
    Code::StoreUnavailable,
];
const BODY: &[Code] =
    &[Code::BodyInvalid, Code::BodyTimeout, Code::BodyTooLarge, Code::ContentTypeUnsupported, Code::FieldUnknown];
const COMMAND: &[Code] = &[
    Code::NotFound,
    Code::OrderFinal,
    Code::AttemptOpen,
    Code::RequestInProgress,
    Code::IdempotencyKeyInvalid,
    Code::IdempotencyKeyReused,
    Code::Overloaded,
    Code::OutcomeUnknown,
    Code::OrderQuarantined,
];
/// What an operator's payout may meet.
const PAYOUT: &[Code] = &[
    Code::SecondOperatorRequired,
    Code::PayoutsNotPermitted,
    Code::PayoutState,
    Code::PayoutAmountDiffers,
    Code::NothingToPay,
    Code::BankDetailsMissing,
    Code::DebtExceeded,
    Code::OutcomeUnknown,
];
/// What a field of an operator's may be refused for.
const BY_HAND: &[Code] = &[
    Code::FieldInvalid,
    Code::CurrencyUnknown,
    Code::PlatformUnknown,
    Code::AmountInvalid,
    Code::ReferenceInvalid,
    Code::ReasonInvalid,
];
/// What any request of an operator may meet.
const OPERATOR: &[Code] = &[
    Code::RequestInvalid,
    Code::Unauthenticated,
    Code::ForbiddenRole,
    Code::NotFound,
    Code::MethodNotAllowed,
    Code::RateLimited,
    Code::Internal,
    Code::StoreUnavailable,
];
const CALLBACK: &[Code] = &[
    Code::RequestInvalid,
    Code::CallbackUnreadable,
    Code::CallbackUnverified,
    Code::CallbackStale,
    Code::NotFound,
    Code::MethodNotAllowed,
    Code::CallbackRefused,
    Code::BodyTimeout,
    Code::BodyTooLarge,
    Code::RateLimited,
    Code::Internal,
    Code::Overloaded,
    Code::StoreUnavailable,
    Code::OutcomeUnknown,
    Code::OrderQuarantined,
];

/// Which codes an operation may answer with.
fn codes(operation: &str) -> Vec<&'static [Code]> {
    match operation {
        "create_order" => vec![
            PLATFORM,
            BODY,
            &[
                Code::OrderConflict,
                Code::MerchantOrderIdInvalid,
                Code::AmountInvalid,
                Code::CurrencyUnknown,
                Code::ChannelUnknown,
                Code::MethodUnknown,
                Code::DescriptionInvalid,
                Code::PayerInvalid,
                Code::ReturnUrlInvalid,
                Code::WebhookUrlInvalid,
                Code::ExpiresInInvalid,
                Code::AttemptsMaxInvalid,
                Code::MetadataInvalid,
                Code::SplitInvalid,
                Code::SplitsExceedAmount,
                Code::Overloaded,
                Code::OutcomeUnknown,
                Code::OrderQuarantined,
            ],
        ],
        "create_refund" => vec![
            PLATFORM,
            BODY,
            &[
                Code::NotFound,
                Code::OrderNotPaid,
                Code::RefundExceedsRemaining,
                Code::BalanceInsufficient,
                Code::RefundConflict,
                Code::RefundWindowOver,
                Code::RefundLimit,
                Code::RequestInProgress,
                Code::FieldInvalid,
                Code::AmountInvalid,
                Code::IdempotencyKeyInvalid,
                Code::IdempotencyKeyReused,
                Code::Overloaded,
                Code::OutcomeUnknown,
                Code::OrderQuarantined,
            ],
        ],
        "list_order_refunds" => {
            vec![PLATFORM, &[Code::NotFound, Code::ParameterUnknown, Code::LimitInvalid, Code::CursorInvalid]]
        }
        "get_refund" => vec![PLATFORM, &[Code::NotFound]],
        "list_refunds" => vec![
            PLATFORM,
            &[
                Code::ParameterUnknown,
                Code::FieldInvalid,
                Code::StateUnknown,
                Code::CreatedAfterInvalid,
                Code::CreatedBeforeInvalid,
                Code::LimitInvalid,
                Code::CursorInvalid,
            ],
        ],
        "resolve_refund" => vec![
            OPERATOR,
            BODY,
            &[
                Code::RefundFinal,
                Code::FieldInvalid,
                Code::EvidenceInvalid,
                Code::Overloaded,
                Code::OutcomeUnknown,
                Code::OrderQuarantined,
            ],
        ],
        "list_settlements" => vec![
            PLATFORM,
            &[
                Code::ParameterUnknown,
                Code::StateUnknown,
                Code::CurrencyUnknown,
                Code::LimitInvalid,
                Code::CursorInvalid,
            ],
        ],
        "get_settlement" => vec![PLATFORM, &[Code::NotFound]],
        "get_statement" => {
            vec![PLATFORM, &[Code::NotFound, Code::SettlementOpen, Code::ParameterUnknown, Code::FieldInvalid]]
        }
        "list_calendars" => vec![OPERATOR, &[Code::ParameterUnknown]],
        "create_calendar" | "join_calendar" => vec![
            OPERATOR,
            BODY,
            &[
                Code::FieldInvalid,
                Code::CurrencyUnknown,
                Code::PlatformUnknown,
                Code::ChangeRefused,
                Code::CycleClosing,
                Code::Overloaded,
                Code::OutcomeUnknown,
            ],
        ],
        "list_settlements_of_cycle" => {
            vec![OPERATOR, &[Code::ParameterUnknown, Code::FieldInvalid, Code::LimitInvalid, Code::CursorInvalid]]
        }
        "close_cycle" | "reschedule_calendar" => vec![
            OPERATOR,
            BODY,
            &[
                Code::CycleClosed,
                Code::CycleClosing,
                Code::CycleOutOfOrder,
                Code::FieldInvalid,
                Code::Overloaded,
                Code::OutcomeUnknown,
            ],
        ],
        "get_balance" => vec![PLATFORM],
        "list_balance_transactions" => vec![
            PLATFORM,
            &[
                Code::ParameterUnknown,
                Code::FieldInvalid,
                Code::CreatedAfterInvalid,
                Code::CreatedBeforeInvalid,
                Code::LimitInvalid,
                Code::CursorInvalid,
            ],
        ],
        "list_orders" => vec![
            PLATFORM,
            &[
                Code::ParameterUnknown,
                Code::MerchantOrderIdInvalid,
                Code::StateUnknown,
                Code::ChannelUnknown,
                Code::CreatedAfterInvalid,
                Code::CreatedBeforeInvalid,
                Code::LimitInvalid,
                Code::CursorInvalid,
            ],
        ],
        "get_order" => vec![PLATFORM, &[Code::NotFound]],
        "list_events" => {
            vec![PLATFORM, &[Code::NotFound, Code::ParameterUnknown, Code::LimitInvalid, Code::CursorInvalid]]
        }
        "handle_payment" => {
            vec![
                PLATFORM,
                BODY,
                COMMAND,
                &[
                    Code::AttemptsUsedUp,
                    Code::ChannelUnsuitable,
                    Code::ChannelUnavailable,
                    Code::ChannelUnknown,
                    Code::MethodUnknown,
                    Code::PayerInvalid,
                ],
            ]
        }
        "cancel_order" => vec![PLATFORM, BODY, COMMAND],
        "list_channels" => vec![PLATFORM],
        "get_quote" => vec![
            PLATFORM,
            &[
                Code::ParameterUnknown,
                Code::AmountInvalid,
                Code::CurrencyUnknown,
                Code::CurrencyUnsuitable,
                Code::ChannelUnknown,
                Code::MethodUnknown,
            ],
        ],
        "resolve_attempt" => vec![
            OPERATOR,
            BODY,
            &[
                Code::AttemptUnknown,
                Code::FindingUnknown,
                Code::ReferenceInvalid,
                Code::AmountInvalid,
                Code::EvidenceInvalid,
                Code::ResolutionRefused,
                Code::Overloaded,
                Code::OutcomeUnknown,
                Code::OrderQuarantined,
            ],
        ],
        "list_quarantine" | "list_stuck_refunds" => {
            vec![OPERATOR, &[Code::ParameterUnknown, Code::LimitInvalid, Code::CursorInvalid]]
        }
        "create_proposal" => vec![
            OPERATOR,
            BODY,
            &[
                Code::ActUnknown,
                Code::FieldInvalid,
                Code::ReasonInvalid,
                Code::CurrencyUnknown,
                Code::AmountInvalid,
                Code::EntryUnbalanced,
                Code::LedgerAccountUnknown,
                Code::LedgerAccountFixed,
                Code::PlatformUnknown,
                Code::OperatorUnknown,
                Code::ChangeRefused,
                Code::Overloaded,
                Code::OutcomeUnknown,
            ],
        ],
        "list_proposals" => {
            vec![OPERATOR, &[Code::ParameterUnknown, Code::StateUnknown, Code::LimitInvalid, Code::CursorInvalid]]
        }
        "get_proposal" => vec![OPERATOR],
        "approve_proposal" | "reject_proposal" => vec![
            OPERATOR,
            &[
                Code::SecondOperatorRequired,
                Code::ProposalLapsed,
                Code::ProposalEnded,
                Code::ProposalOutdated,
                Code::ProposalRefused,
                Code::Overloaded,
                Code::OutcomeUnknown,
            ],
        ],
        "get_payout" => vec![PLATFORM, &[Code::NotFound]],
        "list_payouts" => vec![
            PLATFORM,
            &[
                Code::ParameterUnknown,
                Code::StateUnknown,
                Code::CurrencyUnknown,
                Code::LimitInvalid,
                Code::CursorInvalid,
            ],
        ],
        "list_all_payouts" => vec![
            OPERATOR,
            &[
                Code::ParameterUnknown,
                Code::StateUnknown,
                Code::CurrencyUnknown,
                Code::LimitInvalid,
                Code::CursorInvalid,
            ],
        ],
        "list_debtors" => vec![OPERATOR, &[Code::ParameterUnknown, Code::LimitInvalid, Code::CursorInvalid]],
        "create_payouts" => vec![OPERATOR, BODY, BY_HAND, PAYOUT],
        "approve_payout" => vec![OPERATOR, PAYOUT],
        "cancel_payout" | "answer_payout" => vec![OPERATOR, BODY, BY_HAND, PAYOUT],
        "import_payout_answers" => {
            vec![OPERATOR, &[Code::BodyTimeout, Code::BodyTooLarge, Code::FileInvalid, Code::OutcomeUnknown]]
        }
        "export_payouts" => vec![OPERATOR, BODY, BY_HAND, PAYOUT, &[Code::CoverMissing]],
        "get_payout_file" => vec![OPERATOR, &[Code::ParameterUnknown, Code::FieldInvalid, Code::FileInvalid]],
        "propose_bank_details" | "approve_bank_details" | "record_payment_received" => {
            vec![OPERATOR, BODY, BY_HAND, PAYOUT]
        }
        "list_operator_acts" => vec![OPERATOR, &[Code::ParameterUnknown, Code::LimitInvalid, Code::CursorInvalid]],
        "list_operators" => vec![OPERATOR, &[Code::ParameterUnknown]],
        "add_operator_key" | "revoke_operator_keys" => {
            vec![OPERATOR, BODY, &[Code::ChangeRefused, Code::OutcomeUnknown]]
        }
        "list_nettings" => vec![PLATFORM, &[Code::ParameterUnknown, Code::LimitInvalid, Code::CursorInvalid]],
        "confirm_netting" => {
            vec![PLATFORM, &[Code::NotFound, Code::Overloaded, Code::OutcomeUnknown, Code::OrderQuarantined]]
        }
        "list_netting_runs" => vec![
            OPERATOR,
            &[Code::ParameterUnknown, Code::FieldInvalid, Code::StateUnknown, Code::LimitInvalid, Code::CursorInvalid],
        ],
        "list_unreadable" => vec![OPERATOR, &[Code::ParameterUnknown]],
        "retry_quarantined" => vec![OPERATOR],
        "take_callback" | "take_account_callback" => vec![CALLBACK],
        // Pages tell people what went wrong, and the rest cannot go wrong.
        _ => Vec::new(),
    }
}

pub(super) static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| document().to_json().expect("the document is made of plain structs"));
static READER: LazyLock<Arc<Reader<'static>>> = LazyLock::new(|| Arc::new(Reader::from("/openapi.json")));

/// The whole document: what the handlers say of themselves, the table of codes, the platform's key.
fn document() -> Document {
    let mut document = Described::openapi();
    document.info.version = env!("CARGO_PKG_VERSION").into();
    document.info.license = None;
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("platform_key", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    components.add_security_scheme("operator_key", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    components.schemas.insert("Problem".into(), problem_schema());
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            let codes = codes(operation.operation_id.as_deref().unwrap_or_default());
            operation.responses.responses.extend(refusals(codes.concat()));
        }
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    item.get.as_mut().into_iter().chain(item.post.as_mut())
}

/// One answer per status, telling which codes it may have.
fn refusals(codes: Vec<Code>) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for code in codes {
        let told = format!("- `{}`: {}", code.name(), code.title());
        by_status.entry(code.status().as_str().into()).or_default().push(told);
    }
    let answer = |lines: Vec<String>| {
        ResponseBuilder::new()
            .description(lines.join("\n"))
            .content("application/problem+json", Content::new(Some(Ref::from_schema_name("Problem"))))
            .build()
            .into()
    };
    by_status.into_iter().map(|(status, lines)| (status, answer(lines))).collect()
}

fn problem_schema() -> RefOr<Schema> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let codes = text().enum_values(Some(Code::ALL.iter().map(|code| code.name())));
    ObjectBuilder::new()
        .description(Some("RFC 9457 problem details."))
        .property("type", text())
        .property("title", text())
        .property("status", ObjectBuilder::new().schema_type(Type::Integer))
        .property("detail", text())
        .property("code", codes)
        .property("request_id", text())
        .property("field", text().description(Some("The one field that is at fault, if there is one.")))
        .property(
            "until",
            text().description(Some("With `attempt_open`: when the open attempt will have ended at the latest.")),
        )
        .required("type")
        .required("title")
        .required("status")
        .required("detail")
        .required("code")
        .required("request_id")
        .into()
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "get_openapi",
    tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1.", content_type = "application/json"))
)]
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(DOCUMENT.as_str())
}

/// `GET /docs`: the page's own links need the slash.
pub async fn page() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((LOCATION, "/docs/")).finish()
}

/// `GET /docs/{file}`
pub async fn file(name: Path<String>) -> Result<HttpResponse, ApiError> {
    let file = match FILES.get(name.as_str()) {
        Some(file) => file.clone(),
        None => {
            let file = utoipa_swagger_ui::serve(&name, Arc::clone(&READER))
                .map_err(|_| ApiError::internal())?
                .ok_or_else(ApiError::not_found)?;
            let bytes = Bytes::from(file.bytes.into_owned());
            let file = File { bytes, content_type: file.content_type, gzipped: file.gzpipped };
            FILES.insert(name.into_inner(), file.clone());
            file
        }
    };
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CONTENT_SECURITY_POLICY, POLICY)).insert_header((CONTENT_TYPE, file.content_type));
    if file.gzipped {
        answer.insert_header((CONTENT_ENCODING, "gzip"));
    }
    Ok(answer.body(file.bytes))
}

#[derive(Clone)]
struct File {
    bytes: Bytes,
    content_type: String,
    gzipped: bool,
}

/// The reader's files by their names, unpacked once. Only those that exist get in.
static FILES: LazyLock<DashMap<String, File>> = LazyLock::new(DashMap::new);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn shown() -> Value {
        serde_json::from_str(&DOCUMENT).unwrap()
    }

    #[test]
    fn every_code_is_listed_and_some_operation_answers_it() {
        let document = shown();
        let listed = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].as_array().unwrap();
        let operations: Vec<&Value> = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|item| item.as_object().unwrap().values())
            .collect();
        for code in Code::ALL {
            assert!(listed.iter().any(|name| name == code.name()), "{}", code.name());
            let answers = |operation: &&Value| {
                let status = code.status().as_str().to_owned();
                operation["responses"][status]["description"]
                    .as_str()
                    .is_some_and(|told| told.contains(&format!("`{}`", code.name())))
            };
            assert!(operations.iter().any(answers), "{}", code.name());
        }
    }

    #[test]
    fn references_lead_somewhere_and_platform_routes_want_the_key() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str).map(String::from));
                    fields.values().for_each(|field| references(field, found));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, found)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let document = shown();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
        for (path, item) in document["paths"].as_object().unwrap() {
            let guarded = path.starts_with("/v1/") && !path.starts_with("/v1/callbacks");
            for operation in item.as_object().unwrap().values() {
                assert_eq!(operation.get("security").is_some(), guarded, "{path}");
                assert_eq!(operation["responses"].get("401").is_some(), path.starts_with("/v1/"), "{path}");
            }
        }
    }

    #[test]
    fn requests_are_described_as_strictly_as_they_are_read() {
        let schemas = &shown()["components"]["schemas"];
        for name in ["NewOrder", "Payer", "Choice", "Resolution"] {
            assert_eq!(schemas[name]["additionalProperties"], false, "{name}");
        }
        let mut fields: Vec<_> = schemas["NewOrder"]["properties"].as_object().unwrap().keys().cloned().collect();
        let mut read = crate::http::draft::FIELDS.map(String::from);
        fields.sort_unstable();
        read.sort_unstable();
        assert_eq!(fields, read);
        assert_eq!(schemas["NewOrder"]["required"], serde_json::json!(["merchant_order_id", "amount", "currency"]));
    }

    #[test]
    fn an_order_is_described_as_it_is_shown() {
        use crate::domain::order::example::order;
        use crate::domain::view::tests::shown as shown_order;
        let shown_order = shown_order(&order(), None);
        let schemas = &shown()["components"]["schemas"];
        for (name, value) in [("Order", &shown_order), ("Attempt", &shown_order["attempts"][0])] {
            let mut described: Vec<&str> =
                schemas[name]["properties"].as_object().unwrap().keys().map(String::as_str).collect();
            described.retain(|field| *field != "sequence");
            let mut fields: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
            described.sort_unstable();
            fields.sort_unstable();
            assert_eq!(described, fields, "{name}");
            let required = schemas[name]["required"].as_array().unwrap();
            fields.retain(|field| *field != "next_action");
            assert!(fields.iter().all(|field| required.iter().any(|name| name == field)), "{name}");
        }
    }
}
