//! The account's movements of a day: `balance_transactions` with their sources, page by page. They count in minor
//! units, where the report file has major ones, and can be had at once.
//!
//! A movement is in the *settlement* currency; the charge or refund behind it is in the payer's, which is what our
//! books compare with. A fee is therefore only known where the two are the same.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::objects::{self, Metadata, Page};
use super::{Stripe, money};
use crate::channels::bill::{BillError, BillKind, BillLine, BillPart, BillRequest, Content, Day, whole};
use crate::channels::{Answer, Outgoing, Stamp, is_name};
use crate::domain::money::Currency;
use crate::domain::time::Instant;

/// The most that a page can have.
const PAGE: &str = "100";
/// Who asks too often waits this long; how long is not published.
const BUSY_MS: i64 = 60 * 1_000;

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

/// Asks for a page of the movements of a day in UTC.
pub(super) struct Movements<'a> {
    pub stripe: &'a Stripe,
    pub day: Day,
    /// The last entry of the page before.
    pub after: Option<String>,
    /// Every entry so far: a list that comes back to one of them would never end, and count it twice.
    pub seen: HashSet<String>,
}

impl<'a> BillRequest<'a> for Movements<'a> {
    fn outgoing(&self, _stamp: &Stamp) -> Outgoing {
        let seconds = |at: Instant| at.0.div_euclid(1_000).to_string();
        let (from, until) = (seconds(self.day.begins), seconds(self.day.ends));
        let mut parameters = vec![
            ("created[gte]", from.as_str()),
            ("created[lt]", &until),
            ("expand[]", "data.source"),
            ("limit", PAGE),
        ];
        parameters.extend(self.after.as_deref().map(|id| ("starting_after", id)));
        self.stripe.get("/v1/balance_transactions", &parameters)
    }

    fn content(&self) -> Content {
        Content::Lines
    }

    fn read(mut self: Box<Self>, stamp: &Stamp, answer: &Answer) -> Result<BillPart<'a>, BillError> {
        if answer.status != 200 {
            return Err(self.refused(stamp, answer));
        }
        let (lines, after) = read(&answer.body, &mut self.seen)?;
        if lines.iter().any(|line| line.at.is_none_or(|at| at < self.day.begins || at >= self.day.ends)) {
            return Err(whole("the list holds movements of another day"));
        }
        self.after = after;
        let next = self.after.is_some().then_some(self as Box<dyn BillRequest<'a> + 'a>);
        Ok(BillPart { lines, next })
    }
}

impl Movements<'_> {
    fn refused(&self, stamp: &Stamp, answer: &Answer) -> BillError {
        match objects::failure(answer) {
            Ok(failure) if answer.status == 429 => {
                BillError::NotReady { again_at: stamp.at.plus_ms(BUSY_MS), why: failure.name().into() }
            }
            Ok(failure) => whole(&format!("refused with status {}, code {:?}", answer.status, failure.name())),
            Err(why) => whole(why),
        }
    }
}

/// Reads a page of a bill of which these entries were seen before; the entry after which the next page begins, or none
/// after the last page. Lines count over all pages.
///
/// # Errors
/// Anything that is not as Stripe describes it, an entry that was there before, and a page that says that it goes on
/// without saying where.
pub fn read(page: &[u8], seen: &mut HashSet<String>) -> Result<(Vec<BillLine>, Option<String>), BillError> {
    let page: Page<Movement> = objects::read(page).map_err(whole)?;
    if page.object != "list" {
        return Err(whole("not a list"));
    }
    let mut lines = Vec::with_capacity(page.data.len());
    for movement in &page.data {
        let place = seen.len() + 1;
        let broken = |why: &str| BillError::Unreadable { line: place, why: why.to_owned() };
        lines.push(line(movement).map_err(broken)?);
        if !seen.insert(movement.id.clone()) {
            return Err(broken("the entry was there before"));
        }
    }
    match (page.has_more, page.data.last()) {
        (false, _) => Ok((lines, None)),
        (true, Some(last)) => Ok((lines, Some(last.id.clone()))),
        (true, None) => Err(whole("a page goes on, and has no entries")),
    }
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
    let sourced = match kind {
        BillKind::Payment => sourced(movement, kind, ("charge", movement.amount), at)?,
        BillKind::Refund => {
            sourced(movement, kind, ("refund", movement.amount.checked_neg().ok_or(out_of_bounds)?), at)?
        }
        BillKind::Other => None,
    };
    if let Some(line) = sourced {
        return Ok(line);
    }
    let currency = money::read_currency(&movement.currency).ok_or("an unknown currency")?;
    let amount_minor = movement.amount.checked_abs().filter(|amount| *amount <= currency.max_minor());
    Ok(BillLine {
        kind: BillKind::Other,
        number: String::new(),
        refund_number: None,
        reference: movement.id.clone(),
        amount_minor: amount_minor.ok_or(out_of_bounds)?,
        fee_minor: Some(fee(movement, currency)?),
        currency,
        at: Some(at),
    })
}

