//! The statement of a closed settlement: its totals, every line of it, and what the lines sum to.
//!
//! It is read page by page while it is sent, each page by a short read of its own, so that a statement of any length
//! takes the same memory and holds up nobody. A closed cycle never changes: asked again, it is the same bytes.

use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use actix_web::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use dashmap::DashMap;
use futures_util::stream;

use super::App;
use super::auth::Caller;
use super::balance::TransactionView;
use super::pay_page::prefers_chinese;
use super::problem::{ApiError, Code};
use super::query::Query;
use super::settlements::{owned, span};
use crate::domain::id::PlatformId;
use crate::domain::ledger::{Heading, Transaction, TransactionKind};
use crate::domain::money::format_minor;
use crate::domain::settlement::{SettlementId, Sums};
use crate::domain::time::Instant;
use crate::domain::view::SettlementFigures;
use crate::store::{StatementFilter, Store, StoredTransaction, TransactionPlace};

/// Lines of one read.
const LINES_AT_ONCE: u32 = 500;
/// Of one platform at once.
const AT_ONCE_MAX: usize = 2;
/// Whoever reads slower than that has to ask again.
const DEADLINE: Duration = Duration::from_mins(10);
const COLUMNS: [&str; 11] = [
    "record",
    "type",
    "amount",
    "currency",
    "counterparty",
    "position",
    "order",
    "refund",
    "created_at",
    "effective_at",
    "id",
];
/// No scripts, no requests, in nobody's frame.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
    Html { zh: bool },
}

impl Format {
    /// By `?format=`, which browsers can give, else by the first type of `Accept` that there is.
    fn of(query: &Query<'_>, request: &HttpRequest) -> Result<Self, ApiError> {
        let zh = match query.get("lang") {
            Some("zh") => true,
            Some("en") => false,
            Some(_) => return Err(ApiError::field(Code::FieldInvalid, "lang", "en or zh")),
            None => prefers_chinese(request.headers()),
        };
        let named = |name: &str| match name {
            "json" | "application/json" => Some(Format::Json),
            "csv" | "text/csv" => Some(Format::Csv),
            "html" | "text/html" => Some(Format::Html { zh }),
            _ => None,
        };
        if let Some(format) = query.parse(Code::FieldInvalid, "format", "json, csv or html", named)? {
            return Ok(format);
        }
        let accepted = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut ranges = accepted.split(',').map(|range| range.split(';').next().unwrap_or_default().trim());
        Ok(ranges.find_map(named).unwrap_or(Format::Json))
    }

    const fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Csv => "text/csv; charset=utf-8",
            Format::Html { .. } => "text/html; charset=utf-8",
        }
    }
}

/// How many statements of each platform are being sent.
#[derive(Default)]
pub struct Running(DashMap<PlatformId, usize>);

struct Slot {
    running: Arc<Running>,
    platform: PlatformId,
}

impl Running {
    fn begin(self: &Arc<Self>, platform: PlatformId) -> Option<Slot> {
        let mut count = self.0.entry(platform).or_default();
        if *count >= AT_ONCE_MAX {
            return None;
        }
        *count += 1;
        Some(Slot { running: self.clone(), platform })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.running.0.entry(self.platform).and_modify(|count| *count = count.saturating_sub(1));
        self.running.0.remove_if(&self.platform, |_, count| *count == 0);
    }
}

/// Why a statement ended before its end: the answer is cut off, so that nobody takes it for whole.
#[derive(Debug)]
struct CutOff(String);

impl std::fmt::Display for CutOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CutOff {}

impl CutOff {
    fn by(error: &impl std::fmt::Display) -> Self {
        CutOff(error.to_string())
    }
}

