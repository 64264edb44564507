//! The account's movements of a day: `balance_transactions` with their sources, page by page. They count in minor
//! units, where the report file has major ones, and can be had at once.
//!
//! A movement is in the *settlement* currency; the charge or refund behind it is in the payer's, which is what our
//! books compare with. A fee is therefore only known where the two are the same.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::Outgoing;
use super::super::bill::{BillError, BillKind, BillLine};
use super::objects::{self, Metadata, Page};
use super::{Stripe, money};
use crate::domain::time::Instant;

/// With its source, and indented as Stripe's JSON is, an entry takes some 6 KiB, and an answer may have 256.
const PAGE: &str = "25";
/// 2 million movements.
const PAGES_MAX: usize = 80_000;

#[derive(Deserialize)]
struct Movement {
    id: String,
    object: String,
    #[serde(rename = "type")]
    kind: String,
    amount: i64,
    fee: i64,
    currency: String,
    created: i64,
    /// The object behind it, or only its id where nobody asked for more.
    source: Option<Box<RawValue>>,
}

/// A charge or a refund.
#[derive(Deserialize)]
struct Source {
    object: String,
    amount: i64,
    currency: String,
    #[serde(default)]
    payment_intent: Option<String>,
    #[serde(default)]
    metadata: Metadata,
}

impl Stripe {
    /// The request for the movements from one instant until before another; after the first page, those after the
    /// entry that [`next`] named.
    pub fn bill(&self, from: Instant, until: Instant, after: Option<&str>) -> Outgoing {
        let seconds = |at: Instant| at.0.div_euclid(1_000).to_string();
        let (from, until) = (seconds(from), seconds(until));
        let mut parameters = vec![
            ("created[gte]", from.as_str()),
            ("created[lt]", &until),
            ("expand[]", "data.source"),
            ("limit", PAGE),
        ];
        parameters.extend(after.map(|id| ("starting_after", id)));
        self.get("/v1/balance_transactions", &parameters)
    }
}

/// The entry after which the next page begins; none after the last page.
///
/// # Errors
/// The page cannot be read, or says that it goes on without saying where.
pub fn next(page: &[u8]) -> Result<Option<String>, BillError> {
    let page = read_page(page)?;
    if !page.has_more {
        return Ok(None);
    }
    page.data.last().map(|last| Some(last.id.clone())).ok_or_else(|| broken(0, "a page goes on, and has no entries"))
}

/// Reads all pages of a bill.
///
/// # Errors
/// Anything that is not as Stripe describes it, a page that is missing at the end, and a bill without movements.
pub fn read(pages: &[&[u8]]) -> Result<Vec<BillLine>, BillError> {
    if pages.len() > PAGES_MAX {
        return Err(broken(0, "too many pages"));
    }
    let mut lines = Vec::new();
    let mut goes_on = true;
    for page in pages {
        let page = read_page(page)?;
        if !goes_on {
            return Err(broken(lines.len(), "a page follows the last one"));
        }
        goes_on = page.has_more;
        for movement in &page.data {
            lines.push(line(movement).map_err(|why| broken(lines.len() + 1, why))?);
        }
    }
    match (goes_on, lines.is_empty()) {
        (true, _) => Err(broken(lines.len(), "the last page is missing")),
        (false, true) => Err(BillError::Empty),
        (false, false) => Ok(lines),
    }
}

fn broken(line: usize, why: &str) -> BillError {
    BillError::Unreadable { line, why: why.to_owned() }
}

fn read_page(page: &[u8]) -> Result<Page<Movement>, BillError> {
    let page: Page<Movement> = objects::read(page).map_err(|why| broken(0, why))?;
    if page.object == "list" { Ok(page) } else { Err(broken(0, "not a list")) }
}

fn line(movement: &Movement) -> Result<BillLine, &'static str> {
    if movement.object != "balance_transaction" || !objects::is_id(&movement.id, "txn_") {
        return Err("not a balance transaction");
    }
    let kind = match movement.kind.as_str() {
        "charge" | "payment" => BillKind::Payment,
        "refund" | "payment_refund" => BillKind::Refund,
        _ => BillKind::Other,
    };
    let at = movement.created.checked_mul(1_000).map(Instant).ok_or("a time beyond all bounds")?;
    let out_of_bounds = "an amount beyond all bounds";
    match kind {
        BillKind::Payment => sourced(movement, kind, ("charge", movement.amount), at),
        BillKind::Refund => {
            sourced(movement, kind, ("refund", movement.amount.checked_neg().ok_or(out_of_bounds)?), at)
        }
        BillKind::Other => {
            let currency = money::read_currency(&movement.currency).ok_or("an unknown currency")?;
            Ok(BillLine {
                kind,
                number: String::new(),
                refund_number: None,
                reference: movement.id.clone(),
                amount_minor: movement.amount.checked_abs().ok_or(out_of_bounds)?,
                fee_minor: Some(movement.fee),
                currency,
                at: Some(at),
            })
        }
    }
}

