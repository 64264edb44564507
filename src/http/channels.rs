//! Channels and what they would cost.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::App;
use super::auth::Caller;
use super::draft;
use super::lists::Page;
use super::problem::{ApiError, Code};
use super::query::Query;
use super::schema;
use crate::domain::channel::{Channel, Currencies, Limit, Method};
use crate::domain::money::{Currency, Rate, format_minor};
use crate::domain::order;
use crate::domain::success::BasisPoints;
use crate::domain::validation::Health;
use crate::engine::clock;

#[derive(Serialize)]
struct ChannelView {
    name: Channel,
    enabled: bool,
    methods: &'static [Method],
    fee_rate: String,
    currencies: CurrenciesView,
    limits: Vec<LimitView>,
    health: Option<Health>,
    success_rate: Option<BasisPoints>,
}

/// What a channel takes in one payment, its fee included.
#[derive(Serialize)]
struct LimitView {
    currency: &'static str,
    min: String,
    max: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum CurrenciesView {
    All(&'static str),
    Only(Vec<&'static str>),
}

#[derive(Serialize)]
struct QuoteView {
    amount: String,
    currency: Currency,
    channel: Channel,
    fee: String,
    fee_rate: String,
    payable: String,
}

/// All channels, enabled or not.
#[utoipa::path(
    get,
    path = "/v1/channels",
    operation_id = "list_channels",
    tag = "channels",
    security(("platform_key" = [])),
    responses((status = 200, description = "The channels.", body = schema::Channels))
)]
pub async fn channels(app: Data<App>, Caller(platform): Caller) -> Result<HttpResponse, ApiError> {
    let outlook = app.advice.outlook(platform.id);
    let rates = app.terms.rates(&platform.name, clock::now());
    let view = |channel: Channel| {
        let rules = channel.rules();
        let standing = outlook.channels[channel.index()];
        let (currencies, limits) = currencies(rules.currencies);
        ChannelView {
            name: channel,
            enabled: standing.is_some(),
            methods: rules.methods,
            // Every channel of now has a rate, and a way to pay.
            fee_rate: rules
                .methods
                .first()
                .and_then(|method| rates.of(channel, *method))
                .unwrap_or(Rate::ZERO)
                .to_string(),
            currencies,
            limits,
            health: standing.map(|standing| standing.health),
            success_rate: standing.and_then(|standing| standing.tally.rate(outlook.policy.samples_min)),
        }
    };
    Page::whole(Channel::ALL.into_iter().map(view).collect()).answer()
}

fn currencies(taken: Currencies) -> (CurrenciesView, Vec<LimitView>) {
    let limits = match taken {
        Currencies::All => return (CurrenciesView::All("all"), Vec::new()),
        Currencies::Only(limits) => limits,
    };
    let view = |limit: &Limit| {
        let currency = Currency::parse(limit.currency)?;
        let money = |amount_minor| format_minor(amount_minor, currency);
        Some(LimitView { currency: limit.currency, min: money(limit.min_minor), max: limit.max_minor.map(money) })
    };
    let codes = limits.iter().map(|limit| limit.currency).collect();
    (CurrenciesView::Only(codes), limits.iter().filter_map(view).collect())
}

/// What an amount costs at a channel, at the rates of now: a price, also where the channel is not enabled or its limits
/// would not let the amount pass.
#[utoipa::path(
    get,
    path = "/v1/quote",
    operation_id = "get_quote",
    tag = "channels",
    security(("platform_key" = [])),
    params(
        ("amount" = String, Query, example = "200.00"),
        ("currency" = String, Query, example = "CNY"),
        ("channel" = schema::Channel, Query),
        ("method" = Option<schema::Method>, Query, description = "Default: the channel's first.")
    ),
    responses((status = 200, description = "The quote.", body = schema::Quote))
)]
pub async fn quote(app: Data<App>, Caller(platform): Caller, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["amount", "currency", "channel", "method"])?;
    let currency = draft::currency(query.get("currency"))?;
    let amount_minor = draft::amount(query.get("amount"), currency)?;
    let channel = query.get("channel").and_then(Channel::parse).ok_or_else(|| {
        ApiError::field(Code::ChannelUnknown, "channel", "simpay, wechat, alipay, unionpay or stripe is required")
    })?;
    if channel.rules().limit(currency).is_none() {
        let detail = format!("{channel} does not take {currency}.");
        return Err(ApiError::field(Code::CurrencyUnsuitable, "currency", detail));
    }
    let methods = channel.rules().methods;
    let method = match query.get("method") {
        None => methods.first().copied(),
        Some(name) => Method::parse(name).filter(|method| methods.contains(method)),
    };
    let unknown = || ApiError::field(Code::MethodUnknown, "method", format!("{channel} has no such method"));
    let rate = app.terms.rates(&platform.name, clock::now()).of(channel, method.ok_or_else(unknown)?);
    let rate = rate.ok_or_else(ApiError::internal)?;
    let quote = order::quote(amount_minor, currency, rate, platform.fee_bearer)
        .ok_or_else(|| ApiError::field(Code::AmountInvalid, "amount", "with its fee it passes 999999999999.99"))?;
    Ok(HttpResponse::Ok().json(QuoteView {
        amount: format_minor(amount_minor, currency),
        currency,
        channel,
        fee: format_minor(quote.fee_minor, currency),
        fee_rate: rate.to_string(),
        payable: format_minor(quote.payable_minor, currency),
    }))
}