/// The statement of a closed settlement, as JSON, as CSV or as a page to print. It has the totals first, then every line by
/// type and in the order in which they were booked, then what the lines sum to. If that is not the totals, or the
/// statement cannot be read to its end, the answer is cut off.
#[utoipa::path(
    get,
    path = "/v1/settlements/{id}/statement",
    operation_id = "get_statement",
    tag = "settlements",
    security(("platform_key" = [])),
    params(
        ("id" = String, Path, description = "The settlement's id, `set_…`."),
        ("format" = Option<String>, Query, description = "`json`, `csv` or `html`; without it, as `Accept` says."),
        ("lang" = Option<String>, Query, description = "Of the page, `en` or `zh`; without it, as `Accept-Language` says.")
    ),
    responses((status = 200, description = "The statement.", body = String))
)]
pub async fn get(
    app: Data<App>,
    Caller(platform): Caller,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["format", "lang"])?;
    let format = Format::of(&query, &request)?;
    let id = owned(platform.id, &id)?;
    let Some(stored) = app.store.settlement(id.platform, id.cycle).await? else {
        return Err(match app.is_open(id).await? {
            true => ApiError::new(Code::SettlementOpen, "A statement is of a closed cycle."),
            false => ApiError::not_found(),
        });
    };
    let slot = app.statements.begin(platform.id).ok_or_else(|| {
        ApiError::new(Code::RateLimited, "Two statements at once are sent to a platform.").retry_after(1)
    })?;
    let (from, until) = span(&stored);
    let expected = stored.totals.sums.clone();
    let statement = Statement {
        store: app.store.clone(),
        id,
        figures: app.figures_of(stored).await?,
        format,
        from,
        until,
        expected,
        kinds: TransactionKind::ALL.into_iter(),
        part: Part::Head,
        lines: 0,
        sums: Sums::default(),
        deadline: Moment::now() + DEADLINE,
        _slot: slot,
    };
    let parts = stream::unfold(Some(statement), |statement| async {
        let mut statement = statement?;
        match statement.next().await {
            Ok(Some(part)) => Some((Ok(Bytes::from(part)), Some(statement))),
            Ok(None) => None,
            Err(error) => {
                metrics::counter!("tongbao_statements_cut_off_total").increment(1);
                tracing::error!(settlement = %statement.id, %error, "a statement is cut off");
                Some((Err(error), None))
            }
        }
    });
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CONTENT_TYPE, format.content_type()));
    if let Format::Html { .. } = format {
        answer.insert_header((CONTENT_SECURITY_POLICY, POLICY));
    }
    Ok(answer.streaming(parts))
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Head,
    /// The lines of a type, after that one.
    Lines(TransactionKind, Option<TransactionPlace>),
    Sum,
    Ended,
}

/// A statement that is being sent.
struct Statement {
    store: Arc<dyn Store>,
    id: SettlementId,
    figures: SettlementFigures,
    format: Format,
    from: Instant,
    until: Instant,
    expected: Sums,
    kinds: std::array::IntoIter<TransactionKind, { TransactionKind::ALL.len() }>,
    part: Part,
    lines: u64,
    sums: Sums,
    deadline: Moment,
    _slot: Slot,
}

impl Statement {
    async fn next(&mut self) -> Result<Option<String>, CutOff> {
        loop {
            if Moment::now() > self.deadline {
                return Err(CutOff("it took too long".to_owned()));
            }
            match self.part {
                Part::Head => {
                    self.part = self.next_kind();
                    return self.head().map(Some);
                }
                Part::Lines(kind, after) => {
                    let lines = self.page(kind, after).await?;
                    if !lines.is_empty() {
                        return self.shown(lines).map(Some);
                    }
                }
                Part::Sum => {
                    self.part = Part::Ended;
                    return self.sum().map(Some);
                }
                Part::Ended => return Ok(None),
            }
        }
    }

    fn next_kind(&mut self) -> Part {
        self.kinds.next().map_or(Part::Sum, |kind| Part::Lines(kind, None))
    }

    /// Reads a page of a type; those of its lines that are of this cycle.
    async fn page(
        &mut self,
        kind: TransactionKind,
        after: Option<TransactionPlace>,
    ) -> Result<Vec<StoredTransaction>, CutOff> {
        let (from, until) = (self.from, self.until);
        let filter = StatementFilter { platform: self.id.platform, kind, from, until, after, limit: LINES_AT_ONCE };
        let page = self.store.statement_lines(&filter).await.map_err(|error| CutOff::by(&error))?;
        let is_last = page.len() < LINES_AT_ONCE as usize;
        let page = page.into_iter().map(|seen| seen.value).collect::<Result<Vec<_>, _>>();
        let mut page = page.map_err(|error| CutOff::by(&error))?;
        self.part = match page.last().filter(|_| !is_last) {
            Some(last) => Part::Lines(kind, Some((last.at, last.key))),
            None => self.next_kind(),
        };
        page.retain(|line| line.cycle == Some(self.id.cycle));
        for line in &page {
            let transaction = Transaction { kind: line.kind, counterparty: line.counterparty_id };
            let wrong = || CutOff(format!("a line of {} cannot be summed", self.id));
            let heading = Heading::of(&line.account, transaction, line.amount_minor).ok_or_else(wrong)?;
            self.sums.add(heading, line.counterparty_id, line.amount_minor).map_err(|_| wrong())?;
        }
        Ok(page)
    }

