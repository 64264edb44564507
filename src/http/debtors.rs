//! For operators: platforms that owe us.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::App;
use super::auth::Operator;
use super::lists::{Page, read_limit, read_place};
use super::problem::ApiError;
use super::query::Query;
use super::schema;
use crate::domain::money::{Currency, format_minor};
use crate::domain::payee::PayeeId;
use crate::domain::time::Instant;
use crate::domain::view;
use crate::engine::debtors::debtors;

#[derive(Serialize)]
struct DebtorView {
    platform: String,
    currency: Currency,
    owed: String,
    #[serde(serialize_with = "view::optional_rfc3339")]
    since: Option<Instant>,
    days: Option<i64>,
}

fn write_cursor(payee: PayeeId) -> String {
    format!("{:014x}", payee.as_u128())
}

fn read_cursor(text: &str) -> Option<PayeeId> {
    let payee = u128::from_str_radix(text, 16).ok().and_then(PayeeId::from_u128)?;
    (write_cursor(payee) == text).then_some(payee)
}

/// Platforms that owe us of closed cycles, and since when.
#[utoipa::path(
    get,
    path = "/v1/operator/debtors",
    operation_id = "list_debtors",
    tag = "operators",
    security(("operator_key" = [])),
    params(
        ("limit" = Option<u32>, Query, description = "1 to 100, default 20."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of debts, by platform and currency.", body = schema::Debtors))
)]
pub async fn list(app: Data<App>, _: Operator, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["limit", "cursor"])?;
    let limit = read_limit(&query)?;
    let after = read_place(&query, read_cursor)?.map_or(0, PayeeId::as_u128);
    let mut found = debtors(app.store.as_ref(), after, limit.and_one() as usize).await?;
    let more = limit.cut(&mut found);
    let next_cursor = found.last().filter(|_| more).map(|last| write_cursor(last.payee));
    let now = app.payouts.now();
    let mut data = Vec::with_capacity(found.len());
    for debtor in found {
        let platform = app.store.platform(debtor.platform()).await?.ok_or_else(ApiError::internal)?;
        data.push(DebtorView {
            platform: platform.name,
            currency: debtor.currency(),
            owed: format_minor(debtor.owed_minor, debtor.currency()),
            since: debtor.since,
            days: debtor.days(now),
        });
    }
    Page { data, next_cursor }.answer()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::PlatformId;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is_one() {
        let payee = PayeeId { currency: Currency::parse("CNY").unwrap(), platform: PlatformId(7) };
        assert_eq!(read_cursor(&write_cursor(payee)), Some(payee));
        for broken in ["", "7", "+0000007434e59", "00000007434E59", "00000007434343"] {
            assert_eq!(read_cursor(broken), None, "{broken}");
        }
    }
}