fn fee(movement: &Movement, currency: Currency) -> Result<i64, &'static str> {
    let is_bounded = movement.fee.checked_abs().is_some_and(|fee| fee <= currency.max_minor());
    is_bounded.then_some(movement.fee).ok_or("a fee beyond all bounds")
}

/// A movement by its charge or refund, whose amount it must have where both are in one currency. None where that belongs
/// to no intent: it is another system's on the same account, since we create intents only.
fn sourced(
    movement: &Movement,
    kind: BillKind,
    (object, settled): (&str, i64),
    at: Instant,
) -> Result<Option<BillLine>, &'static str> {
    let source = movement.source.as_ref().ok_or("no source")?;
    let source: Source =
        objects::read(source.get().as_bytes()).map_err(|_| "the source is not there, or unreadable")?;
    if source.object != object {
        return Err("the source is another object");
    }
    let Some(intent) = source.payment_intent else { return Ok(None) };
    if !objects::is_id(&intent, "pi_") {
        return Err("the source's intent has no id");
    }
    let (amount_minor, currency) = money::from_wire(source.amount, &source.currency).ok_or("no amount")?;
    let same_currency = source.currency == movement.currency;
    if settled <= 0 || (same_currency && settled != amount_minor) {
        return Err("the movement and its source have different amounts");
    }
    let kept = if same_currency { Some(fee(movement, currency)?) } else { None };
    let fee_minor = match kind {
        BillKind::Refund => kept.map(|kept| -kept),
        BillKind::Payment | BillKind::Other => kept,
    };
    Ok(Some(BillLine {
        kind,
        // A longer one is another system's on the same account.
        number: source.metadata.attempt.filter(|number| is_name(number)).unwrap_or_default(),
        refund_number: source.metadata.refund_number.filter(|number| is_name(number)),
        reference: intent,
        amount_minor,
        fee_minor,
        currency,
        at: Some(at),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn read_one(entry: &str) -> Result<(Vec<BillLine>, Option<String>), BillError> {
        read(page(&[entry], "false").as_bytes(), &mut HashSet::new())
    }

    #[test]
    fn payments_refunds_and_the_rest_are_told_apart() {
        let mut seen = HashSet::new();
        let (lines, next) = read(page(&[CHARGE, REFUND], "true").as_bytes(), &mut seen).unwrap();
        assert_eq!(next.as_deref(), Some("txn_2"));
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
        let foreign = CHARGE.replace("txn_1", "txn_4").replace(r#""payment_intent":"pi_1","#, "");
        let (lines, next) = read(page(&[PAYOUT, &foreign], "false").as_bytes(), &mut seen).unwrap();
        assert_eq!((lines[0].kind, lines[0].amount_minor, next), (BillKind::Other, 700, None));
        let told = (lines[1].kind, lines[1].amount_minor, lines[1].reference.as_str());
        assert_eq!(told, (BillKind::Other, 2000, "txn_4"), "a charge without an intent is another system's");
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
            changed(r#""amount":2000,"fee""#, r#""amount":2000.5,"fee""#),
            changed(r#""amount":2000,"fee""#, r#""amount":2e3,"fee""#),
            changed(r#""amount":2000,"fee""#, r#""amount":2000,"amount":2000,"fee""#),
            changed(r#""fee":88,"#, ""),
            changed(r#""object":"charge""#, r#""object":"refund""#),
            changed(r#""payment_intent":"pi_1","#, r#""payment_intent":"ch_1","#),
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
    fn a_page_that_is_cut_off_or_comes_again_is_refused_and_an_empty_day_is_no_fault() {
        let (first, last) = (page(&[CHARGE], "true"), page(&[REFUND], "false"));
        let mut seen = HashSet::new();
        assert!(read(&first.as_bytes()[..first.len() - 9], &mut seen).is_err());
        assert!(read(page(&[], "true").as_bytes(), &mut seen).is_err());
        assert_eq!(read(page(&[], "false").as_bytes(), &mut seen), Ok((Vec::new(), None)));
        assert!(read(first.as_bytes(), &mut seen).is_ok());
        // For ever, if nobody looked.
        let again = read(first.as_bytes(), &mut seen);
        assert_eq!(again, Err(BillError::Unreadable { line: 2, why: "the entry was there before".into() }));
        assert!(read(last.as_bytes(), &mut seen).is_ok());
        let twice = page(&[PAYOUT, PAYOUT], "false");
        assert!(read(twice.as_bytes(), &mut HashSet::new()).is_err());
        for page in ["\u{feff}{}", "[]", "", "<html>", r#"{"object":"charge","data":[],"has_more":false}"#] {
            assert!(read(page.as_bytes(), &mut HashSet::new()).is_err(), "{page}");
        }
    }
}