/// A movement by its charge or refund, whose amount it must have where both are in one currency.
fn sourced(
    movement: &Movement,
    kind: BillKind,
    (object, settled): (&str, i64),
    at: Instant,
) -> Result<BillLine, &'static str> {
    let source = movement.source.as_ref().ok_or("no source")?;
    let source: Source =
        objects::read(source.get().as_bytes()).map_err(|_| "the source is not there, or unreadable")?;
    if source.object != object {
        return Err("the source is another object");
    }
    let (amount_minor, currency) = money::from_wire(source.amount, &source.currency).ok_or("no amount")?;
    let same_currency = source.currency == movement.currency;
    if settled <= 0 || (same_currency && settled != amount_minor) {
        return Err("the movement and its source have different amounts");
    }
    Ok(BillLine {
        kind,
        number: source.metadata.attempt.unwrap_or_default(),
        refund_number: source.metadata.refund_number,
        reference: source.payment_intent.ok_or("the source has no intent")?,
        amount_minor,
        fee_minor: same_currency.then_some(movement.fee),
        currency,
        at: Some(at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Currency;

    const CHARGE: &str = r#"{"id":"txn_1","object":"balance_transaction","type":"charge","amount":2000,"fee":88,
        "net":1912,"currency":"usd","created":1790000000,"source":{"id":"ch_1","object":"charge","amount":2000,
        "currency":"usd","payment_intent":"pi_1","metadata":{"attempt":"A1"}}}"#;
    const REFUND: &str = r#"{"id":"txn_2","object":"balance_transaction","type":"refund","amount":-500,"fee":0,
        "net":-500,"currency":"usd","created":1790000060,"source":{"id":"re_1","object":"refund","amount":450,
        "currency":"eur","payment_intent":"pi_1","metadata":{"attempt":"A1","refund_number":"A1R00"}}}"#;
    const PAYOUT: &str = r#"{"id":"txn_3","object":"balance_transaction","type":"payout","amount":-700,"fee":0,
        "net":-700,"currency":"usd","created":1790000120,"source":"po_1"}"#;

    fn page(entries: &[&str], has_more: &str) -> String {
        format!(r#"{{"object":"list","data":[{}],"has_more":{has_more},"url":"/v1/x"}}"#, entries.join(","))
    }

    fn read_one(entry: &str) -> Result<Vec<BillLine>, BillError> {
        read(&[page(&[entry], "false").as_bytes()])
    }

    #[test]
    fn payments_refunds_and_the_rest_are_told_apart() {
        let (first, second) = (page(&[CHARGE, REFUND], "true"), page(&[PAYOUT], "false"));
        assert_eq!(next(first.as_bytes()), Ok(Some("txn_2".to_owned())));
        assert_eq!(next(second.as_bytes()), Ok(None));
        let lines = read(&[first.as_bytes(), second.as_bytes()]).unwrap();
        let currency = |code| Currency::parse(code).unwrap();
        assert_eq!(
            lines[0],
            BillLine {
                kind: BillKind::Payment,
                number: "A1".into(),
                refund_number: None,
                reference: "pi_1".into(),
                amount_minor: 2000,
                fee_minor: Some(88),
                currency: currency("USD"),
                at: Some(Instant(1_790_000_000_000)),
            }
        );
        // In the payer's currency; the fee is in another one.
        assert_eq!((lines[1].kind, lines[1].amount_minor, lines[1].fee_minor), (BillKind::Refund, 450, None));
        assert_eq!((lines[1].currency, lines[1].refund_number.as_deref()), (currency("EUR"), Some("A1R00")));
        assert_eq!((lines[2].kind, lines[2].amount_minor), (BillKind::Other, 700));
    }

    #[test]
    fn what_is_missing_or_does_not_agree_is_refused() {
        let changed = |from: &str, to: &str| {
            assert!(CHARGE.contains(from), "{from}");
            CHARGE.replace(from, to)
        };
        let wrong = [
            changed(r#""amount":2000,"fee""#, r#""amount":1999,"fee""#),
            changed(r#""amount":2000,"fee""#, r#""amount":-2000,"fee""#),
            changed(r#""amount":2000,"fee""#, r#""amount":"2000","fee""#),
            changed(r#""amount":2000,"fee""#, r#""amount":2e3,"fee""#),
            changed(r#""amount":2000,"fee""#, r#""amount":2000,"amount":2000,"fee""#),
            changed(r#""fee":88,"#, ""),
            changed(r#""object":"charge""#, r#""object":"refund""#),
            changed(r#""payment_intent":"pi_1","#, ""),
            changed("1790000000", "9223372036854775807"),
            changed("txn_1", "../1"),
            PAYOUT.replace(r#""payout""#, r#""charge""#),
            PAYOUT.replace("-700", "-9223372036854775808"),
        ];
        for entry in wrong {
            assert!(matches!(read_one(&entry), Err(BillError::Unreadable { line: 1 | 0, .. })), "{entry}");
        }
    }

    #[test]
    fn a_page_that_is_cut_off_missing_or_too_many_is_refused_and_an_empty_day_is_said_to_be() {
        let (first, last) = (page(&[CHARGE], "true"), page(&[REFUND], "false"));
        assert!(matches!(read(&[first.as_bytes()]), Err(BillError::Unreadable { .. })));
        assert!(matches!(read(&[last.as_bytes(), last.as_bytes()]), Err(BillError::Unreadable { .. })));
        assert!(matches!(read(&[]), Err(BillError::Unreadable { .. })));
        assert!(matches!(read(&[&last.as_bytes()[..last.len() - 9]]), Err(BillError::Unreadable { .. })));
        assert!(matches!(next(page(&[], "true").as_bytes()), Err(BillError::Unreadable { .. })));
        assert_eq!(read(&[page(&[], "false").as_bytes()]), Err(BillError::Empty));
    }
}