    /// The totals as pairs of name and amount.
    fn totals(&self) -> [(&'static str, &str); 8] {
        let figures = &self.figures;
        [
            ("gross", &figures.gross),
            ("refunds", &figures.refunds),
            ("fees", &figures.fees),
            ("shares_in", &figures.shares_in),
            ("shares_out", &figures.shares_out),
            ("adjustments", &figures.adjustments),
            ("brought_forward", &figures.brought_forward),
            ("net", &figures.net),
        ]
    }

    fn head(&self) -> Result<String, CutOff> {
        let currency = self.figures.currency.code();
        match self.format {
            Format::Json => {
                let figures = serde_json::to_string(&self.figures).map_err(|error| CutOff::by(&error))?;
                Ok(format!("{{\"settlement\":{figures},\"lines\":["))
            }
            Format::Csv => {
                let mut rows = vec![COLUMNS.map(String::from)];
                rows.extend(self.totals().map(|(name, amount)| row(["total", name, amount, currency, ""])));
                let positions = self.figures.positions.iter();
                rows.extend(positions.map(|of| row(["position", "", &of.amount, currency, &of.platform])));
                csv_text(&rows)
            }
            Format::Html { zh } => {
                let day = |at: Option<Instant>| at.map(Instant::rfc3339).unwrap_or_default();
                let page = HeadPage {
                    zh,
                    id: self.id.to_string(),
                    number: self.figures.number,
                    currency,
                    from: day(self.figures.from),
                    to: day(self.figures.to),
                    totals: self.totals().map(|(name, amount)| (word(name, zh), amount)),
                    positions: self.figures.positions.iter().map(|of| (of.platform.as_str(), &*of.amount)).collect(),
                };
                page.render().map_err(|error| CutOff::by(&error))
            }
        }
    }

    fn shown(&mut self, lines: Vec<StoredTransaction>) -> Result<String, CutOff> {
        let first = self.lines == 0;
        self.lines += lines.len() as u64;
        let views = lines.into_iter().map(|line| TransactionView::of(self.id.platform, line));
        match self.format {
            Format::Json => {
                let texts = views.map(|view| serde_json::to_string(&view)).collect::<Result<Vec<_>, _>>();
                let texts = texts.map_err(|error| CutOff::by(&error))?.join(",\n");
                Ok(if first { format!("\n{texts}") } else { format!(",\n{texts}") })
            }
            Format::Csv => csv_text(&views.map(|view| csv_line(&view)).collect::<Vec<_>>()),
            Format::Html { zh } => {
                let lines = views.map(|view| (word(view.kind.name(), zh), view)).collect();
                LinesPage { lines }.render().map_err(|error| CutOff::by(&error))
            }
        }
    }

    /// What the lines sum to: it must be the totals.
    fn sum(&self) -> Result<String, CutOff> {
        if pruned(&self.sums) != pruned(&self.expected) {
            return Err(CutOff(format!("the lines sum to {:?}, and the totals are {:?}", self.sums, self.expected)));
        }
        let wrong = |_| CutOff("the lines cannot be summed".to_owned());
        let currency = self.figures.currency;
        let amount = format_minor(self.sums.own_minor().map_err(wrong)?, currency);
        let position = format_minor(self.sums.position_minor().map_err(wrong)?, currency);
        match self.format {
            Format::Json => Ok(format!(
                "],\"sum\":{{\"lines\":{},\"amount\":\"{amount}\",\"position\":\"{position}\"}}}}\n",
                self.lines
            )),
            Format::Csv => csv_text(&[
                row(["sum", "amount", &amount, currency.code(), ""]),
                row(["sum", "position", &position, currency.code(), ""]),
            ]),
            Format::Html { zh } => {
                let page = FootPage { zh, lines: self.lines, amount, position };
                page.render().map_err(|error| CutOff::by(&error))
            }
        }
    }
}

/// Without positions that came to nothing.
fn pruned(sums: &Sums) -> Sums {
    let mut sums = sums.clone();
    sums.positions.retain(|(_, minor)| *minor != 0);
    sums
}

fn row(first: [&str; 5]) -> [String; 11] {
    let [record, kind, amount, currency, counterparty] = first;
    let counterparty = safe(counterparty);
    let mut row = std::array::from_fn(|_| String::new());
    let cells = [record.to_owned(), kind.to_owned(), amount.to_owned(), currency.to_owned(), counterparty];
    row.iter_mut().zip(cells).for_each(|(place, cell)| *place = cell);
    row
}

fn csv_line(view: &TransactionView) -> [String; 11] {
    let text = |id: Option<String>| id.unwrap_or_default();
    [
        "line".to_owned(),
        view.kind.name().to_owned(),
        view.amount.clone(),
        view.currency.code().to_owned(),
        safe(view.counterparty.as_deref().unwrap_or_default()),
        view.position.to_string(),
        text(view.order.map(|id| id.to_string())),
        text(view.refund.map(|id| id.to_string())),
        view.created_at.rfc3339(),
        view.effective_at.rfc3339(),
        view.id.clone(),
    ]
}

/// A spreadsheet must not take a text for a formula.
fn safe(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

fn csv_text(rows: &[[String; 11]]) -> Result<String, CutOff> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).map_err(|error| CutOff::by(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| CutOff::by(&error))?;
    String::from_utf8(bytes).map_err(|error| CutOff::by(&error))
}

/// What a total or a type is called on the page.
fn word(name: &'static str, zh: bool) -> &'static str {
    if !zh {
        return name;
    }
    match name {
        "gross" => "收款总额",
        "refunds" | "refund" => "退款",
        "fees" | "fee" => "手续费",
        "shares_in" | "share_in" => "分账收入",
        "shares_out" | "share_out" => "分账支出",
        "share_back" => "分账退回",
        "adjustments" | "adjustment" => "调整",
        "brought_forward" => "上期结转",
        "net" => "应结金额",
        "payment" => "收款",
        "fee_returned" => "手续费退回",
        "refund_failed" => "退款失败",
        "refund_returned" => "退款退回",
        "payout" => "出款",
        "payout_failed" => "出款失败",
        "payout_returned" => "出款退回",
        "payment_received" => "还款",
        other => other,
    }
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="{% if zh %}zh-CN{% else %}en{% endif %}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{% if zh %}结算单{% else %}Statement{% endif %} {{ number }} {{ currency }} · 通宝 Tongbao</title>
<style>
body { font: 14px/1.4 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; }
table { width: 100%; border-collapse: collapse; margin: 1rem 0; }
td, th { padding: .25rem .4rem; border-bottom: 1px solid #ddd; text-align: left; font-variant-numeric: tabular-nums; }
td.amount, th.amount { text-align: right; white-space: nowrap; }
thead { display: table-header-group; }
tr { break-inside: avoid; }
@media print { body { margin: 0; max-width: none; } }
</style>
</head>
<body>
<h1>{% if zh %}结算单{% else %}Statement{% endif %} {{ number }} · {{ currency }}</h1>
<p>{{ id }}<br>{{ from }} – {{ to }}</p>
<table>
{%- for (name, amount) in totals %}
<tr><th>{{ name }}</th><td class="amount">{{ amount }}</td></tr>
{%- endfor %}
{%- for (name, amount) in positions %}
<tr><th>{% if zh %}往来{% else %}position{% endif %} · {{ name }}</th><td class="amount">{{ amount }}</td></tr>
{%- endfor %}
</table>
<table>
<thead><tr>
{%- if zh %}<th>类型</th><th class="amount">金额</th><th>时间</th><th>对方</th><th>订单</th><th>退款</th>
{%- else %}<th>Type</th><th class="amount">Amount</th><th>Time</th><th>Counterparty</th><th>Order</th><th>Refund</th>{% endif -%}
</tr></thead>
<tbody>
"#
)]
struct HeadPage<'a> {
    zh: bool,
    id: String,
    number: u32,
    currency: &'a str,
    from: String,
    to: String,
    totals: [(&'static str, &'a str); 8],
    positions: Vec<(&'a str, &'a str)>,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"{%- for (name, line) in lines -%}
<tr><td>{{ name }}</td><td class="amount">{{ line.amount }}</td><td>{{ line.created_at.rfc3339() }}</td><td>{% if let Some(name) = line.counterparty %}{{ name }}{% endif %}</td><td>{% if let Some(order) = line.order %}{{ order }}{% endif %}</td><td>{% if let Some(refund) = line.refund %}{{ refund }}{% endif %}</td></tr>
{% endfor -%}
"#
)]
struct LinesPage {
    lines: Vec<(&'static str, TransactionView)>,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"</tbody>
<tfoot>
<tr><th>{% if zh %}合计 {{ lines }} 笔{% else %}Sum of {{ lines }} lines{% endif %}</th><td class="amount">{{ amount }}</td><td colspan="4"></td></tr>
<tr><th>{% if zh %}其中往来{% else %}Positions{% endif %}</th><td class="amount">{{ position }}</td><td colspan="4"></td></tr>
</tfoot>
</table>
</body>
</html>
"#
)]
struct FootPage {
    zh: bool,
    lines: u64,
    amount: String,
    position: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_no_formula_and_an_amount_stays_a_number() {
        let text = csv_text(&[row(["total", "refunds", "-1.00", "CNY", "=HYPERLINK(\"x\")"])]).unwrap();
        assert_eq!(text, "total,refunds,-1.00,CNY,\"'=HYPERLINK(\"\"x\"\")\",,,,,,\r\n");
    }

    #[test]
    fn two_statements_at_once_are_sent_to_a_platform() {
        let running = Arc::new(Running::default());
        let (one, two) = (running.begin(PlatformId(1)), running.begin(PlatformId(1)));
        assert!(one.is_some() && two.is_some() && running.begin(PlatformId(1)).is_none());
        assert!(running.begin(PlatformId(2)).is_some());
        drop(one);
        assert!(running.begin(PlatformId(1)).is_some());
        drop(two);
        assert!(running.0.is_empty());
    }
}
